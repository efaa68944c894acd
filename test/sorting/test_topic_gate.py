# SPDX-License-Identifier: Apache-2.0
"""
The gate behind topics, with an actuator that does what docs/gates.md asks of it.

"""

from __future__ import annotations

from collections.abc import Iterator
import queue

import pytest

from anomaly_inspection.errors import GateError
from anomaly_inspection.sorting.topic_gate import TopicGate


class Actuator:
    """
    Moves as it is told and says how it stands, each from a thread of the gate's.

    """

    def __init__(self) -> None:
        self.told: queue.Queue[bool] = queue.Queue()
        self.is_stuck = self.is_silent = False
        self.breaks_with: Exception | None = None
        self.is_open = False
        self.is_there = True
        self.gate = TopicGate(self.hear, lambda: self.is_there, timeout_s=0.5, period_s=0.02)

    def hear(self, is_open: bool) -> None:
        if self.breaks_with is not None:
            raise self.breaks_with
        self.told.put(is_open)
        if not self.is_stuck:
            self.is_open = is_open
        if not self.is_silent:
            self.gate.answer_received(self.is_open)

    def hears(self, is_open: bool) -> None:
        while self.told.get(timeout=20) is not is_open:
            pass


@pytest.fixture
def actuator() -> Iterator[Actuator]:
    made = Actuator()
    yield made
    made.gate.close()


def test_actuator_is_told_over_and_over_and_to_rest_in_the_end(actuator: Actuator) -> None:
    actuator.gate.connect()
    for _ in range(3):
        actuator.hears(False)
    actuator.gate.open(0.2)
    for _ in range(3):
        actuator.hears(True)
    actuator.hears(False)


def test_actuator_that_is_not_there(actuator: Actuator) -> None:
    actuator.is_there = False
    with pytest.raises(GateError, match=r"no actuator within 3 s: .* topic 'gate'"):
        actuator.gate.connect()
    assert actuator.told.empty()


def test_it_is_believed_when_it_says_so(actuator: Actuator) -> None:
    actuator.gate.connect()
    actuator.gate.confirm(is_open=False)
    actuator.gate.open(50.0)
    actuator.gate.confirm(is_open=True)
    with pytest.raises(GateError, match=r'said that it is open .* should say that it is at rest'):
        actuator.gate.confirm(is_open=False)
    actuator.gate.rest()
    actuator.gate.confirm(is_open=False)


def test_actuator_that_says_nothing(actuator: Actuator) -> None:
    actuator.gate.connect()
    actuator.gate.confirm(is_open=False)
    actuator.is_silent = True
    with pytest.raises(GateError, match=r'said nothing within 0.5 s'):
        actuator.gate.confirm(is_open=False)


def test_actuator_that_is_stuck(actuator: Actuator) -> None:
    actuator.gate.connect()
    actuator.is_stuck = True
    actuator.gate.open(50.0)
    with pytest.raises(GateError, match=r'said that it is at rest .* should say that it is open'):
        actuator.gate.confirm(is_open=True)


def test_what_it_said_before_is_no_confirmation(actuator: Actuator) -> None:
    actuator.gate.connect()
    actuator.gate.open(50.0)
    actuator.gate.confirm(is_open=True)
    actuator.is_silent = True
    with pytest.raises(GateError, match='said nothing'):
        actuator.gate.confirm(is_open=True)


def test_publisher_that_fails_is_told_and_ends_the_telling(actuator: Actuator) -> None:
    actuator.gate.connect()
    actuator.breaks_with = RuntimeError('context is gone')
    thread = actuator.gate._output._thread
    assert thread is not None
    thread.join(timeout=20)
    assert not thread.is_alive()
    actuator.breaks_with = None
    with pytest.raises(GateError, match='context is gone'):
        actuator.gate.open(1.0)
    actuator.gate.connect()
    actuator.gate.open(50.0)
    actuator.gate.confirm(is_open=True)


def test_closed_gate_tells_rest_and_falls_silent(actuator: Actuator) -> None:
    with pytest.raises(GateError, match='not connected'):
        actuator.gate.open(1.0)
    actuator.gate.connect()
    actuator.gate.open(50.0)
    actuator.hears(True)
    actuator.gate.close()
    *_, last = [actuator.told.get() for _ in range(actuator.told.qsize())]
    assert last is False
    actuator.gate.close()
    with pytest.raises(GateError, match='not connected'):
        actuator.gate.rest()
    assert actuator.told.empty()
