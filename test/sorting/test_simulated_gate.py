# SPDX-License-Identifier: Apache-2.0
"""
Simulated gate: it rests in REJECT, closes by itself, remembers, and fails on request.

"""

from __future__ import annotations

import math

import pytest

from anomaly_inspection.errors import GateError
from anomaly_inspection.sorting.simulated_gate import GateAction, GateTrouble, SimulatedGate


class Clock:
    """
    A clock that stands until it is set.

    """

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def connected(clock: Clock, actuation_s: float = 0.0) -> SimulatedGate:
    gate = SimulatedGate(clock, actuation_s=actuation_s, slowness_s=0.5)
    gate.connect()
    return gate


def course(gate: SimulatedGate, clock: Clock, times: list[float]) -> list[bool]:
    """
    Say how the gate stands at each of the times.

    """
    stands = []
    for clock.now in times:
        stands.append(gate.is_open)
        gate.confirm(is_open=gate.is_open)
        with pytest.raises(GateError, match='it should be'):
            gate.confirm(is_open=not gate.is_open)
    return stands


def test_gate_rests_until_it_is_told_and_closes_by_itself(clock: Clock) -> None:
    gate = connected(clock)
    assert not gate.is_open
    clock.now = 1.0
    gate.open(0.25)
    assert course(gate, clock, [1.0, 1.2, 1.25, 9.0]) == [True, True, False, False]


def test_gate_moves_after_its_own_delay(clock: Clock) -> None:
    gate = connected(clock, actuation_s=0.125)
    gate.open(1.0)
    assert course(gate, clock, [0.0, 0.125, 1.0, 1.125]) == [False, True, True, False]


def test_rest_ends_the_opening(clock: Clock) -> None:
    gate = connected(clock, actuation_s=0.125)
    gate.open(1.0)
    clock.now = 0.5
    gate.rest()
    assert course(gate, clock, [0.5, 0.625, 0.75]) == [True, False, False]


def test_opening_again_begins_anew(clock: Clock) -> None:
    gate = connected(clock)
    gate.open(1.0)
    clock.now = 0.5
    gate.open(1.0)
    assert course(gate, clock, [1.25, 1.5]) == [True, False]


def test_losing_the_connection_brings_the_gate_to_rest(clock: Clock) -> None:
    gate = connected(clock)
    gate.open(1.0)
    gate.close()
    gate.close()
    assert not gate.is_open
    with pytest.raises(GateError, match='not connected'):
        gate.open(1.0)


@pytest.mark.parametrize('duration_s', [0.0, -1.0, math.nan])
def test_duration_must_be_positive(clock: Clock, duration_s: float) -> None:
    gate = connected(clock)
    with pytest.raises(GateError, match='allowed: above 0'):
        gate.open(duration_s)
    assert not gate.is_open


def test_gate_remembers_what_it_acknowledged(clock: Clock) -> None:
    gate = connected(clock)
    clock.now = 2.0
    gate.open(0.5)
    assert list(gate.actions)[1:] == [GateAction(2.0, 'open', 0.5)]
    assert gate.actions[0].name == 'rest'


@pytest.mark.parametrize('was_open', [False, True])
def test_stuck_gate_acknowledges_and_stays_where_it_is(clock: Clock, was_open: bool) -> None:
    gate = connected(clock)
    if was_open:
        gate.open(1.0)
    gate.trouble = GateTrouble.STUCK
    gate.rest()
    gate.open(0.5)
    clock.now = 5.0
    assert gate.is_open is was_open
    gate.trouble = GateTrouble.NONE
    gate.rest()
    assert not gate.is_open


def test_silent_gate_does_nothing_but_closes_by_itself(clock: Clock) -> None:
    gate = connected(clock)
    gate.open(1.0)
    gate.trouble = GateTrouble.SILENT
    for call in (gate.rest, lambda: gate.open(1.0), lambda: gate.confirm(is_open=True)):
        with pytest.raises(GateError, match='does not answer'):
            call()
    assert gate.is_open
    clock.now = 1.0
    assert not gate.is_open
    with pytest.raises(GateError, match='does not answer'):
        gate.connect()


def test_slow_gate_moves_late_both_ways(clock: Clock) -> None:
    gate = connected(clock)
    gate.trouble = GateTrouble.SLOW
    gate.open(1.0)
    assert course(gate, clock, [0.0, 0.5, 1.25, 1.5]) == [False, True, True, False]
