# SPDX-License-Identifier: Apache-2.0
"""
The parts of a review set as the room `reviewing` takes them.

"""

from __future__ import annotations

from typing import TYPE_CHECKING

from anomaly_inspection.errors import StateError
from anomaly_inspection.panel.review.folder import cause_of, ReviewFolder
from anomaly_inspection.panel.review.reject import KeptAs, ReviewVerdict
from anomaly_inspection.printable import printable
from anomaly_inspection.reviewing.stored_part import Kind, StoredPart, Truth

if TYPE_CHECKING:
    from pathlib import Path

    from anomaly_inspection.panel.review.reject import Reject

_TRUTHS = {ReviewVerdict.GOOD: Truth.GOOD, ReviewVerdict.DEFECT: Truth.BAD}


def stored_reject(reject: Reject, picture: Path | None) -> StoredPart:
    """
    Give a kept part as a stored part; `picture` is its file, None = it is gone.

    """
    part, decision = reject.part, reject.part.decision
    return StoredPart(
        key=part.key,
        kind=Kind(reject.kept_as),
        is_rejected=reject.kept_as is KeptAs.REJECT,
        reason=reject.reason,
        measures={one.name: one.value for score in part.scores for one in score.measures},
        limits={limit.name: limit.value for limit in part.limits},
        recipe=reject.recipe,
        recipe_version=decision.recipe_version if decision else 0,
        truth=_TRUTHS.get(reject.verdict) if reject.verdict else None,
        picture=picture,
    )


def read_review_set(path: Path) -> tuple[list[StoredPart], list[str]]:
    """
    Read a review set from disk; nothing in it is changed.

    Returns
    -------
    parts : list of StoredPart
        All, reviewed or not.
    strange : list of str
        Files that cannot be read, each with the reason.

    Raises
    ------
    StateError
        When the folder cannot be read.

    """
    folder = ReviewFolder(path)
    try:
        found, strange = folder.read(moves_pictures=False)
    except OSError as error:
        raise StateError(f'cannot read {printable(path)}: {cause_of(error)}') from error
    return [stored_reject(one.reject, folder.picture_of(one.reject)) for one in found], strange
