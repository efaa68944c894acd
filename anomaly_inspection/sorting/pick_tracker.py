# SPDX-License-Identifier: Apache-2.0
"""
Track the parts on the belt for an arm that picks the good ones, and leaves the rest.

Pure logic, without arm or clock; the face is that of `PartTracker`. A part with a fresh PASS, far
enough from both neighbours, is ordered at once; the order is cancelled when anything speaks
against it later. ::

      exposed    PASS: order    arm answers       grip        result
    ----|------------|---------------|-------------|-------------|----> time
                     |<--answer_s--->|             |<--place_s-->|
                     |<-at least lead_s, then pick line, then end of the pick zone

What the arm leaves runs into reject, so a busy arm is no fault. An arm that says nothing, that
gripped where the part was not, or that placed a part it should have left, is one: the record is
FAILED and the line stops.

"""

from __future__ import annotations

from collections import OrderedDict
from itertools import chain
import math
from typing import Any

from anomaly_inspection.sorting.decider_watch import DeciderWatch
from anomaly_inspection.sorting.early_decisions import EarlyDecisions
from anomaly_inspection.sorting.encoder_belt import EncoderBelt
from anomaly_inspection.sorting.even_belt import EvenBelt
from anomaly_inspection.sorting.gate_task import GateCall, GateTask
from anomaly_inspection.sorting.grip_check import grip_problem
from anomaly_inspection.sorting.part_tracker import TrackerCounts
from anomaly_inspection.sorting.pick import Pick, PickStage
from anomaly_inspection.sorting.pick_order import Grip, PickOrder, PickOutcome, PickResult
from anomaly_inspection.sorting.pick_settings import PickSettings
from anomaly_inspection.sorting.sort_record import Action, Cause, Outcome, PartKey, SortRecord
from anomaly_inspection.sorting.stop_cause import StopCause

_LEFT_BECAUSE = {
    PickOutcome.MISSED: Cause.PICK_MISSED,
    PickOutcome.BUSY: Cause.NOT_PICKED,
    PickOutcome.OUT_OF_REACH: Cause.OUT_OF_REACH,
    PickOutcome.CANCELLED: Cause.NOT_PICKED,
}


