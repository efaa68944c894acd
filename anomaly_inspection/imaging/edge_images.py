# SPDX-License-Identifier: Apache-2.0
"""
Images that show edges for the alignment: band-passed, as gradients, as directions; at every level.

A level is the frame shrunk by a whole factor. Positions are complex numbers x + iy in pixels.

"""

from __future__ import annotations

from typing import Any, TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly_inspection.imaging.region_of_interest import RegionOfInterest

# Noise of a camera makes gradients up to about this at every level; edges are stronger, in levels
# a pixel.
NOISE_GRADIENT = 2.0
# Stands for what the frame does not show; no band-passed value comes near.
OUTSIDE, SHOWN = 1e6, 1e3


def shrunk(image: NDArray[Any], factor: int) -> NDArray[Any]:
    """
    Give an image shrunk by a whole factor.

    """
    if factor == 1:
        return image
    height, width = image.shape[0] // factor, image.shape[1] // factor
    whole = image[: height * factor, : width * factor]
    return cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA)


def band_radius(shape: tuple[int, ...]) -> int:
    """
    Give how many pixels at the border of a band-passed image mean nothing.

    """
    return min(7, max(3, min(shape) // 10))


def band_pass(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """
    Give a smoothed image less its local mean, with `OUTSIDE` at its border.

    """
    border = band_radius(image.shape)
    smooth = cv2.GaussianBlur(image, (5, 5), 1.0)
    mean = cv2.boxFilter(smooth, -1, (2 * border + 1, 2 * border + 1))
    band = np.asarray(cv2.subtract(smooth, mean), np.float32)
    # Beside the border of the frame the average is made up, and does not move with the part.
    band[:border] = band[-border:] = band[:, :border] = band[:, -border:] = OUTSIDE
    return band


def gradients(image: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """
    Give the gradients across and down, levels a pixel.

    """
    across = cv2.Sobel(image, cv2.CV_32F, 1, 0, ksize=1, scale=0.5)
    down = cv2.Sobel(image, cv2.CV_32F, 0, 1, ksize=1, scale=0.5)
    return np.asarray(across, np.float32), np.asarray(down, np.float32)


def edge_directions(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """
    Give the gradients as directions, (h, w, 2): their length is 0..1, near 1 on clear edges.

    """
    smooth = np.asarray(cv2.GaussianBlur(image, (5, 5), 1.0), np.float32)
    field = np.dstack(gradients(smooth))
    size = np.hypot(field[..., 0], field[..., 1]) + NOISE_GRADIENT
    return np.asarray(field / size[..., None], np.float32)


def level_position(position: complex, factor: int) -> complex:
    """
    Give where a position in the frame lies at a level.

    """
    middle_of_pixel = (factor - 1) / 2
    return (position - complex(middle_of_pixel, middle_of_pixel)) / factor


def region_mask(
    shape: tuple[int, ...], middle: complex, region: RegionOfInterest, factor: int, border: int
) -> NDArray[np.bool_]:
    """
    Tell which pixels of a level lie in the region of interest and off the border.

    """
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    inside = (np.abs(columns - middle.real) <= region.width / 2 / factor) & (
        np.abs(rows - middle.imag) <= region.height / 2 / factor
    )
    inside[:border] = inside[-border:] = inside[:, :border] = inside[:, -border:] = False
    return inside


def rotated_half_sides(half_width: float, half_height: float, angle: float) -> tuple[float, float]:
    """
    Give half the sides of the box that holds a rectangle rotated by up to an angle, radians.

    """
    angles = np.linspace(0, angle, 32)
    cos, sin = np.abs(np.cos(angles)), np.abs(np.sin(angles))
    return (
        float((cos * half_width + sin * half_height).max()),
        float((sin * half_width + cos * half_height).max()),
    )
