# SPDX-License-Identifier: Apache-2.0
"""
Limits from good parts: beyond all but those that the rate allows, met at about that rate.

"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from anomaly_inspection.errors import SettingError
from anomaly_inspection.learning import false_rejects
from anomaly_inspection.learning.false_rejects import (
    are_rejected,
    expected_false_rejects,
    FalseRejects,
    parts_needed,
    promised_rate,
)
from anomaly_inspection.learning.good_part_limits import (
    limit_from_good,
    limits_from_good,
    limits_of_scorer,
)
from anomaly_inspection.learning.outliers import is_mostly_perfect, outliers, widens_limit
from anomaly_inspection.recipes.recipe import MeasureLimit
from anomaly_inspection.scoring.measure import BadSide, MeasureSpec

if TYPE_CHECKING:
    from anomaly_inspection.learning.good_part_limits import Good

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
def test_a_limit_lies_beyond_all_good_parts_but_those_that_the_rate_allows(
    values: list[float], rate: float
) -> None:
    limit = limit_from_good(values, HIGH, rate, 0.0)
    assert limit.limit > limit.typical
    assert np.isfinite(limit.limit)
    # Limits are rounded to six digits.
    beyond = sum(value > limit.limit * (1 + 1e-5) for value in values)
    assert beyond <= max(1, rate * len(values))
    if np.median(values) == 0.0 and rate * len(values) < 1:
        # Hardly any part has a region: all of them count.
        assert beyond == 0


def test_one_odd_part_does_not_move_a_limit_that_may_reject_it() -> None:
    values = np.linspace(1.0, 2.0, 300)
    values[-1] = 50.0
    assert limit_from_good(values, HIGH, 0.0075, 0.0).limit < 5.0
    # Even where the rate allows no part of the sample to be rejected.
    assert limit_from_good(values, HIGH, 0.0025, 0.0).limit < 10.0
    # Two odd parts are a kind of good part.
    values[-2] = 40.0
    assert limit_from_good(values, HIGH, 0.0025, 0.0).limit >= 40.0


@pytest.mark.parametrize('count', [8, 40])
def test_how_far_one_odd_part_lies_does_not_matter(count: int) -> None:
    values = list(np.random.default_rng(3).normal(3.0, 0.2, count))
    limits = [limit_from_good([*values, odd], HIGH, 0.05, 0.0).limit for odd in (5.0, 50.0)]
    assert limits[0] == limits[1] < 5.0


def test_a_usual_spread_makes_few_parts_nearly_as_good_as_many() -> None:
    """
    Five parts say little about how far parts spread; other products say the rest.

    """

    def limit(count: int, usual_spread: float | None) -> float:
        rng = np.random.default_rng(4)
        spec = replace(PEAK, usual_spread=usual_spread)
        draws = [3.0 * (1.0 + 0.07 * rng.standard_normal(count)) ** 3 for _ in range(50)]
        found = [limits_of_scorer({PEAK.name: one}, [spec], 0.01) for one in draws]
        return float(np.quantile([one[PEAK.name].limit for one in found], 0.9))

    many = limit(200, 0.07)
    assert limit(5, 0.07) < 1.25 * many
    assert limit(5, None) > 1.5 * many


def test_copies_of_one_part_leave_room_for_others() -> None:
    copies = np.array([3.0, 3.01, 3.0, 2.99, 3.0, 3.01, 3.0, 2.99])
    spec = replace(PEAK, usual_spread=0.07)
    limits = limits_of_scorer({PEAK.name: copies}, [spec], 0.01)
    assert 4.0 < limits[PEAK.name].limit < 6.0


def test_the_areas_of_few_parts_widen_no_other_limit_and_reject_no_usual_part() -> None:
    """
    Of five parts each has a region, and areas differ tenfold from one part to the next.

    """
    rng = np.random.default_rng(17)
    peak = replace(PEAK, usual_spread=0.065)
    area = MeasureSpec('largest_region', 'px', HIGH, 'Of regions.', is_area=True)

    def drawn(count: int) -> dict[str, np.ndarray]:
        return {
            'peak': 3.0 * (1.0 + 0.065 * rng.standard_normal(count)) ** 3,
            'largest_region': np.round(np.exp(rng.normal(4.0, 1.0, count))),
        }

    to_come = drawn(10_000)
    peak_limits, area_rejects = [], []
    for _ in range(50):
        good = drawn(5)
        found = limits_of_scorer(good, [peak, area], 0.0125)
        alone = limits_of_scorer({'peak': good['peak']}, [peak], 2 * 0.0125)
        assert found['peak'] == alone['peak']
        peak_limits.append(found['peak'].limit)
        area_rejects.append((to_come['largest_region'] > found['largest_region'].limit).mean())
    many = limits_of_scorer({'peak': drawn(300)['peak']}, [peak], 2 * 0.0125)['peak'].limit
    assert np.median(peak_limits) < 1.2 * many
    assert np.mean(area_rejects) < 0.0125


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
    Over many samples, good parts to come exceed the limit at no more than three times the rate;
    four times where it rests on 14 parts.

    """
    rng = np.random.default_rng(7)
    draw = DRAWS[name]
    to_come = np.sort(draw(rng, 400_000))
    beyond = []
    for _ in range(200):
        limit = limit_from_good(draw(rng, count), HIGH, RATE, 0.0).limit
        beyond.append(1 - np.searchsorted(to_come, limit) / to_come.size)
    assert np.mean(beyond) < (4 if count == 14 else 3) * RATE


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


