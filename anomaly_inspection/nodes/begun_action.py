# SPDX-License-Identifier: Apache-2.0
"""
Call the services of other nodes from a thread of the operator's page, and begin actions.

"""

from __future__ import annotations

import threading
from typing import Any, TYPE_CHECKING

from action_msgs.srv import CancelGoal
from rclpy.action import ActionClient

from anomaly_inspection.panel.cell.commands import Answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclpy.lifecycle import LifecycleNode

#: Why a cell with several views refuses to load a recipe.
RECIPE_AT_LAUNCH = (
    'a cell with several views takes its recipe when it is launched (recipe:=), and is taught by '
    '`anomaly-inspection teach --view`'
)
#: How long the answer of another node may take.
ANSWER_TIMEOUT_S = 5.0
# A goal that is refused ends at once; one that goes on has begun.
_REFUSED_WITHIN_S = 0.7


class BegunAction:
    """
    An action whose result has `success` and `message`; nobody here waits for its end.

    Parameters
    ----------
    node : LifecycleNode
        Has the clients; another thread spins it.
    action_type : type
        The action.
    name : str
        Its name, 'decider/calibrate'.
    not_running : str
        The answer while nobody offers it.

    """

    def __init__(
        self, node: LifecycleNode, action_type: type, name: str, not_running: str = ''
    ) -> None:
        self._node = node
        self._server = name.rpartition('/')[0]
        self._not_running = Answer(
            False,
            not_running or f'the {self._server} is not running',
            'not_running',
            {'node': self._server},
        )
        self._client = ActionClient(node, action_type, name)
        # Whoever has begun it, this panel or another program, it can be cancelled from here.
        self._cancel = node.create_client(CancelGoal, f'{name}/_action/cancel_goal')

    def destroy(self) -> None:
        """
        Take the clients off the network.

        """
        self._client.destroy()
        self._node.destroy_client(self._cancel)

    def begin(self, goal: Any, on_end: Callable[[Answer], None] = lambda answer: None) -> Answer:
        """
        Send a goal; answer when it was refused, or has begun.

        Parameters
        ----------
        goal : message
            The goal.
        on_end : callable
            Called with what came of it, on the thread that spins the node.

        """
        if not self._client.server_is_ready():
            return self._not_running
        accepted, ended = threading.Event(), threading.Event()
        outcome: list[Answer] = []

        def take_result(future: Any) -> None:
            answer = future.result().result
            outcome.append(Answer(bool(answer.success), str(answer.message)))
            ended.set()
            on_end(outcome[0])

        def take_handle(future: Any) -> None:
            future.result().get_result_async().add_done_callback(take_result)
            accepted.set()

        self._client.send_goal_async(goal).add_done_callback(take_handle)
        if not accepted.wait(ANSWER_TIMEOUT_S):
            return no_answer(self._server, ANSWER_TIMEOUT_S)
        ended.wait(_REFUSED_WITHIN_S)
        return outcome[0] if outcome else Answer(True, '')

    def cancel(self) -> Answer:
        """
        Cancel what is under way.

        """
        if not self._cancel.service_is_ready():
            return self._not_running
        done = threading.Event()
        # Without the id of a goal it cancels all there are.
        future = self._cancel.call_async(CancelGoal.Request())
        future.add_done_callback(lambda _: done.set())
        if not done.wait(ANSWER_TIMEOUT_S):
            self._cancel.remove_pending_request(future)
            return no_answer(self._server, ANSWER_TIMEOUT_S)
        if not future.result().goals_canceling:
            return Answer(False, 'there is nothing to cancel', 'nothing_to_cancel')
        return Answer(True, 'cancelled')


def not_running(node: str) -> Answer:
    """
    Give the answer when a node is not there.

    """
    return Answer(False, f'the {node} is not running', 'not_running', {'node': node})


def no_answer(node: str, timeout_s: float) -> Answer:
    """
    Give the answer when a node says nothing in time.

    """
    return Answer(
        *(False, f'the {node} did not answer in {timeout_s:g} s', 'no_answer', {'node': node})
    )


def parts_refused(parts: int, least: int, most: int) -> Answer:
    """
    Give the answer when so many parts cannot be asked for.

    """
    return Answer(
        False,
        f'{parts} parts are refused; allowed: {least} to {most}',
        'parts_refused',
        {'parts': str(parts), 'least': str(least), 'most': str(most)},
    )


def call_service(client: Any, request: Any, timeout_s: float = ANSWER_TIMEOUT_S) -> Answer:
    """
    Call a service that answers with `success` and `message`; blocks, never raises.

    """
    if not client.service_is_ready():
        node = client.srv_name.rpartition('/')[0]
        return Answer(
            False, f'{node} is not running', 'not_running', {'node': node.rpartition('/')[2]}
        )
    future = client.call_async(request)
    response = result_of(future, timeout_s)
    if response is None:
        client.remove_pending_request(future)
        return Answer(
            False,
            f'{client.srv_name} did not answer in {timeout_s:g} s',
            'no_answer',
            {'node': client.srv_name.rpartition('/')[0].rpartition('/')[2]},
        )
    more = {'session': response.session} if hasattr(response, 'session') else {}
    return Answer(bool(response.success), str(response.message), values=more)


def result_of(future: Any, timeout_s: float = ANSWER_TIMEOUT_S) -> Any:
    """
    Wait for a future that another thread completes; None = it has not in time.

    """
    done = threading.Event()
    future.add_done_callback(lambda _: done.set())
    return future.result() if done.wait(timeout_s) else None
