# SPDX-License-Identifier: Apache-2.0
"""
What all frames of the simulated line share: the part model, its shadow, the belt, and fields of
grain and noise from which each frame takes its own cut.

"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from anomaly_inspection.capture.simulated_part import (
    build_part_model,
    CANVAS_HALF,
    PartModel,
    Plane,
    smooth_noise,
)

BELT_BGR = (66.0, 68.0, 57.0)
SHADOW_DENSITY = 0.5
# How far the cut out of the fields of grain, noise and belt can move from part to part.
GRAIN_ROOM_PX = 192
NOISE_ROOM_PX = 192
BELT_ROOM = 160


@dataclass(frozen=True)
class Scene:
    """
    All that is the same in every frame of one size.

    """

    model: PartModel
    shadow: Plane
    surface_points: NDArray[np.int32]
    edge_points: NDArray[np.int32]
    edge_headings: NDArray[np.float64]
    grain: Plane
    mottle: Plane
    belt: Plane
    noise: Plane
    vignette: Plane
    ramp_x: Plane
    ramp_y: Plane


@lru_cache(maxsize=2)
def build_scene(width_px: int, height_px: int, scale: float) -> Scene:
    """
    Build the scene for frames of one size; the last two are kept.

    Parameters
    ----------
    width_px, height_px : int
        The frame.
    scale : float
        Frame pixels per design pixel of the part.

    """
    model = build_part_model(float(np.clip(1.6 * scale, 1.4, 3.0)))
    rng = np.random.default_rng(7)
    size = model.size
    fine = smooth_noise(rng, size + GRAIN_ROOM_PX, 0.55 * model.density)
    coarse = smooth_noise(rng, size + GRAIN_ROOM_PX, 1.5 * model.density)
    mottle = smooth_noise(rng, size + GRAIN_ROOM_PX, 16.0 * model.density)

    edge_points = np.argwhere((model.alpha > 0.4) & (model.alpha < 0.6))[:, ::-1]
    around = cv2.GaussianBlur(model.alpha, (0, 0), 3.0 * model.density)
    # Out of the part is where it covers less and less.
    headings = np.arctan2(
        -cv2.Sobel(around, cv2.CV_64F, 0, 1), -cv2.Sobel(around, cv2.CV_64F, 1, 0)
    )
    # Far enough inside that a defect has the part around it.
    core = cv2.erode(
        model.solid.astype(np.uint8), np.ones((3, 3)), iterations=round(3 * model.density)
    )
    ramp_x, ramp_y = np.meshgrid(
        np.linspace(-1, 1, width_px, dtype=np.float32),
        np.linspace(-1, 1, height_px, dtype=np.float32),
    )
    return Scene(
        model=model,
        shadow=_shadow(model),
        surface_points=np.argwhere(core > 0)[:, ::-1].astype(np.int32),
        edge_points=edge_points.astype(np.int32),
        edge_headings=headings[edge_points[:, 1], edge_points[:, 0]],
        grain=(3.2 * fine + 2.4 * coarse).astype(np.float32),
        mottle=mottle,
        belt=_belt(rng, width_px, height_px, scale),
        noise=rng.standard_normal(
            (height_px + NOISE_ROOM_PX, width_px + NOISE_ROOM_PX, 3), dtype=np.float32
        ),
        vignette=(1.03 - 0.085 * (ramp_x**2 + ramp_y**2)).astype(np.float32),
        ramp_x=ramp_x,
        ramp_y=ramp_y,
    )


def _shadow(model: PartModel) -> Plane:
    """
    Soft cast shadow and contact shadow around the part, 0..1, on a coarse canvas with a wide
    margin.

    """
    side = round(2 * CANVAS_HALF * SHADOW_DENSITY) + 1
    small = cv2.resize(model.alpha, (side, side), interpolation=cv2.INTER_AREA)
    small = cv2.copyMakeBorder(small, 24, 24, 24, 24, cv2.BORDER_CONSTANT, value=0.0)
    cast = cv2.GaussianBlur(small, (0, 0), 7.0 * SHADOW_DENSITY)
    wide = cv2.GaussianBlur(small, (0, 0), 20.0 * SHADOW_DENSITY)
    contact = cv2.GaussianBlur(small, (0, 0), 3.0 * SHADOW_DENSITY)
    return cv2.merge([(0.6 * cast + 0.4 * wide).astype(np.float32), contact])


def _belt(rng: np.random.Generator, width_px: int, height_px: int, scale: float) -> Plane:
    """
    A piece of belt larger than the frame: rubber with a diamond weave, scuffed along its run, a
    little dusty.

    """
    room = round(BELT_ROOM * scale)
    width, height = width_px + room, height_px + room
    side = max(width, height)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / np.float32(scale)
    bend = smooth_noise(rng, side, 40.0 * scale)[:height, :width]
    weave = np.cos((x + y) * 0.78 + 0.5 * bend) * np.cos((x - y) * 0.78 - 0.5 * bend)
    grain = smooth_noise(rng, side, 0.6 * scale)[:height, :width]
    patches = smooth_noise(rng, side, 30.0 * scale)[:height, :width]
    scuffs: Plane = cv2.GaussianBlur(
        rng.standard_normal((height, width), dtype=np.float32),
        (0, 0),
        sigmaX=45.0 * scale,
        sigmaY=0.8 * scale,
    )
    scuffs /= scuffs.std()
    level = 1.0 + 0.055 * weave + 0.035 * grain + 0.025 * patches + 0.02 * scuffs
    dust: Plane = np.zeros((height, width), np.float32)
    for _ in range(int(width * height / (scale * 90) ** 2)):
        speck = (int(rng.integers(width)), int(rng.integers(height)))
        cv2.circle(
            dust, speck, max(1, round(rng.uniform(0.4, 1.1) * scale)), rng.uniform(6, 20), -1
        )
    dust = cv2.GaussianBlur(dust, (0, 0), 0.7 * scale)
    bgr = level[:, :, None] * np.array(BELT_BGR, np.float32) + dust[:, :, None]
    return np.ascontiguousarray(bgr, dtype=np.float32)
