# SPDX-License-Identifier: Apache-2.0
"""
Images that are too large, or no files at all, are refused before any decoding or waiting.

"""

from __future__ import annotations

from collections.abc import Callable
import os
from pathlib import Path
import struct
import zlib

import cv2
import numpy as np
import pytest

from anomaly_inspection.capture.image_file import read_image
from anomaly_inspection.capture.image_folder import ImageFolder
from anomaly_inspection.errors import FrameError
from anomaly_inspection.imaging import image_decoding
from anomaly_inspection.imaging.image_decoding import decode_image, LARGEST_SIDE_PX, MOST_PIXELS


@pytest.fixture
def nothing_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError('it was decoded')

    monkeypatch.setattr(cv2, 'imdecode', refuse)


def png(width: int, height: int, bits: int = 8) -> bytes:
    def block(kind: bytes, content: bytes) -> bytes:
        check = struct.pack('>I', zlib.crc32(kind + content))
        return struct.pack('>I', len(content)) + kind + content + check

    header = struct.pack('>IIBBBBB', width, height, bits, 0, 0, 0, 0)
    start = b'\x89PNG\r\n\x1a\n' + block(b'IHDR', header)
    return start + block(b'IDAT', zlib.compress(bytes(99))) + block(b'IEND', b'')


def jpeg(width: int, height: int) -> bytes:
    data = bytearray(cv2.imencode('.jpg', np.full((16, 16), 99, np.uint8))[1].tobytes())
    place = data.index(b'\xff\xc0')
    data[place + 5 : place + 9] = struct.pack('>HH', height, width)
    return bytes(data)


def bmp(width: int, height: int) -> bytes:
    data = bytearray(cv2.imencode('.bmp', np.full((16, 16), 99, np.uint8))[1].tobytes())
    data[18:26] = struct.pack('<ii', width, height)
    return bytes(data)


def tiff(width: int, height: int, **tags: int) -> bytes:
    entries = {256: width, 257: height, 258: 8, 273: 0, 279: 8}
    entries |= {int(tag[1:]): value for tag, value in tags.items()}
    directory = struct.pack('<H', len(entries))
    directory += b''.join(struct.pack('<HHII', tag, 4, 1, entries[tag]) for tag in sorted(entries))
    return b'II*\0' + struct.pack('<I', 8) + directory + struct.pack('<I', 0)


FORMATS: dict[str, Callable[[int, int], bytes]] = {
    'png': png,
    'jpeg': jpeg,
    'bmp': bmp,
    'tiff': tiff,
}


@pytest.mark.usefixtures('nothing_decoded')
@pytest.mark.parametrize('size', [(20_000, 20_000), (16_000, 16_000), (30_000, 1), (1, 60_000)])
@pytest.mark.parametrize('name', FORMATS)
def test_a_huge_image_is_refused_from_its_header(name: str, size: tuple[int, int]) -> None:
    width, height = size
    with pytest.raises(FrameError, match=f'it is {width} x {height} px; allowed: 1 to 16384 px'):
        decode_image(FORMATS[name](width, height))


@pytest.mark.usefixtures('nothing_decoded')
@pytest.mark.parametrize(
    'data',
    [
        png(0, 9),
        png(2**31, 2**31),
        jpeg(9, 0),
        bmp(-9, 9),
        bmp(9, -(2**31)),
        tiff(0, 9),
        tiff(9, 9, t322=2**31, t323=2**31),
        png(9, 9, bits=16),
        tiff(9, 9, t258=16),
        tiff(9, 9)[:20],
        b'II*\0\xff\xff\xff\x7f',
        b'BM',
        b'\xff\xd8',
        b'\x89PNG\r\n\x1a\n' + bytes(30),
    ],
)
def test_a_header_without_sense_is_refused(data: bytes) -> None:
    with pytest.raises(FrameError):
        decode_image(data)


def test_the_largest_cameras_are_allowed() -> None:
    for width, height in ((14208, 10656), (LARGEST_SIDE_PX, 9765)):
        assert width * height <= MOST_PIXELS
        image_decoding.check_header(image_decoding.image_header(png(width, height)))


@pytest.mark.usefixtures('nothing_decoded')
def test_a_tag_that_stands_a_thousand_times_is_refused() -> None:
    entry = struct.pack('<HHII', 273, 4, 5000, 8)
    data = b'II*\0' + struct.pack('<IH', 8, 1000) + entry * 1000 + bytes(20_000)
    with pytest.raises(FrameError, match='tag 273 stands twice'):
        decode_image(data)


@pytest.mark.usefixtures('nothing_decoded')
def test_a_jpeg_of_a_thousand_scans_is_refused() -> None:
    data = jpeg(16, 16)
    scan = data[data.index(b'\xff\xda') : -2]
    with pytest.raises(FrameError, match='more than 100 scans'):
        decode_image(data[:-2] + scan * 1000 + data[-2:])


# The files themselves


@pytest.mark.parametrize('target', ['/dev/zero', '/dev/tty', '/proc/kmsg', 'nowhere', '.', 'loop'])
def test_a_link_to_what_is_no_image_file_is_refused(tmp_path: Path, target: str) -> None:
    (tmp_path / 'loop').symlink_to('loop')
    path = tmp_path / 'a.png'
    path.symlink_to(target)
    with pytest.raises(FrameError):
        read_image(path)


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / 'a.png')
    with pytest.raises(FrameError, match='not a regular file'):
        read_image(tmp_path / 'a.png')


def test_a_file_that_becomes_a_pipe_after_the_look_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / 'a.png')
    monkeypatch.setattr(Path, 'is_file', lambda path: True)
    with pytest.raises(FrameError, match='not a regular file'):
        read_image(tmp_path / 'a.png')


def test_a_file_longer_than_any_image_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / 'a.png').open('wb') as file:
        file.truncate(2**40)
    with pytest.raises(FrameError, match='1099511627776 bytes long; allowed: 641048576 bytes'):
        read_image(tmp_path / 'a.png')


def test_a_link_to_an_image_is_followed(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / 'a.png'), np.full((9, 9), 99, np.uint8))
    (tmp_path / 'b.png').symlink_to('a.png')
    assert read_image(tmp_path / 'b.png').shape == (9, 9)


@pytest.mark.parametrize(
    ('name', 'shown', 'problem'),
    [
        ('part\udcff.png', 'part\ufffd.png', 'not UTF-8'),
        ('two\nlines.png', r'two\nlines.png', 'line break'),
        ('Größe 2\u202f.png', 'Größe 2\u202f.png', ''),
    ],
)
def test_every_file_has_a_name_that_can_be_printed(
    tmp_path: Path, name: str, shown: str, problem: str
) -> None:
    data = cv2.imencode('.png', np.full((9, 9), 99, np.uint8))[1].tobytes()
    (tmp_path / name).write_bytes(data)
    with ImageFolder(tmp_path) as source:
        frame = source.read()
        assert frame is not None
        assert frame.name == shown
        assert (frame.image is None) == bool(problem)
        assert problem in frame.problem
        assert source.read() is None


def test_a_folder_that_is_no_text_is_named_all_the_same(tmp_path: Path) -> None:
    folder = tmp_path / 'folder\udcff'
    with pytest.raises(Exception, match='folder\ufffd'):
        ImageFolder(folder).open()
    folder.mkdir()
    with pytest.raises(Exception, match='folder\ufffd'):
        ImageFolder(folder).open()
