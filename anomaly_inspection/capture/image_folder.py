# SPDX-License-Identifier: Apache-2.0
"""
A folder of images as a frame source.

"""

from __future__ import annotations

import os
from pathlib import Path
import re
import time
from typing import NoReturn, TYPE_CHECKING

from anomaly_inspection.capture.folder_truth import FolderTruth
from anomaly_inspection.capture.image_file import IMAGE_SUFFIXES, read_image
from anomaly_inspection.capture.source import Frame, FrameSource, Truth
from anomaly_inspection.errors import FrameError, SourceError
from anomaly_inspection.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable

_NEVER_FRAMES = 'ground_truth'


class ImageFolder(FrameSource):
    """
    The images of a folder, one after another in natural order (2.png before 10.png).

    Images are PNG, JPEG, BMP and TIFF files by their suffix, in either case. Hidden files and
    folders called 'ground_truth' (masks) are left out; links are followed. A file that cannot be
    decoded whole and in 8 bits (see `imaging.image_decoding.decode_image`) becomes a frame without
    an image that says why, and the next read goes on; so does a file whose name is not UTF-8 or
    holds a line break.

    Names are paths relative to the folder, with '/'; those of frames can be printed. The time of a
    frame is that of its `read`.

    Parameters
    ----------
    path : str or Path
        The folder.
    recursive : bool
        Whether the folders in it are searched too.
    wanted : callable (name) -> bool, optional
        Which images to give, by name; the files of the others are never opened.

    """

    def __init__(
        self,
        path: str | Path,
        *,
        recursive: bool = True,
        wanted: Callable[[str], bool] | None = None,
    ) -> None:
        self.path = Path(os.path.abspath(Path(path).expanduser()))
        self._recursive = recursive
        self._wanted = wanted
        self._names: tuple[str, ...] = ()
        self._left_out_count = 0
        self._position: int | None = None
        self._truth: FolderTruth | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """
        The names of all frames in their order; empty before `open`.

        """
        return self._names

    @property
    def left_out_count(self) -> int:
        """
        How many images of the folder are not wanted; 0 before `open`.

        """
        return self._left_out_count

    def open(self) -> None:
        """
        List the images, read labels.csv where there is one, and begin at the first.

        Raises
        ------
        SourceError
            When the folder is missing, unreadable, a file or without images, or labels.csv is
            wrong.

        """
        if not self.path.exists():
            raise SourceError(f'there is no folder {printable(self.path)}')
        if not self.path.is_dir():
            raise SourceError(f'{printable(self.path)} is a file; allowed: a folder of images')
        self._names = tuple(sorted(self._images(), key=_natural_order))
        if not self._names:
            where = 'or the folders in it' if self._recursive else '(folders in it not searched)'
            raise SourceError(
                f'there are no images in {printable(self.path)} {where}; '
                f'searched: *{", *".join(IMAGE_SUFFIXES)}'
            )
        if self._wanted is not None:
            found = len(self._names)
            self._names = tuple(name for name in self._names if self._wanted(name))
            self._left_out_count = found - len(self._names)
            if not self._names:
                raise SourceError(
                    f'none of the {found} images in {printable(self.path)} is wanted'
                )
        self._truth = FolderTruth(self.path)
        self._position = 0

    def read(self) -> Frame | None:
        """
        Give the next image; returns as soon as it is decoded.

        """
        if self._position is None:
            raise SourceError(f'folder {printable(self.path)} is not open')
        if self._position == len(self._names):
            return None
        name = self._names[self._position]
        self._position += 1
        image, problem = None, _name_problem(name)
        if not problem:
            try:
                image = read_image(self.path / name)
            except FrameError as error:
                problem = str(error)
        return Frame(image, time.time_ns(), time.monotonic_ns(), printable(name), problem)

    def close(self) -> None:
        """
        End reading; names and truth remain.

        """
        self._position = None

    def truth(self, name: str, *, with_mask: bool = True) -> Truth | None:
        """
        Give what layout and labels.csv say of that image; loads its mask unless told not to.

        """
        return None if self._truth is None else self._truth.of(name, with_mask=with_mask)

    def _images(self) -> list[str]:
        found = []
        walked = set()
        for folder, subfolders, files in os.walk(
            self.path, followlinks=True, onerror=_refuse_unreadable
        ):
            # A link to a folder above would be walked for ever.
            real = os.path.realpath(folder)
            if real in walked or not self._recursive:
                subfolders.clear()
            walked.add(real)
            subfolders[:] = [
                name for name in subfolders if name != _NEVER_FRAMES and not name.startswith('.')
            ]
            found += [
                Path(folder, name).relative_to(self.path).as_posix()
                for name in files
                if name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith('.')
            ]
        return found


def _refuse_unreadable(error: OSError) -> NoReturn:
    raise SourceError(
        f'folder {printable(error.filename)} cannot be read: {error.strerror}'
    ) from error


def _name_problem(name: str) -> str:
    """
    Say why no message, report or labels.csv could name a file; '' when all can.

    """
    if printable(name) == name:
        return ''
    try:
        name.encode()
    except UnicodeEncodeError:
        return 'its name is not UTF-8; rename the file'
    return 'its name holds a line break or another control character; rename the file'


def _natural_order(name: str) -> tuple[list[list[str | int]], str]:
    # The split alternates text and digits, so only like is compared with like.
    parts: list[list[str | int]] = [
        [
            int(piece) if place % 2 else piece.casefold()
            for place, piece in enumerate(re.split('([0-9]+)', part))
        ]
        for part in name.split('/')
    ]
    return parts, name
