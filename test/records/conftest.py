# SPDX-License-Identifier: Apache-2.0
"""
What the tests of the records share: databases of both kinds.

"""

from __future__ import annotations

from collections.abc import Iterator
import itertools
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('sqlalchemy', reason='SQLAlchemy is not installed: pip install .[records]')
pytest.importorskip('alembic', reason='Alembic is not installed: pip install .[records]')

from anomaly_inspection.records.database import migrate, open_database
from support.postgres import PostgresServer

_NUMBERS = itertools.count()


@pytest.fixture(scope='session')
def postgres() -> Iterator[PostgresServer]:
    """
    A real PostgreSQL server; skipped, with the reason, where there is none.

    """
    pytest.importorskip('psycopg', reason='psycopg is not installed: pip install .[records]')
    server = PostgresServer()
    yield server
    server.close()


@pytest.fixture(params=['sqlite', 'postgresql'])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """
    The URL of an empty database, '' for SQLite.

    """
    if request.param == 'sqlite':
        return ''
    server: PostgresServer = request.getfixturevalue('postgres')
    return server.new_database(f'records_{next(_NUMBERS)}')


@pytest.fixture
def engine(database_url: str, tmp_path: Path) -> Iterator[Any]:
    """
    A database with the tables of the records.

    """
    engine = open_database(tmp_path, database_url)
    migrate(engine)
    yield engine
    engine.dispose()
