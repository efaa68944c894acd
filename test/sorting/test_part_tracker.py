# SPDX-License-Identifier: Apache-2.0
"""
Part tracker: for whom the gate opens, when, and that every part comes to exactly one end.

"""

from __future__ import annotations

import math

import pytest

from anomaly_inspection.errors import SettingError
from anomaly_inspection.sorting.gate_task import GateCall
from anomaly_inspection.sorting.part_tracker import PartTracker
from anomaly_inspection.sorting.sort_record import Action, Cause, Outcome, SortRecord
from anomaly_inspection.sorting.tracker_settings import TrackerSettings, travel_time_s

SETTINGS = TrackerSettings(travel_time_s=1.0, window_s=0.2, actuation_s=0.05, dead_time_s=0.1)
# For a part exposed at 0.
FIRE_S, OPENS_S, ARRIVAL_S, CLOSES_S = 0.85, 0.9, 1.0, 1.1
AT_REST_S = 1.2

Calls = list[tuple[float, GateCall, int]]


def key(number: int) -> tuple[str, int]:
    return ('session', number)


def run(tracker: PartTracker, end_s: float, late_s: float = 0.0) -> tuple[Calls, list[SortRecord]]:
    """
    Let the time go by with a gate that does everything; `late_s` = how late its thread is.

    """
    calls: Calls = []
    events: list[SortRecord] = []
    now = -math.inf
    while (due := tracker.next_due()) is not None and due <= end_s:
        now = max(now, due + late_s)
        task, new = tracker.advance(now)
        events += new
        if task is not None:
            calls.append((round(now, 6), task.call, task.key[1]))
            tracker.done(task, '')
    assert len({event.key for event in events}) == len(events)
    return calls, events


def seen(*exposures_s: float) -> PartTracker:
    tracker = PartTracker(SETTINGS)
    for number, exposure_s in enumerate(exposures_s, 1):
        tracker.part_seen(key(number), exposure_s, exposure_s)
    return tracker


def test_gate_opens_for_a_passed_part_at_its_time_and_no_other() -> None:
    tracker = seen(0.0)
    tracker.decision_received(key(1), True, 0.5)
    calls, events = run(tracker, 9.0)
    assert calls == [
        (FIRE_S, GateCall.OPEN, 1),
        (ARRIVAL_S, GateCall.CONFIRM_OPEN, 1),
        (AT_REST_S, GateCall.CONFIRM_REST, 1),
    ]
    (event,) = events
    assert (event.key, event.action, event.outcome, event.cause, event.detail) == (
        key(1),
        Action.PASSED,
        Outcome.CONFIRMED,
        Cause.DECISION,
        '',
    )
    assert event.firing_error_s == 0.0
    assert tracker.next_due() is None


def test_gate_is_left_alone_for_a_rejected_part() -> None:
    tracker = seen(0.0)
    tracker.decision_received(key(1), False, 0.5)
    calls, (event,) = run(tracker, 9.0)
    assert calls == [(ARRIVAL_S, GateCall.CONFIRM_REST, 1)]
    assert (event.action, event.cause, event.detail) == (Action.REJECTED, Cause.DECISION, '')
    assert math.isnan(event.firing_error_s)


def test_event_comes_when_the_part_has_passed_the_gate() -> None:
    tracker = seen(0.0)
    assert run(tracker, math.nextafter(CLOSES_S, 0.0))[1] == []
    assert len(run(tracker, CLOSES_S)[1]) == 1


@pytest.mark.parametrize('late_s', [0.0, 0.02, 0.049])
def test_firing_late_shortens_the_window_at_its_beginning_only(late_s: float) -> None:
    tracker = seen(0.0)
    tracker.decision_received(key(1), True, 0.5)
    task, _ = tracker.advance(FIRE_S + late_s)
    assert task is not None
    assert task.call is GateCall.OPEN
    closes_s = FIRE_S + late_s + task.duration_s + SETTINGS.actuation_s
    assert closes_s == pytest.approx(CLOSES_S)
    assert run(tracker, 9.0)[1][0].firing_error_s == pytest.approx(late_s)


