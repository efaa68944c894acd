# SPDX-License-Identifier: Apache-2.0
"""
Limits from good parts: beyond every one of them, on the bad side, met at about the wanted rate.

"""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from anomaly_inspection.errors import SettingError
from anomaly_inspection.learning.calibration import limit_from_good, outliers, promised_rate
from anomaly_inspection.scoring.measure import BadSide, MeasureSpec

INF = float('inf')
HIGH, LOW = BadSide.HIGH, BadSide.LOW
PEAK = MeasureSpec('peak', '1', HIGH, 'Of a map.')
SIMILARITY = MeasureSpec('similarity', '1', LOW, 'Of two images.', -1.0, 1.0)
RATE = 0.005 / 8

DRAWS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    'normal': lambda rng, count: 10 + 0.5 * rng.standard_normal(count),
    'log-normal': lambda rng, count: np.exp(0.3 * rng.standard_normal(count)),
    'exponential': lambda rng, count: rng.exponential(1.0, count),
}

numbers = st.lists(st.floats(0.0, 1e6, allow_subnormal=False), min_size=4, max_size=60)


@settings(max_examples=200, deadline=None)
@given(values=numbers, rate=st.floats(1e-6, 0.4))
def test_a_limit_lies_beyond_every_good_part(values: list[float], rate: float) -> None:
    limit = limit_from_good(values, HIGH, rate, 0.0)
    assert limit.limit > limit.typical
    assert limit.limit >= max(values) * (1 - 1e-5)
    assert np.isfinite(limit.limit)
    if max(values) > 1.001 * limit.typical:
        assert limit.limit > max(values)


@settings(max_examples=200, deadline=None)
@given(values=numbers, rates=st.tuples(st.floats(1e-6, 0.4), st.floats(1e-6, 0.4)))
def test_a_smaller_rate_never_gives_a_tighter_limit(
    values: list[float], rates: tuple[float, float]
) -> None:
    wide, tight = (limit_from_good(values, HIGH, rate, 0.0).limit for rate in sorted(rates))
    assert wide >= tight


@settings(max_examples=100, deadline=None)
@given(values=st.lists(st.floats(-1.0, 0.999), min_size=4, max_size=60))
def test_low_is_the_mirror_of_high(values: list[float]) -> None:
    mirrored = [-value for value in values]
    try:
        low = limit_from_good(values, LOW, 0.01, -1.0, 1.0)
    except SettingError:
        with pytest.raises(SettingError):
            limit_from_good(mirrored, HIGH, 0.01, -1.0, 1.0)
        return
    high = limit_from_good(mirrored, HIGH, 0.01, -1.0, 1.0)
    assert (low.limit, low.typical) == (-high.limit, -high.typical)
    assert -1.0 <= low.limit < low.typical <= 1.0


@pytest.mark.parametrize('name', DRAWS)
@pytest.mark.parametrize('count', [14, 30, 60, 200])
def test_the_wanted_rate_is_met_on_average(name: str, count: int) -> None:
    """
    Over many samples, good parts to come exceed the limit at no more than three times the rate.

    """
    rng = np.random.default_rng(7)
    draw = DRAWS[name]
    to_come = np.sort(draw(rng, 400_000))
    beyond = []
    for _ in range(200):
        limit = limit_from_good(draw(rng, count), HIGH, RATE, 0.0).limit
        beyond.append(1 - np.searchsorted(to_come, limit) / to_come.size)
    assert np.mean(beyond) < 3 * RATE


@pytest.mark.parametrize('name', DRAWS)
def test_many_parts_do_not_give_a_useless_limit(name: str) -> None:
    rng = np.random.default_rng(8)
    draw = DRAWS[name]
    to_come = draw(rng, 400_000)
    typical, far = np.median(to_come), np.quantile(to_come, 1 - RATE)
    reaches = [
        (limit_from_good(draw(rng, 200), HIGH, RATE, 0.0).limit - typical) / (far - typical)
        for _ in range(50)
    ]
    assert 0.7 < np.median(reaches) < 1.4


def test_fewer_parts_give_a_wider_limit() -> None:
    rng = np.random.default_rng(9)
    few, many = (
        np.median(
            [limit_from_good(rng.normal(10, 1, count), HIGH, RATE, 0.0).limit for _ in range(50)]
        )
        for count in (8, 200)
    )
    assert few > many + 1.0


