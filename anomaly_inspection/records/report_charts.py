# SPDX-License-Identifier: Apache-2.0
"""
The charts of a shift report.

"""

from __future__ import annotations

from datetime import datetime, tzinfo
from typing import TYPE_CHECKING

from anomaly_inspection.chart_style import (
    DEFECT,
    GOOD,
    GRID,
    INK,
    readable,
    svg_chart,
    TEXT,
    without_frame,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from anomaly_inspection.records.report_data import ReportData

WIDTH_PX = 960.0
_MOST_LABELS = 12
_MOST_BARS = 8


def yield_chart(data: ReportData, zone: tzinfo | None) -> str:
    """
    Draw parts over time: good and rejected as bars, the share of good parts as a line.

    """

    def draw(figure: Figure) -> None:
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=[1, 1.5])
        places, n_slots = _places(data)
        good = [each.good for each in data.slices]
        rejected = [each.rejected for each in data.slices]
        shares = [100 * each.good / each.parts for each in data.slices]
        above.plot(places, shares, color=INK, marker='o', markersize=4)
        above.set_ylim(min([*shares, 99.0]) - 1, 100.6)
        above.set_ylabel('good, %')
        below.bar(places, good, width=0.82, color=GOOD, label='good')
        below.bar(places, rejected, bottom=good, width=0.82, color=DEFECT, label='rejected')
        below.set_ylabel(f'parts in {_length(data.slice_min)}')
        below.set_ylim(0, 1.22 * max([each.parts for each in data.slices] or [1]))
        below.legend(ncols=2, loc='upper left')
        _time_axis(below, data, n_slots, zone)
        for axes in (above, below):
            without_frame(axes, grid='y')

    return svg_chart(draw, width_px=WIDTH_PX, height_px=330, label='Parts and yield over time')


def p_chart(data: ReportData, zone: tzinfo | None) -> str:
    """
    Draw the share of rejects over time with its control limits.

    """
    chart = data.p_chart

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        places, n_slots = _places(data)
        shares = [100 * point.share for point in chart.points]
        upper = [100 * point.upper for point in chart.points]
        lower = [100 * point.lower for point in chart.points]
        axes.fill_between(places, lower, upper, step='mid', color=GRID, alpha=0.6, linewidth=0)
        for limits in (upper, lower):
            axes.step(places, limits, where='mid', color=TEXT, linewidth=1, linestyle=(0, (4, 2)))
        axes.axhline(100 * chart.centre, color=TEXT, linewidth=1)
        axes.plot(places, shares, color=GOOD, marker='o', markersize=5)
        out = [i for i, point in enumerate(chart.points) if point.is_out]
        axes.plot(
            [places[i] for i in out],
            [shares[i] for i in out],
            linestyle='none',
            marker='o',
            markersize=11,
            markerfacecolor='none',
            markeredgecolor=DEFECT,
            markeredgewidth=2.5,
        )
        axes.set_ylim(0, 1.12 * max([*shares, *upper, 1.0]))
        axes.set_ylabel('rejected, %')
        right = n_slots - 0.35
        axes.text(
            *(right, 100 * chart.centre), f'mean {100 * chart.centre:.2g} %',
            va='center', color=TEXT, fontsize=11,
        )  # fmt: skip
        axes.text(right, upper[-1], 'upper limit', va='center', color=TEXT, fontsize=11)
        _time_axis(axes, data, n_slots, zone)
        without_frame(axes, grid='y')

    return svg_chart(
        draw, width_px=WIDTH_PX, height_px=270, label='p-chart: share of rejects over time'
    )


def reasons_chart(data: ReportData) -> str:
    """
    Draw rejects by their reason.

    """
    rows = data.counts.by_reason.most_common(_MOST_BARS)[::-1]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        names = [readable(name.replace('_', ' ').lower(), most=28) for name, _ in rows]
        values = [n for _, n in rows]
        axes.barh(range(len(rows)), values, height=0.62, color=DEFECT)
        axes.set_yticks(range(len(rows)), names)
        most = max(values)
        for place, value in enumerate(values):
            share = 100 * value / data.counts.rejected
            axes.text(
                value + most * 0.02, place, f'{value:,} ({share:.0f} %)', va='center', color=INK
            )
        axes.set_xlim(0, most * 1.3)
        axes.set_xticks([])
        without_frame(axes)

    height = 44 + 34 * len(rows)
    return svg_chart(draw, width_px=WIDTH_PX / 2, height_px=height, label='Rejects by reason')


def _places(data: ReportData) -> tuple[list[int], int]:
    first = data.period.since_us // 60_000_000
    places = [(each.since_us // 60_000_000 - first) // data.slice_min for each in data.slices]
    n_slots = max(1, -(-int(data.period.length_s / 60) // data.slice_min))
    return places, max(n_slots, (places[-1] + 1) if places else 1)


def _time_axis(axes: Axes, data: ReportData, n_slots: int, zone: tzinfo | None) -> None:
    every = max(1, -(-n_slots // _MOST_LABELS))
    form = '%H:%M' if data.slice_min < 480 and data.period.length_s <= 90_000 else '%d %b %H:%M'
    if data.slice_min >= 1440:
        form = '%d %b'
    ticks = list(range(0, n_slots + 1, every))
    start_s = data.period.since_us / 1e6
    labels = [
        datetime.fromtimestamp(start_s + tick * data.slice_min * 60, zone).strftime(form)
        for tick in ticks
    ]
    axes.set_xlim(-0.6, n_slots - 0.4)
    # A label names the beginning of its slice.
    axes.set_xticks([tick - 0.5 for tick in ticks], labels)


def _length(minutes: int) -> str:
    if minutes % 1440 == 0:
        return f'{minutes // 1440} d'
    return f'{minutes // 60} h' if minutes % 60 == 0 else f'{minutes} min'
