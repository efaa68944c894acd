# SPDX-License-Identifier: Apache-2.0
"""
A belt that nobody keeps at its speed: it wanders, creeps, stands and runs back a little.

"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
import math
import random

from anomaly_inspection.setting_check import check_range

# How often each happens, and how long it lasts, seconds; speeds as shares of the usual one.
_STRETCHES = (
    (5.0, (0.3, 2.0), None),
    (1.0, (0.05, 1.0), 0.0),
    (1.0, (0.1, 0.5), 0.04),
    (0.5, (0.05, 0.15), -0.2),
)
_STEP_S = 0.001


@dataclass(frozen=True)
class SimulatedBeltSettings:
    """
    How a simulated belt moves.

    Parameters
    ----------
    speed_mps : float
        The usual speed, metres/second, above 0.
    wander : float
        How far the speed wanders from it, as a share of it, 0 to 0.9.
    stops : bool
        Whether the belt also creeps, stands and runs back.
    acceleration_mps2 : float
        How quickly the speed changes, metres/second2, above 0.
    seed : int
        Of the random movement.

    """

    speed_mps: float = 0.5
    wander: float = 0.3
    stops: bool = True
    acceleration_mps2: float = 3.0
    seed: int = 1

    def __post_init__(self) -> None:
        check_range('belt speed', self.speed_mps, 0.0, 10.0, 'm/s', is_open=True)
        check_range('wander', self.wander, 0.0, 0.9)
        check_range('acceleration', self.acceleration_mps2, 0.0, 1000.0, 'm/s2', is_open=True)


class SimulatedBelt:
    """
    Where the belt is at each instant; the same seed moves in the same way.

    Parameters
    ----------
    settings : SimulatedBeltSettings
        How it moves.

    """

    def __init__(self, settings: SimulatedBeltSettings | None = None) -> None:
        self.settings = settings or SimulatedBeltSettings()
        self._targets = _targets(self.settings)
        self._target_mps, self._target_until_s = next(self._targets)
        self._speed_mps = self.settings.speed_mps
        # The first step that is remembered.
        self._first = 0
        # One a step of `_STEP_S`, metres.
        self._positions = [0.0]
        # The furthest position until each.
        self._furthest = [0.0]

    def position_at(self, at_s: float) -> float:
        """
        Give the position at a time since the start, seconds; metres.

        """
        step = max(at_s / _STEP_S, float(self._first))
        index = math.floor(step)
        self._move_to(index + 1)
        before, after = self._positions[index - self._first : index - self._first + 2]
        return before + (step - index) * (after - before)

    def forget_before(self, at_s: float) -> None:
        """
        Forget where the belt was before a time; it then counts as standing until then.

        """
        gone = math.floor(at_s / _STEP_S) - self._first
        if 0 < gone < len(self._positions):
            self._first += gone
            del self._positions[:gone], self._furthest[:gone]

    def reaches_s(self, position_m: float) -> float:
        """
        Give when the belt first comes to a position, seconds.

        """
        while self._furthest[-1] <= position_m:
            self._move_to(self._first + len(self._positions) + 1000)
        index = bisect_right(self._furthest, position_m) - 1
        before, after = self._positions[index], self._furthest[index + 1]
        share = (position_m - before) / (after - before)
        return (self._first + index + min(max(share, 0.0), 1.0)) * _STEP_S

    def _move_to(self, index: int) -> None:
        change = self.settings.acceleration_mps2 * _STEP_S
        while (at := self._first + len(self._positions)) <= index:
            if at * _STEP_S > self._target_until_s:
                self._target_mps, self._target_until_s = next(self._targets)
            self._speed_mps += max(-change, min(change, self._target_mps - self._speed_mps))
            self._positions.append(self._positions[-1] + self._speed_mps * _STEP_S)
            self._furthest.append(max(self._furthest[-1], self._positions[-1]))


def _targets(settings: SimulatedBeltSettings) -> Iterator[tuple[float, float]]:
    """
    Give speeds, metres/second, and until when they hold, seconds.

    """
    draw, until_s = random.Random(settings.seed), 0.0
    stretches = _STRETCHES if settings.stops else _STRETCHES[:1]
    while True:
        weights = [often for often, _, _ in stretches]
        _, lasts_s, share = draw.choices(stretches, weights)[0]
        if share is None:
            share = 1.0 + draw.uniform(-settings.wander, settings.wander)
        until_s += draw.uniform(*lasts_s)
        yield settings.speed_mps * share, until_s
