# SPDX-License-Identifier: Apache-2.0
"""
What happens to memory that is freed: kept for the next frame, or given back to the kernel.

"""

from __future__ import annotations

import ctypes

# Numbers of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
# The most that glibc takes, and more than the arrays of a frame.
_MMAP_BYTES, _TRIM_BYTES = 32 << 20, 1 << 30
# Python code runs on one thread at a time; the other heap is for the threads of DDS.
_HEAPS = 2


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


def share_heaps() -> bool:
    """
    Let all threads of this process take their memory from two heaps.

    glibc makes up to eight heaps for each core, and what is free in one is of no use to the
    threads of another. Call it before there are threads.

    Returns
    -------
    bool
        False where the C library has no such setting (anything but glibc).

    """
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
    return mallopt is not None and mallopt(_M_ARENA_MAX, _HEAPS) == 1


def give_back_freed_memory() -> None:
    """
    Give all memory that this process has freed back to the kernel.

    A page of the panel is some ten thousand small objects, made on several threads. What is freed
    when its viewer leaves lies in pieces between what stays, and glibc gives back only the end of
    its heap: the process would grow by 15 MB a minute while viewers come and go.

    """
    trim = getattr(ctypes.CDLL(None), 'malloc_trim', None)
    if trim is not None:
        trim(0)
