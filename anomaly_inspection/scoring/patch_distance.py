# SPDX-License-Identifier: Apache-2.0
"""
How far patches lie from Gaussians, and what a scorer measures in these distances.

Shared by the scorers that fit Gaussians to patches (`patch_gaussians.py`): `patch_statistics` with
hand-made features, `features` with those of a network.

"""

from __future__ import annotations

import functools
import math
from typing import Any, Self, TYPE_CHECKING

import cv2
import numpy as np

from anomaly_inspection.errors import RecipeError
from anomaly_inspection.scoring import one_pass
from anomaly_inspection.scoring.measure import BadSide, MeasureSpec
from anomaly_inspection.scoring.patch_gaussians import diagonal_places, unpacked
from anomaly_inspection.scoring.scorer import fitted_array, ScorerOutput

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

PATCH_MEASURES = (
    MeasureSpec(
        'peak_distance',
        '1',
        BadSide.HIGH,
        'Largest distance of a patch from those of the good parts; about 1 is typical.',
    ),
    MeasureSpec(
        'worst_mean_distance',
        '1',
        BadSide.HIGH,
        'Mean distance over the worst hundredth of the area; about 1 is typical.',
    ),
)
# Most memory for the matrices of a recipe; fitting takes three times as much.
MOST_MATRIX_BYTES = 256_000_000
# Share of the area: a mean over all of it would hide a local defect.
_WORST_SHARE = 0.01
# The largest values of a map are looked for in every so manieth first.
_SAMPLED_EVERY = 37
# Values held at once while scoring.
_CHUNK_VALUES = 8_000_000


