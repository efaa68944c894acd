# SPDX-License-Identifier: Apache-2.0
"""
What a person has marked on the part: kept with the recipe, carried to another picture, refused.

"""

from __future__ import annotations

from dataclasses import replace
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from anomaly_inspection.errors import RecipeError, SettingError
from anomaly_inspection.imaging.part_marks import Grasp, PartMarks
from anomaly_inspection.learning.carried_marks import with_marks, with_marks_of
from anomaly_inspection.learning.teach import teach, TeachOptions
from anomaly_inspection.recipes.comparison import compare, recipe_values
from anomaly_inspection.recipes.folder import read_recipe, write_recipe
from anomaly_inspection.recipes.recipe import Recipe
from support.drawn_plate import plate
from support.handmade_recipe import HEIGHT, WIDTH

MARKS = PartMarks((20.5, 30.0), -45.0, (Grasp(12.0, 10.0, 90.0, 8.0), Grasp(1.0, 2.0, 0.0)), 0.02)


def test_marks_come_back_as_they_were_written(recipe: Recipe, tmp_path: Path) -> None:
    shifted = PartMarks(edge_shift_px=(0.5, -0.4))
    for number, marks in enumerate(
        (MARKS, PartMarks(axis_deg=3.0), PartMarks(height_m=0.1), shifted)
    ):
        written = write_recipe(replace(recipe, marks=marks), tmp_path / str(number))
        read = read_recipe(tmp_path / str(number))
        assert read.marks == marks
        assert read.hash == written.hash
        # What is written from it keeps them.
        write_recipe(read, tmp_path / str(number))
        assert read_recipe(tmp_path / str(number)).marks == marks
    assert read_recipe(tmp_path / '0').hash != read_recipe(tmp_path / '1').hash


def test_a_recipe_without_marks_reads_as_before(written: Path) -> None:
    assert 'marks' not in (written / 'recipe.yaml').read_text()
    assert read_recipe(written).marks is None


def test_recipes_that_differ_in_their_marks_are_told_apart(recipe: Recipe, tmp_path: Path) -> None:
    write_recipe(replace(recipe, marks=MARKS), tmp_path / 'a')
    write_recipe(replace(recipe, marks=replace(MARKS, axis_deg=10.0)), tmp_path / 'b')
    found = compare(recipe_values(tmp_path / 'a'), recipe_values(tmp_path / 'b'))
    assert [(one.key, one.old, one.new) for one in found.others] == [
        ('marks.axis_deg', '-45', '10')
    ]


@pytest.mark.parametrize(
    ('marks', 'says'),
    [
        (7, 'a mapping with text keys'),
        ({'origin': [1, 2]}, 'unknown key'),
        ({'origin_px': 5}, 'allowed: two numbers'),
        ({'edge_shift_px': 5}, 'allowed: two numbers'),
        ({'edge_shift_px': [0.5, 51]}, 'allowed: a number from -50.0'),
        ({'origin_px': [1, 2, 3]}, 'allowed: two numbers'),
        ({'origin_px': [1, 'x']}, 'allowed: a number from 0.0'),
        ({'origin_px': [-1, 2]}, 'allowed: a number from 0.0'),
        ({'origin_px': [math.nan, 2]}, 'allowed: a number from 0.0'),
        ({'origin_px': [WIDTH, 2]}, f'allowed: 0,0 to {WIDTH - 1},{HEIGHT - 1} px'),
        ({'axis_deg': True}, 'allowed: a number from -360.0 to 360.0'),
        ({'axis_deg': 1e9}, 'allowed: a number from -360.0 to 360.0'),
        ({'height_m': -0.1}, 'allowed: a number from 0.0 to 2.0'),
        ({'height_m': 1e400}, 'allowed: a number from 0.0 to 2.0'),
        ({'grasps': {'x_px': 1}}, 'allowed: a list of mappings'),
        ({'grasps': [[1, 2, 3]]}, 'allowed: a list of mappings'),
        ({'grasps': [{'x_px': 1, 'y_px': 2}]}, 'axis_deg is missing'),
        ({'grasps': [{'x_px': 1, 'y_px': 2, 'axis_deg': 0, 'z': 1}]}, 'unknown key'),
        ({'grasps': [{'x_px': 1, 'y_px': HEIGHT, 'axis_deg': 0}]}, 'outside of the picture'),
        ({'grasps': [{'x_px': 1, 'y_px': 2, 'axis_deg': 0, 'width_px': 0}]}, 'a number from 0.1'),
        (
            {'grasps': [{'x_px': 1, 'y_px': 2, 'axis_deg': deg} for deg in range(17)]},
            'allowed: 0 to 16',
        ),
    ],
)
def test_hostile_marks_are_refused_with_what_is_allowed(copy: Path, marks: Any, says: str) -> None:
    content = yaml.safe_load((copy / 'recipe.yaml').read_text())
    content['marks'] = marks
    (copy / 'recipe.yaml').write_text(yaml.safe_dump(content))
    with pytest.raises(RecipeError, match='marks') as refusal:
        read_recipe(copy)
    assert says in str(refusal.value)


