# SPDX-License-Identifier: Apache-2.0
"""
Read the lines of the old system, `_34#2765#34_`. They carry no check, so two must agree.

"""

from __future__ import annotations

from dataclasses import dataclass
import re

from anomaly_inspection.errors import LinkError

#: Two readings agree when they differ by no more than this share of full scale.
AGREEMENT = 0.02

_FORM = re.compile(rb'_([0-9]{1,3})#([0-9]+(?:\.[0-9]+)?)#\1_\r?')
_LONGEST_VALUE = 12


@dataclass(frozen=True)
class LegacyReading:
    """
    One potentiometer, as the old system sends it.

    Parameters
    ----------
    channel : int
        Its GPIO number, 0 to 255.
    value : float
        In the device's own scale, 0 or more.

    """

    channel: int
    value: float


def decode_legacy(line: bytes) -> LegacyReading:
    """
    Read a line of the old system, without its line feed.

    Raises
    ------
    LinkError
        When the line is not exactly as docs/protocol.md says.

    """
    form = _FORM.fullmatch(line)
    if form is None or len(form[2]) > _LONGEST_VALUE or int(form[1]) > 255:
        raise LinkError(f'line {line!r}, allowed: _channel#value#channel_')
    return LegacyReading(int(form[1]), float(form[2]))


class LegacyAgreement:
    """
    Lets a value through when the one before it, of the same channel, agrees.

    Parameters
    ----------
    full_scales : dict of int to float
        By channel: the value at the right end of the knob, above 0.

    """

    def __init__(self, full_scales: dict[int, float]) -> None:
        self._full_scales = full_scales
        self._before: dict[int, float] = {}

    def take(self, reading: LegacyReading) -> float | None:
        """
        Give the position of the knob, 0 to 1, or None when it must not act.

        A value beyond full scale, and one of an unknown channel, counts as damaged.

        """
        full_scale = self._full_scales.get(reading.channel)
        if full_scale is None:
            return None
        position = reading.value / full_scale
        before = self._before.pop(reading.channel, None)
        if position > 1.0:
            return None
        self._before[reading.channel] = position
        agrees = before is not None and abs(position - before) <= AGREEMENT
        return position if agrees else None
