# SPDX-License-Identifier: Apache-2.0
"""
Light normalisation: bring a frame to the brightness of the reference without hiding its defects.

"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from anomaly_inspection.imaging.quick_median import quick_median

if TYPE_CHECKING:
    from numpy.typing import NDArray

LIGHTS = ('none', 'gain', 'gain_offset')

# A lamp that has changed by more than this is a fault that must be seen, not corrected.
LARGEST_GAIN = 2.0
LARGEST_OFFSET = 64.0

_SAMPLES, _FEWEST_SAMPLES = 4096, 64
# How many of them the median of the residuals is taken of.
_MEDIAN_SAMPLES = 512
_ROUNDS = 6
_STEPS = 16
# Gray levels between places of the reference that tell gain from offset.
_LEAST_CONTRAST = 15.0
# Clipped pixels no longer follow the light.
_LOWEST_LEVEL, _HIGHEST_LEVEL = 4, 250


@dataclass(frozen=True)
class Light:
    """
    How the light of a frame differs from the reference's: frame = gain * reference + offset.

    Parameters
    ----------
    gain : float
        1/2 to 2.
    offset : float
        Gray levels, -64 to 64.

    """

    gain: float = 1.0
    offset: float = 0.0

    def remove(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """
        Bring the image to the reference's light.

        """
        if self == AS_TAUGHT:
            return image
        levels = (np.arange(256) - self.offset) / self.gain
        table = np.clip(np.rint(levels), 0, 255).astype(np.uint8)
        return np.asarray(cv2.LUT(image, table), np.uint8)


AS_TAUGHT = Light()


class LightMeter:
    """
    Measures the light of frames that lie on the reference.

    A line is fitted through the pairs (reference pixel, frame pixel) with Tukey's weights. So
    pixels that differ for another reason than the light do not count, even a dark stain over half
    of the part.

    Parameters
    ----------
    kind : str
        'none', 'gain' (lamp, exposure, aperture) or 'gain_offset' (stray light and black level as
        well).
    reference : ndarray of uint8, (h, w) or (h, w, 3)
        The prepared reference.
    part : ndarray of bool, (h, w), optional
        Where the part is: what is around it may have a brightness of its own. By default it is
        everywhere.

    """

    def __init__(
        self, kind: str, reference: NDArray[np.uint8], part: NDArray[np.bool_] | None = None
    ) -> None:
        self._kind = kind
        part = np.ones(reference.shape[:2], np.bool_) if part is None else part
        values = np.count_nonzero(part) * (reference.size // part.size)
        step = max(1, round((values / _SAMPLES) ** 0.5))
        sampled = np.zeros_like(part)
        sampled[step // 2 :: step, step // 2 :: step] = True
        self._places = np.flatnonzero(part & sampled)
        self._reference = self._values(reference)

    def measure(self, image: NDArray[np.uint8], valid: NDArray[np.bool_]) -> Light:
        """
        Measure the light of a frame that lies on the reference.

        Parameters
        ----------
        image : ndarray of uint8
            Same shape as the reference.
        valid : ndarray of bool, (h, w)
            Which pixels are the frame's.

        """
        if self._kind == 'none':
            return AS_TAUGHT
        frame = self._values(image)
        usable = np.repeat(valid.reshape(-1)[self._places], image.size // valid.size)
        usable &= (frame >= _LOWEST_LEVEL) & (frame <= _HIGHEST_LEVEL)
        usable &= (self._reference >= _LOWEST_LEVEL) & (self._reference <= _HIGHEST_LEVEL)
        if np.count_nonzero(usable) < _FEWEST_SAMPLES:
            return AS_TAUGHT
        reference, frame = self._reference[usable], frame[usable]
        gain, offset = _clip_gain(float(quick_median(frame / reference))), 0.0
        if self._kind == 'gain_offset':
            gain, offset = self._line_of_medians(reference, frame, (gain, offset))
        for _ in range(_ROUNDS):
            residual = frame - gain * reference - offset
            some = residual[:: max(1, residual.size // _MEDIAN_SAMPLES)]
            scale = max(1.4826 * float(quick_median(np.abs(some))), 1.0)
            weight = np.square(np.maximum(0, 1 - np.square(residual / (4.685 * scale))))
            before = gain, offset
            gain, offset = self._fit(reference, frame, weight)
            if abs(gain - before[0]) < 5e-4 and abs(offset - before[1]) < 0.05:
                break
        return Light(gain, offset)

    def _values(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        pixels = image.reshape(image.shape[0] * image.shape[1], -1)[self._places]
        return pixels.reshape(-1).astype(np.float32)

    def _line_of_medians(
        self,
        reference: NDArray[np.float32],
        frame: NDArray[np.float32],
        otherwise: tuple[float, float],
    ) -> tuple[float, float]:
        """
        Give the Theil-Sen line through the frame's medians at sixteen levels of the reference.

        """
        edges = np.linspace(reference.min(), reference.max() + 1, _STEPS + 1)
        step = np.digitize(reference, edges)
        groups = [step == index for index in range(1, _STEPS + 1)]
        groups = [group for group in groups if np.count_nonzero(group) >= _FEWEST_SAMPLES]
        x = np.array([quick_median(reference[group]) for group in groups])
        y = np.array([quick_median(frame[group]) for group in groups])
        rise, run = np.subtract.outer(y, y), np.subtract.outer(x, x)
        apart = run >= _LEAST_CONTRAST
        if not apart.any():
            return otherwise
        gain = _clip_gain(float(quick_median(rise[apart] / run[apart])))
        return gain, _clip_offset(float(quick_median(y - gain * x)))

    def _fit(
        self,
        reference: NDArray[np.float32],
        frame: NDArray[np.float32],
        weight: NDArray[np.float32],
    ) -> tuple[float, float]:
        total = float(weight.sum())
        if self._kind == 'gain':
            return _clip_gain(float(weight @ (reference * frame) / (weight @ reference**2))), 0.0
        mean_x, mean_y = float(weight @ reference) / total, float(weight @ frame) / total
        x, y = reference - mean_x, frame - mean_y
        xx, xy, yy = (float(weight @ (a * b)) / total for a, b in ((x, x), (x, y), (y, y)))
        # On a part of one single level, gain and offset cannot be told apart.
        if xx < _LEAST_CONTRAST**2 or xy <= 0:
            return _clip_gain(mean_y / mean_x), 0.0
        # Deming's line: both images are noisy; least squares would take noise for a lower gain.
        gain = _clip_gain((yy - xx + float(np.hypot(yy - xx, 2 * xy))) / (2 * xy))
        return gain, _clip_offset(mean_y - gain * mean_x)


def _clip_offset(offset: float) -> float:
    return float(np.clip(offset, -LARGEST_OFFSET, LARGEST_OFFSET))


def _clip_gain(gain: float) -> float:
    return float(np.clip(gain, 1 / LARGEST_GAIN, LARGEST_GAIN))
