# SPDX-License-Identifier: Apache-2.0
"""
The C++ functions of `src/`, which building the ROS package makes; `pip install .` does not.

"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import TYPE_CHECKING

import anomaly_inspection

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def loaded(library: str, name: str, arguments: Sequence[type]) -> Callable[..., int] | None:
    """
    Give a function that returns an int, or None where it is not built.

    Parameters
    ----------
    library : str
        Name of the file without 'lib' and '.so'.
    name : str
        Of the function. A number in it changes with the arguments, so a library of another version
        is not taken.
    arguments : sequence of ctypes types
        Of the function.

    """
    # The library is installed beside the messages, not in the folder of the sources.
    for folder in anomaly_inspection.__path__:
        path = Path(folder, 'scoring', f'lib{library}.so')
        if not path.is_file():
            continue
        try:
            function = ctypes.CDLL(str(path))[name]
        except (OSError, AttributeError):
            continue
        function.argtypes = tuple(arguments)
        function.restype = ctypes.c_int
        return function
    return None
