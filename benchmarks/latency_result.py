# SPDX-License-Identifier: Apache-2.0
"""
What one run of the latency benchmark observed, and the timing of the line it ran on.

"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
import math
from typing import Any

import numpy as np

RATE_HZ = 30.0
TAUGHT_PARTS = 20
DEADLINE_S, TRAVEL_S = 0.5, 0.8
HANG_S = 5.0
# Caches, memory pools and DDS discovery settle in the first second, so it is counted but not
# timed.
SETTLING_PARTS = 30
# A decision by time-out may come this much after the deadline and still be in time for any gate.
ON_TIME_S = 0.05
ONE_PROCESS, PROCESSES, NAIVE = 'one process', 'separate processes', 'naive'
BUSY = 'one process, beside a busy one'
HANGING = 'scorer hangs 5 s'


@dataclass
class Observed:
    """
    The observations of one run.

    Parameters
    ----------
    way : str
        How it ran.
    product : str
        What it inspected.
    parts : int
        How many the camera announced.
    lost : int
        Number of parts that were not judged by their frame.
    latency_s : list of float
        From exposure to decision, frames that were judged.
    firing_error_s : list of float
        How late the gate acted, parts that passed.
    not_followed : int
        Parts without a confirmed movement of the gate as decided.
    gate_reasons : Counter of str
        The sorter's reasons for these.
    timeout_error_s : list of float
        How long after the deadline a decision by time-out came.

    """

    way: str
    product: str
    parts: int = 0
    lost: int = 0
    latency_s: list[float] = field(default_factory=list)
    firing_error_s: list[float] = field(default_factory=list)
    not_followed: int = 0
    gate_reasons: Counter[str] = field(default_factory=Counter)
    timeout_error_s: list[float] = field(default_factory=list)

    def row(self) -> dict[str, Any]:
        """
        Summarise.

        """
        return {
            'product': self.product,
            'way': self.way,
            'parts': self.parts,
            'lost': self.lost,
            'latency_ms': _percentiles_ms(self.latency_s),
            'firing_error_ms': _percentiles_ms(map(abs, self.firing_error_s)),
            'gate_not_followed': self.not_followed,
            'gate_reasons': dict(self.gate_reasons),
            'timeouts': len(self.timeout_error_s),
            'timeout_error_ms': _percentiles_ms(self.timeout_error_s),
            'timeouts_late': sum(error > ON_TIME_S for error in self.timeout_error_s),
        }


def _percentiles_ms(values_s: Any) -> dict[str, float]:
    values = [1e3 * value for value in values_s if math.isfinite(value)]
    return {
        f'p{percent}': float(np.percentile(values, percent)) if values else math.nan
        for percent in (50, 99)
    }
