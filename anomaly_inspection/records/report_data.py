# SPDX-License-Identifier: Apache-2.0
"""
What a shift report says, gathered from the records.

"""

from __future__ import annotations

from dataclasses import dataclass
import json
import math
from typing import TYPE_CHECKING

from anomaly_inspection.records.counts import Bucket, buckets, count_lines, LineCounts
from anomaly_inspection.records.period import Period
from anomaly_inspection.records.queries import (
    cells,
    events_between,
    last_event_before,
    PartFilter,
    pictures_of,
    Row,
    worst_parts,
)

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

#: Pictures of rejects in a report.
MOST_PICTURES = 6
_SLICES_MIN = (1, 2, 5, 10, 15, 30, 60, 120, 240, 480, 1440, 10080)
_MOST_SLICES = 36
_CHANGES = (
    *('limit_change', 'thresholds', 'recipe', 'recipe_change', 'calibration', 'line_reset'),
    *('identity',),
)
_MOST_ROWS = 60


@dataclass(frozen=True)
class PPoint:
    """
    One point of a p-chart.

    Parameters
    ----------
    since_us : int
        Beginning of the slice of time.
    n, rejected : int
        Parts, and rejects among them.
    lower, upper : float
        Control limits of a slice with so many parts, 0..1.

    """

    since_us: int
    n: int
    rejected: int
    lower: float
    upper: float

    @property
    def share(self) -> float:
        """
        Rejects over parts.

        """
        return self.rejected / self.n

    @property
    def is_out(self) -> bool:
        """
        Whether it lies outside its control limits.

        """
        return not self.lower <= self.share <= self.upper


@dataclass(frozen=True)
class PChart:
    """
    Shares of rejects with their control limits, p +- 3 sqrt(p (1 - p) / n).

    Parameters
    ----------
    centre : float
        Share of rejects in all slices together; NaN without parts.
    points : tuple of PPoint
        In the order of time.

    """

    centre: float
    points: tuple[PPoint, ...]

    @classmethod
    def of(cls, slices: list[Bucket]) -> PChart:
        """
        Make the chart of slices of time.

        """
        n_all = sum(each.parts for each in slices)
        if not n_all:
            return cls(math.nan, ())
        centre = sum(each.rejected for each in slices) / n_all
        points = []
        for each in slices:
            reach = 3 * math.sqrt(centre * (1 - centre) / each.parts)
            points.append(
                PPoint(
                    *(each.since_us, each.parts, each.rejected),
                    lower=max(0.0, centre - reach),
                    upper=min(1.0, centre + reach),
                )
            )
        return cls(centre, tuple(points))

    @property
    def out_count(self) -> int:
        """
        How many points lie outside.

        """
        return sum(point.is_out for point in self.points)


@dataclass(frozen=True)
class ReportData:
    """
    What a report says.

    Parameters
    ----------
    period : Period
        What it is about.
    counts : LineCounts
        Of the period.
    slices : list of Bucket
        Parts over time.
    slice_min : int
        Length of each slice, minutes.
    p_chart : PChart
        Of the slices.
    worst : list of Row
        The worst rejects, each with its 'pictures'.
    changes, challenges, gaps, drifts : list of Row
        Events. The first drift may be that which lasted when the period began.
    n_more_changes : int
        How many changes are left out.

    """

    period: Period
    counts: LineCounts
    slices: list[Bucket]
    slice_min: int
    p_chart: PChart
    worst: list[Row]
    changes: list[Row]
    n_more_changes: int
    challenges: list[Row]
    gaps: list[Row]
    drifts: list[Row]


def gather(
    connection: Connection,
    period: Period,
    *,
    cell: str = '',
    order_name: str = '',
    lot: str = '',
) -> ReportData:
    """
    Gather what a report says of a period.

    """
    minutes = slice_minutes(period)
    slices = buckets(connection, period, minutes, cell=cell, lot=lot)
    wanted = PartFilter(
        period.since_us, period.until_us, cell=cell, order_name=order_name, lot=lot
    )
    worst = worst_parts(connection, wanted, MOST_PICTURES)
    keys = [(row['session'], row['sequence']) for row in worst]
    pictures = pictures_of(connection, keys)
    for row, key in zip(worst, keys, strict=True):
        row['pictures'] = [each for each in pictures if (each['session'], each['part']) == key]
    span = (period.since_us, period.until_us)
    changes = events_between(connection, _CHANGES, *span, cell=cell)
    return ReportData(
        period=period,
        counts=count_lines(connection, period, cell=cell, order_name=order_name, lot=lot),
        slices=slices,
        slice_min=minutes,
        p_chart=PChart.of(slices),
        worst=worst,
        changes=changes[-_MOST_ROWS:],
        n_more_changes=max(0, len(changes) - _MOST_ROWS),
        challenges=events_between(connection, ('challenge',), *span, cell=cell)[-_MOST_ROWS:],
        gaps=events_between(connection, ('gap',), *span, cell=cell)[-_MOST_ROWS:],
        drifts=_drifts(connection, period, cell),
    )


def _drifts(connection: Connection, period: Period, cell: str) -> list[Row]:
    """
    Give how the false-reject promise stood; 'valid' alone says nothing.

    """
    names = [cell] if cell else cells(connection)
    before = [last_event_before(connection, 'drift', period.since_us, cell=name) for name in names]
    rows = [row for row in before if row is not None and drift_state(row) == 'void']
    rows += events_between(connection, ('drift',), period.since_us, period.until_us, cell=cell)
    return rows[-_MOST_ROWS:] if any(drift_state(row) == 'void' for row in rows) else []


def drift_state(row: Row) -> str:
    """
    Give the state of an event of drift: 'valid', 'void' or another; '' when it has none.

    """
    return str(json.loads(row['data'] or '{}').get('state', ''))


def slice_minutes(period: Period) -> int:
    """
    Choose a length of slices that gives at most three dozen of them.

    """
    minutes = period.length_s / 60
    return next((each for each in _SLICES_MIN if minutes / each <= _MOST_SLICES), _SLICES_MIN[-1])
