# SPDX-License-Identifier: Apache-2.0
"""
ROS images into arrays and back: the one place where they cross.

Encodings that cv_bridge and NumPy convert to the same bytes go through cv_bridge where it is
installed. All others go through OpenCV, which cv_bridge calls as well.

"""

from __future__ import annotations

from array import array
import sys
from typing import Any, TYPE_CHECKING

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image

from anomaly_inspection.errors import FrameError
from anomaly_inspection.imaging.image_decoding import decode_stored_image

try:
    from cv_bridge import CvBridge, CvBridgeError
except ImportError:
    CvBridge = None

if TYPE_CHECKING:
    from builtin_interfaces.msg import Time
    from numpy.typing import NDArray

_GRAY = ('mono8', '8UC1')
_GRAY_16 = ('mono16', '16UC1')
# Channels in the file's order, and which of them are blue, green and red.
_COLOUR = {
    'bgr8': (3, None),
    '8UC3': (3, None),
    'rgb8': (3, [2, 1, 0]),
    'bgra8': (4, [0, 1, 2]),
    'rgba8': (4, [2, 1, 0]),
}
# ROS names the first row of the 2 x 2 pattern and then the second. OpenCV's old names, the only
# ones that all its versions know, begin with the second pixel of the second row.
_BAYER = {
    'bayer_rggb': cv2.COLOR_BayerBG2BGR,
    'bayer_bggr': cv2.COLOR_BayerRG2BGR,
    'bayer_gbrg': cv2.COLOR_BayerGR2BGR,
    'bayer_grbg': cv2.COLOR_BayerGB2BGR,
}
_YUV_422 = {
    'yuv422': cv2.COLOR_YUV2BGR_UYVY,
    'uyvy': cv2.COLOR_YUV2BGR_UYVY,
    'yuv422_yuy2': cv2.COLOR_YUV2BGR_YUYV,
    'yuyv': cv2.COLOR_YUV2BGR_YUYV,
}

#: The encodings that cameras may publish; all others are refused by name.
ENCODINGS = (
    *_GRAY,
    *_COLOUR,
    *_GRAY_16,
    *(f'{pattern}{bits}' for bits in (8, 16) for pattern in _BAYER),
    *_YUV_422,
)
#: The encodings that are passed on as they are; a frame in another one becomes mono8 or bgr8.
PLAIN_ENCODINGS = ('mono8', '8UC1', 'bgr8', '8UC3', 'rgb8')

_DEPTH_BITS = 16


def array_from_image(message: Image, depth_bits: int = _DEPTH_BITS) -> NDArray[np.uint8]:
    """
    Give the pixels of an image in 8 bits.

    Parameters
    ----------
    message : sensor_msgs.msg.Image
        Encoding one of `ENCODINGS`; rows may be padded (step).
    depth_bits : int
        How many bits of a 16-bit pixel the camera uses, 8 to 16; the upper 8 of them are kept. A
        12-bit camera gives 0 to 4095: with 12, its 4095 becomes 255; with 16 it would become 15.

    Returns
    -------
    ndarray of uint8, (H, W) gray or (H, W, 3) BGR
        Read-only where it is a view of the message.

    Raises
    ------
    FrameError
        When the encoding is another one, the data is shorter than height x step, or a 16-bit
        pixel uses more bits than `depth_bits`.

    """
    row_bytes = _checked_row_bytes(message)
    encoding = message.encoding
    # cv_bridge shears colour images whose rows are padded by a part of a pixel.
    if (
        CvBridge is not None
        and message.step == row_bytes
        and (encoding in _GRAY or encoding in _COLOUR)
    ):
        return _with_cv_bridge(message)
    data = np.frombuffer(message.data, np.uint8)[: message.height * message.step]
    rows = data.reshape(message.height, message.step)[:, :row_bytes]
    if encoding in _GRAY:
        return rows
    if encoding in _COLOUR:
        channels, order = _COLOUR[encoding]
        pixels = rows.reshape(message.height, message.width, channels)
        return pixels if order is None else np.ascontiguousarray(pixels[..., order])
    rows = np.ascontiguousarray(rows)
    if encoding in _YUV_422:
        pairs = rows.reshape(message.height, message.width, 2)
        return _converted(pairs, _YUV_422[encoding], encoding)
    if encoding in _GRAY_16 or encoding.endswith('16'):
        words = rows.view('>u2' if message.is_bigendian else '<u2')
        rows = _upper_bits(words, depth_bits)
    return _demosaiced(rows, encoding)


