# SPDX-License-Identifier: Apache-2.0
"""
The files of a recipe folder, read into memory: regular files only, known places only, within the
budget.

"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from typing import NoReturn, TYPE_CHECKING

from anomaly_inspection.errors import RecipeError
from anomaly_inspection.printable import printable
from anomaly_inspection.recipes.layout import (
    IMAGE_LIST,
    IMAGES,
    MODEL,
    MODEL_FILE_NAME,
    MOST_TEACHING_IMAGES,
    REFERENCES,
    STATISTICS,
    YAML,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from anomaly_inspection.recipes.budget import Budget

# Twenty references and some files a scorer; the rest is for what lies aside, hidden.
MOST_FILES = 1000


def read_files(folder: Path, budget: Budget) -> dict[str, bytes]:
    """
    Read all files of a recipe folder, by path relative to it, sorted.

    Teaching images are not read: their names come with empty contents.

    They are read by descriptor from the folder as it was when it was opened: another may be
    renamed to its path at any time. Nothing but regular files is ever opened for reading, as
    opening a pipe waits and opening a device may do anything.

    Raises
    ------
    RecipeError
        When the folder cannot be read, or holds a link, a device or other special file, a file
        that is no part of a recipe, too many of them, or more than the budget allows; names it.

    """
    contents: dict[str, bytes] = {}
    for name, descriptor in open_files(folder):
        is_image = name.startswith(f'{IMAGES}/')
        contents[name] = b'' if is_image else _content(folder / name, descriptor, budget)
    return dict(sorted(contents.items()))


def open_files(folder: Path) -> Iterator[tuple[str, int]]:
    """
    Give the path of each file, relative to the recipe folder, with an open descriptor.

    The descriptor is closed when the next file is asked for.

    Raises
    ------
    RecipeError
        When the folder cannot be read, or holds a link, a device or other special file, a file
        that is no part of a recipe, or too many of them; names it.

    """
    count = 0
    try:
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for name, descriptor in _files(folder, opened, ''):
                count += not name.startswith(f'{IMAGES}/')
                if count > MOST_FILES:
                    _refuse_number(folder)
                yield name, descriptor
        finally:
            os.close(opened)
    except (OSError, ValueError) as error:
        cause = getattr(error, 'strerror', None) or error
        raise RecipeError(f'cannot read the recipe folder {printable(folder)}: {cause}') from error


def hash_of(files: Mapping[str, bytes]) -> str:
    """
    Give the SHA-256 over names and contents, in the order of the names.

    """
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        # Lengths keep 'ab' + 'c' apart from 'a' + 'bc'.
        digest.update(f'{len(name.encode())} {len(content)} {name}'.encode())
        digest.update(content)
    return digest.hexdigest()


def _files(folder: Path, opened: int, above: str) -> Iterator[tuple[str, int]]:
    """
    Give the path of each file, relative to the recipe folder, with an open descriptor.

    """
    # All names first: reading a folder while files in it are opened would hold two descriptors a
    # level for no reason.
    for name in sorted(_names(folder / above, opened)):
        path = above + name
        check_is_part(folder, path)
        mode = os.stat(name, dir_fd=opened, follow_symlinks=False).st_mode
        is_folder = path in (REFERENCES, MODEL, IMAGES) or (
            path.count('/') == 1 and above == f'{MODEL}/'
        )
        _check_kind(folder / path, mode, is_folder)
        # What was put in its place since then must neither be followed nor waited for.
        descriptor = os.open(
            name,
            os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | (os.O_DIRECTORY if is_folder else 0),
            dir_fd=opened,
        )
        try:
            _check_kind(folder / path, os.fstat(descriptor).st_mode, is_folder)
            if is_folder:
                yield from _files(folder, descriptor, f'{path}/')
            else:
                yield path, descriptor
        finally:
            os.close(descriptor)


def _names(folder: Path, opened: int) -> list[str]:
    names: list[str] = []
    with os.scandir(opened) as entries:
        for count, entry in enumerate(entries):
            if count == (MOST_TEACHING_IMAGES if folder.name == IMAGES else MOST_FILES):
                _refuse_number(folder)
            if not entry.name.startswith('.') and not entry.name.endswith('~'):
                names.append(entry.name)
    return names


def check_is_part(folder: Path, path: str) -> None:
    """
    Refuse what is no part of a recipe, by its path.

    """
    top, *names = path.split('/')
    if top == MODEL:
        patterns = ('[a-z0-9_]+', MODEL_FILE_NAME)
        if len(names) <= 2 and all(map(re.fullmatch, patterns, names)):
            return
        allowed = (
            f'{MODEL}/<scorer>/<file>, the name of letters, digits, "_" and "-" with one or more '
            'dots inside'
        )
    elif top == REFERENCES:
        # Which names there are, only recipe.yaml knows.
        if not names or printable(names[0]) == names[0]:
            return
        allowed = 'names in UTF-8'
    elif top == IMAGES:
        if not names or re.fullmatch(r'[0-9]{6}\.png', names[0]):
            return
        allowed = f'{IMAGES}/000000.png and on'
    elif top in (YAML, STATISTICS, IMAGE_LIST):
        return
    else:
        allowed = (
            f'{YAML}, {STATISTICS}, {IMAGE_LIST}, {REFERENCES}/, {IMAGES}/ and {MODEL}/; keep '
            'other files elsewhere'
        )
    raise RecipeError(f'{printable(folder / path)} is no part of a recipe; allowed: {allowed}')


def _check_kind(path: Path, mode: int, is_folder: bool) -> None:
    if stat.S_ISDIR(mode) if is_folder else stat.S_ISREG(mode):
        return
    kinds = {
        stat.S_IFLNK: 'a link',
        stat.S_IFDIR: 'a folder',
        stat.S_IFREG: 'a file',
        stat.S_IFIFO: 'a pipe',
        stat.S_IFSOCK: 'a socket',
    }
    raise RecipeError(
        f'{printable(path)} is {kinds.get(stat.S_IFMT(mode), "a device")}; '
        f'allowed: {"a folder" if is_folder else "a regular file"}'
    )


def _content(path: Path, descriptor: int, budget: Budget) -> bytes:
    size = os.fstat(descriptor).st_size
    budget.take(printable(path), size)
    try:
        with open(descriptor, 'rb', closefd=False) as file:
            # It may have grown since, or be one of those in /proc that have no size.
            content = file.read(size + 1)
    except OSError as error:
        raise RecipeError(f'cannot read {printable(path)}: {error.strerror}') from error
    if len(content) > size:
        raise RecipeError(f'{printable(path)} grows while it is read')
    return content


def _refuse_number(folder: Path) -> NoReturn:
    raise RecipeError(f'{printable(folder)} holds too many files; allowed: {MOST_FILES}')
