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
from anomaly_inspection.panel.review.reject import KeptAs, LONGEST_COMMENT, Reject, ReviewVerdict
from anomaly_inspection.panel.review.stored_rejects import stored_reject
from anomaly_inspection.reviewing.findings import findings, Share
from anomaly_inspection.reviewing.stored_part import Kind

if TYPE_CHECKING:
    from anomaly_inspection.panel.panel_parts import PanelParts

_MOST_REJECTS = 1000
# Part ids are uint64.
_PartId = Annotated[int, Path(ge=0, lt=2**64)]


class RejectModel(Model):
    """
    One part of the review set and what was said about it.

    """

    session_id: str
    part_id: int
    time_s: float = Field(description='When it was decided, seconds since 1970.')
    reason: str
    comparison: str
    anomaly_score: float | None = Field(description='1 = exactly at a limit.')
    recipe: str
    recipe_version: int
    kind: KeptAs = Field(description='A reject, or a passed part: near a limit, or of a sample.')
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
            kind=reject.kept_as,
            has_picture=not reject.image_problem,
            verdict=reject.verdict,
            comment=reject.comment,
            who=reject.who,
            judged_s=reject.judged_s if reject.verdict else None,
        )


class ShareModel(Model):
    """
    A counted share and the 95 % interval of the true one (Clopper-Pearson).

    """

    count: int
    total: int
    low: float = Field(ge=0, le=1)
    high: float = Field(ge=0, le=1)

    @classmethod
    def of(cls, share: Share | None) -> ShareModel | None:
        """
        Make it from a share; None = no such part was reviewed.

        """
        if share is None:
            return None
        low, high = share.interval()
        return cls(count=share.count, total=share.total, low=low, high=high)


class FindingsModel(Model):
    """
    What the verdicts say; null = no such part was reviewed, so it is not known.

    """

    false_rejects: ShareModel | None = Field(description='Good ones among the reviewed rejects.')
    escapes_near: ShareModel | None = Field(
        description='Bad ones among the reviewed parts that passed near a limit.'
    )
    escapes_sample: ShareModel | None = Field(
        description='Bad ones among the reviewed parts of the sample of passed parts.'
    )


class ReviewBody(Model):
    """
    What a part was.

    """

    verdict: ReviewVerdict
    comment: str = Field('', max_length=LONGEST_COMMENT)


def add_reviews(router: APIRouter, parts: PanelParts) -> None:
    """
    Add what is about rejects to the interface.

    """

    @router.get('/reviews', summary='Rejects or passed parts, the newest first')
    def rejects(
        number: Annotated[int, Query(ge=1, le=_MOST_REJECTS)] = 100,
        only_new: bool = False,
        kind: KeptAs = KeptAs.REJECT,
    ) -> list[RejectModel]:
        wanted = (
            reject
            for reject in parts.reviews.kept()
            if reject.kept_as is kind and (not only_new or reject.verdict is None)
        )
        return [RejectModel.of(reject) for reject in islice(wanted, number)]

    @router.get('/reviews/findings', summary='What the verdicts say of false rejects and escapes')
    def found(
        recipe: Annotated[str, Query(max_length=200, description='Of it alone.')] = '',
    ) -> FindingsModel:
        said = findings(
            stored_reject(each, None)
            for each in parts.reviews.kept()
            if recipe in ('', each.recipe)
        )
        return FindingsModel(
            false_rejects=ShareModel.of(said.false_rejects),
            escapes_near=ShareModel.of(said.escapes.get(Kind.NEAR)),
            escapes_sample=ShareModel.of(said.escapes.get(Kind.SAMPLE)),
        )

    @router.put(
        '/reviews/{session_id}/{part_id}',
        summary='Say what a part was',
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
