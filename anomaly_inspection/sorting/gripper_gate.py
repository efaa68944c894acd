# SPDX-License-Identifier: Apache-2.0
"""
A gripper, or anything with one joint that a gripper controller moves, as the gate.

docs/gates.md says what must be added.

"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from anomaly_inspection.errors import SettingError
from anomaly_inspection.setting_check import check_range
from anomaly_inspection.sorting.watched_gate import WatchedGate, WatchTimes

LEAST_TOLERANCE = 1e-5


@dataclass(frozen=True)
class GripperWiring:
    """
    Which joint, and where it stands.

    Parameters
    ----------
    joint : str
        Name of the joint, in the commands and in the joint states.
    open_position, rest_position : float
        Where it stands when the gate is open and at rest, metres or radians.
    tolerance : float
        A joint so near to a position is there, metres or radians, above 0; less than half the way
        between both.

    """

    joint: str
    open_position: float
    rest_position: float
    tolerance: float

    def __post_init__(self) -> None:
        if not self.joint.strip():
            raise SettingError(
                f"gripper_joint {self.joint!r}, allowed: the joint's name, as in joint_states"
            )
        check_range('gripper_open_position', self.open_position, -1000.0, 1000.0)
        check_range('gripper_rest_position', self.rest_position, -1000.0, 1000.0)
        most = abs(self.open_position - self.rest_position) / 2
        if not LEAST_TOLERANCE <= self.tolerance < most:
            raise SettingError(
                f'gripper_tolerance {self.tolerance:g}, allowed: {LEAST_TOLERANCE:g} to below '
                f'{most:g}, half the way between gripper_open_position {self.open_position:g} and '
                f'gripper_rest_position {self.rest_position:g}'
            )


class GripperGate(WatchedGate):
    """
    Sends goals to a gripper controller, and believes the joint states alone.

    Parameters
    ----------
    wiring : GripperWiring
        Which joint, and where it stands.
    send : callable
        Sends the goal to move to a position; must not block. The answer comes by
        `goal_answered`.
    missing : callable
        Says in words who is not there, '' = everybody is.
    times : WatchTimes
        How long it may take.

    """

    def __init__(
        self,
        wiring: GripperWiring,
        send: Callable[[float], None],
        missing: Callable[[], str],
        times: WatchTimes,
    ) -> None:
        self._wiring = wiring
        self._stamp_ns = 0
        positions = {True: wiring.open_position, False: wiring.rest_position}
        super().__init__(
            lambda is_open: send(positions[is_open]),
            missing,
            times,
            name=f'gripper {wiring.joint}',
            answers=True,
            silence='no joint state of it came',
        )

    def goal_answered(self, is_accepted: bool) -> None:
        """
        Take the answer to the newest goal. Its result is never asked for: success is no proof, and
        a gripper that stalls may all the same stand where it should.

        """
        self.answered()
        if not is_accepted:
            self.refused('the controller rejected the goal')

    def positions_received(self, positions: Mapping[str, float], stamp_ns: int) -> None:
        """
        Take the positions of joints.

        Parameters
        ----------
        positions : mapping of str to float
            By joint, metres or radians. Without our joint it is a message of another robot.
        stamp_ns : int
            When they were read, nanoseconds; the same stamp again is nothing new. 0 = unknown.

        """
        wiring = self._wiring
        position = positions.get(wiring.joint)
        if position is None or (stamp_ns and stamp_ns == self._stamp_ns):
            return
        self._stamp_ns = stamp_ns
        is_open: bool | None = None
        if abs(position - wiring.open_position) <= wiring.tolerance:
            is_open = True
        elif abs(position - wiring.rest_position) <= wiring.tolerance:
            is_open = False
        self.state_received(is_open, f'the joint is at {position:g}')
