# SPDX-License-Identifier: Apache-2.0
"""
Decisions that came before their part: topics are not ordered.

"""

from __future__ import annotations

from collections import OrderedDict

from anomaly_inspection.sorting.sort_record import PartKey


class EarlyDecisions:
    """
    Keeps decisions until their part comes.

    Parameters
    ----------
    most : int
        The most decisions that wait, at least 1.
    age_s : float
        How long one waits, seconds.

    """

    def __init__(self, most: int, age_s: float) -> None:
        self._most = most
        self._age_s = age_s
        self._waiting: OrderedDict[PartKey, tuple[float, bool]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._waiting)

    def keep(self, key: PartKey, passes: bool, now: float) -> None:
        """
        Keep a decision; of several for a part, REJECT beats PASS.

        """
        _, earlier = self._waiting.pop(key, (now, True))
        self._waiting[key] = (now, passes and earlier)

    def take(self, key: PartKey) -> bool | None:
        """
        Give whether the part may pass, and forget it; None = no decision waits.

        """
        return self._waiting.pop(key, (0.0, None))[1]

    def forget(self, now: float) -> int:
        """
        Drop those that have waited too long, or are too many; gives how many.

        """
        dropped = 0
        while self._waiting:
            key, (received_s, _) = next(iter(self._waiting.items()))
            if received_s + self._age_s > now and len(self._waiting) <= self._most:
                break
            del self._waiting[key]
            dropped += 1
        return dropped
