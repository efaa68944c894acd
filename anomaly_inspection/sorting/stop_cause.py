# SPDX-License-Identifier: Apache-2.0
"""
Why the line must stand, as a code: pages put it into words of their language.

"""

from __future__ import annotations

from enum import IntEnum


class StopCause(IntEnum):
    """
    The values of LineStop.msg.

    """

    UNKNOWN = 0
    GATE = 1
    PART_MISSED = 2
    NO_SCORES = 3
    UNCONFIRMED = 4
    BELT_UNKNOWN = 5
    STATE_UNKNOWN = 6
    INTERNAL = 7
    ENCODER = 8
    VIEW_MISSING = 9

    @classmethod
    def of(cls, code: int) -> StopCause:
        """
        Give the cause of a code; UNKNOWN for one that a newer sorter may send.

        """
        return cls(code) if code in set(cls) else cls.UNKNOWN

    @property
    def word(self) -> str:
        """
        'gate', 'part_missed', ...

        """
        return self.name.lower()
