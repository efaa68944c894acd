# SPDX-License-Identifier: Apache-2.0
"""
One part of the past: what was measured, what the cell said, and what a person said.

"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# Session and number of the part.
PartKey = tuple[str, int]
#: Reasons of verdicts that the measures alone decide; a challenge puts its own reason over them.
_BY_LIMITS = {'WITHIN_LIMITS', 'LIMIT_EXCEEDED', 'UNKNOWN_CLASS'}
_BY_CHALLENGE = {'CHALLENGE_DUE', 'CHALLENGE_PART'}


class Truth(StrEnum):
    """
    What a part really was.

    """

    GOOD = 'good'
    BAD = 'bad'


class Kind(StrEnum):
    """
    Why a part was kept.

    """

    REJECT = 'reject'
    #: It passed close to a limit.
    NEAR = 'near'
    #: It passed, and every so many passed parts one is kept.
    SAMPLE = 'sample'
    #: It was known beforehand: a part of a challenge, or of the test set of the recipe.
    KNOWN = 'known'
    #: It passed, and nothing but its measures is kept.
    PASSED = 'passed'


@dataclass(frozen=True)
class StoredPart:
    """
    One part of the past.

    Parameters
    ----------
    key : (str, int)
        Session and number.
    kind : Kind
        Why it was kept.
    is_rejected : bool
        What the cell decided.
    reason : str
        Name of the reason code.
    measures, limits : mapping of str to float
        By 'scorer.measure', as they were when the part was decided; NaN = not measured.
    recipe : str
        Name of the recipe that judged; '' = none.
    recipe_version : int
        Its version.
    truth : Truth or None
        What a person said, or what was known beforehand; None = nobody knows.
    picture : Path or None
        Its frame on disk; None = it is not kept, or gone.

    """

    key: PartKey
    kind: Kind
    is_rejected: bool
    reason: str
    measures: Mapping[str, float] = field(default_factory=dict)
    limits: Mapping[str, float] = field(default_factory=dict)
    recipe: str = ''
    recipe_version: int = 0
    truth: Truth | None = None
    picture: Path | None = None

    @property
    def is_judged_by_measures(self) -> bool:
        """
        Whether its measures may be compared with limits; False, e.g., after a time-out.

        """
        return self.reason in _BY_LIMITS | _BY_CHALLENGE

    @property
    def verdict_is_of_limits(self) -> bool:
        """
        Whether the limits alone have made the verdict.

        """
        return self.reason in _BY_LIMITS
