# SPDX-License-Identifier: Apache-2.0
"""
Judge: the verdict on one frame, and a text that never contradicts it.

"""

from __future__ import annotations

from itertools import product
import math
import operator
import re

from hypothesis import example, given, settings
from hypothesis import strategies as st
import pytest

from anomaly_inspection.deciding.frame_judge import Combination, judge, Reason, Verdict
from anomaly_inspection.deciding.limits import Limit, LimitTable
from anomaly_inspection.scoring.measure import BadSide

SSIM = Limit('ssim', 'mean_ssim', 0.9, BadSide.LOW, 0.97, '1', -1.0, 1.0)
MSE = Limit('ssim', 'mse', 60.0, BadSide.HIGH, 20.0)
Z = Limit('variation', 'peak_z', 6.0, BadSide.HIGH, 2.0)
TABLE = LimitTable((SSIM, MSE, Z))
ANY, ALL = Combination.ANY, Combination.ALL
OPERATORS = {'>=': operator.ge, '<=': operator.le, '>': operator.gt, '<': operator.lt}


def measures(mean_ssim: float, mse: float, z: float) -> dict[str, dict[str, float]]:
    return {'ssim': {'mean_ssim': mean_ssim, 'mse': mse}, 'variation': {'peak_z': z}}


def test_good_frame_passes_with_its_comparison() -> None:
    judgement = judge(measures(0.934, 41.2, 3.0), TABLE, ANY)
    assert judgement.verdict is Verdict.PASS
    assert judgement.reason is Reason.WITHIN_LIMITS
    assert judgement.comparison == (
        'ssim.mean_ssim 0.934 >= 0.900, ssim.mse 41.2 <= 60.0, '
        'variation.peak_z 3.00 <= 6.00 -> PASS'
    )
    assert judgement.anomaly_score == pytest.approx(0.53)
    assert judgement.worst_measure == 'ssim.mse'


def test_violated_limits_come_first() -> None:
    judgement = judge(measures(0.934, 41.2, 7.0), TABLE, ANY)
    assert judgement.verdict is Verdict.REJECT
    assert judgement.reason is Reason.LIMIT_EXCEEDED
    assert judgement.comparison == (
        'variation.peak_z 7.00 > 6.00, ssim.mean_ssim 0.934 >= 0.900, '
        'ssim.mse 41.2 <= 60.0 -> REJECT'
    )
    assert judgement.worst_measure == 'variation.peak_z'


@pytest.mark.parametrize('exceeded', list(product([False, True], repeat=3)))
@pytest.mark.parametrize('combination', [ANY, ALL])
def test_combination_and_score_agree_with_the_verdict(
    exceeded: tuple[bool, bool, bool], combination: Combination
) -> None:
    values = measures(
        0.8 if exceeded[0] else 0.95, 70.0 if exceeded[1] else 30.0, 8.0 if exceeded[2] else 3.0
    )
    judgement = judge(values, TABLE, combination)
    is_rejected = any(exceeded) if combination is ANY else all(exceeded)
    assert (judgement.verdict is Verdict.REJECT) == is_rejected
    assert (judgement.anomaly_score > 1.0) == is_rejected
    assert judgement.comparison.endswith(f'-> {judgement.verdict.name}')


def test_no_region_does_not_hide_which_part_is_better() -> None:
    """
    Two parts better than the typical one, both without a region: their order shows.

    """
    region = Limit('variation', 'largest_region', 40.0, BadSide.HIGH, 0.0, 'px')
    table = LimitTable((Z, region))
    better, best = (
        judge({'variation': {'peak_z': z, 'largest_region': 0.0}}, table, ANY) for z in (1.8, 1.2)
    )
    assert best.anomaly_score < better.anomaly_score < 0.0
    assert {better.worst_measure, best.worst_measure} == {Z.name}
    assert judge({'variation': {'peak_z': 0.0, 'largest_region': 0.0}}, table, ANY).verdict is (
        Verdict.PASS
    )


def test_all_says_why_an_exceeded_limit_passes() -> None:
    judgement = judge(measures(0.8, 41.2, 3.0), TABLE, ALL)
    assert judgement.comparison.startswith('ssim.mean_ssim 0.800 < 0.900')
    assert judgement.comparison.endswith('(only all limits exceeded together reject) -> PASS')
    assert judgement.worst_measure == 'variation.peak_z'


