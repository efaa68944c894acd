# SPDX-License-Identifier: Apache-2.0
"""
Find records again.

"""

from __future__ import annotations

from dataclasses import dataclass
import json
from typing import Any, TYPE_CHECKING

import sqlalchemy as sa

from anomaly_inspection.errors import RecordsError
from anomaly_inspection.records.schema import (
    events,
    parts,
    picture_removals,
    pictures,
    sort_events,
    sources,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import Connection

_BATCH = 2000
Row = dict[str, Any]


@dataclass(frozen=True)
class PartFilter:
    """
    Which parts; what is not given is not asked for.

    Parameters
    ----------
    since_us, until_us : int or None
        When they were decided, microseconds since 1970; the end does not belong to it.
    verdict, reason, recipe, order_name, lot, serial, cell : str
        What they must have; '' = anything.
    known : bool or None
        Whether known parts of a challenge; None = both.

    """

    since_us: int | None = None
    until_us: int | None = None
    verdict: str = ''
    reason: str = ''
    recipe: str = ''
    order_name: str = ''
    lot: str = ''
    serial: str = ''
    cell: str = ''
    known: bool | None = None

    def conditions(self) -> list[Any]:
        """
        Give the conditions of a query on parts joined with sources.

        """
        found: list[Any] = []
        if self.since_us is not None:
            found.append(parts.c.time_us >= self.since_us)
        if self.until_us is not None:
            found.append(parts.c.time_us < self.until_us)
        for name in ('verdict', 'reason', 'recipe', 'order_name', 'lot', 'serial'):
            if getattr(self, name):
                found.append(parts.c[name] == getattr(self, name))
        if self.cell:
            found.append(sources.c.cell == self.cell)
        if self.known is not None:
            found.append((parts.c.known_as != '') == sa.literal(self.known))
        return found


def _parts_query(wanted: PartFilter) -> Any:
    return (
        sa.select(sources.c.cell, sources.c.name.label('session'), parts)
        .join(sources, sources.c.id == parts.c.source_id)
        .where(*wanted.conditions())
    )


def newest_parts(connection: Connection, wanted: PartFilter, most: int) -> list[Row]:
    """
    Give the newest parts, the newest first.

    """
    query = _parts_query(wanted).order_by(parts.c.time_us.desc(), parts.c.id.desc()).limit(most)
    return [dict(row._mapping) for row in connection.execute(query)]


def all_parts(connection: Connection, wanted: PartFilter) -> Iterator[Row]:
    """
    Give all parts in the order in which they were decided, without holding them in memory.

    """
    query = _parts_query(wanted).order_by(parts.c.time_us, parts.c.id)
    streamed = connection.execution_options(stream_results=True, max_row_buffer=_BATCH)
    for row in streamed.execute(query):
        yield dict(row._mapping)


def worst_parts(connection: Connection, wanted: PartFilter, most: int) -> list[Row]:
    """
    Give the rejects with the highest anomaly scores, production parts alone.

    """
    query = (
        _parts_query(wanted)
        .where(parts.c.verdict == 'REJECT', parts.c.known_as == '')
        .order_by(parts.c.anomaly_score.desc().nulls_last(), parts.c.time_us.desc())
        .limit(most)
    )
    return [dict(row._mapping) for row in connection.execute(query)]


def whole_part(connection: Connection, number: int, session: str = '') -> Row:
    """
    Give all that is known of one part.

    Parameters
    ----------
    connection : Connection
        Of the records.
    number : int
        Of the part in its session.
    session : str
        Its session, or how it begins; '' = the newest that has such a part.

    Returns
    -------
    dict
        The columns of the part, and lists 'sort_events', 'pictures' and 'reviews'.

    Raises
    ------
    RecordsError
        When there is no such part.

    """
    of_session = sa.select(sources.c.id)
    if session:
        of_session = of_session.where(sources.c.name.startswith(session, autoescape=True))
    ids = list(connection.execute(of_session).scalars())
    # With the numbers of the sources it is found by its key, whatever the planner thinks.
    query = _parts_query(PartFilter()).where(
        parts.c.sequence == number, parts.c.source_id.in_(ids)
    )
    row = connection.execute(query.order_by((parts.c.time_us + 0).desc()).limit(1)).first()
    if row is None:
        words = f' of a session that begins with {session!r}' if session else ''
        raise RecordsError(f'there is no record of part {number}{words}')
    found = dict(row._mapping)
    of_part = sa.select(sort_events).where(
        sort_events.c.source_id == row.source_id, sort_events.c.sequence == number
    )
    found['sort_events'] = [dict(each._mapping) for each in connection.execute(of_part)]
    found['pictures'] = pictures_of(connection, [(row.session, number)])
    found['reviews'] = [
        each
        for each in events_between(connection, ('review',), row.time_us, None)
        if _is_about(each, row.session, number)
    ]
    return found


def _is_about(event: Row, session: str, number: int) -> bool:
    subject = str(json.loads(event['data'] or '{}').get('subject', ''))
    return session in subject and str(number) in subject.replace(session, '')


def pictures_of(connection: Connection, keys: list[tuple[str, int]]) -> list[Row]:
    """
    Give the pictures of parts; 'gone' says why a file was deleted, '' = it is there.

    """
    if not keys:
        return []
    is_wanted = sa.or_(
        *(sa.and_(pictures.c.session == name, pictures.c.part == part) for name, part in keys)
    )
    query = (
        sa.select(pictures, sa.func.coalesce(picture_removals.c.why, '').label('gone'))
        .outerjoin(picture_removals, picture_removals.c.path == pictures.c.path)
        .where(is_wanted)
        .order_by(pictures.c.time_us, pictures.c.shows)
    )
    return [dict(row._mapping) for row in connection.execute(query)]


def events_between(
    connection: Connection,
    kinds: tuple[str, ...],
    since_us: int | None,
    until_us: int | None,
    *,
    cell: str = '',
    most: int = 100_000,
) -> list[Row]:
    """
    Give events of these kinds, () = all, the oldest first.

    """
    query = sa.select(sources.c.cell, events).join(sources, sources.c.id == events.c.source_id)
    if kinds:
        query = query.where(events.c.kind.in_(kinds))
    if since_us is not None:
        query = query.where(events.c.time_us >= since_us)
    if until_us is not None:
        query = query.where(events.c.time_us < until_us)
    if cell:
        query = query.where(sources.c.cell == cell)
    query = query.order_by(events.c.time_us, events.c.id).limit(most)
    return [dict(row._mapping) for row in connection.execute(query)]


def last_event_before(connection: Connection, kind: str, time_us: int, *, cell: str) -> Row | None:
    """
    Give the newest event of a kind before a moment.

    """
    query = (
        sa.select(events)
        .join(sources, sources.c.id == events.c.source_id)
        .where(events.c.kind == kind, events.c.time_us < time_us, sources.c.cell == cell)
        .order_by(events.c.time_us.desc(), events.c.id.desc())
        .limit(1)
    )
    row = connection.execute(query).first()
    return dict(row._mapping) if row else None


def first_and_last_us(connection: Connection) -> tuple[int, int] | None:
    """
    Say when the first and the last part was decided; None = there is no part.

    """
    query = sa.select(sa.func.min(parts.c.time_us), sa.func.max(parts.c.time_us))
    first, last = connection.execute(query).one()
    return None if first is None else (first, last)


def cells(connection: Connection) -> list[str]:
    """
    Name the cells that have records.

    """
    query = sa.select(sources.c.cell).distinct().order_by(sources.c.cell)
    return list(connection.execute(query).scalars())
