# SPDX-License-Identifier: Apache-2.0
"""
The viewer node over DDS: pictures only while somebody looks, each of its own part.

"""

import math

import cv2
import numpy as np
import pytest

pytest.importorskip('anomaly_inspection.msg', reason='needs ROS 2 and the built messages')

from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos import ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

from anomaly_inspection.msg import (
    Decision,
    LimitInForce,
    LimitsInForce,
    Measure,
    Part,
    Region,
    Score,
)
from anomaly_inspection.nodes import viewer_node
from anomaly_inspection.nodes.image_conversion import array_from_image, image_from_array
from anomaly_inspection.nodes.qos import EVENT, IMAGE, LATCHED
from anomaly_inspection.nodes.stamps import nanoseconds_from_stamp, stamp_from_nanoseconds
from anomaly_inspection.nodes.viewer_node import ViewerNode
from anomaly_inspection.overlay import draw_overlay, enlargement
from support.cell_bench import NodeBench, Peer

pytestmark = pytest.mark.ros

WIDTH, HEIGHT = 320, 240
INPUTS = ('part', 'part/image', 'anomaly_map', 'score', 'decision')


def level_of(part_id):
    """
    Each part has a gray level of its own, so that a picture tells whose it is.

    """
    return 40 + 20 * part_id


class Cell(Peer):
    """
    Plays camera, scorer and decider to a real viewer node.

    """

    def __init__(self, context):
        super().__init__(context)
        self.outputs = {
            topic: self.create_publisher(message_type, topic, qos)
            for message_type, topic, qos in (
                (Part, 'part', EVENT),
                (Image, 'part/image', IMAGE),
                (Image, 'anomaly_map', IMAGE),
                (Score, 'score', EVENT),
                (Decision, 'decision', EVENT),
                (LimitsInForce, 'limits_in_force', LATCHED),
            )
        }
        limit = LimitInForce(
            scorer='ssim',
            measure='mse',
            value=60.0,
            typical=20.0,
            unit='1',
            bad_side=Measure.BAD_SIDE_HIGH,
        )
        self.outputs['limits_in_force'].publish(LimitsInForce(limits=[limit]))

    def say(self, topic, message):
        self.outputs[topic].publish(message)

    def part(self, part_id):
        message = Part(
            session_id='test',
            part_id=part_id,
            frame_stamps=[stamp_from_nanoseconds(part_id)],
            frame_names=[''],
            frame_problems=[''],
            is_complete=True,
        )
        self.say('part', message)

    def image(self, part_id):
        pixels = np.full((HEIGHT, WIDTH, 3), level_of(part_id), np.uint8)
        self.say('part/image', image_from_array(pixels, stamp_from_nanoseconds(part_id), 'belt'))

    def map(self, part_id, shape=(HEIGHT, WIDTH), *, glows_left=True):
        """
        Send a map that glows on one half.

        """
        values = np.zeros(shape, np.float32)
        middle = shape[1] // 2
        values[:, :middle] = 3.0 if glows_left else 0.0
        values[:, middle:] = 0.0 if glows_left else 3.0
        self.say('anomaly_map', image_from_array(values, stamp_from_nanoseconds(part_id), 'belt'))

    def score(self, part_id, status=Score.STATUS_OK, regions=(), part_class=''):
        is_ok = status == Score.STATUS_OK
        message = Score(
            session_id='test',
            part_id=part_id,
            scorer='ssim',
            status=status,
            measures=[Measure(name='mse', value=90.0)] if is_ok else [],
            regions=list(regions),
            region_limit=0.5,
            part_class=part_class,
        )
        message.header.stamp = stamp_from_nanoseconds(part_id)
        self.say('score', message)

    def decide(
        self, part_id, reason=Decision.REASON_LIMIT_EXCEEDED, anomaly_score=1.75, known_as=0
    ):
        is_pass = reason == Decision.REASON_WITHIN_LIMITS
        message = Decision(
            session_id='test',
            part_id=part_id,
            verdict=Decision.VERDICT_PASS if is_pass else Decision.VERDICT_REJECT,
            reason=reason,
            anomaly_score=anomaly_score,
            known_as=known_as,
            recipe_name='pump',
            recipe_version=3,
        )
        self.say('decision', message)

    def whole_part(self, part_id):
        self.part(part_id)
        self.image(part_id)
        self.score(part_id)
        self.map(part_id)
        self.decide(part_id)


