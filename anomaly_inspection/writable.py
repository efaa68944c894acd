# SPDX-License-Identifier: Apache-2.0
"""
Tell at once whether a result can be written, before the work that makes it.

"""

from __future__ import annotations

import os
from pathlib import Path
import stat
import tempfile

from anomaly_inspection.errors import SettingError
from anomaly_inspection.printable import printable


def check_writable(path: str | os.PathLike[str]) -> None:
    """
    Refuse a path at which no folder, such as a recipe or a report, can be written.

    The check makes an empty folder at the nearest place that exists and removes it again, because
    permission bits do not tell of read-only file systems or of what root may do. It leaves nothing
    behind and does not make `path`. For a recipe, `recipes.folder.check_place` checks more.

    Parameters
    ----------
    path : path
        The folder to write; it and folders above it may be missing.

    Raises
    ------
    SettingError
        When the folder cannot be made or written; names the path and the cause.

    """
    # An absolute path has an end when we go up; links are left for the system to follow.
    target = Path(os.path.abspath(path))
    place = target
    try:
        while not _exists(place):
            place = place.parent
        if not stat.S_ISDIR(os.stat(place).st_mode):
            raise SettingError(
                f'cannot write {printable(target)}: {printable(place)} is not a folder'
            )
        os.rmdir(tempfile.mkdtemp(prefix='.writable-', dir=place))
    except (OSError, ValueError) as error:
        cause = getattr(error, 'strerror', None) or error
        raise SettingError(
            f'cannot write {printable(target)}: {cause} ({printable(place)})'
        ) from error


def _exists(place: Path) -> bool:
    """
    Whether there is anything of that name; raises OSError when the name itself is impossible.

    """
    try:
        os.lstat(place)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True
