# SPDX-License-Identifier: Apache-2.0
"""
Find parts that nobody told of: numbers that are missing in a session.

"""

from __future__ import annotations

from dataclasses import dataclass

#: A decision may come so much later than the next one.
PATIENCE_US = 10_000_000


@dataclass(frozen=True)
class Gap:
    """
    Numbers that are missing.

    Parameters
    ----------
    source_id : int
        Of the session.
    first, last : int
        Both are missing, and all between them.
    noticed_us : int
        When a later number came.

    """

    source_id: int
    first: int
    last: int
    noticed_us: int


class GapWatch:
    """
    Notes numbers that were left out, and tells of them when they do not come in time.

    """

    def __init__(self) -> None:
        self._next: dict[int, int] = {}
        self._gaps: list[Gap] = []

    def knows(self, source_id: int) -> bool:
        """
        Whether it knows how far a session is.

        """
        return source_id in self._next

    def begin(self, source_id: int, last: int) -> None:
        """
        Say which number was the last before; 0 = none.

        """
        self._next[source_id] = last + 1

    def take(self, source_id: int, number: int, time_us: int) -> None:
        """
        A number has come.

        """
        expected = self._next[source_id]
        if number >= expected:
            if number > expected:
                self._gaps.append(Gap(source_id, expected, number - 1, time_us))
            self._next[source_id] = number + 1
            return
        for gap in self._gaps:
            if gap.source_id == source_id and gap.first <= number <= gap.last:
                self._gaps.remove(gap)
                for first, last in ((gap.first, number - 1), (number + 1, gap.last)):
                    if first <= last:
                        self._gaps.append(Gap(source_id, first, last, gap.noticed_us))
                return

    def take_due(self, now_us: int) -> list[Gap]:
        """
        Give the gaps that will not be filled any more, and forget them.

        """
        due = [gap for gap in self._gaps if now_us - gap.noticed_us >= PATIENCE_US]
        self._gaps = [gap for gap in self._gaps if gap not in due]
        return due
