# SPDX-License-Identifier: Apache-2.0
"""
Measure what the operator's page costs: the time from exposure to decision with and without it, and
the processor time of its process, with no viewer, one and ten.

`python -m benchmarks.panel_cost` runs the simulated line at 10 parts/s, the cases in turn, several
times over, so that a machine that becomes busy makes all of them slower.

"""

from __future__ import annotations

import json
import os
from pathlib import Path
import re
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

import click

from anomaly_inspection.capture.open_source import open_source
from anomaly_inspection.learning.teach import teach, TeachOptions
from anomaly_inspection.recipes.folder import write_recipe
from benchmarks.report import machine, ROOT

RATE_HZ = 10
TAUGHT_PARTS = 40
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
_TICKS_PER_S = os.sysconf('SC_CLK_TCK')
# From the first picture until the figures count.
_SETTLING_S = 2.0


@click.command()
@click.option('--parts', default=200, show_default=True, help='Parts of each run.')
@click.option('--rounds', default=3, show_default=True, help='Runs of each case.')
@click.option('--report', type=click.Path(path_type=Path), default=Path('out/benchmarks'))
def main(parts: int, rounds: int, report: Path) -> None:
    """
    Run all cases and print the table.

    """
    with tempfile.TemporaryDirectory() as folder:
        recipe = Path(folder, 'recipe')
        with open_source(f'line:defect_rate=0,parts={TAUGHT_PARTS},seed=5') as line:
            frames = [line.read().image for _ in range(TAUGHT_PARTS)]
        options = TeachOptions(scorers=('ssim', 'variation'))
        write_recipe(teach(frames, name='panel_cost', options=options), recipe)
        # Ten parts a second need a quick gate.
        parameters = (ROOT / 'config' / 'cell.yaml').read_text()
        config = Path(folder, 'cell.yaml')
        config.write_text(parameters.replace('window_s: 0.12', 'window_s: 0.06'))
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
    command = [
        *(sys.executable, '-m', 'anomaly_inspection.cli', 'run', '--recipe', str(recipe)),
        *('--source', f'line:parts={parts},seed=6', '--rate', str(RATE_HZ)),
        *('--config', str(config)),
    ]
    if viewers is not None:
        command += ['--panel-port', '0', '--wall-display']
    figures: dict[str, Any] = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for text in process.stdout:
            if match := re.search(r"operator's page: (\S+)", text):
                watched_s = parts / RATE_HZ - 4 * _SETTLING_S
                figures |= _watched(process.pid, match[1], viewers or 0, watched_s)
            elif match := re.search(r'exposure to decision +p50 ([\d.]+) ms, p99 ([\d.]+)', text):
                figures |= {'p50_ms': float(match[1]), 'p99_ms': float(match[2])}
            elif match := re.search(r'lost parts +(\d+)', text):
                figures['lost'] = int(match[1])
    return figures


def _watched(cell_pid: int, address: str, viewers: int, duration_s: float) -> dict[str, Any]:
    pid = _panel_of(cell_pid)
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
    began, began_s = _cpu_s(pid), time.monotonic()
    time.sleep(duration_s - _SETTLING_S)
    used_s, passed_s = _cpu_s(pid) - began, time.monotonic() - began_s
    figures = {'cpu_percent': 100 * used_s / passed_s, 'memory_mb': _memory_mb(pid)}
    if watching is not None:
        out, _ = watching.communicate()
        figures |= json.loads(out)
    return figures


def _panel_of(cell_pid: int) -> int:
    for path in Path('/proc').glob('[0-9]*/stat'):
        try:
            fields = path.read_text().rpartition(')')[2].split()
            words = path.with_name('cmdline').read_text()
        except OSError:
            continue
        if int(fields[1]) == cell_pid and 'panel_node' in words:
            return int(path.parent.name)
    raise RuntimeError('the cell has no panel')


def _cpu_s(pid: int) -> float:
    fields = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def _memory_mb(pid: int) -> float:
    text = Path(f'/proc/{pid}/status').read_text()
    match = re.search(r'VmRSS:\s+(\d+)', text)
    assert match
    return int(match[1]) / 1024


if __name__ == '__main__':
    main()