def test_gate_that_can_only_be_told_too_late_stays_at_rest() -> None:
    tracker = seen(0.0)
    tracker.decision_received(key(1), True, 0.5)
    calls, (event,) = run(tracker, 9.0, late_s=0.06)
    assert [call for _, call, _ in calls] == [GateCall.CONFIRM_REST]
    assert (event.action, event.cause) == (Action.REJECTED, Cause.GATE_FAILED)
    assert '0.060 s late' in event.detail


def test_read_back_that_comes_too_late_says_so() -> None:
    tracker = seen(0.0)
    tracker.decision_received(key(1), True, 0.5)
    tracker.done(tracker.advance(FIRE_S)[0], '')  # type: ignore[arg-type]
    calls, _ = tracker.advance(2.0)
    assert calls is not None
    assert calls.call is GateCall.CONFIRM_REST
    tracker.done(calls, '')
    (event,) = tracker.advance(2.0)[1]
    assert (event.action, event.outcome) == (Action.PASSED, Outcome.CONFIRMED)
    assert 'too late to read back' in event.detail


@pytest.mark.parametrize(('late_s', 'is_read_back'), [(0.0, True), (0.04, True), (0.06, False)])
def test_a_gate_that_may_close_before_it_is_read_back_is_not_said_to_have_failed(
    late_s: float, is_read_back: bool
) -> None:
    tracker = seen(0.0)
    tracker.decision_received(key(1), True, 0.5)
    tracker.done(tracker.advance(FIRE_S)[0], '')  # type: ignore[arg-type]
    task, _ = tracker.advance(ARRIVAL_S + late_s)
    assert (task is not None) == is_read_back
    assert task is None or task.call is GateCall.CONFIRM_OPEN
    calls, (event,) = run(tracker, 9.0)
    assert [call for _, call, _ in calls] == [GateCall.CONFIRM_REST]
    assert (event.action, event.outcome) == (Action.PASSED, Outcome.CONFIRMED)
    assert not tracker.take_failure()


# The rows of the fail-safe table: verdict late, duplicate or out of order.


def outcome_of(
    seen_s: float, verdicts: list[tuple[float, bool]], late_s: float = 0.0
) -> tuple[Action, Cause]:
    """
    Let one part, exposed at 0, come to its end with these verdicts at these times.

    """
    tracker = PartTracker(SETTINGS)
    events: list[SortRecord] = []
    steps = [(seen_s, None), *verdicts]
    for now, passes in sorted(steps, key=lambda step: step[0]):
        # What is due strictly before happens before.
        events += run(tracker, math.nextafter(now, -math.inf), late_s)[1]
        if passes is None:
            tracker.part_seen(key(1), 0.0, now)
        else:
            tracker.decision_received(key(1), passes, now)
    events += run(tracker, 9.0, late_s)[1]
    assert len(events) == 1
    return events[0].action, events[0].cause


PASSED = (Action.PASSED, Cause.DECISION)
REJECTED = (Action.REJECTED, Cause.DECISION)
LATE = (Action.REJECTED, Cause.LATE_DECISION)
NONE = (Action.REJECTED, Cause.NO_DECISION)
BEFORE_FIRING = [0.1, 0.5, FIRE_S]
AFTER_FIRING = [math.nextafter(FIRE_S, 1.0), 0.9, 1.0, 1.09]
TIMES = [*BEFORE_FIRING, *AFTER_FIRING]


@pytest.mark.parametrize('late_s', [0.0, 0.02])
@pytest.mark.parametrize('seen_s', TIMES)
def test_row_one_verdict_at_any_time(seen_s: float, late_s: float) -> None:
    assert outcome_of(seen_s, [], late_s) == NONE
    for decided_s in TIMES:
        is_late = decided_s > FIRE_S or seen_s > FIRE_S
        passed = outcome_of(seen_s, [(decided_s, True)], late_s)
        assert passed == (LATE if is_late else PASSED)
        rejected = outcome_of(seen_s, [(decided_s, False)], late_s)
        assert rejected == (LATE if is_late else REJECTED)


