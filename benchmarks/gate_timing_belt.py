# SPDX-License-Identifier: Apache-2.0
"""
The simulated belt of the gate benchmark: its timing, its parts and their verdicts.

"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Together less than the 100 ms between two of 600 parts a minute, minus their unevenness.
WINDOW_S, DEAD_TIME_S = 0.045, 0.04
TRAVEL_S, SPEED_M_PER_S = 0.4, 1.0
UNEVENNESS_S = 0.005
VERDICT_AFTER_S = (0.02, 0.25)
STALL_S = 1.0
FAULT_AT_PART = 0.4


@dataclass
class BeltPart:
    """
    One part of the simulated belt.

    Parameters
    ----------
    number : int
        Its part_id.
    exposed_s : float
        Steady clock, seconds.
    passes : bool or None
        Its verdict; None = none ever comes.
    decided_s : float
        When that comes, steady clock, seconds.

    """

    number: int
    exposed_s: float
    passes: bool | None
    decided_s: float

    @property
    def arrival_s(self) -> float:
        return self.exposed_s + TRAVEL_S

    @property
    def fire_s(self) -> float:
        return self.arrival_s - WINDOW_S / 2

    @property
    def has_fresh_pass(self) -> bool:
        return self.passes is True and self.decided_s < self.fire_s


def belt(parts: int, per_minute: float, *, stalls: bool, seed: int) -> list[BeltPart]:
    """
    Lay parts on a belt that starts at 0: seven in ten good, one in fifty without a verdict.

    """
    random = np.random.default_rng(seed)
    pitch_s = 60.0 / per_minute
    stall_from_s = parts * pitch_s * FAULT_AT_PART
    laid = []
    for number in range(parts):
        exposed_s = number * pitch_s + random.uniform(-UNEVENNESS_S, UNEVENNESS_S)
        decided_s = exposed_s + random.uniform(*VERDICT_AFTER_S)
        passes = None if random.uniform() < 0.02 else bool(random.uniform() < 0.7)
        if stalls and stall_from_s <= decided_s < stall_from_s + STALL_S:
            decided_s += STALL_S
        laid.append(BeltPart(number, exposed_s, passes, decided_s))
    return laid
