# SPDX-License-Identifier: Apache-2.0
"""
The sorter node over DDS: which part the gate opens for, and when the line must stand.

"""

import math
import sys
import threading
import time

import pytest

pytest.importorskip('anomaly_inspection.msg', reason='needs ROS 2 and the built messages')

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.lifecycle import TransitionCallbackReturn
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from anomaly_inspection.msg import Decision, Fault, LineRun, LineStop, Part, SortEvent
from anomaly_inspection.nodes.qos import EVENT, LATCHED, NEWEST
from anomaly_inspection.nodes.sorter_node import SorterNode
from anomaly_inspection.nodes.stamps import nanoseconds_from_stamp, stamp_from_nanoseconds
from anomaly_inspection.sorting.simulated_gate import GateTrouble
from anomaly_inspection.steady_clock import steady_clock_id
from support.cell_bench import NodeBench, Peer

pytestmark = pytest.mark.ros

SUCCESS = TransitionCallbackReturn.SUCCESS
TRAVEL_S = 0.8
# Wide enough for a machine that is busy with other tests.
WINDOW_S = 0.6
SPEED_M_PER_S = 0.5
BELT = {
    'belt_speed_m_per_s': SPEED_M_PER_S,
    'gate_distance_m': TRAVEL_S * SPEED_M_PER_S,
    'window_s': WINDOW_S,
}
# The pitch of the parts that `line_run` counts on.
PITCH_S = WINDOW_S + 0.02
LONG_BELT = {**BELT, 'gate_distance_m': 50.0}


class Line(Peer):
    """
    Plays camera and decider to a real sorter node.

    """

    def __init__(self, context):
        super().__init__(context)
        self.events = self.hear(SortEvent, 'sort_event', EVENT)
        self.line_stops = self.hear(LineStop, 'line_stop', LATCHED)
        self.part_out = self.create_publisher(Part, 'part', EVENT)
        self.decision_out = self.create_publisher(Decision, 'decision', EVENT)
        self.fault_out = self.create_publisher(Fault, 'fault', LATCHED)

    def part(self, part_id):
        self.part_out.publish(
            Part(
                session_id='test',
                part_id=part_id,
                frame_stamps=[stamp_from_nanoseconds(part_id)],
                frame_names=[''],
                frame_problems=[''],
                is_complete=True,
                exposure_steady_ns=time.monotonic_ns(),
                steady_clock_id=steady_clock_id(),
            )
        )

    def decide(self, part_id, verdict=Decision.VERDICT_PASS):
        self.decision_out.publish(Decision(session_id='test', part_id=part_id, verdict=verdict))

    def fault(self, reason):
        cause = Fault.CAUSE_NO_SCORES if reason else Fault.CAUSE_UNKNOWN
        self.fault_out.publish(Fault(active=bool(reason), reason=reason, cause=cause))


class Bench(NodeBench):
    def __init__(self, context, **parameters):
        self.line = Line(context)
        super().__init__(SorterNode, self.line, **parameters)

    def ready(self):
        self.wait_until_active()
        for publisher in (self.line.part_out, self.line.decision_out, self.line.fault_out):
            self.wait(lambda publisher=publisher: publisher.get_subscription_count() == 1)
        self.wait(lambda: self.line.line_stops)
        self.wait(lambda: self.line.count_publishers('sort_event') == 1)
        return self

    def event(self, part_id):
        def found():
            return [event for event in self.line.events if event.part_id == part_id]

        self.wait(found)
        assert len(found()) == 1
        return found()[0]

    def outcome(self, part_id):
        event = self.event(part_id)
        return event.action, event.outcome, event.cause

    def openings(self):
        return [action for action in self.node._gate.actions if action.name == 'open']

    def is_followed(self, part_id):
        return lambda: ('test', part_id) in self.node._sorter._tracker._tracks

    def reset(self):
        return self.call(Trigger, 'sorter/reset')


@pytest.fixture
def make_bench(ros_context):
    benches = []

    def make(**parameters):
        benches.append(Bench(ros_context, **{**BELT, **parameters}))
        return benches[-1]

    yield make
    for bench in benches:
        bench.close()


