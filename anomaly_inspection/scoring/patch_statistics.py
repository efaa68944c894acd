# SPDX-License-Identifier: Apache-2.0
"""
Patch statistics: how far hand-made features of every small patch lie from those of good parts.

A Gaussian is fitted to the features of the patches of good parts, at every position of a grid
(`position`), or one to each kind of patch wherever it lies (`pooled`; kinds are found by k-means),
and a patch is measured by its Mahalanobis distance to the nearest: the formula of PaDiM (Defard et
al., 2021, doi:10.1007/978-3-030-68799-1_35), without a network.

"""

from __future__ import annotations

from dataclasses import dataclass
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

SURFACES = ('picture', 'texture', 'streaks_down', 'streaks_across')
# Every level halves the image, so the features of the last see eight times as far.
_PICTURE_LEVELS, _TEXTURE_LEVELS = 4, 3
_DIRECTIONS = 4
# Of a texture: light differs by factors, and what is wider than this belongs to it. Dark pixels
# count by so many gray levels more, so that noise in them does not.
_LIGHT_PX, _DARK_LEVELS, _LEVELS_PER_UNIT = 8.0, 20.0, 50.0
# Of a texture of streaks, gradients across them are so many times those along.
_STREAKY = 1.5
# Gradients of a texture are judged by those around, over so many cells; flat ones by this least.
_AROUND_CELLS, _LEAST_GRADIENT, _RELATIVE_UNIT = 55, 0.3, 10.0
# Share of the area: the mean over all of it hides what is not everywhere.
_WORST_SHARE = 0.01
# Neighbouring patches overlap by this much, in cells of the grid.
_POOLING_CELLS = 0.7
# Gray levels; less than a camera's noise leaves: only for images that are all the same.
_LEAST_DEVIATION = 0.5
_FEWEST_IMAGES = 4
# What the matrices of a recipe may take in memory; fitting takes three times that.
_MOST_BYTES = 256_000_000
# Values held at once while fitting and scoring.
_CHUNK_VALUES = 8_000_000
_CLUSTERED_PATCHES = 60_000
# So many patches of each feature the mean covariance counts for in that of a kind.
_PRIOR_PATCHES = 50
_CLUSTER_FLOOR = 0.01
_SEED = 1


