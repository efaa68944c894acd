# SPDX-License-Identifier: Apache-2.0
"""
Measure what records cost: queries and the report over millions of rows, how fast the database
grows, and the time from exposure to decision with and without the recorder.

`python -m benchmarks.records queries` fills a SQLite file (and with --database an empty PostgreSQL
database) with parts of six days at 10 parts/s. `python -m benchmarks.records latency` runs the
simulated line at 10 parts/s, without and with the recorder in turn, several times over, so that a
machine that becomes busy makes both slower.

"""

from __future__ import annotations

from collections.abc import Callable
import json
import os
from pathlib import Path
import re
import statistics
import subprocess
import tempfile
import time
from typing import Any

import click
import sqlalchemy as sa

from anomaly_inspection.records.counts import count_lines, names_counted
from anomaly_inspection.records.database import migrate, open_database
from anomaly_inspection.records.period import Period, zone_of
from anomaly_inspection.records.queries import newest_parts, PartFilter, whole_part
from anomaly_inspection.records.report import report_page, ReportSettings
from anomaly_inspection.records.report_data import gather
from benchmarks.panel_process import child_of, cpu_s, memory_mb, prepare, run_command
from benchmarks.report import machine

RATE_HZ = 10
START_US = 1_795_932_000_000_000
_DAY_US = 86_400_000_000
# A session is a day of parts, a lot an hour of them.
_FILL = (
    """
INSERT INTO sources (id, cell, name)
WITH RECURSIVE n(i) AS (SELECT CAST(0 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < :days)
SELECT 1000 + i, 'inspection', 'session-' || i FROM n
""",
    """
INSERT INTO parts (time_us, source_id, sequence, exposure_us, verdict, reason, known_as,
  anomaly_score, worst_measure, comparison, recipe, recipe_version, recipe_hash, latency_s,
  order_name, lot, serial, measures, limits, details)
WITH RECURSIVE n(i) AS (SELECT CAST(0 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < :most)
SELECT :start + i * 100000, 1000 + i / 864000, i % 864000 + 1, :start + i * 100000 - 40000,
  CASE WHEN (i * 7919) % 1000 < 20 THEN 'REJECT' ELSE 'PASS' END,
  CASE WHEN (i * 7919) % 1000 < 2 THEN 'NOT_ALIGNED' WHEN (i * 7919) % 1000 < 20
    THEN 'LIMIT_EXCEEDED' ELSE 'WITHIN_LIMITS' END,
  '', (i * 104729 % 9973) / 9973.0 + CASE WHEN (i * 7919) % 1000 < 20 THEN 1 ELSE 0 END,
  'patch_statistics.peak_distance',
  'patch_statistics.peak_distance 1.653 <= 2.501, '
    || 'patch_statistics.worst_mean_distance 1.046 <= 1.211 -> PASS',
  'pump', 3, '0123456789abcdef', 0.0415, 'A 17', 'L-' || (i / 36000), '',
  '{"patch_statistics.peak_distance":1.653034,"patch_statistics.worst_mean_distance":1.046391,'
    || '"patch_statistics.largest_region":0.0}',
  '{"patch_statistics.peak_distance":2.50113,"patch_statistics.worst_mean_distance":1.21169,'
    || '"patch_statistics.largest_region":49.5689}', ''
FROM n
""",
    """
INSERT INTO sort_events (time_us, source_id, sequence, action, outcome, cause, detail,
  firing_error_s)
SELECT time_us + 800000, source_id, sequence, 'PASSED', 'CONFIRMED', 'DECISION', '', 0.0012
FROM parts
""",
    """
INSERT INTO minute_counts (minute, cell, result, reason, known_as, recipe, order_name, lot, n)
SELECT time_us / 60000000, 'inspection', verdict, reason, known_as, recipe, order_name, lot,
  count(*)
FROM parts GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
""",
    """
INSERT INTO minute_counts (minute, cell, result, reason, known_as, recipe, order_name, lot, n)
SELECT time_us / 60000000, 'inspection', 'SORTED', 'DECISION', known_as, recipe, order_name, lot,
  count(*)
FROM parts GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
""",
)


@click.group()
def main() -> None:
    """
    Measure what records cost.

    """


@main.command()
@click.option('--parts', default=5_000_000, show_default=True, help='Rows of the table parts.')
@click.option('--database', default='', help='Empty PostgreSQL database to measure as well.')
@click.option('--report', type=click.Path(path_type=Path), default=Path('out/benchmarks'))
def queries(parts: int, database: str, report: Path) -> None:
    """
    Fill databases and time the queries of the command and of the report.

    """
    results = {}
    with tempfile.TemporaryDirectory() as name:
        for kind, url in (('sqlite', ''), ('postgresql', database)):
            if kind == 'sqlite' or url:
                results[kind] = _measure_queries(Path(name), url, parts)
                print(kind, json.dumps(results[kind], indent=2), flush=True)
    report.mkdir(parents=True, exist_ok=True)
    content = {'machine': machine(), 'parts': parts, 'databases': results}
    (report / 'records_queries.json').write_text(json.dumps(content, indent=2) + '\n')


