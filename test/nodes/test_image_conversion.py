# SPDX-License-Identifier: Apache-2.0
"""
ROS images into arrays and back, with cv_bridge where it is installed and with NumPy always.

"""

import struct
import zlib

import cv2
import numpy as np
import pytest

pytest.importorskip('rclpy', reason='needs ROS 2')

from sensor_msgs.msg import CompressedImage, Image

from anomaly_inspection.errors import FrameError
from anomaly_inspection.nodes import image_conversion
from anomaly_inspection.nodes.image_conversion import (
    array_from_compressed,
    array_from_image,
    ENCODINGS,
    float_array_from_image,
    image_from_array,
    in_encoding,
)
from anomaly_inspection.nodes.stamps import nanoseconds_from_stamp, stamp_from_nanoseconds

STAMP = stamp_from_nanoseconds(1_700_000_000_123_456_789)


@pytest.fixture(params=['numpy', 'cv_bridge'], autouse=True)
def bridge(request, monkeypatch):
    if request.param == 'numpy':
        monkeypatch.setattr(image_conversion, 'CvBridge', None)
    elif image_conversion.CvBridge is None:
        pytest.skip('cv_bridge is not installed')


def pixels(*shape):
    return np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize('shape', [(3, 5), (480, 640), (3, 5, 3), (480, 640, 3)])
def test_an_array_comes_back_as_it_went(shape):
    before = pixels(*shape)
    message = image_from_array(before, STAMP, 'camera')
    assert message.encoding == ('mono8' if len(shape) == 2 else 'bgr8')
    assert message.header.frame_id == 'camera'
    assert nanoseconds_from_stamp(message.header.stamp) == 1_700_000_000_123_456_789
    np.testing.assert_array_equal(array_from_image(message), before)


def test_a_slice_of_a_larger_array_becomes_a_whole_image():
    before = pixels(20, 30, 3)[4:9, 3:11]
    np.testing.assert_array_equal(array_from_image(image_from_array(before, STAMP, '')), before)


def test_float_values_come_back_exactly():
    before = np.random.default_rng(1).normal(size=(7, 9)).astype(np.float32)
    message = image_from_array(before, STAMP, '')
    assert message.encoding == '32FC1'
    np.testing.assert_array_equal(float_array_from_image(message), before)


@pytest.mark.parametrize(
    ('encoding', 'order'),
    [('bgr8', [0, 1, 2]), ('rgb8', [2, 1, 0]), ('bgra8', [0, 1, 2]), ('rgba8', [2, 1, 0])],
)
def test_colour_becomes_bgr(encoding, order):
    raw = pixels(4, 6, 4 if encoding.endswith(('a8',)) else 3)
    message = Image(height=4, width=6, encoding=encoding, step=6 * raw.shape[2])
    message.data = raw.tobytes()
    np.testing.assert_array_equal(array_from_image(message), raw[..., order])


@pytest.mark.parametrize(('encoding', 'channels'), [('mono8', 1), ('bgr8', 3)])
def test_padded_rows_are_cut(encoding, channels):
    raw = pixels(4, 32)
    message = Image(height=4, width=6, encoding=encoding, step=32, data=raw.tobytes())
    expected = raw[:, : 6 * channels].reshape((4, 6) if channels == 1 else (4, 6, 3))
    np.testing.assert_array_equal(array_from_image(message), expected)


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'encoding': 'nv21'}, "'nv21' is not understood: allowed is mono8"),
        ({'encoding': 'bayer_rggb12'}, "'bayer_rggb12' is not understood"),
        ({'encoding': 'mono16'}, 'step 6 is shorter than a row of 12'),
        ({'encoding': 'yuyv', 'width': 3, 'step': 6}, 'yuyv is 3 pixels wide; allowed: an even'),
        ({'encoding': 'bayer_gbrg8', 'height': 1}, '6x1 pixels; allowed: 2x2 and more'),
        ({'encoding': ''}, "''"),
        ({'data': bytes(23)}, 'truncated: 23 bytes.*need 24'),
        ({'data': b''}, 'truncated: 0 bytes'),
        ({'step': 5}, 'step 5 is shorter than a row of 6'),
        ({'width': 0}, '0x4'),
        ({'height': 0}, '6x0'),
    ],
)
def test_a_broken_image_is_refused_with_the_numbers(change, words):
    fields = {'height': 4, 'width': 6, 'encoding': 'mono8', 'step': 6, 'data': bytes(24)}
    with pytest.raises(FrameError, match=words):
        array_from_image(Image(**{**fields, **change}))


