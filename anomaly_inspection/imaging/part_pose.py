# SPDX-License-Identifier: Apache-2.0
"""
Where a part lies in a frame: its origin and its axis, carried from the reference by the alignment.

"""

from __future__ import annotations

from dataclasses import dataclass, replace
import math
from typing import TYPE_CHECKING

import cv2
import numpy as np

from anomaly_inspection.imaging.region_of_interest import RegionOfInterest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly_inspection.imaging.part_marks import PartMarks

# A silhouette rounder than this has no main axis: ratio of its deviations along and across it.
_LEAST_ELONGATION = 1.1


@dataclass(frozen=True)
class PartFrame:
    """
    Origin and axis of the part in the reference.

    Parameters
    ----------
    x_px, y_px : float
        The origin, pixels of the reference frame (pixel centres at integers).
    axis_rad : float
        Direction of the axis, positive = counter-clockwise as seen in the image; 0 = to the right.
    is_silhouette : bool
        True: centre and main axis of the part's silhouette. False: the middle of the region of
        interest, because the part could not be told from its background.
    has_axis : bool
        False: the silhouette has no main axis, and the angle is that from the reference alone.
    is_marked : bool
        True: a person has given origin, axis or both.

    """

    x_px: float
    y_px: float
    axis_rad: float = 0.0
    is_silhouette: bool = False
    has_axis: bool = False
    is_marked: bool = False


@dataclass(frozen=True)
class PartPose:
    """
    Origin and axis of the part in a frame.

    Parameters
    ----------
    x_px, y_px : float
        The origin, frame pixels.
    angle_rad : float
        Direction of the axis, -pi to pi, positive = counter-clockwise as seen in the image.
    scale : float
        Size of the part over that of the reference's.

    """

    x_px: float
    y_px: float
    angle_rad: float
    scale: float


def part_frame(
    silhouette: NDArray[np.bool_] | None, region: RegionOfInterest | None, size: tuple[int, int]
) -> PartFrame:
    """
    Give origin and axis from the silhouette of the reference.

    Parameters
    ----------
    silhouette : ndarray of bool, (h, w), or None
        True on the part, over the region of interest; None = unknown.
    region : RegionOfInterest or None
        None = the whole frame.
    size : (int, int)
        Width and height of the frame, px.

    """
    region = region or RegionOfInterest(0, 0, *size)
    middle = region.center
    if silhouette is None or not silhouette.any():
        return PartFrame(middle.real, middle.imag)
    outlines, _ = cv2.findContours(
        silhouette.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    # Bores and reflections are part of it.
    filled = np.zeros(silhouette.shape, np.uint8)
    cv2.drawContours(filled, outlines, -1, 1, cv2.FILLED)
    moments = cv2.moments(filled, binaryImage=True)
    area = moments['m00']
    xx, yy, xy = (moments[key] / area for key in ('mu20', 'mu02', 'mu11'))
    apart = math.hypot(xx - yy, 2 * xy)
    elongation = math.sqrt((xx + yy + apart) / max(xx + yy - apart, 1e-9))
    has_axis = elongation >= _LEAST_ELONGATION
    # y points down.
    axis_rad = -0.5 * math.atan2(2 * xy, xx - yy) if has_axis else 0.0
    return PartFrame(
        region.x + moments['m10'] / area,
        region.y + moments['m01'] / area,
        axis_rad,
        is_silhouette=True,
        has_axis=has_axis,
    )


def marked_frame(frame: PartFrame, marks: PartMarks | None) -> PartFrame:
    """
    Give origin and axis as a person has marked them; what is not marked stays.

    """
    if marks is None or (marks.origin_px is None and marks.axis_deg is None):
        return frame
    x_px, y_px = marks.origin_px or (frame.x_px, frame.y_px)
    if marks.axis_deg is None:
        return replace(frame, x_px=x_px, y_px=y_px, is_marked=True)
    axis_rad = math.radians(marks.axis_deg)
    return replace(frame, x_px=x_px, y_px=y_px, axis_rad=axis_rad, has_axis=True, is_marked=True)


def without_edge_shift(
    to_frame: NDArray[np.float64], edge_shift_px: tuple[float, float]
) -> NDArray[np.float64]:
    """
    Take out of an alignment what light and shadow do to it.

    Light from one side shifts all edges in the same direction d of the picture, in the reference
    as well. So a part that is turned by R against the reference seems to lie at d - R d from where
    it is.

    Parameters
    ----------
    to_frame : ndarray of float64, (2, 3)
        Affine map from pixels of the reference to pixels of the frame.
    edge_shift_px : (float, float)
        d, to the right and down, pixels.

    Returns
    -------
    ndarray of float64, (2, 3)

    """
    shift = np.array(edge_shift_px)
    turn = to_frame[:, :2] / math.sqrt(abs(float(np.linalg.det(to_frame[:, :2]))))
    corrected = to_frame.copy()
    corrected[:, 2] -= shift - turn @ shift
    return corrected


def pose_in_frame(
    frame: PartFrame, to_frame: NDArray[np.float64], corner: tuple[int, int]
) -> PartPose:
    """
    Carry origin and axis into a frame.

    Parameters
    ----------
    frame : PartFrame
        In the reference.
    to_frame : ndarray of float64, (2, 3)
        Affine map from pixels of the reference's region of interest to pixels of the frame.
    corner : (int, int)
        Of the region of interest in the reference, px.

    """
    x_px, y_px = to_frame @ (frame.x_px - corner[0], frame.y_px - corner[1], 1.0)
    # y points down.
    along = to_frame[:, :2] @ (math.cos(frame.axis_rad), -math.sin(frame.axis_rad))
    return PartPose(
        float(x_px),
        float(y_px),
        math.atan2(-along[1], along[0]),
        math.sqrt(abs(float(np.linalg.det(to_frame[:, :2])))),
    )