class PatchDistance:
    """
    The Mahalanobis distance of patches to the nearest Gaussian.

    Distances are divided by the square root of the number of features, so a typical good patch
    lies at about 1.

    Parameters
    ----------
    mean : ndarray of float32, (rows, columns, f)
        Of every Gaussian; one row when pooled.
    whitening : ndarray of float32, (rows, columns, n)
        Packed, as `whitening_matrices` gives it.
    is_pooled : bool
        True: any Gaussian may explain any patch. False: those at and around the patch's position.
    neighbours : int
        How many cells around its position a patch may have come from, unless pooled.

    """

    def __init__(
        self,
        mean: NDArray[np.float32],
        whitening: NDArray[np.float32],
        *,
        is_pooled: bool,
        neighbours: int,
    ) -> None:
        self._mean = mean
        self._whitening = whitening
        self._is_pooled = is_pooled
        self._neighbours = neighbours

    @functools.cached_property
    def _matrices(self) -> NDArray[np.float32]:
        # Where C++ takes the packed ones, this would only take memory.
        return unpacked(self._whitening)

    @classmethod
    def from_arrays(
        cls,
        arrays: Mapping[str, NDArray[Any]],
        grid: tuple[int, int],
        count: int,
        *,
        kinds: int,
        neighbours: int,
    ) -> Self:
        """
        Take 'mean' and 'whitening' out of a recipe's statistics.

        Parameters
        ----------
        arrays : mapping of str to ndarray
            The recipe's.
        grid : tuple of int
            Rows and columns of the patches of an image.
        count : int
            Features of a patch.
        kinds : int
            When pooled, the number of Gaussians, or a few less where there were few patches; 0
            when there is one for every position.
        neighbours : int
            As above.

        Raises
        ------
        RecipeError
            When an array is missing or does not fit.

        """
        mean = fitted_array(arrays, 'mean', np.float32, (3,))
        whitening = fitted_array(arrays, 'whitening', np.float32, (3,))
        rows, columns = (1, min(max(mean.shape[1], 1), kinds)) if kinds else grid
        packed = count * (count + 1) // 2
        if mean.shape != (rows, columns, count) or whitening.shape != (rows, columns, packed):
            raise RecipeError(
                f'sizes disagree: mean {mean.shape}, whitening {whitening.shape}; a grid of '
                f'{rows} x {columns} with {count} features, {packed} matrix elements, is needed'
            )
        diagonal = whitening[..., diagonal_places(count)]
        if diagonal.min() <= 0:
            raise RecipeError(
                f'the diagonal of whitening is {diagonal.min():g} somewhere; it must be positive'
            )
        return cls(mean, whitening, is_pooled=bool(kinds), neighbours=neighbours)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """
        Give 'mean' and 'whitening'.

        """
        return {'mean': self._mean, 'whitening': self._whitening}

    def of(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """
        Give the distance of every patch, (rows, columns), from its features, (rows, columns, f).

        """
        count = features.shape[2]
        if self._is_pooled:
            if one_pass.is_built():
                squares = one_pass.nearest_of_kinds(features, self._mean[0], self._whitening[0])
            else:
                squares = _squares_of_kinds(features, self._mean[0], self._matrices[0]).min(axis=0)
        elif self._neighbours == one_pass.PATCH_REACH and one_pass.is_built():
            squares = one_pass.nearest_of_positions(features, self._mean, self._whitening)
        else:
            matrices = self._matrices
            squares = nearest_of_positions(
                features,
                self._mean,
                self._neighbours,
                lambda apart, some: squared_lengths(matrices[some] @ apart),
            )
        return np.asarray(np.sqrt(squares / count), np.float32)


def nearest_of_positions(
    features: NDArray[np.float32],
    mean: NDArray[np.float32],
    reach: int,
    squares_of: Callable[[NDArray[np.float32], slice], NDArray[np.float32]],
) -> NDArray[np.float32]:
    """
    Give the squared distance of every patch to the nearest of the positions around its own.

    Parameters
    ----------
    features, mean : ndarray of float32, (rows, columns, f)
        Of the patches and of the positions.
    reach : int
        How many cells away a position may be.
    squares_of : callable
        Gives squared distances, (offsets, rows, columns), from differences to the mean of some
        rows of positions, (rows, columns, f, offsets), and these rows.

    """
    rows, columns, count = features.shape
    offsets = [
        (down, right) for down in range(-reach, reach + 1) for right in range(-reach, reach + 1)
    ]
    padded = np.pad(features, ((reach, reach), (reach, reach), (0, 0)), mode='edge')
    squares = np.empty((len(offsets), rows, columns), np.float32)
    chunk = max(1, _CHUNK_VALUES // (columns * count * len(offsets)))
    for start in range(0, rows, chunk):
        stop = min(start + chunk, rows)
        apart = np.empty((stop - start, columns, count, len(offsets)), np.float32)
        for index, (down, right) in enumerate(offsets):
            top, left = start + reach + down, reach + right
            nearby = padded[top : top + stop - start, left : left + columns]
            np.subtract(nearby, mean[start:stop], out=apart[..., index])
        squares[:, start:stop] = squares_of(apart, slice(start, stop))
    return _nearest(squares, offsets)


def squared_lengths(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """
    Give the squared lengths, (offsets, rows, columns), of vectors (rows, columns, f, offsets).

    """
    return np.asarray(np.einsum('rcfo,rcfo->orc', vectors, vectors), np.float32)


def patch_output(
    distance: NDArray[np.float32],
    inside: NDArray[np.bool_],
    to_patches: NDArray[np.float64] | None = None,
) -> ScorerOutput:
    """
    Give the `PATCH_MEASURES` and the anomaly map.

    Parameters
    ----------
    distance : ndarray of float32, (rows, columns)
        Of every patch.
    inside : ndarray of bool, (h, w)
        The pixels that are judged, at least one.
    to_patches : ndarray of float64, (2, 3), optional
        Affine map from pixels to columns and rows of the patches. By default the patches cover the
        image.

    """
    height, width = inside.shape
    if to_patches is None:
        laid = cv2.resize(distance, (width, height), interpolation=cv2.INTER_LINEAR)
    else:
        laid = cv2.warpAffine(
            distance,
            to_patches,
            (width, height),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
    anomaly_map = np.asarray(laid, np.float32)
    judged = cv2.countNonZero(inside.view(np.uint8))
    if judged < inside.size:
        anomaly_map = np.asarray(cv2.copyTo(anomaly_map, inside.view(np.uint8)), np.float32)
    # What is not judged is 0, which is least.
    worst = _largest(anomaly_map.ravel(), math.ceil(_WORST_SHARE * judged))
    return ScorerOutput(
        measures={
            'peak_distance': float(worst.max()),
            'worst_mean_distance': float(worst.mean()),
        },
        anomaly_map=anomaly_map,
    )


def _largest(values: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """
    Give the largest values, in ascending order, without looking at most of the others twice.

    """
    some = values[::_SAMPLED_EVERY]
    # So deep in a sample, hardly ever fewer than `count` of all values are larger.
    depth = min(some.size, 2 * (count // _SAMPLED_EVERY) + 8)
    candidates = values[values >= np.partition(some, -depth)[-depth]]
    if candidates.size < count:
        candidates = values
    return np.sort(np.partition(candidates, -count)[-count:])


def _nearest(
    squares: NDArray[np.float32], offsets: Sequence[tuple[int, int]]
) -> NDArray[np.float32]:
    """
    Give for every patch the smallest of its distances to the positions around it.

    Parameters
    ----------
    squares : ndarray of float32, (offsets, rows, columns)
        For every position, the squared distance to it of the patch at an offset from it.
    offsets : sequence of (int, int)
        Rows down and columns right.

    """
    rows, columns = squares.shape[1:]
    nearest = np.full((rows, columns), np.inf, np.float32)
    for square, (down, right) in zip(squares, offsets, strict=True):
        # The patch at (r, c) is the one at this offset from the position (r - down, c - right).
        place = nearest[_moved(down, rows), _moved(right, columns)]
        origin = square[_moved(-down, rows), _moved(-right, columns)]
        np.minimum(place, origin, out=place)
    return nearest


def _moved(by: int, end: int) -> slice:
    """
    Give the part of 0 .. end that stays inside after a move.

    """
    return slice(max(by, 0), end + min(by, 0))


def _squares_of_kinds(
    features: NDArray[np.float32], means: NDArray[np.float32], matrices: NDArray[np.float32]
) -> NDArray[np.float32]:
    """
    Give the squared distance of every patch to every kind, (kinds, rows, columns).

    """
    squares = np.empty((len(means), *features.shape[:2]), np.float32)
    for square, mean, matrix in zip(squares, means, matrices, strict=True):
        white = (features - mean) @ matrix.T
        np.einsum('rcf,rcf->rc', white, white, out=square)
    return squares
