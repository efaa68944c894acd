# SPDX-License-Identifier: Apache-2.0
"""
Wait until a cell of separate processes is ready, say so in one line, and end.

Ready means: every node is active, the recipe is in force, and exactly one node announces parts.
The launch file starts this beside the nodes; arguments such as 'viewer=false' name what it left
out.

"""

from __future__ import annotations

import signal
import sys
import threading
from typing import Any

from lifecycle_msgs.srv import GetState
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args

from anomaly_inspection.msg import RecipeInForce
from anomaly_inspection.nodes.inspection_node import steady_s
from anomaly_inspection.nodes.qos import LATCHED

NODES = (
    *('sorter', 'decider', 'scorer', 'camera', 'part_detector', 'threshold_bridge', 'viewer'),
)
# Nodes that are only waited for when an argument such as 'teacher=true' asks for them.
EXTRA_NODES = (
    *('teacher', 'panel', 'recorder', 'mqtt_bridge', 'opcua_server', 'drift_watch', 'inspector'),
    'view_joiner',
)
_ASK_AGAIN_S = 0.5
_ANSWER_TIMEOUT_S = 5.0
# So long a node may take to start before the terminal says that it is waited for.
_PATIENCE_S = 15.0


class CellReadyNode(Node):
    """
    Asks the nodes of its namespace for their state until all are active.

    Parameters
    ----------
    names : tuple of str
        The nodes that the cell consists of.
    **options
        Passed on to rclpy's Node.

    """

    def __init__(self, names: tuple[str, ...] = NODES, **options: Any) -> None:
        super().__init__('cell_ready', **options)
        self._names = names
        self._states: dict[str, str] = {}
        self._recipe = ''
        #: When each node was asked last, and its answer.
        self._asked: dict[str, tuple[float, Any]] = {}
        self._found: set[str] = set()
        self._state_clients = {
            name: self.create_client(GetState, f'{name}/get_state') for name in names
        }
        self.create_subscription(RecipeInForce, 'recipe_in_force', self._take_recipe, LATCHED)

    @property
    def missing(self) -> str:
        """
        What the cell still lacks, in words; empty = it is ready.

        """
        lacks = [
            f'{name} ({state})'
            for name in self._names
            if (state := self._states.get(name, 'does not answer')) != 'active'
        ]
        if not self._recipe:
            lacks.append('a recipe in force')
        announcers = sorted(info.node_name for info in self.get_publishers_info_by_topic('part'))
        if not announcers:
            lacks.append(
                "a node that announces parts (camera, unless its mode is 'stream'; "
                "part_detector, unless its trigger is 'none')"
            )
        elif len(announcers) > 1:
            lacks.append(
                f'{" or ".join(announcers)} alone to announce parts: now every part comes '
                'more than once'
            )
        return '; '.join(lacks)

    @property
    def is_waiting(self) -> bool:
        """
        Whether an answer is under way; a node that cannot deliver it would complain.

        """
        return any(not answer.done() for _, answer in self._asked.values())

    @property
    def summary(self) -> str:
        """
        One line for the terminal.

        """
        return f'cell ready: {self._recipe}; active: {", ".join(self._names)}'

    def ask(self) -> None:
        """
        Ask every node that has been found for its state; the answers come while this node spins.

        """
        now = steady_s()
        for name, client in self._state_clients.items():
            if not client.service_is_ready():
                self._states.pop(name, None)
                self._asked.pop(name, None)
                self._found.discard(name)
            elif name not in self._found:
                # It may not have found this client yet, and would complain of the answer's way.
                self._found.add(name)
            elif name not in self._asked or self._is_over(*self._asked[name], now):
                answer = client.call_async(GetState.Request())
                answer.add_done_callback(lambda done, name=name: self._take_state(name, done))
                self._asked[name] = (now, answer)

    @staticmethod
    def _is_over(asked_s: float, answer: Any, now_s: float) -> bool:
        return bool(answer.done()) or now_s - asked_s > _ANSWER_TIMEOUT_S

    def _take_state(self, name: str, done: Any) -> None:
        self._states[name] = done.result().current_state.label

    def _take_recipe(self, message: RecipeInForce) -> None:
        self._recipe = f'recipe {message.name} v{message.version} is in force'


def nodes_of(arguments: list[str]) -> tuple[str, ...]:
    """
    Give the nodes of the cell, without those that an argument such as 'viewer=false' leaves out,
    and with those that one such as 'teacher=true' adds.

    """
    given = {
        name: value.lower() not in ('false', '0')
        for name, _, value in (argument.partition('=') for argument in arguments)
    }
    wanted = {**dict.fromkeys(NODES, True), **dict.fromkeys(EXTRA_NODES, False), **given}
    return tuple(name for name in (*NODES, *EXTRA_NODES) if wanted[name])


def main() -> None:
    """
    Wait until the cell is ready; until then say from time to time what it lacks.

    """
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    interrupted = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: interrupted.set())
    node = CellReadyNode(nodes_of(remove_ros_args(sys.argv)[1:]))
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    say_again_s = steady_s() + _PATIENCE_S
    ask_again_s = 0.0
    while not interrupted.is_set():
        if steady_s() > ask_again_s:
            node.ask()
            ask_again_s = steady_s() + _ASK_AGAIN_S
        executor.spin_once(timeout_sec=_ASK_AGAIN_S)
        missing = node.missing
        if not missing and not node.is_waiting:
            node.get_logger().info(node.summary)
            break
        if missing and steady_s() > say_again_s:
            node.get_logger().warning(f'the cell is not ready; it lacks: {missing}')
            say_again_s = steady_s() + 2 * _PATIENCE_S
    executor.shutdown()
    node.destroy_node()
    rclpy.try_shutdown()
