# SPDX-License-Identifier: Apache-2.0
"""
A database of the first version becomes one of this version, and nothing in it is lost.

"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alembic import command
from alembic.runtime.migration import MigrationContext
from click.testing import CliRunner
import pytest
import sqlalchemy as sa

from anomaly_inspection.cli import main
from anomaly_inspection.disk_queue import DiskQueue
from anomaly_inspection.errors import RecordsError
from anomaly_inspection.records import database
from anomaly_inspection.records.database import check_version, migrate, open_database
from anomaly_inspection.records.record import line_of
from anomaly_inspection.records.writer import RecordWriter
from support.record_examples import MORNING_US, part, reject, SECOND_US

HOSTILE = "'; DROP TABLE parts; -- \u202e\U0001f600 <script>"
N_PARTS, LARGEST = 300, 2**63 - 1
INDEX = 'ix_parts_worst'
Content = dict[str, list[tuple[Any, ...]]]


def upgraded_to(engine: Any, revision: str) -> None:
    with engine.begin() as connection:
        command.upgrade(database._config(connection), revision)


def revision_of(engine: Any) -> str | None:
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def filled(engine: Any) -> None:
    """
    Put rows into all tables as they are, without this version's own description of them.

    """
    tables = sa.MetaData()
    tables.reflect(engine)
    with engine.begin() as connection:
        for name, table in tables.tables.items():
            if name != 'alembic_version':
                connection.execute(table.insert(), [_row(table, n) for n in range(1, N_PARTS + 1)])


def _row(table: sa.Table, number: int) -> dict[str, Any]:
    known: dict[str, Any] = {
        'source_id': 1 + number % 3,
        'sequence': LARGEST if number == N_PARTS else number,
        'time_us': MORNING_US + number * SECOND_US,
        'verdict': 'PASS' if number % 2 else 'REJECT',
        'known_as': 'bad' if number % 5 == 0 else '',
        'measures': '{"ssim.mse": 1.5}',
        'limits': '{}',
        'data': '{}',
        # Numbers that were not measured.
        'anomaly_score': None if number % 7 == 0 else number / 10,
        'latency_s': None,
    }

    def value(column: Any) -> Any:
        if column.name in known:
            return known[column.name]
        is_text = isinstance(column.type, (sa.Text, sa.String))
        return f'{column.name} {number} {HOSTILE}' if is_text else number

    # The database gives each row its id, as it does for the recorder.
    return {column.name: value(column) for column in table.columns if column.name != 'id'}


def content(engine: Any) -> Content:
    tables = sa.MetaData()
    tables.reflect(engine)
    with engine.connect() as connection:
        return {
            name: sorted((tuple(row) for row in connection.execute(sa.select(table))), key=repr)
            for name, table in tables.tables.items()
            if name != 'alembic_version'
        }


@pytest.fixture
def old(database_url: str, tmp_path: Path) -> Iterator[Any]:
    """
    A database of the first version with rows in all tables.

    """
    engine = open_database(tmp_path, database_url)
    if engine.dialect.name == 'sqlite':
        tmp_path.mkdir(exist_ok=True)
    upgraded_to(engine, '0001')
    filled(engine)
    assert revision_of(engine) == '0001'
    assert INDEX not in indices(engine)
    yield engine
    engine.dispose()


def indices(engine: Any) -> set[str]:
    return {str(index['name']) for index in sa.inspect(engine).get_indexes('parts')}


def test_an_upgrade_changes_no_row(old: Any) -> None:
    before = content(old)
    assert set(before) == {
        *('sources', 'parts', 'sort_events', 'events', 'pictures', 'picture_removals'),
        'minute_counts',
    }
    assert all(len(rows) == N_PARTS for rows in before.values())
    with pytest.raises(RecordsError, match=r'older version \(0001\); start the recorder once'):
        check_version(old)
    migrate(old)
    check_version(old)
    assert content(old) == before
    assert INDEX in indices(old)
    # Once more changes nothing either.
    migrate(old)
    assert content(old) == before


def test_the_recorder_upgrades_and_goes_on_where_it_was(old: Any, tmp_path: Path) -> None:
    before = content(old)
    queue = DiskQueue(tmp_path / 'queue')
    for each in (part(1), reject(2), part(1)):
        queue.append(line_of(each))
    writer = RecordWriter(queue, old)
    writer.close(60)
    assert queue.waiting == 0
    queue.close()
    check_version(old)
    after = content(old)
    for name, rows in before.items():
        assert set(rows) <= set(after[name]), name
    assert len(after['parts']) == N_PARTS + 2
    assert len(after['sources']) == N_PARTS + 1


def test_the_command_names_the_old_version_and_reads_the_new_one(tmp_path: Path) -> None:
    engine = open_database(tmp_path)
    upgraded_to(engine, '0001')
    filled(engine)
    listed = ['records', '--folder', str(tmp_path), 'list', '--verdict', 'REJECT', '--json']
    answer = CliRunner().invoke(main, listed)
    assert answer.exit_code == 2
    assert 'older version (0001); start the recorder once to bring it up to date' in answer.stderr
    migrate(engine)
    engine.dispose()
    answer = CliRunner().invoke(main, listed)
    assert answer.exit_code == 0, answer.output
    assert len(answer.stdout.splitlines()) > 10


def test_an_upgrade_that_is_broken_off_can_be_made_again(
    old: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = content(old)

    def dies(*_arguments: Any, **_options: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        # After the tables are changed, and before the version is noted.
        patch.setattr(MigrationContext, '_ensure_version_table', lambda self: None)
        patch.setattr('alembic.runtime.migration.HeadMaintainer.update_to_step', dies)
        with pytest.raises(KeyboardInterrupt):
            migrate(old)
    old.dispose()
    assert revision_of(old) == '0001'
    assert INDEX not in indices(old)
    migrate(old)
    check_version(old)
    assert content(old) == before
