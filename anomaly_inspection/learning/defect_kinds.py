# SPDX-License-Identifier: Apache-2.0
"""
The kinds of synthetic defects: how each is drawn, before its size and contrast are fitted.

To add a kind, write a function here and name it in `KINDS`.

`paste` follows Natural Synthetic Anomalies (Schlueter et al., arXiv:2109.15222): a patch of a good
part, its sides gamma-distributed, scaled and blended in without a seam. The blend takes off the
difference along the rim, spread inwards by a normalised convolution. It stands in for the Poisson
equation at a tenth of its time, and works for any outline.

"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
import math
from typing import Any, TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Plane = NDArray[Any]


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
    background : ndarray of float32, (c,), or None
        Colour of what lies around the part.

    """

    patch: Plane
    allowed: NDArray[np.bool_]
    x: Plane
    y: Plane
    corner: tuple[int, int]
    size_px: float
    contrast_levels: float
    background: Plane | None

    @property
    def shape(self) -> tuple[int, int]:
        """
        Height and width of the patch.

        """
        return self.patch.shape[0], self.patch.shape[1]

    def sign(self, rng: np.random.Generator) -> float:
        """
        Choose brighter or darker, whichever the gray levels leave room for.

        """
        level = float(self.patch[self.patch.shape[0] // 2, self.patch.shape[1] // 2].mean())
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

    """

    reach: Plane
    content: Plane
    softness: float


def _paste(rng: np.random.Generator, place: Place, others: Sequence[NDArray[np.uint8]]) -> Drawing:
    """
    A patch of a good part, scaled, blended in without a seam.

    """
    height, width = place.shape
    sides = np.clip(rng.gamma(2.0, 0.5, 2), 0.4, 1.6)
    aspect = math.sqrt(float(sides[0] / sides[1]))
    reach = _box(rng, place, aspect)
    half = place.size_px * math.sqrt(math.pi) / 4.0
    ring = (np.abs(reach - half) < max(1.0, 0.15 * half)).astype(np.float32)
    best, strongest = np.zeros_like(place.patch), -1.0
    # Parts are often alike: the patch that differs most of three shows something.
    for _ in range(3):
        source = others[int(rng.integers(len(others)))]
        patch = _scaled_patch(rng, source, (height, width), log_uniform(rng, 0.7, 1.4))
        difference = patch - place.patch
        strength = float(np.abs(difference[reach < half]).mean()) if half >= 1.0 else 0.0
        if strength > strongest:
            best, strongest = difference, strength
    sigma = max(1.0, 0.35 * half)
    weight = cv2.GaussianBlur(ring, (0, 0), sigma)[..., None] + np.float32(1e-6)
    along_rim = cv2.GaussianBlur(best * ring[..., None], (0, 0), sigma)
    return Drawing(reach, best - along_rim.reshape(best.shape) / weight, 0.3)


def _scratch(
    rng: np.random.Generator, place: Place, others: Sequence[NDArray[np.uint8]]
) -> Drawing:
    """
    A thin bent line, bright or dark, uneven along its length, at times one of several.

    """
    length = place.size_px * math.sqrt(math.pi / 4.0 * log_uniform(rng, 5.0, 25.0))
    height, width = place.shape
    left, top = float(place.x[0, 0]), float(place.y[0, 0])
    canvas = np.full((height, width), 255, np.uint8)
    heading = rng.uniform(0.0, math.pi)
    for stroke in range(int(rng.choice((1, 1, 2, 3)))):
        bend = rng.uniform(-0.6, 0.6) / max(1.0, length / 30.0) ** 0.3
        turn = heading + bend * np.linspace(-1.0, 1.0, 24)
        points = np.stack([np.cos(turn), np.sin(turn)], axis=1).cumsum(axis=0)
        points = (points - points.mean(axis=0)) * (length / 24.0)
        if stroke:
            points = 0.7 * points + rng.normal(0.0, 0.3 * place.size_px + 1.0, 2)
        pixels = np.rint((points - (left, top)) * 16.0).astype(np.int32)
        cv2.polylines(canvas, [pixels[:, None]], False, 0, 1, cv2.LINE_8, 4)
    reach: Plane = cv2.distanceTransform(canvas, cv2.DIST_L2, 3)
    grain = _noise(rng, place.shape, max(2.0, place.size_px / 3.0))
    reach = np.maximum(0.0, reach + 0.25 * grain)
    tone = 1.0 + 0.3 * grain
    return Drawing(reach, _toned(place, place.sign(rng) * tone, _tint(rng, 0.15)), 0.5)


def _stain(rng: np.random.Generator, place: Place, others: Sequence[NDArray[np.uint8]]) -> Drawing:
    """
    A spot or film: bright, dark or coloured, with a hard edge, a soft one or a rim.

    """
    reach = _blob(rng, place, rng.uniform(0.1, 0.5))
    tone = 1.0 + rng.uniform(0.0, 0.3) * _noise(rng, place.shape, max(2.0, place.size_px / 3.0))
    if rng.random() < 0.3:
        rim = (reach - 0.45 * place.size_px) / (0.1 * place.size_px + 0.5)
        tone = tone + np.exp(-(rim**2))
    content = _toned(place, place.sign(rng) * tone, _tint(rng, 0.6))
    if rng.random() < 0.3:
        # A film lets through what lies under it: strong where the part is bright.
        content = content * (0.3 + place.patch / (float(place.patch.mean()) + 1.0))
    return Drawing(reach, content, float(rng.choice((0.05, 0.3, 0.9))))


def _missing(
    rng: np.random.Generator, place: Place, others: Sequence[NDArray[np.uint8]]
) -> Drawing:
    """
    Missing material that shows the background, a piece of the surface, or what lies under it.

    """
    reach = _blob(rng, place, 0.35) if rng.random() < 0.5 else _box(rng, place, 1.0, 0.4)
    source = rng.random()
    least = 0.5 * place.contrast_levels
    near = reach < 0.5 * place.size_px
    if place.background is not None and source < 0.6:
        content = place.background - place.patch
    else:
        height, width = place.shape
        shift = place.size_px * rng.uniform(0.8, 1.6)
        angle = rng.uniform(0.0, 2.0 * math.pi)
        matrix = np.array(
            [[1, 0, shift * math.cos(angle)], [0, 1, shift * math.sin(angle)]], np.float32
        )
        beside = cv2.warpAffine(
            place.patch, matrix, (width, height), borderMode=cv2.BORDER_REFLECT_101
        )
        content = beside.reshape(place.patch.shape) - place.patch
    if source > 0.85 or float(np.abs(content[near]).mean()) < least:
        level = float(place.patch[near].mean()) + place.sign(rng) * place.contrast_levels
        under = level + 0.1 * place.contrast_levels * _noise(rng, place.shape, 2.0)
        content = under[..., None] - place.patch
    return Drawing(reach, content, 0.05)


def _dent(rng: np.random.Generator, place: Place, others: Sequence[NDArray[np.uint8]]) -> Drawing:
    """
    A dent or bump: one flank lit, the other in shade.

    """
    reach = _blob(rng, place, 0.2)
    angle = rng.uniform(0.0, 2.0 * math.pi)
    radius = 0.5 * place.size_px
    slope = (place.x * math.cos(angle) + place.y * math.sin(angle)) / radius
    tone = np.tanh(2.5 * slope) + rng.uniform(-0.5, 0.5)
    return Drawing(reach, _toned(place, tone, _tint(rng, 0.05)), float(rng.uniform(0.5, 1.0)))


def _blob(rng: np.random.Generator, place: Place, raggedness: float) -> Plane:
    """
    Reach from the heart by an uneven, stretched outline.

    """
    angle, stretch = rng.uniform(0.0, math.pi), log_uniform(rng, 1.0, 1.5)
    cosine, sine = math.cos(angle), math.sin(angle)
    along = (place.x * cosine + place.y * sine) / stretch
    across = (place.y * cosine - place.x * sine) * stretch
    uneven = _noise(rng, place.shape, max(2.0, place.size_px / 2.0))
    return np.hypot(along, across) * np.exp(raggedness * np.clip(uneven, -1.5, 1.5))


def _box(rng: np.random.Generator, place: Place, aspect: float, turn: float = math.pi) -> Plane:
    """
    Reach from the heart by a turned rectangle.

    """
    angle = rng.uniform(-turn, turn)
    cosine, sine = math.cos(angle), math.sin(angle)
    along = np.abs(place.x * cosine + place.y * sine) / aspect
    across = np.abs(place.y * cosine - place.x * sine) * aspect
    return np.maximum(along, across)


def _noise(rng: np.random.Generator, shape: tuple[int, int], grain_px: float) -> Plane:
    """
    Smooth noise, zero mean, about unit deviation.

    """
    cells = [min(64, max(4, round(side / grain_px) + 1)) for side in shape]
    small = rng.standard_normal(cells, dtype=np.float32)
    return cv2.resize(small, shape[::-1], interpolation=cv2.INTER_CUBIC)


def _scaled_patch(
    rng: np.random.Generator,
    source: NDArray[np.uint8],
    shape: tuple[int, int],
    scale: float,
) -> Plane:
    height = min(source.shape[0], max(2, round(shape[0] / scale)))
    width = min(source.shape[1], max(2, round(shape[1] / scale)))
    top = int(rng.integers(source.shape[0] - height + 1))
    left = int(rng.integers(source.shape[1] - width + 1))
    cut = source[top : top + height, left : left + width].astype(np.float32)
    scaled = cv2.resize(cut, shape[::-1], interpolation=cv2.INTER_LINEAR)
    return scaled.reshape(*shape, -1)


def _tint(rng: np.random.Generator, strength: float) -> Plane:
    """
    How strongly each of B, G, R changes, mean 1.

    """
    tint = 1.0 + strength * rng.uniform(-1.0, 1.0, 3).astype(np.float32)
    return np.asarray(tint / tint.mean())


def _toned(place: Place, tone: Plane, tint: Plane) -> Plane:
    """
    Give the tone as a change of every channel, of the wanted contrast at tone 1.

    """
    channels = place.patch.shape[2]
    weights = tint if channels == 3 else np.ones(channels, np.float32)
    return np.float32(place.contrast_levels) * tone[..., None].astype(np.float32) * weights


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return math.exp(rng.uniform(math.log(low), math.log(max(low, high))))


@dataclass(frozen=True)
class DefectKind:
    """
    A kind of defect.

    Parameters
    ----------
    draw : callable (rng, place, other good images) -> Drawing
        Draws it.
    half_per_size : float
        Half the side of the patch that it needs, in diameters.
    largest_of_part : float
        Largest random size, as a share of the part's own size.

    """

    draw: Callable[[np.random.Generator, Place, Sequence[NDArray[np.uint8]]], Drawing]
    half_per_size: float = 1.3
    largest_of_part: float = 0.5


KINDS: dict[str, DefectKind] = {
    'paste': DefectKind(_paste),
    'scratch': DefectKind(_scratch, half_per_size=2.4, largest_of_part=0.15),
    'stain': DefectKind(_stain),
    'missing': DefectKind(_missing),
    'dent': DefectKind(_dent),
}