class Bench(NodeBench):
    def __init__(self, context, **parameters):
        self.cell = Cell(context)
        super().__init__(ViewerNode, self.cell, **parameters)

    def watch(self, message_type=Image, topic='overlay'):
        pictures = self.cell.hear(message_type, topic, IMAGE)
        self.wait(self.is_listening)
        self.wait(lambda: self.node._limits)
        return pictures

    def is_listening(self):
        return all(self.cell.outputs[topic].get_subscription_count() == 1 for topic in INPUTS)


def halves(picture):
    """
    Give the part in the picture, its left and its right half without the seam.

    """
    factor = enlargement(WIDTH, HEIGHT)
    part = picture[: factor * HEIGHT, : factor * WIDTH]
    middle = factor * WIDTH // 2
    return part[:, : middle - 8], part[:, middle + 8 :]


def is_plain(pixels, part_id):
    return np.all(pixels == level_of(part_id))


def overlay_of(message):
    picture = array_from_image(message)
    left, right = halves(picture)
    return nanoseconds_from_stamp(message.header.stamp), left, right


@pytest.fixture
def make_bench(ros_context):
    benches = []

    def make(**parameters):
        benches.append(Bench(ros_context, **{'wait_for_map_s': 10.0, **parameters}))
        return benches[-1].wait_until_active()

    yield make
    for bench in benches:
        bench.close()


@pytest.fixture
def bench(make_bench):
    return make_bench()


def test_it_listens_only_while_somebody_looks(bench):
    bench.wait(lambda: bench.cell.outputs['limits_in_force'].get_subscription_count() == 1)
    assert not any(bench.cell.outputs[topic].get_subscription_count() for topic in INPUTS)
    pictures = bench.watch()
    bench.cell.whole_part(1)
    bench.wait(lambda: pictures)
    [watching] = [s for s in bench.cell.subscriptions if s.topic_name == '/overlay']
    bench.cell.destroy_subscription(watching)
    bench.wait(lambda: not any(bench.cell.count_subscribers(topic) for topic in INPUTS))
    assert not bench.node._pictures
    pictures = bench.watch(CompressedImage, 'overlay/compressed')
    bench.cell.whole_part(2)
    bench.wait(lambda: pictures)


def test_the_picture_shows_the_part_and_says_whose_it_is(bench):
    pictures = bench.watch()
    compressed = bench.watch(CompressedImage, 'overlay/compressed')
    bench.wait(lambda: bench.node._compressed.get_subscription_count())
    bench.cell.whole_part(1)
    bench.wait(lambda: pictures and compressed)
    stamp_ns, left, right = overlay_of(pictures[0])
    assert stamp_ns == nanoseconds_from_stamp(compressed[0].header.stamp) == 1
    assert pictures[0].header.frame_id == compressed[0].header.frame_id == 'belt'
    assert is_plain(right, 1)
    assert not np.any(np.all(left == level_of(1), axis=2)), 'it glows where the map does'
    picture = array_from_image(pictures[0])
    frame = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    assert picture.shape == draw_overlay(frame, verdict='PASS', reason='').shape
    assert compressed[0].format == 'jpeg'
    unpacked = cv2.imdecode(np.frombuffer(compressed[0].data, np.uint8), cv2.IMREAD_COLOR)
    assert unpacked.shape == picture.shape
    assert np.abs(unpacked.astype(int) - picture).mean() < 4


