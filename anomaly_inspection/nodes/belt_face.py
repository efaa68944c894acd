# SPDX-License-Identifier: Apache-2.0
"""
The belt of the sorter node: its parameters, and the encoder's messages as positions.

"""

from __future__ import annotations

from dataclasses import dataclass
import math
import time
from typing import TYPE_CHECKING

from anomaly_inspection.errors import SettingError
from anomaly_inspection.nodes.gates import GateParameters
from anomaly_inspection.nodes.parameters import parameter
from anomaly_inspection.nodes.stamps import nanoseconds_from_stamp
from anomaly_inspection.sorting.encoder_belt import BeltSettings, EncoderBelt
from anomaly_inspection.sorting.pick_settings import PickSettings
from anomaly_inspection.sorting.tracker_settings import TrackerSettings
from anomaly_inspection.steady_clock import exposure_of_stamp

if TYPE_CHECKING:
    from anomaly_inspection.msg import BeltEncoder

_TOP_SPEED_SHARE = 1.5


@dataclass(frozen=True)
class BeltParameters(GateParameters):
    """
    How the belt moves, and how the sorter knows of it.

    """

    gate_distance_m: float = parameter(
        0.4,
        'From the camera to the gate along the belt. With belt_speed_m_per_s it gives the travel '
        "time, which must be longer than the decider's deadline_s.",
        unit='m',
        minimum=0.001,
        maximum=100.0,
        read_only=True,
    )
    belt_speed_m_per_s: float = parameter(
        0.5,
        "Speed of the belt; with belt = 'encoder' its usual speed, at which window_s counts.",
        unit='m/s',
        minimum=0.001,
        maximum=10.0,
        read_only=True,
    )
    belt: str = parameter(
        'constant_speed',
        "How the sorter knows where parts are. 'constant_speed': the belt always moves at "
        "belt_speed_m_per_s. 'encoder': it is where the topic encoder says; it may stop, creep, "
        'change its speed and run back a little.',
        choices=('constant_speed', 'encoder'),
        read_only=True,
    )
    encoder_m_per_count: float = parameter(
        1.0,
        'Metres of belt for each count of the encoder; 1 where it says metres, below 0 where it '
        'counts backwards while parts move to the gate. Not 0.',
        unit='m',
        minimum=-1000.0,
        maximum=1000.0,
        read_only=True,
    )
    encoder_wraps_at: float = parameter(
        0.0,
        'The encoder begins again at 0 after so many counts, as 65536; 0 = never. More than twice '
        'what the belt can move within encoder_silence_s, or nobody could tell which turn it is.',
        unit='counts',
        minimum=0.0,
        maximum=1e15,
        read_only=True,
    )
    encoder_silence_s: float = parameter(
        0.1,
        'So long after its newest sample a silent encoder stops the line.',
        unit='s',
        minimum=0.005,
        maximum=10.0,
        read_only=True,
    )
    belt_top_speed_m_per_s: float = parameter(
        0.0,
        'What says that the belt moves faster stops the line; 0 = 1.5 times belt_speed_m_per_s. '
        'A higher one keeps parts further apart.',
        unit='m/s',
        minimum=0.0,
        maximum=20.0,
        read_only=True,
    )
    belt_run_back_m: float = parameter(
        0.05,
        'So far the belt may run back; further stops the line.',
        unit='m',
        minimum=0.0,
        maximum=10.0,
        read_only=True,
    )

    def encoder_belt(self, times: TrackerSettings) -> EncoderBelt | None:
        """
        Give the belt; None where it moves at a constant speed.

        Raises
        ------
        SettingError
            When two of the parameters contradict each other.

        """
        if self.belt != 'encoder':
            return None
        if self.encoder_m_per_count == 0:
            raise SettingError('encoder_m_per_count 0, allowed: -1000 to 1000, not 0')
        speed_mps = self.belt_speed_m_per_s
        top_mps = self.belt_top_speed_m_per_s or _TOP_SPEED_SHARE * speed_mps
        self._check_turn(top_mps)
        window_m = times.window_s * speed_mps
        return EncoderBelt(
            BeltSettings(
                distance_m=self.gate_distance_m,
                speed_mps=speed_mps,
                top_speed_mps=top_mps,
                window_m=window_m,
                closest_m=window_m + times.dead_time_s * top_mps,
                silence_s=self.encoder_silence_s,
                run_back_m=self.belt_run_back_m,
            )
        )

    def _check_turn(self, top_mps: float) -> None:
        m_per_count = abs(self.encoder_m_per_count)
        least_m = 2 * top_mps * self.encoder_silence_s
        turn_m = self.encoder_wraps_at * m_per_count
        if 0 < turn_m <= least_m:
            raise SettingError(
                f'encoder_wraps_at {self.encoder_wraps_at:g} counts = {turn_m:g} m, allowed: 0 or '
                f'more than {least_m / m_per_count:g} counts, twice what the belt can move within '
                'encoder_silence_s'
            )

    def pick_settings(self, undecided_to_stop: int) -> PickSettings:
        """
        Give belt and arm.

        Raises
        ------
        SettingError
            When two of the parameters contradict each other.

        """
        return PickSettings(
            distance_m=self.gate_distance_m,
            speed_mps=self.belt_speed_m_per_s,
            zone_from_m=self.pick_zone_from_m,
            zone_to_m=self.pick_zone_to_m,
            clearance_m=self.pick_clearance_m,
            tolerance_m=self.pick_tolerance_m,
            lead_s=self.pick_lead_s,
            answer_s=self.pick_answer_s,
            place_s=self.pick_place_s,
            valid_s=self.pick_valid_s,
            needs_pose=self.pick_needs_pose,
            undecided_to_stop=undecided_to_stop,
        )


class EncoderReader:
    """
    Turns the encoder's messages into metres and instants of the steady clock.

    """

    def __init__(self, parameters: BeltParameters) -> None:
        self.m_per_count = parameters.encoder_m_per_count
        self._wraps_at = parameters.encoder_wraps_at
        self._turns = 0
        self._last: float | None = None
        #: Whether the last stamp was not of this machine's wall clock; then the arrival counts.
        self.is_stamp_foreign = False

    def read(self, message: BeltEncoder) -> tuple[float, float]:
        """
        Give the position, metres, and when the belt was there, steady clock, seconds.

        """
        at_ns, is_plausible = exposure_of_stamp(
            nanoseconds_from_stamp(message.header.stamp), time.time_ns(), time.monotonic_ns()
        )
        self.is_stamp_foreign = not is_plausible
        counts = message.position
        if self._wraps_at > 0 and math.isfinite(counts):
            if self._last is not None and abs(counts - self._last) > self._wraps_at / 2:
                self._turns += 1 if counts < self._last else -1
            self._last = counts
            counts += self._turns * self._wraps_at
        return counts * self.m_per_count, 1e-9 * at_ns

    def counts(self, position_m: float) -> float:
        """
        Give what the encoder says at a position that `read` has given, or will.

        """
        counts = position_m / self.m_per_count
        return counts % self._wraps_at if self._wraps_at > 0 else counts

    def metres(self, counts: float) -> float:
        """
        Give the position of a value of the encoder: of those that fit, the one nearest to the
        newest sample.

        """
        if self._wraps_at > 0 and self._last is not None and math.isfinite(counts):
            newest = self._last + self._turns * self._wraps_at
            counts += self._wraps_at * round((newest - counts) / self._wraps_at)
        return counts * self.m_per_count