@pytest.mark.parametrize(
    'array',
    [
        np.zeros((3, 4), np.uint16),
        np.zeros((3, 4, 4), np.uint8),
        np.zeros((3, 4), np.float64),
        np.zeros(5, np.uint8),
    ],
)
def test_an_array_that_is_no_image_is_refused(array):
    with pytest.raises(FrameError, match='is no image'):
        image_from_array(array, STAMP, '')


def test_a_map_of_another_type_or_length_is_refused():
    with pytest.raises(FrameError, match='allowed is 32FC1'):
        float_array_from_image(Image(height=1, width=1, encoding='mono8', step=1, data=b'0'))
    with pytest.raises(FrameError, match='truncated'):
        float_array_from_image(Image(height=2, width=1, encoding='32FC1', step=4, data=bytes(4)))


# What foreign cameras publish

BAYER_COLOURS = {
    'rggb': ('rg', 'gb'),
    'bggr': ('bg', 'gr'),
    'gbrg': ('gb', 'rg'),
    'grbg': ('gr', 'bg'),
}


def mosaic(colours, pattern):
    """
    Give what a sensor with this pattern sees: of each pixel one colour; by the definition of ROS.

    """
    seen = np.zeros(colours.shape[:2], colours.dtype)
    for row, names in enumerate(BAYER_COLOURS[pattern]):
        for column, name in enumerate(names):
            seen[row::2, column::2] = colours[row::2, column::2, 'bgr'.index(name)]
    return seen


def message_of(raw, encoding, *, pad=0, is_bigendian=False):
    rows = raw.astype(raw.dtype.newbyteorder('>' if is_bigendian else '<'))
    rows = np.ascontiguousarray(rows).view(np.uint8).reshape(raw.shape[0], -1)
    rows = np.pad(rows, ((0, 0), (0, pad)))
    return Image(
        height=raw.shape[0],
        width=raw.shape[1],
        encoding=encoding,
        step=rows.shape[1],
        is_bigendian=int(is_bigendian),
        data=rows.tobytes(),
    )


@pytest.mark.parametrize('pattern', BAYER_COLOURS)
@pytest.mark.parametrize('bits', [8, 16])
def test_bayer_of_one_colour_becomes_that_colour_to_the_edge(pattern, bits):
    colours = np.full((6, 8, 3), (200, 100, 30), np.uint8)
    seen = mosaic(colours, pattern)
    raw = seen if bits == 8 else seen.astype(np.uint16) << 8
    np.testing.assert_array_equal(
        array_from_image(message_of(raw, f'bayer_{pattern}{bits}', pad=6)), colours
    )


@pytest.mark.parametrize('pattern', BAYER_COLOURS)
def test_bayer_shifts_nothing(pattern):
    # Ramps along both axes, each channel another: bilinear interpolation gives them back exactly.
    y, x = np.mgrid[:20, :30]
    colours = np.stack([8 * x, 10 * y, 255 - 4 * x - 4 * y], axis=2).astype(np.uint8)
    found = array_from_image(message_of(mosaic(colours, pattern), f'bayer_{pattern}8'))
    inside = (slice(1, -1), slice(1, -1))
    difference = found[inside].astype(int) - colours[inside].astype(int)
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize(
    ('encoding', 'order'),
    [
        ('uyvy', 'uyvy'),
        ('yuv422', 'uyvy'),
        ('yuyv', 'yuyv'),
        ('yuv422_yuy2', 'yuyv'),
    ],
)
def test_yuv422_becomes_bgr(encoding, order):
    # ITU-R BT.601, video range: what these cameras send for white, black, blue and red.
    known = {
        (235, 128, 128): (255, 255, 255),
        (16, 128, 128): (0, 0, 0),
        (41, 240, 110): (255, 0, 0),
        (82, 90, 240): (0, 0, 255),
    }
    for (luma, blue, red), bgr in known.items():
        of = {'y': luma, 'u': blue, 'v': red}
        raw = np.tile(np.array([of[name] for name in order], np.uint8), (4, 3))
        raw = raw.reshape(4, 6, 2)
        found = array_from_image(message_of(raw, encoding, pad=2))
        assert found.shape == (4, 6, 3)
        assert np.abs(found.astype(int) - bgr).max() <= 2, (encoding, bgr)


@pytest.mark.parametrize('is_bigendian', [False, True])
@pytest.mark.parametrize('encoding', ['mono16', '16UC1'])
def test_of_16_bits_the_upper_8_that_the_camera_uses_are_kept(encoding, is_bigendian):
    raw = np.array([[0, 15, 16, 255], [256, 4080, 4095, 2048]], np.uint16)
    message = message_of(raw, encoding, pad=3, is_bigendian=is_bigendian)
    np.testing.assert_array_equal(
        array_from_image(message, 12), [[0, 0, 1, 15], [16, 255, 255, 128]]
    )
    np.testing.assert_array_equal(array_from_image(message), raw >> 8)