@pytest.mark.parametrize('turn_deg', [0.0, 30.0, -170.0])
def test_marks_are_carried_as_the_picture_is_turned(turn_deg: float) -> None:
    turned = np.array(cv2.getRotationMatrix2D((50, 40), turn_deg, 1.5), np.float64)
    turned[:, 2] += (300.0, 300.0)
    carried = MARKS.carried(turned)
    assert carried.origin_px == pytest.approx(tuple(turned @ (20.5, 30.0, 1.0)))
    # OpenCV turns counter-clockwise as seen in the picture, as our angles count.
    assert carried.axis_deg is not None
    assert math.remainder(carried.axis_deg - (-45.0 + turn_deg), 360.0) == pytest.approx(0.0)
    first, second = carried.grasps
    assert math.remainder(first.axis_deg - (90.0 + turn_deg), 360.0) == pytest.approx(0.0)
    assert first.width_px == pytest.approx(12.0)
    assert second.width_px is None
    assert carried.height_m == 0.02


# ---------------------------------------------------------------- taught and taught anew


def moved(image: np.ndarray, x_px: int, y_px: int) -> np.ndarray:
    return np.roll(image, (y_px, x_px), axis=(0, 1))


@pytest.fixture(scope='module')
def taught() -> Recipe:
    return teach(
        [moved(plate(seed), seed % 3 - 1, seed % 2) for seed in range(8)],
        name='plate',
        options=TeachOptions(scorers=('variation',)),
    )


def test_marks_in_any_picture_of_the_part_lie_on_the_reference(taught: Recipe) -> None:
    # The bores are at 35,40 and 75,70 where the plate has not moved.
    marks = PartMarks((38.0, 42.0), 10.0, (Grasp(78.0, 72.0, 0.0, 10.0),))
    with_them = with_marks(taught, marks, moved(plate(50), 3, 2), 'there.png')
    by_hand = with_marks(taught, marks, taught.references[0], 'reference')
    assert by_hand.marks is not None
    assert by_hand.marks.origin_px == pytest.approx((38.0, 42.0), abs=0.1)
    assert with_them.marks is not None
    bore = np.mean(np.argwhere(cv2.blur(taught.references[0], (5, 5))[30:52, 24:48] < 80), axis=0)
    assert with_them.marks.origin_px == pytest.approx((bore[1] + 24, bore[0] + 30), abs=0.6)
    assert with_them.marks.axis_deg == pytest.approx(10.0, abs=0.5)
    assert with_them.marks.grasps[0].width_px == pytest.approx(10.0, rel=0.02)
    assert (with_them.path, with_them.hash) == (None, '')


def test_a_picture_without_the_part_and_a_mark_outside_are_refused(taught: Recipe) -> None:
    marks = PartMarks((38.0, 42.0))
    with pytest.raises(SettingError, match=r'empty\.png'):
        with_marks(
            taught,
            marks,
            np.random.default_rng(1).integers(0, 60, (112, 112)).astype(np.uint8),
            'empty.png',
        )
    with pytest.raises(SettingError, match='allowed: 0,0 to 111,111 px'):
        with_marks(taught, PartMarks((112.0, 0.0)), plate(1), 'there.png')
    fixed = teach(
        [plate(seed) for seed in range(6)],
        name='fixed',
        options=TeachOptions(
            scorers=('variation',),
            preprocessing=replace(
                taught.preprocessing,
                alignment=replace(taught.preprocessing.alignment, kind='none'),
            ),
        ),
    )
    with pytest.raises(SettingError, match='does not align its parts'):
        with_marks(fixed, marks, plate(1), 'there.png')


def test_a_product_taught_anew_keeps_its_marks(taught: Recipe) -> None:
    marked = with_marks(taught, PartMarks((38.0, 42.0), 10.0), taught.references[0], 'reference')
    anew = teach(
        [moved(plate(100 + seed), 4 - seed % 2, 3) for seed in range(8)],
        name='plate',
        options=TeachOptions(scorers=('variation',)),
    )
    carried = with_marks_of(marked, anew).marks
    assert carried is not None
    expected = with_marks(anew, PartMarks((38.0, 42.0), 10.0), taught.references[0], 'x').marks
    assert expected is not None
    assert carried.origin_px == pytest.approx(expected.origin_px, abs=1e-3)
    assert carried.axis_deg == pytest.approx(expected.axis_deg, abs=1e-3)
    # The new reference shows the part at another place.
    assert carried.origin_px is not None
    assert carried.origin_px[0] > 40.5
    # Its own marks come first; no older recipe, or one without marks, changes nothing.
    own = replace(anew, marks=PartMarks(axis_deg=1.0))
    assert with_marks_of(marked, own) is own
    assert with_marks_of(taught, anew) is anew
    assert with_marks_of(None, anew) is anew


def test_marks_that_would_be_lost_refuse_the_new_recipe(taught: Recipe) -> None:
    marked = replace(taught, marks=PartMarks((38.0, 42.0)))
    other = teach(
        [
            cv2.circle(np.full((112, 112), 25 + seed, np.uint8), (56, 56), 30, 200, 2)
            for seed in range(8)
        ],
        name='plate',
        options=TeachOptions(scorers=('variation',)),
    )
    with pytest.raises(SettingError, match=r'would be lost.*--no-marks'):
        with_marks_of(marked, other)
