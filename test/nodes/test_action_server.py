# SPDX-License-Identifier: Apache-2.0
"""
Actions of the base class over DDS, on both executors: refusal, feedback, cancel, end.

"""

from concurrent.futures import Future as Reported
import threading
import time

import pytest

pytest.importorskip('anomaly_inspection.msg', reason='needs ROS 2 and the built messages')

from action_msgs.msg import GoalStatus
from rclpy.action.server import ServerGoalHandle
from rclpy.executors import SingleThreadedExecutor
from rclpy.task import Future

from anomaly_inspection.action import Calibrate
from anomaly_inspection.errors import SettingError
from anomaly_inspection.nodes import spinning
from anomaly_inspection.nodes.action_server import GoalEndedError
from anomaly_inspection.nodes.inspection_node import InspectionNode, NodeParameters
from support.cell_bench import NodeBench, Peer

pytestmark = pytest.mark.ros


class CounterNode(InspectionNode[NodeParameters]):
    """
    Counts the parts it is told of; a goal ends at the number it asks for.

    """

    def __init__(self, **options):
        self.parts = Future()
        self.cleaned_up = []
        super().__init__('counter', NodeParameters, **options)

    def configure(self):
        self.serve_action(Calibrate, '~/count', self._count)

    async def _count(self, goal):
        if goal.request.parts == 0:
            raise SettingError('parts 0, allowed: 1 or more')
        if goal.request.parts == 13:
            raise ZeroDivisionError('there is no part')
        for part in range(goal.request.parts):
            goal.tell(parts=part, parts_wanted=goal.request.parts, detail='counting')
            try:
                await goal.wait(self.part_comes())
            except GoalEndedError as end:
                self.cleaned_up.append(part)
                raise GoalEndedError(f'{end}; {part} parts were counted') from None
        return f'{goal.request.parts} parts'

    def part_comes(self):
        self.parts = Future(executor=self.executor)
        return self.parts


class Bench(NodeBench):
    """
    A counter, and a client of its action.

    """

    def __init__(self, context):
        super().__init__(CounterNode, Peer(context))

    def send(self, parts):
        return self.send_goal(Calibrate, 'counter/count', parts=parts)

    def until_told(self, goal, parts):
        self.wait(lambda: goal.feedback and goal.feedback[-1].parts == parts)

    def under_way(self, parts):
        """
        Send a goal that waits for its first part.

        """
        goal = self.send(parts)
        self.until_told(goal, 0)
        return goal

    def one_more_goal(self):
        goal = self.under_way(1)
        self.node.parts.set_result(None)
        assert goal.result() == (SUCCEEDED, True, '1 parts')


@pytest.fixture(params=['events', 'single'])
def bench(request, ros_context, monkeypatch):
    if request.param == 'single':
        monkeypatch.setattr(
            spinning, '_new_executor', lambda context: SingleThreadedExecutor(context=context)
        )
    bench = Bench(ros_context).wait_until_active()
    yield bench
    bench.close()


SUCCEEDED, ABORTED, CANCELED = (
    GoalStatus.STATUS_SUCCEEDED,
    GoalStatus.STATUS_ABORTED,
    GoalStatus.STATUS_CANCELED,
)


def test_a_goal_gives_feedback_and_its_result(bench):
    goal = bench.send(3)
    for part in range(3):
        bench.until_told(goal, part)
        bench.node.parts.set_result(None)
    assert goal.result() == (SUCCEEDED, True, '3 parts')
    assert [message.parts_wanted for message in goal.feedback] == [3, 3, 3]
    assert goal.result() == (SUCCEEDED, True, '3 parts'), 'who asks again hears it again'


@pytest.mark.parametrize(
    ('parts', 'says'),
    [
        (0, 'count: parts 0, allowed: 1 or more'),
        (13, 'count: ZeroDivisionError: there is no part'),
    ],
)
def test_a_goal_that_is_refused_or_fails_says_why_and_the_next_one_runs(bench, parts, says):
    assert bench.send(parts).result() == (ABORTED, False, says)
    bench.one_more_goal()


def test_one_goal_at_a_time(bench):
    first = bench.under_way(1)
    status, success, message = bench.send(1).result()
    assert (status, success) == (ABORTED, False)
    assert message == 'count refused: a goal is under way already: wait for its end or cancel it'
    bench.node.parts.set_result(None)
    assert first.result() == (SUCCEEDED, True, '1 parts')


def test_a_cancelled_goal_cleans_up_and_says_so(bench):
    goal = bench.under_way(5)
    bench.node.parts.set_result(None)
    bench.until_told(goal, 1)
    assert goal.cancel()
    assert goal.result() == (CANCELED, False, 'count: cancelled; 1 parts were counted')
    assert bench.node.cleaned_up == [1]
    assert not goal.cancel(), 'it has ended'
    bench.node.parts.set_result(None)
    bench.one_more_goal()


def test_a_goal_ends_when_its_node_is_deactivated_and_none_begins_before_it_is_active(bench):
    goal = bench.under_way(5)
    bench.node.trigger_deactivate()
    assert bench.node.cleaned_up == [0], 'at once'
    says = 'count: the counter was stopped; 0 parts were counted'
    assert goal.result() == (ABORTED, False, says)
    refused = (ABORTED, False, 'count refused: counter is not active')
    assert bench.send(1).result() == refused
    bench.node.trigger_cleanup()
    assert bench.send(1).result() == refused
    bench.node.trigger_configure()
    bench.node.trigger_activate()
    bench.one_more_goal()


def test_a_goal_that_waits_costs_no_processor_time(bench):
    bench.under_way(1)
    executor, used = bench.node.executor, Reported()

    def begin():
        before = time.thread_time()

        def end():
            used.set_result(time.thread_time() - before)

        threading.Timer(0.5, lambda: executor.create_task(end)).start()

    executor.create_task(begin)
    # A task that is polled takes all of the half second.
    assert used.result(20) < 0.25


def test_a_result_that_cannot_be_sent_leaves_the_node_alive(bench, monkeypatch):
    with monkeypatch.context() as patch:
        tried = []

        def fail(handle):
            tried.append(handle)
            raise RuntimeError('the client has gone')

        patch.setattr(ServerGoalHandle, 'abort', fail)
        bench.send(0)
        bench.wait(lambda: tried)
    bench.one_more_goal()


def test_a_goal_gets_its_result_when_the_process_ends(bench):
    goal = bench.under_way(5)
    asked = goal.handle.get_result_async()
    (result,) = bench.node._actions['~/count']._server._result_futures.values()
    bench.wait(lambda: result._callbacks)
    bench.threads[0].stop()
    bench.wait(asked.done)
    assert asked.result().result.message == 'count: the counter was stopped; 0 parts were counted'
