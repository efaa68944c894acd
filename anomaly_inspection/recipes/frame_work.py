# SPDX-License-Identifier: Apache-2.0
"""
How much memory it takes to judge one frame.

"""

from __future__ import annotations

from typing import TYPE_CHECKING

from anomaly_inspection.imaging.image_decoding import MOST_PIXELS

if TYPE_CHECKING:
    from anomaly_inspection.imaging.frame_check import FrameFormat
    from anomaly_inspection.imaging.region_of_interest import RegionOfInterest

# Measured with ssim and variation on 5 megapixels: 97 bytes a gray pixel, 261 a colour one. Of
# these, alignment and filters take less than 10 bytes per value of the whole frame.
_FRAME_BYTES_PER_VALUE = 10
_REGION_BYTES_PER_VALUE = 80
_BYTES_PER_SCALED_VALUE = 2


def frame_work_bytes(
    frame_format: FrameFormat, colour: str, region: RegionOfInterest | None
) -> int:
    """
    Give the memory that it takes to judge a frame, in bytes.

    Parameters
    ----------
    frame_format : FrameFormat
        Of the frame.
    colour : str
        'bgr' or 'gray': what the scorers compare.
    region : RegionOfInterest or None
        What they compare; None = the whole frame.

    """
    channels = 3 if colour == 'bgr' else 1
    frame_px = frame_format.width * frame_format.height
    # What a recipe claims may lie outside of the frame; it is checked later.
    region_px = frame_px if region is None else region.width * region.height
    work = frame_px * _FRAME_BYTES_PER_VALUE + region_px * _REGION_BYTES_PER_VALUE
    if sizes := frame_format.accepted_sizes:
        # A frame that is scaled is held before and after.
        work += _BYTES_PER_SCALED_VALUE * min(MOST_PIXELS, sizes.max_width * sizes.max_height)
    return channels * work
