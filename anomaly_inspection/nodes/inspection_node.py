# SPDX-License-Identifier: Apache-2.0
"""
The base of the cell's nodes: lifecycle that fails in words, input dropped unless active,
diagnostics.

rclpy manages publishers only: in INACTIVE, subscriptions and timers still run, and an exception in
a transition is swallowed. This base closes both gaps.

"""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from pathlib import Path
import threading
import time
import traceback
from typing import Any, ClassVar, Generic, TYPE_CHECKING, TypeVar

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.exceptions import ROSInterruptException
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, qos_policy_name_from_kind
from rclpy.qos_overriding_options import InvalidQosOverridesError
from rclpy.task import Future

from anomaly_inspection.errors import InspectionError, SettingError
from anomaly_inspection.nodes.action_server import OneGoalServer
from anomaly_inspection.nodes.parameters import (
    changed,
    checked_parameters,
    declare_parameters,
    parameter,
)
from anomaly_inspection.nodes.qos import overriding_options
from anomaly_inspection.parameter_file import nearest
from anomaly_inspection.state_file import (
    default_state_folder,
    NO_FOLDER,
    StateFile,
    StateKeeper,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator

    from rcl_interfaces.msg import SetParametersResult
    from rclpy.publisher import Publisher
    from rclpy.qos import QoSProfile
    from rclpy.qos_overriding_options import QoSOverridingOptions
    from rclpy.subscription import Subscription
    from rclpy.timer import Timer

    from anomaly_inspection.nodes.action_server import Goal

_ACTIVATE_AGAIN_S = 3.0
# How long a single event, such as one bad message, stands in the diagnostics.
_EVENT_SHOWN_S = 30.0

OK = DiagnosticStatus.OK
WARN = DiagnosticStatus.WARN
ERROR = DiagnosticStatus.ERROR


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


class InspectionNode(LifecycleNode, Generic[P]):
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

    #: Problems with a status of their own in the diagnostics, and its name: 'line stop' -> 'line'.
    concerns: ClassVar[dict[str, str]] = {}

    def __init__(self, name: str, parameters_type: type[P], **options: Any) -> None:
        super().__init__(name, **options)
        self.is_active = False
        self._steady_clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._parameters_type = parameters_type
        self._endpoints: list[tuple[Callable[[Any], Any], Any]] = []
        self._actions: dict[str, OneGoalServer] = {}
        self._latched: dict[str, Callable[[], None]] = {}
        self._problems: dict[str, tuple[bytes, str]] = {}
        self._problems_lock = threading.Lock()
        self._events_end_s: dict[str, float] = {}
        self._event_counts: Counter[str] = Counter()
        self._last_trace = ''
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
        self._diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self._steady_timer(1.0, self.publish_diagnostics)
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

    def diagnostic_values(self) -> dict[str, object]:
        """
        Give the numbers that diagnostics show.

        """
        return {}

    def is_own_parameter(self, name: str) -> bool:
        """
        Whether a parameter that is not in the dataclass belongs to the node (declared at
        configure).

        """
        return False

    # Endpoints

    def listen(
        self,
        message_type: type,
        topic: str,
        callback: Callable[[Any], None],
        qos: QoSProfile,
        events: SubscriptionEventCallbacks | None = None,
    ) -> Subscription[Any]:
        """
        Subscribe; the callback runs only while the node is active.

        What is latched comes only once: the last one is given to the callback at each activation.
        Without `events`, a publisher whose quality of service does not match is reported.

        """
        guarded = self._guarded(callback)

        def take(message: Any) -> None:
            if qos.durability == DurabilityPolicy.TRANSIENT_LOCAL:
                self._latched[topic] = lambda: guarded(message)
            guarded(message)

        events = events or SubscriptionEventCallbacks(
            incompatible_qos=lambda event: self.report_incompatible_qos(topic, event)
        )
        with self._overridden(topic, 'subscription', qos) as options:
            subscription = self.create_subscription(
                message_type,
                topic,
                take,
                # rclpy writes the overrides into it.
                copy(qos),
                event_callbacks=events,
                qos_overriding_options=options,
            )
        self._endpoints.append((self.destroy_subscription, subscription))
        return subscription

    def stop_listening(self, subscription: Subscription[Any]) -> None:
        """
        End one subscription before cleanup ends the others.

        """
        self._endpoints.remove((self.destroy_subscription, subscription))
        self.destroy_subscription(subscription)

    def every(self, period_s: float, callback: Callable[[], None]) -> None:
        """
        Call back periodically (steady clock) while the node is active.

        """
        guarded = self._guarded(callback)
        # rclpy counts a timer callback's arguments: one that takes any would be given a TimerInfo.
        timer = self._steady_timer(period_s, lambda: guarded())
        self._endpoints.append((self.destroy_timer, timer))

    def _steady_timer(self, period_s: float, callback: Callable[[], None]) -> Timer:
        # Without a clock of its own, a timer runs on the node's ROS clock and stands still for as
        # long as the wall clock was set back.
        return self.create_timer(period_s, callback, clock=self._steady_clock)

    def publish_on(self, message_type: type, topic: str, qos: QoSProfile) -> Publisher[Any]:
        """
        Make a publisher.

        """
        with self._overridden(topic, 'publisher', qos) as options:
            publisher = self.create_publisher(
                message_type, topic, copy(qos), qos_overriding_options=options
            )
        self._endpoints.append((self.destroy_publisher, publisher))
        return publisher

    @contextmanager
    def _overridden(
        self, topic: str, end: str, qos: QoSProfile
    ) -> Iterator[QoSOverridingOptions | None]:
        """
        Give what the parameter file may change of an endpoint; says which value is refused.

        Only what is given becomes a parameter: what is not may change while the node runs, as the
        reliability of an image does.

        """
        prefix = f'qos_overrides.{self.resolve_topic_name(topic)}.{end}.'
        given = {
            name.removeprefix(prefix): override.value
            for name, override in self._parameter_overrides.items()
            if name.startswith(prefix)
        }
        if not given:
            yield None
            return
        values = ', '.join(f'{prefix}{policy} = {value!r}' for policy, value in given.items())
        try:
            yield overriding_options(qos, given)
        except (InvalidQosOverridesError, RuntimeError, SettingError) as error:
            cause = str(error).partition('are not valid: ')[2] or str(error)
            raise SettingError(f'{values} is refused: {cause}') from error

    def serve(
        self, service_type: type, name: str, answer: Callable[[Any], str | Awaitable[str]]
    ) -> None:
        """
        Offer a service whose response has `success` and `message`.

        Parameters
        ----------
        answer : callable
            Takes the request, gives the message of success, raises InspectionError when it is
            refused. May be a coroutine function: then the executor goes on while it waits.

        """

        async def callback(request: Any, response: Any) -> Any:
            try:
                if not self.is_active:
                    raise InspectionError(f'{self.get_name()} is not active')
                message = answer(request)
                response.message = message if isinstance(message, str) else await message
                response.success = True
            except Exception as error:  # noqa: BLE001 - the node's edge: a service must answer
                response.success = False
                response.message = f'{name} refused: {self.describe(error)}'
            return response

        # A group of its own: while a coroutine waits, executors hold up the rest of its group.
        group = ReentrantCallbackGroup()
        service = self.create_service(service_type, name, callback, callback_group=group)
        self._endpoints.append((self.destroy_service, service))

    def serve_action(
        self, action_type: Any, name: str, work: Callable[[Goal], Coroutine[Any, Any, Any]]
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

        """
        if name in self._actions:
            self._actions[name].work = work
        else:
            self._actions[name] = OneGoalServer(self, action_type, name, work)

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

    # Problems and diagnostics

    def report(self, topic: str, level: bytes, text: str) -> None:
        """
        Keep a problem in the diagnostics until `clear`; logs it when it is new.

        """
        with self._problems_lock:
            is_new = self._problems.get(topic) != (level, text)
            self._problems[topic] = (level, text)
            self._events_end_s.pop(topic, None)
        # rclpy refuses two severities from one line of code.
        if is_new and level == ERROR:
            self.get_logger().error(text)
        elif is_new:
            self.get_logger().warning(text)

    def report_event(self, topic: str, level: bytes, text: str, *, counted_as: str) -> None:
        """
        Log something that happened once, show it in the diagnostics for a while, and count it.

        Parameters
        ----------
        topic : str
            What it is about; a newer event of the same topic takes its place.
        level : bytes
            WARN or ERROR.
        text : str
            One sentence.
        counted_as : str
            Name of the count among the values of the diagnostics, as 'bad messages'.

        """
        self.report(topic, level, text)
        with self._problems_lock:
            self._events_end_s[topic] = steady_s() + _EVENT_SHOWN_S
            self._event_counts[counted_as] += 1

    def _end_events(self) -> None:
        now = steady_s()
        with self._problems_lock:
            for topic in [topic for topic, end_s in self._events_end_s.items() if end_s <= now]:
                del self._events_end_s[topic]
                self._problems.pop(topic, None)

    def clear(self, topic: str) -> None:
        """
        Take a problem out of the diagnostics.

        """
        with self._problems_lock:
            self._problems.pop(topic, None)
            self._events_end_s.pop(topic, None)

    def problem(self, topic: str) -> str | None:
        """
        Give the text of a problem that is reported and not cleared; None when there is none.

        """
        with self._problems_lock:
            reported = self._problems.get(topic)
        return reported[1] if reported else None

    def publish_diagnostics(self) -> None:
        """
        Publish the state of the node on /diagnostics.

        """
        self._end_events()
        with self._problems_lock:
            counts = dict(self._event_counts)
            reported = dict(self._problems)
        state = 'active' if self.is_active else 'not active'
        name = self.get_fully_qualified_name()
        message = DiagnosticArray(
            status=[
                _status(
                    name,
                    [reported[topic] for topic in reported if topic not in self.concerns],
                    {'state': state, **self.diagnostic_values(), **counts},
                    state,
                ),
                *(
                    _status(
                        f'{name}: {concern}',
                        [reported[topic] for topic in reported if topic == problem],
                        {},
                        'no problem',
                    )
                    for problem, concern in self.concerns.items()
                ),
            ]
        )
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)

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

    def _destroy_endpoints(self) -> None:
        for destroy, endpoint in reversed(self._endpoints):
            destroy(endpoint)
        self._endpoints.clear()
        self._latched.clear()

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

    def _guarded(self, callback: Callable[..., None]) -> Callable[..., None]:
        def guarded(*arguments: Any) -> None:
            if not self.is_active:
                return
            try:
                callback(*arguments)
            except ROSInterruptException:
                raise
            except Exception as error:  # noqa: BLE001 - the node's edge: one bad message must not stop the line
                name = callback.__name__
                self.report_event(
                    name,
                    ERROR,
                    f'{name.strip("_")}: {self.describe(error)}',
                    counted_as='failed callbacks' if not arguments else 'bad messages',
                )

        return guarded

    def describe(self, error: Exception) -> str:
        """
        Say in one line what an error is; the log gets the trace of one that was not raised on
        purpose, once.

        """
        if isinstance(error, InspectionError):
            return str(error)
        trace = ''.join(traceback.format_exception(error))
        if trace != self._last_trace:
            self.get_logger().error(trace)
            self._last_trace = trace
        return f'{type(error).__name__}: {error}'

    def report_incompatible_qos(self, topic: str, event: Any) -> None:
        """
        Say in the diagnostics that a publisher on a topic is not heard, and what it must offer.

        """
        policy = qos_policy_name_from_kind(event.last_policy_kind)
        self.report(
            f'qos {topic}',
            WARN,
            f'a publisher on {topic} offers a quality of service we cannot take ({policy}): '
            'none of its messages arrive. Make it reliable; on latched topics transient-local.',
        )

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


def _status(
    name: str, problems: list[tuple[bytes, str]], values: dict[str, object], all_is_well: str
) -> DiagnosticStatus:
    problems = sorted(problems, reverse=True)
    return DiagnosticStatus(
        name=name,
        hardware_id='anomaly_inspection',
        level=problems[0][0] if problems else OK,
        message='; '.join(text for _, text in problems) or all_is_well,
        values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
    )


def steady_s() -> float:
    """
    Give the steady clock's time, seconds.

    """
    return time.monotonic()