@pytest.mark.parametrize('first_s', TIMES)
def test_row_first_verdict_stands_except_that_reject_beats_pass(first_s: float) -> None:
    for second_s in (time_s for time_s in TIMES if time_s > first_s):
        for first in (True, False):
            for second in (True, False):
                got = outcome_of(0.05, [(first_s, first), (second_s, second)])
                if first_s > FIRE_S:
                    expected = LATE
                elif first and (second or second_s > FIRE_S):
                    expected = PASSED
                else:
                    expected = REJECTED
                assert got == expected, (first_s, first, second_s, second)


def test_row_verdict_after_its_time_is_late_even_when_the_thread_is_later() -> None:
    tracker = seen(0.0)
    tracker.decision_received(key(1), True, FIRE_S + 0.001)
    calls, (event,) = run(tracker, 9.0, late_s=0.02)
    assert [call for _, call, _ in calls] == [GateCall.CONFIRM_REST]
    assert event.cause is Cause.LATE_DECISION


def test_row_reject_beats_pass_while_the_gate_has_not_been_told() -> None:
    tracker = seen(0.0)
    tracker.decision_received(key(1), True, 0.5)
    tracker.decision_received(key(1), False, FIRE_S + 0.01)
    assert run(tracker, 9.0, late_s=0.02)[1][0].action is Action.REJECTED


def test_row_late_verdict_is_counted_and_changes_nothing() -> None:
    tracker = seen(0.0)
    _, (event,) = run(tracker, 9.0)
    assert event.cause is Cause.NO_DECISION
    tracker.decision_received(key(1), True, 9.0)
    assert tracker.counts.decisions_late == 1
    assert tracker.next_due() is None


def test_row_verdict_before_its_part_waits() -> None:
    tracker = PartTracker(SETTINGS)
    tracker.decision_received(key(1), True, 0.01)
    for number, first in ((2, True), (3, False)):
        tracker.decision_received(key(number), first, 0.01)
        tracker.decision_received(key(number), not first, 0.02)
    for number, exposure_s in ((1, 0.0), (2, 0.5), (3, 1.0)):
        tracker.part_seen(key(number), exposure_s, exposure_s)
    actions = {event.key[1]: event.action for event in run(tracker, 9.0)[1]}
    assert actions == {1: Action.PASSED, 2: Action.REJECTED, 3: Action.REJECTED}


def test_row_parts_that_come_out_of_order_are_sorted_in_theirs() -> None:
    tracker = PartTracker(SETTINGS)
    for number, exposure_s in ((3, 1.0), (1, 0.0), (2, 0.5)):
        tracker.part_seen(key(number), exposure_s, 1.0 if number == 3 else 0.6)
        tracker.decision_received(key(number), number != 2, 0.7)
    calls, events = run(tracker, 9.0)
    opened = [(now, number) for now, call, number in calls if call is GateCall.OPEN]
    assert opened == [(FIRE_S, 1), (1.0 + FIRE_S, 3)]
    assert [event.key[1] for event in events] == [1, 2, 3]


def test_part_sent_again_is_one_part() -> None:
    tracker = seen(0.0)
    tracker.part_seen(key(1), 0.4, 0.4)
    assert len(run(tracker, 9.0)[1]) == 1
    tracker.part_seen(key(1), 9.0, 9.0)
    assert tracker.next_due() is None
    assert tracker.counts.parts_duplicate == 2


# The row: two parts closer than the gate can tell apart.


@pytest.mark.parametrize('gap_s', [0.0, 0.1, 0.25, 0.299])
@pytest.mark.parametrize('is_swapped', [False, True])
def test_row_two_parts_too_close_are_both_rejected(gap_s: float, is_swapped: bool) -> None:
    tracker = PartTracker(SETTINGS)
    parts = [(1, 0.0), (2, gap_s)]
    for number, exposure_s in reversed(parts) if is_swapped else parts:
        tracker.part_seen(key(number), exposure_s, 0.5)
        tracker.decision_received(key(number), True, 0.5)
    calls, events = run(tracker, 9.0)
    assert {call for _, call, _ in calls} == {GateCall.CONFIRM_REST}
    assert [(e.action, e.cause) for e in events] == [(Action.REJECTED, Cause.TOO_CLOSE)] * 2
    assert f'{gap_s:.3f} s from part' in events[0].detail


