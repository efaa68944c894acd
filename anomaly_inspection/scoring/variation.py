# SPDX-License-Identifier: Apache-2.0
"""
Variation: how far every pixel lies from the good parts, in their own deviations.

"""

from __future__ import annotations

from dataclasses import replace
import math
from statistics import NormalDist
from typing import Any, ClassVar, Self, TYPE_CHECKING

import cv2
import numpy as np

from anomaly_inspection.errors import FrameError, RecipeError
from anomaly_inspection.scoring import one_pass
from anomaly_inspection.scoring.measure import BadSide, MeasureSpec
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

# Values held in memory at once while fitting, about 1 byte each.
_CHUNK_VALUES = 16_000_000


class VariationScorer:
    """
    The z map |x - mean| / sqrt(deviation^2 + floor^2) of a part against the taught good parts.

    Mean and deviation of a pixel leave out the lowest and the highest few values, so a few odd
    parts among the taught ones neither blind nor shift them. The deviation is the largest in the
    neighbourhood, which tolerates small errors of the alignment at edges.

    """

    name: ClassVar[str] = 'variation'
    measures: ClassVar[tuple[MeasureSpec, ...]] = (
        MeasureSpec(
            'peak_z',
            '1',
            BadSide.HIGH,
            'Largest deviation from the good parts at any place, in deviations of good parts.',
            largest_limit=1000.0,  # 255 gray levels in the least deviation, 0.5, are 510
        ),
        MeasureSpec(
            'mean_z',
            '1',
            BadSide.HIGH,
            'Mean deviation from the good parts over all pixels, in deviations of good parts.',
            largest_limit=1000.0,  # 255 gray levels in the least deviation, 0.5, are 510
        ),
    )
    map_unit: ClassVar[str] = '1'
    array_names: ClassVar[tuple[str, ...]] = ('mean', 'deviation', 'judged')
    settings: ClassVar[Mapping[str, Setting]] = {
        'floor_levels': Setting(5.0, 0.5, 64.0),
        'smooth_px': Setting(3, 1, 63),
        'edge_px': Setting(1, 0, 8),
        'trim': Setting(0.05, 0.0, 0.25),
        'flatten_px': Setting(0, 0, 127),
    }
    default_settings: ClassVar[Mapping[str, Any]] = {
        key: setting.default for key, setting in settings.items()
    }

    def __init__(
        self,
        mean: NDArray[np.float32],
        deviation: NDArray[np.float32],
        judged: NDArray[np.bool_],
        settings: Mapping[str, Any],
    ) -> None:
        chosen = checked_settings(self.name, self.settings, settings)
        self._mean = mean
        self._deviation = deviation
        self._judged = judged
        self._smoothing = np.full(chosen['smooth_px'], 1 / chosen['smooth_px'], np.float32)
        self._flatten_px: int = chosen['flatten_px']
        edge = 2 * chosen['edge_px'] + 1
        widened = cv2.dilate(deviation, np.ones((edge, edge), np.uint8))
        squares = np.square(widened) + np.float32(chosen['floor_levels'] ** 2)
        self._inverse = np.asarray(1 / np.sqrt(squares), np.float32)
        self._like = np.empty(mean.shape, np.uint8)

    @classmethod
    def fit(cls, images: Sequence[Prepared], settings: Mapping[str, Any]) -> Self:
        """
        Take mean and deviation of every pixel of good parts.

        Parameters
        ----------
        images : sequence of Prepared
            At least two; from about twenty on the deviation is worth its name. A pixel is judged
            later only when it is valid in at least half of them, and in two.
        settings : mapping
            ``floor_levels``: gray levels added to every deviation (in squares), about the noise
            of the camera. ``smooth_px``: edge of the square the map is averaged over.
            ``edge_px``: how far deviations spread to their neighbours. ``trim``: share of the
            values left out at either end. ``flatten_px``: edge of the square whose mean is taken
            from every pixel first, so that shine and shadow do not count; 0 = none. An edge keeps
            at least half of its height, wide soft stains are lost.

        """
        chosen = checked_settings(cls.name, cls.settings, settings)
        check_alike(images, at_least=2)
        if chosen['flatten_px']:
            images = [
                replace(prepared, image=flattened(prepared.image, chosen['flatten_px']))
                for prepared in images
            ]
        shape = images[0].image.shape
        mean, deviation = np.empty(shape, np.float32), np.empty(shape, np.float32)
        count = np.sum([prepared.valid for prepared in images], axis=0, dtype=np.int32)
        rows = max(1, _CHUNK_VALUES // (len(images) * math.prod(shape[1:])))
        for start in range(0, shape[0], rows):
            part = slice(start, start + rows)
            mean[part], deviation[part] = _trimmed_moments(
                np.stack([prepared.image[part] for prepared in images]),
                np.stack([prepared.valid[part] for prepared in images]),
                chosen['trim'],
            )
        judged = np.asarray(count >= max(2, len(images) / 2))
        return cls(mean, deviation, judged, chosen)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], settings: Mapping[str, Any]) -> Self:
        """
        Make the fitted scorer again from `to_arrays`; see `Scorer.from_arrays`.

        """
        mean = fitted_array(arrays, 'mean', np.float32, (2, 3))
        deviation = fitted_array(arrays, 'deviation', np.float32, (2, 3))
        judged = fitted_array(arrays, 'judged', np.bool_, (2,))
        if deviation.shape != mean.shape or judged.shape != mean.shape[:2]:
            raise RecipeError(
                f'sizes disagree: mean {mean.shape}, deviation {deviation.shape}, '
                f'judged {judged.shape}'
            )
        if deviation.min() < 0:
            raise RecipeError(f'deviation is {deviation.min():g}; it must not be negative')
        return cls(mean, deviation, judged, settings)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """
        Give mean, deviation and the mask of judged pixels.

        """
        return {'mean': self._mean, 'deviation': self._deviation, 'judged': self._judged}

    def score(self, prepared: Prepared) -> ScorerOutput:
        """
        Score one prepared frame; see `Scorer.score`.

        The map is z (for colour images of the highest channel), averaged over `smooth_px`.

        """
        check_prepared(prepared, self._like)
        inside = prepared.valid & self._judged
        pixels = np.count_nonzero(inside)
        if not pixels:
            raise FrameError('no judged pixel lies inside the valid part of the frame')
        image = prepared.image
        if self._flatten_px:
            image = flattened(image, self._flatten_px)
        z = self._z(image, inside)
        mean_z = float(cv2.sumElems(z)[0] / pixels)
        smooth = cv2.sepFilter2D(
            z, -1, self._smoothing, self._smoothing, borderType=cv2.BORDER_REFLECT
        )
        smoothed = np.asarray(cv2.copyTo(smooth, inside.view(np.uint8)), np.float32)
        return ScorerOutput(
            measures={'peak_z': float(smoothed.max()), 'mean_z': mean_z}, anomaly_map=smoothed
        )

    def _z(self, image: NDArray[np.uint8], inside: NDArray[np.bool_]) -> NDArray[np.float32]:
        if one_pass.is_built():
            return one_pass.z_map(image, self._mean, self._inverse, inside)
        z = np.asarray(image, np.float32)
        z -= self._mean
        z *= self._inverse
        np.abs(z, out=z)
        if z.ndim == 3:
            planes = cv2.split(z)
            z = np.asarray(planes[0], np.float32)
            for plane in planes[1:]:
                np.maximum(z, plane, out=z)
        return np.asarray(cv2.copyTo(z, inside.view(np.uint8)), np.float32)


