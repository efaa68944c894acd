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
from rclpy.action import ActionClient
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
    def __init__(self, context, **parameters):
        super().__init__(CounterNode, Peer(context), **parameters)
        self.client = ActionClient(self.peer, Calibrate, 'counter/count')
        self.feedback = []

    def send(self, parts):
        """
        Send a goal; give its handle, which was accepted.

        """
        self.wait(self.client.server_is_ready)
        future = self.client.send_goal_async(
            Calibrate.Goal(parts=parts), lambda message: self.feedback.append(message.feedback)
        )
        self.wait(future.done)
        assert future.result().accepted
        return future.result()

    def result(self, handle):
        future = handle.get_result_async()
        self.wait(future.done)
        answer = future.result()
        return answer.status, answer.result.success, answer.result.message

    def until_feedback(self, parts):
        self.wait(lambda: self.feedback and self.feedback[-1].parts == parts)

    def close(self):
        self.client.destroy()
        super().close()


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
    handle = bench.send(3)
    for part in range(3):
        bench.until_feedback(part)
        bench.node.parts.set_result(None)
    assert bench.result(handle) == (SUCCEEDED, True, '3 parts')
    assert [message.parts_wanted for message in bench.feedback] == [3, 3, 3]
    assert bench.result(handle) == (SUCCEEDED, True, '3 parts'), 'who asks again hears it again'


@pytest.mark.parametrize(
    ('parts', 'says'),
    [
        (0, 'count: parts 0, allowed: 1 or more'),
        (13, 'count: ZeroDivisionError: there is no part'),
    ],
)
def test_a_goal_that_is_refused_or_fails_says_why_and_the_next_one_runs(bench, parts, says):
    assert bench.result(bench.send(parts)) == (ABORTED, False, says)
    handle = bench.send(1)
    bench.until_feedback(0)
    bench.node.parts.set_result(None)
    assert bench.result(handle) == (SUCCEEDED, True, '1 parts')


def test_one_goal_at_a_time(bench):
    first = bench.send(1)
    bench.until_feedback(0)
    status, success, message = bench.result(bench.send(1))
    assert (status, success) == (ABORTED, False)
    assert message == 'count refused: a goal is under way already: wait for its end or cancel it'
    bench.node.parts.set_result(None)
    assert bench.result(first) == (SUCCEEDED, True, '1 parts')


def test_a_cancelled_goal_cleans_up_and_says_so(bench):
    handle = bench.send(5)
    bench.until_feedback(0)
    bench.node.parts.set_result(None)
    bench.until_feedback(1)
    future = handle.cancel_goal_async()
    bench.wait(future.done)
    assert len(future.result().goals_canceling) == 1
    assert bench.result(handle) == (CANCELED, False, 'count: cancelled; 1 parts were counted')
    assert bench.node.cleaned_up == [1]
    bench.node.parts.set_result(None)
    handle = bench.send(1)
    bench.until_feedback(0)
    bench.node.parts.set_result(None)
    assert bench.result(handle) == (SUCCEEDED, True, '1 parts')


def test_a_goal_ends_when_its_node_is_deactivated_and_none_begins_before_it_is_active_again(bench):
    handle = bench.send(5)
    bench.until_feedback(0)
    bench.node.trigger_deactivate()
    assert bench.node.cleaned_up == [0], 'at once'
    assert bench.result(handle) == (
        ABORTED,
        False,
        'count: counter was stopped; 0 parts were counted',
    )
    assert bench.result(bench.send(1)) == (ABORTED, False, 'count refused: counter is not active')
    bench.node.trigger_activate()
    handle = bench.send(1)
    bench.wait(lambda: not bench.node.parts.done())
    bench.node.parts.set_result(None)
    assert bench.result(handle) == (SUCCEEDED, True, '1 parts')


def test_a_node_that_is_cleaned_up_with_a_goal_under_way_can_be_configured_again(bench):
    bench.send(5)
    bench.until_feedback(0)
    bench.node.trigger_deactivate()
    bench.node.trigger_cleanup()
    bench.node.trigger_configure()
    bench.node.trigger_activate()
    bench.feedback.clear()
    handle = bench.send(1)
    bench.until_feedback(0)
    bench.node.parts.set_result(None)
    assert bench.result(handle) == (SUCCEEDED, True, '1 parts')


def test_a_goal_that_waits_costs_no_processor_time(bench):
    bench.send(1)
    bench.until_feedback(0)
    executor, used = bench.threads[0]._executor, Reported()

    def begin():
        before = time.thread_time()

        def end():
            used.set_result(time.thread_time() - before)

        threading.Timer(0.5, lambda: executor.create_task(end)).start()

    executor.create_task(begin)
    # A task that is polled takes all of the half second.
    assert used.result(20) < 0.25


def test_a_goal_gets_its_result_when_the_process_ends(bench):
    handle = bench.send(5)
    bench.until_feedback(0)
    future = handle.get_result_async()
    (result,) = bench.node._actions[0]._server._result_futures.values()
    bench.wait(lambda: result._callbacks)
    bench.threads[0].stop()
    bench.wait(future.done)
    assert future.result().result.message == 'count: counter was stopped; 0 parts were counted'
