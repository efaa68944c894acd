# SPDX-License-Identifier: Apache-2.0
"""
Tell a surface from a part by one image: a surface looks alike all over.

Many parts show by themselves that they are pieces of a texture, because they share no picture.
Copies of one image share all of it. So the image is compared with surfaces that are made of it:
its spectrum with random phases gives images with the same waves, but alike all over. Where the
strength of the detail varies from place to place no more than in those, nothing in the image has a
place of its own.

"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_SIDE_PX = 128
_SCALES_PX = (1.0, 2.0, 4.0)
_BORDER_PX = 4
# Places in each direction that are compared.
_PLACES = 4
_SURROGATES = 5
# Papers vary 1.0 to 1.4 times as much as their surrogates, mostly because their specks are not
# Gaussian; capsules, bottles, boards and castings 1.9 to 13 times.
_MOST_VARIATION = 1.5
# Weaker detail is noise of the camera.
_LEAST_STRENGTH = 0.3


def are_surfaces(images: Sequence[NDArray[np.uint8]]) -> bool:
    """
    Tell whether most of the images look alike all over.

    """
    return sum(is_surface(image) for image in images) > len(images) / 2


def is_surface(image: NDArray[np.uint8]) -> bool:
    """
    Tell whether an image looks alike all over, as a piece of paper or cloth does.

    Parameters
    ----------
    image : ndarray of uint8, (h, w) or (h, w, 3)
        The region of interest of a good image.

    """
    gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) if image.ndim == 3 else image
    factor = max(1, round(min(gray.shape) / _SIDE_PX))
    size = gray.shape[1] // factor, gray.shape[0] // factor
    if min(size) < 4 * _BORDER_PX * _PLACES:
        return False
    small = np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), np.float32)
    rng = np.random.default_rng(0)
    expected = [_variation(surrogate) for surrogate in _surrogates(small, rng)]
    return _variation(small) <= _MOST_VARIATION * float(np.median(expected))


def _variation(image: NDArray[np.float32]) -> float:
    """
    Give how much the logarithm of the strength of the detail varies from place to place.

    """
    planes = []
    for scale in _SCALES_PX:
        smooth = cv2.GaussianBlur(image, (0, 0), scale)
        across = cv2.Sobel(smooth, cv2.CV_32F, 1, 0)
        down = cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
        planes += [np.abs(way) for way in (across, down, across + down, across - down)]
    strength = np.stack(planes, axis=-1)[_BORDER_PX:-_BORDER_PX, _BORDER_PX:-_BORDER_PX]
    places = [
        place.mean(axis=(0, 1))
        for rows in np.array_split(strength, _PLACES, axis=0)
        for place in np.array_split(rows, _PLACES, axis=1)
    ]
    logarithms = np.log(np.array(places) + _LEAST_STRENGTH)
    return float(np.sqrt(logarithms.var(axis=0).mean()))


def _surrogates(image: NDArray[np.float32], rng: np.random.Generator) -> list[NDArray[np.float32]]:
    """
    Give images with the spectrum of this one and random phases.

    The window keeps the edges of the image, which do not meet, out of the spectrum.

    """
    height, width = image.shape
    window = np.sqrt(np.outer(np.hanning(height), np.hanning(width)))
    mean = float(image.mean())
    waves = np.abs(np.fft.fft2((image - mean) * window)) / np.sqrt(np.square(window).mean())
    phases = [np.angle(np.fft.fft2(rng.standard_normal(image.shape))) for _ in range(_SURROGATES)]
    return [
        np.asarray(np.fft.ifft2(waves * np.exp(1j * phase)).real + mean, np.float32)
        for phase in phases
    ]
