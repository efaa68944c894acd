# SPDX-License-Identifier: Apache-2.0
"""
An arm that picks good parts, in the place of a gate.

"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
import time

from anomaly_inspection.errors import GateError
from anomaly_inspection.sorting.gate import Gate
from anomaly_inspection.sorting.pick_order import PickOrder
from anomaly_inspection.sorting.sort_record import PartKey

# Nodes that start together discover each other within a second or two.
_CONNECT_S = 3.0
_LOOK_S = 0.05
_NO_SERVER = "nobody offers the action 'sort_part': is the driver of the arm running?"


class ArmGate(Gate):
    """
    Sends orders to an arm and cancels them; at rest when no order is under way.

    No call blocks, apart from `connect`. What the arm answers goes to the pick tracker.

    Parameters
    ----------
    send : callable
        Sends an order. Must not block.
    cancel : callable
        Cancels the order of a part, also one that the arm has not taken yet. Must not block.
    cancel_all : callable
        Cancels every order under way. Must not block.
    is_heard : callable
        Tells whether an arm is there.

    """

    def __init__(
        self,
        send: Callable[[PickOrder], None],
        cancel: Callable[[PartKey], None],
        cancel_all: Callable[[], None],
        is_heard: Callable[[], bool],
    ) -> None:
        self._send = send
        self._cancel = cancel
        self._cancel_all = cancel_all
        self._is_heard = is_heard

    def connect(self) -> None:
        """
        Wait for an arm, up to 3 s.

        """
        end_s = time.monotonic() + _CONNECT_S
        while not self._is_heard():
            if time.monotonic() > end_s:
                raise GateError(f'no arm within {_CONNECT_S:g} s: {_NO_SERVER}')
            time.sleep(_LOOK_S)

    def pick(self, order: PickOrder) -> None:
        """
        Order a part.

        Raises
        ------
        GateError
            When no arm is there.

        """
        self._check()
        self._send(order)

    def cancel(self, key: PartKey) -> None:
        """
        Cancel the order of a part; does nothing when it has ended.

        """
        self._cancel(key)

    def open(self, duration_s: float, told_s: float | None = None) -> None:
        """
        Refuse: an arm has no window.

        """
        raise GateError('an arm picks parts; it has no window that could be opened')

    def rest(self) -> None:
        """
        Cancel every order.

        """
        self._cancel_all()

    def confirm(self, *, is_open: bool) -> None:
        """
        Make sure that an arm is there; `is_open` means nothing to it.

        """
        self._check()

    def close(self) -> None:
        """
        Cancel every order.

        """
        # Never raise here; an order that could not be cancelled is one of a good part.
        with suppress(Exception):
            self._cancel_all()

    def _check(self) -> None:
        if not self._is_heard():
            raise GateError(_NO_SERVER)
