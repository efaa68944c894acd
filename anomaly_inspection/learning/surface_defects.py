# SPDX-License-Identifier: Apache-2.0
"""
Synthetic defects that lie on the surface: lines, spots, colours, dents.

Their content follows the wanted contrast.

"""

from __future__ import annotations

import math
from typing import Any, TYPE_CHECKING

import cv2
import numpy as np

from anomaly_inspection.learning.defect_drawing import (
    blob,
    Drawing,
    log_uniform,
    smooth_noise,
    tint,
    toned,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from anomaly_inspection.learning.defect_drawing import Place

    Plane = NDArray[Any]

_CRACK_POINTS = 40
# Headings that a crack looks at before each step, as changes of its direction.
_CRACK_TURNS = np.linspace(-0.9, 0.9, 7)
# Change of CIE Lab's a and b in 8-bit values, before the contrast is fitted.
_COLOUR_CHANGE = 40.0


def scratch(
    rng: np.random.Generator, place: Place, others: Sequence[NDArray[np.uint8]]
) -> Drawing:
    """
    Draw a thin bent line, bright or dark, uneven along its length, at times one of several.

    """
    length = place.size_px * math.sqrt(math.pi / 4.0 * log_uniform(rng, 5.0, 25.0))
    lines = []
    heading = rng.uniform(0.0, math.pi)
    for stroke in range(int(rng.choice((1, 1, 2, 3)))):
        bend = rng.uniform(-0.6, 0.6) / max(1.0, length / 30.0) ** 0.3
        turn = heading + bend * np.linspace(-1.0, 1.0, 24)
        points = np.stack([np.cos(turn), np.sin(turn)], axis=1).cumsum(axis=0)
        points = (points - points.mean(axis=0)) * (length / 24.0)
        if stroke:
            points = 0.7 * points + rng.normal(0.0, 0.3 * place.size_px + 1.0, 2)
        lines.append(points)
    grain = smooth_noise(rng, place.shape, max(2.0, place.size_px / 3.0))
    reach = np.maximum(0.0, _distance(place, lines) + 0.25 * grain)
    tone = 1.0 + 0.3 * grain
    return Drawing(reach, toned(place, place.sign(rng) * tone, tint(rng, 0.15)), 0.5)


def crack(rng: np.random.Generator, place: Place, others: Sequence[NDArray[np.uint8]]) -> Drawing:
    """
    Draw a thin dark line that follows the dark lines of the surface, at times with a branch.

    """
    length = place.size_px * math.sqrt(math.pi / 4.0 * log_uniform(rng, 15.0, 50.0))
    gray = cv2.GaussianBlur(place.patch.mean(axis=2), (0, 0), 1.0)
    unevenness = float(gray.std()) + 1.0
    heading = rng.uniform(0.0, 2.0 * math.pi)
    lines = [
        _crack_line(rng, place, gray / unevenness, (0.0, 0.0), heading + turn, length / 2.0)
        for turn in (0.0, math.pi)
    ]
    if rng.random() < 0.4:
        root = lines[0][int(rng.integers(len(lines[0])))]
        fork = heading + float(rng.choice((-1.0, 1.0))) * rng.uniform(0.4, 1.0)
        lines.append(_crack_line(rng, place, gray / unevenness, root, fork, length / 4.0))
    reach = _distance(place, lines)
    # A crack is widest in its middle.
    ends = np.hypot(place.x, place.y) / (0.5 * length)
    reach = reach + 0.5 * np.clip(ends, 0.0, 1.5) ** 2
    sign = -1.0 if rng.random() < 0.85 else place.sign(rng)
    tone = 1.0 + 0.2 * smooth_noise(rng, place.shape, max(2.0, place.size_px / 3.0))
    return Drawing(reach, toned(place, sign * tone, tint(rng, 0.05)), 0.4)


def stain(rng: np.random.Generator, place: Place, others: Sequence[NDArray[np.uint8]]) -> Drawing:
    """
    Draw a spot or film: bright, dark or coloured, with a hard edge, a soft one or a rim.

    """
    reach = blob(rng, place, rng.uniform(0.1, 0.5))
    grain = smooth_noise(rng, place.shape, max(2.0, place.size_px / 3.0))
    tone = 1.0 + rng.uniform(0.0, 0.3) * grain
    if rng.random() < 0.3:
        rim = (reach - 0.45 * place.size_px) / (0.1 * place.size_px + 0.5)
        tone = tone + np.exp(-(rim**2))
    content = toned(place, place.sign(rng) * tone, tint(rng, 0.6))
    if rng.random() < 0.3:
        # A film lets through what lies under it: strong where the part is bright.
        content = content * (0.3 + place.patch / (float(place.patch.mean()) + 1.0))
    return Drawing(reach, content, float(rng.choice((0.05, 0.3, 0.9))))


def dirt(rng: np.random.Generator, place: Place, others: Sequence[NDArray[np.uint8]]) -> Drawing:
    """
    Draw one to five specks of a rough material, which hide part of what lies under them.

    """
    reach = blob(rng, place, 0.6)
    for _ in range(int(rng.integers(5))):
        aside = rng.normal(0.0, 0.45 * place.size_px, 2)
        scale = log_uniform(rng, 1.3, 4.0)
        speck = np.hypot(place.x - aside[0], place.y - aside[1]) * scale
        uneven = smooth_noise(rng, place.shape, max(2.0, place.size_px / 3.0))
        reach = np.minimum(reach, speck * np.exp(0.4 * np.clip(uneven, -1.5, 1.5)))
    grains = sum(
        smooth_noise(rng, place.shape, max(1.5, place.size_px / cells)) for cells in (2.0, 5.0, 12)
    )
    change = toned(place, np.full(1, place.sign(rng)), tint(rng, 0.5))
    colour = place.patch.mean(axis=(0, 1)) + change
    rough = 0.3 * place.contrast_levels * np.asarray(grains)[..., None]
    opacity = np.float32(rng.uniform(0.4, 1.0))
    content = opacity * (colour - place.patch) + rough
    return Drawing(reach, np.asarray(content, np.float32), float(rng.choice((0.05, 0.2, 0.4))))


def wrong_colour(
    rng: np.random.Generator, place: Place, others: Sequence[NDArray[np.uint8]]
) -> Drawing:
    """
    Give a region another colour and keep its light; on a gray image another reflectance.

    """
    reach = blob(rng, place, 0.3)
    softness = float(rng.choice((0.05, 0.3, 0.6)))
    if place.patch.shape[2] != 3:
        # What reflects more does so in proportion.
        gain = place.patch / (float(place.patch.mean()) + 1.0)
        return Drawing(reach, np.float32(place.sign(rng) * place.contrast_levels) * gain, softness)
    angle = rng.uniform(0.0, 2.0 * math.pi)
    lab = cv2.cvtColor(np.ascontiguousarray(place.patch) / np.float32(255.0), cv2.COLOR_BGR2LAB)
    change = np.array([0.0, math.cos(angle), math.sin(angle)], np.float32) * _COLOUR_CHANGE
    other = cv2.cvtColor((lab + change).astype(np.float32), cv2.COLOR_LAB2BGR)
    content = np.float32(255.0) * other - place.patch
    return Drawing(reach, content, softness)


def dent(rng: np.random.Generator, place: Place, others: Sequence[NDArray[np.uint8]]) -> Drawing:
    """
    Draw a dent or bump: one flank lit, the other in shade.

    """
    reach = blob(rng, place, 0.2)
    angle = rng.uniform(0.0, 2.0 * math.pi)
    radius = 0.5 * place.size_px
    slope = (place.x * math.cos(angle) + place.y * math.sin(angle)) / radius
    tone = np.tanh(2.5 * slope) + rng.uniform(-0.5, 0.5)
    return Drawing(reach, toned(place, tone, tint(rng, 0.05)), float(rng.uniform(0.5, 1.0)))


def _crack_line(
    rng: np.random.Generator,
    place: Place,
    darkness: Plane,
    start: tuple[float, float] | Plane,
    heading: float,
    length: float,
) -> Plane:
    """
    Walk from a point, turning to where the surface is darkest; give the points, (n, 2).

    """
    row, column = place.heart
    height, width = place.shape
    step = max(1.0, length / _CRACK_POINTS)
    point = np.array(start, float)
    points = [point]
    for _ in range(max(2, round(length / step))):
        turns = heading + _CRACK_TURNS + rng.normal(0.0, 0.15)
        ahead = point + step * np.stack([np.cos(turns), np.sin(turns)], axis=1)
        columns = np.clip(np.rint(ahead[:, 0] + column).astype(int), 0, width - 1)
        rows = np.clip(np.rint(ahead[:, 1] + row).astype(int), 0, height - 1)
        cost = darkness[rows, columns] + rng.normal(0.0, 0.4, len(turns)) + 0.3 * _CRACK_TURNS**2
        best = int(np.argmin(cost))
        heading, point = float(turns[best]), ahead[best]
        points.append(point)
    return np.array(points)


def _distance(place: Place, lines: Sequence[Plane]) -> Plane:
    """
    Give the distance of every pixel from the nearest line, pixels.

    """
    canvas = np.full(place.shape, 255, np.uint8)
    corner = float(place.x[0, 0]), float(place.y[0, 0])
    for points in lines:
        pixels = np.rint((points - corner) * 16.0).astype(np.int32)
        cv2.polylines(canvas, [pixels[:, None]], False, 0, 1, cv2.LINE_8, 4)
    return np.asarray(cv2.distanceTransform(canvas, cv2.DIST_L2, 3))
