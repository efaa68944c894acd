# SPDX-License-Identifier: Apache-2.0
"""
Maps of `ssim` and `variation`, features and distances of patches, in one pass over memory: by the
C++ functions of `src/one_pass.cpp`, `src/patch_features.cpp` and `src/patch_distance.cpp`.

Building the ROS package makes them; `pip install .` does not, and the scorers then take NumPy and
OpenCV, which find the same but for rounding.

"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import anomaly_inspection

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LIBRARY = Path('scoring', 'libone_pass.so')
_POINTER, _INT, _FLOAT = ctypes.c_void_p, ctypes.c_int, ctypes.c_float
# The number changes with the arguments, so that no library of another version is taken.
_FUNCTIONS = {
    'anomaly_inspection_ssim_map_1': (
        *(_POINTER, _POINTER),
        *(_INT, _INT, _INT),
        *(_FLOAT, _FLOAT),
        _POINTER,
    ),
    'anomaly_inspection_z_map_1': (
        *(_POINTER, _POINTER, _POINTER, _POINTER),
        *(ctypes.c_ssize_t, _INT),
        _POINTER,
    ),
    'anomaly_inspection_cell_means_1': (
        _POINTER,
        *(_INT, _INT, _INT, _INT),
        _POINTER,
        *(_INT, _INT, _INT),
    ),
    'anomaly_inspection_nearest_of_positions_1': (
        *(_POINTER, _POINTER, _POINTER, _POINTER),
        *(_INT, _INT, _INT, _INT),
        _POINTER,
    ),
    'anomaly_inspection_nearest_of_kinds_1': (
        *(_POINTER, _POINTER, _POINTER),
        *(ctypes.c_ssize_t, _INT, _INT),
        _POINTER,
    ),
}
# How many cells around its own position a patch is compared with.
PATCH_REACH = 1


def _loaded() -> ctypes.CDLL | None:
    # The library is installed beside the messages, not in the folder of the sources.
    for folder in anomaly_inspection.__path__:
        path = Path(folder, _LIBRARY)
        if not path.is_file():
            continue
        try:
            library = ctypes.CDLL(str(path))
            for name, arguments in _FUNCTIONS.items():
                getattr(library, name).argtypes = arguments
        except (OSError, AttributeError):
            continue
        return library
    return None


_library = _loaded()


def is_built() -> bool:
    """
    Whether the C++ functions are at hand.

    """
    return _library is not None


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
    assert _library is not None
    # Names, so that a copy lives as long as the call.
    first, second = np.ascontiguousarray(one), np.ascontiguousarray(two)
    height, width = first.shape[:2]
    found = np.empty((height, width), np.float32)
    if _library.anomaly_inspection_ssim_map_1(
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


def z_map(
    image: NDArray[np.uint8],
    mean: NDArray[np.float32],
    inverse: NDArray[np.float32],
    inside: NDArray[np.bool_],
) -> NDArray[np.float32]:
    """
    Give |image - mean| * inverse, the highest of the channels, and 0 outside; (h, w).

    Parameters
    ----------
    image : ndarray of uint8, (h, w) or (h, w, 3)
    mean, inverse : ndarray of float32, like image
        Not NaN.
    inside : ndarray of bool, (h, w)

    """
    assert _library is not None
    arrays = [np.ascontiguousarray(array) for array in (image, mean, inverse, inside)]
    found = np.empty(inside.shape, np.float32)
    if _library.anomaly_inspection_z_map_1(
        *(array.ctypes.data for array in arrays),
        found.size,
        image.size // found.size,
        found.ctypes.data,
    ):
        raise ValueError(f'the image has shape {image.shape}; allowed: 1 channel or 3')
    return found


def cell_means(
    plane: NDArray[np.float32],
    features: NDArray[np.float32],
    level_at: int | None,
    strengths_at: int,
) -> None:
    """
    Put the mean level and the mean strengths of the gradient of every cell into its features.

    Parameters
    ----------
    plane : ndarray of float32, (h, w)
    features : ndarray of float32, (rows, columns, f), contiguous
        Of the cells, no more than pixels along either side.
    level_at : int or None
        Place of the level among the features; None = it is not wanted.
    strengths_at : int
        Place of the first of the four strengths: across, along a diagonal, down, along the other
        diagonal.

    Raises
    ------
    MemoryError
        When there is no memory for the sums of a row.

    """
    assert _library is not None
    given = np.ascontiguousarray(plane, np.float32)
    rows, columns, count = features.shape
    assert features.flags.c_contiguous
    if _library.anomaly_inspection_cell_means_1(
        given.ctypes.data,
        *given.shape,
        rows,
        columns,
        features.ctypes.data,
        count,
        -1 if level_at is None else level_at,
        strengths_at,
    ):
        raise MemoryError('no memory for the features of patches')


def nearest_of_positions(
    features: NDArray[np.float32],
    mean: NDArray[np.float32],
    matrices: NDArray[np.float32],
    precision: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """
    Give the squared distance of every patch to the nearest of its position and those around it.

    A patch may have come from `PATCH_REACH` cells away.

    Parameters
    ----------
    features, mean : ndarray of float32, (rows, columns, f)
        Of the patches and of the positions.
    matrices : ndarray of float32, (rows, columns, n) or (rows, columns, rank, f)
        Packed whitening matrices; or directions, when there is a precision.
    precision : ndarray of float32, (rows, columns), optional
        See `LowRankDistance`.

    Raises
    ------
    MemoryError
        When there is no memory for a copy of the features.

    """
    assert _library is not None
    rows, columns, count = features.shape
    # Names, so that a copy lives as long as the call.
    arrays = [np.ascontiguousarray(array, np.float32) for array in (features, mean, matrices)]
    own = None if precision is None else np.ascontiguousarray(precision, np.float32)
    nearest = np.empty((rows, columns), np.float32)
    if _library.anomaly_inspection_nearest_of_positions_1(
        *(array.ctypes.data for array in arrays),
        None if own is None else own.ctypes.data,
        rows,
        columns,
        count,
        0 if own is None else matrices.shape[2],
        nearest.ctypes.data,
    ):
        raise MemoryError('no memory for the distances of patches')
    return nearest


def nearest_of_kinds(
    features: NDArray[np.float32], mean: NDArray[np.float32], matrices: NDArray[np.float32]
) -> NDArray[np.float32]:
    """
    Give the squared distance of every patch to the nearest kind, (rows, columns).

    Parameters
    ----------
    features : ndarray of float32, (rows, columns, f)
    mean : ndarray of float32, (kinds, f)
    matrices : ndarray of float32, (kinds, n)
        Packed whitening matrices.

    Raises
    ------
    MemoryError
        When there is no memory for sixteen patches.

    """
    assert _library is not None
    arrays = [np.ascontiguousarray(array, np.float32) for array in (features, mean, matrices)]
    nearest = np.empty(features.shape[:2], np.float32)
    if _library.anomaly_inspection_nearest_of_kinds_1(
        *(array.ctypes.data for array in arrays),
        nearest.size,
        features.shape[2],
        len(mean),
        nearest.ctypes.data,
    ):
        raise MemoryError('no memory for the distances of patches')
    return nearest
