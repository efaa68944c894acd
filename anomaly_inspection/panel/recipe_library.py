# SPDX-License-Identifier: Apache-2.0
"""
The recipes that a cell can switch to: the folders beside the one in force.

"""

from __future__ import annotations

from pathlib import Path
import re

from anomaly_inspection.errors import RecipeError
from anomaly_inspection.printable import shown
from anomaly_inspection.recipes.layout import YAML
from anomaly_inspection.recipes.recipe import NAME_ALLOWED, NAME_PATTERN


class RecipeLibrary:
    """
    Finds recipes by name; a name never leads out of the folder.

    Parameters
    ----------
    folder : Path
        Holds one folder for each recipe.

    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self) -> list[str]:
        """
        Give the names of the recipes; none when the folder cannot be read.

        """
        try:
            return sorted(path.name for path in self._folder.iterdir() if self._is_recipe(path))
        except OSError:
            return []

    def folder_of(self, name: str) -> Path:
        """
        Give the folder of a recipe.

        Raises
        ------
        RecipeError
            When the name is not allowed, or there is no such recipe.

        """
        if not re.fullmatch(NAME_PATTERN, name):
            raise RecipeError(f'recipe {shown(name)} is refused; allowed: {NAME_ALLOWED}')
        folder = self._folder / name
        if not self._is_recipe(folder):
            names = ', '.join(self.names()[:20]) or 'none'
            raise RecipeError(f'there is no recipe {shown(name)}; there are: {names}')
        return folder

    def _is_recipe(self, path: Path) -> bool:
        is_ours = path.resolve().parent == self._folder.resolve()
        return bool(re.fullmatch(NAME_PATTERN, path.name)) and is_ours and (path / YAML).is_file()