@pytest.fixture
def bench(make_bench):
    return make_bench().ready()


REJECTED = SortEvent.ACTION_REJECTED
PASSED = (SortEvent.ACTION_PASSED, SortEvent.OUTCOME_CONFIRMED, SortEvent.CAUSE_DECISION)


# Parts


def test_a_pass_opens_the_gate_for_the_parts_window(bench):
    sent_s = time.monotonic()
    bench.line.part(1)
    bench.line.decide(1)
    assert bench.outcome(1) == PASSED
    [opening] = bench.openings()
    arrival_s = sent_s + TRAVEL_S
    assert arrival_s - WINDOW_S / 2 <= opening.time_s < arrival_s
    assert opening.time_s + opening.duration_s < arrival_s + WINDOW_S
    assert 0 <= bench.event(1).firing_error_s < WINDOW_S / 4
    assert bench.event(1).detail == ''
    assert not bench.node._gate.is_open
    assert [stop.active for stop in bench.line.line_stops] == [False]


@pytest.mark.parametrize('verdict', [Decision.VERDICT_REJECT, Decision.VERDICT_UNKNOWN, 7])
def test_anything_but_a_pass_leaves_the_gate_alone(bench, verdict):
    bench.line.part(1)
    bench.line.decide(1, verdict)
    assert bench.outcome(1) == (
        REJECTED,
        SortEvent.OUTCOME_CONFIRMED,
        SortEvent.CAUSE_DECISION,
    )
    assert math.isnan(bench.event(1).firing_error_s)
    assert bench.openings() == []


def test_no_decision_leaves_the_gate_alone(bench):
    bench.line.part(1)
    assert bench.outcome(1) == (
        REJECTED,
        SortEvent.OUTCOME_CONFIRMED,
        SortEvent.CAUSE_NO_DECISION,
    )
    assert bench.openings() == []


def test_a_late_decision_leaves_the_gate_alone(make_bench):
    bench = make_bench(window_s=2.0, gate_distance_m=0.6).ready()
    bench.line.part(1)
    bench.wait(bench.is_followed(1))
    track = bench.node._sorter._tracker._tracks['test', 1]
    bench.wait(lambda: time.monotonic() > track.fire_s)
    bench.line.decide(1)
    assert bench.outcome(1) == (
        REJECTED,
        SortEvent.OUTCOME_CONFIRMED,
        SortEvent.CAUSE_LATE_DECISION,
    )
    assert bench.openings() == []


def test_a_decision_may_come_before_its_part(bench):
    bench.line.decide(1)
    bench.wait(lambda: bench.node._sorter._tracker._early)
    bench.line.part(1)
    assert bench.outcome(1) == PASSED


# Line stop


def test_a_fault_of_the_decider_stops_the_line_until_it_is_over_and_reset(bench, ros_context):
    bench.line.fault('three time-outs in a row')
    bench.wait(lambda: bench.line.line_stops[-1].active)
    stop = bench.line.line_stops[-1]
    assert 'three time-outs in a row' in stop.reason
    assert stop.cause == LineStop.CAUSE_NO_SCORES
    assert abs(nanoseconds_from_stamp(stop.since) - time.time_ns()) < 60e9
    assert 'the line must stand' in bench.node.problem('line stop')
    bench.line.part(1)
    bench.line.decide(1)
    assert bench.outcome(1)[::2] == (REJECTED, SortEvent.CAUSE_LINE_STOPPED)
    late = bench.line.hear(LineStop, 'line_stop', LATCHED)
    bench.wait(lambda: late)
    assert late[-1].active, 'a late joiner hears of it'

    refused = bench.reset()
    assert not refused.success
    assert 'the cause lasts: three time-outs in a row' in refused.message
    bench.line.fault('')
    bench.wait(lambda: not bench.node._sorter._fault)
    assert bench.node._sorter.line_stop.is_active, 'its end alone does not start the line'
    assert bench.reset().success
    bench.wait(lambda: not bench.line.line_stops[-1].active)
    assert bench.line.line_stops[-1].reason == ''
    assert bench.line.line_stops[-1].cause == LineStop.CAUSE_UNKNOWN
    assert nanoseconds_from_stamp(bench.line.line_stops[-1].since) == 0
    bench.wait(lambda: not bench.node.problem('line stop'))
    bench.line.part(2)
    bench.line.decide(2)
    assert bench.outcome(2) == PASSED


