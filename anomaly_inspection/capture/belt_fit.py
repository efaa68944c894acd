# SPDX-License-Identifier: Apache-2.0
"""
Find the plane of the belt by a picture of a board that lies on it.

"""

from __future__ import annotations

from dataclasses import dataclass
import math
from typing import TYPE_CHECKING

import cv2
import numpy as np

from anomaly_inspection.capture.belt_plane import BeltPlane
from anomaly_inspection.capture.camera_fit import DEFAULT_MAX_RMS_PX
from anomaly_inspection.capture.camera_rays import MODELS
from anomaly_inspection.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from anomaly_inspection.capture.calibration import CameraCalibration
    from anomaly_inspection.capture.calibration_board import BoardView

# Of the diagonal of what the camera sees, at the worst corner of the picture.
_MOST_SPREAD = 0.01
_STEP = 1e-6


@dataclass(frozen=True, eq=False)
class BeltFit:
    """
    The plane of the belt, and how well it is known.

    Parameters
    ----------
    plane : BeltPlane
        What was found.
    corners : int
        So many corners of the board in the picture.
    rms_px, largest_px : float
        Distance between corners seen and corners computed: root of the mean square, and the
        largest.
    spread_m : float
        Standard deviation of a place on the belt at the worst corner of the picture, metres.

    """

    plane: BeltPlane
    corners: int
    rms_px: float
    largest_px: float
    spread_m: float


def fit_belt(
    view: BoardView,
    calibration: CameraCalibration,
    *,
    without_some: Sequence[CameraCalibration] = (),
    thickness_m: float = 0.0,
    max_rms_px: float = DEFAULT_MAX_RMS_PX,
    camera_frame: str = 'camera_optical_frame',
    belt_frame: str = 'belt',
) -> BeltFit:
    """
    Find the plane of the belt by a board that lies on it.

    Parameters
    ----------
    view : BoardView
        The board on the belt.
    calibration : CameraCalibration
        Of the camera, with the same focus and picture size.
    without_some : sequence of CameraCalibration
        See `CameraFit`; none = its uncertainty is not known and counts as nothing.
    thickness_m : float
        Height of the board's print above the belt, metres.
    max_rms_px : float
        Most reprojection error that is taken, px.
    camera_frame, belt_frame : str
        Names of the frames.

    Raises
    ------
    SettingError
        When the picture does not fit the calibration, or does not determine the plane.

    """
    if calibration.distortion_model not in MODELS:
        raise SettingError(
            f'distortion_model {calibration.distortion_model!r}, allowed: {" or ".join(MODELS)}'
        )
    pose = _board_pose(view, calibration)
    if not pose.rms_px <= max_rms_px:
        raise SettingError(
            f'the board on the belt: reprojection error {pose.rms_px:.2f} px; allowed: 0 to '
            f'{max_rms_px:g} px. Was it flat, and were focus, zoom and picture size those of the '
            'calibration?'
        )
    rotation, place = pose.below(thickness_m)
    if rotation[:, 2] @ place >= 0:
        raise SettingError('the board on the belt is seen from behind: is the picture mirrored?')
    plane = BeltPlane(calibration, rotation, place, camera_frame, belt_frame)
    others = [
        BeltPlane(other, *_board_pose(view, other).below(thickness_m)) for other in without_some
    ]
    spread_m = _spread_m(plane, others, pose, thickness_m)
    most_m = _MOST_SPREAD * math.hypot(*plane.field_m())
    if not spread_m <= most_m:
        raise SettingError(
            f'places on the belt are known to {1000 * spread_m:.2g} mm at the corners of the '
            f'picture; allowed: {1000 * most_m:.2g} mm or better. Take a larger board on the '
            'belt, and more pictures with the board in the corners'
        )
    return BeltFit(plane, len(view.pixels), pose.rms_px, pose.largest_px, spread_m)


@dataclass(frozen=True, eq=False)
class _BoardPose:
    turn: NDArray[np.float64]
    shift_m: NDArray[np.float64]
    # How the corners in the picture change with both, and how far they are off.
    slopes: NDArray[np.float64]
    rms_px: float
    largest_px: float

    def below(self, thickness_m: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        rotation = np.asarray(cv2.Rodrigues(self.turn)[0], np.float64)
        return rotation, np.asarray(self.shift_m - thickness_m * rotation[:, 2], np.float64)


def _board_pose(view: BoardView, calibration: CameraCalibration) -> _BoardPose:
    camera = np.array(calibration.camera_matrix).reshape(3, 3)
    distortion = np.array(calibration.distortion)
    is_found, turn, shift = cv2.solvePnP(
        view.points_m, view.pixels, camera, distortion, flags=cv2.SOLVEPNP_IPPE
    )
    if not is_found:
        raise SettingError('the board on the belt cannot be placed before the camera')
    turn, shift = cv2.solvePnPRefineLM(view.points_m, view.pixels, camera, distortion, turn, shift)
    computed, slopes = cv2.projectPoints(view.points_m, turn, shift, camera, distortion)
    off_px = np.linalg.norm(computed.reshape(-1, 2) - view.pixels, axis=1)
    return _BoardPose(
        np.asarray(turn, np.float64).ravel(),
        np.asarray(shift, np.float64).ravel(),
        np.asarray(slopes, np.float64)[:, :6],
        float(np.sqrt(np.mean(off_px**2))),
        float(off_px.max()),
    )


def _spread_m(
    plane: BeltPlane, others: Sequence[BeltPlane], pose: _BoardPose, thickness_m: float
) -> float:
    """
    Give the standard deviation of a place on the belt at the worst corner of the picture.

    By the scatter of the board's corners on the belt, and, with the jackknife, by the pictures
    that the camera was calibrated from.

    """
    width, height = plane.calibration.size
    corners = np.array(
        [(0, 0), (width - 1, 0), (0, height - 1), (width - 1, height - 1)], np.float64
    )
    here = plane.to_belt(corners, thickness_m)
    numbers = pose.slopes.shape[0]
    scatter = pose.rms_px**2 * (numbers / 2) / max(numbers - 6, 1)
    pose_variance = scatter * np.linalg.pinv(pose.slopes.T @ pose.slopes)
    changes = []
    for index in range(6):
        moved = np.concatenate((pose.turn, pose.shift_m))
        moved[index] += _STEP
        rotation = np.asarray(cv2.Rodrigues(moved[:3])[0], np.float64)
        other = BeltPlane(plane.calibration, rotation, np.asarray(moved[3:], np.float64))
        changes.append((other.to_belt(corners) - here) / _STEP)
    by_pose = np.stack(changes, axis=-1)
    variances = np.einsum('cij,jk,cik->c', by_pose, pose_variance, by_pose)
    if others:
        places = np.array([other.to_belt(corners, thickness_m) for other in others])
        apart = ((places - places.mean(axis=0)) ** 2).sum(axis=(0, 2))
        variances = variances + apart * (len(others) - 1) / len(others)
    return float(np.sqrt(np.nanmax(variances)))
