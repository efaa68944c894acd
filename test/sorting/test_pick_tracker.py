# SPDX-License-Identifier: Apache-2.0
"""
An arm that picks good parts from a moving belt: none but those end in the tray.

"""

from __future__ import annotations

from collections import Counter
import math
import random

import pytest

from anomaly_inspection.capture.simulated_arm import ArmFault, SimulatedArmSettings
from anomaly_inspection.errors import SettingError
from anomaly_inspection.sorting.pick_order import Grip, PickOutcome, PickResult
from anomaly_inspection.sorting.pick_settings import PickSettings
from anomaly_inspection.sorting.sort_record import Action, Cause, Outcome
from anomaly_inspection.sorting.stop_cause import StopCause
from support.pick_run import DISTANCE_M, PickRun, SPEED_MPS

PLACED = (Action.PASSED, Outcome.CONFIRMED, Cause.DECISION)


def outcome(run, number):
    event = run.event(number)
    return event.action, event.outcome, event.cause


def running(**settings):
    """
    A run whose encoder is known, on a belt that moves evenly.

    """
    run = PickRun(has_encoder=False, **settings)
    run.run_for(0.5)
    return run


def run_until_held(run):
    """
    Let time go by until the gripper holds a part.

    """
    end_s = run.now + 5.0
    while not run.arm.holds:
        run.tick()
        assert run.now < end_s


# A whole line


@pytest.mark.parametrize('seed', range(4))
def test_on_a_wandering_belt_only_good_parts_lie_in_the_tray(seed):
    run = PickRun(seed)
    run.run_parts(120, pitch_m=0.1)
    assert run.bad_in_tray == []
    assert not run.stops
    assert sorted(event.key[1] for event in run.events) == list(range(1, 121))
    assert sorted(run.said_placed) == sorted(run.tray)
    good = sum(run.is_good.values())
    # Every good part is in the tray, or its record says why not.
    assert len(run.tray) + run.left_because().total() == good
    assert len(run.tray) > 0.8 * good
    assert set(run.left_because()) <= {'NOT_PICKED', 'TOO_CLOSE', 'OUT_OF_REACH'}


@pytest.mark.parametrize('fault', [f for f in ArmFault if f is not ArmFault.NONE])
def test_no_fault_of_the_arm_puts_a_bad_part_into_the_tray(fault):
    run = PickRun(3)

    def begin(run):
        run.arm.fault = fault

    def repair(run):
        run.arm.fault = ArmFault.NONE

    run.run_parts(70, pitch_m=0.14, good=0.5, at={20: begin, 40: repair})
    assert run.bad_in_tray == []
    assert len(run.events) == 70
    # Recovers by reset alone.
    late = [number for number in run.tray if number > 60]
    assert late
    assert not run.sorter.line_stop.is_active
    # An arm that lies at a time and place that fit is believed; its parts run into reject.
    if fault is not ArmFault.LIES_WELL:
        assert run.stops
        assert set(run.said_placed) <= set(run.tray)


@pytest.mark.parametrize('seed', range(8))
def test_whatever_breaks_together_no_bad_part_lies_in_the_tray(seed):
    run, draw = PickRun(seed), random.Random(seed)

    def mend(run):
        run.arm.fault = ArmFault.NONE
        run.is_deaf, run.encoder_speaks, run.camera_sees = False, True, True

    def change(run):
        what = draw.randrange(7)
        if what == 0:
            run.arm.fault = draw.choice([f for f in ArmFault if f is not ArmFault.LIES_WELL])
        elif what == 1:
            run.is_deaf = not run.is_deaf
        elif what == 2:
            run.encoder_speaks = not run.encoder_speaks
        elif what == 3:
            run.camera_sees = not run.camera_sees
        elif what == 4:
            run.sorter.stop_line('a person', run.now)
        else:
            mend(run)

    changes = dict.fromkeys(range(5, 60, 4), change)
    run.run_parts(85, pitch_m=0.09, at={**changes, 61: mend})
    assert run.bad_in_tray == []
    assert set(run.said_placed) <= set(run.tray)
    numbers = [event.key[1] for event in run.events]
    assert len(numbers) == len(set(numbers))
    assert [number for number in run.tray if number > 70]


def test_a_silent_encoder_leaves_everything_on_the_belt():
    run = PickRun(5)

    def cut(run):
        run.encoder_speaks = False

    def mend(run):
        run.encoder_speaks = True

    run.run_parts(60, pitch_m=0.14, good=0.5, at={20: cut, 35: mend})
    assert run.bad_in_tray == []
    assert run.stops
    assert 'encoder' in run.stops[0][1]
    assert not set(run.tray) & set(range(22, 35))
    assert [number for number in run.tray if number > 45]


