# SPDX-License-Identifier: Apache-2.0
"""
Drive the gate output of the ESP32 over the serial link of docs/protocol.md.

"""

from __future__ import annotations

from contextlib import suppress
import math
import threading
import time

from anomaly_inspection.errors import GateError, LinkError
from anomaly_inspection.link.protocol import (
    Ask,
    Command,
    GateState,
    Line,
    Open,
    Refusal,
    Rest,
    UPTIMES,
)
from anomaly_inspection.link.serial_link import SerialLink
from anomaly_inspection.sorting.gate import Gate, remaining_s

# Time to open the port, and to boot a device that restarts with it.
_CONNECT_S = 3.0
_TRIES = 3
_REASONS = {
    'hi': 'it has restarted and its gate rests',
    'late': 'the command came too late',
    'range': 'a field is out of range',
    'what': 'its firmware does not know the command',
}


class SerialGate(Gate):
    """
    Commands the device and waits for its answer; a lost command is repeated.

    The device times the window itself, so the gate closes after a dead process or a cut cable. The
    device refuses a command that comes later than the time-out by its own clock. After the link
    was lost or the device has restarted, every call fails until `connect`.

    Parameters
    ----------
    url : str
        Serial port or URL, as in SerialLink.
    timeout_s : float
        The longest time to wait for an answer, seconds.

    Raises
    ------
    SettingError
        When pyserial does not know this kind of URL.

    """

    def __init__(self, url: str, *, timeout_s: float) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._link = SerialLink(url, self._take)
        self._is_started = False
        self._heard = threading.Condition()
        # The connection of the link in which the device knows us.
        self._connection: int | None = None
        self._awaited: int | None = None
        self._answer: GateState | Refusal | None = None

    def connect(self) -> None:
        """
        Wait for the device, up to 3 s, and bring its gate to rest.

        """
        self._connection = None
        if not self._is_started:
            # A stopped link cannot start again.
            self._link = SerialLink(self._url, self._take)
            self._link.start()
            self._is_started = True
        end_s = time.monotonic() + _CONNECT_S
        while self._connection is None:
            with self._heard:
                wait_s = end_s - time.monotonic()
                if not self._heard.wait_for(self._is_greeted, max(0.0, wait_s)):
                    problem = self._link.problem or f'{self._url}: the device does not answer hi'
                    raise GateError(f'gate at {problem}')
            connection = self._link.connection
            self._ask(Rest())
            # Otherwise the device has restarted in the meantime and will be greeted again.
            if connection == self._link.connection and self._is_greeted():
                self._connection = connection

    def open(self, duration_s: float, told_s: float | None = None) -> None:
        """
        Open the gate. The device times the duration and refuses a late command.

        """
        self._check_link()
        now_s = time.monotonic()
        duration_ms = max(1, round(1000 * remaining_s(duration_s, told_s, now_s)))
        try:
            uptime_ms = self._link.device_uptime_ms(now_s)
        except LinkError as error:
            raise GateError(f'gate: {error}') from error
        by_ms = math.floor(uptime_ms + 1000 * self._timeout_s) % UPTIMES
        self._command(Open(duration_ms, by_ms, silence_ms=duration_ms))

    def rest(self) -> None:
        """
        Bring the gate to rest.

        """
        self._command(Rest())

    def confirm(self, *, is_open: bool) -> None:
        """
        Ask the device for the state of its gate.

        """
        state = self._command(Ask())
        if state.is_open != is_open:
            words = {True: 'open', False: 'at rest'}
            raise GateError(
                f'gate at {self._url}: it is {words[state.is_open]}, it should be {words[is_open]}'
            )

    def close(self) -> None:
        """
        Bring the gate to rest and release the port.

        """
        if not self._is_started:
            return
        # Never raise here; the device closes the gate by itself.
        with suppress(GateError):
            self.rest()
        self._link.stop()
        self._is_started = False
        self._connection = None

    def _is_greeted(self) -> bool:
        return self._link.is_connected and self._link.is_greeted

    def _command(self, command: Command) -> GateState:
        self._check_link()
        return self._ask(command)

    def _check_link(self) -> None:
        if not self._link.is_connected:
            raise GateError(f'gate at {self._link.problem}')
        if self._link.connection != self._connection:
            raise GateError(f'gate at {self._url}: the link was lost or the device has restarted')

    def _ask(self, command: Command) -> GateState:
        """
        Repeat a command until it is answered, up to three times.

        """
        name = type(command).__name__.lower()
        deadline_s = time.monotonic() + self._timeout_s
        sequence: int | None = None
        try:
            for tries_left in range(_TRIES, 0, -1):
                with self._heard:
                    if sequence is None:
                        self._answer = None
                    sequence = self._awaited = self._link.send(command, sequence=sequence)
                    left_s = (deadline_s - time.monotonic()) / tries_left
                    if self._heard.wait_for(lambda: self._answer is not None, max(0.0, left_s)):
                        break
        except LinkError as error:
            raise GateError(f'gate, {name}: {error}') from error
        answer = self._answer
        if answer is None:
            raise GateError(
                f'gate at {self._url}: no answer to {name} within {self._timeout_s:g} s'
            )
        if isinstance(answer, Refusal):
            raise GateError(
                f'gate at {self._url}: the device refused {name} '
                f'({answer.reason!r}: {_REASONS[answer.reason]})'
            )
        return answer

    def _take(self, line: Line, received_s: float) -> None:
        with self._heard:
            message = line.message
            if isinstance(message, GateState | Refusal) and message.answers == self._awaited:
                self._answer = message
            self._heard.notify()
