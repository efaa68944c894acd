# SPDX-License-Identifier: Apache-2.0
"""
The JSON interface of the review set.

"""

from __future__ import annotations

from itertools import islice
import math
from typing import Annotated, TYPE_CHECKING

from fastapi import APIRouter, Path, Query, Request
from pydantic import Field

from anomaly_inspection.panel.access.guard import visitor_of
from anomaly_inspection.panel.api.answers import answered, CONFLICT, NOT_FOUND, problem
from anomaly_inspection.panel.api.models import AnswerModel, Model
from anomaly_inspection.panel.review.reject import LONGEST_COMMENT, Reject, ReviewVerdict

if TYPE_CHECKING:
    from anomaly_inspection.panel.panel_parts import PanelParts

_MOST_REJECTS = 1000
# Part ids are uint64.
_PartId = Annotated[int, Path(ge=0, lt=2**64)]


class RejectModel(Model):
    """
    One reject of the review set and what was said about it.

    """

    session_id: str
    part_id: int
    time_s: float = Field(description='When it was decided, seconds since 1970.')
    reason: str
    comparison: str
    anomaly_score: float | None = Field(description='1 = exactly at a limit.')
    recipe: str
    recipe_version: int
    has_picture: bool
    verdict: ReviewVerdict | None = Field(description='null = nobody has reviewed it')
    comment: str
    who: str
    judged_s: float | None = Field(description='Seconds since 1970.')

    @classmethod
    def of(cls, reject: Reject) -> RejectModel:
        """
        Make it from what the review set holds.

        """
        decision = reject.part.decision
        score = decision.anomaly_score if decision else math.nan
        return cls(
            session_id=reject.key[0],
            part_id=reject.key[1],
            time_s=reject.kept_s,
            reason=reject.reason,
            comparison=decision.comparison if decision else '',
            anomaly_score=score if math.isfinite(score) else None,
            recipe=reject.recipe,
            recipe_version=decision.recipe_version if decision else 0,
            has_picture=not reject.image_problem,
            verdict=reject.verdict,
            comment=reject.comment,
            who=reject.who,
            judged_s=reject.judged_s if reject.verdict else None,
        )


class ReviewBody(Model):
    """
    What a reject was.

    """

    verdict: ReviewVerdict
    comment: str = Field('', max_length=LONGEST_COMMENT)


def add_reviews(router: APIRouter, parts: PanelParts) -> None:
    """
    Add what is about rejects to the interface.

    """

    @router.get('/reviews', summary='Rejects, the newest first')
    def rejects(
        number: Annotated[int, Query(ge=1, le=_MOST_REJECTS)] = 100, only_new: bool = False
    ) -> list[RejectModel]:
        wanted = (
            reject for reject in parts.reviews.rejects() if not only_new or reject.verdict is None
        )
        return [RejectModel.of(reject) for reject in islice(wanted, number)]

    @router.put(
        '/reviews/{session_id}/{part_id}',
        summary='Say what a reject was',
        responses={**CONFLICT, **NOT_FOUND},
    )
    def judge(
        session_id: str, part_id: _PartId, body: ReviewBody, request: Request
    ) -> AnswerModel:
        key = (session_id, part_id)
        if parts.reviews.reject(key) is None:
            return problem(404, 'this reject is not in the review set, or not any more')  # type: ignore[return-value]
        mine = parts.reviews_for(visitor_of(request))
        return answered(lambda: mine.judge(key, body.verdict, body.comment))  # type: ignore[no-any-return]