def test_row_parts_just_far_enough_are_told_apart() -> None:
    tracker = seen(0.0, 0.3001)
    for number in (1, 2):
        tracker.decision_received(key(number), True, 0.5)
    calls, events = run(tracker, 9.0)
    assert [e.action for e in events] == [Action.PASSED] * 2
    # The second opening takes the place of reading back that the gate rests after the first.
    assert [(call, number) for _, call, number in calls] == [
        (GateCall.OPEN, 1),
        (GateCall.CONFIRM_OPEN, 1),
        (GateCall.OPEN, 2),
        (GateCall.CONFIRM_OPEN, 2),
        (GateCall.CONFIRM_REST, 2),
    ]


def test_late_thread_reads_back_for_one_part_before_it_opens_for_the_next() -> None:
    tracker = seen(0.0, 0.3001)
    tracker.decision_received(key(1), False, 0.5)
    tracker.decision_received(key(2), True, 0.5)
    # Both are due: one at 1.0, the other at 1.15.
    first, _ = tracker.advance(1.16)
    second, _ = tracker.advance(1.16)
    assert first is not None
    assert (first.call, first.key) == (GateCall.CONFIRM_REST, key(1))
    assert second is not None
    assert (second.call, second.key) == (GateCall.OPEN, key(2))


def test_row_chain_of_close_parts_is_rejected_whole() -> None:
    tracker = seen(0.0, 0.2, 0.4, 0.8)
    for number in (1, 2, 3, 4):
        tracker.decision_received(key(number), True, 0.8)
    causes = [event.cause for event in run(tracker, 9.0)[1]]
    assert causes == [Cause.TOO_CLOSE] * 3 + [Cause.DECISION]


def test_row_follower_known_after_firing_has_the_gate_closed_before_its_window() -> None:
    tracker = seen(0.0)
    tracker.decision_received(key(1), True, 0.5)
    calls, _ = run(tracker, 0.86)
    # Its window opens at 1.15; the gate needs the dead time of 0.1 s to be at rest by then.
    tracker.part_seen(key(2), 0.25, 0.87)
    tracker.decision_received(key(2), True, 0.88)
    assert tracker.take_failure() == ''
    more, events = run(tracker, 9.0)
    assert (1.05, GateCall.REST, 1) in more
    assert [call for _, call, _ in calls + more].count(GateCall.OPEN) == 1
    assert [(e.key[1], e.action, e.outcome, e.cause) for e in events] == [
        (1, Action.PASSED, Outcome.CONFIRMED, Cause.TOO_CLOSE),
        (2, Action.REJECTED, Outcome.CONFIRMED, Cause.TOO_CLOSE),
    ]
    assert events[0].detail == 'closed early for part 2 of session'


def test_row_late_thread_closes_the_gate_before_anything_else() -> None:
    tracker = seen(0.0)
    tracker.decision_received(key(1), True, 0.5)
    run(tracker, 0.86)
    tracker.part_seen(key(2), 0.1, 0.87)
    task, _ = tracker.advance(1.01)
    assert task is not None
    assert task.call is GateCall.REST


def test_part_known_long_after_it_passed_is_not_read_back_in_the_window_of_another() -> None:
    tracker = seen(0.0)
    tracker.decision_received(key(1), True, 0.5)
    run(tracker, 0.95)
    tracker.part_seen(key(2), -0.5, 0.96)
    assert tracker.take_failure() == ''
    calls, events = run(tracker, 9.0)
    assert (GateCall.CONFIRM_REST, 2) not in [(call, number) for _, call, number in calls]
    assert [(e.key[1], e.action, e.outcome) for e in events] == [
        (2, Action.REJECTED, Outcome.FAILED),
        (1, Action.PASSED, Outcome.CONFIRMED),
    ]
    assert 'open for a later part' in tracker.take_failure()


def test_row_part_that_may_have_ridden_through_an_open_gate_is_not_hushed_up() -> None:
    tracker = seen(0.0)
    tracker.decision_received(key(1), True, 0.5)
    run(tracker, 0.95)
    tracker.part_seen(key(2), 0.1, 0.97)
    assert 'part 2 of session' in tracker.take_failure()
    calls, events = run(tracker, 9.0)
    assert calls[0] == (0.97, GateCall.REST, 1)
    assert [(e.key[1], e.outcome) for e in events] == [
        (1, Outcome.CONFIRMED),
        (2, Outcome.FAILED),
    ]


