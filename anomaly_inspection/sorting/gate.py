# SPDX-License-Identifier: Apache-2.0
"""
What a gate is: the protocol of the actuators that sort parts out.

"""

from __future__ import annotations

from abc import ABC, abstractmethod


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
    def open(self, duration_s: float) -> None:
        """
        Tell the gate to open now and to go back to rest by itself after the duration.

        Returns when the gate has acknowledged the command, not when it has moved. The time is
        counted in the device, so that it closes even when this process dies. Called while open, it
        begins anew.

        Parameters
        ----------
        duration_s : float
            From this command to the command back, seconds, above 0.

        Raises
        ------
        GateError
            When the gate does not acknowledge; it may have opened all the same.

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
