# SPDX-License-Identifier: Apache-2.0
"""
What the sorter asks of an arm that picks good parts, and what the arm says of it.

"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
import math
from typing import Any

from anomaly_inspection.sorting.sort_record import PartKey


@dataclass(frozen=True)
class PickOrder:
    """
    Take one part from the belt.

    Parameters
    ----------
    key : (str, int)
        Session and number of the part.
    place_m : float
        Where the belt is when the part is at the pick line, metres.
    passes_at_s : float
        When that will be, as the belt moves now, steady clock, seconds; inf = it stands.
    speed_mps : float
        Speed of the belt, metres/second.
    valid_until_s : float
        The gripper must not close after this, steady clock, seconds.
    pose : object
        How the part lies, as whoever reported it says; None = nobody has.

    """

    key: PartKey
    place_m: float
    passes_at_s: float
    speed_mps: float
    valid_until_s: float
    pose: Any = None


class PickOutcome(IntEnum):
    """
    What became of an order; the values of SortPart.action.

    """

    PLACED = 1
    MISSED = 2
    BUSY = 3
    OUT_OF_REACH = 4
    CANCELLED = 5
    FAILED = 6


@dataclass(frozen=True)
class Grip:
    """
    Where the gripper closed.

    Parameters
    ----------
    at_s : float
        When, steady clock, seconds.
    along_m : float
        How far behind the pick line it was, metres; below 0 = before it.
    belt_m : float
        Where the belt was then, metres, as the arm's encoder said; NaN = the time counts.

    """

    at_s: float
    along_m: float
    belt_m: float = math.nan


@dataclass(frozen=True)
class PickResult:
    """
    How an order has ended.

    Parameters
    ----------
    outcome : PickOutcome
        What became of it.
    detail : str
        One sentence.
    grip : Grip or None
        Where the gripper closed; None = not told.
    tray : str
        Where the part was put; '' = there is only one tray.

    """

    outcome: PickOutcome
    detail: str
    grip: Grip | None = None
    tray: str = ''
