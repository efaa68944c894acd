# SPDX-License-Identifier: Apache-2.0
"""
Keep the memory of one frame for the next.

"""

from __future__ import annotations

import ctypes

# Numbers of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
# The most that glibc takes, and more than the arrays of a frame.
_MMAP_BYTES, _TRIM_BYTES = 32 << 20, 1 << 30


def keep_freed_memory() -> bool:
    """
    Make this process keep freed memory instead of giving it back to the kernel.

    A thread's arrays of a megabyte would otherwise be mapped and cleared anew for every frame:
    that took 3 to 4 ms of the 12 ms of a 640x480 frame.

    Returns
    -------
    bool
        False where the C library has no such setting (anything but glibc).

    """
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
    if mallopt is None:
        return False
    # One arena: those of other threads are cut to pieces of 64 MB that come and go.
    settings = (
        (_M_ARENA_MAX, 1),
        (_M_MMAP_THRESHOLD, _MMAP_BYTES),
        (_M_TRIM_THRESHOLD, _TRIM_BYTES),
    )
    return all(mallopt(name, value) == 1 for name, value in settings)
