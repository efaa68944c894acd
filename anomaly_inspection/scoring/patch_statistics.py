# SPDX-License-Identifier: Apache-2.0
"""
Patch statistics: how far hand-made features of every small patch lie from those of good parts.

A Gaussian is fitted to the features of the patches of good parts, at every position of a grid
(`position`) or over all of them (`pooled`, for textures that may lie anywhere), and a patch is
measured by its Mahalanobis distance: the formula of PaDiM (Defard et al., 2021,
doi:10.1007/978-3-030-68799-1_35), without a network.

"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Self, TYPE_CHECKING

import cv2
import numpy as np

from anomaly_inspection.errors import FrameError, RecipeError, SettingError
from anomaly_inspection.scoring.measure import BadSide, MeasureSpec
from anomaly_inspection.scoring.scorer import (
    check_alike,
    check_prepared,
    checked_settings,
    fitted_array,
    ScorerOutput,
    Setting,
    shape_text,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from anomaly_inspection.imaging.preprocessing import Prepared

# Every level halves the image, so the features of the last see eight times as far.
_LEVELS = 4
_DIRECTIONS = 4
# Share of the area: the mean over all of it hides what is not everywhere.
_WORST_SHARE = 0.05
# Neighbouring patches overlap by this much, in cells of the grid.
_POOLING_CELLS = 0.7
# Gray levels; less than a camera's noise leaves: only for images that are all the same.
_LEAST_DEVIATION = 0.5
_FEWEST_IMAGES = 4
# What the matrices of a recipe may take in memory; fitting takes three times that.
_MOST_BYTES = 256_000_000
# Values held at once while fitting and scoring.
_CHUNK_VALUES = 8_000_000


class PatchStatisticsScorer:
    """
    The Mahalanobis distance of the features of every patch to those of the taught good parts.

    Features, at four scales: gray level (colour images: L, a and b of CIE Lab) and strength of the
    gradient in four directions. Distances are divided by the square root of the number of
    features, so that a typical good patch lies at about 1.

    What the alignment leaves over is tolerated: a patch is compared with its own position and the
    eight around it, and the nearest counts.

    """

    name: ClassVar[str] = 'patch_statistics'
    measures: ClassVar[tuple[MeasureSpec, ...]] = (
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
            'Mean distance over the worst twentieth of the area; about 1 is typical.',
        ),
    )
    map_unit: ClassVar[str] = '1'
    settings: ClassVar[Mapping[str, Setting]] = {
        'statistics': Setting('position', choices=('position', 'pooled')),
        'stride_px': Setting(4, 2, 32),
        'prior_images': Setting(5.0, 0.0, 1000.0),
        'floor': Setting(0.01, 0.0001, 1.0),
        'tolerance_px': Setting(1.0, 0.0, 4.0),
        'neighbours': Setting(1, 0, 2),
    }
    default_settings: ClassVar[Mapping[str, Any]] = {
        key: setting.default for key, setting in settings.items()
    }

    def __init__(
        self,
        mean: NDArray[np.float32],
        whitening: NDArray[np.float32],
        typical: NDArray[np.uint8],
        judged: NDArray[np.bool_],
        settings: Mapping[str, Any],
    ) -> None:
        chosen = checked_settings(self.name, self.settings, settings)
        self._mean = mean
        self._whitening = whitening
        self._typical = typical
        self._judged = judged
        self._stride_px: int = chosen['stride_px']
        self._neighbours: int = chosen['neighbours'] if chosen['statistics'] == 'position' else 0
        self._matrices = _unpacked(whitening)

    @classmethod
    def fit(cls, images: Sequence[Prepared], settings: Mapping[str, Any]) -> Self:
        """
        Take mean and covariance of the features of good parts.

        Parameters
        ----------
        images : sequence of Prepared
            At least four; from about fifty on the covariances are worth their name. A pixel is
            judged later only when it is valid in at least half of them.
        settings : mapping
            ``statistics``: a Gaussian for every `position`, or one `pooled` over all of them.
            ``stride_px``: edge of a cell of the grid; memory goes with its inverse square.
            ``prior_images``: how many images the mean covariance of all positions counts for in
            that of each; few images need it.
            ``floor``: variance added to every feature, as a share of its mean variance.
            ``tolerance_px``: standard deviation of a shift that every position tolerates, beyond
            those of the good parts. ``neighbours``: how many cells around its position a patch
            may have come from. `pooled` uses neither.

        Raises
        ------
        SettingError
            As `Scorer.fit`, and when the matrices would take more than 256 MB.
        FrameError
            As `Scorer.fit`.

        """
        chosen = checked_settings(cls.name, cls.settings, settings)
        check_alike(images, at_least=_FEWEST_IMAGES)
        shape, stride_px = images[0].image.shape, chosen['stride_px']
        pooled = chosen['statistics'] == 'pooled'
        if not pooled:
            _check_memory(shape, stride_px)
        typical, judged = _typical_image(images)
        mean, covariance = _moments(images, typical, judged, stride_px, pooled)
        if not pooled and chosen['tolerance_px']:
            covariance += _covariance_of_shifts(typical, stride_px, chosen['tolerance_px'])
        prior = chosen['prior_images']
        whitening = _whitening(covariance, prior / (prior + len(images)), chosen['floor'])
        return cls(mean, whitening, typical, judged, chosen)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], settings: Mapping[str, Any]) -> Self:
        """
        Make the fitted scorer again from `to_arrays`; see `Scorer.from_arrays`.

        """
        chosen = checked_settings(cls.name, cls.settings, settings)
        typical = fitted_array(arrays, 'typical', np.uint8, (2, 3))
        judged = fitted_array(arrays, 'judged', np.bool_, (2,))
        mean = fitted_array(arrays, 'mean', np.float32, (3,))
        whitening = fitted_array(arrays, 'whitening', np.float32, (3,))
        if typical.ndim == 3 and typical.shape[2] != 3:
            raise RecipeError(f'typical is {shape_text(typical)}; gray or BGR is needed')
        count = _feature_count(typical.shape)
        grid = _grid(typical.shape, chosen['stride_px'])
        rows, columns = (1, 1) if chosen['statistics'] == 'pooled' else grid
        packed = count * (count + 1) // 2
        if (
            judged.shape != typical.shape[:2]
            or mean.shape != (rows, columns, count)
            or whitening.shape != (rows, columns, packed)
        ):
            raise RecipeError(
                f'sizes disagree: typical {typical.shape}, judged {judged.shape}, mean '
                f'{mean.shape}, whitening {whitening.shape}; a grid of {rows} x {columns} with '
                f'{count} features, {packed} matrix elements, is needed'
            )
        diagonal = whitening[..., _diagonal_places(count)]
        if diagonal.min() <= 0:
            raise RecipeError(
                f'the diagonal of whitening is {diagonal.min():g} somewhere; it must be positive'
            )
        return cls(mean, whitening, typical, judged, chosen)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """
        Give mean features, inverse Cholesky factors (lower triangles), mean image and judged mask.

        """
        return {
            'mean': self._mean,
            'whitening': self._whitening,
            'typical': self._typical,
            'judged': self._judged,
        }

    def score(self, prepared: Prepared) -> ScorerOutput:
        """
        Score one prepared frame; see `Scorer.score`.

        """
        check_prepared(prepared, self._typical)
        inside = prepared.valid & self._judged
        if not inside.any():
            raise FrameError('no judged pixel lies inside the valid part of the frame')
        features = _features(_filled(prepared.image, inside, self._typical), self._stride_px)
        distance = self._distance(features)
        mask = inside.view(np.uint8)
        height, width = inside.shape
        wide = cv2.resize(distance, (width, height), interpolation=cv2.INTER_LINEAR)
        anomaly_map = np.asarray(cv2.copyTo(wide, mask), np.float32)
        judged = anomaly_map[inside]
        worst = math.ceil(_WORST_SHARE * judged.size)
        return ScorerOutput(
            measures={
                'peak_distance': float(judged.max()),
                'worst_mean_distance': float(np.partition(judged, -worst)[-worst:].mean()),
            },
            anomaly_map=anomaly_map,
        )

    def _distance(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """
        Give the distance of every patch to the nearest of the Gaussians around its position.

        """
        rows, columns, count = features.shape
        if self._mean.shape[:2] == (1, 1):
            white = (features - self._mean) @ self._matrices[0, 0].T
            return np.asarray(np.sqrt(np.einsum('rcf,rcf->rc', white, white) / count), np.float32)
        reach = self._neighbours
        offsets = [
            (down, right)
            for down in range(-reach, reach + 1)
            for right in range(-reach, reach + 1)
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
                np.subtract(nearby, self._mean[start:stop], out=apart[..., index])
            white = self._matrices[start:stop] @ apart
            squares[:, start:stop] = np.einsum('rcfo,rcfo->orc', white, white)
        return np.asarray(np.sqrt(_nearest(squares, offsets) / count), np.float32)


def smallest_stride_px(shape: Sequence[int], least_px: int) -> int:
    """
    Give the smallest stride, from `least_px` on, whose matrices for images of this shape fit.

    """
    stride_px = least_px
    while _matrix_bytes(shape, stride_px) > _MOST_BYTES:
        stride_px += 1
    return stride_px


def _check_memory(shape: Sequence[int], stride_px: int) -> None:
    """
    Raise SettingError when the matrices of a grid would not fit.

    """
    needed = _matrix_bytes(shape, stride_px)
    if needed > _MOST_BYTES:
        raise SettingError(
            f'patch_statistics.stride_px is {stride_px}: the matrices for an image of '
            f'{shape[1]}x{shape[0]} would take {needed / 1e6:.0f} MB; allowed: '
            f'{_MOST_BYTES / 1e6:.0f} MB, which is stride_px '
            f'{smallest_stride_px(shape, stride_px)} and more, or statistics pooled'
        )


def _matrix_bytes(shape: Sequence[int], stride_px: int) -> int:
    rows, columns = _grid(shape, stride_px)
    return 4 * rows * columns * _feature_count(shape) ** 2


def _grid(shape: Sequence[int], stride_px: int) -> tuple[int, int]:
    """
    Give rows and columns of the grid of patches.

    """
    return max(1, round(shape[0] / stride_px)), max(1, round(shape[1] / stride_px))


def _feature_count(shape: Sequence[int]) -> int:
    return _LEVELS * ((3 if len(shape) == 3 else 1) + _DIRECTIONS)


def _features(image: NDArray[np.uint8], stride_px: int) -> NDArray[np.float32]:
    """
    Give the features of every patch, gray levels, (rows, columns, features).

    """
    rows, columns = _grid(image.shape, stride_px)
    if image.ndim == 3:
        image = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2Lab), np.uint8)
    planes = [np.asarray(plane, np.float32) for plane in cv2.split(image)]
    found = []
    for level in range(_LEVELS):
        if level:
            size = (planes[0].shape[1] + 1) // 2, (planes[0].shape[0] + 1) // 2
            planes = [
                np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_AREA), np.float32)
                for plane in planes
            ]
        for plane in (*planes, *_gradients(planes[0])):
            shrinks = plane.shape[0] > rows
            found.append(
                cv2.resize(
                    plane,
                    (columns, rows),
                    interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR,
                )
            )
    return np.asarray(
        cv2.GaussianBlur(cv2.merge(found), (0, 0), _POOLING_CELLS, borderType=cv2.BORDER_REFLECT),
        np.float32,
    )


def _gradients(plane: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """
    Give the strength of the gradient in every direction.

    """
    border = cv2.BORDER_REFLECT
    across = np.asarray(cv2.Sobel(plane, -1, 1, 0, scale=0.25, borderType=border), np.float32)
    down = np.asarray(cv2.Sobel(plane, -1, 0, 1, scale=0.25, borderType=border), np.float32)
    for direction in range(_DIRECTIONS):
        angle = math.pi * direction / _DIRECTIONS
        along = cv2.addWeighted(across, math.cos(angle), down, math.sin(angle), 0.0)
        yield np.abs(np.asarray(along, np.float32))


def _filled(
    image: NDArray[np.uint8], inside: NDArray[np.bool_], typical: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """
    Give the image with the typical one outside of what is judged: patches reach over its border.

    """
    if inside.all():
        return image
    return np.where(inside if image.ndim == 2 else inside[..., None], image, typical)


def _typical_image(
    images: Sequence[Prepared],
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """
    Give the mean of the images where they are valid, and where at least half of them are.

    """
    shape = images[0].image.shape
    total = np.zeros(shape, np.int32)
    count = np.zeros(shape[:2], np.int32)
    for prepared in images:
        valid = prepared.valid if len(shape) == 2 else prepared.valid[..., None]
        total += prepared.image * valid
        count += prepared.valid
    each = np.maximum(count if len(shape) == 2 else count[..., None], 1)
    judged = np.asarray(count >= max(2, len(images) / 2))
    if not judged.any():
        raise FrameError(f'no pixel is valid in half of the {len(images)} good images')
    return np.rint(total / each).astype(np.uint8), judged


def _moments(
    images: Sequence[Prepared],
    typical: NDArray[np.uint8],
    judged: NDArray[np.bool_],
    stride_px: int,
    pooled: bool,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """
    Give mean and covariance of the features: (rows, columns, f), (rows, columns, f, f).

    Every image counts at the positions where it is valid. One row and column when pooled.

    """
    # Sums of differences to it stay small enough for single precision.
    origin = _features(typical, stride_px)
    rows, columns, count = origin.shape
    grid = (1, 1) if pooled else (rows, columns)
    samples = np.zeros(grid, np.float32)
    total = np.zeros((*grid, count), np.float32)
    products = np.zeros((*grid, count, count), np.float32)
    if pooled:
        origin = origin.mean(axis=(0, 1), keepdims=True)
    at_once = max(1, _CHUNK_VALUES // (rows * columns * count))
    for start in range(0, len(images), at_once):
        some = images[start : start + at_once]
        weights = np.stack([_weights(one.valid & judged, (rows, columns)) for one in some])
        features = np.stack(
            [_features(_filled(one.image, one.valid & judged, typical), stride_px) for one in some]
        )
        features -= origin
        features *= weights[..., None]
        # To (row, column, sample, feature); pooled, every position is a sample.
        features = features.reshape(1, 1, -1, count) if pooled else features.transpose(1, 2, 0, 3)
        samples += weights.sum() if pooled else weights.sum(axis=0)
        total += features.sum(axis=2)
        products += features.swapaxes(2, 3) @ features
    each = np.maximum(samples, 1)[..., None]
    mean = np.asarray(total / each, np.float32)
    covariance = products
    covariance -= (each * mean)[..., :, None] * mean[..., None, :]
    covariance /= np.maximum(samples - 1, 1)[..., None, None]
    return np.asarray(mean + origin, np.float32), covariance


def _covariance_of_shifts(
    typical: NDArray[np.uint8], stride_px: int, deviation_px: float
) -> NDArray[np.float32]:
    """
    Give the covariance that shifts bring into the features, by those of one pixel each way.

    Of the typical image, which is sharper than the features' mean, and one step is taken as
    straight: enough for the pixel or two that an alignment leaves.

    """
    height, width = typical.shape[:2]
    origin = _features(typical, stride_px)
    changes = []
    for right, down in ((1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0)):
        shift = np.array([[1.0, 0.0, right], [0.0, 1.0, down]])
        moved = cv2.warpAffine(typical, shift, (width, height), borderMode=cv2.BORDER_REPLICATE)
        changes.append(_features(np.asarray(moved, np.uint8), stride_px) - origin)
    change = np.stack(changes, axis=2) * np.float32(deviation_px * math.sqrt(0.5))
    return np.asarray(change.swapaxes(2, 3) @ change, np.float32)


def _weights(valid: NDArray[np.bool_], grid: tuple[int, int]) -> NDArray[np.float32]:
    """
    Tell which patches lie in the valid part with at least half of their area: 1 or 0.

    """
    share = cv2.resize(valid.astype(np.float32), grid[::-1], interpolation=cv2.INTER_AREA)
    return (np.asarray(share) >= 0.5).astype(np.float32)


def _whitening(
    covariance: NDArray[np.float32], shrinkage: float, floor: float
) -> NDArray[np.float32]:
    """
    Give the inverse Cholesky factor of every regularised covariance, packed: (rows, columns, n).

    With every feature in its own mean deviation, (1 - shrinkage) * covariance
    + shrinkage * mean covariance + floor * identity. Overwrites the covariance.

    """
    rows, columns, count = covariance.shape[:3]
    variances = np.diagonal(covariance, axis1=2, axis2=3).mean(axis=(0, 1))
    scale = np.sqrt(np.maximum(variances, _LEAST_DEVIATION**2)).astype(np.float32)
    covariance /= scale[:, None] * scale
    pooled = covariance.mean(axis=(0, 1), dtype=np.float64)
    common = (shrinkage * pooled + floor * np.eye(count)).astype(np.float32)
    packed = np.empty((rows, columns, count * (count + 1) // 2), np.float32)
    below = np.tril_indices(count)
    for row in range(rows):
        regular = np.asarray((1 - shrinkage) * covariance[row] + common, np.float64)
        factor = np.linalg.inv(np.linalg.cholesky(regular)) / scale
        packed[row] = factor[:, below[0], below[1]]
    return packed


def _unpacked(packed: NDArray[np.float32]) -> NDArray[np.float32]:
    """
    Give the matrices whose lower triangles are packed.

    """
    rows, columns, elements = packed.shape
    count = (math.isqrt(8 * elements + 1) - 1) // 2
    matrices = np.zeros((rows, columns, count, count), np.float32)
    below = np.tril_indices(count)
    matrices[:, :, below[0], below[1]] = packed
    return matrices


def _diagonal_places(count: int) -> NDArray[np.intp]:
    """
    Give where the diagonal of a matrix lies in its packed lower triangle.

    """
    index = np.arange(count)
    return np.asarray(index * (index + 3) // 2, np.intp)


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
    Give what is left of 0 .. end after it was moved.

    """
    return slice(max(by, 0), end + min(by, 0))
