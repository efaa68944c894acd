# SPDX-License-Identifier: Apache-2.0
"""
A gate that is told by one way and watched by another: its server behaves, lies, is late or dies.

"""

from __future__ import annotations

from collections.abc import Iterator
import threading
import time

import pytest

from anomaly_inspection.errors import GateError
from anomaly_inspection.sorting.watched_gate import WatchedGate, WatchTimes

TIMEOUT_S = 0.5
SETTLE_S = 0.3
READING_S = 0.01


class Server:
    """
    Moves the gate as it is told and streams its state from a thread of its own.

    """

    def __init__(self) -> None:
        self.told: list[bool] = []
        self.is_open = False
        self.is_stuck = self.is_silent = False
        self.missing = ''
        self.breaks_with: Exception | None = None
        times = WatchTimes(timeout_s=TIMEOUT_S, settle_s=SETTLE_S, period_s=0.02)
        self.gate = WatchedGate(self.hear, lambda: self.missing, times, name='gate 7')
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._stream)
        self._thread.start()

    def hear(self, is_open: bool) -> None:
        if self.breaks_with is not None:
            raise self.breaks_with
        self.told.append(is_open)
        if not self.is_stuck:
            self.is_open = is_open

    def end(self) -> None:
        self.gate.close()
        self._ended.set()
        self._thread.join()

    def waits_for(self, is_open: bool) -> None:
        end_s = time.monotonic() + 20
        while self.is_open is not is_open:
            assert time.monotonic() < end_s
            time.sleep(0.005)

    def _stream(self) -> None:
        while not self._ended.wait(READING_S):
            if not self.is_silent:
                self.gate.state_received(self.is_open, f'it is {self.is_open}')


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.end()


def test_opens_for_its_window_and_rests_at_its_end(server: Server) -> None:
    server.gate.connect()
    server.gate.confirm(is_open=False)
    server.gate.open(0.2)
    server.gate.confirm(is_open=True)
    server.waits_for(False)
    server.gate.confirm(is_open=False)
    # Told at each change and not over and over.
    assert server.told == [False, True, False]


def test_brings_a_gate_that_was_left_open_to_rest_when_it_connects(server: Server) -> None:
    server.is_open = True
    server.gate.connect()
    server.gate.confirm(is_open=False)
    assert not server.is_open


def test_a_server_that_is_not_there_is_named(server: Server) -> None:
    server.missing = 'nobody offers /set_io'
    with pytest.raises(GateError, match=r'gate 7: nobody offers /set_io \(waited 3 s\)'):
        server.gate.connect()
    assert server.told == []


@pytest.mark.parametrize('is_open', [True, False])
def test_a_gate_that_does_not_move_is_no_success(server: Server, is_open: bool) -> None:
    server.gate.connect()
    server.gate.confirm(is_open=False)
    if not is_open:
        server.gate.open(50.0)
        server.gate.confirm(is_open=True)
    server.is_stuck = True
    if is_open:
        server.gate.open(50.0)
    else:
        server.gate.rest()
    with pytest.raises(GateError, match=f'it is {not is_open}'):
        server.gate.confirm(is_open=is_open)


def test_a_server_that_falls_silent(server: Server) -> None:
    server.gate.connect()
    server.gate.open(50.0)
    server.gate.confirm(is_open=True)
    server.is_silent = True
    server.missing = 'nobody publishes /io_states'
    with pytest.raises(
        GateError,
        match=r'gate 7: it should be open; no reading came within 0.5 s; nobody publishes /io_st',
    ):
        server.gate.confirm(is_open=True)


def test_a_reading_from_before_is_no_proof(server: Server) -> None:
    server.gate.connect()
    server.gate.confirm(is_open=False)
    server.is_silent = True
    time.sleep(2 * READING_S)
    with pytest.raises(GateError, match='no reading came'):
        server.gate.confirm(is_open=False)


def test_the_first_reading_may_take_longer(server: Server) -> None:
    server.is_silent = True
    server.gate.connect()

    def speak() -> None:
        server.is_silent = False

    threading.Timer(2 * TIMEOUT_S, speak).start()
    server.gate.confirm(is_open=False)
    server.is_silent = True
    time.sleep(2 * READING_S)
    with pytest.raises(GateError, match=r'no reading came within 0\.5 s'):
        server.gate.confirm(is_open=False)


def test_a_gate_between_its_states_is_neither(server: Server) -> None:
    server.gate.connect()
    server.gate.confirm(is_open=False)
    server.is_silent = True
    time.sleep(2 * READING_S)
    threading.Timer(0.1, lambda: server.gate.state_received(None, 'the joint is at 0.3')).start()
    with pytest.raises(GateError, match=r'should be at rest; the joint is at 0\.3 within'):
        server.gate.confirm(is_open=False)


def test_a_gate_that_somebody_else_opens_has_failed_until_it_is_connected_again(
    server: Server,
) -> None:
    server.gate.connect()
    server.gate.confirm(is_open=False)
    time.sleep(SETTLE_S)
    server.is_open = True
    # It is told to rest again, before anybody asks.
    server.waits_for(False)
    for _ in range(2):
        with pytest.raises(GateError, match='it is stuck, or somebody else moves it'):
            server.gate.confirm(is_open=False)
    with pytest.raises(GateError, match='somebody else'):
        server.gate.open(1.0)
    server.gate.connect()
    server.gate.confirm(is_open=False)
    server.gate.open(50.0)
    server.gate.confirm(is_open=True)


def test_a_gate_that_does_not_rest_after_its_window_has_failed(server: Server) -> None:
    server.gate.connect()
    server.gate.open(0.1)
    server.gate.confirm(is_open=True)
    server.is_stuck = True
    with pytest.raises(GateError, match=r'it is True'):
        server.gate.confirm(is_open=False)
    server.is_stuck = False
    # It is told again in any case.
    server.waits_for(False)


def test_a_refusal_is_told_at_once(server: Server) -> None:
    server.gate.connect()
    server.is_silent = True
    threading.Timer(0.05, lambda: server.gate.refused('it is in use')).start()
    with pytest.raises(GateError, match='gate 7: it is in use'):
        server.gate.confirm(is_open=True)


def test_a_gate_that_restarts_in_its_window_is_not_open(server: Server) -> None:
    server.gate.connect()
    server.gate.open(50.0)
    server.gate.confirm(is_open=True)
    server.is_stuck, server.is_open = True, False
    with pytest.raises(GateError, match='it should be open; it is False'):
        server.gate.confirm(is_open=True)


def test_a_way_that_breaks_is_told_to_the_next_caller(server: Server) -> None:
    server.gate.connect()
    server.gate.open(0.1)
    server.breaks_with = RuntimeError('context is gone')
    thread = server.gate._output._thread
    assert thread is not None
    thread.join(timeout=20)
    assert not thread.is_alive()
    server.breaks_with = None
    with pytest.raises(GateError, match='context is gone'):
        server.gate.open(1.0)
    server.gate.connect()
    server.gate.confirm(is_open=False)


def test_a_closed_gate_rests(server: Server) -> None:
    with pytest.raises(GateError, match='not connected'):
        server.gate.open(1.0)
    server.gate.connect()
    server.gate.open(50.0)
    server.waits_for(True)
    server.gate.close()
    assert server.told[-1] is False
    server.gate.close()
    with pytest.raises(GateError, match='not connected'):
        server.gate.open(1.0)


def test_it_says_that_it_stays_open_when_this_process_dies() -> None:
    assert not WatchedGate.closes_by_itself
