# SPDX-License-Identifier: Apache-2.0
"""
Export a time span as an MCAP file that Foxglove and rosbag2 open.

"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TYPE_CHECKING

from anomaly_inspection.errors import SettingError
from anomaly_inspection.printable import printable
from anomaly_inspection.records.picture_store import picture_path
from anomaly_inspection.records.queries import (
    all_parts,
    events_between,
    PartFilter,
    pictures_of,
    Row,
)

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

_SEPARATOR = '\n' + '=' * 80 + '\n'
_TIME = 'MSG: builtin_interfaces/Time\nint32 sec\nuint32 nanosec'
_PART = _SEPARATOR.join(
    (
        'builtin_interfaces/Time stamp\nstring session_id\nuint64 part_id\nstring verdict\n'
        'string reason\nstring known_as\nfloat64 anomaly_score\nstring worst_measure\n'
        'string comparison\nstring recipe\nuint32 recipe_version\nstring order_name\nstring lot\n'
        'string serial\nfloat64 latency_s\nMeasureRecord[] measures',
        'MSG: anomaly_inspection/MeasureRecord\nstring name\nfloat64 value\nfloat64 limit',
        _TIME,
    )
)
_EVENT = _SEPARATOR.join(
    ('builtin_interfaces/Time stamp\nstring kind\nstring who\nstring what\nstring data', _TIME)
)
_IMAGE = _SEPARATOR.join(
    (
        'std_msgs/Header header\nstring format\nuint8[] data',
        'MSG: std_msgs/Header\nbuiltin_interfaces/Time stamp\nstring frame_id',
        _TIME,
    )
)
_KEYS_AT_ONCE = 200


def export_mcap(
    connection: Connection, wanted: PartFilter, path: Path, pictures_folder: Path
) -> int:
    """
    Write parts, events and the pictures that are still there.

    The topics are `<cell>/part_record`, `<cell>/event_record` and `<cell>/frame` and `/map`.

    Parameters
    ----------
    connection : Connection
        Of the records.
    wanted : PartFilter
        Which parts; events are those of its time span and cell.
    path : Path
        The file to write.
    pictures_folder : Path
        Where the pictures are.

    Returns
    -------
    int
        How many messages.

    Raises
    ------
    SettingError
        When the package is missing or the file cannot be written.

    """
    try:
        from mcap_ros2.writer import Writer
    except ImportError as error:
        raise SettingError(
            'MCAP needs mcap-ros2-support, which this Python does not have: '
            "pip install 'mcap-ros2-support'"
        ) from error
    rows = list(all_parts(connection, wanted))
    events = events_between(connection, (), wanted.since_us, wanted.until_us, cell=wanted.cell)
    written = 0
    try:
        with path.open('wb') as file:
            writer = Writer(file)
            of_part = writer.register_msgdef('anomaly_inspection/msg/PartRecord', _PART)
            of_event = writer.register_msgdef('anomaly_inspection/msg/EventRecord', _EVENT)
            of_image = writer.register_msgdef('sensor_msgs/msg/CompressedImage', _IMAGE)
            for row in rows:
                _write(writer, f'/{row["cell"]}/part_record', of_part, row, _part_message(row))
            for row in events:
                _write(writer, f'/{row["cell"]}/event_record', of_event, row, _event_message(row))
            written = len(rows) + len(events)
            cells = {(row['session'], row['sequence']): row['cell'] for row in rows}
            for row in _pictures(connection, list(cells)):
                message = _image_message(row, pictures_folder)
                if message is not None:
                    topic = f'/{cells[row["session"], row["part"]]}/{row["shows"]}'
                    _write(writer, topic, of_image, row, message)
                    written += 1
            writer.finish()  # type: ignore[no-untyped-call]
    except OSError as error:
        raise SettingError(f'cannot write {printable(path)}: {error.strerror}') from error
    return written


def _write(writer: Any, topic: str, schema: Any, row: Row, message: dict[str, Any]) -> None:
    time_ns = row['time_us'] * 1000
    writer.write_message(topic, schema, message, log_time=time_ns, publish_time=time_ns)


def _stamp(row: Row) -> dict[str, int]:
    sec, micro = divmod(row['time_us'], 1_000_000)
    return {'sec': sec, 'nanosec': micro * 1000}


def _part_message(row: Row) -> dict[str, Any]:
    limits = json.loads(row['limits'] or '{}')
    texts = (
        *('verdict', 'reason', 'known_as', 'worst_measure', 'comparison', 'recipe'),
        *('recipe_version', 'order_name', 'lot', 'serial'),
    )
    return {
        'stamp': _stamp(row),
        'session_id': row['session'],
        'part_id': row['sequence'],
        **{name: row[name] for name in texts},
        **{name: _number(row[name]) for name in ('anomaly_score', 'latency_s')},
        'measures': [
            {'name': name, 'value': _number(value), 'limit': _number(limits.get(name))}
            for name, value in json.loads(row['measures'] or '{}').items()
        ],
    }


def _number(value: float | None) -> float:
    return float('nan') if value is None else value


def _event_message(row: Row) -> dict[str, Any]:
    return {'stamp': _stamp(row), **{name: row[name] for name in ('kind', 'who', 'what', 'data')}}


def _pictures(connection: Connection, keys: list[tuple[str, int]]) -> list[Row]:
    return [
        row
        for start in range(0, len(keys), _KEYS_AT_ONCE)
        for row in pictures_of(connection, keys[start : start + _KEYS_AT_ONCE])
        if not row['gone']
    ]


def _image_message(row: Row, folder: Path) -> dict[str, Any] | None:
    path = picture_path(folder, row['path'])
    try:
        content = path.read_bytes() if path else None
    except OSError:
        return None
    if content is None:
        return None
    header = {'stamp': _stamp(row), 'frame_id': f'{row["session"]}/{row["part"]}'}
    return {'header': header, 'format': 'png', 'data': content}
