# SPDX-License-Identifier: Apache-2.0
"""
The sorter: moves the gate or the arm as the tracker asks, and stops the line when it fails.

"""

from __future__ import annotations

from dataclasses import dataclass
import math
from threading import Lock
from typing import Any

from anomaly_inspection.errors import GateError
from anomaly_inspection.sorting.arm_gate import ArmGate
from anomaly_inspection.sorting.gate import Gate
from anomaly_inspection.sorting.gate_task import GateCall, GateTask
from anomaly_inspection.sorting.part_tracker import PartTracker, TrackerCounts
from anomaly_inspection.sorting.pick_order import Grip, PickResult
from anomaly_inspection.sorting.pick_tracker import PickTracker
from anomaly_inspection.sorting.sort_record import Cause, PartKey, SortRecord
from anomaly_inspection.sorting.stop_cause import StopCause


@dataclass(frozen=True)
class LineStop:
    """
    Whether the line must stop; while it must, every part is rejected.

    Parameters
    ----------
    is_active : bool
        Whether the line must stop.
    reason : str
        The first reason, one sentence; '' when not active.
    since_s : float
        Steady clock, seconds; NaN when not active.
    cause : StopCause
        The reason as a code; UNKNOWN when not active.

    """

    is_active: bool = False
    reason: str = ''
    since_s: float = math.nan
    cause: StopCause = StopCause.UNKNOWN


