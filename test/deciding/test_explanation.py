# SPDX-License-Identifier: Apache-2.0
"""
A reject is explained by what was found, where it lies on the part, and how far good parts go.

"""

from __future__ import annotations

from dataclasses import replace
import math

import pytest

from anomaly_inspection.deciding.decider import (
    Decider,
    DeciderSettings,
    PartDecision,
    PartSeen,
    ScoreReceived,
    StationSettings,
    Terms,
)
from anomaly_inspection.deciding.explanation import explain, FoundRegion, KnownGood, Place
from anomaly_inspection.deciding.frame_judge import Combination, judge, Verdict
from anomaly_inspection.deciding.limits import Limit, LimitTable
from anomaly_inspection.scoring.measure import BadSide

LIMITS = LimitTable(
    (
        Limit('ssim', 'mean_ssim', 0.9, BadSide.LOW, 0.97, maximum=1.0),
        Limit('variation', 'largest_region', 100.0, BadSide.HIGH, 0.0, 'px'),
    )
)
# 200 good parts: areas 0 to 70 px, similarities 0.93 to 1.0.
GOOD = KnownGood(
    {
        ('variation', 'largest_region'): tuple(70 * n / 199 for n in range(200)),
        ('ssim', 'mean_ssim'): tuple(0.93 + 0.07 * n / 199 for n in range(200)),
    },
    (100, 50, 300, 300),
)
SMALL = FoundRegion(10, 20, 14, 24, 16, 9.0, 3.0, 250.0, 200.0)
LARGE = FoundRegion(110, 60, 150, 70, 240, 6.0, 2.0, 130.4, 64.6)


def explained(area: float = 240.0, similarity: float = 0.95, regions=(SMALL, LARGE), good=GOOD):
    measures = {'ssim': {'mean_ssim': similarity}, 'variation': {'largest_region': area}}
    judgement = judge(measures, LIMITS, Combination.ANY)
    return explain(judgement, LIMITS, measures, {'variation': regions}, good)


def test_the_text_says_size_contrast_place_excess_and_how_far_good_parts_go():
    assert explained().text == (
        'Difference of 40 x 10 px (240 px) in the upper left of the part, at x 130, y 65 of the '
        'reference, peak 2 times the region limit of variation, and 1 more. '
        'variation.largest_region is 240, 2.4 times its limit of 100. '
        'No good part of 200 at teaching came above 70, which is 29 % of this value.'
    )


def test_the_region_is_the_one_that_the_worst_measure_is_about():
    assert explained().region == LARGE
    # Similarity says nothing of areas: the highest peak stands out most.
    assert explained(area=0.0, similarity=0.5).region == SMALL


def test_a_measure_whose_low_values_are_bad_is_said_without_a_ratio():
    found = explained(area=0.0, similarity=0.5, regions=())
    assert found.text == (
        'ssim.mean_ssim is 0.5, its limit 0.9. No good part of 200 at teaching came below 0.93.'
    )
    assert (found.region, found.scorer, found.place) == (None, '', None)


@pytest.mark.parametrize(('area', 'as_bad'), [(70.0, 1), (70.1, 0), (0.0, 200), (35.0, 100)])
def test_good_parts_that_are_as_bad_are_counted(area, as_bad):
    low = LimitTable((Limit('variation', 'largest_region', 1e-9, BadSide.HIGH, 0.0),))
    measures = {'variation': {'largest_region': area}}
    judgement = judge(measures, low, Combination.ANY)
    found = explain(judgement, low, measures, {}, GOOD)
    assert (found.good_parts, found.good_parts_as_bad) == (200, as_bad)
    assert found.good_parts_worst == 70.0
    assert (f'{as_bad} of 200 good parts' in found.text) == bool(as_bad)


def test_a_recipe_that_knows_no_good_values_promises_nothing():
    found = explained(good=KnownGood())
    assert found.good_parts == 0
    assert math.isnan(found.good_parts_worst)
    assert 'good part' not in found.text
    # Nor does it know where the part lies.
    assert found.place is None


@pytest.mark.parametrize(
    ('x_px', 'y_px', 'place'),
    [
        (100, 50, Place.UPPER_LEFT),
        (250, 60, Place.TOP),
        (399, 50, Place.UPPER_RIGHT),
        (110, 200, Place.LEFT),
        (250, 200, Place.MIDDLE),
        (399, 200, Place.RIGHT),
        (100, 349, Place.LOWER_LEFT),
        (250, 349, Place.BOTTOM),
        (399, 349, Place.LOWER_RIGHT),
        # Rounding may put it a little outside.
        (-20, 900, Place.LOWER_LEFT),
        (math.nan, math.nan, None),
        # Garbage from a scorer elsewhere must not cost the decision.
        (150.0, math.nan, None),
        (150.0, math.inf, None),
        (-math.inf, 150.0, None),
    ],
)
def test_the_place_is_a_ninth_of_the_part_as_it_was_taught(x_px, y_px, place):
    region = replace(LARGE, reference_x_px=x_px, reference_y_px=y_px)
    assert explained(regions=[region]).place is place


def test_a_region_over_most_of_the_part_is_everywhere():
    region = replace(LARGE, x_min=0, y_min=0, x_max=200, y_max=200)
    assert explained(regions=[region]).place is Place.EVERYWHERE


# By the decider


def decide(decider: Decider, *areas: float, regions=(LARGE,)) -> PartDecision:
    stamps = tuple(range(1, len(areas) + 1))
    part = PartSeen(('session', 1), stamps, ('',) * len(stamps), True, 0.0)
    decisions = decider.part_seen(part, 0.01)
    for stamp, area in zip(stamps, areas, strict=True):
        for scorer, measures in (
            ('ssim', {'mean_ssim': 0.97}),
            ('variation', {'largest_region': area}),
        ):
            score = ScoreReceived(('session', 1), stamp, scorer, 1, '', 'hash', measures)
            if scorer == 'variation':
                found = tuple(replace(region, area_px=round(area)) for region in regions)
                score = replace(score, regions=found)
            decisions += decider.score_received(score, 0.02)
    (decision,) = decisions + decider.tick(1.0)
    return decision


def decider(station: StationSettings | None = None) -> Decider:
    made = Decider(DeciderSettings(deadline_s=0.2, station=station))
    made.recipe_switched(Terms('pump', 1, 'hash', LIMITS, Combination.ANY, GOOD))
    return made


def test_a_passed_part_is_not_explained():
    decision = decide(decider(), 50.0)
    assert decision.judgement.verdict is Verdict.PASS
    assert decision.explanation is None


def test_a_part_of_several_frames_is_explained_by_its_worst_one():
    decision = decide(decider(), 120.0, 240.0, 130.0)
    assert decision.explanation is not None
    assert decision.explanation.region is not None
    assert decision.explanation.region.area_px == 240
    station = decide(decider(StationSettings(3, 2)), 50.0, 130.0, 240.0)
    assert station.explanation is not None
    assert '240, 2.4 times its limit' in station.explanation.text


def test_a_part_that_could_not_be_measured_is_explained_by_the_cause():
    late = decider()
    late.part_seen(PartSeen(('session', 1), (1,), ('',), True, 0.0), 0.01)
    (decision,) = late.tick(1.0)
    assert decision.explanation is not None
    assert decision.explanation.text == 'no score of ssim, variation within 0.2 s'
    broken = decider()
    part = PartSeen(('session', 1), (1,), ('the frame is black',), True, 0.0)
    (decision,) = broken.part_seen(part, 0.01)
    assert decision.explanation is not None
    assert decision.explanation.text == 'the frame is black'
    assert decision.explanation.region is None
