# SPDX-License-Identifier: Apache-2.0
"""
The SSIM map in one pass over memory, by the C++ function of `src/ssim_map.cpp`.

Building the ROS package makes it; `pip install .` does not, and `ssim.py` then takes NumPy and
OpenCV, which find the same but for rounding.

"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import anomaly_inspection

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_LIBRARY = Path('scoring', 'libssim_map.so')
# The number changes with the arguments, so a library of another version is not taken.
_FUNCTION = 'anomaly_inspection_ssim_map_1'


def _loaded() -> Callable[..., int] | None:
    # The library is installed beside the messages, not in the folder of the sources.
    for folder in anomaly_inspection.__path__:
        path = Path(folder, _LIBRARY)
        if not path.is_file():
            continue
        try:
            function = ctypes.CDLL(str(path))[_FUNCTION]
        except (OSError, AttributeError):
            continue
        function.argtypes = (
            *(ctypes.c_void_p, ctypes.c_void_p),
            *(ctypes.c_int, ctypes.c_int, ctypes.c_int),
            *(ctypes.c_float, ctypes.c_float),
            ctypes.c_void_p,
        )
        function.restype = ctypes.c_int
        return function
    return None


_function = _loaded()


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