def test_row_part_known_only_after_it_went_through_is_not_hushed_up() -> None:
    tracker = seen(0.0)
    tracker.decision_received(key(1), True, 0.5)
    run(tracker, 9.0)
    tracker.part_seen(key(2), 0.1, 9.0)
    assert 'known too late' in tracker.take_failure()
    assert run(tracker, 10.0)[1][0].outcome is Outcome.FAILED


# Line stop, failures, bounds.


def test_row_line_stop_rejects_what_has_not_been_fired_for() -> None:
    tracker = seen(0.0, 0.5)
    for number in (1, 2):
        tracker.decision_received(key(number), True, 0.5)
    run(tracker, 0.9)
    tracker.reject_all('stopped')
    events = run(tracker, 9.0)[1]
    assert [(e.action, e.cause, e.detail) for e in events] == [
        (Action.PASSED, Cause.DECISION, ''),
        (Action.REJECTED, Cause.LINE_STOPPED, 'stopped'),
    ]


@pytest.mark.parametrize('failing', [GateCall.OPEN, GateCall.CONFIRM_OPEN, GateCall.CONFIRM_REST])
def test_row_gate_that_does_not_confirm_fails_its_part(failing: GateCall) -> None:
    tracker = seen(0.0)
    tracker.decision_received(key(1), True, 0.5)
    events: list[SortRecord] = []
    while (due := tracker.next_due()) is not None:
        task, new = tracker.advance(due)
        events += new
        if task is not None:
            tracker.done(task, 'no answer' if task.call is failing else '')
    (event,) = events
    assert (event.outcome, event.cause) == (Outcome.FAILED, Cause.GATE_FAILED)
    assert event.detail == 'no answer'
    assert tracker.take_failure() == 'part 1 of session: no answer'
    assert tracker.take_failure() == ''


def test_parts_that_are_let_go_all_have_their_event() -> None:
    tracker = seen(0.0, 0.5)
    tracker.decision_received(key(1), True, 0.5)
    run(tracker, 1.0)
    tracker.abandon(Cause.SHUTDOWN, 'stopped', gate_rests=True)
    assert tracker.next_due() == -math.inf
    events = run(tracker, 1.0)[1]
    assert [(e.key[1], e.action, e.cause) for e in events] == [
        (1, Action.PASSED, Cause.SHUTDOWN),
        (2, Action.REJECTED, Cause.SHUTDOWN),
    ]


@pytest.mark.parametrize('exposure_s', [1e9, math.inf, math.nan])
def test_exposure_in_the_future_is_taken_as_now(exposure_s: float) -> None:
    tracker = PartTracker(SETTINGS)
    tracker.part_seen(key(1), exposure_s, 5.0)
    assert tracker.next_due() == pytest.approx(5.0 + FIRE_S)


def test_more_parts_than_can_be_followed_stop_the_line() -> None:
    tracker = PartTracker(TrackerSettings(1.0, 0.2, 0.05, 0.1, parts=2))
    for number in (1, 2, 3):
        tracker.part_seen(key(number), number * 0.01, 0.1)
    assert '2 parts are on the belt' in tracker.take_failure()
    events = run(tracker, 9.0)[1]
    assert (events[0].key[1], events[0].outcome) == (3, Outcome.FAILED)
    assert len(events) == 3


def test_memory_is_bounded() -> None:
    tracker = PartTracker(TrackerSettings(1.0, 0.2, 0.05, 0.1, parts=5, early_decisions=7))
    for number in range(1, 50):
        tracker.part_seen(key(number), number, number)
        tracker.decision_received(key(1000 + number), True, number)
        run(tracker, number + 0.99)
    assert len(tracker._past) <= 5
    assert len(tracker._early) <= 7
    assert tracker.counts.decisions_unknown >= 42


