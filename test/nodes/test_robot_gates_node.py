# SPDX-License-Identifier: Apache-2.0
"""
The sorter node with the gates ur_io, gpio and gripper: the other side behaves, or does not.

These tests need the ROS packages ur_msgs and control_msgs.

"""

import time

import pytest

pytest.importorskip('anomaly_inspection.msg', reason='needs ROS 2 and the built messages')

from std_srvs.srv import Trigger

from anomaly_inspection.msg import Decision, LineRun, LineStop, Part, SortEvent
from anomaly_inspection.nodes.qos import EVENT, LATCHED, NEWEST
from anomaly_inspection.nodes.sorter_node import SorterNode
from anomaly_inspection.nodes.stamps import stamp_from_nanoseconds
from anomaly_inspection.steady_clock import steady_clock_id
from benchmarks.robot_servers import GpioServer, GripperServer, UrServer
from support.cell_bench import NodeBench, Peer

pytestmark = pytest.mark.ros

TRAVEL_S = 1.1
# Wide enough for a machine that is busy with other tests.
WINDOW_S = 1.0
DEAD_TIME_S = 0.5
# A part that is sent at the event of the one before comes later than this.
PITCH_S = WINDOW_S + DEAD_TIME_S
SETTINGS = {
    'belt_speed_m_per_s': 0.5,
    'gate_distance_m': TRAVEL_S * 0.5,
    'window_s': WINDOW_S,
    'dead_time_s': DEAD_TIME_S,
    'gate_timeout_s': DEAD_TIME_S,
}
NEEDS = {UrServer: 'ur_msgs', GpioServer: 'control_msgs', GripperServer: 'control_msgs'}
PASSED = (SortEvent.ACTION_PASSED, SortEvent.OUTCOME_CONFIRMED, SortEvent.CAUSE_DECISION)


class Line(Peer):
    """
    Plays camera and decider.

    """

    def __init__(self, context):
        super().__init__(context)
        self.events = self.hear(SortEvent, 'sort_event', EVENT)
        self.line_stops = self.hear(LineStop, 'line_stop', LATCHED)
        self.permits = self.hear(LineRun, 'line_run', NEWEST)
        self.part_out = self.create_publisher(Part, 'part', EVENT)
        self.decision_out = self.create_publisher(Decision, 'decision', EVENT)


