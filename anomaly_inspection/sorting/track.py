# SPDX-License-Identifier: Apache-2.0
"""
One part on its way from the camera through the gate.

"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
import math

from anomaly_inspection.sorting.encoder_belt import EncoderBelt
from anomaly_inspection.sorting.sort_record import Cause, PartKey


class Stage(Enum):
    """
    How far the gate is with a part.

    """

    # Nothing is done yet; at `fire` it becomes OPENED or RESTING.
    APPROACHING = 1
    # The gate got the command to open; it is read back at the arrival.
    OPENED = 2
    # Read back, or closed early; the gate is read back again after the dead time.
    CLOSING = 3
    # The gate is left alone; it is read back at the arrival.
    RESTING = 4
    # No call is left; the event is due when the window is over.
    LEAVING = 5


@dataclass
class Track:
    """
    Where a part is, and what the gate does for it; times on the steady clock, seconds.

    """

    key: PartKey
    fire_s: float
    opens_s: float
    arrival_s: float
    closes_s: float
    # When the gate closes by the last command: `closes_s`, or earlier because of a neighbouring
    # part, or, with an encoder, as the belt was foreseen then.
    back_s: float
    passes: bool | None = None
    stage: Stage = Stage.APPROACHING
    # Why the verdict was not followed; None while it is followed.
    cause: Cause | None = None
    detail: str = ''
    told_s: float = math.nan
    # When the gate must be told to close early, for a neighbouring part; inf = it need not.
    rest_by_s: float = math.inf
    has_failed: bool = False
    was_known_late: bool = False
    # With an encoder: when it was exposed, and where the belt will be when it is at the gate.
    exposure_s: float = math.nan
    place_m: float = math.nan
    # A sample of the encoder has come since the exposure.
    is_placed: bool = False
    # The end of the window may still be told anew.
    may_renew: bool = True

    @property
    def was_opened(self) -> bool:
        """
        Tell whether the gate was told to open.

        """
        return not math.isnan(self.told_s)

    @property
    def must_rest_early(self) -> bool:
        """
        Tell whether the gate must still be told to close early.

        """
        return self.rest_by_s < math.inf

    @property
    def has_fresh_pass(self) -> bool:
        """
        Tell whether the part may pass.

        """
        return self.passes is True and self.cause is None

    def foresee(self, belt: EncoderBelt, actuation_s: float) -> None:
        """
        Foresee when the belt brings the part to the gate; what has happened stays.

        """
        settings = belt.settings
        if not self.is_placed:
            self.place_m = belt.position_at(self.exposure_s) + settings.distance_m
            self.is_placed = belt.is_settled(self.exposure_s)
        half_m = settings.window_m / 2
        opens_s, arrival_s, closes_s = (
            belt.reaches_s(self.place_m + beyond_m) for beyond_m in (-half_m, 0.0, half_m)
        )
        # NaN: so long ago that it is no longer known; it was foreseen when it was.
        if not math.isnan(arrival_s):
            self.arrival_s = arrival_s
        if not math.isnan(closes_s):
            self.closes_s = closes_s
        if self.stage is Stage.APPROACHING:
            if not math.isnan(opens_s):
                self.opens_s, self.fire_s = opens_s, opens_s - actuation_s
            self.back_s = self.closes_s

    def reject(self, cause: Cause, detail: str) -> None:
        """
        Set the cause, unless one is set already.

        """
        if self.cause is None:
            self.cause, self.detail = cause, detail
