# SPDX-License-Identifier: Apache-2.0
"""
Counts that a plant can use: parts, line stops, and availability x performance x quality (OEE).

"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
import json
import math
from typing import Any, TYPE_CHECKING

import sqlalchemy as sa

from anomaly_inspection.records.period import Period
from anomaly_inspection.records.queries import cells, events_between, last_event_before
from anomaly_inspection.records.schema import minute_counts

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

_MINUTE_US = 60_000_000


@dataclass(frozen=True)
class LineStopped:
    """
    One stop of a line.

    Parameters
    ----------
    cell : str
        Which line.
    since_us, until_us : int
        Within the period that was asked for.
    reason : str
        As the sorter said.
    began_before, lasts : bool
        Whether it began before that period, and whether it went on after it.

    """

    cell: str
    since_us: int
    until_us: int
    reason: str
    began_before: bool = False
    lasts: bool = False

    @property
    def length_s(self) -> float:
        """
        Seconds within the period.

        """
        return (self.until_us - self.since_us) / 1e6


@dataclass(frozen=True)
class LineCounts:
    """
    What came of a line in a period.

    Parameters
    ----------
    good, rejected : int
        Production parts by their verdicts.
    by_reason, by_recipe : Counter of str
        Rejected production parts; and all production parts.
    known_right, known_wrong : int
        Known parts of challenges: good ones that passed and bad ones that did not, and the others.
    unsorted : int
        Parts that the gate did not sort as decided, or did not confirm.
    stops : tuple of LineStopped
        When the line stood.
    length_s : float
        Length of the period, seconds; that of all lines together where there are several.

    """

    good: int = 0
    rejected: int = 0
    by_reason: Counter[str] = field(default_factory=Counter)
    by_recipe: Counter[str] = field(default_factory=Counter)
    known_right: int = 0
    known_wrong: int = 0
    unsorted: int = 0
    stops: tuple[LineStopped, ...] = ()
    length_s: float = 0.0

    @property
    def parts(self) -> int:
        """
        All production parts.

        """
        return self.good + self.rejected

    @property
    def stopped_s(self) -> float:
        """
        Seconds for which the line stood.

        """
        return sum(stop.length_s for stop in self.stops)

    @property
    def availability(self) -> float:
        """
        Time in which the line could run over the whole time, 0..1; NaN for no time.

        """
        if self.length_s <= 0:
            return math.nan
        return max(0.0, 1.0 - self.stopped_s / self.length_s)

    @property
    def quality(self) -> float:
        """
        Good parts over all parts, 0..1; NaN without parts.

        """
        return self.good / self.parts if self.parts else math.nan

    def performance(self, ideal_rate: float) -> float:
        """
        Parts over those that the ideal rate would have given while the line could run.

        Parameters
        ----------
        ideal_rate : float
            Parts per second; NaN = not known.

        Returns
        -------
        float
            NaN when the rate is not known or the line could not run; may exceed 1 where the ideal
            rate is too low.

        """
        running_s = self.length_s - self.stopped_s
        if not ideal_rate > 0 or running_s <= 0:
            return math.nan
        return self.parts / (ideal_rate * running_s)

    def oee(self, ideal_rate: float) -> float:
        """
        Give availability x performance x quality.

        """
        return self.availability * self.performance(ideal_rate) * self.quality


def count_lines(
    connection: Connection,
    period: Period,
    *,
    cell: str = '',
    order_name: str = '',
    lot: str = '',
    exactly: dict[str, str] | None = None,
) -> LineCounts:
    """
    Count a period of whole minutes.

    Parameters
    ----------
    connection : Connection
        Of the records.
    period : Period
        Its ends are rounded down to minutes for the parts; line stops are counted exactly.
    cell : str
        Which cell; '' = all.
    order_name, lot : str
        Which order and lot; '' = all.
    exactly : dict of str to str
        Columns and what they must hold; '' = nothing.

    """
    table = minute_counts
    columns = (table.c.result, table.c.reason, table.c.known_as, table.c.recipe)
    query = (
        sa.select(*columns, sa.func.sum(table.c.n))
        .where(
            table.c.minute >= period.since_us // _MINUTE_US,
            table.c.minute < -(-period.until_us // _MINUTE_US),
        )
        .group_by(*columns)
    )
    for column, wanted in (
        (table.c.cell, cell),
        (table.c.order_name, order_name),
        (table.c.lot, lot),
    ):
        if wanted:
            query = query.where(column == wanted)
    for name, text in (exactly or {}).items():
        query = query.where(table.c[name] == text)
    n_cells = 1 if cell else max(1, len(cells(connection)))
    found: Counter[str] = Counter()
    by_reason: Counter[str] = Counter()
    by_recipe: Counter[str] = Counter()
    for result, reason, known_as, recipe, n in connection.execute(query):
        n = int(n)
        if result in ('SORTED', 'UNSORTED'):
            found[result] += n
        elif known_as:
            is_right = (result == 'PASS') == (known_as == 'good')
            found['right' if is_right else 'wrong'] += n
        else:
            found[result] += n
            by_recipe[recipe] += n
            if result != 'PASS':
                by_reason[reason] += n
    return LineCounts(
        good=found['PASS'],
        rejected=found['REJECT'],
        by_reason=by_reason,
        by_recipe=by_recipe,
        known_right=found['right'],
        known_wrong=found['wrong'],
        unsorted=found['UNSORTED'],
        stops=tuple(line_stops(connection, period, cell=cell)),
        length_s=period.length_s * n_cells,
    )


def line_stops(connection: Connection, period: Period, *, cell: str = '') -> list[LineStopped]:
    """
    Give the stops within a period, each cut to it.

    """
    found = []
    for name in [cell] if cell else cells(connection):
        before = last_event_before(connection, 'line_stop', period.since_us, cell=name)
        rows = events_between(
            connection, ('line_stop',), period.since_us, period.until_us, cell=name
        )
        found += _stops_of(name, ([before] if before else []) + rows, period)
    return sorted(found, key=lambda stop: stop.since_us)


def _stops_of(cell: str, rows: list[dict[str, Any]], period: Period) -> list[LineStopped]:
    stops = []
    since_us, reason = None, ''
    for row in rows:
        is_active = bool(json.loads(row['data'] or '{}').get('active'))
        if is_active and since_us is None:
            since_us, reason = row['time_us'], row['what']
        elif not is_active and since_us is not None:
            stops.append(_cut(cell, since_us, row['time_us'], reason, period, lasts=False))
            since_us = None
    if since_us is not None:
        stops.append(_cut(cell, since_us, period.until_us, reason, period, lasts=True))
    return [stop for stop in stops if stop.until_us > stop.since_us]


def _cut(
    cell: str, since_us: int, until_us: int, reason: str, period: Period, *, lasts: bool
) -> LineStopped:
    began_before = since_us < period.since_us
    return LineStopped(
        *(cell, max(since_us, period.since_us), until_us, reason),
        began_before=began_before,
        lasts=lasts,
    )


@dataclass(frozen=True)
class Bucket:
    """
    Production parts of a slice of time.

    Parameters
    ----------
    since_us : int
        Its beginning.
    good, rejected : int
        By their verdicts.

    """

    since_us: int
    good: int
    rejected: int

    @property
    def parts(self) -> int:
        """
        All of them.

        """
        return self.good + self.rejected


def buckets(
    connection: Connection, period: Period, minutes: int, *, cell: str = '', lot: str = ''
) -> list[Bucket]:
    """
    Count production parts by slices of time, those without parts left out.

    Parameters
    ----------
    connection : Connection
        Of the records.
    period : Period
        All slices; the first begins with it.
    minutes : int
        Length of each.
    cell, lot : str
        Which; '' = all.

    """
    table = minute_counts
    first = period.since_us // _MINUTE_US
    query = (
        sa.select(table.c.minute, table.c.result, sa.func.sum(table.c.n))
        .where(
            table.c.minute >= first,
            table.c.minute < -(-period.until_us // _MINUTE_US),
            table.c.known_as == '',
            table.c.result.in_(('PASS', 'REJECT')),
        )
        .group_by(table.c.minute, table.c.result)
    )
    if cell:
        query = query.where(table.c.cell == cell)
    if lot:
        query = query.where(table.c.lot == lot)
    found: dict[int, Counter[str]] = {}
    for minute, result, n in connection.execute(query):
        found.setdefault((minute - first) // minutes, Counter())[result] += int(n)
    return [
        Bucket((first + slot * minutes) * _MINUTE_US, each['PASS'], each['REJECT'])
        for slot, each in sorted(found.items())
    ]


def names_counted(connection: Connection, column: str, period: Period) -> list[str]:
    """
    Give the orders, lots or recipes that have parts in a period, the latest first.

    Parameters
    ----------
    connection : Connection
        Of the records.
    column : str
        'order_name', 'lot' or 'recipe'.
    period : Period
        Where to look.

    """
    table = minute_counts
    query = (
        sa.select(table.c[column])
        .where(
            table.c.minute >= period.since_us // _MINUTE_US,
            table.c.minute < -(-period.until_us // _MINUTE_US),
            table.c.result.in_(('PASS', 'REJECT')),
        )
        .group_by(table.c[column])
        .order_by(sa.func.max(table.c.minute).desc())
    )
    return list(connection.execute(query).scalars())
