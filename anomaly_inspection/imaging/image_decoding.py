# SPDX-License-Identifier: Apache-2.0
"""
Images decoded in full or refused; never half a picture, and never one too large to hold.

"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING
import zlib

import cv2
import numpy as np

from anomaly_inspection.errors import FrameError
from anomaly_inspection.imaging.image_header import (
    image_header,
    ImageHeader,
    jpeg_marks,
    JPEG_START,
    PNG_START,
    TIFF_STARTS,
    tiff_tags,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Larger than the cameras of the trade: the largest area sensors have 151 megapixels (14208 x
# 10656), line cameras 16384 pixels a line.
MOST_PIXELS = 160_000_000
LARGEST_SIDE_PX = 16384

_JPEG_END, _JPEG_SCAN = 0xD9, 0xDA
# A progressive JPEG has about ten; each takes as long to decode as the whole image.
_MOST_SCANS = 100
_TIFF_PLACES = {273: 279, 324: 325}  # strip and tile offsets: tag of their byte counts


def decode_image(data: bytes) -> NDArray[np.uint8]:
    """
    Decode the bytes of a PNG, JPEG, BMP or TIFF image, as it is stored.

    Decoders fill the missing part of a truncated image with gray and say nothing, depending on
    their version, so the structure is checked first: the JPEG's end mark, the PNG's blocks with
    their checksums, the TIFF's strips. Damage that leaves the structure whole is found in PNG
    only; the other formats carry no checksum.

    An orientation noted by a photo camera is not applied. Of several pages the first is taken.

    Returns
    -------
    ndarray of uint8, (H, W) or (H, W, 3)
        Gray files as (H, W), colour as BGR. An alpha channel that hides nothing is dropped.

    Raises
    ------
    FrameError
        Not such an image, truncated, damaged, transparent in places, larger than MOST_PIXELS or
        LARGEST_SIDE_PX (which is told from the header, before it is decoded), or not of 8 bits a
        channel (a conversion would have to guess the range of the gray levels).

    """
    return np.asarray(_decoded(data, 8), np.uint8)


def decode_stored_image(data: bytes) -> NDArray[np.uint8 | np.uint16]:
    """
    Decode an image file as `decode_image` does, and keep pixels of 16 bits.

    Returns
    -------
    ndarray of uint8 or uint16, (H, W) or (H, W, 3)
        Gray files as (H, W), colour as BGR.

    Raises
    ------
    FrameError
        As `decode_image`, but for pixels of 16 bits.

    """
    return _decoded(data, 16)


def _decoded(data: bytes, most_bits: int) -> NDArray[np.uint8 | np.uint16]:
    check_header(image_header(data), most_bits)
    if data.startswith(JPEG_START):
        _check_jpeg(data)
    elif data.startswith(PNG_START):
        _check_png(data)
    elif data.startswith(TIFF_STARTS):
        _check_tiff(data)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise FrameError(f'it cannot be decoded: {error.err}') from error
    if image is None:
        raise FrameError('it cannot be decoded: truncated or damaged')
    if image.dtype not in ((np.uint8,) if most_bits == 8 else (np.uint8, np.uint16)):
        raise FrameError(f'its pixels are {image.dtype}; allowed: {_allowed(most_bits)}')
    if image.ndim == 3 and image.shape[2] == 4:
        if image[:, :, 3].min() < (255 if image.dtype == np.uint8 else 65535):
            raise FrameError('it is transparent in places; allowed: opaque images')
        image = image[:, :, :3]
    return np.ascontiguousarray(image)


def check_header(header: ImageHeader, most_bits: int = 8) -> None:
    """
    Refuse an image that is too large or has too many bits a channel, before it is decoded.

    Raises
    ------
    FrameError
        Names the size and what is allowed.

    """
    width, height = header.width, header.height
    is_large = max(width, height) > LARGEST_SIDE_PX or width * height > MOST_PIXELS
    if is_large or min(width, height) < 1:
        raise FrameError(
            f'it is {width} x {height} px; allowed: 1 to {LARGEST_SIDE_PX} px a side and '
            f'{MOST_PIXELS // 10**6} megapixels in all'
        )
    if header.bits > most_bits:
        raise FrameError(f'its pixels have {header.bits} bits; allowed: {_allowed(most_bits)}')


def _allowed(most_bits: int) -> str:
    return f'{"8" if most_bits == 8 else f"8 or {most_bits}"} bits a channel'


def _check_jpeg(data: bytes) -> None:
    scans = 0
    for mark, _ in jpeg_marks(data):
        scans += mark == _JPEG_SCAN
        if scans > _MOST_SCANS:
            raise FrameError(f'the JPEG has more than {_MOST_SCANS} scans; allowed: fewer')
        if mark == _JPEG_END:
            return
    raise FrameError(f'the JPEG is truncated: no end mark in its {len(data)} bytes')


def _check_png(data: bytes) -> None:
    view = memoryview(data)
    start = 8
    while start + 12 <= len(data):
        length, kind = struct.unpack_from('>I4s', data, start)
        end = start + 12 + length
        if end > len(data):
            break
        if zlib.crc32(view[start + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], 'big'):
            raise FrameError(f'the PNG is damaged: wrong checksum at byte {start}')
        if kind == b'IEND':
            return
        start = end
    raise FrameError(f'the PNG is truncated: no end block in its {len(data)} bytes')


def _check_tiff(data: bytes) -> None:
    values = tiff_tags(data)
    for offsets, counts in _TIFF_PLACES.items():
        for offset, count in zip(values.get(offsets, ()), values.get(counts, ()), strict=False):
            if offset + count > len(data):
                raise FrameError(
                    f'the TIFF is truncated: {len(data)} of at least {offset + count} bytes'
                )
