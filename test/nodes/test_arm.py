# SPDX-License-Identifier: Apache-2.0
"""
The sorter node with an arm over DDS: the simulated one, and one that a test plays.

"""

import math
import re
import subprocess
import sys
import threading
import time

import pytest

pytest.importorskip('anomaly_inspection.msg', reason='needs ROS 2 and the built messages')

from rclpy.action import CancelResponse, GoalResponse
from rclpy.parameter import Parameter
from std_srvs.srv import Trigger

from anomaly_inspection.action import SortPart
from anomaly_inspection.msg import (
    BeltEncoder,
    Decision,
    LineStop,
    Part,
    PartPose,
    SimulatedArmState,
    SimulatedPart,
    SortEvent,
)
from anomaly_inspection.nodes.action_server import UnpolledServer
from anomaly_inspection.nodes.belt_face import BeltParameters, EncoderReader
from anomaly_inspection.nodes.qos import EVENT, KEPT_EVENT, LATCHED, SENSOR
from anomaly_inspection.nodes.simulated_arm_node import SimulatedArmNode
from anomaly_inspection.nodes.sorter_node import SorterNode
from anomaly_inspection.nodes.spinning import NodeThread
from anomaly_inspection.nodes.stamps import stamp_from_nanoseconds
from anomaly_inspection.steady_clock import steady_clock_id
from support.cell_bench import NodeBench, Peer
from support.paths import ROOT

pytestmark = pytest.mark.ros

SPEED, DISTANCE = 0.25, 0.4
SORTER = {
    'gate': 'action',
    'belt': 'encoder',
    'belt_speed_m_per_s': SPEED,
    'gate_distance_m': DISTANCE,
    # Wide enough for a machine that is busy with other tests.
    'encoder_silence_s': 2.0,
    'pick_tolerance_m': 0.02,
    'pick_answer_s': 2.0,
    'pick_place_s': 3.0,
    'pick_needs_pose': False,
}
ARM = {
    'pick_distance_m': DISTANCE,
    'belt_speed_m_per_s': SPEED,
    'encoder_silence_s': 2.0,
    'miss_rate': 0.0,
    'catch_m': 0.02,
    'autostart': True,
}
PLACED = (SortEvent.ACTION_PASSED, SortEvent.OUTCOME_CONFIRMED, SortEvent.CAUSE_DECISION)
LEFT = (SortEvent.ACTION_REJECTED, SortEvent.OUTCOME_CONFIRMED)


class Belt(Peer):
    """
    Plays belt, camera and decider.

    """

    def __init__(self, context):
        super().__init__(context)
        self.events = self.hear(SortEvent, 'sort_event', EVENT)
        self.line_stops = self.hear(LineStop, 'line_stop', LATCHED)
        self.states = self.hear(SimulatedArmState, 'simulated_arm_state', KEPT_EVENT)
        self.part_out = self.create_publisher(Part, 'part', EVENT)
        self.decision_out = self.create_publisher(Decision, 'decision', EVENT)
        self.pose_out = self.create_publisher(PartPose, 'part_pose', EVENT)
        self.encoder_out = self.create_publisher(BeltEncoder, 'encoder', SENSOR)
        self.laid_out = self.create_publisher(SimulatedPart, 'simulated_part', KEPT_EVENT)
        self.is_silent = False
        self.start_s = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._move)
        self._thread.start()

    @property
    def position_m(self):
        return SPEED * (time.monotonic() - self.start_s)

    def _move(self):
        while not self._ended.wait(0.01):
            message = BeltEncoder(position=self.position_m)
            message.header.stamp = self.get_clock().now().to_msg()
            if not self.is_silent:
                self.encoder_out.publish(message)

    def destroy_node(self):
        self._ended.set()
        self._thread.join()
        super().destroy_node()

    def lay(self, part_id, *, passes=True):
        """
        Lay a part before the camera and decide it; with None no decision comes.

        """
        now_ns = time.monotonic_ns()
        position_m = SPEED * (1e-9 * now_ns - self.start_s)
        self.laid_out.publish(SimulatedPart(number=part_id, encoder_position=position_m))
        self.part_out.publish(
            Part(
                session_id='test',
                part_id=part_id,
                frame_stamps=[stamp_from_nanoseconds(part_id)],
                frame_names=[''],
                frame_problems=[''],
                is_complete=True,
                exposure_steady_ns=now_ns,
                steady_clock_id=steady_clock_id(),
            )
        )
        if passes is not None:
            verdict = Decision.VERDICT_PASS if passes else Decision.VERDICT_REJECT
            self.decision_out.publish(
                Decision(session_id='test', part_id=part_id, verdict=verdict)
            )
        return position_m

    @property
    def tray(self):
        put_tray = SimulatedArmState.PUT_TRAY
        return [state.put_number for state in self.states if state.put == put_tray]


