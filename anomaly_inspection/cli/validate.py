# SPDX-License-Identifier: Apache-2.0
"""
Validate a recipe with known parts, and write a signed report.

"""

from __future__ import annotations

from datetime import datetime, UTC
import json
from pathlib import Path
import sys
import threading
from typing import Any, TYPE_CHECKING

import click

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
from anomaly_inspection.errors import SettingError
from anomaly_inspection.printable import printable

if TYPE_CHECKING:
    from anomaly_inspection.evaluation.self_test_result import SelfTest
    from anomaly_inspection.recipes.recipe import Recipe

_MOST_CHANGES_SHOWN = 20


@click.command(short_help='Validate a recipe with known parts; writes a signed report.')
@click.argument('recipe', required=False, type=click.Path(path_type=Path))
@click.option(
    '--known',
    type=click.Path(path_type=Path, file_okay=False),
    help='Folder of known parts: good/ and one folder for each kind of defect, or a data set.',
)
@click.option(
    '--json',
    'json_file',
    type=click.Path(path_type=Path, dir_okay=False),
    default='validation.json',
    show_default=True,
    help='The signed report to write.',
)
@click.option(
    '--html',
    'html_file',
    type=click.Path(path_type=Path, dir_okay=False),
    help='The same as a page. Default: beside the JSON file.',
)
@click.option(
    '--pdf',
    'pdf_file',
    type=click.Path(path_type=Path, dir_okay=False),
    help='Also print the page into this file; needs Chromium or Chrome.',
)
@click.option(
    '--key',
    'key_file',
    type=click.Path(path_type=Path, dir_okay=False),
    help='File with a secret of 32 bytes or more to sign with, or to check the signature with '
    '(openssl rand -hex 32).',
)
@click.option(
    '--gate',
    type=click.Choice(['none', 'simulated']),
    default='none',
    show_default=True,
    help="'simulated' runs known parts over a simulated belt with a simulated gate; needs ROS 2.",
)
@click.option(
    '--gate-parts',
    type=click.IntRange(1, 10_000),
    default=40,
    show_default=True,
    help='How many parts go over the belt.',
)
@click.option(
    '--rate',
    type=Number(0.01, 1000),
    default=5.0,
    show_default=True,
    help='Parts per second on the belt.',
)
@click.option(
    '--defects-each',
    type=click.IntRange(0, 1000),
    default=1,
    show_default=True,
    help='Self-test: defects for each kind, size and contrast; 0 leaves it out.',
)
@click.option(
    '--seed',
    type=click.IntRange(0),
    default=1,
    show_default=True,
    help='Self-test: the same seed draws the same defects.',
)
@click.option(
    '--compare',
    'old_file',
    type=click.Path(path_type=Path, dir_okay=False),
    help='An older report: say what is not the same.',
)
@click.option(
    '--check',
    'checked_file',
    type=click.Path(path_type=Path, dir_okay=False),
    help='Only check a report: whether it was changed, and with --key who signed it.',
)
def validate(
    recipe: Path | None,
    known: Path | None,
    json_file: Path,
    html_file: Path | None,
    pdf_file: Path | None,
    key_file: Path | None,
    gate: str,
    gate_parts: int,
    rate: float,
    defects_each: int,
    seed: int,
    old_file: Path | None,
    checked_file: Path | None,
) -> None:
    """
    Validate RECIPE with known good and known bad parts, and write one report (IQ, OQ, PQ).

    \b
      anomaly-inspection validate recipes/pump --known known_parts --gate simulated --key site.key
      anomaly-inspection validate recipes/pump --known known_parts --compare validation.json \\
        --json again.json
      anomaly-inspection validate --check validation.json --key site.key

    Exit status: 0 when every known part came out right and nothing else speaks against the recipe,
    and with --compare both reports agree; 1 when not; 2 when the command cannot be carried out, or
    the report was changed or is not signed with the key.
    """
    from anomaly_inspection.evaluation import signed_report

    key = signed_report.read_key(key_file) if key_file else None
    if checked_file is not None:
        if recipe is not None or known is not None:
            raise SettingError('--check checks a report alone: leave out RECIPE and --known')
        _check(checked_file, key)
        return
    if recipe is None or known is None:
        raise SettingError('a validation needs RECIPE and --known FOLDER')
    html_file = html_file or json_file.with_suffix('.html')
    check_results_writable(files=(json_file, html_file, pdf_file))
    old = signed_report.read_report(old_file) if old_file else None
    if old is not None and key is not None:
        signed_report.check_signature(old, key, printable(old_file or ''))
    content = _validated(recipe, known, gate, gate_parts, rate, defects_each, seed)
    report = signed_report.signed(content, key)
    write_file(json_file, json.dumps(report, indent=1, allow_nan=False) + '\n')
    changes = None if old is None else _changes(old, content)
    _write_page(report, changes, old_file, html_file, pdf_file)
    _print(report, changes, old_file)
    console.print(f'report in {escaped(json_file)} and {escaped(html_file)}', soft_wrap=True)
    from anomaly_inspection.evaluation.validation import faults_of

    sys.exit(EXIT_FAULT if faults_of(content) or changes else EXIT_OK)


