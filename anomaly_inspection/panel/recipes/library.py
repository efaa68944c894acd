# SPDX-License-Identifier: Apache-2.0
"""
The recipes that a cell can switch to: the folders beside the one in force.

"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, UTC
from functools import lru_cache
import math
from pathlib import Path
import re
from typing import Any, TYPE_CHECKING

from anomaly_inspection.errors import RecipeError
from anomaly_inspection.printable import printable, shown
from anomaly_inspection.recipes.layout import CREATED_FORMAT, YAML
from anomaly_inspection.recipes.plain_yaml import LONGEST_BYTES, plain_yaml
from anomaly_inspection.recipes.recipe import NAME_ALLOWED, NAME_PATTERN
from anomaly_inspection.recipes.removal import kept_versions

if TYPE_CHECKING:
    from anomaly_inspection.panel.cell.state import CellPicture
    from anomaly_inspection.panel.cell.views import RecipeView

_LONGEST_TEXT = 200
_NOWHERE = '/nonexistent'


@dataclass(frozen=True)
class RecipeSummary:
    """
    What a person wants to know of a recipe; read from recipe.yaml alone and not checked further.

    Parameters
    ----------
    folder : Path
        Where it lies.
    version : int
        0 = not known.
    product, taught_by : str
        '' = not given.
    created_s : float
        Seconds since 1970; NaN = not known.
    image_count : int
        Good parts that it was taught on.
    width_px, height_px : int
        Size of its frames.
    scorers : tuple of str
        Their names.
    problem : str
        Why it cannot be read; '' = it can.

    """

    folder: Path
    version: int = 0
    product: str = ''
    taught_by: str = ''
    created_s: float = math.nan
    image_count: int = 0
    width_px: int = 0
    height_px: int = 0
    scorers: tuple[str, ...] = ()
    problem: str = ''


@dataclass(frozen=True)
class RecipeEntry:
    """
    A recipe of the library.

    Parameters
    ----------
    name : str
        Of its folder.
    summary : RecipeSummary
        Of its newest version.
    older : tuple of RecipeSummary
        Of the versions that are kept beside it, newest first.

    """

    name: str
    summary: RecipeSummary
    older: tuple[RecipeSummary, ...] = ()

    def is_in_force(self, recipe: RecipeView) -> bool:
        """
        Whether the newest version is in force; one may lie there that nobody has loaded.

        """
        return (str(self.summary.folder), self.summary.version) == (recipe.path, recipe.version)


def kept_folder(folder: Path, version: int) -> Path:
    """
    Give the folder in which an older version of a recipe is kept.

    """
    return folder.with_name(f'{folder.name}.v{version}')


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

    @classmethod
    def of(cls, picture: CellPicture) -> RecipeLibrary:
        """
        Give the library that the recipe in force lies in, else the one that the teacher writes to.

        """
        in_force, taught = picture.recipe.path, picture.teacher.library
        return cls(Path(in_force).parent if in_force else Path(taught or _NOWHERE))

    @property
    def is_known(self) -> bool:
        """
        Whether there is a folder for recipes; it may not have been made yet.

        """
        return self._folder != Path(_NOWHERE)

    def entries(self) -> list[RecipeEntry]:
        """
        Give all recipes with their older versions; reads files.

        """
        return [
            RecipeEntry(name, summary_of(self._folder / name), self._older(name))
            for name in self.names()
        ]

    def names(self) -> list[str]:
        """
        Give the names of the recipes; none when the folder cannot be read.

        """
        try:
            return sorted(path.name for path in self._folder.iterdir() if self._is_recipe(path))
        except OSError:
            return []

    @property
    def folder(self) -> Path:
        """
        The folder that holds the recipes.

        """
        return self._folder

    def folder_of(self, name: str, older_version: int = 0) -> Path:
        """
        Give the folder of a recipe, or of one of its older versions.

        Raises
        ------
        RecipeError
            When the name is not allowed, or there is no such recipe or version.

        """
        if not re.fullmatch(NAME_PATTERN, name):
            raise RecipeError(f'recipe {shown(name)} is refused; allowed: {NAME_ALLOWED}')
        folder = self._folder / name
        if not self._is_recipe(folder):
            names = ', '.join(self.names()[:20]) or 'none'
            raise RecipeError(f'there is no recipe {shown(name)}; there are: {names}')
        if not older_version:
            return folder
        kept = kept_versions(folder)
        if older_version not in kept:
            versions = ', '.join(map(str, sorted(kept))) or 'none'
            raise RecipeError(
                f'there is no older version {older_version} of {name}; there are: {versions}'
            )
        return kept[older_version]

    def _older(self, name: str) -> tuple[RecipeSummary, ...]:
        found = kept_versions(self._folder / name)
        return tuple(summary_of(found[version]) for version in sorted(found, reverse=True))

    def _is_recipe(self, path: Path) -> bool:
        is_ours = path.resolve().parent == self._folder.resolve()
        return bool(re.fullmatch(NAME_PATTERN, path.name)) and is_ours and (path / YAML).is_file()


def summary_of(folder: Path) -> RecipeSummary:
    """
    Read what a person wants to know of a recipe; never raises.

    """
    file = folder / YAML
    try:
        status = file.stat()
        return _summary(folder, status.st_mtime_ns, status.st_ino)
    except OSError as error:
        return RecipeSummary(folder, problem=f'{YAML}: {error.strerror or error}')
    except RecipeError as error:
        return RecipeSummary(folder, problem=f'{YAML}: {error}')


@lru_cache(maxsize=500)
def _summary(folder: Path, changed_ns: int, inode: int) -> RecipeSummary:
    # The numbers tell another file in the same place.
    with (folder / YAML).open('rb') as file:
        content = _mapping(plain_yaml(file.read(LONGEST_BYTES + 1)))
    provenance, frame = _mapping(content.get('provenance')), _mapping(content.get('frame'))
    try:
        created = datetime.strptime(str(content.get('created')), CREATED_FORMAT)
        created_s = created.replace(tzinfo=UTC).timestamp()
    except ValueError:
        created_s = math.nan
    return RecipeSummary(
        folder,
        version=_count(content.get('version')),
        product=_text(content.get('product')),
        taught_by=_text(provenance.get('taught_by')),
        created_s=created_s,
        image_count=_count(provenance.get('image_count')),
        width_px=_count(frame.get('width')),
        height_px=_count(frame.get('height')),
        scorers=tuple(_text(name) for name in _mapping(content.get('scorers'))),
    )


def _mapping(value: object) -> dict[Any, Any]:
    return value if isinstance(value, dict) else {}


def _count(value: object) -> int:
    return value if isinstance(value, int) and 0 <= value < 2**31 else 0


def _text(value: object) -> str:
    return printable(value)[:_LONGEST_TEXT] if isinstance(value, str) else ''
