# SPDX-License-Identifier: Apache-2.0
"""
Where the belt is, by its encoder: it may stop, creep, change its speed and run back a little.

Pure logic, without clock or ROS. A part lies still on the belt, so it is at the gate when the belt
has moved by the distance from camera to gate. Between two samples the belt is taken to move
evenly, and after the newest one as fast as over the last `_SPEED_OVER_S`.

"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
import math

from anomaly_inspection.setting_check import check_range

# Long enough for parts that become known late, at 1,000 samples/s.
_MOST_SAMPLES = 20_000
_SPEED_OVER_S = 0.03
# A belt that moves slower than this brings no part to the gate.
_CREEP_MPS = 0.001
# An encoder may be off by this much between two samples.
_SLACK_M = 0.005
# Over a shorter time, a stamp that a busy computer has set late would look like a jump.
_TOP_SPEED_OVER_S = 0.1
# A part that comes while the belt moves less than this, from so long before to so long after it,
# contradicts the encoder. It may come as soon as a standing belt moves again.
_STANDING_M, _BEFORE_S, _AFTER_S = 0.0002, 0.25, 0.1


@dataclass(frozen=True)
class BeltSettings:
    """
    The belt and its encoder.

    Parameters
    ----------
    distance_m : float
        From the camera to the gate along the belt, metres.
    speed_mps : float
        The usual speed, metres/second.
    top_speed_mps : float
        The highest speed that is believed, metres/second, at least the usual one.
    window_m : float
        How much belt passes the gate while it stands open for a part, metres.
    closest_m : float
        Parts closer than this cannot be told apart by the gate, metres.
    silence_s : float
        So long after its newest sample the encoder is silent, 0.005 to 10 seconds.
    run_back_m : float
        How far the belt may run back, metres, 0 or more.

    """

    distance_m: float
    speed_mps: float
    top_speed_mps: float
    window_m: float
    closest_m: float
    silence_s: float = 0.1
    run_back_m: float = 0.05

    def __post_init__(self) -> None:
        check_range('belt speed', self.speed_mps, 0.0, 10.0, 'm/s', is_open=True)
        check_range('top speed of the belt', self.top_speed_mps, self.speed_mps, 20.0, 'm/s')
        check_range('window', self.window_m, 0.0, 100.0, 'm', is_open=True)
        check_range('distance to the gate', self.distance_m, self.window_m / 2, 100.0, 'm')
        check_range('closest parts', self.closest_m, self.window_m, 100.0, 'm')
        check_range('silence of the encoder', self.silence_s, 0.005, 10.0, 's')
        check_range('run back of the belt', self.run_back_m, 0.0, 10.0, 'm')


class EncoderBelt:
    """
    Follows the belt; not thread-safe.

    Times are on the steady clock, seconds. Positions are those of the encoder, metres, and grow
    while parts move from the camera to the gate.

    """

    def __init__(self, settings: BeltSettings) -> None:
        self.settings = settings
        self._times: list[float] = []
        self._positions: list[float] = []
        # The furthest position until each sample: grows, even where the belt runs back.
        self._furthest: list[float] = []
        # The exposure of a part that is not yet held against the encoder; inf = there is none.
        self._part_s = math.inf
        self._fault = ''

    def moved(self, position_m: float, at_s: float) -> None:
        """
        Take a sample of the encoder; one that is not newer than the newest is ignored.

        """
        if not (math.isfinite(position_m) and math.isfinite(at_s)):
            self.note(f'the encoder says that the belt is at {position_m:g} m')
            return
        if not self._times:
            self._append(position_m, at_s)
            return
        since_s = at_s - self._times[-1]
        if since_s <= 0:
            return
        self._check(position_m, at_s, since_s)
        self._append(position_m, at_s)
        self._check_standing()

    def _check(self, position_m: float, at_s: float, since_s: float) -> None:
        settings, step_m = self.settings, position_m - self._positions[-1]
        if since_s > settings.silence_s:
            self.note(_silent(settings.silence_s))
            return
        then = max(bisect_left(self._times, at_s - _TOP_SPEED_OVER_S) - 1, 0)
        over_s, over_m = at_s - self._times[then], position_m - self._positions[then]
        top_mps = settings.top_speed_mps
        if abs(step_m) > settings.window_m + top_mps * since_s:
            self.note(f'the encoder jumped by {step_m:.3f} m within {since_s:.3f} s')
        elif abs(over_m) > top_mps * over_s + _SLACK_M:
            self.note(
                f'the encoder says {over_m / over_s:.3f} m/s; the belt does at most '
                f'{top_mps:g} m/s'
            )
        back_m = self._furthest[-1] - position_m
        if back_m > settings.run_back_m:
            self.note(f'the belt ran back by {back_m:.3f} m; allowed: {settings.run_back_m:g} m')

    def _append(self, position_m: float, at_s: float) -> None:
        if len(self._times) >= 2 * _MOST_SAMPLES:
            for samples in (self._times, self._positions, self._furthest):
                del samples[:-_MOST_SAMPLES]
        self._times.append(at_s)
        self._positions.append(position_m)
        self._furthest.append(
            max(position_m, self._furthest[-1] if self._furthest else position_m)
        )

    def part_seen(self, exposure_s: float) -> None:
        """
        Compare the encoder with a part that the camera has seen.

        """
        self._part_s = min(self._part_s, exposure_s)
        self._check_standing()

    def _check_standing(self) -> None:
        until_s = self._part_s + _AFTER_S
        if not self._times or self._times[-1] < until_s:
            return
        before = self.position_at(self._part_s - _BEFORE_S)
        moved_m = abs(self.position_at(until_s) - before)
        self._part_s = math.inf
        # NaN fails the comparison.
        if moved_m < _STANDING_M:
            self.note(
                f'a part came to the camera, but the encoder moved by {1e3 * moved_m:.1f} mm in '
                f'the {_BEFORE_S + _AFTER_S:g} s around it'
            )

    def note(self, fault: str) -> None:
        """
        Note why the encoder cannot be trusted; the first reason stays.

        """
        self._fault = self._fault or fault

    def fault(self, now: float) -> str:
        """
        Say why the encoder cannot be trusted; '' = it can.

        Silence counts from the first sample on; before, no position is known.

        """
        if self._fault or not self._times:
            return self._fault
        longest_s = self.settings.silence_s
        return _silent(longest_s) if now - self._times[-1] > longest_s else ''

    def silent_from_s(self) -> float:
        """
        Give when the encoder will be silent; inf before the first sample.

        """
        return self._times[-1] + self.settings.silence_s if self._times else math.inf

    def trust_again(self) -> None:
        """
        Begin anew from the newest sample: a person has looked at the belt.

        """
        self._fault, self._part_s = '', math.inf
        for samples in (self._times, self._positions, self._furthest):
            del samples[:-1]
        self._furthest[:] = self._positions

    def forget(self) -> None:
        """
        Begin with nothing: nobody has listened for a while, and no part is tracked.

        """
        self._fault, self._part_s = '', math.inf
        for samples in (self._times, self._positions, self._furthest):
            samples.clear()

    def is_settled(self, at_s: float) -> bool:
        """
        Tell whether a sample at or after this time has come.

        """
        return bool(self._times) and self._times[-1] >= at_s

    def position_at(self, at_s: float) -> float:
        """
        Give the position of the belt at a time, metres; NaN = nobody knows.

        It is not known before the oldest sample, nor `silence_s` after the newest.

        """
        if not self._times or at_s < self._times[0]:
            return math.nan
        later_s = at_s - self._times[-1]
        if later_s >= 0:
            known = later_s <= self.settings.silence_s
            return self._positions[-1] + self.speed_mps() * later_s if known else math.nan
        index = bisect_left(self._times, at_s)
        if self._times[index] == at_s:
            return self._positions[index]
        return _between(at_s, self._times, self._positions, index)

    def speed_mps(self) -> float:
        """
        Give the speed over the last samples; 0 while there is only one.

        """
        if len(self._times) < 2:
            return 0.0
        now_s = self._times[-1]
        then = min(bisect_left(self._times, now_s - _SPEED_OVER_S), len(self._times) - 2)
        return (self._positions[-1] - self._positions[then]) / (now_s - self._times[then])

    def reaches_s(self, position_m: float) -> float:
        """
        Give when the belt reached a position first, or will; inf = not while it stands as now.

        NaN = before the oldest sample.

        """
        if not self._times:
            return math.inf
        if position_m <= self._furthest[-1]:
            index = bisect_left(self._furthest, position_m)
            if index == 0:
                return math.nan if position_m < self._furthest[0] else self._times[0]
            return _between(position_m, self._furthest, self._times, index)
        speed_mps = self.speed_mps()
        if speed_mps < _CREEP_MPS:
            return math.inf
        return self._times[-1] + (position_m - self._positions[-1]) / speed_mps


def _between(at: float, keys: list[float], values: list[float], index: int) -> float:
    """
    Interpolate where `at` lies after `keys[index - 1]` and not after `keys[index]`.

    """
    share = (at - keys[index - 1]) / (keys[index] - keys[index - 1])
    return values[index - 1] + share * (values[index] - values[index - 1])


def _silent(longest_s: float) -> str:
    return f'the encoder has been silent for more than {longest_s:g} s'
