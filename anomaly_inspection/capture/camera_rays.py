# SPDX-License-Identifier: Apache-2.0
"""
In which direction a calibrated camera sees each place of its picture.

"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly_inspection.capture.calibration import CameraCalibration

#: The distortion models whose inverse `directions` knows.
MODELS = ('plumb_bob', 'rational_polynomial')


def is_one_to_one(calibration: CameraCalibration) -> bool:
    """
    Tell whether each place of the picture belongs to one direction.

    """
    width, height = calibration.size
    edge = [
        *((x, y) for x in np.linspace(0, width - 1, 9) for y in (0, height - 1)),
        *((x, y) for y in np.linspace(0, height - 1, 9) for x in (0, width - 1)),
    ]
    return bool(np.isfinite(directions(calibration, np.array(edge))).all())


def directions(calibration: CameraCalibration, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """
    Give the direction in which the camera sees a place of its picture: the inverse of its model.

    Parameters
    ----------
    calibration : CameraCalibration
        With the distortion model 'plumb_bob' or 'rational_polynomial'.
    pixels : ndarray of float64, (n, 2)
        Places in the picture, pixel centres at integers.

    Returns
    -------
    ndarray of float64, (n, 2)
        x / z and y / z; NaN where the model has no inverse.

    """
    camera = np.array(calibration.camera_matrix).reshape(3, 3)
    distortion = np.array(calibration.distortion)
    pixels = np.asarray(pixels, np.float64).reshape(-1, 2)
    focal = camera[[0, 1], [0, 1]]
    found = (pixels - camera[:2, 2]) / focal
    off = np.zeros_like(found)
    # By fixed-point steps, each judged by the picture; OpenCV's own function has another name and
    # another precision in each version.
    for _ in range(60):
        off = pixels - _seen(found, camera, distortion)
        # Where the steps run away, they stay away.
        off[~(np.abs(off) < 1e6)] = np.nan
        if not (np.abs(off) > 1e-7).any():
            break
        found = found + off / focal
    is_lost = ~(np.abs(off).max(axis=1, initial=0.0) < 1e-4)
    found[is_lost] = np.nan
    return np.asarray(found, np.float64)


def _seen(
    rays: NDArray[np.float64], camera: NDArray[np.float64], distortion: NDArray[np.float64]
) -> NDArray[np.float64]:
    if not len(rays):
        return np.empty((0, 2))
    points = np.column_stack((rays, np.ones(len(rays))))
    seen, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), camera, distortion)
    return np.asarray(seen, np.float64).reshape(-1, 2)