def test_parts_that_nobody_saw_are_never_picked():
    run = PickRun(2)

    def blind(run):
        run.camera_sees = False

    def mend(run):
        run.camera_sees = True

    run.run_parts(60, pitch_m=0.14, good=0.5, at={20: blind, 40: mend})
    assert run.bad_in_tray == []
    assert not set(run.tray) & set(range(20, 40))
    assert [number for number in run.tray if number >= 40]


def test_a_silent_decider_leaves_the_parts_and_stops_the_line():
    run = running(decider_start_s=0.0)
    for number in range(1, 5):
        run.lay(number, verdict_s=None)
        run.run_for(0.3)
    run.run_for(2.0)
    assert run.tray == []
    assert 'decider' in run.stops[0][1]
    assert run.sorter.line_stop.cause is StopCause.PART_MISSED
    assert outcome(run, 1) == (Action.REJECTED, Outcome.CONFIRMED, Cause.NO_DECISION)


# One part


def test_a_good_part_is_placed_and_its_record_says_so():
    run = running()
    run.lay(1)
    run.run_for(2.5)
    assert run.tray == [1]
    assert outcome(run, 1) == PLACED
    assert not run.stops


def test_a_rejected_part_gets_no_order():
    run = running()
    run.lay(1, is_good=False)
    run.run_for(2.5)
    assert run.orders == []
    assert outcome(run, 1) == (Action.REJECTED, Outcome.CONFIRMED, Cause.DECISION)


def test_an_order_says_where_and_when_the_part_is_at_the_pick_line():
    run = running()
    laid_s = run.now
    run.lay(1)
    run.run_for(0.3)
    [order] = run.orders
    assert order.passes_at_s == pytest.approx(laid_s + DISTANCE_M / SPEED_MPS)
    assert order.speed_mps == SPEED_MPS
    assert order.valid_until_s == pytest.approx(laid_s + 0.1 + run.settings.valid_s, abs=0.02)


def test_a_pass_that_comes_too_late_leaves_the_part():
    run = running(lead_s=0.3)
    run.lay(1, verdict_s=0.55)
    run.run_for(2.5)
    assert run.orders == []
    assert outcome(run, 1) == (Action.REJECTED, Outcome.CONFIRMED, Cause.LATE_DECISION)
    assert not run.stops


def test_a_reject_after_the_pass_calls_the_arm_off():
    run = running()
    run.lay(1, is_good=False, passes=True)
    run.run_for(0.2)
    assert run.orders
    run.sorter.decision_received(('run', 1), False, run.now)
    run.run_for(2.5)
    assert run.tray == []
    assert outcome(run, 1)[:2] == (Action.REJECTED, Outcome.CONFIRMED)
    assert not run.stops


def test_a_reject_while_the_gripper_holds_the_part_ends_in_reject():
    run = running()
    run.lay(1, is_good=False, passes=True)
    run_until_held(run)
    run.sorter.decision_received(('run', 1), False, run.now)
    run.run_for(2.5)
    assert run.tray == []
    assert outcome(run, 1)[:2] == (Action.REJECTED, Outcome.CONFIRMED)


def test_both_of_two_parts_without_room_between_them_are_left():
    run = running()
    run.lay(1)
    run.run_for(0.5 * run.settings.clearance_m / SPEED_MPS)
    run.lay(2)
    run.run_for(2.5)
    assert run.tray == []
    for number in (1, 2):
        assert outcome(run, number) == (Action.REJECTED, Outcome.CONFIRMED, Cause.TOO_CLOSE)


def test_a_neighbour_that_comes_after_the_order_cancels_it():
    run = running()
    run.lay(1, verdict_s=0.01)
    run.run_for(0.5 * run.settings.clearance_m / SPEED_MPS)
    assert run.orders
    run.lay(2)
    run.run_for(2.5)
    assert run.tray == []
    assert outcome(run, 1) == (Action.REJECTED, Outcome.CONFIRMED, Cause.TOO_CLOSE)
    assert not run.stops


def test_a_neighbour_that_is_known_only_after_the_pick_stops_the_line():
    run = running()
    run.lay(1)
    exposed_s = run.now
    run_until_held(run)
    # The arm is deaf until it has placed the part.
    cancel, run.arm.cancel = run.arm.cancel, lambda key: None
    run.sorter.part_seen(('run', 2), exposed_s + 0.05, run.now)
    run.run_for(2.5)
    run.arm.cancel = cancel
    assert run.tray == [1]
    assert outcome(run, 1) == (Action.PASSED, Outcome.FAILED, Cause.TOO_CLOSE)
    assert 'was told to leave it' in run.stops[0][1]


