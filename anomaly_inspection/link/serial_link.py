# SPDX-License-Identifier: Apache-2.0
"""
Keep a serial port open and read it in a thread of its own.

"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
import errno
import io
import select
import termios
import threading
import time
from typing import Any

import serial

from anomaly_inspection.errors import LinkError, SettingError
from anomaly_inspection.link.device_clock import DeviceClock
from anomaly_inspection.link.legacy import decode_legacy, LegacyReading
from anomaly_inspection.link.line_buffer import LineBuffer
from anomaly_inspection.link.protocol import (
    Answer,
    Command,
    decode,
    encode,
    Hello,
    Hi,
    Line,
    PROTOCOL_VERSION,
    SEQUENCES,
)

BAUD_RATE = 115_200
FIRST_RETRY_S = 0.2
LAST_RETRY_S = 5.0
_WRITE_TIMEOUT_S = 0.2
# Time for the answer to hi, when the device sends anything at all.
_GREET_AGAIN_S = 0.2
_POLL_S = 0.1
_POLL_WITHOUT_FILE_S = 0.01
_CHUNK = 4096
# Nine times what 115200 baud can carry: a flood is read no faster than this.
_MOST_BYTES_PER_S = 100_000
# pyserial gives up connecting to a socket:// after 5 s.
_JOIN_S = 6.0

_PROTOCOL = f'version {PROTOCOL_VERSION} of the protocol'
_CAUSES = {
    errno.ENOENT: 'there is no such device',
    errno.EACCES: 'no permission; is the user in group dialout?',
    errno.EAGAIN: 'another process has it open',
    errno.EBUSY: 'another process has it open',
    errno.EHOSTDOWN: 'the device is off or out of reach',
    errno.EIO: 'the device is gone',
}
# pyserial's words for a port that hung up.
_GONE = 'returned no data'


@dataclass
class LinkCounters:
    """
    Counts what came over a link since it was made.

    Parameters
    ----------
    lines : int
        Valid lines from the device.
    broken : int
        Lines that are damaged, or that no device sends.
    lost : int
        Lines that never came, seen by gaps in the sequence numbers.
    overlong : int
        Lines dropped because they were too long.
    reconnects : int
        How often the port was opened again.

    """

    lines: int = 0
    broken: int = 0
    lost: int = 0
    overlong: int = 0
    reconnects: int = 0


class SerialLink:
    """
    Speaks the protocol of docs/protocol.md with a device, and reconnects whenever necessary.

    Parameters
    ----------
    url : str
        A port or URL of pyserial: /dev/rfcomm0, /dev/ttyUSB0, socket://host:port, loop://.
    take : callable
        Called in the link's own thread with each valid line and the time of its reception, steady
        clock, seconds. It must return soon.
    take_legacy : callable or None
        Called in the same way with lines of the old system; None = they count as broken lines.
    silence_s : float
        The port is closed and opened again after this time without a valid line, seconds.
    first_silence_s : float
        The same before the first line: a Bluetooth port is open before it is connected.

    Attributes
    ----------
    is_connected : bool
        Whether the port is open and the device has sent a valid line.
    is_greeted : bool
        Whether the device has answered hi since its last start; the link repeats hi until then.
    problem : str
        One sentence that names port and cause; '' while connected, and until something fails.
    connection : int
        Increases when the port is opened and when the device has restarted: what was known of the
        device before is no longer valid. It changes in the link's thread, between two lines.
    counters : LinkCounters
        Counts so far.

    Raises
    ------
    SettingError
        When pyserial does not know this kind of URL.

    """

    def __init__(
        self,
        url: str,
        take: Callable[[Line, float], None],
        *,
        take_legacy: Callable[[LegacyReading, float], None] | None = None,
        silence_s: float = 2.0,
        first_silence_s: float = 10.0,
    ) -> None:
        self.url = url
        self.is_connected = False
        self.problem = ''
        self.connection = 0
        self.counters = LinkCounters()
        self._take = take
        self._take_legacy = take_legacy
        self._silence_s = silence_s
        self._first_silence_s = first_silence_s
        self._clock = DeviceClock()
        self._clock_lock = threading.Lock()
        # Guards the port's writing side and the sequence.
        self._write_lock = threading.Lock()
        self._port: Any = None
        self._was_open = False
        self._write_failure = ''
        self._sequence = 0
        self.is_greeted = False
        self._hi_s = 0.0
        self._received_sequence: int | None = None
        self._retry_s = FIRST_RETRY_S
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f'link {url}', daemon=True)
        self._closed_port()

    def start(self) -> None:
        """
        Start to connect; does not block.

        """
        self._thread.start()

    def stop(self) -> None:
        """
        Close the port; blocks until the thread has ended, at most 6 s while opening a port hangs.

        """
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(_JOIN_S)

    def send(self, command: Command, *, sequence: int | None = None) -> int:
        """
        Write one line; blocks 0.2 s at most.

        Parameters
        ----------
        command : Command
            The message.
        sequence : int or None
            None = the next number of this link; the number of an earlier line repeats that line.

        Returns
        -------
        int
            The sequence number of the line.

        Raises
        ------
        LinkError
            When the link is not connected, or the line could not be written in time.

        """
        with self._write_lock:
            if self._port is None or not self.is_connected:
                raise LinkError(self.problem or f'{self.url}: not connected yet')
            return self._write(command, sequence)

    def device_uptime_ms(self, now_s: float) -> float:
        """
        Give the best lower bound of the device's clock now, milliseconds modulo 2^32.

        Parameters
        ----------
        now_s : float
            Steady clock, seconds.

        Raises
        ------
        LinkError
            While it is unknown.

        """
        with self._clock_lock:
            return self._clock.uptime_ms(now_s)

    # In the link's thread

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._connect()
                self._read()
            except Exception as error:  # noqa: BLE001 - whatever it is, the link must go on
                self.problem = f'{self.url}: {_cause(error)}'
            self._disconnect()
            self._stopping.wait(self._retry_s)
            self._retry_s = min(2 * self._retry_s, LAST_RETRY_S)
        self.problem = f'{self.url}: closed'

    def _closed_port(self) -> Any:
        try:
            return serial.serial_for_url(
                self.url,
                do_not_open=True,
                baudrate=BAUD_RATE,
                timeout=0,
                write_timeout=_WRITE_TIMEOUT_S,
                exclusive=True,
            )
        except ValueError as error:
            raise SettingError(
                f'port {self.url!r} is refused ({error}), allowed: a device such as /dev/rfcomm0 '
                'or a URL such as socket://host:port'
            ) from None

    def _connect(self) -> None:
        port = self._closed_port()
        port.open()
        self.counters.reconnects += self._was_open
        self._was_open = True
        with self._write_lock:
            self._port = port
            self._write_failure = ''
        self._begin()
        self._greet(time.monotonic())

    def _disconnect(self) -> None:
        # The lock makes sure that nobody writes to a closed port. Closing may take a while.
        with self._write_lock:
            self.is_connected = False
            port, self._port = self._port, None
        if port is not None:
            # A port that hung up may raise that error once more.
            with suppress(OSError):
                port.close()
        self._begin()

    def _greet(self, now_s: float) -> None:
        self.is_greeted = False
        self._hi_s = now_s
        with self._write_lock:
            self._write(Hi(), None)

    def _begin(self) -> None:
        with self._clock_lock:
            self._clock.reset()
        self._received_sequence = None
        self.connection += 1

    def _read(self) -> None:
        lines = LineBuffer()
        overlong_before = self.counters.overlong
        heard_s = time.monotonic()
        has_spoken = False
        while not self._stopping.is_set():
            data = self._await_bytes()
            has_spoken = has_spoken or bool(data)
            now_s = time.monotonic()
            for line in lines.feed(data):
                if self._take_bytes(line, now_s):
                    heard_s = now_s
                    has_spoken = False
            self.counters.overlong = overlong_before + lines.overlong
            if self._write_failure:
                raise LinkError(self._write_failure)
            silence_s = self._silence_s if self.is_connected else self._first_silence_s
            if now_s - heard_s > silence_s:
                what = f'the data is not {_PROTOCOL}' if has_spoken else 'the device sends nothing'
                raise LinkError(f'open, but no valid line for {silence_s:g} s: {what}')
            is_owed = self.is_connected and not self.is_greeted
            if is_owed and now_s - self._hi_s > _GREET_AGAIN_S:
                self._greet(now_s)
            self._stopping.wait(len(data) / _MOST_BYTES_PER_S)

    def _await_bytes(self) -> bytes:
        try:
            ready, _, _ = select.select([self._port.fileno()], [], [], _POLL_S)
        except io.UnsupportedOperation:
            # loop:// and rfc2217:// cannot be waited for.
            self._stopping.wait(_POLL_WITHOUT_FILE_S)
            ready = [self._port]
        return bytes(self._port.read(_CHUNK)) if ready else b''

    def _take_bytes(self, data: bytes, now_s: float) -> bool:
        """
        Take one line and tell whether it was valid.

        """
        try:
            line = decode(data)
        except LinkError:
            return self._take_legacy_bytes(data, now_s)
        if not isinstance(line.message, Answer):
            # An echo of what this link, or another computer, has sent.
            self.counters.broken += 1
            return False
        self._count_lost(line)
        self._take_uptime(line.message, now_s)
        self._heard()
        self._take(line, now_s)
        return True

    def _take_legacy_bytes(self, data: bytes, now_s: float) -> bool:
        if self._take_legacy is not None:
            try:
                reading = decode_legacy(data)
            except LinkError:
                pass
            else:
                self.is_greeted = True
                self._heard()
                self._take_legacy(reading, now_s)
                return True
        self.counters.broken += 1
        return False

    def _heard(self) -> None:
        self.counters.lines += 1
        self._retry_s = FIRST_RETRY_S
        self.is_connected = True
        self.problem = ''

    def _count_lost(self, line: Line) -> None:
        before = self._received_sequence
        self._received_sequence = line.sequence
        if before is not None and not isinstance(line.message, Hello):
            gap = (line.sequence - before - 1) % SEQUENCES
            # A step backwards: the device has restarted and its hello was lost.
            if gap < SEQUENCES // 2:
                self.counters.lost += gap

    def _take_uptime(self, message: Answer, now_s: float) -> None:
        with self._clock_lock:
            if isinstance(message, Hello):
                self._clock.reset()
            goes_on = self._clock.take(message.uptime_ms, now_s)
        if isinstance(message, Hello) or not goes_on:
            self.connection += 1
            # A device that started after hi was sent has not heard it. Some devices start when
            # their port is opened.
            self.is_greeted = goes_on and message.uptime_ms >= 1e3 * (now_s - self._hi_s)

    # With the write lock held

    def _write(self, command: Command, sequence: int | None) -> int:
        if sequence is None:
            sequence = self._sequence
            self._sequence = (self._sequence + 1) % SEQUENCES
        line = encode(sequence, command)
        try:
            self._port.write(line)
        except (OSError, termios.error) as error:
            # Half a line may be in the device's buffer, so the thread reconnects.
            self._write_failure = f'cannot write: {_cause(error)}'
            raise LinkError(f'{self.url}: {self._write_failure}') from error
        return sequence


def _cause(error: Exception) -> str:
    if isinstance(error, LinkError):
        return str(error)
    if _GONE in str(error):
        return _CAUSES[errno.EIO]
    if isinstance(error, OSError):
        return _CAUSES.get(error.errno or 0, str(error))
    return f'{type(error).__name__}: {error}'
