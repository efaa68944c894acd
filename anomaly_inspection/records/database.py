# SPDX-License-Identifier: Apache-2.0
"""
Open the database of the records, SQLite by default or PostgreSQL, and bring it up to date.

"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import importlib.util
from pathlib import Path
import re
import sqlite3
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, OperationalError, SQLAlchemyError

from anomaly_inspection.errors import RecordsError, SettingError
from anomaly_inspection.printable import printable
from anomaly_inspection.state_file import read_small_file

#: Name of the SQLite file in the folder of the records.
SQLITE_NAME = 'records.sqlite'
_BUSY_S = 5.0
_LONGEST_SENTENCE = 300
# Any number that no other program takes for its lock.
_MIGRATION_LOCK = 7214501


def open_database(
    folder: Path, url: str = '', password_file: str = '', *, is_read_only: bool = False
) -> Engine:
    """
    Give the engine of the records; connects only when it is used.

    Parameters
    ----------
    folder : Path
        Folder of the records, where the SQLite file lies.
    url : str
        '' = that file; else 'postgresql://user@host/database'.
    password_file : str
        File with the password of PostgreSQL as its only line; '' = PGPASSFILE or ~/.pgpass.
    is_read_only : bool
        Whether a missing SQLite file is refused.

    Raises
    ------
    SettingError
        When the URL cannot be used; it names no password.
    RecordsError
        When there is no SQLite file to read.

    """
    if url and not url.startswith('sqlite'):
        return _postgresql(url, password_file)
    path = Path(url.removeprefix('sqlite:///')) if url else folder / SQLITE_NAME
    if is_read_only and not path.is_file():
        raise RecordsError(f'there are no records in {printable(path)}')
    engine = sa.create_engine(
        sa.engine.URL.create('sqlite', database=str(path)),
        connect_args={'timeout': _BUSY_S},
        future=True,
    )
    sa.event.listen(engine, 'connect', _set_up_sqlite)
    return engine


def _set_up_sqlite(connection: sqlite3.Connection, _: Any) -> None:
    cursor = connection.cursor()
    # Readers do not hold up the writer.
    cursor.execute('PRAGMA journal_mode=WAL')
    # The queue forgets what was committed: a loss of power must not take it back. One wait for
    # the disk a batch costs nothing that anybody waits for.
    cursor.execute('PRAGMA synchronous=FULL')
    cursor.execute('PRAGMA cache_size=-32000')
    # Else the log of changes keeps the size that it had once.
    cursor.execute('PRAGMA journal_size_limit=16000000')
    cursor.close()


def _postgresql(url: str, password_file: str) -> Engine:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise SettingError(
            "the database URL is refused: allowed is 'postgresql://user@host/database', or '' for "
            'a SQLite file'
        ) from None
    if parsed.get_backend_name() != 'postgresql':
        raise SettingError(
            f'the database URL is refused: {printable(parsed.drivername)} is not supported; '
            "allowed is 'postgresql://user@host/database', or '' for a SQLite file"
        )
    if parsed.password:
        raise SettingError(
            'the database URL is refused because it holds a password, which logs and process '
            'lists would show; put it into password_file or PGPASSFILE'
        )
    parsed = parsed.set(drivername=f'postgresql+{_postgresql_driver()}')
    if password_file:
        parsed = parsed.set(password=_password(password_file))
    return sa.create_engine(
        parsed, connect_args={'connect_timeout': 5}, pool_pre_ping=True, future=True
    )


def _postgresql_driver() -> str:
    # SQLAlchemy 1.4 knows psycopg2 alone.
    is_old = sa.__version__.startswith('1.')
    drivers = ['psycopg2'] if is_old else ['psycopg', 'psycopg2']
    for driver in drivers:
        if importlib.util.find_spec(driver) is not None:
            return driver
    raise SettingError(
        f'PostgreSQL needs {drivers[0]} beside SQLAlchemy {sa.__version__}, and this Python does '
        f"not have it: pip install '{'psycopg2-binary' if is_old else 'psycopg[binary]'}'"
    )


def _password(path: str) -> str:
    try:
        text = read_small_file(Path(path).expanduser())
    except (OSError, ValueError) as error:
        cause = getattr(error, 'strerror', None) or error
        raise SettingError(f'password_file {printable(path)} cannot be read: {cause}') from error
    if not text or not text.strip():
        raise SettingError(f'password_file {printable(path)} is missing or empty')
    return text.splitlines()[0].strip()


def migrate(engine: Engine) -> None:
    """
    Make the tables, or bring those of an older version up to date.

    Raises
    ------
    RecordsError
        When the database is of a newer version, or cannot be reached; says which.

    """
    try:
        if engine.url.database and engine.dialect.name == 'sqlite':
            Path(engine.url.database).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with engine.begin() as connection:
            if engine.dialect.name == 'postgresql':
                # The recorders of two cells may start at the same time.
                connection.execute(
                    sa.text('SELECT pg_advisory_xact_lock(:key)'), {'key': _MIGRATION_LOCK}
                )
            config = _config(connection)
            if _revision(connection, config) != _head(config):
                if engine.dialect.name == 'sqlite':
                    # Else each change of the tables is kept at once, and a recorder that is killed
                    # between them finds half of them at its next start.
                    connection.exec_driver_sql('BEGIN IMMEDIATE')
                command.upgrade(config, 'head')
    except (SQLAlchemyError, OSError) as error:
        raise RecordsError(sentence_of(engine, error)) from error


def refuse_newer(engine: Engine) -> None:
    """
    Refuse a database of a newer version; one that cannot be reached now may be well later.

    Raises
    ------
    RecordsError
        When its tables are newer than this package.

    """
    if engine.dialect.name == 'sqlite' and not Path(engine.url.database or '').exists():
        return
    try:
        with engine.connect() as connection:
            _revision(connection, _config(connection))
    except SQLAlchemyError:
        return


def check_version(engine: Engine) -> None:
    """
    Refuse a database that this version cannot read.

    Raises
    ------
    RecordsError
        When its tables are missing, newer or older, or it cannot be reached.

    """
    try:
        with engine.connect() as connection:
            config = _config(connection)
            revision = _revision(connection, config)
    except SQLAlchemyError as error:
        raise RecordsError(sentence_of(engine, error)) from error
    if revision is None:
        raise RecordsError(f'{name_of(engine)} holds no records')
    if revision != _head(config):
        raise RecordsError(
            f'{name_of(engine)} is of an older version ({revision}); start the recorder once to '
            'bring it up to date'
        )


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option('script_location', str(Path(__file__).with_name('migrations')))
    config.attributes['connection'] = connection
    return config


def _head(config: Config) -> str | None:
    return ScriptDirectory.from_config(config).get_current_head()


def _revision(connection: Connection, config: Config) -> str | None:
    revision = MigrationContext.configure(connection).get_current_revision()
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if revision is not None and revision not in known:
        raise RecordsError(
            f'{name_of(connection.engine)} was written by a newer version of this package (its '
            f'tables are of version {printable(revision)}, known is {max(known)}): install that '
            'version, or choose another database'
        )
    return revision


def name_of(engine: Engine) -> str:
    """
    Name a database for people: never with a password.

    """
    if engine.dialect.name == 'sqlite':
        return f'the database {printable(engine.url.database or "")}'
    host = printable(engine.url.host or 'this machine')
    return f'the database {printable(str(engine.url.database))} on {host}'


def sentence_of(engine: Engine, error: BaseException) -> str:
    """
    Say in one sentence what a database complains of; without statements, values or passwords.

    """
    cause = getattr(error, 'orig', None) or error
    said = getattr(cause, 'strerror', None) or str(cause)
    said = re.sub(r'\s+', ' ', said).strip()
    if engine.url.password:
        said = said.replace(str(engine.url.password), '***')
    return f'{name_of(engine)} cannot be used: {printable(said)[:_LONGEST_SENTENCE]}'


def is_away(error: BaseException) -> bool:
    """
    Whether to try again later is of use: the database is locked, full or not there.

    """
    if isinstance(error, DatabaseError) and error.connection_invalidated:
        return True
    return isinstance(error, OperationalError)


@contextmanager
def described(engine: Engine) -> Iterator[None]:
    """
    Turn what goes wrong with a database into one sentence.

    Raises
    ------
    RecordsError
        For every SQLAlchemyError.

    """
    try:
        yield
    except SQLAlchemyError as error:
        raise RecordsError(sentence_of(engine, error)) from error
