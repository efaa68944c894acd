# SPDX-License-Identifier: Apache-2.0
"""
The simulated arm: how long it takes, what it refuses, and what its gripper holds.

"""

from __future__ import annotations

import pytest

from anomaly_inspection.capture.simulated_arm import (
    ArmFault,
    ArmGoal,
    ArmOutcome,
    ArmStage,
    Ended,
    Gripped,
    Put,
    PutInto,
    SimulatedArm,
    SimulatedArmSettings,
)
from anomaly_inspection.errors import SettingError

SPEED_MPS = 0.5
SETTINGS = SimulatedArmSettings()


class Bench:
    """
    An arm over a belt that moves evenly; at `now` = 0 the belt is at 0 m.

    """

    def __init__(self, **settings):
        self.arm = SimulatedArm(SimulatedArmSettings(**settings))
        self.now = 0.0
        self.news = []
        self.sees_belt = True

    def offer(self, number, place_m, **options):
        goal = ArmGoal(('run', number), place_m, **options)
        return self.arm.offer(goal, self.now, self.now * SPEED_MPS, SPEED_MPS)

    def run(self, until_s):
        while self.now < until_s:
            self.now += 0.005
            belt_m = self.now * SPEED_MPS if self.sees_belt else float('nan')
            self.news += self.arm.step(self.now, belt_m)

    def of(self, kind):
        return [news for news in self.news if isinstance(news, kind)]


@pytest.fixture
def bench():
    return Bench()


def test_a_part_is_gripped_where_it_lies_and_put_into_the_tray(bench):
    bench.arm.lay(7, 0.4)
    assert bench.offer(1, 0.4) is None
    bench.run(3.0)
    [grip] = bench.of(Gripped)
    assert grip.belt_m - grip.along_m == pytest.approx(0.4, abs=0.002)
    assert SETTINGS.reach_from_m <= grip.along_m <= SETTINGS.reach_to_m
    assert bench.of(Put) == [Put(7, PutInto.TRAY)]
    assert [ended.outcome for ended in bench.of(Ended)] == [ArmOutcome.PLACED]
    assert bench.arm.stage is ArmStage.WAITING
    assert 7 not in bench.arm.parts


def test_a_pick_takes_the_time_that_the_settings_say(bench):
    bench.arm.lay(1, 0.4)
    bench.offer(1, 0.4)
    bench.run(3.0)
    # The hand waits where its reach begins.
    meets_s = (0.4 + SETTINGS.reach_from_m) / SPEED_MPS
    assert bench.of(Gripped)[0].at_s == pytest.approx(meets_s + SETTINGS.grip_s, abs=0.02)


def test_a_position_that_is_wrong_takes_the_part_that_lies_there(bench):
    bench.arm.lay(1, 0.4)
    bench.arm.lay(2, 0.5)
    bench.offer(1, 0.505)
    bench.run(3.0)
    assert bench.of(Put) == [Put(2, PutInto.TRAY)]


def test_the_gripper_is_empty_where_nothing_lies(bench):
    bench.arm.lay(1, 0.4 + SETTINGS.catch_m + 0.003)
    bench.offer(1, 0.4)
    bench.run(3.0)
    assert [ended.outcome for ended in bench.of(Ended)] == [ArmOutcome.MISSED]
    assert bench.of(Put) == []


def test_parts_closer_than_the_arm_is_fast_are_refused(bench):
    answers = [bench.offer(number, 0.4 + 0.05 * number) for number in range(8)]
    refused = [answer for answer in answers if answer is not None]
    assert refused
    assert {answer.outcome for answer in refused} == {ArmOutcome.BUSY}


def test_a_part_that_has_passed_is_out_of_reach(bench):
    bench.run(2.0)
    assert bench.offer(1, 0.4).outcome is ArmOutcome.OUT_OF_REACH


@pytest.mark.parametrize('until_s', [0.3, 0.53, 0.6])
def test_a_cancelled_goal_puts_nothing_into_the_tray(bench, until_s):
    bench.arm.lay(1, 0.4)
    bench.offer(1, 0.4)
    bench.run(until_s)
    bench.arm.cancel(('run', 1))
    bench.run(3.0)
    assert Put(1, PutInto.TRAY) not in bench.news
    assert [ended.outcome for ended in bench.of(Ended)] == [ArmOutcome.CANCELLED]


def test_it_does_not_close_the_gripper_while_nobody_knows_where_the_belt_is(bench):
    bench.arm.lay(1, 0.4)
    bench.offer(1, 0.4)
    bench.run(0.3)
    bench.sees_belt = False
    bench.run(3.0)
    assert bench.of(Gripped) == []
    assert [ended.outcome for ended in bench.of(Ended)] == [ArmOutcome.BUSY]


def test_a_goal_lapses(bench):
    bench.arm.lay(1, 0.4)
    bench.offer(1, 0.4, valid_until_s=0.3)
    bench.run(3.0)
    assert bench.of(Gripped) == []
    assert bench.of(Ended)[0].message == 'the goal has lapsed'


def test_a_silent_arm_says_nothing_at_all(bench):
    bench.arm.fault = ArmFault.SILENT
    bench.arm.lay(1, 0.4)
    assert bench.offer(1, 0.4) is None
    bench.run(2.0)
    bench.arm.cancel(('run', 1))
    bench.run(12.0)
    assert bench.news == []


@pytest.mark.parametrize(
    ('settings', 'words'),
    [
        ({'reach_from_m': 0.3}, r'allowed: -10 to below reach_to_m, 0.25 m'),
        ({'hand_mps': 0.4}, r'speed of the hand 0.4 m/s, allowed'),
        ({'miss_rate': 1.5}, r'miss_rate 1.5, allowed'),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, words):
    with pytest.raises(SettingError, match=words):
        SimulatedArmSettings(**settings)
