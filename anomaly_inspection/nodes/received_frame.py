# SPDX-License-Identifier: Apache-2.0
"""
A frame as a camera driver published it, and what becomes of it.

"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from sensor_msgs.msg import CompressedImage, Image

from anomaly_inspection.nodes.image_conversion import (
    array_from_compressed,
    array_from_image,
    image_from_array,
    in_encoding,
    PLAIN_ENCODINGS,
)
from anomaly_inspection.nodes.stamps import stamp_from_nanoseconds

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class FrameConversion:
    """
    What a driver's frames become.

    Parameters
    ----------
    depth_bits : int
        How many bits of a 16-bit pixel the camera uses, 8 to 16.
    encoding : str
        'mono8' or 'bgr8'; '' leaves gray gray and colour in colour.

    """

    depth_bits: int = 16
    encoding: str = ''


@dataclass(eq=False)
class ReceivedFrame:
    """
    One frame from the camera.

    Parameters
    ----------
    message : sensor_msgs.msg.Image or CompressedImage
        As it came.
    stamp_ns : int
        A stamp that no other frame has, nanoseconds since the epoch.
    exposure_ns : int
        Its exposure on CLOCK_MONOTONIC, nanoseconds.
    conversion : FrameConversion
        What it becomes.

    """

    message: Image | CompressedImage
    stamp_ns: int
    exposure_ns: int
    conversion: FrameConversion = field(default_factory=FrameConversion)

    @cached_property
    def pixels(self) -> NDArray[np.uint8]:
        """
        The pixels, (H, W) gray or (H, W, 3) BGR; raises FrameError when they cannot be read.

        """
        depth_bits = self.conversion.depth_bits
        if isinstance(self.message, CompressedImage):
            pixels = array_from_compressed(self.message, depth_bits)
        else:
            pixels = array_from_image(self.message, depth_bits)
        return in_encoding(pixels, self.conversion.encoding)

    def image(self) -> Image:
        """
        Give the message for `part/image`: mono8 or bgr8, or as it came where it is plain already.

        Raises
        ------
        FrameError
            When the frame cannot be read.

        """
        stamp = stamp_from_nanoseconds(self.stamp_ns)
        header = self.message.header
        encoding = getattr(self.message, 'encoding', '')
        is_wanted = self.conversion.encoding in ('', encoding)
        pixels = self.pixels
        if not (encoding in PLAIN_ENCODINGS and is_wanted):
            return image_from_array(pixels, stamp, header.frame_id)
        header.stamp = stamp
        return self.message
