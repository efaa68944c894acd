# SPDX-License-Identifier: Apache-2.0
"""
Whether an arm can have gripped the part that it was asked for.

"""

from __future__ import annotations

import math

from anomaly_inspection.sorting.encoder_belt import EncoderBelt
from anomaly_inspection.sorting.even_belt import EvenBelt
from anomaly_inspection.sorting.pick_order import Grip
from anomaly_inspection.sorting.pick_settings import PickSettings

NOT_TOLD = 'it does not say where it gripped'
# The arm may be right about the belt although our newest sample is a little older.
_AHEAD_S = 0.05


def grip_problem(
    grip: Grip | None,
    place_m: float,
    ground: EncoderBelt | EvenBelt,
    settings: PickSettings,
    now: float,
) -> str:
    """
    Say why a grip cannot have been one of the part; '' = it can.

    Parameters
    ----------
    grip : Grip or None
        Where the gripper closed; None = not told.
    place_m : float
        Where the belt is when the part is at the pick line, metres.
    ground : EncoderBelt or EvenBelt
        Where the belt is.
    settings : PickSettings
        What is allowed.
    now : float
        Steady clock, seconds.

    """
    if grip is None:
        return NOT_TOLD
    has_encoder = isinstance(ground, EncoderBelt)
    belt_m = grip.belt_m if has_encoder else ground.position_at(grip.at_s)
    off_m = belt_m - grip.along_m - place_m
    if not math.isfinite(off_m):
        return NOT_TOLD
    # The belt may have run back since.
    back_m = ground.settings.run_back_m if isinstance(ground, EncoderBelt) else 0.0
    slack_m = settings.tolerance_m + back_m + _AHEAD_S * max(ground.speed_mps(), 0.0)
    ahead_m = belt_m - ground.position_at(now)
    if ahead_m > slack_m:
        return f'it gripped {ahead_m:.3f} m further than the belt has come'
    if not settings.zone_from_m <= grip.along_m <= settings.zone_to_m:
        return (
            f'it gripped {grip.along_m:.3f} m behind the pick line; the pick zone is '
            f'{settings.zone_from_m:g} to {settings.zone_to_m:g} m'
        )
    if abs(off_m) > settings.tolerance_m:
        return f'it gripped {off_m:.3f} m away from the part; allowed: {settings.tolerance_m:g} m'
    return ''
