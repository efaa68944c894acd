# SPDX-License-Identifier: Apache-2.0
"""
From a prepared image to the input of a network, and back: one rule for training and scoring.

"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray


def net_input(image: NDArray[np.uint8], side_px: int) -> NDArray[np.float32]:
    """
    Bring a prepared image, or a patch of one, to the square input of a network.

    The aspect ratio is not kept. Shrinking averages areas, so no thin line falls between two
    samples; enlarging interpolates linearly.

    Parameters
    ----------
    image : ndarray of uint8, (h, w) gray or (h, w, 3) BGR
        As `Prepared.image`.
    side_px : int
        Side of the network's input, pixels, at least 1.

    Returns
    -------
    ndarray of float32, (side_px, side_px, c)
        0 to 1; c = 1 for gray, 3 for BGR. Memory of its own.

    """
    scaled = resized(image, (side_px, side_px)).astype(np.float32)
    scaled *= 1.0 / 255.0
    return scaled[..., np.newaxis] if scaled.ndim == 2 else scaled


def from_net(values: NDArray[np.float32], size_px: tuple[int, int]) -> NDArray[np.float32]:
    """
    Bring the output of a network (a reconstruction, a map) back to the size of the image.

    Parameters
    ----------
    values : ndarray of float32, (side, side) or (side, side, c)
        In the network's pixels.
    size_px : tuple of int
        Width and height of the image that `net_input` was given.

    Returns
    -------
    ndarray of float32, (h, w) or (h, w, c)
        In the image's pixels; a single channel stays a channel.

    """
    laid: NDArray[np.float32] = resized(values, size_px)
    return laid.reshape(*laid.shape[:2], *values.shape[2:])


def resized(image: NDArray[Any], size_px: tuple[int, int]) -> NDArray[Any]:
    """
    Bring an image to another width and height by the rule of `net_input`.

    """
    height, width = image.shape[:2]
    if (width, height) == size_px:
        return image
    shrinks = size_px[0] < width or size_px[1] < height
    rule = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size_px, interpolation=rule))


def then_resized(
    matrix: NDArray[np.float64], size_px: tuple[int, int], new_size_px: tuple[int, int]
) -> NDArray[np.float64]:
    """
    Give an affine map that ends in the pixels of an image as one that ends in its resized copy.

    Parameters
    ----------
    matrix : ndarray of float64, (2, 3)
        Into the image; integers are the centres of pixels.
    size_px, new_size_px : tuple of int
        Width and height of the image and of its copy.

    """
    scale = np.divide(new_size_px, size_px)
    return np.asarray(
        np.column_stack([scale[:, None] * matrix[:, :2], scale * (matrix[:, 2] + 0.5) - 0.5])
    )
