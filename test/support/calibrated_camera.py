# SPDX-License-Identifier: Apache-2.0
"""
A small camera whose truth is known, and the board that it is calibrated with.

"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from anomaly_inspection.capture.calibration_board import CalibrationBoard
from benchmarks.rendered_board import facing, RenderedCamera

BOARD = 'charuco:7x5:0.030:0.022'
CAMERA = RenderedCamera(480, 360, 520.0)


def pictures(board: CalibrationBoard, count: int = 10, **how: float) -> dict[str, np.ndarray]:
    """
    Render pictures as a person takes them.

    """
    random = np.random.default_rng(5)
    return {
        f'{index:02}.png': CAMERA.picture(board, *pose, random)
        for index, pose in enumerate(CAMERA.poses(board, count, random, **how))
    }


def on_belt(
    board: CalibrationBoard, turn_deg: float = 0.0, far_m: float = 0.35
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """
    Render the board on a belt that the camera sees a little from the side.

    Returns
    -------
    picture, rotation, translation_m
        The last two: of the board before the camera.

    """
    turn = cv2.Rodrigues(np.array([0.0, 0.0, np.radians(turn_deg)]))[0]
    rotation = facing() @ cv2.Rodrigues(np.array([0.12, -0.08, 0.0]))[0] @ turn
    place = np.array([0.01, -0.005, far_m]) - rotation @ board.points_m().mean(axis=0)
    return CAMERA.picture(board, rotation, place, np.random.default_rng(7)), rotation, place


def write_pictures(folder: Path, board: CalibrationBoard, count: int = 10) -> Path:
    """
    Write the pictures of a board into a folder.

    """
    folder.mkdir(parents=True)
    for name, picture in pictures(board, count).items():
        cv2.imwrite(str(folder / name), picture)
    return folder
