# SPDX-License-Identifier: Apache-2.0
"""
A device on a pseudo-terminal, for tests of what stands at the other end of the wire.

"""

from __future__ import annotations

import array
import fcntl
import os
import select
import termios
import threading
import time
import tty

from anomaly_inspection.errors import LinkError
from anomaly_inspection.link.line_buffer import LineBuffer
from anomaly_inspection.link.protocol import decode, encode, Hello, Hi, Reading, Readings


class PtyDevice:
    """
    Answers `hi` and says readings, as the ESP32 does; what it says can be changed and stopped.

    Parameters
    ----------
    says_readings : bool
        Say readings every 20 ms from the start on.

    """

    def __init__(self, *, says_readings: bool = True) -> None:
        self._master, slave = os.openpty()
        tty.setraw(slave)
        os.set_blocking(self._master, False)
        self.path = os.ttyname(slave)
        # Kept open: without it the other end's closing would hang up the master.
        self._slave = slave
        self.heard: list[object] = []
        self.says_readings = says_readings
        self.positions = {34: 0.25, 39: 0.75}
        self.presses = 0
        self.start_s = time.monotonic() - 1.0
        self._sequence = 0
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def is_read(self) -> bool:
        """
        Whether the other end has taken all that was said.

        """
        waiting = array.array('i', [0])
        fcntl.ioctl(self._slave, termios.FIONREAD, waiting)
        return waiting[0] == 0

    def uptime_ms(self) -> int:
        return int(1e3 * (time.monotonic() - self.start_s)) % (1 << 32)

    def say(self, message: object, *, skip: int = 0) -> None:
        """
        Say one line, after leaving out as many sequence numbers as are to be skipped.

        """
        with self._lock:
            line = encode((self._sequence + skip) % 65536, message)
            self._sequence = (self._sequence + skip + 1) % 65536
            self._write(line)

    def say_bytes(self, data: bytes) -> None:
        with self._lock:
            self._write(data)

    def say_readings(self) -> None:
        channels = tuple(
            Reading(channel, round(4095 * position), round(1000 * position))
            for channel, position in self.positions.items()
        )
        self.say(Readings(self.uptime_ms(), self.presses, False, channels))

    def restart(self) -> None:
        """
        Start anew, as after a loss of power.

        """
        with self._lock:
            self.start_s = time.monotonic()
            self._sequence = self.presses = 0
        self.say(Hello(0, (1, 0, 0)))

    def unplug(self) -> None:
        self._stopping.set()
        self._thread.join()
        os.close(self._slave)
        os.close(self._master)
        self._master = -1

    def close(self) -> None:
        if self._master >= 0:
            self.unplug()

    def _write(self, data: bytes) -> None:
        # What nobody reads is lost, as it is with the device.
        while data and select.select([], [self._master], [], 1.0)[1]:
            data = data[os.write(self._master, data) :]

    def _serve(self) -> None:
        lines = LineBuffer()
        next_s = time.monotonic()
        while not self._stopping.is_set():
            wait_s = max(0.0, next_s - time.monotonic())
            if select.select([self._master], [], [], wait_s)[0]:
                for data in lines.feed(os.read(self._master, 4096)):
                    self._answer(data)
            if time.monotonic() >= next_s:
                next_s += 0.02
                if self.says_readings:
                    self.say_readings()

    def _answer(self, data: bytes) -> None:
        try:
            message = decode(data).message
        except LinkError:
            return
        self.heard.append(message)
        if isinstance(message, Hi) and self.says_readings:
            self.say(Hello(self.uptime_ms(), (1, 0, 0)))
