# SPDX-License-Identifier: Apache-2.0
"""
A belt with an encoder: parts are sorted where they are, however the belt moves.

"""

from __future__ import annotations

from dataclasses import dataclass, field
import math
import random

import pytest

from anomaly_inspection.capture.simulated_belt import SimulatedBelt, SimulatedBeltSettings
from anomaly_inspection.errors import SettingError
from anomaly_inspection.sorting.encoder_belt import BeltSettings, EncoderBelt
from anomaly_inspection.sorting.part_tracker import PartTracker
from anomaly_inspection.sorting.simulated_gate import SimulatedGate
from anomaly_inspection.sorting.sort_record import Action, Cause, Outcome, SortRecord
from anomaly_inspection.sorting.sorter import Sorter
from anomaly_inspection.sorting.stop_cause import StopCause
from anomaly_inspection.sorting.tracker_settings import TrackerSettings

SPEED_MPS, TOP_MPS = 0.5, 0.75
TIMES = TrackerSettings(travel_time_s=0.8, window_s=0.12, actuation_s=0.02, dead_time_s=0.03)
WINDOW_M = TIMES.window_s * SPEED_MPS
BELT = BeltSettings(
    distance_m=0.4,
    speed_mps=SPEED_MPS,
    top_speed_mps=TOP_MPS,
    window_m=WINDOW_M,
    closest_m=WINDOW_M + TIMES.dead_time_s * TOP_MPS,
)
TICK_S, SAMPLE_S = 0.001, 0.01


@dataclass
class Run:
    """
    A sorter, a simulated gate and a belt, in a time of their own.

    """

    speed_of: object
    lateness_s: float = 0.0
    rests_in_pass: bool = False
    now: float = 0.0
    position_m: float = 0.0
    events: list[SortRecord] = field(default_factory=list)
    # By part: whether the gate was open when the middle of the part was at it.
    was_open: dict[int, bool] = field(default_factory=dict)
    # By part, metres: how far the part was from the place where its window should begin.
    fired_off_m: dict[int, float] = field(default_factory=dict)
    encoder_error: object = None

    def __post_init__(self) -> None:
        times = TrackerSettings(
            **{**vars(TIMES), 'gate_rests_in_pass': self.rests_in_pass},
        )
        self.gate = SimulatedGate(lambda: self.now, actuation_s=times.actuation_s)
        self.gate.connect()
        self.belt = EncoderBelt(BELT)
        self.sorter = Sorter(PartTracker(times, self.belt), self.gate)
        self._places: dict[int, float] = {}
        self._sample_due_s = 0.0
        self._was_gate_open = False

    def expose(self, number: int, *, passes: bool | None) -> None:
        key = ('belt', number)
        self.sorter.part_seen(key, self.now, self.now)
        if passes is not None:
            self.sorter.decision_received(key, passes, self.now)
        self._places[number] = self.position_m + BELT.distance_m

    def tick(self) -> None:
        self.now += TICK_S
        self.position_m += self.speed_of(self.now) * TICK_S
        if self.now >= self._sample_due_s:
            self._sample_due_s += SAMPLE_S
            said = self.position_m
            if self.encoder_error is not None:
                said = self.encoder_error(self.now, said)
            if said is not None:
                self.sorter.belt_moved(said, self.now, self.now)
        while (due := self.sorter.next_due()) is not None and due + self.lateness_s <= self.now:
            self.events += self.sorter.step(self.now)
        is_open = self.gate.is_open
        for number, place_m in self._places.items():
            if number not in self.was_open and self.position_m >= place_m:
                self.was_open[number] = is_open
        if is_open and not self._was_gate_open and self._places:
            begin = {n: place - WINDOW_M / 2 for n, place in self._places.items()}
            nearest = min(begin, key=lambda n: abs(begin[n] - self.position_m))
            self.fired_off_m[nearest] = self.position_m - begin[nearest]
        self._was_gate_open = is_open

    def until(self, end_s: float) -> None:
        while self.now < end_s:
            self.tick()


def wandering(seed: int):
    """
    Give the speed of a belt that wanders, creeps, stands and runs back.

    """
    belt = SimulatedBelt(SimulatedBeltSettings(SPEED_MPS, seed=seed))
    return lambda now: (belt.position_at(now) - belt.position_at(now - TICK_S)) / TICK_S


def feed(run: Run, draw: random.Random, parts: int, closest_m: float) -> dict[int, bool]:
    """
    Put parts on the belt; only while it moves does a part come to the camera.

    """
    verdicts: dict[int, bool] = {}
    due_m = run.position_m + 0.05
    run.until(0.3)
    while len(verdicts) < parts:
        if run.position_m >= due_m:
            number = len(verdicts) + 1
            verdicts[number] = draw.random() < 0.6
            run.expose(number, passes=verdicts[number])
            due_m = run.position_m + closest_m + draw.expovariate(1 / 0.08)
        run.tick()
    while len(run.events) < parts and run.now < 58.0:
        run.tick()
    return verdicts


