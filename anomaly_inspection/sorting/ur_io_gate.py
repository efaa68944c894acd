# SPDX-License-Identifier: Apache-2.0
"""
A gate at a digital output of a Universal Robots controller.

docs/gates.md says what must be added there.

"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from anomaly_inspection.setting_check import check_range
from anomaly_inspection.sorting.watched_gate import WatchedGate, WatchTimes

LAST_PIN = 17
#: Shortest window and time-out, seconds: the driver takes 50 ms for each request, in turn.
UR_LEAST_S = 0.1
#: No input shows the gate: the state of the output counts.
NO_INPUT = -1


@dataclass(frozen=True)
class UrIoWiring:
    """
    Where the gate is; pins as in ur_msgs/SetIO.

    Parameters
    ----------
    output : int
        Digital output, true = open: 0 to 7 standard, 8 to 15 configurable, 16 and 17 tool.
    read_back_input : int
        Digital input of a switch that is true while the gate is open; -1 = the state of the output
        itself is read.

    """

    output: int
    read_back_input: int = NO_INPUT

    def __post_init__(self) -> None:
        check_range('ur_io_output', self.output, 0, LAST_PIN)
        check_range('ur_io_read_back_input', self.read_back_input, NO_INPUT, LAST_PIN)


class UrIoGate(WatchedGate):
    """
    Sets the output by a service, and believes what the controller streams of its pins.

    Parameters
    ----------
    wiring : UrIoWiring
        Where the gate is.
    set_output : callable
        Asks to set an output (its number) on or off; must not block. The answer comes by
        `answer_received`.
    missing : callable
        Says in words who is not there, '' = everybody is.
    times : WatchTimes
        How long it may take.

    """

    def __init__(
        self,
        wiring: UrIoWiring,
        set_output: Callable[[int, bool], None],
        missing: Callable[[], str],
        times: WatchTimes,
    ) -> None:
        self._wiring = wiring
        super().__init__(
            lambda is_open: set_output(wiring.output, is_open),
            missing,
            times,
            name=f'UR output {wiring.output}',
            answers=True,
        )

    def answer_received(self, is_open: bool, success: bool) -> None:
        """
        Take the answer to the newest request. That it succeeded means nothing: the driver says so
        as well when it has waited for the robot in vain.

        """
        self.answered()
        if not success:
            self.refused(
                f'the controller refused to set it to {is_open}; is it active, and the robot '
                'switched on?'
            )

    def pins_received(self, outputs: Mapping[int, bool], inputs: Mapping[int, bool]) -> None:
        """
        Take the states of all pins, by their numbers.

        """
        is_output = self._wiring.read_back_input == NO_INPUT
        pin = self._wiring.output if is_output else self._wiring.read_back_input
        name = f'{"output" if is_output else "input"} {pin}'
        is_open = (outputs if is_output else inputs).get(pin)
        if is_open is None:
            self.state_received(None, f'there is no {name} among the states')
        else:
            self.state_received(is_open, f'{name} is {is_open}')
