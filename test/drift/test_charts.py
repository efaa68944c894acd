# SPDX-License-Identifier: Apache-2.0
"""
The CUSUM charts: the rate of false alarms that was asked for, and how soon a change is seen.

"""

import math

import numpy as np
import pytest

from anomaly_inspection.drift.charts import Charts, LARGEST_SCORE, limit_for, mean_run_length
from anomaly_inspection.drift.reference import Scale
from anomaly_inspection.drift.watch import ALLOWANCE, allowance_for


def false_alarms(scores, rate, allowance=ALLOWANCE):
    """
    Count the alarms that begin, over all charts; scores (parts, charts).

    """
    count = scores.shape[1]
    charts = Charts(np.full(count, allowance), np.full(count, limit_for(rate, ALLOWANCE)))
    alarms, before = 0, charts.is_alarmed
    for moment, each in enumerate(scores):
        charts.add(each, moment)
        alarms += int((charts.is_alarmed & ~before).sum())
        before = charts.is_alarmed
    return alarms


def followed(rng, shape, correlation):
    """
    Draw normal scores whose neighbours are correlated.

    """
    scores = rng.standard_normal(shape)
    for part in range(1, shape[0]):
        fresh = math.sqrt(1 - correlation**2) * scores[part]
        scores[part] = correlation * scores[part - 1] + fresh
    return scores


@pytest.mark.parametrize('rate', [1e-3, 1e-6, 1e-11])
def test_the_limit_gives_the_wanted_run_length(rate):
    assert mean_run_length(limit_for(rate, ALLOWANCE), ALLOWANCE) == pytest.approx(1 / rate)


def test_independent_good_parts_alarm_at_the_wanted_rate():
    parts, charts, rate = 1000, 1000, 1e-4
    scores = np.random.default_rng(1).standard_normal((parts, charts))

    alarms = false_alarms(scores, rate)

    assert 0.3 <= alarms / (2 * parts * charts * rate) <= 1.3


@pytest.mark.parametrize('correlation', [0.3, 0.6])
def test_parts_that_resemble_the_one_before_do_not_alarm_more_often(correlation):
    parts, charts, rate = 1000, 1000, 1e-4
    scores = followed(np.random.default_rng(2), (parts, charts), correlation)

    alarms = false_alarms(scores, rate)

    assert alarms / (2 * parts * charts * rate) <= 1.5


def test_a_reference_of_few_parts_does_not_alarm_more_often():
    parts, charts, rate = 1000, 500, 1e-4
    rng = np.random.default_rng(3)
    scales = [Scale.of(rng.standard_normal(20)) for _ in range(charts)]
    values = rng.standard_normal((parts, charts))
    scores = np.stack([scale.score(values[:, at]) for at, scale in enumerate(scales)], axis=1)

    alarms = false_alarms(scores, rate, allowance_for(20, 30))

    assert alarms / (2 * parts * charts * rate) <= 1.0


def test_a_lasting_change_is_seen_and_dated():
    charts = Charts(np.array([0.5]), np.array([18.0]))
    rng = np.random.default_rng(6)
    for moment in range(500):
        charts.add(rng.standard_normal(1), moment)
    assert not charts.is_alarmed.any()

    seen = None
    for moment in range(500, 560):
        charts.add(2.0 + rng.standard_normal(1), moment)
        if charts.is_alarmed.any() and seen is None:
            seen = moment

    assert 500 < seen < 540
    assert charts.since[0, 0] == pytest.approx(500, abs=8)


def test_an_odd_part_is_no_alarm_and_an_alarm_ends_when_all_is_as_before():
    charts = Charts(np.array([0.5]), np.array([18.0]))
    charts.add(np.array([1000.0]), 0)
    assert charts.sums[0, 0] == LARGEST_SCORE - 0.5

    for moment in range(100):
        charts.add(np.array([3.0]), moment)
    assert charts.is_alarmed[0, 0]
    for moment in range(100):
        charts.add(np.array([0.0]), moment)
    assert not charts.is_alarmed.any()


def test_a_change_does_not_pass_for_correlation_and_raise_the_limits():
    charts = Charts(np.full(50, 0.5), np.full(50, 18.0))
    rng = np.random.default_rng(8)
    for moment in range(150):
        # In the middle of a stretch, all parts change.
        charts.add(rng.standard_normal(50) + (3.0 if moment >= 125 else 0.0), moment)

    assert charts.correlation.mean() < 0.2


def test_a_part_that_counts_in_some_charts_says_nothing_of_correlation():
    charts = Charts(np.full(2, 0.5), np.full(2, 18.0))
    rng = np.random.default_rng(9)
    for moment in range(200):
        charts.add(rng.standard_normal(2), moment)
        charts.add(np.array([2.0, np.nan]), moment, is_partial=True)

    # Both have learned it from the whole parts.
    assert (charts.correlation < 0.2).all()
    assert charts.is_alarmed[0, 0]
    assert not charts.is_alarmed[:, 1].any()


def test_what_is_not_measured_leaves_a_chart_as_it_is():
    charts = Charts(np.array([0.5, 0.5]), np.array([18.0, 18.0]))
    charts.add(np.array([2.0, 2.0]), 0)
    charts.add(np.array([np.nan, 2.0]), 1)

    assert charts.sums[0].tolist() == [1.5, 3.0]


def test_a_one_sided_chart_does_not_mind_better_parts():
    charts = Charts(np.array([0.5]), np.array([5.0]), np.array([True]))
    for moment in range(50):
        charts.add(np.array([-3.0]), moment)

    assert not charts.is_alarmed.any()


@pytest.mark.parametrize('draw', ['standard_normal', 'random', 'standard_exponential'])
def test_scores_of_good_parts_are_normal_whatever_their_values_are(draw):
    rng = np.random.default_rng(5)
    scale = Scale.of(getattr(rng, draw)(1000))

    scores = scale.score(getattr(rng, draw)(10_000))

    assert abs(scores.mean()) < 0.1
    assert scores.std() == pytest.approx(1.0, abs=0.1)


def test_good_parts_that_hardly_differ_do_not_make_every_change_a_drift():
    scale = Scale.of(np.linspace(-1e-6, 1e-6, 40), least=0.01)

    assert float(scale.score(0.02)) == pytest.approx(2.0, abs=0.01)


def test_fewer_than_twenty_parts_are_no_reference():
    assert Scale.of(np.arange(19.0)) is None
