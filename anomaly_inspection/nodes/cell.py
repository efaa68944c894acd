# SPDX-License-Identifier: Apache-2.0
"""
The whole cell in one process: camera and scorers on one thread, decider and sorter on another,
part detector, viewer and threshold bridge on one each.

"""

from __future__ import annotations

import signal
import sys
import threading
from typing import Any, TYPE_CHECKING

import rclpy
from rclpy.signals import SignalHandlerOptions

from anomaly_inspection.errors import InspectionError, SettingError
from anomaly_inspection.nodes.camera_node import CameraNode
from anomaly_inspection.nodes.decider_node import DeciderNode
from anomaly_inspection.nodes.left_segments import remove_left_segments
from anomaly_inspection.nodes.part_detector_node import PartDetectorNode
from anomaly_inspection.nodes.scorer_node import ScorerNode
from anomaly_inspection.nodes.sorter_node import SorterNode
from anomaly_inspection.nodes.spinning import (
    NodeThread,
    PARAMETERS_REFUSED,
    refuse_parameter_files,
)
from anomaly_inspection.nodes.threshold_bridge_node import ThresholdBridgeNode
from anomaly_inspection.nodes.viewer_node import ViewerNode

if TYPE_CHECKING:
    from rclpy.context import Context

    from anomaly_inspection.nodes.inspection_node import InspectionNode


#: Namespace of a cell unless something else is asked for; the launch file uses the same.
NAMESPACE = 'inspection'


class Cell:
    """
    All nodes of a cell, made together and stopped in the order of the data.

    Parameters
    ----------
    context : rclpy Context or None
        None = the default context.
    namespace : str
        Of all nodes; a remapping of __ns wins.
    overrides : dict of str to list of rclpy Parameter
        By node name: parameters that win over the parameter file.

    Raises
    ------
    SettingError
        When a parameter is refused, or camera and part detector do not agree on who announces the
        parts.

    """

    def __init__(
        self,
        *,
        context: Context | None = None,
        namespace: str = '',
        overrides: dict[str, list[Any]] | None = None,
    ) -> None:
        self.nodes: list[InspectionNode[Any]] = []
        self._threads: list[NodeThread] = []

        def make(node_type: Any, name: str) -> Any:
            given = (overrides or {}).get(name, [])
            node = node_type(context=context, namespace=namespace, parameter_overrides=given)
            self.nodes.append(node)
            return node

        try:
            # Made last to first, so that whoever listens stands before whoever speaks.
            self.sorter = make(SorterNode, 'sorter')
            self.decider = make(DeciderNode, 'decider')
            self.threshold_bridge = make(ThresholdBridgeNode, 'threshold_bridge')
            self.viewer = make(ViewerNode, 'viewer')
            self.scorer = make(ScorerNode, 'scorer')
            self.part_detector = make(PartDetectorNode, 'part_detector')
            self.camera = make(CameraNode, 'camera')
            self._check_announcer()
        except InspectionError:
            self._destroy()
            raise
        groups = {
            'decider and sorter': [self.sorter, self.decider],
            'threshold bridge': [self.threshold_bridge],
            'viewer': [self.viewer],
            'part detector': [self.part_detector],
            'camera and scorer': [self.scorer, self.camera],
        }
        self._threads = [
            NodeThread(nodes, name, context=context) for name, nodes in groups.items()
        ]

    def start(self) -> None:
        """
        Spin all nodes; those with autostart configure and activate themselves.

        """
        for thread in self._threads:
            thread.start()

    @property
    def announcer(self) -> CameraNode | PartDetectorNode:
        """
        Who announces the parts: the part detector where it has a trigger, else the camera.

        """
        return self.camera if self.part_detector.is_idle else self.part_detector

    @property
    def is_running(self) -> bool:
        """
        Whether all threads still spin.

        """
        return all(thread.is_running for thread in self._threads)

    def stop(self) -> None:
        """
        Stop the camera first and the sorter last, then let go of everything.

        """
        for thread in reversed(self._threads):
            thread.stop()
        for node in reversed(self.nodes):
            node.shut_down()
        self._destroy()

    def _check_announcer(self) -> None:
        mode, trigger = self.camera.parameters.mode, self.part_detector.parameters.trigger
        if (mode == 'stream') == (trigger == 'none'):
            problem = (
                f'camera mode {mode!r} with part_detector trigger {trigger!r} is refused: '
                "'stream' goes with a trigger other than 'none', every other mode with 'none'"
            )
            self.camera.get_logger().fatal(problem)
            raise SettingError(problem)

    def _destroy(self) -> None:
        for node in reversed(self.nodes):
            node.destroy_node()
        self.nodes.clear()


def main() -> None:
    """
    Run the cell until it is interrupted.

    """
    refuse_parameter_files()
    remove_left_segments()
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    interrupted = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: interrupted.set())
    try:
        cell = Cell(namespace=NAMESPACE)
    except InspectionError:
        rclpy.try_shutdown()
        sys.exit(PARAMETERS_REFUSED)
    cell.start()
    while cell.is_running and not interrupted.wait(0.2):
        pass
    has_failed = not cell.is_running
    cell.stop()
    rclpy.try_shutdown()
    if has_failed:
        sys.exit(1)
