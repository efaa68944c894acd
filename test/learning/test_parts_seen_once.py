# SPDX-License-Identifier: Apache-2.0
"""
Eight pictures of one part that lies still: nobody knows yet how the next part differs.

"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray
import pytest

from anomaly_inspection.learning.surface_check import is_surface
from anomaly_inspection.learning.teach import teach, TeachOptions
from anomaly_inspection.recipes.recipe import Recipe
from anomaly_inspection.scoring.frame_scorer import ScoreStatus

Image = NDArray[np.uint8]
SIDE = 128


def texture(seed: int, across_px: float = 1.5, down_px: float = 1.5) -> Image:
    """
    Draw a piece of an endless texture.

    """
    noise = np.random.default_rng(seed).standard_normal((SIDE, SIDE))
    grain = cv2.GaussianBlur(noise, (0, 0), sigmaX=across_px, sigmaY=down_px)
    return np.asarray((130 + 18 * grain / grain.std()).clip(0, 255), np.uint8)


def printed_part(seed: int) -> Image:
    """
    Draw a round part with a rim that all parts share and a print of its own.

    """
    rng = np.random.default_rng(seed)
    image = np.full((SIDE, SIDE), 40.0, np.float32)
    cv2.circle(image, (64, 64), 44, 170.0, -1)
    cv2.rectangle(image, (58, 20), (70, 34), 90.0, -1)
    for _ in range(16):
        x, y = rng.integers(38, 80, 2).tolist()
        cv2.rectangle(image, (x, y), (x + 12, y + 4), float(rng.uniform(30, 230)), -1)
    smooth = cv2.GaussianBlur(image, (0, 0), 1.0)
    return np.asarray(smooth.clip(0, 255), np.uint8)


def taken(image: Image, seed: int) -> Image:
    """
    Take a picture of what lies still: a little vibration, a little noise.

    """
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(-0.3, 0.3, 2)
    moved = cv2.warpAffine(
        image.astype(np.float32),
        np.array([[1.0, 0.0, x], [0.0, 1.0, y]]),
        (SIDE, SIDE),
        borderMode=cv2.BORDER_REFLECT_101,
    )
    noisy = moved + rng.normal(0.0, 1.5, moved.shape)
    return np.asarray(np.rint(noisy).clip(0, 255), np.uint8)


def copies(image: Image) -> list[tuple[str, Image]]:
    return [(f'copy {seed}', taken(image, seed)) for seed in range(8)]


def recipe_of(image: Image, scorer: str) -> Recipe:
    return teach(copies(image), name='once', options=TeachOptions(scorers=[scorer]))


@pytest.mark.parametrize('seed', range(4))
@pytest.mark.parametrize('grain_px', [(1.0, 1.0), (3.0, 3.0), (6.0, 1.0), (1.0, 8.0)])
def test_a_texture_looks_alike_all_over(seed: int, grain_px: tuple[float, float]) -> None:
    assert is_surface(texture(seed, *grain_px))


@pytest.mark.parametrize('seed', range(4))
def test_a_part_does_not_look_alike_all_over(seed: int) -> None:
    assert not is_surface(printed_part(seed))
    # Neither does a part that ends outside of the picture.
    half = np.where(np.arange(SIDE) < 70, texture(seed, 1.0, 1.0), texture(seed, 4.0, 4.0))
    assert not is_surface(half.astype(np.uint8))


def test_the_next_piece_of_a_texture_that_was_seen_once_is_not_lost() -> None:
    recipe = recipe_of(texture(0), 'patch_statistics')
    assert recipe.preprocessing.alignment.kind == 'none'
    settings = recipe.scorers['patch_statistics'].settings
    assert (settings['surface'], settings['statistics']) == ('texture', 'pooled')
    scorer = recipe.frame_scorer()
    good = [next(iter(scorer.score(taken(texture(seed), seed)))) for seed in range(20, 32)]
    assert {score.status for score in good} == {ScoreStatus.OK}
    bad = texture(40)
    cv2.line(bad, (40, 40), (70, 75), 60, 3)
    worst = max(score.measures['peak_distance'] for score in good)
    assert next(iter(scorer.score(bad))).measures['peak_distance'] > worst


def test_auto_takes_pooled_statistics_for_a_texture_that_was_seen_once() -> None:
    recipe = teach(copies(texture(1)), name='once')
    assert {recipe.scorers[name].settings['statistics'] for name in recipe.scorers} == {'pooled'}
    assert any('fewer than 5 different parts' in reason for reason in recipe.provenance.choice)


def test_a_part_unlike_the_only_one_taught_is_judged_as_it_lies() -> None:
    recipe = recipe_of(printed_part(0), 'variation')
    alignment = recipe.preprocessing.alignment
    assert alignment.kind != 'none'
    assert alignment.if_not_found == 'as_it_lies'
    scorer = recipe.frame_scorer()
    others = [next(iter(scorer.score(taken(printed_part(n), n)))) for n in range(20, 32)]
    assert {score.status for score in others} == {ScoreStatus.OK}
    lost = next(iter(scorer.score(texture(3, 1.0, 1.0))))
    assert lost.status == ScoreStatus.OK
    assert lost.detail.startswith('part not found, confidence 0.')
    assert lost.detail.endswith('; judged as it lies')
    assert lost.alignment is not None
    assert (lost.alignment.x_px, lost.alignment.y_px, lost.alignment.angle_rad) == (0, 0, 0)


def test_a_good_part_that_is_not_surely_found_is_judged_where_it_fits_better() -> None:
    recipe = recipe_of(printed_part(0), 'variation')
    alignment = replace(recipe.preprocessing.alignment, min_confidence=0.999)
    unsure = replace(recipe, preprocessing=replace(recipe.preprocessing, alignment=alignment))
    shift = np.array([[1.0, 0.0, 4.0], [0.0, 1.0, -3.0]])
    part = taken(printed_part(0), 50)
    moved = cv2.warpAffine(part, shift, part.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)
    score = next(iter(unsure.frame_scorer().score(np.asarray(moved, np.uint8))))
    assert score.detail.endswith('; judged where it seems to lie')
    assert score.alignment is not None
    assert (score.alignment.x_px, score.alignment.y_px) == pytest.approx((4, -3), abs=0.5)
    limits = recipe.scorers['variation'].limits
    assert all(score.measures[name] <= limit.limit for name, limit in limits.items())


def test_enough_different_parts_set_a_limit_to_alignment() -> None:
    named = [(f'part {seed}', taken(printed_part(seed), seed)) for seed in range(20)]
    recipe = teach(named, name='many', options=TeachOptions(scorers=['variation']))
    assert recipe.preprocessing.alignment.if_not_found == 'reject'
    status = next(iter(recipe.frame_scorer().score(texture(3, 1.0, 1.0)))).status
    assert status == ScoreStatus.NOT_ALIGNED


def test_where_a_good_part_was_not_found_alignment_rejects_none() -> None:
    named = [(f'part {seed}', taken(printed_part(seed), seed)) for seed in range(20)]
    far = np.roll(taken(printed_part(20), 20), 50, axis=1)
    recipe = teach([*named, ('far', far)], name='lost', options=TeachOptions(['variation']))
    assert [entry.partition(':')[0] for entry in recipe.provenance.left_out] == ['far']
    assert recipe.preprocessing.alignment.kind != 'none'
    assert recipe.preprocessing.alignment.if_not_found == 'as_it_lies'
    limits = recipe.scorers['variation'].limits
    score = next(iter(recipe.frame_scorer().score(far)))
    assert score.status == ScoreStatus.OK
    assert any(score.measures[name] > limit.limit for name, limit in limits.items())


def test_limits_from_copies_of_one_part_leave_room_for_other_good_parts() -> None:
    recipe = recipe_of(texture(0), 'patch_statistics')
    scorer = recipe.frame_scorer()
    limits = recipe.scorers['patch_statistics'].limits
    for seed in range(20, 32):
        score = next(iter(scorer.score(taken(texture(seed), seed))))
        assert [m for m, limit in limits.items() if score.measures[m] > limit.limit] == []
    bad = texture(40)
    bad[40:70, 40:70] = np.random.default_rng(1).integers(0, 256, (30, 30))
    score = next(iter(scorer.score(bad)))
    assert score.measures['worst_mean_distance'] > limits['worst_mean_distance'].limit
