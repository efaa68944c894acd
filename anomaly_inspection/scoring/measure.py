# SPDX-License-Identifier: Apache-2.0
"""
Measures: the named numbers a scorer takes from a frame.

"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class BadSide(IntEnum):
    """
    On which side of its limit a measure is anomalous; the values are those of Measure.msg.

    """

    HIGH = 1
    LOW = 2


@dataclass(frozen=True)
class MeasureSpec:
    """
    What a scorer measures, independent of any frame.

    Parameters
    ----------
    name : str
        Lower_snake, unique within the scorer.
    unit : str
        '1' for a pure number.
    bad_side : BadSide
        Where anomalous values lie.
    description : str
        One sentence for parameter descriptors and docs.
    minimum, maximum : float
        Reachable range; infinite where the measure has no end of its own.
    largest_limit : float
        No limit may be further from 0, even where the measure has no end: nothing would ever
        exceed it.
    usual_spread : float or None
        How much the measure usually varies over good parts, of whatever product: the standard
        deviation of the cube root of its distance from the perfect end, as a share of the cube
        root in a typical part. None = not known.
    is_area : bool
        Whether it is the area of a region: that jumps when neighbouring places join.
    class_range : (float, float) or None
        Of a measure that tells the class, so that a part beyond its limit is of no taught class:
        beyond the first value a part is a stranger to all of them, up to the second it has its
        like among them. None for all other measures.

    """

    name: str
    unit: str
    bad_side: BadSide
    description: str
    minimum: float = 0.0
    maximum: float = float('inf')
    largest_limit: float = 1e6
    usual_spread: float | None = None
    is_area: bool = False
    class_range: tuple[float, float] | None = None

    @property
    def limit_range(self) -> tuple[float, float]:
        """
        Give the lowest and the highest limit allowed, both finite.

        """
        return max(self.minimum, -self.largest_limit), min(self.maximum, self.largest_limit)
