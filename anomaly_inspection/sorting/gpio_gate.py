# SPDX-License-Identifier: Apache-2.0
"""
A gate at a command interface of ros2_control.

docs/gates.md says what must be added there.

"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
import math

from anomaly_inspection.errors import SettingError
from anomaly_inspection.setting_check import check_range
from anomaly_inspection.sorting.watched_gate import WatchedGate, WatchTimes

# A reading so near to one of the two values, in shares of their distance, is that value.
_NEAR_SHARE = 0.1

#: By group and interface, its value.
Values = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class GpioWiring:
    """
    Where the gate is; every name is 'group/interface'.

    Parameters
    ----------
    command : str
        Command interface of the gate.
    read_back : str
        State interface that shows the gate; '' = the one named as the command interface.
    open_value, rest_value : float
        What both say when the gate is open and at rest; different.
    heartbeat : str
        Command interface that changes between 0 and 1 with each message; '' = none.

    """

    command: str
    read_back: str = ''
    open_value: float = 1.0
    rest_value: float = 0.0
    heartbeat: str = ''

    def __post_init__(self) -> None:
        names = {
            'gpio_command': self.command,
            'gpio_read_back': self.read_back or self.command,
            'gpio_heartbeat': self.heartbeat or 'none/none',
        }
        for key, name in names.items():
            if not all(_split(name)):
                raise SettingError(
                    f"{key} {name!r}, allowed: group and interface, such as 'flange/output_1'"
                )
        for key, value in (
            ('gpio_open_value', self.open_value),
            ('gpio_rest_value', self.rest_value),
        ):
            check_range(key, value, -1e9, 1e9)
        if self.open_value == self.rest_value:
            raise SettingError(
                f'gpio_open_value and gpio_rest_value are both {self.open_value:g}, allowed: two '
                'different values'
            )
        if self.heartbeat == self.command:
            raise SettingError(
                f'gpio_heartbeat is {self.heartbeat!r}, as gpio_command; allowed: another one'
            )


class GpioGate(WatchedGate):
    """
    Repeats the value of the command interface, and believes what the controller streams.

    Parameters
    ----------
    wiring : GpioWiring
        Where the gate is.
    command : callable
        Publishes the values of command interfaces; must not block.
    missing : callable
        Says in words who is not there, '' = everybody is.
    times : WatchTimes
        How long it may take.

    """

    def __init__(
        self,
        wiring: GpioWiring,
        command: Callable[[Values], None],
        missing: Callable[[], str],
        times: WatchTimes,
    ) -> None:
        self._wiring = wiring
        self._command = command
        self._beats = 0
        self._stamp_ns = 0
        super().__init__(
            self._publish, missing, times, name=f'gpio {wiring.command}', repeats=True
        )

    def values_received(self, values: Values, stamp_ns: int) -> None:
        """
        Take the values of all state interfaces.

        Parameters
        ----------
        values : mapping
            By group and interface.
        stamp_ns : int
            When they were read, nanoseconds; the same stamp again is nothing new. 0 = unknown.

        """
        if stamp_ns and stamp_ns == self._stamp_ns:
            return
        self._stamp_ns = stamp_ns
        name = self._wiring.read_back or self._wiring.command
        group, interface = _split(name)
        value = values.get(group, {}).get(interface)
        if value is None:
            known = [f'{group}/{name}' for group, names in values.items() for name in names]
            self.state_received(
                None, f'there is no {name} among the states ({", ".join(known) or "none"})'
            )
        else:
            self.state_received(self._is_open(value), f'{name} is {value:g}')

    def _is_open(self, value: float) -> bool | None:
        wiring = self._wiring
        near = _NEAR_SHARE * abs(wiring.open_value - wiring.rest_value)
        if not math.isfinite(value):
            return None
        if abs(value - wiring.open_value) <= near:
            return True
        return False if abs(value - wiring.rest_value) <= near else None

    def _publish(self, is_open: bool) -> None:
        wiring = self._wiring
        values: dict[str, dict[str, float]] = {}
        group, interface = _split(wiring.command)
        values[group] = {interface: wiring.open_value if is_open else wiring.rest_value}
        if wiring.heartbeat:
            self._beats += 1
            group, interface = _split(wiring.heartbeat)
            values.setdefault(group, {})[interface] = float(self._beats % 2)
        self._command(values)


def _split(name: str) -> tuple[str, str]:
    # As ros2_control does: the interface is what follows the last slash.
    group, _, interface = name.rpartition('/')
    return group.strip(), interface.strip()
