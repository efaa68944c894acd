# SPDX-License-Identifier: Apache-2.0
"""
Judge stored parts again by other limits, from the measures that were stored.

This is exact as long as the recipe measures as it did then. `rescoring` makes it so for parts that
another recipe has measured.

"""

from __future__ import annotations

from dataclasses import dataclass
import math
from typing import TYPE_CHECKING

import numpy as np

from anomaly_inspection.deciding.frame_judge import Combination
from anomaly_inspection.scoring.measure import BadSide

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from anomaly_inspection.deciding.limits import LimitTable
    from anomaly_inspection.reviewing.stored_part import StoredPart


@dataclass(frozen=True)
class Flip:
    """
    A part that other limits would judge otherwise.

    Parameters
    ----------
    part : StoredPart
        The part.
    would_be_rejected : bool
        By the new limits.

    """

    part: StoredPart
    would_be_rejected: bool


class Replay:
    """
    The measures of stored parts, ready to be compared with limits.

    Parameters
    ----------
    table : LimitTable
        The limits that act now; they say which measures are judged.
    combination : Combination
        Whether one limit exceeded rejects, or only all.
    parts : iterable of StoredPart
        All measured by one and the same recipe. Those whose measures decide nothing, as after a
        time-out, or of which a measure is missing, are left out.

    """

    def __init__(
        self, table: LimitTable, combination: Combination, parts: Iterable[StoredPart]
    ) -> None:
        self.table = table
        self.combination = combination
        names = [limit.name for limit in table]
        self.parts: list[StoredPart] = []
        #: Parts that no limit can change, or whose verdict the measures do not explain.
        self.left_out: list[StoredPart] = []
        rows = []
        for part in parts:
            row = [part.measures.get(name, math.nan) for name in names]
            if part.is_judged_by_measures and all(map(math.isfinite, row)):
                self.parts.append(part)
                rows.append(row)
            else:
                self.left_out.append(part)
        self._signs: NDArray[np.float64] = np.array(
            [1.0 if limit.bad_side is BadSide.HIGH else -1.0 for limit in table]
        )
        self._tells_class = np.array([limit.tells_class for limit in table], bool)
        #: Higher is worse, whatever the side of the measure; (parts, measures).
        self.badness = np.array(rows, np.float64).reshape(-1, len(names)) * self._signs
        self._drop_unexplained()

    @property
    def limits(self) -> NDArray[np.float64]:
        """
        The limits that act now, as badness, (measures,).

        """
        return self.limits_of({})

    @property
    def typical(self) -> NDArray[np.float64]:
        """
        The typical values, as badness, (measures,).

        """
        return self.limits_of({limit.name: limit.typical for limit in self.table})

    def limits_of(self, values: Mapping[str, float]) -> NDArray[np.float64]:
        """
        Give limits as badness; those that are not named stay.

        """
        named = [values.get(limit.name, limit.value) for limit in self.table]
        return np.multiply(named, self._signs)

    def values_of(self, limits: NDArray[np.float64]) -> dict[str, float]:
        """
        Give limits by name, unit of the measure, from limits as badness.

        """
        named = zip(self.table, limits * self._signs, strict=True)
        return {limit.name: float(value) for limit, value in named}

    def rejected(
        self, limits: NDArray[np.float64], badness: NDArray[np.float64] | None = None
    ) -> NDArray[np.bool_]:
        """
        Say which parts limits would reject; as `deciding.judge` does.

        Parameters
        ----------
        limits : ndarray of float64, (measures,)
            As badness.
        badness : ndarray of float64, (n, measures), optional
            Other parts than those stored.

        Returns
        -------
        ndarray of bool, (n,)

        """
        return self.rejected_by((self.badness if badness is None else badness) > limits)

    def rejected_by(self, exceeded: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """
        Say which parts are rejected when these limits are exceeded, (n, measures).

        """
        if self.combination is Combination.ANY:
            return np.asarray(exceeded.any(axis=1))
        return np.asarray(exceeded.all(axis=1) | exceeded[:, self._tells_class].any(axis=1))

    def flips(self, values: Mapping[str, float]) -> list[Flip]:
        """
        Give the parts whose verdict other limits would turn round.

        Parameters
        ----------
        values : mapping of str to float
            The new limits by 'scorer.measure'; those that are not named stay as they are now.

        """
        now, then = self.rejected(self.limits), self.rejected(self.limits_of(values))
        return [
            Flip(part, bool(would_be))
            for part, is_now, would_be in zip(self.parts, now, then, strict=True)
            if is_now != would_be
        ]

    def changed_decisions(self) -> list[Flip]:
        """
        Give the parts that the cell has decided otherwise than these limits would.

        Parts that this recipe has measured anew and cannot judge, e.g. as it cannot align them,
        would be rejected.

        """
        would_be = zip(self.parts, self.rejected(self.limits), strict=True)
        return [
            *(Flip(part, bool(now)) for part, now in would_be if now != part.is_rejected),
            *(
                Flip(part, True)
                for part in self.left_out
                if not part.is_rejected and not part.is_judged_by_measures
            ),
        ]

    def _drop_unexplained(self) -> None:
        """
        Leave out parts that their own measures and limits do not explain: parts of several frames.

        """
        is_explained = [
            _is_explained(self, part, row)
            for part, row in zip(self.parts, self.badness, strict=True)
        ]
        kept: Sequence[bool] = is_explained
        self.left_out += [p for p, is_kept in zip(self.parts, kept, strict=True) if not is_kept]
        self.parts = [p for p, is_kept in zip(self.parts, kept, strict=True) if is_kept]
        self.badness = self.badness[np.array(kept, bool)] if len(kept) else self.badness


def _is_explained(replay: Replay, part: StoredPart, row: NDArray[np.float64]) -> bool:
    names = [limit.name for limit in replay.table]
    if not part.verdict_is_of_limits or any(name not in part.limits for name in names):
        return True
    limits = replay.limits_of(part.limits)
    return bool(replay.rejected(limits, row[None])[0]) == part.is_rejected
