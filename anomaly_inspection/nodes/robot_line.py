# SPDX-License-Identifier: Apache-2.0
"""
A simulated belt and arm beside a cell, for `anomaly-inspection run --robot`.

"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TYPE_CHECKING

import cv2
from rclpy.node import Node
from rclpy.parameter import Parameter

from anomaly_inspection.errors import SettingError
from anomaly_inspection.evaluation.tray_figures import tray_figures, TrayFigures
from anomaly_inspection.msg import SimulatedArmState
from anomaly_inspection.nodes.qos import KEPT_EVENT
from anomaly_inspection.nodes.simulated_arm_node import SimulatedArmNode
from anomaly_inspection.nodes.simulated_belt_node import SimulatedBeltNode
from anomaly_inspection.nodes.spinning import NodeThread
from anomaly_inspection.overlay.arm_picture import draw_arm
from anomaly_inspection.state_file import NO_FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray
    from rclpy.context import Context

    from anomaly_inspection.evaluation.run_summary import PartRecord
    from anomaly_inspection.nodes.belt_face import BeltParameters

# A trigger takes a few milliseconds to the camera of a demo; on a busy machine some more.
_CATCH_M = 0.02
# The source of images must not be what sets the pace.
_CAMERA_HZ = 200.0
# Everything runs in one process here: a scorer may hold up the encoder for so long.
_SILENCE_S = 0.5
# So much of the distance between parts is at random.
_SPREAD_SHARE = 0.2
# The picture is drawn with so many parts in the tray.
_PICTURE_AT = 5


def robot_overrides() -> dict[str, list[Parameter[Any]]]:
    """
    Give what camera and sorter need for a belt with an arm; by node name.

    """
    return {
        'camera': [
            Parameter('mode', value='triggered'),
            Parameter('rate_hz', value=_CAMERA_HZ),
        ],
        'sorter': [
            Parameter('gate', value='action'),
            Parameter('belt', value='encoder'),
            Parameter('encoder_silence_s', value=_SILENCE_S),
        ],
    }


class RobotLine:
    """
    The belt that brings the parts, and the arm that picks them.

    Parameters
    ----------
    rate_hz : float
        Parts/second at the usual speed of the belt, on average.
    picture : Path or None
        A PNG file for the picture of belt and arm, drawn while they work; None = none.

    """

    def __init__(self, rate_hz: float, picture: Path | None) -> None:
        self._rate_hz = rate_hz
        self._picture = picture
        self._nodes: list[Node] = []
        self._threads: list[NodeThread] = []
        self._tray: list[int] = []
        self._dropped: list[int] = []

    def start_arm(self, context: Context, belt: BeltParameters) -> None:
        """
        Start the arm, and make the belt.

        Raises
        ------
        SettingError
            When the arm needs more room between parts than the rate leaves.

        """
        pitch_m = belt.belt_speed_m_per_s / self._rate_hz
        least_m = pitch_m * (1 - _SPREAD_SHARE)
        if least_m < belt.pick_clearance_m:
            allowed = belt.belt_speed_m_per_s * (1 - _SPREAD_SHARE) / belt.pick_clearance_m
            raise SettingError(
                f'rate {self._rate_hz:g} parts/s is refused: the arm needs '
                f'{belt.pick_clearance_m:g} m from part to part (pick_clearance_m) on a belt of '
                f'{belt.belt_speed_m_per_s:g} m/s; allowed: up to {allowed:.3g} parts/s'
            )
        common = {'state_folder': NO_FOLDER, 'encoder_silence_s': _SILENCE_S}
        self._arm = SimulatedArmNode(
            context=context,
            parameter_overrides=_parameters(
                **common,
                pick_distance_m=belt.gate_distance_m,
                belt_speed_m_per_s=belt.belt_speed_m_per_s,
                catch_m=_CATCH_M,
            ),
        )
        self._belt = SimulatedBeltNode(
            context=context,
            parameter_overrides=_parameters(
                state_folder=NO_FOLDER,
                autostart=False,
                speed_m_per_s=belt.belt_speed_m_per_s,
                pitch_m=least_m,
                spread_m=pitch_m * _SPREAD_SHARE,
            ),
        )
        self._belt.trigger_configure()
        watcher = Node('tray_watcher', context=context)
        watcher.create_subscription(
            SimulatedArmState, 'simulated_arm_state', self._take_state, KEPT_EVENT
        )
        self._nodes = [self._arm, self._belt, watcher]
        self._threads = [
            NodeThread([self._arm, watcher], 'arm', context=context),
            NodeThread([self._belt], 'belt', context=context),
        ]
        for thread in self._threads:
            thread.start()

    def start_belt(self) -> None:
        """
        Let the belt move, and bring parts.

        """
        self._belt.trigger_activate()

    def figures(self, records: Iterable[PartRecord]) -> TrayFigures:
        """
        Compare the tray with the truth. The camera sees the n-th part of the belt as its part n.

        """
        by_number = {record.part_id: record for record in records if record.part_id}
        return tray_figures(by_number, self._tray, self._dropped)

    def stop(self) -> None:
        """
        Stop belt and arm, and take them off the network.

        """
        for thread in reversed(self._threads):
            thread.stop()
        for node in self._nodes:
            node.destroy_node()

    def _take_state(self, state: SimulatedArmState) -> None:
        if self._picture is not None and state.holds and len(self._tray) == _PICTURE_AT:
            # The watcher and the arm share a thread.
            _write_picture(self._picture, draw_arm(self._arm.picture()))
            self._picture = None
        if state.put == SimulatedArmState.PUT_TRAY:
            self._tray.append(state.put_number)
        elif state.put == SimulatedArmState.PUT_REJECT:
            self._dropped.append(state.put_number)


def _write_picture(path: Path, picture: NDArray[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture)


def _parameters(**values: Any) -> list[Parameter[Any]]:
    return [Parameter(name, value=value) for name, value in values.items()]
