# SPDX-License-Identifier: Apache-2.0
"""
ROS stamps and integer nanoseconds, and stamps that tell frames apart.

"""

from __future__ import annotations

from collections import deque

from builtin_interfaces.msg import Time

_NANOSECONDS_PER_SECOND = 1_000_000_000
# A scorer may still match this many frames by their stamp.
_REMEMBERED_STAMPS = 1000


def nanoseconds_from_stamp(stamp: Time) -> int:
    """
    Give the stamp as integer nanoseconds since the epoch.

    """
    return int(stamp.sec) * _NANOSECONDS_PER_SECOND + int(stamp.nanosec)


def stamp_from_nanoseconds(nanoseconds: int) -> Time:
    """
    Give integer nanoseconds since the epoch as a stamp.

    """
    sec, nanosec = divmod(nanoseconds, _NANOSECONDS_PER_SECOND)
    return Time(sec=sec, nanosec=nanosec)


class OwnStamps:
    """
    Gives each frame a stamp of its own: frames join their part by the stamp.

    """

    def __init__(self) -> None:
        self._given: deque[int] = deque(maxlen=_REMEMBERED_STAMPS)

    def own(self, stamp_ns: int) -> int:
        """
        Give the first stamp from `stamp_ns` on that none of the last 1000 frames has.

        """
        while stamp_ns in self._given:
            stamp_ns += 1
        self._given.append(stamp_ns)
        return stamp_ns
