# SPDX-License-Identifier: Apache-2.0
"""
One real node over DDS, and a peer that plays the rest of the cell around it.

"""

import faulthandler
import sys
import time

from rcl_interfaces.srv import SetParameters
from rclpy.action import ActionClient
from rclpy.node import Node
from rclpy.parameter import Parameter

from anomaly_inspection.nodes.spinning import NodeThread
from support.discovery import until_known


class Peer(Node):
    """
    Hears and says what a test asks of it.

    """

    def __init__(self, context, name='peer'):
        super().__init__(name, context=context)
        self.heard = {}

    def hear(self, message_type, topic, qos):
        """
        Give the list that the messages of a topic come into.

        """
        heard = self.heard.setdefault(topic, [])
        self.create_subscription(message_type, topic, heard.append, qos)
        return heard


class SentGoal:
    """
    A goal that a test has sent, its feedback and its result.

    """

    def __init__(self, bench, client, goal):
        self.bench = bench
        self.feedback = []
        sent = client.send_goal_async(goal, lambda message: self.feedback.append(message.feedback))
        bench.wait(sent.done)
        self.handle = sent.result()
        assert self.handle.accepted

    def result(self):
        """
        Wait for the end; give (GoalStatus, success, message).

        """
        answer = self.answer()
        return answer.status, answer.result.success, answer.result.message

    def answer(self):
        """
        Wait for the end; give the status and the whole result.

        """
        future = self.handle.get_result_async()
        self.bench.wait(future.done, 100.0)
        return future.result()

    def cancel(self):
        """
        Ask for the end; whether that was granted.

        """
        future = self.handle.cancel_goal_async()
        self.bench.wait(future.done)
        return len(future.result().goals_canceling) == 1


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
        self.action_clients = {}
        #: Further (NodeThread, node) of a test, closed with this bench.
        self.others = []
        for thread in self.threads:
            thread.start()

    def close(self):
        for thread, node in self.others:
            thread.stop()
            node.destroy_node()
        for thread in self.threads:
            thread.stop()
        for client in self.action_clients.values():
            client.destroy()
        self.node.shut_down()
        self.node.destroy_node()
        self.peer.destroy_node()

    def wait(self, condition, timeout_s=20.0):
        end = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > end:
                # Where each thread stands: pytest shows it.
                faulthandler.dump_traceback(sys.__stderr__)
                raise AssertionError(f'did not come true; {self.node._problems}')
            self.threads[-1]._stop.wait(0.01)

    def wait_until_active(self):
        self.wait(lambda: self.node.is_active)
        # The executor takes up what configuring has made when that callback ends. Messages that
        # come before are heard topic by topic, not in the order in which they were sent.
        self.wait(self.node.executor.create_task(lambda: None).done)
        return self

    def until_known(self, name):
        """
        Wait until the lifecycle node of another process knows what this process has made.

        """
        until_known(self.peer, name, self.wait)

    def call(self, service_type, name, **fields):
        future = self.call_async(service_type, name, **fields)
        self.wait(future.done)
        return future.result()

    def call_async(self, service_type, name, **fields):
        client = self.peer.create_client(service_type, name)
        self.wait(client.service_is_ready)
        return client.call_async(service_type.Request(**fields))

    def send_goal(self, action_type, name, **fields):
        """
        Send a goal, and wait until it has been accepted.

        """
        client = self.action_client(action_type, name)
        self.wait(client.server_is_ready)
        return SentGoal(self, client, action_type.Goal(**fields))

    def action_client(self, action_type, name):
        """
        Give the client of an action; made at the first call.

        """
        if name not in self.action_clients:

            def make():
                self.action_clients[name] = ActionClient(self.peer, action_type, name)

            # On the peer's own thread: rclpy lets an executor use a client that is half made.
            self.peer.executor.create_task(make)
            self.wait(lambda: name in self.action_clients)
        return self.action_clients[name]

    def set_parameter(self, name, value):
        parameter = Parameter(name, value=value).to_parameter_msg()
        service = f'{self.node.get_name()}/set_parameters'
        return self.call(SetParameters, service, parameters=[parameter]).results[0]
