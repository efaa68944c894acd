# SPDX-License-Identifier: Apache-2.0
"""
Limits: how far a measure may go before its part is anomalous.

"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
import math

from anomaly_inspection.errors import LimitError
from anomaly_inspection.scoring.measure import BadSide


class LimitOrigin(IntEnum):
    """
    Where the value of a limit came from; the values are those of LimitInForce.msg.

    """

    RECIPE = 1
    PARAMETER_FILE = 2
    RUNTIME = 3


@dataclass(frozen=True)
class Limit:
    """
    The limit of one measure of one scorer. Exactly at the limit is still good.

    Parameters
    ----------
    scorer, measure : str
        Which measure it is.
    value : float
        The limit, unit of the measure.
    bad_side : BadSide
        Where anomalous values lie.
    typical : float
        Median of the measure over held-out good parts, unit of the measure.
    unit : str
        '1' for a pure number.
    minimum, maximum : float
        The range that limit and typical may have, which `MeasureSpec.limit_range` gives.
    tells_class : bool
        Whether a part beyond the limit is of none of the taught classes.
    origin : LimitOrigin
        Where `value` came from.
    lowest, highest : float
        The narrower range that an engineer allows for `value`, both included; infinite = none.

    Raises
    ------
    LimitError
        When `value` or `typical` is not finite or outside of minimum..maximum, or `value` is not
        on the bad side of `typical` or outside of lowest..highest.

    """

    scorer: str
    measure: str
    value: float
    bad_side: BadSide
    typical: float
    unit: str = '1'
    minimum: float = 0.0
    maximum: float = math.inf
    tells_class: bool = False
    origin: LimitOrigin = LimitOrigin.RECIPE
    lowest: float = -math.inf
    highest: float = math.inf

    def __post_init__(self) -> None:
        if not math.isfinite(self.typical) or not self.minimum <= self.typical <= self.maximum:
            raise LimitError(
                f'{self.name}: typical {self.typical!r} refused, allowed: a finite number from '
                f'{self.minimum!r} to {self.maximum!r}'
            )
        is_high = self.bad_side is BadSide.HIGH
        is_beyond_typical = self.value > self.typical if is_high else self.value < self.typical
        is_reachable = self.minimum <= self.value <= self.maximum
        is_finite = math.isfinite(self.value) and math.isfinite(self.value - self.typical)
        if not (is_finite and is_beyond_typical and is_reachable):
            allowed = (
                f'above {self.typical!r} (a typical good part) up to {self.maximum!r}'
                if is_high
                else f'from {self.minimum!r} up to, not including, {self.typical!r} '
                '(a typical good part)'
            )
            raise LimitError(f'{self.name}: limit {self.value!r} refused, allowed: {allowed}')
        if not self.lowest <= self.value <= self.highest:
            raise LimitError(
                f'{self.name}: limit {self.value!r} refused, allowed: {self.least!r} to '
                f'{self.most!r}, the range that an engineer has set'
            )

    @property
    def least(self) -> float:
        """
        The lowest value that is taken, unless the typical good part lies above it.

        """
        return max(self.minimum, self.lowest)

    @property
    def most(self) -> float:
        """
        The highest value that is taken, unless the typical good part lies below it.

        """
        return min(self.maximum, self.highest)

    @property
    def is_narrowed(self) -> bool:
        """
        Whether an engineer allows less than the measure does.

        """
        return (self.least, self.most) != (self.minimum, self.maximum)

    @property
    def name(self) -> str:
        """
        'scorer.measure'.

        """
        return f'{self.scorer}.{self.measure}'

    def is_exceeded_by(self, value: float) -> bool:
        """
        Whether a (finite) value of the measure lies beyond the limit.

        """
        return value > self.value if self.bad_side is BadSide.HIGH else value < self.value

    def is_perfect(self, value: float) -> bool:
        """
        Whether a value of the measure is the best there is.

        """
        return value == (self.minimum if self.bad_side is BadSide.HIGH else self.maximum)

    def anomaly_score(self, value: float) -> float:
        """
        Put a (finite) value of the measure on the common scale.

        Returns
        -------
        float
            0 = a typical good part, 1 = exactly at the limit; above 1 if and only if the limit is
            exceeded.

        """
        score = (value - self.typical) / (self.value - self.typical)
        if self.is_exceeded_by(value):
            # Rounding must not turn a value just beyond the limit into 'exactly at it'.
            return max(score, math.nextafter(1.0, 2.0))
        return score


@dataclass(frozen=True)
class LimitTable:
    """
    All limits of one recipe; never empty, never two for one measure.

    """

    limits: tuple[Limit, ...]

    def __post_init__(self) -> None:
        if not self.limits:
            raise LimitError('no limits given: without one nothing could ever be rejected')
        names = [limit.name for limit in self.limits]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise LimitError(f'more than one limit for {", ".join(twice)}')

    def __iter__(self) -> Iterator[Limit]:
        return iter(self.limits)

    @property
    def scorers(self) -> tuple[str, ...]:
        """
        The scorers whose measures are needed for a verdict, in order of their first limit.

        """
        return tuple(dict.fromkeys(limit.scorer for limit in self.limits))

    def changed(self, values: Mapping[tuple[str, str], float], origin: LimitOrigin) -> LimitTable:
        """
        Give a table in which these limits have other values: all of them, or none.

        Parameters
        ----------
        values : mapping of (scorer, measure) to float
            The new limits, unit of the measure each; integers are taken as well.
        origin : LimitOrigin
            Who set them.

        Raises
        ------
        LimitError
            When one of them is refused; names the measure, the value and the allowed range.

        """
        known = {(limit.scorer, limit.measure) for limit in self.limits}
        for scorer, measure in values:
            if (scorer, measure) not in known:
                names = ', '.join(limit.name for limit in self.limits)
                raise LimitError(f'{scorer}.{measure}: no such measure, known are {names}')
        return LimitTable(
            tuple(
                replace(limit, value=float(values[limit.scorer, limit.measure]), origin=origin)
                if (limit.scorer, limit.measure) in values
                else limit
                for limit in self.limits
            )
        )
