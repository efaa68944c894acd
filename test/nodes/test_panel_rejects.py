# SPDX-License-Identifier: Apache-2.0
"""
The panel keeps rejects over DDS: each with its own frame, and production parts alone.

"""

import itertools

import cv2
import numpy as np
import pytest

pytest.importorskip('anomaly_inspection.msg', reason='needs ROS 2 and the built messages')
pytest.importorskip('nicegui', reason='NiceGUI is not installed: pip install .[panel]')

from sensor_msgs.msg import Image

from anomaly_inspection.deciding.frame_judge import Reason
from anomaly_inspection.msg import Decision, Part, Region, Score
from anomaly_inspection.nodes.image_conversion import image_from_array
from anomaly_inspection.nodes.panel_node import PanelNode
from anomaly_inspection.nodes.qos import EVENT, IMAGE
from anomaly_inspection.nodes.stamps import stamp_from_nanoseconds
from support.cell_bench import NodeBench, Peer

pytestmark = pytest.mark.ros

WIDTH, HEIGHT = 64, 48


class Panel(PanelNode):
    """
    The panel without its web server, of which a process has one.

    """

    def activate(self):
        pass

    def deactivate(self):
        self._rejects.hand_over_all()


class Cell(Peer):
    """
    Plays camera, scorer and decider. Each frame has a gray level of its own.

    """

    def __init__(self, context):
        super().__init__(context)
        self.outputs = {
            topic: self.create_publisher(message_type, topic, qos)
            for message_type, topic, qos in (
                (Part, 'part', EVENT),
                (Image, 'part/image', IMAGE),
                (Score, 'score', EVENT),
                (Decision, 'decision', EVENT),
            )
        }

    def is_heard(self):
        return all(output.get_subscription_count() == 1 for output in self.outputs.values())

    def part(self, number, stamp_ns=None):
        message = Part(
            session_id='test',
            part_id=number,
            frame_stamps=[stamp_from_nanoseconds(stamp_ns or number)],
            frame_names=[''],
            frame_problems=[''],
            is_complete=True,
        )
        self.outputs['part'].publish(message)

    def image(self, stamp_ns, encoding=None):
        pixels = np.full((HEIGHT, WIDTH, 3), stamp_ns, np.uint8)
        message = image_from_array(pixels, stamp_from_nanoseconds(stamp_ns), 'camera')
        message.encoding = encoding or message.encoding
        self.outputs['part/image'].publish(message)

    def score(self, number, stamp_ns=None):
        message = Score(session_id='test', part_id=number, scorer='ssim', region_limit=2.0)
        message.header.stamp = stamp_from_nanoseconds(stamp_ns or number)
        message.regions = [Region(x_min=1, y_min=2, x_max=3, y_max=4, area_px=4, peak=3.0)]
        self.outputs['score'].publish(message)

    def decide(self, number, verdict=Decision.VERDICT_REJECT, known_as=0, score=1.5):
        message = Decision(session_id='test', part_id=number, verdict=verdict, known_as=known_as)
        message.anomaly_score = score
        message.reason = int(Reason.LIMIT_EXCEEDED)
        self.outputs['decision'].publish(message)

    def whole_part(self, number, **decision):
        self.part(number)
        self.image(number)
        self.score(number)
        self.decide(number, **decision)


@pytest.fixture
def bench(ros_context, tmp_path):
    bench = NodeBench(
        *(Panel, Cell(ros_context)),
        review_folder=str(tmp_path / 'review'),
        people_folder=str(tmp_path / 'people'),
        sample_every=4,
    )
    bench.wait_until_active()
    bench.wait(bench.peer.is_heard)
    yield bench
    bench.close()


def kept(bench, *numbers):
    """
    Wait until these parts are kept, and give their gray levels.

    """
    reviews = bench.node.parts.reviews
    bench.wait(lambda: all(reviews.reject(('test', number)) for number in numbers))
    levels = []
    for number in numbers:
        png = reviews.png_of(('test', number))
        pixels = None if png is None else cv2.imdecode(np.frombuffer(png, np.uint8), -1)
        assert pixels is None or np.all(pixels == pixels[0, 0])
        levels.append(None if pixels is None else int(pixels[0, 0, 0]))
    return levels


