# SPDX-License-Identifier: Apache-2.0
"""
The limits that would have been right for the parts that people have reviewed.

A confirmed bad part that passes outweighs any number of good ones that are rejected: no advice
lets a confirmed bad part pass that is rejected now, and `looser` says what a looser limit needs.

"""

from __future__ import annotations

from dataclasses import dataclass
import math
from typing import TYPE_CHECKING

import numpy as np

from anomaly_inspection.errors import LimitError
from anomaly_inspection.reviewing.looser import Loosening, LooseningCase
from anomaly_inspection.reviewing.stored_part import Truth

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from anomaly_inspection.deciding.limits import Limit
    from anomaly_inspection.reviewing.looser import Held
    from anomaly_inspection.reviewing.replay import Replay


@dataclass(frozen=True)
class MeasureAdvice:
    """
    What the reviewed parts say of one limit.

    Parameters
    ----------
    limit : Limit
        As it is now.
    proposed : float
        Where it would have been right, unit of the measure; the limit itself when nothing speaks
        for another.
    for_good : float
        With all other limits as proposed, the strictest limit that no confirmed good part exceeds;
        NaN = the confirmed good parts do not depend on this limit.
    for_bad : float
        With all other limits as proposed, a limit must be stricter than this to reject all
        confirmed bad parts; NaN = none of them depends on this limit.
    held : Held or None
        Why it is not loosened, although confirmed good parts exceed it.

    """

    limit: Limit
    proposed: float
    for_good: float
    for_bad: float
    held: Held | None = None

    @property
    def is_change(self) -> bool:
        """
        Whether another limit is proposed.

        """
        return self.proposed != self.limit.value

    @property
    def right_range(self) -> str:
        """
        Where the limit would have been right, in words; '' = the reviewed parts do not tell.

        """
        is_high = self.limit.value > self.limit.typical
        has_good, has_bad = not math.isnan(self.for_good), not math.isnan(self.for_bad)
        good, bad = f'{self.for_good:.4g}', f'{self.for_bad:.4g}'
        if has_good and has_bad:
            if (self.for_good >= self.for_bad) == is_high:
                return f'none: a bad part has {bad}, a good one {good}'
            return f'{good} to {bad}' if is_high else f'{bad} to {good}'
        if has_good:
            return f'{good} or {"more" if is_high else "less"}'
        if has_bad:
            return f'{"below" if is_high else "above"} {bad}'
        return ''


@dataclass(frozen=True)
class Outcome:
    """
    What limits do to the reviewed parts.

    Parameters
    ----------
    good_rejected, good : int
        Confirmed good parts that are rejected, and all of them.
    bad_passed, bad : int
        Confirmed bad parts that pass, and all of them.

    """

    good_rejected: int
    good: int
    bad_passed: int
    bad: int


@dataclass(frozen=True)
class Advice:
    """
    The limits that would have been right.

    Parameters
    ----------
    measures : tuple of MeasureAdvice
        One for each limit, in the order of the recipe.
    now, then : Outcome
        With the limits as they are, and as proposed.

    """

    measures: tuple[MeasureAdvice, ...]
    now: Outcome
    then: Outcome

    @property
    def changes(self) -> dict[str, float]:
        """
        The proposed limits that differ from those now, by 'scorer.measure'.

        """
        return {one.limit.name: one.proposed for one in self.measures if one.is_change}


def advise(replay: Replay, good: Mapping[str, NDArray[np.float64]] | None = None) -> Advice:
    """
    Say which limits would have been right.

    Parameters
    ----------
    replay : Replay
        The stored parts; those that nobody has judged play no part.
    good : mapping of str to ndarray of float64, (n,), optional
        Each measure of held-out good parts, as the recipe holds them: a limit is made stricter
        where that costs the fewest of these.

    """
    sums = _Sums(replay, good or {})
    loosening = sums.loosening(sums.tightened(replay.limits))
    limits, held = loosening.limits, loosening.held()
    return Advice(
        tuple(
            sums.of_measure(index, limits, limit, held[index])
            for index, limit in enumerate(replay.table)
        ),
        sums.outcome(replay.limits),
        sums.outcome(limits),
    )