@pytest.mark.parametrize(
    ('settings', 'cause'),
    [
        ({'reach_from_m': -0.1, 'reach_to_m': -0.05}, {Cause.NOT_PICKED}),
        ({'miss_rate': 1.0}, {Cause.PICK_MISSED}),
        ({'goals': 1}, {Cause.NOT_PICKED}),
    ],
)
def test_what_the_arm_leaves_is_a_reject_with_its_reason_and_no_fault(settings, cause):
    run = PickRun(has_encoder=False, arm=SimulatedArmSettings(**settings))
    run.run_for(0.5)
    for number in range(1, 4):
        run.lay(number)
        run.run_for(0.15)
    run.run_for(3.0)
    assert not run.stops
    left = [event for event in run.events if event.action is Action.REJECTED]
    assert left
    assert {event.cause for event in left} <= cause
    assert all(event.outcome is Outcome.CONFIRMED and event.detail for event in left)


# Poses


@pytest.mark.parametrize(
    ('is_sure', 'detail'), [(None, 'nobody has told'), (False, 'pose is not sure: too dark')]
)
def test_a_part_whose_pose_is_not_sure_is_left(is_sure, detail):
    run = running(needs_pose=True)
    run.lay(1)
    if is_sure is not None:
        run.sorter.pose_received(('run', 1), is_sure, 'a pose', 'too dark')
    run.run_for(2.5)
    assert run.tray == []
    assert outcome(run, 1) == (Action.REJECTED, Outcome.CONFIRMED, Cause.POSE_UNSURE)
    assert detail in run.event(1).detail


@pytest.mark.parametrize('is_first', [True, False])
def test_a_sure_pose_goes_with_the_order_whenever_it_comes(is_first):
    run = running(needs_pose=True)
    if is_first:
        run.sorter.pose_received(('run', 1), True, 'a pose', '')
    run.lay(1)
    run.run_for(0.2)
    if not is_first:
        assert run.orders == []
        run.sorter.pose_received(('run', 1), True, 'a pose', '')
    run.run_for(2.5)
    assert [order.pose for order in run.orders] == ['a pose']
    assert run.tray == [1]


# What an arm may say


def ordered(**settings):
    """
    A run with an order under way, whose arm says only what the test says.

    """
    run = running(**settings)
    run.lay(1)
    run.run_for(0.2)
    run.is_deaf = True
    assert run.orders
    return run


def test_an_arm_that_does_not_answer_stops_the_line_and_is_called_off():
    run = running()
    run.is_deaf = True
    run.lay(1)
    run.run_for(0.1 + run.settings.answer_s + 0.1)
    assert run.sorter.line_stop.is_active
    assert run.sorter.line_stop.cause is StopCause.GATE
    assert 'has not answered within 0.5 s' in run.sorter.line_stop.reason


def test_an_arm_without_a_result_stops_the_line():
    run = ordered()
    run.run_for(1.0)
    assert not run.stops
    run.run_for(4.0)
    assert outcome(run, 1) == (Action.PASSED, Outcome.FAILED, Cause.GATE_FAILED)
    assert 'look into the tray' in run.stops[0][1]


def test_a_goal_on_a_standing_belt_does_not_live_for_ever():
    run = PickRun(1, valid_s=3.0)
    run.run_for(0.5)
    run.lay(1, verdict_s=0.02)
    run.run_for(0.06)
    assert run.orders
    here_m = run.line.position_at(0.56)
    run.line.position_at = lambda at_s: here_m
    run.is_deaf = True
    run.run_for(3.0 + run.settings.place_s + 1.0)
    assert outcome(run, 1) == (Action.PASSED, Outcome.FAILED, Cause.GATE_FAILED)


@pytest.mark.parametrize(
    ('grip', 'words'),
    [
        (None, 'does not say where'),
        (Grip(math.nan, 0.0), 'does not say where'),
        (Grip(101.3 + 0.3, 0.0), 'away from the part'),
        (Grip(500.0, 0.0), 'further than the belt has come'),
        (Grip(101.3 + 0.64, 0.32), 'the pick zone is'),
    ],
)
def test_placed_at_another_place_than_the_parts_is_not_believed(grip, words):
    run = ordered()
    # At 101.3 s the part is at the pick line.
    assert run.orders[0].passes_at_s == pytest.approx(101.3)
    run.run_for(1.2)
    run.sorter.order_ended(('run', 1), PickResult(PickOutcome.PLACED, '', grip, 'left'), run.now)
    run.run_for(0.1)
    assert outcome(run, 1) == (Action.PASSED, Outcome.FAILED, Cause.GATE_FAILED)
    assert 'tray left' in run.stops[0][1]
    assert words in run.stops[0][1]
    assert 'part 1 of run' in run.stops[0][1]


