# SPDX-License-Identifier: Apache-2.0
"""
What one run of the gate benchmark observed, compared with what the gate should have done.

"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
import math

import numpy as np

from benchmarks.gate_timing_belt import (
    BeltPart,
    WINDOW_S,
)


@dataclass
class Observed:
    """
    The observations of one run.

    Parameters
    ----------
    gate, fault : str
        Which gate; what broke, '' = nothing.
    per_minute : int
        Parts a minute.
    parts, fresh_passes : int
        On the belt; of them with a PASS in time.
    wrong : int
        Parts without a fresh PASS whose window found the gate open, and openings for no part.
    missed : int
        Parts with a fresh PASS that did not pass.
    without_event, with_two_events : int
        Of the sorter's.
    late_ms : list of float
        Delay of each opening after its planned time.
    outcomes : Counter of str
        Causes and outcomes of the sort events.
    stop_after_s : float
        From the fault to the line stop, seconds; NaN when there was none.
    stop_reasons : list of str
        Why the line stopped.
    runs_again : bool
        Whether the line ran at the end.
    refused_resets : int
        How often the reset was refused before it was granted.
    passed_after_reset : int
        Parts that passed after it.

    """

    gate: str
    fault: str
    per_minute: int
    parts: int
    fresh_passes: int = 0
    wrong: int = 0
    missed: int = 0
    without_event: int = 0
    with_two_events: int = 0
    late_ms: list[float] = field(default_factory=list)
    # The largest delay of this program itself; more than a window means that the machine stood
    # still.
    belt_late_s: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)
    stop_after_s: float = math.nan
    stop_reasons: list[str] = field(default_factory=list)
    runs_again: bool = False
    refused_resets: int = 0
    passed_after_reset: int = 0


def openings(movements: list[tuple[float, bool]]) -> list[tuple[float, float]]:
    """
    Give the times between which the gate was open.

    """
    spans: list[tuple[float, float]] = []
    begin_s: float | None = None
    for time_s, is_open in movements:
        if is_open and begin_s is None:
            begin_s = time_s
        elif not is_open and begin_s is not None:
            spans.append((begin_s, time_s))
            begin_s = None
    return [*spans, (begin_s, math.inf)] if begin_s is not None else spans


def check(observed: Observed, parts: list[BeltPart], spans: list[tuple[float, float]]) -> None:
    """
    Compare what the gate did with what it should have done.

    """
    for_nobody = set(spans)
    for part in parts:
        begin_s, end_s = part.arrival_s - WINDOW_S / 2, part.arrival_s + WINDOW_S / 2
        met = [span for span in spans if span[0] < end_s and span[1] > begin_s]
        for_nobody -= set(met)
        if not part.has_fresh_pass:
            observed.wrong += bool(met)
            continue
        observed.fresh_passes += 1
        # Open when the part arrives, and commanded no later than the tracker allows.
        is_let_pass = any(
            span[0] <= begin_s + WINDOW_S / 4 + 0.01 and span[1] > part.arrival_s for span in met
        )
        observed.missed += not is_let_pass
        if is_let_pass:
            observed.late_ms.append(1e3 * (met[0][0] - part.fire_s))
    observed.wrong += len(for_nobody)


def percentiles(values: list[float]) -> dict[str, float]:
    """
    Give the median, the 99th percentile and the largest of the sizes of the values.

    """
    if not values:
        return dict.fromkeys(('p50', 'p99', 'max'), math.nan)
    size = np.abs(values)
    return {
        'p50': float(np.percentile(size, 50)),
        'p99': float(np.percentile(size, 99)),
        'max': float(size.max()),
    }
