# SPDX-License-Identifier: Apache-2.0
"""
Track the parts on the belt, and what the gate must do for each of them, and when.

Pure logic, without gate or clock. A part exposed at e reaches the gate at e + travel time. Its
window is that instant -+ half of `window_s`. ::

      fire          opens         arrival        closes          at rest for sure
    ----|--actuation--|------------- window_s ------|---dead_time---|------> time

If the verdict is PASS by then, the gate gets the command to open at `fire`, and the command to
close early enough to move at `closes`. Everything else is a REJECT, and the gate is left alone.
Two parts whose arrivals are closer than window and dead time cannot be told apart: both are
rejected.

With an encoder (`encoder_belt.py`) the window is a stretch of belt, and a part arrives when the
belt has brought it there. The instants are foreseen anew with each sample. While the belt is slow
or stands with a part at the open gate, the command to open is renewed, for `window_s` at most.

Where the mechanics make the gate rest in PASS, the meaning is inverted: the command to open means
to sort out, and the gate gets it for every part without a fresh PASS, however late.

"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from itertools import chain
import math

from anomaly_inspection.sorting.decider_watch import DeciderWatch
from anomaly_inspection.sorting.early_decisions import EarlyDecisions
from anomaly_inspection.sorting.encoder_belt import EncoderBelt
from anomaly_inspection.sorting.gate_task import GateCall, GateTask
from anomaly_inspection.sorting.sort_record import Action, Cause, Outcome, PartKey, SortRecord
from anomaly_inspection.sorting.track import Stage, Track
from anomaly_inspection.sorting.tracker_settings import TrackerSettings
from anomaly_inspection.sorting.window_renewal import renewal_due, renewed


@dataclass
class TrackerCounts:
    """
    Counts since the start, for diagnostics.

    Parameters
    ----------
    parts_duplicate : int
        Parts that were already known.
    decisions_late : int
        Decisions that came after the gate had to act.
    decisions_duplicate : int
        Decisions on parts that already had one.
    decisions_unknown : int
        Decisions whose part never came.

    """

    parts_duplicate: int = 0
    decisions_late: int = 0
    decisions_duplicate: int = 0
    decisions_unknown: int = 0


class PartTracker:
    """
    Tracks the parts from the camera through the gate.

    Not thread-safe. `now` is in seconds, steady clock. The owner of the gate calls `advance`,
    makes the gate call it asks for, reports with `done`, and calls `advance` again until nothing
    is due. Then it waits until `next_due`, or until the belt has moved.

    Parameters
    ----------
    settings : TrackerSettings
        Belt and gate in time.
    belt : EncoderBelt, optional
        Where the belt is; by default it moves evenly.

    """

    def __init__(self, settings: TrackerSettings, belt: EncoderBelt | None = None) -> None:
        self.counts = TrackerCounts()
        self.belt = belt
        self._settings = settings
        self._tracks: dict[PartKey, Track] = {}
        self._past: OrderedDict[PartKey, Track] = OrderedDict()
        self._early = EarlyDecisions(settings.early_decisions, settings.early_decision_age_s)
        self._events: list[SortRecord] = []
        self._failure = ''
        self._decider = DeciderWatch(settings.undecided_to_stop, settings.decider_start_s)

    def part_seen(self, key: PartKey, exposure_s: float, now: float) -> None:
        """
        Track a part; a part that is already known is only counted.

        """
        if key in self._tracks or key in self._past:
            self.counts.parts_duplicate += 1
            return
        self._forget(now)
        if len(self._tracks) >= self._settings.parts:
            detail = f'{len(self._tracks)} parts are on the belt; no more can be tracked'
            self._failure = self._failure or detail
            self._cannot_track(key, detail)
            return
        track = self._new_track(key, exposure_s, now)
        if self.belt is not None and math.isnan(track.place_m):
            self.belt.note('the encoder said nothing when a part was exposed')
            self._cannot_track(key, 'the encoder said nothing when it was exposed')
            # It may be announced again, and gets no second event.
            self._past[key] = track
            return
        track.passes = self._early.take(key)
        if now > track.fire_s:
            track.was_known_late = True
            track.reject(
                Cause.NO_DECISION if track.passes is None else Cause.LATE_DECISION,
                f'the part became known {now - track.fire_s:.3f} s after the gate had to act',
            )
        for other in chain(self._past.values(), self._tracks.values()):
            self._keep_apart(track, other, now)
        self._tracks[key] = track

    def belt_moved(self, position_m: float, at_s: float) -> None:
        """
        Take a sample of the encoder; the tracker must have a belt.

        """
        assert self.belt is not None
        self.belt.moved(position_m, at_s)
        for track in self._tracks.values():
            track.foresee(self.belt, self._settings.actuation_s)

    def _cannot_track(self, key: PartKey, detail: str) -> None:
        action = self._action(was_opened=False)
        self._events.append(
            SortRecord(key, action, Outcome.FAILED, Cause.LINE_STOPPED, detail, math.nan)
        )

    def decision_received(self, key: PartKey, passes: bool, now: float) -> None:
        """
        Take a verdict. The first one holds, except that REJECT beats PASS until the gate fires.

        """
        track = self._tracks.get(key) or self._past.get(key)
        if track is None:
            self._early.keep(key, passes, now)
            self._forget(now)
        elif track.passes is not None:
            self.counts.decisions_duplicate += 1
            if track.stage is Stage.APPROACHING:
                track.passes = track.passes and passes
        elif now <= track.fire_s and track.stage is Stage.APPROACHING:
            track.passes = passes
        else:
            self.counts.decisions_late += 1
            if track.cause in (None, Cause.NO_DECISION):
                track.cause = Cause.LATE_DECISION
                track.detail = (
                    f'the decision came {now - track.fire_s:.3f} s after the gate had to act'
                )

    def reject_all(self, detail: str) -> None:
        """
        Reject every part for which the gate has not fired, because the line is stopped.

        """
        for track in self._tracks.values():
            if track.stage is Stage.APPROACHING:
                track.reject(Cause.LINE_STOPPED, detail)

    def abandon(self, cause: Cause, detail: str, *, gate_rests: bool) -> None:
        """
        Drop every part at once; `advance` gives their events.

        """
        for track in list(self._tracks.values()):
            rides_on = self._settings.gate_rests_in_pass and not track.has_fresh_pass
            track.cause, track.detail = cause, detail
            track.has_failed = track.has_failed or not gate_rests or rides_on
            self._finish(track)

    def advance(self, now: float) -> tuple[GateTask | None, list[SortRecord]]:
        """
        Do what is due, up to the first call of the gate.

        Returns
        -------
        (GateTask or None, list of SortRecord)
            The gate call that is due now, or None; and the events of parts that are done.

        """
        task = None
        while task is None:
            due = [track for track in self._tracks.values() if self._due(track) <= now]
            if not due:
                break
            # Closing the gate comes first; everything else in order.
            track = min(due, key=lambda t: (not t.must_rest_early, self._due(t), t.arrival_s))
            task = self._next_task(track, now)
        self._forget(now)
        events, self._events = self._events, []
        return task, events

    def done(self, task: GateTask, error: str) -> None:
        """
        Report how a task went; '' = the gate did it.

        """
        if not error:
            return
        track = self._tracks.get(task.key)
        if track is not None:
            self._fail(track, error)
        self._failure = self._failure or error
        # A gate that fails is brought to rest. Where rest means PASS, no other window is safe
        # either.
        if self._settings.gate_rests_in_pass:
            for other in self._opened_tracks():
                self._fail(other, error)

    def take_failure(self) -> str:
        """
        Give the reason why the line must stop, once; '' when it need not stop.

        """
        failure, self._failure = self._failure, ''
        return failure

    def _closed_early(self, track: Track, now: float) -> None:
        """
        Take note that the gate closes before the belt has brought a part through.

        """
        assert self.belt is not None
        window_m = self.belt.settings.window_m
        left_m = track.place_m + window_m / 2 - self.belt.position_at(now)
        # As when the gate opens late. NaN fails the comparison.
        if left_m <= window_m / 4:
            return
        why = f'the gate closed when {left_m:.3f} m of the window were left, as the belt slowed'
        if self._settings.gate_rests_in_pass:
            self._fail(track, why)
        elif track.stage is Stage.OPENED:
            track.stage, track.detail = Stage.CLOSING, why

    @property
    def must_rest(self) -> bool:
        """
        Tell whether no part needs the gate open now, or has just had it open.

        """
        return not self._opened_tracks()

    @property
    def is_tracking(self) -> bool:
        """
        Tell whether a part is on its way.

        """
        return bool(self._tracks)

    def next_due(self) -> float | None:
        """
        Give the time when `advance` has something to do; None when no part is tracked.

        """
        if self._events:
            return -math.inf
        return min((self._due(track) for track in self._tracks.values()), default=None)

    def _new_track(self, key: PartKey, exposure_s: float, now: float) -> Track:
        # An exposure in the future is invalid: the part would be tracked for ever.
        exposure_s = min(exposure_s, now) if math.isfinite(exposure_s) else now
        arrival_s = exposure_s + self._settings.travel_time_s
        opens_s = arrival_s - self._settings.window_s / 2
        closes_s = arrival_s + self._settings.window_s / 2
        fire_s = opens_s - self._settings.actuation_s
        track = Track(key, fire_s, opens_s, arrival_s, closes_s, closes_s)
        if self.belt is not None:
            track.exposure_s = exposure_s
            self.belt.part_seen(exposure_s)
            track.foresee(self.belt, self._settings.actuation_s)
        return track

    def _keep_apart(self, track: Track, other: Track, now: float) -> None:
        """
        Make sure that neither a new part nor its neighbour passes in the other's window.

        """
        if self.belt is None:
            gap, closest = abs(track.arrival_s - other.arrival_s), self._settings.closest_s
            unit = 's'
        else:
            gap, closest = abs(track.place_m - other.place_m), self.belt.settings.closest_m
            unit = 'm'
        is_too_close = gap < closest
        if is_too_close:
            limit = f'the gate can tell {closest:.3f} {unit} apart'
            away = f'{gap:.3f} {unit} from part'
            track.reject(Cause.TOO_CLOSE, f'{away} {_text(other.key)}, {limit}')
            if other.stage is Stage.APPROACHING:
                other.reject(Cause.TOO_CLOSE, f'{away} {_text(track.key)}, {limit}')
        if self._settings.gate_rests_in_pass:
            # Both are sorted out; at worst, one that has already passed goes with the other.
            if is_too_close and other.has_fresh_pass:
                other.reject(
                    Cause.TOO_CLOSE, f'it may have been sorted out with part {_text(track.key)}'
                )
            return
        latest_rest_s = track.opens_s - self._settings.dead_time_s
        is_open_for_track = other.told_s < track.closes_s and other.back_s > latest_rest_s
        if not (other.was_opened and is_open_for_track):
            return
        if other.key in self._tracks and other.back_s > now:
            other.rest_by_s = min(other.rest_by_s, max(now, latest_rest_s))
            other.reject(Cause.TOO_CLOSE, f'closed early for part {_text(track.key)}')
        if now > latest_rest_s:
            self._fail(track, f'it may have passed with part {_text(other.key)}, known too late')

    def _due(self, track: Track) -> float:
        due_s = {
            Stage.APPROACHING: track.fire_s,
            Stage.OPENED: track.arrival_s,
            Stage.CLOSING: track.back_s + self._settings.dead_time_s,
            Stage.RESTING: track.arrival_s,
            Stage.LEAVING: track.closes_s,
        }[track.stage]
        if track.must_rest_early:
            return min(due_s, track.rest_by_s)
        return due_s if self.belt is None else min(due_s, self._renewal_due(track))

    def _renewal_due(self, track: Track) -> float:
        """
        Say when the gate must be told another end of its window; inf = it need not.

        """
        opened = self._opened_tracks()
        # The last part at the gate decides when it closes.
        is_last = track in opened and not any(one.closes_s > track.closes_s for one in opened)
        return renewal_due(track, self._settings) if is_last else math.inf

    def _renew(self, track: Track, now: float) -> GateTask | None:
        """
        Tell the gate when the window ends, as the belt moves now.

        """
        if now < track.back_s - self._settings.actuation_s:
            return renewed(track, self._settings, now)
        # It closes by now: the command is too late.
        track.may_renew = False
        self._closed_early(track, now)
        return None

    def _next_task(self, track: Track, now: float) -> GateTask | None:
        """
        Take the next step for a part; None when it does not need the gate.

        """
        if track.rest_by_s <= now:
            self._rest_early(track, now)
            return GateTask(GateCall.REST, track.key)
        if track.stage is Stage.APPROACHING:
            return self._fire(track, now)
        if self.belt is not None and self._renewal_due(track) <= now:
            return self._renew(track, now)
        if track.stage is Stage.OPENED:
            track.stage = Stage.CLOSING
            if track.has_failed:
                # The command came too late: the gate may still be moving.
                return None
            late_s = now - track.arrival_s
            # Delayed by the gate's answer or by the computer: the gate may have moved just as
            # late, and the window may be over before it is read back.
            if late_s < self._settings.window_s / 4:
                return GateTask(GateCall.CONFIRM_OPEN, track.key)
            track.detail = f'the gate acknowledged; too late to read back, {late_s:.3f} s'
            if self._settings.gate_rests_in_pass:
                self._fail(track, 'the part may have passed')
            # Otherwise, at worst, a good part was sorted out. The gate is still read back at rest.
        elif track.stage in (Stage.CLOSING, Stage.RESTING):
            is_left_alone = track.stage is Stage.RESTING
            track.stage = Stage.LEAVING
            if not self._opened_tracks():
                return GateTask(GateCall.CONFIRM_REST, track.key)
            if is_left_alone and not self._settings.gate_rests_in_pass and not track.has_failed:
                self._fail(track, 'it became known while the gate was open for a later part')
        else:
            self._finish(track)
        return None

    def _rest_early(self, track: Track, now: float) -> None:
        """
        Take note that the gate is told only now to close early for other parts.

        """
        late_s = now - track.rest_by_s
        track.back_s = min(track.back_s, now)
        track.rest_by_s, track.may_renew = math.inf, False
        if track.stage is Stage.OPENED:
            track.stage = Stage.CLOSING
        # As late as the gate may open.
        at_rest_s = track.back_s + self._settings.dead_time_s - self._settings.window_s / 4
        for other in self._tracks.values():
            is_met = other.opens_s < at_rest_s and other.closes_s > track.told_s
            if is_met and not other.was_opened and not other.has_failed:
                self._fail(
                    other,
                    f'it may have passed with part {_text(track.key)}, for which the gate was '
                    f'closed {late_s:.3f} s late',
                )

    def _fire(self, track: Track, now: float) -> GateTask | None:
        """
        Settle the action for a part; from here on no verdict changes it.

        """
        rests_in_pass = self._settings.gate_rests_in_pass
        late_s = now - track.fire_s
        self._count_undecided(track, now)
        if track.passes is None:
            track.reject(Cause.NO_DECISION, 'no decision came before the gate had to act')
        must_open = track.has_fresh_pass != rests_in_pass
        if must_open and late_s > self._settings.window_s / 4:
            told_late = f'the command to the gate could only go out {late_s:.3f} s late'
            if rests_in_pass:
                self._fail(track, f'{told_late}, the part may have passed')
            else:
                track.reject(Cause.GATE_FAILED, told_late)
                must_open = False
        # Opening starts a new window: it must not shorten one that another part still needs.
        closes_s = max(other.closes_s for other in (track, *self._opened_tracks()))
        if self.belt is not None:
            closes_s = min(closes_s, now + self._settings.actuation_s + self._settings.window_s)
            track.back_s = closes_s
        duration_s = closes_s - self._settings.actuation_s - now
        if not must_open or duration_s <= 0:
            track.stage = Stage.LEAVING if must_open else Stage.RESTING
            return None
        track.stage = Stage.OPENED
        track.told_s = now
        return GateTask(GateCall.OPEN, track.key, duration_s, now)

    def _count_undecided(self, track: Track, now: float) -> None:
        """
        Have the line stopped when the decider is silent.

        """
        if track.passes is not None:
            self._decider.decided()
            return
        # When the computer held us up, decisions may lie unread: that says nothing of the decider.
        held_up_s = now - track.fire_s
        if track.was_known_late or held_up_s > self._settings.window_s / 4:
            return
        silence = self._decider.undecided(now)
        self._failure = self._failure or silence

    def _opened_tracks(self) -> list[Track]:
        opened = (Stage.OPENED, Stage.CLOSING)
        return [track for track in self._tracks.values() if track.stage in opened]

    def _fail(self, track: Track, why: str) -> None:
        """
        Stop reading back the gate for a part, and stop the line.

        """
        self._failure = self._failure or f'part {_text(track.key)}: {why}'
        track.has_failed = True
        track.rest_by_s = math.inf
        track.cause = track.cause or Cause.GATE_FAILED
        if why not in track.detail:
            track.detail = f'{track.detail}; {why}' if track.detail else why
        if track.stage is not Stage.APPROACHING:
            track.stage = Stage.LEAVING

    def _action(self, *, was_opened: bool) -> Action:
        passed = was_opened != self._settings.gate_rests_in_pass
        return Action.PASSED if passed else Action.REJECTED

    def _finish(self, track: Track) -> None:
        del self._tracks[track.key]
        self._past[track.key] = track
        if len(self._past) > self._settings.parts:
            self._past.popitem(last=False)
        self._events.append(
            SortRecord(
                track.key,
                self._action(was_opened=track.was_opened),
                Outcome.FAILED if track.has_failed else Outcome.CONFIRMED,
                track.cause or Cause.DECISION,
                track.detail,
                track.told_s - track.fire_s,
            )
        )

    def _forget(self, now: float) -> None:
        self.counts.decisions_unknown += self._early.forget(now)


def _text(key: PartKey) -> str:
    return f'{key[1]} of {key[0]}'
