# SPDX-License-Identifier: Apache-2.0
"""
Which parts were taken already: after a restart the decider gives its last decisions again.

"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from operator import itemgetter
from typing import Any

_MOST_SESSIONS = 20
_MOST_RANGES = 500


class SeenParts:
    """
    Remembers the parts of the last sessions as ranges of their numbers.

    """

    def __init__(self) -> None:
        # By session the ranges [first, last], sorted, with gaps between them.
        self._sessions: OrderedDict[str, list[list[int]]] = OrderedDict()

    def __contains__(self, key: tuple[str, int]) -> bool:
        """
        Whether a part, (session, number), is remembered.

        """
        session, number = key
        ranges = self._sessions.get(session, [])
        at = _range_before(ranges, number)
        return at >= 0 and ranges[at][1] >= number

    def add(self, session: str, number: int) -> None:
        """
        Remember a part.

        """
        if (session, number) in self:
            return
        ranges = self._sessions.setdefault(session, [])
        self._sessions.move_to_end(session)
        while len(self._sessions) > _MOST_SESSIONS:
            self._sessions.popitem(last=False)
        after = _range_before(ranges, number) + 1
        joins_before = after > 0 and ranges[after - 1][1] == number - 1
        joins_after = after < len(ranges) and ranges[after][0] == number + 1
        if joins_before and joins_after:
            ranges[after - 1][1] = ranges.pop(after)[1]
        elif joins_before:
            ranges[after - 1][1] = number
        elif joins_after:
            ranges[after][0] = number
        else:
            ranges.insert(after, [number, number])
            del ranges[:-_MOST_RANGES]

    def to_json(self) -> dict[str, Any]:
        """
        Give all of it as JSON can hold it.

        """
        return dict(self._sessions)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> SeenParts:
        """
        Read what `to_json` gave; raises TypeError or ValueError for anything else.

        """
        seen = cls()
        for session, ranges in content.items():
            seen._sessions[str(session)] = sorted([int(a), int(b)] for a, b in ranges)
        return seen


def _range_before(ranges: list[list[int]], number: int) -> int:
    """
    Give the place of the last range that begins at the number or before; -1 = none does.

    """
    return bisect_right(ranges, number, key=itemgetter(0)) - 1
