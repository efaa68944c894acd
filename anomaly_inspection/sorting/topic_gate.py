# SPDX-License-Identifier: Apache-2.0
"""
A gate behind two topics: one with commands, one with its state.

"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
import threading
import time

from anomaly_inspection.errors import GateError
from anomaly_inspection.sorting.gate import Gate
from anomaly_inspection.sorting.repeated_output import RepeatedOutput

# Nodes that start together discover each other within a second or two.
_CONNECT_S = 3.0
_LOOK_S = 0.05
_WORDS = {None: 'nothing', True: 'that it is open', False: 'that it is at rest'}


class TopicGate(Gate):
    """
    Repeats to an actuator which state to take, and believes only what the actuator reports.

    The actuator rests when it has heard nothing for `3 * period_s`, and answers each message with
    its state. A command has no answer of its own: `confirm` shows a failure.

    Parameters
    ----------
    tell : callable
        Publishes whether the gate must be open. Must not block.
    is_heard : callable
        Tells whether somebody listens to that and reports the state of the gate.
    timeout_s : float
        The longest wait of `confirm`, and the latest command to rest after a window, seconds.
    period_s : float
        Time between two repetitions, seconds.

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
        Take the state that the actuator reports; returns at once.

        """
        with self._answer:
            self._said = is_open
            self._answer.notify()

    def connect(self) -> None:
        """
        Wait for an actuator, up to 3 s, and start telling it to rest.

        Only `confirm` hears its answers, because the executor is busy while a node is activated.

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
        Open the actuator, and bring it to rest after the duration; does not block.

        """
        self._output.open(duration_s, told_s)

    def rest(self) -> None:
        """
        Bring the actuator to rest; does not block.

        """
        self._output.rest()

    def confirm(self, *, is_open: bool) -> None:
        """
        Tell the actuator once more, and wait until it reports that state.

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
        Bring the actuator to rest and fall silent.

        """
        # Never raise here; silence brings the gate to rest.
        with suppress(Exception):
            self._output.rest()
        self._output.stop()
