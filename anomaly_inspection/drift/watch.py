# SPDX-License-Identifier: Apache-2.0
"""
The drift watch: fed with each part, it knows whether the line still shows what was taught.

"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
import math
from typing import TYPE_CHECKING

import cv2
import numpy as np
from scipy.special import stdtrit

from anomaly_inspection.drift.causes import CellChange, Change, MOVED_WEIGHT, named_causes
from anomaly_inspection.drift.charts import Charts, limit_for
from anomaly_inspection.drift.learned import LearnedParts
from anomaly_inspection.drift.rejects import NUMBERS, Rejects, Scored

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from anomaly_inspection.drift.causes import Cause
    from anomaly_inspection.drift.reference import DriftReference, Scale
    from anomaly_inspection.imaging.conditions import Conditions

#: False alarms per part, of all charts of a watch together, that the limits are made for.
FALSE_ALARM_RATE = 1e-7
#: Chance that the good parts of a reference were so odd that other good parts look changed.
ODD_REFERENCE = 1e-3
#: Changes up to so many deviations of good parts are none.
ALLOWANCE = 0.5
# Good parts of the line that stand for those of teaching, where a recipe says nothing of these.
LEARNED_PARTS = 100
# Good parts of a line that has not changed come so far, per part, that rejects begin to count. So
# even where every defect looked like the same drift, there would be no more false alarms.
_BEGUN_RATE = 3e-7
# How many parts the mean change counts that is shown, about.
_RECENT_PARTS = 20


class DriftStatus(IntEnum):
    """
    The values are those of DriftState.msg.

    """

    UNKNOWN = 0
    LEARNING = 1
    VALID = 2
    VOID = 3


@dataclass(frozen=True)
class Verdict:
    """
    What the watch says after a part.

    Parameters
    ----------
    status : DriftStatus
        VOID from the alarm until all is as taught again.
    causes : tuple of Cause
        What changed; what is sure first, in the order in which it began. Empty unless VOID.
    parts : int
        How many parts were compared, or learned from.

    """

    status: DriftStatus
    causes: tuple[Cause, ...] = ()
    parts: int = 0

    @property
    def since_s(self) -> float:
        """
        Since when something is not as taught, wall clock, s; NaN unless VOID.

        """
        return min((cause.since_s for cause in self.causes), default=math.nan)


class DriftWatch:
    """
    Compares the parts of the line with those of teaching.

    Parameters
    ----------
    reference : DriftReference or None
        How good parts looked; None: the first good parts are taken for that.
    bad_is_low : frozenset of str
        'scorer.measure' of the measures whose low values are bad, for what is learned.
    false_alarm_rate : float
        Most false alarms per part, all charts together.
    learned_parts : int
        How many good parts are learned from without a reference.

    """

    def __init__(
        self,
        reference: DriftReference | None,
        bad_is_low: frozenset[str] = frozenset(),
        *,
        false_alarm_rate: float = FALSE_ALARM_RATE,
        learned_parts: int = LEARNED_PARTS,
    ) -> None:
        self._bad_is_low = bad_is_low
        self._rate = false_alarm_rate
        self._learned_parts = learned_parts
        self._learning: list[tuple[Conditions, dict[str, float]]] = []
        self._parts = 0
        self.verdict = Verdict(DriftStatus.UNKNOWN)
        #: What it has learned on the line, as soon as that is enough; None otherwise.
        self.learned: LearnedParts | None = None
        self._watched: _Watched | None = None
        if reference is not None:
            self._watched = _Watched(reference, false_alarm_rate)

    @property
    def reference(self) -> DriftReference | None:
        """
        What parts are compared with; None while that is learned.

        """
        return self._watched.reference if self._watched else None

    def feed(
        self,
        conditions: Conditions,
        measures: Mapping[str, float],
        *,
        has_passed: bool,
        now_s: float,
    ) -> Verdict:
        """
        Take one part of production.

        A rejected part counts only where it tells of the line; see `rejects.py`.

        Parameters
        ----------
        conditions : Conditions
            Of its picture.
        measures : mapping of str to float
            By 'scorer.measure'.
        has_passed : bool
            Its verdict.
        now_s : float
            When it came, wall clock, s.

        Returns
        -------
        Verdict
            What is to be said now; the same object as before when nothing has changed.

        """
        finite = {name: value for name, value in measures.items() if math.isfinite(value)}
        if self._watched is None:
            if has_passed:
                self._learn(conditions, finite)
            return self.verdict
        if not self._watched.feed(conditions, finite, has_passed=has_passed, now_s=now_s):
            return self.verdict
        self._parts += 1
        causes = self._watched.causes(self.verdict.causes)
        status = DriftStatus.VOID if causes else DriftStatus.VALID
        self.verdict = Verdict(status, causes, self._parts)
        return self.verdict

    def _learn(self, conditions: Conditions, measures: dict[str, float]) -> None:
        if 'light' not in conditions.values:
            return
        self._learning.append((conditions, measures))
        self.verdict = Verdict(DriftStatus.LEARNING, parts=len(self._learning))
        if len(self._learning) >= self._learned_parts:
            learned = LearnedParts.of(self._learning)
            self._learning.clear()
            reference = learned.reference(self._bad_is_low)
            if reference is not None:
                self.learned = learned
                self._watched = _Watched(reference, self._rate)
                self.verdict = Verdict(DriftStatus.VALID)

    @property
    def moved_cells(self) -> dict[str, NDArray[np.bool_]]:
        """
        Which cells of each grid are alarmed.

        """
        return self._watched.moved_cells() if self._watched else {}


class _Watched:
    """
    The charts of one reference.

    """

    def __init__(self, reference: DriftReference, rate: float) -> None:
        self.reference = reference
        self._condition_names = list(reference.conditions)
        self._measure_names = list(reference.measures)
        names = self._condition_names + self._measure_names
        one_sided = np.array([name in reference.measures for name in names])
        sides = int((2 - one_sided).sum())
        self._charts: dict[str, Charts] = {}
        # Which share of an alarm good parts must have come before rejects count.
        self._begun: dict[str, float] = {}
        self._add_charts(NUMBERS, one_sided.shape, sides, rate, one_sided)
        cell_sides = 2 * sum(scale.mean.size for scale in reference.cells.values())
        for name, scale in reference.cells.items():
            self._add_charts(name, scale.mean.shape, cell_sides, rate)
        # Mean score and mean change since each sum rose, of the last parts.
        self._recent = {name: np.zeros_like(one.sums) for name, one in self._charts.items()}
        self._steady_cells = {
            name: np.zeros(scale.mean.shape) for name, scale in reference.cells.items()
        }
        self._recent_change = np.zeros((2, len(names)))
        self._steady_change = np.zeros(len(names))
        self._rejects = Rejects(len(self._condition_names))

    def _add_charts(
        self,
        name: str,
        shape: tuple[int, ...],
        sides: int,
        rate: float,
        one_sided: NDArray[np.bool_] | None = None,
    ) -> None:
        """
        Add charts; half of the rate is for the numbers, half for the cells.

        """
        each = 1.0 / 2 / max(1, sides)
        allowance = allowance_for(self.reference.count, sides)
        limit = limit_for(rate * each, ALLOWANCE)
        self._charts[name] = Charts(np.full(shape, allowance), np.full(shape, limit), one_sided)
        self._begun[name] = min(1.0, limit_for(_BEGUN_RATE * each, allowance) / limit)

    def feed(
        self,
        conditions: Conditions,
        measures: Mapping[str, float],
        *,
        has_passed: bool,
        now_s: float,
    ) -> bool:
        """
        Take one part; give whether it counts.

        """
        part = self._scored(conditions, measures, now_s)
        if has_passed:
            self._rejects.end_row()
            self._count(part)
            return True
        begun = {
            name: one.sums >= self._begun[name] * one.limit for name, one in self._charts.items()
        }
        counting = self._rejects.take(part, begun)
        for one in counting:
            self._count(one)
        return bool(counting)

    def _scored(
        self, conditions: Conditions, measures: Mapping[str, float], now_s: float
    ) -> Scored:
        reference = self.reference
        scores, changes = [], []
        for name in self._condition_names:
            value = conditions.values.get(name, math.nan)
            scale = reference.conditions[name]
            scores.append(float(scale.score(value)))
            changes.append(value - scale.typical)
        for name in self._measure_names:
            value = measures.get(name, math.nan)
            signed = -value if name in reference.bad_is_low else value
            scale = reference.measures[name]
            scores.append(float(scale.score(signed)))
            changes.append(value - (-1 if name in reference.bad_is_low else 1) * scale.typical)
        cells = {
            name: scale.score(conditions.cells[name])
            for name, scale in reference.cells.items()
            if name in conditions.cells
        }
        return Scored({NUMBERS: np.array(scores), **cells}, np.array(changes), now_s)

    def _count(self, part: Scored) -> None:
        for name, scores in part.scores.items():
            charts = self._charts[name]
            charts.add(scores, part.now_s, is_partial=part.is_partial)
            self._recent[name] = _followed(self._recent[name], scores, charts)
        self._steady_change = _steady(self._steady_change, part.changes)
        # Names come from all that was measured, alarms from what counts.
        scores_of = (part.whole or part).scores
        for name in self._steady_cells.keys() & scores_of.keys():
            self._steady_cells[name] = _steady(self._steady_cells[name], scores_of[name])
        self._recent_change = _followed(self._recent_change, part.changes, self._charts[NUMBERS])

    def causes(self, before: tuple[Cause, ...]) -> tuple[Cause, ...]:
        if not any(one.is_alarmed.any() for one in self._charts.values()):
            return ()
        charts = self._charts[NUMBERS]
        changes = {}
        limit, names = charts.limit, self._condition_names + self._measure_names
        for at, name in enumerate(names):
            side = int(charts.sums[1, at] > charts.sums[0, at])
            is_alarmed = bool(charts.is_alarmed[:, at].any())
            changes[name] = Change(
                name=name,
                score=float(self._recent[NUMBERS][side, at]),
                amount=float(self._recent_change[side, at]),
                # Limits may rise after an alarm: it stays one.
                weight=max(float(is_alarmed), float(charts.sums[side, at] / limit[at])),
                is_alarmed=is_alarmed,
                since_s=float(charts.since[side, at]),
                is_measure=name in self.reference.measures,
                typical=float(self._scale(name).typical),
                steady=float(self._steady_change[at]),
            )
        return named_causes(changes, self._cell_changes(), before)

    def _cell_changes(self) -> dict[str, CellChange]:
        found = {}
        for name, charts in self._cell_charts():
            share = np.maximum(charts.sums / charts.limit, charts.is_alarmed)
            moved = np.asarray((share >= MOVED_WEIGHT).any(axis=0), np.uint8)
            # Sums are capped, and the surest cell need not be the one that has changed most.
            change = self._recent[name] * self.reference.cells[name].used_spread
            amount = np.abs(change)
            largest = np.where(share >= min(MOVED_WEIGHT, share.max()), amount, -1.0)
            side, row, column = np.unravel_index(int(largest.argmax()), share.shape)
            _, rows, columns = share.shape
            found[name] = CellChange(
                cells=int(moved.sum()),
                share_of_one=_share_of_one(moved, amount.max(axis=0)),
                weight=float(share.max()),
                amount=float(change[side, row, column]),
                in_other_grid=self._in_other_grid(name, int(row), int(column)),
                place=((float(column) + 0.5) / columns, (float(row) + 0.5) / rows),
                since_s=float(charts.since[side, row, column]),
            )
        return found

    def _in_other_grid(self, name: str, row: int, column: int) -> float:
        """
        Compare the change of a cell with that of the same place in the other grid.

        """
        others = [other for other in self._steady_cells if other != name]
        if not others:
            return 0.0
        own, other = (
            self._steady_cells[one] * self.reference.cells[one].used_spread
            for one in (name, others[0])
        )
        around = other[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2]
        change = float(own[row, column])
        same_way = float((around * math.copysign(1.0, change)).max())
        return max(0.0, same_way) / max(abs(change), 1e-9)

    def _scale(self, name: str) -> Scale:
        reference = self.reference
        return reference.conditions.get(name) or reference.measures[name]

    def moved_cells(self) -> dict[str, NDArray[np.bool_]]:
        return {
            name: np.asarray(charts.is_alarmed.any(axis=0), np.bool_)
            for name, charts in self._cell_charts()
        }

    def _cell_charts(self) -> list[tuple[str, Charts]]:
        return [(name, charts) for name, charts in self._charts.items() if name != NUMBERS]


def allowance_for(count: int, sides: int) -> float:
    """
    Give the allowance k of charts whose reference comes from few parts.

    The mean of n good parts lies within t s / root n of that of all good parts, with Student's t.
    So much more is allowed: then charts of an odd reference are as quiet as the others.

    Parameters
    ----------
    count : int
        How many different good parts the reference comes from, n.
    sides : int
        How many one-sided charts share half of `ODD_REFERENCE`.

    """
    quantile = float(stdtrit(count - 1, 1.0 - ODD_REFERENCE / 2 / max(1, sides)))
    return ALLOWANCE + quantile / math.sqrt(count)


def _share_of_one(moved: NDArray[np.uint8], amount: NDArray[np.float64]) -> float:
    """
    Give how much of a change lies in one place, of cells that touch each other; 0 to 1.

    """
    _, places = cv2.connectedComponents(moved, connectivity=8)
    # Place 0 is what has not moved.
    each = np.bincount(places.ravel(), weights=amount.ravel())[1:]
    return float(each.max() / each.sum()) if each.size and each.sum() > 0.0 else 0.0


def _steady(mean: NDArray[np.float64], value: NDArray[np.float64]) -> NDArray[np.float64]:
    """
    Give the moving mean of the last parts after one more; NaN changes nothing.

    """
    return np.where(np.isnan(value), mean, mean + (value - mean) / _RECENT_PARTS)


def _followed(
    mean: NDArray[np.float64], value: NDArray[np.float64], charts: Charts
) -> NDArray[np.float64]:
    """
    Give the moving mean of both sides after one more value; it begins anew with each rise.

    """
    weight = 1.0 / np.clip(charts.run, 1, _RECENT_PARTS)
    return np.where(np.isnan(value), mean, mean + weight * (value - mean))
