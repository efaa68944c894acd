# SPDX-License-Identifier: Apache-2.0
"""
What may change on the simulated line while good parts come down it: light, lens, camera, belt.

"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TYPE_CHECKING

import cv2
import numpy as np

from anomaly_inspection.capture.simulated_frame import render_part, renderer
from anomaly_inspection.setting_check import check_number

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly_inspection.capture.simulated_settings import SimulatedLineSettings

# How wide the edge of a dirt spot is.
_SPOT_EDGE_SHARE = 0.5


@dataclass(frozen=True)
class LineChange:
    """
    How a line differs from the line that was taught. The defaults change nothing.

    Parameters
    ----------
    lamp : float
        Brightness of all light, 1 = as taught, 0.2 to 2.
    defocus_px : float
        Sigma of the blur by a lens out of focus, frame pixels, 0 to 10.
    dirt_share : float
        How much light a spot of dirt on the lens takes away, 0 to 1.
    dirt_diameter_px : float
        Its diameter, frame pixels, 2 to 500.
    dirt_place : tuple of float
        Its middle, x and y as shares of the frame, 0 to 1 each.
    turned_deg : float
        How far the camera was turned, counter-clockwise, degrees, -45 to 45.
    shifted_px : float
        How far the camera, or the guide of the belt, was shifted along x, pixels, -200 to 200.
    belt_bgr : tuple of float
        Blue, green and red of the belt beside the taught ones, 0.1 to 10 each.
    part_light : float
        Brightness of the parts alone, beside the taught ones, 0.2 to 2.

    Raises
    ------
    SettingError
        When a value is out of range.

    """

    lamp: float = 1.0
    defocus_px: float = 0.0
    dirt_share: float = 0.0
    dirt_diameter_px: float = 24.0
    dirt_place: tuple[float, float] = (0.42, 0.55)
    turned_deg: float = 0.0
    shifted_px: float = 0.0
    belt_bgr: tuple[float, float, float] = (1.0, 1.0, 1.0)
    part_light: float = 1.0

    def __post_init__(self) -> None:
        check_number('lamp', self.lamp, 0.2, 2.0)
        check_number('defocus_px', self.defocus_px, 0.0, 10.0)
        check_number('dirt_share', self.dirt_share, 0.0, 1.0)
        check_number('dirt_diameter_px', self.dirt_diameter_px, 2.0, 500.0)
        for value in self.dirt_place:
            check_number('dirt_place', value, 0.0, 1.0)
        check_number('turned_deg', self.turned_deg, -45.0, 45.0)
        check_number('shifted_px', self.shifted_px, -200.0, 200.0)
        for value in self.belt_bgr:
            check_number('belt_bgr', value, 0.1, 10.0)
        check_number('part_light', self.part_light, 0.2, 2.0)


def render_changed(
    settings: SimulatedLineSettings, index: int, change: LineChange
) -> NDArray[np.uint8]:
    """
    Render one good part of a line that has changed.

    Parameters
    ----------
    settings : SimulatedLineSettings
        The line as it was taught, or another batch of its parts.
    index : int
        Which part, 0 or more.
    change : LineChange
        What is different.

    Returns
    -------
    ndarray of uint8, (H, W, 3) BGR
        The frame.

    """
    calm = replace(settings, noise_levels=0.0)
    rendered = render_part(calm, index, with_defect=False)
    return changed_frame(
        rendered.image,
        change,
        part_share=renderer(calm).part_share(rendered.pose),
        noise_levels=settings.noise_levels,
        rng=np.random.default_rng([settings.seed, index]),
    )


def changed_frame(
    calm: NDArray[Any],
    change: LineChange,
    *,
    part_share: NDArray[np.float32] | None,
    noise_levels: float,
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    """
    Change one frame, as the camera of a line that has changed sees it.

    Parameters
    ----------
    calm : ndarray of float32 or uint8, (H, W, 3) BGR or (H, W) gray
        A frame without noise, 0..255. A gray belt takes the green of `belt_bgr`.
    change : LineChange
        What is different.
    part_share : ndarray of float32, (H, W), or None
        How much of each pixel shows the part, 0..1; None = nobody knows, belt and part stay.
    noise_levels : float
        Deviation of the camera's noise, gray levels.
    rng : numpy Generator
        Draws the noise.

    Returns
    -------
    ndarray of uint8, as `calm`
        The frame.

    """
    frame = np.array(calm, np.float32)
    if part_share is not None and (change.belt_bgr != (1.0, 1.0, 1.0) or change.part_light != 1.0):
        is_gray = frame.ndim == 2
        part = part_share if is_gray else part_share[:, :, None]
        belt = np.array(change.belt_bgr[1] if is_gray else change.belt_bgr, np.float32)
        frame *= part * np.float32(change.part_light) + (1.0 - part) * belt
    if change.turned_deg or change.shifted_px:
        height, width = frame.shape[:2]
        middle = ((width - 1) / 2, (height - 1) / 2)
        turn = cv2.getRotationMatrix2D(middle, change.turned_deg, 1.0)
        turn[0, 2] += change.shifted_px
        turned = cv2.warpAffine(
            frame, turn, (width, height), flags=cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REFLECT
        )
        frame = np.asarray(turned, np.float32)
    if change.defocus_px:
        frame = np.asarray(cv2.GaussianBlur(frame, (0, 0), change.defocus_px), np.float32)
    if change.dirt_share:
        spot = _spot(frame.shape, change.dirt_place, change.dirt_diameter_px)
        frame *= 1.0 - change.dirt_share * (spot if frame.ndim == 2 else spot[:, :, None])
    # Noise comes last: neither the lens nor a turned camera changes what the sensor adds.
    noise = rng.standard_normal(frame.shape, np.float32) * np.float32(noise_levels)
    return np.asarray(np.clip(np.rint(change.lamp * frame + noise), 0, 255), np.uint8)


def _spot(
    shape: tuple[int, ...], place: tuple[float, float], diameter_px: float
) -> NDArray[np.float32]:
    height, width = shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    distance = np.hypot(x - place[0] * width, y - place[1] * height)
    edge = _SPOT_EDGE_SHARE * diameter_px / 2
    return np.asarray(
        np.clip((diameter_px / 2 + edge / 2 - distance) / edge, 0.0, 1.0), np.float32
    )
