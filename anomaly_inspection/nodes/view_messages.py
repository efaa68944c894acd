# SPDX-License-Identifier: Apache-2.0
"""
From the messages of several views to those of one cell.

The name of each scorer begins with its view there: 'top/ssim'.

"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
import hashlib
import math
import time
from typing import TYPE_CHECKING

from anomaly_inspection.deciding.frame_judge import Reason, Verdict
from anomaly_inspection.deciding.view_join import ViewSaid
from anomaly_inspection.msg import (
    Decision,
    Explanation,
    LimitsInForce,
    Part,
    RecipeInForce,
    Score,
    ViewVerdict,
)
from anomaly_inspection.steady_clock import steady_clock_id

if TYPE_CHECKING:
    from anomaly_inspection.deciding.view_join import JoinedPart


def said_by(message: Decision, *, not_ours: str = '') -> ViewSaid:
    """
    Convert the verdict of a view.

    Parameters
    ----------
    not_ours : str
        Why it was judged by another recipe than that of the view, one sentence; it is a reject
        then. '' = it was not.

    """
    known = set(Reason)
    reason = Reason(message.reason) if message.reason in known else Reason.SCORE_INVALID
    if not_ours:
        comparison = f'{not_ours} -> REJECT'
        return ViewSaid(False, Reason.RECIPE_MISMATCH, comparison, message)
    passes = message.verdict == Decision.VERDICT_PASS and reason is Reason.WITHIN_LIMITS
    return ViewSaid(passes, reason, message.comparison, message)


def part_message(joined: JoinedPart, views: Sequence[str], leading: str) -> Part:
    """
    Announce a joined part, with the newest frame list of each view that has seen it.

    """
    order = [leading, *(view for view in views if view != leading)]
    seen = [(view, joined.parts[view].content) for view in order if view in joined.parts]
    exposure_ns = round(joined.time_s * 1e9)
    message = Part(
        session_id=joined.key[0],
        part_id=joined.key[1],
        is_complete=joined.is_complete or joined.verdict is not None,
        exposure_steady_ns=exposure_ns,
        steady_clock_id=steady_clock_id(),
        age_s=max(0.0, 1e-9 * (time.monotonic_ns() - exposure_ns)),
    )
    for view, part in seen:
        message.frame_stamps += part.frame_stamps
        message.frame_names += part.frame_names
        message.frame_problems += part.frame_problems
        message.frame_views += [view] * len(part.frame_stamps)
    return message


def score_message(score: Score, view: str, key: tuple[str, int]) -> Score:
    """
    Give the score of a view as one of the joined part.

    """
    message = copy(score)
    message.scorer = f'{view}/{score.scorer}'
    message.session_id, message.part_id = key
    return message


def decision_message(
    joined: JoinedPart, views: Sequence[str], leading: str, recipe: RecipeInForce
) -> Decision:
    """
    Give the decision on a joined part.

    """
    assert joined.verdict is not None
    said = {
        view: part.said.content
        for view in views
        if (part := joined.parts.get(view)) is not None and part.said is not None
    }
    message = Decision(
        session_id=joined.key[0],
        part_id=joined.key[1],
        verdict=int(joined.verdict.verdict),
        reason=int(joined.verdict.reason),
        known_as=_known_as(said),
        comparison=joined.verdict.comparison,
        anomaly_score=math.nan,
        views=[_view_verdict(joined, view) for view in views],
        recipe_name=recipe.name,
        recipe_version=recipe.version,
        recipe_hash=recipe.hash,
        latency_s=time.monotonic() - joined.time_s,
    )
    first = next((view for view in (leading, *views) if view in joined.parts), None)
    if first is not None:
        message.header.stamp = joined.parts[first].content.frame_stamps[0]
        message.header.frame_id = said[first].header.frame_id if first in said else ''
    for view, decision in said.items():
        if decision.anomaly_score > message.anomaly_score or math.isnan(message.anomaly_score):
            message.anomaly_score = decision.anomaly_score
            worst = decision.worst_measure
            message.worst_measure = f'{view}/{worst}' if worst else ''
        for measure in decision.measures:
            named = copy(measure)
            named.scorer = f'{view}/{measure.scorer}'
            message.measures.append(named)
    if joined.verdict.verdict is not Verdict.PASS:
        message.explanation = _explanation(joined, said)
    return message


def _known_as(said: Mapping[str, Decision]) -> int:
    """
    Say what the part was known to be: one view that knows is enough, and bad beats good.

    """
    known = {decision.known_as for decision in said.values()}
    for value in (Decision.KNOWN_AS_BAD, Decision.KNOWN_AS_GOOD):
        if value in known:
            return value
    return Decision.KNOWN_AS_UNKNOWN


def _view_verdict(joined: JoinedPart, view: str) -> ViewVerdict:
    message = ViewVerdict(view=view)
    part = joined.parts.get(view)
    if part is not None:
        message.session_id, message.part_id = part.key
        if part.said is not None:
            passes = part.said.passes
            message.verdict = Decision.VERDICT_PASS if passes else Decision.VERDICT_REJECT
            message.reason = int(part.said.reason)
    return message


def _explanation(joined: JoinedPart, said: Mapping[str, Decision]) -> Explanation:
    """
    Take the explanation of the first view that rejects; where none does, the comparison says why.

    """
    assert joined.verdict is not None
    for view, decision in said.items():
        if decision.verdict != Decision.VERDICT_PASS and decision.explanation.text:
            explanation = copy(decision.explanation)
            explanation.text = f'View {view}: {explanation.text}'
            if explanation.scorer:
                explanation.scorer = f'{view}/{explanation.scorer}'
            return explanation
    return Explanation(text=joined.verdict.comparison)


def joined_recipe(
    recipes: Mapping[str, RecipeInForce], views: Sequence[str], *, name: str, path: str
) -> RecipeInForce:
    """
    Name the recipes of all views as one; its version counts the changes of all of them.

    """
    in_force = [recipes[view] for view in views]
    text = '\n'.join(f'{view} {recipes[view].hash}' for view in views)
    return RecipeInForce(
        name=name or '+'.join(recipe.name for recipe in in_force),
        version=sum(recipe.version for recipe in in_force) - len(in_force) + 1,
        hash=hashlib.sha256(text.encode()).hexdigest(),
        path=path,
        scorers=[f'{view}/{scorer}' for view in views for scorer in recipes[view].scorers],
    )


def joined_limits(
    limits: Mapping[str, LimitsInForce], views: Sequence[str], recipe: RecipeInForce
) -> LimitsInForce:
    """
    Give the limits of all views; one beyond its limit rejects, whatever a view combines.

    """
    message = LimitsInForce(
        recipe_name=recipe.name,
        recipe_version=recipe.version,
        recipe_hash=recipe.hash,
        combination=LimitsInForce.COMBINATION_ANY,
        is_unsaved=any(limits[view].is_unsaved for view in views if view in limits),
    )
    combinations = {limits[view].combination for view in views if view in limits}
    if len(views) == 1 and len(combinations) == 1:
        message.combination = combinations.pop()
    for view in views:
        for limit in limits[view].limits if view in limits else ():
            named = copy(limit)
            named.scorer = f'{view}/{limit.scorer}'
            message.limits.append(named)
    return message