class ForeignArm(Peer):
    """
    An arm that does what a test says.

    """

    def __init__(self, context):
        super().__init__(context, 'foreign_arm')
        self.goals = []
        self.cancels = []
        self.accepts = True
        self.server = UnpolledServer(
            self,
            SortPart,
            'sort_part',
            execute_callback=lambda handle: None,
            goal_callback=self._answer,
            cancel_callback=self._cancel,
        )
        self.server.began = self.goals.append

    def _answer(self, goal):
        return GoalResponse.ACCEPT if self.accepts else GoalResponse.REJECT

    def _cancel(self, handle):
        self.cancels.append(handle)
        return CancelResponse.ACCEPT

    def end(self, handle, **fields):
        handle.succeed()
        result = SortPart.Result(**fields)
        self.server.send_result(handle, lambda _: result)

    def destroy_node(self):
        self.server.destroy()
        super().destroy_node()


class Bench(NodeBench):
    def __init__(self, context, **parameters):
        self.belt = Belt(context)
        super().__init__(SorterNode, self.belt, **{**SORTER, **parameters})
        self.arm = None

    def add(self, make):
        node = make()
        thread = NodeThread([node], node.get_name(), context=self.peer.context)
        thread.start()
        self.others.append((thread, node))
        self.arm = node
        return node

    def add_arm(self, **parameters):
        given = [Parameter(name, value=v) for name, v in {**ARM, **parameters}.items()]
        return self.add(
            lambda: SimulatedArmNode(context=self.peer.context, parameter_overrides=given)
        )

    def remove_arm(self):
        thread, node = self.others.pop()
        thread.stop()
        node.shut_down()
        node.destroy_node()

    def ready(self):
        self.wait_until_active()
        belt = self.belt
        publishers = [belt.part_out, belt.decision_out]
        if self.node.parameters.belt == 'encoder':
            publishers.append(belt.encoder_out)
        for publisher in publishers:
            self.wait(lambda publisher=publisher: publisher.get_subscription_count() >= 1)
        if isinstance(self.arm, SimulatedArmNode):
            self.wait(lambda: self.arm.is_active)
            self.wait(lambda: belt.laid_out.get_subscription_count() == 1)
            self.wait(lambda: belt.encoder_out.get_subscription_count() == 2)
            self.wait(lambda: belt.states)
        self.wait(lambda: belt.line_stops)
        # A part is placed only where the belt was known at its exposure.
        self.let_run(0.3 * SPEED)
        return self

    def let_run(self, metres):
        end_m = self.belt.position_m + metres
        self.wait(lambda: self.belt.position_m > end_m)

    def event(self, part_id):
        def found():
            return [event for event in self.belt.events if event.part_id == part_id]

        self.wait(found)
        assert len(found()) == 1
        return found()[0]

    def outcome(self, part_id):
        event = self.event(part_id)
        return event.action, event.outcome, event.cause

    def goal(self):
        self.wait(lambda: self.arm.goals)
        return self.arm.goals[-1]

    def stop_reason(self):
        self.wait(lambda: self.belt.line_stops[-1].active)
        return self.belt.line_stops[-1].reason

    def reset(self):
        self.wait(lambda: self.call(Trigger, 'sorter/reset').success)
        self.wait(lambda: not self.belt.line_stops[-1].active)