@pytest.mark.parametrize('trouble', [GateTrouble.SILENT, GateTrouble.STUCK])
def test_a_gate_that_fails_stops_the_line_until_it_works_and_is_reset(bench, trouble):
    bench.node._gate.trouble = trouble
    bench.line.part(1)
    bench.line.decide(1)
    assert bench.event(1).outcome == SortEvent.OUTCOME_FAILED
    bench.wait(lambda: bench.line.line_stops[-1].active)
    assert 'gate' in bench.line.line_stops[-1].reason
    assert bench.line.line_stops[-1].cause == LineStop.CAUSE_GATE
    if trouble is GateTrouble.SILENT:
        refused = bench.reset()
        assert not refused.success
        assert 'the gate still fails: the gate does not answer' in refused.message
    bench.node._gate.trouble = GateTrouble.NONE
    assert bench.reset().success
    bench.wait(lambda: not bench.line.line_stops[-1].active)
    bench.line.part(2)
    bench.line.decide(2)
    assert bench.outcome(2) == PASSED


def test_the_line_stop_is_told_when_it_begins_and_not_only_with_the_parts_event(make_bench):
    bench = make_bench(window_s=10.0, gate_distance_m=2.6).ready()
    bench.node._gate.trouble = GateTrouble.SILENT
    bench.line.part(1)
    bench.line.decide(1)
    bench.wait(lambda: bench.line.line_stops[-1].active)
    assert bench.line.events == [], 'the part is still in its window'


def test_a_line_stop_outlasts_deactivation(bench):
    bench.node._gate.trouble = GateTrouble.SILENT
    bench.line.part(1)
    bench.line.decide(1)
    bench.event(1)
    bench.wait(lambda: bench.line.line_stops[-1].active)
    bench.node._gate.trouble = GateTrouble.NONE
    assert bench.node.trigger_deactivate() == SUCCESS
    assert not bench.reset().success
    assert bench.node.trigger_activate() == SUCCESS
    bench.line.part(2)
    bench.line.decide(2)
    assert bench.outcome(2)[::2] == (REJECTED, SortEvent.CAUSE_LINE_STOPPED)
    assert bench.line.line_stops[-1].active


def test_a_fault_told_while_the_node_was_inactive_stops_the_line(bench):
    bench.node.trigger_deactivate()
    bench.line.fault('three time-outs in a row')
    bench.wait(lambda: bench.node._latched)
    assert not bench.node._sorter.line_stop.is_active
    bench.node.trigger_activate()
    bench.wait(lambda: bench.line.line_stops[-1].active)


# The gates


class Actuator:
    """
    Does what docs/gates.md asks of an actuator on topics.

    """

    def __init__(self, line):
        self.is_open = self.is_stuck = self.is_silent = False
        self.openings = 0
        self.answers = line.create_publisher(Bool, 'gate_state', NEWEST)
        line.create_subscription(Bool, 'gate', self.take, NEWEST)

    def take(self, told):
        if told.data and not self.is_open:
            self.openings += 1
        self.is_open = self.is_open if self.is_stuck else told.data
        if not self.is_silent:
            self.answers.publish(Bool(data=self.is_open))


ON_TOPICS = {'gate': 'topic', 'gate_timeout_s': 0.5, 'dead_time_s': 0.5}