class Sorter:
    """
    Sorts parts: exactly one event for each, and an open gate only for a PASS.

    One thread calls `step` repeatedly while `next_due` is not in the future. The gate may block
    `step`, `reset` and `flush`; every other method returns at once. Any thread may call any
    method. Connect the gate first. An arm takes the place of the gate with a `PickTracker` and an
    `ArmGate`.

    """

    def __init__(self, tracker: PartTracker | PickTracker, gate: Gate) -> None:
        self._tracker = tracker
        self._gate = gate
        # Take them in this order. The gate is never called under the state lock, so a gate that
        # blocks delays no part and no verdict.
        self._gate_lock = Lock()
        self._state_lock = Lock()
        self._line_stop = LineStop()
        self._fault = ''
        self._gate_failure = ''
        self._belt_failure = ''

    @property
    def line_stop(self) -> LineStop:
        """
        Tell whether the line must stop now.

        """
        return self._line_stop

    @property
    def counts(self) -> TrackerCounts:
        """
        Give the counts since the start, for diagnostics.

        """
        return self._tracker.counts

    def part_seen(self, key: PartKey, exposure_s: float, now: float) -> None:
        """
        Track a part; the first message of a part counts.

        """
        with self._state_lock:
            self._tracker.part_seen(key, exposure_s, now)
            self._stop_on_belt_failure(now)
            self._stop_on_failure(now)
            if self._line_stop.is_active:
                self._tracker.reject_all(self._line_stop.reason)

    def belt_moved(self, position_m: float, at_s: float, now: float) -> None:
        """
        Take a sample of the belt's encoder; does nothing where the tracker has none.

        Parameters
        ----------
        position_m : float
            Grows while parts move from the camera to the gate, metres.
        at_s : float
            When the belt was there, steady clock, seconds.
        now : float
            Steady clock, seconds.

        """
        with self._state_lock:
            if self._tracker.belt is not None:
                self._tracker.belt_moved(position_m, at_s)
                self._stop_on_belt_failure(now)

    def forget_belt(self) -> None:
        """
        Begin anew with the encoder, which nobody has listened to for a while; call `flush` before.

        """
        with self._state_lock:
            if self._tracker.belt is not None:
                self._tracker.belt.forget()
            self._belt_failure = ''

    def decision_received(self, key: PartKey, passes: bool, now: float) -> None:
        """
        Take the verdict on a part; anything except PASS is `passes=False`.

        """
        with self._state_lock:
            self._tracker.decision_received(key, passes, now)

    def pose_received(self, key: PartKey, is_sure: bool, pose: Any, detail: str) -> None:
        """
        Take how a part lies, for an arm.

        """
        with self._state_lock:
            self._picks.pose_received(key, is_sure, pose, detail)

    def order_answered(self, key: PartKey, is_taken: bool, now: float) -> None:
        """
        Take whether the arm takes an order.

        """
        with self._state_lock:
            if is_taken:
                self._picks.order_taken(key)
            else:
                self._picks.order_refused(key, now)

    def gripped(self, key: PartKey, grip: Grip, now: float) -> None:
        """
        Take where the gripper of the arm has closed.

        """
        with self._state_lock:
            self._picks.gripped(key, grip, now)
            self._stop_on_failure(now)

    def order_ended(self, key: PartKey, result: PickResult, now: float) -> None:
        """
        Take how an order of the arm has ended.

        """
        with self._state_lock:
            self._picks.order_ended(key, result, now)
            self._stop_on_failure(now)

    @property
    def _picks(self) -> PickTracker:
        assert isinstance(self._tracker, PickTracker)
        return self._tracker

    def fault_received(
        self,
        is_active: bool,
        reason: str,
        now: float,
        cause: StopCause = StopCause.UNKNOWN,
    ) -> None:
        """
        Take the decider's fault. It stops the line; the end of the fault alone does not start it
        again.

        """
        with self._state_lock:
            self._fault = (reason or 'the decider has a fault') if is_active else ''
            if is_active:
                self._stop(self._fault, now, cause)

    def stop_line(self, reason: str, now: float, cause: StopCause = StopCause.UNKNOWN) -> None:
        """
        Stop the line for the caller's reason; a reset starts it again.

        """
        with self._state_lock:
            self._stop(reason, now, cause)

    def next_due(self) -> float | None:
        """
        Give the time when `step` has something to do, steady clock; None when no part is tracked.

        """
        with self._state_lock:
            due_s, belt = self._tracker.next_due(), self._tracker.belt
            if belt is None:
                return due_s
            if not self._belt_failure:
                silent_from_s = belt.silent_from_s()
                return silent_from_s if due_s is None else min(due_s, silent_from_s)
            return -math.inf if self._tracker.is_tracking else due_s

    def step(self, now: float) -> list[SortRecord]:
        """
        Do what is due, with one call of the gate at most; blocks as long as the gate does.

        Returns
        -------
        list of SortRecord
            The records of the parts that are done.

        """
        if not self._gate_lock.acquire(blocking=False):
            # `reset` or `flush` holds the gate. `now` is old when they are done, so call again.
            with self._gate_lock:
                return []
        try:
            return self._step(now)
        finally:
            self._gate_lock.release()

    def check_gate(self, now: float) -> None:
        """
        Read back that the gate rests while no part needs it, so that a lost gate stops the line
        before the next part. Blocks as long as the gate does.

        """
        with self._gate_lock:
            with self._state_lock:
                if self._gate_failure or not self._tracker.must_rest:
                    return
            error = self._ask_gate(GateTask(GateCall.CONFIRM_REST, ('', 0)))
            with self._state_lock:
                if error:
                    self._gate_failure = error
                    self._stop(error, now, StopCause.GATE)

    def reset(self, now: float) -> str:
        """
        Let the line run again, unless the cause of the stop lasts; blocks as long as the gate
        does.

        Parts that were on the belt before stay rejected, because nobody knows where they are. A
        gate that rests in PASS would let them pass: first clear the belt between camera and gate.

        Returns
        -------
        str
            '' when the line may run, else one sentence that says why not.

        """
        if not self._line_stop.is_active:
            return ''
        with self._gate_lock:
            try:
                if self._gate_failure:
                    self._gate.connect()
                self._gate.rest()
                self._gate.confirm(is_open=False)
            # A driver may raise anything.
            except Exception as error:  # noqa: BLE001
                with self._state_lock:
                    self._gate_failure = _sentence(error)
                    self._stop(self._gate_failure, now, StopCause.GATE)
                return f'the gate still fails: {_sentence(error)}'
            with self._state_lock:
                lasting = self._fault or self._lasting_belt_failure(now)
                if lasting:
                    return f'the cause lasts: {lasting}'
                self._gate_failure = ''
                self._line_stop = LineStop()
        return ''

    def flush(self, now: float) -> list[SortRecord]:
        """
        Bring the gate to rest and drop every part, because the sorter stops.

        """
        with self._gate_lock:
            return self._let_go(
                Cause.SHUTDOWN, 'the sorter stopped with the part on the belt', now
            )

    def _step(self, now: float) -> list[SortRecord]:
        events: list[SortRecord] = []
        try:
            with self._state_lock:
                self._stop_on_belt_failure(now)
                is_lost = self._belt_failure and self._tracker.is_tracking
            if is_lost:
                # Nobody knows where the parts are. A failed gate is left alone until the reset.
                return self._let_go(
                    Cause.LINE_STOPPED, self._belt_failure, now, self._gate_failure
                )
            with self._state_lock:
                task, events = self._tracker.advance(now)
                self._stop_on_failure(now)
                if task is not None and self._gate_failure:
                    # A failed gate is left alone until the reset: its time-outs would delay
                    # everything else.
                    self._tracker.done(task, self._gate_failure)
                    self._stop_on_failure(now)
                    task = None
            if task is not None:
                error = self._ask_gate(task)
                with self._state_lock:
                    self._gate_failure = self._gate_failure or error
                    self._tracker.done(task, error)
                    self._stop_on_failure(now)
        # Whatever happens, the line must stop and no part may be lost.
        except Exception as error:  # noqa: BLE001
            reason = f'internal error: {error!r}'
            with self._state_lock:
                self._stop(reason, now, StopCause.INTERNAL)
            return events + self._let_go(Cause.LINE_STOPPED, reason, now)
        return events

    def _let_go(
        self, cause: Cause, detail: str, now: float, known_error: str = ''
    ) -> list[SortRecord]:
        error = known_error or self._ask_gate(GateTask(GateCall.REST, ('', 0)))
        with self._state_lock:
            if error:
                self._gate_failure = error
                self._stop(error, now, StopCause.GATE)
            self._tracker.abandon(
                cause, f'{detail}; {error}' if error else detail, gate_rests=not error
            )
            _, events = self._tracker.advance(now)
        return events

    def _ask_gate(self, task: GateTask) -> str:
        """
        Call the gate; on failure try to bring it to rest, and return what was wrong.

        """
        try:
            if task.call is GateCall.OPEN:
                self._gate.open(task.duration_s, task.told_s)
            elif task.call is GateCall.REST:
                self._gate.rest()
            elif isinstance(self._gate, ArmGate):
                self._tell_arm(self._gate, task)
            else:
                self._gate.confirm(is_open=task.call is GateCall.CONFIRM_OPEN)
        # A driver may raise anything; the line stops with its message.
        except Exception as error:  # noqa: BLE001
            try:
                self._gate.rest()
            except Exception as second_error:  # noqa: BLE001
                return f'{_sentence(error)}; cannot rest either: {_sentence(second_error)}'
            return _sentence(error)
        return ''

    def _tell_arm(self, arm: ArmGate, task: GateTask) -> None:
        if task.call is GateCall.CANCEL:
            arm.cancel(task.key)
        elif task.order is not None:
            arm.pick(task.order)
        else:
            arm.confirm(is_open=False)

    def _stop_on_failure(self, now: float) -> None:
        failure = self._tracker.take_failure()
        if failure:
            cause = StopCause.GATE if self._gate_failure else StopCause.PART_MISSED
            if isinstance(self._tracker, PickTracker):
                cause = self._tracker.failure_cause
            self._stop(failure, now, cause)

    def _stop_on_belt_failure(self, now: float) -> None:
        belt = self._tracker.belt
        if belt is not None and not self._belt_failure:
            self._belt_failure = belt.fault(now)
            if self._belt_failure:
                self._stop(self._belt_failure, now, StopCause.ENCODER)

    def _lasting_belt_failure(self, now: float) -> str:
        belt = self._tracker.belt
        if belt is not None and self._belt_failure:
            belt.trust_again()
            self._belt_failure = belt.fault(now)
        return self._belt_failure

    def _stop(self, reason: str, now: float, cause: StopCause) -> None:
        if not self._line_stop.is_active:
            self._line_stop = LineStop(True, reason, now, cause)
        self._tracker.reject_all(self._line_stop.reason)


def _sentence(error: Exception) -> str:
    return str(error) if isinstance(error, GateError) else repr(error)
