# SPDX-License-Identifier: Apache-2.0
"""
What may change on the simulated line while good parts come down it: light, lens, camera, belt.

"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from anomaly_inspection.capture.simulated_frame import render_part, renderer
from anomaly_inspection.setting_check import check_number

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly_inspection.capture.simulated_settings import SimulatedLineSettings

# Where a dirt spot sits, as shares of the frame, and how wide its edge is.
_SPOT_PLACE = (0.42, 0.55)
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
    turned_deg: float = 0.0
    shifted_px: float = 0.0
    belt_bgr: tuple[float, float, float] = (1.0, 1.0, 1.0)
    part_light: float = 1.0

    def __post_init__(self) -> None:
        check_number('lamp', self.lamp, 0.2, 2.0)
        check_number('defocus_px', self.defocus_px, 0.0, 10.0)
        check_number('dirt_share', self.dirt_share, 0.0, 1.0)
        check_number('dirt_diameter_px', self.dirt_diameter_px, 2.0, 500.0)
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
    # Noise comes last: neither the lens nor a turned camera changes what the sensor adds.
    calm = replace(settings, noise_levels=0.0)
    rendered = render_part(calm, index, with_defect=False)
    frame = rendered.image.astype(np.float32)
    if change.belt_bgr != (1.0, 1.0, 1.0) or change.part_light != 1.0:
        part = renderer(calm).part_share(rendered.pose)[:, :, None]
        belt = np.array(change.belt_bgr, np.float32)
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
        spot = _spot(frame.shape, change.dirt_diameter_px)[:, :, None]
        frame *= 1.0 - change.dirt_share * spot
    rng = np.random.default_rng([settings.seed, index])
    noise = rng.standard_normal(frame.shape, np.float32) * settings.noise_levels
    return np.asarray(np.clip(np.rint(change.lamp * frame + noise), 0, 255), np.uint8)


def _spot(shape: tuple[int, ...], diameter_px: float) -> NDArray[np.float32]:
    height, width = shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    distance = np.hypot(x - _SPOT_PLACE[0] * width, y - _SPOT_PLACE[1] * height)
    edge = _SPOT_EDGE_SHARE * diameter_px / 2
    return np.asarray(
        np.clip((diameter_px / 2 + edge / 2 - distance) / edge, 0.0, 1.0), np.float32
    )
