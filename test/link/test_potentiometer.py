# SPDX-License-Identifier: Apache-2.0
"""
From a knob's position to a limit: never out of range, and only when it was turned.

"""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
import pytest

from anomaly_inspection.errors import LinkError, SettingError
from anomaly_inspection.link.potentiometer import CURVES, Knob, range_from_typical, Scale

POSITIONS = st.floats(allow_nan=False, allow_infinity=False)
POSITIVE = st.floats(1e-9, 1e9)


@st.composite
def scales(draw: st.DrawFn) -> Scale:
    curve = draw(st.sampled_from(CURVES))
    ends = POSITIVE if curve == 'logarithmic' else st.floats(-1e12, 1e12)
    low, high = sorted(draw(st.tuples(ends, ends).filter(lambda pair: pair[0] != pair[1])))
    return Scale(low, high, curve, draw(st.booleans()))


@given(scales(), POSITIONS)
def test_nothing_out_of_range_leaves_a_scale(scale: Scale, position: float) -> None:
    assert scale.low <= scale.value(position) <= scale.high


@given(scales(), st.floats(0, 1), st.floats(0, 1))
def test_a_turn_to_the_right_never_turns_back(scale: Scale, first: float, second: float) -> None:
    left, right = sorted((first, second))
    change = scale.value(right) - scale.value(left)
    # Rounding may take back the last digit.
    slack = 1e-12 * max(abs(scale.low), abs(scale.high))
    assert change <= slack if scale.is_reversed else change >= -slack


@given(scales())
def test_the_ends_are_reached(scale: Scale) -> None:
    ends = (scale.value(0.0), scale.value(1.0))
    expected = (scale.high, scale.low) if scale.is_reversed else (scale.low, scale.high)
    assert ends == pytest.approx(expected, rel=1e-9)


def test_curves() -> None:
    assert Scale(10, 1000).value(0.5) == 505
    assert Scale(10, 1000, 'logarithmic').value(0.5) == pytest.approx(100)
    assert Scale(10, 1000, 'logarithmic', is_reversed=True).value(0.25) == pytest.approx(316.2278)


@pytest.mark.parametrize('position', [math.nan, math.inf, -math.inf])
def test_a_position_that_is_no_number_is_refused(position: float) -> None:
    with pytest.raises(LinkError, match='allowed: 0 to 1'):
        Scale(1, 2).value(position)


@pytest.mark.parametrize(
    ('low', 'high', 'curve', 'words'),
    [
        (2, 1, 'linear', 'low below high'),
        (1, 1, 'linear', 'low below high'),
        (math.nan, 1, 'linear', 'finite'),
        (1, math.inf, 'linear', 'finite'),
        (-1e308, 1e308, 'linear', 'finite'),
        (0, 1, 'logarithmic', 'low above 0'),
        (1, 2, 'cubic', 'linear, logarithmic'),
    ],
)
def test_what_is_no_range_is_refused(low: float, high: float, curve: str, words: str) -> None:
    with pytest.raises(SettingError, match=words):
        Scale(low, high, curve)


@given(POSITIVE, st.booleans())
def test_the_range_from_typical_lies_on_the_bad_side(typical: float, is_high_bad: bool) -> None:
    low, high = range_from_typical(typical, is_high_bad=is_high_bad)
    Scale(low, high, 'logarithmic')
    assert low > typical if is_high_bad else high < typical


def test_the_range_from_typical_goes_to_five_times_worse() -> None:
    assert range_from_typical(2.0, is_high_bad=True) == pytest.approx((2.1, 10.0))
    assert range_from_typical(2.1, is_high_bad=False) == pytest.approx((0.42, 2.0))


@pytest.mark.parametrize('typical', [0.0, -1.0, math.nan, math.inf])
def test_no_range_from_a_typical_part_of_nothing(typical: float) -> None:
    with pytest.raises(SettingError, match='set low and high'):
        range_from_typical(typical, is_high_bad=True)


def acted(knob: Knob, *positions: float) -> list[float]:
    """
    The positions that acted.

    """
    found = []
    for position in positions:
        if knob.is_turned(position, waking=0.02, deadband=0.002):
            knob.act(position)
            found.append(position)
    return found


def test_a_knob_acts_from_the_first_turn_on() -> None:
    knob = Knob()
    assert acted(knob, 0.5, 0.501, 0.515, 0.485) == []
    assert acted(knob, 0.53) == [0.53]
    assert acted(knob, 0.531, 0.533, 0.532, 0.5, 0.501) == [0.533, 0.5]


def test_trembling_adds_up_to_a_slow_turn_only_when_it_is_one() -> None:
    assert acted(Knob(), *(0.5 + 0.009 * (-1) ** turn for turn in range(100))) == []
    slow_turn = [0.5 + 0.0015 * step for step in range(100)]
    assert acted(Knob(), *slow_turn)[0] == pytest.approx(0.521)


def test_a_knob_at_rest_takes_its_place_as_it_is() -> None:
    knob = Knob()
    assert acted(knob, 0.1, 0.2) == [0.2]
    knob.rest()
    assert acted(knob, 0.9, 0.91) == []
    assert acted(knob, 0.95) == [0.95]


def test_a_grab_wakes_a_knob() -> None:
    knob = Knob()
    knob.act(0.4)
    assert acted(knob, 0.401, 0.41) == [0.41]