def test_an_actuator_on_topics_sorts(make_bench):
    bench = make_bench(**ON_TOPICS)
    actuator = Actuator(bench.line)
    bench.ready()
    bench.line.part(1)
    bench.line.decide(1)
    assert bench.outcome(1) == PASSED
    assert actuator.openings == 1
    assert not actuator.is_open
    actuator.is_stuck = True
    bench.line.part(2)
    bench.line.decide(2)
    assert bench.event(2).outcome == SortEvent.OUTCOME_FAILED
    bench.wait(lambda: bench.line.line_stops[-1].active)
    assert 'the actuator said that it is at rest' in bench.line.line_stops[-1].reason
    actuator.is_stuck = False
    assert bench.reset().success


def test_without_a_gate_the_line_stands_until_one_is_there(make_bench):
    bench = make_bench(**ON_TOPICS)
    bench.wait(lambda: bench.line.line_stops)
    assert bench.line.line_stops[-1].active
    assert bench.line.line_stops[-1].reason.startswith('no gate: no actuator within 3 s')
    assert not bench.node.is_active
    Actuator(bench.line)
    bench.ready()
    bench.wait(lambda: not bench.line.line_stops[-1].active)
    bench.line.part(1)
    bench.line.decide(1)
    assert bench.outcome(1) == PASSED


def test_an_actuator_that_says_nothing_stops_the_line_before_the_first_part(make_bench):
    bench = make_bench(**ON_TOPICS)
    Actuator(bench.line).is_silent = True
    bench.ready()
    bench.wait(lambda: bench.line.line_stops[-1].active)
    assert 'the actuator said nothing within 0.5 s' in bench.line.line_stops[-1].reason


@pytest.mark.parametrize(
    ('settings', 'words'),
    [
        ({'gate': 'serial'}, "gate 'serial' needs gate_port"),
        ({'gate': 'modbus'}, "gate 'modbus' needs modbus_host"),
        (
            {'gate': 'modbus', 'modbus_host': '127.0.0.1', 'gate_timeout_s': 0.03},
            'gate_timeout_s 0.03 s, allowed: not longer than dead_time_s, 0.02 s',
        ),
        (ON_TOPICS, 'cannot activate: no actuator within 3 s: somebody must listen to the topic'),
        ({'gate': 'serial', 'gate_port': 'nonsense://x'}, "port 'nonsense://x' is refused"),
        (
            {'gate': 'serial', 'gate_port': '/dev/no_such_port'},
            'cannot activate: gate at /dev/no_such_port: there is no such device',
        ),
        (
            {'gate': 'modbus', 'modbus_host': '127.0.0.1', 'modbus_port': 1},
            'cannot activate: Modbus 127.0.0.1:1 unit 1: no connection within',
        ),
        (
            {'gate': 'ur_io', 'gate_timeout_s': 0.1, 'dead_time_s': 0.1},
            'ur_io_output -1, allowed: 0 to 17',
        ),
        (
            {'gate': 'ur_io', 'ur_io_output': 3},
            "gate 'ur_io': gate_timeout_s 0.02 s, allowed: 0.1 to 1 s",
        ),
        ({'gate': 'gpio'}, "gpio_command '', allowed: group and interface, such as"),
        (
            {'gate': 'gpio', 'gpio_controller': 'my controller'},
            "gpio_controller 'my controller', allowed: a ROS name, such as",
        ),
        ({'gate': 'gripper'}, "gripper_joint '', allowed: the joint's name"),
        (
            {'gate': 'gripper', 'gripper_joint_states': ''},
            "gripper_joint_states '', allowed: a ROS name",
        ),
    ],
)
def test_a_gate_that_cannot_be_keeps_the_node_down_and_says_why(make_bench, settings, words):
    bench = make_bench(**settings)
    bench.wait(lambda: bench.node.problem('lifecycle'))
    assert words in bench.node.problem('lifecycle')
    assert not bench.node.is_active


