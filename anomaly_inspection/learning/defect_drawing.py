# SPDX-License-Identifier: Apache-2.0
"""
What all kinds of synthetic defects are drawn with: the place, outlines, noise and tones.

"""

from __future__ import annotations

from dataclasses import dataclass
import functools
import math
from typing import Any, TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Plane = NDArray[Any]

# From the median absolute deviation of white noise to its standard deviation, and from what is
# left of it over a Gaussian blur of 1 px to all of it.
_DEVIATION_PER_MAD = 1.4826
_NOISE_PER_RESIDUAL = 1.15


@dataclass(frozen=True, eq=False)
class Place:
    """
    Where a defect is drawn.

    Parameters
    ----------
    patch : ndarray of float32, (h, w, c)
        The good image around it.
    allowed : ndarray of bool, (h, w)
        Where it may change the image.
    x, y : ndarray of float32, (1, w) and (h, 1)
        From its heart, pixels.
    corner : (int, int)
        Column and row of the patch in the image.
    size_px, contrast_levels : float
        As wanted.
    light : ndarray of float32, (c,)
        Mean of the whole image.
    background : ndarray of float32, (n, c), or None
        Pixels of what lies around the part.

    """

    patch: Plane
    allowed: NDArray[np.bool_]
    x: Plane
    y: Plane
    corner: tuple[int, int]
    size_px: float
    contrast_levels: float
    light: Plane
    background: Plane | None

    @property
    def shape(self) -> tuple[int, int]:
        """
        Height and width of the patch.

        """
        return self.patch.shape[0], self.patch.shape[1]

    @property
    def heart(self) -> tuple[int, int]:
        """
        Row and column of the heart in the patch.

        """
        return -round(float(self.y[0, 0])), -round(float(self.x[0, 0]))

    @functools.cached_property
    def noise_levels(self) -> float:
        """
        Standard deviation of the camera's noise, gray levels.

        """
        residual = self.patch - cv2.GaussianBlur(self.patch, (0, 0), 1.0).reshape(self.patch.shape)
        return _NOISE_PER_RESIDUAL * _DEVIATION_PER_MAD * float(np.median(np.abs(residual)))

    def sign(self, rng: np.random.Generator) -> float:
        """
        Choose brighter or darker, whichever the gray levels leave room for.

        """
        level = float(self.patch[self.heart].mean())
        room = 1.5 * self.contrast_levels
        if level + room > 255.0:
            return -1.0
        return 1.0 if level - room < 0.0 else float(rng.choice((-1.0, 1.0)))


@dataclass(frozen=True, eq=False)
class Drawing:
    """
    A defect before its size and strength are fitted.

    Parameters
    ----------
    reach : ndarray of float32, (h, w)
        Distance from the heart, pixels, by the defect's own outline.
    content : ndarray of float32, (h, w, c)
        What full cover adds to the image.
    softness : float
        Width of the edge as a share of the reach, 0..1; never below a pixel.
    full_reach : float or None
        Reach at which the defect is whole, when it has an extent of its own.

    """

    reach: Plane
    content: Plane
    softness: float
    full_reach: float | None = None

    def cover(self, reach: float) -> Plane:
        """
        Give how far the defect covers each pixel when it ends at a reach, 0..1.

        """
        soft_px = max(1.0, self.softness * reach)
        return np.clip((reach - self.reach) / soft_px, 0.0, 1.0)


def blob(rng: np.random.Generator, place: Place, raggedness: float) -> Plane:
    """
    Give the reach from the heart by an uneven, stretched outline.

    """
    angle, stretch = rng.uniform(0.0, math.pi), log_uniform(rng, 1.0, 1.5)
    cosine, sine = math.cos(angle), math.sin(angle)
    along = (place.x * cosine + place.y * sine) / stretch
    across = (place.y * cosine - place.x * sine) * stretch
    uneven = smooth_noise(rng, place.shape, max(2.0, place.size_px / 2.0))
    return np.hypot(along, across) * np.exp(raggedness * np.clip(uneven, -1.5, 1.5))


def box(rng: np.random.Generator, place: Place, aspect: float, turn: float = math.pi) -> Plane:
    """
    Give the reach from the heart by a turned rectangle.

    """
    angle = rng.uniform(-turn, turn)
    cosine, sine = math.cos(angle), math.sin(angle)
    along = np.abs(place.x * cosine + place.y * sine) / aspect
    across = np.abs(place.y * cosine - place.x * sine) * aspect
    return np.maximum(along, across)


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], grain_px: float) -> Plane:
    """
    Give smooth noise, zero mean, about unit deviation.

    """
    cells = [min(64, max(4, round(side / grain_px) + 1)) for side in shape]
    small = rng.standard_normal(cells, dtype=np.float32)
    return cv2.resize(small, shape[::-1], interpolation=cv2.INTER_CUBIC)


def camera_noise(rng: np.random.Generator, place: Place) -> Plane:
    """
    Give noise like that of the image, for a surface that is drawn anew, (h, w, c).

    """
    noise = rng.standard_normal(place.patch.shape, dtype=np.float32)
    return np.asarray(np.float32(place.noise_levels) * noise)


def tint(rng: np.random.Generator, strength: float) -> Plane:
    """
    Give how strongly each of B, G, R changes, mean 1.

    """
    weights = 1.0 + strength * rng.uniform(-1.0, 1.0, 3).astype(np.float32)
    return np.asarray(weights / weights.mean())


def toned(place: Place, tone: Plane, weights: Plane) -> Plane:
    """
    Give the tone as a change of every channel, of the wanted contrast at tone 1.

    """
    channels = place.patch.shape[2]
    if channels != 3:
        weights = np.ones(channels, np.float32)
    return np.float32(place.contrast_levels) * tone[..., None].astype(np.float32) * weights


def mean_light(planes: NDArray[np.uint8]) -> Plane:
    """
    Give the mean of an image by a sample of its pixels, (c,).

    """
    every = max(1, min(planes.shape[:2]) // 64)
    return np.asarray(planes[::every, ::every].mean(axis=(0, 1), dtype=np.float32))


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """
    Draw a number whose logarithm is evenly spread; `low` when the range is empty.

    """
    return math.exp(rng.uniform(math.log(low), math.log(max(low, high))))


def warped(patch: Plane, matrix: Plane) -> Plane:
    """
    Move the pixels of a patch by an affine map, mirrored at its rim.

    """
    height, width = patch.shape[:2]
    moved = cv2.warpAffine(
        patch, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    return np.asarray(moved).reshape(patch.shape)
