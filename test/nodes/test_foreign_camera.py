# SPDX-License-Identifier: Apache-2.0
"""
Camera drivers that are not ours, inspected with parameters alone: a plain rclpy node publishes,
part detector, scorer and decider judge every frame.

"""

import time

import cv2
import numpy as np
import pytest

pytest.importorskip('anomaly_inspection.msg', reason='needs ROS 2 and the built messages')

from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data, QoSProfile
from sensor_msgs.msg import CompressedImage, Image

from anomaly_inspection.capture.open_source import open_source
from anomaly_inspection.deciding.frame_judge import Reason, Verdict
from anomaly_inspection.msg import Decision, Part, RecipeInForce
from anomaly_inspection.nodes.decider_node import DeciderNode
from anomaly_inspection.nodes.part_detector_node import PartDetectorNode
from anomaly_inspection.nodes.qos import EVENT, LATCHED
from anomaly_inspection.nodes.scorer_node import ScorerNode
from anomaly_inspection.nodes.spinning import NodeThread
from support.cell_bench import Peer
from support.small_recipe import SMALL_LINE

pytestmark = pytest.mark.ros

RELIABLE = QoSProfile(depth=1)
BEST_EFFORT = qos_profile_sensor_data


def raw(encoding, convert, *, qos=BEST_EFFORT):
    """
    A driver that publishes sensor_msgs/Image.

    """

    def message(pixels):
        data = np.ascontiguousarray(convert(pixels))
        height, width = data.shape[:2]
        step = data.nbytes // height
        return Image(height=height, width=width, encoding=encoding, step=step, data=data.tobytes())

    return Image, 'image_raw', qos, message


def compressed(suffix, image_format, options=()):
    """
    A driver that publishes sensor_msgs/CompressedImage.

    """

    def message(pixels):
        data = cv2.imencode(suffix, pixels, list(options))[1].tobytes()
        return CompressedImage(format=image_format, data=data)

    return CompressedImage, 'image_raw/compressed', BEST_EFFORT, message


def bayer_rggb(pixels):
    seen = pixels[..., 1].copy()
    seen[::2, ::2] = pixels[::2, ::2, 2]
    seen[1::2, 1::2] = pixels[1::2, 1::2, 0]
    return seen


DRIVERS = {
    'best effort': raw('bgr8', lambda pixels: pixels),
    'reliable rgb8': raw('rgb8', lambda pixels: pixels[..., ::-1], qos=RELIABLE),
    'bgra8': raw('bgra8', lambda pixels: cv2.cvtColor(pixels, cv2.COLOR_BGR2BGRA)),
    'Bayer': raw('bayer_rggb8', bayer_rggb),
    'PNG': compressed('.png', 'bgr8; png compressed bgr8'),
    'JPEG': compressed('.jpg', 'jpeg', (cv2.IMWRITE_JPEG_QUALITY, 97)),
}


class ForeignCell:
    """
    The foreign driver, what inspects its frames, and somebody who hears the decisions.

    """

    def __init__(self, context, recipe, driver, **parameters):
        message_type, topic, qos, self.message = DRIVERS[driver]
        self.driver = Node('some_driver', context=context)
        self.images = self.driver.create_publisher(message_type, topic, qos)
        self.peer = Peer(context)
        self.parts = self.peer.hear(Part, 'part', EVENT)
        self.decisions = self.peer.hear(Decision, 'decision', EVENT)
        in_force = self.peer.hear(RecipeInForce, 'recipe_in_force', LATCHED)

        def node(node_type, **given):
            overrides = [Parameter(name, value=value) for name, value in given.items()]
            return node_type(context=context, parameter_overrides=overrides)

        transport = 'raw' if message_type is Image else 'compressed'
        self.nodes = [
            node(DeciderNode, recipe=str(recipe), deadline_s=30.0, state_folder='none'),
            node(ScorerNode, recipe=str(recipe), max_age_s=30.0),
            node(
                PartDetectorNode,
                trigger='every_frame',
                image_transport=transport,
                **parameters,
            ),
        ]
        self.detector = self.nodes[-1]
        self.threads = [
            NodeThread([each], each.get_name(), context=context) for each in self.all_nodes
        ]
        for thread in self.threads:
            thread.start()
        self.wait(lambda: in_force and all(each.is_active for each in self.nodes))
        # Scorer, decider and peer know the detector; it knows the driver, whatever that offers.
        self.wait(lambda: self.detector.listener_counts() >= (3, 1))
        is_best_effort = qos is BEST_EFFORT
        self.wait(lambda: self.images.get_subscription_count() == 1)
        self.wait(lambda: self.detector._stream.is_reliable != is_best_effort)
        self.wait(lambda: len(self.matched()) == 1)

    @property
    def all_nodes(self):
        return [*self.nodes, self.peer, self.driver]

    def matched(self):
        """
        Give the subscriptions that the driver's publisher can serve.

        """
        wanted = 'RELIABLE' if self.detector._stream.is_reliable else 'BEST_EFFORT'
        subscriptions = self.peer.get_subscriptions_info_by_topic(self.images.topic_name)
        return [one for one in subscriptions if one.qos_profile.reliability.name == wanted]

    def send(self, pixels):
        message = self.message(pixels)
        message.header.stamp = self.driver.get_clock().now().to_msg()
        message.header.frame_id = 'some_optical_frame'
        self.images.publish(message)

    def wait(self, condition):
        end_s = time.monotonic() + 40
        while not condition():
            problems = [each._problems for each in self.nodes]
            assert time.monotonic() < end_s, f'did not come true; {problems}'
            self.threads[0]._stop.wait(0.02)

    def close(self):
        for thread in self.threads:
            thread.stop()
        for each in self.nodes:
            each.shut_down()
        for each in self.all_nodes:
            each.destroy_node()


