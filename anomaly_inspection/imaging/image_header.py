# SPDX-License-Identifier: Apache-2.0
"""
What the header of an image file says, before anything is decoded.

"""

from __future__ import annotations

from dataclasses import dataclass
import re
import struct
from typing import TYPE_CHECKING

from anomaly_inspection.errors import FrameError

if TYPE_CHECKING:
    from collections.abc import Iterator

JPEG_START = b'\xff\xd8'
PNG_START = b'\x89PNG\r\n\x1a\n'
TIFF_STARTS = (b'II*\0', b'MM\0*')
_BMP_START = b'BM'

# Within the compressed data FF stands before 00 or a restart mark D0..D7; anything else is a real
# mark.
_JPEG_MARK = re.compile(rb'\xff+[\x02-\xcf\xd8-\xfe]')
_JPEG_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_OLD_BMP_HEADER = 12

_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_BITS = 256, 257, 258
_TIFF_TILE_WIDTH, _TIFF_TILE_HEIGHT = 322, 323
_TIFF_TAGS = {
    *(_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_BITS, _TIFF_TILE_WIDTH, _TIFF_TILE_HEIGHT),
    *(273, 279, 324, 325),  # places and lengths of strips and tiles
}


@dataclass(frozen=True)
class ImageHeader:
    """
    What the header says.

    Parameters
    ----------
    width, height : int
        Pixels. Of a tiled TIFF at least those of a tile, as a decoder holds one.
    bits : int
        Most bits of a channel.

    """

    width: int
    height: int
    bits: int


def image_header(data: bytes) -> ImageHeader:
    """
    Read the header of a PNG, JPEG, BMP or TIFF image.

    Raises
    ------
    FrameError
        When it is no such image, or the header is truncated or damaged.

    """
    if not data:
        raise FrameError('it is empty (0 bytes)')
    try:
        if data.startswith(JPEG_START):
            return _jpeg(data)
        if data.startswith(PNG_START):
            return _png(data)
        if data.startswith(TIFF_STARTS):
            return _tiff(data)
        if data.startswith(_BMP_START):
            return _bmp(data)
    except (struct.error, IndexError) as error:
        raise FrameError(f'it is truncated or damaged: {len(data)} bytes') from error
    raise FrameError(f'not a PNG, JPEG, BMP or TIFF image: it begins with {data[:8].hex(" ")}')


def jpeg_marks(data: bytes) -> Iterator[tuple[int, int]]:
    """
    Give each mark of a JPEG and the place behind it.

    """
    position = 2
    while found := _JPEG_MARK.search(data, position):
        yield data[found.end() - 1], found.end()
        # Skipping each segment keeps the marks of an embedded preview from counting.
        position = found.end() + int.from_bytes(data[found.end() : found.end() + 2], 'big')


def tiff_tags(data: bytes) -> dict[int, tuple[int, ...]]:
    """
    Give the tags of a TIFF's first page that say how large it is and where its pixels lie.

    Raises
    ------
    FrameError
        When a tag stands twice.
    struct.error
        When the file is truncated.

    """
    order = '<' if data.startswith(b'II') else '>'
    values: dict[int, tuple[int, ...]] = {}
    (directory,) = struct.unpack_from(f'{order}I', data, 4)
    (entries,) = struct.unpack_from(f'{order}H', data, directory)
    for place in range(directory + 2, directory + 2 + 12 * entries, 12):
        tag, kind, count = struct.unpack_from(f'{order}HHI', data, place)
        if tag not in _TIFF_TAGS:
            continue
        # Thousands of long entries of one tag would take for ever.
        if tag in values:
            raise FrameError(f'the TIFF is damaged: tag {tag} stands twice')
        letter, size = {1: ('B', 1), 3: ('H', 2)}.get(kind, ('I', 4))
        place += 8
        if count * size > 4:
            (place,) = struct.unpack_from(f'{order}I', data, place)
        values[tag] = struct.unpack_from(f'{order}{count}{letter}', data, place)
    return values


def _jpeg(data: bytes) -> ImageHeader:
    for mark, place in jpeg_marks(data):
        if mark in _JPEG_FRAMES:
            bits, height, width = struct.unpack_from('>BHH', data, place + 2)
            return ImageHeader(width, height, bits)
    raise FrameError(f'the JPEG is truncated: no frame header in its {len(data)} bytes')


def _png(data: bytes) -> ImageHeader:
    length, kind, width, height, bits = struct.unpack_from('>I4sIIB', data, 8)
    if (length, kind) != (13, b'IHDR'):
        raise FrameError('the PNG is damaged: it does not begin with its header')
    return ImageHeader(width, height, bits)


def _tiff(data: bytes) -> ImageHeader:
    tags = tiff_tags(data)
    width, height = (max(tags.get(tag, (0,))) for tag in (_TIFF_WIDTH, _TIFF_HEIGHT))
    if not width or not height:
        return ImageHeader(0, 0, 8)
    return ImageHeader(
        max(width, *tags.get(_TIFF_TILE_WIDTH, (0,))),
        max(height, *tags.get(_TIFF_TILE_HEIGHT, (0,))),
        max(tags.get(_TIFF_BITS, (1,)), default=1),
    )


def _bmp(data: bytes) -> ImageHeader:
    (length,) = struct.unpack_from('<I', data, 14)
    width, height = struct.unpack_from('<HH' if length == _OLD_BMP_HEADER else '<ii', data, 18)
    # A negative height tells that the rows go down.
    return ImageHeader(width, abs(height), 8)
