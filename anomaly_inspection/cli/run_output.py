# SPDX-License-Identifier: Apache-2.0
"""
What `run` prints and writes: a line for each part, the summary, the files of a report.

"""

from __future__ import annotations

import json
from pathlib import Path
import threading
from typing import Any, NamedTuple, TYPE_CHECKING

from rich.table import Table

from anomaly_inspection.cli.output import (
    console,
    escaped,
    print_fault,
    without_nan,
    write_file,
)
from anomaly_inspection.errors import SettingError
from anomaly_inspection.evaluation.tray_figures import LEFT_CAUSES

if TYPE_CHECKING:
    from anomaly_inspection.evaluation.run_summary import PartRecord
    from anomaly_inspection.evaluation.tray_figures import TrayFigures

# So many parts of another format at the start, and not one that fits: the recipe is the wrong one.
_PARTS_OF_ANOTHER_FORMAT = 10


class _Words(NamedTuple):
    """
    What sorts the parts, and how one says what it does.

    """

    sorter: str
    passed: str
    rejected: str
    false_rejects: str


_GATE = _Words('gate', 'passed', 'sorted out', 'false rejects')
_ARM = _Words('arm', 'picked', 'left', 'good parts left')


class PartPrinter:
    """
    Prints a line for each part, and the reason where a part could not be measured.

    Parameters
    ----------
    interrupted : threading.Event
        Set when the first parts are all of another format than the recipe's.
    by_arm : bool
        Whether an arm sorts, not a gate.

    """

    def __init__(self, interrupted: threading.Event, *, by_arm: bool = False) -> None:
        self._interrupted = interrupted
        self._words = _ARM if by_arm else _GATE
        self._parts = 0
        self._format_problems: list[str] = []
        self._last_reason = ''

    def take(self, record: PartRecord) -> None:
        """
        Print a part that has been sorted.

        """
        from anomaly_inspection.imaging.frame_check import format_problem

        _print_part(record, self._words)
        self._parts += 1
        problem = format_problem(record.comparison)
        if problem and len(self._format_problems) < _PARTS_OF_ANOTHER_FORMAT:
            self._format_problems.append(problem)
        if record.verdict == 'REJECT' and record.anomaly_score != record.anomaly_score:
            self._print_reason(problem or record.comparison.removesuffix(' -> REJECT'))
        if self._are_all_of_another_format(_PARTS_OF_ANOTHER_FORMAT):
            self._interrupted.set()

    def refuse_another_format(self, recipe_name: str) -> None:
        """
        Raise SettingError when no part so far was of the recipe's format.

        """
        if self._are_all_of_another_format(1):
            raise SettingError(
                f'{self._format_problems[0]} (all {self._parts} parts); recipe {recipe_name} '
                'cannot judge them: teach one on such images'
            )

    def _are_all_of_another_format(self, at_least: int) -> bool:
        found = len(self._format_problems)
        return found >= at_least and (found == self._parts or found == _PARTS_OF_ANOTHER_FORMAT)

    def _print_reason(self, reason: str) -> None:
        # Once for parts in a row: it would hide their lines.
        if reason != self._last_reason:
            self._last_reason = reason
            console.print(f'       [yellow]{escaped(reason)}[/]', soft_wrap=True)


def _print_part(record: PartRecord, words: _Words) -> None:
    color = 'green' if record.verdict == 'PASS' else 'red'
    notes = [f'challenge: known {record.known_as}'] if record.known_as else []
    if record.is_escape:
        notes.append(f'[bold red]ESCAPE of {escaped(record.true_class)}[/]')
    # What an arm has no time for, it leaves: no fault, and no false reject.
    is_left = words is _ARM and record.gate_is_confirmed and record.sort_cause in LEFT_CAUSES
    if record.is_false_reject and not is_left:
        notes.append('[bold yellow]FALSE REJECT[/]')
    if is_left:
        notes.append(f'[yellow]{escaped(record.sort_detail)}[/]')
    elif not record.has_gate_followed or not record.gate_is_confirmed:
        notes.append(f'[bold red]{words.sorter.upper()}: {escaped(record.sort_detail)}[/]')
    moved = {True: words.passed, False: words.rejected, None: 'LOST'}[record.has_passed_gate]
    console.print(
        f'{record.part_id:>6} {escaped(record.name):<28} '
        f'[{color}]{record.verdict or "LOST":<6}[/] '
        f'{record.reason.lower().replace("_", " "):<15} '
        f'score {_number(record.anomaly_score, "6.2f")}  '
        f'{_number(1e3 * record.latency_s, "6.1f")} ms  {words.sorter} {moved:<10} '
        f'{escaped(record.true_class):<16} {" ".join(notes)}',
        soft_wrap=True,
    )


def _number(value: float, form: str) -> str:
    """
    Format a number; a dash of the same width when there is none.

    """
    return f'{value:{form}}' if value == value else f'{"-":>{form.partition(".")[0]}}'


