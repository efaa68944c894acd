# SPDX-License-Identifier: Apache-2.0
"""
A part that is kept for review, and what people say about it, in memory and as a JSON file.

Most are rejects; passed parts tell how many bad ones pass.

"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
import hashlib
import math
import re
from typing import ClassVar

from pydantic import ConfigDict, TypeAdapter

from anomaly_inspection.panel.cell.part_views import PartKey, PartView

#: Longest comment, in characters.
LONGEST_COMMENT = 500
_FORMAT = 1
_PLAIN_SESSION = re.compile(r'[A-Za-z0-9][A-Za-z0-9_.-]{0,79}')


class ReviewVerdict(StrEnum):
    """
    What a person says about a part; the values are the names of folders.

    """

    GOOD = 'good'
    DEFECT = 'defect'
    UNSURE = 'unsure'


class KeptAs(StrEnum):
    """
    Why a part is kept; the recorder keeps pictures for the same reasons.

    """

    REJECT = 'reject'
    #: It passed close to a limit.
    NEAR = 'near'
    #: It passed, and every so many passed parts one is kept.
    SAMPLE = 'sample'


@dataclass(frozen=True)
class Reject:
    """
    A rejected part, or a passed one that is kept to be reviewed.

    Parameters
    ----------
    part : PartView
        All that was known of it when it was kept.
    kept_s : float
        When it was decided, seconds since 1970 by this computer's clock.
    image_problem : str
        Why there is no picture of it; '' = there is one.
    verdict : ReviewVerdict or None
        None = nobody has reviewed it yet.
    comment, who : str
        Of the person who reviewed it last.
    judged_s : float
        When that was, seconds since 1970; NaN = not yet.
    format : int
        Of the file.
    kept_as : KeptAs
        Why it is kept; files of older versions hold rejects alone.

    """

    # JSON knows no NaN: it is written as the text "NaN".
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(
        ser_json_inf_nan='strings', allow_inf_nan=True
    )

    part: PartView
    kept_s: float
    image_problem: str = ''
    verdict: ReviewVerdict | None = None
    comment: str = ''
    who: str = ''
    judged_s: float = math.nan
    format: int = _FORMAT
    kept_as: KeptAs = KeptAs.REJECT

    @property
    def key(self) -> PartKey:
        """
        Session and number of the part.

        """
        return self.part.key

    @property
    def reason(self) -> str:
        """
        Name of the reason code.

        """
        return self.part.decision.reason if self.part.decision else ''

    @property
    def recipe(self) -> str:
        """
        Name of the recipe that judged; '' = there was none.

        """
        return self.part.decision.recipe_name if self.part.decision else ''


_ADAPTER = TypeAdapter(Reject)


def file_stem(key: PartKey) -> str:
    """
    Name the files of a part; whatever the session is called, this is no path.

    """
    session, number = key
    if not _PLAIN_SESSION.fullmatch(session):
        digest = hashlib.sha256(session.encode(errors='surrogatepass')).hexdigest()
        session = f'session_{digest[:16]}'
    return f'{session}_{number}'


def reject_to_json(reject: Reject) -> bytes:
    """
    Give a reject as its file holds it; raises ValueError for texts that are no text.

    """
    return _ADAPTER.dump_json(reject, indent=1)


def reject_from_json(content: str) -> Reject:
    """
    Read what `reject_to_json` gave; raises ValueError, with a short text, for anything else.

    """
    try:
        reject = _ADAPTER.validate_json(content)
    except ValueError as error:
        lines = [line.strip() for line in str(error).splitlines()]
        raise ValueError(' '.join(lines[1:3])[:200]) from None
    if reject.format != _FORMAT:
        raise ValueError(f'it is of format {reject.format}, wanted is {_FORMAT}')
    return reject
