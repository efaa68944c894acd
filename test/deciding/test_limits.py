# SPDX-License-Identifier: Apache-2.0
"""
Limits: what is refused, what a score means, and that limits change together or not at all.

"""

from __future__ import annotations

import math

from hypothesis import assume, given, settings
from hypothesis import strategies as st
import pytest

from anomaly_inspection.deciding.limits import Limit, LimitOrigin, LimitTable
from anomaly_inspection.errors import LimitError
from anomaly_inspection.scoring.measure import BadSide

NUMBERS = st.floats(-1e9, 1e9)


def ssim(value: float = 0.9) -> Limit:
    return Limit('ssim', 'mean_ssim', value, BadSide.LOW, 0.97, '1', -1.0, 1.0)


def mse(value: float = 60.0) -> Limit:
    return Limit('ssim', 'mse', value, BadSide.HIGH, 20.0, 'gray_level^2', 0.0, 65025.0)


def test_exactly_at_the_limit_is_good() -> None:
    assert not ssim().is_exceeded_by(0.9)
    assert ssim().is_exceeded_by(math.nextafter(0.9, 0.0))
    assert not mse().is_exceeded_by(60.0)
    assert mse().is_exceeded_by(math.nextafter(60.0, 61.0))


def test_score_is_0_at_typical_and_1_at_the_limit() -> None:
    for limit in (ssim(), mse()):
        assert limit.anomaly_score(limit.typical) == 0.0
        assert limit.anomaly_score(limit.value) == 1.0
    assert mse().anomaly_score(100.0) == pytest.approx(2.0)
    assert ssim().anomaly_score(0.983) < 0.0


@settings(derandomize=True, database=None, deadline=None)
@given(NUMBERS, NUMBERS, NUMBERS)
def test_score_is_above_1_exactly_when_the_limit_is_exceeded(
    value: float, typical: float, measured: float
) -> None:
    assume(value != typical)
    side = BadSide.HIGH if value > typical else BadSide.LOW
    limit = Limit('s', 'm', value, side, typical, '1', -math.inf, math.inf)
    near = [math.nextafter(value, -math.inf), value, math.nextafter(value, math.inf)]
    for number in [measured, *near]:
        assert (limit.anomaly_score(number) > 1.0) == limit.is_exceeded_by(number)


@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf, 0.97, 0.98, 1.1, -1.1])
def test_low_limit_is_refused(value: float) -> None:
    with pytest.raises(LimitError) as refusal:
        ssim(value)
    text = str(refusal.value)
    assert 'ssim.mean_ssim' in text
    assert repr(value) in text
    assert 'allowed: from -1.0 up to, not including, 0.97' in text


@pytest.mark.parametrize('value', [math.nan, math.inf, 20.0, 19.0, 65025.5])
def test_high_limit_is_refused(value: float) -> None:
    with pytest.raises(LimitError) as refusal:
        mse(value)
    assert f'ssim.mse: limit {value!r} refused' in str(refusal.value)
    assert 'allowed: above 20.0 (a typical good part) up to 65025.0' in str(refusal.value)


def test_ends_of_the_range_are_allowed() -> None:
    assert ssim(-1.0).value == -1.0
    assert mse(65025.0).value == 65025.0
    assert ssim(math.nextafter(0.97, 0.0)).value < 0.97


def test_typical_must_be_a_number() -> None:
    with pytest.raises(LimitError, match='typical nan'):
        Limit('s', 'm', 1.0, BadSide.HIGH, math.nan)


def test_table_without_limits_is_refused() -> None:
    with pytest.raises(LimitError, match='no limits'):
        LimitTable(())


def test_two_limits_for_one_measure_are_refused() -> None:
    with pytest.raises(LimitError, match=r'more than one limit for ssim\.mse'):
        LimitTable((mse(), ssim(), mse(70.0)))


def test_scorers_are_named_once() -> None:
    z = Limit('variation', 'z', 6.0, BadSide.HIGH, 2.0)
    assert LimitTable((ssim(), z, mse())).scorers == ('ssim', 'variation')


def test_limits_change_together_and_the_old_table_stays() -> None:
    table = LimitTable((ssim(), mse()))
    values = {('ssim', 'mean_ssim'): 0.8, ('ssim', 'mse'): 70}
    changed = table.changed(values, LimitOrigin.RUNTIME)
    assert [limit.value for limit in changed] == [0.8, 70.0]
    assert {limit.origin for limit in changed} == {LimitOrigin.RUNTIME}
    assert [limit.value for limit in table] == [0.9, 60.0]


def test_untouched_limit_keeps_its_origin() -> None:
    changed = LimitTable((ssim(), mse())).changed({('ssim', 'mse'): 70.0}, LimitOrigin.RUNTIME)
    assert [limit.origin for limit in changed] == [LimitOrigin.RECIPE, LimitOrigin.RUNTIME]


@pytest.mark.parametrize(
    ('bad', 'words'),
    [
        ({('ssim', 'mse'): math.nan}, 'ssim.mse: limit nan refused'),
        ({('ssim', 'mse'): 1e6}, 'up to 65025.0'),
        ({('ssim', 'mse'): 10.0}, 'allowed: above 20.0'),
        ({('ssim', 'mze'): 70.0}, 'known are ssim.mean_ssim, ssim.mse'),
        ({('variation', 'mse'): 70.0}, 'variation.mse: no such measure'),
    ],
)
def test_row_threshold_out_of_range_not_finite_or_unknown_changes_nothing(
    bad: dict[tuple[str, str], float], words: str
) -> None:
    table = LimitTable((ssim(), mse()))
    with pytest.raises(LimitError) as refusal:
        table.changed({('ssim', 'mean_ssim'): 0.8, **bad}, LimitOrigin.RUNTIME)
    assert words in str(refusal.value)
    assert table == LimitTable((ssim(), mse()))
