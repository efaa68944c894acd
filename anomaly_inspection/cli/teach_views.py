# SPDX-License-Identifier: Apache-2.0
"""
Several views of one product: a recipe for each, and the file that says which belong together.

"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from anomaly_inspection.cli.output import console, escaped, EXIT_OK
from anomaly_inspection.errors import SettingError
from anomaly_inspection.printable import printable


def view_folders(given: Sequence[str]) -> dict[str, Path]:
    """
    Read the values of --view: 'top=FOLDER'.

    Raises
    ------
    SettingError
        When one is not as it must be, or names a view twice.

    """
    from anomaly_inspection.errors import RecipeError
    from anomaly_inspection.recipes.view_set import check_view_name

    folders: dict[str, Path] = {}
    for text in given:
        name, equals, folder = text.partition('=')
        if not equals or not folder:
            raise SettingError(
                f'--view {printable(text)}: allowed is NAME=IMAGES, such as top=images/top'
            )
        try:
            check_view_name(name)
        except RecipeError as error:
            raise SettingError(f'--view {printable(text)}: {error}') from error
        if name in folders:
            raise SettingError(f'--view {name} is given twice; allowed: once')
        folders[name] = Path(folder)
    return folders


def teach_views(
    folders: dict[str, Path], recipe: Path, teach_one: Callable[[Path, Path], int]
) -> int:
    """
    Teach the recipe of each view, then write down which belong together.

    Views that RECIPE has already, and that are not given, stay as they are.

    Parameters
    ----------
    folders : dict of str to Path
        Images of good parts by the name of the view.
    recipe : Path
        Folder of the product; the recipe of each view gets a folder in it.
    teach_one : callable
        Teaches one recipe from images, and gives the exit status.

    Returns
    -------
    int
        The worst exit status.

    Raises
    ------
    SettingError
        When there are too many views, or the folder is a recipe itself.

    """
    from anomaly_inspection.recipes.layout import YAML
    from anomaly_inspection.recipes.view_set import (
        is_view_set,
        MOST_VIEWS,
        read_view_set,
        taught_hash,
        write_view_set,
    )

    if (recipe / YAML).exists():
        raise SettingError(
            f'{printable(recipe)} is the recipe of one view; give --recipe another folder, in '
            'which each view gets a recipe of its own'
        )
    # A view that was taught anew by itself is what --view mends: its hash may differ by now.
    before = (
        list(read_view_set(recipe, checks_recipes=False).taught) if is_view_set(recipe) else []
    )
    views = [*before, *(name for name in folders if name not in before)]
    if len(views) > MOST_VIEWS:
        raise SettingError(
            f'{len(views)} views: {", ".join(views)}; allowed: {MOST_VIEWS} at most'
        )
    for name in set(before) - folders.keys():
        taught_hash(recipe / name)
    statuses = []
    for name, images in folders.items():
        console.print(f'[bold]View {escaped(name)}[/bold]')
        statuses.append(teach_one(images, recipe / name))
    write_view_set(recipe, views)
    console.print(
        f'{escaped(printable(recipe))} holds the recipes of the views {", ".join(views)}.',
        soft_wrap=True,
    )
    return max(statuses, default=EXIT_OK)