class PickTracker:
    """
    Tracks the parts from the camera until the arm has picked them or they have passed it.

    Not thread-safe. `now` is in seconds, steady clock. The owner calls `advance`, sends the task
    it asks for, reports a failure with `done`, and calls `advance` again until nothing is due.

    Parameters
    ----------
    settings : PickSettings
        Belt and arm.
    belt : EncoderBelt, optional
        Where the belt is; by default it moves evenly.

    """

    #: Whether the arm may be asked if it is there: at any time.
    must_rest = True

    def __init__(self, settings: PickSettings, belt: EncoderBelt | None = None) -> None:
        self.counts = TrackerCounts()
        self.belt = belt
        self._ground = belt or EvenBelt(settings.speed_mps)
        self._settings = settings
        self._picks: dict[PartKey, Pick] = {}
        self._past: OrderedDict[PartKey, Pick] = OrderedDict()
        self._early = EarlyDecisions(settings.early_decisions, settings.early_decision_age_s)
        self._early_poses: OrderedDict[PartKey, tuple[bool, Any, str]] = OrderedDict()
        self._cancels: list[PartKey] = []
        self._events: list[SortRecord] = []
        self._failure = ''
        #: What kind of failure `take_failure` has given.
        self.failure_cause = StopCause.GATE
        self._decider = DeciderWatch(settings.undecided_to_stop, settings.decider_start_s)

    # What comes

    def part_seen(self, key: PartKey, exposure_s: float, now: float) -> None:
        """
        Track a part; a part that is already known is only counted.

        """
        if key in self._picks or key in self._past:
            self.counts.parts_duplicate += 1
            return
        self._forget(now)
        # An exposure in the future is invalid: the part would be tracked for ever.
        exposure_s = min(exposure_s, now) if math.isfinite(exposure_s) else now
        if self.belt is not None:
            self.belt.part_seen(exposure_s)
        pick = Pick(key, exposure_s)
        pick.foresee(self._ground, self._settings)
        problem = ''
        if len(self._picks) >= self._settings.parts:
            problem = f'{len(self._picks)} parts are on the belt; no more can be tracked'
            self._stop_line(problem, StopCause.PART_MISSED)
        elif self.belt is not None and math.isnan(pick.place_m):
            self.belt.note('the encoder said nothing when a part was exposed')
            problem = 'the encoder said nothing when it was exposed'
        if problem:
            pick.has_failed = True
            pick.leave(Cause.LINE_STOPPED, problem)
            # Remembered: where it is announced again it gets no second event.
            self._finish(pick)
            return
        pick.passes = self._early.take(key)
        pick.pose_is_sure, pick.pose, pick.pose_detail = self._early_poses.pop(
            key, (None, None, '')
        )
        pick.was_known_late = now > pick.arrival_s - self._settings.lead_s
        for other in chain(self._past.values(), self._picks.values()):
            self._keep_apart(pick, other)
        self._picks[key] = pick

    def belt_moved(self, position_m: float, at_s: float) -> None:
        """
        Take a sample of the encoder; the tracker must have a belt.

        """
        assert self.belt is not None
        self.belt.moved(position_m, at_s)
        for pick in self._picks.values():
            pick.foresee(self.belt, self._settings)

    def decision_received(self, key: PartKey, passes: bool, now: float) -> None:
        """
        Take a verdict. The first one holds, except that REJECT beats PASS.

        """
        pick = self._picks.get(key) or self._past.get(key)
        if pick is None:
            self._early.keep(key, passes, now)
            self._forget(now)
        elif pick.passes is not None:
            self.counts.decisions_duplicate += 1
            if key in self._picks and pick.passes and not passes:
                pick.passes = False
                self._call_off(pick, Cause.DECISION, 'a REJECT came after the PASS')
        elif pick.stage is PickStage.COMING and key in self._picks:
            pick.passes = passes
        else:
            self.counts.decisions_late += 1
            if pick.cause in (None, Cause.NO_DECISION):
                pick.cause = Cause.LATE_DECISION
                pick.detail = 'the decision came too late for the arm'

    def pose_received(self, key: PartKey, is_sure: bool, pose: Any, detail: str) -> None:
        """
        Take how a part lies; the newest counts until its order is sent.

        Parameters
        ----------
        pose : object
            Goes into the order as it is.
        detail : str
            Why it is not sure; '' when it is.

        """
        pick = self._picks.get(key)
        if pick is not None:
            pick.pose_is_sure, pick.pose, pick.pose_detail = is_sure, pose, detail
        elif key not in self._past:
            self._early_poses[key] = (is_sure, pose, detail)
            if len(self._early_poses) > self._settings.early_decisions:
                self._early_poses.popitem(last=False)

    # What the arm says

    def order_taken(self, key: PartKey) -> None:
        """
        Take note that the arm has taken an order.

        """
        pick = self._picks.get(key)
        if pick is not None and pick.stage is PickStage.SENT:
            pick.stage = PickStage.TAKEN

    def order_refused(self, key: PartKey, now: float) -> None:
        """
        Take note that the arm does not take an order; the part is left.

        """
        self.order_ended(key, PickResult(PickOutcome.BUSY, 'the arm did not take it'), now)

    def gripped(self, key: PartKey, grip: Grip, now: float) -> None:
        """
        Take where the gripper has closed; an order whose gripper holds another part is cancelled.

        """
        pick = self._picks.get(key)
        if pick is not None and pick.is_ordered:
            problem = self._grip_problem(pick, grip, now)
            if problem:
                self._fail(pick, f'{problem}: look into the tray')
                self._call_off(pick, Cause.GATE_FAILED, problem)

    def order_ended(self, key: PartKey, result: PickResult, now: float) -> None:
        """
        Take how an order has ended.

        """
        pick = self._picks.get(key)
        if pick is None or not pick.is_ordered:
            self._ended_unasked(key, result)
        elif result.outcome is PickOutcome.PLACED:
            self._take_placed(pick, result, now)
            self._finish(pick)
        elif result.outcome in _LEFT_BECAUSE:
            pick.leave(_LEFT_BECAUSE[result.outcome], result.detail)
            pick.stage = PickStage.LEFT
        else:
            self._fail(pick, f'the arm has a fault: {result.detail or "it does not say which"}')
            self._finish(pick)

    def _ended_unasked(self, key: PartKey, result: PickResult) -> None:
        pick = self._picks.get(key) or self._past.get(key)
        # Of a part whose record is FAILED the operator has been told.
        if result.outcome is not PickOutcome.PLACED or (pick is not None and pick.has_failed):
            return
        self._stop_line(
            f'the arm says that it has placed part {_text(key)}{_into(result)}, which nobody '
            'waits for: look into the tray'
        )

    def _take_placed(self, pick: Pick, result: PickResult, now: float) -> None:
        pick.was_placed = True
        grip = result.grip
        problem = self._grip_problem(pick, grip, now)
        if not problem and grip is not None and pick.is_cancelled:
            # When the line has stopped, what was gripped before is a good part in its tray.
            was_in_time = grip.at_s <= pick.cancelled_s + self._settings.answer_s
            if pick.cause is not Cause.LINE_STOPPED or not was_in_time:
                problem = f'it was told to leave it ({pick.detail})'
        if problem:
            self._fail(pick, f'the arm has placed it{_into(result)}, but {problem}: look there')
        elif not pick.has_failed:
            pick.cause, pick.detail = None, ''

    def _grip_problem(self, pick: Pick, grip: Grip | None, now: float) -> str:
        return grip_problem(grip, pick.place_m, self._ground, self._settings, now)

    # What is due

    def reject_all(self, detail: str) -> None:
        """
        Leave every part, and cancel what was ordered, because the line is stopped.

        """
        for pick in self._picks.values():
            self._call_off(pick, Cause.LINE_STOPPED, detail)

    def abandon(self, cause: Cause, detail: str, *, gate_rests: bool) -> None:
        """
        Drop every part at once; `advance` gives their events. The caller cancels all orders.

        """
        for pick in list(self._picks.values()):
            pick.cause, pick.detail = cause, detail
            if pick.is_ordered:
                pick.has_failed = True
                pick.detail += '; the arm may have picked it: look into the tray'
            self._finish(pick)

    def advance(self, now: float) -> tuple[GateTask | None, list[SortRecord]]:
        """
        Do what is due, up to the first task for the arm.

        Returns
        -------
        (GateTask or None, list of SortRecord)
            What the arm must be told now, or None; and the events of parts that are done.

        """
        task = None
        while task is None:
            if self._cancels:
                task = self._cancel_next(now)
                continue
            due = [pick for pick in self._picks.values() if self._due(pick) <= now]
            if not due:
                break
            task = self._next_task(min(due, key=lambda p: (self._due(p), p.arrival_s)), now)
        self._forget(now)
        events, self._events = self._events, []
        return task, events

    def done(self, task: GateTask, error: str) -> None:
        """
        Report how a task went; '' = the arm was told.

        """
        if not error:
            return
        self._stop_line(error)
        pick = self._picks.get(task.key)
        if pick is not None:
            self._fail(pick, error)

    def take_failure(self) -> str:
        """
        Give the reason why the line must stop, once; '' when it need not stop.

        """
        failure, self._failure = self._failure, ''
        return failure

    @property
    def is_tracking(self) -> bool:
        """
        Tell whether a part is on its way.

        """
        return bool(self._picks)

    def next_due(self) -> float | None:
        """
        Give the time when `advance` has something to do; None when no part is tracked.

        """
        if self._events or self._cancels:
            return -math.inf
        return min((self._due(pick) for pick in self._picks.values()), default=None)

    def _due(self, pick: Pick) -> float:
        if pick.stage is PickStage.SENT:
            return min(pick.answer_due_s, self._result_due(pick))
        if pick.stage is PickStage.TAKEN:
            return self._result_due(pick)
        if pick.stage is PickStage.LEFT:
            return pick.leaves_s
        is_settled = pick.passes is False or pick.cause is not None or self._may_order(pick)
        if is_settled and pick.passes is not None:
            return -math.inf
        return pick.arrival_s - self._settings.lead_s

    def _result_due(self, pick: Pick) -> float:
        return min(pick.leaves_s, pick.valid_until_s) + self._settings.place_s

    def _may_order(self, pick: Pick) -> bool:
        has_pose = pick.pose_is_sure is True or not self._settings.needs_pose
        return pick.passes is True and pick.cause is None and pick.is_placed and has_pose

    def _next_task(self, pick: Pick, now: float) -> GateTask | None:
        """
        Take the next step for a part; None when the arm need not be told.

        """
        if pick.stage is PickStage.COMING:
            return self._order_or_leave(pick, now)
        if pick.stage is PickStage.LEFT:
            self._finish(pick)
        elif pick.stage is PickStage.SENT and now < self._result_due(pick):
            pick.stage = PickStage.TAKEN
            self._fail(
                pick,
                f'the arm has not answered within {self._settings.answer_s:g} s: look into the '
                'tray',
            )
            self._call_off(pick, Cause.GATE_FAILED, 'the arm has not answered')
        else:
            self._end_without_result(pick)
        return None

    def _end_without_result(self, pick: Pick) -> None:
        why = 'the arm has not said what it did with it: look into the tray'
        if pick.has_failed or pick.cause is Cause.LINE_STOPPED:
            # One stop is enough for all that were under way; the next order shows if it lasts.
            self._mark_failed(pick, why)
        else:
            self._fail(pick, why)
        self._call_off(pick, Cause.GATE_FAILED, why)
        self._finish(pick)

    def _order_or_leave(self, pick: Pick, now: float) -> GateTask | None:
        is_late = now > pick.arrival_s - self._settings.lead_s
        self._count_undecided(pick, now)
        if not is_late and self._may_order(pick):
            pick.stage = PickStage.SENT
            pick.answer_due_s = now + self._settings.answer_s
            pick.valid_until_s = now + self._settings.valid_s
            order = PickOrder(
                pick.key,
                pick.place_m,
                pick.arrival_s,
                self._ground.speed_mps(),
                pick.valid_until_s,
                pick.pose if pick.pose_is_sure else None,
            )
            return GateTask(GateCall.PICK, pick.key, order=order)
        if pick.passes is None:
            pick.leave(Cause.NO_DECISION, 'no decision came in time for the arm')
        elif pick.passes:
            self._leave_good(pick)
        pick.stage = PickStage.LEFT
        return None

    def _leave_good(self, pick: Pick) -> None:
        if self._may_order(pick):
            pick.leave(Cause.LATE_DECISION, 'the decision came too late for the arm')
        elif not pick.is_placed:
            pick.leave(Cause.NOT_PICKED, 'the encoder did not say in time where it is')
        elif pick.pose_is_sure is None:
            pick.leave(Cause.POSE_UNSURE, 'nobody has told how it lies (topic part_pose)')
        else:
            pick.leave(Cause.POSE_UNSURE, f'its pose is not sure: {pick.pose_detail}')

    def _cancel_next(self, now: float) -> GateTask:
        key = self._cancels.pop(0)
        pick = self._picks.get(key) or self._past[key]
        pick.cancelled_s = now
        return GateTask(GateCall.CANCEL, key)

    def _call_off(self, pick: Pick, cause: Cause, detail: str) -> None:
        """
        Leave a part; cancel its order if it has one.

        """
        if pick.stage is not PickStage.LEFT:
            pick.leave(cause, detail)
        if pick.is_ordered and not pick.is_cancelled:
            pick.is_cancelled = True
            self._cancels.append(pick.key)

    def _keep_apart(self, pick: Pick, other: Pick) -> None:
        """
        Leave two parts between which the gripper has no room.

        """
        if other.was_placed:
            return
        gap_m, clearance_m = abs(pick.place_m - other.place_m), self._settings.clearance_m
        if not gap_m < clearance_m:
            return
        limit = f'the arm needs {clearance_m:.3f} m'
        pick.leave(Cause.TOO_CLOSE, f'{gap_m:.3f} m from part {_text(other.key)}, {limit}')
        if other.key in self._picks:
            text = f'{gap_m:.3f} m from part {_text(pick.key)}, {limit}'
            self._call_off(other, Cause.TOO_CLOSE, text)

    def _count_undecided(self, pick: Pick, now: float) -> None:
        """
        Have the line stopped when the decider is silent.

        """
        if pick.passes is not None:
            self._decider.decided()
        # A part that is left for another reason says nothing of the decider.
        elif not pick.was_known_late and pick.cause is None:
            reason = self._decider.undecided(now)
            if reason:
                self._stop_line(reason, StopCause.PART_MISSED)

    def _fail(self, pick: Pick, why: str) -> None:
        """
        Mark a record as FAILED, and stop the line.

        """
        self._stop_line(f'part {_text(pick.key)}: {why}')
        self._mark_failed(pick, why)

    def _mark_failed(self, pick: Pick, why: str) -> None:
        pick.has_failed = True
        pick.cause = pick.cause or Cause.GATE_FAILED
        pick.detail = f'{pick.detail}; {why}' if pick.detail else why

    def _stop_line(self, reason: str, cause: StopCause = StopCause.GATE) -> None:
        if not self._failure:
            self._failure, self.failure_cause = reason, cause

    def _finish(self, pick: Pick) -> None:
        self._picks.pop(pick.key, None)
        self._past[pick.key] = pick
        if len(self._past) > self._settings.parts:
            self._past.popitem(last=False)
        # An order without a result may have been followed.
        was_picked = pick.was_placed or pick.is_ordered
        self._events.append(
            SortRecord(
                pick.key,
                Action.PASSED if was_picked else Action.REJECTED,
                Outcome.FAILED if pick.has_failed else Outcome.CONFIRMED,
                pick.cause or Cause.DECISION,
                pick.detail,
                math.nan,
            )
        )

    def _forget(self, now: float) -> None:
        self.counts.decisions_unknown += self._early.forget(now)


def _text(key: PartKey) -> str:
    return f'{key[1]} of {key[0]}'


def _into(result: PickResult) -> str:
    return f' in tray {result.tray}' if result.tray else ''
