# SPDX-License-Identifier: Apache-2.0
"""
One real node over DDS, and a peer that plays the rest of the cell around it.

"""

import time

from rcl_interfaces.srv import SetParameters
from rclpy.node import Node
from rclpy.parameter import Parameter

from anomaly_inspection.nodes.spinning import NodeThread


class Peer(Node):
    """
    Hears and says what a test asks of it.

    """

    def __init__(self, context):
        super().__init__('peer', context=context)
        self.heard = {}

    def hear(self, message_type, topic, qos):
        """
        Give the list that the messages of a topic come into.

        """
        heard = self.heard.setdefault(topic, [])
        self.create_subscription(message_type, topic, heard.append, qos)
        return heard


class NodeBench:
    """
    The node under test and its peer, each on a thread of its own.

    """

    def __init__(self, node_type, peer, **parameters):
        self.peer = peer
        self.node = node_type(
            context=peer.context,
            parameter_overrides=[Parameter(name, value=v) for name, v in parameters.items()],
        )
        self.threads = [
            NodeThread([node], node.get_name(), context=peer.context)
            for node in (self.node, self.peer)
        ]
        for thread in self.threads:
            thread.start()

    def close(self):
        for thread in self.threads:
            thread.stop()
        self.node.shut_down()
        self.node.destroy_node()
        self.peer.destroy_node()

    def wait(self, condition, timeout_s=20.0):
        end = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < end, f'did not come true; {self.node._problems}'
            self.threads[0]._stop.wait(0.01)

    def wait_until_active(self):
        self.wait(lambda: self.node.is_active)
        return self

    def call(self, service_type, name, **fields):
        client = self.peer.create_client(service_type, name)
        self.wait(client.service_is_ready)
        future = client.call_async(service_type.Request(**fields))
        self.wait(future.done)
        return future.result()

    def set_parameter(self, name, value):
        parameter = Parameter(name, value=value).to_parameter_msg()
        service = f'{self.node.get_name()}/set_parameters'
        return self.call(SetParameters, service, parameters=[parameter]).results[0]
