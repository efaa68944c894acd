# SPDX-License-Identifier: Apache-2.0
"""
Where the part lies in an image: a synthetic defect belongs on it, not on the background.

"""

from __future__ import annotations

import functools
from typing import Any, TYPE_CHECKING

import cv2
import numpy as np

from anomaly_inspection.imaging.preprocessing import map_to_frame

if TYPE_CHECKING:
    from numpy.typing import NDArray

# A background is even, or its light falls off smoothly: its spread, and the share of the rim that
# may belong to the part.
_BACKGROUND_SPREAD = 14.0
_BACKGROUND_RIM = 0.8
_FITS, _FITTED_PIXELS = 4, 2_000
_PART_SHARES = (0.03, 0.97)
_LEAST_SHARE_OF_REGION = 0.1
_LEAST_SHARE_OF_LARGEST = 0.2


def silhouette(image: NDArray[np.uint8]) -> NDArray[np.bool_] | None:
    """
    Separate the part from its background, where the rim of the image shows an even background
    or one whose light falls off smoothly.

    Parameters
    ----------
    image : ndarray of uint8, (h, w) or (h, w, 3)
        A good part.

    Returns
    -------
    ndarray of bool, (h, w), or None
        True on the part, holes left out; None when there is no even background, or hardly
        anything else.

    """
    distance = _from_background(image)
    if distance is None:
        return None
    level, _ = cv2.threshold(distance, 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    if level <= _BACKGROUND_SPREAD:
        return None
    # Otsu's level would lose the part's own bright or dark half.
    mask = (distance > _BACKGROUND_SPREAD).astype(np.uint8)
    closed = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    # The blurred edge of the part differs as well, and is not the part.
    part = cv2.erode(closed, np.ones((3, 3), np.uint8), borderValue=1)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(part)
    areas = stats[1:count, cv2.CC_STAT_AREA]
    if not areas.size:
        return None
    # Several parts may be in view; specks are none.
    is_part = np.r_[False, areas >= _LEAST_SHARE_OF_LARGEST * areas.max()]
    found = is_part[labels]
    low, high = _PART_SHARES
    return found if low < found.mean() < high else None


def _from_background(image: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """
    Give how far each pixel is from the background, gray levels; None without an even background.

    The background is the paraboloid in each channel that fits most of the rim.

    """
    height, width = image.shape[:2]
    planes = image.reshape(height, width, -1)
    rim = np.ones((height, width), bool)
    rim[1:-1, 1:-1] = False
    rows, columns = np.nonzero(rim)
    every = max(1, rows.size // _FITTED_PIXELS)
    rows, columns = rows[::every], columns[::every]
    levels = planes[rows, columns].astype(np.float32)
    terms = _terms(rows / height, columns / width)
    away = np.abs(levels - np.median(levels, axis=0)).max(axis=1)
    for _ in range(_FITS):
        near = away <= np.quantile(away, _BACKGROUND_RIM)
        factors = np.linalg.lstsq(terms[near], levels[near], rcond=None)[0]
        away = np.abs(levels - terms @ factors).max(axis=1)
    if np.quantile(away, _BACKGROUND_RIM) > _BACKGROUND_SPREAD:
        return None
    grid = _terms(
        *np.broadcast_arrays(
            (np.arange(height) / height)[:, None], (np.arange(width) / width)[None, :]
        )
    )
    background = np.clip(np.rint(grid @ factors), 0.0, 255.0).astype(np.uint8)
    smooth = cv2.GaussianBlur(image, (0, 0), 1.0)
    distances = cv2.split(cv2.absdiff(smooth, background.reshape(image.shape)))
    return np.asarray(functools.reduce(cv2.max, distances), np.uint8)


def _terms(y: NDArray[Any], x: NDArray[Any]) -> NDArray[np.float32]:
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1).astype(np.float32)


def part_in_region(
    frame: NDArray[np.uint8], to_frame: NDArray[np.float64], region_shape: tuple[int, ...]
) -> NDArray[np.bool_]:
    """
    Tell where a defect may lie in a frame: on the part, inside the region of the recipe.

    Parameters
    ----------
    frame : ndarray of uint8, (H, W) or (H, W, 3)
        Of a good part, as the camera gives it.
    to_frame : ndarray of float64, (2, 3)
        Of the `Prepared` frame.
    region_shape : (int, int)
        Height and width of the prepared image.

    Returns
    -------
    ndarray of bool, (H, W)
        All of the region when no part can be told from the background in it.

    """
    region = np.ones(region_shape, np.float32)
    judged = map_to_frame(region, to_frame, (frame.shape[1], frame.shape[0])) > 0.5
    rows, columns = (np.flatnonzero(judged.any(axis=axis)) for axis in (1, 0))
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    part = silhouette(np.ascontiguousarray(frame[box]))
    if part is None:
        return judged
    found = np.zeros_like(judged)
    found[box] = part & judged[box]
    return found if found.sum() > _LEAST_SHARE_OF_REGION * judged.sum() else judged
