# SPDX-License-Identifier: Apache-2.0
"""
From parts and scores to decisions: exactly one for each part, in time.

What holds, whatever comes in whatever order:

- A part is decided by the terms (recipe, limits, combination) in force when it came.
- PASS needs the score of every required scorer for every frame (in station mode: for n of m
  frames), made with that recipe, before the deadline. At the deadline what is not decided is
  rejected: TIMEOUT when a score is missing, even when another one exceeds its limit, so that a
  dead scorer shows.
- What a challenge makes of it (see challenge.py) is part of the decision.
- The first decision stands. Later parts, scores and repetitions are counted, never acted on.

"""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass, field, replace
import math
from typing import TYPE_CHECKING

from anomaly_inspection.deciding.challenge import Challenge
from anomaly_inspection.deciding.challenge_settings import ChallengeSettings
from anomaly_inspection.deciding.frame_judge import Judgement, Reason, rejected, Verdict
from anomaly_inspection.deciding.part_decision import (
    KnownAs,
    PartDecision,
    PartKey,
    PartSeen,
    ScoreReceived,
    Terms,
)
from anomaly_inspection.deciding.part_judge import (
    explain_reject,
    FrameEvidence,
    judge_belt_part,
    judge_frame,
    judge_station_part,
    StationSettings,
    STATUS_OK,
    worst_measures,
)
from anomaly_inspection.errors import LimitError
from anomaly_inspection.setting_check import check_range

if TYPE_CHECKING:
    from anomaly_inspection.deciding.limits import LimitTable

__all__ = [
    'Decider',
    'DeciderCounts',
    'DeciderSettings',
    'PartDecision',
    'PartKey',
    'PartSeen',
    'ScoreReceived',
    'StationSettings',
    'Terms',
]

# With any other reason a part was not measured whole.
_MEASURED = {
    Reason.WITHIN_LIMITS,
    Reason.LIMIT_EXCEEDED,
    Reason.UNKNOWN_CLASS,
    Reason.TOO_FEW_FRAMES_PASSED,
}


@dataclass(frozen=True)
class DeciderSettings:
    """
    How long the decider waits, and for how much.

    Parameters
    ----------
    deadline_s : float
        From the exposure of a part's first frame to its decision at the latest, seconds, above 0.
        In station mode it must be long enough for all frames of a part to be taken.
    timeouts_to_fault : int
        So many parts decided TIMEOUT in a row make a fault, at least 1.
    station : StationSettings or None
        None = belt mode: every frame must pass.
    early_scores : int
        Scores that may wait for their part (topics are not ordered), at least 1.
    early_score_age_s : float
        How long they wait, seconds, above 0.
    pending_parts : int
        Parts that may be undecided at once, at least 1; one more is rejected at once.
    remembered_parts : int
        Decided parts that are remembered to recognise what comes late, at least 1.

    """

    deadline_s: float
    timeouts_to_fault: int = 3
    station: StationSettings | None = None
    early_scores: int = 256
    early_score_age_s: float = 5.0
    pending_parts: int = 256
    remembered_parts: int = 4096

    def __post_init__(self) -> None:
        for name in ('deadline_s', 'early_score_age_s'):
            check_range(name, getattr(self, name), 0, unit='s', is_open=True)
        for name in ('timeouts_to_fault', 'early_scores', 'pending_parts', 'remembered_parts'):
            check_range(name, getattr(self, name), 1)


@dataclass
class DeciderCounts:
    """
    What has happened since the start, for diagnostics.

    Parameters
    ----------
    passed : int
        Production parts passed.
    rejected : Counter of Reason
        Production parts rejected, by reason.
    known : Counter of KnownAs
        Known good and known bad parts of challenges; they count nowhere else.
    scores_after_decision : int
        Scores of parts that were decided already: late, or no longer needed.
    scores_duplicate : int
        Scores that had come before; the first one counts.
    scores_unknown : int
        Scores of a part or frame that never came, or of a scorer that is not required.

    """

    passed: int = 0
    rejected: Counter[Reason] = field(default_factory=Counter)
    known: Counter[KnownAs] = field(default_factory=Counter)
    scores_after_decision: int = 0
    scores_duplicate: int = 0
    scores_unknown: int = 0


@dataclass
class _PendingPart:
    key: PartKey
    terms: Terms
    exposure_s: float
    deadline_s: float
    frames: dict[int, FrameEvidence] = field(default_factory=dict)
    is_complete: bool = False
    frame_id: str = ''


