# SPDX-License-Identifier: Apache-2.0
"""
How far confirmed good parts may loosen limits.

Too strict a limit costs good parts, and people see it; too loose a one lets bad parts pass, and
nobody sees it. So a limit is loosened only as far as reviewed parts support it:

* It is loosened only where that lets at least `FEWEST_GOOD` confirmed good parts pass that exceed
  it, and no further than the value that `REACHED_BY` of them reach. So an odd part, or two wrong
  clicks, move nothing.
* For each limit that is loosened, `BAD_FOR_EACH` confirmed bad parts must be rejected now. Of n
  bad parts the mildest has about 1/n of all bad parts below it, so with 100 of them about 1 % of
  the bad parts that are rejected now may newly pass. Where good parts ask for more limits than
  that, those are loosened that let the most good parts pass.
* All these bad parts must still be rejected when all limits are moved `TIMES_FURTHER` as far as
  proposed, as weaker defects than the confirmed ones may come.
* At one time it goes at most to `MOST_TIMES` its distance from a typical part; teaching lets an
  odd part count as much (`learning.good_part_limits`).
* The range of the engineer and that of the measure hold.

"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

FEWEST_GOOD = 5
REACHED_BY = 3
BAD_FOR_EACH = 100
TIMES_FURTHER = 2.0
MOST_TIMES = 1.5


class Hold(StrEnum):
    """
    Why a limit that confirmed good parts exceed is not loosened.

    """

    FEW_GOOD = 'few_good'
    FEW_BAD = 'few_bad'
    NEAR_BAD = 'near_bad'
    TOO_FAR = 'too_far'
    RANGE = 'range'
    OTHER_LIMITS = 'other_limits'


@dataclass(frozen=True)
class Held:
    """
    Why a limit is not loosened.

    Parameters
    ----------
    why : Hold
        What holds it.
    good, bad : int
        Confirmed good parts that exceed it, at least 1; confirmed bad ones that are rejected now.
    bad_needed : int
        How many of these are needed to loosen one more limit.

    """

    why: Hold
    good: int
    bad: int
    bad_needed: int = BAD_FOR_EACH

    @property
    def sentence(self) -> str:
        """
        Say it in words, without a full stop.

        """
        exceed = f'{self.good} good part{" exceeds" if self.good == 1 else "s exceed"} it'
        return {
            Hold.FEW_GOOD: f'{exceed}; at least {FEWEST_GOOD} are needed',
            Hold.FEW_BAD: f'{self.bad} rejected parts are confirmed as bad; at least '
            f'{self.bad_needed} are needed',
            Hold.NEAR_BAD: 'a bad part lies too near',
            Hold.TOO_FAR: f'{exceed}, too far: at one time a limit goes at most to '
            f'{MOST_TIMES:g} times its distance from a typical part',
            Hold.RANGE: 'held back by the allowed range',
            Hold.OTHER_LIMITS: f'{exceed}, but other limits reject them as well',
        }[self.why]


@dataclass(frozen=True, eq=False)
class LooseningCase:
    """
    What limits and reviewed parts say; all in badness, higher is worse.

    Parameters
    ----------
    start : ndarray of float64, (measures,)
        The limits, with those already stricter that confirmed bad parts need so.
    now, typical, highest : ndarray of float64, (measures,)
        The limits in force, the typical values, and how loose the allowed range permits.
    good, bad : ndarray of float64, (n, measures)
        The confirmed parts.
    rejected_by : callable
        Says which parts are rejected when these limits are exceeded, bool (n, measures) to (n,).

    """

    start: NDArray[np.float64]
    now: NDArray[np.float64]
    typical: NDArray[np.float64]
    highest: NDArray[np.float64]
    good: NDArray[np.float64]
    bad: NDArray[np.float64]
    rejected_by: Callable[[NDArray[np.bool_]], NDArray[np.bool_]]


class Loosening:
    """
    Loosens limits by the rule of this file.

    Parameters
    ----------
    case : LooseningCase
        Limits and parts.

    """

    def __init__(self, case: LooseningCase) -> None:
        self._case = case
        rejected = case.good[case.rejected_by(case.good > case.start)]
        beyond = (rejected - case.typical) / (case.start - case.typical)
        # The mildest first: one that a bad part blocks shall not block those before it.
        self._good = rejected[np.argsort(beyond.max(axis=1, initial=0.0))]
        self._bad = case.bad[case.rejected_by(case.bad > case.start)]
        self._furthest = case.typical + MOST_TIMES * (case.now - case.typical)
        n_limits = len(self._bad) // BAD_FOR_EACH
        #: As badness, (measures,).
        self.limits = self._of_most_use(n_limits) if n_limits else case.start

    def held(self) -> list[Held | None]:
        """
        Say for each limit why it is not loosened; None = it is, or no good part exceeds it.

        """
        n_good = (self._good > self._case.start).sum(axis=0)
        n_bad = len(self._bad)
        bad_needed = BAD_FOR_EACH * (n_bad // BAD_FOR_EACH + 1)
        # Each takes one more rule away; the first that moves a limit names what has held it.
        without = (
            (Hold.FEW_BAD, self._loosened()),
            (Hold.NEAR_BAD, self._loosened(heeds_bad=False)),
            (Hold.TOO_FAR, self._loosened(heeds_bad=False, is_capped=False)),
            (Hold.RANGE, self._loosened(heeds_bad=False, is_capped=False, is_ranged=False)),
        )

        def why(index: int) -> Hold:
            if n_good[index] < FEWEST_GOOD:
                return Hold.FEW_GOOD
            start = self._case.start[index]
            if n_bad < BAD_FOR_EACH:
                return Hold.FEW_BAD
            moved = (hold for hold, limits in without if limits[index] > start)
            return next(moved, Hold.OTHER_LIMITS)

        return [
            Held(why(index), int(n_good[index]), n_bad, bad_needed)
            if n_good[index] and self.limits[index] == self._case.start[index]
            else None
            for index in range(len(n_good))
        ]

    def _of_most_use(self, n_limits: int) -> NDArray[np.float64]:
        """
        Loosen at most so many limits: one after the other is left out that costs the fewest parts.

        """
        start = self._case.start
        stays = np.zeros(len(start), bool)
        limits = self._loosened(stays)
        while (limits > start).sum() > n_limits:
            choices = []
            for index in np.flatnonzero(limits > start):
                one_more = stays.copy()
                one_more[index] = True
                choices.append((one_more, self._loosened(one_more)))
            stays, limits = max(choices, key=lambda choice: self._n_passing(choice[1]))
        return limits

    def _n_passing(self, limits: NDArray[np.float64]) -> int:
        return int((~self._case.rejected_by(self._good > limits)).sum())

    def _loosened(
        self,
        stays: NDArray[np.bool_] | None = None,
        *,
        heeds_bad: bool = True,
        is_capped: bool = True,
        is_ranged: bool = True,
    ) -> NDArray[np.float64]:
        start = self._case.start
        highest = np.full_like(start, np.inf)
        if is_capped:
            highest = np.minimum(highest, self._furthest)
        if is_ranged:
            highest = np.minimum(highest, self._case.highest)
        highest = np.maximum(highest, start)
        if stays is not None:
            highest[stays] = start[stays]
        while True:
            limits = self._widest(highest, heeds_bad=heeds_bad)
            passing = self._good[~self._case.rejected_by(self._good > limits)]
            moved = np.flatnonzero(limits > start)
            values = {int(i): passing[passing[:, i] > start[i], i] for i in moved}
            few = [index for index, each in values.items() if len(each) < FEWEST_GOOD]
            if not few:
                break
            # Without these limits others may have room, or lose the parts that they need.
            highest[few] = start[few]
        limits = limits.copy()
        for index, each in values.items():
            # Where only all limits together reject, a part that passes may lie beyond this one.
            limits[index] = min(limits[index], np.sort(each)[-REACHED_BY])
        return limits

    def _widest(self, highest: NDArray[np.float64], *, heeds_bad: bool) -> NDArray[np.float64]:
        """
        Give limits that let one good part after the other pass, as far as bad parts allow.

        """
        limits = self._case.start
        for row in self._good:
            exceeded = row > limits
            if not self._case.rejected_by(exceeded[None])[0]:
                continue
            changed = np.where(exceeded & (row <= highest), row, limits)
            would_pass = not self._case.rejected_by((row > changed)[None])[0]
            if would_pass and (not heeds_bad or self._is_clear_of_bad(changed)):
                limits = changed
        return limits

    def _is_clear_of_bad(self, limits: NDArray[np.float64]) -> bool:
        further = self._case.start + TIMES_FURTHER * (limits - self._case.start)
        return bool(self._case.rejected_by(self._bad > further).all())