def _measure_queries(folder: Path, url: str, parts: int) -> dict[str, Any]:
    engine = open_database(folder, url)
    migrate(engine)
    began_s = time.monotonic()
    numbers = {'days': parts // 864_000 + 1, 'most': parts - 1, 'start': START_US}
    with engine.begin() as connection:
        for statement in _FILL:
            # A colon of JSON is no parameter.
            text = sa.text(statement.replace('":', '"\\:'))
            given = {name: numbers[name] for name in text.compile().params}
            connection.execute(text, given)
    filled_s = time.monotonic() - began_s
    end_us = START_US + parts * 100_000
    shift = Period(end_us - 8 * 3600 * 1_000_000, end_us)
    whole = Period(START_US, end_us)
    rows: dict[str, float] = {}
    with engine.connect() as connection:
        if engine.dialect.name == 'postgresql':
            connection.commit()
            connection.execution_options(isolation_level='AUTOCOMMIT')
            connection.exec_driver_sql('VACUUM ANALYZE')
        for title, query in _queries(connection, shift, whole, parts).items():
            times_s = []
            for _ in range(3):
                before_s = time.monotonic()
                query()
                times_s.append(time.monotonic() - before_s)
            rows[title] = round(1000 * statistics.median(times_s), 1)
        n_bytes = _size(connection, folder)
    engine.dispose()
    return {
        'fill_s': round(filled_s, 1),
        'mb': round(n_bytes / 1e6),
        'bytes_a_part': round(n_bytes / parts),
        'mb_a_day_at_10_parts_s': round(n_bytes / parts * 864_000 / 1e6),
        'ms': rows,
    }


def _queries(
    connection: sa.engine.Connection, shift: Period, whole: Period, parts: int
) -> dict[str, Callable[[], object]]:
    in_shift = {'since_us': shift.since_us, 'until_us': shift.until_us}
    settings = ReportSettings('Report', '', zone_of('Europe/Berlin'), 10.0, whole.until_us)
    last_lot = f'L-{(parts - 1) // 36_000}'

    def listed(**wanted: Any) -> Callable[[], object]:
        return lambda: newest_parts(connection, PartFilter(**wanted), 50)

    def reported(period: Period) -> Callable[[], object]:
        return lambda: report_page(gather(connection, period), settings, Path('none'))

    return {
        'list, newest 50': listed(),
        'list, rejects of the shift': listed(verdict='REJECT', **in_shift),
        'list, one reason': listed(reason='NOT_ALIGNED'),
        'list, one lot': listed(lot=last_lot, verdict='REJECT'),
        'list, a serial number that is not there': listed(serial='0000'),
        'list, a recipe that is not there': listed(recipe='none', **in_shift),
        'show one part': lambda: whole_part(connection, parts // 2 % 864_000 + 1),
        'counts of the shift': lambda: count_lines(connection, shift),
        'counts of all time': lambda: count_lines(connection, whole),
        'lots of all time': lambda: names_counted(connection, 'lot', whole),
        'queries of a report of the shift': lambda: gather(connection, shift),
        'queries of a report of all time': lambda: gather(connection, whole),
        'report of the shift': reported(shift),
        'report of all time': reported(whole),
    }


def _size(connection: sa.engine.Connection, folder: Path) -> int:
    if connection.dialect.name == 'sqlite':
        connection.rollback()
        connection.exec_driver_sql('PRAGMA wal_checkpoint(TRUNCATE)')
        return sum(path.stat().st_size for path in folder.glob('records.sqlite*'))
    return int(connection.execute(sa.text('SELECT pg_database_size(current_database())')).scalar())


@main.command()
@click.option('--parts', default=200, show_default=True, help='Parts of each run.')
@click.option('--rounds', default=3, show_default=True, help='Runs of each case.')
@click.option('--report', type=click.Path(path_type=Path), default=Path('out/benchmarks'))
def latency(parts: int, rounds: int, report: Path) -> None:
    """
    Time the inspection without and with the recorder.

    """
    runs: dict[str, list[dict[str, float]]] = {'without': [], 'frames': [], 'frames and maps': []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ['ROS_HOME'] = str(folder / 'ros')
        recipe, config = prepare(folder)
        text = config.read_text(encoding='utf-8')
        with_maps = folder / 'with_maps.yaml'
        with_maps.write_text(text.replace('maps: false', 'maps: true '), encoding='utf-8')
        for turn in range(rounds):
            for case, found in runs.items():
                of_case = with_maps if case == 'frames and maps' else config
                command = run_command(recipe, of_case, parts, RATE_HZ)
                if case != 'without':
                    command += ['--record', str(folder / f'records_{case[-4:]}_{turn}')]
                found.append(_run(command))
                print(case, json.dumps(found[-1]), flush=True)
    report.mkdir(parents=True, exist_ok=True)
    content = {'machine': machine(), 'rate_hz': RATE_HZ, 'runs': runs}
    (report / 'records_latency.json').write_text(json.dumps(content, indent=2) + '\n')
    print(f'\n{"":<18}{"p50 ms":>10}{"p99 ms":>10}{"CPU %":>10}{"MB":>10}')
    for case, found in runs.items():
        print(
            f'{case:<18}'
            + ''.join(
                f'{statistics.median(run.get(key, float("nan")) for run in found):>10.1f}'
                for key in ('p50_ms', 'p99_ms', 'cpu_percent', 'memory_mb')
            )
        )


def _run(command: list[str]) -> dict[str, float]:
    figures: dict[str, float] = {}
    is_recorded = '--record' in command
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        began: tuple[int, float, float] | None = None
        for text in process.stdout:
            if is_recorded and re.match(r' +\d+ line_', text):
                pid = child_of(process.pid, 'recorder_node')
                began = began or (pid, cpu_s(pid), time.monotonic())
                passed_s = max(time.monotonic() - began[2], 0.1)
                figures |= {
                    'cpu_percent': 100 * (cpu_s(pid) - began[1]) / passed_s,
                    'memory_mb': memory_mb(pid),
                }
            elif match := re.search(r'exposure to decision +p50 ([\d.]+) ms, p99 ([\d.]+)', text):
                figures |= {'p50_ms': float(match[1]), 'p99_ms': float(match[2])}
            elif match := re.search(r'lost parts +(\d+)', text):
                figures['lost'] = float(match[1])
    return figures


if __name__ == '__main__':
    main()
