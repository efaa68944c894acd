# SPDX-License-Identifier: Apache-2.0
"""
Autoencoder: a network that has only seen good parts cannot reconstruct what is anomalous.

Three measures of one pass through the network: how far its drawing is off
(`reconstruction_error`), where it is off most (`peak_residual`), and how near its bottleneck comes
to that of the images it was trained on (`latent_density`, see `latent_density.py`). They go
together by the recipe's `combination`: with 'any' a part is anomalous when one of them is (OR),
with 'all' when all of them are (AND); a measure with `judged: false` in recipe.yaml is left out.

The residual map compares drawing and image at the resolution of the network:

============  =====================================================================  ======
residual      value of a pixel                                                       range
============  =====================================================================  ======
``ssim``      1 - SSIM, Gaussian window of 11x11 px, sigma 1.5, data range 1         0..2
``l1``        absolute difference, mean over the channels                            0..1
``l2``        squared difference, mean over the channels                             0..1
``ssim_l1``   the sum of ``ssim`` and ``l1``: SSIM alone hardly sees a plain colour  0..3
============  =====================================================================  ======

It is absolute, never scaled to its own maximum. Bergmann et al. (2019), arXiv:1807.02011.

"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn, Self, TYPE_CHECKING

import cv2
import numpy as np

from anomaly_inspection.errors import FrameError, RecipeError, SettingError
from anomaly_inspection.imaging.net_input import from_net, net_input, resized
from anomaly_inspection.scoring.latent_density import LatentDensity
from anomaly_inspection.scoring.measure import BadSide, MeasureSpec
from anomaly_inspection.scoring.model import Autoencoder
from anomaly_inspection.scoring.scorer import (
    check_alike,
    check_prepared,
    checked_settings,
    fitted_array,
    ScorerOutput,
    Setting,
)
from anomaly_inspection.scoring.ssim import WINDOW_PX

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from anomaly_inspection.imaging.preprocessing import Prepared

# Of SSIM: a Gaussian of sigma 1.5 px, and the constants of the paper for a data range of 1.
_WINDOW = cv2.getGaussianKernel(WINDOW_PX['gaussian'], 1.5, cv2.CV_32F)
_C1, _C2 = 0.01**2, 0.03**2


@dataclass(frozen=True, eq=False)
class _Seen:
    """
    The output of the network for one image.

    Parameters
    ----------
    residual : ndarray of float32, (h, w)
        In prepared pixels, nothing tolerated, nothing masked.
    error : float
        Mean squared difference over valid pixels and channels; over patches the mean of theirs.
    latents : ndarray of float32, (patches, d)

    """

    residual: NDArray[np.float32]
    error: float
    latents: NDArray[np.float32]


class AutoencoderScorer:
    """
    A trained autoencoder, on the whole prepared image or on a grid of patches.

    Edges and shine stay blurred in every drawing, of good parts too. So the map shows only the
    residual beyond what the training images left at that place (mean and one standard deviation);
    the setting ``tolerance: none`` gives the plain residual.

    Settings
    --------
    ``residual``: see the top of the file. ``smooth_px``: edge of the square, in pixels of the
    network, that the residual is averaged over. ``patch_px``: 0 = the whole image is resized to
    the network's input; else edge of the square patches, in prepared pixels, which are judged one
    by one and averaged where they overlap. ``stride_px``: from patch to patch, at most
    ``patch_px``; 0 = half a patch.

    """

    name: ClassVar[str] = 'autoencoder'
    measures: ClassVar[tuple[MeasureSpec, ...]] = (
        MeasureSpec(
            'reconstruction_error',
            '1',
            BadSide.HIGH,
            'Mean squared difference between image and reconstruction, white = 1; one pass.',
            maximum=1.0,
        ),
        MeasureSpec(
            'peak_residual',
            '1',
            BadSide.HIGH,
            'Highest value of the smoothed residual map.',
            maximum=3.0,
        ),
        MeasureSpec(
            'latent_density',
            '1',
            BadSide.LOW,
            'Nearness of the latent vector (of the strangest patch) to those of the training '
            'images; 1 = one of them, 0.5 = five times as far as they are from each other.',
            maximum=1.0,
        ),
    )
    map_unit: ClassVar[str] = '1'
    array_names: ClassVar[tuple[str, ...]] = (
        'channels',
        'tolerated',
        'latents',
        'latent_centre',
        'latent_spacing',
    )
    settings: ClassVar[Mapping[str, Setting]] = {
        'residual': Setting('ssim_l1', choices=('ssim', 'l1', 'l2', 'ssim_l1')),
        'tolerance': Setting('good_parts', choices=('good_parts', 'none')),
        'smooth_px': Setting(9, 1, 63),
        'patch_px': Setting(0, 0, 4096),
        'stride_px': Setting(0, 0, 4096),
    }
    default_settings: ClassVar[Mapping[str, Any]] = {
        key: setting.default for key, setting in settings.items()
    }

    def __init__(
        self,
        files: Mapping[str, NDArray[np.uint8]],
        like: NDArray[np.uint8],
        settings: Mapping[str, Any],
    ) -> None:
        chosen = checked_settings(self.name, self.settings, settings)
        self._residual_kind: str = chosen['residual']
        self._pool = np.full(chosen['smooth_px'], 1 / chosen['smooth_px'], np.float32)
        self._files = dict(files)
        self._network = Autoencoder.from_arrays(files)
        self._like = like
        channels = 1 if like.ndim == 2 else like.shape[2]
        if channels != self._network.channels:
            raise RecipeError(
                f'the network takes images of {self._network.channels} channels, the prepared '
                f'ones have {channels}'
            )
        self._windows = _windows(like.shape[:2], chosen['patch_px'], chosen['stride_px'])
        self._coverage = np.zeros(like.shape[:2], np.float32)
        for window in self._windows:
            self._coverage[window] += 1
        self._tolerated = np.zeros(like.shape[:2], np.float32)
        self._density: LatentDensity

    @classmethod
    def fit(cls, images: Sequence[Prepared], settings: Mapping[str, Any]) -> NoReturn:
        """
        Refuse: a network takes minutes to train, and needs images of its own to stop by.

        """
        raise SettingError(
            'autoencoder is not taught but trained: teach the recipe with another scorer, then '
            'add it with `anomaly-inspection train IMAGES --recipe RECIPE`'
        )

    @classmethod
    def of_model(
        cls,
        files: Mapping[str, NDArray[np.uint8]],
        images: Sequence[Prepared],
        settings: Mapping[str, Any],
    ) -> Self:
        """
        Make the scorer of a trained network.

        Parameters
        ----------
        files : mapping of str to ndarray of uint8
            'model.xml' and 'model.bin', and what else is to lie beside them.
        images : sequence of Prepared
            The good parts it was trained on: the latent density and the tolerance come from them.
            Limits must not.
        settings : mapping
            See above.

        Raises
        ------
        SettingError
            When a setting is unknown or out of range.
        RecipeError
            When the model is not one of this package, or has other channels than the images.
        FrameError
            When there are fewer than two different images, or not all of one size and type.

        """
        check_alike(images, at_least=2)
        scorer = cls(files, np.zeros_like(images[0].image), settings)
        sums = np.zeros((3, *scorer._tolerated.shape))
        latents = []
        for prepared in images:
            seen = scorer._seen(prepared)
            latents.append(seen.latents)
            residual = np.where(prepared.valid, seen.residual, 0)
            sums += np.stack([prepared.valid, residual, np.square(residual)])
        scorer._density = LatentDensity.of(np.concatenate(latents))
        if {**cls.default_settings, **settings}['tolerance'] == 'good_parts':
            mean, mean_square = sums[1:] / np.maximum(sums[0], 1)
            deviation = np.sqrt(np.maximum(mean_square - np.square(mean), 0))
            scorer._tolerated = np.asarray(mean + deviation, np.float32)
        return scorer

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], settings: Mapping[str, Any]) -> Self:
        """
        Make the scorer again from `to_arrays`; see `Scorer.from_arrays`.

        """
        tolerated = fitted_array(arrays, 'tolerated', np.float32, (2,))
        channels = fitted_array(arrays, 'channels', np.int64, (1,))
        latents = fitted_array(arrays, 'latents', np.float32, (2,))
        centre = fitted_array(arrays, 'latent_centre', np.float32, (1,))
        spacing = fitted_array(arrays, 'latent_spacing', np.float64, (1,))
        if channels.tolist() not in ([1], [3]) or spacing.size != 1 or spacing[0] <= 0:
            raise RecipeError(
                f'channels {channels}, latent_spacing {spacing}; allowed: [1] or [3], one over 0'
            )
        shape = tolerated.shape + ((3,) if channels[0] == 3 else ())
        files = {key: array for key, array in arrays.items() if '.' in key}
        scorer = cls(files, np.zeros(shape, np.uint8), settings)
        if {latents.shape[1], centre.size} != {scorer._network.latent_size}:
            raise RecipeError(
                f'latents {latents.shape} and latent_centre {centre.shape} do not fit the '
                f'network, which gives {scorer._network.latent_size} latent numbers'
            )
        scorer._tolerated = tolerated
        scorer._density = LatentDensity(centre, latents, float(spacing[0]))
        return scorer

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """
        Give the tolerance, the latent vectors and all files.

        """
        return {
            'channels': np.array([self._network.channels]),
            'tolerated': self._tolerated,
            'latents': self._density.taught,
            'latent_centre': self._density.centre,
            'latent_spacing': np.array([self._density.spacing]),
            **self._files,
        }

    @property
    def preprocessing_fingerprint(self) -> str:
        """
        Give the fingerprint of the images that the network was trained on.

        """
        return self._network.preprocessing_fingerprint

    def allow_threads(self, count: int) -> None:
        """
        Let so many threads score at the same time; see `RunsNetwork`.

        """
        self._network.model.allow_threads(count)

    def score(self, prepared: Prepared) -> ScorerOutput:
        """
        Score one prepared frame; see `Scorer.score`.

        """
        check_prepared(prepared, self._like)
        seen = self._seen(prepared)
        anomaly_map = np.maximum(seen.residual - self._tolerated, 0)
        anomaly_map = np.asarray(
            cv2.copyTo(anomaly_map, prepared.valid.view(np.uint8)), np.float32
        )
        return ScorerOutput(
            measures={
                'reconstruction_error': seen.error,
                'peak_residual': float(anomaly_map.max()),
                'latent_density': min(self._density.at(latent) for latent in seen.latents),
            },
            anomaly_map=anomaly_map,
        )

    def _seen(self, prepared: Prepared) -> _Seen:
        residual = np.zeros_like(self._coverage)
        side = self._network.side_px
        errors, latents = [], []
        for window in self._windows:
            image = net_input(prepared.image[window], side)
            drawn, latent = self._network.run(image)
            np.clip(drawn, 0, 1, out=drawn)
            latents.append(latent)
            valid = resized(prepared.valid[window].view(np.uint8), (side, side))
            if pixels := cv2.countNonZero(valid):
                squares = cv2.norm(image, drawn, cv2.NORM_L2SQR, valid)
                errors.append(squares / (pixels * self._network.channels))
            found = cv2.sepFilter2D(
                self._residual(image, drawn),
                -1,
                self._pool,
                self._pool,
                borderType=cv2.BORDER_REFLECT,
            )
            height, width = residual[window].shape
            residual[window] += from_net(np.asarray(found, np.float32), (width, height))
        if not errors:
            raise FrameError('no pixel lies inside the valid part of the frame')
        residual /= self._coverage
        return _Seen(residual, float(np.mean(errors)), np.stack(latents))

    def _residual(
        self, image: NDArray[np.float32], drawn: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        difference = np.asarray(cv2.absdiff(image, drawn), np.float32)
        kind = self._residual_kind
        if kind == 'l1':
            return _channel_mean(difference)
        if kind == 'l2':
            return _channel_mean(difference * difference)
        residual = _dissimilarity(image, drawn, difference)
        return residual if kind == 'ssim' else residual + _channel_mean(difference)


def _dissimilarity(
    image: NDArray[np.float32], drawn: NDArray[np.float32], difference: NDArray[np.float32]
) -> NDArray[np.float32]:
    """
    Give 1 - SSIM of images from 0 to 1 and their difference, mean over the channels.

    `ssim.py` is for 8-bit images, where references are kept; for two new ones, in this range, this
    takes a third of the time or less. The rearranged formula is that of its docstring.

    """
    mean, mean_drawn, mean_square, mean_both = (
        cv2.sepFilter2D(one, -1, _WINDOW, _WINDOW, borderType=cv2.BORDER_REFLECT)
        for one in (image, drawn, difference * difference, image * image + drawn * drawn)
    )
    brightness = np.square(mean - mean_drawn)
    both = mean * mean + mean_drawn * mean_drawn
    similarity = 1 - brightness / (both + _C1)
    similarity *= 1 - (mean_square - brightness) / (np.maximum(mean_both - both, 0) + _C2)
    return 1 - _channel_mean(similarity)


def _channel_mean(values: NDArray[np.float32]) -> NDArray[np.float32]:
    if values.ndim == 2 or values.shape[2] == 1:
        return values.reshape(values.shape[:2])
    return np.asarray(cv2.transform(values, np.full((1, 3), 1 / 3)), np.float32)


def _windows(
    shape: tuple[int, ...], patch_px: int, stride_px: int
) -> tuple[tuple[slice, slice], ...]:
    """
    Give the patches of an image; those at the far edges are moved inside, so no pixel is lost.

    """
    height, width = shape
    if not patch_px:
        return ((slice(0, height), slice(0, width)),)
    stride = stride_px or max(1, patch_px // 2)
    if patch_px > min(height, width):
        raise SettingError(
            f'autoencoder.patch_px is {patch_px}; allowed: 0 (the whole image) to '
            f'{min(height, width)}, the shorter side of the prepared image'
        )
    if stride > patch_px:
        raise SettingError(
            f'autoencoder.stride_px is {stride}; allowed: up to patch_px, {patch_px}, or pixels '
            'between the patches would not be judged'
        )
    rows, columns = (
        sorted({*range(0, length - patch_px, stride), length - patch_px})
        for length in (height, width)
    )
    return tuple(
        (slice(row, row + patch_px), slice(column, column + patch_px))
        for row in rows
        for column in columns
    )
