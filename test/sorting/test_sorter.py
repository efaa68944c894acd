# SPDX-License-Identifier: Apache-2.0
"""
Sorter: no part rides through an open gate without its PASS, and a gate that fails stops the line.

"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise, product
import math
import threading

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from anomaly_inspection.errors import GateError
from anomaly_inspection.sorting.part_tracker import PartTracker
from anomaly_inspection.sorting.simulated_gate import GateTrouble, SimulatedGate
from anomaly_inspection.sorting.sort_record import Action, Cause, Outcome, SortRecord
from anomaly_inspection.sorting.sorter import LineStop, Sorter
from anomaly_inspection.sorting.stop_cause import StopCause
from anomaly_inspection.sorting.tracker_settings import TrackerSettings

SETTINGS = TrackerSettings(travel_time_s=1.0, window_s=0.2, actuation_s=0.05, dead_time_s=0.1)
RESTS_IN_PASS = replace(SETTINGS, gate_rests_in_pass=True)
EITHER_REST = pytest.mark.parametrize('belt', [SETTINGS, RESTS_IN_PASS], ids=['reject', 'pass'])


class Bench:
    """
    A sorter with a simulated gate in a time of its own.

    """

    def __init__(
        self, lateness_s: list[float] | None = None, belt: TrackerSettings = SETTINGS
    ) -> None:
        self.now = 0.0
        self.lateness_s = lateness_s or [0.0]
        self.steps = 0
        self.gate = SimulatedGate(lambda: self.now, actuation_s=SETTINGS.actuation_s)
        self.gate.connect()
        self.gate.actions.clear()
        self.belt = belt
        self.tracker = PartTracker(belt)
        self.sorter = Sorter(self.tracker, self.gate)
        self.events: list[SortRecord] = []

    def until(self, end_s: float) -> None:
        """
        Let the gate's thread work until then, each step so much late.

        """
        while (due := self.sorter.next_due()) is not None and due <= end_s:
            late_s = self.lateness_s[self.steps % len(self.lateness_s)]
            self.now = max(self.now, min(due + late_s, end_s))
            self.steps += 1
            self.events += self.sorter.step(self.now)
        self.now = max(self.now, end_s)

    def part(self, number: int, passes: bool | None = True) -> None:
        """
        Expose a part now, and decide it.

        """
        self.sorter.part_seen(('session', number), self.now, self.now)
        if passes is not None:
            self.sorter.decision_received(('session', number), passes, self.now)

    def openings(self) -> list[tuple[float, float]]:
        """
        Give the intervals in which the gate stood open, from what it was told.

        """
        intervals: list[tuple[float, float]] = []
        for action in self.gate.actions:
            moved_s = action.time_s + SETTINGS.actuation_s
            if intervals and intervals[-1][1] > moved_s:
                intervals[-1] = (intervals[-1][0], moved_s)
            if action.name == 'open':
                intervals.append((moved_s, moved_s + action.duration_s))
        return intervals


def test_line_stop_is_off_at_first() -> None:
    assert Bench().sorter.line_stop == LineStop(False, '', pytest.approx(math.nan, nan_ok=True))


def test_parts_are_sorted_as_decided() -> None:
    bench = Bench()
    for number in range(1, 21):
        bench.until(float(number))
        bench.part(number, passes=number % 3 != 0)
    bench.until(30.0)
    assert {event.key[1]: event.action is Action.PASSED for event in bench.events} == {
        number: number % 3 != 0 for number in range(1, 21)
    }
    assert {event.outcome for event in bench.events} == {Outcome.CONFIRMED}
    assert {event.cause for event in bench.events} == {Cause.DECISION}
    assert bench.openings() == [
        (pytest.approx(number + 0.9), pytest.approx(number + 1.1))
        for number in range(1, 21)
        if number % 3
    ]
    assert not bench.sorter.line_stop.is_active


def stood_open(openings: list[tuple[float, float]], begin_s: float, end_s: float) -> bool:
    """
    Whether the gate stood open from beginning to end.

    """
    covering = [span for span in openings if span[1] > begin_s and span[0] < end_s]
    return (
        bool(covering)
        and covering[0][0] <= begin_s + 1e-6
        and covering[-1][1] >= end_s - 1e-6
        and all(before[1] >= after[0] - 1e-6 for before, after in pairwise(covering))
    )


def check_belt(
    bench: Bench,
    arrivals_s: dict[int, float],
    may_pass: dict[int, bool],
    must_pass: dict[int, bool],
) -> None:
    """
    Check what must hold whatever happened.

    """
    events = {event.key[1]: event for event in bench.events}
    assert len(events) == len(bench.events), 'a part has two events'
    assert events.keys() == arrivals_s.keys(), 'a part has no event'
    half_s = SETTINGS.window_s / 2
    for number, arrival_s in arrivals_s.items():
        event = events[number]
        met = any(
            begin_s < arrival_s + half_s - 1e-6 and end_s > arrival_s - half_s + 1e-6
            for begin_s, end_s in bench.openings()
        )
        if event.action is Action.PASSED:
            assert may_pass[number] or (
                bench.belt.gate_rests_in_pass and event.outcome is Outcome.FAILED
            ), 'passed without its verdict'
        elif met != bench.belt.gate_rests_in_pass:
            assert event.outcome is Outcome.FAILED, 'went to the good side, hushed up'
        if must_pass[number]:
            assert event.action is Action.PASSED, event
            assert event.cause is Cause.DECISION
            assert met != bench.belt.gate_rests_in_pass
        if bench.belt.gate_rests_in_pass:
            is_out = stood_open(bench.openings(), arrival_s - half_s / 2, arrival_s + half_s)
            assert is_out or may_pass[number] or event.outcome is Outcome.FAILED, 'hushed up'
            continue
        if event.action is Action.PASSED and event.cause is Cause.DECISION:
            assert any(
                begin_s <= arrival_s - half_s / 2 + 1e-6 and end_s >= arrival_s + half_s - 1e-6
                for begin_s, end_s in bench.openings()
            ), 'not open for the part it was to pass'
    has_failed = any(event.outcome is Outcome.FAILED for event in bench.events)
    assert bench.sorter.line_stop.is_active == has_failed


def let_come(
    bench: Bench, parts: list[tuple[float, float, float | None, bool]], end_s: float
) -> None:
    """
    Let parts come: (exposure, when its message, when its verdict or None, verdict) each.

    """
    messages: list[tuple[float, int, bool]] = []
    for number, (_, seen_s, decided_s, _) in enumerate(parts, 1):
        messages.append((seen_s, number, False))
        if decided_s is not None:
            messages.append((decided_s, number, True))
    for now, number, is_verdict in sorted(messages):
        bench.until(now)
        exposure_s, _, _, passes = parts[number - 1]
        if is_verdict:
            bench.sorter.decision_received(('session', number), passes, bench.now)
        else:
            bench.sorter.part_seen(('session', number), exposure_s, bench.now)
    bench.until(end_s)


def check_course(parts: list[tuple[float, float, float | None, bool]], bench: Bench) -> None:
    arrivals_s = {n: part[0] + SETTINGS.travel_time_s for n, part in enumerate(parts, 1)}
    may_pass, must_pass = {}, {}
    for number, (exposure_s, seen_s, decided_s, passes) in enumerate(parts, 1):
        fire_s = exposure_s + 0.85
        is_known = seen_s <= fire_s and decided_s is not None and decided_s <= fire_s
        is_alone = all(
            abs(exposure_s - other[0]) >= SETTINGS.closest_s
            for n, other in enumerate(parts, 1)
            if n != number
        )
        may_pass[number] = passes and is_known
        must_pass[number] = (
            may_pass[number]
            and is_alone
            and max(bench.lateness_s) == 0.0
            and not bench.sorter.line_stop.is_active
        )
        if bench.belt.gate_rests_in_pass and seen_s <= fire_s and not may_pass[number]:
            # Known in time and the thread on time: nothing may excuse it.
            assert max(bench.lateness_s) > 0.05 or stood_open(
                bench.openings(), arrivals_s[number] - 0.05, arrivals_s[number] + 0.1
            )
    check_belt(bench, arrivals_s, may_pass, must_pass)


SEEN_AFTER_S = [0.01, 0.84, 0.86, 0.97, 1.3]
DECIDED_AFTER_S = [0.005, 0.3, 0.86, 1.3, None]


@EITHER_REST
@pytest.mark.parametrize('gap_s', [0.0, 0.1, 0.25, 0.301, 0.9])
def test_two_parts_for_every_order_of_their_messages(gap_s: float, belt: TrackerSettings) -> None:
    ways = list(product(SEEN_AFTER_S, DECIDED_AFTER_S, [True, False]))
    for first, second in product(ways, ways):
        parts = [
            (e, e + seen, None if decided is None else e + decided, passes)
            for e, (seen, decided, passes) in ((1.0, first), (1.0 + gap_s, second))
        ]
        bench = Bench(belt=belt)
        let_come(bench, parts, 9.0)
        check_course(parts, bench)


@EITHER_REST
@settings(derandomize=True, database=None, deadline=None, max_examples=300)
@given(
    st.lists(
        st.tuples(
            st.floats(0.0, 0.8),
            st.floats(0.0, 1.4),
            st.one_of(st.none(), st.floats(0.0, 1.4)),
            st.booleans(),
        ),
        min_size=1,
        max_size=8,
    ),
    st.lists(st.sampled_from([0.0, 0.0, 0.001, 0.03, 0.12, 0.4]), min_size=1, max_size=7),
)
def test_many_parts_with_a_thread_that_is_late(
    belt: TrackerSettings,
    gaps: list[tuple[float, float, float | None, bool]],
    lateness_s: list[float],
) -> None:
    parts = []
    exposure_s = 0.0
    for gap_s, seen, decided, passes in gaps:
        exposure_s += gap_s
        decided_s = None if decided is None else exposure_s + decided
        parts.append((exposure_s, exposure_s + seen, decided_s, passes))
    bench = Bench(lateness_s, belt)
    let_come(bench, parts, 30.0)
    check_course(parts, bench)


@pytest.mark.parametrize(('late_s', 'is_safe'), [(0.0, True), (0.03, True), (0.12, False)])
def test_gate_that_is_closed_late_for_a_close_part_fails_that_part(
    late_s: float, is_safe: bool
) -> None:
    bench = Bench()
    bench.part(1)
    # Its window begins at 1.09 s: the gate, open until 1.1 s, must be told to rest at 0.99 s.
    bench.until(0.95)
    bench.sorter.part_seen(('session', 2), 0.19, bench.now)
    bench.lateness_s = [late_s]
    bench.until(9.0)
    first, second = bench.events
    assert (first.action, first.outcome) == (Action.PASSED, Outcome.CONFIRMED)
    assert second.action is Action.REJECTED
    assert (second.outcome is Outcome.CONFIRMED) == is_safe, second.detail
    assert bench.sorter.line_stop.is_active != is_safe


def test_part_that_is_announced_after_the_gate_was_closed_late_for_another_fails() -> None:
    bench = Bench()
    bench.part(1)
    bench.until(0.86)
    bench.sorter.part_seen(('session', 2), 0.10, bench.now)
    bench.lateness_s = [0.3]
    # Told to rest at once, but only now: it has stood open until 1.1 s, its own end.
    bench.until(1.3)
    bench.sorter.part_seen(('session', 3), 0.15, bench.now)
    bench.until(9.0)
    third = bench.events[-1]
    assert third.key == ('session', 3)
    assert (third.action, third.outcome) == (Action.REJECTED, Outcome.FAILED), third.detail


# The row: the gate does not confirm.


@pytest.mark.parametrize('trouble', [GateTrouble.STUCK, GateTrouble.SILENT, GateTrouble.SLOW])
def test_row_gate_does_not_confirm(trouble: GateTrouble) -> None:
    bench = Bench()
    bench.part(1)
    bench.until(0.6)
    bench.part(2)
    bench.gate.trouble = trouble
    bench.until(1.5)
    bench.part(3)
    bench.until(9.0)
    first, second, third = bench.events
    assert (first.outcome, first.cause) == (Outcome.FAILED, Cause.GATE_FAILED)
    assert first.detail
    for event in (second, third):
        assert (event.action, event.cause) == (Action.REJECTED, Cause.LINE_STOPPED)
    stop = bench.sorter.line_stop
    assert stop.is_active
    assert stop.reason == f'part 1 of session: {first.detail}'
    assert 0.85 <= stop.since_s <= 1.0
    if trouble is not GateTrouble.SILENT:
        assert bench.gate.actions[-1].name == 'rest'


def test_row_gate_that_stays_open_is_found_before_the_next_part() -> None:
    bench = Bench()
    bench.part(1)
    bench.until(0.5)
    bench.part(2, passes=False)
    bench.until(1.0)
    bench.gate.trouble = GateTrouble.STUCK
    bench.until(1.21)
    assert bench.sorter.line_stop.reason == (
        'part 1 of session: the gate is open, it should be at rest'
    )


def test_reset_is_refused_while_the_gate_still_fails() -> None:
    bench = Bench()
    bench.gate.trouble = GateTrouble.SILENT
    bench.part(1)
    bench.until(2.0)
    assert bench.sorter.reset(bench.now) == 'the gate still fails: the gate does not answer'
    assert bench.sorter.line_stop.is_active
    bench.gate.trouble = GateTrouble.NONE
    assert bench.sorter.reset(bench.now) == ''
    assert not bench.sorter.line_stop.is_active
    bench.part(2)
    bench.until(9.0)
    assert [(e.action, e.outcome) for e in bench.events] == [
        (Action.PASSED, Outcome.FAILED),
        (Action.PASSED, Outcome.CONFIRMED),
    ]


def test_reset_is_refused_while_the_gate_stands_open() -> None:
    bench = Bench()
    bench.part(1)
    bench.until(1.0)
    bench.gate.trouble = GateTrouble.STUCK
    bench.sorter.fault_received(True, 'fault', bench.now)
    bench.sorter.fault_received(False, '', bench.now)
    assert 'the gate is open, it should be at rest' in bench.sorter.reset(bench.now)
    assert bench.sorter.line_stop.is_active


def test_gate_that_is_lost_is_connected_again_by_the_reset() -> None:
    bench = Bench()
    bench.gate.close()
    bench.part(1)
    bench.until(2.0)
    assert 'not connected' in bench.sorter.line_stop.reason
    assert bench.sorter.reset(bench.now) == ''


def test_gate_that_has_failed_is_not_asked_again_before_the_reset() -> None:
    bench = Bench()
    for number in (1, 2, 3):
        bench.part(number)
        bench.until(0.5 * number)
    bench.gate.trouble = GateTrouble.SILENT
    bench.until(1.75)
    assert bench.sorter.line_stop.is_active
    bench.gate.trouble = GateTrouble.NONE
    bench.gate.actions.clear()
    bench.until(9.0)
    assert not bench.gate.actions
    assert [event.outcome for event in bench.events] == [
        Outcome.CONFIRMED,
        Outcome.FAILED,
        Outcome.FAILED,
    ]


# The gate while no part needs it.


@pytest.mark.parametrize('trouble', [GateTrouble.SILENT, GateTrouble.STUCK])
def test_gate_that_is_lost_stops_the_line_before_the_next_part(trouble: GateTrouble) -> None:
    bench = Bench()
    bench.sorter.check_gate(bench.now)
    assert not bench.sorter.line_stop.is_active
    if trouble is GateTrouble.STUCK:
        bench.gate.open(9.0)
        bench.now = 0.1
    bench.gate.trouble = trouble
    bench.sorter.check_gate(bench.now)
    assert bench.sorter.line_stop.is_active
    bench.part(1)
    bench.until(9.0)
    assert [event.action for event in bench.events] == [Action.REJECTED]


def test_gate_is_not_asked_for_rest_in_a_parts_window() -> None:
    bench = Bench()
    bench.part(1)
    for now in (0.86, 0.95, 1.05, 1.15):
        bench.until(now)
        bench.sorter.check_gate(bench.now)
    bench.until(9.0)
    assert [event.outcome for event in bench.events] == [Outcome.CONFIRMED]


# A gate that rests in PASS.


def test_gate_that_rests_in_pass_is_told_for_every_part_but_those_with_a_fresh_pass() -> None:
    bench = Bench(belt=RESTS_IN_PASS)
    for number, passes in enumerate([True, False, None, True], 1):
        bench.part(number, passes)
        bench.until(float(number))
    bench.until(9.0)
    assert [(event.action, event.cause) for event in bench.events] == [
        (Action.PASSED, Cause.DECISION),
        (Action.REJECTED, Cause.DECISION),
        (Action.REJECTED, Cause.NO_DECISION),
        (Action.PASSED, Cause.DECISION),
    ]
    assert bench.openings() == [(pytest.approx(t), pytest.approx(t + 0.2)) for t in (1.9, 2.9)]
    assert {event.outcome for event in bench.events} == {Outcome.CONFIRMED}


def test_parts_that_are_too_close_are_sorted_out_together() -> None:
    bench = Bench(belt=RESTS_IN_PASS)
    bench.part(1)
    bench.until(0.1)
    bench.part(2)
    bench.until(9.0)
    assert [(event.action, event.cause) for event in bench.events] == [
        (Action.REJECTED, Cause.TOO_CLOSE)
    ] * 2
    assert stood_open(bench.openings(), 0.9, 1.2)


def test_stopped_line_sorts_out_what_comes_where_the_gate_rests_in_pass() -> None:
    bench = Bench(belt=RESTS_IN_PASS)
    bench.sorter.stop_line('clear the belt', 0.0, StopCause.BELT_UNKNOWN)
    assert bench.sorter.line_stop == LineStop(True, 'clear the belt', 0.0, StopCause.BELT_UNKNOWN)
    bench.part(1)
    bench.until(9.0)
    assert [(event.action, event.cause) for event in bench.events] == [
        (Action.REJECTED, Cause.LINE_STOPPED)
    ]
    assert bench.sorter.reset(bench.now) == ''


def test_parts_that_a_stopped_sorter_leaves_on_the_belt_are_not_hushed_up() -> None:
    bench = Bench(belt=RESTS_IN_PASS)
    for number, passes in ((1, True), (2, False), (3, None)):
        bench.part(number, passes)
        bench.until(bench.now + 0.301)
    events = bench.sorter.flush(bench.now)
    assert [event.outcome for event in events] == [
        Outcome.CONFIRMED,
        Outcome.FAILED,
        Outcome.FAILED,
    ]


def test_gate_that_answers_after_the_arrival_may_have_let_the_part_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench(belt=RESTS_IN_PASS)
    open_gate = bench.gate.open

    def open_late(duration_s: float, told_s: float | None = None) -> None:
        # Told 0.15 s before the arrival, with the gate's own delay.
        bench.now += 0.21
        open_gate(duration_s)

    monkeypatch.setattr(bench.gate, 'open', open_late)
    bench.part(1, passes=False)
    bench.until(9.0)
    (event,) = bench.events
    assert event.outcome is Outcome.FAILED
    assert 'may have passed' in event.detail
    assert bench.sorter.line_stop.is_active


def test_gate_that_fails_in_one_window_fails_every_part_whose_window_it_is() -> None:
    bench = Bench(belt=RESTS_IN_PASS)
    for _ in range(3):
        bench.part(len(bench.tracker._tracks) + 1, passes=False)
        bench.until(bench.now + 0.03)
    bench.until(0.95)
    bench.gate.trouble = GateTrouble.SILENT
    bench.until(9.0)
    assert {event.outcome for event in bench.events} == {Outcome.FAILED}
    assert bench.sorter.line_stop.is_active


# The row: the decider's fault (parts without scores again and again).


def test_row_fault_of_the_decider_stops_the_line_until_reset() -> None:
    bench = Bench()
    bench.part(1)
    bench.until(0.5)
    reason, cause = '3 parts in a row timed out', StopCause.NO_SCORES
    bench.sorter.fault_received(True, reason, bench.now, cause)
    bench.until(0.6)
    bench.part(2)
    assert bench.sorter.line_stop == LineStop(True, reason, 0.5, cause)
    assert bench.sorter.reset(bench.now) == 'the cause lasts: 3 parts in a row timed out'
    bench.sorter.fault_received(False, '', bench.now)
    assert bench.sorter.line_stop.is_active
    assert bench.sorter.reset(bench.now) == ''
    # Those that were on the belt before the reset stay rejected.
    bench.until(1.0)
    bench.part(3)
    bench.until(9.0)
    assert [(e.action, e.cause) for e in bench.events] == [
        (Action.REJECTED, Cause.LINE_STOPPED),
        (Action.REJECTED, Cause.LINE_STOPPED),
        (Action.PASSED, Cause.DECISION),
    ]


def test_part_that_comes_while_the_line_is_stopped_is_rejected() -> None:
    bench = Bench()
    bench.sorter.fault_received(True, 'fault', bench.now)
    bench.part(1)
    bench.until(9.0)
    assert [e.cause for e in bench.events] == [Cause.LINE_STOPPED]
    assert not bench.gate.actions


def test_fault_that_was_not_there_stops_nothing() -> None:
    bench = Bench()
    bench.sorter.fault_received(False, '', 0.0)
    assert not bench.sorter.line_stop.is_active
    assert bench.sorter.reset(0.0) == ''


def test_first_reason_stands() -> None:
    bench = Bench()
    bench.sorter.fault_received(True, 'first', 1.0)
    bench.sorter.fault_received(True, 'second', 2.0)
    assert bench.sorter.line_stop == LineStop(True, 'first', 1.0)


def test_internal_error_stops_the_line_and_loses_no_part(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    bench.part(1)
    bench.part(2, passes=None)

    def break_once(now: float) -> None:
        monkeypatch.undo()
        raise ZeroDivisionError('bug')

    monkeypatch.setattr(bench.tracker, 'advance', break_once)
    bench.until(9.0)
    assert sorted((e.key[1], e.cause) for e in bench.events) == [
        (1, Cause.LINE_STOPPED),
        (2, Cause.LINE_STOPPED),
    ]
    assert "internal error: ZeroDivisionError('bug')" in bench.sorter.line_stop.reason
    assert bench.sorter.line_stop.cause is StopCause.INTERNAL
    assert bench.gate.actions[-1].name == 'rest'
    assert bench.sorter.reset(bench.now) == ''


@pytest.mark.parametrize('does_gate_answer', [True, False])
def test_sorter_that_stops_lets_go_of_every_part(does_gate_answer: bool) -> None:
    bench = Bench()
    bench.part(1)
    bench.until(0.5)
    bench.part(2)
    bench.until(0.95)
    assert bench.gate.is_open
    if not does_gate_answer:
        bench.gate.trouble = GateTrouble.SILENT
    events = bench.sorter.flush(bench.now)
    assert [(e.action, e.cause) for e in events] == [
        (Action.PASSED, Cause.SHUTDOWN),
        (Action.REJECTED, Cause.SHUTDOWN),
    ]
    outcome = Outcome.CONFIRMED if does_gate_answer else Outcome.FAILED
    assert {e.outcome for e in events} == {outcome}
    assert bench.gate.actions[-1].name == ('rest' if does_gate_answer else 'open')
    assert bench.sorter.next_due() is None


# Threads.


class BlockingGate(SimulatedGate):
    """
    A gate that takes its time to acknowledge.

    """

    def __init__(self) -> None:
        super().__init__(lambda: 0.85)
        self.is_asked = threading.Event()
        self.may_answer = threading.Event()

    def open(self, duration_s: float, told_s: float | None = None) -> None:
        """
        Block until it may answer.

        """
        self.is_asked.set()
        if not self.may_answer.wait(10.0):
            raise GateError('the test never let the gate answer')
        super().open(duration_s, told_s)


def test_gate_that_blocks_holds_up_no_part_and_no_verdict() -> None:
    gate = BlockingGate()
    gate.connect()
    sorter = Sorter(PartTracker(SETTINGS), gate)
    sorter.part_seen(('session', 1), 0.0, 0.0)
    sorter.decision_received(('session', 1), True, 0.1)
    stepping = threading.Thread(target=sorter.step, args=(0.85,))
    stepping.start()
    assert gate.is_asked.wait(10.0)
    # All of this would hang if the gate were called under the state lock.
    sorter.part_seen(('session', 2), 0.8, 0.86)
    sorter.decision_received(('session', 2), True, 0.87)
    sorter.fault_received(True, 'fault', 0.88)
    assert sorter.next_due() is not None
    assert sorter.line_stop.is_active
    gate.may_answer.set()
    stepping.join(10.0)
    assert not stepping.is_alive()
    assert gate.actions[-1].name == 'open'


def test_step_that_had_to_wait_for_the_gate_does_nothing_with_its_old_time() -> None:
    bench = Bench()
    bench.part(1)
    results: list[list[SortRecord]] = []
    bench.sorter._gate_lock.acquire()
    stepping = threading.Thread(target=lambda: results.append(bench.sorter.step(0.85)))
    stepping.start()
    stepping.join(0.05)
    assert stepping.is_alive()
    bench.sorter._gate_lock.release()
    stepping.join(10.0)
    assert results == [[]]
    assert not bench.gate.actions
    assert bench.sorter.next_due() == pytest.approx(0.85)
