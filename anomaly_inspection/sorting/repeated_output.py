# SPDX-License-Identifier: Apache-2.0
"""
An output that cannot close by itself: told over and over, and told to rest when the window ends.

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
    Says on a thread of its own how a gate must stand, every period, and when its window is over.

    Who drives the gate must let it rest when nothing has been said for longer than that: so a dead
    process and a cut cable end the window as well.

    Parameters
    ----------
    write : callable
        Tells the gate to be open (True) or at rest (False); may block, raises when it fails.
        Called by one thread at a time.
    period_s : float
        Between two sayings, seconds, above 0.
    most_late_s : float
        Told to rest so much after the end of its window, the gate counts as failed, seconds: the
        next part may have found it open.
    name : str
        What the gate is called in errors.

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
        # Until when the gate may stand open by what it was told last; inf = it rests.
        self._open_until_s = math.inf
        self._not_connected = f'{name}: not connected'
        self._period_s = period_s
        # Held while writing: what is said is always the newest.
        self._condition = threading.Condition()
        self._closes_s = -math.inf
        self._next_s = -math.inf
        self._failure = self._not_connected
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """
        Tell the gate to rest, and begin to repeat; raises when the gate cannot be told.

        """
        self.stop()
        self._failure = ''
        # How late the last window ended has been told: it must not fail this start.
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
        Stop to repeat; blocks while the writing under way does.

        """
        with self._condition:
            self._failure = self._failure or self._not_connected
            self._condition.notify()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def open(self, duration_s: float, told_s: float | None) -> None:
        """
        Tell the gate to open now, and to rest after the duration, as in `Gate.open`.

        """
        now = time.monotonic()
        self._tell(now + remaining_s(duration_s, told_s, now))

    def rest(self) -> None:
        """
        Tell the gate to rest now.

        """
        self._tell(-math.inf)

    def say_again(self) -> None:
        """
        Tell the gate what it was told last.

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
                raise GateError(f'{self._name}: told to rest {late_s:.3f} s after its window')

    def _repeat(self) -> None:
        with self._condition:
            while not self._failure:
                wait_s = self._next_s - time.monotonic()
                if wait_s > 0:
                    self._condition.wait(wait_s)
                    continue
                try:
                    self._say()
                # Whoever asks next hears of it; silence lets the gate rest.
                except Exception as error:  # noqa: BLE001
                    self._failure = str(error) if isinstance(error, GateError) else repr(error)