@pytest.fixture
def make_bench(ros_context):
    benches = []

    def make(arm='simulated', arm_parameters=None, **parameters):
        bench = Bench(ros_context, **parameters)
        benches.append(bench)
        if arm == 'simulated':
            bench.add_arm(**(arm_parameters or {}))
        else:
            bench.add(lambda: ForeignArm(ros_context))
        return bench.ready()

    yield make
    for bench in benches:
        bench.close()


# The simulated arm


def test_good_parts_are_placed_and_bad_ones_run_into_reject(make_bench):
    bench = make_bench()
    for part_id in (1, 2, 3):
        bench.belt.lay(part_id, passes=part_id != 2)
        bench.let_run(0.8 * SPEED)
    assert bench.outcome(1) == PLACED
    assert bench.outcome(3) == PLACED
    assert bench.outcome(2) == (*LEFT, SortEvent.CAUSE_DECISION)
    bench.wait(lambda: bench.belt.tray == [1, 3])
    assert not bench.belt.line_stops[-1].active


def test_a_neighbour_that_comes_too_close_after_the_goal_cancels_it(make_bench):
    bench = make_bench()
    bench.belt.lay(1)
    bench.wait(lambda: bench.arm._arm.goal or bench.arm._arm.waiting)
    bench.belt.lay(2)
    assert bench.outcome(1) == (*LEFT, SortEvent.CAUSE_TOO_CLOSE)
    assert bench.outcome(2) == (*LEFT, SortEvent.CAUSE_TOO_CLOSE)
    assert bench.belt.tray == []
    assert not bench.belt.line_stops[-1].active


def test_an_arm_that_takes_the_neighbour_is_stopped_before_the_tray(make_bench):
    bench = make_bench(arm_parameters={'fault': 'neighbour', 'carry_s': 2.0})
    bench.belt.lay(1)
    bench.let_run(0.5 * SPEED)
    bench.belt.lay(2, passes=False)
    assert 'away from the part' in bench.stop_reason()
    assert bench.outcome(1)[1] == SortEvent.OUTCOME_FAILED
    put_reject = SimulatedArmState.PUT_REJECT
    bench.wait(lambda: [s.put_number for s in bench.belt.states if s.put == put_reject])
    assert bench.belt.tray == []


def test_an_arm_that_claims_what_it_has_not_done_stops_the_line(make_bench):
    bench = make_bench(arm_parameters={'fault': 'lies'})
    bench.belt.lay(1)
    assert 'further than the belt has come' in bench.stop_reason()
    assert bench.outcome(1) == (
        SortEvent.ACTION_PASSED,
        SortEvent.OUTCOME_FAILED,
        SortEvent.CAUSE_GATE_FAILED,
    )


def test_after_a_silent_encoder_a_reset_is_enough(make_bench):
    silence = {'encoder_silence_s': 0.5}
    bench = make_bench(arm_parameters=silence, **silence)
    bench.belt.lay(1)
    bench.wait(lambda: bench.node._arm.under_way)
    bench.belt.is_silent = True
    assert 'encoder' in bench.stop_reason()
    assert bench.outcome(1)[2] == SortEvent.CAUSE_LINE_STOPPED
    bench.belt.is_silent = False
    bench.reset()
    bench.let_run(0.5 * SPEED)
    bench.belt.lay(2)
    assert bench.outcome(2) == PLACED
    assert bench.belt.tray == [2]


def test_a_lost_arm_stops_the_line_and_a_new_one_goes_on_after_a_reset(make_bench):
    bench = make_bench()
    bench.remove_arm()
    assert "nobody offers the action 'sort_part'" in bench.stop_reason()
    bench.add_arm()
    bench.wait(lambda: bench.arm.is_active)
    bench.reset()
    bench.belt.lay(1)
    assert bench.outcome(1) == PLACED


def test_the_sorter_waits_for_an_arm(ros_context):
    bench = Bench(ros_context)
    try:
        bench.wait(lambda: bench.belt.line_stops)
        assert 'no arm within 3 s' in bench.stop_reason()
        assert not bench.node.is_active
        bench.add_arm()
        bench.wait_until_active()
        bench.wait(lambda: not bench.belt.line_stops[-1].active)
    finally:
        bench.close()


