# SPDX-License-Identifier: Apache-2.0
"""
The picture of the belt with its frame drawn in, for people to check.

"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly_inspection.capture.belt_plane import BeltPlane

_X_BGR, _Y_BGR, _GRID_BGR = (40, 40, 230), (60, 180, 40), (220, 160, 40)
_LINES = 12
_BITS = 4


def belt_picture(image: NDArray[np.uint8], plane: BeltPlane) -> NDArray[np.uint8]:
    """
    Draw the origin, the axes and a grid in metres into a picture of the belt.

    Parameters
    ----------
    image : ndarray of uint8, (h, w) or (h, w, 3)
        A picture of the calibrated camera, gray or BGR.
    plane : BeltPlane
        What to draw.

    Returns
    -------
    ndarray of uint8, (h, w, 3)
        BGR. x is red, y green; the width of the grid stands in the lower left corner.

    """
    colour = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if image.ndim == 2 else image
    drawn = np.array(colour, np.uint8)
    height, width = image.shape[:2]
    thick = max(1, round(width / 500))
    step_m = _round_step(max(plane.field_m()) / _LINES)
    places = plane.to_belt(_edge(width, height))
    lowest, highest = np.nanmin(places, axis=0), np.nanmax(places, axis=0)
    for axis in (0, 1):
        along = np.linspace(lowest[1 - axis], highest[1 - axis], 60)
        first, last = math.ceil(lowest[axis] / step_m), math.floor(highest[axis] / step_m)
        for at in range(first, min(last, first + 8 * _LINES) + 1):
            line = np.stack((np.full(60, at * step_m), along), axis=1)
            _draw(drawn, plane, line if axis == 0 else line[:, ::-1], _GRID_BGR, thick)
    for end, bgr, name in (((2, 0), _X_BGR, 'x'), ((0, 2), _Y_BGR, 'y')):
        arrow = np.linspace((0.0, 0.0), np.array(end) * step_m, 20)
        _draw(drawn, plane, arrow, bgr, 3 * thick)
        _write(drawn, name, plane.to_pixels(1.15 * arrow[-1:])[0], bgr, thick)
    _write(drawn, f'{1000 * step_m:g} mm', (0.02 * width, 0.97 * height), _GRID_BGR, thick)
    return drawn


def _edge(width: int, height: int) -> NDArray[np.float64]:
    xs, ys = np.linspace(0, width - 1, 9), np.linspace(0, height - 1, 9)
    return np.array([*((x, y) for x in xs for y in ys)], np.float64)


def _round_step(step_m: float) -> float:
    """
    Give the next of 1, 2 and 5 times a power of ten.

    """
    power = 10.0 ** math.floor(math.log10(step_m))
    return power * next((number for number in (1, 2, 5) if number * power >= step_m), 10)


def _draw(
    drawn: NDArray[np.uint8],
    plane: BeltPlane,
    places_m: NDArray[np.float64],
    bgr: tuple[int, int, int],
    thick: int,
) -> None:
    pixels = plane.to_pixels(places_m)
    height, width = drawn.shape[:2]
    # Beyond the picture the model of the lens may turn back.
    again = plane.to_belt(pixels)
    inside = (np.abs(again - places_m).max(axis=1) < 1e-6) & (
        (pixels > -width) & (pixels < 2 * max(width, height))
    ).all(axis=1)
    points = np.rint(pixels[inside] * 2**_BITS).astype(np.int32)
    cv2.polylines(
        drawn,
        [points],
        isClosed=False,
        color=bgr,
        thickness=thick,
        lineType=cv2.LINE_AA,
        shift=_BITS,
    )


def _write(
    drawn: NDArray[np.uint8],
    text: str,
    place: NDArray[np.float64] | tuple[float, float],
    bgr: tuple[int, int, int],
    thick: int,
) -> None:
    where = (round(float(place[0])), round(float(place[1])))
    size = drawn.shape[1] / 900
    for colour, wide in (((0, 0, 0), 4 * thick), (bgr, 2 * thick)):
        cv2.putText(drawn, text, where, cv2.FONT_HERSHEY_SIMPLEX, size, colour, wide, cv2.LINE_AA)
