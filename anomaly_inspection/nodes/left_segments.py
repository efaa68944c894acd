# SPDX-License-Identifier: Apache-2.0
"""
Shared memory that programs leave behind when they die.

"""

from __future__ import annotations

from contextlib import suppress
import fcntl
import os
from pathlib import Path
import re
import time

_SHARED_MEMORY = Path('/dev/shm')
# As long as a program of Fast DDS lives, it keeps this file locked; its segment has the name
# without the ending. Fast DDS 2 said fastrtps.
_LOCK = re.compile(r'(fastdds|fastrtps)_[0-9a-f]{16}_el')
# A program that starts makes the file and locks it a moment later.
_STARTING_S = 10.0


def remove_left_segments(folder: Path = _SHARED_MEMORY) -> int:
    """
    Remove the segments of Fast DDS whose programs have died.

    A process that crashes or is killed cannot remove its own, and with our profile that is 64 MB:
    a cell whose nodes crash often would fill the memory. What `fastdds shm clean` does, for
    segments alone; those of living programs, of other users, and younger than ten seconds stay.

    Parameters
    ----------
    folder : Path
        Where the segments lie. Nothing happens where there is no such folder.

    Returns
    -------
    int
        Segments removed.

    """
    removed = 0
    with suppress(OSError):
        for entry in os.scandir(folder):
            # Another program may have removed it, or it belongs to another user.
            with suppress(OSError):
                if _LOCK.fullmatch(entry.name) and _is_older(entry):
                    removed += _remove(Path(entry.path))
    return removed


def _is_older(entry: os.DirEntry[str]) -> bool:
    return time.time() - entry.stat().st_mtime > _STARTING_S


def _remove(lock: Path) -> bool:
    with lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        lock.with_name(lock.name.removesuffix('_el')).unlink(missing_ok=True)
        lock.unlink()
    return True