def test_a_stopped_line_cancels_the_goals_and_the_arm_leaves_the_parts(make_bench):
    bench = make_bench()
    bench.belt.lay(1)
    bench.wait(lambda: bench.node._arm.under_way)
    bench.node._sorter.stop_line('a person', time.monotonic())
    bench.node._wake.set()
    assert bench.outcome(1) == (*LEFT, SortEvent.CAUSE_LINE_STOPPED)
    assert bench.belt.tray == []


@pytest.mark.parametrize(
    ('fields', 'words'),
    [
        ({'verdict': SortPart.Goal.VERDICT_REJECT, 'encoder_position': 1.0}, 'verdict 2; allowed'),
        ({'verdict': SortPart.Goal.VERDICT_PASS, 'encoder_position': math.nan}, 'belt: encoder'),
    ],
)
def test_the_simulated_arm_refuses_what_it_must_not_do(make_bench, fields, words):
    bench = make_bench()
    sent = bench.send_goal(SortPart, 'sort_part', session_id='test', part_id=1, **fields)
    answer = sent.answer()
    assert answer.result.outcome == SortPart.Result.OUTCOME_FAILED
    assert words in answer.result.message
    assert not answer.result.success


# An arm of somebody else


def test_a_goal_says_all_that_an_arm_needs(make_bench):
    bench = make_bench('foreign', pick_needs_pose=True)
    place_m = bench.belt.lay(1) + DISTANCE
    time.sleep(0.3)
    assert bench.arm.goals == []
    pose = PartPose(session_id='test', part_id=1, x_px=12.5, is_sure=True)
    bench.belt.pose_out.publish(pose)
    goal = bench.goal().request
    assert (goal.session_id, goal.part_id, goal.verdict) == ('test', 1, Decision.VERDICT_PASS)
    assert goal.encoder_position == pytest.approx(place_m, abs=0.005)
    assert goal.encoder_m_per_unit == 1.0
    assert goal.has_pose
    assert goal.pose.x_px == 12.5
    assert goal.belt_speed_m_per_s == pytest.approx(SPEED, rel=0.2)
    assert goal.steady_clock_id == steady_clock_id()
    left_s = 1e-9 * (goal.valid_until_steady_ns - time.monotonic_ns())
    assert 20.0 < left_s <= 30.0


def test_a_goal_on_a_belt_without_an_encoder_says_when_the_part_passes(make_bench):
    bench = make_bench('foreign', belt='constant_speed')
    laid_s = time.monotonic()
    bench.belt.lay(1)
    handle = bench.goal()
    goal = handle.request
    assert math.isnan(goal.encoder_position)
    passes_s = 1e-9 * goal.passes_at_steady_ns
    assert passes_s == pytest.approx(laid_s + DISTANCE / SPEED, abs=0.02)
    time.sleep(max(0.0, passes_s + 0.1 - time.monotonic()))
    bench.arm.end(handle, outcome=SortPart.Result.OUTCOME_PLACED, gripped_at=goal.passes_at)
    assert bench.outcome(1) == PLACED


def test_a_place_becomes_counts_that_wrap_around_and_comes_back():
    parameters = BeltParameters(encoder_m_per_count=0.001, encoder_wraps_at=100.0)
    reader = EncoderReader(parameters)
    for counts in (10.0, 60.0, 5.0, 55.0, 2.0):
        position_m, _ = reader.read(BeltEncoder(position=counts))
    assert position_m == pytest.approx(0.202)
    for ahead_m in (-0.03, 0.0, 0.04):
        counts = reader.counts(position_m + ahead_m)
        assert 0.0 <= counts < 100.0
        assert reader.metres(counts) == pytest.approx(position_m + ahead_m)


def test_a_goal_that_the_arm_rejects_leaves_the_part(make_bench):
    bench = make_bench('foreign')
    bench.arm.accepts = False
    bench.belt.lay(1)
    assert bench.outcome(1) == (*LEFT, SortEvent.CAUSE_NOT_PICKED)
    assert not bench.belt.line_stops[-1].active


