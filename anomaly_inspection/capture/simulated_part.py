# SPDX-License-Identifier: Apache-2.0
"""
The part that the simulated line makes: a pump body, modelled as a height map and lit by a ring
light.

Everything that all parts share is computed once here, in the part's own coordinates ("the
canvas"): x right, y down, origin in the part's centre, angles from x towards y. Lengths in this
file are design pixels: about one pixel of a 640x480 frame.

"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

# float32 throughout; OpenCV's type stubs promise no more than some number.
Plane = NDArray[Any]

CANVAS_HALF = 164.0
PART_WIDTH = 290.0
# Nothing of the part is further from its centre than this.
PART_RADIUS = 156.0

BOLT_ANGLES_DEG = (42.0, 112.0, 196.0, 248.0, 316.0)
BOLT_CIRCLE_RADIUS = 119.0
BOLT_BORE_RADIUS = 9.0
SPOTFACE_RADIUS = 17.0
BOSS_RADIUS = 74.0
BORE_RADIUS = 30.0
SIDE_PORT_ANGLE_DEG = 0.0
SMALL_PORT_ANGLE_DEG = 153.0


@dataclass(frozen=True)
class Surface:
    """
    How one surface looks, on the canvas; planes are float32, (size, size), gray levels.

    Parameters
    ----------
    tone : ndarray
        Under the ring light alone, 0..255.
    side : tuple of two ndarray
        What light from +x and from +y adds.

    """

    tone: Plane
    side: tuple[Plane, Plane]


@dataclass(frozen=True)
class PartModel:
    """
    What all simulated parts have in common, on the canvas; planes are float32, (size, size).

    Parameters
    ----------
    density : float
        Canvas pixels per design pixel.
    drilled, undrilled : Surface
        The finished part, and one whose bolt bores were never drilled.
    sheen : tuple of two ndarray
        Bow-tie reflection of turned faces: cosine and sine of twice the angle, gray levels.
    turning : tuple of two ndarray
        Two independent sets of tool marks, gray levels; their mix is different on every part.
    cast : ndarray
        0..1: how rough (cast, not machined) the surface is.
    alpha : ndarray
        0..1: how much of the pixel the part covers.
    solid : ndarray of bool
        Solid metal seen from above: on the part and not inside a bore.
    bolt_bores : tuple of (x, y)
        Centres of the bolt bores, canvas pixels.

    """

    density: float
    drilled: Surface
    undrilled: Surface
    sheen: tuple[Plane, Plane]
    turning: tuple[Plane, Plane]
    cast: Plane
    alpha: Plane
    solid: NDArray[np.bool_]
    bolt_bores: tuple[tuple[float, float], ...]

    @property
    def size(self) -> int:
        """
        Canvas pixels along one side.

        """
        return int(self.alpha.shape[0])

    @property
    def centre(self) -> float:
        """
        Canvas coordinate (x and y alike) of the part's centre.

        """
        return (self.size - 1) / 2


def build_part_model(density: float) -> PartModel:
    """
    Model and light the pump body at `density` canvas pixels per design pixel; takes some tenths of
    a second.

    """
    half = round(CANVAS_HALF * density)
    axis = (np.arange(-half, half + 1, dtype=np.float32) / density).astype(np.float32)
    x, y = np.meshgrid(axis, axis)
    radius = np.hypot(x, y)
    angle = np.arctan2(y, x)

    body = _body_distance(x, y, radius)
    height = _height(x, y, radius, body)
    machined = _machined(x, y, radius, body)
    reflecting = 1.0 - 0.62 * _engraving(x)
    drilled = _with_bolt_bores(x, y, height)

    rng = np.random.default_rng(20)
    tool_marks = (_radial_noise(rng, radius), _radial_noise(rng, radius))
    alpha = _blur(_coverage(body, density), 0.45 * density)
    depth_light = _depth_light(drilled)
    turned = machined * _coverage(radius - 108.0, density) * depth_light
    return PartModel(
        density=density,
        drilled=_lit(drilled, machined, reflecting, density),
        undrilled=_lit(height, machined, reflecting, density),
        sheen=(
            11.0 * turned * np.cos(2 * angle),
            11.0 * turned * np.sin(2 * angle),
        ),
        turning=(5.0 * turned * tool_marks[0], 5.0 * turned * tool_marks[1]),
        cast=(1.0 - machined) * alpha * depth_light,
        alpha=alpha,
        solid=(alpha > 0.98) & (drilled > 8.0) & (depth_light > 0.8),
        bolt_bores=tuple(
            (bore_x * density + half, bore_y * density + half) for bore_x, bore_y in _bolt_bores()
        ),
    )


def smooth_noise(rng: np.random.Generator, size: int, sigma: float) -> Plane:
    """
    Give (size, size) noise of unit deviation and zero mean that repeats seamlessly at its edges.

    """
    # Coarse noise is made small and enlarged: the same picture for a fraction of the time.
    shrink = max(1, int(sigma / 2))
    side = max(8, -(-size // shrink))
    noise: Plane = rng.standard_normal((side, side), dtype=np.float32)
    margin = min(side, int(4 * sigma / shrink) + 2)
    wrapped = cv2.copyMakeBorder(noise, margin, margin, margin, margin, cv2.BORDER_WRAP)
    noise = _blur(wrapped, sigma / shrink)[margin:-margin, margin:-margin]
    if shrink > 1:
        noise = cv2.resize(noise, (size, size), interpolation=cv2.INTER_CUBIC)
    return np.ascontiguousarray((noise - noise.mean()) / noise.std(), dtype=np.float32)[
        :size, :size
    ]


def _bolt_bores() -> list[tuple[float, float]]:
    radians = np.radians(BOLT_ANGLES_DEG)
    return [
        (BOLT_CIRCLE_RADIUS * float(np.cos(a)), BOLT_CIRCLE_RADIUS * float(np.sin(a)))
        for a in radians
    ]


def _body_distance(x: Plane, y: Plane, radius: Plane) -> Plane:
    """
    Signed distance to the silhouette, negative inside.

    """
    body = radius - 108.0
    for bolt_x, bolt_y in _bolt_bores():
        body = _smooth_minimum(body, np.hypot(x - bolt_x, y - bolt_y) - 25.0, 14.0)
    port = _box(x, y, SIDE_PORT_ANGLE_DEG, 90.0, 140.0, 26.0)
    nut = _box(x, y, SIDE_PORT_ANGLE_DEG, 136.0, 151.0, 30.0) - 1.0
    small = _box(x, y, SMALL_PORT_ANGLE_DEG, 90.0, 142.0, 14.0)
    body = _smooth_minimum(body, port, 8.0)
    return np.minimum(np.minimum(body, nut), _smooth_minimum(body, small, 8.0))


def _height(x: Plane, y: Plane, radius: Plane, body: Plane) -> Plane:
    """
    Height above the belt without the bolt bores.

    """
    height = 24.0 * _round_step(body, 7.0)
    height += 3.0 * _step(radius - 103.0, 2.0)
    for bolt_x, bolt_y in _bolt_bores():
        spot = np.hypot(x - bolt_x, y - bolt_y) - SPOTFACE_RADIUS
        height += (25.5 - height) * _step(spot, 1.8)

    along, across = _along(x, y, SIDE_PORT_ANGLE_DEG)
    pipe = 8.0 + 30.0 * np.sqrt(np.clip(1.0 - (across / 26.5) ** 2, 0.0, 1.0))
    pipe *= _step(95.0 - along, 9.0) * _step(along - 138.0, 2.0)
    thread = 1.0 * np.cos(2 * np.pi * along / 3.8) * _step(np.abs(along - 127.0) - 10.0, 2.0)
    height = np.maximum(height, np.where(along > 60.0, pipe + thread, 0.0))
    # A hexagon nut seen from the side: three flats.
    flats = 42.0 - 1.2 * np.clip(np.abs(across) - 15.0, 0.0, None)
    nut = flats * _step(np.maximum(np.abs(along - 143.5) - 8.0, np.abs(across) - 31.0), 2.5)
    height = np.maximum(height, nut)

    along, across = _along(x, y, SMALL_PORT_ANGLE_DEG)
    pipe = 10.0 + 20.0 * np.sqrt(np.clip(1.0 - (across / 14.5) ** 2, 0.0, 1.0))
    pipe *= _step(97.0 - along, 7.0) * _step(along - 141.0, 2.0)
    collar = 12.0 + 22.0 * np.sqrt(np.clip(1.0 - (across / 17.0) ** 2, 0.0, 1.0))
    collar *= _step(np.abs(along - 133.0) - 5.0, 2.0)
    height = np.maximum(height, np.where(along > 60.0, np.maximum(pipe, collar), 0.0))

    height = np.maximum(height, 46.0 * _step(radius - BOSS_RADIUS, 4.5))
    height -= 3.5 * _step(np.abs(radius - 60.0) - 2.6, 1.6)
    height -= 7.0 * _step(radius - 46.0, 3.0)
    height -= 90.0 * _step(radius - BORE_RADIUS, 4.0)
    # Keyway of the bore and two dowel holes: what tells one quarter turn from the next.
    along, across = _along(x, y, 70.0)
    height -= 40.0 * _step(np.maximum(np.abs(along - 30.0) - 8.5, np.abs(across) - 5.0), 2.0)
    for dowel_angle, dowel_radius in ((66.0, 94.0), (222.0, 94.0), (278.0, 53.5)):
        along, across = _along(x, y, dowel_angle)
        height -= 40.0 * _step(np.hypot(along - dowel_radius, across) - 4.0, 1.6)
    return height.astype(np.float32)


def _with_bolt_bores(x: Plane, y: Plane, height: Plane) -> Plane:
    height = height.copy()
    for bolt_x, bolt_y in _bolt_bores():
        height -= 70.0 * _step(np.hypot(x - bolt_x, y - bolt_y) - BOLT_BORE_RADIUS, 3.2)
    return height


def _engraving(x: Plane) -> Plane:
    """
    Engraved marking on the flange, 0..1.

    """
    size = x.shape[0]
    density = (size - 1) / float(x[0, -1] - x[0, 0])
    marking = np.zeros((size, size), np.uint8)
    for text, text_x, text_y, text_scale in (('PB-40', -24.0, 95.0, 0.4),):
        origin = (int((text_x + CANVAS_HALF) * density), int((text_y + CANVAS_HALF) * density))
        cv2.putText(
            marking,
            text,
            origin,
            cv2.FONT_HERSHEY_SIMPLEX,
            text_scale * density,
            255,
            max(1, round(1.4 * density)),
            cv2.LINE_AA,
        )
    return marking.astype(np.float32) / 255.0


def _machined(x: Plane, y: Plane, radius: Plane, body: Plane) -> Plane:
    """
    1 where the surface was machined, 0 where it is as cast.

    """
    machined = _step(radius - 104.5, 1.0)
    for bolt_x, bolt_y in _bolt_bores():
        spot = np.hypot(x - bolt_x, y - bolt_y) - SPOTFACE_RADIUS - 1.0
        machined = np.maximum(machined, _step(spot, 1.0))
    along, across = _along(x, y, SIDE_PORT_ANGLE_DEG)
    pipes = _step(np.maximum(94.0 - along, np.abs(across) - 27.0), 1.0)
    fitting = _step(np.maximum(np.abs(along - 135.0) - 18.0, np.abs(across) - 38.0), 1.0)
    along, across = _along(x, y, SMALL_PORT_ANGLE_DEG)
    pipes = np.maximum(pipes, _step(np.maximum(96.0 - along, np.abs(across) - 15.0), 1.0))
    small = _step(np.maximum(np.abs(along - 133.0) - 6.0, np.abs(across) - 18.0), 1.0)
    # The outer face of the flange between groove and boss stays as cast in a ring: two kinds of
    # metal side by side.
    machined *= 1.0 - pipes
    machined *= 1.0 - 0.85 * _step(np.abs(radius - 81.5) - 6.5, 1.5)
    return np.maximum(np.maximum(machined, fitting), small).astype(np.float32)


def _lit(height: Plane, machined: Plane, reflecting: Plane, density: float) -> Surface:
    """
    Light a height map.

    """
    soft = _blur(height, 0.55 * density)
    # Central differences of neighbours: a surface facing +x has a falling height along x.
    slope_x = -cv2.Sobel(soft, cv2.CV_32F, 1, 0, ksize=3, scale=density / 8.0)
    slope_y = -cv2.Sobel(soft, cv2.CV_32F, 0, 1, ksize=3, scale=density / 8.0)
    up = 1.0 / np.sqrt(1.0 + slope_x**2 + slope_y**2)
    tilt = np.degrees(np.arccos(np.clip(up, 0.0, 1.0)))

    metal = 136.0 * up**0.5 + 108.0 * np.exp(-(((tilt - 34.0) / 13.0) ** 2))
    cast = 96.0 * (0.5 + 0.5 * up) + 26.0 * np.exp(-(((tilt - 36.0) / 18.0) ** 2))
    level = machined * metal + (1.0 - machined) * cast
    for reach, strength in ((3.0, 0.018), (12.0, 0.017)):
        buried = _blur(soft, reach * density) - soft
        level *= np.exp(-strength * np.clip(buried, 0.0, None))
    reaching = _depth_light(soft)
    lens = 0.45 * density
    directional = (34.0 + 20.0 * machined) * up * reaching
    return Surface(
        tone=_blur(level * reflecting * reaching, lens),
        side=(_blur(directional * slope_x, lens), _blur(directional * slope_y, lens)),
    )


def _depth_light(height: Plane) -> Plane:
    """
    How much light reaches down into a bore, 0..1.

    """
    return (0.10 + 0.90 / (1.0 + np.exp(-(height + 2.0) / 6.0))).astype(np.float32)


def _radial_noise(rng: np.random.Generator, radius: Plane) -> Plane:
    """
    Tool marks of a lathe: a rough profile along the radius, the same all around.

    """
    knots = np.arange(0.0, 180.0, 0.25)
    fine = cv2.GaussianBlur(rng.standard_normal((1, knots.size)), (0, 0), 2.2)[0]
    coarse = cv2.GaussianBlur(rng.standard_normal((1, knots.size)), (0, 0), 9.0)[0]
    profile = fine / fine.std() + 0.6 * coarse / coarse.std()
    marks: Plane = np.interp(radius, knots, profile).astype(np.float32)
    return marks


def _along(x: Plane, y: Plane, angle_deg: float) -> tuple[Plane, Plane]:
    """
    Coordinates along and across a ray from the centre.

    """
    cosine, sine = (
        np.float32(np.cos(np.radians(angle_deg))),
        np.float32(np.sin(np.radians(angle_deg))),
    )
    return x * cosine + y * sine, y * cosine - x * sine


def _box(x: Plane, y: Plane, angle_deg: float, start: float, end: float, half: float) -> Plane:
    along, across = _along(x, y, angle_deg)
    return np.maximum(np.abs(along - (start + end) / 2) - (end - start) / 2, np.abs(across) - half)


def _smooth_minimum(a: Plane, b: Plane, blend: float) -> Plane:
    mix = np.clip(0.5 + 0.5 * (b - a) / blend, 0.0, 1.0)
    return (b * (1 - mix) + a * mix - blend * mix * (1 - mix)).astype(np.float32)


def _step(distance: Plane, width: float) -> Plane:
    """
    1 inside, 0 outside, a straight flank (a chamfer) of `width` inside the contour.

    """
    return np.clip(-distance / width, 0.0, 1.0).astype(np.float32)


def _round_step(distance: Plane, width: float) -> Plane:
    flank = np.clip(1.0 + distance / width, 0.0, 1.0)
    return np.sqrt(1.0 - flank**2).astype(np.float32)


def _coverage(distance: Plane, density: float) -> Plane:
    return np.clip(0.5 - distance * density, 0.0, 1.0).astype(np.float32)


def _blur(plane: Plane, sigma: float) -> Plane:
    return cv2.GaussianBlur(np.asarray(plane, np.float32), (0, 0), sigma)
