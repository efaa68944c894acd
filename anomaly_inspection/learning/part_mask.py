# SPDX-License-Identifier: Apache-2.0
"""
Where the part lies in an image: a synthetic defect belongs on it, not on the background.

"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import cv2
import numpy as np

from anomaly_inspection.imaging.preprocessing import map_to_frame

if TYPE_CHECKING:
    from numpy.typing import NDArray

# A background is even: its spread, and the share of the rim that may belong to the part.
_BACKGROUND_SPREAD = 14.0
_BACKGROUND_RIM = 0.8
_PART_SHARES = (0.03, 0.97)
_LEAST_SHARE_OF_REGION = 0.1


def silhouette(image: NDArray[np.uint8]) -> NDArray[np.bool_] | None:
    """
    Separate the part from its background, where the rim of the image shows an even background.

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
    planes = image.reshape(*image.shape[:2], -1)
    rim = np.concatenate([planes[0], planes[-1], planes[:, 0], planes[:, -1]]).astype(np.float32)
    background = np.median(rim, axis=0)
    rim_distance = np.abs(rim - background).max(axis=1)
    if np.quantile(rim_distance, _BACKGROUND_RIM) > _BACKGROUND_SPREAD:
        return None
    smooth = cv2.GaussianBlur(image, (0, 0), 1.0)
    distances = cv2.split(cv2.absdiff(smooth, np.resize(np.float64(background), (4, 1))))
    distance = functools.reduce(cv2.max, distances)
    level, mask = cv2.threshold(distance, 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    if level <= _BACKGROUND_SPREAD:
        return None
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask)
    if count < 2:
        return None
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    part = labels == largest
    low, high = _PART_SHARES
    return part if low < part.mean() < high else None


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
