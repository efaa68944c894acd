# SPDX-License-Identifier: Apache-2.0
"""
From a prepared image to a network's input and back.

"""

import numpy as np
import pytest

from anomaly_inspection.imaging.net_input import from_net, net_input


@pytest.mark.parametrize(('shape', 'channels'), [((60, 40), 1), ((60, 40, 3), 3)])
@pytest.mark.parametrize('side_px', [16, 48, 128])
def test_every_image_becomes_a_square_from_0_to_1(shape, channels, side_px):
    image = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    scaled = net_input(image, side_px)
    assert scaled.shape == (side_px, side_px, channels)
    assert scaled.dtype == np.float32
    assert 0 <= scaled.min() < scaled.max() <= 1
    assert scaled.mean() == pytest.approx(image.mean() / 255, abs=0.02)


def test_an_image_of_the_right_size_is_only_scaled():
    image = np.arange(256, dtype=np.uint8).reshape(16, 16)
    scaled = net_input(image, 16)
    np.testing.assert_allclose(scaled[..., 0], image / 255, atol=1e-7)
    scaled[:] = 0
    assert image[15, 15] == 255


def test_a_thin_line_does_not_fall_between_two_samples():
    for column in range(64):
        image = np.zeros((64, 64), np.uint8)
        image[:, column] = 255
        assert net_input(image, 8).max() == pytest.approx(1 / 8, abs=0.01)


@pytest.mark.parametrize('shape', [(24, 24), (24, 24, 1), (24, 24, 3)])
def test_a_map_comes_back_to_the_size_of_the_image(shape):
    values = np.full(shape, 0.25, np.float32)
    back = from_net(values, (40, 60))
    assert back.shape == (60, 40, *shape[2:])
    np.testing.assert_allclose(back, 0.25)
