# SPDX-License-Identifier: Apache-2.0
"""
Delete a recipe with the older versions that are kept beside it.

"""

from __future__ import annotations

import os
from pathlib import Path
import re
import secrets
import shutil

from anomaly_inspection.errors import RecipeError
from anomaly_inspection.printable import printable
from anomaly_inspection.recipes.layout import YAML


def kept_versions(folder: Path) -> dict[int, Path]:
    """
    Give the folders of the older versions of a recipe, by version.

    """
    found = {}
    for path in folder.parent.glob(f'{folder.name}.v*'):
        match = re.fullmatch(r'v([1-9][0-9]{0,8})', path.name.removeprefix(f'{folder.name}.'))
        if match and (path / YAML).is_file() and not path.is_symlink():
            found[int(match[1])] = path
    return found


def delete_recipe(folder: Path) -> int:
    """
    Delete a recipe and its older versions; nobody ever sees half of one.

    Returns
    -------
    int
        How many versions are gone.

    Raises
    ------
    RecipeError
        When a folder cannot be moved away. The recipe itself goes last, so what is left is whole.

    """
    folders = [*kept_versions(folder).values(), folder]
    for one in folders:
        # Hidden folders are no recipes; emptying them takes a while.
        grave = one.with_name(f'.{one.name}.deleted.{secrets.token_hex(4)}')
        try:
            os.rename(one, grave)
        except OSError as error:
            raise RecipeError(
                f'cannot delete {printable(one)}: {error.strerror or error}'
            ) from error
        if grave.is_symlink():
            grave.unlink()
        else:
            shutil.rmtree(grave, ignore_errors=True)
    return len(folders)