def array_from_compressed(
    message: CompressedImage, depth_bits: int = _DEPTH_BITS
) -> NDArray[np.uint8]:
    """
    Give the pixels of a JPEG or PNG image in 8 bits.

    Parameters
    ----------
    message : sensor_msgs.msg.CompressedImage
        What image_transport's plug-in `compressed` or a camera's own encoder publishes; a Bayer
        image that was compressed without conversion is converted here.
    depth_bits : int
        As for `array_from_image`.

    Returns
    -------
    ndarray of uint8, (H, W) gray or (H, W, 3) BGR

    Raises
    ------
    FrameError
        When the data is neither JPEG nor PNG, is truncated, damaged or too large, or a 16-bit
        pixel uses more bits than `depth_bits`.

    """
    data = bytes(message.data)
    if not data.startswith((b'\xff\xd8', b'\x89PNG')):
        begins = f'begins with {data[:8].hex(" ")}' if data else 'is empty'
        raise FrameError(
            f"the compressed image (format '{message.format}') {begins}; allowed: JPEG, PNG"
        )
    try:
        pixels = decode_stored_image(data)
    except FrameError as error:
        raise FrameError(f'the compressed image cannot be decoded: {error}') from error
    if pixels.dtype == np.uint16:
        pixels = _upper_bits(pixels, depth_bits)
    # 'bayer_rggb8; png compressed ': the encoding before compression stands first.
    encoding = message.format.split(';')[0].strip()
    if pixels.ndim == 2 and encoding in ENCODINGS and encoding.startswith('bayer'):
        # JPEG is converted to gray before it is compressed, PNG is not.
        is_mosaic = 'mono8' not in message.format
        return _demosaiced(pixels, encoding) if is_mosaic else np.asarray(pixels, np.uint8)
    return np.asarray(pixels, np.uint8)


def in_encoding(pixels: NDArray[np.uint8], encoding: str) -> NDArray[np.uint8]:
    """
    Give pixels as mono8 or bgr8.

    Parameters
    ----------
    pixels : ndarray of uint8, (H, W) gray or (H, W, 3) BGR
        The image.
    encoding : str
        'mono8': gray from colour by ITU-R BT.601. 'bgr8': the same gray in all three channels.
        '': as it is.

    """
    if encoding == 'mono8' and pixels.ndim == 3:
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY), np.uint8)
    if encoding == 'bgr8' and pixels.ndim == 2:
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR), np.uint8)
    return pixels


def _checked_row_bytes(message: Image) -> int:
    """
    Give the length of a row without its padding; raises FrameError for what cannot be an image.

    """
    encoding = message.encoding
    if encoding not in ENCODINGS:
        raise FrameError(
            f"encoding '{encoding}' is not understood: allowed is {', '.join(ENCODINGS)}"
        )
    if message.width == 0 or message.height == 0:
        raise FrameError(f'the image is empty: {message.width}x{message.height} pixels')
    if encoding in _YUV_422 and message.width % 2:
        raise FrameError(f'{encoding} is {message.width} pixels wide; allowed: an even width')
    is_two_bytes = encoding in _YUV_422 or encoding in _GRAY_16 or encoding.endswith('16')
    pixel_bytes = _COLOUR[encoding][0] if encoding in _COLOUR else 1 + is_two_bytes
    row_bytes = int(message.width) * pixel_bytes
    if message.step < row_bytes:
        raise FrameError(f'step {message.step} is shorter than a row of {row_bytes} bytes')
    if len(message.data) < message.height * message.step:
        raise FrameError(
            f'the image is truncated: {len(message.data)} bytes, '
            f'{message.height} rows of {message.step} need {message.height * message.step}'
        )
    return row_bytes


def _with_cv_bridge(message: Image) -> NDArray[np.uint8]:
    is_gray = message.encoding in _GRAY
    wanted = 'passthrough' if message.encoding.startswith('8U') else 'mono8' if is_gray else 'bgr8'
    try:
        pixels = CvBridge().imgmsg_to_cv2(message, desired_encoding=wanted)
    except CvBridgeError as error:
        raise FrameError(f"cannot convert encoding '{message.encoding}': {error}") from error
    return pixels.reshape(message.height, message.width) if is_gray else pixels


def _upper_bits(words: NDArray[np.uint16], depth_bits: int) -> NDArray[np.uint8]:
    largest = int(words.max())
    if largest >> depth_bits:
        raise FrameError(
            f'a 16-bit pixel is {largest}, more than the {2**depth_bits - 1} of {depth_bits} bits'
        )
    return (words >> (depth_bits - 8)).astype(np.uint8)


def _demosaiced(pixels: NDArray[Any], encoding: str) -> NDArray[np.uint8]:
    """
    Give the colours of a Bayer image, bilinear; what is no Bayer image stays as it is.

    """
    code = _BAYER.get(encoding.rstrip('0123456789'))
    if code is None:
        return np.asarray(pixels, np.uint8)
    height, width = pixels.shape
    if height < 2 or width < 2:
        raise FrameError(f'{encoding} is {width}x{height} pixels; allowed: 2x2 and more')
    return _converted(pixels, code, encoding)


def _converted(pixels: NDArray[Any], code: int, encoding: str) -> NDArray[np.uint8]:
    try:
        return np.asarray(cv2.cvtColor(pixels, code), np.uint8)
    except cv2.error as error:
        raise FrameError(f"cannot convert encoding '{encoding}': {error.err}") from error


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
