# SPDX-License-Identifier: Apache-2.0
"""
Say which synthetic defects a recipe sees.

"""

from __future__ import annotations

from pathlib import Path
import sys
from typing import TYPE_CHECKING

import click
from rich.table import Table

from anomaly_inspection.cli.good_images import good_images
from anomaly_inspection.cli.output import (
    check_results_writable,
    console,
    escaped,
    EXIT_FAULT,
    EXIT_OK,
    print_fault,
    print_note,
    progress_bar,
    write_file,
)

if TYPE_CHECKING:
    from anomaly_inspection.evaluation.self_test_result import SelfTest


def _numbers(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[float, ...] | None:
    if value is None:
        return None
    try:
        return tuple(float(text) for text in value.split(','))
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a list of numbers such as '8,12,20'") from None


@click.command(short_help='Show which defects a recipe can see.')
@click.argument('recipe', type=click.Path(path_type=Path))
@click.argument('images', type=click.Path(path_type=Path))
@click.option(
    '--sizes',
    'sizes_px',
    metavar='PX,..',
    callback=_numbers,
    help='Sizes of the defects: diameter of a circle of the same area, 3 px or more. '
    'Default: 4,6,8,12,20,32.',
)
@click.option(
    '--contrasts',
    metavar='LEVELS,..',
    callback=_numbers,
    help='Contrasts of the defects: mean change of the gray level, 6 to 120. Default: 8,15,30,60.',
)
@click.option(
    '--defects-each',
    type=click.IntRange(1, 1000),
    default=5,
    show_default=True,
    help='Number of defects for each kind, size and contrast. More take longer and give narrower '
    'intervals.',
)
@click.option(
    '--seed',
    type=click.IntRange(0),
    default=1,
    show_default=True,
    help='The same seed draws the same defects.',
)
@click.option(
    '--json',
    'json_file',
    type=click.Path(path_type=Path, dir_okay=False),
    help='Write all figures to this file.',
)
@click.option(
    '--html',
    type=click.Path(path_type=Path, file_okay=False),
    help='Write a page with examples to this folder; open its index.html.',
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
    Show which defects RECIPE can see, by size and contrast. Needs no defective parts.

    IMAGES is a folder of good parts, best ones that the recipe was not taught on. The test draws
    defects on them (scratches, cracks, stains, dirt, wrong colours, dents, foreign patterns;
    pieces that are missing, wrong, displaced or turned; bent and broken edges) and judges them as
    the cell does.

    Exit status: 0 when the recipe is fit for use, 1 when it rejects too many good parts or sees no
    defect at all, 2 when the command cannot be carried out.
    """
    from anomaly_inspection.chart_style import require_matplotlib
    from anomaly_inspection.evaluation import self_test as tests
    from anomaly_inspection.evaluation.self_test_report import write_self_test
    from anomaly_inspection.evaluation.self_test_result import to_json
    from anomaly_inspection.recipes.folder import read_recipe

    check_results_writable(files=(json_file,), folders=(html,))
    if html:
        require_matplotlib()
    with progress_bar() as progress:
        result = tests.self_test(
            read_recipe(recipe),
            good_images(images),
            sizes_px=tests.SIZES_PX if sizes_px is None else sizes_px,
            contrasts=tests.CONTRASTS if contrasts is None else contrasts,
            defects_each=defects_each,
            seed=seed,
            progress=progress,
        )
    _print_result(result)
    if json_file:
        write_file(json_file, to_json(result))
    if html:
        console.print(f'page: {escaped(write_self_test(result, html))}', soft_wrap=True)
    sys.exit(EXIT_FAULT if result.faults() else EXIT_OK)


def _print_result(result: SelfTest) -> None:
    from anomaly_inspection.evaluation.self_test_result import shares_text

    for fault in result.faults():
        print_fault(fault)
    if result.defects:
        console.print('Percent of the defects seen, all kinds together, with the 95 % interval:')
        table = Table(box=None, pad_edge=False)
        table.add_column('levels', justify='right')
        for size_px in result.sizes_px:
            table.add_column(f'{size_px:g} px', justify='right')
        for contrast in result.contrasts:
            shares = [result.seen(size_px, contrast) for size_px in result.sizes_px]
            texts = [shares_text(share).replace(' % ', '\n') if share else '-' for share in shares]
            table.add_row(f'{contrast:g}', *texts)
        console.print(table)
        console.print()
    for sentence in result.in_words():
        console.print(f'  {sentence}', soft_wrap=True)
    if result.defects:
        console.print(
            f'  by kind, all sizes and contrasts: {result.kinds_in_words()}', soft_wrap=True
        )
    for note in (result.weakness(), *result.notes):
        if note:
            print_note(note)
    if not result.images:
        name, reason = next(iter(result.rejected.items()))
        print_note(f'no defect could be tried; the first good part rejected is {name}: {reason}')
