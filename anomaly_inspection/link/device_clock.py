# SPDX-License-Identifier: Apache-2.0
"""
What the computer knows of the device's clock.

"""

from __future__ import annotations

from anomaly_inspection.errors import LinkError
from anomaly_inspection.link.protocol import UPTIMES

# Two good crystals drift apart by less than 1 ms in that time.
_WINDOW_S = 10


class DeviceClock:
    """
    Estimates the device's uptime from the lines it sends.

    A line received at r with uptime u was sent before r, so at any later time t the device's clock
    reads u + (t - r) or more. The largest such value over the last ten seconds comes from the line
    that took the shortest time.

    """

    def __init__(self) -> None:
        self._last: tuple[int, float] | None = None
        # One per second of reception, so that a flood of lines costs no memory.
        self._leads_ms: dict[int, float] = {}

    def reset(self) -> None:
        """
        Forget everything, because the connection is new or the device has restarted.

        """
        self._last = None
        self._leads_ms.clear()

    def take(self, uptime_ms: int, received_s: float) -> bool:
        """
        Take the uptime of a line.

        Parameters
        ----------
        uptime_ms : int
            In the line, milliseconds modulo 2^32.
        received_s : float
            When it was received, steady clock, seconds.

        Returns
        -------
        bool
            False when the uptime does not continue that of the last line: the device has
            restarted.

        """
        goes_on = True
        if self._last is not None:
            step_ms = (uptime_ms - self._last[0]) % UPTIMES
            # A step backwards is nearly 2^32. If lines were lost while others waited in a buffer,
            # the step is longer than the time between them.
            goes_on = step_ms <= 1e3 * (received_s - self._last[1] + _WINDOW_S)
        if not goes_on:
            self.reset()
        self._last = (uptime_ms, received_s)
        lead_ms = self._unwrapped(uptime_ms - 1e3 * received_s)
        second = int(received_s)
        self._leads_ms[second] = max(lead_ms, self._leads_ms.get(second, lead_ms))
        for old in [known for known in self._leads_ms if known < second - _WINDOW_S]:
            del self._leads_ms[old]
        return goes_on

    def uptime_ms(self, now_s: float) -> float:
        """
        Give the best lower bound of the device's uptime now, milliseconds modulo 2^32.

        Raises
        ------
        LinkError
            While it is unknown: no line in the last ten seconds.

        """
        leads = [
            lead_ms for second, lead_ms in self._leads_ms.items() if second >= now_s - _WINDOW_S
        ]
        if not leads:
            raise LinkError(f"the device's clock is unknown: no line in the last {_WINDOW_S} s")
        return (max(leads) + 1e3 * now_s) % UPTIMES

    def _unwrapped(self, lead_ms: float) -> float:
        """
        Shift a lead by whole turns of the device's counter, to where the known leads are.

        """
        if not self._leads_ms:
            return lead_ms
        known_ms = next(iter(self._leads_ms.values()))
        return lead_ms + UPTIMES * round((known_ms - lead_ms) / UPTIMES)
