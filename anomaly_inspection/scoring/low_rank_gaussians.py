# SPDX-License-Identifier: Apache-2.0
"""
Gaussians of many features at every position, described by few numbers each.

A covariance matrix at every position takes more memory, and more good parts, than there are. Here
all positions share one covariance, which whitens the features. Each position has the directions in
which its good parts vary most, and one variance for all others: probabilistic principal components
(Tipping and Bishop, 1999, doi:10.1111/1467-9868.00196).

"""

from __future__ import annotations

from typing import Any, Self, TYPE_CHECKING

import numpy as np

from anomaly_inspection.errors import RecipeError
from anomaly_inspection.scoring import one_pass
from anomaly_inspection.scoring.patch_distance import nearest_of_positions, squared_lengths
from anomaly_inspection.scoring.patch_gaussians import unpacked, whitening_matrices
from anomaly_inspection.scoring.scorer import fitted_array

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from anomaly_inspection.imaging.preprocessing import Prepared
    from anomaly_inspection.scoring.patch_gaussians import PatchSource

# Directions come from so many images at most: more cost time and hardly help.
_MOST_IMAGES = 256
_SEED = 1
# How many images the covariance of all patches counts for.
_PRIOR_IMAGES = 3
# Values held at once while fitting.
_CHUNK_VALUES = 32_000_000


def shared_whitening(
    patches: PatchSource, floor: float, least_deviation: float
) -> NDArray[np.float64]:
    """
    Give the matrix, (f, f), that makes the mean covariance of all positions the identity.

    The covariance of all patches, wherever they lie, counts in it as much as three images. Few
    images, or copies of one, do not show how far a position varies. (With 8 copies of one image of
    eleven real products, this raised the mean AUROC from .65 to .74; with 10 or more different
    images it changed nothing.)

    Parameters
    ----------
    patches : PatchSource
        Of good parts.
    floor, least_deviation : float
        See `whitening_matrices`.

    """
    mean, samples = _mean_of_positions(patches)
    count = mean.shape[2]
    centre = mean[samples > 0].mean(axis=0)
    scatter, everywhere, patch_count = np.zeros((count, count)), np.zeros((count, count)), 0
    for part in patches.images:
        features, weights = patches.of(part)
        used = weights > 0
        apart = (features - mean)[used]
        scatter += apart.T @ apart
        apart = features[used] - centre
        everywhere += apart.T @ apart
        patch_count += len(apart)
    covariance = scatter / max(float(np.maximum(samples - 1, 0).sum()), 1.0)
    images = len(patches.images)
    covariance = (images * covariance + _PRIOR_IMAGES * everywhere / max(patch_count, 1)) / (
        images + _PRIOR_IMAGES
    )
    packed = whitening_matrices(
        covariance[None, None].astype(np.float32), 0.0, floor, least_deviation
    )
    return np.asarray(unpacked(packed)[0, 0], np.float64)


