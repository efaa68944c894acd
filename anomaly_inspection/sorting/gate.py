# SPDX-License-Identifier: Apache-2.0
"""
The protocol of a gate, the actuator that sorts parts out.

"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from anomaly_inspection.errors import GateError

LONGEST_DURATION_S = 60.0


class Gate(ABC):
    """
    An actuator that rests in REJECT and opens for one part at a time.

    Only one thread calls it at a time. Every call may block for the driver's time-out (keep it
    well below the time between parts) and raises GateError when the gate has not answered by then.
    Power loss, a lost connection and a dead process must leave or bring the gate to rest.

    Attributes
    ----------
    closes_by_itself : bool
        Whether the other side ends a window when this process is dead. Where it does not, the
        belt must stop then.

    """

    closes_by_itself: ClassVar[bool] = True

    @abstractmethod
    def connect(self) -> None:
        """
        Connect, or reconnect after a failure, and bring the gate to rest.

        Raises
        ------
        GateError
            When the gate cannot be reached; says what was tried.

        """

    @abstractmethod
    def open(self, duration_s: float, told_s: float | None = None) -> None:
        """
        Tell the gate to open now and to go back to rest by itself after the duration.

        Returns when the gate has acknowledged the command, not when it has moved. The device
        counts the time, so the gate closes even when this process dies. A call while the gate is
        open starts a new window.

        Parameters
        ----------
        duration_s : float
            From `told_s` to the command to close, seconds, above 0.
        told_s : float or None
            When the duration begins, steady clock, seconds; None = now. A busy computer may delay
            any thread, so the time that has passed since is subtracted.

        Raises
        ------
        GateError
            When the gate does not acknowledge (it may have opened all the same), or when it closes
            later than the driver's time-out after its time, or nobody knows when.

        """

    @abstractmethod
    def rest(self) -> None:
        """
        Tell the gate to go to rest now; does nothing when it rests.

        Raises
        ------
        GateError
            When the gate does not acknowledge.

        """

    @abstractmethod
    def confirm(self, *, is_open: bool) -> None:
        """
        Read back the state of the gate and compare.

        Parameters
        ----------
        is_open : bool
            The expected state: open, or at rest.

        Raises
        ------
        GateError
            When the gate is in the other state or does not answer; the message says which.

        """

    @abstractmethod
    def close(self) -> None:
        """
        Bring the gate to rest and disconnect. May be called twice; never raises.

        """


def remaining_s(duration_s: float, told_s: float | None, now_s: float) -> float:
    """
    Give the rest of a duration that began at `told_s`, seconds; None = now.

    Raises
    ------
    GateError
        When the duration is not allowed, or has passed.

    """
    if not 0 < duration_s <= LONGEST_DURATION_S:
        raise GateError(f'duration {duration_s} s, allowed: above 0, up to {LONGEST_DURATION_S:g}')
    late_s = 0.0 if told_s is None else max(0.0, now_s - told_s)
    if late_s >= duration_s:
        raise GateError(f'the computer delayed the command by {late_s:.3f} s: not opened')
    return duration_s - late_s