# All limits together

KEYS = [('a', f'm{i}') for i in range(6)]
SPECS = {key: MeasureSpec(key[1], '1', HIGH, 'Of a part.') for key in KEYS}


def good_parts(rng: np.random.Generator, count: int) -> dict[tuple[str, str], np.ndarray]:
    """
    Measures that move together, as those of one part do.

    """
    common = rng.standard_normal(count)
    return {key: 20.0 + common + rng.standard_normal(count) for key in KEYS}


@pytest.mark.parametrize('combination', ['any', 'all'])
def test_all_limits_together_meet_the_wanted_rate(combination: str) -> None:
    rng = np.random.default_rng(13)
    to_come = good_parts(rng, 50_000)
    met = [
        are_rejected(
            to_come,
            limits_from_good(good_parts(rng, 60), SPECS, 0.05, combination),
            SPECS,
            combination,
        ).mean()
        for _ in range(30)
    ]
    assert 0.0 < np.mean(met) < 0.05


def test_measures_that_move_together_do_not_make_the_limits_useless() -> None:
    """
    A share of the rate for each measure would reject a quarter of what is asked for.

    """
    rng = np.random.default_rng(13)

    def alike(count: int) -> dict[tuple[str, str], np.ndarray]:
        common = 20.0 + rng.standard_normal(count)
        return {key: common + 0.3 * rng.standard_normal(count) for key in KEYS}

    to_come = alike(50_000)
    met = [
        are_rejected(to_come, limits_from_good(alike(60), SPECS, 0.05), SPECS).mean()
        for _ in range(60)
    ]
    assert 0.6 * 0.05 < np.mean(met) < 0.05


@pytest.mark.parametrize('usual_spread', [None, 0.065])
def test_only_scorers_with_a_usual_spread_need_not_share_the_rate_of_two(
    usual_spread: float | None,
) -> None:
    def limits(scorers: int) -> list[float]:
        rng = np.random.default_rng(18)
        each = [good_parts(rng, 400) for _ in range(scorers)]
        good = {(f's{i}', key[1]): one[key] for i, one in enumerate(each) for key in KEYS[:3]}
        specs = {key: replace(SPECS['a', key[1]], usual_spread=usual_spread) for key in good}
        found = limits_from_good(good, specs, 0.05)
        return [found['s0', key[1]].limit for key in KEYS[:3]]

    assert (limits(1) == limits(2)) == (usual_spread is not None)
    assert all(one < many for one, many in zip(limits(2), limits(4), strict=True))


