# SPDX-License-Identifier: Apache-2.0
"""
Images from publishers of either reliability, over DDS.

"""

import pytest

pytest.importorskip('anomaly_inspection.msg', reason='needs ROS 2 and the built messages')

from sensor_msgs.msg import Image

from anomaly_inspection.nodes.image_stream import ImageStream
from anomaly_inspection.nodes.inspection_node import InspectionNode, NodeParameters
from anomaly_inspection.nodes.qos import IMAGE, UNRELIABLE_IMAGE
from support.cell_bench import NodeBench, Peer

pytestmark = pytest.mark.ros


class ListenerNode(InspectionNode[NodeParameters]):
    def __init__(self, **options):
        super().__init__('listener', NodeParameters, **options)
        self.images = []

    def configure(self):
        self.stream = ImageStream(self, Image, 'images', self.images.append)


@pytest.fixture
def bench(ros_context):
    bench = NodeBench(ListenerNode, Peer(ros_context)).wait_until_active()
    yield bench
    bench.close()


def send_until_it_comes(bench, publisher, number):
    def has_come():
        publisher.publish(Image(height=number))
        return any(image.height == number for image in bench.node.images)

    bench.wait(has_come)


def test_a_reliable_publisher_is_heard_reliably(bench):
    send_until_it_comes(bench, bench.peer.create_publisher(Image, 'images', IMAGE), 1)
    assert bench.node.stream.is_reliable


def test_a_best_effort_publisher_is_heard_and_a_reliable_one_after_it(bench):
    driver = bench.peer.create_publisher(Image, 'images', UNRELIABLE_IMAGE)
    send_until_it_comes(bench, driver, 1)
    assert not bench.node.stream.is_reliable
    assert bench.node.problem('qos images') is None
    bench.peer.destroy_publisher(driver)
    send_until_it_comes(bench, bench.peer.create_publisher(Image, 'images', IMAGE), 2)


def test_a_best_effort_publisher_is_heard_after_the_node_was_configured_again(bench):
    driver = bench.peer.create_publisher(Image, 'images', UNRELIABLE_IMAGE)
    send_until_it_comes(bench, driver, 1)
    for transition in ('deactivate', 'cleanup', 'configure', 'activate'):
        getattr(bench.node, f'trigger_{transition}')()
    send_until_it_comes(bench, driver, 2)


def test_losses_are_counted_and_told(bench):
    class Loss:
        total_count_change = 3

    bench.node.stream._take_loss(Loss())
    bench.node.stream.check()
    assert bench.node.stream.lost_count == 3
    assert '3 images of images (reliable) were lost' in bench.node.problem('lost images')
