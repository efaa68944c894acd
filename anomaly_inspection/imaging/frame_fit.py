# SPDX-License-Identifier: Apache-2.0
"""
Bring a frame of another size to the size of the recipe: the same way for teaching and scoring.

A frame is scaled to the recipe's width and height. Where its proportions differ by more than
`LARGEST_STRETCH`, it keeps them, lies in the middle, and its border is continued over the rest.

"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly_inspection.imaging.frame_check import FrameFormat

# Nobody sees a part that is stretched by so little; bars at the border would be seen.
LARGEST_STRETCH = 1.05


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
    inner = _inner_size((width, height), wanted)
    shrinks = inner[0] * inner[1] < width * height
    scaled = cv2.resize(
        image, inner, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    )
    left, top = ((wanted[axis] - inner[axis]) // 2 for axis in (0, 1))
    fitted = cv2.copyMakeBorder(
        scaled,
        top,
        wanted[1] - inner[1] - top,
        left,
        wanted[0] - inner[0] - left,
        cv2.BORDER_REPLICATE,
    )
    step_x, step_y = width / inner[0], height / inner[1]
    to_frame = np.array(
        [
            [step_x, 0.0, (0.5 - left) * step_x - 0.5],
            [0.0, step_y, (0.5 - top) * step_y - 0.5],
        ]
    )
    return np.asarray(fitted, np.uint8), to_frame


def keeps_proportions(size: tuple[int, int], wanted: tuple[int, int]) -> bool:
    """
    Tell whether a frame of a size, width and height, gets bars when it is brought to another.

    """
    scales = wanted[0] / size[0], wanted[1] / size[1]
    return max(scales) > LARGEST_STRETCH * min(scales)


def _inner_size(size: tuple[int, int], wanted: tuple[int, int]) -> tuple[int, int]:
    if not keeps_proportions(size, wanted):
        return wanted
    scale = min(wanted[0] / size[0], wanted[1] / size[1])
    return max(1, round(scale * size[0])), max(1, round(scale * size[1]))
