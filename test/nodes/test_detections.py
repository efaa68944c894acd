# SPDX-License-Identifier: Apache-2.0
"""
The regions of each part as vision_msgs detections, heard by a real subscriber.

"""

import math

import pytest

pytest.importorskip('anomaly_inspection.msg', reason='needs ROS 2 and the built messages')

from anomaly_inspection.msg import Decision, LimitInForce, LimitsInForce, Region, Score
from anomaly_inspection.nodes import detections as detections_module
from anomaly_inspection.nodes import viewer_node
from anomaly_inspection.nodes.detections import missing_sentence, score_of, vision_messages
from anomaly_inspection.nodes.qos import EVENT, LATCHED
from anomaly_inspection.nodes.stamps import nanoseconds_from_stamp, stamp_from_nanoseconds
from anomaly_inspection.nodes.viewer_node import ViewerNode
from support.cell_bench import NodeBench, Peer

pytestmark = pytest.mark.ros

SCRATCH = Region(x_min=10, y_min=20, x_max=13, y_max=60, area_px=90, peak=1.5)
DENT = Region(x_min=100, y_min=0, x_max=110, y_max=10, area_px=70, peak=4.5)
STAIN = Region(x_min=30, y_min=30, x_max=40, y_max=50, area_px=150, peak=6.0)
SCORERS = ('ssim', 'variation')


class Cell(Peer):
    """
    Plays scorers and decider to a real viewer node.

    """

    def __init__(self, context):
        super().__init__(context)
        self.scores = self.create_publisher(Score, 'score', EVENT)
        self.decisions = self.create_publisher(Decision, 'decision', EVENT)
        limits = [LimitInForce(scorer=scorer, measure='m', value=1.0) for scorer in SCORERS]
        self.limits = self.create_publisher(LimitsInForce, 'limits_in_force', LATCHED)
        self.limits.publish(LimitsInForce(limits=limits))

    def score(self, part_id, scorer, *regions, region_limit=1.5):
        message = Score(
            session_id='shift 1',
            part_id=part_id,
            scorer=scorer,
            status=Score.STATUS_OK,
            regions=list(regions),
            region_limit=region_limit,
        )
        message.header.stamp = stamp_from_nanoseconds(part_id)
        message.header.frame_id = 'belt'
        self.scores.publish(message)

    def decide(self, part_id, reason, anomaly_score=2.0):
        is_pass = reason == Decision.REASON_WITHIN_LIMITS
        message = Decision(
            session_id='shift 1',
            part_id=part_id,
            verdict=Decision.VERDICT_PASS if is_pass else Decision.VERDICT_REJECT,
            reason=reason,
            anomaly_score=anomaly_score,
        )
        message.header.stamp = stamp_from_nanoseconds(part_id)
        self.decisions.publish(message)


@pytest.fixture
def bench(ros_context, monkeypatch):
    # Long enough that nothing but the last score ends the wait.
    monkeypatch.setattr(detections_module, '_WAIT_FOR_SCORES_S', 60.0)
    cell = Cell(ros_context)
    bench = NodeBench(ViewerNode, cell)
    yield bench.wait_until_active()
    bench.close()


@pytest.fixture
def detections(bench):
    messages = vision_messages()
    if messages is None:
        pytest.skip('vision_msgs is not installed')
    arrays = bench.peer.hear(messages.Detection2DArray, 'detections', EVENT)
    bench.wait(
        lambda: (
            bench.node._limits
            and bench.peer.scores.get_subscription_count()
            and bench.peer.decisions.get_subscription_count()
        )
    )
    return arrays


def test_each_region_is_a_box_with_its_strength_and_the_reason(bench, detections):
    bench.peer.score(1, 'ssim', SCRATCH, DENT)
    bench.peer.score(1, 'variation', STAIN, region_limit=3.0)
    bench.peer.decide(1, Decision.REASON_LIMIT_EXCEEDED)
    bench.wait(lambda: detections)
    [array] = detections
    assert nanoseconds_from_stamp(array.header.stamp) == 1
    assert array.header.frame_id == 'belt'
    # Strongest first, in units of the region limit of its own scorer: 3, 2 and 1 times.
    boxes = []
    for found in array.detections:
        box = found.bbox
        middle = box.center.position
        boxes.append((middle.x, middle.y, box.size_x, box.size_y, box.center.theta))
    assert boxes == [(105, 5, 10, 10, 0), (35, 40, 10, 20, 0), (11.5, 40, 3, 40, 0)]
    results = [result for found in array.detections for result in found.results]
    assert [result.hypothesis.score for result in results] == pytest.approx([0.75, 2 / 3, 0.5])
    assert {result.hypothesis.class_id for result in results} == {'limit_exceeded'}
    for found in array.detections:
        assert found.header == array.header
        assert found.id == 'shift 1/1'


def test_a_part_without_regions_gives_an_empty_array(bench, detections):
    for scorer in SCORERS:
        bench.peer.score(2, scorer)
    bench.peer.decide(2, Decision.REASON_WITHIN_LIMITS, anomaly_score=0.1)
    bench.wait(lambda: detections)
    assert nanoseconds_from_stamp(detections[0].header.stamp) == 2
    assert not detections[0].detections


def test_a_part_that_was_never_scored_does_not_wait_for_ever(bench, detections, monkeypatch):
    monkeypatch.setattr(detections_module, '_WAIT_FOR_SCORES_S', 0.1)
    bench.peer.decide(3, Decision.REASON_TIMEOUT, anomaly_score=math.nan)
    bench.wait(lambda: detections)
    assert nanoseconds_from_stamp(detections[0].header.stamp) == 3
    assert not detections[0].detections


def test_a_decision_that_overtakes_a_score_waits_for_it(bench, detections):
    bench.peer.score(4, 'ssim', DENT)
    bench.peer.decide(4, Decision.REASON_LIMIT_EXCEEDED)
    stream = bench.node._detections
    bench.wait(lambda: (part := stream._waiting.get(('shift 1', 4))) and part.decision)
    bench.peer.score(4, 'variation', STAIN, region_limit=3.0)
    bench.wait(lambda: detections)
    assert len(detections[0].detections) == 2


def test_nobody_listens_while_nobody_looks(bench, detections):
    [watching] = [s for s in bench.peer.subscriptions if s.topic_name == '/detections']
    bench.peer.destroy_subscription(watching)
    bench.wait(lambda: not bench.peer.count_subscribers('score'))
    bench.wait(lambda: not bench.peer.count_subscribers('decision'))


def test_the_score_stays_between_zero_and_one():
    scores = [score_of(peak) for peak in (0.0, 1.0, 2.0, 9.0, 1e9)]
    assert scores == sorted(scores)
    assert scores[0] == 0.0
    assert scores[1] == 0.5
    assert scores[-1] <= 1.0


def test_without_vision_msgs_the_node_says_what_to_install_and_works(ros_context, monkeypatch):
    monkeypatch.setattr(viewer_node, 'vision_messages', lambda: None)
    monkeypatch.setenv('ROS_DISTRO', 'kilted')
    bench = NodeBench(ViewerNode, Cell(ros_context))
    try:
        bench.wait_until_active()
        assert not bench.peer.count_publishers('detections')
        assert bench.node.diagnostic_values()['detections'] == missing_sentence()
        assert 'apt install ros-kilted-vision-msgs' in missing_sentence()
    finally:
        bench.close()
