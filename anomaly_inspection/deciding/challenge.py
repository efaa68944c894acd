# SPDX-License-Identifier: Apache-2.0
"""
Challenge: known good and known bad parts must come out right before production goes on.

What holds, whatever comes in whatever order:

- While production is blocked (a challenge is overdue or has failed) no production part passes.
- A known bad part never passes, whatever its measures say and whatever became of its challenge.
- Each known part that came gives exactly one event.
- Only a challenge that was passed unblocks: no step of a clock, no stop, no cancelling.

"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import IntEnum
import math

from anomaly_inspection.deciding.challenge_memory import ChallengeMemory
from anomaly_inspection.deciding.challenge_settings import ChallengeSettings, KNOWN_AS
from anomaly_inspection.deciding.frame_judge import Judgement, Reason, Verdict
from anomaly_inspection.deciding.part_decision import KnownAs, PartDecision, PartKey
from anomaly_inspection.deciding.shift_changes import ShiftChanges
from anomaly_inspection.errors import SettingError

# A shift change that the wall clock passes twice is one as long as the clock was set back by less
# than this: the end of summer time does so. Set back further, it had been wrong before.
_SET_BACK_TOLERATED = timedelta(hours=3)


class ChallengeState(IntEnum):
    """
    How the challenge stands; the values of Challenge.msg.

    """

    OFF = 1
    PASSED = 2
    DUE = 3
    RUNNING = 4
    FAILED = 5


class ChallengeEventKind(IntEnum):
    """
    What has happened; the values of ChallengeEvent.msg.

    """

    PART = 1
    PASSED = 2
    FAILED = 3
    DUE = 4


@dataclass(frozen=True)
class ChallengeEvent:
    """
    One result of a challenge, for records.

    Parameters
    ----------
    kind : ChallengeEventKind
        What has happened.
    detail : str
        One sentence.
    known_part : str
        The part as configured; '' when `kind` is not PART, and so on.
    key : (str, int)
        Session and number of the part.
    came_out_right : bool
        Whether it came out as it must.

    """

    kind: ChallengeEventKind
    detail: str
    known_part: str = ''
    key: PartKey = ('', 0)
    came_out_right: bool = False


@dataclass(frozen=True)
class ChallengeStatus:
    """
    How the challenge stands at a moment.

    Parameters
    ----------
    state : ChallengeState
        As published.
    detail : str
        What the operator should know, and do next.
    parts_done : int
        Known parts of the challenge under way that came out right.
    is_blocked : bool
        Whether production parts are rejected.
    is_wanted : bool
        Whether the operator should make one: due, failed, or the limits have changed since the
        last.

    """

    state: ChallengeState
    detail: str
    parts_done: int
    is_blocked: bool
    is_wanted: bool


@dataclass
class _Run:
    """
    A challenge under way.

    """

    start_s: float
    end_s: float
    parts_come: int = 0
    parts_right: int = 0


@dataclass(frozen=True)
class _KnownPart:
    text: str
    run: _Run

    @property
    def known_as(self) -> KnownAs:
        return KNOWN_AS[self.text.partition(' ')[0]]


class Challenge:
    """
    The state of the challenges of one decider; not thread-safe: one thread calls it.

    Times `now` are seconds of the steady clock, never running backwards; `local` is the wall
    clock's local date and time, which may be set at will.

    """

    def __init__(self, settings: ChallengeSettings) -> None:
        self._settings = settings
        self._shifts = ShiftChanges(settings.shift_changes)
        self._run: _Run | None = None
        self._known: dict[PartKey, _KnownPart] = {}
        self._events: list[ChallengeEvent] = []
        self._is_due = False
        self._why_due = ''
        self._failure = ''
        self._next_due_s = self._blocked_from_s = math.inf
        # The latest shift change that a challenge has been asked for.
        self._last_shift_change: datetime | None = None
        self._is_planned = self._has_passed = self._has_other_terms = False

    # What happens

    def activated(self, now: float, local: datetime) -> None:
        """
        Start to work: what was due or failed before a stop still is.

        """
        if not self._settings.parts:
            return
        if not self._is_planned:
            self._is_planned = True
            self._last_shift_change = self._shifts.latest(local)
            self._plan_next(now)
        if self._settings.at_start:
            self._make_due('the decider was started', -math.inf)

    def memory(self) -> ChallengeMemory:
        """
        Give what must outlive the process.

        """
        return ChallengeMemory(
            self._is_due,
            self._why_due,
            self._failure,
            self._has_passed,
            self._has_other_terms,
            self._run is not None,
            _finite_or_none(self._next_due_s),
            _finite_or_none(self._blocked_from_s),
            self._last_shift_change,
        )

    def restore(self, memory: ChallengeMemory) -> None:
        """
        Go on where another process was killed; call it before `activated`.

        A challenge that was under way is given up.

        """
        if not self._settings.parts:
            return
        self._is_planned = True
        self._is_due, self._why_due = memory.is_due, memory.why_due
        self._failure = memory.failure
        self._has_passed, self._has_other_terms = memory.has_passed, memory.has_other_terms
        self._next_due_s, self._blocked_from_s = (
            math.inf if time_s is None else time_s
            for time_s in (memory.next_due_s, memory.blocked_from_s)
        )
        self._last_shift_change = memory.last_shift_change
        if memory.was_under_way:
            self._give_up('the decider died')

    def stopped(self) -> None:
        """
        Give up what is under way, because the decider stops.

        """
        self._give_up_if_under_way('the decider was stopped')

    def tick(self, now: float, local: datetime) -> None:
        """
        See what has become due, and whether the challenge under way has run out of time.

        """
        if not self._settings.parts:
            return
        blocked_from_s = now + 60 * self._settings.grace_min
        if not self._is_due and now >= self._next_due_s:
            why = f'{self._settings.every_min:g} min have passed since the last one'
            self._make_due(why, blocked_from_s)
        latest, last = self._shifts.latest(local), self._last_shift_change
        if latest is not None and last is not None:
            if latest > last:
                self._make_due(f'the shift changed at {latest:%H:%M}', blocked_from_s)
                self._last_shift_change = latest
            elif local < last - _SET_BACK_TOLERATED:
                self._make_due(f'the clock was set back to {local:%Y-%m-%d %H:%M}', blocked_from_s)
                self._last_shift_change = latest
        if self._run is not None and now >= self._run.end_s:
            self._fail(f'not ended within {self._settings.timeout_min:g} min')

    def start(self, now: float) -> str:
        """
        Take the next parts, those exposed from now on, for the known ones, in their order.

        Raises
        ------
        SettingError
            When no parts are known, or a challenge is under way.

        """
        if not self._settings.parts:
            raise SettingError(
                'no parts are known: challenge_parts must name at least one good and one bad'
            )
        if self._run is not None:
            raise SettingError(
                f'a challenge is under way ({self._next_part(self._run)}); end or cancel it first'
            )
        self._run = _Run(now, now + 60 * self._settings.timeout_min)
        parts = self._settings.parts
        return f'the next {len(parts)} parts are: {", ".join(parts)}'

    def cancel(self, why: str = 'cancelled') -> str:
        """
        Give up the challenge under way: failed if it was due, else as if it had not been started.

        Parameters
        ----------
        why : str
            Told in what is given back and published.

        Raises
        ------
        SettingError
            When there is none.

        """
        if self._run is None:
            raise SettingError('no challenge is under way')
        return self._give_up(why)

    def recipe_switched(self) -> None:
        """
        Note that another recipe is in force, or another version of the same.

        """
        self._terms_changed('another recipe came into force')
        if self._settings.parts and self._settings.at_start:
            self._make_due('another recipe came into force', -math.inf)

    def limits_changed(self) -> None:
        """
        Note that other limits are in force: what is under way has tested the old ones.

        """
        self._terms_changed('the limits were changed')

    def part_seen(self, key: PartKey, exposure_s: float) -> None:
        """
        Note a part that is new; it is a known one where a challenge waits for parts.

        """
        run = self._run
        # A part that was exposed before the start is a production part on its way.
        if run is None or exposure_s < run.start_s:
            return
        if run.parts_come < len(self._settings.parts):
            self._known[key] = _KnownPart(self._settings.parts[run.parts_come], run)
            run.parts_come += 1

    def decided(self, decision: PartDecision, now: float) -> PartDecision:
        """
        Give what the challenge makes of a decision; call it once for each part.

        A known good part keeps its verdict while its challenge is under way.

        """
        part = self._known.pop(decision.key, None)
        if part is None:
            if self.is_blocked(now):
                return _overruled(decision, Reason.CHALLENGE_DUE, self._blocked_because())
            return decision
        decision = replace(decision, known_as=part.known_as)
        is_under_way = part.run is self._run
        self._take_result(part, decision, now)
        if part.known_as is KnownAs.BAD:
            return _overruled(decision, Reason.CHALLENGE_PART, f'known {part.text}')
        if self.is_blocked(now) and not is_under_way:
            return _overruled(decision, Reason.CHALLENGE_DUE, self._blocked_because())
        return decision

    # What is said of it

    def is_blocked(self, now: float) -> bool:
        """
        Whether production parts are rejected.

        """
        return bool(self._failure) or now >= self._blocked_from_s

    def status(self, now: float) -> ChallengeStatus:
        """
        Say how it stands; the same words until something changes.

        """
        is_blocked, run = self.is_blocked(now), self._run
        is_wanted = self._is_due or bool(self._failure) or self._has_other_terms
        call = f'start ~/run_challenge, then put on: {", ".join(self._settings.parts)}'
        if not self._settings.parts:
            state, detail = ChallengeState.OFF, 'no known parts are configured'
        elif run is not None:
            state, detail = ChallengeState.RUNNING, f'put on {self._next_part(run)}'
            detail += '; production is blocked until it is passed' if is_blocked else ''
        elif self._failure:
            state = ChallengeState.FAILED
            detail = f'{self._failure}; production is blocked: {call}'
        elif self._is_due:
            state = ChallengeState.DUE
            later = '' if is_blocked else f' {self._settings.grace_min:g} min later'
            detail = f'due, {self._why_due}; production is blocked{later}: {call}'
        else:
            state = ChallengeState.PASSED
            detail = (
                f'passed: {len(self._settings.parts)} known parts came out right'
                if self._has_passed
                else 'none was due since the start'
            )
            if self._has_other_terms:
                detail += f'; limits or recipe have changed since: to test them, {call}'
        return ChallengeStatus(state, detail, run.parts_right if run else 0, is_blocked, is_wanted)

    def next_due(self, now: float, local: datetime) -> datetime | None:
        """
        Give the local time at which the next becomes due; None = never by itself, or it is due.

        """
        if not self._settings.parts or self._is_due or self._failure:
            return None
        shift = self._shifts.next(local)
        if self._next_due_s == math.inf:
            return shift
        interval_over = local + timedelta(seconds=self._next_due_s - now)
        return interval_over if shift is None else min(shift, interval_over)

    def drain_events(self) -> list[ChallengeEvent]:
        """
        Give what has happened since the last call, in its order.

        """
        events, self._events = self._events, []
        return events

    # Inside

    def _take_result(self, part: _KnownPart, decision: PartDecision, now: float) -> None:
        judgement = decision.judgement
        if part.known_as is KnownAs.GOOD:
            is_right = judgement.verdict is Verdict.PASS
        else:
            # A reject without a measurement proves nothing about the scorers.
            is_right = judgement.verdict is Verdict.REJECT and bool(decision.measured)
        words = 'came out right' if is_right else f'came out wrong, {judgement.reason.name}'
        result = f'{part.text} {words}'
        detail = f'{result}: {judgement.comparison}'
        self._events.append(
            ChallengeEvent(ChallengeEventKind.PART, detail, part.text, decision.key, is_right)
        )
        if part.run is not self._run:
            return
        if not is_right:
            self._fail(result)
            return
        part.run.parts_right += 1
        if part.run.parts_right == len(self._settings.parts):
            self._pass(now)

    def _pass(self, now: float) -> None:
        self._run = None
        self._is_due = self._has_other_terms = False
        self._has_passed = True
        self._failure = ''
        self._plan_next(now)
        detail = f'{len(self._settings.parts)} known parts came out right; production runs'
        self._events.append(ChallengeEvent(ChallengeEventKind.PASSED, detail))

    def _plan_next(self, now: float) -> None:
        every_s = 60 * self._settings.every_min
        self._next_due_s = now + every_s if every_s else math.inf
        self._blocked_from_s = self._next_due_s + 60 * self._settings.grace_min

    def _fail(self, why: str) -> str:
        self._failure = f'failed: {why}'
        return self._end_in_vain(f'{why}; production is blocked')

    def _give_up(self, why: str) -> str:
        if self._is_due or self._failure:
            return self._fail(f'given up, {why}')
        return self._end_in_vain(f'given up, {why}; it was not due, production goes on')

    def _end_in_vain(self, detail: str) -> str:
        self._run = None
        self._events.append(ChallengeEvent(ChallengeEventKind.FAILED, detail))
        return detail

    def _give_up_if_under_way(self, why: str) -> None:
        if self._run is not None:
            self._give_up(why)

    def _terms_changed(self, why: str) -> None:
        self._give_up_if_under_way(why)
        self._has_other_terms = self._has_passed

    def _make_due(self, why: str, blocked_from_s: float) -> None:
        self._blocked_from_s = min(self._blocked_from_s, blocked_from_s)
        if not self._is_due:
            self._is_due = True
            self._why_due = why
            self._events.append(ChallengeEvent(ChallengeEventKind.DUE, f'due, {why}'))

    def _next_part(self, run: _Run) -> str:
        parts = self._settings.parts
        return f'part {run.parts_right + 1} of {len(parts)}: {parts[run.parts_right]}'

    def _blocked_because(self) -> str:
        return 'the last challenge failed' if self._failure else 'a challenge is due'


def _overruled(decision: PartDecision, reason: Reason, sentence: str) -> PartDecision:
    """
    Reject a part whatever it was judged to be; the comparison goes on saying what it was.

    """
    judged = decision.judgement
    comparison = f'{judged.comparison}; {sentence} -> REJECT'
    judgement = Judgement(
        Verdict.REJECT, reason, comparison, judged.anomaly_score, judged.worst_measure
    )
    return replace(decision, judgement=judgement, overruled=judged)


def _finite_or_none(time_s: float) -> float | None:
    """
    Never becomes None, and 'from the beginning on' the beginning of the steady clock.

    """
    return None if time_s == math.inf else max(time_s, 0.0)
