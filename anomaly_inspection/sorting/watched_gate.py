# SPDX-License-Identifier: Apache-2.0
"""
A gate that is told by one way and watched by another, and that stays as it is when we are gone.

"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
import math
import threading
import time
from typing import ClassVar

from anomaly_inspection.errors import GateError
from anomaly_inspection.sorting.gate import Gate
from anomaly_inspection.sorting.repeated_output import RepeatedOutput

# Nodes that start together discover each other within a second or two.
_CONNECT_S = 3.0
_LOOK_S = 0.05
_WORDS = {True: 'open', False: 'at rest'}


@dataclass(frozen=True)
class WatchTimes:
    """
    How long a watched gate may take.

    Parameters
    ----------
    timeout_s : float
        The longest wait for a reading, and the latest command to rest after a window, seconds.
    settle_s : float
        From the command to rest until the gate rests for sure, seconds.
    period_s : float
        Time between two looks whether the gate must be told again, seconds.

    """

    timeout_s: float
    settle_s: float
    period_s: float


class WatchedGate(Gate):
    """
    Believes only readings of the gate that came after it had asked.

    An answer to a command proves nothing when it says success. But commands are answered in their
    order: as long as the newest one is not, an earlier one may still open the gate.

    A gate that does not rest `settle_s` after it was told to, for whatever reason, has failed
    until the next `connect`.

    Parameters
    ----------
    tell : callable
        Tells the gate to be open (True) or at rest (False). Must not block.
    missing : callable
        Says in words who is not there, '' = everybody is.
    times : WatchTimes
        How long it may take.
    name : str
        Name of the gate in errors.
    repeats : bool
        Whether the gate is told its state every period. Otherwise it is told at each change, and
        again when it is still in the other state after `settle_s`.
    answers : bool
        Whether the other side answers each command, by `answered` or `refused`.
    silence : str
        What to say when no reading came.

    """

    closes_by_itself: ClassVar[bool] = False

    def __init__(
        self,
        tell: Callable[[bool], None],
        missing: Callable[[], str],
        times: WatchTimes,
        *,
        name: str,
        repeats: bool = False,
        answers: bool = False,
        silence: str = 'no reading came',
    ) -> None:
        self._tell = tell
        self._missing = missing
        self._times = times
        self._name = name
        self._repeats = repeats
        self._answers = answers
        self._silence = silence
        self._output = RepeatedOutput(
            self._write, period_s=times.period_s, most_late_s=times.timeout_s, name=name
        )
        # Guards what follows.
        self._heard = threading.Condition()
        self._told: bool | None = None
        self._told_s = self._sent_s = -math.inf
        self._reading: bool | None = None
        self._said = ''
        self._is_fresh = False
        self._is_new = False
        self._is_answered = True
        self._failure = ''

    def state_received(self, is_open: bool | None, said: str) -> None:
        """
        Take a reading of the gate; returns at once.

        Parameters
        ----------
        is_open : bool or None
            Whether the gate is open; None = neither open nor at rest, or nobody can tell.
        said : str
            The reading in words, for errors.

        """
        with self._heard:
            self._reading, self._said, self._is_fresh = is_open, said, True
            told_s_ago = time.monotonic() - self._told_s
            if self._told is False and is_open is not False and told_s_ago > self._times.settle_s:
                self._fail(
                    f'{said}, {told_s_ago:.2f} s after it was told to rest: it is stuck, or '
                    'somebody else moves it'
                )
            self._heard.notify_all()

    def answered(self) -> None:
        """
        Take the answer to the newest command.

        """
        with self._heard:
            self._is_answered = True
            self._heard.notify_all()

    def refused(self, why: str) -> None:
        """
        Take the refusal of a command; the gate has failed until the next `connect`.

        """
        with self._heard:
            self._fail(why)
            self._heard.notify_all()

    def connect(self) -> None:
        """
        Wait until everybody is there, up to 3 s, and tell the gate to rest.

        Only `confirm` hears the readings, because the executor is busy while a node is activated.

        """
        self._output.stop()
        end_s = time.monotonic() + _CONNECT_S
        while missing := self._missing():
            if time.monotonic() > end_s:
                raise GateError(f'{self._name}: {missing} (waited {_CONNECT_S:g} s)')
            time.sleep(_LOOK_S)
        with self._heard:
            self._told, self._failure, self._is_fresh, self._is_new = None, '', False, True
        self._output.start()

    def open(self, duration_s: float, told_s: float | None = None) -> None:
        """
        Tell the gate to open, and to rest after the duration; does not block.

        """
        with self._heard:
            self._raise_failure()
        self._output.open(duration_s, told_s)

    def rest(self) -> None:
        """
        Tell the gate to rest; does not block.

        """
        self._output.rest()

    def confirm(self, *, is_open: bool) -> None:
        """
        Wait for a reading that is younger than this call and agrees, and for the answer to a
        command to rest. After `connect`, the first of both may take up to 3 s, as nodes
        that start need it.

        """

        def is_so() -> bool:
            return self._is_fresh and self._reading is is_open and (is_open or self._is_answered)

        with self._heard:
            if self._is_new:
                self._is_new = False
                self._heard.wait_for(
                    lambda: self._failure or (self._is_fresh and self._is_answered), _CONNECT_S
                )
            self._is_fresh = False
            self._heard.wait_for(lambda: self._failure or is_so(), self._times.timeout_s)
            self._raise_failure()
            if is_so():
                return
            said = self._said if self._is_fresh else self._silence
            if self._is_fresh and self._reading is is_open:
                said += ', but a command was not answered and may still move it,'
        missing = self._missing()
        raise GateError(
            f'{self._name}: it should be {_WORDS[is_open]}; {said} within '
            f'{self._times.timeout_s:g} s{missing and f"; {missing}"}'
        )

    def close(self) -> None:
        """
        Tell the gate to rest and fall silent.

        """
        # Never raise here.
        with suppress(Exception):
            self._output.rest()
        self._output.stop()

    def _write(self, is_open: bool) -> None:
        now = time.monotonic()
        with self._heard:
            is_new = is_open is not self._told
            if is_new:
                self._told, self._told_s = is_open, now
            is_overdue = self._reading is not is_open and now - self._sent_s > self._times.settle_s
            if not (self._repeats or is_new or is_overdue):
                return
            self._sent_s = now
            self._is_answered = not self._answers
        self._tell(is_open)

    def _fail(self, why: str) -> None:
        self._failure = self._failure or why

    def _raise_failure(self) -> None:
        if self._failure:
            raise GateError(f'{self._name}: {self._failure}')
