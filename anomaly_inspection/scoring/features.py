# SPDX-License-Identifier: Apache-2.0
"""
Features: how far patches lie from those of good parts, as a pretrained network sees them.

A frozen network (`feature_network.py`) describes every patch by the values of some of its layers.
Principal components reduce them. Gaussians are fitted to these: one at every position (PaDiM:
Defard et al., 2021, doi:10.1007/978-3-030-68799-1_35; here of low rank, `low_rank_gaussians.py`),
or one for each kind of patch wherever it lies.

"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self, TYPE_CHECKING

import numpy as np

from anomaly_inspection.errors import FrameError, RecipeError, SettingError
from anomaly_inspection.imaging.net_input import then_resized
from anomaly_inspection.scoring.feature_network import (
    AS_IT_LIES,
    AS_SEEN,
    AS_TAUGHT,
    FeatureNetwork,
    network_of_backbone,
)
from anomaly_inspection.scoring.low_rank_gaussians import LowRankDistance, shared_whitening
from anomaly_inspection.scoring.model import MODEL_BIN, MODEL_XML
from anomaly_inspection.scoring.patch_distance import (
    MOST_MATRIX_BYTES,
    PATCH_MEASURES,
    patch_output,
    PatchDistance,
)
from anomaly_inspection.scoring.patch_gaussians import (
    judged_area,
    moments_of_kinds,
    patch_weights,
    whitening_matrices,
)
from anomaly_inspection.scoring.scorer import (
    check_alike,
    check_prepared,
    checked_settings,
    fitted_array,
    ScorerOutput,
    Setting,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from anomaly_inspection.imaging.preprocessing import Prepared
    from anomaly_inspection.scoring.measure import MeasureSpec

PACKAGED_BACKBONE = 'efficientnet_lite0'

_FEWEST_IMAGES = 4
# Patches that the principal components come from.
_COMPONENT_PATCHES = 20_000
_SEED = 1
# These matter only for images that are nearly the same: how much a channel varies at least, in
# units of the mean size of a feature; and how much each position does, where channels vary by 1.
_LEAST_VARIATION, _LEAST_DEVIATION = 0.01, 0.01
# Measured on 16 products, 10 and 40 good parts of each: .02 to .15, mean .064.
_USUAL_SPREAD = 0.065
# Nothing looks stranger than that; teaching holds maps in half precision.
_LARGEST_DISTANCE = 10_000.0


class FeaturesScorer:
    """
    The Mahalanobis distance of every patch to those of the taught good parts, in the features of a
    pretrained network.

    Distances are divided by the square root of the number of features, so a typical good patch
    lies at about 1.

    """

    name: ClassVar[str] = 'features'
    measures: ClassVar[tuple[MeasureSpec, ...]] = tuple(
        replace(spec, usual_spread=_USUAL_SPREAD) for spec in PATCH_MEASURES
    )
    map_unit: ClassVar[str] = '1'
    array_names: ClassVar[tuple[str, ...]] = (
        *('mean', 'directions', 'precision', 'whitening'),
        *('projection', 'offset', 'judged', 'image_shape'),
    )
    settings: ClassVar[Mapping[str, Setting]] = {
        'backbone': Setting(PACKAGED_BACKBONE),
        'light': Setting(AS_SEEN, choices=(AS_SEEN, AS_TAUGHT)),
        'statistics': Setting('position', choices=('position', 'pooled')),
        'kinds': Setting(16, 1, 64),
        'rank': Setting(32, 1, 64),
        'side_px': Setting(256, 64, 1024),
        'dimensions': Setting(128, 4, 256),
        'prior_images': Setting(5.0, 0.0, 1000.0),
        'floor': Setting(0.1, 0.0001, 1.0),
        'neighbours': Setting(1, 0, 2),
    }
    default_settings: ClassVar[Mapping[str, Any]] = {
        key: setting.default for key, setting in settings.items()
    }

    def __init__(
        self,
        network: FeatureNetwork,
        projection: _Projection,
        distance: PatchDistance | LowRankDistance,
        judged: NDArray[np.bool_],
        like: NDArray[np.uint8],
    ) -> None:
        self._network = network
        self._projection = projection
        self._distance = distance
        self._judged = judged
        self._like = like

    @classmethod
    def fit(cls, images: Sequence[Prepared], settings: Mapping[str, Any]) -> Self:
        """
        Take mean and covariance of the features of good parts.

        Parameters
        ----------
        images : sequence of Prepared
            At least four. A pixel is judged later only when it is valid in at least half of them.
        settings : mapping
            ``backbone``: name of the pretrained network in the user's cache.
            ``light``: the network sees the part in the light that the camera saw (`as_seen`), or
            in that of the reference (`as_taught`). A network for photographs bears other light
            better than what bringing it back does to a part of another colour or gloss: where
            levels are clipped, what was on them is lost.
            ``statistics``: a Gaussian for every `position`, or `pooled`, one for each of so many
            ``kinds`` of patch.
            ``side_px``: the network sees the image at the area of a square of this side.
            ``dimensions``: how many principal components of the features are compared.
            ``floor``: variance added to every component, as a share of its mean variance.
            Only positions use these: ``rank``, in how many directions a position varies in its
            own way; ``prior_images``, how many images the mean covariance of all positions counts
            for in that of each; ``neighbours``, how many cells around its position a patch may
            have come from.

        Raises
        ------
        SettingError
            As `Scorer.fit`, when the backbone is not in the cache, and when the matrices would
            take more than 256 MB.
        FrameError
            As `Scorer.fit`.

        """
        chosen = checked_settings(cls.name, cls.settings, settings)
        check_alike(images, at_least=_FEWEST_IMAGES)
        like = np.zeros_like(images[0].image)
        network = network_of_backbone(
            chosen['backbone'], like.shape, chosen['side_px'], sees=cls._sees(chosen)
        )
        pooled = chosen['statistics'] == 'pooled'
        count = min(chosen['dimensions'], network.channels)
        if not pooled:
            _check_memory(cls.name, network.grid, count, chosen)
        judged = judged_area(images)
        patches = _FeaturePatches(
            images, judged, network, _Projection.of(images, network, judged, count)
        )
        distance: PatchDistance | LowRankDistance
        if pooled:
            mean, covariance = moments_of_kinds(patches, chosen['kinds'])
            whitening = whitening_matrices(covariance, 0.0, chosen['floor'], _LEAST_DEVIATION)
            distance = PatchDistance(mean, whitening, is_pooled=True, neighbours=0)
        else:
            white = shared_whitening(patches, chosen['floor'], _LEAST_DEVIATION)
            patches = replace(patches, projection=patches.projection.followed_by(white))
            distance = LowRankDistance.fit(
                patches, chosen['rank'], chosen['prior_images'], neighbours=chosen['neighbours']
            )
        return cls(network, patches.projection, distance, judged, like)

    @classmethod
    def _sees(cls, settings: Mapping[str, Any]) -> str:
        # Recipes from before the setting came were taught in the light of the reference.
        return str(settings.get('light', AS_TAUGHT))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], settings: Mapping[str, Any]) -> Self:
        """
        Make the fitted scorer again from `to_arrays`; see `Scorer.from_arrays`.

        """
        chosen = checked_settings(cls.name, cls.settings, settings)
        shape = fitted_array(arrays, 'image_shape', np.int64, (1,)).tolist()
        judged = fitted_array(arrays, 'judged', np.bool_, (2,))
        if len(shape) not in (2, 3) or shape[2:] not in ([], [3]) or shape[:2] != [*judged.shape]:
            raise RecipeError(
                f'image_shape is {shape}, judged {judged.shape}; allowed: height and width of '
                'judged, and 3 for BGR'
            )
        files = {key: array for key, array in arrays.items() if '.' in key}
        if strangers := files.keys() - {MODEL_XML, MODEL_BIN}:
            raise RecipeError(f'{min(strangers)} is not a file of the scorer {cls.name}')
        network = FeatureNetwork(files, shape, chosen['side_px'], sees=cls._sees(settings))
        projection = _Projection.from_arrays(arrays, network.channels, chosen['dimensions'])
        distance: PatchDistance | LowRankDistance
        grid, count = network.grid, projection.matrix.shape[1]
        if chosen['statistics'] == 'pooled':
            distance = PatchDistance.from_arrays(
                arrays, grid, count, kinds=chosen['kinds'], neighbours=0
            )
        else:
            distance = LowRankDistance.from_arrays(
                arrays, grid, count, chosen['rank'], neighbours=chosen['neighbours']
            )
        return cls(network, projection, distance, judged, np.zeros(shape, np.uint8))

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """
        Give the network, the projection, the Gaussians, judged mask and size of the images.

        """
        return {
            **self._distance.to_arrays(),
            'projection': self._projection.matrix,
            'offset': self._projection.offset,
            'judged': self._judged,
            'image_shape': np.array(self._like.shape, np.int64),
            **self._network.files,
        }

    def allow_threads(self, count: int) -> None:
        """
        Let so many threads score at the same time; see `RunsNetwork`.

        """
        self._network.allow_threads(count)

    def score(self, prepared: Prepared) -> ScorerOutput:
        """
        Score one prepared frame; see `Scorer.score`.

        """
        check_prepared(prepared, self._like)
        inside = prepared.valid & self._judged
        if not inside.any():
            raise FrameError('no judged pixel lies inside the valid part of the frame')
        features = self._projection.of_features(self._network.features(prepared))
        distance = np.minimum(self._distance.of(features), np.float32(_LARGEST_DISTANCE))
        return patch_output(distance, inside, self._to_patches(prepared, distance))

    def _to_patches(
        self, prepared: Prepared, distance: NDArray[np.float32]
    ) -> NDArray[np.float64] | None:
        if self._network.sees != AS_IT_LIES:
            return None
        image, from_prepared = prepared.as_it_lies
        (height, width), (rows, columns) = image.shape[:2], distance.shape
        return then_resized(from_prepared, (width, height), (columns, rows))


@dataclass(frozen=True, eq=False)
class _Projection:
    """
    Principal components of the features, each of which counts in units of its deviation.

    Parameters
    ----------
    matrix : ndarray of float32, (channels, components)
    offset : ndarray of float32, (components,)

    """

    matrix: NDArray[np.float32]
    offset: NDArray[np.float32]

    @classmethod
    def of(
        cls,
        images: Sequence[Prepared],
        network: FeatureNetwork,
        judged: NDArray[np.bool_],
        count: int,
    ) -> Self:
        """
        Find the components of largest variance among some of the patches.

        """
        rng = np.random.default_rng(_SEED)
        share = -(-_COMPONENT_PATCHES // len(images))
        some = []
        for part in images:
            features = network.features(part)
            valid = features[_shown(part, judged, network) > 0]
            some.append(valid[rng.permutation(len(valid))[:share]])
        samples = np.concatenate(some).astype(np.float64)
        centre = samples.mean(axis=0)
        least = _LEAST_VARIATION * float(np.sqrt(np.square(samples).mean()))
        scale = np.maximum(samples.std(axis=0), max(least, 1e-6))
        apart = (samples - centre) / scale
        _, vectors = np.linalg.eigh(apart.T @ apart / len(apart))
        # The sign of an eigenvector is arbitrary.
        chosen = vectors[:, ::-1][:, :count]
        chosen *= np.sign(chosen[np.abs(chosen).argmax(axis=0), np.arange(count)])
        matrix = chosen / scale[:, None]
        return cls(matrix.astype(np.float32), (centre @ matrix).astype(np.float32))

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, NDArray[Any]], channels: int, dimensions: int
    ) -> Self:
        matrix = fitted_array(arrays, 'projection', np.float32, (2,))
        offset = fitted_array(arrays, 'offset', np.float32, (1,))
        count = min(channels, dimensions)
        if matrix.shape != (channels, count) or offset.shape != (count,):
            raise RecipeError(
                f'sizes disagree: projection {matrix.shape}, offset {offset.shape}; '
                f'{channels} x {count} and {count} are needed'
            )
        return cls(matrix, offset)

    def followed_by(self, matrix: NDArray[np.float64]) -> Self:
        """
        Give the projection that multiplies the components by a matrix as well.

        """
        return replace(
            self,
            matrix=(self.matrix @ matrix.T).astype(np.float32),
            offset=(matrix @ self.offset).astype(np.float32),
        )

    def of_features(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(features @ self.matrix - self.offset, np.float32)


@dataclass(frozen=True, eq=False)
class _FeaturePatches:
    """
    A `PatchSource` with the projected features of a network.

    What lies outside of the valid area is left as the preprocessing fills it, by its border: so
    the features of a part do not depend on the other parts, and are computed once.

    """

    images: Sequence[Prepared]
    judged: NDArray[np.bool_]
    network: FeatureNetwork
    projection: _Projection

    def of(self, part: Prepared) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """
        As `PatchSource.of`.

        """
        features = self.network.features(part)
        return self.projection.of_features(features), _shown(part, self.judged, self.network)


def _shown(
    part: Prepared, judged: NDArray[np.bool_], network: FeatureNetwork
) -> NDArray[np.float32]:
    """
    Tell how far each patch that the network sees shows the judged area of the part.

    """
    if network.sees == AS_IT_LIES:
        return np.ones(network.grid, np.float32)
    return patch_weights(part.valid & judged, network.grid)


def _check_memory(
    scorer: str, grid: tuple[int, int], count: int, settings: Mapping[str, Any]
) -> None:
    """
    Raise SettingError when the Gaussians of a grid would not fit.

    """
    needed = 4 * grid[0] * grid[1] * count * settings['rank']
    if needed > MOST_MATRIX_BYTES:
        raise SettingError(
            f'{scorer}.side_px is {settings["side_px"]}: the Gaussians of {grid[0]} x {grid[1]} '
            f'positions with {count} dimensions and rank {settings["rank"]} would take '
            f'{needed / 1e6:.0f} MB; allowed: {MOST_MATRIX_BYTES / 1e6:.0f} MB. Give a smaller '
            'side_px, fewer dimensions, a lower rank, or statistics pooled'
        )
