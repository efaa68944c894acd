# SPDX-License-Identifier: Apache-2.0
"""
Regions: from a map to boxes, areas and peaks, in map and in frame pixels.

"""

from __future__ import annotations

import cv2
from hypothesis import given, settings, strategies
import numpy as np
import pytest

from anomaly_inspection.scoring.region import find_regions, Region


def empty_map(width=40, height=30):
    return np.zeros((height, width), np.float32)


def rotation(degrees, scale=1.0, x=0.0, y=0.0):
    angle = np.deg2rad(degrees)
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[cosine, -sine, x], [sine, cosine, y]])


@pytest.mark.parametrize('value', [0.0, -1.0, 1.0])
def test_an_empty_map_has_no_regions(value):
    assert find_regions(np.full((30, 40), value, np.float32), 1.0, 1) == ()


def test_box_is_half_open_area_counts_pixels_and_peak_is_the_highest():
    anomaly_map = empty_map()
    anomaly_map[5:8, 10:14] = 2
    anomaly_map[6, 11] = 7
    assert find_regions(anomaly_map, 1.0, 1) == (Region(10, 5, 14, 8, 12, 7.0),)


def test_only_values_over_the_limit_belong():
    anomaly_map = empty_map()
    anomaly_map[5, 5] = 1.0
    anomaly_map[5, 6] = np.nextafter(np.float32(1), np.float32(2))
    (region,) = find_regions(anomaly_map, 1.0, 1)
    assert (region.x_min, region.x_max, region.area_px) == (6, 7, 1)


def test_pixels_that_touch_at_a_corner_are_one_region():
    anomaly_map = empty_map()
    anomaly_map[[3, 4, 5], [7, 8, 9]] = 2
    assert find_regions(anomaly_map, 1.0, 1) == (Region(7, 3, 10, 6, 3, 2.0),)


def test_sorted_by_peak_and_small_ones_left_out():
    anomaly_map = empty_map()
    anomaly_map[2:4, 2:4] = 3
    anomaly_map[10:16, 10:16] = 2
    anomaly_map[20:23, 20:23] = 5
    anomaly_map[0, 39] = 9
    assert [region.peak for region in find_regions(anomaly_map, 1.0, 1)] == [9, 5, 3, 2]
    assert [region.area_px for region in find_regions(anomaly_map, 1.0, 5)] == [9, 36]


def test_the_peak_is_of_the_region_not_of_its_box():
    anomaly_map = empty_map()
    anomaly_map[5:15, 5] = anomaly_map[14, 5:15] = 2
    anomaly_map[7, 10] = 8
    assert [region.peak for region in find_regions(anomaly_map, 1.0, 2)] == [2]


@pytest.mark.parametrize('where', [(0, 0), (15, 20), (29, 39)])
def test_nan_is_an_error(where):
    anomaly_map = empty_map()
    anomaly_map[where] = np.nan
    with pytest.raises(ValueError, match='NaN'):
        find_regions(anomaly_map, 1.0, 1)


@pytest.mark.parametrize('limit', [np.nan, np.inf])
def test_a_limit_that_is_not_finite_is_an_error(limit):
    with pytest.raises(ValueError, match='finite'):
        find_regions(empty_map(), limit, 1)


maps = strategies.builds(
    lambda seed, share: (
        (np.random.default_rng(seed).random((17, 23)) < share).astype(np.float32)
        * np.random.default_rng(seed + 1).uniform(1, 9, (17, 23)).astype(np.float32)
    ),
    strategies.integers(0, 2**32 - 1),
    strategies.floats(0, 0.6),
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(maps)
def test_regions_hold_every_pixel_over_the_limit_once(anomaly_map):
    regions = find_regions(anomaly_map, 0.5, 1)
    assert sum(region.area_px for region in regions) == np.count_nonzero(anomaly_map > 0.5)
    for region in regions:
        box = anomaly_map[region.y_min : region.y_max, region.x_min : region.x_max]
        assert 0 <= region.x_min < region.x_max <= 23
        assert 0 <= region.y_min < region.y_max <= 17
        assert region.area_px <= box.size
        assert region.peak in box
    peaks = [region.peak for region in regions]
    assert peaks == sorted(peaks, reverse=True)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(maps)
def test_identity_changes_nothing(anomaly_map):
    assert find_regions(anomaly_map, 0.5, 2, np.eye(2, 3)) == find_regions(anomaly_map, 0.5, 2)


def test_a_region_of_interest_shifts_boxes():
    anomaly_map = empty_map()
    anomaly_map[5:8, 10:14] = 2
    shift = np.array([[1.0, 0, 100], [0, 1, 50]])
    assert find_regions(anomaly_map, 1.0, 1, shift) == (Region(110, 55, 114, 58, 12, 2.0),)


@pytest.mark.parametrize(
    ('degrees', 'box'),
    [(90, (-7, 10, -4, 14)), (180, (-13, -7, -9, -4)), (270, (5, -13, 8, -9))],
)
def test_right_angles_are_exact(degrees, box):
    anomaly_map = empty_map()
    anomaly_map[5:8, 10:14] = 2
    assert find_regions(anomaly_map, 1.0, 1, rotation(degrees)) == (Region(*box, 12, 2.0),)


def test_area_follows_the_scale_and_the_smallest_area_is_in_frame_pixels():
    anomaly_map = empty_map()
    anomaly_map[5:8, 10:14] = 2
    double = np.array([[2.0, 0, 0.5], [0, 2, 0.5]])
    assert find_regions(anomaly_map, 1.0, 40, double) == (Region(20, 10, 28, 16, 48, 2.0),)
    assert find_regions(anomaly_map, 1.0, 49, double) == ()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    strategies.integers(0, 2**32 - 1),
    strategies.floats(-180, 180),
    strategies.floats(0.8, 1.25),
)
def test_a_box_in_the_frame_is_the_box_of_all_transformed_pixels(seed, degrees, scale):
    rng = np.random.default_rng(seed)
    anomaly_map = empty_map()
    blob = [(rng.integers(8, 32), rng.integers(8, 22)) for _ in range(4)]
    cv2.fillConvexPoly(anomaly_map, cv2.convexHull(np.array(blob, np.int32)), 2.0)
    matrix = rotation(degrees, scale, 60.3, 71.8)
    (region,) = find_regions(anomaly_map, 1.0, 1, matrix)
    y, x = np.nonzero(anomaly_map)
    corners = np.stack([(x + dx, y + dy) for dx in (-0.5, 0.5) for dy in (-0.5, 0.5)])
    points = np.einsum('ij,cjn->cin', matrix[:, :2], corners) + matrix[:, 2:]
    low, high = points.min(axis=(0, 2)) + 0.5, points.max(axis=(0, 2)) + 0.5
    assert (region.x_min, region.y_min) == tuple(np.floor(low + 1e-6).astype(int))
    assert (region.x_max, region.y_max) == tuple(np.ceil(high - 1e-6).astype(int))
    assert region.area_px == pytest.approx(len(x) * scale**2, abs=0.51)


def test_boxes_stay_inside_the_frame():
    anomaly_map = empty_map()
    anomaly_map[0, :] = anomaly_map[-1, 10:14] = 2
    regions = find_regions(anomaly_map, 1.0, 1, rotation(3, 1.05), frame_size=(40, 30))
    assert len(regions) == 2
    for region in regions:
        assert 0 <= region.x_min < region.x_max <= 40
        assert 0 <= region.y_min < region.y_max <= 30
