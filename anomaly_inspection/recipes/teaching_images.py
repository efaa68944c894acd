# SPDX-License-Identifier: Apache-2.0
"""
The images that a recipe was taught on, kept in its folder so that it can be taught anew with more.

Nobody who only judges parts needs them: `read_recipe` reads their list, but opens none of them.

"""

from __future__ import annotations

from dataclasses import dataclass
import hashlib
import os
from pathlib import Path
import re
import shutil
from typing import TYPE_CHECKING

import cv2

from anomaly_inspection.errors import FrameError, RecipeError
from anomaly_inspection.imaging.image_decoding import decode_image
from anomaly_inspection.printable import printable
from anomaly_inspection.recipes.layout import (
    IMAGE_LIST,
    image_name,
    IMAGES,
    MOST_TEACHING_IMAGES,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray

_LINE = re.compile(r'([0-9a-f]{64})  (\S[^\n]*)')


@dataclass(frozen=True)
class TeachingImages:
    """
    Which images a recipe keeps, and where.

    Parameters
    ----------
    folder : Path
        The recipe folder that they lie in.
    entries : tuple of (str, str)
        Name of each image and the SHA-256 of its file, in order.

    """

    folder: Path
    entries: tuple[tuple[str, str], ...]

    @classmethod
    def from_text(cls, folder: Path, text: str, shown_name: str) -> TeachingImages:
        """
        Read the list of a recipe folder.

        Raises
        ------
        RecipeError
            When a line is not 'SHA-256  name', or there are none or too many.

        """
        lines = text.splitlines()
        if not 1 <= len(lines) <= MOST_TEACHING_IMAGES:
            raise RecipeError(
                f'{shown_name} names {len(lines)} images; allowed: 1 to {MOST_TEACHING_IMAGES}'
            )
        entries = []
        for number, line in enumerate(lines, start=1):
            found = _LINE.fullmatch(line)
            if found is None:
                raise RecipeError(
                    f'{shown_name}: line {number} is {printable(line)[:100]!r}; allowed: the '
                    'SHA-256 of a file, two spaces and a name'
                )
            entries.append((found[2], found[1]))
        return cls(folder, tuple(entries))

    @property
    def text(self) -> str:
        """
        The list as it stands in the recipe folder.

        """
        return ''.join(f'{digest}  {printable(name)}\n' for name, digest in self.entries)

    def read(self) -> Iterator[tuple[str, NDArray[np.uint8]]]:
        """
        Give the images with their names, one at a time.

        Raises
        ------
        RecipeError
            When a file is missing or is not the one that was taught on.

        """
        for index, (name, digest) in enumerate(self.entries):
            path = self.folder / IMAGES / image_name(index)
            try:
                content = path.read_bytes()
            except OSError as error:
                raise RecipeError(f'{printable(path)} cannot be read: {error.strerror}') from error
            if hashlib.sha256(content).hexdigest() != digest:
                raise RecipeError(
                    f'{printable(path)} is not the image that {IMAGE_LIST} names: it was changed '
                    'or damaged'
                )
            try:
                yield name, decode_image(content)
            except FrameError as error:
                raise RecipeError(f'{printable(path)}: {error}') from error

    def put_into(self, folder: Path) -> bool:
        """
        Give another version of the recipe the same images, by hard links where that is possible.

        Returns
        -------
        bool
            False when they are not there any more: another version may have taken their place.

        """
        try:
            if (self.folder / IMAGE_LIST).read_text(encoding='utf-8') != self.text:
                return False
            (folder / IMAGES).mkdir()
            for index in range(len(self.entries)):
                name = image_name(index)
                _link(self.folder / IMAGES / name, folder / IMAGES / name)
        except (OSError, UnicodeDecodeError):
            shutil.rmtree(folder / IMAGES, ignore_errors=True)
            return False
        return True


def encoded(
    named: Iterable[tuple[str, NDArray[np.uint8]]], most_bytes: int | None = None
) -> list[tuple[str, bytes]] | None:
    """
    Encode images without loss.

    Parameters
    ----------
    named : iterable of (name, ndarray of uint8)
        The images.
    most_bytes : int, optional
        What they may take in all.

    Returns
    -------
    list of (name, bytes) or None
        PNG files; None when they take more, or are more than a recipe may hold.

    """
    files: list[tuple[str, bytes]] = []
    total = 0
    for name, frame in named:
        content = cv2.imencode('.png', frame)[1].tobytes()
        total += len(content)
        if len(files) == MOST_TEACHING_IMAGES or (most_bytes is not None and total > most_bytes):
            return None
        files.append((name, content))
    return files


def _link(old: Path, new: Path) -> None:
    try:
        os.link(old, new, follow_symlinks=False)
    except OSError:
        shutil.copyfile(old, new, follow_symlinks=False)