@pytest.mark.parametrize(
    ('package', 'settings'),
    [
        ('ur_msgs', {'gate': 'ur_io', 'ur_io_output': 3}),
        ('control_msgs', {'gate': 'gpio', 'gpio_command': 'flange/output_1'}),
        ('control_msgs', {'gate': 'gripper', 'gripper_joint': 'finger'}),
    ],
)
def test_a_robots_gate_without_its_messages_says_what_to_install(
    make_bench, monkeypatch, package, settings
):
    for name in (package, *(f'{package}.{kind}' for kind in ('msg', 'srv', 'action'))):
        monkeypatch.setitem(sys.modules, name, None)
    bench = make_bench(**settings, gate_timeout_s=0.1, dead_time_s=0.1)
    bench.wait(lambda: bench.node.problem('lifecycle'))
    assert f'of the ROS package {package} ' in bench.node.problem('lifecycle')
    assert f'apt install ros-$ROS_DISTRO-{package.replace("_", "-")}' in (
        bench.node.problem('lifecycle')
    )
    assert not bench.node.is_active


# A gate that rests in PASS


@pytest.fixture
def permits(make_bench):
    bench = make_bench(gate_rests_in='pass', autostart=False)
    bench.permits = bench.line.hear(LineRun, 'line_run', NEWEST)
    bench.node.trigger_configure()
    bench.node.trigger_activate()
    return bench.ready()


def test_the_line_may_run_only_after_a_reset_and_only_for_one_pitch(permits):
    permits.wait(lambda: permits.permits)
    assert 'clear the belt' in permits.line.line_stops[-1].reason
    assert permits.line.line_stops[-1].cause == LineStop.CAUSE_BELT_UNKNOWN
    assert not any(permit.permitted for permit in permits.permits)
    assert permits.reset().success
    permits.wait(lambda: sum(permit.permitted for permit in permits.permits) > 3)
    assert {permit.valid_for_s for permit in permits.permits} == {0.0, PITCH_S}


def test_a_part_without_a_pass_is_sorted_out_and_one_with_it_left_alone(permits):
    permits.reset()
    permits.line.part(1)
    assert permits.outcome(1)[::2] == (REJECTED, SortEvent.CAUSE_NO_DECISION)
    assert len(permits.openings()) == 1
    permits.line.part(2)
    permits.line.decide(2)
    assert permits.outcome(2) == PASSED
    assert len(permits.openings()) == 1


@pytest.mark.parametrize('end', ['fault', 'gate', 'deactivate'])
def test_the_permit_is_withdrawn_when_sorting_ends(permits, end):
    permits.reset()
    permits.wait(lambda: permits.permits and permits.permits[-1].permitted)
    if end == 'fault':
        permits.line.fault('three time-outs in a row')
    elif end == 'gate':
        permits.node._gate.trouble = GateTrouble.SILENT
    else:
        permits.node.trigger_deactivate()
    permits.wait(lambda: not permits.permits[-1].permitted)
    assert permits.permits[-1].valid_for_s == 0.0
    if end == 'deactivate':
        permits.node.trigger_activate()
        permits.wait(lambda: permits.line.line_stops[-1].active)
        assert not permits.permits[-1].permitted


def test_a_gate_thread_that_hangs_gives_no_permit(permits, monkeypatch):
    permits.reset()
    permits.wait(lambda: permits.permits and permits.permits[-1].permitted)
    is_asked, may_answer = threading.Event(), threading.Event()

    def hang(*, is_open):
        is_asked.set()
        may_answer.wait(60)

    monkeypatch.setattr(permits.node._gate, 'confirm', hang)
    assert is_asked.wait(20)
    before = len(permits.permits)
    permits.line.fault('a reason to wake up')
    permits.wait(lambda: permits.node._sorter.line_stop.is_active)
    # At most the one that was on its way.
    assert len(permits.permits) <= before + 1
    may_answer.set()
    permits.wait(lambda: not permits.permits[-1].permitted)


# Lifecycle


def test_a_stopped_sorter_rejects_what_is_on_the_belt_and_never_opens(make_bench):
    bench = make_bench(**LONG_BELT).ready()
    for part_id in (1, 2):
        bench.line.part(part_id)
        bench.wait(bench.is_followed(part_id))
    bench.line.decide(1)
    bench.node.trigger_deactivate()
    for part_id in (1, 2):
        assert bench.outcome(part_id)[::2] == (REJECTED, SortEvent.CAUSE_SHUTDOWN)
    assert not bench.node._gate.is_open
    bench.line.part(3)
    bench.line.decide(3)
    refused = bench.reset()
    assert not refused.success
    assert 'not active' in refused.message
    assert bench.openings() == []