def test_a_pixel_beyond_the_depth_is_refused():
    message = message_of(np.full((2, 2), 4096, np.uint16), 'mono16')
    with pytest.raises(FrameError, match='a 16-bit pixel is 4096, more than the 4095 of 12 bits'):
        array_from_image(message, 12)


@pytest.mark.parametrize('encoding', ENCODINGS)
def test_each_encoding_gives_8_bits_gray_or_bgr(encoding):
    message = Image(height=4, width=6, encoding=encoding, step=24, data=bytes(96))
    found = array_from_image(message)
    assert found.dtype == np.uint8
    assert found.shape in ((4, 6), (4, 6, 3))


def test_gray_and_colour_become_each_other_on_request():
    colour, gray = pixels(5, 7, 3), pixels(5, 7)
    assert in_encoding(colour, '') is colour
    assert in_encoding(gray, 'mono8') is gray
    np.testing.assert_array_equal(
        in_encoding(colour, 'mono8'), cv2.cvtColor(colour, cv2.COLOR_BGR2GRAY)
    )
    np.testing.assert_array_equal(in_encoding(gray, 'bgr8'), np.stack([gray] * 3, axis=2))


# Compressed


def compressed(image, suffix='.png', source='bgr8', kind='png compressed bgr8'):
    data = cv2.imencode(suffix, image)[1].tobytes()
    return CompressedImage(format=f'{source}; {kind}', data=data)


@pytest.mark.parametrize('shape', [(6, 8), (6, 8, 3)])
@pytest.mark.parametrize('image_format', ['png', 'bgr8; png compressed bgr8', ''])
def test_a_png_comes_back_exactly(shape, image_format):
    before = pixels(*shape)
    message = compressed(before)
    message.format = image_format
    np.testing.assert_array_equal(array_from_compressed(message), before)


@pytest.mark.parametrize('is_gray', [True, False])
def test_a_jpeg_keeps_its_colours_in_their_order(is_gray):
    before = np.full((16, 16) if is_gray else (16, 16, 3), 90 if is_gray else (200, 90, 10))
    found = array_from_compressed(compressed(before.astype(np.uint8), '.jpg', 'rgb8', 'jpeg'))
    assert found.shape == before.shape
    assert np.abs(found.astype(int) - before).max() <= 3


def test_a_png_of_16_bits_keeps_the_upper_8():
    raw = np.array([[0, 4095], [2048, 16]], np.uint16)
    found = array_from_compressed(compressed(raw, source='mono16', kind='png compressed '), 12)
    np.testing.assert_array_equal(found, [[0, 255], [128, 1]])


def test_a_bayer_image_that_was_compressed_as_it_is_becomes_colour():
    colours = np.full((6, 8, 3), (200, 100, 30), np.uint8)
    seen = mosaic(colours, 'grbg')
    plain = compressed(seen, source='bayer_grbg8', kind='png compressed ')
    np.testing.assert_array_equal(array_from_compressed(plain), colours)
    # For JPEG image_transport makes gray of it first.
    gray = compressed(seen, '.png', 'bayer_grbg8', 'jpeg compressed mono8')
    np.testing.assert_array_equal(array_from_compressed(gray), seen)


@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
def test_corrupt_compressed_data_is_refused_with_the_reason(suffix):
    message = compressed(pixels(40, 50, 3), suffix)
    whole = bytes(message.data)
    message.data = whole[: len(whole) // 2]
    with pytest.raises(FrameError, match=r'the compressed image cannot be decoded: .*truncated'):
        array_from_compressed(message)


@pytest.mark.parametrize(
    ('data', 'words'),
    [(b'', 'is empty; allowed: JPEG, PNG'), (b'BM12345678', 'begins with 42 4d 31 .*; allowed')],
)
def test_other_compressed_data_is_refused_by_its_beginning(data, words):
    with pytest.raises(FrameError, match=words):
        array_from_compressed(CompressedImage(format='tiff', data=data))


def test_a_compressed_image_too_large_to_decode_is_refused_by_its_header():
    header = struct.pack('>II5B', 30_000, 30_000, 8, 2, 0, 0, 0)
    chunks = [(b'IHDR', header), (b'IDAT', zlib.compress(b'')), (b'IEND', b'')]
    data = b'\x89PNG\r\n\x1a\n' + b''.join(
        struct.pack('>I', len(body)) + kind + body + struct.pack('>I', zlib.crc32(kind + body))
        for kind, body in chunks
    )
    with pytest.raises(FrameError, match=r'cannot be decoded: .*30000'):
        array_from_compressed(CompressedImage(format='png', data=data))
