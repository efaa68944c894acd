# SPDX-License-Identifier: Apache-2.0
"""
Notices that no decisions come any more.

"""

from __future__ import annotations

import math


class DeciderWatch:
    """
    Counts parts in a row that came to gate or arm without a decision.

    Parameters
    ----------
    undecided_to_stop : int
        So many of them mean that the decider is silent; 0 = never.
    start_s : float
        Until the first decision comes, they must also span this long, seconds.

    """

    def __init__(self, undecided_to_stop: int, start_s: float) -> None:
        self._undecided_to_stop = undecided_to_stop
        self._start_s = start_s
        self._undecided = 0
        self._since_s = math.inf
        self._has_heard = False

    def decided(self) -> None:
        """
        Count a part with a decision.

        """
        self._undecided = 0
        self._has_heard = True

    def undecided(self, now: float) -> str:
        """
        Count a part without one; gives why the line must stop, '' = it need not.

        """
        if not self._undecided:
            self._since_s = now
        self._undecided += 1
        if not self._has_heard and now - self._since_s < self._start_s:
            return ''
        if not 0 < self._undecided_to_stop <= self._undecided:
            return ''
        count, self._undecided = self._undecided, 0
        return f'no decision came for {count} parts in a row: is the decider running?'
