# SPDX-License-Identifier: Apache-2.0
"""
A defect beside the same place of the nearest good part, by a real recipe of the simulated line.

"""

from __future__ import annotations

from pathlib import Path

import cv2
from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from anomaly_inspection.capture.open_source import open_source
from anomaly_inspection.errors import FrameError
from anomaly_inspection.overlay.good_patch import crop_box, GoodImages
from anomaly_inspection.recipes.folder import read_recipe
from support.small_recipe import SMALL_LINE

SIDES = st.integers(16, 5000)


@given(SIDES, SIDES, st.data())
def test_a_crop_holds_the_region_and_stays_inside_the_frame(width, height, data):
    box = []
    for size in (width, height):
        start = data.draw(st.integers(0, size - 1))
        box.append((start, data.draw(st.integers(start + 1, size))))
    region = box[0][0], box[1][0], box[0][1], box[1][1]
    left, top, right, bottom = crop_box(region, (width, height))
    assert 0 <= left <= region[0] < region[2] <= right <= width
    assert 0 <= top <= region[1] < region[3] <= bottom <= height


@pytest.fixture(scope='module')
def judged(taught_recipe: Path):
    """
    The good images of a recipe, and a good frame of a part that it was not taught on, as scored.

    """
    recipe = read_recipe(taught_recipe)
    with open_source(f'{SMALL_LINE},defect_rate=0,parts=12,seed=1') as line:
        taught = [line.read().image for _ in range(12)]
    images = GoodImages(recipe.preprocessing, recipe.frame_format, recipe.references, taught)
    with open_source(f'{SMALL_LINE},defect_rate=0,parts=4,seed=77') as line:
        frames = [line.read().image for _ in range(4)]
    return recipe, images, frames


def with_spot(frame, levels):
    """
    Give a frame with a spot on the part, and the box of the spot.

    """
    height, width = frame.shape[:2]
    # On the ring: its bore is too dark for a darker spot.
    centre = width // 2 + 30, height // 2
    spotted = frame.astype(np.int16)
    mask = np.zeros(frame.shape[:2], np.uint8)
    cv2.circle(mask, centre, 6, 1, -1)
    spotted[mask > 0] += levels
    box = centre[0] - 7, centre[1] - 7, centre[0] + 8, centre[1] + 8
    return np.clip(spotted, 0, 255).astype(np.uint8), box


def pose_of(recipe, frame):
    found = recipe.frame_scorer().score(frame)[0].alignment
    return found.x_px, found.y_px, found.angle_rad, found.scale


@pytest.mark.parametrize('levels', [-45, 45])
def test_the_nearest_good_part_shows_the_place_of_the_defect_without_it(judged, levels):
    recipe, images, frames = judged
    for frame in frames:
        spotted, box = with_spot(frame, levels)
        patch = images.beside(spotted, box, pose_of(recipe, frame))
        assert patch is not None
        left, top, right, bottom = crop_box(box, (frame.shape[1], frame.shape[0]))
        undamaged = frame[top:bottom, left:right].astype(float)
        assert patch.found.shape == patch.good.shape == undamaged.shape
        # Like the part was before the spot came, and with the contrast that the spot has.
        far = np.abs(patch.good - undamaged).mean()
        assert far < np.abs(patch.found - patch.good.astype(float)).max() / 3
        assert patch.contrast_levels == pytest.approx(levels, abs=20)


def test_it_is_laid_as_the_part_lies(judged):
    recipe, images, frames = judged
    height, width = frames[0].shape[:2]
    region = recipe.preprocessing.region_of_interest
    middle = region.center if region else complex((width - 1) / 2, (height - 1) / 2)
    turned = cv2.warpAffine(
        frames[0],
        cv2.getRotationMatrix2D((middle.real, middle.imag), 6.0, 1.0),
        (width, height),
        borderMode=cv2.BORDER_REPLICATE,
    )
    x_px, y_px, angle, scale = pose_of(recipe, frames[0])
    # Off the middle, where a turn shows.
    box = width // 2 + 30, height // 2 - 20, width // 2 + 45, height // 2 - 5
    pose = (
        *((complex(x_px, y_px) * np.exp(-1j * np.radians(6))).real, y_px),
        *(angle + np.radians(6), scale),
    )
    patch = images.beside(turned, box, pose)
    unturned = images.beside(turned, box, (x_px, y_px, angle, scale))
    assert patch is not None
    assert unturned is not None
    assert np.abs(patch.good - patch.found.astype(float)).mean() < (
        0.6 * np.abs(unturned.good - unturned.found.astype(float)).mean()
    )


def test_a_frame_of_another_size_is_scaled_as_the_cell_scales_it(judged):
    _, images, frames = judged
    height, width = frames[0].shape[:2]
    box = width // 2 - 40, height // 2 - 40, width // 2 + 40, height // 2 + 40
    large = cv2.resize(frames[0], (2 * width, 2 * height), interpolation=cv2.INTER_CUBIC)
    patch = images.beside(large, tuple(2 * each for each in box), None)
    small = images.beside(frames[0], box, None)
    assert patch is not None
    assert small is not None
    shrunk = cv2.resize(patch.good, small.good.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(shrunk - small.good.astype(float)).mean() < 8


@pytest.mark.parametrize(
    ('region', 'pose'),
    [
        ((300, 10, 330, 20), None),
        ((10, 10, 10, 20), None),
        ((10, 10, 20, 20), (0.0, 0.0, 0.0, 0.0)),
        ((10, 10, 20, 20), (np.nan, 0.0, 0.0, 1.0)),
    ],
)
def test_a_region_or_pose_of_another_frame_is_refused(judged, region, pose):
    _, images, frames = judged
    with pytest.raises(FrameError, match=r'the region|the pose'):
        images.beside(frames[0], region, pose)