@pytest.fixture
def make_cell(ros_context, taught_recipe):
    cells = []

    def make(driver, **parameters):
        cells.append(ForeignCell(ros_context, taught_recipe, driver, **parameters))
        return cells[-1]

    yield make
    for cell in cells:
        cell.close()


@pytest.fixture(scope='module')
def good_and_bad():
    """
    A good part, and one without its bore.

    """
    with open_source(f'{SMALL_LINE},defect_rate=0,parts=1,seed=9') as line:
        good = line.read().image
    with open_source(f'{SMALL_LINE},defect_rate=1,kinds=missing_bore,parts=1,seed=9') as line:
        return good, line.read().image


@pytest.mark.parametrize('driver', DRIVERS)
def test_each_frame_of_a_foreign_driver_is_a_part_and_is_judged(make_cell, good_and_bad, driver):
    cell = make_cell(driver)
    for number, pixels in enumerate(good_and_bad, 1):
        cell.send(pixels)
        cell.wait(lambda number=number: len(cell.decisions) == number)
    found = [Verdict(decision.verdict) for decision in cell.decisions]
    assert found == [Verdict.PASS, Verdict.REJECT], [one.comparison for one in cell.decisions]
    assert Reason(cell.decisions[1].reason) is Reason.LIMIT_EXCEEDED
    assert [part.part_id for part in cell.parts] == [1, 2]
    assert cell.detector._stream.lost_count == 0


@pytest.mark.parametrize('driver', ['JPEG', 'PNG'])
def test_corrupt_compressed_data_is_one_invalid_frame_and_the_next_is_judged(
    make_cell, good_and_bad, driver
):
    cell = make_cell(driver)
    message = cell.message(good_and_bad[0])
    message.data = bytes(message.data)[: len(message.data) // 2]
    message.header.stamp = cell.driver.get_clock().now().to_msg()
    cell.images.publish(message)
    cell.wait(lambda: len(cell.decisions) == 1)
    assert Reason(cell.decisions[0].reason) is Reason.FRAME_INVALID
    assert 'truncated' in cell.decisions[0].comparison
    cell.send(good_and_bad[0])
    cell.wait(lambda: len(cell.decisions) == 2)
    assert Verdict(cell.decisions[1].verdict) is Verdict.PASS


def test_an_encoding_that_nobody_converts_is_refused_by_name(make_cell, good_and_bad):
    cell = make_cell('reliable rgb8')
    message = cell.message(good_and_bad[0])
    message.encoding = 'nv21'
    message.header.stamp = cell.driver.get_clock().now().to_msg()
    cell.images.publish(message)
    cell.wait(lambda: len(cell.decisions) == 1)
    assert Reason(cell.decisions[0].reason) is Reason.FRAME_INVALID
    assert "encoding 'nv21' is not understood: allowed is mono8" in cell.decisions[0].comparison


def test_gray_frames_fit_a_colour_recipe_where_the_parameter_says_so(make_cell, good_and_bad):
    cell = make_cell('PNG', part_encoding='bgr8')
    cell.send(cv2.cvtColor(good_and_bad[1], cv2.COLOR_BGR2GRAY))
    cell.wait(lambda: len(cell.decisions) == 1)
    assert Reason(cell.decisions[0].reason) is Reason.LIMIT_EXCEEDED
