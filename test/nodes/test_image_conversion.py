# SPDX-License-Identifier: Apache-2.0
"""
ROS images into arrays and back, with cv_bridge where it is installed and with NumPy always.

"""

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='needs ROS 2')

from sensor_msgs.msg import Image

from anomaly_inspection.errors import FrameError
from anomaly_inspection.nodes import image_conversion
from anomaly_inspection.nodes.image_conversion import (
    array_from_image,
    float_array_from_image,
    image_from_array,
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
        ({'encoding': 'mono16'}, "'mono16'.*allowed is mono8"),
        ({'encoding': 'bayer_rggb8'}, 'bayer_rggb8'),
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
