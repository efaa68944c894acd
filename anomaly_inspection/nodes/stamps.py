# SPDX-License-Identifier: Apache-2.0
"""
ROS stamps and integer nanoseconds.

"""

from __future__ import annotations

from builtin_interfaces.msg import Time

_NANOSECONDS_PER_SECOND = 1_000_000_000


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
