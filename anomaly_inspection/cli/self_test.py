# SPDX-License-Identifier: Apache-2.0
"""
Say which synthetic defects a recipe sees.

"""

from __future__ import annotations

from pathlib import Path

import click
from rich.table import Table

from anomaly_inspection.cli.good_images import good_images
from anomaly_inspection.cli.output import (
    console,
    escaped,
    progress_bar,
)
from anomaly_inspection.errors import SettingError


def _numbers(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[float, ...] | None:
    if value is None:
        return None
    try:
        return tuple(float(text) for text in value.split(','))
    except ValueError:
        raise click.BadParameter(f"{value!r}: numbers are wanted, as in '8,12,20'") from None


@click.command()
@click.argument('recipe', type=click.Path(path_type=Path))
@click.argument('images', type=click.Path(path_type=Path))
@click.option(
    '--sizes',
    'sizes_px',
    metavar='PX,..',
    callback=_numbers,
    help='Sizes of the defects: diameter of the circle of the same area. Default: 4,6,8,12,20,32.',
)
@click.option(
    '--contrasts',
    metavar='LEVELS,..',
    callback=_numbers,
    help='Contrasts of the defects: mean change of the gray level. Default: 8,15,30,60.',
)
@click.option(
    '--defects-each',
    type=click.IntRange(1, 1000),
    default=10,
    show_default=True,
    help='Defects of every kind at every size and contrast; more give narrower intervals.',
)
@click.option('--seed', type=click.IntRange(0), default=1, show_default=True)
@click.option(
    '--json',
    'json_file',
    type=click.Path(path_type=Path, dir_okay=False),
    help='Write all figures.',
)
@click.option(
    '--html', type=click.Path(path_type=Path, file_okay=False), help='Write a page to look at.'
)
def self_test(
    recipe: Path,
    images: Path,
    sizes_px: tuple[float, ...] | None,
    contrasts: tuple[float, ...] | None,
    defects_each: int,
    seed: int,
    json_file: Path | None,
    html: Path | None,
) -> None:
    """
    Show which sizes and contrasts of defect RECIPE sees, with IMAGES, a folder of good parts.

    Puts synthetic defects (pastes, scratches, stains, missing material, dents) on the good parts
    and judges them as in the cell. Take good parts that the recipe was not taught on.
    """
    from anomaly_inspection.chart_style import require_matplotlib
    from anomaly_inspection.evaluation import self_test as tests
    from anomaly_inspection.evaluation.self_test_report import write_self_test
    from anomaly_inspection.recipes.folder import read_recipe

    if html:
        require_matplotlib()
    with progress_bar() as progress:
        result = tests.self_test(
            read_recipe(recipe),
            good_images(images),
            sizes_px=sizes_px or tests.SIZES_PX,
            contrasts=contrasts or tests.CONTRASTS,
            defects_each=defects_each,
            seed=seed,
            progress=progress,
        )
    table = Table(
        title='Percent of the defects seen, all kinds, with the 95 % interval',
        title_justify='left',
        box=None,
        pad_edge=False,
    )
    table.add_column('levels', justify='right')
    for size_px in result.sizes_px:
        table.add_column(f'{size_px:g} px', justify='right')
    for contrast in result.contrasts:
        shares = [result.seen(size_px, contrast) for size_px in result.sizes_px]
        texts = [
            tests.shares_text(share).replace(' % ', '\n') if share else '-' for share in shares
        ]
        table.add_row(f'{contrast:g}', *texts)
    console.print(table)
    console.print()
    for sentence in result.in_words():
        console.print(f'  {sentence}', soft_wrap=True)
    for note in result.notes:
        console.print(f'[yellow]{escaped(note)}[/]', soft_wrap=True)
    if json_file:
        try:
            json_file.write_text(tests.to_json(result), encoding='utf-8')
        except OSError as error:
            raise SettingError(f'{json_file} cannot be written: {error.strerror}') from error
    if html:
        console.print(f'page {escaped(str(write_self_test(result, html)))}', soft_wrap=True)
