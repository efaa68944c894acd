# SPDX-License-Identifier: Apache-2.0
"""
Turn the position of a potentiometer into a limit, and tell whether somebody turned it.

"""

from __future__ import annotations

from dataclasses import dataclass
import math

from anomaly_inspection.errors import LinkError, SettingError

CURVES = ('linear', 'logarithmic')

# The default range: from just beyond a typical good part to five times worse.
_NEAREST_TIMES = 1.05
_FARTHEST_TIMES = 5.0


@dataclass(frozen=True)
class Scale:
    """
    What the positions of a knob mean.

    Parameters
    ----------
    low, high : float
        Values at its left and right end, unit of the measure; low below high.
    curve : str
        'linear', or 'logarithmic': equal turns multiply by equal factors; low above 0.
    is_reversed : bool
        Whether low lies at the right end.

    Raises
    ------
    SettingError
        When the range is not valid.

    """

    low: float
    high: float
    curve: str = 'linear'
    is_reversed: bool = False

    def __post_init__(self) -> None:
        if self.curve not in CURVES:
            raise SettingError(f'curve {self.curve!r} is refused, allowed: {", ".join(CURVES)}')
        if not (math.isfinite(self.high - self.low) and self.low < self.high):
            raise SettingError(
                f'range {self.low:g} to {self.high:g} is refused, allowed: low below high, finite'
            )
        if self.curve == 'logarithmic' and self.low <= 0:
            raise SettingError(
                f'range {self.low:g} to {self.high:g} is refused, allowed: low above 0 where the '
                'curve is logarithmic'
            )

    def value(self, position: float) -> float:
        """
        Give the value at a position; it is always within low..high.

        Parameters
        ----------
        position : float
            0 = left end, 1 = right end; a position beyond an end counts as the end.

        Raises
        ------
        LinkError
            When the position is not finite.

        """
        if not math.isfinite(position):
            raise LinkError(f'position {position}, allowed: 0 to 1')
        share = min(max(position, 0.0), 1.0)
        if self.is_reversed:
            share = 1.0 - share
        if self.curve == 'logarithmic':
            value = math.exp((1.0 - share) * math.log(self.low) + share * math.log(self.high))
        else:
            value = (1.0 - share) * self.low + share * self.high
        return min(max(value, self.low), self.high)


def range_from_typical(typical: float, *, is_high_bad: bool) -> tuple[float, float]:
    """
    Give the default range of a knob: up to five times worse than a typical good part.

    Parameters
    ----------
    typical : float
        The measure of a typical good part.
    is_high_bad : bool
        Whether high values are anomalous.

    Returns
    -------
    low, high : float
        1.05 to 5 times typical where high is bad, a fifth of it to 1/1.05 where low is.

    Raises
    ------
    SettingError
        When the typical value is not above 0, for then nothing can be multiplied.

    """
    if not (math.isfinite(typical) and typical > 0):
        raise SettingError(
            f'no range can be derived from a typical good part of {typical:g}: set low and high'
        )
    if is_high_bad:
        return _NEAREST_TIMES * typical, _FARTHEST_TIMES * typical
    return typical / _FARTHEST_TIMES, typical / _NEAREST_TIMES


class Knob:
    """
    Tells a turn of the knob from noise and from its position at the start.

    After `rest` a knob is asleep, and its first position means nothing. It wakes once somebody has
    turned it by `waking` from there. From then on every turn beyond `deadband` counts.

    """

    def __init__(self) -> None:
        self._base: float | None = None
        self._is_awake = False

    def rest(self) -> None:
        """
        Fall asleep: the next position is not the result of a turn.

        """
        self._base = None
        self._is_awake = False

    def is_turned(self, position: float, *, waking: float, deadband: float) -> bool:
        """
        Tell whether the position must act; the caller reports with `act` that it did.

        Parameters
        ----------
        position : float
            0 to 1.
        waking, deadband : float
            Shares of the travel from end to end.

        """
        if self._base is None:
            self._base = position
        return abs(position - self._base) > (deadband if self._is_awake else waking)

    def act(self, position: float) -> None:
        """
        Remember that the position has acted.

        """
        self._base = position
        self._is_awake = True
