# SPDX-License-Identifier: Apache-2.0
"""
A cell of real nodes with an inspector, and a camera driver that runs free.

"""

import threading
import time

from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image

from anomaly_inspection.capture.open_source import open_source
from anomaly_inspection.msg import Decision, Part, RecipeInForce
from anomaly_inspection.nodes.image_conversion import image_from_array
from anomaly_inspection.nodes.inspector_node import InspectorNode
from anomaly_inspection.nodes.qos import EVENT, LATCHED
from anomaly_inspection.nodes.spinning import NodeThread
from anomaly_inspection.nodes.stamps import stamp_from_nanoseconds
from support.cell_bench import NodeBench, Peer
from support.small_recipe import SMALL_LINE

FRAME_S = 0.05


def good_and_bad():
    """
    A good part, and one without its bore.

    """
    with open_source(f'{SMALL_LINE},defect_rate=0,parts=1,seed=9') as line:
        good = line.read().image
    with open_source(f'{SMALL_LINE},defect_rate=1,kinds=missing_bore,parts=1,seed=9') as line:
        return good, line.read().image


class FreeCamera(Node):
    """
    A driver of somebody else: publishes what lies in place, again and again.

    """

    def __init__(self, context, pixels):
        super().__init__('some_driver', context=context)
        #: What lies in place.
        self.pixels = pixels
        self._images = self.create_publisher(Image, 'image_raw', 5)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name='driver', daemon=True)

    def start(self):
        self._thread.start()

    def stop(self):
        self._stop.set()
        self._thread.join()

    def _run(self):
        while not self._stop.wait(FRAME_S):
            pixels, stamp_ns = self.pixels, time.time_ns()
            self._images.publish(
                image_from_array(pixels, stamp_from_nanoseconds(stamp_ns), 'some_optical_frame')
            )


class InspectCell(NodeBench):
    """
    An inspector, and the nodes of a cell on threads of their own.

    """

    def __init__(self, context, pixels=None, *, asks='nobody'):
        peer = Peer(context)
        self.context = context
        self.parts = peer.hear(Part, 'part', EVENT)
        self.decisions = peer.hear(Decision, 'decision', EVENT)
        self.in_force = peer.hear(RecipeInForce, 'recipe_in_force', LATCHED)
        super().__init__(InspectorNode, peer, deadline_s=30.0, asks=asks)
        self.driver = None
        if pixels is not None:
            self.driver = FreeCamera(context, pixels)
            self.others.append((NodeThread([], 'driver', context=context), self.driver))
            self.driver.start()

    def add(self, node_type, **parameters):
        given = [Parameter(name, value=value) for name, value in parameters.items()]
        node = node_type(context=self.context, parameter_overrides=given)
        thread = NodeThread([node], node.get_name(), context=self.context)
        self.others.insert(0, (thread, node))
        thread.start()
        return node

    def ready(self):
        self.wait_until_active()
        self.wait(lambda: self.in_force, 40.0)
        for topic in ('part', 'score', 'decision'):
            self.wait(lambda topic=topic: self.node.count_publishers(topic) == 1)
        if self.node._frame_client is not None:
            self.wait(self.node._frame_client.service_is_ready)
        # Whoever announces knows scorer, decider, inspector and peer.
        self.wait(lambda: self.node.count_subscribers('part') == 4)
        if self.driver is not None:
            self.wait(lambda: self.driver.count_subscribers('image_raw') == 1)
        return self

    def close(self):
        if self.driver is not None:
            self.driver.stop()
        for _, node in self.others:
            if node is not self.driver:
                node.shut_down()
        super().close()
