# SPDX-License-Identifier: Apache-2.0
"""
The scale of a slider, and what a limit would have done to the last parts.

"""

import math

import pytest

from anomaly_inspection.panel.part_views import (
    DecisionView,
    LimitView,
    MeasureView,
    PartView,
    ScoreView,
)
from anomaly_inspection.panel.tuning import beyond, measured_values, slider_scale

HIGH = LimitView('variation.peak_z', 12.3456, 4.2)
LOW = LimitView('ssim.mean_ssim', 0.81234, 0.953, high_is_bad=False)


def part(number, value, known_as='', limit=HIGH):
    score = ScoreView('variation', measures=(MeasureView(limit.name, value),))
    decision = DecisionView(True, 'WITHIN_LIMITS', known_as=known_as)
    return PartView(('s', number), decision=decision, scores=(score,))


TINY, HUGE = LimitView('a.b', 1e-7, 0.0), LimitView('a.b', 9e9, 0.0)


@pytest.mark.parametrize('limit', [HIGH, LOW, TINY, HUGE])
def test_every_place_of_the_slider_is_a_limit_that_the_decider_takes(limit):
    scale = slider_scale(limit, (0.0, 1.0) if limit is LOW else (0.0, math.inf))
    assert scale.low <= scale.first < scale.last <= scale.high
    assert scale.holds(limit.value)
    for place in (scale.first, scale.last):
        is_beyond_typical = place > limit.typical if limit.high_is_bad else place < limit.typical
        assert is_beyond_typical
        assert place >= 0.0
    assert scale.low <= limit.typical <= scale.high


def test_the_scale_ends_where_the_decider_refuses():
    limit = LimitView('ssim.mean_ssim', 0.3, 0.9, high_is_bad=False)
    scale = slider_scale(limit, (0.0, 1.0))
    assert (scale.low, scale.first, scale.high) == (0.0, 0.0, 1.0)


def test_the_last_hundred_parts_count_and_no_others():
    parts = [part(number, float(number)) for number in range(1, 151)]
    parts += [part(151, 999.0, known_as='bad'), part(152, math.nan), PartView(('s', 153))]
    values = measured_values(parts, HIGH)
    assert [number for number, _ in values] == list(range(51, 151))
    # Exactly at the limit is still good.
    assert beyond(values, HIGH, 147.0) == 3
    assert beyond(values, LOW, 54.0) == 3
