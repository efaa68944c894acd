# SPDX-License-Identifier: Apache-2.0
"""
Repeat an output that cannot close by itself, and bring it to rest when the window ends.

"""

from __future__ import annotations

from collections.abc import Callable
import math
import threading
import time

from anomaly_inspection.errors import GateError
from anomaly_inspection.sorting.gate import remaining_s


class RepeatedOutput:
    """
    Tells a gate its state, every period and at the end of a window, on a thread of its own.

    The other side must bring the gate to rest when it has heard nothing for longer than that. A
    dead process and a cut cable then end the window as well.

    Parameters
    ----------
    write : callable
        Tells the gate to be open (True) or at rest (False). It may block, and raises when it
        fails. Only one thread calls it at a time.
    period_s : float
        Time between two repetitions, seconds, above 0.
    most_late_s : float
        The gate counts as failed when it is brought to rest by more than this after the end of its
        window, seconds: the next part may have found it open.
    name : str
        Name of the gate in errors.

    """

    def __init__(
        self,
        write: Callable[[bool], None],
        *,
        period_s: float,
        most_late_s: float,
        name: str,
    ) -> None:
        self._write = write
        self._name = name
        self._most_late_s = most_late_s
        # Until when the last command lets the gate be open; inf = it rests.
        self._open_until_s = math.inf
        self._not_connected = f'{name}: not connected'
        self._period_s = period_s
        # Held while writing, so that the newest state always goes out last.
        self._condition = threading.Condition()
        self._closes_s = -math.inf
        self._next_s = -math.inf
        self._failure = self._not_connected
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """
        Bring the gate to rest and begin to repeat; raises when the gate cannot be told.

        """
        self.stop()
        self._failure = ''
        # The late end of the last window has been reported; it must not fail this start.
        self._open_until_s = math.inf
        try:
            self.rest()
        except Exception:
            self._failure = self._not_connected
            raise
        self._thread = threading.Thread(target=self._repeat, name='gate output', daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """
        Stop repeating; blocks as long as the current write does.

        """
        with self._condition:
            self._failure = self._failure or self._not_connected
            self._condition.notify()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def open(self, duration_s: float, told_s: float | None) -> None:
        """
        Open the gate now, and bring it to rest after the duration, as in `Gate.open`.

        """
        now = time.monotonic()
        self._tell(now + remaining_s(duration_s, told_s, now))

    def rest(self) -> None:
        """
        Bring the gate to rest now.

        """
        self._tell(-math.inf)

    def say_again(self) -> None:
        """
        Repeat the last command.

        """
        self._tell(self._closes_s)

    def _tell(self, closes_s: float) -> None:
        with self._condition:
            if self._failure:
                raise GateError(self._failure)
            self._closes_s = closes_s
            self._say()
            self._condition.notify()

    def _say(self) -> None:
        now = time.monotonic()
        self._next_s = now + self._period_s
        is_open = now < self._closes_s
        if is_open:
            self._next_s = min(self._next_s, self._closes_s)
            self._open_until_s = self._closes_s
        self._write(is_open)
        if not is_open:
            late_s = time.monotonic() - self._open_until_s
            self._open_until_s = math.inf
            if late_s > self._most_late_s:
                raise GateError(f'{self._name}: brought to rest {late_s:.3f} s after its window')

    def _repeat(self) -> None:
        with self._condition:
            while not self._failure:
                wait_s = self._next_s - time.monotonic()
                if wait_s > 0:
                    self._condition.wait(wait_s)
                    continue
                try:
                    self._say()
                # The next caller hears of it; silence brings the gate to rest.
                except Exception as error:  # noqa: BLE001
                    self._failure = str(error) if isinstance(error, GateError) else repr(error)