class LowRankDistance:
    """
    The Mahalanobis distance of white features to the Gaussians at and around their position.

    It is divided by the square root of the number of features, so a typical good patch lies at
    about 1.

    Parameters
    ----------
    mean : ndarray of float32, (rows, columns, f)
        Of every position.
    directions : ndarray of float32, (rows, columns, rank, f)
        In which a position varies more; their length says by how much.
    precision : ndarray of float32, (rows, columns)
        One by the variance in all other directions.
    neighbours : int
        How many cells around its position a patch may have come from.

    """

    def __init__(
        self,
        mean: NDArray[np.float32],
        directions: NDArray[np.float32],
        precision: NDArray[np.float32],
        *,
        neighbours: int,
    ) -> None:
        self._mean = mean
        self._directions = directions
        self._precision = precision
        self._neighbours = neighbours

    @classmethod
    def fit(cls, patches: PatchSource, rank: int, prior_images: float, *, neighbours: int) -> Self:
        """
        Take the Gaussians from good parts.

        Parameters
        ----------
        patches : PatchSource
            With white features.
        rank : int
            How many directions to keep, fewer where there are fewer images.
        prior_images : float
            How many images the shared covariance counts for at each position.
        neighbours : int
            See above.

        """
        mean, _ = _mean_of_positions(patches)
        rows, columns, count = mean.shape
        images = _some(patches.images)
        rank = min(rank, len(images) - 1, count - 1)
        directions = np.empty((rows, columns, rank, count), np.float32)
        precision = np.empty((rows, columns), np.float32)
        chunk = max(1, _CHUNK_VALUES // (columns * count * len(images)))
        for start in range(0, rows, chunk):
            some = slice(start, min(start + chunk, rows))
            apart = np.empty((some.stop - start, columns, len(images), count), np.float32)
            used = np.zeros((some.stop - start, columns), np.float32)
            for index, part in enumerate(images):
                features, weights = patches.of(part)
                apart[:, :, index] = (features - mean)[some] * weights[some, :, None]
                used += weights[some]
            variances, found = _largest_variances(apart, np.maximum(used - 1, 1), rank)
            share = (prior_images / (prior_images + used))[..., None]
            variances = (1 - share) * variances + share
            rest, largest = variances[..., 0], variances[..., 1:]
            precision[some] = 1 / rest
            weight = np.sqrt(np.maximum(precision[some, :, None] - 1 / largest, 0))
            directions[some] = found * weight[..., None]
        return cls(mean, directions, precision, neighbours=neighbours)

    @classmethod
    def from_arrays(
        cls,
        arrays: Mapping[str, NDArray[Any]],
        grid: tuple[int, int],
        count: int,
        rank: int,
        *,
        neighbours: int,
    ) -> Self:
        """
        Make the Gaussians again from `to_arrays`.

        Raises
        ------
        RecipeError
            When an array is missing or does not fit a grid of positions with so many features.

        """
        mean = fitted_array(arrays, 'mean', np.float32, (3,))
        directions = fitted_array(arrays, 'directions', np.float32, (4,))
        precision = fitted_array(arrays, 'precision', np.float32, (2,))
        if (
            mean.shape != (*grid, count)
            or precision.shape != grid
            or directions.shape != (*grid, min(directions.shape[2], rank), count)
        ):
            raise RecipeError(
                f'sizes disagree: mean {mean.shape}, directions {directions.shape}, precision '
                f'{precision.shape}; a grid of {grid[0]} x {grid[1]} with {count} features and '
                f'{rank} directions at most is needed'
            )
        if precision.min() <= 0:
            raise RecipeError(f'precision is {precision.min():g} somewhere; it must be positive')
        return cls(mean, directions, precision, neighbours=neighbours)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """
        Give mean, directions and precision.

        """
        return {
            'mean': self._mean,
            'directions': self._directions,
            'precision': self._precision,
        }

    def of(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """
        Give the distance of every patch, (rows, columns), from its features, (rows, columns, f).

        """

        def squares(apart: NDArray[np.float32], some: slice) -> NDArray[np.float32]:
            along = self._directions[some] @ apart
            return squared_lengths(apart) * self._precision[some] - squared_lengths(along)

        if self._neighbours == one_pass.PATCH_REACH and one_pass.is_built():
            nearest = one_pass.nearest_of_positions(
                features, self._mean, self._directions, self._precision
            )
        else:
            nearest = nearest_of_positions(features, self._mean, self._neighbours, squares)
        return np.asarray(np.sqrt(np.maximum(nearest, 0) / features.shape[2]), np.float32)


def _some(images: Sequence[Prepared]) -> list[Prepared]:
    """
    Give `_MOST_IMAGES` of them at most, drawn at random, always the same ones.

    Every second or third one would not do: parts and their moved copies take turns.

    """
    drawn = np.random.default_rng(_SEED).permutation(len(images))[:_MOST_IMAGES]
    return [images[index] for index in np.sort(drawn)]


def _mean_of_positions(
    patches: PatchSource,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """
    Give the mean of the features at every position, and how many images are valid there.

    """
    first, weights = patches.of(patches.images[0])
    total, everywhere = np.zeros(first.shape), np.zeros(first.shape)
    samples = np.zeros(weights.shape, np.float32)
    for part in patches.images:
        features, weights = patches.of(part)
        everywhere += features
        total += features * weights[..., None]
        samples += weights
    mean = total / np.maximum(samples, 1)[..., None]
    # A cell at the border may be valid nowhere, and yet reach into the judged area.
    is_unknown = (samples == 0)[..., None]
    mean = np.where(is_unknown, everywhere / len(patches.images), mean)
    return np.asarray(mean, np.float32), samples


def _largest_variances(
    apart: NDArray[np.float32], freedom: NDArray[np.float32], rank: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """
    Give the mean variance of all other directions, then the largest ones; and their directions.

    Parameters
    ----------
    apart : ndarray of float32, (rows, columns, images, f)
        Differences to the mean.
    freedom : ndarray of float32, (rows, columns)
        Degrees of freedom.
    rank : int
        How many directions; fewer than images and features.

    Returns
    -------
    variances : ndarray of float32, (rows, columns, 1 + rank)
    directions : ndarray of float32, (rows, columns, rank, f)
        Of unit length.

    """
    images, count = apart.shape[2:]
    across = apart.swapaxes(2, 3)
    # From image to image or from feature to feature: the eigenvalues are the same.
    products = apart @ across if images < count else across @ apart
    products /= freedom[..., None, None]
    values, vectors = np.linalg.eigh(products)
    largest = np.maximum(values[..., : -rank - 1 : -1], 0)
    directions = vectors[..., : -rank - 1 : -1].swapaxes(2, 3)
    if images < count:
        directions = directions @ apart
        lengths = np.linalg.norm(directions, axis=3, keepdims=True)
        directions /= np.maximum(lengths, 1e-12)
    total = np.trace(products, axis1=2, axis2=3)
    rest = np.maximum(total - largest.sum(axis=2), 0) / (count - rank)
    return np.concatenate([rest[..., None], largest], axis=2), directions
