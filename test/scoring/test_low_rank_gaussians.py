# SPDX-License-Identifier: Apache-2.0
"""
Gaussians of many features at every position, from more parts than their directions are taken from.

"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
import pytest

from anomaly_inspection.scoring.low_rank_gaussians import LowRankDistance

ROWS, COLUMNS, COUNT = 2, 2, 12


@dataclass(frozen=True)
class Source:
    """
    Parts that are their features.

    """

    images: list[Any]

    def of(self, part: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return part, np.ones((ROWS, COLUMNS), np.float32)


@pytest.mark.parametrize('count', [60, 100, 150, 245, 300])
def test_every_kind_of_part_counts_however_many_there_are(count: int) -> None:
    # Parts and their moved copies take turns; only the copies vary in the first feature.
    rng = np.random.default_rng(count)
    parts = rng.normal(0.0, 1.0, (2 * count, ROWS, COLUMNS, COUNT)).astype(np.float32)
    parts[::2, ..., 0] = 0.0
    parts[1::2, ..., 0] *= 12.0
    source: Any = Source(list(parts))
    distance = LowRankDistance.fit(source, 4, 5.0, neighbours=0)
    along, across = np.zeros((2, ROWS, COLUMNS, COUNT), np.float32)
    along[..., 0] = across[..., 1] = 12.0
    assert distance.of(along).max() < 0.3 * distance.of(across).min()


@pytest.mark.parametrize('count', [COUNT - 2, COUNT - 1, COUNT, COUNT + 1, 3 * COUNT])
def test_the_distance_is_that_of_the_covariance_where_no_direction_is_left_out(count: int) -> None:
    rng = np.random.default_rng(count)
    shape = (count, ROWS, COLUMNS, COUNT)
    parts = (rng.normal(size=shape) * np.arange(1, COUNT + 1)).astype(np.float32)
    source: Any = Source(list(parts))
    distance = LowRankDistance.fit(source, COUNT - 1, 5.0, neighbours=0)
    features = rng.normal(0.0, 5.0, shape[1:]).astype(np.float32)
    found = distance.of(features)
    for place in np.ndindex(ROWS, COLUMNS):
        here = parts[:, place[0], place[1]].astype(np.float64)
        values, vectors = np.linalg.eigh(np.cov(here, rowvar=False))
        # With fewer parts than features, what they do not show has one variance.
        shown = min(COUNT - 1, count - 1)
        values[: COUNT - shown] = values[: COUNT - shown].mean()
        share = 5.0 / (5.0 + count)
        # Along no direction less is counted than in those that are left out.
        values = np.maximum((1 - share) * values + share, ((1 - share) * values + share)[0])
        apart = vectors.T @ (features[place] - here.mean(axis=0))
        expected = np.sqrt(np.sum(apart**2 / values) / COUNT)
        assert found[place] == pytest.approx(expected, rel=1e-3)
