# SPDX-License-Identifier: Apache-2.0
"""
Where a limit may be moved to, and what it would have done to the last parts.

"""

from __future__ import annotations

from dataclasses import dataclass
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from anomaly_inspection.panel.cell.part_views import LimitView, PartView

#: Parts that a limit is tried on.
PARTS_TRIED = 100

# In anomaly scores, 1 = the limit as it stood when the page was opened: what the scale shows.
_BEST_SHOWN, _WORST_SHOWN = -0.6, 2.6
_STEPS = 50


@dataclass(frozen=True)
class SliderScale:
    """
    The scale of a slider, in the unit of its limit.

    Parameters
    ----------
    low, high : float
        Ends of the scale.
    first, last : float
        What may be chosen, both included.
    step : float
        A power of ten; `low` and `first` are multiples of it.

    """

    low: float
    high: float
    first: float
    last: float
    step: float

    def holds(self, value: float) -> bool:
        """
        Whether the slider can stand at a value.

        """
        return self.first - self.step <= value <= self.last + self.step

    def rounded(self, value: float) -> float:
        """
        Give the value without the noise of binary fractions.

        """
        return round(value, max(0, -round(math.log10(self.step))))

    def clipped(self, value: float) -> float:
        """
        Give a value that lies on the scale.

        """
        return min(max(value, self.low), self.high)


def slider_scale(limit: LimitView) -> SliderScale:
    """
    Give the scale from better than a typical good part to well beyond the limit.

    Parameters
    ----------
    limit : LimitView
        As it is in force.

    """
    span = limit.value - limit.typical
    least, most = limit.lowest, limit.highest
    if not least <= limit.value <= most:
        least, most = -math.inf, math.inf
    width = min(abs(span), most - least) or abs(span)
    step = 10.0 ** math.floor(math.log10(width / _STEPS))
    ends = sorted(limit.typical + share * span for share in (_BEST_SHOWN, _WORST_SHOWN))
    if not limit.is_narrowed:
        ends = [max(ends[0], least), min(ends[1], most)]
    elif limit.typical >= 0.0:
        # What the measure itself allows is not known then; hardly any goes below zero.
        ends[0] = max(ends[0], 0.0)
    low, high = math.floor(ends[0] / step) * step, math.ceil(ends[1] / step) * step
    # A limit must lie beyond the typical good part; to the last digit of the scale is near enough.
    first, last = low, high
    if limit.high_is_bad:
        first = (math.floor(limit.typical / step) + 1) * step
    else:
        last = (math.ceil(limit.typical / step) - 1) * step
    first, last = max(first, least), min(last, most)
    if limit.is_narrowed:
        # Steps that the decider takes; the parts are shown beyond its range as well.
        first, last = _inward(first, last, step)
    return SliderScale(low, high, first, last, step)


def _inward(first: float, last: float, step: float) -> tuple[float, float]:
    """
    Give the first and the last step within a range; the range itself where it holds none.

    """
    # A hair of tolerance: 0.3 / 0.1 is not quite 3.
    inner = math.ceil(first / step - 1e-9) * step, math.floor(last / step + 1e-9) * step
    return inner if inner[0] <= inner[1] else (first, last)


def measured_values(parts: Sequence[PartView], limit: LimitView) -> list[tuple[int, float]]:
    """
    Give number and value of the last production parts whose measure is known, oldest first.

    """
    found = []
    for part in reversed(parts):
        if part.decision is None or part.decision.known_as:
            continue
        value = part.value_of(limit)
        if math.isfinite(value):
            found.append((part.number, value))
        if len(found) == PARTS_TRIED:
            break
    return found[::-1]


def beyond(values: Iterable[tuple[int, float]], limit: LimitView, at: float) -> int:
    """
    Count the parts that a limit would reject if it stood at `at`.

    """
    return sum(1 for _, value in values if (value > at if limit.high_is_bad else value < at))
