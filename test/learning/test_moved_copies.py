# SPDX-License-Identifier: Apache-2.0
"""
Moved copies of good images: within the tolerance, always the same, and no defect of their own.

"""

from __future__ import annotations

import math

import cv2
import numpy as np

from anomaly_inspection.imaging.alignment import Aligner, AlignmentSettings
from anomaly_inspection.imaging.region_of_interest import RegionOfInterest
from anomaly_inspection.imaging.tolerance import Tolerance
from anomaly_inspection.learning.moved_copies import Motion, moved_copy
from support.drawn_plate import plate

REGION = RegionOfInterest(8, 8, 96, 96)


def test_a_copy_depends_on_name_image_and_number_alone() -> None:
    frame, tolerance = plate(1), Tolerance()
    first = moved_copy('a', frame, tolerance, REGION)
    assert np.array_equal(first, moved_copy('a', frame.copy(), tolerance, REGION))
    assert not np.array_equal(first, moved_copy('b', frame, tolerance, REGION))
    assert not np.array_equal(first, moved_copy('a', frame, tolerance, REGION, 1))


def test_motions_fill_the_tolerance_and_never_leave_it() -> None:
    rng = np.random.default_rng(1)
    tolerance = Tolerance(12.0, rotation_deg=30.0, light_share=0.2)
    motions = [Motion.drawn(tolerance, rng) for _ in range(300)]
    for values, most in (
        ([motion.x_px for motion in motions], 12.0),
        ([motion.y_px for motion in motions], 12.0),
        ([math.degrees(motion.angle_rad) for motion in motions], 30.0),
        ([motion.gain - 1 for motion in motions], 0.2),
    ):
        assert 0.9 * most < max(values) <= most
        assert -most <= min(values) < -0.9 * most
    assert all(0 <= motion.defocus_px <= tolerance.defocus_px for motion in motions)


def test_the_alignment_finds_the_motion_that_was_drawn() -> None:
    frame = plate(1)
    aligner = Aligner(AlignmentSettings('rigid', 12.0, 20.0), frame, REGION)
    motion = Motion(4.0, -3.0, math.radians(12.0), gain=1.1, defocus_px=0.5, noise_levels=1.0)
    found = aligner.align(motion.apply(frame, REGION.center, np.random.default_rng(2)))
    assert abs(found.x_px - motion.x_px) < 0.2
    assert abs(found.y_px - motion.y_px) < 0.2
    assert abs(found.angle_rad - motion.angle_rad) < math.radians(0.5)


def test_no_motion_changes_nothing_and_colour_is_kept() -> None:
    frame = cv2.merge([plate(1), plate(1) // 2, plate(1) // 3])
    still = Motion().apply(frame, REGION.center, np.random.default_rng(3))
    assert np.array_equal(still, frame)
    brighter = Motion(gain=1.1).apply(frame, REGION.center, np.random.default_rng(3))
    assert brighter.shape == frame.shape
    assert np.array_equal(brighter, np.rint(frame * np.float32(1.1)).clip(0, 255))


def test_what_comes_in_at_the_border_is_like_what_was_there() -> None:
    ramp = np.tile(np.arange(60, 220, dtype=np.uint8), (120, 1))
    moved = Motion(x_px=10.0).apply(ramp, complex(79.5, 59.5), np.random.default_rng(4))
    assert int(np.abs(np.diff(moved.astype(int), axis=1)).max()) <= 1
