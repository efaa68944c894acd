# SPDX-License-Identifier: Apache-2.0
"""
The base of the cell's nodes: parameters, a lifecycle that fails in words, actions, kept state.

rclpy swallows an exception in a transition; this base reports it.

"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
import threading
from typing import Any, Generic, TYPE_CHECKING, TypeVar

from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.task import Future

from anomaly_inspection.errors import SettingError
from anomaly_inspection.nodes.action_server import OneGoalServer
from anomaly_inspection.nodes.diagnosed_node import ERROR, OK, steady_s, WARN
from anomaly_inspection.nodes.guarded_node import GuardedNode
from anomaly_inspection.nodes.parameters import (
    changed,
    checked_parameters,
    declare_parameters,
    parameter,
)
from anomaly_inspection.parameter_file import nearest
from anomaly_inspection.state_file import (
    default_state_folder,
    NO_FOLDER,
    StateFile,
    StateKeeper,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable

    from rcl_interfaces.msg import SetParametersResult
    from rclpy.timer import Timer

    from anomaly_inspection.nodes.action_server import Goal

__all__ = ['ERROR', 'OK', 'WARN', 'InspectionNode', 'NodeParameters', 'steady_s']

_ACTIVATE_AGAIN_S = 3.0


@dataclass(frozen=True)
class NodeParameters:
    """
    Parameters that every node of the cell has.

    """

    autostart: bool = parameter(
        True,
        'Configure and activate at start, so that a respawned node comes back by itself, and try '
        'again to activate until that works; false leaves it to a lifecycle manager.',
        read_only=True,
    )
    state_folder: str = parameter(
        '',
        'Folder for what must outlive a process, such as a stop of the line; empty: '
        "$ROS_HOME/anomaly_inspection/state, else the same in ~/.ros; 'none': keep nothing, "
        'a node that is started again then knows nothing of what was in force.',
        read_only=True,
    )


P = TypeVar('P', bound=NodeParameters)
T = TypeVar('T')


class InspectionNode(GuardedNode, Generic[P]):
    """
    A lifecycle node with checked parameters, guarded callbacks and diagnostics.

    Subclasses implement `configure`, `activate`, `deactivate` and `cleanup`; they raise what goes
    wrong. Endpoints made in `configure` with `listen`, `every`, `publish_on` and `serve` are
    destroyed at cleanup.

    Parameters
    ----------
    name : str
        Name of the node.
    parameters_type : type
        Frozen dataclass derived from `NodeParameters`.
    **options
        Passed on to rclpy's LifecycleNode (context, namespace, parameter_overrides ...).

    Raises
    ------
    SettingError
        When a parameter given at start is refused.

    """

    def __init__(self, name: str, parameters_type: type[P], **options: Any) -> None:
        super().__init__(name, **options)
        self._parameters_type = parameters_type
        self._actions: dict[str, OneGoalServer] = {}
        self._state_keeper: StateKeeper | None = None
        try:
            self.parameters: P = declare_parameters(self, parameters_type)
        except SettingError as error:
            self.get_logger().fatal(str(error))
            self.destroy_node()
            raise
        self._warn_of_unknown_parameters()
        #: What a predecessor of this node has left, and where a successor will look.
        self.state = StateFile(self._state_path())
        self.add_post_set_parameters_callback(self._apply_parameters)
        self.start_diagnostics()
        self._autostart_timer: Timer | None = None
        if self.parameters.autostart:
            self._autostart_timer = self._steady_timer(0.0, self._autostart)

    # What a subclass fills in

    def configure(self) -> None:
        """
        Check the parameters, load files, make the endpoints; raises when that fails.

        """

    def activate(self) -> None:
        """
        Start to work.

        """

    def deactivate(self) -> None:
        """
        Stop to work; what is under way is brought to a safe end.

        """

    def cleanup(self) -> None:
        """
        Let go of what `configure` took, endpoints apart.

        """

    def is_own_parameter(self, name: str) -> bool:
        """
        Whether a parameter that is not in the dataclass belongs to the node (declared at
        configure).

        """
        return False

    # Actions and background work

    def serve_action(
        self,
        action_type: Any,
        name: str,
        work: Callable[[Goal], Coroutine[Any, Any, Any]],
        **options: Any,
    ) -> None:
        """
        Offer an action whose result has `success` and `message`; one goal at a time.

        A goal under way ends when the node is deactivated. Unlike other endpoints an action stays
        after cleanup, and refuses goals: an EventsExecutor that spins while an action server is
        destroyed crashes (rclpy 9.1.2). See `OneGoalServer`.

        Parameters
        ----------
        work : coroutine function
            Takes the `Goal`; gives the message of success, or a filled result; raises
            InspectionError when the goal is refused or fails. It waits with `goal.wait` alone.
        **options
            `newest_wins` and `new_result` of `OneGoalServer`.

        """
        if name in self._actions:
            self._actions[name].work = work
        else:
            self._actions[name] = OneGoalServer(self, action_type, name, work, **options)

    @property
    def has_goal(self) -> bool:
        """
        Whether a goal of one of the node's actions is under way.

        """
        return any(action.is_busy for action in self._actions.values())

    def in_background(self, work: Callable[[], T]) -> Awaitable[T]:
        """
        Run work that takes longer than a callback may on a thread of its own; await its result.

        """
        future = Future(executor=self.executor)

        def run() -> None:
            try:
                future.set_result(work())
            except Exception as error:  # noqa: BLE001 - raised again where it is awaited
                future.set_exception(error)

        threading.Thread(target=run, name=f'{self.get_name()} background').start()
        return future

    # State that outlives the process

    def keep_state(self, content: dict[str, Any]) -> None:
        """
        Have a state written that a respawned node will find; returns at once.

        A failure stands in the diagnostics as an error. Call `state.write` where the caller must
        know that the disk has it.

        """
        if self._state_keeper is None:
            self._state_keeper = StateKeeper(self.state, self._report_state)
        self._state_keeper.keep(content)

    def _report_state(self, problem: str) -> None:
        if problem:
            self.report('state', ERROR, f'{problem}; a restart of this node would forget it')
        else:
            self.clear('state')

    def _state_path(self) -> Path | None:
        folder = self.parameters.state_folder
        if folder == NO_FOLDER:
            return None
        root = Path(folder).expanduser() if folder else default_state_folder()
        # Cells of the same name in two domains know nothing of each other.
        domain = f'domain_{self.context.get_domain_id()}'
        names = self.get_fully_qualified_name().strip('/').split('/')
        return root.joinpath(domain, *names[:-1], f'{names[-1]}.json')

    # Lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """
        Configure; a failure leaves the node unconfigured and says why.

        """

        def configure() -> None:
            try:
                self.configure()
            except BaseException:
                self._destroy_endpoints()
                raise

        return self._transition('configure', configure, state, super().on_configure)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """
        Activate; a failure leaves the node inactive and says why.

        """

        def activate() -> None:
            self.activate()
            self.is_active = True
            self._end_autostart()
            for take_again in list(self._latched.values()):
                take_again()

        return self._transition('activate', activate, state, super().on_activate)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """
        Deactivate.

        """

        def deactivate() -> None:
            self.is_active = False
            self._end_goals()
            self.deactivate()

        self._transition('deactivate', deactivate, state, super().on_deactivate)
        # Whatever went wrong was reported; a node that refuses to stop would be worse.
        return TransitionCallbackReturn.SUCCESS

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """
        Clean up; the node can be configured again.

        """
        return self._transition('clean up', self._let_go, state, super().on_cleanup)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """
        Shut down from any state.

        """

        def shut_down() -> None:
            if self.is_active:
                self.is_active = False
                self._end_goals()
                self.deactivate()
            self._let_go()

        return self._transition('shut down', shut_down, state, super().on_shutdown)

    def shut_down(self) -> None:
        """
        Bring the node to its safe end before the process ends; may be called in any state.

        """
        if self.is_active:
            self.trigger_deactivate()

    def _end_goals(self) -> None:
        for action in self._actions.values():
            action.end(f'the {self.get_name()} was stopped')

    def destroy_node(self) -> None:
        """
        Take the node off the network; its executor must not spin any more.

        """
        if self._state_keeper is not None:
            self._state_keeper.close()
            self._state_keeper = None
        for action in self._actions.values():
            action.destroy()
        self._actions.clear()
        super().destroy_node()

    def _let_go(self) -> None:
        self._end_autostart()
        self.cleanup()
        self._destroy_endpoints()

    def _transition(
        self,
        verb: str,
        work: Callable[[], None],
        state: LifecycleState,
        inherited: Callable[[LifecycleState], TransitionCallbackReturn],
    ) -> TransitionCallbackReturn:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - rclpy would swallow it without a word
            self.report('lifecycle', ERROR, f'cannot {verb}: {self.describe(error)}')
            return TransitionCallbackReturn.FAILURE
        self.clear('lifecycle')
        return inherited(state)

    def _autostart(self) -> None:
        self._end_autostart()
        if self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
            # What a node needs of the world, as a gate, may be there later. Ends by success.
            self._autostart_timer = self._steady_timer(_ACTIVATE_AGAIN_S, self._activate_again)
            self._activate_again()

    def _activate_again(self) -> None:
        self.trigger_activate()
        if self._autostart_timer is not None:
            # From now on: an attempt may block, and what else the thread does must have its time.
            self._autostart_timer.reset()

    def _end_autostart(self) -> None:
        if self._autostart_timer is not None:
            # Not destroyed: this may be its own callback.
            self._autostart_timer.cancel()
            self._autostart_timer = None

    # Parameters

    def set_parameters_atomically(
        self, parameter_list: list[Parameter[Any]]
    ) -> SetParametersResult:
        """
        Set parameters together or not at all; a refusal names the value and the allowed range.

        """
        converted, result = checked_parameters(self._parameters_type, parameter_list)
        if not result.successful:
            self.get_logger().warning(result.reason)
            return result
        return super().set_parameters_atomically(converted)

    def parameters_changed(self) -> None:
        """
        React to new values in `self.parameters`; they act on the next part.

        """

    def _apply_parameters(self, changes: Iterable[Parameter[Any]]) -> None:
        after = changed(self.parameters, changes)
        if after != self.parameters:
            self.parameters = after
            self.parameters_changed()

    def _warn_of_unknown_parameters(self) -> None:
        known = {*self._parameters, 'use_sim_time'}
        for name in sorted(self._parameter_overrides):
            if name.startswith('qos_overrides./'):
                continue
            if name not in known and not self.is_own_parameter(name):
                near = nearest(name, sorted(known))
                self.get_logger().warning(
                    f'{self.get_name()} has no parameter {name!r}: it has no effect. '
                    + (f'Did you mean {near!r}?' if near else f'Known: {", ".join(sorted(known))}')
                )