def flattened(image: NDArray[np.uint8], size_px: int) -> NDArray[np.uint8]:
    """
    Give the difference to the mean over the square around every pixel, plus 128.

    """
    mean = cv2.blur(image, (size_px, size_px))
    return np.asarray(cv2.addWeighted(image, 1.0, mean, -1.0, 128.0), np.uint8)


def _trimmed_moments(
    images: NDArray[np.uint8], valid: NDArray[np.bool_], trim: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """
    Give mean and standard deviation of every pixel without the extreme values.

    Parameters
    ----------
    images : ndarray of uint8, (n, h, w) or (n, h, w, channels)
    valid : ndarray of bool, (n, h, w)
        Values outside do not count.
    trim : float
        Share left out at either end, rounded up to whole values; nothing of less than five.

    """
    total = len(images)
    if not valid.all():
        weights = valid if images.ndim == 3 else valid[..., None]
        counts = np.maximum(weights.sum(axis=0, dtype=np.float32), 1)
        fill = (images * weights).sum(axis=0, dtype=np.float32) / counts
        images = np.where(weights, images, np.rint(fill).astype(np.uint8))
        # The filled-in values lie at the mean and add nothing to the variance.
        missing = np.sqrt(np.maximum(total - 1, 1) / np.maximum(counts - 1, 1))
    else:
        missing = np.float32(1)
    cut = math.ceil(trim * total) if total >= 5 else 0
    if cut:
        ordered = np.partition(images, (cut, total - cut - 1), axis=0)
        images = ordered[cut : total - cut]
    mean = images.mean(axis=0, dtype=np.float32)
    squares = np.zeros_like(mean)
    for image in images:
        squares += np.square(image - mean)
    factor = _trimmed_share(cut / total) * math.sqrt(len(images) / max(len(images) - 1, 1))
    return mean, np.sqrt(squares / len(images)) * np.float32(factor) * missing


def _trimmed_share(share: float) -> float:
    """
    Give by how much trimming both tails of a normal population lowers its standard deviation.

    """
    if share == 0:
        return 1.0
    normal = NormalDist()
    edge = normal.inv_cdf(1 - share)
    return 1 / math.sqrt(1 - 2 * edge * normal.pdf(edge) / (1 - 2 * share))
