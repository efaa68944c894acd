# SPDX-License-Identifier: Apache-2.0
"""
The SSIM map in one pass over memory, by the C++ function of `src/ssim_map.cpp`.

Building the ROS package makes it; `pip install .` does not, and `ssim.py` then takes NumPy and
OpenCV, which find the same but for rounding.

"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

import numpy as np

from anomaly_inspection.scoring.cpp_function import loaded

if TYPE_CHECKING:
    from numpy.typing import NDArray

_function = loaded(
    'ssim_map',
    'anomaly_inspection_ssim_map_1',
    [ctypes.c_void_p] * 2 + [ctypes.c_int] * 3 + [ctypes.c_float] * 2 + [ctypes.c_void_p],
)


def is_built() -> bool:
    """
    Whether the C++ function is at hand.

    """
    return _function is not None


def ssim_map(
    one: NDArray[np.uint8], two: NDArray[np.uint8], luminance: float, contrast: float
) -> NDArray[np.float32]:
    """
    Give the SSIM of every 7x7 window, the mean over the channels, (h, w).

    Parameters
    ----------
    one, two : ndarray of uint8, (h, w) or (h, w, channels)
        Of one shape, at least 7x7.
    luminance : float
        C1 of the paper, times 49^2.
    contrast : float
        C2 of the paper, times 49 * 48.

    Raises
    ------
    MemoryError
        When there is no memory for the sums of a row.

    """
    assert _function is not None
    # Names, so that a copy lives as long as the call.
    first, second = np.ascontiguousarray(one), np.ascontiguousarray(two)
    height, width = first.shape[:2]
    found = np.empty((height, width), np.float32)
    if _function(
        first.ctypes.data,
        second.ctypes.data,
        height,
        width,
        first.size // (height * width),
        luminance,
        contrast,
        found.ctypes.data,
    ):
        raise MemoryError('no memory for an SSIM map')
    return found
