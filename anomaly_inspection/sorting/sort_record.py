# SPDX-License-Identifier: Apache-2.0
"""
The sorter's record of each part; all values are those of SortEvent.msg.

"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

# Session and number of the part.
PartKey = tuple[str, int]


class Action(IntEnum):
    """
    The command that the gate got; what the arm did.

    """

    PASSED = 1
    REJECTED = 2


class Outcome(IntEnum):
    """
    Whether the gate followed the command.

    """

    CONFIRMED = 1
    FAILED = 2


class Cause(IntEnum):
    """
    Why the part was treated this way.

    """

    DECISION = 1
    NO_DECISION = 2
    LATE_DECISION = 3
    TOO_CLOSE = 4
    LINE_STOPPED = 5
    GATE_FAILED = 6
    SHUTDOWN = 7
    NOT_PICKED = 8
    OUT_OF_REACH = 9
    PICK_MISSED = 10
    POSE_UNSURE = 11


@dataclass(frozen=True)
class SortRecord:
    """
    The record of one part; exactly one for each part.

    Parameters
    ----------
    key : (str, int)
        Session and number of the part.
    action : Action
        The command that the gate got.
    outcome : Outcome
        Whether it did.
    cause : Cause
        Why.
    detail : str
        One sentence; '' when everything went as decided.
    firing_error_s : float
        Delay of the command to open after its planned time, seconds; NaN when the gate was not
        opened.

    """

    key: PartKey
    action: Action
    outcome: Outcome
    cause: Cause
    detail: str
    firing_error_s: float
