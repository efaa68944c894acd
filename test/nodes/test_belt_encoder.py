# SPDX-License-Identifier: Apache-2.0
"""
The sorter node with an encoder on the belt, over DDS.

"""

import threading
import time

import pytest

pytest.importorskip('anomaly_inspection.msg', reason='needs ROS 2 and the built messages')

from std_msgs.msg import Empty
from std_srvs.srv import Trigger

from anomaly_inspection.errors import SettingError
from anomaly_inspection.msg import BeltEncoder, Decision, LineStop, Part, SortEvent
from anomaly_inspection.nodes.belt_face import BeltParameters, EncoderReader
from anomaly_inspection.nodes.qos import EVENT, LATCHED, SENSOR
from anomaly_inspection.nodes.simulated_belt_node import SimulatedBeltNode
from anomaly_inspection.nodes.sorter_node import SorterNode
from anomaly_inspection.nodes.stamps import stamp_from_nanoseconds
from anomaly_inspection.steady_clock import steady_clock_id
from support.cell_bench import NodeBench, Peer

COUNTS_PER_M = 1000.0
BELT = {
    'belt': 'encoder',
    'belt_speed_m_per_s': 0.5,
    # Longer than the encoder may be silent.
    'gate_distance_m': 1.6,
    # Wide enough for a machine that is busy with other tests.
    'window_s': 0.4,
    'encoder_m_per_count': 1 / COUNTS_PER_M,
    'encoder_wraps_at': 4096.0,
    'encoder_silence_s': 2.0,
}


class Belt(Peer):
    """
    Plays camera, decider and encoder; the belt moves as the test says.

    """

    def __init__(self, context):
        super().__init__(context)
        self.events = self.hear(SortEvent, 'sort_event', EVENT)
        self.line_stops = self.hear(LineStop, 'line_stop', LATCHED)
        self.part_out = self.create_publisher(Part, 'part', EVENT)
        self.decision_out = self.create_publisher(Decision, 'decision', EVENT)
        self.encoder_out = self.create_publisher(BeltEncoder, 'encoder', SENSOR)
        self.speed_m_per_s = 0.5
        # Soon at the end of the counter.
        self.position_m = 3.9
        self.is_silent = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._move)
        self._thread.start()

    def _move(self):
        before_s = time.monotonic()
        while not self._ended.wait(0.01):
            now_s = time.monotonic()
            self.position_m += self.speed_m_per_s * (now_s - before_s)
            before_s = now_s
            message = BeltEncoder(position=self.position_m * COUNTS_PER_M % 4096.0)
            message.header.stamp = self.get_clock().now().to_msg()
            if not self.is_silent:
                self.encoder_out.publish(message)

    def destroy_node(self):
        self._ended.set()
        self._thread.join()
        super().destroy_node()

    def passed(self, part_id):
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
        self.decision_out.publish(
            Decision(session_id='test', part_id=part_id, verdict=Decision.VERDICT_PASS)
        )


@pytest.fixture
def bench(ros_context, tmp_path):
    belt = Belt(ros_context)
    bench = NodeBench(SorterNode, belt, **BELT)
    bench.belt = belt
    bench.wait_until_active()
    for publisher in (belt.part_out, belt.decision_out, belt.encoder_out):
        bench.wait(lambda publisher=publisher: publisher.get_subscription_count() == 1)
    bench.wait(lambda: belt.line_stops)
    # A part is placed only where the belt was known at its exposure.
    began = belt.position_m
    bench.wait(lambda: belt.position_m > began + 0.2)
    yield bench
    bench.close()


@pytest.mark.ros
def test_a_part_waits_on_a_standing_belt_for_its_place_at_the_gate(bench):
    belt = bench.belt
    belt.passed(1)
    began_m = belt.position_m
    bench.wait(lambda: belt.position_m > began_m + 0.1)
    belt.speed_m_per_s = 0.0
    # Much longer than from camera to gate at its usual speed.
    time.sleep(4.0)
    assert not belt.events
    belt.speed_m_per_s = 0.5
    bench.wait(lambda: belt.events)
    (event,) = belt.events
    assert (event.action, event.outcome) == (
        SortEvent.ACTION_PASSED,
        SortEvent.OUTCOME_CONFIRMED,
    )
    assert belt.position_m > began_m + 1.6
    assert not belt.line_stops[-1].active


