# SPDX-License-Identifier: Apache-2.0
"""
A gate in memory, for demos and tests.

"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
import math

from anomaly_inspection.errors import GateError
from anomaly_inspection.sorting.gate import Gate, remaining_s

_REMEMBERED_ACTIONS = 10_000


class GateTrouble(Enum):
    """
    What is wrong with the simulated gate.

    """

    NONE = 'none'
    # It acknowledges everything and does not move.
    STUCK = 'stuck'
    # It answers nothing and does nothing, except finish the movement it has begun.
    SILENT = 'silent'
    # It moves `slowness_s` late in both directions.
    SLOW = 'slow'


@dataclass(frozen=True)
class GateAction:
    """
    One command the gate has acknowledged.

    Parameters
    ----------
    time_s : float
        When, seconds on the gate's clock.
    name : str
        'open' or 'rest'.
    duration_s : float
        The commanded time to stay open, seconds; NaN for 'rest'.

    """

    time_s: float
    name: str
    duration_s: float = math.nan


class SimulatedGate(Gate):
    """
    A gate that rests in REJECT, closes by itself and remembers its commands.

    Parameters
    ----------
    clock : callable giving float
        Gives the time, seconds: `time.monotonic` or a clock of the test.
    actuation_s : float
        Time from a command to the movement, seconds.
    slowness_s : float
        The delay that GateTrouble.SLOW adds, seconds.

    Attributes
    ----------
    actions : deque of GateAction
        The last 10,000 commands, oldest first.

    """

    def __init__(
        self, clock: Callable[[], float], *, actuation_s: float = 0.0, slowness_s: float = 1.0
    ) -> None:
        self.actions: deque[GateAction] = deque(maxlen=_REMEMBERED_ACTIONS)
        self._clock = clock
        self._actuation_s = actuation_s
        self._slowness_s = slowness_s
        self._trouble = GateTrouble.NONE
        self._is_connected = False
        # Past and future movements: (when, whether the gate is open from then on).
        self._movements: list[tuple[float, bool]] = [(-math.inf, False)]

    def connect(self) -> None:
        """
        Connect and go to rest; does not block.

        """
        self._is_connected = True
        self.rest()

    def open(self, duration_s: float, told_s: float | None = None) -> None:
        """
        Open for the duration; does not block.

        """
        now = self._answer()
        duration_s = remaining_s(duration_s, told_s, now)
        self.actions.append(GateAction(now, 'open', duration_s))
        # A gate that is already opening opens no later.
        opening = [when for when, is_open in self._movements if is_open and when > now]
        opens_s = min([now + self._delay_s, *opening])
        self._move((opens_s, True), (now + duration_s + self._delay_s, False))

    def rest(self) -> None:
        """
        Go to rest; does not block.

        """
        now = self._answer()
        self.actions.append(GateAction(now, 'rest'))
        self._move((now + self._delay_s, False))

    def confirm(self, *, is_open: bool) -> None:
        """
        Compare the state of the gate with the expected one; does not block.

        """
        self._answer()
        if self.is_open != is_open:
            words = {True: 'open', False: 'at rest'}
            raise GateError(f'the gate is {words[self.is_open]}, it should be {words[is_open]}')

    def close(self) -> None:
        """
        Go to rest, as a gate does when it loses its connection.

        """
        if self._is_connected:
            self._move((self._clock() + self._delay_s, False))
        self._is_connected = False

    @property
    def trouble(self) -> GateTrouble:
        """
        The simulated trouble; may be set at any time.

        """
        return self._trouble

    @trouble.setter
    def trouble(self, trouble: GateTrouble) -> None:
        if trouble is GateTrouble.STUCK:
            self._movements = [(-math.inf, self.is_open)]
        self._trouble = trouble

    @property
    def is_open(self) -> bool:
        """
        Tell whether the gate is open now.

        """
        now = self._clock()
        return [is_open for when, is_open in self._movements if when <= now][-1]

    @property
    def _delay_s(self) -> float:
        slowness_s = self._slowness_s if self._trouble is GateTrouble.SLOW else 0.0
        return self._actuation_s + slowness_s

    def _answer(self) -> float:
        if not self._is_connected:
            raise GateError('the gate is not connected')
        if self._trouble is GateTrouble.SILENT:
            raise GateError('the gate does not answer')
        return self._clock()

    def _move(self, *movements: tuple[float, bool]) -> None:
        # A new command replaces the movements to come.
        if self._trouble is not GateTrouble.STUCK:
            self._movements = [(-math.inf, self.is_open), *movements]
