# SPDX-License-Identifier: Apache-2.0
"""
Synthetic defects of the part's own structure: pieces that are missing, moved, turned or bent.

Their contrast is what the part itself gives: a missing pin shows what lies around it. A piece is
cut out along its own edges: from the heart outwards, a step to a pixel of another colour is as
long as many steps on one colour.

"""

from __future__ import annotations

import math
from typing import Any, TYPE_CHECKING

import cv2
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

from anomaly_inspection.learning.defect_drawing import (
    blob,
    box,
    camera_noise,
    Drawing,
    log_uniform,
    mean_light,
    smooth_noise,
    warped,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from anomaly_inspection.learning.defect_drawing import Place

    Plane = NDArray[Any]

# Longer side of the grid on which a piece is cut out, and the length of a step on one colour as a
# share of that of an average step.
_PIECE_GRID = 40
_PLAIN_STEP = 0.15
# A piece may be smaller or larger than asked for (by area), where its edge is clearer there.
_PIECE_AREAS = (0.5, 0.7, 1.0, 1.4)
_NEIGHBOURS = (
    (np.s_[:, :-1], np.s_[:, 1:], 1.0),
    (np.s_[:-1], np.s_[1:], 1.0),
    (np.s_[:-1, :-1], np.s_[1:, 1:], math.sqrt(2.0)),
    (np.s_[:-1, 1:], np.s_[1:, :-1], math.sqrt(2.0)),
)
_FINEST_BLUR_PX = 6.0
# How many pieces of other parts are looked at: parts are often alike.
_DRAWS = 3


def foreign_pattern(
    rng: np.random.Generator, place: Place, others: Sequence[NDArray[np.uint8]]
) -> Drawing:
    """
    Blend a patch of a good part in without a seam, scaled.

    This follows Natural Synthetic Anomalies (Schlueter et al., arXiv:2109.15222). The blend takes
    off the difference along the rim, spread inwards by a normalised convolution. It stands in for
    the Poisson equation at a tenth of its time, and works for any outline.

    """
    sides = np.clip(rng.gamma(2.0, 0.5, 2), 0.4, 1.6)
    reach = box(rng, place, math.sqrt(float(sides[0] / sides[1])))
    half = place.size_px * math.sqrt(math.pi) / 4.0
    ring = (np.abs(reach - half) < max(1.0, 0.15 * half)).astype(np.float32)
    difference = _most_different(rng, place, others, reach < half, 1.4)
    sigma = max(1.0, 0.35 * half)
    weight = _widely_blurred(ring[..., None], sigma) + np.float32(1e-6)
    along_rim = _widely_blurred(difference * ring[..., None], sigma)
    return Drawing(reach, difference - along_rim / weight, 0.3)


def wrong_piece(
    rng: np.random.Generator, place: Place, others: Sequence[NDArray[np.uint8]]
) -> Drawing:
    """
    Put a piece of another place or another part there, with a clear edge.

    """
    half = 0.5 * place.size_px
    reach = (
        _piece(place) if rng.random() < 0.5 else box(rng, place, log_uniform(rng, 0.6, 1.6), 0.4)
    )
    return Drawing(reach, _most_different(rng, place, others, reach < half, 1.25), 0.05, half)


def missing_piece(
    rng: np.random.Generator, place: Place, others: Sequence[NDArray[np.uint8]]
) -> Drawing:
    """
    Take a piece away and go on with the surface around it.

    """
    reach, half = _piece(place), 0.5 * place.size_px
    around = _filled(place, reach < half + 1.0) + camera_noise(rng, place)
    return Drawing(reach, around - place.patch, 0.05, half)


def broken_edge(
    rng: np.random.Generator, place: Place, others: Sequence[NDArray[np.uint8]]
) -> Drawing:
    """
    Break a piece off, so that the background shows, a piece of the surface, or what lies under it.

    """
    reach = blob(rng, place, 0.35) if rng.random() < 0.5 else box(rng, place, 1.0, 0.4)
    source = rng.random()
    half = 0.5 * place.size_px
    near = (reach < half) & place.allowed
    if place.background is not None and source < 0.6:
        content = _sampled_background(rng, place) - place.patch
    else:
        angle, shift = rng.uniform(0.0, 2.0 * math.pi), place.size_px * rng.uniform(0.8, 1.6)
        matrix = np.array([[1, 0, shift * math.cos(angle)], [0, 1, shift * math.sin(angle)]])
        content = warped(place.patch, matrix) - place.patch
    least = 0.5 * place.contrast_levels
    if source > 0.85 or not near.any() or float(np.abs(content[near]).mean()) < least:
        level = float(place.patch[place.heart].mean()) + place.sign(rng) * place.contrast_levels
        grain = smooth_noise(rng, place.shape, max(2.0, place.size_px / 6.0))
        under = level + 0.1 * place.contrast_levels * grain
        content = under[..., None] + camera_noise(rng, place) - place.patch
    return Drawing(reach, content, 0.05, half)


def displaced_piece(
    rng: np.random.Generator, place: Place, others: Sequence[NDArray[np.uint8]]
) -> Drawing:
    """
    Move and turn a piece a little; where it was, the surface around it goes on.

    """
    reach, half = _piece(place), 0.5 * place.size_px
    way = max(2.0, place.size_px * log_uniform(rng, 0.1, 0.6))
    angle = rng.uniform(0.0, 2.0 * math.pi)
    row, column = place.heart
    turn = cv2.getRotationMatrix2D((column, row), rng.uniform(-15.0, 15.0), 1.0)
    shift = np.array([[0.0, 0.0, way * math.cos(angle)], [0.0, 0.0, way * math.sin(angle)]])
    matrix = np.asarray(turn + shift)
    around = _filled(place, reach < half + 1.0) + camera_noise(rng, place)
    piece = np.clip(half + 0.5 - reach, 0.0, 1.0)[..., None].astype(np.float32)
    moved = warped(piece, matrix)
    moved_reach = warped(reach[..., None].astype(np.float32), matrix)[..., 0]
    there = around + moved * (warped(place.patch, matrix) - around)
    return Drawing(np.minimum(reach, moved_reach), there - place.patch, 0.05, half)


def turned_piece(
    rng: np.random.Generator, place: Place, others: Sequence[NDArray[np.uint8]]
) -> Drawing:
    """
    Turn a round piece, by a quarter, a half or any angle from 20 degrees.

    """
    angle = float(rng.choice((90.0, 180.0, 270.0, rng.uniform(20.0, 340.0))))
    row, column = place.heart
    turned = warped(place.patch, cv2.getRotationMatrix2D((column, row), angle, 1.0))
    reach = np.hypot(place.x, place.y)
    return Drawing(reach, turned - place.patch, 0.15, 0.5 * place.size_px)


def bent_edge(
    rng: np.random.Generator, place: Place, others: Sequence[NDArray[np.uint8]]
) -> Drawing:
    """
    Push the image aside around the heart, most in the middle, across the edge that is there.

    """
    radius = 1.2 * place.size_px
    push = max(1.5, place.size_px * log_uniform(rng, 0.1, 0.5))
    angle = _edge_normal(place) + rng.normal(0.0, 0.3) + (math.pi if rng.random() < 0.5 else 0.0)
    distance = np.hypot(place.x, place.y)
    weight = np.cos(np.clip(distance / radius, 0.0, 1.0) * math.pi) * 0.5 + 0.5
    row, column = place.heart
    from_x = place.x + column - push * math.cos(angle) * weight
    from_y = place.y + row - push * math.sin(angle) * weight
    bent = cv2.remap(
        place.patch,
        from_x.astype(np.float32),
        from_y.astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    return Drawing(distance, bent.reshape(place.patch.shape) - place.patch, 0.1, radius)


def _piece(place: Place) -> Plane:
    """
    Give the reach by the outline of the piece around the heart: half the size at its edge.

    """
    height, width = place.shape
    scale = min(1.0, _PIECE_GRID / max(height, width))
    grid = max(3, round(scale * width)), max(3, round(scale * height))
    blurred = cv2.GaussianBlur(place.patch, (0, 0), 0.8)
    small = cv2.resize(blurred, grid, interpolation=cv2.INTER_AREA).reshape(*grid[::-1], -1)
    row, column = place.heart
    at = (
        min(grid[1] - 1, row * grid[1] // height),
        min(grid[0] - 1, column * grid[0] // width),
    )
    far = cv2.GaussianBlur(_own_distance(small, at), (3, 3), 0)
    cell_px2 = (width / grid[0]) * (height / grid[1])
    outline = _clearest_outline(far, small, math.pi / 4.0 * place.size_px**2 / cell_px2)
    inside = cv2.resize(far - outline, (width, height), interpolation=cv2.INTER_LINEAR) < 0.0
    inside[row, column] = True
    mask = inside.astype(np.uint8)
    outwards = cv2.distanceTransform(1 - mask, cv2.DIST_L2, 5)
    inwards = cv2.distanceTransform(mask, cv2.DIST_L2, 5)
    return np.asarray(np.maximum(0.0, 0.5 * place.size_px + outwards - inwards + 0.5))


def _own_distance(small: Plane, at: tuple[int, int]) -> Plane:
    """
    Give the length of the shortest way from a pixel to each, where edges are long.

    """
    height, width = small.shape[:2]
    numbers = np.arange(height * width).reshape(height, width)
    starts, ends, steps, lengths = [], [], [], []
    for one, other, length in _NEIGHBOURS:
        starts.append(numbers[one].ravel())
        ends.append(numbers[other].ravel())
        steps.append(np.abs(small[one] - small[other]).sum(axis=-1).ravel())
        lengths.append(np.full(steps[-1].size, length))
    step = np.concatenate(steps)
    costs = np.concatenate(lengths) * (_PLAIN_STEP + step / (float(step.mean()) + 1e-3))
    edges = np.concatenate(starts), np.concatenate(ends)
    graph = coo_array((costs, edges), (numbers.size, numbers.size)).tocsr()
    found = dijkstra(graph, directed=False, indices=int(numbers[at]))
    return np.asarray(found, np.float32).reshape(height, width)


def _clearest_outline(far: Plane, small: Plane, area: float) -> float:
    """
    Give the distance at which a piece of about the wanted area has the clearest edge.

    """
    in_order = np.sort(far, axis=None)
    best, clearest = float(in_order[-1]), -1.0
    for share in _PIECE_AREAS:
        outline = float(in_order[min(in_order.size - 1, max(1, round(share * area)))])
        inside = (far < outline).astype(np.uint8)
        ring = (cv2.dilate(inside, np.ones((3, 3), np.uint8)) > 0) & (inside == 0)
        if not ring.any() or not inside.any():
            continue
        within = cv2.erode(inside, np.ones((3, 3), np.uint8)) == 0
        rim = (inside > 0) & within
        contrast = float(np.abs(small[ring].mean(axis=0) - small[rim].mean(axis=0)).sum())
        if contrast > clearest:
            best, clearest = outline, contrast
    return best


def _filled(place: Place, hole: NDArray[np.bool_]) -> Plane:
    """
    Give the patch with the surface around a hole drawn on into it (pull and push).

    """
    wide = cv2.dilate(hole.astype(np.uint8), np.ones((5, 5), np.uint8))
    known = (1 - wide).astype(np.float32)
    weighted = place.patch * known[..., None]
    levels = []
    while min(known.shape) > 2 and float(known.min()) < 1.0:
        levels.append((weighted, known))
        weighted, known = _halved(weighted), _halved(known[..., None])[..., 0]
    total = known.sum()
    even = weighted.sum(axis=(0, 1)) / max(float(total), 1e-3)
    filled = weighted + (1.0 - known[..., None]) * even
    for weighted, known in reversed(levels):
        coarse = cv2.resize(filled, known.shape[::-1], interpolation=cv2.INTER_LINEAR)
        coarse = coarse.reshape(weighted.shape)
        filled = weighted + (1.0 - known[..., None]) * coarse
    return np.asarray(filled)


def _widely_blurred(planes: Plane, sigma: float) -> Plane:
    """
    Blur planes, on a coarser grid where the blur is wide.

    """
    height, width, _ = planes.shape
    scale = min(1.0, _FINEST_BLUR_PX / sigma)
    coarse = max(1, round(scale * width)), max(1, round(scale * height))
    small = cv2.resize(planes, coarse, interpolation=cv2.INTER_AREA)
    blurred = cv2.GaussianBlur(small, (0, 0), scale * sigma)
    wide = cv2.resize(blurred, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(wide).reshape(planes.shape)


def _halved(planes: Plane) -> Plane:
    return np.asarray(cv2.pyrDown(planes)).reshape(
        (planes.shape[0] + 1) // 2, (planes.shape[1] + 1) // 2, planes.shape[2]
    )


def _sampled_background(rng: np.random.Generator, place: Place) -> Plane:
    """
    Give background with its own noise, (h, w, c).

    """
    assert place.background is not None
    middle = np.median(place.background, axis=0)
    spread = 1.4826 * np.median(np.abs(place.background - middle), axis=0)
    noise = rng.standard_normal(place.patch.shape, dtype=np.float32)
    return np.asarray(middle + spread * noise, np.float32)


def _most_different(
    rng: np.random.Generator,
    place: Place,
    others: Sequence[NDArray[np.uint8]],
    inside: NDArray[np.bool_],
    largest_scale: float,
) -> Plane:
    """
    Give the difference to a patch of a good part, the largest of several.

    """
    best, strongest = np.zeros_like(place.patch), -1.0
    for _ in range(_DRAWS):
        source = others[int(rng.integers(len(others)))]
        scale = log_uniform(rng, 1.0 / largest_scale, largest_scale)
        # Parts differ in exposure; a piece lies in the light of the part that it lies on.
        light = place.light - mean_light(source)
        difference = _scaled_patch(rng, source, place.shape, scale) + light - place.patch
        strength = float(np.abs(difference[inside]).mean()) if inside.any() else 0.0
        if strength > strongest:
            best, strongest = difference, strength
    return best


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


def _edge_normal(place: Place) -> float:
    """
    Give the direction across the edges around the heart, radians.

    """
    row, column = place.heart
    half = max(2, round(place.size_px / 2.0))
    around = place.patch[
        max(0, row - half) : row + half + 1, max(0, column - half) : column + half + 1
    ]
    gray = cv2.GaussianBlur(around.mean(axis=2), (0, 0), 1.0)
    right, down = cv2.Sobel(gray, cv2.CV_32F, 1, 0), cv2.Sobel(gray, cv2.CV_32F, 0, 1)
    # The structure tensor's main direction.
    return 0.5 * math.atan2(
        2.0 * float((right * down).sum()), float((right**2).sum() - (down**2).sum())
    )
