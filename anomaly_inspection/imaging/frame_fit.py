# SPDX-License-Identifier: Apache-2.0
"""
Bring a frame of another size to the size of the recipe: the same way for teaching and scoring.

A frame is scaled to the recipe's width and height, whatever its proportions. Images whose sizes
differ are mostly cutouts along the contour of a part: so their borders, which are those of the
part, come to lie on each other.

"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly_inspection.imaging.frame_check import FrameFormat


def fit_frame(
    image: NDArray[np.uint8], frame_format: FrameFormat
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """
    Bring a frame to the size of a recipe, and to gray where the recipe asks for it.

    Parameters
    ----------
    image : ndarray of uint8, (H, W) or (H, W, 3)
        A frame that the format accepts.
    frame_format : FrameFormat
        Of the recipe.

    Returns
    -------
    image : ndarray of uint8
        Of the shape of the format; the frame itself when it has that shape already.
    to_frame : ndarray of float64, (2, 3)
        Affine map from pixels of the result to pixels of the frame, pixel centres at integers.

    """
    if image.ndim == 3 and frame_format.encoding == 'mono8':
        image = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)
    height, width = image.shape[:2]
    wanted = frame_format.width, frame_format.height
    if (width, height) == wanted:
        return image, np.eye(2, 3)
    shrinks = wanted[0] * wanted[1] < width * height
    scaled = cv2.resize(
        image, wanted, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    )
    step_x, step_y = width / wanted[0], height / wanted[1]
    to_frame = np.array([[step_x, 0.0, (step_x - 1.0) / 2], [0.0, step_y, (step_y - 1.0) / 2]])
    return np.asarray(scaled, np.uint8), to_frame
