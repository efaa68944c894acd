# SPDX-License-Identifier: Apache-2.0
"""
The serial gate against the device twin, which is the firmware itself, and against a device that
misbehaves.

"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
import time

import pytest

from anomaly_inspection.errors import GateError, SettingError
from anomaly_inspection.link.protocol import Ask, decode, GateState, Open, Refusal, Rest, UPTIMES
from anomaly_inspection.sorting.serial_gate import SerialGate
from firmware.twin.device_twin import DeviceTwin
from support.wire_bench import PtyDevice

# Long enough for a machine that is busy with other tests.
TIMEOUT_S = 1.0


@pytest.fixture
def twin(tmp_path: Path) -> Iterator[DeviceTwin]:
    # Up for a while: a start whose hello is lost shows by its clock.
    with DeviceTwin(tmp_path, uptime_ms=100_000) as running:
        yield running


@pytest.fixture
def gate(twin: DeviceTwin) -> Iterator[SerialGate]:
    at_twin = SerialGate(str(twin.usb), timeout_s=TIMEOUT_S)
    at_twin.connect()
    yield at_twin
    at_twin.close()


def moved(twin: DeviceTwin) -> bool:
    return twin.movements.get(timeout=20).is_open


# The firmware


def test_gate_opens_and_closes_by_itself(twin: DeviceTwin, gate: SerialGate) -> None:
    for _ in range(2):
        gate.open(0.4)
        gate.confirm(is_open=True)
        opened, closed = (twin.movements.get(timeout=20) for _ in range(2))
        assert (opened.is_open, closed.is_open) == (True, False)
        assert closed.time_s - opened.time_s > 0.39
        gate.confirm(is_open=False)


def test_opening_again_begins_anew_without_closing(twin: DeviceTwin, gate: SerialGate) -> None:
    gate.open(0.3)
    gate.open(0.8)
    opened, closed = (twin.movements.get(timeout=20) for _ in range(2))
    assert (opened.is_open, closed.is_open) == (True, False)
    assert closed.time_s - opened.time_s > 0.79


def test_rest_closes_at_once_and_so_does_close(twin: DeviceTwin, gate: SerialGate) -> None:
    for bring_to_rest in (gate.rest, gate.close):
        gate.open(50.0)
        assert moved(twin)
        bring_to_rest()
        assert not moved(twin)
    gate.close()
    with pytest.raises(GateError, match='closed'):
        gate.open(1.0)
    gate.connect()
    gate.open(0.3)
    assert moved(twin)


@pytest.mark.parametrize('fault', ['silent on', 'deaf on'])
def test_device_that_does_not_answer(twin: DeviceTwin, gate: SerialGate, fault: str) -> None:
    twin.tell(fault)
    with pytest.raises(GateError, match=f'no answer to ask within {TIMEOUT_S:g} s'):
        gate.confirm(is_open=False)


def test_cut_cable_lets_the_gate_close_and_fails_until_connected_again(
    twin: DeviceTwin, gate: SerialGate
) -> None:
    gate.open(0.5)
    assert moved(twin)
    twin.tell('cut usb')
    assert not moved(twin)
    with pytest.raises(GateError, match=str(twin.usb)):
        gate.open(0.5)
    with pytest.raises(GateError, match=f'gate at {twin.usb}: there is no such device'):
        gate.connect()
    twin.tell('plug usb')
    # The link is back by itself some time; that alone is not enough.
    while not gate._link.is_connected:
        gate._link._stopping.wait(0.01)
    with pytest.raises(GateError, match='has restarted'):
        gate.open(0.5)
    gate.connect()
    gate.open(0.5)
    assert moved(twin)


def test_device_that_has_started_anew_fails_until_connected_again(
    twin: DeviceTwin, gate: SerialGate
) -> None:
    gate.open(50.0)
    assert moved(twin)
    before = gate._link.connection
    twin.tell('reboot')
    assert not moved(twin)
    while gate._link.connection == before:
        gate._link._stopping.wait(0.01)
    with pytest.raises(GateError, match='the link was lost or the device has restarted'):
        gate.open(0.5)
    gate.connect()
    gate.confirm(is_open=False)
    gate.open(0.5)
    assert moved(twin)


def test_device_that_is_starting_is_waited_for(twin: DeviceTwin, gate: SerialGate) -> None:
    twin.tell('reboot')
    gate.connect()
    # Longer than the link takes to greet it.
    for _ in range(20):
        gate.open(0.02)
        assert moved(twin)
        assert not moved(twin)
        gate.confirm(is_open=False)


def test_device_clock_that_passes_its_end(tmp_path: Path) -> None:
    with DeviceTwin(tmp_path, uptime_ms=UPTIMES - 500) as twin:
        gate = SerialGate(str(twin.usb), timeout_s=TIMEOUT_S)
        gate.connect()
        for _ in range(4):
            gate.open(0.2)
            assert moved(twin)
            assert not moved(twin)
        gate.close()


# A device that misbehaves


class Device(PtyDevice):
    """
    Answers gate commands by a script: how often to ignore a line, then what to say.

    """

    def __init__(self) -> None:
        super().__init__()
        self.ignored = 0
        self.refusal = ''
        self.is_open = False
        self.commands: list[tuple[int, object]] = []

    def _answer(self, data: bytes) -> None:
        super()._answer(data)

        line = decode(data)
        if not isinstance(line.message, Open | Rest | Ask):
            return
        self.commands.append((line.sequence, line.message))
        if self.ignored:
            self.ignored -= 1
            return
        if self.refusal:
            self.say(Refusal(self.uptime_ms(), line.sequence, self.refusal))
            return
        if not isinstance(line.message, Ask):
            self.is_open = isinstance(line.message, Open)
        # An answer to another line is no answer.
        self.say(GateState(self.uptime_ms(), (line.sequence + 1) % 65536, not self.is_open, 0))
        self.say(GateState(self.uptime_ms(), line.sequence, self.is_open, 0))


@pytest.fixture
def device() -> Iterator[Device]:
    made = Device()
    yield made
    made.close()


@pytest.fixture
def scripted(device: Device) -> Iterator[SerialGate]:
    gate = SerialGate(device.path, timeout_s=TIMEOUT_S)
    gate.connect()
    device.commands.clear()
    yield gate
    gate.close()


def test_lost_line_is_said_again_with_its_number(device: Device, scripted: SerialGate) -> None:
    device.ignored = 2
    scripted.open(0.25)
    assert len(device.commands) == 3
    assert len(set(device.commands)) == 1
    scripted.confirm(is_open=True)
    assert device.commands[-1][0] != device.commands[0][0]


def test_three_lost_lines_are_a_failure(device: Device, scripted: SerialGate) -> None:
    device.ignored = 3
    with pytest.raises(GateError, match='no answer to open within 1 s'):
        scripted.open(0.25)
    assert len(device.commands) == 3


def test_command_that_is_stuck_for_longer_than_the_time_out_never_opens(
    device: Device, scripted: SerialGate
) -> None:
    before_ms = device.uptime_ms()
    scripted.open(0.25)
    _, command = device.commands[0]
    assert isinstance(command, Open)
    assert command.duration_ms == command.silence_ms == 250
    # The estimate of the device's clock may lag, never lead.
    assert before_ms + 500 < command.by_ms <= device.uptime_ms() + 1000 * TIMEOUT_S


def test_time_that_the_computer_lost_is_taken_off(device: Device, scripted: SerialGate) -> None:
    scripted.open(0.5, time.monotonic() - 0.3)
    _, command = device.commands[0]
    assert isinstance(command, Open)
    assert command.duration_ms <= 200
    with pytest.raises(GateError, match=r'delayed the command by \d+\.\d+ s: not opened'):
        scripted.open(0.5, time.monotonic() - 0.5)
    assert len(device.commands) == 1


@pytest.mark.parametrize(
    ('reason', 'words'),
    [
        ('hi', 'it has restarted and its gate rests'),
        ('late', 'the command came too late'),
        ('range', 'out of range'),
        ('what', 'firmware does not know'),
    ],
)
def test_refusal_says_why(device: Device, scripted: SerialGate, reason: str, words: str) -> None:
    device.refusal = reason
    with pytest.raises(GateError, match=f'{device.path}: the device refused open .*{words}'):
        scripted.open(0.25)


def test_gate_that_stands_otherwise(device: Device, scripted: SerialGate) -> None:
    with pytest.raises(GateError, match='it is at rest, it should be open'):
        scripted.confirm(is_open=True)


@pytest.mark.parametrize('duration_s', [0.0, -1.0, 60.001])
def test_duration_out_of_range(scripted: SerialGate, duration_s: float) -> None:
    with pytest.raises(GateError, match='allowed: above 0, up to 60'):
        scripted.open(duration_s)


def test_port_that_is_none() -> None:
    with pytest.raises(SettingError, match="port 'nonsense://x' is refused"):
        SerialGate('nonsense://x', timeout_s=TIMEOUT_S)
    gate = SerialGate('/dev/no_such_port', timeout_s=TIMEOUT_S)
    with pytest.raises(GateError, match='gate at /dev/no_such_port: there is no such device'):
        gate.connect()
    gate.close()