class PatchStatisticsScorer:
    """
    The Mahalanobis distance of the features of every patch to those of the taught good parts.

    Features of a `picture`, at four scales: gray level (colour images: L, a and b of CIE Lab) and
    strength of the gradient in four directions. Of a `texture`, at three scales: that strength in
    the logarithm of the gray level, less its mean over 8 px, as a share of what it is around,
    along streaks and in all of the image, so that exposure, shading and how coarse the surface is
    do not matter; of colour images a and b as well. Distances are divided by the square root of
    the number of features, so that a typical good patch lies at about 1.

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
        typical, judged = _typical_image(images)
        patches = _Patches(images, typical, judged, stride_px, surface)
        if pooled:
            mean, covariance = _moments_of_kinds(patches, chosen['kinds'])
        else:
            mean, covariance = _moments(patches)
            if surface == 'picture' and chosen['tolerance_px']:
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
        count = _feature_count(typical.shape, chosen['surface'])
        rows, columns = _grid(typical.shape, chosen['stride_px'])
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
        filled = _filled(prepared.image, inside, self._typical)
        features = _features(filled, self._stride_px, self._surface)
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


def surface_of(images: Sequence[Prepared]) -> str:
    """
    Tell which of the SURFACES good parts show.

    A texture when they have no picture in common, nor several: even from the one most like it a
    typical part differs by more than half of its local contrast.

    """
    valid = np.all([part.valid for part in images], axis=0)
    if len(images) < 2 or not valid.any():
        return 'picture'
    planes = [_without_light(_gray(part.image)) for part in images]
    contrasts = np.stack([plane[valid] for plane in planes])
    own = np.square(contrasts).mean(axis=1)
    apart = np.array(
        [
            min(np.square(one - contrasts[j]).mean() for j in range(len(images)) if j != i)
            for i, one in enumerate(contrasts)
        ]
    )
    if float(np.median(apart / np.maximum(own, _LEAST_DEVIATION**2))) <= 0.5:
        return 'picture'
    strengths = np.array([[way[valid].mean() for way in _gradients(plane)] for plane in planes])
    across, _, down, _ = np.median(strengths, axis=0)
    if across > _STREAKY * down:
        return 'streaks_down'
    return 'streaks_across' if down > _STREAKY * across else 'texture'


def _gray(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) if image.ndim == 3 else image
    return np.asarray(gray, np.float32)


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
    return 4 * rows * columns * _feature_count(shape, 'picture') ** 2


def _grid(shape: Sequence[int], stride_px: int) -> tuple[int, int]:
    """
    Give rows and columns of the grid of patches.

    """
    return max(1, round(shape[0] / stride_px)), max(1, round(shape[1] / stride_px))


def _feature_count(shape: Sequence[int], surface: str) -> int:
    colours = 2 if len(shape) == 3 else 0
    if surface == 'picture':
        return _PICTURE_LEVELS * (1 + colours + _DIRECTIONS)
    return _TEXTURE_LEVELS * (colours + _DIRECTIONS)


def _features(image: NDArray[np.uint8], stride_px: int, surface: str) -> NDArray[np.float32]:
    """
    Give the features of every patch, about gray levels, (rows, columns, features).

    """
    rows, columns = _grid(image.shape, stride_px)
    if image.ndim == 3:
        image = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2Lab), np.uint8)
    planes = [np.asarray(plane, np.float32) for plane in cv2.split(image)]
    is_picture = surface == 'picture'
    if not is_picture:
        planes[0] = _without_light(planes[0])
    levels, strengths = [], []
    for level in range(_PICTURE_LEVELS if is_picture else _TEXTURE_LEVELS):
        if level:
            size = (planes[0].shape[1] + 1) // 2, (planes[0].shape[0] + 1) // 2
            planes = [
                np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_AREA), np.float32)
                for plane in planes
            ]
        levels += [_pooled(plane, rows, columns) for plane in planes[not is_picture :]]
        strengths += [_pooled(plane, rows, columns) for plane in _gradients(planes[0])]
    # A single feature would lose its axis.
    found, gradients = (
        np.asarray(
            cv2.GaussianBlur(
                np.dstack(some), (0, 0), _POOLING_CELLS, borderType=cv2.BORDER_REFLECT
            ),
            np.float32,
        ).reshape(rows, columns, len(some))
        if some
        else np.empty((rows, columns, 0), np.float32)
        for some in (levels, strengths)
    )
    if not is_picture:
        gradients = _relative(gradients, surface)
    return np.dstack([found, gradients])


def _pooled(plane: NDArray[np.float32], rows: int, columns: int) -> NDArray[np.float32]:
    """
    Give the mean over every cell of the grid.

    """
    shrinks = plane.shape[0] > rows
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(plane, (columns, rows), interpolation=method), np.float32)


def _without_light(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """
    Give the logarithm of a plane less its local mean.

    """
    logarithm = cv2.log(plane + np.float32(_DARK_LEVELS))
    wide = cv2.GaussianBlur(logarithm, (0, 0), _LIGHT_PX, borderType=cv2.BORDER_REFLECT)
    return np.asarray((logarithm - wide) * _LEVELS_PER_UNIT, np.float32)


def _relative(gradients: NDArray[np.float32], surface: str) -> NDArray[np.float32]:
    """
    Give the strength of gradients as a share of what it is around and in all of the image.

    Where there are streaks, of what it is along them as well.

    """
    rows, columns, count = gradients.shape
    wide, high = min(_AROUND_CELLS, columns), min(_AROUND_CELLS, rows)
    edges = [(wide, high)]
    if surface != 'texture':
        edges.append((1, high) if surface == 'streaks_down' else (wide, 1))
    usual = np.full(gradients.shape, _LEAST_GRADIENT, np.float32)
    usual += np.median(gradients.reshape(-1, count), axis=0)
    for edge in edges:
        around = cv2.blur(gradients, edge, borderType=cv2.BORDER_REFLECT)
        usual += np.asarray(around).reshape(gradients.shape)
    return np.asarray(gradients / usual * _RELATIVE_UNIT, np.float32)


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


@dataclass(frozen=True, eq=False)
class _Patches:
    """
    The features of the patches of good parts, made when they are wanted.

    """

    images: Sequence[Prepared]
    typical: NDArray[np.uint8]
    judged: NDArray[np.bool_]
    stride_px: int
    surface: str

    def of(self, part: Prepared) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """
        Give the features of one part, (rows, columns, f), and which patches are valid: 1 or 0.

        """
        valid = part.valid & self.judged
        filled = _filled(part.image, valid, self.typical)
        features = _features(filled, self.stride_px, self.surface)
        return features, _weights(valid, features.shape[:2])


def _moments(patches: _Patches) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """
    Give mean and covariance of the features at every position: (rows, columns, f[, f]).

    Every image counts at the positions where it is valid.

    """
    # Sums of differences to it stay small enough for single precision.
    origin, _ = patches.of(patches.images[0])
    rows, columns, count = origin.shape
    samples = np.zeros((rows, columns), np.float32)
    total = np.zeros((rows, columns, count), np.float32)
    products = np.zeros((rows, columns, count, count), np.float32)
    at_once = max(1, _CHUNK_VALUES // (rows * columns * count))
    for start in range(0, len(patches.images), at_once):
        some = [patches.of(part) for part in patches.images[start : start + at_once]]
        weights = np.stack([weight for _, weight in some])
        features = np.stack([feature for feature, _ in some]) - origin
        features *= weights[..., None]
        # To (row, column, sample, feature).
        features = features.transpose(1, 2, 0, 3)
        samples += weights.sum(axis=0)
        total += features.sum(axis=2)
        products += features.swapaxes(2, 3) @ features
    each = np.maximum(samples, 1)[..., None]
    mean = np.asarray(total / each, np.float32)
    covariance = products
    covariance -= (each * mean)[..., :, None] * mean[..., None, :]
    covariance /= np.maximum(samples - 1, 1)[..., None, None]
    return np.asarray(mean + origin, np.float32), covariance


def _moments_of_kinds(
    patches: _Patches, kinds: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """
    Give mean and covariance of the features of every kind of patch: (1, kinds, f[, f]).

    Kinds are the clusters of k-means where the features of all patches are white.

    """
    rng = np.random.default_rng(_SEED)
    share = _CLUSTERED_PATCHES / len(patches.images)
    chosen = []
    for part in patches.images:
        features, weights = patches.of(part)
        valid = features[weights > 0]
        chosen.append(valid[rng.permutation(len(valid))[: math.ceil(share)]])
    samples = np.concatenate(chosen)
    kinds = min(kinds, len(samples))
    centre = samples.mean(axis=0)
    apart = samples - centre
    covariance = (apart.T @ apart / max(len(apart) - 1, 1))[None, None]
    white = apart @ _unpacked(_whitening(covariance.copy(), 0.0, _CLUSTER_FLOOR))[0, 0].T
    cv2.setRNGSeed(_SEED)
    until = (cv2.TERM_CRITERIA_MAX_ITER + cv2.TERM_CRITERIA_EPS, 30, 1e-3)
    label = np.zeros((len(white), 1), np.int32)
    cv2.kmeans(white, kinds, label, until, 1, cv2.KMEANS_PP_CENTERS)
    members = [samples[label[:, 0] == kind] for kind in range(kinds)]
    means = np.stack([each.mean(axis=0) for each in members])
    scatters = np.stack(
        [(each - mean).T @ (each - mean) for each, mean in zip(members, means, strict=True)]
    )
    common = scatters.sum(axis=0) / len(samples)
    prior = _PRIOR_PATCHES * samples.shape[1]
    weights = np.array([len(each) for each in members])[:, None, None]
    covariances = (scatters + prior * common) / (weights + prior)
    return means[None].astype(np.float32), covariances[None].astype(np.float32)


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


def _covariance_of_shifts(
    typical: NDArray[np.uint8], stride_px: int, deviation_px: float
) -> NDArray[np.float32]:
    """
    Give the covariance that shifts bring into the features, by those of one pixel each way.

    Of the typical image, which is sharper than the features' mean, and one step is taken as
    straight: enough for the pixel or two that an alignment leaves.

    """
    height, width = typical.shape[:2]
    origin = _features(typical, stride_px, 'picture')
    changes = []
    for right, down in ((1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0)):
        shift = np.array([[1.0, 0.0, right], [0.0, 1.0, down]])
        moved = cv2.warpAffine(typical, shift, (width, height), borderMode=cv2.BORDER_REPLICATE)
        changes.append(_features(np.asarray(moved, np.uint8), stride_px, 'picture') - origin)
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
