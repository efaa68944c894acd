# SPDX-License-Identifier: Apache-2.0
"""
The defects of the simulated line: their shapes, and how they are fitted to an asked-for size and
strength.

A shape is drawn small, in a square patch of the frame, as a signed tone (what it adds) and a cover
(how much of the surface under it is hidden). `fit_defect` then finds the size and the amplitude at
which the finished patch shows the asked-for diameter and contrast, measured as the ground truth is
measured.

"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
import math
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray

from anomaly_inspection.capture.simulated_part import Plane
from anomaly_inspection.defect_fit import fit_defect as fit_size_and_contrast
from anomaly_inspection.defect_fit import fit_error, FitSteps

VISIBLE_LEVELS = 4.0
# Relative errors of diameter and contrast: where a fit stops, and what it settles for.
CLOSE_ENOUGH, ACCEPTABLE = 0.05, 0.12
_STEPS = FitSteps(
    rounds=9,
    close_enough=CLOSE_ENOUGH,
    size_step=(0.7, 1.5),
    strength_step=(0.6, 1.7),
    invisible_step=(1.5, 1.7),
    largest_size=math.inf,
    highest_strength=400.0,
)
GRAY_OF_BGR = np.array([[0.114, 0.587, 0.299]], np.float32)


@dataclass(frozen=True)
class Shape:
    """
    A defect drawn on a patch, before its strength is known.

    Parameters
    ----------
    tone : ndarray of float32, (h, w)
        What it adds to the surface, about -1..1 of the amplitude.
    cover : ndarray of float32, (h, w)
        How much of the surface's own structure it hides, 0..1.

    """

    tone: Plane
    cover: Plane


@dataclass(frozen=True)
class DefectKind:
    """
    One kind of drawn defect.

    Parameters
    ----------
    draw : callable
        (rng, half, size_px, heading) -> Shape on a (2 half + 1)-pixel square, the defect in its
        middle; `heading` is an angle in radians: along the defect, or out of the part for a kind
        that sits on the edge.
    half_per_diameter : float
        Half the side of the patch it needs, in diameters.
    tint : tuple of float
        How strongly it shows in B, G, R, whatever that makes in gray. A kind of either sign shows
        it where it is bright.
    sign : int
        1 = brighter than the surface, -1 = darker, 0 = whichever shows.
    sits_on_edge : bool
        True when it grows on the part's silhouette.
    leaves_part : bool
        True when it may reach over the silhouette.

    """

    draw: Callable[[np.random.Generator, int, float, float], Shape]
    half_per_diameter: float
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    sign: int = 0
    sits_on_edge: bool = False
    leaves_part: bool = False


@dataclass(frozen=True)
class MeasuredDefect:
    """
    The patch with its defect, and what was measured on it.

    """

    patch: Plane
    mask: NDArray[np.bool_]
    diameter_px: float
    contrast_levels: float

    def error(self, diameter_px: float, contrast_levels: float) -> float:
        """
        Give how far it is from what was asked for: the larger of both relative errors.

        """
        asked = (diameter_px, contrast_levels)
        return fit_error(asked, self.diameter_px, self.contrast_levels)


def gray(image: Plane) -> Plane:
    """
    Gray levels of a BGR image.

    """
    return cv2.transform(image, GRAY_OF_BGR)


def measure(good: Plane, damaged: Plane) -> tuple[NDArray[np.bool_], float, float]:
    """
    Give the mask of the visible change, its diameter (pixels) and its contrast (gray levels).

    Parameters
    ----------
    good, damaged : ndarray of float32, (h, w, 3) BGR
        The same pixels without and with the defect, noise-free, 0..255.

    Returns
    -------
    mask : ndarray of bool, (h, w)
        The largest connected area (8 neighbours) that changed by at least `VISIBLE_LEVELS`.
    diameter_px : float
        Diameter of the circle of the same area.
    contrast_levels : float
        Mean absolute gray-level difference over the mask; 0 when the mask is empty.

    """
    change = np.abs(gray(damaged) - gray(good))
    visible = change >= VISIBLE_LEVELS
    count, labels, stats, _ = cv2.connectedComponentsWithStats(visible.view(np.uint8))
    if count < 2:
        return np.zeros(visible.shape, np.bool_), 0.0, 0.0
    mask = labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    return mask, float(np.sqrt(4.0 * mask.sum() / np.pi)), float(change[mask].mean())


def fit_defect(
    kind: DefectKind,
    good: Plane,
    allowed: Plane,
    *,
    offset: tuple[int, int],
    half: int,
    heading: float,
    seed: int,
    diameter_px: float,
    contrast_levels: float,
) -> MeasuredDefect:
    """
    Draw a defect so that it measures as asked.

    Parameters
    ----------
    kind : DefectKind
        What to draw.
    good : ndarray of float32, (h, w, 3) BGR
        The patch of the finished noise-free image without the defect.
    allowed : ndarray of float32, (h, w)
        0..1: where the defect may be.
    offset : tuple of int
        Row and column of the drawn square at which the patch begins (the square may reach out of
        the frame).
    half : int
        Half the side of the drawn square, pixels.
    heading : float
        See `DefectKind`.
    seed : int
        Of the defect's own form.
    diameter_px, contrast_levels : float
        What is asked for.

    Returns
    -------
    MeasuredDefect
        The best of some tries; a thing that the surface cannot show (brighter than white) falls
        short and says so.

    """
    height, width = good.shape[:2]
    window = (slice(offset[0], offset[0] + height), slice(offset[1], offset[1] + width))
    flat = cv2.GaussianBlur(good, (0, 0), 3.0 + 0.35 * diameter_px)
    if kind.leaves_part:
        # A thing of its own: the colour of what lies under it does not show through.
        flat = cv2.cvtColor(gray(flat), cv2.COLOR_GRAY2BGR)
    # A weak defect lets the surface show through: hiding it would already be a strong change.
    hiding = min(1.0, (contrast_levels / 60.0) ** 2)

    def drawn(size: float, amplitude: float, sign: int) -> MeasuredDefect | None:
        tint = np.array(kind.tint if sign > 0 or kind.sign else (1.0, 1.0, 1.0), np.float32)
        tint = tint / float(GRAY_OF_BGR[0] @ tint)
        shape = kind.draw(np.random.default_rng(seed), half, size, heading)
        cover = (shape.cover[window] * allowed * hiding)[:, :, None]
        added = (shape.tone[window] * allowed * (sign * amplitude))[:, :, None]
        damaged = np.clip(good + cover * (flat - good) + added * tint, 0.0, 255.0)
        mask, diameter, contrast = measure(good, damaged)
        damaged[~mask] = good[~mask]
        return MeasuredDefect(damaged, mask, diameter, contrast) if diameter else None

    best = MeasuredDefect(good, np.zeros((height, width), np.bool_), 0.0, 0.0)
    asked = (diameter_px, contrast_levels)
    steps = replace(_STEPS, largest_size=3.0 * diameter_px + 3.0)
    # Of either sign: as the surface in its middle suggests; the other when that cannot be shown.
    brighter = float(gray(flat)[half - offset[0], half - offset[1]]) < 128.0
    for sign in (kind.sign,) if kind.sign else (1, -1) if brighter else (-1, 1):
        start = (diameter_px, contrast_levels * 1.3)
        found = fit_size_and_contrast(partial(drawn, sign=sign), asked, start, steps)
        if found is not None and found.error(*asked) < best.error(*asked):
            best = found
        if best.error(*asked) < ACCEPTABLE:
            break
    return best


def _grid(half: int, heading: float = 0.0) -> tuple[Plane, Plane]:
    """
    Coordinates along and across `heading` on the drawn square, pixels from its middle.

    """
    axis = np.arange(-half, half + 1, dtype=np.float32)
    x, y = np.meshgrid(axis, axis)
    cosine, sine = np.float32(np.cos(heading)), np.float32(np.sin(heading))
    return x * cosine + y * sine, y * cosine - x * sine


def _noise(rng: np.random.Generator, side: int, grain_px: float) -> Plane:
    """
    Smooth noise, zero mean, unit deviation; its grain grows with the defect, so that a fit only
    scales the form.

    """
    cells = max(4, round(side / max(grain_px, 1.0)) + 1)
    small = rng.standard_normal((64, 64), dtype=np.float32)[: min(cells, 64), : min(cells, 64)]
    return cv2.resize(small, (side, side), interpolation=cv2.INTER_CUBIC)


def _distance(half: int, points: NDArray[np.float64]) -> Plane:
    """
    Distance of every pixel to a polyline, pixels.

    """
    canvas = np.full((4 * half + 3, 4 * half + 3), 255, np.uint8)
    pixels = np.round((points + half) * 2 + 0.5).astype(np.int32)
    cv2.polylines(canvas, [pixels.reshape(-1, 1, 2)], False, 0, 1)
    distance: Plane = cv2.distanceTransform(canvas, cv2.DIST_L2, 5)
    side = 2 * half + 1
    return cv2.resize(distance / 2.0, (side, side), interpolation=cv2.INTER_AREA)


def _scratch(rng: np.random.Generator, half: int, size_px: float, heading: float) -> Shape:
    """
    A bundle of fine strokes beside a furrow, thin at both ends.

    """
    aspect = np.exp(rng.uniform(np.log(14.0), np.log(36.0)))
    length = size_px * np.sqrt(np.pi / 4 * aspect)
    width = max(length / aspect, 0.9)
    bend = rng.uniform(-0.07, 0.07)
    along, across = _grid(half, heading)
    t = 2.0 * along / length
    across = across - bend * length * (np.clip(t, -1.5, 1.5) ** 2 - 0.3)
    ends = np.clip((1.0 - np.abs(t)) * 6.0, 0.0, 1.0)
    local = width / 2 * (0.4 + 0.6 * np.sqrt(np.clip(1.0 - np.abs(t) ** 3, 0.0, 1.0)))
    core = np.clip(local - np.abs(across) + 0.5, 0.0, 1.0) * ends
    # Each stroke of the bundle comes and goes along its length.
    depth = _noise(rng, 2 * half + 1, size_px / 3)
    strokes = np.cos(np.pi * across / min(1.6, width) + 1.5 * depth + rng.uniform(0.0, 6.3))
    furrow = np.exp(-(((across - local - 0.8) / 0.9) ** 2)) * ends
    tone = core * np.clip(0.72 + 0.34 * strokes + 0.16 * depth, 0.2, 1.5) - 0.4 * furrow
    return Shape(_soft(tone), _soft(0.3 * core))


def _blowhole(rng: np.random.Generator, half: int, size_px: float, heading: float) -> Shape:
    """
    An open pore of the casting: a dark pit of uneven outline with a lit far wall.

    """
    x, y = _grid(half)
    angle = np.arctan2(y, x)
    outline = np.ones_like(x)
    for order in (2, 3, 5):
        outline += (
            (0.22 / order)
            * rng.uniform(0.4, 1.0)
            * np.cos(order * angle + rng.uniform(0, 2 * np.pi))
        )
    inside = np.hypot(x, y) / (outline * size_px / 2)
    pit = np.clip((1.0 - inside) * size_px / 2 + 0.5, 0.0, 1.0)
    # The light falls in from the upper left, so the wall at the lower right is lit.
    slope = (x + y) / (0.72 * size_px)
    rough = 0.12 * _noise(rng, 2 * half + 1, max(2.0, size_px / 9))
    darkness = pit * (0.95 + rough - 0.75 * np.clip(slope, -0.4, 0.7) * np.clip(inside, 0.0, 1.0))
    lip = np.clip(slope, 0.0, 1.0) * np.exp(-(((inside - 1.0) * size_px / 2 - 0.8) ** 2))
    return Shape(_soft(darkness - 0.5 * lip), _soft(0.75 * pit))


def _stain(rng: np.random.Generator, half: int, size_px: float, heading: float) -> Shape:
    """
    A dried drop of oil or rust: a brown patch of uneven depth with a darker rim.

    """
    x, y = _grid(half, heading)
    angle = np.arctan2(y, x)
    outline = np.ones_like(x)
    for order in (1, 2, 3, 4, 6):
        outline += (
            0.16
            / np.sqrt(order)
            * rng.uniform(0.3, 1.0)
            * np.cos(order * angle + rng.uniform(0, 2 * np.pi))
        )
    stretch = rng.uniform(0.75, 1.0)
    inside = np.hypot(x * stretch, y / stretch) / (outline * size_px / 2)
    film = np.clip((1.0 - inside) * size_px / 5 + 0.5, 0.0, 1.0)
    rim = np.exp(-(((inside - 0.88) / 0.13) ** 2))
    mottle = _noise(rng, 2 * half + 1, size_px / 4)
    tone = film * np.clip(0.75 + 0.14 * mottle + 0.35 * rim, 0.25, 1.4)
    return Shape(_soft(tone), _soft(0.25 * film))


def _burr(rng: np.random.Generator, half: int, size_px: float, heading: float) -> Shape:
    """
    Torn metal on the edge: a jagged bright flap outside, or a chip broken out with a bright grainy
    fracture.

    """
    out, along = _grid(half, heading)
    length = size_px * rng.uniform(1.3, 2.0)
    depth = size_px**2 * np.pi / 4 / length / 0.62
    knots = np.linspace(-1.0, 1.0, 12)
    teeth = rng.uniform(0.45, 1.0, knots.size) * np.sqrt(1.0 - np.abs(knots) ** 1.5)
    reach = depth * np.interp(2 * along / length, knots, teeth, left=0.0, right=0.0)
    grain = _noise(rng, 2 * half + 1, 2.5)
    if rng.random() < 0.55:
        # Curled up: its root on the part in shade, its crest bright.
        start, end = -0.5 * reach, 0.5 * reach
        crest = np.exp(-(((out - 0.15 * reach) / (0.22 * depth + 0.5)) ** 2))
        lit = 0.55 + 0.75 * crest + 0.08 * grain
    else:
        start, end = -reach, 0.02 * reach
        lit = 0.85 + 0.22 * grain
    flap = np.clip(out - start + 0.5, 0.0, 1.0) * np.clip(end - out + 0.5, 0.0, 1.0)
    flap = flap * (reach > 0.5)
    return Shape(_soft(flap * np.clip(lit, 0.35, 1.4)), _soft(flap))


def _wire(rng: np.random.Generator, half: int, size_px: float, heading: float) -> Shape:
    """
    A curled piece of wire or swarf lying on the part.

    """
    aspect = np.exp(rng.uniform(np.log(18.0), np.log(40.0)))
    length = size_px * np.sqrt(np.pi / 4 * aspect)
    width = max(length / aspect, 1.0)
    steps = 48
    wave = np.linspace(0, 1, steps)
    turn = rng.uniform(1.2, 3.4) * rng.choice((-1.0, 1.0))
    direction = (
        heading
        + turn * (wave - 0.5)
        + rng.uniform(0.3, 1.0) * np.sin(2 * np.pi * (wave * rng.uniform(0.7, 1.4) + rng.random()))
    )
    points = np.stack([np.cos(direction), np.sin(direction)], axis=1).cumsum(axis=0)
    points *= length / steps
    points -= (points.max(axis=0) + points.min(axis=0)) / 2
    distance = _distance(half, points)
    body = np.clip((width / 2 - distance) + 0.5, 0.0, 1.0)
    # A round wire: bright along its middle, darker to its sides.
    shine = 0.45 + 0.85 * np.exp(-((distance / (0.28 * width + 0.2)) ** 2))
    return Shape(_soft(body * shine), _soft(body))


def _soft(plane: NDArray[np.floating]) -> Plane:
    """
    Blur as the lens does.

    """
    return cv2.GaussianBlur(np.asarray(plane, np.float32), (0, 0), 0.42)


MISSING_BORE = 'missing_bore'

DRAWN_KINDS: Mapping[str, DefectKind] = MappingProxyType(
    {
        'scratch': DefectKind(_scratch, 2.8),
        'blowhole': DefectKind(_blowhole, 1.1, sign=-1),
        'stain': DefectKind(_stain, 1.2, tint=(1.25, 1.0, 0.8), sign=-1),
        'burr': DefectKind(_burr, 1.7, sign=1, sits_on_edge=True, leaves_part=True),
        'wire': DefectKind(_wire, 2.9, tint=(0.62, 1.0, 1.3), leaves_part=True),
    }
)

DEFECT_KINDS = (*DRAWN_KINDS, MISSING_BORE)
