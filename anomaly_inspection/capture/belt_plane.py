# SPDX-License-Identifier: Apache-2.0
"""
From pixels to metres on the belt: the plane of the belt as a calibrated camera sees it.

"""

from __future__ import annotations

from dataclasses import dataclass
import math
from typing import Any, TYPE_CHECKING

import cv2
import numpy as np

from anomaly_inspection.capture.calibration import (
    calibration_text,
    CalibrationReader,
    matrix_text,
)
from anomaly_inspection.capture.camera_rays import directions, is_one_to_one, MODELS
from anomaly_inspection.errors import SettingError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from anomaly_inspection.capture.calibration import CameraCalibration

FORMAT_VERSION = 1
#: How tf2 names frames; a slash in front is refused there.
FRAME_PATTERN = r'[A-Za-z0-9_][A-Za-z0-9_/.-]*'
FRAME_ALLOWED = 'letters, digits, "_", ".", "-" and "/" inside'
_FARTHEST_M = 100.0
_HEADER = """\
# Where the belt lies before a camera: written by anomaly-inspection calibrate-camera, for the
# parameter belt_plane of the scorer. Metres, pixels (centre of the first one = 0).
# The frame of the belt: origin, x and y are those of the board as it lay there (x along a row of
# squares, y up the board), z points up from the belt towards the camera.
"""


@dataclass(frozen=True, eq=False)
class BeltPlane:
    """
    Where the belt lies before a camera.

    Parameters
    ----------
    calibration : CameraCalibration
        Of the camera.
    rotation : ndarray of float64, (3, 3)
        Its columns are the belt's axes in the optical frame of the camera (z forward, x right, y
        down).
    translation_m : ndarray of float64, (3,)
        The belt's origin in the optical frame, metres.
    camera_frame, belt_frame : str
        What the two frames are called.

    Raises
    ------
    SettingError
        When the distortion model is not known here or has no inverse over the picture, or the
        camera matrix is none.

    """

    calibration: CameraCalibration
    rotation: NDArray[np.float64]
    translation_m: NDArray[np.float64]
    camera_frame: str = 'camera_optical_frame'
    belt_frame: str = 'belt'

    def __post_init__(self) -> None:
        model = self.calibration.distortion_model
        if model not in MODELS:
            raise SettingError(f'distortion_model {model!r}, allowed: {" or ".join(MODELS)}')
        camera = np.array(self.calibration.camera_matrix)
        is_plain = (camera[[1, 3, 6, 7]] == 0).all() and camera[8] == 1
        if not is_plain or not (camera[[0, 4]] > 0).all():
            raise SettingError(
                f'camera_matrix {camera.tolist()}, allowed: fx, 0, cx, 0, fy, cy, 0, 0, 1 with '
                'focal lengths above 0'
            )
        if not is_one_to_one(self.calibration):
            raise SettingError(
                'the distortion of the camera is not one to one over its picture: calibrate the '
                'camera with the board in the corners of the picture as well'
            )

    def to_belt(self, pixels: NDArray[np.float64], height_m: float = 0.0) -> NDArray[np.float64]:
        """
        Give the places on the belt that are seen in the picture.

        Parameters
        ----------
        pixels : ndarray of float64, (n, 2)
            In the picture as the camera gives it, with its distortion.
        height_m : float
            Height above the belt of what is seen, metres.

        Returns
        -------
        ndarray of float64, (n, 2)
            x and y, metres; NaN where the belt is not seen.

        """
        seen = directions(self.calibration, pixels)
        rays = np.column_stack((seen, np.ones(len(seen)))) @ self.rotation
        camera = -self.rotation.T @ self.translation_m
        with np.errstate(divide='ignore', invalid='ignore'):
            length = (height_m - camera[2]) / rays[:, 2]
            places = camera[:2] + length[:, None] * rays[:, :2]
        places[~(length > 0)] = np.nan
        return np.asarray(places, np.float64)

    def to_pixels(
        self, places_m: NDArray[np.float64], height_m: float = 0.0
    ) -> NDArray[np.float64]:
        """
        Give where places on the belt are in the picture: the inverse of `to_belt`.

        """
        places_m = np.asarray(places_m, np.float64).reshape(-1, 2)
        points = np.column_stack((places_m, np.full(len(places_m), height_m)))
        pixels, _ = cv2.projectPoints(
            points,
            cv2.Rodrigues(self.rotation)[0],
            self.translation_m,
            np.array(self.calibration.camera_matrix).reshape(3, 3),
            np.array(self.calibration.distortion),
        )
        return np.asarray(pixels, np.float64).reshape(-1, 2)

    def homography(self, height_m: float = 0.0) -> NDArray[np.float64]:
        """
        Give the homography from pixels without distortion to metres, for other programs.

        Returns
        -------
        ndarray of float64, (3, 3)
            (x, y, 1) ~ H (u, v, 1), where (u, v) are pixels after the distortion is taken out with
            the camera matrix kept; scaled so that the last element is 1.

        """
        camera = np.array(self.calibration.camera_matrix).reshape(3, 3)
        shift = self.translation_m + height_m * self.rotation[:, 2]
        found = np.linalg.inv(camera @ np.column_stack((self.rotation[:, :2], shift)))
        return np.asarray(found / found[2, 2], np.float64)

    def quaternion_in_belt(self) -> tuple[float, float, float, float]:
        """
        Give how the camera's optical frame is turned in the frame of the belt: x, y, z, w.

        """
        return quaternion_of(self.rotation.T)

    def place_in_belt_m(self) -> tuple[float, float, float]:
        """
        Give where the camera is in the frame of the belt, metres.

        """
        x, y, z = -self.rotation.T @ self.translation_m
        return float(x), float(y), float(z)

    def field_m(self) -> tuple[float, float]:
        """
        Give width and height of what the camera sees of the belt, along its middle lines, metres.

        """
        width, height = self.calibration.size
        ends = np.array(
            [
                (0.0, (height - 1) / 2),
                (width - 1.0, (height - 1) / 2),
                ((width - 1) / 2, 0.0),
                ((width - 1) / 2, height - 1.0),
            ]
        )
        left, right, top, bottom = self.to_belt(ends)
        return float(np.linalg.norm(right - left)), float(np.linalg.norm(bottom - top))