class Decider:
    """
    Decides parts; not thread-safe: one thread calls it.

    The methods that take the time `now` (seconds, steady clock, never running backwards) give the
    decisions that have become due.

    Parameters
    ----------
    settings : DeciderSettings
        How long it waits, and for how much.
    challenge : Challenge or None
        Tells known parts from production, and blocks production; None = there are no challenges.

    """

    def __init__(self, settings: DeciderSettings, challenge: Challenge | None = None) -> None:
        self.counts = DeciderCounts()
        #: Told with each part that is rejected because no recipe is in force.
        self.not_ready_because = 'no recipe is in force'
        self._settings = settings
        self._challenge = challenge or Challenge(ChallengeSettings())
        self._terms: Terms | None = None
        self._pending: dict[PartKey, _PendingPart] = {}
        self._decided: OrderedDict[PartKey, None] = OrderedDict()
        self._early: list[tuple[float, ScoreReceived]] = []
        self._timeouts_in_a_row = 0
        self._fault_reason = ''

    @property
    def terms(self) -> Terms | None:
        """
        What the next part is judged by; None before the first recipe.

        """
        return self._terms

    @property
    def fault_reason(self) -> str:
        """
        Why the line must stop, one sentence; '' when it need not.

        Raised by `timeouts_to_fault` parts decided TIMEOUT in a row; cleared by a part for which
        every required scorer gave a valid score in time, by `recipe_switched` and `reset_fault`.

        """
        return self._fault_reason

    def reset_fault(self) -> None:
        """
        Count anew: somebody has seen to the scorers.

        Needed where the belt stands after a fault, so that no part comes that could clear it.

        """
        self._timeouts_in_a_row = 0
        self._fault_reason = ''

    def recipe_switched(self, terms: Terms) -> None:
        """
        Judge by another recipe from the next part on; call it when all scorers have confirmed it.

        """
        if self._terms is not None and terms != self._terms:
            self._challenge.recipe_switched()
        self._terms = terms
        self.reset_fault()

    def limits_changed(self, limits: LimitTable) -> None:
        """
        Judge by other limits from the next part on.

        Parameters
        ----------
        limits : LimitTable
            Of the measures of the recipe in force.

        Raises
        ------
        LimitError
            When no recipe is in force.

        """
        if self._terms is None:
            raise LimitError('no limits can be set before a recipe is in force')
        if _values(limits) != _values(self._terms.limits):
            self._challenge.limits_changed()
        self._terms = replace(self._terms, limits=limits)

    def tick(self, now: float) -> list[PartDecision]:
        """
        Reject the parts whose deadline has come.

        """
        while self._early and self._early[0][0] + self._settings.early_score_age_s <= now:
            self._early.pop(0)
            self.counts.scores_unknown += 1
        due = [part for part in self._pending.values() if part.deadline_s <= now]
        return [decision for part in due for decision in self._judge(part, now)]

    def part_seen(self, part: PartSeen, now: float) -> list[PartDecision]:
        """
        Take a part, or further frames of one.

        """
        decisions = self.tick(now)
        if part.key in self._decided:
            return decisions
        pending = self._pending.get(part.key)
        refusal = self._refusal(part, is_new=pending is None)
        if pending is None:
            # An exposure in the future would move the deadline out of reach.
            exposure_s = min(part.exposure_s, now) if math.isfinite(part.exposure_s) else now
            self._challenge.part_seen(part.key, exposure_s)
            if self._terms is None or refusal is not None:
                refusal = refusal or rejected(Reason.NOT_READY, self.not_ready_because)
                stamp_ns = part.stamps_ns[0] if part.stamps_ns else 0
                decision = PartDecision(part.key, stamp_ns, refusal, self._terms, exposure_s)
                return [*decisions, self._record(decision, now)]
            deadline_s = exposure_s + self._settings.deadline_s
            pending = _PendingPart(part.key, self._terms, exposure_s, deadline_s)
            self._pending[part.key] = pending
        elif refusal is not None:
            return [*decisions, self._decide(pending, refusal, now)]
        # Whatever any version of the part said of a frame holds.
        for stamp_ns, problem in zip(part.stamps_ns, part.problems, strict=True):
            frame = pending.frames.setdefault(stamp_ns, FrameEvidence(problem))
            frame.problem = frame.problem or problem
        pending.is_complete = pending.is_complete or part.is_complete
        waiting, self._early = self._early, []
        for received_s, score in waiting:
            if not self._take(pending, score):
                self._early.append((received_s, score))
        return decisions + self._judge(pending, now)

    def score_received(self, score: ScoreReceived, now: float) -> list[PartDecision]:
        """
        Take a score; one that comes before its part or frame waits for it.

        """
        decisions = self.tick(now)
        if score.key in self._decided:
            self.counts.scores_after_decision += 1
            return decisions
        pending = self._pending.get(score.key)
        if pending is not None and self._take(pending, score):
            return decisions + self._judge(pending, now)
        self._early.append((now, score))
        if len(self._early) > self._settings.early_scores:
            self._early.pop(0)
            self.counts.scores_unknown += 1
        return decisions

    def flush(self, now: float) -> list[PartDecision]:
        """
        Reject every undecided part, because the decider stops.

        """
        decisions = self.tick(now)
        judgement = rejected(Reason.NOT_READY, 'the decider stopped with the part undecided')
        return decisions + [self._decide(p, judgement, now) for p in list(self._pending.values())]

    def _refusal(self, part: PartSeen, *, is_new: bool) -> Judgement | None:
        """
        Say why a part cannot even wait for scores; None when it can.

        """
        stamps_ns = part.stamps_ns
        if not stamps_ns:
            return rejected(Reason.FRAME_INVALID, 'the part came without a frame')
        if len(part.problems) != len(stamps_ns):
            return rejected(
                Reason.FRAME_INVALID,
                f'the part came with {len(stamps_ns)} stamps but {len(part.problems)} problems',
            )
        if list(stamps_ns) != sorted(set(stamps_ns)):
            return rejected(
                Reason.FRAME_INVALID, f'the stamps of the part do not increase: {stamps_ns}'
            )
        if is_new and len(self._pending) >= self._settings.pending_parts:
            return rejected(
                Reason.NOT_READY, f'{len(self._pending)} parts are undecided, no more can wait'
            )
        return None

    def _take(self, pending: _PendingPart, score: ScoreReceived) -> bool:
        """
        Give a score to its frame; False when it is of another part, or of a frame yet to come.

        """
        if score.key != pending.key:
            return False
        frame = pending.frames.get(score.stamp_ns)
        if frame is None and not pending.is_complete:
            return False
        if frame is None or score.scorer not in pending.terms.limits.scorers:
            self.counts.scores_unknown += 1
        elif score.scorer in frame.scores:
            self.counts.scores_duplicate += 1
        else:
            frame.scores[score.scorer] = score
            pending.frame_id = pending.frame_id or score.frame_id
        return True

    def _judge(self, part: _PendingPart, now: float) -> list[PartDecision]:
        """
        Decide the part if its verdict is certain, or its deadline has come.

        """
        is_late = part.deadline_s <= now
        is_closed = part.is_complete or is_late
        judgements = [judge_frame(frame, part.terms) for frame in part.frames.values()]
        if self._settings.station is None:
            judgement = judge_belt_part(judgements, is_complete=is_closed)
        else:
            judgement = judge_station_part(
                judgements, self._settings.station, is_complete=is_closed
            )
        if is_late and (judgement is None or judgement.verdict is Verdict.PASS):
            judgement = rejected(
                Reason.TIMEOUT, f'{self._missing(part)} within {self._settings.deadline_s:g} s'
            )
        return [] if judgement is None else [self._decide(part, judgement, now)]

    def _missing(self, part: _PendingPart) -> str:
        missing = [
            f'{scorer} (frame {number})' if len(part.frames) > 1 else scorer
            for number, frame in enumerate(part.frames.values(), 1)
            if judge_frame(frame, part.terms) is None
            for scorer in part.terms.limits.scorers
            if scorer not in frame.scores
        ]
        if missing:
            return f'no score of {", ".join(missing)}'
        if not part.is_complete:
            return 'the part was not complete'
        return 'part and scores were not known'

    def _decide(self, part: _PendingPart, judgement: Judgement, now: float) -> PartDecision:
        del self._pending[part.key]
        if judgement.reason is Reason.TIMEOUT:
            self._timeouts_in_a_row += 1
            if self._timeouts_in_a_row >= self._settings.timeouts_to_fault:
                self._fault_reason = (
                    f'{self._timeouts_in_a_row} parts in a row timed out, '
                    # The verdict at its end is no news here.
                    f'the last: {judgement.comparison.removesuffix(" -> REJECT")}'
                )
        elif set(part.terms.limits.scorers) <= {
            scorer
            for frame in part.frames.values()
            for scorer, score in frame.scores.items()
            if score.status == STATUS_OK and score.recipe_hash == part.terms.recipe_hash
        }:
            self.reset_fault()
        measured = {}
        if judgement.reason in _MEASURED:
            frames = list(part.frames.values())
            station = self._settings.station
            measured = worst_measures(frames[: station.frames] if station else frames, part.terms)
        stamp_ns = next(iter(part.frames))
        explanation = None
        if judgement.verdict is not Verdict.PASS:
            explanation = explain_reject(judgement, part.frames.values(), part.terms)
        decision = PartDecision(
            part.key,
            stamp_ns,
            judgement,
            part.terms,
            part.exposure_s,
            measured,
            frame_id=part.frame_id,
            explanation=explanation,
        )
        return self._record(decision, now)

    def _record(self, decision: PartDecision, now: float) -> PartDecision:
        """
        Remember that the part is decided, count it, and let go of the scores that wait for it.

        """
        decision = self._challenge.decided(decision, now)
        self._decided[decision.key] = None
        if len(self._decided) > self._settings.remembered_parts:
            self._decided.popitem(last=False)
        kept = [waiting for waiting in self._early if waiting[1].key != decision.key]
        self.counts.scores_after_decision += len(self._early) - len(kept)
        self._early = kept
        if decision.known_as is not KnownAs.UNKNOWN:
            self.counts.known[decision.known_as] += 1
        elif decision.judgement.verdict is Verdict.PASS:
            self.counts.passed += 1
        else:
            self.counts.rejected[decision.judgement.reason] += 1
        return decision


def _values(limits: LimitTable) -> dict[str, float]:
    return {limit.name: limit.value for limit in limits}