@pytest.mark.ros
def test_a_silent_encoder_stops_the_line_and_a_reset_waits_for_it(bench):
    belt = bench.belt
    belt.passed(1)
    belt.is_silent = True
    bench.wait(lambda: belt.line_stops[-1].active)
    assert belt.line_stops[-1].cause == LineStop.CAUSE_ENCODER
    assert 'the encoder has been silent for' in belt.line_stops[-1].reason
    bench.wait(lambda: belt.events)
    assert belt.events[0].action == SortEvent.ACTION_REJECTED
    answer = bench.call(Trigger, 'sorter/reset')
    assert not answer.success
    assert 'the cause lasts: the encoder has been silent' in answer.message
    belt.is_silent = False
    bench.wait(lambda: bench.call(Trigger, 'sorter/reset').success)
    bench.wait(lambda: not belt.line_stops[-1].active)


@pytest.mark.ros
def test_samples_that_came_while_the_node_was_inactive_are_no_silence(bench):
    bench.node.trigger_deactivate()
    # Longer than the encoder may be silent.
    time.sleep(2.5)
    bench.node.trigger_activate()
    began_m = bench.belt.position_m
    bench.wait(lambda: bench.belt.position_m > began_m + 0.2)
    bench.belt.passed(1)
    bench.wait(lambda: bench.belt.events)
    assert bench.belt.events[0].action == SortEvent.ACTION_PASSED
    assert not bench.belt.line_stops[-1].active


def test_counts_that_wrap_and_run_backwards_become_metres():
    parameters = BeltParameters(encoder_m_per_count=-0.01, encoder_wraps_at=256.0)
    reader = EncoderReader(parameters)
    found = [
        reader.read(BeltEncoder(position=float(counts % 256)))[0]
        for counts in (10, 0, -10, -110, -210, -310)
    ]
    assert found == pytest.approx([-0.1, 0.0, 0.1, 1.1, 2.1, 3.1])
    # A stamp of 1970 is not of this machine's clock.
    assert reader.is_stamp_foreign


@pytest.mark.parametrize(
    ('parameters', 'words'),
    [
        ({'encoder_m_per_count': 0.0}, 'encoder_m_per_count 0, allowed: -1000 to 1000, not 0'),
        ({'belt_top_speed_m_per_s': 0.2}, 'top speed of the belt 0.2 m/s, allowed: 0.5 to'),
        (
            {'encoder_m_per_count': -0.001, 'encoder_wraps_at': 150.0},
            r'encoder_wraps_at 150 counts = 0.15 m, allowed: 0 or more than 150 counts',
        ),
        ({'gate_distance_m': 0.02}, 'distance to the gate 0.02 m, allowed: 0.03 to'),
    ],
)
def test_parameters_that_contradict_each_other_are_refused(parameters, words):
    belt = BeltParameters(**{'belt': 'encoder', **parameters})
    from anomaly_inspection.sorting.tracker_settings import TrackerSettings

    with pytest.raises(SettingError, match=words):
        belt.encoder_belt(TrackerSettings(travel_time_s=0.8, window_s=0.12))


@pytest.mark.ros
def test_the_simulated_belt_triggers_the_camera_once_for_each_pitch(ros_context):
    peer = Peer(ros_context)
    samples = peer.hear(BeltEncoder, 'encoder', SENSOR)
    triggers = peer.hear(Empty, 'trigger', EVENT)
    bench = NodeBench(SimulatedBeltNode, peer, pitch_m=0.1, stops=False, wander=0.0)
    bench.wait(lambda: len(triggers) >= 5)
    bench.close()
    assert 0.5 <= samples[-1].position < 1.5
    assert abs(len(triggers) - samples[-1].position / 0.1) < 1.5
