# SPDX-License-Identifier: Apache-2.0
"""
Distances of patches to the positions around them, by the C++ function of `src/patch_distance.cpp`.

Where it is not built, `patch_distance.py` takes NumPy, which finds the same but for rounding.

"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

import numpy as np

from anomaly_inspection.scoring.cpp_function import loaded

if TYPE_CHECKING:
    from numpy.typing import NDArray

# How many cells around its position the function looks for a patch.
REACH = 1

_function = loaded(
    'patch_distance',
    'anomaly_inspection_nearest_of_positions_1',
    [ctypes.c_void_p] * 4 + [ctypes.c_int] * 4 + [ctypes.c_void_p],
)


def is_built() -> bool:
    """
    Whether the C++ function is at hand.

    """
    return _function is not None


def nearest_of_positions(
    features: NDArray[np.float32],
    mean: NDArray[np.float32],
    matrices: NDArray[np.float32],
    precision: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """
    Give the squared distance of every patch to the nearest of its position and the eight around.

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
    assert _function is not None
    rows, columns, count = features.shape
    # Names, so that a copy lives as long as the call.
    arrays = [np.ascontiguousarray(array, np.float32) for array in (features, mean, matrices)]
    own = None if precision is None else np.ascontiguousarray(precision, np.float32)
    nearest = np.empty((rows, columns), np.float32)
    if _function(
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
