# SPDX-License-Identifier: Apache-2.0
"""
CUSUM charts: many at once, with a known rate of false alarms.

Page's chart adds up by how much a score exceeds an allowance k, and never falls below 0:

    S(t) = max(0, S(t - 1) + z(t) - k);   alarm when S > h

A single odd part adds little; a small change that lasts adds up. Changes below k never do, so what
does not matter raises no alarm. For standard normal scores Siegmund (Sequential Analysis, 1985,
chapter 2) gives the mean number of parts between two false alarms:

    ARL = (exp(2 k b) - 2 k b - 1) / (2 k^2),   b = h + 1.166

`limit_for` solves it for h. Scores that follow each other are alike on a real line. Then the sums
spread as if the variance were (1 + r) / (1 - r) times as large, where r is the correlation of
neighbours, and h is made so many times as large (Johnson & Bagshaw, Technometrics 16, 1974). The
charts measure r as parts come; the first parts count as alike until they have shown otherwise.

"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Scores beyond it count as this: one odd part must not raise an alarm.
LARGEST_SCORE = 3.5
_OVERSHOOT = 1.166
# Correlation is measured in stretches so short that slow changes do not count as correlation.
_STRETCH = 50
# Halves of a stretch differ less, in deviations, where neighbours are not alike, unless something
# changes.
_MOST_WITHIN = 0.9
# Until parts have shown how alike neighbours are, they count as so much alike; so many parts
# weigh as much as that.
_ASSUMED_CORRELATION, _ASSUMED_PARTS = 0.5, 25
_MOST_CORRELATION = 0.9
# So much of what came before is forgotten with every stretch.
_FORGETS = 0.9
# An alarm ends after about so many parts that are as taught.
_CAP = 1.5


def mean_run_length(limit: float, allowance: float) -> float:
    """
    Give the mean number of parts between false alarms of one one-sided chart.

    Parameters
    ----------
    limit : float
        h, over 0.
    allowance : float
        k, over 0.

    """
    reach = 2.0 * allowance * (limit + _OVERSHOOT)
    return (math.exp(min(reach, 700.0)) - reach - 1.0) / (2.0 * allowance**2)


def limit_for(false_alarm_rate: float, allowance: float) -> float:
    """
    Give the limit h at which one one-sided chart alarms falsely at a rate, per part.

    Parameters
    ----------
    false_alarm_rate : float
        Over 0 and below 0.1.
    allowance : float
        k, over 0.

    """
    low, high = 0.1, 700.0 / allowance
    for _ in range(100):
        middle = (low + high) / 2
        if mean_run_length(middle, allowance) < 1.0 / false_alarm_rate:
            low = middle
        else:
            high = middle
    return high


class Charts:
    """
    Two-sided CUSUM charts of many scores, fed together.

    Parameters
    ----------
    allowance : ndarray of float64, (n,)
        k of each chart, in deviations of good parts.
    limit : ndarray of float64, (n,)
        h of each chart for scores that are independent.
    one_sided : ndarray of bool, (n,), optional
        Charts for which only high scores are a change.

    """

    def __init__(
        self,
        allowance: NDArray[np.float64],
        limit: NDArray[np.float64],
        one_sided: NDArray[np.bool_] | None = None,
    ) -> None:
        self._allowance = np.asarray(allowance, np.float64)
        self._base_limit = np.asarray(limit, np.float64)
        count = self._allowance.shape
        self._one_sided = np.zeros(count, np.bool_) if one_sided is None else one_sided
        self.sums = np.zeros((2, *count))
        #: Since when each sum has been over 0, as the `moment` of the part before which it rose.
        self.since = np.zeros((2, *count))
        self.is_alarmed = np.zeros((2, *count), np.bool_)
        #: How many parts each sum has been over 0.
        self.run = np.zeros((2, *count), np.int64)
        self._stretch = np.full((_STRETCH, *count), np.nan)
        self._at = 0
        self._products, self._squares = np.zeros(count), np.zeros(count)

    @property
    def limit(self) -> NDArray[np.float64]:
        """
        Give h of each chart, for scores as correlated as those that came.

        """
        correlation = self.correlation
        return self._base_limit * (1.0 + correlation) / (1.0 - correlation)

    @property
    def correlation(self) -> NDArray[np.float64]:
        """
        Give the correlation of neighbouring scores, 0 to 0.9.

        """
        assumed = _ASSUMED_CORRELATION * _ASSUMED_PARTS
        found = (self._products + assumed) / (self._squares + _ASSUMED_PARTS)
        return np.clip(found, 0.0, _MOST_CORRELATION)

    def add(self, scores: NDArray[np.float64], moment: float, *, is_partial: bool = False) -> None:
        """
        Add the scores of one part.

        Parameters
        ----------
        scores : ndarray of float64, (n,)
            In deviations from typical good parts; NaN = not measured, the chart stands still.
        moment : float
            When the part came, in any unit; see `since`.
        is_partial : bool
            Whether the part counts in some charts alone, NaN in the others, and says nothing of
            how alike neighbours are.

        """
        scores = np.clip(scores, -LARGEST_SCORE, LARGEST_SCORE)
        measured = ~np.isnan(scores)
        filled = np.where(measured, scores, 0.0)
        step = np.stack([filled, np.where(self._one_sided, -LARGEST_SCORE, -filled)])
        rested = self.sums <= 0.0
        self.since[rested] = moment
        limit = self.limit
        grown = np.clip(self.sums + step - self._allowance, 0.0, _CAP * limit)
        self.sums = np.where(measured, grown, self.sums)
        self.run = np.where(self.sums > 0.0, self.run + measured, 0)
        # An alarm lasts until all is as taught again.
        self.is_alarmed = (self.sums > limit) | (self.is_alarmed & (self.sums > 0.0))
        if is_partial:
            return
        self._stretch[self._at] = scores
        self._at += 1
        if self._at == _STRETCH:
            self._end_stretch()

    def _end_stretch(self) -> None:
        """
        Take what a stretch says of the correlation of neighbours.

        A change within the stretch would pass for correlation, and limits would rise just when
        something changes. So a stretch whose halves differ much says nothing.

        """
        self._at = 0
        counted = np.count_nonzero(~np.isnan(self._stretch), axis=0)
        first, last = (
            np.nansum(half, axis=0) / (_STRETCH / 2) for half in np.split(self._stretch, 2)
        )
        around = np.nan_to_num(self._stretch - (first + last) / 2)
        variance = np.maximum(np.mean(around**2, axis=0), 1e-12)
        # Centred by its own mean, a stretch shows too little correlation.
        product = (around[1:] * around[:-1]).sum(axis=0) / variance + 1.0
        correlation = self.correlation
        most_within = _MOST_WITHIN * np.sqrt((1.0 + correlation) / (1.0 - correlation))
        usable = (counted == _STRETCH) & (np.abs(last - first) < most_within)
        self._products = np.where(usable, _FORGETS * self._products + product, self._products)
        self._squares = np.where(usable, _FORGETS * self._squares + _STRETCH, self._squares)
