# SPDX-License-Identifier: Apache-2.0
"""
Regions: the connected areas of an anomaly map over the region limit.

"""

from __future__ import annotations

from dataclasses import dataclass
import math
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Rounding of an affine map must not push a box over the next pixel.
_SLACK_PX = 1e-6


@dataclass(frozen=True)
class Region:
    """
    One connected area (8-neighbourhood) of the map over the region limit.

    Parameters
    ----------
    x_min, y_min, x_max, y_max : int
        Half-open box, pixels: x_min <= x < x_max, y_min <= y < y_max.
    area_px : int
        Number of pixels.
    peak : float
        Highest value of the map inside, unit of the map.

    """

    x_min: int
    y_min: int
    x_max: int
    y_max: int
    area_px: int
    peak: float


def find_regions(
    anomaly_map: NDArray[np.float32],
    limit: float,
    min_area_px: int,
    to_frame: NDArray[np.float64] | None = None,
    frame_size: tuple[int, int] | None = None,
) -> tuple[Region, ...]:
    """
    Find the connected areas of a map that lie over a limit.

    Parameters
    ----------
    anomaly_map : ndarray of float32, (h, w)
        High = anomalous. No NaN.
    limit : float
        A pixel belongs to a region when its value is higher, in the unit of the map.
    min_area_px : int
        Smaller regions are left out. In the pixels of the answer.
    to_frame : ndarray of float64, (2, 3), optional
        Affine map from map pixels (x, y) to frame pixels (pixel centres at integers); boxes and
        areas are then in frame pixels. Areas follow the determinant, so they may be off by the
        rounding of one number, not by resampling.
    frame_size : (int, int), optional
        Width and height that boxes in frame pixels are cut to.

    Returns
    -------
    tuple of Region
        Sorted by peak, highest first. Empty when nothing lies over the limit.

    Raises
    ------
    ValueError
        When the map holds NaN or the limit is not finite.

    """
    if not math.isfinite(limit):
        raise ValueError(f'region limit is {limit}; it must be finite')
    highest = float(anomaly_map.max(initial=-math.inf))  # NaN if any pixel is
    if math.isnan(highest):
        raise ValueError('the anomaly map holds NaN')
    if highest <= limit:
        return ()
    over = (anomaly_map > limit).view(np.uint8)
    # Labelling a whole 640x480 map costs 2 ms; mostly only a small part is over the limit.
    left, top, width, height = cv2.boundingRect(over)
    over = over[top : top + height, left : left + width]
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(over, connectivity=8)
    area_scale = 1.0 if to_frame is None else abs(float(np.linalg.det(to_frame[:, :2])))
    areas = np.maximum(1, np.rint(boxes[:, cv2.CC_STAT_AREA] * area_scale)).astype(int)
    regions = []
    for label in np.flatnonzero(areas[1:count] >= min_area_px) + 1:
        x, y, width, height, _ = (int(value) for value in boxes[label])
        inside = labels[y : y + height, x : x + width] == label
        x, y = x + left, y + top
        peak = float(anomaly_map[y : y + height, x : x + width][inside].max())
        if to_frame is None:
            corners = (x, y, x + width, y + height)
        else:
            corners = _box_in_frame(inside, x, y, to_frame, frame_size)
        regions.append(Region(*corners, area_px=int(areas[label]), peak=peak))
    return tuple(sorted(regions, key=lambda region: -region.peak))


def _box_in_frame(
    inside: NDArray[np.bool_],
    x: int,
    y: int,
    to_frame: NDArray[np.float64],
    frame_size: tuple[int, int] | None,
) -> tuple[int, int, int, int]:
    """
    Give the half-open frame box around all pixels (unit squares) of a region at map (x, y).

    """
    contours, _ = cv2.findContours(
        inside.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE, offset=(x, y)
    )
    matrix = np.asarray(to_frame, dtype=np.float64)
    points = np.concatenate(contours)[:, 0, :] @ matrix[:, :2].T + matrix[:, 2]
    # A unit square under the affine map reaches this far from its centre.
    reach = np.abs(matrix[:, :2]).sum(axis=1) / 2
    low = np.floor(points.min(axis=0) - reach + 0.5 + _SLACK_PX)
    high = np.ceil(points.max(axis=0) + reach + 0.5 - _SLACK_PX)
    if frame_size is not None:
        low = np.clip(low, 0, np.subtract(frame_size, 1))
        high = np.clip(high, low + 1, frame_size)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])
