# SPDX-License-Identifier: Apache-2.0
"""
Calibrate on the running cell: the next parts are good, and their measures give the limits.

Collecting never touches the limits; their owner brings the result into force between two parts.
There is no clock and no ROS here: a stalled line leaves the calibration waiting, and it can be
given up at any time.

"""

from __future__ import annotations

from collections import Counter
from enum import IntEnum
from typing import TYPE_CHECKING

from anomaly_inspection.errors import SettingError
from anomaly_inspection.learning.good_part_limits import check_rate
from anomaly_inspection.learning.outliers import FEWEST_PARTS
from anomaly_inspection.learning.recipe_calibration import RecipeCalibration

if TYPE_CHECKING:
    from anomaly_inspection.learning.recipe_calibration import Limits, Measured
    from anomaly_inspection.recipes.recipe import Recipe

MOST_PARTS = 100_000


class CalibrationState(IntEnum):
    """
    How far a calibration is; the values of Calibration.msg.

    """

    COLLECTING = 1
    DONE = 2
    FAILED = 3
    UNDONE = 4


class CellCalibration:
    """
    One calibration on the running cell, from the request to its end.

    Parameters
    ----------
    recipe : Recipe
        The one in force.
    before : mapping of (scorer, measure) to MeasureLimit
        The limits in force.
    combination : 'any' or 'all'
        How its limits are combined in force.
    parts_wanted : int
        Good parts to collect, 5 to 100000.
    false_reject_rate : float
        Share of good parts that all limits together may reject, over 0 and below 0.5; 0 = what the
        recipe was taught with.

    Raises
    ------
    SettingError
        When a value is out of range.

    """

    def __init__(
        self,
        recipe: Recipe,
        before: Limits,
        combination: str,
        parts_wanted: int,
        false_reject_rate: float,
    ) -> None:
        if not FEWEST_PARTS <= parts_wanted <= MOST_PARTS:
            raise SettingError(f'parts is {parts_wanted}; allowed: {FEWEST_PARTS} to {MOST_PARTS}')
        self.rate = false_reject_rate or recipe.provenance.false_reject_rate
        check_rate(self.rate)
        self.recipe = recipe
        self.combination = combination
        self.parts_wanted = parts_wanted
        self.state = CalibrationState.COLLECTING
        self.before = before
        self._parts: list[tuple[str, Measured]] = []
        self._not_counted: Counter[str] = Counter()
        self._detail = ''
        #: Once done: what the new limits promise.
        self.promise = ''

    @property
    def parts(self) -> int:
        """
        Give how many parts have been collected.

        """
        return len(self._parts)

    @property
    def is_collecting(self) -> bool:
        """
        Whether it still takes parts or derives the limits from them.

        """
        return self.state is CalibrationState.COLLECTING

    @property
    def detail(self) -> str:
        """
        Describe the state in one sentence.

        """
        if self._detail:
            return self._detail
        text = f'{self.parts} of {self.parts_wanted} good parts collected'
        if self._not_counted:
            reasons = ', '.join(f'{n} {why}' for why, n in sorted(self._not_counted.items()))
            text += f'; not counted: {reasons}'
        return text

    def take(self, name: str, measured: Measured, reason: str) -> bool:
        """
        Take a decided part.

        Parameters
        ----------
        name : str
            What to call it.
        measured : mapping of (scorer, measure) to float
            What it measures; empty when it was not measured whole, and then it does not count.
        reason : str
            Of its decision, told for a part that does not count.

        Returns
        -------
        bool
            Whether this was the last part wanted: now the limits can be derived.

        """
        if self.parts >= self.parts_wanted:
            return False
        if not measured:
            self._not_counted[reason] += 1
            return False
        self._parts.append((name, {key: measured[key] for key in self.before}))
        return self.parts == self.parts_wanted

    def derived(self) -> RecipeCalibration:
        """
        Derive the limits; changes nothing. Takes up to seconds for very many parts.

        Raises
        ------
        SettingError
            When too many parts are unlike the others, or no limit can be set.

        """
        return RecipeCalibration.of(
            self._parts, self.recipe, self.before, self.rate, self.combination
        )

    def finish(self, result: RecipeCalibration) -> None:
        """
        Record that the derived limits are in force.

        """
        changes = ', '.join(
            f'{".".join(key)} {result.before[key].limit:.4g} -> {limit.limit:.4g}'
            for key, limit in result.limits.items()
        )
        self.promise = result.summary()
        left_out = f'; left out: {"; ".join(result.left_out)}' if result.left_out else ''
        self.state = CalibrationState.DONE
        self._detail = (
            f'limits from {result.false_rejects.parts} parts are in force: {changes}{left_out}. '
            f'{self.promise}'
        )

    def fail(self, reason: str) -> None:
        """
        Give it up; the limits have not changed.

        """
        self.state = CalibrationState.FAILED
        self._detail = f'{reason}; {self.detail}'

    def undo(self) -> None:
        """
        Record that the limits from before are in force again.

        """
        self.state = CalibrationState.UNDONE
        self.promise = ''
        self._detail = 'the limits from before the calibration are in force again'
