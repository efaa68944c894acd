# SPDX-License-Identifier: Apache-2.0
"""
False rejects: how many good parts the limits reject, and which rate the good parts can promise.

"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
import math
from typing import TYPE_CHECKING

import numpy as np

from anomaly_inspection.errors import SettingError
from anomaly_inspection.learning.binomial import exact_interval, upper_bound
from anomaly_inspection.learning.good_part_limits import check_rate, limits_from_good
from anomaly_inspection.scoring.measure import BadSide

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from anomaly_inspection.learning.good_part_limits import Good, Specs
    from anomaly_inspection.recipes.recipe import MeasureLimit

#: With fewer different parts, nobody can say how many good parts to come will be rejected.
FEWEST_TO_PROMISE = 20

_MOST_TURNS = 100


@dataclass(frozen=True)
class FalseRejects:
    """
    How many good parts were rejected by limits that were derived without them.

    Parameters
    ----------
    rejected, parts : int
        0 <= rejected <= parts, at least one part.

    """

    rejected: int
    parts: int

    @property
    def rate(self) -> float:
        """
        Give the share.

        """
        return self.rejected / self.parts

    @property
    def interval(self) -> tuple[float, float]:
        """
        Give the exact 95 % interval of the true rate.

        """
        return exact_interval(self.rejected, self.parts)

    @property
    def promised_rate(self) -> float:
        """
        Give the rate that these parts can promise; see `promised_rate`.

        """
        return promised_rate(self.parts, rejected=self.rejected)

    def promise(self, false_reject_rate: float) -> str:
        """
        Say which rate to expect, which rate can be promised, and how many parts are missing.

        Parameters
        ----------
        false_reject_rate : float
            The rate asked for.

        """
        low, high = self.interval
        needed = parts_needed(false_reject_rate, self.rejected)
        asked = _percent(false_reject_rate)
        more = f'To promise {asked}, give {needed - self.parts} more good parts ({needed} in all).'
        if self.parts < FEWEST_TO_PROMISE:
            return (
                'No false-reject rate can be promised: that takes at least '
                f'{FEWEST_TO_PROMISE} different good parts, here are {self.parts}. {more}'
            )
        text = (
            f'Expected false rejects: {_percent(self.rate)} (95 % interval {_percent(low)} to '
            f'{_percent(high)}). Limits set without a part rejected {self.rejected} of '
            f'{self.parts} good parts. '
        )
        if needed <= self.parts:
            return f'{text}These parts are enough to promise at most {asked} false rejects.'
        return (
            f'{text}These parts can promise at most {_percent(self.promised_rate)} false rejects. '
            f'{more}'
        )


def promised_rate(count: int, confidence: float = 0.95, rejected: int = 0) -> float:
    """
    Give the false-reject rate that the number of good parts can promise, whatever the model.

    `rejected` of `count` good parts lie beyond limits that were derived without them. Then the
    true rate is below the promised one with this confidence (none of 60 parts: 4.9 %).

    """
    if count < 1 or not 0 <= rejected <= count:
        raise SettingError(
            f'{rejected} of {count} good parts rejected; allowed: 0 to all of at least 1'
        )
    return upper_bound(rejected, count, confidence)


def parts_needed(false_reject_rate: float, rejected: int = 0, confidence: float = 0.95) -> int:
    """
    Give how many good parts it takes to promise a false-reject rate.

    The smallest count for which `promised_rate` does not exceed it (0.5 %, none rejected: 598).

    """
    check_rate(false_reject_rate)
    most = math.ceil(20.0 * (rejected + 1) / false_reject_rate)
    return 1 + bisect_left(
        range(1, most),
        True,
        key=lambda count: (
            count >= rejected and promised_rate(count, confidence, rejected) <= false_reject_rate
        ),
    )


def are_rejected(
    good: Good,
    limits: Mapping[tuple[str, str], MeasureLimit],
    specs: Specs,
    combination: str = 'any',
) -> NDArray[np.bool_]:
    """
    Tell which parts lie beyond the limits.

    Returns
    -------
    ndarray of bool, (n,)

    """
    beyond = [
        values > limits[key].limit
        if specs[key].bad_side == BadSide.HIGH
        else values < limits[key].limit
        for key, values in good.items()
    ]
    if combination == 'any':
        return np.asarray(np.any(beyond, axis=0))
    # A part of no taught class is rejected, whatever its other measures.
    strangers = [one for one, key in zip(beyond, good, strict=True) if specs[key].class_range]
    return np.asarray(np.all(beyond, axis=0) | np.any(strangers, axis=0))


def expected_false_rejects(
    good: Good,
    specs: Specs,
    false_reject_rate: float,
    combination: str = 'any',
    fixed: Mapping[tuple[str, str], MeasureLimit] | None = None,
) -> FalseRejects:
    """
    Estimate how many good parts to come the limits will reject.

    A limit lies beyond nearly all parts that it was derived from, so counting those says nothing.
    Here each part is judged by limits that the same rule derives from all other parts; more than
    100 parts take 100 turns. The estimate covers neither parts that were left out as outliers nor
    parts that cannot be aligned.

    The parameters are those of `limits_from_good`.

    """
    check_rate(false_reject_rate)
    count = len(next(iter(good.values())))
    turns = min(count, _MOST_TURNS)
    rejected = 0
    for turn in range(turns):
        is_out = np.arange(count) % turns == turn
        limits = limits_from_good(
            {key: values[~is_out] for key, values in good.items()},
            specs,
            false_reject_rate,
            combination,
            fixed,
        )
        out = {key: values[is_out] for key, values in good.items()}
        rejected += int(are_rejected(out, limits, specs, combination).sum())
    return FalseRejects(rejected, count)


def _percent(rate: float) -> str:
    return f'{100 * rate:.2g} %'