@pytest.mark.parametrize('rests_in_pass', [False, True])
@pytest.mark.parametrize('lateness_s', [0.0, 0.004])
@pytest.mark.parametrize('seed', range(5))
def test_every_part_is_sorted_as_decided_however_the_belt_moves(seed, lateness_s, rests_in_pass):
    run = Run(wandering(seed), lateness_s, rests_in_pass)
    verdicts = feed(run, random.Random(seed), 40, BELT.closest_m + 0.004)
    assert not run.sorter.line_stop.is_active, run.sorter.line_stop.reason
    assert sorted(event.key[1] for event in run.events) == sorted(verdicts)
    for event in run.events:
        assert (event.outcome, event.cause) == (Outcome.CONFIRMED, Cause.DECISION), event
        passed = event.action is Action.PASSED
        assert passed == verdicts[event.key[1]], event
    opens = {number for number, is_open in run.was_open.items() if is_open}
    assert opens == {number for number, passes in verdicts.items() if passes != rests_in_pass}


def steady(_now: float) -> float:
    return SPEED_MPS


def test_the_gate_waits_with_a_part_on_a_standing_belt_and_follows_it_when_it_moves_again():
    # It stands just when the part is in the middle of the open gate.
    stands_from_s = 0.3 + BELT.distance_m / SPEED_MPS
    run = Run(lambda now: 0.0 if stands_from_s <= now < stands_from_s + 1.5 else SPEED_MPS)
    run.until(0.3)
    run.expose(1, passes=True)
    run.until(stands_from_s + 1.4)
    assert run.gate.is_open
    assert not run.events
    # Nothing holds the gate open when the sorter is gone.
    longest_s = max(action.duration_s for action in run.gate.actions if action.name == 'open')
    assert longest_s <= TIMES.window_s + 1e-9
    run.until(stands_from_s + 3.0)
    (event,) = run.events
    assert (event.action, event.outcome) == (Action.PASSED, Outcome.CONFIRMED)
    assert not run.gate.is_open


def test_a_part_that_comes_back_under_the_gate_finds_it_at_rest():
    def speed_of(now):
        # Through the gate, back by 40 mm, and on.
        return -0.4 if 1.4 <= now < 1.5 else SPEED_MPS

    run = Run(speed_of)
    run.until(0.3)
    run.expose(1, passes=True)
    run.until(1.35)
    assert run.events[0].action is Action.PASSED
    before = len(run.gate.actions)
    run.until(2.5)
    assert [action.name for action in list(run.gate.actions)[before:]] == []
    assert not run.sorter.line_stop.is_active


def test_parts_too_close_on_the_belt_are_both_rejected_however_slow_it_is():
    run = Run(lambda now: 0.1)
    run.until(0.5)
    run.expose(1, passes=True)
    # More than a second, and less than the gate can tell apart.
    run.until(0.5 + 0.9 * BELT.closest_m / 0.1)
    run.expose(2, passes=True)
    run.until(10.0)
    assert {event.cause for event in run.events} == {Cause.TOO_CLOSE}
    assert 'm apart' in run.events[0].detail
    assert not run.was_open[1]
    assert not run.was_open[2]


def silent_from(start_s):
    return lambda now, said: None if now >= start_s else said


def frozen_from(start_s):
    kept: list[float] = []

    def say(now, said):
        if now >= start_s:
            kept[:] = kept or [said]
            return kept[0]
        return said

    return say


FAULTS = {
    'silent': (silent_from(0.9), 'the encoder has been silent for'),
    'jump': (lambda now, said: said + (0.2 if now >= 0.9 else 0.0), 'the encoder jumped by 0.2'),
    'not a number': (lambda now, said: math.nan if now >= 0.9 else said, 'the belt is at nan m'),
    'too fast': (
        lambda now, said: said + 0.5 * max(0.0, now - 0.7),
        'the belt does at most 0.75 m/s',
    ),
    'back': (lambda now, said: said - 0.6 * max(0.0, now - 0.9) * 2, 'the belt ran back by'),
}


@pytest.mark.parametrize('fault', FAULTS)
def test_an_encoder_that_cannot_be_trusted_stops_the_line_and_every_part_is_rejected(fault):
    error, words = FAULTS[fault]
    run = Run(steady, encoder_error=error)
    run.until(0.3)
    run.expose(1, passes=True)
    # A bad part behind it, one that the gate is open for when the belt is misjudged.
    run.until(0.6)
    run.expose(2, passes=False)
    run.until(2.5)
    stop = run.sorter.line_stop
    assert stop.is_active
    assert stop.cause is StopCause.ENCODER
    assert words in stop.reason
    assert [event.action for event in run.events] == [Action.REJECTED, Action.REJECTED]
    assert {event.cause for event in run.events} == {Cause.LINE_STOPPED}
    assert not any(run.was_open.values())


