# SPDX-License-Identifier: Apache-2.0
"""
Find records again.

"""

from __future__ import annotations

from dataclasses import dataclass, replace
import json
from typing import Any, TYPE_CHECKING

import sqlalchemy as sa

from anomaly_inspection.errors import RecordsError
from anomaly_inspection.records.schema import (
    events,
    minute_counts,
    parts,
    picture_removals,
    pictures,
    SCORED_REJECT,
    sort_events,
    sources,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import Connection

_BATCH = 2000
_MINUTE_US = 60_000_000
# Parts that lie in more stretches of time are searched for in one that holds the rest of them.
_MOST_SPANS = 64
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

    def conditions(self, time_us: Any = None) -> list[Any]:
        """
        Give the conditions of a query on parts joined with sources.

        With `time_us`, an expression in the place of that column.

        """
        time_us = parts.c.time_us if time_us is None else time_us
        found: list[Any] = []
        if self.since_us is not None:
            found.append(time_us >= self.since_us)
        if self.until_us is not None:
            found.append(time_us < self.until_us)
        for name in ('verdict', 'reason', 'recipe', 'order_name', 'lot', 'serial'):
            if getattr(self, name):
                found.append(parts.c[name] == getattr(self, name))
        if self.cell:
            found.append(sources.c.cell == self.cell)
        if self.known is not None:
            found.append((parts.c.known_as != '') == sa.literal(self.known))
        return found

    @property
    def needs_minutes(self) -> bool:
        """
        Whether no index of the parts finds them, but the counts of the minutes say where they lie.

        """
        has_index = self.lot or self.serial
        return not has_index and bool(
            self.recipe or self.order_name or self.cell or self.known is not None
        )


def _parts_query(wanted: PartFilter, time_us: Any = None) -> Any:
    return (
        sa.select(sources.c.cell, sources.c.name.label('session'), parts)
        .join(sources, sources.c.id == parts.c.source_id)
        .where(*wanted.conditions(time_us))
    )


def _minutes_query(wanted: PartFilter, *columns: Any) -> Any:
    """
    Ask the counts for the minutes in which there are such parts.

    """
    table = minute_counts
    results = (wanted.verdict,) if wanted.verdict else ('PASS', 'REJECT')
    query = sa.select(*columns).where(table.c.result.in_(results))
    if wanted.since_us is not None:
        query = query.where(table.c.minute >= wanted.since_us // _MINUTE_US)
    if wanted.until_us is not None:
        query = query.where(table.c.minute <= wanted.until_us // _MINUTE_US)
    for name in ('reason', 'recipe', 'order_name', 'lot', 'cell'):
        if getattr(wanted, name):
            query = query.where(table.c[name] == getattr(wanted, name))
    if wanted.known is not None:
        query = query.where((table.c.known_as != '') == sa.literal(wanted.known))
    return query


def _newest_spans(connection: Connection, wanted: PartFilter, most: int) -> list[PartFilter]:
    """
    Narrow a filter to the times in which its newest parts lie, the latest first.

    Together they hold the newest `most` parts, or all where there are fewer.

    """
    table = minute_counts
    query = _minutes_query(wanted, table.c.minute, table.c.n).order_by(table.c.minute.desc())
    # Some of the parts of this minute may come too late to be wanted.
    last = None if wanted.until_us is None else wanted.until_us // _MINUTE_US
    spans: list[list[int]] = []
    n_found = 0
    with connection.execute(query) as rows:
        for minute, n in rows:
            if spans and spans[-1][0] - 1 <= minute:
                spans[-1][0] = minute
            elif n_found >= most:
                break
            elif len(spans) == _MOST_SPANS:
                spans[-1][0] = minute
            else:
                spans.append([minute, minute])
            n_found += 0 if minute == last else n
    return [_narrowed(wanted, first, last_minute) for first, last_minute in spans]


def _narrowed(wanted: PartFilter, first: int, last: int) -> PartFilter:
    since_us, until_us = first * _MINUTE_US, (last + 1) * _MINUTE_US
    if wanted.since_us is not None:
        since_us = max(since_us, wanted.since_us)
    if wanted.until_us is not None:
        until_us = min(until_us, wanted.until_us)
    return replace(wanted, since_us=since_us, until_us=until_us)


def newest_parts(connection: Connection, wanted: PartFilter, most: int) -> list[Row]:
    """
    Give the newest parts, the newest first.

    """
    spans = [wanted]
    if wanted.needs_minutes:
        spans = _newest_spans(connection, wanted, most)
    found: list[Row] = []
    for span in spans:
        query = _parts_query(span).order_by(parts.c.time_us.desc(), parts.c.id.desc())
        rows = connection.execute(query.limit(most - len(found)))
        found += [dict(row._mapping) for row in rows]
        if len(found) >= most:
            break
    return found


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
    Give the rejects with the highest anomaly scores, production parts alone; those that could not
    be measured come last, the newest first.

    """
    if wanted.needs_minutes or wanted.lot:
        table = minute_counts
        ends = sa.func.min(table.c.minute), sa.func.max(table.c.minute)
        first, last = connection.execute(_minutes_query(wanted, *ends)).one()
        if first is None:
            return []
        wanted = _narrowed(wanted, first, last)
    time_us: Any = parts.c.time_us
    if connection.dialect.name == 'sqlite':
        # Without statistics it would take the index of the times and sort all rejects.
        time_us = parts.c.time_us + 0
    scored = (
        _parts_query(wanted, time_us)
        .where(SCORED_REJECT)
        .order_by(parts.c.anomaly_score.desc(), parts.c.time_us.desc())
        .limit(most)
    )
    found = [dict(row._mapping) for row in connection.execute(scored)]
    if len(found) < most:
        unmeasured = (
            _parts_query(wanted)
            .where(parts.c.verdict == 'REJECT', parts.c.known_as == '')
            .where(parts.c.anomaly_score.is_(None))
            .order_by(parts.c.time_us.desc())
            .limit(most - len(found))
        )
        found += [dict(row._mapping) for row in connection.execute(unmeasured)]
    return found


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