def test_an_arm_without_a_result_stops_the_line_in_the_end(make_bench):
    bench = make_bench('foreign', pick_place_s=0.5)
    bench.belt.lay(1)
    bench.goal()
    assert bench.outcome(1) == (
        SortEvent.ACTION_PASSED,
        SortEvent.OUTCOME_FAILED,
        SortEvent.CAUSE_GATE_FAILED,
    )
    assert 'look into the tray' in bench.stop_reason()
    # Its goal was cancelled.
    bench.wait(lambda: len(bench.arm.cancels) == 1)
    bench.reset()
    assert bench.node._arm.under_way == 0


@pytest.mark.parametrize(
    ('fields', 'words'),
    [
        ({}, 'the result says outcome 0'),
        ({'outcome': SortPart.Result.OUTCOME_FAILED, 'message': 'no air'}, 'no air'),
        ({'outcome': SortPart.Result.OUTCOME_PLACED, 'tray': 'left'}, 'in tray left'),
        (
            {
                'outcome': SortPart.Result.OUTCOME_PLACED,
                'gripped_encoder_position': float('nan'),
            },
            'does not say where it gripped',
        ),
    ],
)
def test_a_result_that_does_not_fit_stops_the_line(make_bench, fields, words):
    bench = make_bench('foreign')
    bench.belt.lay(1)
    bench.arm.end(bench.goal(), **fields)
    assert bench.outcome(1)[1] == SortEvent.OUTCOME_FAILED
    assert words in bench.stop_reason()


@pytest.fixture
def documented(ros_context, tmp_path):
    """
    A sorter with the program of docs/robot.md, whose arm says what it does.

    """
    page = (ROOT / 'docs' / 'robot.md').read_text(encoding='utf-8')
    _, text = re.findall(r'```python\n(.*?)```', page, re.DOTALL)
    text = text.replace('SILENCE_S = 0.1', 'SILENCE_S = 2.0')
    for what, does in (
        ('Follow the belt', 'print("closed", flush=True); return True'),
        ('Put the part away', 'print("placed", flush=True)'),
        ('Drop the part', 'print("dropped", flush=True)'),
    ):
        text, count = re.subn(rf'"""{what}.*"""', does, text)
        assert count == 1
    program = tmp_path / 'arm.py'
    program.write_text(text)
    process = subprocess.Popen(
        [sys.executable, program, '--ros-args', '-r', '__ns:=/'], stdout=subprocess.PIPE, text=True
    )
    bench = Bench(ros_context)

    def end():
        process.terminate()
        return process.communicate(timeout=20)[0].split()

    bench.end_arm = end
    try:
        yield bench.ready()
    finally:
        bench.close()
        if process.poll() is None:
            process.kill()
            process.communicate()


def test_the_program_of_the_documents_picks_good_parts(documented):
    documented.belt.lay(1)
    assert documented.outcome(1) == PLACED
    documented.belt.lay(2, passes=False)
    assert documented.outcome(2) == (*LEFT, SortEvent.CAUSE_DECISION)
    assert not documented.belt.line_stops[-1].active
    assert documented.end_arm() == ['closed', 'placed']


def test_the_program_of_the_documents_obeys_a_cancelled_goal(documented):
    documented.belt.lay(1)
    documented.wait(lambda: documented.node._arm.under_way)
    documented.node._sorter.stop_line('a person', time.monotonic())
    documented.node._wake.set()
    assert documented.outcome(1) == (*LEFT, SortEvent.CAUSE_LINE_STOPPED)
    assert 'placed' not in documented.end_arm()


def test_a_gate_that_rests_in_pass_cannot_be_an_arm(ros_context):
    bench = Bench(ros_context, gate_rests_in='pass')
    try:
        bench.wait(lambda: bench.node.problem('lifecycle'))
        assert "gate_rests_in 'pass' with gate 'action'" in bench.node.problem('lifecycle')
    finally:
        bench.close()
