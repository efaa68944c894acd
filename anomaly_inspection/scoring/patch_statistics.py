# SPDX-License-Identifier: Apache-2.0
"""
Patch statistics: how far hand-made features of every small patch lie from those of good parts.

Gaussians are fitted to the features of the patches of good parts: one at every position of a grid
(`position`), or one for each kind of patch wherever it lies (`pooled`; k-means finds the kinds).
The score of a patch is its Mahalanobis distance to the nearest Gaussian. This is the formula of
PaDiM (Defard et al., 2021, doi:10.1007/978-3-030-68799-1_35) without a network.

"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Self, TYPE_CHECKING

import cv2
import numpy as np

from anomaly_inspection.errors import FrameError, RecipeError, SettingError
from anomaly_inspection.scoring.measure import BadSide, MeasureSpec
from anomaly_inspection.scoring.patch_features import (
    feature_count,
    grid_shape,
    patch_features,
    SURFACES,
)
from anomaly_inspection.scoring.patch_gaussians import (
    covariance_of_shifts,
    diagonal_places,
    filled_up,
    moments_of_kinds,
    moments_of_positions,
    Patches,
    typical_image,
    unpacked,
    whitening_matrices,
)
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
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from anomaly_inspection.imaging.preprocessing import Prepared

# Share of the area: a mean over all of it would hide a local defect.
_WORST_SHARE = 0.01
_FEWEST_IMAGES = 4
# Most memory for the matrices of a recipe; fitting takes three times as much.
_MOST_BYTES = 256_000_000
# Values held at once while scoring.
_CHUNK_VALUES = 8_000_000


class PatchStatisticsScorer:
    """
    The Mahalanobis distance of the features of every patch to those of the taught good parts.

    `patch_features.py` describes the features. Distances are divided by the square root of the
    number of features, so a typical good patch lies at about 1.

    Small errors of the alignment are tolerated: a patch is compared with its own position and the
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
            'Mean distance over the worst hundredth of the area; about 1 is typical.',
        ),
    )
    map_unit: ClassVar[str] = '1'
    array_names: ClassVar[tuple[str, ...]] = ('mean', 'whitening', 'typical', 'judged')
    settings: ClassVar[Mapping[str, Setting]] = {
        'surface': Setting('picture', choices=SURFACES),
        'statistics': Setting('position', choices=('position', 'pooled')),
        'kinds': Setting(16, 1, 64),
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
        self._surface: str = chosen['surface']
        self._stride_px: int = chosen['stride_px']
        self._is_pooled = chosen['statistics'] == 'pooled'
        self._neighbours: int = chosen['neighbours'] if self._surface == 'picture' else 0
        self._matrices = unpacked(whitening)

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
            ``surface``: `picture` when good parts look alike; `texture` when they do not, or
            `streaks_down`, `streaks_across` when it is one of streaks, by where they run.
            ``statistics``: a Gaussian for every `position`, or `pooled`, one for each of so many
            ``kinds`` of patch.
            ``stride_px``: edge of a cell of the grid; memory goes with its inverse square.
            ``prior_images``: how many images the mean covariance of all positions counts for in
            that of each; few images need it.
            ``floor``: variance added to every feature, as a share of its mean variance.
            ``tolerance_px``: standard deviation of a shift that every position tolerates, beyond
            those of the good parts. ``neighbours``: how many cells around its position a patch
            may have come from. Only the positions of a `picture` use these two.

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
        pooled, surface = chosen['statistics'] == 'pooled', chosen['surface']
        if not pooled:
            _check_memory(shape, stride_px)
        typical, judged = typical_image(images)
        patches = Patches(images, typical, judged, stride_px, surface)
        if pooled:
            mean, covariance = moments_of_kinds(patches, chosen['kinds'])
        else:
            mean, covariance = moments_of_positions(patches)
            if surface == 'picture' and chosen['tolerance_px']:
                covariance += covariance_of_shifts(typical, stride_px, chosen['tolerance_px'])
        prior = chosen['prior_images']
        whitening = whitening_matrices(covariance, prior / (prior + len(images)), chosen['floor'])
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
        count = feature_count(typical.shape, chosen['surface'])
        rows, columns = grid_shape(typical.shape, chosen['stride_px'])
        if chosen['statistics'] == 'pooled':
            # Fewer kinds where there are fewer patches.
            rows, columns = 1, min(max(mean.shape[1], 1), chosen['kinds'])
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
        diagonal = whitening[..., diagonal_places(count)]
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
        filled = filled_up(prepared.image, inside, self._typical)
        features = patch_features(filled, self._stride_px, self._surface)
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
        if self._is_pooled:
            squares = _squares_of_kinds(features, self._mean[0], self._matrices[0])
            return np.asarray(np.sqrt(squares.min(axis=0) / count), np.float32)
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
    rows, columns = grid_shape(shape, stride_px)
    return 4 * rows * columns * feature_count(shape, 'picture') ** 2


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