def test_the_picture_says_the_class_of_the_part_and_what_it_is_known_as(bench, monkeypatch):
    titles = []

    def drawn(*positional, title, **named):
        titles.append(title)
        return draw_overlay(*positional, title=title, **named)

    monkeypatch.setattr(viewer_node, 'draw_overlay', drawn)
    pictures = bench.watch()
    bench.cell.whole_part(1)
    bench.wait(lambda: pictures)
    bench.cell.part(2)
    bench.cell.image(2)
    bench.cell.score(2, part_class='face two')
    bench.cell.map(2)
    bench.cell.decide(2, known_as=Decision.KNOWN_AS_BAD)
    bench.wait(lambda: len(pictures) == 2)
    assert titles == ['part 1', 'part 2, known bad, face two']


def test_parts_under_way_together_are_not_mixed_up(bench):
    pictures = bench.watch()
    for part_id in (1, 2):
        bench.cell.part(part_id)
    for part_id in (2, 1):
        bench.cell.image(part_id)
        bench.cell.score(part_id)
    bench.cell.map(1)
    bench.wait(lambda: 1 in bench.node._maps)
    bench.cell.map(2, glows_left=False)
    bench.wait(lambda: 2 in bench.node._maps)
    for part_id in (2, 1):
        bench.cell.decide(part_id)
    bench.wait(lambda: len(pictures) == 2)
    for message, part_id in zip(pictures, (2, 1), strict=True):
        stamp_ns, left, right = overlay_of(message)
        assert stamp_ns == part_id
        assert is_plain(left, part_id) == (part_id == 2)
        assert is_plain(right, part_id) == (part_id == 1)


@pytest.mark.parametrize(
    'order',
    [
        ('image', 'map', 'part', 'score', 'decide'),
        ('decide', 'score', 'map', 'image', 'part'),
        ('part', 'decide', 'image', 'map', 'score'),
    ],
)
def test_the_order_of_the_messages_does_not_matter(bench, order):
    pictures = bench.watch()

    def has_come(what):
        known = bench.node._pictures.get(('test', 1))
        return (
            pictures
            or {
                'image': lambda: 1 in bench.node._images,
                'map': lambda: 1 in bench.node._maps,
                'part': lambda: known and known.stamp_ns == 1,
                'score': lambda: known and known.scores,
                'decide': lambda: known and known.decision,
            }[what]()
        )

    for what in order:
        getattr(bench.cell, what)(1)
        bench.wait(lambda what=what: has_come(what))
    bench.wait(lambda: pictures)
    _, left, right = overlay_of(pictures[0])
    assert is_plain(right, 1)
    assert not is_plain(left, 1)


@pytest.mark.parametrize(
    ('status', 'reason'),
    [
        (Score.STATUS_FRAME_INVALID, Decision.REASON_FRAME_INVALID),
        (Score.STATUS_NOT_ALIGNED, Decision.REASON_NOT_ALIGNED),
    ],
)
def test_a_part_that_could_not_be_scored_is_drawn_without_a_map(bench, status, reason):
    pictures = bench.watch()
    bench.cell.part(1)
    bench.cell.image(1)
    bench.cell.score(1, status)
    bench.cell.decide(1, reason, anomaly_score=math.nan)
    bench.wait(lambda: pictures, timeout_s=9.0)
    stamp_ns, left, right = overlay_of(pictures[0])
    assert stamp_ns == 1
    assert is_plain(left, 1)
    assert is_plain(right, 1)


def test_a_region_is_boxed(bench):
    pictures = bench.watch()
    region = Region(x_min=200, y_min=60, x_max=300, y_max=180, area_px=12000, peak=1.5)
    bench.cell.part(1)
    bench.cell.image(1)
    bench.cell.score(1, regions=[region])
    bench.cell.map(1)
    bench.cell.decide(1)
    bench.wait(lambda: pictures)
    _, _, right = overlay_of(pictures[0])
    assert not is_plain(right, 1)


