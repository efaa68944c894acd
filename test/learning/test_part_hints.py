# SPDX-License-Identifier: Apache-2.0
"""
Hints while parts are recorded: each fault is named, and good parts of a line get none.

"""

import cv2
import numpy as np
import pytest

from anomaly_inspection.capture.open_source import open_source
from anomaly_inspection.learning.part_hints import PartHints
from support.small_recipe import SMALL_LINE


@pytest.fixture(scope='module')
def good_parts():
    with open_source(f'{SMALL_LINE},defect_rate=0,parts=12,seed=3') as line:
        return [line.read().image for _ in range(12)]


@pytest.fixture
def hints(good_parts):
    """
    Hints that have seen all good parts but the last.

    """
    hints = PartHints()
    for part in good_parts[:-1]:
        hints.take(part)
    return hints


def scaled(image, factor):
    return np.clip(image.astype(np.float32) * factor, 0, 255).astype(np.uint8)


def moved(image, width):
    return cv2.blur(image, (width, 1))


def half_dark(image):
    shade = np.linspace(0.4, 1.0, image.shape[1], dtype=np.float32)
    shape = (1, -1) if image.ndim == 2 else (1, -1, 1)
    return (image * shade.reshape(shape)).astype(np.uint8)


def test_good_parts_of_a_line_get_no_hint(good_parts):
    hints = PartHints()
    assert [hints.take(part).code for part in good_parts] == [''] * len(good_parts)


@pytest.mark.parametrize(
    ('spoil', 'code'),
    [
        (lambda image: cv2.GaussianBlur(image, (0, 0), 4.0), 'focus'),
        (lambda image: moved(image, 13), 'moved'),
        (lambda image: cv2.transpose(moved(cv2.transpose(image), 13)), 'moved'),
        (lambda image: scaled(image, 0.6), 'light'),
        (half_dark, 'light'),
        (lambda image: scaled(image, 8.0), 'bright'),
        (lambda image: image // 64, 'dark'),
        (lambda image: image[:-2], 'size'),
    ],
    ids=['focus', 'moved', 'moved_down', 'darker', 'half_dark', 'bright', 'dark', 'size'],
)
def test_a_spoilt_image_is_named(hints, good_parts, spoil, code):
    hint = hints.take(np.ascontiguousarray(spoil(good_parts[-1])))
    assert hint.code == code, hint.sentence
    assert hint.sentence.endswith(('.', '?'))


def test_the_same_part_in_the_same_place_is_too_alike(hints, good_parts):
    noise = np.random.default_rng(5).normal(0.0, 1.5, good_parts[4].shape)
    again = np.clip(good_parts[4] + noise, 0, 255).astype(np.uint8)
    assert hints.take(again).code == 'copy'


def test_the_first_image_is_judged_by_itself(good_parts):
    assert PartHints().take(np.full_like(good_parts[0], 255)).code == 'bright'
    assert PartHints().take(np.zeros_like(good_parts[0])).code == 'dark'
    assert PartHints().take(good_parts[0]).code == ''


def test_a_white_background_is_told_three_times_and_hides_no_other_hint(good_parts):
    hints = PartHints()
    images = [image.copy() for image in good_parts]
    for image in images:
        image[: image.shape[0] // 2] = 255
    codes = [hints.take(image).code for image in images[:-1]]
    assert codes == ['bright'] * 3 + [''] * (len(images) - 4)
    assert hints.take(images[-2]).code == 'copy'
    brighter = images[-1].copy()
    brighter[: 2 * brighter.shape[0] // 3] = 255
    assert hints.take(brighter).code == 'bright'


def test_a_good_part_after_spoilt_ones_gets_no_hint(hints, good_parts):
    for sigma in (4.0, 5.0):
        hints.take(cv2.GaussianBlur(good_parts[3], (0, 0), sigma))
    assert hints.take(good_parts[-1]).code == ''
