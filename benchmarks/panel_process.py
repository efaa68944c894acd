# SPDX-License-Identifier: Apache-2.0
"""
The simulated line with the operator's page, and what the page's process takes.

"""

from __future__ import annotations

import os
from pathlib import Path
import re
import socket
import sys

from anomaly_inspection.capture.open_source import open_source
from anomaly_inspection.learning.teach import teach, TeachOptions
from anomaly_inspection.recipes.folder import write_recipe
from benchmarks.report import ROOT

TAUGHT_PARTS = 40
#: What the terminal says before the address.
ADDRESS = re.compile(r"operator's page: (\S+)")
_TICKS_PER_S = os.sysconf('SC_CLK_TCK')


def prepare(folder: Path) -> tuple[Path, Path]:
    """
    Teach a recipe and write a parameter file; give both.

    """
    recipe, config = folder / 'recipe', folder / 'cell.yaml'
    with open_source(f'line:defect_rate=0,parts={TAUGHT_PARTS},seed=5') as line:
        frames = [line.read().image for _ in range(TAUGHT_PARTS)]
    options = TeachOptions(scorers=('ssim', 'variation'))
    write_recipe(teach(frames, name='panel_cost', options=options), recipe)
    # Ten parts a second need a quick gate.
    parameters = (ROOT / 'config' / 'cell.yaml').read_text()
    config.write_text(parameters.replace('window_s: 0.12', 'window_s: 0.06'))
    return recipe, config


def run_command(recipe: Path, config: Path, parts: int, rate_hz: float) -> list[str]:
    """
    Give the command that runs the line, without the page.

    """
    return [
        *(sys.executable, '-m', 'anomaly_inspection.cli', 'run', '--recipe', str(recipe)),
        *('--source', f'line:parts={parts},seed=6', '--rate', f'{rate_hz:g}'),
        *('--config', str(config)),
    ]


def free_port() -> int:
    """
    Give a TCP port that nobody listens on.

    """
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return int(probe.getsockname()[1])


def panel_of(cell_pid: int) -> int:
    """
    Give the process of the page that a running cell has started.

    """
    return child_of(cell_pid, 'panel_node')


def child_of(cell_pid: int, name: str) -> int:
    """
    Give the process that a running cell has started, by a word of its command.

    """
    for path in Path('/proc').glob('[0-9]*/stat'):
        try:
            fields = path.read_text().rpartition(')')[2].split()
            words = path.with_name('cmdline').read_text()
        except OSError:
            continue
        if int(fields[1]) == cell_pid and name in words:
            return int(path.parent.name)
    raise RuntimeError(f'the cell has no {name}')


def cpu_s(pid: int) -> float:
    """
    Give the processor time of a process.

    """
    fields = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def memory_mb(pid: int) -> float:
    """
    Give the resident memory of a process.

    """
    return _status_mb(pid, 'VmRSS')


def own_memory_mb(pid: int) -> float:
    """
    Give the memory that a process has for itself, without files and without the shared memory of
    Fast DDS.

    """
    return _status_mb(pid, 'RssAnon')


def threads(pid: int) -> int:
    """
    Give how many threads a process has.

    """
    return len(list(Path(f'/proc/{pid}/task').iterdir()))


def open_files(pid: int) -> int:
    """
    Give how many files and sockets a process has open.

    """
    return len(list(Path(f'/proc/{pid}/fd').iterdir()))


def _status_mb(pid: int, name: str) -> float:
    match = re.search(rf'{name}:\s+(\d+)', Path(f'/proc/{pid}/status').read_text())
    assert match
    return int(match[1]) / 1024
