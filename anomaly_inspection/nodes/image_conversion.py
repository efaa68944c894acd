# SPDX-License-Identifier: Apache-2.0
"""
ROS images into arrays and back: the one place where they cross.

cv_bridge where it is installed, NumPy otherwise; both pass the same tests.

"""

from __future__ import annotations

from array import array
import sys
from typing import Any, TYPE_CHECKING

import numpy as np
from sensor_msgs.msg import Image

from anomaly_inspection.errors import FrameError

try:
    from cv_bridge import CvBridge, CvBridgeError
except ImportError:
    CvBridge = None

if TYPE_CHECKING:
    from builtin_interfaces.msg import Time
    from numpy.typing import NDArray

#: What cameras of the cell may publish, and what becomes of it.
ENCODINGS = ('mono8', 'bgr8', 'rgb8', 'bgra8', 'rgba8', '8UC1', '8UC3')

_CHANNELS = {'mono8': 1, '8UC1': 1, 'bgr8': 3, 'rgb8': 3, '8UC3': 3, 'bgra8': 4, 'rgba8': 4}
_BGR_ORDER = {'rgb8': [2, 1, 0], 'bgra8': [0, 1, 2], 'rgba8': [2, 1, 0]}


def array_from_image(message: Image) -> NDArray[np.uint8]:
    """
    Give the pixels of an 8-bit image.

    Parameters
    ----------
    message : sensor_msgs.msg.Image
        Encoding one of `ENCODINGS`; rows may be padded (step).

    Returns
    -------
    ndarray of uint8, (H, W) gray or (H, W, 3) BGR
        Read-only where it is a view of the message.

    Raises
    ------
    FrameError
        When the encoding is another one, or the data is shorter than height x step.

    """
    channels = _CHANNELS.get(message.encoding)
    if channels is None:
        raise FrameError(
            f"encoding '{message.encoding}' is not understood: allowed is {', '.join(ENCODINGS)}"
        )
    row_bytes = message.width * channels
    if message.width == 0 or message.height == 0:
        raise FrameError(f'the image is empty: {message.width}x{message.height} pixels')
    if message.step < row_bytes:
        raise FrameError(f'step {message.step} is shorter than a row of {row_bytes} bytes')
    if len(message.data) < message.height * message.step:
        raise FrameError(
            f'the image is truncated: {len(message.data)} bytes, '
            f'{message.height} rows of {message.step} need {message.height * message.step}'
        )
    # cv_bridge shears colour images whose rows are padded by a part of a pixel.
    if CvBridge is not None and message.step == row_bytes:
        return _with_cv_bridge(message)
    return _with_numpy(message, channels, row_bytes)


def _with_cv_bridge(message: Image) -> NDArray[np.uint8]:
    is_gray = _CHANNELS[message.encoding] == 1
    wanted = 'passthrough' if message.encoding.startswith('8U') else 'mono8' if is_gray else 'bgr8'
    try:
        pixels = CvBridge().imgmsg_to_cv2(message, desired_encoding=wanted)
    except CvBridgeError as error:
        raise FrameError(f"cannot convert encoding '{message.encoding}': {error}") from error
    return pixels.reshape(message.height, message.width) if is_gray else pixels


def _with_numpy(message: Image, channels: int, row_bytes: int) -> NDArray[np.uint8]:
    data = np.frombuffer(message.data, np.uint8)[: message.height * message.step]
    rows = data.reshape(message.height, message.step)[:, :row_bytes]
    if channels == 1:
        return rows
    pixels = rows.reshape(message.height, message.width, channels)
    order = _BGR_ORDER.get(message.encoding)
    return pixels if order is None else np.ascontiguousarray(pixels[..., order])


def float_array_from_image(message: Image) -> NDArray[np.float32]:
    """
    Give the values of an anomaly map.

    Parameters
    ----------
    message : sensor_msgs.msg.Image
        Encoding 32FC1.

    Returns
    -------
    ndarray of float32, (H, W)

    Raises
    ------
    FrameError
        When the encoding is another one, or the data is of another length than the size says.

    """
    if message.encoding != '32FC1':
        raise FrameError(f"encoding '{message.encoding}' is no anomaly map: allowed is 32FC1")
    if message.step != 4 * message.width or len(message.data) != message.height * message.step:
        raise FrameError(
            f'the map is truncated: {len(message.data)} bytes, step {message.step}, '
            f'{message.width}x{message.height} values need {4 * message.width * message.height}'
        )
    values = np.frombuffer(message.data, '>f4' if message.is_bigendian else '<f4')
    return values.reshape(message.height, message.width).astype(np.float32, copy=False)


def image_from_array(pixels: NDArray[Any], stamp: Time, frame_id: str) -> Image:
    """
    Make the message for an array.

    Parameters
    ----------
    pixels : ndarray of uint8, (H, W) gray or (H, W, 3) BGR, or of float32, (H, W)
        Becomes mono8, bgr8 or 32FC1.
    stamp : builtin_interfaces.msg.Time
        Exposure time.
    frame_id : str
        Coordinate frame of the camera.

    Raises
    ------
    FrameError
        When the array is of another type or shape.

    """
    kinds = {('uint8', 2): 'mono8', ('uint8', 3): 'bgr8', ('float32', 2): '32FC1'}
    encoding = kinds.get((pixels.dtype.name, pixels.ndim))
    if encoding is None or (pixels.ndim == 3 and pixels.shape[2] != 3):
        raise FrameError(
            f'an array of {pixels.dtype} {pixels.shape} is no image: allowed is uint8 (H, W) or '
            '(H, W, 3), float32 (H, W)'
        )
    pixels = np.ascontiguousarray(pixels)
    message = Image(
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding=encoding,
        is_bigendian=int(pixels.dtype.itemsize > 1 and sys.byteorder == 'big'),
        step=pixels.strides[0],
    )
    message.header.stamp = stamp
    message.header.frame_id = frame_id
    # Any other type than array('B') takes rclpy's element-by-element check.
    data = array('B')
    data.frombytes(memoryview(pixels).cast('B'))
    message.data = data
    return message
