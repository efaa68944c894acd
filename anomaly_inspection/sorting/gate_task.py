# SPDX-License-Identifier: Apache-2.0
"""
What a tracker asks of the gate or the arm.

"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
import math

from anomaly_inspection.sorting.pick_order import PickOrder
from anomaly_inspection.sorting.sort_record import PartKey


class GateCall(Enum):
    """
    The calls of a gate.

    """

    OPEN = 'open'
    REST = 'rest'
    CONFIRM_OPEN = 'confirm that it is open'
    CONFIRM_REST = 'confirm that it rests'
    # An arm alone.
    PICK = 'pick'
    CANCEL = 'cancel'


@dataclass(frozen=True)
class GateTask:
    """
    One call of the gate for one part, due now.

    Parameters
    ----------
    call : GateCall
        The call.
    key : (str, int)
        The part it is for.
    duration_s : float
        How long to open, seconds; NaN for other calls.
    told_s : float
        When the duration begins, steady clock, seconds; NaN for other calls.
    order : PickOrder or None
        What to pick; None for other calls.

    """

    call: GateCall
    key: PartKey
    duration_s: float = math.nan
    told_s: float = math.nan
    order: PickOrder | None = None
