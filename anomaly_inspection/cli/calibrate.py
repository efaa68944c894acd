# SPDX-License-Identifier: Apache-2.0
"""
Set the limits of a recipe anew from other good parts.

"""

from __future__ import annotations

from pathlib import Path

import click
from rich.table import Table

from anomaly_inspection.cli.good_images import good_images, print_left_out
from anomaly_inspection.cli.output import (
    console,
    escaped,
    progress_bar,
)


@click.command()
@click.argument('recipe', type=click.Path(path_type=Path))
@click.argument('images', type=click.Path(path_type=Path))
@click.option(
    '--false-reject-rate',
    type=float,
    help='Share of good parts that may be rejected; default: what the recipe was taught with.',
)
@click.option('--dry-run', is_flag=True, help='Only print; the recipe stays as it is.')
def calibrate(recipe: Path, images: Path, false_reject_rate: float | None, dry_run: bool) -> None:
    """
    Derive the limits of RECIPE anew from IMAGES, a folder of good parts it was not taught on.

    All that was taught stays; limits and typical values become those of these parts. Writes the
    next version of the recipe; the old one is kept beside it.
    """
    from anomaly_inspection.learning.recipe_calibration import recalibrate
    from anomaly_inspection.recipes.folder import read_recipe, write_recipe

    old = read_recipe(recipe)
    with progress_bar() as progress:
        found = recalibrate(old, good_images(images), false_reject_rate, progress)
    print_left_out(found.left_out)
    table = Table(box=None, pad_edge=False)
    table.add_column('measure')
    for heading in ('typical good part', 'limit'):
        table.add_column(heading, justify='right', no_wrap=True)
    table.add_column('unit', no_wrap=True)
    for key, before in found.before.items():
        now = found.limits[key]
        table.add_row(
            '.'.join(key),
            f'{before.typical:.4g} -> {now.typical:.4g}',
            f'{before.limit:.4g} -> {now.limit:.4g}',
            found.specs[key].unit,
        )
    console.print(table)
    console.print(escaped(found.summary()), soft_wrap=True)
    if dry_run:
        console.print(f'nothing was written: recipe {old.name} stays version {old.version}')
        return
    written = write_recipe(found.applied_to(old, str(images)), recipe)
    console.print(
        f'recipe [bold]{written.name}[/] version {written.version} written to {written.path} '
        f'(hash {written.hash[:12]})',
        soft_wrap=True,
    )
