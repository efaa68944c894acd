# SPDX-License-Identifier: Apache-2.0
"""
Where a part lies in a frame.

"""

import math

import cv2
import numpy as np
import pytest

from anomaly_inspection.imaging.alignment import Alignment
from anomaly_inspection.imaging.part_pose import (
    part_frame,
    pose_in_frame,
    without_edge_shift,
)
from anomaly_inspection.imaging.region_of_interest import RegionOfInterest

SIZE = (400, 300)


def bar(angle_deg, *, at=(150.0, 110.0), length=120, width=40):
    """
    Draw a bar, turned counter-clockwise.

    """
    image = np.zeros(SIZE[::-1], np.uint8)
    corners = cv2.boxPoints((at, (length, width), -angle_deg))
    cv2.fillPoly(image, [np.rint(corners).astype(np.int32)], 1)
    return image.astype(bool)


@pytest.mark.parametrize('angle_deg', [0, 20, 45, -60, 80])
def test_origin_and_axis_are_centre_and_main_axis_of_the_silhouette(angle_deg):
    frame = part_frame(bar(angle_deg), None, SIZE)
    assert (frame.x_px, frame.y_px) == pytest.approx((150.0, 110.0), abs=0.5)
    assert frame.is_silhouette
    assert frame.has_axis
    off = math.remainder(frame.axis_rad - math.radians(angle_deg), math.pi)
    assert off == pytest.approx(0.0, abs=math.radians(0.5))


def test_a_bore_moves_neither_origin_nor_axis():
    silhouette = bar(20)
    whole = part_frame(silhouette, None, SIZE)
    silhouette[95:110, 175:190] = False
    bored = part_frame(silhouette, None, SIZE)
    assert (bored.x_px, bored.y_px, bored.axis_rad) == pytest.approx(
        (whole.x_px, whole.y_px, whole.axis_rad), abs=1e-6
    )


def test_a_round_part_has_no_axis():
    disc = np.zeros(SIZE[::-1], np.uint8)
    cv2.circle(disc, (150, 110), 60, 1, cv2.FILLED)
    frame = part_frame(disc.astype(bool), None, SIZE)
    assert (frame.has_axis, frame.axis_rad) == (False, 0.0)


def test_without_a_silhouette_the_origin_is_the_middle_of_the_region():
    frame = part_frame(None, RegionOfInterest(100, 50, 41, 61), SIZE)
    assert (frame.x_px, frame.y_px, frame.is_silhouette) == (120.0, 80.0, False)


@pytest.mark.parametrize('region', [None, RegionOfInterest(40, 30, 240, 180)])
@pytest.mark.parametrize('turn_deg', [0.0, 30.0, -170.0])
def test_the_pose_is_that_of_the_part_when_it_is_moved_and_turned(turn_deg, region):
    corner = (region.x, region.y) if region else (0, 0)
    silhouette = bar(25)
    if region:
        silhouette = silhouette[30:210, 40:280]
    frame = part_frame(silhouette, region, SIZE)
    alignment = Alignment(12.0, -7.0, math.radians(turn_deg), 1.05, 0.9)
    to_frame = alignment.to_frame(region or RegionOfInterest(0, 0, *SIZE))
    pose = pose_in_frame(frame, to_frame, corner)
    # By the picture: warp the silhouette as the alignment says, and look where it is.
    moved = cv2.warpAffine(silhouette.astype(np.uint8), to_frame, (600, 500))
    seen = part_frame(moved.astype(bool), None, (600, 500))
    assert (pose.x_px, pose.y_px) == pytest.approx((seen.x_px, seen.y_px), abs=0.7)
    off = math.remainder(pose.angle_rad - seen.axis_rad, math.pi)
    assert off == pytest.approx(0.0, abs=math.radians(0.7))
    assert pose.scale == pytest.approx(1.05)
    assert -math.pi <= pose.angle_rad <= math.pi


@pytest.mark.parametrize('turn_deg', [0.0, 37.0, 180.0])
def test_a_shift_of_all_edges_does_not_shift_a_turned_part(turn_deg):
    shift = np.array([0.6, -0.3])
    true = cv2.getRotationMatrix2D((50.0, 40.0), turn_deg, 1.1)
    true[:, 2] += (3.0, -2.0)
    # The light shifts the edges by as much in the reference, so alignment finds another map.
    seen = true.copy()
    seen[:, 2] += shift - true[:, :2] @ shift / 1.1
    found = without_edge_shift(seen, (0.6, -0.3))
    assert found == pytest.approx(true)
    assert (found == pytest.approx(seen)) == (turn_deg == 0.0)