class Bench(NodeBench):
    def __init__(self, context, server_type, **parameters):
        self.context, self.server_type = context, server_type
        self.servers = []
        self.exposed_s = {}
        self.passes = {}
        super().__init__(
            SorterNode, Line(context), **{**SETTINGS, **server_type.parameters, **parameters}
        )

    @property
    def server(self):
        return self.servers[-1]

    def serve(self):
        is_open = self.servers[-1].is_open if self.servers else False
        self.servers.append(self.server_type(self.context, is_open=is_open))

    def ready(self):
        self.wait_until_active()
        for publisher in (self.peer.part_out, self.peer.decision_out):
            self.wait(lambda publisher=publisher: publisher.get_subscription_count() == 1)
        self.wait(lambda: self.peer.line_stops)
        self.wait(lambda: self.peer.count_publishers('sort_event') == 1)
        # The first command has been answered, and the gate seen at rest.
        gate = self.node._gate
        self.wait(lambda: gate._is_answered and not gate._is_new)
        return self

    def part(self, part_id, *, passes):
        self.exposed_s[part_id], self.passes[part_id] = time.monotonic(), passes
        self.peer.part_out.publish(
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
        verdict = Decision.VERDICT_PASS if passes else Decision.VERDICT_REJECT
        self.peer.decision_out.publish(
            Decision(session_id='test', part_id=part_id, verdict=verdict)
        )

    def event(self, part_id):
        def found():
            return [event for event in self.peer.events if event.part_id == part_id]

        self.wait(found)
        return found()[0]

    def outcome(self, part_id):
        event = self.event(part_id)
        return event.action, event.outcome, event.cause

    def went_through(self, part_id):
        """
        Tell whether the gate really stood open when the part was there.

        """
        arrival_s = self.exposed_s[part_id] + TRAVEL_S
        self.wait(lambda: time.monotonic() > arrival_s)
        return any(server.stood_open_at(arrival_s) for server in self.servers)

    def stop_reason(self):
        self.wait(lambda: self.peer.line_stops[-1].active)
        assert self.peer.line_stops[-1].cause == LineStop.CAUSE_GATE
        return self.peer.line_stops[-1].reason

    def recovers(self, part_id):
        """
        Reset the line, and let one bad and one good part go by.

        """
        self.wait(lambda: self.call(Trigger, 'sorter/reset').success)
        self.wait(lambda: not self.peer.line_stops[-1].active)
        self.part(part_id, passes=False)
        self.event(part_id)
        assert not self.went_through(part_id)
        self.part(part_id + 1, passes=True)
        assert self.outcome(part_id + 1) == PASSED, self.peer.line_stops[-1].reason
        assert self.went_through(part_id + 1)
        assert not self.server.is_open

    def close(self):
        super().close()
        for server in self.servers:
            server.close()


@pytest.fixture
def make_bench(ros_context, monkeypatch):
    monkeypatch.setattr('anomaly_inspection.sorting.watched_gate._CONNECT_S', 0.5)
    benches = []

    def make(server_type, **parameters):
        pytest.importorskip(NEEDS[server_type], reason=f'needs {NEEDS[server_type]}')
        benches.append(Bench(ros_context, server_type, **parameters))
        return benches[-1]

    yield make
    for bench in benches:
        bench.close()


@pytest.fixture(params=[UrServer, GpioServer, GripperServer], ids=['ur_io', 'gpio', 'gripper'])
def bench(request, make_bench):
    made = make_bench(request.param)
    made.serve()
    return made.ready()


def test_good_parts_go_through_and_bad_ones_do_not(bench):
    for part_id, passes in enumerate([True, False, True], start=1):
        bench.part(part_id, passes=passes)
        assert bench.event(part_id).outcome == SortEvent.OUTCOME_CONFIRMED
        assert bench.went_through(part_id) is passes
    assert [is_open for _, is_open in bench.server.moved] == [True, False] * 2
    assert [stop.active for stop in bench.peer.line_stops] == [False]
    # Nothing closes the gate when the sorter dies: the belt must know that it lives.
    bench.wait(lambda: bench.peer.permits)
    assert bench.peer.permits[-1].permitted
    assert bench.peer.permits[-1].valid_for_s == PITCH_S


def test_success_without_a_movement_stops_the_line(bench):
    bench.server.is_stuck = True
    bench.part(1, passes=True)
    assert bench.event(1).outcome == SortEvent.OUTCOME_FAILED
    assert not bench.went_through(1)
    assert 'it should be open; ' in bench.stop_reason()
    bench.server.is_stuck = False
    bench.part(2, passes=True)
    assert bench.event(2).cause == SortEvent.CAUSE_LINE_STOPPED
    assert not bench.went_through(2)
    bench.recovers(3)


def test_a_gate_that_stays_open_stops_the_line(bench):
    bench.part(1, passes=True)
    bench.wait(lambda: bench.server.is_open)
    bench.server.is_stuck = True
    assert 'it is stuck, or somebody else moves it' in bench.stop_reason()
    assert bench.event(1).outcome == SortEvent.OUTCOME_FAILED
    refused = bench.call(Trigger, 'sorter/reset')
    assert 'the gate still fails: ' in refused.message
    bench.server.is_stuck = False
    bench.recovers(2)


def test_a_movement_that_comes_late_stops_the_line(bench):
    bench.server.late_s = 2.0
    bench.part(1, passes=True)
    assert 'it should be open; ' in bench.stop_reason()
    assert bench.event(1).outcome == SortEvent.OUTCOME_FAILED
    assert not bench.went_through(1)
    if bench.server_type is not GpioServer:
        # A command is still on its way, or has just opened the gate.
        refused = bench.call(Trigger, 'sorter/reset')
        assert not refused.success
        assert 'the gate still fails: ' in refused.message
    bench.wait(lambda: len(bench.server.moved) == 2)
    assert bench.peer.line_stops[-1].active
    bench.server.late_s = 0.0
    bench.recovers(2)


def test_silent_readings_stop_the_line_before_a_part_comes(bench):
    bench.server.is_silent = True
    assert ' came within 0.5 s' in bench.stop_reason()
    bench.server.is_silent = False
    bench.recovers(1)


def test_readings_that_come_late_stop_the_line(bench):
    bench.server.readings_late_s = 2.0
    bench.part(1, passes=True)
    assert 'it should be open; ' in bench.stop_reason()
    assert bench.event(1).outcome == SortEvent.OUTCOME_FAILED
    bench.wait(lambda: not bench.server.is_open)
    bench.server.readings_late_s = 0.0
    bench.recovers(2)


def test_a_server_that_dies_in_the_window_and_comes_back(bench):
    bench.part(1, passes=True)
    bench.wait(lambda: bench.server.is_open)
    bench.server.close()
    assert ' came within 0.5 s' in bench.stop_reason()
    refused = bench.call(Trigger, 'sorter/reset')
    assert not refused.success
    assert 'nobody ' in refused.message
    # What it left open comes to rest.
    dead = bench.servers.pop()
    bench.servers.append(dead)
    bench.serve()
    assert bench.server.is_open
    bench.servers.remove(dead)
    bench.recovers(2)


def test_a_gate_that_somebody_else_opens_stops_the_line_and_rests(bench):
    bench.part(1, passes=True)
    assert bench.outcome(1) == PASSED
    time.sleep(DEAD_TIME_S)
    bench.server.move(True)
    assert 'somebody else moves it' in bench.stop_reason()
    bench.wait(lambda: not bench.server.is_open)
    bench.recovers(2)


def test_a_refusal_stops_the_line_and_says_so(bench):
    if bench.server_type is GpioServer:
        pytest.skip('a topic refuses nothing')
    bench.server.refuses = True
    bench.part(1, passes=True)
    assert bench.event(1).outcome == SortEvent.OUTCOME_FAILED
    assert 'the controller re' in bench.stop_reason()
    bench.server.refuses = False
    bench.recovers(2)


@pytest.mark.parametrize('server_type', [GpioServer, GripperServer])
def test_the_same_reading_again_and_again_is_silence(make_bench, server_type):
    bench = make_bench(server_type)
    bench.serve()
    bench.ready()
    bench.server.is_frozen = True
    assert ' came within 0.5 s' in bench.stop_reason()
    bench.server.is_frozen = False
    bench.recovers(1)


def test_a_switch_at_the_gate_finds_an_output_that_moves_nothing(make_bench):
    bench = make_bench(UrServer, ur_io_read_back_input=4)
    bench.serve()
    bench.server.switch = False
    bench.ready()
    bench.part(1, passes=True)
    assert bench.event(1).outcome == SortEvent.OUTCOME_FAILED
    assert 'input 4 is False' in bench.stop_reason()


def test_the_heartbeat_beats_while_the_gate_rests(make_bench):
    bench = make_bench(GpioServer)
    bench.serve()
    bench.ready()
    bench.wait(lambda: len(bench.server.beats) > 4)
    beats = bench.server.beats[-4:]
    assert beats in ([0.0, 1.0, 0.0, 1.0], [1.0, 0.0, 1.0, 0.0])
    bench.node.trigger_deactivate()
    bench.wait(lambda: not bench.peer.permits[-1].permitted)


@pytest.mark.parametrize(
    ('server_type', 'words'),
    [
        (UrServer, 'UR output 3: nobody offers /io_and_status_controller/set_io; see ur_io_contr'),
        (GpioServer, 'gpio flange/output_1: nobody listens to /gpio_controller/commands; see gp'),
        (GripperServer, 'gripper finger: nobody offers /gripper_controller/gripper_cmd; see gri'),
    ],
)
def test_without_the_other_side_the_line_stands_until_it_is_there(make_bench, server_type, words):
    bench = make_bench(server_type)
    bench.wait(lambda: bench.peer.line_stops)
    assert bench.peer.line_stops[-1].active
    assert bench.peer.line_stops[-1].reason.startswith(f'no gate: {words}')
    bench.serve()
    bench.ready()
    bench.wait(lambda: not bench.peer.line_stops[-1].active)
    bench.recovers(1)
