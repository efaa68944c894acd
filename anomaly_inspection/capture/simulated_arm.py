# SPDX-License-Identifier: Apache-2.0
"""
An arm for trying out a cell without one: it takes parts from a moving belt and puts them away.

Pure logic, without clock or ROS. The hand moves along the belt, in metres behind the pick line
(below 0 = before it); across the belt and up it takes fixed times. One pick is ::

    waiting -> reaching (to the part) -> gripping (moves along) -> carrying -> returning -> waiting

What the gripper holds then is decided by where parts really lie, not by what was asked for. A
wrong position therefore takes the wrong part.

"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, IntEnum
import math
import random

from anomaly_inspection.errors import SettingError
from anomaly_inspection.setting_check import check_range

# The hand follows a part this exactly before it closes the gripper.
_ON_THE_PART_M = 0.002
# Left of the reach when a pick is planned.
_SPARE_M = 0.02
_LONGEST_STEP_S = 0.05
_LONG_S = 10.0

#: Session and number of the part that is asked for.
PartKey = tuple[str, int]


class ArmStage(IntEnum):
    """
    What the arm does; the values of SimulatedArmState.msg.

    """

    WAITING = 1
    REACHING = 2
    GRIPPING = 3
    CARRYING = 4
    RETURNING = 5


class ArmOutcome(IntEnum):
    """
    What became of a goal; the values of SortPart.action.

    """

    PLACED = 1
    MISSED = 2
    BUSY = 3
    OUT_OF_REACH = 4
    CANCELLED = 5
    FAILED = 6


class PutInto(IntEnum):
    """
    Where the gripper opened; the values of SimulatedArmState.msg.

    """

    TRAY = 1
    REJECT = 2


class ArmFault(Enum):
    """
    What is wrong with the arm, for tests.

    """

    NONE = 'none'
    # Takes every goal, does nothing and never says so.
    SILENT = 'silent'
    # Says what it did `_LONG_S` too late.
    LATE = 'late'
    # Does nothing, and says at once that it has placed the part.
    LIES = 'lies'
    # Does nothing, and says so at a time and place that fit.
    LIES_WELL = 'lies_well'
    # Takes the next part behind the one that is asked for, and says truly where it gripped.
    NEIGHBOUR = 'neighbour'


@dataclass(frozen=True)
class SimulatedArmSettings:
    """
    What the arm can do.

    Parameters
    ----------
    reach_from_m, reach_to_m : float
        Where along the belt the hand comes, metres behind the pick line.
    hand_mps : float
        Speed of the hand along the belt, metres/second, above that of the belt.
    grip_s, carry_s, return_s : float
        From being over the part to a closed gripper, from there to an open gripper at the tray,
        and back to the belt, seconds.
    catch_m : float
        The gripper catches a part whose middle is at most so far away, metres.
    miss_rate : float
        How often the gripper closes and is empty, 0 to 1.
    usual_mps : float
        Usual speed of the belt, for planning, metres/second.
    goals : int
        How many goals it takes at a time, at least 1.
    seed : int
        Of the misses.

    """

    reach_from_m: float = -0.15
    reach_to_m: float = 0.25
    hand_mps: float = 2.0
    grip_s: float = 0.06
    carry_s: float = 0.15
    return_s: float = 0.12
    catch_m: float = 0.015
    miss_rate: float = 0.0
    usual_mps: float = 0.5
    goals: int = 4
    seed: int = 1

    def __post_init__(self) -> None:
        check_range('reach_to_m', self.reach_to_m, -10.0, 10.0, 'm')
        if not -10.0 <= self.reach_from_m < self.reach_to_m:
            raise SettingError(
                f'reach_from_m {self.reach_from_m:g} m, allowed: -10 to below reach_to_m, '
                f'{self.reach_to_m:g} m'
            )
        check_range('usual speed of the belt', self.usual_mps, 0.0, 10.0, 'm/s', is_open=True)
        check_range('speed of the hand', self.hand_mps, self.usual_mps, 100.0, 'm/s', is_open=True)
        for name in ('grip_s', 'carry_s', 'return_s'):
            check_range(name, getattr(self, name), 0.0, 60.0, 's')
        check_range('catch_m', self.catch_m, 0.0, 1.0, 'm', is_open=True)
        check_range('miss_rate', self.miss_rate, 0.0, 1.0)
        check_range('goals', self.goals, 1, 1000)


@dataclass(frozen=True)
class ArmGoal:
    """
    A part that the arm shall take.

    Parameters
    ----------
    key : (str, int)
        Session and number of the part.
    place_m : float
        Where the belt is when the part is at the pick line, metres.
    valid_until_s : float
        The gripper must not close after this, seconds.

    """

    key: PartKey
    place_m: float
    valid_until_s: float = math.inf


@dataclass(frozen=True)
class Gripped:
    """
    The gripper has closed.

    Parameters
    ----------
    key : (str, int)
        The part that was asked for.
    at_s : float
        When, seconds.
    belt_m, along_m : float
        Where the belt was, and the hand behind the pick line, metres.

    """

    key: PartKey
    at_s: float
    belt_m: float
    along_m: float


@dataclass(frozen=True)
class Ended:
    """
    A goal has ended.

    """

    key: PartKey
    outcome: ArmOutcome
    message: str
    grip: Gripped | None = None


@dataclass(frozen=True)
class Put:
    """
    The gripper has opened on the part with this number.

    """

    number: int
    into: PutInto


News = Gripped | Ended | Put


@dataclass
class SimulatedArm:
    """
    Does one goal after the other, in the order in which the parts come.

    Call `step` often: the hand moves with it.

    Parameters
    ----------
    settings : SimulatedArmSettings
        What it can do.

    """

    settings: SimulatedArmSettings = field(default_factory=SimulatedArmSettings)

    def __post_init__(self) -> None:
        self.fault = ArmFault.NONE
        self.stage = ArmStage.WAITING
        self.hand_m = 0.0
        #: Number of the part in the gripper; 0 = none.
        self.holds = 0
        self.goal: ArmGoal | None = None
        self.waiting: list[ArmGoal] = []
        #: Where parts lie: number -> where the belt is when it is at the pick line, metres.
        self.parts: dict[int, float] = {}
        self._until_s = math.inf
        self._stepped_s = math.nan
        self._is_cancelled = False
        self._grip: Gripped | None = None
        self._news: list[News] = []
        self._late: list[tuple[float, Ended]] = []
        self._draw = random.Random(self.settings.seed)

    def lay(self, number: int, place_m: float) -> None:
        """
        Lay a part on the belt.

        """
        self.parts[number] = place_m

    def offer(self, goal: ArmGoal, now: float, belt_m: float, speed_mps: float) -> Ended | None:
        """
        Offer a goal; gives why it is refused, None = it is taken.

        Parameters
        ----------
        belt_m : float
            Where the belt is now, metres; NaN = nobody knows.
        speed_mps : float
            How fast it moves, metres/second.

        """
        if self.fault in (ArmFault.SILENT, ArmFault.LIES, ArmFault.LIES_WELL):
            self.waiting.append(goal)
            return None
        if not math.isfinite(belt_m):
            return Ended(goal.key, ArmOutcome.BUSY, 'the encoder is silent')
        if belt_m - goal.place_m > self.settings.reach_to_m:
            return Ended(goal.key, ArmOutcome.OUT_OF_REACH, 'the part has passed the arm')
        if len(self.waiting) + (self.goal is not None) >= self.settings.goals:
            return Ended(goal.key, ArmOutcome.BUSY, f'{self.settings.goals} goals wait already')
        queue = sorted([*self.waiting, goal], key=lambda one: one.place_m)
        if not self._can_do(queue, now, belt_m, max(speed_mps, self.settings.usual_mps)):
            return Ended(goal.key, ArmOutcome.BUSY, 'the part passes before the arm is free')
        self.waiting = queue
        return None

    def cancel(self, key: PartKey) -> None:
        """
        Cancel a goal: what the gripper holds for it goes into reject.

        """
        if self.fault is ArmFault.SILENT:
            return
        for goal in [one for one in self.waiting if one.key == key]:
            self.waiting.remove(goal)
            self._end(goal, ArmOutcome.CANCELLED, 'cancelled')
        if self.goal is not None and self.goal.key == key:
            self._is_cancelled = True

    def step(self, now: float, belt_m: float) -> list[News]:
        """
        Move on to `now`, seconds, with the belt at `belt_m`, metres; NaN = nobody knows.

        Returns
        -------
        list of Gripped, Ended and Put
            What has happened since the last call.

        """
        step_s = min(max(now - self._stepped_s, 0.0), _LONGEST_STEP_S)
        step_s = 0.0 if math.isnan(step_s) else step_s
        self._stepped_s = now
        self._drop_lapsed(now, belt_m)
        if self.fault in (ArmFault.LIES, ArmFault.LIES_WELL):
            self._lie(now, belt_m)
        elif self.fault is not ArmFault.SILENT:
            self._move(now, belt_m, step_s)
        gone = [number for number, place_m in self.parts.items() if belt_m - place_m > 2.0]
        for number in gone:
            del self.parts[number]
        due = [ended for at_s, ended in self._late if at_s <= now]
        self._late = [(at_s, ended) for at_s, ended in self._late if at_s > now]
        news, self._news = [*self._news, *due], []
        return self._delayed(news, now) if self.fault is ArmFault.LATE else news

    def _delayed(self, news: list[News], now: float) -> list[News]:
        self._late += [(now + _LONG_S, one) for one in news if isinstance(one, Ended)]
        return [one for one in news if not isinstance(one, Ended)]

    def _drop_lapsed(self, now: float, belt_m: float) -> None:
        if self.fault is ArmFault.SILENT:
            return
        is_lost = not math.isfinite(belt_m)
        for goal in list(self.waiting):
            if is_lost or now > goal.valid_until_s:
                self.waiting.remove(goal)
                self._end(goal, ArmOutcome.BUSY, _lapsed(is_lost))
        # What the gripper holds is carried to its end.
        is_after = self.stage in (ArmStage.REACHING, ArmStage.GRIPPING)
        if self.goal is not None and is_after and (is_lost or now > self.goal.valid_until_s):
            self._give_up(ArmOutcome.BUSY, _lapsed(is_lost))

    def _move(self, now: float, belt_m: float, step_s: float) -> None:
        if self.stage is ArmStage.RETURNING and now >= self._until_s:
            self.stage = ArmStage.WAITING
        if self.stage is ArmStage.WAITING and self.waiting:
            self.goal, self._is_cancelled, self._grip = self.waiting.pop(0), False, None
            self.stage = ArmStage.REACHING
        if self.stage is ArmStage.WAITING:
            self._hand_to(self.settings.reach_from_m, step_s)
        elif self.stage is ArmStage.REACHING:
            self._reach(now, belt_m, step_s)
        elif self.stage is ArmStage.GRIPPING:
            self._close(now, belt_m)
        elif self.stage is ArmStage.CARRYING and now >= self._until_s:
            self._release(now)

    def _aim_m(self, belt_m: float) -> float:
        assert self.goal is not None
        place_m = self.goal.place_m
        if self.fault is ArmFault.NEIGHBOUR:
            behind = [other for other in self.parts.values() if other > place_m + 0.02]
            place_m = min(behind, default=place_m)
        return belt_m - place_m

    def _reach(self, now: float, belt_m: float, step_s: float) -> None:
        aim_m = self._aim_m(belt_m)
        if self._is_cancelled:
            self._give_up(ArmOutcome.CANCELLED, 'cancelled')
        elif aim_m > self.settings.reach_to_m:
            self._give_up(ArmOutcome.BUSY, 'the part has passed before the arm was free')
        else:
            self._hand_to(max(aim_m, self.settings.reach_from_m), step_s)
            if abs(self.hand_m - aim_m) < _ON_THE_PART_M:
                self.stage, self._until_s = ArmStage.GRIPPING, now + self.settings.grip_s

    def _close(self, now: float, belt_m: float) -> None:
        assert self.goal is not None
        self.hand_m = self._aim_m(belt_m)
        if self._is_cancelled:
            self._give_up(ArmOutcome.CANCELLED, 'cancelled')
        elif self.hand_m > self.settings.reach_to_m:
            self._give_up(ArmOutcome.OUT_OF_REACH, 'the part has left the reach')
        elif now >= self._until_s:
            self._grip = Gripped(self.goal.key, now, belt_m, self.hand_m)
            self.holds = self._caught(belt_m - self.hand_m)
            if not self.holds:
                self._give_up(ArmOutcome.MISSED, 'the gripper is empty')
                return
            del self.parts[self.holds]
            self._news.append(self._grip)
            self.stage, self._until_s = ArmStage.CARRYING, now + self.settings.carry_s

    def _caught(self, place_m: float) -> int:
        off_m, number = min(
            ((abs(other - place_m), number) for number, other in self.parts.items()),
            default=(math.inf, 0),
        )
        misses = self._draw.random() < self.settings.miss_rate
        return 0 if misses or off_m > self.settings.catch_m else number

    def _release(self, now: float) -> None:
        into = PutInto.REJECT if self._is_cancelled else PutInto.TRAY
        self._news.append(Put(self.holds, into))
        self.holds = 0
        if self._is_cancelled:
            self._give_up(ArmOutcome.CANCELLED, 'cancelled; what the gripper held is in reject')
        else:
            self._give_up(ArmOutcome.PLACED, '')
        self.stage, self._until_s = ArmStage.RETURNING, now + self.settings.return_s

    def _give_up(self, outcome: ArmOutcome, message: str) -> None:
        assert self.goal is not None
        self._end(self.goal, outcome, message, self._grip)
        self.goal, self.stage = None, ArmStage.WAITING

    def _end(
        self, goal: ArmGoal, outcome: ArmOutcome, message: str, grip: Gripped | None = None
    ) -> None:
        self._news.append(Ended(goal.key, outcome, message, grip))

    def _lie(self, now: float, belt_m: float) -> None:
        for goal in list(self.waiting):
            if self.fault is ArmFault.LIES or belt_m >= goal.place_m:
                self.waiting.remove(goal)
                grip = Gripped(goal.key, now, max(belt_m, goal.place_m), 0.0)
                self._end(goal, ArmOutcome.PLACED, '', grip)

    def _hand_to(self, to_m: float, step_s: float) -> None:
        most_m = self.settings.hand_mps * step_s
        self.hand_m += max(-most_m, min(most_m, to_m - self.hand_m))

    def _can_do(self, queue: list[ArmGoal], now: float, belt_m: float, speed_mps: float) -> bool:
        """
        Tell whether the arm reaches every part of a queue, if the belt goes on so fast.

        """
        settings = self.settings
        put_away_s = settings.carry_s + settings.return_s
        free_s = 0.0
        if self.stage is ArmStage.RETURNING:
            free_s = max(self._until_s - now, 0.0)
        elif self.stage is ArmStage.CARRYING:
            free_s = max(self._until_s - now, 0.0) + settings.return_s
        elif self.goal is not None:
            away_m = self.hand_m - self._aim_m(belt_m)
            free_s = max(away_m, 0.0) / speed_mps + settings.grip_s + put_away_s
        for goal in queue:
            # The hand waits where its reach begins, or follows a part that has passed it.
            from_m = belt_m + free_s * speed_mps - goal.place_m
            ahead_m = from_m - settings.reach_from_m
            meets_s = -ahead_m / speed_mps
            if ahead_m > 0:
                meets_s = ahead_m / (settings.hand_mps - speed_mps)
            grips_s = free_s + meets_s + settings.grip_s
            if belt_m + grips_s * speed_mps - goal.place_m > settings.reach_to_m - _SPARE_M:
                return False
            free_s = grips_s + put_away_s
        return True


def _lapsed(is_lost: bool) -> str:
    return 'the encoder is silent: nobody knows where it is' if is_lost else 'the goal has lapsed'
