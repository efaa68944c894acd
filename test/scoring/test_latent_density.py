# SPDX-License-Identifier: Apache-2.0
"""
Latent density: its scale hangs neither on the number of dimensions nor on that of the images.

"""

from __future__ import annotations

import numpy as np
import pytest

from anomaly_inspection.errors import FrameError
from anomaly_inspection.learning.good_part_limits import limit_from_good
from anomaly_inspection.scoring.latent_density import LatentDensity
from anomaly_inspection.scoring.measure import BadSide


def vectors(count: int, size: int = 8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(50, 2, (count, size)).astype(np.float32)


def densities(taught: np.ndarray, others: np.ndarray) -> np.ndarray:
    density = LatentDensity.of(taught)
    return np.array([density.at(one) for one in others])


def test_is_the_formula() -> None:
    taught, others = vectors(30), vectors(10, seed=1)
    apart = np.linalg.norm(taught[:, None].astype(float) - taught, axis=2)
    np.fill_diagonal(apart, np.inf)
    spacing = np.median(apart.min(axis=1))
    nearest = np.linalg.norm(others[:, None].astype(float) - taught, axis=2).min(axis=1)
    expected = 1 / (1 + (nearest / (5 * spacing)) ** 2)
    np.testing.assert_allclose(densities(taught, others), expected, rtol=1e-4)


def test_a_taught_vector_has_one_and_a_far_one_almost_none() -> None:
    taught = vectors(20)
    np.testing.assert_array_equal(densities(taught, taught), 1.0)
    far = densities(taught, taught + 1000)
    assert (far > 0).all()
    assert (far < 1e-2).all()


@pytest.mark.parametrize(
    'change',
    [
        lambda latents: np.tile(latents, (1, 16)),
        lambda latents: np.pad(latents, ((0, 0), (0, 100))),
        lambda latents: 7 * latents,
        lambda latents: latents + 300,
    ],
    ids=['copies of dimensions', 'dead dimensions', 'unit', 'origin'],
)
def test_does_not_hang_on_the_latent_space(change) -> None:
    taught, others = vectors(40), vectors(20, seed=1)
    expected = densities(taught, others)
    np.testing.assert_allclose(densities(change(taught), change(others)), expected, rtol=1e-3)


def test_does_not_change_with_copies_of_images() -> None:
    taught, others = vectors(40), vectors(20, seed=1)
    copied = np.concatenate([taught, taught, taught[:7]])
    np.testing.assert_allclose(densities(copied, others), densities(taught, others), rtol=1e-5)


@pytest.mark.parametrize('size', [4, 64, 1024])
@pytest.mark.parametrize('count', [30, 100, 500])
def test_a_good_part_has_about_0_96(size: int, count: int) -> None:
    median = np.median(densities(vectors(count, size), vectors(60, size, seed=1)))
    assert median == pytest.approx(0.96, abs=0.02)


def test_of_very_many_vectors_an_even_choice_is_kept() -> None:
    taught = vectors(3000, 4)
    density = LatentDensity.of(taught)
    assert density.taught.shape == (1000, 4)
    # Memory holds for wide ones, too.
    assert LatentDensity.of(vectors(50, 200_000)).taught.shape[0] == 40
    others = vectors(100, 4, seed=1)
    assert np.median([density.at(one) for one in others]) == pytest.approx(0.96, abs=0.02)


@pytest.mark.parametrize('taught', [vectors(1), np.repeat(vectors(1), 9, axis=0)])
def test_one_vector_says_nothing_of_distances(taught: np.ndarray) -> None:
    with pytest.raises(FrameError, match='1 different latent vectors; needed: at least 2'):
        LatentDensity.of(taught)


def test_limits_from_good_parts_stay_clear_of_the_end_of_the_range() -> None:
    taught, held_out = vectors(150, 16), vectors(60, 16, seed=1)
    limit = limit_from_good(densities(taught, held_out), BadSide.LOW, 0.001, 0.0, 1.0).limit
    assert 0.7 < limit < 0.95
    assert densities(taught, held_out + 10).max() < limit
