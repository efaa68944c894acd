# SPDX-License-Identifier: Apache-2.0
"""
The firmware's own logic behind a pty: what a computer sees of it.

"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
import time

import pytest
import serial

from anomaly_inspection.errors import LinkError
from anomaly_inspection.link.line_buffer import LineBuffer
from anomaly_inspection.link.protocol import (
    Ask,
    decode,
    encode,
    GateState,
    Hello,
    Hi,
    Line,
    Message,
    Open,
    Readings,
    Refusal,
    UPTIMES,
)
from firmware.twin.device_twin import DeviceTwin, TwinError


class Computer:
    """
    The other side of the line, as simple as can be.

    """

    def __init__(self, path: Path) -> None:
        self.port = serial.Serial(str(path), 115200, timeout=0.05)
        self._lines = LineBuffer()
        self._sequence = 0

    def say(self, message: Message) -> int:
        self._sequence += 1
        self.port.write(encode(self._sequence, message))
        return self._sequence

    def hear(self, *kinds: type[Message], timeout_s: float = 10.0) -> Message:
        """
        The next message of these kinds.

        """
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            for line in self.lines():
                if isinstance(line.message, kinds):
                    return line.message
        raise AssertionError(f'no {kinds} within {timeout_s} s')

    def lines(self) -> list[Line]:
        whole = []
        for line in self._lines.feed(self.port.read(1)):
            try:
                whole.append(decode(line))
            except LinkError:
                continue
        return whole

    def ask_uptime_ms(self) -> int:
        self.say(Hi())
        hello = self.hear(Hello)
        assert isinstance(hello, Hello)
        return hello.uptime_ms

    def open(self, duration_ms: int, silence_ms: int = 60_000) -> None:
        by_ms = (self.ask_uptime_ms() + 5000) % UPTIMES
        self.say(Open(duration_ms, by_ms, silence_ms))
        state = self.hear(GateState, Refusal)
        assert isinstance(state, GateState)
        assert state.is_open


@pytest.fixture
def twin(tmp_path: Path) -> Iterator[DeviceTwin]:
    with DeviceTwin(tmp_path) as running:
        yield running


@pytest.fixture
def computer(twin: DeviceTwin) -> Iterator[Computer]:
    at = Computer(twin.usb)
    yield at
    at.port.close()


def test_a_turned_knob_is_read(twin: DeviceTwin, computer: Computer) -> None:
    twin.tell('knob 34 1')
    twin.tell('knob 39 0')
    while True:
        readings = computer.hear(Readings)
        assert isinstance(readings, Readings)
        if [reading.smoothed for reading in readings.channels] == [1000, 0]:
            break
    assert [reading.channel for reading in readings.channels] == [34, 39]


def test_a_press_is_counted(twin: DeviceTwin, computer: Computer) -> None:
    before = computer.hear(Readings)
    twin.tell('press')
    twin.tell('hold')
    twin.tell('release')
    twin.tell('hold')
    held = computer.hear(Readings)
    while not held.is_held:
        held = computer.hear(Readings)
    assert held.presses == before.presses + 1


def test_a_window_ends_by_itself_also_across_the_end_of_the_clock(tmp_path: Path) -> None:
    with DeviceTwin(tmp_path, uptime_ms=UPTIMES - 300) as twin:
        computer = Computer(twin.bluetooth)
        computer.open(1000)
        opened = twin.movements.get(timeout=10)
        rested = twin.movements.get(timeout=10)
        assert (opened.is_open, rested.is_open) == (True, False)
        assert rested.time_s - opened.time_s == pytest.approx(1.0, abs=0.25)
        computer.port.close()


@pytest.mark.parametrize('fault', ['deaf on', 'cut', 'reboot', 'hang'])
def test_the_gate_rests_after_a_fault(twin: DeviceTwin, computer: Computer, fault: str) -> None:
    computer.open(60_000, silence_ms=300)
    assert twin.movements.get(timeout=10).is_open
    twin.tell(fault)
    assert not twin.movements.get(timeout=10).is_open


def test_talk_on_one_port_does_not_hide_silence_on_the_other(twin: DeviceTwin) -> None:
    usb, bluetooth = Computer(twin.usb), Computer(twin.bluetooth)
    usb.open(60_000, silence_ms=200)
    assert twin.movements.get(timeout=10).is_open
    while twin.movements.empty():
        bluetooth.say(Ask())
        bluetooth.hear(GateState)
    assert not twin.movements.get().is_open
    usb.port.close()
    bluetooth.port.close()


def test_after_replugging_it_wants_hi_first(twin: DeviceTwin, computer: Computer) -> None:
    uptime_ms = computer.ask_uptime_ms()
    twin.tell('cut')
    assert not twin.usb.is_symlink()
    with pytest.raises(serial.SerialException):
        computer.hear(Hello, timeout_s=1)
    twin.tell('plug')
    again = Computer(twin.usb)
    again.say(Open(100, uptime_ms + 30_000, 100))
    refusal = again.hear(Refusal, GateState)
    assert isinstance(refusal, Refusal)
    assert refusal.reason == 'hi'
    again.port.close()


def test_garbage_and_flood_pass(twin: DeviceTwin, computer: Computer) -> None:
    twin.tell('garbage 3000')
    twin.tell('flood on')
    computer.port.read(2000)
    twin.tell('flood off')
    computer.ask_uptime_ms()


def test_bytes_take_as_long_as_at_115200_baud(twin: DeviceTwin, computer: Computer) -> None:
    began_s = twin.tell('flood on')
    computer.port.reset_input_buffer()
    computer.port.timeout = 10
    assert len(computer.port.read(4000)) == 4000
    assert 11_520 * (time.monotonic() - began_s) > 3900


def test_legacy_lines(twin: DeviceTwin, computer: Computer) -> None:
    twin.tell('noise 0')
    twin.tell('knob 39 1')
    twin.tell('legacy on')
    computer.port.read_until(b'_34#2048#34_\r\n_39#1.0000#39_\r\n')


@pytest.mark.parametrize(
    ('command', 'words'),
    [
        ('knob 3 0.5', 'allowed: 34, 39'),
        ('knob 34 1.5', 'allowed: 0 to 1'),
        ('noise much', 'allowed: 0 to 1000'),
        ('flood', 'allowed: on, off'),
        ('cut wire', 'allowed: bluetooth, usb'),
        ('dance', 'allowed: knob'),
    ],
)
def test_a_wrong_command_is_refused(twin: DeviceTwin, command: str, words: str) -> None:
    with pytest.raises(TwinError, match=words):
        twin.tell(command)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TwinError, match='No such file'):
        DeviceTwin(tmp_path / 'nowhere')
