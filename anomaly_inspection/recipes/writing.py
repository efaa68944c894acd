# SPDX-License-Identifier: Apache-2.0
"""
Write a recipe so that nobody ever sees half of it.

"""

from __future__ import annotations

import ctypes
from dataclasses import replace
from datetime import datetime, UTC
import errno
import hashlib
import os
from pathlib import Path
import re
import secrets
import shutil
from typing import Any, TYPE_CHECKING

import cv2
import numpy as np

from anomaly_inspection.errors import RecipeError, SettingError
from anomaly_inspection.printable import printable
from anomaly_inspection.recipes.budget import DEFAULT_BUDGET_BYTES
from anomaly_inspection.recipes.layout import (
    CREATED_FORMAT,
    IMAGE_LIST,
    image_name,
    IMAGES,
    MODEL,
    MODEL_FILE_NAME,
    reference_name,
    REFERENCES,
    STATISTICS,
    YAML,
)
from anomaly_inspection.recipes.reading import read_recipe
from anomaly_inspection.recipes.recipe_text import recipe_text
from anomaly_inspection.recipes.statistics_file import statistics_bytes
from anomaly_inspection.recipes.teaching_images import TeachingImages
from anomaly_inspection.writable import check_writable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from anomaly_inspection.recipes.recipe import Recipe

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def write_recipe(
    recipe: Recipe,
    path: str | os.PathLike[str],
    created: datetime | None = None,
    *,
    images: Sequence[tuple[str, bytes]] | None = None,
    budget_bytes: int = DEFAULT_BUDGET_BYTES,
) -> Recipe:
    """
    Write a recipe; over an existing one as its next version.

    The folder is written beside its place, synced, read back and checked, and only then renamed
    into place. Over an existing recipe the two are exchanged in one step where the kernel can; the
    old one stays as '<folder>.v<version>'. Where the kernel cannot, there is an instant with no
    recipe at `path`, never half of one.

    Parameters
    ----------
    recipe : Recipe
        Its version and time are set anew.
    path : path
        The folder; its parent is made when missing.
    created : datetime, optional
        Time of writing, with a time zone; now by default.
    images : sequence of (name, bytes), optional
        PNG files of the images that it was taught on, to be kept in it; see `encoded`. By default
        it keeps those that it keeps already.
    budget_bytes : int
        What it may take of memory when it is read back; see `read_recipe`.

    Returns
    -------
    Recipe
        As read back, with version, time, path and hash.

    Raises
    ------
    RecipeError
        When it cannot be written, would not read back, or the folder in place is not a good
        recipe. What was in place then still is.

    """
    folder = Path(os.path.realpath(path))
    old = check_place(folder, budget_bytes=budget_bytes)
    kept = None if old is None else _kept(folder, old)
    created = datetime.now(UTC) if created is None else created.astimezone(UTC)
    recipe = replace(
        recipe,
        version=1 if old is None else old.version + 1,
        created=created.strftime(CREATED_FORMAT),
    )
    draft = folder.with_name(f'.{folder.name}.{secrets.token_hex(4)}')
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _write_files(recipe, draft, images)
        written = read_recipe(draft, budget_bytes=budget_bytes)
        if kept is None:
            os.rename(draft, folder)
        else:
            _put_in_place(draft, folder, kept)
        _sync(folder.parent)
    except OSError as error:
        raise RecipeError(f'cannot write the recipe {printable(folder)}: {error}') from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return written.at(folder)


def check_place(
    path: str | os.PathLike[str], *, budget_bytes: int = DEFAULT_BUDGET_BYTES
) -> Recipe | None:
    """
    Tell at once, before the work that makes a recipe, whether one can be written at a place.

    Returns
    -------
    Recipe or None
        The recipe that is there and would be kept as the version before; None when nothing is.

    Raises
    ------
    RecipeError
        When `write_recipe` could not write there: what is there is not a good recipe, its version
        is kept already, or the folder cannot be written.

    """
    folder = Path(os.path.realpath(path))
    is_there = os.path.lexists(folder)
    old = read_recipe(folder, budget_bytes=budget_bytes) if is_there else None
    if old is not None and os.path.lexists(kept := _kept(folder, old)):
        raise RecipeError(
            f'{printable(kept)} already exists; move it away so that {printable(folder)} can be '
            'kept there'
        )
    try:
        check_writable(folder.parent)
    except SettingError as error:
        raise RecipeError(f'{error}') from error
    return old


