# SPDX-License-Identifier: Apache-2.0
"""
Tell an open gate another end of its window, because the belt is slower or faster than foreseen.

"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from anomaly_inspection.sorting.gate_task import GateCall, GateTask
from anomaly_inspection.sorting.track import Stage

if TYPE_CHECKING:
    from anomaly_inspection.sorting.track import Track
    from anomaly_inspection.sorting.tracker_settings import TrackerSettings

# An end of the window that is foreseen so much earlier or later is told to the gate.
_SAME_END_SHARE = 1 / 16
# So long before its end a window is made longer.
_RENEWED_BEFORE_SHARE = 1 / 3


def renewal_due(track: Track, settings: TrackerSettings) -> float:
    """
    Say when the gate must be told another end, for the last part at the open gate; inf = it need
    not.

    """
    if not track.may_renew:
        return math.inf
    window_s = settings.window_s
    if track.closes_s < track.back_s - _SAME_END_SHARE * window_s:
        return -math.inf
    if track.closes_s > track.back_s + _SAME_END_SHARE * window_s:
        return track.back_s - settings.actuation_s - _RENEWED_BEFORE_SHARE * window_s
    return math.inf


def renewed(track: Track, settings: TrackerSettings, now: float) -> GateTask:
    """
    Set and give the end of the window as it is foreseen now; at most `window_s` ahead, so that the
    gate closes by itself when the sorter is gone.

    """
    track.back_s = min(track.closes_s, now + settings.actuation_s + settings.window_s)
    duration_s = track.back_s - settings.actuation_s - now
    # A window so short would be over before the gate has heard of it.
    if duration_s > _SAME_END_SHARE * settings.window_s:
        return GateTask(GateCall.OPEN, track.key, duration_s, now)
    track.back_s, track.may_renew = now + settings.actuation_s, False
    track.stage = Stage.CLOSING
    return GateTask(GateCall.REST, track.key)
