# SPDX-License-Identifier: Apache-2.0
"""
The scale of a slider, and what a limit would have done to the last parts.

"""

from dataclasses import replace
import math

import pytest

from anomaly_inspection.panel.cell.part_views import (
    DecisionView,
    LimitView,
    MeasureView,
    PartView,
    ScoreView,
)
from anomaly_inspection.panel.tune.tuning import beyond, measured_values, slider_scale

HIGH = LimitView('variation.peak_z', 12.3456, 4.2, lowest=0.0)
LOW = LimitView('ssim.mean_ssim', 0.81234, 0.953, high_is_bad=False, lowest=0.0, highest=1.0)


def part(number, value, known_as='', limit=HIGH):
    score = ScoreView('variation', measures=(MeasureView(limit.name, value),))
    decision = DecisionView(True, 'WITHIN_LIMITS', known_as=known_as)
    return PartView(('s', number), decision=decision, scores=(score,))


TINY, HUGE = (LimitView('a.b', value, 0.0, lowest=0.0) for value in (1e-7, 9e9))


@pytest.mark.parametrize('limit', [HIGH, LOW, TINY, HUGE])
def test_every_place_of_the_slider_is_a_limit_that_the_decider_takes(limit):
    scale = slider_scale(limit)
    assert scale.low <= scale.first < scale.last <= scale.high
    assert scale.holds(limit.value)
    for place in (scale.first, scale.last):
        is_beyond_typical = place > limit.typical if limit.high_is_bad else place < limit.typical
        assert is_beyond_typical
        assert place >= 0.0
    assert scale.low <= limit.typical <= scale.high


def test_the_scale_ends_where_the_decider_refuses():
    limit = LimitView('ssim.mean_ssim', 0.3, 0.9, high_is_bad=False, lowest=0.0, highest=1.0)
    scale = slider_scale(limit)
    assert (scale.low, scale.first, scale.high) == (0.0, 0.0, 1.0)


@pytest.mark.parametrize(
    ('limit', 'lowest', 'highest'),
    [
        *((HIGH, 11.0, 14.0), (HIGH, 12.3, 12.4), (HIGH, 12.3456, 12.3456), (HIGH, 0.0, 13.0)),
        *((LOW, 0.7, 0.85), (LOW, 0.8, 1.0), (HUGE, 8e9, math.inf), (TINY, 0.99e-7, 1.01e-7)),
    ],
)
def test_the_slider_stays_in_the_range_of_the_engineer(limit, lowest, highest):
    narrowed = replace(limit, lowest=lowest, highest=highest, is_narrowed=True)
    scale = slider_scale(narrowed)
    assert lowest <= scale.first <= scale.last <= highest
    assert scale.holds(limit.value)
    # The parts are shown beyond it as well.
    assert scale.low <= limit.typical <= scale.high
    assert scale.low <= scale.first
    assert scale.last <= scale.high


def test_the_last_hundred_parts_count_and_no_others():
    parts = [part(number, float(number)) for number in range(1, 151)]
    parts += [part(151, 999.0, known_as='bad'), part(152, math.nan), PartView(('s', 153))]
    values = measured_values(parts, HIGH)
    assert [number for number, _ in values] == list(range(51, 151))
    # Exactly at the limit is still good.
    assert beyond(values, HIGH, 147.0) == 3
    assert beyond(values, LOW, 54.0) == 3
