# SPDX-License-Identifier: Apache-2.0
"""
Where the part really is within its convex outline: belt shows through bores and notches.

"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FEWEST_AROUND = 200
# The weave of a belt is no part of its colour.
_BLUR_PX = 1.5
# What lies within so many deviations of the belt looks like it; a belt deviates by at least so
# many gray levels.
_ALIKE, _LEAST_LEVELS = 4.0, 2.0
_OPENING_PX = 5
# A part of which less would be left looks like its belt.
_LEAST_LEFT = 0.25


def part_silhouette(
    reference: NDArray[np.uint8], inside: NDArray[np.bool_], around: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """
    Take what looks like the belt out of the outline of a part.

    Parts of a part that look like the belt are taken out as well: what is measured over the rest
    still tells of the part alone.

    Parameters
    ----------
    reference : ndarray of uint8, (h, w) or (h, w, 3)
        The taught part.
    inside : ndarray of bool, (h, w)
        Its outline.
    around : ndarray of bool, (h, w)
        Where the belt surely is.

    Returns
    -------
    ndarray of bool, (h, w)
        The part; all of the outline where part and belt cannot be told apart.

    """
    if np.count_nonzero(around) < _FEWEST_AROUND:
        return inside
    height, width = inside.shape
    levels = cv2.GaussianBlur(reference, (0, 0), _BLUR_PX).reshape(height, width, -1)
    belt = levels[around].astype(np.float32)
    typical = np.median(belt, axis=0)
    spread = np.maximum(1.4826 * np.median(np.abs(belt - typical), axis=0), _LEAST_LEVELS)
    is_alike = (np.abs(levels - typical) <= _ALIKE * spread).all(axis=2) & inside
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_OPENING_PX, _OPENING_PX))
    # Larger by a pixel: at its edge, part and belt mix.
    opened = cv2.morphologyEx(is_alike.astype(np.uint8), cv2.MORPH_OPEN, kernel)
    part = inside & (cv2.dilate(opened, np.ones((3, 3), np.uint8)) == 0)
    if np.count_nonzero(part) < _LEAST_LEFT * np.count_nonzero(inside):
        return inside
    return np.asarray(part, np.bool_)