def print_summary(result: Any) -> dict[str, Any]:
    """
    Print what became of the parts, and give the same figures for a report.

    """
    summary: dict[str, Any] = result.figures.summary(result.duration_s)
    summary['line_stops'] = result.line_stop_reasons
    summary['source_problem'] = result.source_problem
    words = _GATE if result.trays is None else _ARM
    table = Table(title='What became of the parts', title_justify='left', box=None)
    table.add_column('truth')
    for heading in ('parts', words.passed, words.rejected):
        table.add_column(heading, justify='right')
    for row in summary['confusion']:
        table.add_row(
            row['true_class'], str(row['parts']), str(row['passed']), str(row['rejected'])
        )
    console.print()
    console.print(table)
    console.print()
    rows = [
        (words.false_rejects, _of_known(summary['false_rejects'], summary['n_good'], 'good')),
        ('escapes', _escapes(summary)),
        ('lost parts', summary['lost']),
        (f'{words.sorter} not as decided', _with_causes(summary)),
        (f'{words.sorter} not confirmed', summary['gate_not_confirmed']),
        ('throughput', f'{summary["parts_per_second"] or 0:.1f} parts/s'),
        ('exposure to decision', _percentiles(summary['latency_ms'])),
    ]
    if words is _GATE:
        # An arm chooses the moment itself.
        rows.append(('gate firing error', _percentiles(summary['firing_error_ms'])))
    for name, value in rows:
        console.print(f'  {name:<22}{value}', soft_wrap=True)
    if summary['challenge_parts'] or summary['blocked']:
        console.print(
            f'  not counted above     {summary["challenge_parts"]} parts of challenges, '
            f'{summary["blocked"]} parts rejected because a challenge was due'
        )
    if result.source_problem:
        console.print(
            f'  [bold red]source failed[/]         {escaped(result.source_problem)}',
            soft_wrap=True,
        )
    for reason in result.line_stop_reasons:
        console.print(f'  [bold red]line stopped[/]          {escaped(reason)}', soft_wrap=True)
    return summary


def print_trays(trays: TrayFigures) -> None:
    """
    Print where the parts of an arm truly are.

    """
    table = Table(title='Where the parts are', title_justify='left', box=None)
    table.add_column('truth')
    for heading in ('parts', 'in the tray', 'left on the belt', 'dropped into reject'):
        table.add_column(heading, justify='right')
    for row in trays.rows:
        counts = (row.parts, row.in_tray, row.left_on_belt, row.dropped)
        table.add_row(row.true_class, *(str(count) for count in counts))
    console.print()
    console.print(table)
    console.print()
    reasons = ', '.join(
        f'{count} {cause.replace("_", " ")}' for cause, count in sorted(trays.left_good.items())
    )
    for name, value in (
        ('bad parts in the tray', trays.bad_in_tray),
        ('good parts not there', reasons or 'none'),
        ('records that differ', trays.said_otherwise),
    ):
        console.print(f'  {name:<22}{value}', soft_wrap=True)


def _of_known(count: int, total: int, kind: str) -> str:
    return f'{count} of {total} {kind} parts' if total else f'no part is known to be {kind}'


def _escapes(summary: dict[str, Any]) -> str:
    text = _of_known(summary['escapes'], summary['n_defect'], 'defective')
    if not summary['n_defect']:
        return text
    return f'{text}; with a large defect (12 px and 30 levels or more): {summary["large_escapes"]}'


def _with_causes(summary: dict[str, Any]) -> str:
    causes = summary['gate_causes'].items()
    listed = ', '.join(f'{count} {cause.replace("_", " ")}' for cause, count in causes)
    return f'{summary["gate_not_followed"]}{f" ({listed})" if listed else ""}'


def _percentiles(times_ms: dict[str, float]) -> str:
    p50, p99 = times_ms['p50'], times_ms['p99']
    return f'p50 {p50:.1f} ms, p99 {p99:.1f} ms' if p50 == p50 else 'not measured'


def write_report(folder: Path, result: Any, summary: dict[str, Any]) -> None:
    """
    Write `parts.jsonl` and `summary.json`, and say what stands beside them.

    """
    rows = []
    for record in result.records:
        entry = {**vars(record), 'true_class': record.true_class}
        del entry['truth']
        rows.append(json.dumps(without_nan(entry)) + '\n')
    write_file(folder / 'parts.jsonl', ''.join(rows))
    write_file(folder / 'summary.json', json.dumps(without_nan(summary), indent=2) + '\n')
    pictures = f'{len(result.overlays)} pictures'
    console.print(f'  report                {escaped(folder)} ({pictures})', soft_wrap=True)
    if len(result.records) < summary['parts']:
        console.print(
            f'  parts.jsonl           holds the last {len(result.records)} of {summary["parts"]} '
            'parts: the source begins anew again and again',
            soft_wrap=True,
        )
    if result.overlay_problem:
        print_fault(f'  pictures are missing: {result.overlay_problem}')
