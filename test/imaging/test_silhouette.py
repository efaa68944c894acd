# SPDX-License-Identifier: Apache-2.0
"""
Where the part is within its outline: without the belt that shows through, and never nowhere.

"""

import cv2
import numpy as np
import pytest

from anomaly_inspection.imaging.silhouette import part_silhouette

SHAPE = (240, 320)


def square(low, high):
    mask = np.zeros(SHAPE, np.bool_)
    mask[low:high, low + 40 : high + 40] = True
    return mask


INSIDE, AROUND = square(60, 180), ~square(40, 200)


def picture(part, part_level, belt_level, *, is_gray=False):
    """
    Draw a part on a noisy belt.

    """
    rng = np.random.default_rng(1)
    level = np.where(part, part_level, belt_level)
    frame = level[:, :, None] + rng.normal(0.0, 4.0, (*SHAPE, 3))
    frame = np.clip(frame, 0, 255).astype(np.uint8)
    return cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY) if is_gray else frame


def bracket():
    """
    A part in the shape of an L: a quarter of its outline is belt.

    """
    part = INSIDE.copy()
    part[120:180, 160:220] = False
    return part


@pytest.mark.parametrize('is_gray', [True, False])
@pytest.mark.parametrize(('part_level', 'belt_level'), [(90, 180), (180, 60)])
def test_belt_inside_of_the_outline_is_no_part(part_level, belt_level, is_gray):
    reference = picture(bracket(), part_level, belt_level, is_gray=is_gray)

    found = part_silhouette(reference, INSIDE, AROUND)

    assert not found[126:174, 166:214].any()
    assert found[66:114, 106:214].mean() > 0.99
    assert not (found & ~INSIDE).any()


def test_a_bore_through_which_the_belt_shows_is_no_part():
    part = INSIDE.copy()
    part[110:130, 150:170] = False

    found = part_silhouette(picture(part, 180, 60), INSIDE, AROUND)

    assert not found[112:128, 152:168].any()
    assert found.sum() > 0.9 * part.sum()


def test_a_part_that_looks_like_its_belt_is_all_of_its_outline():
    found = part_silhouette(picture(INSIDE, 100, 100), INSIDE, AROUND)

    np.testing.assert_array_equal(found, INSIDE)


def test_without_belt_in_view_the_outline_is_the_part():
    nowhere = np.zeros(SHAPE, np.bool_)

    found = part_silhouette(picture(bracket(), 90, 180), INSIDE, nowhere)

    np.testing.assert_array_equal(found, INSIDE)
