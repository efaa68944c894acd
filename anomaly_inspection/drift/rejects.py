# SPDX-License-Identifier: Apache-2.0
"""
Which rejected parts tell of the line: a defect must never look like a drift.

What a good line rejects is defective, and says nothing. But a line that has changed rejects good
parts. Two rules tell the one from the other:

- Ten rejects in a row count: then the line is not as it was taught, or nobody could say so. Where
  all ten are moved to the same side, the nine before count as well.
- Sooner, a reject counts where the good parts have begun to move, and where this reject and the
  two before it are moved to the same side. Measures never count in this way, as every defect moves
  them. With good parts as taught, however bad the others are, nothing counts.

"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

#: Name of the scores of conditions and measures, beside those of the grids of cells.
NUMBERS = 'numbers'
_IN_A_ROW = 10
# So many rejects, one after another, are moved at least so many deviations to the same side.
_ALIKE, _LEAST_SCORE = 3, 2.0


@dataclass(frozen=True, eq=False)
class Scored:
    """
    How far one part is from the reference.

    Parameters
    ----------
    scores : mapping of str to ndarray of float64
        `NUMBERS`: those of the conditions, then of the measures, (n,); by grid, those of its
        cells, `GRID`. In deviations of good parts; NaN = not measured, or does not count.
    changes : ndarray of float64, (n,)
        Change of each condition and measure in its own unit; NaN = not measured.
    now_s : float
        When it came, wall clock, s.
    whole : Scored or None
        The part as it was measured, where this is one that counts at some places alone.

    """

    scores: Mapping[str, NDArray[np.float64]]
    changes: NDArray[np.float64]
    now_s: float
    whole: Scored | None = None

    @property
    def is_partial(self) -> bool:
        """
        Whether it counts at some places alone.

        """
        return self.whole is not None

    def only(self, places: Mapping[str, NDArray[np.bool_]]) -> Scored:
        """
        Give the same part, counting at these places alone.

        """
        kept = {name: np.where(places[name], self.scores[name], np.nan) for name in places}
        return replace(self, scores=kept, whole=self)


@dataclass(eq=False)
class _Reject:
    part: Scored
    counted: dict[str, NDArray[np.bool_]] = field(default_factory=dict)

    def not_counted(self, places: Mapping[str, NDArray[np.bool_]]) -> dict[str, NDArray[np.bool_]]:
        return {
            name: mask & ~self.counted[name] if name in self.counted else mask
            for name, mask in places.items()
        }


class Rejects:
    """
    Takes the rejected parts one by one and gives what counts of them.

    Parameters
    ----------
    conditions : int
        How many of the `NUMBERS` are conditions; the others are measures.

    """

    def __init__(self, conditions: int) -> None:
        self._conditions = conditions
        self._last: deque[_Reject] = deque(maxlen=_IN_A_ROW)
        self._in_a_row = 0

    def end_row(self) -> None:
        """
        Take note of a good part.

        """
        self._in_a_row = 0

    def take(self, part: Scored, begun: Mapping[str, NDArray[np.bool_]]) -> list[Scored]:
        """
        Take a rejected part.

        Parameters
        ----------
        part : Scored
            The part.
        begun : mapping of str to ndarray of bool, (2, ...)
            By the names of the scores: where good parts have begun to move up, and down.

        Returns
        -------
        list of Scored
            What counts now, the oldest first; empty as a rule.

        """
        self._in_a_row += 1
        reject = _Reject(part)
        self._last.append(reject)
        if self._in_a_row > _IN_A_ROW:
            return [part]
        rejects = list(self._last)
        if self._in_a_row == _IN_A_ROW:
            alike = self._alike(rejects)
            places = {name: np.asarray(sides.any(axis=0)) for name, sides in alike.items()}
            earlier = [one.part.only(one.not_counted(places)) for one in rejects[:-1]]
            return [*earlier, part]
        if len(rejects) < _ALIKE:
            return []
        alike = self._alike(rejects[-_ALIKE:])
        reject.counted = {
            name: np.asarray((sides & begun[name]).any(axis=0)) for name, sides in alike.items()
        }
        is_anywhere = any(mask.any() for mask in reject.counted.values())
        return [part.only(reject.counted)] if is_anywhere else []

    def _alike(self, rejects: Sequence[_Reject]) -> dict[str, NDArray[np.bool_]]:
        """
        Tell where all of them are moved up, and down, (2, ...).

        """
        names = set.intersection(*(set(one.part.scores) for one in rejects))
        found = {}
        for name in names:
            scores = np.stack([one.part.scores[name] for one in rejects])
            # NaN is neither.
            sides = np.stack(
                [(scores >= _LEAST_SCORE).all(axis=0), (scores <= -_LEAST_SCORE).all(axis=0)]
            )
            if name == NUMBERS:
                sides[:, self._conditions :] = False
            found[name] = sides
        return found
