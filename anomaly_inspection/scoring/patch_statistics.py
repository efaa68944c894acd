# SPDX-License-Identifier: Apache-2.0
"""
Patch statistics: how far hand-made features of every small patch lie from those of good parts.

Gaussians are fitted to the features of the patches of good parts: one at every position of a grid
(`position`), or one for each kind of patch wherever it lies (`pooled`; k-means finds the kinds).
The score of a patch is its Mahalanobis distance to the nearest Gaussian. This is the formula of
PaDiM (Defard et al., 2021, doi:10.1007/978-3-030-68799-1_35) without a network.

"""

from __future__ import annotations

from typing import Any, ClassVar, Self, TYPE_CHECKING

import numpy as np

from anomaly_inspection.errors import FrameError, RecipeError, SettingError
from anomaly_inspection.scoring.patch_distance import (
    MOST_MATRIX_BYTES,
    PATCH_MEASURES,
    patch_output,
    PatchDistance,
)
from anomaly_inspection.scoring.patch_features import (
    feature_count,
    grid_shape,
    patch_features,
    SURFACES,
)
from anomaly_inspection.scoring.patch_gaussians import (
    covariance_of_shifts,
    filled_up,
    moments_of_kinds,
    moments_of_positions,
    Patches,
    typical_image,
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
    from anomaly_inspection.scoring.measure import MeasureSpec

_FEWEST_IMAGES = 4


class PatchStatisticsScorer:
    """
    The Mahalanobis distance of the features of every patch to those of the taught good parts.

    `patch_features.py` describes the features. Distances are divided by the square root of the
    number of features, so a typical good patch lies at about 1.

    Small errors of the alignment are tolerated: a patch is compared with its own position and the
    eight around it, and the nearest counts.

    """

    name: ClassVar[str] = 'patch_statistics'
    measures: ClassVar[tuple[MeasureSpec, ...]] = PATCH_MEASURES
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
        distance: PatchDistance,
        typical: NDArray[np.uint8],
        judged: NDArray[np.bool_],
        settings: Mapping[str, Any],
    ) -> None:
        self._distance = distance
        self._typical = typical
        self._judged = judged
        self._surface: str = settings['surface']
        self._stride_px: int = settings['stride_px']

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
        distance = PatchDistance(mean, whitening, is_pooled=pooled, neighbours=_neighbours(chosen))
        return cls(distance, typical, judged, chosen)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], settings: Mapping[str, Any]) -> Self:
        """
        Make the fitted scorer again from `to_arrays`; see `Scorer.from_arrays`.

        """
        chosen = checked_settings(cls.name, cls.settings, settings)
        typical = fitted_array(arrays, 'typical', np.uint8, (2, 3))
        judged = fitted_array(arrays, 'judged', np.bool_, (2,))
        if typical.ndim == 3 and typical.shape[2] != 3:
            raise RecipeError(f'typical is {shape_text(typical)}; gray or BGR is needed')
        if judged.shape != typical.shape[:2]:
            raise RecipeError(f'sizes disagree: typical {typical.shape}, judged {judged.shape}')
        distance = PatchDistance.from_arrays(
            arrays,
            grid_shape(typical.shape, chosen['stride_px']),
            feature_count(typical.shape, chosen['surface']),
            kinds=chosen['kinds'] if chosen['statistics'] == 'pooled' else 0,
            neighbours=_neighbours(chosen),
        )
        return cls(distance, typical, judged, chosen)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """
        Give mean features, inverse Cholesky factors (lower triangles), mean image and judged mask.

        """
        return {
            **self._distance.to_arrays(),
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
        return patch_output(self._distance.of(features), inside)


def _neighbours(settings: Mapping[str, Any]) -> int:
    """
    Give how many cells around its position a patch may have come from; a texture has no picture.

    """
    return int(settings['neighbours']) if settings['surface'] == 'picture' else 0


def smallest_stride_px(shape: Sequence[int], least_px: int) -> int:
    """
    Give the smallest stride, from `least_px` on, whose matrices for images of this shape fit.

    """
    stride_px = least_px
    while _matrix_bytes(shape, stride_px) > MOST_MATRIX_BYTES:
        stride_px += 1
    return stride_px


def _check_memory(shape: Sequence[int], stride_px: int) -> None:
    """
    Raise SettingError when the matrices of a grid would not fit.

    """
    needed = _matrix_bytes(shape, stride_px)
    if needed > MOST_MATRIX_BYTES:
        raise SettingError(
            f'patch_statistics.stride_px is {stride_px}: the matrices for an image of '
            f'{shape[1]}x{shape[0]} would take {needed / 1e6:.0f} MB; allowed: '
            f'{MOST_MATRIX_BYTES / 1e6:.0f} MB, which is stride_px '
            f'{smallest_stride_px(shape, stride_px)} and more, or statistics pooled'
        )


def _matrix_bytes(shape: Sequence[int], stride_px: int) -> int:
    rows, columns = grid_shape(shape, stride_px)
    return 4 * rows * columns * feature_count(shape, 'picture') ** 2
