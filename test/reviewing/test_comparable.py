# SPDX-License-Identifier: Apache-2.0
"""
Stored measures are used where the recipe measures the same, and measured anew where it does not.

"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import pytest

from anomaly_inspection.recipes.folder import write_recipe
from anomaly_inspection.recipes.recipe import Recipe
from anomaly_inspection.reviewing.comparable import (
    comparable_versions,
    gather,
    measuring_fingerprint,
)
from anomaly_inspection.reviewing.stored_part import Kind, StoredPart, Truth
from support.reviewed_parts import judged_part, spotted, strict_recipe

pytest.importorskip('pydantic', reason='NiceGUI is not installed: pip install .[panel]')


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return strict_recipe(tmp_path / 'recipes' / 'pump')


def stored(recipe: Recipe, folder: Path, number: int, depth: int) -> StoredPart:
    """
    Give a part that a recipe has judged, with its frame on disk.

    """
    image = spotted(number, depth)
    picture = folder / f'{number}.png'
    cv2.imwrite(str(picture), image)
    part = judged_part(recipe, number, image)
    return StoredPart(
        part.key,
        Kind.REJECT,
        not part.decision.has_passed,
        part.decision.reason,
        {one.name: one.value for score in part.scores for one in score.measures},
        {limit.name: limit.value for limit in part.limits},
        recipe.name,
        recipe.version,
        Truth.BAD,
        picture,
    )


def other_measures(recipe: Recipe) -> Recipe:
    """
    Give a recipe that measures otherwise: one of its scorers looks for other regions.

    """
    scorer = recipe.scorers['variation']
    region = replace(scorer.region, limit=scorer.region.limit * 2)
    return replace(recipe, scorers={**recipe.scorers, 'variation': replace(scorer, region=region)})


def test_limits_do_not_change_what_a_recipe_measures_but_regions_do(recipe: Recipe) -> None:
    key = ('ssim', 'mean_ssim')
    value = recipe.scorers['ssim'].limits['mean_ssim'].limit
    moved = recipe.with_limits({key: value * 0.9})
    assert measuring_fingerprint(moved) == measuring_fingerprint(recipe)
    assert measuring_fingerprint(other_measures(recipe)) != measuring_fingerprint(recipe)


def test_older_versions_are_compared_by_what_they_measure(recipe: Recipe) -> None:
    assert recipe.path is not None
    value = recipe.scorers['ssim'].limits['mean_ssim'].limit
    second = write_recipe(recipe.with_limits({('ssim', 'mean_ssim'): value * 0.9}), recipe.path)
    assert comparable_versions(second) == {1, 2}
    third = write_recipe(other_measures(second), recipe.path)
    assert comparable_versions(third) == {3}


def test_a_frame_measured_anew_gives_exactly_what_was_stored(
    recipe: Recipe, tmp_path: Path
) -> None:
    part = stored(recipe, tmp_path, 1, 60)
    assert part.is_rejected
    found = gather(recipe, [replace(part, recipe_version=99)], versions={1})
    (rescored,) = found.rescored
    assert rescored.measures == part.measures
    assert rescored.truth is Truth.BAD


def test_a_recipe_with_other_measures_measures_the_frames_anew(
    recipe: Recipe, tmp_path: Path
) -> None:
    assert recipe.path is not None
    with_frame = stored(recipe, tmp_path, 1, 60)
    without = replace(stored(recipe, tmp_path, 2, 60), picture=None)
    torn = stored(recipe, tmp_path, 3, 60)
    assert torn.picture is not None
    torn.picture.write_bytes(b'no picture')
    gone = stored(recipe, tmp_path, 4, 60)
    assert gone.picture is not None
    gone.picture.unlink()
    newer = write_recipe(other_measures(recipe), recipe.path)
    found = gather(newer, [with_frame, without, torn, gone])
    assert found.stored == ()
    (rescored,) = found.rescored
    assert rescored.measures != with_frame.measures
    assert sorted(part.key[1] for part in found.lost) == [2, 3, 4]
    assert any('3 parts' in sentence for sentence in found.sentences())