def test_an_open_gate_goes_to_rest_when_the_sorter_stops(make_bench):
    bench = make_bench(window_s=10.0, gate_distance_m=2.6).ready()
    bench.line.part(1)
    bench.line.decide(1)
    bench.wait(lambda: bench.node._gate.is_open)
    bench.node.trigger_deactivate()
    assert not bench.node._gate.is_open
    assert bench.outcome(1) == (
        SortEvent.ACTION_PASSED,
        SortEvent.OUTCOME_CONFIRMED,
        SortEvent.CAUSE_SHUTDOWN,
    )


@pytest.mark.parametrize(
    ('settings', 'words'),
    [
        ({'actuation_s': 0.1, 'dead_time_s': 0.05}, 'dead_time_s 0.05 s, allowed: 0.1 to 60 s'),
        ({'gate_distance_m': 0.05}, 'travel_time_s 0.1 s, allowed: 0.3 to 3600 s'),
    ],
)
def test_settings_that_contradict_each_other_keep_the_node_down(make_bench, settings, words):
    bench = make_bench(**settings)
    bench.wait(lambda: bench.node.problem('lifecycle'))
    assert words in bench.node.problem('lifecycle')
    assert not bench.node.is_active
    assert bench.node.count_publishers('sort_event') == 0


def test_the_node_goes_through_its_life_twice(make_bench):
    bench = make_bench(autostart=False)
    for part_id in (1, 2):
        assert bench.node.trigger_configure() == SUCCESS
        assert bench.node.trigger_activate() == SUCCESS
        bench.ready()
        bench.line.part(part_id)
        bench.line.decide(part_id)
        assert bench.outcome(part_id) == PASSED
        assert bench.node.trigger_deactivate() == SUCCESS
        assert bench.node.trigger_cleanup() == SUCCESS
        bench.wait(lambda: bench.line.count_publishers('sort_event') == 0)


# What outlives the process


def state_path(folder):
    [path] = folder.rglob('sorter.json')
    return path


def test_a_line_stop_outlives_the_sorter_until_it_is_reset(make_bench, tmp_path):
    given = {'state_folder': str(tmp_path)}
    first = make_bench(**given).ready()
    first.line.fault('three time-outs in a row')
    first.wait(lambda: first.line.line_stops[-1].active)
    since = first.line.line_stops[-1].since.sec
    first.line.fault('')
    first.close()
    second = make_bench(**given).ready()
    assert [stop.active for stop in second.line.line_stops] == [True]
    stop = second.line.line_stops[-1]
    assert stop.reason == 'three time-outs in a row'
    assert stop.cause == LineStop.CAUSE_NO_SCORES
    assert abs(stop.since.sec - since) <= 1
    assert second.reset().success
    second.wait(lambda: not second.line.line_stops[-1].active)
    second.close()
    third = make_bench(**given).ready()
    assert [stop.active for stop in third.line.line_stops] == [False]
    assert third.node.diagnostic_values()['restarts of the sorter'] == 2


def test_a_line_stop_outlives_a_cleanup(bench):
    bench.line.fault('dust')
    bench.wait(lambda: bench.line.line_stops[-1].active)
    bench.line.fault('')
    for trigger in ('deactivate', 'cleanup', 'configure', 'activate'):
        assert getattr(bench.node, f'trigger_{trigger}')() == SUCCESS
    assert bench.node._sorter.line_stop.reason == 'dust'


