# SPDX-License-Identifier: Apache-2.0
"""
What the commands about records share: where they are, time zone and shifts.

"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
import importlib.util
import os
from pathlib import Path
import time
from typing import Any, TYPE_CHECKING

import click
import yaml

from anomaly_inspection.errors import RecordsError, SettingError
from anomaly_inspection.state_file import default_state_folder

if TYPE_CHECKING:
    from datetime import tzinfo

    from anomaly_inspection.panel.cell.shifts import ShiftTable
    from anomaly_inspection.records.period import Period

_NEEDED = ('sqlalchemy', 'alembic')


@dataclass(frozen=True)
class RecordPlace:
    """
    Where records are, and by which clock and shifts to show them.

    """

    folder: Path
    database: str
    password_file: str
    time_zone: str
    shifts: tuple[str, ...]

    @property
    def zone(self) -> tzinfo | None:
        """
        The time zone; None = that of the computer.

        """
        from anomaly_inspection.records.period import zone_of

        return zone_of(self.time_zone)

    @property
    def shift_table(self) -> ShiftTable:
        """
        The shifts.

        """
        from anomaly_inspection.panel.cell.shifts import ShiftTable

        return ShiftTable(self.shifts, self.time_zone)

    def moment_us(self, text: str | None, default_us: int) -> int:
        """
        Read a moment as it was given.

        """
        from anomaly_inspection.records.period import moment_us

        return default_us if text is None else moment_us(text, self.zone, now_us())

    @contextmanager
    def opened(self) -> Iterator[Any]:
        """
        Open the records to read them.

        """
        with self.engine() as engine, _as_records_error(engine), engine.connect() as connection:
            yield connection

    @contextmanager
    def engine(self) -> Iterator[Any]:
        """
        Open the database, and check that this version can read it.

        """
        missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
        if missing:
            raise SettingError(
                f'records need {" and ".join(missing)}, which this Python does not have: '
                "pip install 'anomaly_inspection[records]'"
            )
        from anomaly_inspection.records.database import check_version, open_database

        engine = open_database(self.folder, self.database, self.password_file, is_read_only=True)
        try:
            check_version(engine)
            yield engine
        finally:
            engine.dispose()


@contextmanager
def _as_records_error(engine: Any) -> Iterator[None]:
    from anomaly_inspection.records.database import described

    with described(engine):
        yield


def now_us() -> int:
    """
    Give the time, microseconds since 1970.

    """
    return time.time_ns() // 1000


def default_folder() -> Path:
    """
    Give the folder in which a recorder of this machine keeps its records.

    """
    domain = os.environ.get('ROS_DOMAIN_ID', '').strip() or '0'
    return default_state_folder() / f'domain_{domain}' / 'inspection' / 'records'


def record_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """
    Add the options that say where records are and which clock and shifts hold.

    """
    options = (
        click.option(
            '--folder',
            type=click.Path(path_type=Path, file_okay=False),
            help='Folder of the records, as given to run --record. Default: that of a recorder '
            'on this machine (namespace inspection).',
        ),
        click.option(
            '--database',
            default='',
            help='PostgreSQL database instead: postgresql://user@host/database.',
        ),
        click.option(
            '--password-file',
            default='',
            help='File with its password. Default: PGPASSFILE or ~/.pgpass.',
        ),
        click.option(
            '--time-zone',
            default='',
            help="Time zone of all times, as Europe/Berlin. Default: --config's, else that of "
            'this computer.',
        ),
        click.option(
            '--shift',
            'shifts',
            multiple=True,
            help="A shift, 'HH:MM NAME'; once for each. Default: --config's, else a day.",
        ),
        click.option(
            '--config',
            type=click.Path(path_type=Path, exists=True, dir_okay=False),
            help='Parameter file of the cell, for the time zone and the shifts of the panel.',
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def record_place(
    folder: Path | None,
    database: str,
    password_file: str,
    time_zone: str,
    shifts: tuple[str, ...],
    config: Path | None,
) -> RecordPlace:
    """
    Take the options of `record_options`.

    """
    given = _of_panel(config) if config else {}
    return RecordPlace(
        folder or default_folder(),
        database,
        password_file,
        time_zone or str(given.get('time_zone', '')),
        shifts or tuple(map(str, given.get('shifts', ()))),
    )


def _of_panel(path: Path) -> dict[str, Any]:
    from anomaly_inspection.parameter_file import check_parameter_file

    check_parameter_file(path)
    sections = yaml.safe_load(path.read_text(encoding='utf-8')) or {}
    found: dict[str, Any] = {}
    for name, section in sections.items():
        if str(name).rpartition('/')[2] in ('panel', '**'):
            found |= (section or {}).get('ros__parameters') or {}
    return found


def shift_period(place: RecordPlace, text: str) -> tuple[Period, str]:
    """
    Give a shift: 'current', 'last', or the one at a moment; with its name.

    """
    from anomaly_inspection.records.period import Period

    table, now = place.shift_table, now_us()
    at_us = now if text in ('current', 'last') else place.moment_us(text, now)
    shift = table.shift_at(at_us / 1e6)
    if text == 'last':
        at_us = round(shift.began_s * 1e6) - 1
        shift = table.shift_at(at_us / 1e6)
    since_us = round(shift.began_s * 1e6)
    until_us = next_shift_us(table, since_us)
    if until_us > now > since_us:
        until_us = now
    return Period(since_us, until_us), shift.name


def next_shift_us(table: ShiftTable, since_us: int) -> int:
    """
    Say when the shift after the one that began then begins.

    """
    # No shift is longer than the day that comes twice an hour of it, and none begins off a minute.
    low, high = since_us // 60_000_000, since_us // 60_000_000 + 26 * 60
    began = table.shift_at(since_us / 1e6).began_s
    if table.shift_at(high * 60.0).began_s == began:
        raise RecordsError('the shift has no end within 26 hours')
    while high - low > 1:
        middle = (low + high) // 2
        if table.shift_at(middle * 60.0).began_s == began:
            low = middle
        else:
            high = middle
    return high * 60_000_000
