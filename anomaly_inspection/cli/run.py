# SPDX-License-Identifier: Apache-2.0
"""
Run the cell in one process on a source.

"""

from __future__ import annotations

from contextlib import nullcontext
import json
from pathlib import Path
import signal
import sys
import threading
from typing import Any, TYPE_CHECKING

import click
from rich.table import Table

from anomaly_inspection.cli.output import (
    console,
    escaped,
    EXIT_FAULT,
    EXIT_OK,
    without_nan,
)
from anomaly_inspection.errors import SettingError

if TYPE_CHECKING:
    from anomaly_inspection.evaluation.run_summary import PartRecord


@click.command()
@click.option(
    '--recipe', required=True, type=click.Path(path_type=Path), help='Folder of the recipe.'
)
@click.option(
    '--source',
    required=True,
    help="Camera index or device, image folder, video file, or 'line' for the simulated line "
    "('line:parts=200,seed=2,defect_rate=0.3').",
)
@click.option(
    '--rate',
    type=click.FloatRange(0.01, 1000),
    default=5.0,
    show_default=True,
    help='Parts per second from files and the simulated line; a camera keeps its own pace.',
)
@click.option(
    '--parts', type=click.IntRange(1), help='Stop after so many parts; default: at the end.'
)
@click.option(
    '--config',
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help='Parameter file of the nodes; default: config/cell.yaml.',
)
@click.option(
    '--report',
    type=click.Path(path_type=Path, file_okay=False),
    help='Write overlays, parts.jsonl and summary.json into this folder.',
)
@click.option(
    '--fail-on-escape',
    is_flag=True,
    help='Exit with 1 when a part passed whose defect is known to be >= 12 px and >= 30 levels.',
)
def run(
    recipe: Path,
    source: str,
    rate: float,
    parts: int | None,
    config: Path | None,
    report: Path | None,
    fail_on_escape: bool,
) -> None:
    """
    Run the cell in one process, all nodes over DDS, and print a line a part.

    Exit status: 0 every part was decided and its gate confirmed, 1 a part was lost, a gate did not
    follow or confirm, the line was stopped, or the source failed, 2 the command could not be
    carried out as given.
    """
    from anomaly_inspection.capture.open_source import open_source
    from anomaly_inspection.recipes.folder import read_recipe

    read_recipe(recipe)
    try:
        from anomaly_inspection.nodes.cell_run import run_cell
        from anomaly_inspection.nodes.share_folder import share_folder
    except ImportError as error:
        raise SettingError(
            f'run needs ROS 2 and the built messages ({error}): source the workspace first, '
            'or use `make run`'
        ) from error

    interrupted = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: interrupted.set())
    truth_source = open_source(source)
    if truth_source.is_live:
        # A camera that is not there now is a wrong option; one that is lost later is opened again.
        with truth_source:
            pass
    # The truth of files can be read once they are open; a camera has none.
    with nullcontext() if truth_source.is_live else truth_source:
        result = run_cell(
            recipe,
            truth_source,
            source,
            rate_hz=rate,
            parameter_file=config or share_folder() / 'config' / 'cell.yaml',
            overlays=report / 'overlays' if report else None,
            most_parts=parts,
            interrupted=interrupted,
            part_done=_print_part,
        )
    summary = _print_summary(result)
    if report:
        _write_report(report, result, summary)
    sys.exit(_exit_status(summary, fail_on_escape=fail_on_escape))


def _print_part(record: PartRecord) -> None:
    color = 'green' if record.verdict == 'PASS' else 'red'
    notes = [f'challenge: known {record.known_as}'] if record.known_as else []
    if record.is_escape:
        notes.append(f'[bold red]ESCAPE of {record.true_class}[/]')
    if record.is_false_reject:
        notes.append('[bold yellow]FALSE REJECT[/]')
    if not record.has_gate_followed or not record.gate_is_confirmed:
        notes.append(f'[bold red]GATE: {escaped(record.sort_detail)}[/]')
    gate = {True: 'passed', False: 'sorted out', None: 'LOST'}[record.has_passed_gate]
    console.print(
        f'{record.part_id:>6} {escaped(record.name):<28} '
        f'[{color}]{record.verdict or "LOST":<6}[/] '
        f'{record.reason.lower().replace("_", " "):<15} score {record.anomaly_score:6.2f}  '
        f'{1e3 * record.latency_s:6.1f} ms  gate {gate:<10} '
        f'{record.true_class:<16} {" ".join(notes)}',
        soft_wrap=True,
    )


def _print_summary(result: Any) -> dict[str, Any]:
    from anomaly_inspection.evaluation.run_summary import summarise

    summary = summarise(result.records, result.duration_s)
    summary['line_stops'] = result.line_stop_reasons
    summary['source_problem'] = result.source_problem
    table = Table(title='What became of the parts', title_justify='left', box=None)
    table.add_column('truth')
    for heading in ('parts', 'passed', 'sorted out'):
        table.add_column(heading, justify='right')
    for row in summary['confusion']:
        table.add_row(
            row['true_class'], str(row['parts']), str(row['passed']), str(row['rejected'])
        )
    console.print()
    console.print(table)
    console.print()
    for name, value in (
        ('false rejects', f'{summary["false_rejects"]} of {summary["n_good"]} good parts'),
        (
            'escapes',
            f'{summary["escapes"]} of {summary["n_defect"]} defective parts, '
            f'{summary["large_escapes"]} of them known to be >= 12 px and >= 30 levels',
        ),
        ('lost parts', summary['lost']),
        ('gate not as decided', summary['gate_not_followed']),
        ('gate not confirmed', summary['gate_not_confirmed']),
        ('throughput', f'{summary["parts_per_second"] or 0:.1f} parts/s'),
        (
            'exposure to decision',
            f'p50 {summary["latency_ms"]["p50"]:.1f} ms, '
            f'p99 {summary["latency_ms"]["p99"]:.1f} ms',
        ),
        (
            'gate firing error',
            f'p50 {summary["firing_error_ms"]["p50"]:.1f} ms, '
            f'p99 {summary["firing_error_ms"]["p99"]:.1f} ms',
        ),
    ):
        console.print(f'  {name:<22}{value}')
    if summary['challenge_parts'] or summary['blocked']:
        console.print(
            f'  not counted above     {summary["challenge_parts"]} parts of challenges, '
            f'{summary["blocked"]} blocked because one was due'
        )
    if result.source_problem:
        console.print(
            f'  [bold red]source failed[/]         {escaped(result.source_problem)}',
            soft_wrap=True,
        )
    for reason in result.line_stop_reasons:
        console.print(f'  [bold red]line stopped[/]          {escaped(reason)}', soft_wrap=True)
    return summary


def _write_report(folder: Path, result: Any, summary: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / 'parts.jsonl').open('w') as file:
        for record in result.records:
            entry = {**vars(record), 'true_class': record.true_class}
            del entry['truth']
            file.write(json.dumps(without_nan(entry)) + '\n')
    (folder / 'summary.json').write_text(json.dumps(without_nan(summary), indent=2) + '\n')
    console.print(f'  report                {folder} ({len(result.overlays)} overlays)')


def _exit_status(summary: dict[str, Any], *, fail_on_escape: bool) -> int:
    has_fault = bool(
        summary['lost']
        or summary['gate_not_followed']
        or summary['gate_not_confirmed']
        or summary['line_stops']
        or summary['source_problem']
        or not summary['parts']
    )
    has_escape = fail_on_escape and summary['large_escapes'] > 0
    return EXIT_FAULT if has_fault or has_escape else EXIT_OK