def test_stamps_that_a_busy_computer_sets_late_stop_nothing():
    draw = random.Random(1)
    run = Run(steady)
    run.until(0.3)
    run.expose(1, passes=True)
    moved = run.sorter.belt_moved

    def late(position_m, at_s, now):
        late_s = 0.02 if draw.random() < 0.1 else 0.0
        moved(position_m, at_s + late_s, now + late_s)

    run.sorter.belt_moved = late
    run.until(2.0)
    assert not run.sorter.line_stop.is_active
    assert run.was_open[1]


def test_the_gate_closes_at_once_when_the_encoder_falls_silent_in_a_window():
    arrival_s = 0.3 + BELT.distance_m / SPEED_MPS
    run = Run(steady, encoder_error=silent_from(arrival_s - 0.05))
    run.until(0.3)
    run.expose(1, passes=True)
    run.until(arrival_s + 0.06)
    assert run.sorter.line_stop.is_active
    assert run.gate.actions[-1].name == 'rest'


def test_a_part_that_comes_while_the_encoder_stands_contradicts_it():
    run = Run(steady, encoder_error=frozen_from(0.6))
    run.until(0.5)
    run.expose(1, passes=True)
    run.until(0.9)
    run.expose(2, passes=True)
    run.until(1.05)
    assert run.sorter.line_stop.cause is StopCause.ENCODER
    assert 'a part came to the camera, but the encoder moved by 0.0 mm' in (
        run.sorter.line_stop.reason
    )
    run.until(3.0)
    assert not any(run.was_open.values())


def test_a_part_that_comes_as_soon_as_a_standing_belt_moves_again_is_no_contradiction():
    run = Run(lambda now: 0.0 if 0.5 <= now < 1.5 else SPEED_MPS)
    # The camera sees it before the encoder has said anything of the move.
    run.until(1.5 + TICK_S)
    run.expose(1, passes=True)
    run.until(3.5)
    assert not run.sorter.line_stop.is_active, run.sorter.line_stop.reason
    assert [event.action for event in run.events] == [Action.PASSED]
    assert run.was_open[1]


def test_a_reset_is_refused_while_the_encoder_is_silent_and_then_sorts_new_parts():
    run = Run(steady, encoder_error=lambda now, said: None if 0.9 <= now < 2.0 else said)
    run.until(0.5)
    run.expose(1, passes=True)
    run.until(1.5)
    assert 'the cause lasts: the encoder has been silent' in run.sorter.reset(run.now)
    run.until(2.5)
    assert run.sorter.reset(run.now) == ''
    run.expose(2, passes=True)
    run.until(4.0)
    assert [(event.key[1], event.action) for event in run.events] == [
        (1, Action.REJECTED),
        (2, Action.PASSED),
    ]
    assert run.was_open[2]
    assert not run.was_open[1]


def test_a_part_is_rejected_and_the_line_stops_while_no_encoder_was_heard():
    run = Run(steady, encoder_error=lambda now, said: None)
    run.until(0.5)
    run.expose(1, passes=True)
    # Announced again, as a part with several frames is.
    run.expose(1, passes=True)
    run.until(2.0)
    (event,) = run.events
    assert (event.action, event.outcome) == (Action.REJECTED, Outcome.FAILED)
    assert run.sorter.line_stop.cause is StopCause.ENCODER


def test_an_exposure_after_the_newest_sample_is_placed_by_the_next_one():
    belt = EncoderBelt(BELT)
    for index in range(10):
        belt.moved(0.005 * index, 0.01 * index)
    tracker = PartTracker(TIMES, belt)
    tracker.part_seen(('belt', 1), 0.098, 0.099)
    # The belt stood at once: it is not where it would have been at its old speed.
    tracker.belt_moved(0.045, 0.1)
    for index in range(100):
        tracker.belt_moved(0.045 + 0.005 * index, 0.11 + 0.01 * index)
    # 0.4 m further, less half a window, at 0.5 m/s.
    expected_s = 0.11 + (BELT.distance_m - WINDOW_M / 2) / SPEED_MPS - TIMES.actuation_s
    assert tracker.next_due() == pytest.approx(expected_s, abs=0.001)


@pytest.mark.parametrize(
    ('name', 'value', 'words'),
    [
        ('distance_m', 0.01, 'distance to the gate 0.01 m, allowed'),
        ('top_speed_mps', 0.4, 'top speed of the belt 0.4 m/s, allowed: 0.5 to 20 m/s'),
        ('silence_s', math.nan, 'silence of the encoder nan s, allowed'),
        ('run_back_m', -1.0, 'run back of the belt -1 m, allowed: 0 to 10 m'),
    ],
)
def test_settings_out_of_range_are_refused_with_the_range(name, value, words):
    with pytest.raises(SettingError, match=words):
        BeltSettings(**{**vars(BELT), name: value})


def test_memory_does_not_grow_and_old_positions_are_unknown():
    belt = EncoderBelt(BELT)
    for index in range(100_000):
        belt.moved(0.0005 * index, 0.001 * index)
    assert len(belt._times) <= 40_000
    assert math.isnan(belt.position_at(1.0))
    assert belt.position_at(99.0) == pytest.approx(49.5)
