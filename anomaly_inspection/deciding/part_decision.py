# SPDX-License-Identifier: Apache-2.0
"""
What the decider hears of a part, and what it says of it.

"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

from anomaly_inspection.deciding.explanation import KnownGood

if TYPE_CHECKING:
    from anomaly_inspection.deciding.explanation import Explanation, FoundRegion
    from anomaly_inspection.deciding.frame_judge import Combination, Judgement
    from anomaly_inspection.deciding.limits import LimitTable

# Session and number of the part.
PartKey = tuple[str, int]


@dataclass(frozen=True)
class PartSeen:
    """
    A part exists; sent again, longer, while frames are added.

    Parameters
    ----------
    key : (str, int)
        Session and number of the part.
    stamps_ns : tuple of int
        Exposure of each frame, camera's clock, strictly increasing, at least one.
    problems : tuple of str
        What was wrong with each frame, '' = nothing; as long as `stamps_ns`.
    is_complete : bool
        False while more frames may follow.
    exposure_s : float
        Exposure of the first frame, own steady clock, seconds.

    """

    key: PartKey
    stamps_ns: tuple[int, ...]
    problems: tuple[str, ...]
    is_complete: bool
    exposure_s: float


@dataclass(frozen=True)
class ScoreReceived:
    """
    What one scorer found in one frame.

    Parameters
    ----------
    key : (str, int)
        Session and number of the part.
    stamp_ns : int
        Exposure of the frame, camera's clock.
    scorer : str
        Who scored it.
    status : int
        As in Score.msg; 1 = the measures are valid.
    detail : str
        One sentence when `status` is another one; else a remark for the comparison, or ''.
    recipe_hash : str
        What it was scored with.
    measures : mapping of str to float
        The scorer's measures by name.
    part_class : str
        The taught class that the part looks most like; '' for scorers that know no classes.
    frame_id : str
        Of the camera that took the frame, '' = not told.
    regions : tuple of FoundRegion
        What it found; only explains a reject, and plays no part in the verdict.

    """

    key: PartKey
    stamp_ns: int
    scorer: str
    status: int
    detail: str
    recipe_hash: str
    measures: Mapping[str, float]
    part_class: str = ''
    frame_id: str = ''
    regions: tuple[FoundRegion, ...] = ()


@dataclass(frozen=True)
class Terms:
    """
    What parts are judged by: a recipe with the limits that act.

    Every scorer that has a limit is required. Name and version are only passed on, and what is
    known of good parts only explains a reject.

    """

    recipe_name: str
    recipe_version: int
    recipe_hash: str
    limits: LimitTable
    combination: Combination
    known_good: KnownGood = field(default_factory=KnownGood, compare=False, repr=False)


class KnownAs(IntEnum):
    """
    What a part was known to be beforehand; the values of PartDecision.msg.

    """

    UNKNOWN = 0
    GOOD = 1
    BAD = 2


@dataclass(frozen=True)
class PartDecision:
    """
    The decision on one part.

    Parameters
    ----------
    key : (str, int)
        Session and number of the part.
    stamp_ns : int
        Exposure of its first frame, camera's clock; 0 when there is no frame.
    judgement : Judgement
        Verdict, reason and grounds. The anomaly score is that of the frame that decides: the
        worst one, in station mode the worst of the required number of best ones.
    terms : Terms or None
        What it was judged by; None when no recipe was in force.
    exposure_s : float
        Exposure of its first frame, own steady clock, seconds: what latency counts from.
    measured : mapping of (scorer, measure) to float
        What was compared with the limits, the worst value over its frames; empty when a frame
        could not be measured, or scores were missing.
    known_as : KnownAs
        GOOD or BAD for the parts of a challenge, UNKNOWN for production.
    overruled : Judgement or None
        What the part was judged to be, where a challenge has put another judgement in its place.
    frame_id : str
        Of the camera, as the first score of the part said it; '' when no score came.
    explanation : Explanation or None
        Why the part was rejected; None when it passed.

    """

    key: PartKey
    stamp_ns: int
    judgement: Judgement
    terms: Terms | None
    exposure_s: float
    measured: Mapping[tuple[str, str], float] = field(default_factory=dict)
    known_as: KnownAs = KnownAs.UNKNOWN
    overruled: Judgement | None = None
    frame_id: str = ''
    explanation: Explanation | None = None

    @property
    def judged(self) -> Judgement:
        """
        What the part was judged to be, whatever a challenge made of it.

        """
        return self.overruled or self.judgement
