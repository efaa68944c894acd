# SPDX-License-Identifier: Apache-2.0
"""
Which parts a person goes through, in which order, and which of them is shown.

"""

from __future__ import annotations

from dataclasses import dataclass
import math
from typing import TYPE_CHECKING

from anomaly_inspection.panel.review.reject import KeptAs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from anomaly_inspection.panel.cell.part_views import PartKey
    from anomaly_inspection.panel.cell.shifts import ShiftTable
    from anomaly_inspection.panel.review.reject import Reject

#: Choices of what was said: nothing yet, whatever, and the values of `ReviewVerdict`.
NEW, ALL = 'new', 'all'
#: Choices of why parts were kept, besides the values of `KeptAs`.
ANY_KIND = 'any'
#: Choices of the time.
ALWAYS, LAST_HOUR, THIS_SHIFT, SHIFT_BEFORE = TIMES = 'always', 'hour', 'shift', 'shift_before'


@dataclass(frozen=True)
class ReviewFilter:
    """
    Which parts to show.

    Parameters
    ----------
    verdict : str
        NEW, ALL or a value of `ReviewVerdict`.
    from_s, to_s : float
        Decided from then on and before then, seconds since 1970.
    reason, recipe : str or None
        None = all.
    kind : str
        ANY_KIND or a value of `KeptAs`.

    """

    verdict: str = NEW
    from_s: float = -math.inf
    to_s: float = math.inf
    reason: str | None = None
    recipe: str | None = None
    kind: str = KeptAs.REJECT

    def takes(self, reject: Reject) -> bool:
        """
        Whether to show this part.

        """
        return (
            self.from_s <= reject.kept_s < self.to_s
            and self.verdict in (ALL, reject.verdict or NEW)
            and self.reason in (None, reject.reason)
            and self.recipe in (None, reject.recipe)
            and self.kind in (ANY_KIND, reject.kept_as)
        )


def time_span(choice: str, shifts: ShiftTable, now_s: float) -> tuple[float, float]:
    """
    Give the bounds of one of `TIMES`, in seconds since 1970.

    """
    if choice == LAST_HOUR:
        return now_s - 3600, math.inf
    began_s = shifts.shift_at(now_s).began_s
    if choice == THIS_SHIFT:
        return began_s, math.inf
    if choice == SHIFT_BEFORE:
        return shifts.shift_at(began_s - 1).began_s, began_s
    return -math.inf, math.inf


class ReviewList:
    """
    The rejects that a filter has chosen, the newest first.

    Those that are judged meanwhile stay, so that a person can go back to them; those that come
    meanwhile are put in front; the one that is shown stays the same.

    """

    def __init__(self) -> None:
        self.keys: list[PartKey] = []
        #: The one that is shown; None = there is none.
        self.current: PartKey | None = None
        self._filter = ReviewFilter()
        self._known: set[PartKey] = set()

    @property
    def place(self) -> int:
        """
        Place of the one that is shown, from 0.

        """
        return self.keys.index(self.current) if self.current is not None else 0

    def begin(self, rejects: Iterable[Reject], wanted: ReviewFilter) -> None:
        """
        Choose anew; the one that is shown stays when it is among them.

        """
        self._filter, self._known = wanted, set()
        before, self.keys, self.current = self.current, [], None
        self.update(rejects)
        if self.keys:
            self.current = before if before in self.keys else self.keys[0]

    def update(self, rejects: Iterable[Reject]) -> None:
        """
        Take what has come, and let go of what is not kept any more.

        """
        there = {reject.key: reject for reject in rejects}
        place = self.place
        new = [
            key
            for key, reject in there.items()
            if key not in self._known and self._filter.takes(reject)
        ]
        self._known = set(there)
        self.keys = [*new, *(key for key in self.keys if key in there)]
        if self.current not in self.keys:
            place = min(place + len(new), len(self.keys) - 1)
            self.current = self.keys[place] if self.keys else None

    def choose(self, key: PartKey) -> None:
        """
        Show another one.

        """
        if key in self.keys:
            self.current = key

    def move(self, step: int) -> bool:
        """
        Go to an older one (1) or a newer one (-1); False = there is none.

        """
        place = self.place + step
        if not 0 <= place < len(self.keys):
            return False
        self.current = self.keys[place]
        return True

    def after(self) -> PartKey | None:
        """
        Give the next older one; None = there is none.

        """
        place = self.place + 1
        return self.keys[place] if place < len(self.keys) else None
