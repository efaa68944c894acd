# SPDX-License-Identifier: Apache-2.0
"""
Carry a recipe to another cell together with the parts that it must reject.

"""

from __future__ import annotations

from typing import BinaryIO, TYPE_CHECKING

from anomaly_inspection.errors import RecipeError, StateError
from anomaly_inspection.recipes.archive import archive_size, import_archive, write_archive
from anomaly_inspection.recipes.layout import MUST_REJECT, MUST_REJECT_LIST
from anomaly_inspection.reviewing.bad_parts import BadParts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from anomaly_inspection.recipes.archive import ImportedRecipe


def check_can_be_carried(folder: Path) -> None:
    """
    Refuse a recipe that cannot be an archive.

    Raises
    ------
    RecipeError
        When its folder holds what is no part of a recipe, or too much, or a part that it must
        reject is missing or changed.

    """
    archive_size(folder)
    for _ in BadParts(folder).contents():
        pass


def export_recipe(folder: Path, file: BinaryIO) -> None:
    """
    Write a recipe and the parts that it must reject into an archive.

    Parameters
    ----------
    folder : Path
        The recipe folder, or that of an older version.
    file : binary file
        Open for writing, and seekable.

    Raises
    ------
    RecipeError
        When something cannot be read, a picture is missing or changed, or the archive cannot be
        written.

    """
    write_archive(folder, file, _files_of(BadParts(folder)))


def import_recipe(file: BinaryIO, library: Path) -> ImportedRecipe:
    """
    Put the recipe of an archive into a library, with the parts that it must reject.

    Where the library has such parts under the name of the recipe already, as of one that was
    deleted, the new ones join them: so much the more must be rejected.

    Parameters
    ----------
    file : binary file
        The archive, open for reading, and seekable.
    library : Path
        The folder that holds recipes.

    Raises
    ------
    RecipeError
        As for `import_archive`; also when a part to be rejected is missing, changed or no picture,
        there would be too many, or the disk refuses them.

    """
    return import_archive(file, library, take_beside=_take)


def _files_of(parts: BadParts) -> Iterator[tuple[str, bytes]]:
    known = parts.all()
    if not known:
        return
    yield f'{MUST_REJECT}/{MUST_REJECT_LIST}', parts.list_of(known).encode()
    for part, content in parts.contents():
        yield f'{MUST_REJECT}/{part.digest}.png', content


def _take(unpacked: Path, recipe: Path) -> int:
    carried = BadParts(unpacked)
    try:
        known = carried.all()
        # All of them first: what is damaged must not be there in part.
        for _ in carried.pictures():
            pass
        BadParts(recipe).add((part.name, content) for part, content in carried.contents())
    except (RecipeError, StateError) as error:
        message = str(error).replace(f'{carried.folder}/', '')
        raise RecipeError(f'the parts that the recipe must reject: {message}') from error
    return len(known)