def test_production_rejects_are_kept_each_with_its_own_frame(bench):
    cell = bench.peer
    for number in range(1, 11):
        passes = number % 3 == 0
        verdict = Decision.VERDICT_PASS if passes else Decision.VERDICT_REJECT
        known = {5: Decision.KNOWN_AS_BAD, 7: Decision.KNOWN_AS_GOOD}.get(number, 0)
        cell.whole_part(number, verdict=verdict, known_as=known, score=0.5 if passes else 1.5)
        # The publisher keeps the last five images.
        bench.wait(lambda number=number: number in bench.node._rejects._images)
    rejected = [1, 2, 4, 8, 10]
    assert kept(bench, *rejected) == rejected
    reviews = bench.node.parts.reviews
    assert sorted(reject.part.number for reject in reviews.kept()) == rejected
    part = reviews.reject(('test', 4)).part
    assert part.decision.reason == 'LIMIT_EXCEEDED'
    assert part.scores[0].regions[0].times_limit == 1.5


def test_passed_parts_near_a_limit_and_a_sample_are_kept(bench):
    cell = bench.peer
    for number, score in ((1, 0.79), (2, 0.8), (3, 0.5), (4, 0.5), (5, 1.0), (8, 0.9), (9, 0.0)):
        cell.whole_part(number, verdict=Decision.VERDICT_PASS, score=score)
        bench.wait(lambda number=number: number in bench.node._rejects._images)
    cell.whole_part(12, verdict=Decision.VERDICT_PASS, score=0.2, known_as=Decision.KNOWN_AS_GOOD)
    cell.whole_part(13)
    assert kept(bench, 2, 4, 5, 8, 13) == [2, 4, 5, 8, 13]
    found = {reject.key[1]: str(reject.kept_as) for reject in bench.node.parts.reviews.kept()}
    assert found == {2: 'near', 4: 'sample', 5: 'near', 8: 'near', 13: 'reject'}


@pytest.mark.parametrize('order', [*itertools.permutations(('image', 'score', 'decide'))])
def test_the_order_of_the_messages_does_not_matter(bench, order):
    cell = bench.peer
    cell.part(7)
    bench.wait(lambda: bench.node.parts.state.part(('test', 7)))
    for message in order:
        getattr(cell, message)(7)
    assert kept(bench, 7) == [7]
    assert bench.node.parts.reviews.reject(('test', 7)).part.scores


def test_a_decision_that_overtakes_its_part_keeps_the_picture(bench):
    cell = bench.peer
    cell.decide(8)
    bench.wait(lambda: bench.node._rejects._pending)
    cell.part(8)
    cell.image(8)
    assert kept(bench, 8) == [8]


def test_of_many_frames_of_a_held_part_the_one_that_was_scored_last_is_kept(bench):
    cell = bench.peer
    cell.part(1, stamp_ns=10)
    for stamp_ns in (10, 20, 30):
        cell.image(stamp_ns)
        cell.score(1, stamp_ns)
    state = bench.node.parts.state
    bench.wait(lambda: bench.node._rejects._stamps.get(('test', 1)) == 30)
    cell.decide(1)
    cell.image(40)
    assert kept(bench, 1) == [30]
    assert state.part(('test', 1)) is not None


def test_scores_that_overtake_their_part_name_the_frame(bench):
    cell = bench.peer
    for stamp_ns in (10, 30):
        cell.image(stamp_ns)
        cell.score(1, stamp_ns)
    bench.wait(lambda: bench.node._rejects._stamps.get(('test', 1)) == 30)
    cell.part(1, stamp_ns=10)
    bench.wait(lambda: bench.node.parts.state.part(('test', 1)))
    cell.decide(1)
    assert kept(bench, 1) == [30]


def test_a_part_without_a_frame_is_kept_and_says_so(bench):
    cell = bench.peer
    cell.part(1)
    cell.decide(1)
    cell.part(2)
    cell.image(2, encoding='nonsense')
    cell.decide(2)
    assert kept(bench, 1, 2) == [None, None]
    reviews = bench.node.parts.reviews
    assert reviews.reject(('test', 1)).image_problem == (
        'no image of this part has come to the panel'
    )
    assert 'nonsense' in reviews.reject(('test', 2)).image_problem


def test_what_was_just_rejected_outlives_the_end_of_the_panel(bench, tmp_path):
    cell = bench.peer
    cell.whole_part(3)
    bench.wait(lambda: bench.node._rejects._pending)
    for thread in bench.threads:
        thread.stop()
    bench.node.shut_down()
    bench.node._reviews.close()
    assert [path.stem for path in tmp_path.rglob('images/*.png')] == ['test_3']