class _Sums:
    """
    All in badness: higher is worse, whatever the side of the measure.

    """

    def __init__(self, replay: Replay, good: Mapping[str, NDArray[np.float64]]) -> None:
        self._replay = replay
        truths = [part.truth for part in replay.parts]
        self._good = replay.badness[np.array([t is Truth.GOOD for t in truths], bool)]
        self._bad = replay.badness[np.array([t is Truth.BAD for t in truths], bool)]
        self._typical = replay.typical
        signs = np.sign(replay.limits_of({limit.name: 1.0 for limit in replay.table}))
        ends = [
            sorted((limit.least * sign, limit.most * sign))
            for limit, sign in zip(replay.table, signs, strict=True)
        ]
        self._low, self._high = (np.array(each, np.float64) for each in zip(*ends, strict=True))
        self._held_out = [
            np.asarray(good.get(limit.name, ()), np.float64) * sign
            for limit, sign in zip(replay.table, signs, strict=True)
        ]

    def outcome(self, limits: NDArray[np.float64]) -> Outcome:
        good = self._replay.rejected(limits, self._good)
        bad = self._replay.rejected(limits, self._bad)
        return Outcome(int(good.sum()), len(good), int((~bad).sum()), len(bad))

    # Stricter: bad parts that pass

    def tightened(self, limits: NDArray[np.float64]) -> NDArray[np.float64]:
        """
        Make limits stricter until the confirmed bad parts are rejected, where that is possible.

        """
        # The worst first: a limit that catches the mildest would else be moved twice.
        order = np.argsort((self._bad / np.maximum(np.abs(limits), 1e-12)).max(axis=1, initial=0))
        for row in self._bad[order]:
            if self._replay.rejected(limits, row[None])[0]:
                continue
            choices = [
                changed
                for index in range(len(limits))
                if (changed := self._stricter(limits, index, row)) is not None
            ]
            if choices:
                limits = min(choices, key=self._cost)
        return limits

    def _stricter(
        self, limits: NDArray[np.float64], index: int, row: NDArray[np.float64]
    ) -> NDArray[np.float64] | None:
        """
        Give limits with one of them halfway between the bad part and the best good one below it.

        """
        value = row[index]
        below = self._good[:, index][self._good[:, index] < value]
        floor = max(self._typical[index], below.max(initial=-math.inf))
        wanted = (floor + value) / 2.0
        if wanted >= value or not self._is_allowed(index, wanted):
            # In the last resort right below it: the engineer's range may end there.
            wanted = math.nextafter(value, -math.inf)
        if not self._is_allowed(index, wanted):
            return None
        changed = limits.copy()
        changed[index] = wanted
        return changed if self._replay.rejected(changed, row[None])[0] else None

    def _cost(self, limits: NDArray[np.float64]) -> tuple[float, float]:
        held_out = [
            float((values > limit).mean()) if len(values) else 0.0
            for values, limit in zip(self._held_out, limits, strict=True)
        ]
        return float(self._replay.rejected(limits, self._good).sum()), sum(held_out)

    # Looser: good parts that are rejected

    def loosening(self, start: NDArray[np.float64]) -> Loosening:
        """
        Make limits looser for confirmed good parts, as far as the rule of `looser` allows.

        """
        return Loosening(
            LooseningCase(
                start=start,
                now=self._replay.limits,
                typical=self._typical,
                highest=self._high,
                good=self._good,
                bad=self._bad,
                rejected_by=self._replay.rejected_by,
            )
        )

    # One measure

    def of_measure(
        self, index: int, limits: NDArray[np.float64], limit: Limit, held: Held | None
    ) -> MeasureAdvice:
        good_to, bad_from = self._ends(limits, index)
        proposed, for_good, for_bad = (
            self._value(index, one) for one in (limits[index], good_to, bad_from)
        )
        if limits[index] == self._replay.limits[index]:
            proposed = limit.value
        # What holds back a limit that is made stricter goes without saying.
        is_change = proposed != limit.value
        return MeasureAdvice(limit, proposed, for_good, for_bad, None if is_change else held)

    def _ends(self, limits: NDArray[np.float64], index: int) -> tuple[float, float]:
        """
        Give the worst good and the mildest bad value among the parts that this limit decides.

        """
        worst_good = self._depending(self._good, limits, index).max(initial=-math.inf)
        mildest_bad = self._depending(self._bad, limits, index).min(initial=math.inf)
        return (
            float(worst_good) if math.isfinite(worst_good) else math.nan,
            float(mildest_bad) if math.isfinite(mildest_bad) else math.nan,
        )

    def _depending(
        self, badness: NDArray[np.float64], limits: NDArray[np.float64], index: int
    ) -> NDArray[np.float64]:
        exceeded = badness > limits
        without, with_it = exceeded.copy(), exceeded.copy()
        without[:, index], with_it[:, index] = False, True
        decides = self._replay.rejected_by(with_it) & ~self._replay.rejected_by(without)
        return np.asarray(badness[decides, index])

    def _is_allowed(self, index: int, badness: float) -> bool:
        low, high, typical = self._low[index], self._high[index], self._typical[index]
        return bool(low <= badness <= high and badness > typical)

    def _value(self, index: int, badness: float) -> float:
        if math.isnan(badness):
            return math.nan
        limits = self._replay.limits.copy()
        limits[index] = badness
        return self._replay.values_of(limits)[self._replay.table.limits[index].name]


def checked_changes(replay: Replay, values: Mapping[str, float]) -> dict[str, float]:
    """
    Give proposed limits as they may be set.

    Raises
    ------
    LimitError
        When one names no measure of the recipe, or lies outside of the range of the measure or of
        the engineer.

    """
    from anomaly_inspection.deciding.limits import LimitOrigin

    named: dict[tuple[str, str], float] = {}
    for name, value in values.items():
        scorer, dot, measure = name.partition('.')
        if not dot:
            raise LimitError(f'{name!r} is refused; allowed: scorer.measure')
        named[scorer, measure] = value
    replay.table.changed(named, LimitOrigin.RUNTIME)
    return dict(values)
