# SPDX-License-Identifier: Apache-2.0
"""
From the signal of a photo eye to parts: rising edges, without chatter.

"""

from __future__ import annotations


class PhotoEye:
    """
    Says of each signal whether a part begins with it.

    A part begins when the beam is broken after it was free, and the part before began at least
    `part_interval_s` ago; earlier edges are chatter of the same part. The first signal begins no
    part: since when the beam has been broken is not known.

    Parameters
    ----------
    part_interval_s : float
        Shortest time from one part to the next, seconds, 0 or more.

    """

    def __init__(self, part_interval_s: float) -> None:
        self.part_interval_s = part_interval_s
        self._part_s: float | None = None
        self._is_covered: bool | None = None
        self.covered_since_s: float | None = None
        self.chatter_count = 0
        self.last_chatter_s: float | None = None

    def begins_part(self, is_covered: bool, now_s: float) -> bool:
        """
        Take a signal.

        Parameters
        ----------
        is_covered : bool
            Whether the beam is broken.
        now_s : float
            Steady clock, seconds, never running backwards.

        """
        was_covered, self._is_covered = self._is_covered, is_covered
        if not is_covered:
            self.covered_since_s = None
            return False
        if self.covered_since_s is None:
            self.covered_since_s = now_s
        if was_covered is not False:
            return False
        if self._part_s is not None and now_s - self._part_s < self.part_interval_s:
            self.chatter_count += 1
            self.last_chatter_s = now_s
            return False
        self._part_s = now_s
        return True
