# SPDX-License-Identifier: Apache-2.0
"""
In what two recipes differ, also where one of them is nonsense.

"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from anomaly_inspection.errors import RecipeError
from anomaly_inspection.recipes.comparison import (
    compare,
    Difference,
    LimitDifference,
    LimitValues,
    recipe_values,
)
from anomaly_inspection.recipes.folder import write_recipe
from anomaly_inspection.recipes.recipe import Recipe


def written(recipe: Recipe, folder: Path) -> Any:
    write_recipe(recipe, folder)
    return recipe_values(folder)


def test_a_new_version_differs_in_nothing_but_its_version(recipe: Recipe, tmp_path: Path) -> None:
    one, other = (written(recipe, tmp_path / 'pump') for _ in range(2))
    assert (one['version'], other['version']) == (1, 2)
    found = compare(one, other)
    assert (found.limits, found.others, found.same_limits) == ((), (), 7)


def test_changed_limits_are_stricter_or_more_tolerant(recipe: Recipe, tmp_path: Path) -> None:
    one = written(recipe, tmp_path / 'pump')
    changed = recipe.with_limits({('ssim', 'mean_ssim'): 0.5, ('variation', 'peak_z'): 50.0})
    other = written(changed, tmp_path / 'pump')
    found = compare(one, other)
    assert found.limits == (
        LimitDifference(
            'ssim.mean_ssim', LimitValues(0.4, 0.9), LimitValues(0.5, 0.9), '1', high_is_bad=False
        ),
        LimitDifference('variation.peak_z', LimitValues(40.0, 2.0), LimitValues(50.0, 2.0)),
    )
    assert [one.is_stricter for one in found.limits] == [True, False]
    assert found.same_limits == 5
    assert [one.is_stricter for one in compare(other, one).limits] == [False, True]


def test_other_differences_are_named_by_their_place(recipe: Recipe, tmp_path: Path) -> None:
    one = written(recipe, tmp_path / 'pump')
    other = written(
        replace(
            recipe,
            product='Valve',
            combination='all',
            references=recipe.references[:1],
            provenance=replace(recipe.provenance, image_count=60, left_out=()),
            scorers={'ssim': recipe.scorers['ssim']},
        ),
        tmp_path / 'valve',
    )
    found = compare(one, other)
    assert set(found.others) >= {
        Difference('product', 'Pump body: Größe 2 # left', 'Valve'),
        Difference('combination', 'any', 'all'),
        Difference('references', '3', '1'),
        Difference('provenance.image_count', '6', '60'),
        Difference('provenance.left_out', '1', '0'),
        Difference('scorers', 'ssim, variation', 'ssim'),
        Difference('scorers.variation.region', 'limit 0.75, min_area_px 5', ''),
    }
    assert [one.name for one in found.limits] == [
        f'variation.{name}' for name in ('peak_z', 'mean_z', 'largest_region')
    ]
    assert all(one.new is None and one.is_stricter is None for one in found.limits)


@pytest.mark.parametrize(
    'text',
    [
        *('a: 1', '- 1', 'scorers: 1', 'scorers: {ssim: 1}', 'scorers: {ssim: {measures: [1]}}'),
        'scorers: {1: {measures: {2: {limit: x, typical: [1], judged: 3, unit: {}}}}}',
        'scorers: {ssim: {measures: {mse: {limit: 1.e+400}}}, 2: {}}\n1: 2\n2.5: [1, {a: b}]',
        '\n'.join(f'k{number}: "{"x" * 900}"' for number in range(500)),
    ],
)
def test_nonsense_is_compared_in_bounds(recipe: Recipe, tmp_path: Path, text: str) -> None:
    good = written(recipe, tmp_path / 'pump')
    (tmp_path / 'bad').mkdir()
    (tmp_path / 'bad' / 'recipe.yaml').write_text(text)
    bad = recipe_values(tmp_path / 'bad')
    for found in (compare(good, bad), compare(bad, good), compare(bad, bad)):
        assert len(found.others) <= 100
        assert all(len(one.old) <= 300 and len(one.new) <= 300 for one in found.others)
    assert compare(bad, bad).limits == ()


def test_a_recipe_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r'recipe\.yaml of .*pump: No such file'):
        recipe_values(tmp_path / 'pump')
