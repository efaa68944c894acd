# SPDX-License-Identifier: Apache-2.0
"""
Set the limits of a recipe anew from other good parts.

"""

from __future__ import annotations

from pathlib import Path

import click
from rich.table import Table

from anomaly_inspection.cli.good_images import good_images, print_left_out
from anomaly_inspection.cli.options import FALSE_REJECT_RATE
from anomaly_inspection.cli.output import console, escaped, progress_bar


@click.command(short_help='Set new limits for a recipe from good parts.')
@click.argument('recipe', type=click.Path(path_type=Path))
@click.argument('images', type=click.Path(path_type=Path))
@click.option(
    '--false-reject-rate',
    type=FALSE_REJECT_RATE,
    help='Share of good parts that may be rejected, 0.005 = one in 200. '
    'Default: the rate that the recipe was taught for.',
)
@click.option('--dry-run', is_flag=True, help='Only print the new limits; write nothing.')
def calibrate(recipe: Path, images: Path, false_reject_rate: float | None, dry_run: bool) -> None:
    """
    Set new limits for RECIPE from IMAGES, a folder of good parts that it was not taught on.

    Use this when light or parts have changed a little. The scorers stay as they were taught; only
    limits and typical values change. Writes the next version of the recipe and keeps the old one
    beside it.
    """
    from anomaly_inspection.learning.recipe_calibration import recalibrate
    from anomaly_inspection.recipes.folder import check_place, read_recipe, write_recipe

    if not dry_run:
        check_place(recipe)
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
        console.print(f'dry run: recipe {old.name} stays at version {old.version}')
        return
    written = write_recipe(found.applied_to(old, str(images)), recipe)
    console.print(
        f'recipe [bold]{written.name}[/] version {written.version} written to '
        f'{escaped(recipe)} (hash {written.hash[:12]})',
        soft_wrap=True,
    )
