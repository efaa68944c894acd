# SPDX-License-Identifier: Apache-2.0
"""
From the scores of a part's frames to its verdict: pure functions.

"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
import math
from typing import TYPE_CHECKING

from anomaly_inspection.deciding.explanation import explain, Explanation
from anomaly_inspection.deciding.frame_judge import judge, Judgement, Reason, rejected, Verdict
from anomaly_inspection.scoring.measure import BadSide
from anomaly_inspection.setting_check import check_range

if TYPE_CHECKING:
    from anomaly_inspection.deciding.part_decision import ScoreReceived, Terms

# The values of Score.msg; any other status makes the score invalid.
STATUS_OK = 1
_BY_MEASURES = {
    Reason.LIMIT_EXCEEDED,
    Reason.UNKNOWN_CLASS,
    Reason.TOO_FEW_FRAMES_PASSED,
}
_REASON_OF_STATUS = {2: Reason.FRAME_INVALID, 3: Reason.NOT_ALIGNED}


@dataclass(frozen=True)
class StationSettings:
    """
    Station mode: the frames of a part are judged one by one, and n of m must pass.

    Parameters
    ----------
    frames : int
        m, frames of a part that are judged; further ones are ignored. At least 1.
    required_passes : int
        n, 1..m.

    """

    frames: int
    required_passes: int

    def __post_init__(self) -> None:
        check_range('frames', self.frames, 1)
        check_range('required_passes', self.required_passes, 1, self.frames, 'frames')


@dataclass
class FrameEvidence:
    """
    What is known of one frame: what was wrong with it ('' = nothing), and its score by scorer.

    """

    problem: str
    scores: dict[str, ScoreReceived] = field(default_factory=dict)


def judge_frame(frame: FrameEvidence, terms: Terms) -> Judgement | None:
    """
    Judge one frame; None while scores are outstanding and nothing is certain.

    A frame that cannot be judged is rejected at once; a limit exceeded waits for the other
    scorers, so that the comparison is complete.

    """
    if frame.problem:
        return rejected(Reason.FRAME_INVALID, frame.problem)
    for scorer, score in frame.scores.items():
        if score.recipe_hash != terms.recipe_hash:
            return rejected(
                Reason.RECIPE_MISMATCH,
                f'{scorer} scored with recipe {score.recipe_hash[:12] or "unknown"}, '
                f'the part belongs to {terms.recipe_hash[:12]}',
            )
        if score.status != STATUS_OK:
            reason = _REASON_OF_STATUS.get(score.status, Reason.SCORE_INVALID)
            return rejected(reason, f'{scorer}: {score.detail or f"status {score.status}"}')
    if any(scorer not in frame.scores for scorer in terms.limits.scorers):
        return None
    measures = {scorer: score.measures for scorer, score in frame.scores.items()}
    part_classes = [score.part_class for score in frame.scores.values() if score.part_class]
    judgement = judge(measures, terms.limits, terms.combination, part_classes)
    remarks = dict.fromkeys(score.detail for score in frame.scores.values() if score.detail)
    if not remarks:
        return judgement
    return replace(judgement, comparison=f'{judgement.comparison} ({"; ".join(remarks)})')


def worst_measures(frames: Iterable[FrameEvidence], terms: Terms) -> dict[tuple[str, str], float]:
    """
    Give the worst value of each measure over the frames that have all their scores.

    Returns
    -------
    dict of (scorer, measure) to float
        Empty when a frame could not be measured.

    """
    scored = [(frame, judge_frame(frame, terms)) for frame in frames]
    judged = [(frame, judgement) for frame, judgement in scored if judgement is not None]
    if not judged or any(math.isnan(judgement.anomaly_score) for _, judgement in judged):
        return {}
    return {
        (limit.scorer, limit.measure): (max if limit.bad_side is BadSide.HIGH else min)(
            frame.scores[limit.scorer].measures[limit.measure] for frame, _ in judged
        )
        for limit in terms.limits
    }


def explain_reject(
    judgement: Judgement, frames: Iterable[FrameEvidence], terms: Terms
) -> Explanation:
    """
    Explain why a part was rejected, by its worst frame that was measured.

    Parameters
    ----------
    judgement : Judgement
        Of the part.
    frames : iterable of FrameEvidence
        What was judged.
    terms : Terms
        What it was judged by.

    """
    worst, evidence = judgement, None
    if judgement.reason in _BY_MEASURES:
        for frame in frames:
            of_frame = judge_frame(frame, terms)
            if of_frame is None or not of_frame.worst_measure:
                continue
            if evidence is None or of_frame.anomaly_score > worst.anomaly_score:
                worst, evidence = of_frame, frame
    scores = evidence.scores if evidence else {}
    return explain(
        worst if evidence else judgement,
        terms.limits,
        {scorer: score.measures for scorer, score in scores.items()},
        {scorer: score.regions for scorer, score in scores.items()},
        terms.known_good,
    )


def judge_belt_part(
    judgements: Sequence[Judgement | None], *, is_complete: bool
) -> Judgement | None:
    """
    Judge a part all of whose frames must pass; None while nothing is certain.

    Parameters
    ----------
    judgements : sequence of Judgement or None
        One for each frame, in their order; None = outstanding.
    is_complete : bool
        False while more frames may follow.

    """
    known = [judgement for judgement in judgements if judgement is not None]
    unmeasured = [judgement for judgement in known if math.isnan(judgement.anomaly_score)]
    if unmeasured:
        decisive = unmeasured[0]
    elif is_complete and len(known) == len(judgements):
        decisive = max(known, key=lambda judgement: judgement.anomaly_score)
    else:
        return None
    if len(judgements) == 1:
        return decisive
    return replace(
        decisive,
        comparison=f'{_listed(judgements)}; all frames must pass -> {decisive.verdict.name}',
    )


def judge_station_part(
    judgements: Sequence[Judgement | None], station: StationSettings, *, is_complete: bool
) -> Judgement | None:
    """
    Judge a part of whose frames n of m must pass; None while nothing is certain.

    Parameters are those of `judge_belt_part`.

    """
    judgements = judgements[: station.frames]
    passed = [j for j in judgements if j is not None and j.verdict is Verdict.PASS]
    text = (
        f'{_listed(judgements)}; {len(passed)} of {len(judgements)} frames passed, '
        f'{station.required_passes} required'
    )
    if len(passed) >= station.required_passes:
        passed.sort(key=lambda judgement: judgement.anomaly_score)
        return replace(passed[station.required_passes - 1], comparison=f'{text} -> PASS')
    to_come = 0 if is_complete else station.frames - len(judgements)
    if len(passed) + judgements.count(None) + to_come >= station.required_passes:
        return None
    return rejected(Reason.TOO_FEW_FRAMES_PASSED, text)


def _listed(judgements: Sequence[Judgement | None]) -> str:
    """
    Write out the judgements of a part's frames, rejects first.

    """
    known = [(n, judgement) for n, judgement in enumerate(judgements, 1) if judgement is not None]
    known.sort(key=lambda numbered: numbered[1].verdict, reverse=True)
    return '; '.join(f'frame {n}: {judgement.comparison}' for n, judgement in known)
