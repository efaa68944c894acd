# SPDX-License-Identifier: Apache-2.0
"""
Pictures of a calibration board before a camera whose truth is known.

"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
import math
from typing import Any, TYPE_CHECKING

import cv2
import numpy as np
from scipy.interpolate import RectBivariateSpline

from anomaly_inspection.capture.calibration import CameraCalibration
from anomaly_inspection.capture.calibration_board import CHARUCO
from anomaly_inspection.capture.camera_rays import directions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from anomaly_inspection.capture.calibration_board import CalibrationBoard

_SQUARE_PX = 96
_MARGIN = 0.5
_BACKGROUND = 90.0
# Each pixel is the mean of so many by so many.
_FINE = 2
_COARSE_PX = 10


@dataclass(frozen=True)
class RenderedCamera:
    """
    A camera: its truth, and how bad its pictures are.

    Parameters
    ----------
    width, height : int
        Of its pictures, px.
    focal_px : float
        Focal length, px.
    distortion : tuple of 5 float
        k1, k2, p1, p2, k3.
    centre_off_px : (float, float)
        Where the optical centre is, from the middle of the picture, px.
    noise_levels : float
        Sigma of the noise, gray levels.
    blur_px : float
        Sigma of the blur, px.

    """

    width: int = 640
    height: int = 480
    focal_px: float = 700.0
    distortion: tuple[float, ...] = (-0.18, 0.09, 0.0006, -0.0004, 0.0)
    centre_off_px: tuple[float, float] = (6.0, -4.0)
    noise_levels: float = 2.0
    blur_px: float = 0.6

    @cached_property
    def calibration(self) -> CameraCalibration:
        """
        Give what a perfect calibration would find.

        """
        x_px = (self.width - 1) / 2 + self.centre_off_px[0]
        y_px = (self.height - 1) / 2 + self.centre_off_px[1]
        focal = self.focal_px
        camera = (focal, 0.0, x_px, 0.0, focal, y_px, 0.0, 0.0, 1.0)
        projection = (focal, 0.0, x_px, 0.0, 0.0, focal, y_px, 0.0, 0.0, 0.0, 1.0, 0.0)
        still = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
        return CameraCalibration(
            self.width, self.height, 'plumb_bob', self.distortion, camera, still, projection
        )

    @cached_property
    def _rays(self) -> NDArray[np.float64]:
        """
        Give the direction of each fine pixel.

        """
        xs, ys = (
            (np.arange(side * _FINE) + 0.5) / _FINE - 0.5 for side in (self.width, self.height)
        )
        # Distortion is smooth: what lies between a coarse grid is interpolated.
        coarse_xs, coarse_ys = (
            np.linspace(-1, side, side // _COARSE_PX) for side in (self.width, self.height)
        )
        pixels = np.stack(np.meshgrid(coarse_xs, coarse_ys), axis=-1)
        coarse = directions(self.calibration, pixels.reshape(-1, 2)).reshape(pixels.shape)
        seen = [
            RectBivariateSpline(coarse_ys, coarse_xs, coarse[:, :, axis])(ys, xs).ravel()
            for axis in (0, 1)
        ]
        return np.column_stack((*seen, np.ones(len(seen[0]))))

    def picture(
        self,
        board: CalibrationBoard,
        rotation: NDArray[np.float64],
        translation_m: NDArray[np.float64],
        random: np.random.Generator,
    ) -> NDArray[np.uint8]:
        """
        Render a board.

        Parameters
        ----------
        board : CalibrationBoard
            What is seen.
        rotation : ndarray of float64, (3, 3)
            From the axes of the board (`BoardView`) to those of the camera.
        translation_m : ndarray of float64, (3,)
            Of the board's origin, metres.
        random : numpy.random.Generator
            For light and noise.

        Returns
        -------
        ndarray of uint8, (height, width)

        """
        rays = self._rays @ rotation
        camera = -rotation.T @ translation_m
        places = camera[:2] - camera[2] / rays[:, 2:] * rays[:, :2]
        texture = board_picture(board)
        columns = (places[:, 0] / board.square_m + 1 + _MARGIN) * _SQUARE_PX - 0.5
        lines = (board.rows - places[:, 1] / board.square_m + _MARGIN) * _SQUARE_PX - 0.5
        shape = (self.height * _FINE, self.width * _FINE)
        fine = cv2.remap(
            texture,
            columns.astype(np.float32).reshape(shape),
            lines.astype(np.float32).reshape(shape),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=_BACKGROUND,
        )
        picture = cv2.resize(fine, (self.width, self.height), interpolation=cv2.INTER_AREA)
        picture = cv2.GaussianBlur(picture, (0, 0), self.blur_px) if self.blur_px else picture
        # Light that falls off to one side.
        slope = 0.25 * random.uniform(-1, 1)
        light = 1 + slope * np.linspace(-1, 1, self.width)[None, :]
        noise = self.noise_levels * random.standard_normal(picture.shape)
        return np.clip(np.rint(picture * light + noise), 0, 255).astype(np.uint8)

    def poses(
        self,
        board: CalibrationBoard,
        count: int,
        random: np.random.Generator,
        *,
        tilt_deg: float = 35.0,
        reach: float = 0.55,
        distance: float = 1.7,
    ) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """
        Give poses as a person holds a board: tilted in turn to all sides, moved over the picture.

        Parameters
        ----------
        board : CalibrationBoard
            What is held.
        count : int
            How many poses.
        random : numpy.random.Generator
            For what is left to chance.
        tilt_deg : float
            Largest tilt.
        reach : float
            How far its middle goes towards the edge of the picture, 0 to 1.
        distance : float
            How much wider the picture is than a board that faces the camera.

        """
        middle = board.points_m().mean(axis=0)
        extent = np.ptp(board.points_m(), axis=0)[:2] + 2 * board.square_m
        for index in range(count):
            turn_rad = 2 * math.pi * index * 0.382
            tilt_rad = math.radians(tilt_deg) * (0.5 + 0.5 * random.random())
            axis = np.array([math.cos(turn_rad), math.sin(turn_rad), 0.0])
            tilt = cv2.Rodrigues(tilt_rad * axis)[0] if tilt_deg else np.eye(3)
            roll = cv2.Rodrigues(np.array([0.0, 0.0, 0.3 * random.uniform(-1, 1)]))[0]
            rotation = facing() @ tilt @ roll
            far_m = distance * self.focal_px * extent[0] / self.width * random.uniform(0.9, 1.2)
            side = np.array([index % 3 - 1, index // 3 % 3 - 1]) * reach
            aside_m = side * np.array([self.width, self.height]) / 2 / self.focal_px * far_m
            place = np.array([*aside_m, far_m]) - rotation @ middle
            yield rotation, place


def facing() -> NDArray[np.float64]:
    """
    Give the rotation of a board that faces the camera upright: y up, z towards the camera.

    """
    return np.diag([1.0, -1.0, -1.0])


def board_picture(board: CalibrationBoard) -> NDArray[np.float32]:
    """
    Draw a board as it is printed, with half a square of white around it.

    """
    across, down = board.columns + 1, board.rows + 1
    margin = int(_MARGIN * _SQUARE_PX)
    if board.kind == CHARUCO:
        aruco: Any = cv2.aruco
        words = aruco.getPredefinedDictionary(getattr(aruco, board.dictionary))
        size = (across * _SQUARE_PX, down * _SQUARE_PX)
        if hasattr(aruco, 'CharucoDetector'):
            made = aruco.CharucoBoard((across, down), board.square_m, board.marker_m, words)
            inner = made.generateImage(size)
        else:
            made = aruco.CharucoBoard_create(across, down, board.square_m, board.marker_m, words)
            inner = made.draw(size)
    else:
        # The first square is dark.
        squares = np.indices((down, across)).sum(axis=0) % 2 * 255
        inner = np.kron(squares, np.ones((_SQUARE_PX, _SQUARE_PX)))
    # Print is never quite black or white.
    levels = 25.0 + 0.82 * np.float32(inner)
    return np.pad(levels, margin, constant_values=234.0).astype(np.float32)
