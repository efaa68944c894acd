# SPDX-License-Identifier: Apache-2.0
"""
The Modbus gate against a real server in a process of its own: opens, closes by itself, says what
is wrong.

"""

from __future__ import annotations

from collections.abc import Iterator
import os
from pathlib import Path
import signal
import socket
import subprocess
import sys
import time
from typing import Any

from pymodbus.client import ModbusTcpClient
import pytest

from anomaly_inspection.errors import GateError, SettingError
from anomaly_inspection.sorting.modbus_gate import Drive, ModbusGate, ModbusWiring, ReadBack
from benchmarks.plc import BROKEN_UNIT, PlcProcess
from benchmarks.report import ROOT

# Long enough for a machine that is busy with other tests.
TIMEOUT_S = 0.5
EVERY_DRIVE = pytest.mark.parametrize('drive', list(Drive))
COUNTED_HERE = pytest.mark.parametrize('drive', [Drive.COIL, Drive.COIL_AND_COUNTER])


def wiring(plc: PlcProcess, drive: Drive = Drive.REGISTER, unit: int = 1) -> ModbusWiring:
    register = 2 if drive is Drive.COIL_AND_COUNTER else 0
    return ModbusWiring('127.0.0.1', plc.port, unit, drive, register, read_back=ReadBack.INPUT)


@pytest.fixture(scope='module')
def server() -> Iterator[PlcProcess]:
    # Long enough for a machine that is busy with other tests.
    with PlcProcess(watchdog_s=1.0) as running:
        yield running


@pytest.fixture
def plc(server: PlcProcess) -> Iterator[PlcProcess]:
    """
    The one server, as it was at the start.

    """
    yield server
    server.kill()
    server.start()
    while not server.movements.empty():
        server.movements.get()


@pytest.fixture
def gates() -> Iterator[list[ModbusGate]]:
    made: list[ModbusGate] = []
    yield made
    for gate in made:
        gate.close()


def connected(
    gates: list[ModbusGate], plc: PlcProcess, drive: Drive = Drive.REGISTER, **options: float
) -> ModbusGate:
    gate = ModbusGate(wiring(plc, drive), **{'timeout_s': TIMEOUT_S, 'period_s': 0.03, **options})
    gates.append(gate)
    gate.connect()
    return gate


def moved(plc: PlcProcess) -> bool:
    return plc.movements.get(timeout=20)[1]


@EVERY_DRIVE
def test_gate_opens_and_closes_by_itself(
    plc: PlcProcess, gates: list[ModbusGate], drive: Drive
) -> None:
    gate = connected(gates, plc, drive)
    for _ in range(2):
        gate.open(0.6)
        opened_s, is_open = plc.movements.get(timeout=20)
        assert is_open
        gate.confirm(is_open=True)
        closed_s, is_open = plc.movements.get(timeout=20)
        assert not is_open
        assert closed_s - opened_s > 0.3
        gate.confirm(is_open=False)


@EVERY_DRIVE
def test_opening_again_begins_anew_without_closing(
    plc: PlcProcess, gates: list[ModbusGate], drive: Drive
) -> None:
    gate = connected(gates, plc, drive)
    gate.open(1.0)
    opened_s, _ = plc.movements.get(timeout=20)
    gate.open(2.0)
    closed_s, is_open = plc.movements.get(timeout=20)
    assert not is_open
    assert closed_s - opened_s > 1.2


@EVERY_DRIVE
def test_rest_closes_at_once_and_so_does_close(
    plc: PlcProcess, gates: list[ModbusGate], drive: Drive
) -> None:
    gate = connected(gates, plc, drive)
    for bring_to_rest in (gate.rest, gate.close):
        gate.open(50.0)
        assert moved(plc)
        bring_to_rest()
        assert not moved(plc)
    gate.close()
    with pytest.raises(GateError, match='not connected'):
        gate.open(1.0)


OPEN_AND_HANG = """
import sys, time
from test_modbus_gate import *
drive = Drive(sys.argv[2])
where = ModbusWiring('127.0.0.1', int(sys.argv[1]), drive=drive, register=sys.argv[3] == '2' and 2)
gate = ModbusGate(where, timeout_s=5.0, period_s=0.03)
gate.connect()
gate.open(0.4 if drive is Drive.REGISTER else 50.0)
print('open', flush=True)
time.sleep(100)
"""