def _check(file: Path, key: bytes | None) -> None:
    from anomaly_inspection.evaluation import signed_report

    report = signed_report.read_report(file)
    words = signed_report.check_signature(report, key, printable(file))
    content = report['content']
    recipe = content.get('recipe', {})
    console.print(
        f'{escaped(file)} was not changed, and {escaped(words)}. It is about recipe '
        f'{escaped(str(recipe.get("name")))}, version {escaped(str(recipe.get("version")))}, made '
        f'on {escaped(str(content.get("made")))}.',
        soft_wrap=True,
    )


def _validated(
    folder: Path,
    known: Path,
    gate: str,
    gate_parts: int,
    rate: float,
    defects_each: int,
    seed: int,
) -> dict[str, Any]:
    from anomaly_inspection.evaluation import validation
    from anomaly_inspection.evaluation.known_parts import judge_known_parts, known_folder
    from anomaly_inspection.recipes.folder import read_recipe

    recipe = read_recipe(folder)
    with progress_bar() as progress:
        parts = judge_known_parts(recipe, known, progress)
        names = [part.name for part in parts if part.kind == 'good']
        tested = None
        if names and defects_each:
            tested = _self_test(recipe, known_folder(known), names, defects_each, seed, progress)
    ran = None
    if gate == 'simulated':
        ran = _gate_run(folder, known_folder(known), min(gate_parts, len(parts)), rate)
    return {
        'made': datetime.now(UTC).strftime('%Y-%m-%d %H:%M:%S UTC'),
        'known_folder': printable(known.absolute()),
        'recipe': validation.recipe_content(recipe, recipe.path or folder),
        'installation': validation.installation_content(),
        'known_parts': validation.known_parts_content(parts),
        'self_test': tested and validation.self_test_content(tested),
        'time': validation.time_content(part.time_s for part in parts),
        'gate': ran,
    }


def _self_test(
    recipe: Recipe, folder: Path, names: list[str], defects_each: int, seed: int, progress: Any
) -> SelfTest | None:
    from anomaly_inspection.capture.image_folder import ImageFolder
    from anomaly_inspection.evaluation.self_test import self_test

    wanted = set(names)
    with ImageFolder(folder, wanted=wanted.__contains__) as source:
        images = []
        while (frame := source.read()) is not None:
            if frame.image is not None:
                images.append((frame.name, frame.image))
    if not images:
        return None
    return self_test(recipe, images, defects_each=defects_each, seed=seed, progress=progress)


def _gate_run(recipe: Path, known: Path, parts: int, rate: float) -> dict[str, Any]:
    from anomaly_inspection.capture.open_source import open_source
    from anomaly_inspection.evaluation.validation import gate_content

    try:
        from anomaly_inspection.nodes.cell_run import run_cell
        from anomaly_inspection.nodes.share_folder import share_folder
    except ImportError as error:
        raise SettingError(
            f'--gate simulated needs ROS 2 and the built messages ({error}): source the workspace '
            'first, or leave it out'
        ) from error
    console.print(f'{parts} known parts on the simulated belt ...')
    with open_source(str(known)) as source:
        result = run_cell(
            recipe,
            source,
            str(known),
            rate_hz=rate,
            parameter_file=share_folder() / 'config' / 'cell.yaml',
            most_parts=parts,
            interrupted=threading.Event(),
            part_done=lambda record: None,
            warn=print_note,
        )
    if result.source_problem:
        raise SettingError(f'the run on the simulated belt ended early: {result.source_problem}')
    return gate_content(result.figures.summary(result.duration_s), result.line_stop_reasons)


def _changes(old: dict[str, Any], content: dict[str, Any]) -> list[str]:
    from anomaly_inspection.evaluation.validation import differences

    try:
        return differences(old['content'], content)
    except (KeyError, TypeError, AttributeError) as error:
        raise SettingError(
            f'the older report is no validation, or one of another version: {error!r}'
        ) from error


def _write_page(
    report: dict[str, Any],
    changes: list[str] | None,
    old_file: Path | None,
    html_file: Path,
    pdf_file: Path | None,
) -> None:
    from anomaly_inspection.evaluation.validation_report import validation_page
    from anomaly_inspection.print_page import write_pdf

    compared = printable(old_file.name) if old_file else ''
    write_file(html_file, validation_page(report, changes, compared))
    if pdf_file is not None:
        write_pdf(html_file, pdf_file)


def _print(report: dict[str, Any], changes: list[str] | None, old_file: Path | None) -> None:
    from anomaly_inspection.evaluation.validation import faults_of

    content = report['content']
    for fault in faults_of(content):
        print_fault(fault)
    known = content['known_parts']
    for key, words in (('escapes', 'bad parts passed'), ('false_rejects', 'good parts rejected')):
        rate = known[key]
        if rate['of']:
            console.print(
                f'{rate["count"]} of {rate["of"]} known {words}: below '
                f'{100 * rate["upper_bound"]:.3g} % with {100 * rate["confidence"]:.0f} % '
                'confidence',
                soft_wrap=True,
            )
    time = content['time']
    if time['p50_ms'] is not None:
        console.print(f'a frame takes {time["p50_ms"]:.1f} ms, p99 {time["p99_ms"]:.1f} ms')
    for change in (changes or [])[:_MOST_CHANGES_SHOWN]:
        print_note(change)
    if changes is not None:
        n_more = len(changes) - _MOST_CHANGES_SHOWN
        if n_more > 0:
            print_note(f'and {n_more} more, see the report')
        elif not changes:
            console.print(f'it agrees with {escaped(old_file or "")}', soft_wrap=True)
    if report['signature'] is None:
        print_note('the report is not signed: give a key with --key')
