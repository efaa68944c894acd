# SPDX-License-Identifier: Apache-2.0
"""
One request to inspect the part that is in place: which part it is, and what the answer is.

What holds, whatever comes in whatever order:

- The part is the first one whose first frame was exposed after the request (and the time to
  settle). The verdict of an older part is never the answer.
- PASS needs the decider's PASS for that very part, before the deadline, with the line running.
- The first answer stands, unless a REJECT or an end comes before it is sent. Whatever is no
  verdict on the part is REJECT, with an outcome of its own.

"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, TYPE_CHECKING

from anomaly_inspection.deciding.frame_judge import Reason, Verdict
from anomaly_inspection.errors import SettingError
from anomaly_inspection.setting_check import check_range

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anomaly_inspection.deciding.part_decision import PartKey

#: Shortest deadline that may be asked for, seconds.
SHORTEST_DEADLINE_S = 0.01
# A clock read by another core may be this far ahead.
_LONGEST_LEAD_S = 0.001
# What may come before the part that it belongs to, because topics are not ordered.
_REMEMBERED_PARTS = 64
# The decider says these of parts that it has judged by their frames.
_JUDGED = {
    Reason.WITHIN_LIMITS,
    Reason.LIMIT_EXCEEDED,
    Reason.NOT_ALIGNED,
    Reason.UNKNOWN_CLASS,
    Reason.TOO_FEW_FRAMES_PASSED,
}


class Outcome(IntEnum):
    """
    What came of a request; the values of Inspect.action.

    """

    JUDGED = 1
    NOT_JUDGED = 2
    LATE = 3
    CANCELLED = 4
    PREEMPTED = 5
    REFUSED = 6
    NO_PART = 7
    NODE_LOST = 8
    LINE_STOPPED = 9
    WRONG_CLASS = 10
    STOPPED = 11


@dataclass(frozen=True)
class Request:
    """
    What was asked, and when.

    Parameters
    ----------
    accepted_s : float
        When it came, own steady clock, seconds.
    deadline_s : float
        From there to the answer at the latest, seconds.
    settle_s : float
        From there to the exposure at the earliest, seconds, shorter than `deadline_s`.
    expected_class : str
        What the part must be, '' = anything.

    """

    accepted_s: float
    deadline_s: float
    settle_s: float = 0.0
    expected_class: str = ''

    @property
    def earliest_s(self) -> float:
        """
        From when on an exposure counts, own steady clock, seconds.

        """
        return self.accepted_s + self.settle_s

    @property
    def end_s(self) -> float:
        """
        When the answer must be given, own steady clock, seconds.

        """
        return self.accepted_s + self.deadline_s


@dataclass(frozen=True)
class PartHeard:
    """
    A part was announced; again, longer, while frames are added.

    Parameters
    ----------
    key : (str, int)
        Session and number of the part.
    exposure_s : float
        Exposure of its first frame, own steady clock, seconds.
    frames : int
        How many frames it has so far.
    is_complete : bool
        No further frame comes.

    """

    key: PartKey
    exposure_s: float
    frames: int
    is_complete: bool


@dataclass(frozen=True)
class ScoreHeard:
    """
    What a scorer said of the class of a part.

    Parameters
    ----------
    key : (str, int)
        Session and number of the part.
    scorer : str
        Its name.
    part_class : str
        The taught class that the part looks most like, '' = the scorer knows none.
    message : object
        What it was heard by; only kept.

    """

    key: PartKey
    scorer: str
    part_class: str = ''
    message: Any = None


@dataclass(frozen=True)
class DecisionHeard:
    """
    What the decider said of a part.

    Parameters
    ----------
    key : (str, int)
        Session and number of the part.
    verdict, reason : int
        As in Decision.msg; any number, because it comes from outside.
    comparison : str
        The grounds.
    scorers : sequence of str
        Whose measures were compared.
    message : object
        What it was heard by; only kept.

    """

    key: PartKey
    verdict: int
    reason: int
    comparison: str
    scorers: Sequence[str] = ()
    message: Any = None


@dataclass(frozen=True)
class Answer:
    """
    The answer to a request.

    Parameters
    ----------
    verdict : Verdict
        PASS only for a part that was judged.
    outcome : Outcome
        What came of it.
    text : str
        One sentence.
    decision : DecisionHeard or None
        The decision that it rests on.

    """

    verdict: Verdict
    outcome: Outcome
    text: str
    decision: DecisionHeard | None = None

    @property
    def was_judged(self) -> bool:
        """
        Whether the verdict is about the part; False: it could not be inspected.

        """
        return self.outcome in (Outcome.JUDGED, Outcome.WRONG_CLASS)

    @property
    def reason(self) -> int:
        """
        The decider's reason for the verdict; 0 where the verdict is not the decider's.

        """
        if self.decision is None or self.outcome is Outcome.WRONG_CLASS:
            return 0
        return self.decision.reason


class Inspection:
    """
    Waits for the part, its scores and its decision; not thread-safe.

    Parameters
    ----------
    request : Request
        What was asked.

    """

    def __init__(self, request: Request) -> None:
        self.request = request
        #: The part in place, as it was announced last; None before it is exposed.
        self.part: PartHeard | None = None
        self._answer: Answer | None = None
        self._older_part: PartHeard | None = None
        self._scores: OrderedDict[PartKey, list[ScoreHeard]] = OrderedDict()
        self._decisions: OrderedDict[PartKey, DecisionHeard] = OrderedDict()

    def answer(self, now_s: float) -> Answer | None:
        """
        Give the answer, as it counts at this time; None while it is still open.

        Ask again at the moment of sending: a PASS that has waited until the deadline is none.

        """
        if self._answer is None or self._answer.verdict is not Verdict.PASS:
            if self._answer is None and now_s >= self.request.end_s:
                self._answer = self._late()
            return self._answer
        if not self._is_in_time(now_s):
            self._answer = self._late()
        return self._answer

    @property
    def scores(self) -> list[ScoreHeard]:
        """
        The scores of the part in place, in the order in which they came.

        """
        return [] if self.part is None else self._scores.get(self.part.key, [])

    def part_heard(self, part: PartHeard, now_s: float) -> bool:
        """
        Take a part; says whether it is the part in place, with something new.

        """
        if self._answer is not None:
            return False
        if self.part is None:
            # An exposure that lies ahead says nothing of when it was; NaN fails as well.
            latest_s = now_s + _LONGEST_LEAD_S
            if not self.request.earliest_s <= part.exposure_s <= latest_s:
                if part.exposure_s < self.request.earliest_s:
                    self._older_part = part
                return False
        elif part.key != self.part.key:
            return False
        is_new = part != self.part
        self.part = part
        self._join(now_s)
        return is_new

    def score_heard(self, score: ScoreHeard, now_s: float) -> bool:
        """
        Take a score; says whether it is of the part in place.

        """
        if self._answer is not None:
            return False
        self._scores.setdefault(score.key, []).append(score)
        _shorten(self._scores, self.part)
        self._join(now_s)
        return self.part is not None and self.part.key == score.key

    def decision_heard(self, decision: DecisionHeard, now_s: float) -> None:
        """
        Take a decision; the first one of a part stands, except that REJECT beats PASS.

        """
        before = self._decisions.get(decision.key)
        if before is None or not _is_reject(before):
            self._decisions[decision.key] = decision
            _shorten(self._decisions, self.part)
        self._join(now_s)

    def end(self, outcome: Outcome, text: str) -> None:
        """
        End it without a verdict, whatever the answer would have been.

        """
        self._answer = Answer(Verdict.REJECT, outcome, text)

    def _is_in_time(self, now_s: float) -> bool:
        # Not the other way round: NaN is not in time.
        return now_s < self.request.end_s

    def _join(self, now_s: float) -> None:
        """
        Answer when all is there that the answer rests on.

        """
        if self.part is None:
            return
        decision = self._decisions.get(self.part.key)
        if decision is None:
            return
        if self._answer is not None:
            if _is_reject(decision) and self._answer.verdict is Verdict.PASS:
                self._answer = _rejected(decision)
            return
        # Class, regions and place stand in the scores.
        scores = self.scores
        if not set(decision.scorers) <= {score.scorer for score in scores}:
            return
        if _is_reject(decision):
            self._answer = _rejected(decision)
        else:
            in_time = self._is_in_time(now_s)
            self._answer = self._passed(decision, scores) if in_time else self._late()

    def _passed(self, decision: DecisionHeard, scores: Sequence[ScoreHeard]) -> Answer:
        expected = self.request.expected_class
        told = sorted({score.part_class for score in scores if score.part_class})
        if expected and told != [expected]:
            likeness = ' and '.join(map(repr, told)) if told else 'of none that a scorer tells'
            text = f'the part looks most like {likeness}, expected is {expected!r}'
            return Answer(Verdict.REJECT, Outcome.WRONG_CLASS, text, decision)
        return Answer(Verdict.PASS, Outcome.JUDGED, decision.comparison, decision)

    def _late(self) -> Answer:
        deadline = f'within {self.request.deadline_s:g} s of the goal'
        if self.part is None:
            settle_s = self.request.settle_s
            after = f' (and settle_s {settle_s:g} s)' if settle_s else ''
            text = f'no part was exposed after the goal{after} and announced {deadline}'
            older = self._older_part
            if older is not None:
                ago_s = self.request.earliest_s - older.exposure_s
                text += f'; part {older.key[1]} was exposed {ago_s:.3f} s too early'
            return Answer(Verdict.REJECT, Outcome.NO_PART, text)
        key = self.part.key
        decision = self._decisions.get(key)
        if decision is not None and _is_reject(decision):
            return _rejected(decision)
        if decision is not None:
            missing = 'its verdict came too late, or a score of it is missing'
        elif key in self._scores:
            missing = 'it was scored, but no decision came'
        else:
            missing = 'no score and no decision came'
        text = f'part {key[1]} was announced, but not judged {deadline}: {missing}'
        return Answer(Verdict.REJECT, Outcome.LATE, text)


def _is_reject(decision: DecisionHeard) -> bool:
    return decision.verdict != Verdict.PASS or decision.reason != Reason.WITHIN_LIMITS


def _rejected(decision: DecisionHeard) -> Answer:
    try:
        was_judged = Reason(decision.reason) in _JUDGED and decision.verdict == Verdict.REJECT
    except ValueError:
        was_judged = False
    outcome = Outcome.JUDGED if was_judged else Outcome.NOT_JUDGED
    return Answer(Verdict.REJECT, outcome, decision.comparison, decision)


def _shorten(remembered: OrderedDict[PartKey, Any], part: PartHeard | None) -> None:
    while len(remembered) > _REMEMBERED_PARTS:
        oldest = next(iter(remembered))
        if part is not None and oldest == part.key:
            remembered.move_to_end(oldest)
        else:
            remembered.popitem(last=False)


def checked_deadline(
    asked_s: float, default_s: float, longest_s: float, settle_s: float = 0.0
) -> float:
    """
    Give the deadline that holds for a request, seconds.

    Parameters
    ----------
    asked_s : float
        What was asked for, 0 = the default.
    default_s, longest_s : float
        The default, and the longest that may be asked for.
    settle_s : float
        The time to settle, which must end before the deadline.

    Raises
    ------
    SettingError
        When it is out of range.

    """
    deadline_s = default_s if asked_s == 0 else asked_s
    check_range('deadline_s', deadline_s, SHORTEST_DEADLINE_S, longest_s, 's')
    if deadline_s <= settle_s:
        raise SettingError(
            f'deadline_s {deadline_s:g} s, allowed: above {settle_s:g} s, because no frame is '
            'taken before settle_s'
        )
    return deadline_s
