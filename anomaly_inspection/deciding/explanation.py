# SPDX-License-Identifier: Apache-2.0
"""
Why a part was rejected: what was found and where, and how far good parts go.

Made from what the decider has already, within microseconds. Nothing here looks at pixels.

"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from enum import IntEnum
import math
from typing import TYPE_CHECKING

from anomaly_inspection.scoring.measure import BadSide

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from anomaly_inspection.deciding.frame_judge import Judgement
    from anomaly_inspection.deciding.limits import Limit, LimitTable

# A region that is wider and higher than this share of the part has no place on it.
_WIDE = 0.6
_REJECT = ' -> REJECT'


class Place(IntEnum):
    """
    Which ninth of the part; the values of Explanation.msg.

    """

    UPPER_LEFT = 1
    TOP = 2
    UPPER_RIGHT = 3
    LEFT = 4
    MIDDLE = 5
    RIGHT = 6
    LOWER_LEFT = 7
    BOTTOM = 8
    LOWER_RIGHT = 9
    EVERYWHERE = 10


_PLACE_WORDS = {
    Place.UPPER_LEFT: 'in the upper left of the part',
    Place.TOP: 'at the top of the part',
    Place.UPPER_RIGHT: 'in the upper right of the part',
    Place.LEFT: 'on the left of the part',
    Place.MIDDLE: 'in the middle of the part',
    Place.RIGHT: 'on the right of the part',
    Place.LOWER_LEFT: 'in the lower left of the part',
    Place.BOTTOM: 'at the bottom of the part',
    Place.LOWER_RIGHT: 'in the lower right of the part',
    Place.EVERYWHERE: 'over most of the part',
}


@dataclass(frozen=True)
class FoundRegion:
    """
    One region of a frame.

    Parameters
    ----------
    x_min, y_min, x_max, y_max : int
        Half-open box, frame pixels.
    area_px : int
        Number of pixels.
    peak : float
        Highest value of the map in it.
    times_limit : float
        The same over the region limit.
    reference_x_px, reference_y_px : float
        Middle of the box on the part as it was taught, pixels of the reference; NaN = not known.

    """

    x_min: int
    y_min: int
    x_max: int
    y_max: int
    area_px: int
    peak: float
    times_limit: float
    reference_x_px: float = math.nan
    reference_y_px: float = math.nan


@dataclass(frozen=True)
class KnownGood:
    """
    What a recipe knows of good parts.

    Parameters
    ----------
    values : mapping of (scorer, measure) to tuple of float
        Each measure of the held-out good parts, sorted upwards.
    part_box : (int, int, int, int)
        x, y, width and height of the part in the reference; width 0 = not known.

    """

    values: Mapping[tuple[str, str], tuple[float, ...]] = field(default_factory=dict)
    part_box: tuple[int, int, int, int] = (0, 0, 0, 0)


@dataclass(frozen=True)
class Explanation:
    """
    Why a part was rejected; the fields of Explanation.msg.

    Parameters
    ----------
    text : str
        All of it in English.
    scorer : str
        Which found the region; '' = there is none.
    region : FoundRegion or None
        The one that stands out most.
    other_regions : int
        How many others were found.
    place : Place or None
        Where the region lies on the part.
    good_parts, good_parts_as_bad : int
        Of how many good parts the worst measure is known, and how many are at least as bad.
    good_parts_worst : float
        The worst value among them; NaN = there are none.

    """

    text: str
    scorer: str = ''
    region: FoundRegion | None = None
    other_regions: int = 0
    place: Place | None = None
    good_parts: int = 0
    good_parts_as_bad: int = 0
    good_parts_worst: float = math.nan


def explain(
    judgement: Judgement,
    limits: LimitTable,
    measures: Mapping[str, Mapping[str, float]],
    regions: Mapping[str, Iterable[FoundRegion]],
    known_good: KnownGood,
) -> Explanation:
    """
    Explain why a frame was rejected.

    Parameters
    ----------
    judgement : Judgement
        Of the frame.
    limits : LimitTable
        What it was judged by.
    measures : mapping of scorer to mapping of measure to float
        What the scorers have measured in it.
    regions : mapping of scorer to iterable of FoundRegion
        What they have found in it.
    known_good : KnownGood
        What the recipe knows of good parts.

    """
    limit = next((each for each in limits if each.name == judgement.worst_measure), None)
    value = measures.get(limit.scorer, {}).get(limit.measure) if limit else None
    if limit is None or value is None:
        return Explanation(judgement.comparison.removesuffix(_REJECT))
    scorer, region, n_regions = _worst_region(limit, regions)
    place = _place(region, known_good.part_box) if region else None
    good = known_good.values.get((limit.scorer, limit.measure), ())
    is_high = limit.bad_side is BadSide.HIGH
    n_as_bad = len(good) - bisect_left(good, value) if is_high else bisect_right(good, value)
    worst = (good[-1] if is_high else good[0]) if good else math.nan
    sentences = [_exceeded(limit, value)]
    if region is not None:
        sentences.insert(0, _found(region, scorer, place, n_regions - 1))
    if good:
        sentences.append(_good(limit, value, len(good), n_as_bad, worst))
    return Explanation(
        ' '.join(sentences),
        scorer=scorer,
        region=region,
        other_regions=max(0, n_regions - 1),
        place=place,
        good_parts=len(good),
        good_parts_as_bad=n_as_bad,
        good_parts_worst=worst,
    )


def _worst_region(
    limit: Limit, regions: Mapping[str, Iterable[FoundRegion]]
) -> tuple[str, FoundRegion | None, int]:
    """
    Choose the region that the worst measure is about, else the highest of all.

    """
    found = {scorer: list(each) for scorer, each in regions.items()}
    own = found.get(limit.scorer)
    candidates = {limit.scorer: own} if own else found
    every = [(scorer, region) for scorer, each in candidates.items() for region in each]
    if not every:
        return '', None, 0
    by_area = limit.measure == 'largest_region'
    scorer, region = max(every, key=lambda one: one[1].area_px if by_area else one[1].times_limit)
    return scorer, region, len(every)


def _place(region: FoundRegion, part_box: tuple[int, int, int, int]) -> Place | None:
    left, top, width, height = part_box
    middle = region.reference_x_px, region.reference_y_px
    # A scorer from elsewhere may say one of them alone.
    if width <= 0 or height <= 0 or not all(map(math.isfinite, middle)):
        return None
    if region.x_max - region.x_min > _WIDE * width and (
        region.y_max - region.y_min > _WIDE * height
    ):
        return Place.EVERYWHERE
    column = min(max(0, int(3 * (region.reference_x_px - left) / width)), 2)
    row = min(max(0, int(3 * (region.reference_y_px - top) / height)), 2)
    return Place(1 + 3 * row + column)


def _found(region: FoundRegion, scorer: str, place: Place | None, others: int) -> str:
    words = (
        f'Difference of {region.x_max - region.x_min} x {region.y_max - region.y_min} px '
        f'({region.area_px} px)'
    )
    if place is not None:
        words += (
            f' {_PLACE_WORDS[place]}, at x {region.reference_x_px:.0f}, '
            f'y {region.reference_y_px:.0f} of the reference'
        )
    words += f', peak {region.times_limit:.3g} times the region limit of {scorer}'
    return words + (f', and {others} more.' if others > 0 else '.')


def _exceeded(limit: Limit, value: float) -> str:
    sentence = f'{limit.name} is {value:.4g}, '
    # A ratio says something only of what begins at zero.
    if limit.bad_side is BadSide.HIGH and limit.minimum == 0 and limit.value > 0:
        return f'{sentence}{value / limit.value:.3g} times its limit of {limit.value:.4g}.'
    return f'{sentence}its limit {limit.value:.4g}.'


def _good(limit: Limit, value: float, n_good: int, n_as_bad: int, worst: float) -> str:
    if n_as_bad:
        return f'{n_as_bad} of {n_good} good parts at teaching were at least as bad.'
    side = 'above' if limit.bad_side is BadSide.HIGH else 'below'
    words = f'No good part of {n_good} at teaching came {side} {worst:.4g}'
    if limit.bad_side is BadSide.HIGH and limit.minimum == 0 and value > 0:
        return f'{words}, which is {100 * worst / value:.2g} % of this value.'
    return f'{words}.'
