# SPDX-License-Identifier: Apache-2.0
"""
What the teacher node says, as messages.

"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from builtin_interfaces.msg import Time

from anomaly_inspection.msg import ImageFinding, RecipeDraft
from anomaly_inspection.msg import TeachingSession as SessionMessage
from anomaly_inspection.teaching.draft import draft_of, number_or_nan

if TYPE_CHECKING:
    from anomaly_inspection.teaching.draft import Draft
    from anomaly_inspection.teaching.session import TeachingSession


def draft_message(session_name: str, draft: Draft) -> RecipeDraft:
    """
    Give a draft as a message.

    """
    values = asdict(draft.report)
    for name in ('false_rejects', 'false_rejects_low', 'false_rejects_high', 'seen_in_all'):
        values[name] = number_or_nan(values[name])
    values['seen'] = [number_or_nan(share) for share in values['seen']]
    values['findings'] = [
        ImageFinding(topic=topic, sentence=sentence, is_problem=is_problem)
        for topic, sentence, is_problem in values['findings']
    ]
    for name in ('left_out', 'scorers', 'choice', 'faults', 'notes'):
        values[name] = list(values[name])
    return RecipeDraft(session=session_name, path=str(draft.folder), **values)


def session_message(session: TeachingSession) -> SessionMessage:
    """
    Give a session, as it is on disk now, as a message.

    """
    draft = draft_of(session)
    return SessionMessage(
        name=session.name,
        product=session.product,
        created=Time(sec=int(session.created.timestamp())),
        images=len(session.image_names()),
        draft=[] if draft is None else [draft_message(session.name, draft)],
    )
