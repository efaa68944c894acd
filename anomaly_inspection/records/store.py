# SPDX-License-Identifier: Apache-2.0
"""
Put records into the database: each once, together with the counts of the minutes.

"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any, TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from anomaly_inspection.records import schema
from anomaly_inspection.records.gap_watch import GapWatch
from anomaly_inspection.records.record import event, Record

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine

_TABLES = {
    table.name: table
    for table in (
        *(schema.parts, schema.sort_events, schema.events),
        *(schema.pictures, schema.picture_removals),
    )
}
_COUNTED_BY = [column.name for column in schema.minute_counts.primary_key.columns]
_MINUTE_US = 60_000_000


class RecordStore:
    """
    Writes batches of records; one of them at a time for each cell.

    Parameters
    ----------
    engine : Engine
        Of a database that was brought up to date.

    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        insert = postgresql.insert if engine.dialect.name == 'postgresql' else sqlite.insert
        self._inserts: dict[str, Any] = {
            name: insert(table).on_conflict_do_nothing() for name, table in _TABLES.items()
        }
        self._insert_source: Any = insert(schema.sources).on_conflict_do_nothing()
        counts: Any = insert(schema.minute_counts)
        self._add_counts = counts.on_conflict_do_update(
            index_elements=list(schema.minute_counts.primary_key.columns),
            set_={'n': schema.minute_counts.c.n + counts.excluded.n},
        )
        self._source_ids: dict[tuple[str, str], int] = {}
        self._gaps = GapWatch()

    def write(self, records: list[Record]) -> int:
        """
        Write a batch in one transaction; what is there already is left as it is.

        Parameters
        ----------
        records : list of Record
            In the order in which they came.

        Returns
        -------
        int
            How many were new.

        Raises
        ------
        SQLAlchemyError
            Then nothing of the batch is there.

        """
        try:
            with self._engine.begin() as connection:
                new = self._write(connection, records)
                gaps = self._gap_events(records)
                return new + (self._write(connection, gaps) if gaps else 0)
        except BaseException:
            # What was learned in a transaction that failed is not so.
            self._source_ids.clear()
            self._gaps = GapWatch()
            raise

    def _write(self, connection: Connection, records: list[Record]) -> int:
        self._learn_sources(connection, records)
        groups: defaultdict[tuple[str, int], dict[int, Record]] = defaultdict(dict)
        for content in records:
            source_id = self._source_ids[content['cell'], content['source']]
            groups[content['table'], source_id].setdefault(content['sequence'], content)
        rows: defaultdict[str, list[Record]] = defaultdict(list)
        counts: Counter[tuple[object, ...]] = Counter()
        n_new = 0
        for (name, source_id), group in groups.items():
            if name == 'parts':
                self._learn_session(connection, source_id)
            known = self._known(connection, _TABLES[name], source_id, list(group))
            for sequence, content in group.items():
                if name == 'parts':
                    self._gaps.take(source_id, sequence, content['time_us'])
                if sequence not in known:
                    rows[name].append(_row(_TABLES[name], {**content, 'source_id': source_id}))
                    counts.update(_counted(content))
                    n_new += 1
        for name, new in rows.items():
            connection.execute(self._inserts[name], new)
        if counts:
            connection.execute(
                self._add_counts,
                [
                    {**dict(zip(_COUNTED_BY, key, strict=True)), 'n': n}
                    for key, n in counts.items()
                ],
            )
        return n_new

    def _learn_sources(self, connection: Connection, records: list[Record]) -> None:
        wanted = {(each['cell'], each['source']) for each in records} - set(self._source_ids)
        if not wanted:
            return
        table = schema.sources
        connection.execute(
            self._insert_source, [{'cell': cell, 'name': name} for cell, name in sorted(wanted)]
        )
        for cell, name in wanted:
            found = sa.select(table.c.id).where(table.c.cell == cell, table.c.name == name)
            self._source_ids[cell, name] = connection.execute(found).scalar_one()

    def _learn_session(self, connection: Connection, source_id: int) -> None:
        if self._gaps.knows(source_id):
            return
        table = schema.parts
        last = sa.select(sa.func.max(table.c.sequence)).where(table.c.source_id == source_id)
        self._gaps.begin(source_id, connection.execute(last).scalar() or 0)

    def _known(
        self, connection: Connection, table: sa.Table, source_id: int, sequences: list[int]
    ) -> set[int]:
        found = sa.select(table.c.sequence).where(
            table.c.source_id == source_id, table.c.sequence.in_(sequences)
        )
        return set(connection.execute(found).scalars())

    def _gap_events(self, records: list[Record]) -> list[Record]:
        now_us = max(content['time_us'] for content in records)
        names = {number: name for name, number in self._source_ids.items()}
        events = []
        for gap in self._gaps.take_due(now_us):
            cell, session = names[gap.source_id]
            numbers = (
                f'part {gap.first}'
                if gap.first == gap.last
                else (f'parts {gap.first} to {gap.last}')
            )
            events.append(
                event(
                    'gap',
                    f'{numbers} of session {session} did not reach the recorder',
                    cell=cell,
                    source=session,
                    sequence=gap.first,
                    time_us=gap.noticed_us,
                    data={'session': session, 'first': gap.first, 'last': gap.last},
                )
            )
        return events


def _row(table: sa.Table, content: Record) -> Record:
    """
    Give all columns of a row, so that rows of a batch have the same.

    """
    return {
        column.name: content.get(column.name, '' if isinstance(column.type, sa.Text) else None)
        for column in table.columns
        if column.name != 'id'
    }


def _counted(content: Record) -> list[tuple[object, ...]]:
    if content['table'] == 'parts':
        result, reason = content['verdict'], content['reason']
    elif content['table'] == 'sort_events':
        is_sorted = content['outcome'] == 'CONFIRMED' and content['cause'] == 'DECISION'
        result, reason = 'SORTED' if is_sorted else 'UNSORTED', content['cause']
    else:
        return []
    counted = {
        'minute': content['time_us'] // _MINUTE_US,
        'cell': content['cell'],
        'result': result,
        'reason': reason,
        **{name: content.get(name, '') for name in ('known_as', 'recipe', 'order_name', 'lot')},
    }
    return [tuple(counted[name] for name in _COUNTED_BY)]
