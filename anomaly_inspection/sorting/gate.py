# SPDX-License-Identifier: Apache-2.0
"""
What a gate is: the protocol of the actuators that sort parts out.

"""

from __future__ import annotations

from abc import ABC, abstractmethod

from anomaly_inspection.errors import GateError

LONGEST_DURATION_S = 60.0


class Gate(ABC):
    """
    An actuator that rests in REJECT and opens for one part at a time.

    One thread at a time calls it. Every call may block for the driver's time-out (keep it well
    below the pitch of the parts) and raises GateError when the gate has not answered by then.
    Power loss, a lost connection and a dead process must leave or bring the gate to rest.

    """

    @abstractmethod
    def connect(self) -> None:
        """
        Connect, or connect anew after a failure, and bring the gate to rest.

        Raises
        ------
        GateError
            When the gate cannot be reached; says what was tried.

        """

    @abstractmethod
    def open(self, duration_s: float, told_s: float | None = None) -> None:
        """
        Tell the gate to open now and to go back to rest by itself after the duration.

        Returns when the gate has acknowledged the command, not when it has moved. The time is
        counted in the device, so that it closes even when this process dies. Called while open, it
        begins anew.

        Parameters
        ----------
        duration_s : float
            From `told_s` to the command back, seconds, above 0.
        told_s : float or None
            When the duration begins, steady clock, seconds; None = now. A computer may hold up any
            thread at any time: what has passed since is taken off.

        Raises
        ------
        GateError
            When the gate does not acknowledge, so that it may have opened all the same; or when it
            goes back later than by the driver's time-out after its time, or nobody knows.

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
        Read back from the gate how it stands, and compare.

        Parameters
        ----------
        is_open : bool
            How it should stand: open, or at rest.

        Raises
        ------
        GateError
            When it stands otherwise or does not answer; says which.

        """

    @abstractmethod
    def close(self) -> None:
        """
        Bring the gate to rest and disconnect; may be called twice; never raises.

        """


def remaining_s(duration_s: float, told_s: float | None, now_s: float) -> float:
    """
    Give what is left of a duration that began at `told_s`, seconds; None = now.

    Raises
    ------
    GateError
        When the duration is not allowed, or is over.

    """
    if not 0 < duration_s <= LONGEST_DURATION_S:
        raise GateError(f'duration {duration_s} s, allowed: above 0, up to {LONGEST_DURATION_S:g}')
    late_s = 0.0 if told_s is None else max(0.0, now_s - told_s)
    if late_s >= duration_s:
        raise GateError(f'the computer held up the command for {late_s:.3f} s: not opened')
    return duration_s - late_s
