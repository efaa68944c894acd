# SPDX-License-Identifier: Apache-2.0
"""
Image files on disk.

"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from anomaly_inspection.errors import FrameError
from anomaly_inspection.imaging.image_decoding import decode_image, MOST_PIXELS

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

IMAGE_SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff')

# The largest image, uncompressed with four channels, and its header.
_LONGEST_BYTES = 4 * MOST_PIXELS + 2**20


def read_image(path: Path) -> NDArray[np.uint8]:
    """
    Read one image file.

    Raises
    ------
    FrameError
        As `decode_image`, and when the file is missing, unreadable, not a regular file, or longer
        than any image that would be decoded.

    """
    try:
        return decode_image(_content(path))
    except OSError as error:
        raise FrameError(f'the file cannot be read: {error.strerror}') from error


def _content(path: Path) -> bytes:
    # Opening a pipe or a device would wait for ever or worse; a link to a file is followed.
    if not path.is_file():
        raise FrameError('the file is missing or is not a regular file')
    # It may have become a pipe since, and some files in /proc block their readers.
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), 'rb') as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise FrameError('the file is missing or is not a regular file')
        if status.st_size > _LONGEST_BYTES:
            raise FrameError(
                f'the file is {status.st_size} bytes long; allowed: {_LONGEST_BYTES} bytes'
            )
        return file.read(_LONGEST_BYTES if status.st_size == 0 else status.st_size)
