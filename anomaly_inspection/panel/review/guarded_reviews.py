# SPDX-License-Identifier: Apache-2.0
"""
Reviews as one visitor may give them: operators and engineers review, and each verdict is recorded.

"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from anomaly_inspection.errors import InspectionError, StateError
from anomaly_inspection.panel.cell.commands import Answer
from anomaly_inspection.panel.people.roles import Role, Visitor

if TYPE_CHECKING:
    from anomaly_inspection.panel.cell.part_views import PartKey
    from anomaly_inspection.panel.people.people import People
    from anomaly_inspection.panel.review.reject import ReviewVerdict
    from anomaly_inspection.panel.review.review_set import ReviewSet


class GuardedReviews:
    """
    Checks the role for each verdict, notes it in the review set, and records it.

    Parameters
    ----------
    reviews : ReviewSet
        The rejects.
    people : People
        Who may do what, and the record.
    visitor : Visitor or None
        Who reviews; None = nobody, who may do nothing.

    """

    def __init__(self, reviews: ReviewSet, people: People, visitor: Visitor | None) -> None:
        self._reviews = reviews
        self._people = people
        self._visitor = visitor or Visitor('', Role.VIEWER)

    def judge(self, key: PartKey, verdict: ReviewVerdict, comment: str = '') -> Answer:
        """
        Say what a reject was; blocks until the disk has it, and never raises.

        """
        what = 'review a reject'
        try:
            visitor = self._people.check_role(self._visitor, Role.OPERATOR, what)
        except InspectionError as error:
            return Answer.of_error(error)
        before = self._reviews.reject(key)
        try:
            self._reviews.judge(key, verdict, comment, visitor.name, time.time())
        except StateError as error:
            answer = Answer(False, f'part {key[1]} is not reviewed: {error}')
        except InspectionError as error:
            answer = Answer.of_error(error)
        else:
            answer = Answer(True, f'part {key[1]}: {verdict}')
        self._people.audit.record(
            *(visitor, what),
            subject=f'part {key[1]} of session {key[0]}',
            old=str(before.verdict) if before and before.verdict else None,
            new=str(verdict),
            why=comment if answer.success else answer.message,
            is_refused=not answer.success,
        )
        return answer
