# SPDX-License-Identifier: Apache-2.0
"""
What the sorter says of each part; all values are those of SortRecord.msg.

"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

# Session and number of the part.
PartKey = tuple[str, int]


class Action(IntEnum):
    """
    What the gate was told to do.

    """

    PASSED = 1
    REJECTED = 2


class Outcome(IntEnum):
    """
    Whether the gate stood as it was told.

    """

    CONFIRMED = 1
    FAILED = 2


class Cause(IntEnum):
    """
    Why the part was treated so.

    """

    DECISION = 1
    NO_DECISION = 2
    LATE_DECISION = 3
    TOO_CLOSE = 4
    LINE_STOPPED = 5
    GATE_FAILED = 6
    SHUTDOWN = 7


@dataclass(frozen=True)
class SortRecord:
    """
    What was done with one part; exactly one for each part.

    Parameters
    ----------
    key : (str, int)
        Session and number of the part.
    action : Action
        What the gate was told to do.
    outcome : Outcome
        Whether it did.
    cause : Cause
        Why.
    detail : str
        One sentence, '' when all went as decided.
    firing_error_s : float
        How long after its planned time the gate was told to open, seconds; NaN when it was not.

    """

    key: PartKey
    action: Action
    outcome: Outcome
    cause: Cause
    detail: str
    firing_error_s: float