def test_the_largest_region_of_mostly_clean_parts() -> None:
    areas = np.zeros(60)
    clean = limit_from_good(areas, HIGH, RATE, 0.0)
    assert (clean.typical, clean.limit) == (0.0, 1.0)
    areas[:6] = [4, 5, 7, 8, 9, 17]
    some = limit_from_good(areas, HIGH, RATE, 0.0)
    assert some.typical == 0.0
    assert 100 < some.limit < 600
    single = np.zeros(60)
    single[0] = 8
    assert 8 < limit_from_good(single, HIGH, RATE, 0.0).limit < 400


@pytest.mark.parametrize(
    ('values', 'bad_side', 'minimum', 'maximum', 'expected'),
    [
        ([4.0] * 10, HIGH, 0.0, INF, 4.2),
        ([0.0] * 10, HIGH, 0.0, INF, 1.0),
        ([0.0] * 10, HIGH, 0.0, 65025.0, 650.25),
        ([0.9] * 10, LOW, -1.0, 1.0, 0.895),
        ([1.0] * 10, LOW, -1.0, 1.0, 0.98),
        ([-3.0] * 10, HIGH, -INF, INF, -2.85),
    ],
)
def test_good_parts_that_do_not_differ_leave_some_room(
    values: list[float], bad_side: BadSide, minimum: float, maximum: float, expected: float
) -> None:
    assert limit_from_good(values, bad_side, 0.01, minimum, maximum).limit == pytest.approx(
        expected
    )


def test_a_limit_stays_in_reach() -> None:
    values = np.linspace(0.0, 0.9, 20)
    assert limit_from_good(values, HIGH, 1e-6, 0.0, 1.0).limit == 1.0


@pytest.mark.parametrize(
    ('values', 'rate', 'says'),
    [
        ([1.0, 2.0, 3.0], 0.01, 'at least 4'),
        ([], 0.01, 'at least 4'),
        ([1.0, 2.0, 3.0, float('nan')], 0.01, '3 of them'),
        ([1.0, 2.0, 3.0, INF], 0.01, '3 of them'),
        ([1.0, 2.0, 3.0, -1.0], 0.01, 'from 0 to 10'),
        ([1.0, 2.0, 3.0, 4.0], 0.0, 'over 0 and below 0.5'),
        ([1.0, 2.0, 3.0, 4.0], 0.5, 'over 0 and below 0.5'),
        ([1.0, 2.0, 3.0, 4.0], float('nan'), 'over 0 and below 0.5'),
        ([10.0] * 4, 0.01, 'no limit can be set'),
    ],
)
def test_what_gives_no_limit_is_refused(values: list[float], rate: float, says: str) -> None:
    with pytest.raises(SettingError, match=says):
        limit_from_good(values, HIGH, rate, 0.0, 10.0)


@pytest.mark.parametrize('name', DRAWS)
@pytest.mark.parametrize('count', [14, 60, 200])
def test_good_parts_are_hardly_ever_outliers(name: str, count: int) -> None:
    rng = np.random.default_rng(10)
    found = sum(len(outliers(DRAWS[name](rng, count), PEAK)) for _ in range(100))
    assert found <= 2


@pytest.mark.parametrize('count', [10, 60])
def test_outliers_are_found_together(count: int) -> None:
    values = np.random.default_rng(11).normal(3.0, 0.3, count)
    values[[2, 5]] = 40.0, np.nan
    assert outliers(values, PEAK) == [2, 5]
    similarity = 1 - values / 50
    similarity[2] = -0.9
    assert outliers(similarity, SIMILARITY) == [2, 5]


def test_unusually_good_is_no_outlier() -> None:
    values = np.random.default_rng(12).normal(30.0, 0.3, 40)
    values[7] = 0.5
    assert outliers(values, PEAK) == []


def test_equal_values_have_no_outliers_nearby() -> None:
    assert outliers(np.array([5.0] * 9 + [6.0]), PEAK) == []
    assert outliers(np.array([5.0] * 9 + [60.0]), PEAK) == [9]
    assert outliers(np.zeros(0), PEAK) == []


def test_what_the_number_of_parts_promises() -> None:
    assert promised_rate(60) == pytest.approx(0.0487, abs=1e-4)
    assert promised_rate(300) < 0.01 < promised_rate(200)
    assert (1 - promised_rate(25, 0.9)) ** 25 == pytest.approx(0.1)
    with pytest.raises(SettingError):
        promised_rate(0)