@EVERY_DRIVE
def test_dead_process_leaves_the_gate_at_rest(plc: PlcProcess, drive: Drive) -> None:
    register = '2' if drive is Drive.COIL_AND_COUNTER else '0'
    process = subprocess.Popen(
        [sys.executable, '-c', OPEN_AND_HANG, str(plc.port), drive.value, register],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ
        | {'PYTHONPATH': os.pathsep.join(map(str, (ROOT, ROOT / 'test', Path(__file__).parent)))},
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == 'open\n'
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    assert moved(plc)
    assert not moved(plc)


def test_new_driver_goes_on_where_the_last_one_stopped_counting(
    plc: PlcProcess, gates: list[ModbusGate]
) -> None:
    for _ in range(2):
        gate = connected(gates, plc)
        gate.open(50.0)
        assert moved(plc), 'taken for a command that was done already'
        gate.close()
        assert not moved(plc)


@EVERY_DRIVE
def test_killed_server_fails_in_words_until_connected_again(
    plc: PlcProcess, gates: list[ModbusGate], drive: Drive
) -> None:
    gate = connected(gates, plc, drive)
    plc.kill()
    place = f'Modbus 127.0.0.1:{plc.port} unit 1'
    with pytest.raises(GateError, match=f'{place}: .* (failed|not connected)'):
        gate.open(0.1)
    with pytest.raises(GateError, match=f'{place}: no connection within 0.5 s'):
        gate.connect()
    plc.start()
    with pytest.raises(GateError, match=place):
        gate.open(0.1)
    gate.connect()
    gate.open(50.0)
    assert moved(plc)
    gate.confirm(is_open=True)


@COUNTED_HERE
def test_server_lost_while_nothing_is_asked_is_told_at_the_next_call(
    plc: PlcProcess, gates: list[ModbusGate], drive: Drive
) -> None:
    gate = connected(gates, plc, drive)
    plc.kill()
    thread = gate._output._thread
    assert thread is not None
    thread.join(timeout=20)
    assert not thread.is_alive()
    with pytest.raises(GateError, match='writing False to coil 0 failed within'):
        gate.rest()


def test_server_that_accepts_and_never_answers(plc: PlcProcess, gates: list[ModbusGate]) -> None:
    gate = connected(gates, plc)
    plc.freeze(is_frozen=True)
    with pytest.raises(GateError, match=r'writing 0\.1 s to registers 0 and 1 failed within'):
        gate.open(0.1)
    with pytest.raises(GateError, match=r'reading register 0 failed within 0.5 s'):
        gate.connect()
    plc.freeze(is_frozen=False)
    gate.connect()
    gate.confirm(is_open=False)


def test_answer_that_comes_late_is_not_taken_for_another(
    plc: PlcProcess, gates: list[ModbusGate]
) -> None:
    gate = connected(gates, plc)
    gate.open(50.0)
    plc.tell('late 1.0')
    with pytest.raises(GateError, match=r'reading input 0 failed within 0.5 s'):
        gate.confirm(is_open=True)
    plc.tell('late 0.1')
    with pytest.raises(GateError, match='not connected'):
        gate.confirm(is_open=True)
    gate.connect()
    gate.confirm(is_open=False)


@EVERY_DRIVE
def test_server_that_refuses(plc: PlcProcess, drive: Drive) -> None:
    gate = ModbusGate(wiring(plc, drive, BROKEN_UNIT), timeout_s=TIMEOUT_S, period_s=0.03)
    with pytest.raises(GateError, match=r'unit 2: .* was refused: .*'):
        gate.connect()
    gate.close()


def test_address_that_does_not_exist(plc: PlcProcess) -> None:
    nowhere = ModbusWiring('127.0.0.1', plc.port, register=500)
    gate = ModbusGate(nowhere, timeout_s=TIMEOUT_S, period_s=0.03)
    with pytest.raises(GateError, match='reading register 500 was refused'):
        gate.connect()


def test_gate_that_is_stuck(plc: PlcProcess, gates: list[ModbusGate]) -> None:
    gate = connected(gates, plc)
    plc.tell('stuck')
    gate.open(50.0)
    with pytest.raises(GateError, match=r'input 0 is \[False\], the gate should be open'):
        gate.confirm(is_open=True)
    gate.confirm(is_open=False)


def test_no_server() -> None:
    with socket.socket() as unused:
        unused.bind(('127.0.0.1', 0))
        port = unused.getsockname()[1]
        gate = ModbusGate(ModbusWiring('127.0.0.1', port), timeout_s=TIMEOUT_S, period_s=0.03)
        with pytest.raises(GateError, match=f'127.0.0.1:{port} unit 1: no connection'):
            gate.connect()


@EVERY_DRIVE
def test_time_that_the_computer_lost_is_taken_off(
    plc: PlcProcess, gates: list[ModbusGate], drive: Drive
) -> None:
    gate = connected(gates, plc, drive)
    with pytest.raises(GateError, match=r'delayed the command by \d+\.\d+ s: not opened'):
        gate.open(0.5, time.monotonic() - 0.5)
    assert plc.movements.empty()
    # Open for half a second, not for fifty.
    gate.open(50.0, time.monotonic() - 49.5)
    assert moved(plc)
    assert not moved(plc)


def test_an_answer_that_is_looked_at_too_late_is_none(
    plc: PlcProcess, gates: list[ModbusGate], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = connected(gates, plc)
    write = ModbusTcpClient.write_registers

    def write_late(client: ModbusTcpClient, *arguments: Any, **options: Any) -> Any:
        time.sleep(TIMEOUT_S + 0.1)
        return write(client, *arguments, **options)

    monkeypatch.setattr(ModbusTcpClient, 'write_registers', write_late)
    with pytest.raises(GateError, match=r'failed within 0.5 s: it took 0\.'):
        gate.open(0.1)
    monkeypatch.undo()
    with pytest.raises(GateError, match='not connected'):
        gate.rest()
    gate.connect()


@EVERY_DRIVE
@pytest.mark.parametrize('duration_s', [0.0, -1.0, 60.1, float('nan')])
def test_duration_out_of_range(
    plc: PlcProcess, gates: list[ModbusGate], duration_s: float, drive: Drive
) -> None:
    gate = connected(gates, plc, drive)
    with pytest.raises(GateError, match='allowed: above 0, up to 60'):
        gate.open(duration_s)


@pytest.mark.parametrize(
    ('field', 'value', 'allowed'),
    [
        ('host', ' ', 'a name or an address'),
        ('port', 0, '1 to 65535'),
        ('unit', 256, '0 to 255'),
        ('register', 65_535, '0 to 65534'),
        ('coil', -1, '0 to 65535'),
        ('read_back_address', 65_536, '0 to 65535'),
    ],
)
def test_wiring_out_of_range(field: str, value: object, allowed: str) -> None:
    with pytest.raises(SettingError, match=f'Modbus {field} .*allowed: {allowed}'):
        ModbusWiring(**{'host': 'plc', field: value})  # type: ignore[arg-type]
