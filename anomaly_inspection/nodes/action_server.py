# SPDX-License-Identifier: Apache-2.0
"""
Actions of the cell's nodes: one goal at a time, and a reason for every end.

rclpy polls a coroutine that awaits a future: it takes a whole core for as long as a goal lasts.
Here a goal's coroutine is resumed when what it waits for is done, and never in between.

"""

from __future__ import annotations

from typing import Any, Generic, TYPE_CHECKING, TypeVar

from rclpy.action import ActionServer, CancelResponse
from rclpy.callback_groups import ReentrantCallbackGroup

from anomaly_inspection.errors import InspectionError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Generator

    from rclpy.action.server import ServerGoalHandle
    from rclpy.task import Future

    from anomaly_inspection.nodes.inspection_node import InspectionNode

T = TypeVar('T')


class GoalEndedError(InspectionError):
    """
    The goal shall end early: its client cancelled it, or its node stops.

    Raised where a goal waits. Let it pass, or clean up and raise another one with a better
    sentence.

    Parameters
    ----------
    message : str
        Why.
    fields
        Other fields of the result.

    """

    def __init__(self, message: str, **fields: Any) -> None:
        super().__init__(message)
        self.fields = fields


class GoalPreemptedError(GoalEndedError):
    """
    A newer goal takes the place of this one.

    """


class GoalRefusedError(InspectionError):
    """
    The goal is refused, and its result says more than a message.

    Parameters
    ----------
    message : str
        Why.
    fields
        Other fields of the result.

    """

    def __init__(self, message: str, **fields: Any) -> None:
        super().__init__(message)
        self.fields = fields


class Goal:
    """
    A goal under way, as its coroutine sees it.

    Parameters
    ----------
    request : message
        What the client asked for.

    """

    def __init__(self, handle: ServerGoalHandle[Any, Any, Any], action_type: Any) -> None:
        self.request = handle.request
        self._handle = handle
        self._action_type = action_type

    def tell(self, **fields: Any) -> None:
        """
        Send feedback: the fields of the action's feedback by name.

        """
        self._handle.publish_feedback(self._action_type.Feedback(**fields))

    @property
    def is_cancel_requested(self) -> bool:
        """
        Whether the client was told that the goal is being cancelled.

        """
        return self._handle.is_cancel_requested

    def wait(self, future: Future[T]) -> Awaitable[T]:
        """
        Wait for a future, for hours if need be; other callbacks run meanwhile.

        Raises
        ------
        GoalEndedError
            When the client cancels the goal, a newer one takes its place, or the node stops.

        """
        return _Wait(future)


class _Wait(Generic[T]):
    def __init__(self, future: Future[T]) -> None:
        self._future = future

    def __await__(self) -> Generator[Future[T], None, T]:
        yield self._future
        return self._future.result()  # type: ignore[return-value]


