# SPDX-License-Identifier: Apache-2.0
"""
One part on its way from the camera past the arm.

"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
import math
from typing import Any

from anomaly_inspection.sorting.encoder_belt import EncoderBelt
from anomaly_inspection.sorting.even_belt import EvenBelt
from anomaly_inspection.sorting.pick_settings import PickSettings
from anomaly_inspection.sorting.sort_record import Cause, PartKey


class PickStage(Enum):
    """
    How far the arm is with a part.

    """

    # No order was sent.
    COMING = 1
    # An order was sent; the arm has not said that it takes it.
    SENT = 2
    # The arm has taken the order, or should have; its result is awaited.
    TAKEN = 3
    # It stays on the belt; its event is due when it has left the pick zone.
    LEFT = 4


@dataclass
class Pick:
    """
    Where a part is, and what the arm does with it; times on the steady clock, seconds.

    """

    key: PartKey
    exposure_s: float
    # Where the belt is when the part is at the pick line.
    place_m: float = math.nan
    # The belt's position at the exposure is known for good.
    is_placed: bool = False
    # When it is at the pick line, and when it has left the pick zone; inf while the belt stands.
    arrival_s: float = math.inf
    leaves_s: float = math.inf
    passes: bool | None = None
    stage: PickStage = PickStage.COMING
    # Why a PASS was not followed; None while it is.
    cause: Cause | None = None
    detail: str = ''
    # None = nobody has said how it lies.
    pose_is_sure: bool | None = None
    pose: Any = None
    pose_detail: str = ''
    answer_due_s: float = math.inf
    valid_until_s: float = math.inf
    # The arm was told to leave it after all, or is about to be told; and when it was.
    is_cancelled: bool = False
    cancelled_s: float = math.inf
    was_placed: bool = False
    has_failed: bool = False
    was_known_late: bool = False

    @property
    def is_ordered(self) -> bool:
        """
        Tell whether the arm may be about to pick it.

        """
        return self.stage in (PickStage.SENT, PickStage.TAKEN)

    def foresee(self, ground: EncoderBelt | EvenBelt, settings: PickSettings) -> None:
        """
        Foresee when the belt brings the part past the arm; what has happened stays.

        """
        if not self.is_placed:
            self.place_m = ground.position_at(self.exposure_s) + settings.distance_m
            self.is_placed = ground.is_settled(self.exposure_s)
        arrival_s = ground.reaches_s(self.place_m)
        leaves_s = ground.reaches_s(self.place_m + settings.zone_to_m)
        # NaN: so long ago that it is no longer known; it was foreseen when it was.
        if not math.isnan(arrival_s):
            self.arrival_s = arrival_s
        if not math.isnan(leaves_s):
            self.leaves_s = leaves_s

    def leave(self, cause: Cause, detail: str) -> None:
        """
        Set why it is left on the belt, unless that is set already.

        """
        if self.cause is None:
            self.cause, self.detail = cause, detail
