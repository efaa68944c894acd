# SPDX-License-Identifier: Apache-2.0
"""
What a process beside the cell costs: the time from exposure to decision with and without it, and
its processor time and memory.

The cases take turns, several times over, so that a machine that becomes busy makes all of them
slower.

"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
import json
from pathlib import Path
import re
import statistics
import subprocess
import time
from typing import Any

from benchmarks.panel_process import child_of, cpu_s, memory_mb, run_command
from benchmarks.report import machine

RATE_HZ = 10
COLUMNS = {
    'p50_ms': 'p50 ms',
    'p99_ms': 'p99 ms',
    'cpu_percent': 'CPU %',
    'memory_mb': 'MB',
}


@dataclass(frozen=True)
class Case:
    """
    One way to run the line.

    Parameters
    ----------
    name : str
        For the table.
    options : callable () -> sequence of str
        Options of `anomaly-inspection run`, made anew for each run.
    child : str
        A word in the command of the process that is looked at; '' = none runs.

    """

    name: str
    options: Callable[[], Sequence[str]] = tuple
    child: str = ''


def compare(
    cases: Sequence[Case], recipe: Path, config: Path, *, parts: int, rounds: int, report: Path
) -> None:
    """
    Run all cases in turn, print the table of medians, and write JSON.

    Parameters
    ----------
    cases : sequence of Case
        The first is without the process.
    recipe, config : Path
        As `panel_process.prepare` gives them.
    parts : int
        Parts of each run.
    rounds : int
        Runs of each case.
    report : Path
        The file.

    """
    runs = []
    for turn in range(rounds):
        for case in cases:
            result = {'round': turn, 'case': case.name, **_run(recipe, config, parts, case)}
            runs.append(result)
            print(json.dumps(result), flush=True)
    report.parent.mkdir(parents=True, exist_ok=True)
    content = {'machine': machine(), 'rate_hz': RATE_HZ, 'runs': runs}
    report.write_text(json.dumps(content, indent=2) + '\n')
    print('\n' + _row('case', *COLUMNS.values()))
    for case in cases:
        of_case = [run for run in runs if run['case'] == case.name]
        print(_row(case.name, *(_median(of_case, key) for key in COLUMNS)))


def _row(name: str, *cells: str) -> str:
    return f'{name:<24}' + ''.join(f'{cell:>10}' for cell in cells)


def _median(runs: list[dict[str, Any]], key: str) -> str:
    values = [run[key] for run in runs if run.get(key) is not None]
    return f'{statistics.median(values):.1f}' if values else '-'


def _run(recipe: Path, config: Path, parts: int, case: Case) -> dict[str, Any]:
    """
    Run the line once; give latency of the inspection and cost of the process.

    """
    command = [*run_command(recipe, config, parts, RATE_HZ), *case.options()]
    figures: dict[str, Any] = {'load': Path('/proc/loadavg').read_text().split()[0]}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        began: tuple[int, float, float] | None = None
        for text in process.stdout:
            if re.match(r' +\d+ line_', text) and case.child:
                pid = child_of(process.pid, case.child)
                began = began or (pid, cpu_s(pid), time.monotonic())
                used_s = cpu_s(pid) - began[1]
                passed_s = max(time.monotonic() - began[2], 0.1)
                figures |= {
                    'cpu_percent': 100 * used_s / passed_s,
                    'memory_mb': memory_mb(pid),
                }
            elif match := re.search(r'exposure to decision +p50 ([\d.]+) ms, p99 ([\d.]+)', text):
                figures |= {'p50_ms': float(match[1]), 'p99_ms': float(match[2])}
            elif match := re.search(r'lost parts +(\d+)', text):
                figures['lost'] = int(match[1])
    return figures
