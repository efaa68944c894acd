# SPDX-License-Identifier: Apache-2.0
"""
Measure what the operator's page costs: the time from exposure to decision with and without it, and
the processor time of its process, with no viewer, one and ten.

`python -m benchmarks.panel_cost` runs the simulated line at 10 parts/s, the cases in turn, several
times over, so that a machine that becomes busy makes all of them slower. `--come-and-go 30` prints
the memory of the page over 30 minutes instead, while viewers come and go.

"""

from __future__ import annotations

import json
from pathlib import Path
import re
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

import click

from benchmarks import panel_memory
from benchmarks.panel_process import ADDRESS, cpu_s, memory_mb, panel_of, prepare, run_command
from benchmarks.report import machine

RATE_HZ = 10
# None = without the page, else so many viewers.
CASES: tuple[int | None, ...] = (None, 0, 1, 10)
COLUMNS = {
    'p50_ms': 'p50 ms',
    'p99_ms': 'p99 ms',
    'cpu_percent': 'CPU %',
    'memory_mb': 'MB',
    'pictures_per_s': 'pictures/s',
    'age_p50_ms': 'age ms',
}
# From the first picture until the figures count.
_SETTLING_S = 2.0


@click.command()
@click.option('--parts', default=200, show_default=True, help='Parts of each run.')
@click.option('--rounds', default=3, show_default=True, help='Runs of each case.')
@click.option(
    '--come-and-go',
    type=click.FloatRange(min=1),
    metavar='MINUTES',
    help='Instead: the memory of the page, each minute, while viewers come and go.',
)
@click.option('--report', type=click.Path(path_type=Path), default=Path('out/benchmarks'))
def main(parts: int, rounds: int, come_and_go: float | None, report: Path) -> None:
    """
    Run all cases and print the table.

    """
    if come_and_go is not None:
        panel_memory.measure(come_and_go, report)
        return
    with tempfile.TemporaryDirectory() as folder:
        recipe, config = prepare(Path(folder))
        runs: list[dict[str, Any]] = []
        for turn in range(rounds):
            for viewers in CASES:
                result = {
                    'round': turn,
                    'viewers': viewers,
                    **_run(recipe, config, parts, viewers),
                }
                runs.append(result)
                print(json.dumps(result), flush=True)
    report.mkdir(parents=True, exist_ok=True)
    content = {'machine': machine(), 'rate_hz': RATE_HZ, 'runs': runs}
    (report / 'panel_cost.json').write_text(json.dumps(content, indent=2) + '\n')
    print('\n' + _row('case', *COLUMNS.values()))
    for viewers in CASES:
        of_case = [run for run in runs if run['viewers'] == viewers]
        name = 'without the page' if viewers is None else f'{viewers} viewers'
        print(_row(name, *(_median(of_case, key) for key in COLUMNS)))


def _row(name: str, *cells: str) -> str:
    return f'{name:<18}' + ''.join(f'{cell:>12}' for cell in cells)


def _median(runs: list[dict[str, Any]], key: str) -> str:
    values = [run[key] for run in runs if run.get(key) is not None]
    return f'{statistics.median(values):.1f}' if values else '-'


def _run(recipe: Path, config: Path, parts: int, viewers: int | None) -> dict[str, Any]:
    """
    Run the line once; give latency of the inspection and cost of the page.

    """
    command = run_command(recipe, config, parts, RATE_HZ)
    if viewers is not None:
        command += ['--panel-port', '0', '--wall-display']
    figures: dict[str, Any] = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for text in process.stdout:
            if match := ADDRESS.search(text):
                watched_s = parts / RATE_HZ - 4 * _SETTLING_S
                figures |= _watched(process.pid, match[1], viewers or 0, watched_s)
            elif match := re.search(r'exposure to decision +p50 ([\d.]+) ms, p99 ([\d.]+)', text):
                figures |= {'p50_ms': float(match[1]), 'p99_ms': float(match[2])}
            elif match := re.search(r'lost parts +(\d+)', text):
                figures['lost'] = int(match[1])
    return figures


def _watched(cell_pid: int, address: str, viewers: int, duration_s: float) -> dict[str, Any]:
    pid = panel_of(cell_pid)
    watching = None
    if viewers:
        # On its own, and gently: a browser runs on another machine.
        watching = subprocess.Popen(
            [
                *('nice', '-n', '15', sys.executable, '-m', 'benchmarks.panel_viewers'),
                *(address, str(viewers), f'{duration_s + 2 * _SETTLING_S}'),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
    time.sleep(2 * _SETTLING_S)
    began, began_s = cpu_s(pid), time.monotonic()
    time.sleep(duration_s - _SETTLING_S)
    used_s, passed_s = cpu_s(pid) - began, time.monotonic() - began_s
    figures = {'cpu_percent': 100 * used_s / passed_s, 'memory_mb': memory_mb(pid)}
    if watching is not None:
        out, _ = watching.communicate()
        figures |= json.loads(out)
    return figures


if __name__ == '__main__':
    main()
