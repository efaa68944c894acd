# SPDX-License-Identifier: Apache-2.0
"""
The tolerance: read from text, refused with a reason, compared with how a part lies.

"""

from __future__ import annotations

import math

import pytest

from anomaly_inspection.errors import SettingError
from anomaly_inspection.imaging.alignment import Alignment
from anomaly_inspection.imaging.tolerance import Tolerance


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('shift=12px,rotation=any,light=15%', Tolerance(12.0, 0.03, 180.0, 0.15)),
        ('shift=12', Tolerance(12.0)),
        ('shift=2.5%', Tolerance(shift_share=0.025)),
        (' rotation=20deg , light=5 %', Tolerance(rotation_deg=20.0, light_share=0.05)),
        ('fixed', Tolerance(0.0, rotation_deg=0.0)),
        ('fixed,light=20%', Tolerance(0.0, rotation_deg=0.0, light_share=0.2)),
        ('defocus=1px,noise=.5levels', Tolerance(defocus_px=1.0, noise_levels=0.5)),
    ],
)
def test_a_tolerance_is_read_from_text(text: str, expected: Tolerance) -> None:
    assert Tolerance.from_text(text) == expected


@pytest.mark.parametrize(
    ('text', 'complaint'),
    [
        ('shift=12mm', r"'shift=12mm' cannot be read; allowed: fixed, or any of shift=Npx or N%"),
        ('turn=5deg', r"'turn=5deg' cannot be read.*rotation=Ndeg or any"),
        ('shift', "'shift' cannot be read"),
        ('', "'' cannot be read"),
        ('light=-5%', "'light=-5%' cannot be read"),
        ('shift=nanpx', "'shift=nanpx' cannot be read"),
        ('light=90%', r"'light=90%' is out of range; allowed: light=0 to 50%"),
        ('rotation=200deg', r"'rotation=200deg' is out of range; allowed: rotation=0 to 180deg"),
        ('shift=50%', r"'shift=50%' is out of range; allowed: shift=0 to 30%"),
        ('shift=3px,shift=4px', 'gives shift twice; allowed: once'),
        ('shift=3px,shift=4%', 'gives shift twice; allowed: once'),
        ('fixed,rotation=5deg', 'gives rotation twice; allowed: once'),
    ],
)
def test_a_wrong_text_is_refused_with_what_is_allowed(text: str, complaint: str) -> None:
    with pytest.raises(SettingError, match=complaint):
        Tolerance.from_text(text)


def test_the_shift_depends_on_the_short_side_unless_it_is_given() -> None:
    assert Tolerance().in_pixels(480).shift_px == pytest.approx(14.4)
    assert Tolerance(6.0).in_pixels(480).shift_px == 6.0
    assert not Tolerance().is_fixed
    assert Tolerance.from_text('fixed').in_pixels(480).is_fixed
    assert not Tolerance(0.0, shift_share=0.03).is_fixed


@pytest.mark.parametrize('tolerance', [Tolerance(), Tolerance(7.0, rotation_deg=180.0)])
def test_a_tolerance_survives_its_mapping(tolerance: Tolerance) -> None:
    assert Tolerance.from_mapping(tolerance.to_mapping()) == tolerance


def test_what_lies_beyond_the_tolerance_is_said_in_words() -> None:
    tolerance = Tolerance(10.0, rotation_deg=5.0)
    assert tolerance.excess(Alignment(-9.0, 10.0, math.radians(5.0), 1.0, 0.9)) == ''
    moved = Alignment(3.0, -14.2, 0.0, 1.0, 0.9)
    assert tolerance.excess(moved) == 'moved 14 px, taught for 10'
    turned = Alignment(14.0, 0.0, math.radians(-12.0), 1.0, 0.9)
    assert tolerance.excess(turned) == (
        'moved 14 px, taught for 10; turned 12 degrees, taught for 5'
    )
    wide = tolerance.widened(14.2, 12.0)
    assert (wide.excess(moved), wide.excess(turned)) == ('', '')