def test_only_all_limits_together_may_each_be_tighter() -> None:
    good = good_parts(np.random.default_rng(14), 60)
    any_, all_ = (limits_from_good(good, SPECS, 0.001, how) for how in ('any', 'all'))
    assert all(all_[key].limit < any_[key].limit for key in KEYS)


def test_the_expected_rate_is_that_of_parts_to_come() -> None:
    """
    In the sample itself no part is beyond the limits; the estimate must not say that.

    """
    rng = np.random.default_rng(15)
    to_come = good_parts(rng, 50_000)
    expected, met = [], []
    for _ in range(30):
        good = good_parts(rng, 30)
        expected.append(expected_false_rejects(good, SPECS, 0.4).rate)
        met.append(are_rejected(to_come, limits_from_good(good, SPECS, 0.4), SPECS).mean())
    assert np.mean(met) > 0.05
    assert np.mean(expected) == pytest.approx(np.mean(met), rel=0.25)


def test_no_part_is_judged_by_limits_that_it_gave(monkeypatch: pytest.MonkeyPatch) -> None:
    good = {KEYS[0]: np.arange(250.0)}
    held_out: set[float] = set()

    def watched(others: Good, *rest: object) -> dict[tuple[str, str], MeasureLimit]:
        out = set(range(250)) - set(others[KEYS[0]])
        assert 2 <= len(out) <= 3
        held_out.update(out)
        return limits_from_good(others, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(false_rejects, 'limits_from_good', watched)
    assert expected_false_rejects(good, SPECS, 0.01).parts == 250
    assert held_out == set(range(250))


def test_a_fixed_limit_stays() -> None:
    good = good_parts(np.random.default_rng(16), 20)
    fixed = {KEYS[2]: MeasureLimit(limit=19.0, typical=18.0)}
    limits = limits_from_good(good, SPECS, 0.01, 'any', fixed)
    assert list(limits) == KEYS
    assert limits[KEYS[2]] == fixed[KEYS[2]]
    rejected = int((good[KEYS[2]] > 19.0).sum())
    assert expected_false_rejects(good, SPECS, 0.01, 'any', fixed).rejected >= rejected > 10


def test_an_error_names_the_measure() -> None:
    with pytest.raises(SettingError, match=r'a\.m0: .*at least 4'):
        limits_from_good({KEYS[0]: np.ones(3)}, SPECS, 0.01)


@pytest.mark.parametrize('rejected', [0, 1, 5])
@pytest.mark.parametrize('rate', [0.3, 0.05, 0.005])
def test_so_many_parts_are_needed_and_not_one_fewer(rate: float, rejected: int) -> None:
    needed = parts_needed(rate, rejected)
    assert promised_rate(needed, rejected=rejected) <= rate
    assert promised_rate(needed - 1, rejected=rejected) > rate
    assert (parts_needed(0.005), parts_needed(0.05)) == (598, 59)


def test_the_interval_is_exact() -> None:
    # scipy.stats.binomtest(k, n).proportion_ci(method='exact')
    assert FalseRejects(0, 60).interval == pytest.approx((0.0, 0.0596), abs=1e-4)
    assert FalseRejects(3, 50).interval == pytest.approx((0.0125, 0.1655), abs=1e-4)
    assert FalseRejects(8, 8).interval == pytest.approx((0.6306, 1.0), abs=1e-4)
    assert FalseRejects(8, 8).promised_rate == 1.0


def test_the_promise_says_what_is_missing() -> None:
    few = FalseRejects(0, 60).promise(0.005)
    for words in ('0 %', '6 %', '0 of 60', '538 more good parts (598 in all)', 'at most 4.9 %'):
        assert words in few
    enough = FalseRejects(0, 598).promise(0.005)
    assert enough.endswith('These parts are enough to promise at most 0.5 % false rejects.')
    assert 'give 334 more good parts (947 in all)' in FalseRejects(1, 613).promise(0.005)


@pytest.mark.parametrize('side', [HIGH, LOW])
def test_a_shift_of_all_parts_makes_no_strays_but_a_defect_does(side: BadSide) -> None:
    rng = np.random.default_rng(17)
    spec = MeasureSpec('m', '1', side, 'Of a part.', -INF, INF)
    sign = 1.0 if side == HIGH else -1.0
    taught = 20.0 + rng.standard_normal(60)
    usual = limit_from_good(sign * taught, side, 0.005, -INF, INF)
    later = 20.0 + np.clip(rng.standard_normal(40), -2.0, 2.0)
    later[3] = 30.0
    for moved in (later, later + 100.0, later - 15.0):
        assert list(np.flatnonzero(widens_limit(sign * moved, usual, spec, 60))) == [3]


def test_strays_are_looked_for_on_a_wider_scale_where_all_parts_measure_more() -> None:
    rng = np.random.default_rng(18)
    usual = limit_from_good(rng.gamma(9.0, 1.0, 60), HIGH, 0.005, 0.0)
    assert widens_limit(10.0 * rng.gamma(9.0, 1.0, 40), usual, PEAK, 60).sum() <= 1


def test_good_parts_do_not_stray_because_few_of_them_were_taught() -> None:
    """
    A recipe taught on a dozen parts, and a batch of 40 from the same line: at most 4 may stray.

    """
    rng = np.random.default_rng(19)
    spec = MeasureSpec('m', '1', HIGH, 'Of a part.', -INF, INF)
    refused = {'good': 0, 'a fifth odd': 0}
    for _ in range(400):
        usual = limit_from_good(rng.standard_normal(12), HIGH, 0.005)
        batch = rng.standard_normal(40)
        refused['good'] += widens_limit(batch, usual, spec, 12).sum() > 4
        batch[:8] += 15.0
        refused['a fifth odd'] += widens_limit(batch, usual, spec, 12).sum() > 4
    assert refused['good'] <= 1
    assert refused['a fifth odd'] >= 390


def test_few_parts_off_the_perfect_end_tell_nothing() -> None:
    areas = np.zeros(60)
    areas[:4] = 7.0
    assert is_mostly_perfect(areas, PEAK)
    areas[:5] = 7.0
    assert not is_mostly_perfect(areas, PEAK)
    assert not is_mostly_perfect(np.full(8, 3.0), PEAK)


def test_where_taught_parts_were_all_perfect_only_single_parts_stray() -> None:
    usual = MeasureLimit(limit=100.0, typical=0.0)
    areas = np.array([0.0] * 20 + [60.0, 400.0])
    assert list(np.flatnonzero(widens_limit(areas, usual, PEAK, 60))) == [21]
    assert not widens_limit(np.array([30.0, 90.0, 130.0, 300.0]), usual, PEAK, 60).any()


def test_a_part_of_no_taught_class_is_rejected_whatever_the_combination() -> None:
    likeness = replace(SPECS[KEYS[0]], class_range=(5.0, 3.0))
    specs = {KEYS[0]: likeness, KEYS[1]: SPECS[KEYS[1]]}
    limits = dict.fromkeys(KEYS, MeasureLimit(limit=4.0, typical=1.0))
    good = {KEYS[0]: np.array([9.0, 1.0, 9.0]), KEYS[1]: np.array([1.0, 9.0, 9.0])}
    assert list(are_rejected(good, limits, specs, 'all')) == [True, False, True]
    assert list(are_rejected(good, limits, SPECS, 'all')) == [False, False, True]
    assert are_rejected(good, limits, specs, 'any').all()
