# SPDX-License-Identifier: Apache-2.0
"""
Gaussians of the patch features of good parts: their means, covariances and whitening matrices.

One for every position of the grid, or one for every kind of patch wherever it lies.

"""

from __future__ import annotations

from dataclasses import dataclass
import math
from typing import Protocol, TYPE_CHECKING

import cv2
import numpy as np

from anomaly_inspection.errors import FrameError
from anomaly_inspection.scoring.patch_features import LEAST_DEVIATION, patch_features

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from anomaly_inspection.imaging.preprocessing import Prepared

# Values held at once while fitting.
_CHUNK_VALUES = 8_000_000
_CLUSTERED_PATCHES = 60_000
# The mean covariance counts as so many patches for each feature in that of a kind.
_PRIOR_PATCHES = 50
_CLUSTER_FLOOR = 0.01
_SEED = 1


def filled_up(
    image: NDArray[np.uint8], inside: NDArray[np.bool_], typical: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """
    Fill up an image with the typical one outside of the judged area, which patches reach into.

    """
    if inside.all():
        return image
    return np.asarray(cv2.copyTo(image, inside.view(np.uint8), typical.copy()), np.uint8)


def typical_image(
    images: Sequence[Prepared],
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """
    Give the mean of the images where they are valid, and the `judged_area`.

    """
    shape = images[0].image.shape
    total = np.zeros(shape, np.int32)
    for prepared in images:
        total += prepared.image * (
            prepared.valid if len(shape) == 2 else prepared.valid[..., None]
        )
    each = np.maximum(_valid_count(images), 1)
    mean = total / (each if len(shape) == 2 else each[..., None])
    return np.rint(mean).astype(np.uint8), judged_area(images)


def judged_area(images: Sequence[Prepared]) -> NDArray[np.bool_]:
    """
    Tell where at least half of the images are valid, (h, w); raise FrameError when nowhere.

    """
    judged = np.asarray(_valid_count(images) >= max(2, len(images) / 2))
    if not judged.any():
        raise FrameError(f'no pixel is valid in half of the {len(images)} good images')
    return judged


def _valid_count(images: Sequence[Prepared]) -> NDArray[np.int32]:
    count = np.zeros(images[0].valid.shape, np.int32)
    for prepared in images:
        count += prepared.valid
    return count


class PatchSource(Protocol):
    """
    The features of the patches of good parts, computed when they are needed.

    """

    @property
    def images(self) -> Sequence[Prepared]:
        """
        Give the good parts.

        """
        ...

    def of(self, part: Prepared) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """
        Give the features of one part, (rows, columns, f), and which patches are valid: 1 or 0.

        """
        ...


@dataclass(frozen=True, eq=False)
class Patches:
    """
    A `PatchSource` with hand-made features.

    """

    images: Sequence[Prepared]
    typical: NDArray[np.uint8]
    judged: NDArray[np.bool_]
    stride_px: int
    surface: str

    def of(self, part: Prepared) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """
        As `PatchSource.of`.

        """
        valid = part.valid & self.judged
        filled = filled_up(part.image, valid, self.typical)
        features = patch_features(filled, self.stride_px, self.surface)
        return features, patch_weights(valid, features.shape[:2])


def moments_of_positions(patches: PatchSource) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """
    Give mean and covariance of the features at every position: (rows, columns, f[, f]).

    Every image counts at the positions where it is valid.

    """
    # Sums of differences to the first part stay small enough for single precision.
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


def moments_of_kinds(
    patches: PatchSource, kinds: int
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
    white = apart @ unpacked(whitening_matrices(covariance.copy(), 0.0, _CLUSTER_FLOOR))[0, 0].T
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


def covariance_of_shifts(
    typical: NDArray[np.uint8], stride_px: int, deviation_px: float
) -> NDArray[np.float32]:
    """
    Give the covariance that shifts bring into the features, from shifts by one pixel each way.

    The typical image is shifted, which is sharper than the mean of the features. Features are
    taken as linear in the shift: good enough for the pixel or two that an alignment leaves.

    """
    height, width = typical.shape[:2]
    origin = patch_features(typical, stride_px, 'picture')
    changes = []
    for right, down in ((1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0)):
        shift = np.array([[1.0, 0.0, right], [0.0, 1.0, down]])
        moved = cv2.warpAffine(typical, shift, (width, height), borderMode=cv2.BORDER_REPLICATE)
        changes.append(patch_features(np.asarray(moved, np.uint8), stride_px, 'picture') - origin)
    change = np.stack(changes, axis=2) * np.float32(deviation_px * math.sqrt(0.5))
    return np.asarray(change.swapaxes(2, 3) @ change, np.float32)


def patch_weights(valid: NDArray[np.bool_], grid: tuple[int, int]) -> NDArray[np.float32]:
    """
    Tell which patches lie in the valid part with at least half of their area: 1 or 0.

    """
    share = cv2.resize(valid.astype(np.float32), grid[::-1], interpolation=cv2.INTER_AREA)
    return (np.asarray(share) >= 0.5).astype(np.float32)


def whitening_matrices(
    covariance: NDArray[np.float32],
    shrinkage: float,
    floor: float,
    least_deviation: float = LEAST_DEVIATION,
) -> NDArray[np.float32]:
    """
    Give the inverse Cholesky factor of every regularised covariance, packed: (rows, columns, n).

    Regularised, in units of each feature's mean deviation: (1 - shrinkage) * covariance
    + shrinkage * mean covariance + floor * identity. A mean deviation below `least_deviation`
    counts as that. Overwrites the covariance.

    """
    rows, columns, count = covariance.shape[:3]
    variances = np.diagonal(covariance, axis1=2, axis2=3).mean(axis=(0, 1))
    scale = np.sqrt(np.maximum(variances, least_deviation**2)).astype(np.float32)
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


def unpacked(packed: NDArray[np.float32]) -> NDArray[np.float32]:
    """
    Give the matrices whose lower triangles are packed.

    """
    rows, columns, elements = packed.shape
    count = (math.isqrt(8 * elements + 1) - 1) // 2
    matrices = np.zeros((rows, columns, count, count), np.float32)
    below = np.tril_indices(count)
    matrices[:, :, below[0], below[1]] = packed
    return matrices


def diagonal_places(count: int) -> NDArray[np.intp]:
    """
    Give where the diagonal of a matrix lies in its packed lower triangle.

    """
    index = np.arange(count)
    return np.asarray(index * (index + 3) // 2, np.intp)
