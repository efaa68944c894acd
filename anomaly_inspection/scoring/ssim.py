# SPDX-License-Identifier: Apache-2.0
"""
SSIM: how alike a frame and a good part are in brightness, contrast and structure.

The formula is that of Wang et al. (2004), https://doi.org/10.1109/TIP.2003.819861, with window,
constants and sample covariance as in scikit-image. It is rearranged to ::

    SSIM = (1 - (ux - uy)^2 / (ux^2 + uy^2 + C1)) * (1 - var(x - y) / (vx + vy + C2))

which needs one filter less and gives exactly 1 for identical images. Where the package was built
with its C++ functions, `one_pass.py` does all of it in one pass over memory.

"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal, NamedTuple, Self, TYPE_CHECKING, TypeAlias

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
    shape_text,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from anomaly_inspection.imaging.preprocessing import Prepared

Window: TypeAlias = Literal['uniform', 'gaussian']

# Edge of the uniform 7x7 window and of the Gaussian of sigma 1.5 px cut at 3.5 sigma.
WINDOW_PX: dict[Window, int] = {'uniform': 7, 'gaussian': 11}
_DATA_RANGE = 255.0
_SIGMA_PX = 1.5
# References that are compared in full.
_CANDIDATES = 2
THUMBNAIL_PX = 32
# What the weights of a window add up to; ones in the uniform window, so its sums are integers.
_WEIGHT = {'uniform': 49, 'gaussian': 1}


class _Moments(NamedTuple):
    """
    Window moments of an image: half of an SSIM.

    Parameters
    ----------
    total : ndarray of float32 (uniform) or float64 (gaussian), like image
        Window sum.
    luminance, contrast : ndarray like total
        Square of the window sum, and sum of squared deviations from the window mean; each plus
        half of the paper's constant in that unit.

    """

    total: NDArray[Any]
    luminance: NDArray[Any]
    contrast: NDArray[Any]


@dataclass(frozen=True, eq=False)
class SsimReference:
    """
    An 8-bit image to compare others with; see `of`.

    """

    image: NDArray[np.uint8]
    window: Window
    k1: float
    k2: float

    @classmethod
    def of(
        cls,
        image: NDArray[np.uint8],
        *,
        window: Window = 'uniform',
        k1: float = 0.01,
        k2: float = 0.03,
    ) -> Self:
        """
        Make an image ready for comparison.

        Parameters
        ----------
        image : ndarray of uint8, (h, w) or (h, w, channels)
        window : 'uniform' or 'gaussian'
            7x7, or 11x11 with sigma 1.5 px.
        k1, k2 : float
            The constants of the paper: C1 = (k1 * 255)^2 and C2 = (k2 * 255)^2.

        Raises
        ------
        FrameError
            When the image is not 8-bit or smaller than the window.

        """
        size = WINDOW_PX[window]
        if image.dtype != np.uint8 or image.ndim not in (2, 3) or min(image.shape[:2]) < size:
            raise FrameError(
                f'the image is {shape_text(image)}; 8-bit of at least {size}x{size} is needed'
            )
        reference = cls(image, window, k1, k2)
        if not reference._is_in_one_pass:
            # Now, and not with the first frame.
            _ = reference._moments
        return reference

    @property
    def _is_in_one_pass(self) -> bool:
        return self.window == 'uniform' and one_pass.is_built()

    @cached_property
    def _moments(self) -> _Moments:
        total = _window_sum(self.image, self.window)
        luminance = np.square(total)
        contrast = _deviation(self.image, luminance, self.window)
        weight, pixels = _WEIGHT[self.window], WINDOW_PX[self.window] ** 2
        luminance += (self.k1 * _DATA_RANGE * weight) ** 2 / 2
        contrast += (self.k2 * _DATA_RANGE) ** 2 / 2 * weight * (pixels - 1) / pixels
        return _Moments(total, luminance, contrast)

    def similarity_map(self, other: SsimReference) -> NDArray[np.float32]:
        """
        Give the SSIM of every pixel's window, -1..1, (h, w): the mean over the channels.

        Equal within 1e-4 to scikit-image's ``structural_similarity`` with the same constants and
        sample covariance, ``win_size=7`` or ``gaussian_weights=True, sigma=1.5``. Symmetric, and
        exactly 1 where both are the same. Within half a window of the border the image is
        mirrored.

        Raises
        ------
        FrameError
            When the two differ in size, type or window.

        """
        if self.image.shape != other.image.shape or self.window != other.window:
            raise FrameError(
                f'SSIM of {shape_text(self.image)} ({self.window}) with '
                f'{shape_text(other.image)} ({other.window}): both must be alike'
            )
        if self._is_in_one_pass:
            pixels = WINDOW_PX[self.window] ** 2
            luminance, contrast = (
                (_DATA_RANGE**2) * (one**2 + two**2) / 2
                for one, two in ((self.k1, other.k1), (self.k2, other.k2))
            )
            return one_pass.ssim_map(
                self.image, other.image, luminance * pixels**2, contrast * pixels * (pixels - 1)
            )
        own, others = self._moments, other._moments
        # In place where possible: to allocate a megabyte costs more than to fill it.
        brightness = own.total - others.total
        np.square(brightness, out=brightness)
        difference = np.asarray(cv2.absdiff(self.image, other.image), np.uint8)
        structure = _deviation(difference, brightness, self.window)
        for term, one, two in (
            (structure, own.contrast, others.contrast),
            (brightness, own.luminance, others.luminance),
        ):
            term /= one + two
            np.subtract(1, term, out=term)
        structure *= brightness
        structure = np.asarray(structure, np.float32)
        if structure.ndim == 3:
            channels = structure.shape[2]
            mixed = cv2.transform(structure, np.full((1, channels), 1 / channels))
            return np.asarray(mixed, dtype=np.float32)
        return structure


class _Match(NamedTuple):
    """
    How alike a frame and one reference are.

    Parameters
    ----------
    which : int
        Of the reference.
    similarity : ndarray of float32, (h, w)
        SSIM.
    inside : ndarray of uint8, (h, w)
        1 where the window lies wholly inside the valid parts of both.
    mean : float
        SSIM over these windows.

    """

    which: int
    similarity: NDArray[np.float32]
    inside: NDArray[np.uint8]
    mean: float


class SsimScorer:
    """
    SSIM and MSE against the best of several good parts.

    A good part differs from the references too: noise shows in flat areas, small errors of the
    alignment show at edges. So the map shows only the dissimilarity beyond that of good parts at
    the same place (mean plus one standard deviation, each part against the others). The setting
    ``tolerance: none`` gives the plain 1 - SSIM.

    """

    name: ClassVar[str] = 'ssim'
    measures: ClassVar[tuple[MeasureSpec, ...]] = (
        MeasureSpec(
            'mean_ssim',
            '1',
            BadSide.LOW,
            'Mean SSIM over all windows against the best reference; 1 = identical.',
            minimum=-1.0,
            maximum=1.0,
        ),
        MeasureSpec(
            'lowest_ssim',
            '1',
            BadSide.LOW,
            'SSIM of the worst place, corrected for good parts; 1 = nothing unusual.',
            minimum=-1.0,
            maximum=1.0,
        ),
        MeasureSpec(
            'mse',
            'gray_level^2',
            BadSide.HIGH,
            'Mean over pixels and channels of the squared difference to the best reference.',
            maximum=255.0**2,
        ),
    )
    map_unit: ClassVar[str] = '1'
    array_names: ClassVar[tuple[str, ...]] = ('references', 'reference_valid', 'tolerated')
    settings: ClassVar[Mapping[str, Setting]] = {
        'references': Setting(10, 1, 100),
        'window': Setting('uniform', choices=('uniform', 'gaussian')),
        'k1': Setting(0.01, 0.0001, 1.0),
        'k2': Setting(0.03, 0.0001, 1.0),
        'tolerance': Setting('good_parts', choices=('good_parts', 'none')),
        'pool_px': Setting(7, 1, 63),
    }
    default_settings: ClassVar[Mapping[str, Any]] = {
        key: setting.default for key, setting in settings.items()
    }

    def __init__(
        self,
        references: NDArray[np.uint8],
        reference_valid: NDArray[np.bool_],
        tolerated: NDArray[np.float32],
        settings: Mapping[str, Any],
    ) -> None:
        chosen = checked_settings(self.name, self.settings, settings)
        self._constants = {key: chosen[key] for key in ('window', 'k1', 'k2')}
        self._pool = np.full(chosen['pool_px'], 1 / chosen['pool_px'], np.float32)
        self._window_mask = np.ones((WINDOW_PX[chosen['window']],) * 2, np.uint8)
        self._images = references
        self._valid = reference_valid
        self._windows_valid = [self._windows_inside(valid) for valid in reference_valid]
        self._references = [SsimReference.of(image, **self._constants) for image in references]
        self._thumbnails = np.stack([_thumbnail(image) for image in references])
        self._tolerated = tolerated
        self._tolerable = 1 - tolerated

    @classmethod
    def fit(cls, images: Sequence[Prepared], settings: Mapping[str, Any]) -> Self:
        """
        Choose the references among good parts and learn what dissimilarity to tolerate.

        Parameters
        ----------
        images : sequence of Prepared
            At least one; with a single one nothing is tolerated.
        settings : mapping
            ``references``: how many to keep. ``window``, ``k1``, ``k2``: as in `SsimReference.of`;
            a larger k2 (0.1) makes SSIM less sensitive to noise. ``tolerance``: see above.
            ``pool_px``: `lowest_ssim` is the worst mean over a square of this edge.

        """
        chosen = checked_settings(cls.name, cls.settings, settings)
        check_alike(images, at_least=1)
        picked = _representatives([prepared.image for prepared in images], chosen['references'])
        scorer = cls(
            np.stack([images[index].image for index in picked]),
            np.stack([images[index].valid for index in picked]),
            np.zeros(images[0].image.shape[:2], np.float32),
            chosen,
        )
        if chosen['tolerance'] == 'good_parts':
            tolerated = scorer._good_dissimilarity(images, picked)
            scorer = cls(scorer._images, scorer._valid, tolerated, chosen)
        return scorer

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], settings: Mapping[str, Any]) -> Self:
        """
        Make the fitted scorer again from `to_arrays`; see `Scorer.from_arrays`.

        """
        references = fitted_array(arrays, 'references', np.uint8, (3, 4))
        reference_valid = fitted_array(arrays, 'reference_valid', np.bool_, (3,))
        tolerated = fitted_array(arrays, 'tolerated', np.float32, (2,))
        if reference_valid.shape != references.shape[:3] or (
            tolerated.shape != references.shape[1:3]
        ):
            raise RecipeError(
                f'sizes disagree: references {references.shape}, reference_valid '
                f'{reference_valid.shape}, tolerated {tolerated.shape}'
            )
        try:
            return cls(references, reference_valid, tolerated, settings)
        except FrameError as error:
            raise RecipeError(f'references: {error}') from error

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """
        Give the references and the tolerated dissimilarity.

        """
        return {
            'references': self._images,
            'reference_valid': self._valid,
            'tolerated': self._tolerated,
        }

    def score(self, prepared: Prepared) -> ScorerOutput:
        """
        Score one prepared frame; see `Scorer.score`.

        The map is 1 - SSIM less the tolerated dissimilarity, 0..2. It is 0 for windows that do not
        lie wholly inside the image and the valid area; their neighbours see the same pixels.

        """
        check_prepared(prepared, self._images[0])
        best = self._best_match(prepared)
        anomaly_map = np.subtract(self._tolerable, best.similarity, out=best.similarity)
        np.clip(anomaly_map, 0, 2, out=anomaly_map)
        anomaly_map = np.asarray(cv2.copyTo(anomaly_map, best.inside), np.float32)
        worst = cv2.sepFilter2D(
            anomaly_map, -1, self._pool, self._pool, borderType=cv2.BORDER_CONSTANT
        ).max()
        valid = (prepared.valid & self._valid[best.which]).view(np.uint8)
        squares = cv2.norm(prepared.image, self._images[best.which], cv2.NORM_L2SQR, valid)
        samples = np.count_nonzero(valid) * (prepared.image.size // valid.size)
        return ScorerOutput(
            measures={
                'mean_ssim': best.mean,
                'lowest_ssim': 1.0 - float(worst),
                'mse': float(squares / samples),
            },
            anomaly_map=anomaly_map,
        )

    def _best_match(self, prepared: Prepared, leave_out: int | None = None) -> _Match:
        """
        Find the reference with the higher mean SSIM, of the two with the most similar thumbnails.

        """
        difference = self._thumbnails - _thumbnail(prepared.image)
        distance = np.einsum('ij,ij->i', difference, difference)
        if leave_out is not None:
            distance[leave_out] = np.inf
        frame = SsimReference.of(prepared.image, **self._constants)
        nearest = np.argsort(distance, kind='stable')[:_CANDIDATES]
        windows_seen = self._windows_inside(prepared.valid)
        return max(
            (
                self._match(frame, windows_seen, int(index))
                for index in nearest
                if np.isfinite(distance[index])
            ),
            key=lambda match: match.mean,
        )

    def _match(self, frame: SsimReference, windows_seen: NDArray[np.uint8], which: int) -> _Match:
        similarity = self._references[which].similarity_map(frame)
        inside = windows_seen & self._windows_valid[which]
        windows = cv2.countNonZero(inside)
        if not windows:
            raise FrameError('no SSIM window lies wholly inside the valid part of the frame')
        mean = float(cv2.sumElems(cv2.copyTo(similarity, inside))[0]) / windows
        return _Match(which, similarity, inside, mean)

    def _windows_inside(self, valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """
        Give 1 for windows wholly inside the valid area and the image, else 0.

        """
        inside = cv2.erode(
            valid.view(np.uint8), self._window_mask, borderType=cv2.BORDER_CONSTANT, borderValue=0
        )
        return np.asarray(inside, np.uint8)

    def _good_dissimilarity(
        self, images: Sequence[Prepared], picked: Sequence[int]
    ) -> NDArray[np.float32]:
        """
        Give, for every pixel, mean plus one standard deviation of 1 - SSIM of good parts.

        """
        shape = self._tolerated.shape
        count, total, squares = (np.zeros(shape, np.float32) for _ in range(3))
        for index, prepared in enumerate(images):
            own = picked.index(index) if index in picked else None
            if own is not None and len(picked) == 1:
                continue
            match = self._best_match(prepared, leave_out=own)
            dissimilarity = (1 - match.similarity) * match.inside
            count += match.inside
            total += dissimilarity
            squares += dissimilarity * dissimilarity
        if not count.any():
            return np.zeros(shape, np.float32)
        mean = total / np.maximum(count, 1)
        spread = np.sqrt(np.maximum(squares / np.maximum(count, 1) - mean * mean, 0))
        # Where no good part was ever seen, no part can be judged.
        tolerated = np.where(count > 0, mean + spread, np.float32(2))
        # Errors of the alignment wander by a pixel.
        return np.asarray(cv2.dilate(tolerated, np.ones((3, 3), np.uint8)), dtype=np.float32)


def _thumbnail(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """
    Give a small version to search by, as one row.

    """
    small = cv2.resize(image, (THUMBNAIL_PX, THUMBNAIL_PX), interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.float32).ravel()


def _representatives(images: Sequence[NDArray[np.uint8]], count: int) -> list[int]:
    """
    Choose greedily the images that all others are closest to; odd ones are never taken first.

    """
    thumbnails = np.stack([_thumbnail(image) for image in images])
    thumbnails -= thumbnails.mean(axis=0)
    lengths = np.square(thumbnails).sum(axis=1)
    distance = np.maximum(lengths[:, None] + lengths - 2 * thumbnails @ thumbnails.T, 0)
    nearest = np.full(len(images), np.inf, np.float32)
    picked: list[int] = []
    while len(picked) < min(count, len(images)):
        cost = np.minimum(distance, nearest).sum(axis=1)
        cost[picked] = np.inf
        picked.append(int(cost.argmin()))
        nearest = np.minimum(nearest, distance[picked[-1]])
    return picked


def _window_sum(image: NDArray[np.uint8] | NDArray[np.uint16], window: Window) -> NDArray[Any]:
    """
    Sum over the window of every pixel: whole numbers in float32, or float64.

    """
    size = (WINDOW_PX[window],) * 2
    if window == 'uniform':
        total = cv2.boxFilter(
            image, cv2.CV_32F, size, normalize=False, borderType=cv2.BORDER_REFLECT
        )
    else:
        total = cv2.GaussianBlur(
            image.astype(np.float64), size, _SIGMA_PX, borderType=cv2.BORDER_REFLECT
        )
    return np.asarray(total)


def _deviation(
    image: NDArray[np.uint8], squared_total: NDArray[Any], window: Window
) -> NDArray[Any]:
    """
    Give the sum of squared deviations from the window mean.

    Sums are whole numbers below 2^24 and so exact; their difference is off by up to 1/8, against
    constants of 1400 and more: SSIM by less than 1e-4.

    """
    squares = _window_sum(np.square(image, dtype=np.uint16), window)
    deviation = cv2.addWeighted(squares, 1, squared_total, -1 / _WEIGHT[window], 0)
    return np.asarray(deviation)
