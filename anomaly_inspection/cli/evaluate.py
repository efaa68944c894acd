# SPDX-License-Identifier: Apache-2.0
"""
Measure recipes on labelled images.

"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.table import Table

from anomaly_inspection.cli.output import (
    console,
    escaped,
    progress_bar,
)
from anomaly_inspection.errors import SettingError


@click.command()
@click.argument('recipes', nargs=-1, required=True, type=click.Path(path_type=Path))
@click.argument('dataset', type=click.Path(path_type=Path))
@click.option(
    '--json',
    'json_file',
    type=click.Path(path_type=Path, dir_okay=False),
    help='Write all figures.',
)
@click.option(
    '--html', type=click.Path(path_type=Path, file_okay=False), help='Write a report to look at.'
)
@click.option(
    '--region-iou',
    type=float,
    default=0.33,
    show_default=True,
    help='IoU from which on a region found and a defect marked are a match.',
)
def evaluate(
    recipes: tuple[Path, ...],
    dataset: Path,
    json_file: Path | None,
    html: Path | None,
    region_iou: float,
) -> None:
    """
    Measure RECIPES on DATASET, labelled images in MVTec AD's layout (its root or its test folder).

    Several recipes are put side by side, with the differences of their AUROC from the first's.
    """
    from anomaly_inspection.chart_style import require_matplotlib
    from anomaly_inspection.evaluation import comparison, comparison_report, report
    from anomaly_inspection.evaluation.evaluate import evaluate_dataset, to_json
    from anomaly_inspection.recipes.folder import read_recipe

    if html:
        require_matplotlib()
    read = [read_recipe(recipe) for recipe in recipes]
    with progress_bar() as progress:
        evaluations = [
            evaluate_dataset(recipe, dataset, progress, region_iou=region_iou) for recipe in read
        ]
    if len(evaluations) == 1:
        _print_figures(evaluations[0].figures)
        text = to_json(evaluations[0])
    else:
        compared = comparison.compare(evaluations)
        _print_comparison(compared)
        text = comparison.to_json(compared)
    if json_file:
        try:
            json_file.write_text(text, encoding='utf-8')
        except OSError as error:
            raise SettingError(f'{json_file} cannot be written: {error.strerror}') from error
    if html:
        page = (
            report.write_report(evaluations[0], html)
            if len(evaluations) == 1
            else comparison_report.write_comparison(compared, html)
        )
        console.print(f'report {escaped(str(page))}', soft_wrap=True)


def _print_comparison(compared: Any) -> None:
    for place, (label, evaluation) in enumerate(
        zip(compared.labels, compared.evaluations, strict=True)
    ):
        console.print(f'[bold]{escaped(label)}[/]', soft_wrap=True)
        _print_figures(evaluation.figures)
        difference = compared.differences[place - 1] if place else None
        if difference is not None:
            console.print(
                f'image AUROC less that of {escaped(compared.labels[0])}: '
                f'{difference.value:+.3f} (95 %: {difference.low:+.3f} to {difference.high:+.3f})',
                soft_wrap=True,
            )
        console.print()


def _print_figures(figures: dict[str, Any]) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column('figure')
    table.add_column('value', justify='right')
    table.add_column('95 % interval', justify='right')
    intervals = figures['interval']
    rows = {key: (figures[key], intervals[key]) for key in ('image_auroc', 'average_precision')}
    rows['f1_max'] = figures['f1_max'], intervals['f1_max']
    for group in ('at_limits', 'recall_by_defect'):
        prefix = 'recall of ' if group == 'recall_by_defect' else ''
        for key, value in figures[group].items():
            rows[f'{prefix}{key}'] = value, intervals[group][key]
    for key in ('class_accuracy', 'pixel_auroc', 'aupro'):
        rows[key] = figures[key], intervals[key]
    for group, shares in (figures['regions'] or {}).items():
        for key, value in shares.items():
            rows[f'region {group} {key}'] = value, intervals['regions'][group][key]
    for name, (value, interval) in rows.items():
        if value is not None:
            table.add_row(escaped(name), f'{value:.3f}', f'{interval[0]:.3f} to {interval[1]:.3f}')
    times = figures['ms_per_image']
    console.print(
        f'{figures["n_good"]} good, {figures["n_defect"]} defective, '
        f'{figures["n_no_part"]} of empty places'
    )
    console.print(table)
    if times['p50'] is not None:
        console.print(f'{times["p50"]:.1f} ms an image (median), 99 % below {times["p99"]:.1f} ms')
    for note in figures['notes']:
        console.print(f'[yellow]{escaped(note)}[/]', soft_wrap=True)
