# SPDX-License-Identifier: Apache-2.0
"""
A decision as the plant hears it.

"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
import math

# The verdict came from measures and limits alone.
_GOOD = {'WITHIN_LIMITS', 'LIMIT_EXCEEDED', 'UNKNOWN_CLASS', 'TOO_FEW_FRAMES_PASSED'}
# A challenge put its own verdict there.
_UNCERTAIN = {'CHALLENGE_DUE', 'CHALLENGE_PART'}
#: Longest text of an explanation, in characters.
LONGEST_EXPLANATION = 1000


class Quality(StrEnum):
    """
    How far a verdict can be taken as a measurement, in the words of OPC.

    """

    #: The part was measured, and the verdict follows from the measures.
    GOOD = 'good'
    #: The part was measured or not; a challenge that is due, or under way, made the verdict.
    UNCERTAIN = 'uncertain'
    #: The part could not be measured and was rejected for that.
    BAD = 'bad'


@dataclass(frozen=True)
class PlantMeasure:
    """
    One measure of a part with its limit.

    Parameters
    ----------
    name : str
        'scorer.measure'.
    value, limit : float
        In `unit`.
    unit : str
        '1' for a pure number.
    high_is_bad : bool
        Whether values above the limit are anomalous; False = those below.
    anomaly_score : float
        0 = a typical good part, 1 = exactly at the limit.

    """

    name: str
    value: float
    limit: float
    unit: str
    high_is_bad: bool
    anomaly_score: float


@dataclass(frozen=True)
class PlantRegion:
    """
    The region of a reject that stands out most.

    Parameters
    ----------
    scorer : str
        Which found it.
    box : (int, int, int, int)
        x_min, y_min, x_max, y_max, half-open, frame pixels.
    area_px : int
        Number of pixels.
    times_region_limit : float
        Its peak over the region limit, 1 = exactly at it.
    place : str
        Which ninth of the part, 'upper_left'; '' = not known.
    reference_px : (float, float)
        Middle of the box on the part as it was taught, pixels of the reference; NaN = not known.

    """

    scorer: str
    box: tuple[int, int, int, int]
    area_px: int
    times_region_limit: float
    place: str = ''
    reference_px: tuple[float, float] = (math.nan, math.nan)


@dataclass(frozen=True)
class PlantExplanation:
    """
    Why a part was rejected.

    Parameters
    ----------
    text : str
        All of it in English, at most `LONGEST_EXPLANATION` characters.
    region : PlantRegion or None
        None = no region was found.
    other_regions : int
        How many other regions were found.
    good_parts : int
        Of how many held-out good parts the worst measure is known.
    good_parts_as_bad : int
        How many of them are at least as bad as this part.
    good_parts_worst : float
        The worst value among them, unit of the measure; NaN = of none.

    """

    text: str
    region: PlantRegion | None = None
    other_regions: int = 0
    good_parts: int = 0
    good_parts_as_bad: int = 0
    good_parts_worst: float = math.nan


@dataclass(frozen=True)
class PlantDecision:
    """
    The verdict on one part.

    Parameters
    ----------
    session_id, part_id
        Key of the part.
    has_passed : bool
        The verdict.
    reason : str
        Name of the reason, 'LIMIT_EXCEEDED'.
    exposed_ns : int
        Exposure of the first frame, nanoseconds since 1970; 0 = not known.
    decided_ns : int
        When it was decided, nanoseconds since 1970.
    comparison : str
        The numbers in one sentence.
    anomaly_score : float
        Highest anomaly score; NaN = not measured.
    worst_measure : str
        Which measure gave it; '' = not measured.
    measures : tuple of PlantMeasure
        Empty when the part could not be measured.
    recipe_name, recipe_version, recipe_hash
        The recipe in force when the part came; '' and 0 when there was none.
    latency_s : float
        From exposure to decision.
    known_as : str
        'good' or 'bad' for a known part of a challenge, '' for a production part.
    order, lot, serial_number : str
        '' = nobody has told.
    explanation : PlantExplanation or None
        Why it was rejected; None for a part that passed.

    """

    session_id: str
    part_id: int
    has_passed: bool
    reason: str
    exposed_ns: int
    decided_ns: int
    comparison: str = ''
    anomaly_score: float = math.nan
    worst_measure: str = ''
    measures: tuple[PlantMeasure, ...] = field(default=())
    recipe_name: str = ''
    recipe_version: int = 0
    recipe_hash: str = ''
    latency_s: float = math.nan
    known_as: str = ''
    order: str = ''
    lot: str = ''
    serial_number: str = ''
    explanation: PlantExplanation | None = None

    @property
    def key(self) -> tuple[str, int]:
        """
        Session and number of the part.

        """
        return self.session_id, self.part_id

    @property
    def verdict(self) -> str:
        """
        'PASS' or 'REJECT'.

        """
        return 'PASS' if self.has_passed else 'REJECT'

    @property
    def quality(self) -> Quality:
        """
        How far the verdict can be taken as a measurement.

        """
        if self.reason in _GOOD:
            return Quality.GOOD
        return Quality.UNCERTAIN if self.reason in _UNCERTAIN else Quality.BAD
