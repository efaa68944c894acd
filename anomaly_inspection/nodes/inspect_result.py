# SPDX-License-Identifier: Apache-2.0
"""
The result of the action inspect, from an answer and what it rests on.

"""

from __future__ import annotations

import math
from typing import Any, TYPE_CHECKING

from anomaly_inspection.action import Inspect
from anomaly_inspection.deciding.inspection import Outcome
from anomaly_inspection.nodes.stamps import nanoseconds_from_stamp

if TYPE_CHECKING:
    from anomaly_inspection.deciding.inspection import Answer, Inspection
    from anomaly_inspection.msg import Decision, Score

_UNMEASURED = (
    *('anomaly_score', 'alignment_x_px', 'alignment_y_px', 'alignment_angle_rad'),
    *('alignment_scale', 'age_s', 'latency_s'),
)
_ALIGNMENT = ('alignment_x_px', 'alignment_y_px', 'alignment_angle_rad', 'alignment_scale')
_OF_DECISION = (
    *('known_as', 'measures', 'anomaly_score', 'worst_measure', 'explanation'),
    *('recipe_name', 'recipe_version', 'recipe_hash'),
)


def inspect_result(**fields: Any) -> Inspect.Result:
    """
    Make a result; what is not given is REJECT, empty or NaN.

    """
    return Inspect.Result(**(dict.fromkeys(_UNMEASURED, math.nan) | fields))


def answer_fields(inspection: Inspection, answer: Answer, now_s: float) -> dict[str, Any]:
    """
    Give the fields of the result that say an answer.

    Parameters
    ----------
    inspection : Inspection
        What it answers.
    answer : Answer
        The answer at `now_s`.
    now_s : float
        The time, own steady clock, seconds.

    """
    fields: dict[str, Any] = {
        'verdict': int(answer.verdict),
        'outcome': int(answer.outcome),
        'reason': answer.reason,
        'latency_s': now_s - inspection.request.accepted_s,
    }
    if inspection.part is not None:
        fields['session_id'], fields['part_id'] = inspection.part.key
        fields['age_s'] = now_s - inspection.part.exposure_s
    if answer.decision is not None:
        fields |= _of_decision(answer)
        fields |= _of_scores([score.message for score in inspection.scores])
    return fields


def _of_decision(answer: Answer) -> dict[str, Any]:
    assert answer.decision is not None
    decision: Decision = answer.decision.message
    fields = {name: getattr(decision, name) for name in _OF_DECISION}
    comparison = decision.comparison
    if answer.outcome is Outcome.WRONG_CLASS:
        comparison = f'{comparison.removesuffix(" -> PASS")}; {answer.text} -> REJECT'
    return fields | {'comparison': comparison}


def _of_scores(scores: list[Score]) -> dict[str, Any]:
    """
    Say what the scorers found in the newest frame of the part.

    """
    if not scores:
        return {}
    newest_ns = max(nanoseconds_from_stamp(score.header.stamp) for score in scores)
    newest = [one for one in scores if nanoseconds_from_stamp(one.header.stamp) == newest_ns]
    classes = [score.part_class for score in newest if score.part_class]
    fields: dict[str, Any] = {
        'part_class': classes[0] if classes else '',
        'regions': [region for score in newest for region in score.regions],
    }
    for score in newest:
        if not math.isnan(score.alignment_x_px):
            fields |= {name: getattr(score, name) for name in _ALIGNMENT}
    return fields
