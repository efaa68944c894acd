# SPDX-License-Identifier: Apache-2.0
"""
The region of interest: the part of the frame that is inspected.

"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from anomaly_inspection.errors import SettingError
from anomaly_inspection.setting_check import check_integer

if TYPE_CHECKING:
    from anomaly_inspection.imaging.frame_check import FrameFormat

SMALLEST_SIDE_PX = 16


@dataclass(frozen=True)
class RegionOfInterest:
    """
    A rectangle in frame pixels: x <= column < x + width, y <= row < y + height.

    Parameters
    ----------
    x, y : int
        Left upper pixel, 0 or more.
    width, height : int
        Pixels, at least 16.

    Raises
    ------
    SettingError
        When a value is out of range.

    """

    x: int
    y: int
    width: int
    height: int

    def __post_init__(self) -> None:
        check_integer('region_of_interest.x', self.x, 0, 16384)
        check_integer('region_of_interest.y', self.y, 0, 16384)
        check_integer('region_of_interest.width', self.width, SMALLEST_SIDE_PX, 16384)
        check_integer('region_of_interest.height', self.height, SMALLEST_SIDE_PX, 16384)

    @classmethod
    def whole(cls, frame_format: FrameFormat) -> RegionOfInterest:
        """
        Make the region that is the whole frame.

        """
        return cls(0, 0, frame_format.width, frame_format.height)

    @property
    def center(self) -> complex:
        """
        The middle of the region, x + iy in frame pixels, pixel centres at integers.

        """
        return complex(self.x + (self.width - 1) / 2, self.y + (self.height - 1) / 2)

    def scaled(self, across: float, down: float, frame_format: FrameFormat) -> RegionOfInterest:
        """
        Give the same region of a frame that is scaled, at least 16 px a side and inside of it.

        """
        if (across, down) == (1.0, 1.0):
            return self
        width = max(SMALLEST_SIDE_PX, round(across * self.width))
        height = max(SMALLEST_SIDE_PX, round(down * self.height))
        x, y = round(across * self.x), round(down * self.y)
        # Rounding must not push a region over the edge that it touched before.
        x -= x > 0 and x + width == frame_format.width + 1
        y -= y > 0 and y + height == frame_format.height + 1
        return RegionOfInterest(x, y, width, height)

    def check_inside(self, frame_format: FrameFormat) -> None:
        """
        Refuse a region that leaves the frame.

        Raises
        ------
        SettingError
            Says how far the region reaches and how large the frame is.

        """
        right, bottom = self.x + self.width, self.y + self.height
        if right > frame_format.width or bottom > frame_format.height:
            raise SettingError(
                f'region_of_interest reaches to x {right}, y {bottom}; '
                f'allowed: within the frame of {frame_format.width} x {frame_format.height} px'
            )
