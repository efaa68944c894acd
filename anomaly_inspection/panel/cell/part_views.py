# SPDX-License-Identifier: Apache-2.0
"""
What is known of one part, and the limits it was judged by.

"""

from __future__ import annotations

from dataclasses import dataclass
import math

#: Session and number of a part.
PartKey = tuple[str, int]


@dataclass(frozen=True, slots=True)
class MeasureView:
    """
    One measured value of a part.

    Parameters
    ----------
    name : str
        'scorer.measure'.
    value : float
        Unit as below; NaN = could not be measured.
    unit : str
        '1' for a pure number.

    """

    name: str
    value: float
    unit: str = '1'


@dataclass(frozen=True, slots=True)
class LimitView:
    """
    One limit that acts now.

    Parameters
    ----------
    name : str
        'scorer.measure'.
    value, typical : float
        The limit, and what a typical good part has; unit as below.
    unit : str
        '1' for a pure number.
    high_is_bad : bool
        Whether values above the limit are anomalous, or values below.
    is_from_recipe : bool
        False: somebody has set it since.
    lowest, highest : float
        What the decider takes, both included; infinite = there is no end.
    is_narrowed : bool
        Whether an engineer has made this range narrower than the measure allows.

    """

    name: str
    value: float
    typical: float
    unit: str = '1'
    high_is_bad: bool = True
    is_from_recipe: bool = True
    lowest: float = -math.inf
    highest: float = math.inf
    is_narrowed: bool = False

    @property
    def scorer(self) -> str:
        """
        Name of the scorer.

        """
        return self.name.partition('.')[0]

    @property
    def measure(self) -> str:
        """
        Name of the measure within its scorer.

        """
        return self.name.partition('.')[2]

    def is_exceeded_by(self, value: float) -> bool:
        """
        Whether a value lies beyond the limit or is not known.

        """
        return not (value <= self.value if self.high_is_bad else value >= self.value)

    def anomaly_score(self, value: float) -> float:
        """
        Give 0 for a typical good part and 1 for a part exactly at the limit; NaN = not measured.

        """
        span = self.value - self.typical
        return (value - self.typical) / span if span else math.nan


@dataclass(frozen=True, slots=True)
class RegionView:
    """
    One connected area over the region limit, in pixels of the frame; the box is half-open.

    Parameters
    ----------
    x_min, y_min, x_max, y_max : int
        Edges of the box.
    area_px : int
        Pixels in the area.
    times_limit : float
        Highest value of the map in it, 1 = the region limit.

    """

    x_min: int
    y_min: int
    x_max: int
    y_max: int
    area_px: int
    times_limit: float


@dataclass(frozen=True, slots=True)
class ScoreView:
    """
    What one scorer found in the newest frame of a part.

    Parameters
    ----------
    scorer : str
        Its name.
    is_ok : bool
        Whether the measures are valid.
    detail : str
        One sentence: why there are no measures, or how far the part lies beyond the tolerance.
    measures : tuple of MeasureView
        In the order of the scorer.
    regions : tuple of RegionView
        Highest first.
    part_class : str
        The taught class that the part looks most like; '' = the scorer knows no classes.
    pose : (float, float, float, float) or None
        How the part lies against the reference: x and y in pixels of the recipe, angle in radians,
        scale; None = it was not aligned.

    """

    scorer: str
    is_ok: bool = True
    detail: str = ''
    measures: tuple[MeasureView, ...] = ()
    regions: tuple[RegionView, ...] = ()
    part_class: str = ''
    pose: tuple[float, float, float, float] | None = None


@dataclass(frozen=True, slots=True)
class ExplanationView:
    """
    What was found in a rejected part, and how far good parts go.

    Parameters
    ----------
    text : str
        All of it in English.
    scorer : str
        Which found the region; '' = there is none.
    region : RegionView or None
        The one that stands out most.
    other_regions : int
        How many others were found.
    place : str
        Which ninth of the part it lies in, 'upper_left' or 'everywhere'; '' = not known.
    reference_px : (float, float)
        Where it lies on the part as it was taught; NaN = not known.
    good_parts, good_parts_as_bad : int
        Of how many good parts the worst measure is known, and how many are at least as bad.
    good_parts_worst : float
        The worst value among them.

    """

    text: str = ''
    scorer: str = ''
    region: RegionView | None = None
    other_regions: int = 0
    place: str = ''
    reference_px: tuple[float, float] = (math.nan, math.nan)
    good_parts: int = 0
    good_parts_as_bad: int = 0
    good_parts_worst: float = math.nan


@dataclass(frozen=True, slots=True)
class DecisionView:
    """
    The verdict on a part.

    Parameters
    ----------
    has_passed : bool
        Anything but PASS is a reject.
    reason : str
        Name of the reason code, 'LIMIT_EXCEEDED'.
    comparison : str
        Measures and limits, written out.
    anomaly_score : float
        1 = exactly at a limit; NaN = not measured.
    worst_measure : str
        'scorer.measure', '' when not measured.
    recipe_name : str
        The recipe that judged.
    recipe_version : int
        Its version.
    latency_s : float
        From exposure to decision.
    known_as : str
        'good' or 'bad' for a known part of a challenge, '' for a production part.
    explanation : ExplanationView
        Why it was rejected; empty when it passed.

    """

    has_passed: bool
    reason: str
    comparison: str = ''
    anomaly_score: float = math.nan
    worst_measure: str = ''
    recipe_name: str = ''
    recipe_version: int = 0
    latency_s: float = math.nan
    known_as: str = ''
    explanation: ExplanationView = ExplanationView()


@dataclass(frozen=True, slots=True)
class SortView:
    """
    What the gate did with a part.

    Parameters
    ----------
    has_passed : bool
        Whether the part went through the gate.
    is_confirmed : bool
        Whether the gate confirmed it.
    detail : str
        One sentence, '' when all went as decided.

    """

    has_passed: bool
    is_confirmed: bool
    detail: str = ''


@dataclass(frozen=True, slots=True)
class PartView:
    """
    All that is known of one part.

    Parameters
    ----------
    key : PartKey
        Session and number.
    time_s : float
        Exposure by the wall clock, seconds since 1970; NaN = not known yet.
    frame_name : str
        Where the frame came from; '' for a live camera.
    problem : str
        What was wrong with the frame before it could be scored; '' = nothing.
    decision, sorted : DecisionView, SortView or None
        None = has not come yet.
    scores : tuple of ScoreView
        One a scorer, in the order in which they came first.
    limits : tuple of LimitView
        What the part was judged by.
    frame_px : (width, height)
        Size of its frame, pixels; (0, 0) = not known.

    """

    key: PartKey
    time_s: float = math.nan
    frame_name: str = ''
    problem: str = ''
    decision: DecisionView | None = None
    sorted: SortView | None = None
    scores: tuple[ScoreView, ...] = ()
    limits: tuple[LimitView, ...] = ()
    frame_px: tuple[int, int] = (0, 0)

    @property
    def number(self) -> int:
        """
        Number within its session.

        """
        return self.key[1]

    def value_of(self, limit: LimitView) -> float:
        """
        Give the measured value that a limit is about; NaN = not measured.

        """
        for score in self.scores:
            for measure in score.measures:
                if measure.name == limit.name:
                    return measure.value
        return math.nan