def test_a_map_that_never_comes_holds_up_no_picture(make_bench):
    bench = make_bench(wait_for_map_s=0.1)
    pictures = bench.watch()
    bench.cell.part(1)
    bench.cell.image(1)
    bench.cell.score(1)
    bench.cell.decide(1)
    bench.wait(lambda: pictures)
    assert is_plain(overlay_of(pictures[0])[1], 1)
    # Nor do parts without an image pile up.
    bench.cell.decide(2)
    bench.wait(lambda: ('test', 2) in bench.node._pictures)
    bench.wait(lambda: not bench.node._pictures)
    assert len(pictures) == 1


def test_parts_that_are_never_decided_are_forgotten(bench):
    bench.watch()
    for part_id in range(1, 31):
        bench.cell.score(part_id)
    bench.wait(lambda: ('test', 30) in bench.node._pictures)
    assert len(bench.node._pictures) == 16


def test_garbage_for_a_map_or_an_image_hurts_only_its_own_part(make_bench):
    bench = make_bench(wait_for_map_s=0.1)
    pictures = bench.watch()
    garbage = Image(encoding='32FC1', height=HEIGHT, width=WIDTH, step=4 * WIDTH, data=b'abc')
    garbage.header.stamp = stamp_from_nanoseconds(1)
    bench.cell.part(1)
    bench.cell.image(1)
    bench.cell.score(1)
    bench.cell.say('anomaly_map', garbage)
    bench.wait(lambda: bench.node.problem('_take_map'))
    assert 'the map is truncated: 3 bytes' in bench.node.problem('_take_map')
    bench.cell.decide(1)
    bench.wait(lambda: len(pictures) == 1)
    assert is_plain(overlay_of(pictures[0])[1], 1)

    bench.cell.part(2)
    bench.cell.map(2, shape=(10, 10))
    bench.wait(lambda: 2 in bench.node._maps)
    bench.cell.image(2)
    bench.cell.score(2)
    bench.cell.decide(2)
    bench.wait(lambda: len(pictures) == 2)
    assert is_plain(overlay_of(pictures[1])[1], 2)
    assert 'the anomaly map has 10x10 values' in bench.node.problem('map')

    garbage.encoding = 'bgr8'
    garbage.header.stamp = stamp_from_nanoseconds(3)
    bench.cell.say('part/image', garbage)
    bench.wait(lambda: bench.node.problem('_take_image'))
    bench.node.parameters = type(bench.node.parameters)(wait_for_map_s=10.0)
    bench.cell.whole_part(4)
    bench.wait(lambda: len(pictures) == 3)
    stamp_ns, left, right = overlay_of(pictures[2])
    assert stamp_ns == 4
    assert is_plain(right, 4)
    assert not is_plain(left, 4)
    assert bench.node.problem('map') is None


# Quality of service


def idle_viewer(context, topic, policy, value):
    name = f'qos_overrides./{topic}.subscription.{policy}'
    given = [Parameter('autostart', value=False), Parameter(name, value=value)]
    return ViewerNode(context=context, parameter_overrides=given)


@pytest.mark.parametrize(
    ('topic', 'reliability'), [('part/image', 'best_effort'), ('anomaly_map', 'reliable')]
)
def test_the_parameter_file_changes_the_quality_of_service_of_what_it_watches(
    ros_context, topic, reliability
):
    node = idle_viewer(ros_context, topic, 'reliability', reliability)
    node._start_listening()
    [listener] = node.get_subscriptions_info_by_topic(f'/{topic}')
    assert listener.qos_profile.reliability == ReliabilityPolicy[reliability.upper()]
    node.destroy_node()


def test_a_refused_quality_of_service_keeps_it_from_starting(ros_context):
    node = idle_viewer(ros_context, 'decision', 'depth', 3)
    for _ in range(2):
        assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
        assert 'depth 3, allowed: 100 and more' in node.problem('lifecycle')
        assert node.count_subscribers('part') == 0
    node.destroy_node()