def test_a_belt_that_runs_back_after_the_grip_is_no_lie():
    run = PickRun(1)
    run.run_for(0.5)
    run.lay(1)
    run_until_held(run)
    ran_back_m = run.line.position_at(run.now - 100.0) - 0.02
    run.line.position_at = lambda at_s: ran_back_m
    run.run_for(1.0)
    assert outcome(run, 1) == PLACED
    assert not run.stops


def test_an_arm_with_a_fault_stops_the_line():
    run = ordered()
    run.sorter.order_ended(('run', 1), PickResult(PickOutcome.FAILED, 'no air'), run.now)
    run.run_for(0.1)
    assert outcome(run, 1)[1] is Outcome.FAILED
    assert 'no air' in run.stops[0][1]


def test_placed_for_a_part_that_was_left_stops_the_line():
    run = ordered()
    run.sorter.order_ended(('run', 1), PickResult(PickOutcome.BUSY, ''), run.now)
    run.run_for(2.0)
    assert not run.stops
    run.sorter.order_ended(('run', 1), PickResult(PickOutcome.PLACED, ''), run.now)
    run.run_for(0.1)
    assert 'which nobody waits for' in run.stops[0][1]
    # Its one record stays as it was.
    assert outcome(run, 1)[0] is Action.REJECTED


def test_an_arm_that_is_gone_stops_the_line_before_the_next_part():
    run = running()
    run.has_arm = False
    run.sorter.check_gate(run.now)
    assert run.sorter.line_stop.cause is StopCause.GATE
    assert "nobody offers the action 'sort_part'" in run.sorter.line_stop.reason
    assert 'fails' in run.sorter.reset(run.now)
    run.has_arm = True
    assert run.sorter.reset(run.now) == ''
    run.lay(1)
    run.run_for(2.5)
    assert run.tray == [1]


# Stops of the line


def test_a_stop_of_the_line_cancels_every_order():
    run = running()
    for number in range(1, 4):
        run.lay(number, verdict_s=0.02)
        run.run_for(0.2)
    assert len(run.orders) == 3
    run.sorter.stop_line('a person', run.now)
    run.run_for(3.0)
    assert set(run.tray) <= {1}
    causes = Counter(event.cause for event in run.events)
    assert causes[Cause.LINE_STOPPED] >= 2
    assert all(event.outcome is Outcome.CONFIRMED for event in run.events)


def test_a_good_part_that_was_gripped_before_the_line_stopped_counts_as_placed():
    run = running()
    run.lay(1)
    run_until_held(run)
    grip_s = run.now
    run.sorter.stop_line('a person', run.now)
    run.run_for(0.1)
    along_m = (grip_s - run.orders[0].passes_at_s) * SPEED_MPS
    result = PickResult(PickOutcome.PLACED, '', Grip(grip_s, along_m))
    run.sorter.order_ended(('run', 1), result, run.now)
    run.run_for(0.1)
    assert outcome(run, 1) == PLACED


def test_the_end_of_the_sorter_gives_every_part_its_record():
    run = running()
    run.lay(1)
    run.run_for(0.3)
    run.lay(2, verdict_s=None)
    run.run_for(0.1)
    records = run.sorter.flush(run.now)
    assert [(record.key[1], record.cause) for record in records] == [
        (1, Cause.SHUTDOWN),
        (2, Cause.SHUTDOWN),
    ]
    # Whether the arm still picks the first one, nobody will hear.
    assert [record.outcome for record in records] == [Outcome.FAILED, Outcome.CONFIRMED]
    assert ('cancel_all', None) in run.mail


def test_a_part_that_is_announced_twice_gets_one_record():
    run = running()
    run.lay(1)
    run.sorter.part_seen(('run', 1), run.now, run.now)
    run.run_for(2.5)
    run.sorter.part_seen(('run', 1), run.now, run.now)
    run.run_for(2.5)
    assert len(run.events) == 1
    assert run.sorter.counts.parts_duplicate == 2


# Settings


@pytest.mark.parametrize(
    ('settings', 'words'),
    [
        ({'tolerance_m': 0.03}, 'less than half the clearance, 0.03 m'),
        ({'zone_from_m': -0.5}, r'zone_from_m -0.5 m, allowed: -0.4'),
        ({'valid_s': 1.0}, 'at least 1.4 s'),
        ({'answer_s': 0.0}, 'answer_s 0 s, allowed: 0.01'),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, words):
    with pytest.raises(SettingError, match=words):
        PickSettings(DISTANCE_M, SPEED_MPS, **settings)