def test_early_verdict_is_forgotten_after_its_time() -> None:
    tracker = PartTracker(SETTINGS)
    tracker.decision_received(key(1), True, 0.0)
    tracker.part_seen(key(1), 5.0, 5.0)
    assert run(tracker, 9.0)[1][0].cause is Cause.NO_DECISION
    assert tracker.counts.decisions_unknown == 1


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        ({'window_s': 0.0}, 'window_s 0 s, allowed: 0.001 to 60 s'),
        ({'window_s': math.nan}, 'window_s nan'),
        ({'actuation_s': -0.1}, 'actuation_s -0.1 s, allowed: 0 to 60 s'),
        ({'dead_time_s': 0.04}, 'dead_time_s 0.04 s, allowed: 0.05 to 60 s'),
        ({'actuation_s': 0.0, 'dead_time_s': 0.0}, 'dead_time_s 0 s, allowed: 0.005 to 60 s'),
        ({'travel_time_s': 0.149}, 'travel_time_s 0.149 s, allowed: 0.15 to 3600 s'),
        ({'travel_time_s': math.inf}, 'travel_time_s inf'),
        ({'early_decision_age_s': 0.0}, 'early_decision_age_s 0 s'),
        ({'parts': 0}, 'parts 0, allowed: 1 or more'),
        ({'early_decisions': 0}, 'early_decisions 0, allowed: 1 or more'),
    ],
)
def test_settings_out_of_range(options: dict[str, float], words: str) -> None:
    good = {'travel_time_s': 1.0, 'window_s': 0.2, 'actuation_s': 0.05, 'dead_time_s': 0.1}
    with pytest.raises(SettingError) as refusal:
        TrackerSettings(**{**good, **options})  # type: ignore[arg-type]
    assert words in str(refusal.value)


def test_travel_time() -> None:
    assert travel_time_s(0.6, 0.3) == 2.0
    for distance_m, speed_mps in ((0.0, 1.0), (1.0, 0.0), (math.inf, 1.0), (1.0, math.nan)):
        with pytest.raises(SettingError, match='allowed: above 0'):
            travel_time_s(distance_m, speed_mps)


# A silent decider


def undecided(tracker, number, exposure_s):
    """
    Let a part pass without a decision, the tracker being asked in time.

    """
    tracker.part_seen(('run', number), exposure_s, exposure_s)
    while (due_s := tracker.next_due()) is not None:
        tracker.advance(due_s)


def silent_tracker(**settings):
    return PartTracker(
        TrackerSettings(travel_time_s=1.0, window_s=0.2, undecided_to_stop=3, **settings)
    )


def test_parts_in_a_row_without_a_decision_are_a_failure_once():
    tracker = silent_tracker(decider_start_s=0.0)
    failures = []
    for number in range(7):
        undecided(tracker, number, 10.0 + 5 * number)
        failures.append(tracker.take_failure())
    assert [bool(failure) for failure in failures] == [False, False, True] * 2 + [False]
    assert failures[2] == 'no decision came for 3 parts in a row: is the decider running?'


def test_a_decision_begins_the_row_anew():
    tracker = silent_tracker(decider_start_s=0.0)
    for number in range(9):
        if number % 3 == 2:
            tracker.decision_received(('run', number), False, 10.0 + 5 * number)
        undecided(tracker, number, 10.0 + 5 * number)
    assert tracker.take_failure() == ''


def test_a_decider_that_starts_is_given_time_and_one_that_worked_is_not():
    tracker = silent_tracker(decider_start_s=60.0)
    for number in range(9):
        undecided(tracker, number, 10.0 + 5 * number)
    assert tracker.take_failure() == ''
    tracker.decision_received(('run', 9), True, 55.0)
    undecided(tracker, 9, 55.0)
    for number in range(10, 13):
        assert tracker.take_failure() == ''
        undecided(tracker, number, 10.0 + 5 * number)
    assert 'no decision came' in tracker.take_failure()


def test_a_sorter_that_was_held_up_does_not_blame_the_decider():
    tracker = silent_tracker(decider_start_s=0.0)
    for number in range(5):
        exposure_s = 10.0 + 5 * number
        tracker.part_seen(('run', number), exposure_s, exposure_s)
        # Too late to move the gate, and perhaps before the decision was read.
        tracker.advance(exposure_s + 2.0)
    for number in range(200, 205):
        # Known too late for any decision.
        tracker.part_seen(('run', number), 100.0 + number, 102.0 + number)
        tracker.advance(110.0 + number)
    assert tracker.take_failure() == ''
