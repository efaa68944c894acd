# SPDX-License-Identifier: Apache-2.0
"""
The recipes of several views of one product, and which of them belong together.

::

    <name>/
      views.yaml     name of each view, and of the pictures that it was taught with (SHA-256)
      top/           an ordinary recipe folder for each view
      left/

A new version with other limits still belongs to its view; a recipe that was taught anew, or that
lies in the folder of another view, does not.

"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
import hashlib
import os
from pathlib import Path
import re
import secrets

import yaml

from anomaly_inspection.errors import RecipeError
from anomaly_inspection.printable import printable, shown
from anomaly_inspection.recipes.layout import REFERENCES
from anomaly_inspection.recipes.plain_yaml import LONGEST_BYTES, plain_yaml
from anomaly_inspection.recipes.recipe_files import open_files

VIEWS_FILE = 'views.yaml'
MOST_VIEWS = 4
FORMAT_VERSION = 1

_NAME = re.compile(r'[a-z][a-z0-9_]{0,29}')
_NAME_ALLOWED = 'allowed: a small letter, then small letters, digits and "_", 30 at most'
_HASH = re.compile(r'[0-9a-f]{64}')


def check_view_name(name: str) -> None:
    """
    Raise RecipeError when a view cannot be called so: its name is part of topics and folders.

    """
    if not _NAME.fullmatch(name):
        raise RecipeError(f'view {shown(name)} is refused; {_NAME_ALLOWED}')


def taught_hash(recipe: Path) -> str:
    """
    Give the SHA-256 of the reference pictures of a recipe: other limits do not change it.

    Raises
    ------
    RecipeError
        When the folder cannot be read, or holds no references.

    """
    digest, found = hashlib.sha256(), False
    for name, descriptor in open_files(recipe):
        if name.startswith(f'{REFERENCES}/'):
            found = True
            digest.update(f'{name}\0'.encode())
            while block := os.read(descriptor, 1 << 20):
                digest.update(block)
    if not found:
        raise RecipeError(f'{printable(recipe)} is no recipe: it holds no {REFERENCES}')
    return digest.hexdigest()


@dataclass(frozen=True)
class ViewSet:
    """
    Which recipes belong together.

    Parameters
    ----------
    folder : Path
        Where `views.yaml` and the recipes are.
    taught : mapping of str to str
        `taught_hash` of the recipe of each view, by the name of the view.

    """

    folder: Path
    taught: Mapping[str, str]

    @property
    def name(self) -> str:
        """
        Name of the product's recipe: that of its folder.

        """
        return self.folder.name

    def check(self, view: str, recipe: Path) -> None:
        """
        Raise RecipeError when a recipe is not the one of a view.

        """
        if view not in self.taught:
            raise RecipeError(
                f'{printable(self.folder / VIEWS_FILE)} knows no view {view!r}; it has: '
                f'{", ".join(self.taught)}'
            )
        found = taught_hash(recipe)
        if found == self.taught[view]:
            return
        other = next((name for name, taught in self.taught.items() if taught == found), '')
        what = f'the recipe of view {other}' if other else 'another recipe'
        raise RecipeError(
            f'view {view} has {what} in force ({printable(recipe)}), not the one that '
            f'{printable(self.folder / VIEWS_FILE)} names; load '
            f'{printable(self.folder / view)}, or teach the view anew'
        )


def is_view_set(folder: Path) -> bool:
    """
    Whether a folder holds the recipes of several views.

    """
    return (folder / VIEWS_FILE).is_file()


def read_view_set(path: str | os.PathLike[str], *, checks_recipes: bool = True) -> ViewSet:
    """
    Read which views a product has, and check the recipe of each.

    Parameters
    ----------
    path : path
        Folder of the product.
    checks_recipes : bool
        False: the file alone is read.

    Raises
    ------
    RecipeError
        When `views.yaml` is missing or is not as it must be, or a recipe is not the one that it
        names.

    """
    folder = Path(os.path.realpath(Path(path).expanduser()))
    file = folder / VIEWS_FILE
    try:
        with file.open('rb') as opened:
            content = plain_yaml(opened.read(LONGEST_BYTES + 1))
    except OSError as error:
        raise RecipeError(
            f'{printable(folder)} holds no recipes of several views: {VIEWS_FILE}: '
            f'{error.strerror}; anomaly-inspection teach --view NAME=IMAGES makes them'
        ) from error
    except RecipeError as error:
        raise RecipeError(f'{printable(file)}: {error}') from error
    if not isinstance(content, dict) or content.keys() != {'format_version', 'views'}:
        found = list(content) if isinstance(content, dict) else content
        raise RecipeError(
            f'{printable(file)}: holds {shown(found)}; allowed are the keys format_version and '
            'views, both'
        )
    if content['format_version'] != FORMAT_VERSION:
        raise RecipeError(
            f'{printable(file)}: format_version = {shown(content["format_version"])}; allowed: '
            f'{FORMAT_VERSION}'
        )
    views = content['views']
    if not isinstance(views, dict) or not 1 <= len(views) <= MOST_VIEWS:
        count = f'{len(views)} of them' if isinstance(views, dict) else shown(views)
        raise RecipeError(
            f'{printable(file)}: views = {count}; allowed: 1 to {MOST_VIEWS} names with the hash '
            'of a recipe'
        )
    for name, taught in views.items():
        try:
            check_view_name(str(name))
        except RecipeError as error:
            raise RecipeError(f'{printable(file)}: {error}') from error
        if not isinstance(taught, str) or not _HASH.fullmatch(taught):
            raise RecipeError(
                f'{printable(file)}: view {name} = {shown(taught)}; allowed: 64 hexadecimal digits'
            )
    found = ViewSet(folder, dict(views))
    if checks_recipes:
        for name in found.taught:
            found.check(name, folder / name)
    return found


def write_view_set(folder: Path, views: Iterable[str]) -> ViewSet:
    """
    Write `views.yaml` for the recipes that are in their folders now.

    Raises
    ------
    RecipeError
        When a recipe is missing, or the file cannot be written.

    """
    folder = Path(os.path.realpath(folder))
    found = ViewSet(folder, {name: taught_hash(folder / name) for name in views})
    content = {'format_version': FORMAT_VERSION, 'views': dict(found.taught)}
    draft = folder / f'.{VIEWS_FILE}.{secrets.token_hex(4)}'
    try:
        with draft.open('x') as file:
            file.write(yaml.safe_dump(content, sort_keys=False))
            file.flush()
            os.fsync(file.fileno())
        draft.rename(folder / VIEWS_FILE)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise RecipeError(f'cannot write {printable(folder / VIEWS_FILE)}: {error}') from error
    return found
