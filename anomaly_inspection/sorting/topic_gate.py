# SPDX-License-Identifier: Apache-2.0
"""
A gate behind two topics: what it is told, and what it says of itself.

"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
import threading
import time

from anomaly_inspection.errors import GateError
from anomaly_inspection.sorting.gate import Gate
from anomaly_inspection.sorting.repeated_output import RepeatedOutput

# Nodes that start together find each other within a second or two.
_CONNECT_S = 3.0
_LOOK_S = 0.05
_WORDS = {None: 'nothing', True: 'that it is open', False: 'that it is at rest'}


class TopicGate(Gate):
    """
    Tells an actuator again and again how to stand, and believes it only when it says so.

    The actuator rests when it has heard nothing for `3 * period_s`, and answers whatever it hears
    with how it stands. A telling has no answer of its own: what failed shows at `confirm`.

    Parameters
    ----------
    tell : callable
        Publishes whether the gate must be open; does not block.
    is_heard : callable
        Whether somebody listens to that and says how the gate stands.
    timeout_s : float
        How long `confirm` waits for the actuator, and how late it may be told to rest, seconds.
    period_s : float
        Between two tellings, seconds.

    """

    def __init__(
        self,
        tell: Callable[[bool], None],
        is_heard: Callable[[], bool],
        *,
        timeout_s: float,
        period_s: float,
    ) -> None:
        self._output = RepeatedOutput(
            tell, period_s=period_s, most_late_s=timeout_s, name="topic 'gate'"
        )
        self._is_heard = is_heard
        self._timeout_s = timeout_s
        self._answer = threading.Condition()
        self._said: bool | None = None

    def answer_received(self, is_open: bool) -> None:
        """
        Take what the actuator says of itself; returns at once.

        """
        with self._answer:
            self._said = is_open
            self._answer.notify()

    def connect(self) -> None:
        """
        Wait for an actuator, up to 3 s, and begin to tell it to rest.

        What it says in answer is heard by `confirm` alone: at the activation of a node its
        executor is busy.

        """
        end_s = time.monotonic() + _CONNECT_S
        while not self._is_heard():
            if time.monotonic() > end_s:
                raise GateError(
                    f'no actuator within {_CONNECT_S:g} s: somebody must listen to the topic '
                    "'gate' and publish 'gate_state'"
                )
            time.sleep(_LOOK_S)
        self._output.start()

    def open(self, duration_s: float, told_s: float | None = None) -> None:
        """
        Tell the actuator to open, and to rest after the duration; does not block.

        """
        self._output.open(duration_s, told_s)

    def rest(self) -> None:
        """
        Tell the actuator to rest; does not block.

        """
        self._output.rest()

    def confirm(self, *, is_open: bool) -> None:
        """
        Tell the actuator once more, and wait until it says that it stands so.

        """
        with self._answer:
            self._said = None
            self._output.say_again()
            if not self._answer.wait_for(lambda: self._said is is_open, self._timeout_s):
                raise GateError(
                    f'the actuator said {_WORDS[self._said]} within {self._timeout_s:g} s, '
                    f'it should say {_WORDS[is_open]}'
                )

    def close(self) -> None:
        """
        Tell the actuator to rest and fall silent.

        """
        # It never raises; silence brings the gate to rest.
        with suppress(Exception):
            self._output.rest()
        self._output.stop()
