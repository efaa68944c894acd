# SPDX-License-Identifier: Apache-2.0
"""
Carry recipes from one cell to another.

"""

from __future__ import annotations

from pathlib import Path

import click

from anomaly_inspection.cli.output import console, escaped
from anomaly_inspection.errors import RecipeError


@click.group(short_help='Carry recipes to another cell as one file.')
def recipe() -> None:
    """
    Carry recipes to another cell as one file.

    \b
      anomaly-inspection recipe export recipes/pump pump.zip
      anomaly-inspection recipe import pump.zip recipes
    """


@recipe.command('export', short_help='Pack a recipe into one file.')
@click.argument('recipe', type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument('file', type=click.Path(path_type=Path, dir_okay=False))
def export_recipe(recipe: Path, file: Path) -> None:
    """
    Pack RECIPE, the folder of a recipe, into FILE, a zip archive that must not exist yet.

    The parts that it must reject (review --keep-bad) go with it.
    """
    from anomaly_inspection.reviewing import carrying

    try:
        target = file.open('xb')
    except FileExistsError:
        raise RecipeError(f'{file} exists already; choose another name') from None
    except OSError as error:
        raise RecipeError(f'cannot write {file}: {error.strerror or error}') from error
    try:
        with target:
            carrying.export_recipe(recipe.resolve(), target)
    except BaseException:
        file.unlink(missing_ok=True)
        raise
    console.print(f'{escaped(str(file))} holds the recipe', soft_wrap=True)


@recipe.command('import', short_help='Unpack such a file, checked.')
@click.argument('file', type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument('library', type=click.Path(path_type=Path, exists=True, file_okay=False))
def import_recipe(file: Path, library: Path) -> None:
    """
    Unpack FILE into LIBRARY, the folder that holds the recipes of a cell.

    The archive and the recipe are checked before anything comes into the library. Nothing there is
    overwritten: a recipe whose name is taken gets a new one.
    """
    from anomaly_inspection.reviewing import carrying

    try:
        with file.open('rb') as opened:
            imported = carrying.import_recipe(opened, library.resolve())
    except OSError as error:
        raise RecipeError(f'cannot read {file}: {error.strerror or error}') from error
    console.print(escaped(imported.summary), soft_wrap=True)