def test_a_fresh_start_may_run_whatever_was_before(make_bench, tmp_path, monkeypatch):
    first = make_bench(state_folder=str(tmp_path)).ready()
    first.line.fault('three time-outs in a row')
    first.wait(lambda: first.line.line_stops[-1].active)
    first.close()
    monkeypatch.setattr('anomaly_inspection.state_file._parent', lambda: [1, 1])
    second = make_bench(state_folder=str(tmp_path)).ready()
    assert [stop.active for stop in second.line.line_stops] == [False]


@pytest.mark.parametrize('text', ['{', '{"format": 1, "version": 1, "writer": {}, "content": {}}'])
def test_a_sorter_that_cannot_read_its_state_stops_the_line(make_bench, tmp_path, text):
    make_bench(state_folder=str(tmp_path)).ready().close()
    if text != '{':
        text = state_path(tmp_path).read_text().replace('"stop_reason": ""', '"stop_reason": 7')
    state_path(tmp_path).write_text(text)
    bench = make_bench(state_folder=str(tmp_path)).ready()
    [stop] = bench.line.line_stops
    assert stop.active
    assert stop.reason.startswith('nobody knows whether the line was stopped: ')
    assert stop.cause == LineStop.CAUSE_STATE_UNKNOWN
    bench.line.part(1)
    bench.line.decide(1)
    assert bench.event(1).cause == SortEvent.CAUSE_LINE_STOPPED
    assert bench.reset().success
    bench.wait(lambda: not bench.line.line_stops[-1].active)
    bench.close()
    after = make_bench(state_folder=str(tmp_path)).ready()
    assert [stop.active for stop in after.line.line_stops] == [False]


def test_a_sorter_that_cannot_write_its_state_stops_the_line(make_bench, tmp_path):
    (tmp_path / 'file').write_text('')
    bench = make_bench(state_folder=str(tmp_path / 'file')).ready()
    [stop] = bench.line.line_stops
    assert stop.active
    assert 'cannot write the state to' in stop.reason
    assert "set state_folder to a folder that can be written, or to 'none'" in stop.reason
    assert bench.reset().success


# A decider that is gone


def test_parts_in_a_row_without_a_decision_stop_the_line(make_bench):
    bench = make_bench(undecided_to_stop=2).ready()
    bench.line.part(1)
    bench.line.decide(1)
    assert bench.outcome(1) == PASSED
    bench.line.part(2)
    bench.event(2)
    bench.line.part(3)
    bench.line.decide(3)
    assert bench.outcome(3) == PASSED, 'not in a row'
    for number in (4, 5):
        assert not bench.line.line_stops[-1].active
        bench.line.part(number)
        bench.event(number)
    bench.wait(lambda: bench.line.line_stops[-1].active)
    assert bench.line.line_stops[-1].reason == (
        'no decision came for 2 parts in a row: is the decider running?'
    )
    assert bench.reset().success


def test_a_decider_that_is_not_there_is_a_warning_before_any_part_comes(make_bench, monkeypatch):
    monkeypatch.setattr('anomaly_inspection.nodes.sorter_node._DECIDER_MISSING_S', 0.5)
    bench = make_bench().ready()
    bench.line.destroy_publisher(bench.line.decision_out)
    bench.wait(lambda: 'nobody publishes decision' in (bench.node.problem('decider') or ''))
    bench.line.decision_out = bench.line.create_publisher(Decision, 'decision', EVENT)
    bench.wait(lambda: bench.node.problem('decider') is None)


# Diagnostics


def test_a_line_stop_has_a_status_of_its_own(bench):
    reports = bench.line.hear(DiagnosticArray, '/diagnostics', 10)

    def levels():
        latest = [r for r in reports if r.status[0].name == '/sorter'][-1:]
        return {status.name: status.level for report in latest for status in report.status}

    names = [
        '/sorter',
        '/sorter: line',
        '/sorter: belt',
        '/sorter: decisions',
        '/sorter: memory',
    ]
    bench.wait(lambda: levels() == dict.fromkeys(names, DiagnosticStatus.OK))
    bench.line.fault('dust')
    bench.wait(lambda: levels()['/sorter: line'] == DiagnosticStatus.ERROR)
    assert levels()['/sorter'] == DiagnosticStatus.OK