@pytest.mark.parametrize('combination', [ANY, ALL])
@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize('place', range(3))
def test_row_measure_nan_or_infinite_is_score_invalid(
    place: int, value: float, combination: Combination
) -> None:
    numbers = [0.95, 30.0, 3.0]
    numbers[place] = value
    judgement = judge(measures(*numbers), TABLE, combination)
    assert judgement.verdict is Verdict.REJECT
    assert judgement.reason is Reason.SCORE_INVALID
    assert TABLE.limits[place].name in judgement.comparison
    assert str(value) in judgement.comparison
    assert math.isnan(judgement.anomaly_score)
    assert judgement.worst_measure == ''


@pytest.mark.parametrize(
    'values', [{}, {'ssim': {'mean_ssim': 0.95, 'mse': 1.0}, 'variation': {}}]
)
def test_missing_measure_is_score_invalid(values: dict[str, dict[str, float]]) -> None:
    judgement = judge(values, TABLE, ALL)
    assert judgement.reason is Reason.SCORE_INVALID
    assert 'is missing' in judgement.comparison


@pytest.mark.parametrize('combination', [ANY, ALL])
def test_a_part_of_no_taught_class_is_rejected_for_that(combination: Combination) -> None:
    ncc = Limit('template', 'best_ncc', 0.9, BadSide.LOW, 0.97, '1', -1.0, 1.0, tells_class=True)
    table = LimitTable((MSE, ncc))
    values = {'ssim': {'mse': 30.0}, 'template': {'best_ncc': 0.5}}
    judgement = judge(values, table, combination, ['two'])
    assert judgement.verdict is Verdict.REJECT
    assert judgement.reason is Reason.UNKNOWN_CLASS
    assert judgement.worst_measure == 'template.best_ncc'
    assert judgement.anomaly_score > 1.0
    assert judgement.comparison == (
        "template.best_ncc 0.500 < 0.900, ssim.mse 30.0 <= 60.0, most like 'two' -> REJECT"
    )
    values['template']['best_ncc'] = 0.95
    judgement = judge(values, table, combination, ['two'])
    assert judgement.reason is Reason.WITHIN_LIMITS
    assert judgement.comparison.endswith("class 'two' -> PASS")
    values['ssim']['mse'] = 70.0
    assert judge(values, table, ANY, ['two']).reason is Reason.LIMIT_EXCEEDED


def test_measure_without_a_limit_plays_no_part() -> None:
    values = measures(0.95, 30.0, 3.0)
    values['ssim']['other'] = math.nan
    values['template'] = {'ncc': -1.0}
    assert judge(values, TABLE, ANY).verdict is Verdict.PASS


NUMBERS = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e12, max_value=1e12)


@settings(derandomize=True, database=None, deadline=None)
@given(NUMBERS, NUMBERS, st.sampled_from(BadSide))
@example(0.8999999, 0.9, BadSide.LOW)
@example(math.nextafter(0.9, 0.0), 0.9, BadSide.LOW)
@example(1500.3, 1500.1, BadSide.HIGH)
@example(1e-12, 0.0, BadSide.HIGH)
@example(5e-324, 0.0, BadSide.HIGH)
@example(0.0, 0.0, BadSide.HIGH)
def test_text_never_contradicts_the_verdict(value: float, limit: float, side: BadSide) -> None:
    typical = limit - abs(limit) - 1 if side is BadSide.HIGH else limit + abs(limit) + 1
    table = LimitTable((Limit('s', 'm', limit, side, typical, '1', -math.inf, math.inf),))
    judgement = judge({'s': {'m': value}}, table, ANY)
    written = re.fullmatch(r's\.m (\S+) (\S+) (\S+) -> (\w+)', judgement.comparison)
    assert written is not None
    left, sign, right, verdict = written.groups()
    assert OPERATORS[sign](float(left), float(right))
    assert verdict == judgement.verdict.name
    is_exceeded = value > limit if side is BadSide.HIGH else value < limit
    assert (verdict == 'REJECT') == is_exceeded


@pytest.mark.parametrize(
    ('value', 'text'),
    [
        (0.8999999, '0.8999999 < 0.9000000'),
        (0.9000001, '0.900 >= 0.900'),
        (-0.25, '-0.250 < 0.900'),
    ],
)
def test_digits_are_as_many_as_needed(value: float, text: str) -> None:
    assert judge({'ssim': {'mean_ssim': value}}, LimitTable((SSIM,)), ANY).comparison == (
        f'ssim.mean_ssim {text} -> {"PASS" if value >= 0.9 else "REJECT"}'
    )
