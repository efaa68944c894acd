# SPDX-License-Identifier: Apache-2.0
"""
A gate behind Modbus TCP: a PLC that times the window, or a coil of an I/O module.

docs/gates.md says what the other side must do.

"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
import inspect
import threading
import time
from typing import Any

from pymodbus.client import ModbusTcpClient
from pymodbus.exceptions import ModbusException

from anomaly_inspection.errors import GateError, SettingError
from anomaly_inspection.setting_check import check_range
from anomaly_inspection.sorting.gate import Gate, remaining_s
from anomaly_inspection.sorting.repeated_output import RepeatedOutput

_LAST_NUMBER = 65_535
# pymodbus 3.10 renamed it.
_UNIT_KEYWORD = next(
    name
    for name in ('device_id', 'slave')
    if name in inspect.signature(ModbusTcpClient.read_coils).parameters
)


class Drive(Enum):
    """
    How the gate is driven.

    """

    # The PLC times the window: two holding registers, command number and milliseconds (0 = rest).
    REGISTER = 'register'
    # We time the window and write the coil every period: an I/O module with a watchdog.
    COIL = 'coil'
    # We time the window and increment a holding register every period; the PLC watches it.
    COIL_AND_COUNTER = 'coil_and_counter'


class ReadBack(Enum):
    """
    Where the state of the gate can be read, true = open.

    """

    COIL = 'coil'
    INPUT = 'input'


@dataclass(frozen=True)
class ModbusWiring:
    """
    Where the gate is.

    Parameters
    ----------
    host : str
        Name or address.
    port : int
        1 to 65535.
    unit : int
        Unit (slave, device) number, 0 to 255.
    drive : Drive
        How to drive it.
    register : int
        Holding register of the command number (its milliseconds are in the next one), or of the
        counter. 0 to 65534, counted from 0 as on the wire.
    coil : int
        Coil of the gate, 0 to 65535.
    read_back : ReadBack
        Whether a coil or a discrete input shows the state of the gate.
    read_back_address : int
        Address of that coil or input, 0 to 65535.

    """

    host: str
    port: int = 502
    unit: int = 1
    drive: Drive = Drive.REGISTER
    register: int = 0
    coil: int = 0
    read_back: ReadBack = ReadBack.COIL
    read_back_address: int = 0

    def __post_init__(self) -> None:
        if not self.host.strip():
            raise SettingError(f'Modbus host {self.host!r}, allowed: a name or an address')
        ranges = {
            'port': (1, 65_535),
            'unit': (0, 255),
            'register': (0, 65_534),
            'coil': (0, 65_535),
            'read_back_address': (0, 65_535),
        }
        for name, (least, largest) in ranges.items():
            check_range(f'Modbus {name}', getattr(self, name), least, largest)


class ModbusGate(Gate):
    """
    Drives a gate by Modbus TCP and reads back its state.

    A connection that fails is closed, so a late answer is never taken for the answer to another
    request. `connect` opens a new one.

    Parameters
    ----------
    wiring : ModbusWiring
        Where the gate is.
    timeout_s : float
        The longest time for an answer, seconds. A call blocks for at most twice that, `connect`
        for four times.
    period_s : float
        Time between two writes of a coil or counter, seconds.

    """

    def __init__(self, wiring: ModbusWiring, *, timeout_s: float, period_s: float) -> None:
        self._wiring = wiring
        self._timeout_s = timeout_s
        self._output = RepeatedOutput(
            self._write_coil, period_s=period_s, most_late_s=timeout_s, name=self._place
        )
        # pymodbus' client takes one request at a time.
        self._lock = threading.Lock()
        self._client: Any = None
        self._number = 0

    def connect(self) -> None:
        """
        Reconnect and bring the gate to rest.

        """
        self._output.stop()
        self._disconnect()
        wiring = self._wiring
        client: Any = ModbusTcpClient(
            wiring.host, port=wiring.port, timeout=self._timeout_s, retries=0
        )
        if not client.connect():
            raise GateError(
                f'{self._place}: no connection within {self._timeout_s:g} s; is the server '
                'running, and is nothing between that blocks it?'
            )
        self._client = client
        try:
            if wiring.drive is Drive.REGISTER:
                # Continue from the last number; otherwise the PLC might take the next one for an
                # old one.
                self._number = self._registers()[0]
                self.rest()
            else:
                self._output.start()
        except GateError:
            self._disconnect()
            raise

    def open(self, duration_s: float, told_s: float | None = None) -> None:
        """
        Open the gate for the duration.

        """
        if self._wiring.drive is Drive.REGISTER:
            self._command(duration_s, told_s)
        else:
            self._output.open(duration_s, told_s)

    def rest(self) -> None:
        """
        Bring the gate to rest.

        """
        if self._wiring.drive is Drive.REGISTER:
            self._command(None)
        else:
            self._output.rest()

    def confirm(self, *, is_open: bool) -> None:
        """
        Read back the state of the gate.

        """
        address = self._wiring.read_back_address
        name = self._wiring.read_back.value

        def read(client: Any, **unit: int) -> Any:
            if self._wiring.read_back is ReadBack.COIL:
                return client.read_coils(address, count=1, **unit)
            return client.read_discrete_inputs(address, count=1, **unit)

        bits = self._ask(f'reading {name} {address}', read).bits
        if bits[:1] != [is_open]:
            words = {True: 'open', False: 'at rest'}
            raise GateError(
                f'{self._place}: {name} {address} is {bits[:1]}, the gate should be '
                f'{words[is_open]}'
            )

    def close(self) -> None:
        """
        Bring the gate to rest and disconnect.

        """
        # Never raise here; silence brings the gate to rest.
        with suppress(Exception):
            self.rest()
        self._output.stop()
        self._disconnect()

    @property
    def _place(self) -> str:
        return f'Modbus {self._wiring.host}:{self._wiring.port} unit {self._wiring.unit}'

    def _command(self, duration_s: float | None, told_s: float | None = None) -> None:
        self._number = self._number % _LAST_NUMBER + 1
        address = self._wiring.register

        def write(client: Any, **unit: int) -> Any:
            duration_ms = 0
            if duration_s is not None:
                # Computed at the last moment, because the PLC counts from reception.
                left_s = remaining_s(duration_s, told_s, time.monotonic())
                duration_ms = max(1, round(1000 * left_s))
            return client.write_registers(address, [self._number, duration_ms], **unit)

        what = 'rest' if duration_s is None else f'{duration_s:g} s'
        self._ask(f'writing {what} to registers {address} and {address + 1}', write)

    def _registers(self) -> list[int]:
        address = self._wiring.register
        answer = self._ask(
            f'reading register {address}',
            lambda client, **unit: client.read_holding_registers(address, count=1, **unit),
        )
        return list(answer.registers)

    def _write_coil(self, is_open: bool) -> None:
        coil, register = self._wiring.coil, self._wiring.register
        self._ask(
            f'writing {is_open} to coil {coil}',
            lambda client, **unit: client.write_coil(coil, is_open, **unit),
        )
        if self._wiring.drive is Drive.COIL_AND_COUNTER:
            self._number = self._number % _LAST_NUMBER + 1
            self._ask(
                f'writing {self._number} to register {register}',
                lambda client, **unit: client.write_register(register, self._number, **unit),
            )

    def _ask(self, what: str, request: Callable[..., Any]) -> Any:
        with self._lock:
            if self._client is None:
                raise GateError(f'{self._place}: not connected ({what})')
            begun_s = time.monotonic()
            try:
                answer = request(self._client, **{_UNIT_KEYWORD: self._wiring.unit})
            except (ModbusException, OSError) as error:
                answer = error
            # pymodbus does not check the clock once an answer is there, however late that is.
            late_s = time.monotonic() - begun_s
            if late_s > self._timeout_s and not isinstance(answer, Exception):
                answer = GateError(f'it took {late_s:.3f} s')
            # pymodbus 3.6 returns what later versions raise.
            if isinstance(answer, Exception):
                self._client.close()
                self._client = None
                raise GateError(
                    f'{self._place}: {what} failed within {self._timeout_s:g} s: {answer}'
                ) from answer
        if answer.isError():
            raise GateError(f'{self._place}: {what} was refused: {answer}')
        return answer

    def _disconnect(self) -> None:
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None
