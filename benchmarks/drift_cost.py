# SPDX-License-Identifier: Apache-2.0
"""
Measure what the drift watch costs: the time from exposure to decision without it and with it, and
the processor time and memory of its process.

`python -m benchmarks.drift_cost` runs the simulated line at 10 parts/s; the drift watch looks at
5 of them, as by default, or at each.

"""

from __future__ import annotations

from pathlib import Path
import tempfile

import click

from benchmarks.cost_beside import Case, compare
from benchmarks.panel_process import prepare

CHILD = 'drift_watch_node'


@click.command()
@click.option('--parts', default=200, show_default=True, help='Parts of each run.')
@click.option('--rounds', default=3, show_default=True, help='Runs of each case.')
@click.option('--report', type=click.Path(path_type=Path), default=Path('out/benchmarks'))
def main(parts: int, rounds: int, report: Path) -> None:
    """
    Run all cases and print the table.

    """
    with tempfile.TemporaryDirectory() as name:
        recipe, config = prepare(Path(name))
        every_part = Path(name) / 'every_part.yaml'
        text = config.read_text()
        every_part.write_text(text.replace('most_parts_per_s: 5.0', 'most_parts_per_s: 1000.0'))
        cases = (
            Case('without the drift watch'),
            Case('with it, 5 parts/s', lambda: ('--drift',), CHILD),
            Case('with it, every part', lambda: ('--drift', '--config', str(every_part)), CHILD),
        )
        path = report / 'drift_cost.json'
        compare(cases, recipe, config, parts=parts, rounds=rounds, report=path)


if __name__ == '__main__':
    main()