def _kept(folder: Path, old: Recipe) -> Path:
    return folder.with_name(f'{folder.name}.v{old.version}')


def _write_files(recipe: Recipe, folder: Path, images: Sequence[tuple[str, bytes]] | None) -> None:
    """
    Write all files of a recipe and wait until they are on the disk.

    """
    arrays: dict[str, Any] = {}
    models: dict[Path, bytes] = {}
    for name, part in recipe.scorers.items():
        for key, array in part.arrays.items():
            if '.' in key:
                models[folder / MODEL / name / key] = _file_content(f'{name}/{key}', array)
            else:
                arrays[f'{name}/{key}'] = array
        arrays |= {f'good/{name}.{key}': values for key, values in part.good.items()}
    arrays |= {f'conditions/{name}': values for name, values in recipe.conditions.items()}
    (folder / REFERENCES).mkdir(parents=True)
    _write(folder / STATISTICS, statistics_bytes(arrays))
    for index, frame in enumerate(recipe.references):
        _write(
            folder / REFERENCES / reference_name(index), cv2.imencode('.png', frame)[1].tobytes()
        )
    _write(folder / YAML, recipe_text(recipe).encode())
    for path, content in models.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, content)
    _write_images(recipe.teaching_images, folder, images)
    for kept in {folder, folder / REFERENCES, *(one for path in models for one in path.parents)}:
        if kept.is_relative_to(folder):
            _sync(kept)


def _write_images(
    kept: TeachingImages | None, folder: Path, images: Sequence[tuple[str, bytes]] | None
) -> None:
    if images:
        (folder / IMAGES).mkdir()
        for index, (_, content) in enumerate(images):
            _write(folder / IMAGES / image_name(index), content)
        entries = tuple((name, hashlib.sha256(content).hexdigest()) for name, content in images)
        kept = TeachingImages(folder, entries)
    elif images is not None or kept is None or not kept.put_into(folder):
        return
    _write(folder / IMAGE_LIST, kept.text.encode())
    _sync(folder / IMAGES)


def _file_content(key: str, array: NDArray[Any]) -> bytes:
    if not re.fullmatch(MODEL_FILE_NAME, key.partition('/')[2]):
        raise RecipeError(
            f'array {key!r} cannot be a file; allowed: letters, digits, "_" and "-" with one or '
            'more dots inside'
        )
    if array.dtype != np.uint8 or array.ndim != 1:
        raise RecipeError(
            f'array {key!r} is {array.dtype} of shape {array.shape}; allowed, because its name '
            'holds a dot: the bytes of a file, uint8 in one dimension'
        )
    return array.tobytes()


def _write(path: Path, content: bytes) -> None:
    with path.open('xb') as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _put_in_place(draft: Path, folder: Path, kept: Path) -> None:
    """
    Put the draft in the place of the folder and keep that as `kept`; on failure all is as before.

    """
    if _exchange(draft, folder):
        try:
            os.rename(draft, kept)
        except OSError:
            _exchange(draft, folder)
            raise
        return
    os.rename(folder, kept)
    try:
        os.rename(draft, folder)
    except OSError:
        os.rename(kept, folder)
        raise


def _exchange(one: Path, other: Path) -> bool:
    """
    Exchange two folders in one step; False when the kernel or the file system cannot.

    """
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:
        return False
    if (
        renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
        == 0
    ):
        return True
    code = ctypes.get_errno()
    if code in (errno.ENOSYS, errno.EINVAL):
        return False
    raise OSError(code, os.strerror(code), str(other))