def belt_plane_text(plane: BeltPlane) -> str:
    """
    Write a file that `read_belt_plane` reads.

    """
    return ''.join(
        (
            _HEADER,
            f'format_version: {FORMAT_VERSION}\n',
            f'camera_frame: {plane.camera_frame}\n',
            f'belt_frame: {plane.belt_frame}\n',
            "# The belt in the camera's optical frame: its origin, and its axes as columns.\n",
            matrix_text('translation_m', 3, plane.translation_m.tolist()),
            matrix_text('rotation', 3, plane.rotation.ravel().tolist()),
            '# For other programs, it follows from the rest: from pixels (u, v, 1) without\n',
            '# distortion (the camera matrix kept) to metres on the belt (x, y, 1), times a '
            'factor.\n',
            matrix_text('homography', 3, plane.homography().ravel().tolist()),
            '# The camera, as in its own file.\n',
            calibration_text(plane.calibration, plane.camera_frame),
        )
    )


def read_belt_plane(path: Path) -> BeltPlane:
    """
    Read the file of a belt's plane.

    Raises
    ------
    SettingError
        When the file cannot be read or a value is missing or wrong; names the file and the key.

    """
    reader = CalibrationReader(path)
    version = reader.value('format_version')
    if version != FORMAT_VERSION or isinstance(version, bool):
        raise reader.refusal('format_version', version, str(FORMAT_VERSION))
    rotation = np.array(reader.numbers('rotation', (9,))).reshape(3, 3)
    is_turned = np.allclose(rotation @ rotation.T, np.eye(3), rtol=0, atol=1e-6)
    if not is_turned or np.linalg.det(rotation) < 0:
        raise reader.refusal('rotation', rotation.ravel().tolist(), 'a rotation matrix')
    translation_m = np.array(reader.numbers('translation_m', (3,)))
    if np.abs(translation_m).max() > _FARTHEST_M:
        raise reader.refusal(
            'translation_m', translation_m.tolist(), f'-{_FARTHEST_M:g} to {_FARTHEST_M:g} m'
        )
    if rotation[:, 2] @ translation_m >= 0:
        raise reader.refusal(
            'translation_m', translation_m.tolist(), 'a camera that is above the belt'
        )
    frames = [
        reader.text(key, FRAME_PATTERN, FRAME_ALLOWED) for key in ('camera_frame', 'belt_frame')
    ]
    if frames[0] == frames[1]:
        raise reader.refusal('belt_frame', frames[1], 'another name than that of camera_frame')
    try:
        plane = BeltPlane(reader.calibration(), rotation, translation_m, *frames)
    except SettingError as error:
        raise SettingError(reader.named(str(error))) from None
    stored = np.array(reader.numbers('homography', (9,)))
    found = plane.homography().ravel()
    if not np.allclose(stored, found, rtol=1e-6, atol=1e-9):
        raise reader.refusal(
            'homography',
            stored.tolist(),
            'what rotation, translation_m and camera_matrix give. The file was changed by hand: '
            'calibrate again',
        )
    return plane


def quaternion_of(rotation: NDArray[np.float64]) -> tuple[float, float, float, float]:
    """
    Give a rotation matrix as a quaternion x, y, z, w, with w >= 0.

    """
    turn: Any = cv2.Rodrigues(np.asarray(rotation, np.float64))[0].ravel()
    angle_rad = float(np.linalg.norm(turn))
    if angle_rad < 1e-12:
        return 0.0, 0.0, 0.0, 1.0
    x, y, z = np.sin(angle_rad / 2) * turn / angle_rad
    return float(x), float(y), float(z), math.cos(angle_rad / 2)
