# SPDX-License-Identifier: Apache-2.0
"""
Export parts as CSV or Parquet.

"""

from __future__ import annotations

from collections.abc import Iterator
import csv
from datetime import datetime, UTC
import json
from pathlib import Path
from typing import Any, TYPE_CHECKING

from anomaly_inspection.errors import SettingError
from anomaly_inspection.printable import printable
from anomaly_inspection.records.queries import all_parts, PartFilter, Row

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

#: Columns beside those of the measures.
COLUMNS = (
    *('time', 'cell', 'session', 'part', 'verdict', 'reason', 'known_as', 'anomaly_score'),
    *('worst_measure', 'recipe', 'recipe_version', 'order', 'lot', 'serial', 'latency_s'),
    'comparison',
)
_NUMBERS = {'anomaly_score', 'latency_s'}
_INTEGERS = {'part', 'recipe_version'}
# A spreadsheet would run a text that begins so as a formula.
_FORMULA = ('=', '+', '-', '@', '\t')
_BATCH = 5000


def export_csv(connection: Connection, wanted: PartFilter, path: Path) -> int:
    """
    Write parts as CSV, UTF-8; a column for each measure and each limit.

    Texts that a spreadsheet would run as a formula get an apostrophe before them.

    Returns
    -------
    int
        How many parts.

    Raises
    ------
    SettingError
        When the file cannot be written.

    """
    names = _measure_names(connection, wanted)
    written = 0
    try:
        with path.open('w', encoding='utf-8', newline='') as file:
            writer = csv.writer(file)
            writer.writerow([*COLUMNS, *names])
            for row in all_parts(connection, wanted):
                flat = _flat(row)
                writer.writerow([_safe(flat.get(name)) for name in (*COLUMNS, *names)])
                written += 1
    except OSError as error:
        raise SettingError(f'cannot write {printable(path)}: {error.strerror}') from error
    return written


def export_parquet(connection: Connection, wanted: PartFilter, path: Path) -> int:
    """
    Write parts as Parquet; a column for each measure and each limit.

    Returns
    -------
    int
        How many parts.

    Raises
    ------
    SettingError
        When pyarrow is not installed or the file cannot be written.

    """
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ImportError as error:
        raise SettingError(
            "Parquet needs pyarrow, which this Python does not have: pip install 'pyarrow'"
        ) from error
    names = _measure_names(connection, wanted)
    kinds = {
        **dict.fromkeys(COLUMNS, arrow.string()),
        **dict.fromkeys(_NUMBERS, arrow.float64()),
        **dict.fromkeys(_INTEGERS, arrow.int64()),
        'time': arrow.timestamp('us', 'UTC'),
    }
    schema = arrow.schema(
        [(name, kinds[name]) for name in COLUMNS] + [(name, arrow.float64()) for name in names]
    )
    written = 0
    try:
        with parquet.ParquetWriter(path, schema) as writer:
            for rows in _batches(all_parts(connection, wanted)):
                flat = [{**_flat(row), 'time': row['time_us']} for row in rows]
                columns = {name: [each.get(name) for each in flat] for name in schema.names}
                writer.write_table(arrow.table(columns, schema=schema))
                written += len(rows)
    except OSError as error:
        raise SettingError(f'cannot write {printable(path)}: {error.strerror}') from error
    return written


def _batches(rows: Iterator[Row]) -> Iterator[list[Row]]:
    batch: list[Row] = []
    for row in rows:
        batch.append(row)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _measure_names(connection: Connection, wanted: PartFilter) -> list[str]:
    names: dict[str, None] = {}
    for row in all_parts(connection, wanted):
        for name in _measures(row):
            names.setdefault(name)
    return list(names)


def _measures(row: Row) -> dict[str, Any]:
    found = {}
    for column, suffix in (('measures', ''), ('limits', ' limit')):
        for name, value in json.loads(row[column] or '{}').items():
            found[f'{name}{suffix}'] = value
    return found


def _flat(row: Row) -> Row:
    return {
        **_measures(row),
        'time': datetime.fromtimestamp(row['time_us'] / 1e6, UTC).isoformat(),
        'part': row['sequence'],
        'order': row['order_name'],
        **{name: row[name] for name in COLUMNS if name in row},
    }


def _safe(value: object) -> object:
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value
