# SPDX-License-Identifier: Apache-2.0
"""
Distances of patches: C++ and NumPy find the same, and the measures are those of the map.

"""

from __future__ import annotations

import math

from hypothesis import given, settings, strategies
import numpy as np
from numpy.typing import NDArray
import pytest

from anomaly_inspection.scoring import one_pass
from anomaly_inspection.scoring.low_rank_gaussians import LowRankDistance
from anomaly_inspection.scoring.patch_distance import patch_output, PatchDistance

needs_cpp = pytest.mark.skipif(not one_pass.is_built(), reason='the C++ function is not built')


def by_numpy(
    distance: PatchDistance | LowRankDistance, features: NDArray[np.float32]
) -> NDArray[np.float32]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(one_pass, '_library', None)
        return distance.of(features)


@needs_cpp
@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    strategies.integers(0, 2**32 - 1),
    strategies.integers(1, 9),
    strategies.integers(1, 9),
    strategies.integers(1, 14),
    strategies.integers(0, 6),
)
def test_both_ways_find_the_same_whatever_the_size(
    seed: int, rows: int, columns: int, count: int, rank: int
) -> None:
    rng = np.random.default_rng(seed)

    def numbers(*shape: int) -> NDArray[np.float32]:
        return rng.normal(size=(rows, columns, *shape)).astype(np.float32)

    features, mean = numbers(count), numbers(count)
    packed = count * (count + 1) // 2
    distances = [PatchDistance(mean, numbers(packed), is_pooled=False, neighbours=1)]
    kinds = rng.normal(size=(1, rank + 1, count)).astype(np.float32)
    matrices = rng.normal(size=(1, rank + 1, packed)).astype(np.float32)
    distances.append(PatchDistance(kinds, matrices, is_pooled=True, neighbours=0))
    if rank:
        # Variance along a direction is more, so less is counted there.
        directions = 0.1 * numbers(rank, count)
        precision = np.full((rows, columns), 2.0, np.float32)
        distances.append(LowRankDistance(mean, directions, precision, neighbours=1))
    for distance in distances:
        found = distance.of(features)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, by_numpy(distance, features), rtol=1e-4, atol=1e-4)


@needs_cpp
def test_features_that_are_views_are_compared_as_they_look() -> None:
    rng = np.random.default_rng(4)
    mean = rng.normal(size=(6, 7, 5)).astype(np.float32)
    distance = PatchDistance(
        mean, rng.normal(size=(6, 7, 15)).astype(np.float32), is_pooled=False, neighbours=1
    )
    view = rng.normal(size=(6, 14, 10)).astype(np.float32)[:, ::2, ::2]
    assert (distance.of(view) == distance.of(np.ascontiguousarray(view))).all()


@needs_cpp
def test_a_feature_that_is_not_a_number_is_not_hidden_by_the_positions_around() -> None:
    features = np.zeros((5, 5, 3), np.float32)
    features[2, 2, 1] = np.nan
    whitening = np.ones((5, 5, 6), np.float32)
    for is_pooled in (False, True):
        distance = PatchDistance(
            np.zeros_like(features), whitening, is_pooled=is_pooled, neighbours=not is_pooled
        )
        is_unknown = np.isnan(distance.of(features))
        assert is_unknown[2, 2]
        assert is_unknown.sum() == 1


@pytest.mark.parametrize('shape', [(1, 1), (3, 40), (60, 80), (333, 517)])
@pytest.mark.parametrize('kind', ['noise', 'ramp', 'flat', 'one peak'])
def test_the_measures_are_those_of_the_judged_part_of_the_map(
    shape: tuple[int, int], kind: str
) -> None:
    rng = np.random.default_rng(7)
    grid = max(1, shape[0] // 4), max(1, shape[1] // 4)
    distance = np.ones(grid, np.float32)
    if kind == 'noise':
        distance = rng.gamma(2.0, 1.0, grid).astype(np.float32)
    elif kind == 'ramp':
        distance = np.linspace(0, 9, grid[0] * grid[1], dtype=np.float32).reshape(grid)
    elif kind == 'one peak':
        distance[grid[0] // 2, grid[1] // 2] = 50
    for inside in (np.ones(shape, bool), rng.random(shape) < 0.7):
        inside[0, 0] = True
        output = patch_output(distance, inside)
        judged = np.sort(output.anomaly_map[inside])
        assert not output.anomaly_map[~inside].any()
        assert output.measures['peak_distance'] == judged[-1]
        worst = judged[-math.ceil(0.01 * judged.size) :]
        assert output.measures['worst_mean_distance'] == pytest.approx(worst.mean(), rel=1e-6)