class OneGoalServer:
    """
    Offers an action whose result has `success` and `message`; one goal at a time.

    ROS lets nobody say why a goal is rejected. So every goal is accepted, and one that is refused
    is aborted at once, with the reason in the result.

    Parameters
    ----------
    node : InspectionNode
        Where the action is offered; goals are refused while it is not active.
    action_type : type
        The action.
    name : str
        Name of the action, e.g. '~/calibrate'.
    work : coroutine function
        Takes the `Goal`; gives the message of success, or a filled result; raises InspectionError
        when the goal is refused or fails. It waits with `goal.wait` alone, and does nothing that
        takes long itself.
    newest_wins : bool
        A goal that comes while another one is under way ends that one (GoalPreemptedError);
        False: it is refused.
    new_result : callable or None
        Makes a result from fields by name, for goals that fail; None = the action's own.

    """

    def __init__(
        self,
        node: InspectionNode[Any],
        action_type: Any,
        name: str,
        work: Callable[[Goal], Coroutine[Any, Any, Any]],
        *,
        newest_wins: bool = False,
        new_result: Callable[..., Any] | None = None,
    ) -> None:
        self._node = node
        self._action_type = action_type
        self._newest_wins = newest_wins
        self._new_result = new_result or action_type.Result
        self._name = name.rpartition('/')[2]
        self.work = work
        self._run: _Run | None = None
        self._server = UnpolledServer(
            node,
            action_type,
            name,
            execute_callback=lambda handle: None,
            # While a coroutine waits, executors hold up the rest of its group.
            callback_group=ReentrantCallbackGroup(),
            cancel_callback=self._cancel,
        )
        self._server.began = self._begin

    @property
    def is_busy(self) -> bool:
        """
        Whether a goal is under way.

        """
        return self._run is not None

    def end(self, reason: str) -> None:
        """
        End the goal under way, if there is one, because the node stops.

        """
        if self._run is not None:
            self._run.stop(GoalEndedError(reason))

    def destroy(self) -> None:
        """
        Take the action off the network.

        """
        self._server.destroy()

    def _begin(self, handle: ServerGoalHandle[Any, Any, Any]) -> None:
        if self._newest_wins and self._node.is_active and self._run is not None:
            self._run.stop(GoalPreemptedError('a newer goal has taken the place of this one'))
        if not self._node.is_active:
            self._refuse(handle, f'{self._node.get_name()} is not active')
        elif self._run is not None:
            self._refuse(handle, 'a goal is under way already: wait for its end or cancel it')
        else:
            coroutine = self.work(Goal(handle, self._action_type))
            self._run = _Run(self._node, handle, coroutine, self._finish)
            self._run.begin()

    def _cancel(self, handle: ServerGoalHandle[Any, Any, Any]) -> CancelResponse:
        run, executor = self._run, self._node.executor
        if run is None or run.handle != handle or executor is None:
            return CancelResponse.REJECT
        # Not here: rclpy marks the goal as cancelled only after this callback.
        executor.create_task(run.stop, GoalEndedError('cancelled'))
        return CancelResponse.ACCEPT

    def _refuse(self, handle: ServerGoalHandle[Any, Any, Any], reason: str) -> None:
        message = f'{self._name} refused: {reason}'
        self._node.get_logger().warning(message)
        self._send(handle, handle.abort, self._new_result(message=message))

    def _finish(self, run: _Run, outcome: Any) -> None:
        """
        Take what a goal's coroutine gave: a message, a result, or the exception it raised.

        """
        self._run = None
        if not isinstance(outcome, Exception):
            if isinstance(outcome, str):
                outcome = self._new_result(message=outcome)
            outcome.success = True
            self._send(run.handle, run.handle.succeed, outcome)
            return
        message = f'{self._name}: {self._node.describe(outcome)}'
        self._node.get_logger().warning(message)
        is_cancelled = isinstance(outcome, GoalEndedError) and run.handle.is_cancel_requested
        end = run.handle.canceled if is_cancelled else run.handle.abort
        says_more = isinstance(outcome, GoalRefusedError | GoalEndedError)
        fields = outcome.fields if says_more else {}
        self._send(run.handle, end, self._new_result(message=message, **fields))

    def _send(
        self, handle: ServerGoalHandle[Any, Any, Any], end: Callable[[], None], result: Any
    ) -> None:
        def give_result(_: Any) -> Any:
            return result

        try:
            # At once: who watches the status hears of it even if the process ends now.
            end()
            self._server.send_result(handle, give_result)
        except Exception as error:  # noqa: BLE001 - what a task raises ends the process (rclpy 9.1.2)
            text = f'{self._name}: the result could not be sent: {self._node.describe(error)}'
            self._node.get_logger().error(text)


class UnpolledServer(ActionServer[Any, Any, Any]):
    """
    An action server whose goals begin without a task that is polled until they end.

    Set `began`; it takes the handle of each goal that was accepted. Whoever ends a goal by its
    handle then calls `send_result`.

    """

    began: Callable[[ServerGoalHandle[Any, Any, Any]], None]

    def notify_execute(self, goal_handle: Any, execute_callback: Any) -> None:
        """
        Begin with a goal that was accepted.

        """
        self.began(goal_handle)

    def send_result(self, goal_handle: Any, result: Callable[[Any], Any]) -> None:
        """
        Send the result of a goal that has ended, now or when the client asks for it.

        """
        super().notify_execute(goal_handle, result)


class _Run:
    """
    The coroutine of a goal under way.

    """

    def __init__(
        self,
        node: InspectionNode[Any],
        handle: ServerGoalHandle[Any, Any, Any],
        coroutine: Coroutine[Any, Any, Any],
        finish: Callable[[_Run, Any], None],
    ) -> None:
        self.handle = handle
        self._node = node
        self._coroutine = coroutine
        self._finish = finish
        self._waits_for: Any = None
        self._has_ended = False

    def begin(self) -> None:
        """
        Go to where it waits for the first time.

        """
        self._step(lambda: self._coroutine.send(None))

    def resume(self, future: Any) -> None:
        """
        Go on, now that what it waited for is done.

        """
        # It may have been stopped in between, and wait for something else.
        if not self._has_ended and future is self._waits_for:
            self._step(lambda: self._coroutine.send(None))

    def stop(self, error: GoalEndedError) -> None:
        """
        Raise an error where it waits.

        """
        if not self._has_ended:
            self._step(lambda: self._coroutine.throw(error))

    def _step(self, step: Callable[[], Any]) -> None:
        # What the coroutine itself makes done does not resume it: a stop may come from a thread
        # beside the executor's.
        self._waits_for = None
        try:
            waits_for = step()
            if waits_for is None:
                raise TypeError('a goal waits with goal.wait alone')
        except StopIteration as end:
            self._end(end.value)
        except Exception as error:  # noqa: BLE001 - the node's edge: every goal gets its result
            self._coroutine.close()
            self._end(error)
        else:
            self._waits_for = waits_for
            waits_for.add_done_callback(self._done)

    def _done(self, future: Any) -> None:
        # Always from the executor's own loop: what made the future done goes to its end first.
        if self._node.executor is not None:
            self._node.executor.create_task(self.resume, future)

    def _end(self, outcome: Any) -> None:
        self._has_ended = True
        self._finish(self, outcome)
