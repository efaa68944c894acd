# SPDX-License-Identifier: Apache-2.0
"""
Fair timing, Markdown tables and the results folder of every benchmark.

"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
import json
import math
import os
from pathlib import Path
import platform
import time
from typing import Any, TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / 'out' / 'benchmarks'


@dataclass(frozen=True)
class Table:
    """
    One table of a report.

    Parameters
    ----------
    title : str
        What it shows.
    columns : tuple of str
        Headings.
    rows : sequence of tuples
        Cells; floats are written with three digits, None and NaN as a dash.
    note : str
        What the reader must know to read it; '' = nothing.

    """

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[Any, ...]]
    note: str = ''

    def markdown(self) -> str:
        """
        Write the table with aligned columns, so that it can be read as plain text.

        """
        cells = [[_cell(value) for value in row] for row in (self.columns, *self.rows)]
        widths = [max(len(row[column]) for row in cells) for column in range(len(self.columns))]
        lines = ['| ' + ' | '.join(_padded(row, widths)) + ' |' for row in (cells[0], *cells[1:])]
        ruler = ['-' * widths[0]] + ['-' * (width - 1) + ':' for width in widths[1:]]
        lines.insert(1, '| ' + ' | '.join(ruler) + ' |')
        return '\n'.join([f'## {self.title}', '', *lines, *(['', self.note] if self.note else [])])


def _padded(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    first = row[0].ljust(widths[0])
    return [first, *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return '-'
    if isinstance(value, bool) or not isinstance(value, float):
        return str(value)
    size = abs(value)
    if size >= 100 or value == 0:
        return f'{value:.0f}'
    return f'{value:.{max(0, min(4, 2 - math.floor(math.log10(size))))}f}'


@dataclass(frozen=True)
class Timing:
    """
    How long one call takes, milliseconds.

    """

    p50: float
    p99: float

    @classmethod
    def of(cls, durations_ms: Sequence[float]) -> Timing:
        """
        Summarise the durations of single calls.

        """
        return cls(*(float(np.percentile(durations_ms, percent)) for percent in (50, 99)))


def timed(
    calls: Mapping[str, Callable[[int], object]], *, repeats: int, in_a_row: int = 1
) -> dict[str, Timing]:
    """
    Time several ways of doing one thing in turn, so that a busy moment affects all of them
    equally.

    Parameters
    ----------
    calls : mapping of str to callable
        Each is called with the number of the repeat.
    repeats : int
        How often each is timed, after two calls that are not timed.
    in_a_row : int
        How often one is timed before the next has its turn. If more than one, an untimed call
        comes first, so that each finds its own data in the processor's cache.

    """
    durations_ms: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call(0)
        call(1 % repeats)
    for start in range(0, repeats, in_a_row):
        for name, call in calls.items():
            if in_a_row > 1:
                call(start)
            for repeat in range(start, min(start + in_a_row, repeats)):
                began_ns = time.perf_counter_ns()
                call(repeat)
                durations_ms[name].append(1e-6 * (time.perf_counter_ns() - began_ns))
    return {name: Timing.of(values) for name, values in durations_ms.items()}


def machine() -> dict[str, Any]:
    """
    Describe the machine and its load.

    """
    lines = Path('/proc/cpuinfo').read_text().splitlines()
    models = [line.split(':', 1)[1].strip() for line in lines if line.startswith('model name')]
    return {
        'processor': models[0] if models else platform.processor(),
        'cores': len(os.sched_getaffinity(0)),
        'load_average': [round(load, 2) for load in os.getloadavg()],
        'python': platform.python_version(),
        'numpy': version('numpy'),
        'opencv': _opencv_version(),
    }


def _opencv_version() -> str:
    import cv2

    return str(cv2.__version__)


def publish(
    name: str,
    heading: str,
    tables: Sequence[Table],
    *,
    plot: str | bytes,
    figures: Mapping[str, Any],
    before: Mapping[str, Any],
    folder: Path | None = None,
) -> Path:
    """
    Print a report and write it as Markdown and JSON, with its chart.

    Parameters
    ----------
    name : str
        Of the benchmark.
    heading : str
        One or two sentences: what was measured, and how.
    tables : sequence of Table
        What people read.
    plot : str or bytes
        SVG, or a PNG.
    figures : mapping
        What programs read.
    before : mapping
        `machine()` from before the run, because the run itself adds load.
    folder : Path, optional
        Where to; out/benchmarks/<name> by default.

    Returns
    -------
    Path
        The folder.

    """
    folder = folder or RESULTS / name
    folder.mkdir(parents=True, exist_ok=True)
    measured_on = (
        f'Measured on {before["processor"]}, {before["cores"]} cores, load average '
        f'{before["load_average"][0]} before and {os.getloadavg()[0]:.2f} after the run; Python '
        f'{before["python"]}, NumPy {before["numpy"]}, OpenCV {before["opencv"]}.'
    )
    title = name.replace('_', ' ').capitalize()
    text = '\n\n'.join([f'# {title}', heading, measured_on])
    text = '\n\n'.join([text, *(table.markdown() for table in tables)]) + '\n'
    print(text)
    chart = folder / f'{name}.{"svg" if isinstance(plot, str) else "png"}'
    (folder / f'{name}.md').write_text(text + f'\n![{name}]({chart.name})\n')
    chart.write_bytes(plot.encode() if isinstance(plot, str) else plot)
    content = {'benchmark': name, 'machine': dict(before), **figures}
    (folder / f'{name}.json').write_text(json.dumps(plain(content), indent=2) + '\n')
    print(f'Written to {folder}')
    return folder


def plain(value: Any) -> Any:
    """
    Convert to what JSON can hold; JSON has no NaN.

    """
    if isinstance(value, dict):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, Timing):
        return {'p50': value.p50, 'p99': value.p99}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(entry) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
