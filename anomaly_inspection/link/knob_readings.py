# SPDX-License-Identifier: Apache-2.0
"""
The newest reading of each potentiometer, and how old it is.

"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from anomaly_inspection.errors import LinkError
from anomaly_inspection.link.legacy import LegacyAgreement
from anomaly_inspection.link.protocol import LARGEST_RAW, LARGEST_SMOOTHED, Readings, UPTIMES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from anomaly_inspection.link.legacy import LegacyReading


@dataclass(frozen=True)
class KnobReading:
    """
    One potentiometer as the device reported it.

    Parameters
    ----------
    raw, smoothed : float
        Position, 0 to 1 of full scale.
    received_s : float
        When the line arrived, steady clock, seconds.
    uptime_ms : int or None
        The device's clock at the reading; None for a line of the old system, which has no time.

    """

    raw: float
    smoothed: float
    received_s: float
    uptime_ms: int | None


@dataclass(frozen=True)
class KnobState:
    """
    All that the device has reported since a connection began.

    Parameters
    ----------
    connection : int
        Number of the connection.
    received_s : float
        When the newest line arrived, steady clock, seconds.
    readings : dict of int to KnobReading
        By channel.
    presses : int or None
        The device's count of button presses; None until it is known. The old system has no button.

    """

    connection: int
    received_s: float
    readings: dict[int, KnobReading]
    presses: int | None = None


class KnobReadings:
    """
    Collects the lines of one device. `state` is replaced as a whole: another thread may read it.

    Parameters
    ----------
    full_scales : mapping of int to float
        By channel: the value that the old system sends at the right end of the knob, above 0.

    """

    def __init__(self, full_scales: Mapping[int, float]) -> None:
        self._agreement = LegacyAgreement(dict(full_scales))
        self.state: KnobState | None = None

    def take(self, readings: Readings, received_s: float, connection: int) -> None:
        """
        Take a line of the device.

        """
        new = {
            reading.channel: KnobReading(
                reading.raw / LARGEST_RAW,
                reading.smoothed / LARGEST_SMOOTHED,
                received_s,
                readings.uptime_ms,
            )
            for reading in readings.channels
        }
        self._add(new, received_s, connection, readings.presses)

    def take_legacy(self, reading: LegacyReading, received_s: float, connection: int) -> None:
        """
        Take a line of the old system; it counts when the one before it agrees.

        """
        position = self._agreement.take(reading)
        if position is not None:
            new = {reading.channel: KnobReading(position, position, received_s, None)}
            self._add(new, received_s, connection, None)

    def _add(
        self,
        new: dict[int, KnobReading],
        received_s: float,
        connection: int,
        presses: int | None,
    ) -> None:
        state = self.state
        if state is None or state.connection != connection:
            state = KnobState(connection, received_s, {})
        presses = state.presses if presses is None else presses
        self.state = KnobState(connection, received_s, {**state.readings, **new}, presses)


def age_s(reading: KnobReading, now_s: float, device_uptime_ms: Callable[[float], float]) -> float:
    """
    Tell how long ago the device took a reading, as far as that can be known.

    Parameters
    ----------
    reading : KnobReading
        The reading.
    now_s : float
        Steady clock, seconds.
    device_uptime_ms : callable
        Gives the device's clock at a time of the steady clock, milliseconds modulo 2^32; raises
        LinkError while it is unknown.

    Returns
    -------
    float
        Seconds; without the device's clock, the time since the line arrived.

    """
    since_received_s = now_s - reading.received_s
    if reading.uptime_ms is None:
        return since_received_s
    try:
        ahead_ms = device_uptime_ms(now_s) - reading.uptime_ms
    except LinkError:
        return since_received_s
    # The device's counter may have wrapped around between the two.
    ahead_ms = (ahead_ms + UPTIMES / 2) % UPTIMES - UPTIMES / 2
    return max(1e-3 * ahead_ms, since_received_s)
