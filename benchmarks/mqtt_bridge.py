# SPDX-License-Identifier: Apache-2.0
"""
Measure what the MQTT bridge costs: the time from exposure to decision without it, with it, and
with it while the broker is away; and the processor time and memory of its process.

`python -m benchmarks.mqtt_bridge` runs the simulated line at 10 parts/s, the cases in turn,
several times over, so that a machine that becomes busy makes all of them slower. It needs
mosquitto, a broker.

"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import json
import os
from pathlib import Path
import re
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from typing import Any

import click

from benchmarks.panel_process import child_of, cpu_s, free_port, memory_mb, prepare, run_command
from benchmarks.report import machine

RATE_HZ = 10
WITHOUT, WITH, AWAY = 'without the bridge', 'with the bridge', 'broker away'
CASES = (WITHOUT, WITH, AWAY)
COLUMNS = {
    'p50_ms': 'p50 ms',
    'p99_ms': 'p99 ms',
    'cpu_percent': 'CPU %',
    'memory_mb': 'MB',
}


@click.command()
@click.option('--parts', default=200, show_default=True, help='Parts of each run.')
@click.option('--rounds', default=3, show_default=True, help='Runs of each case.')
@click.option('--report', type=click.Path(path_type=Path), default=Path('out/benchmarks'))
def main(parts: int, rounds: int, report: Path) -> None:
    """
    Run all cases and print the table.

    """
    with tempfile.TemporaryDirectory() as name, _broker(Path(name)) as port:
        folder = Path(name)
        # The decisions of a broker that is away must not stay on this machine.
        os.environ['ROS_HOME'] = str(folder / 'ros')
        recipe, config = prepare(folder)
        runs = []
        for turn in range(rounds):
            for case in CASES:
                result = {'round': turn, 'case': case, **_run(recipe, config, parts, case, port)}
                runs.append(result)
                print(json.dumps(result), flush=True)
    report.mkdir(parents=True, exist_ok=True)
    content = {'machine': machine(), 'rate_hz': RATE_HZ, 'runs': runs}
    (report / 'mqtt_bridge.json').write_text(json.dumps(content, indent=2) + '\n')
    print('\n' + _row('case', *COLUMNS.values()))
    for case in CASES:
        of_case = [run for run in runs if run['case'] == case]
        print(_row(case, *(_median(of_case, key) for key in COLUMNS)))


def _row(name: str, *cells: str) -> str:
    return f'{name:<20}' + ''.join(f'{cell:>10}' for cell in cells)


def _median(runs: list[dict[str, Any]], key: str) -> str:
    values = [run[key] for run in runs if run.get(key) is not None]
    return f'{statistics.median(values):.1f}' if values else '-'


@contextmanager
def _broker(folder: Path) -> Iterator[int]:
    program = shutil.which('mosquitto', path=f'{os.environ["PATH"]}:/usr/sbin')
    if program is None:
        raise click.ClickException('mosquitto, an MQTT broker, is not installed')
    port = free_port()
    config = folder / 'mosquitto.conf'
    config.write_text(f'listener {port} 127.0.0.1\nallow_anonymous true\nlog_type none\n')
    with subprocess.Popen([program, '-c', str(config)]) as process:
        try:
            _wait_for_port(port)
            yield port
        finally:
            process.terminate()


def _wait_for_port(port: int) -> None:
    end = time.monotonic() + 10.0
    while True:
        try:
            socket.create_connection(('127.0.0.1', port), 1.0).close()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return


def _run(recipe: Path, config: Path, parts: int, case: str, port: int) -> dict[str, Any]:
    """
    Run the line once; give latency of the inspection and cost of the bridge.

    """
    command = run_command(recipe, config, parts, RATE_HZ)
    if case != WITHOUT:
        command += ['--mqtt', f'127.0.0.1:{port if case == WITH else free_port()}']
    figures: dict[str, Any] = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        began: tuple[int, float, float] | None = None
        for text in process.stdout:
            if re.match(r' +\d+ line_', text) and case != WITHOUT:
                pid = child_of(process.pid, 'mqtt_bridge_node')
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


if __name__ == '__main__':
    main()
