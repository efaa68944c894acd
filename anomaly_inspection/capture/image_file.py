# SPDX-License-Identifier: Apache-2.0
"""
Image files decoded in full or refused; never half a picture.

"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING
import zlib

import cv2
import numpy as np

from anomaly_inspection.errors import FrameError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

IMAGE_SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff')

# Within the compressed data FF stands before 00 or a restart mark D0..D7; anything else is a real
# mark.
_JPEG_MARK = re.compile(rb'\xff+[\x02-\xcf\xd8-\xfe]')
_JPEG_END = 0xD9
_TIFF_PLACES = {273: 279, 324: 325}  # strip and tile offsets: tag of their byte counts


def read_image(path: Path) -> NDArray[np.uint8]:
    """
    Read one image file.

    Raises
    ------
    FrameError
        As `decode_image`, and when the file is missing, unreadable or not a regular file.

    """
    # Opening a pipe or a device of that name would wait for ever.
    if not path.is_file():
        raise FrameError('the file is missing or is not a regular file')
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FrameError(f'the file cannot be read: {error.strerror}') from error
    return decode_image(data)


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
        Not such an image, truncated, damaged, transparent in places, or not of 8 bits a channel (a
        conversion would have to guess the range of the gray levels).

    """
    image = decode_stored_image(data)
    if image.dtype != np.uint8:
        raise FrameError(f'its pixels are {image.dtype}; allowed: 8 bits a channel')
    return np.asarray(image, np.uint8)


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
        Not such an image, truncated, damaged, transparent in places, or of other pixels.

    """
    if data.startswith(b'\xff\xd8'):
        _check_jpeg(data)
    elif data.startswith(b'\x89PNG\r\n\x1a\n'):
        _check_png(data)
    elif data.startswith((b'II*\0', b'MM\0*')):
        _check_tiff(data)
    elif not data.startswith(b'BM'):
        raise FrameError(
            f'not a PNG, JPEG, BMP or TIFF image: it begins with {data[:8].hex(" ")}'
            if data
            else 'it is empty (0 bytes)'
        )
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise FrameError(f'it cannot be decoded: {error.err}') from error
    if image is None:
        raise FrameError('it cannot be decoded: truncated or damaged')
    if image.dtype not in (np.uint8, np.uint16):
        raise FrameError(f'its pixels are {image.dtype}; allowed: 8 or 16 bits a channel')
    if image.ndim == 3 and image.shape[2] == 4:
        if image[:, :, 3].min() < (255 if image.dtype == np.uint8 else 65535):
            raise FrameError('it is transparent in places; allowed: opaque images')
        image = image[:, :, :3]
    return np.ascontiguousarray(image)


def _check_jpeg(data: bytes) -> None:
    position = 2
    while found := _JPEG_MARK.search(data, position):
        if data[found.end() - 1] == _JPEG_END:
            return
        # Skipping each segment keeps an embedded preview's end mark from counting.
        position = found.end() + int.from_bytes(data[found.end() : found.end() + 2], 'big')
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
    order = '<' if data.startswith(b'II') else '>'
    values: dict[int, tuple[int, ...]] = {}
    try:
        (directory,) = struct.unpack_from(f'{order}I', data, 4)
        (entries,) = struct.unpack_from(f'{order}H', data, directory)
        for place in range(directory + 2, directory + 2 + 12 * entries, 12):
            tag, kind, count = struct.unpack_from(f'{order}HHI', data, place)
            if tag in _TIFF_PLACES or tag in _TIFF_PLACES.values():
                letter, size = ('H', 2) if kind == 3 else ('I', 4)
                place += 8
                if count * size > 4:
                    (place,) = struct.unpack_from(f'{order}I', data, place)
                values[tag] = struct.unpack_from(f'{order}{count}{letter}', data, place)
    except struct.error as error:
        raise FrameError(f'the TIFF is truncated or damaged: {len(data)} bytes') from error
    for offsets, counts in _TIFF_PLACES.items():
        for offset, count in zip(values.get(offsets, ()), values.get(counts, ()), strict=False):
            if offset + count > len(data):
                raise FrameError(
                    f'the TIFF is truncated: {len(data)} of at least {offset + count} bytes'
                )
