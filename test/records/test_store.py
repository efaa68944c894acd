# SPDX-License-Identifier: Apache-2.0
"""
Records reach the database once each, whatever comes twice, in SQLite and in PostgreSQL.

"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from anomaly_inspection.disk_queue import DiskQueue
from anomaly_inspection.errors import RecordsError, SettingError
from anomaly_inspection.records import schema
from anomaly_inspection.records.database import (
    check_version,
    migrate,
    open_database,
    refuse_newer,
)
from anomaly_inspection.records.record import event, line_of
from anomaly_inspection.records.store import RecordStore
from anomaly_inspection.records.writer import RecordWriter
from support.record_examples import MORNING_US, part, reject, SECOND_US, sorted_part, wait_until


def rows(engine: Any, table: sa.Table) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(sa.select(table).order_by(table.c.time_us)))


def counts(engine: Any) -> dict[tuple[str, str], int]:
    table = schema.minute_counts
    query = sa.select(table.c.result, table.c.reason, sa.func.sum(table.c.n)).group_by(
        table.c.result, table.c.reason
    )
    with engine.connect() as connection:
        return {(result, reason): int(n) for result, reason, n in connection.execute(query)}


def test_the_migrations_make_the_tables_that_the_code_uses(engine: Any) -> None:
    inspector = sa.inspect(engine)
    assert set(inspector.get_table_names()) - {'alembic_version'} == set(schema.metadata.tables)
    for table in schema.metadata.tables.values():
        found = {column['name']: column for column in inspector.get_columns(table.name)}
        assert list(found) == [column.name for column in table.columns]
        for column in table.columns:
            assert found[column.name]['nullable'] == column.nullable, column
        names = {str(index.name) for index in table.indexes}
        indices = {
            index['name']
            for index in inspector.get_indexes(table.name)
            if not index.get('duplicates_constraint')
        }
        assert indices == names


def test_a_record_that_is_delivered_twice_is_there_once_and_counted_once(engine: Any) -> None:
    batch = [part(1), reject(2), part(1), sorted_part(1), sorted_part(1)]
    assert RecordStore(engine).write(batch) == 3
    # Another process, which knows nothing of the first.
    assert RecordStore(engine).write([*batch, part(3)]) == 1
    assert [row.sequence for row in rows(engine, schema.parts)] == [1, 2, 3]
    assert counts(engine) == {
        ('PASS', 'WITHIN_LIMITS'): 2,
        ('REJECT', 'LIMIT_EXCEEDED'): 1,
        ('SORTED', 'DECISION'): 1,
    }


def test_parts_of_the_same_number_in_other_sessions_and_cells_are_other_parts(
    engine: Any,
) -> None:
    store = RecordStore(engine)
    assert store.write([part(1), part(1, session='later'), part(1, cell='second')]) == 3


def test_a_batch_that_fails_leaves_nothing_and_can_be_written_again(engine: Any) -> None:
    store = RecordStore(engine)
    broken = {**part(2), 'verdict': None}
    with pytest.raises(sa.exc.SQLAlchemyError):
        store.write([part(1), broken])
    assert rows(engine, schema.parts) == []
    assert counts(engine) == {}
    assert store.write([part(1), part(2)]) == 2


@pytest.mark.parametrize(
    'text', ["'; DROP TABLE parts; --", 'NUL \0 inside', 'lone \ud800 surrogate', '<b>x</b>', '\n']
)
def test_hostile_texts_are_texts(engine: Any, text: str) -> None:
    hostile = [
        part(1, lot=text, serial=text),
        event('identity', text, cell=text, source=text, sequence=1, time_us=1, data={text: text}),
    ]
    assert RecordStore(engine).write(hostile) == 2
    (row,) = rows(engine, schema.parts)
    assert '\0' not in row.lot
    assert '\n' not in row.lot


def test_a_session_number_that_no_database_holds_does_not_stop_the_others(
    engine: Any, tmp_path: Path
) -> None:
    queue = DiskQueue(tmp_path / 'queue')
    largest = part(2**64 - 1, time_us=MORNING_US)
    for content in (largest, {**part(1), 'exposure_us': 2**70}, part(2), part(3)):
        queue.append(line_of(content))
    queue.append(b'no JSON')
    refused: list[str] = []
    writer = RecordWriter(queue, engine, refused=refused.append)
    writer.close(30)
    assert queue.waiting == 0
    queue.close()
    assert [row.sequence for row in rows(engine, schema.parts)] == [-1, 2, 3]
    assert len(refused) == 2


def test_numbers_that_are_missing_become_a_gap_and_those_that_come_late_do_not(
    engine: Any,
) -> None:
    store = RecordStore(engine)
    store.write([part(1), part(2), part(6)])
    # 4 was only late.
    store.write([part(4)])
    assert not [row for row in rows(engine, schema.events) if row.kind == 'gap']
    store.write([part(30)])
    RecordStore(engine).write([part(31)])
    gaps = [row.what for row in rows(engine, schema.events) if row.kind == 'gap']
    assert sorted(gaps) == [
        'part 3 of session session did not reach the recorder',
        'part 5 of session session did not reach the recorder',
    ]


def test_a_recorder_that_goes_on_with_a_session_sees_what_it_missed(engine: Any) -> None:
    RecordStore(engine).write([part(1), part(2)])
    store = RecordStore(engine)
    store.write([part(10)])
    store.write([part(25)])
    gaps = [row.what for row in rows(engine, schema.events) if row.kind == 'gap']
    assert gaps == ['parts 3 to 9 of session session did not reach the recorder']


def test_a_database_of_a_newer_version_is_refused_in_one_sentence(engine: Any) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    for check in (migrate, check_version, refuse_newer):
        with pytest.raises(RecordsError, match=r'newer version .*9999.*install that') as raised:
            check(engine)
        assert '\n' not in str(raised.value)


def test_records_are_only_added(engine: Any) -> None:
    statements: list[str] = []

    @sa.event.listens_for(engine, 'before_cursor_execute')
    def note(_c: Any, _u: Any, statement: str, *_rest: Any) -> None:
        statements.append(statement.split()[0].upper() + ' ' + statement)

    store = RecordStore(engine)
    store.write([part(1), sorted_part(1)])
    store.write([part(1), reject(2)])
    changing = [text for text in statements if text.startswith(('UPDATE', 'DELETE'))]
    assert not changing
    assert all('minute_counts' in text for text in statements if 'DO UPDATE' in text)


def test_the_writer_makes_the_tables_and_empties_the_queue(
    database_url: str, tmp_path: Path
) -> None:
    queue = DiskQueue(tmp_path / 'queue')
    for number in range(1, 1201):
        queue.append(line_of(part(number)))
    engine = open_database(tmp_path, database_url)
    writer = RecordWriter(queue, engine)
    writer.close(60)
    assert queue.waiting == 0
    queue.close()
    assert len(rows(engine, schema.parts)) == 1200
    engine.dispose()


def test_a_locked_database_costs_nothing_but_time(tmp_path: Path) -> None:
    engine = open_database(tmp_path)
    migrate(engine)
    queue = DiskQueue(tmp_path / 'queue')
    problems: list[str] = []
    locker = open_database(tmp_path)
    with locker.connect() as connection:
        connection.exec_driver_sql('BEGIN IMMEDIATE')
        connection.exec_driver_sql("INSERT INTO sources (cell, name) VALUES ('x', 'y')")
        impatient = sa.create_engine(engine.url, connect_args={'timeout': 0})
        writer = RecordWriter(queue, impatient, told=problems.append)
        queue.append(line_of(part(1)))
        wait_until(lambda: any('locked' in problem for problem in problems))
        assert queue.waiting == 1
        assert rows(engine, schema.parts) == []
        connection.rollback()
    wait_until(lambda: not queue.waiting)
    writer.close(30)
    queue.close()
    assert problems[-1] == ''
    assert len(rows(engine, schema.parts)) == 1
    locked = next(problem for problem in problems if problem)
    assert 'records.sqlite cannot be used: database is locked; 1 records wait on disk' in locked


def test_a_server_that_dies_while_parts_come_costs_no_record(
    postgres: Any, tmp_path: Path
) -> None:
    url = postgres.new_database('killed')
    engine = open_database(tmp_path, url)
    queue = DiskQueue(tmp_path / 'queue')
    problems: list[str] = []
    writer = RecordWriter(queue, engine, told=problems.append)
    try:
        for number in range(1, 401):
            queue.append(line_of(part(number)))
            if number == 100:
                wait_until(lambda: writer.written)
            if number == 200:
                postgres.kill()
                wait_until(lambda: any(problems))
        assert queue.waiting > 0
    finally:
        postgres.start()
    wait_until(lambda: not queue.waiting)
    writer.close(30)
    queue.close()
    assert [row.sequence for row in rows(engine, schema.parts)] == list(range(1, 401))
    assert sum(counts(engine).values()) == 400
    engine.dispose()


@pytest.mark.parametrize(
    ('url', 'words'),
    [
        ('postgresql://user:secret@host/x', 'holds a password'),
        ('mysql://user@host/x', 'mysql is not supported'),
        ('no url', "allowed is 'postgresql://user@host/database'"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_the_password(
    tmp_path: Path, url: str, words: str
) -> None:
    with pytest.raises(SettingError) as raised:
        open_database(tmp_path, url)
    assert words in str(raised.value)
    assert 'secret' not in str(raised.value)


@pytest.mark.parametrize(
    ('version', 'words'), [('1.4.46', 'psycopg2-binary'), ('2.0.1', r'psycopg\[binary\]')]
)
def test_a_missing_driver_is_named_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, words: str
) -> None:
    monkeypatch.setattr(sa, '__version__', version)
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    with pytest.raises(SettingError, match=f"SQLAlchemy {version}.*pip install '{words}'"):
        open_database(tmp_path, 'postgresql://user@host/x')


def test_the_password_comes_from_a_file_and_stands_in_no_message(tmp_path: Path) -> None:
    pytest.importorskip('psycopg')
    (tmp_path / 'password').write_text('very secret\n')
    engine = open_database(tmp_path, 'postgresql://user@127.0.0.1:1/x', str(tmp_path / 'password'))
    assert engine.url.password == 'very secret'
    with pytest.raises(RecordsError, match=r'x on 127\.0\.0\.1 cannot be used') as raised:
        migrate(engine)
    assert 'very secret' not in str(raised.value)
    with pytest.raises(SettingError, match='is missing or empty'):
        open_database(tmp_path, 'postgresql://user@host/x', str(tmp_path / 'none'))


def test_a_minute_counts_the_parts_of_that_minute(engine: Any) -> None:
    RecordStore(engine).write(
        [part(number, time_us=MORNING_US + number * 20 * SECOND_US) for number in range(6)]
    )
    table = schema.minute_counts
    with engine.connect() as connection:
        found = connection.execute(sa.select(table.c.minute, table.c.n).order_by(table.c.minute))
        assert [tuple(row) for row in found] == [
            (MORNING_US // 60_000_000, 3),
            (MORNING_US // 60_000_000 + 1, 3),
        ]
