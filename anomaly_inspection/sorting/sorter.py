# SPDX-License-Identifier: Apache-2.0
"""
The sorter: lets the gate do what the tracker asks for, and stops the line when it does not.

"""

from __future__ import annotations

from dataclasses import dataclass
import math
from threading import Lock

from anomaly_inspection.errors import GateError
from anomaly_inspection.sorting.gate import Gate
from anomaly_inspection.sorting.part_tracker import (
    GateCall,
    GateTask,
    PartTracker,
    TrackerCounts,
)
from anomaly_inspection.sorting.sort_record import Cause, PartKey, SortRecord


@dataclass(frozen=True)
class LineStop:
    """
    Whether the line must stand; while it must, every part is rejected.

    Parameters
    ----------
    is_active : bool
        Whether it must.
    reason : str
        The first reason, one sentence; '' when not active.
    since_s : float
        Steady clock, seconds; NaN when not active.

    """

    is_active: bool = False
    reason: str = ''
    since_s: float = math.nan


class Sorter:
    """
    Sorts parts: exactly one event for each, and an open gate only for a PASS.

    One thread calls `step`, again and again while `next_due` is not in the future; the gate may
    block it, and `reset` and `flush`. Every other method returns at once. All may be called from
    any thread. The gate must have been connected before.

    """

    def __init__(self, tracker: PartTracker, gate: Gate) -> None:
        self._tracker = tracker
        self._gate = gate
        # Taken in this order. The gate is never called under the state lock, so that a gate that
        # blocks holds up no part and no verdict.
        self._gate_lock = Lock()
        self._state_lock = Lock()
        self._line_stop = LineStop()
        self._fault = ''
        self._gate_failure = ''

    @property
    def line_stop(self) -> LineStop:
        """
        Whether the line must stand now.

        """
        return self._line_stop

    @property
    def counts(self) -> TrackerCounts:
        """
        What has happened since the start, for diagnostics.

        """
        return self._tracker.counts

    def part_seen(self, key: PartKey, exposure_s: float, now: float) -> None:
        """
        Follow a part; the first message of a part counts.

        """
        with self._state_lock:
            self._tracker.part_seen(key, exposure_s, now)
            self._stop_on_failure(now)
            if self._line_stop.is_active:
                self._tracker.reject_all(self._line_stop.reason)

    def decision_received(self, key: PartKey, passes: bool, now: float) -> None:
        """
        Take the verdict on a part; anything but PASS is `passes=False`.

        """
        with self._state_lock:
            self._tracker.decision_received(key, passes, now)

    def fault_received(self, is_active: bool, reason: str, now: float) -> None:
        """
        Take the decider's fault: it stops the line, and its end alone does not start it.

        """
        with self._state_lock:
            self._fault = (reason or 'the decider has a fault') if is_active else ''
            if is_active:
                self._stop(self._fault, now)

    def stop_line(self, reason: str, now: float) -> None:
        """
        Stop the line for a reason of the caller's; a reset starts it again.

        """
        with self._state_lock:
            self._stop(reason, now)

    def next_due(self) -> float | None:
        """
        When `step` has something to do again, steady clock; None when no part is followed.

        """
        with self._state_lock:
            return self._tracker.next_due()

    def step(self, now: float) -> list[SortRecord]:
        """
        Do what is due, at most one call of the gate; blocks as long as the gate does.

        Returns
        -------
        list of SortRecord
            Of the parts that are through.

        """
        if not self._gate_lock.acquire(blocking=False):
            # `reset` or `flush` has the gate; when they are through `now` is old, so call again.
            with self._gate_lock:
                return []
        try:
            return self._step(now)
        finally:
            self._gate_lock.release()

    def check_gate(self, now: float) -> None:
        """
        Read back that the gate rests while no part needs it, so that a gate that is lost stops the
        line before the next part; blocks as long as the gate does.

        """
        with self._gate_lock:
            with self._state_lock:
                if self._gate_failure or not self._tracker.must_rest:
                    return
            error = self._ask_gate(GateTask(GateCall.CONFIRM_REST, ('', 0)))
            with self._state_lock:
                if error:
                    self._gate_failure = error
                    self._stop(error, now)

    def reset(self, now: float) -> str:
        """
        Let the line run again, unless the cause of the stop lasts; blocks while the gate does.

        Parts that were on the belt before stay rejected: nobody knows where they are. A gate that
        rests in PASS would let them pass: clear the belt between camera and gate before.

        Returns
        -------
        str
            '' when the line may run; else why not, one sentence.

        """
        if not self._line_stop.is_active:
            return ''
        with self._gate_lock:
            try:
                if self._gate_failure:
                    self._gate.connect()
                self._gate.rest()
                self._gate.confirm(is_open=False)
            # A driver may fail in any way.
            except Exception as error:  # noqa: BLE001
                with self._state_lock:
                    self._gate_failure = _sentence(error)
                    self._stop(self._gate_failure, now)
                return f'the gate still fails: {_sentence(error)}'
            with self._state_lock:
                if self._fault:
                    return f'the cause lasts: {self._fault}'
                self._gate_failure = ''
                self._line_stop = LineStop()
        return ''

    def flush(self, now: float) -> list[SortRecord]:
        """
        Bring the gate to rest and let go of every part, because the sorter stops.

        """
        with self._gate_lock:
            return self._let_go(
                Cause.SHUTDOWN, 'the sorter stopped with the part on the belt', now
            )

    def _step(self, now: float) -> list[SortRecord]:
        events: list[SortRecord] = []
        try:
            with self._state_lock:
                task, events = self._tracker.advance(now)
                self._stop_on_failure(now)
                if task is not None and self._gate_failure:
                    # A gate that has failed is left alone until the reset: its time-outs would
                    # hold up the rest.
                    self._tracker.done(task, self._gate_failure)
                    self._stop_on_failure(now)
                    task = None
            if task is not None:
                error = self._ask_gate(task)
                with self._state_lock:
                    self._gate_failure = self._gate_failure or error
                    self._tracker.done(task, error)
                    self._stop_on_failure(now)
        # Whatever it is, the line must stop, and no part may be lost.
        except Exception as error:  # noqa: BLE001
            reason = f'internal error: {error!r}'
            with self._state_lock:
                self._stop(reason, now)
            return events + self._let_go(Cause.LINE_STOPPED, reason, now)
        return events

    def _let_go(self, cause: Cause, detail: str, now: float) -> list[SortRecord]:
        error = self._ask_gate(GateTask(GateCall.REST, ('', 0)))
        with self._state_lock:
            if error:
                self._gate_failure = error
                self._stop(error, now)
            self._tracker.abandon(
                cause, f'{detail}; {error}' if error else detail, gate_rests=not error
            )
            _, events = self._tracker.advance(now)
        return events

    def _ask_gate(self, task: GateTask) -> str:
        """
        Call the gate; on failure try to bring it to rest, and say what was wrong.

        """
        try:
            if task.call is GateCall.OPEN:
                self._gate.open(task.duration_s, task.told_s)
            elif task.call is GateCall.REST:
                self._gate.rest()
            else:
                self._gate.confirm(is_open=task.call is GateCall.CONFIRM_OPEN)
        # A driver may fail in any way; the line stops with what it said.
        except Exception as error:  # noqa: BLE001
            try:
                self._gate.rest()
            except Exception as second_error:  # noqa: BLE001
                return f'{_sentence(error)}; no rest either: {_sentence(second_error)}'
            return _sentence(error)
        return ''

    def _stop_on_failure(self, now: float) -> None:
        failure = self._tracker.take_failure()
        if failure:
            self._stop(failure, now)

    def _stop(self, reason: str, now: float) -> None:
        if not self._line_stop.is_active:
            self._line_stop = LineStop(True, reason, now)
        self._tracker.reject_all(self._line_stop.reason)


def _sentence(error: Exception) -> str:
    return str(error) if isinstance(error, GateError) else repr(error)
