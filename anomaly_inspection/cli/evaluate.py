# SPDX-License-Identifier: Apache-2.0
"""
Measure recipes on labelled images.

"""

from __future__ import annotations

from pathlib import Path
import sys
from typing import Any

import click
from rich.table import Table

from anomaly_inspection.cli.options import Number
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


@click.command(short_help='Measure recipes on labelled images.')
@click.argument('recipes', nargs=-1, required=True, type=click.Path(path_type=Path))
@click.argument('dataset', type=click.Path(path_type=Path))
@click.option(
    '--json',
    'json_file',
    type=click.Path(path_type=Path, dir_okay=False),
    help='Write all figures, and one row per image, to this file.',
)
@click.option(
    '--html',
    type=click.Path(path_type=Path, file_okay=False),
    help='Write a report with pictures to this folder; open its index.html.',
)
@click.option(
    '--region-iou',
    type=Number(0, 1, min_open=True),
    default=0.33,
    show_default=True,
    help='A found region matches a marked defect when their overlap (intersection over union) is '
    'at least this.',
)
def evaluate(
    recipes: tuple[Path, ...],
    dataset: Path,
    json_file: Path | None,
    html: Path | None,
    region_iou: float,
) -> None:
    """
    Measure how well RECIPES tell good from defective images in DATASET.

    DATASET is a folder in MVTec AD's layout: test/good and test/<defect>, and masks in
    ground_truth/<defect> if there are any. Give the folder itself or its test folder.

    Give several recipes to compare them. The first one is the base of the comparison.

    Exit status: 0 when no recipe is unfit for use, 1 when a recipe rejects too many good parts or
    finds no defect, 2 when the command cannot be carried out.
    """
    from anomaly_inspection.chart_style import require_matplotlib
    from anomaly_inspection.evaluation import comparison, comparison_report, report
    from anomaly_inspection.evaluation.evaluate import evaluate_dataset, to_json
    from anomaly_inspection.recipes.folder import read_recipe

    check_results_writable(files=(json_file,), folders=(html,))
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
        write_file(json_file, text)
    if html:
        page = (
            report.write_report(evaluations[0], html)
            if len(evaluations) == 1
            else comparison_report.write_comparison(compared, html)
        )
        console.print(f'report: {escaped(page)}', soft_wrap=True)
    has_fault = any(evaluation.figures['faults'] for evaluation in evaluations)
    sys.exit(EXIT_FAULT if has_fault else EXIT_OK)


def _print_comparison(compared: Any) -> None:
    for place, (label, evaluation) in enumerate(
        zip(compared.labels, compared.evaluations, strict=True)
    ):
        console.print(f'[bold]{escaped(label)}[/]', soft_wrap=True)
        _print_figures(evaluation.figures)
        difference = compared.differences[place - 1] if place else None
        if difference is not None:
            console.print(
                f'image AUROC compared with {escaped(compared.labels[0])}: '
                f'{difference.value:+.3f} (95 % interval: {difference.low:+.3f} to '
                f'{difference.high:+.3f})',
                soft_wrap=True,
            )
        console.print()


def _print_figures(figures: dict[str, Any]) -> None:
    for fault in figures['faults']:
        print_fault(fault)
    _print_headline(figures)
    table = Table(box=None, pad_edge=False)
    table.add_column('figure')
    table.add_column('value', justify='right')
    table.add_column('95 % interval', justify='right')
    for name, (value, interval) in _rows(figures).items():
        if value is not None:
            table.add_row(escaped(name), f'{value:.3f}', f'{interval[0]:.3f} to {interval[1]:.3f}')
    console.print(table)
    times = figures['ms_per_image']
    if times['p50'] is not None:
        console.print(
            f'{times["p50"]:.1f} ms per image (median), 99 % take less than {times["p99"]:.1f} ms'
        )
    for note in figures['notes']:
        print_note(note)


def _print_headline(figures: dict[str, Any]) -> None:
    """
    Say first what counts on the line: how many defective and good parts are rejected.

    """
    rejected = []
    for what, count, key in (
        ('defective', figures['n_defect'], 'recall'),
        ('good', figures['n_good'], 'false_reject_rate'),
    ):
        if count:
            rejected.append(f'{round(count * figures["at_limits"][key])} of {count} {what} images')
    console.print(f'[bold]rejected: {" and ".join(rejected) or "nothing, there are no parts"}[/]')
    if figures['n_no_part']:
        console.print(f'{figures["n_no_part"]} images show an empty place and are not counted')


def _rows(figures: dict[str, Any]) -> dict[str, tuple[float | None, list[float]]]:
    intervals = figures['interval']
    rows = {
        key: (figures[key], intervals[key])
        for key in ('image_auroc', 'average_precision', 'f1_max')
    }
    for group in ('at_limits', 'recall_by_defect'):
        prefix = 'recall of ' if group == 'recall_by_defect' else ''
        for key, value in figures[group].items():
            rows[f'{prefix}{key}'] = value, intervals[group][key]
    for key in ('class_accuracy', 'pixel_auroc', 'aupro'):
        rows[key] = figures[key], intervals[key]
    for group, shares in (figures['regions'] or {}).items():
        for key, value in shares.items():
            rows[f'region {group} {key}'] = value, intervals['regions'][group][key]
    return rows
