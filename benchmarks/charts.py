# SPDX-License-Identifier: Apache-2.0
"""
The charts of the benchmarks, as SVG: heat maps, bars, intervals, curves of shares, time lines.

"""

from __future__ import annotations

from itertools import cycle
import math
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from anomaly_inspection.chart_style import (
    COLOURS as MORE_COLOURS,
)
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
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = (GOOD, DEFECT, *MORE_COLOURS)
# From a miss to a hit, light to dark.
_LOW_TO_HIGH = ('#faece2', '#205c94')
_NOT_MEASURED = '#f4f5f6'
_TITLE_PX, _LEGEND_PX = 38, 26
_Value = TypeVar('_Value')


def heat_maps(
    title: str,
    panels: Mapping[str, Sequence[Sequence[float]]],
    *,
    columns: Sequence[str],
    rows: Sequence[str],
    column_title: str,
    row_title: str,
) -> str:
    """
    Draw shares (0..1) by two properties, one panel beside the other; NaN cells stay empty.

    Parameters
    ----------
    title : str
        Above all.
    panels : mapping of str to (rows, columns) shares
        The first row is drawn at the bottom.
    columns, rows : sequence of str
        Labels of the cells.
    column_title, row_title : str
        What they are.

    """

    def draw(figure: Figure) -> None:
        from matplotlib.colors import LinearSegmentedColormap

        colours = LinearSegmentedColormap.from_list('shares', _LOW_TO_HIGH)
        colours = colours.with_extremes(bad=_NOT_MEASURED)
        chart_head(figure, title)
        all_axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, (name, shares) in zip(all_axes, panels.items(), strict=True):
            without_frame(axes)
            axes.set_title(readable(name))
            axes.pcolormesh(
                np.ma.masked_invalid(shares),
                cmap=colours,
                vmin=0,
                vmax=1,
                edgecolors='white',
                linewidth=2,
            )
            for (row, column), share in np.ndenumerate(np.asarray(shares, float)):
                if not math.isnan(share):
                    axes.text(
                        column + 0.5,
                        row + 0.5,
                        f'{100 * share:.0f}%',
                        color='white' if share > 0.55 else INK,
                        ha='center',
                        va='center',
                    )
            axes.set_xticks(np.arange(len(columns)) + 0.5, labels=columns)
            axes.set_yticks(np.arange(len(rows)) + 0.5, labels=rows)
            axes.set_xlabel(column_title)
        all_axes[0].set_ylabel(row_title)

    return svg_chart(
        draw,
        width_px=90 + len(panels) * (58 * len(columns) + 24),
        height_px=120 + 40 * len(rows),
        label=title,
    )


def bars(title: str, groups: Mapping[str, Mapping[str, float]], *, unit: str, ours: str) -> str:
    """
    Draw groups of horizontal bars on a logarithmic axis.

    Parameters
    ----------
    title : str
        Above all.
    groups : mapping of str to mapping of str to float
        Values above 0 by group and name.
    unit : str
        Of the values.
    ours : str
        Bars whose name begins so have a colour of their own.

    """
    values = [value for group in groups.values() for value in group.values()]
    low = 10 ** math.floor(math.log10(0.9 * min(values)))
    high = 10 ** math.ceil(math.log10(1.6 * max(values)))

    def draw(figure: Figure) -> None:
        chart_head(figure, title)
        axes = figure.subplots()
        without_frame(axes, grid='x')
        axes.set_xscale('log')
        heads, rows = _rows(axes, groups)
        for (_, name), (place, value) in rows.items():
            colour = GOOD if name.startswith(ours) else DEFECT
            axes.barh(place, value - low, 0.8, left=low, color=colour)
            axes.annotate(
                f'{value:.3g}',
                (value, place),
                (6, 0),
                textcoords='offset points',
                va='center',
                size=11,
            )
        axes.set_xlim(low, high)
        axes.minorticks_off()
        axes.xaxis.set_major_formatter(lambda value, _: f'{value:g}')
        axes.set_xlabel(f'{unit}, logarithmic')
        axes.set_ylim(max(place for place, _ in rows.values()) + 0.8, min(heads) - 0.8)

    count = len(values) + 1.5 * len(groups)
    return svg_chart(draw, width_px=820, height_px=100 + 19 * count, label=title)


def intervals(
    title: str,
    groups: Mapping[str, Mapping[str, Sequence[float] | None]],
    *,
    goals: Mapping[str, float],
    axis_title: str,
    low: float,
    high: float,
) -> str:
    """
    Draw values with their intervals, a row each.

    Parameters
    ----------
    title : str
        Above all.
    groups : mapping of str to mapping of str to (value, low, high) or None
        By group and name; the same name has the same colour. What lies below the axis is drawn at
        its end.
    goals : mapping of str to float
        A line across the rows of that group.
    axis_title : str
        What the values are.
    low, high : float
        Ends of the axis.

    """
    names = list(dict.fromkeys(name for group in groups.values() for name in group))

    def draw(figure: Figure) -> None:
        chart_head(figure, title)
        axes = figure.subplots()
        without_frame(axes, grid='x')
        heads, rows = _rows(axes, groups)
        for (_, name), (place, found) in rows.items():
            if found is None:
                continue
            value, *ends = (min(max(one, low), high) for one in found)
            colour = COLOURS[names.index(name) % len(COLOURS)]
            axes.plot(
                ends,
                [place, place],
                color=colour,
                linewidth=3,
                alpha=0.45,
                solid_capstyle='round',
                clip_on=False,
            )
            axes.plot([value], [place], 'o', color=colour, markersize=9, clip_on=False)
            axes.annotate(
                f'{found[0]:.3f}',
                (1, place),
                (12, 0),
                xycoords=('axes fraction', 'data'),
                textcoords='offset points',
                va='center',
                color=TEXT,
            )
        for group, goal in goals.items():
            places = [place for (owner, _), (place, _) in rows.items() if owner == group]
            if places:
                axes.plot([goal] * 2, [min(places) - 0.5, max(places) + 0.5], color=INK, lw=1.2)
        axes.set_xlim(low, high)
        axes.set_xticks(np.linspace(low, high, round(10 * (high - low)) + 1))
        axes.xaxis.set_major_formatter(lambda value, _: f'{value:g}')
        axes.set_xlabel(axis_title)
        axes.set_ylim(max(place for place, _ in rows.values()) + 0.8, min(heads) - 0.8)

    count = sum(map(len, groups.values())) + 1.5 * len(groups)
    return svg_chart(draw, width_px=860, height_px=100 + 18 * count, label=title)


def share_curves(
    title: str,
    panels: Mapping[str, Mapping[str, Sequence[float]]],
    *,
    axis_title: str,
    low: float,
    high: float,
    goal: float | None = None,
) -> str:
    """
    Draw, for each panel, the share of values that are at most x; what is infinite never counts.

    Parameters
    ----------
    title : str
        Above all.
    panels : mapping of str to mapping of str to values
        Curves by panel and name; a logarithmic axis when `low` is above 0.
    axis_title : str
        What the values are, with unit.
    low, high : float
        Ends of the axis.
    goal : float, optional
        Marked by a dashed line.

    """
    names = list(dict.fromkeys(name for panel in panels.values() for name in panel))
    across = min(4, max(1, math.ceil(len(panels) / 2)))
    down = math.ceil(len(panels) / across)

    def draw(figure: Figure) -> None:
        chart_head(figure, title, dict(zip(names, cycle(COLOURS), strict=False)))
        all_axes = figure.subplots(down, across, squeeze=False, sharey=True).ravel()
        for axes in all_axes[len(panels) :]:
            axes.set_visible(False)
        for axes, (panel, curves) in zip(all_axes, panels.items(), strict=False):
            without_frame(axes, grid='both')
            axes.set_title(readable(panel, most=36))
            if low > 0:
                axes.set_xscale('log')
                axes.minorticks_off()
                axes.xaxis.set_major_formatter(lambda value, _: f'{value:g}')
            else:
                axes.set_xticks(np.round(np.linspace(low, high, 5), 6))
            if goal is not None:
                axes.axvline(goal, color=INK, linewidth=1, dashes=(4, 3))
            # The first curve lies on top, thin: those under it still show where they are the same.
            for name, values in reversed(list(curves.items())):
                is_first = name == names[0]
                _stairs(axes, values, low, high)
                axes.lines[-1].set(
                    color=COLOURS[names.index(name) % len(COLOURS)],
                    linewidth=1.8 if is_first else 4,
                    alpha=1.0 if is_first else 0.6,
                )
            axes.set(xlim=(low, high), ylim=(-0.01, 1.01), xlabel=axis_title)
            axes.set_yticks((0, 0.5, 1), labels=('0%', '50%', '100%'))

    return svg_chart(
        draw,
        width_px=60 + max(across * 296, 440),
        height_px=90 + down * 210,
        label=title,
    )


def timelines(
    title: str,
    clips: Mapping[str, tuple[Sequence[tuple[int, int, bool]], Mapping[str, Sequence[int]]]],
) -> str:
    """
    Draw stretches of time and what was found in them, one clip below the other.

    Parameters
    ----------
    title : str
        Above all.
    clips : mapping of str to (windows, found)
        Windows are (first frame, last frame, whether it counts); found gives frames by way.

    """
    ways = list(dict.fromkeys(way for _, found in clips.values() for way in found))

    def draw(figure: Figure) -> None:
        chart_head(figure, title, dict(zip(ways, cycle(COLOURS), strict=False)))
        all_axes = figure.subplots(len(clips), 1, squeeze=False)[:, 0]
        for axes, (name, (windows, found)) in zip(all_axes, clips.items(), strict=True):
            without_frame(axes)
            axes.set_title(readable(name))
            axes.axhline(len(ways) - 0.5, color=GRID, linewidth=2)
            for enter, leave, counts in windows:
                axes.axvspan(enter, leave + 1, color='#dfe6ee' if counts else '#f6dfd5')
            for place, way in enumerate(ways):
                frames = np.asarray(found.get(way, ()), float)
                colour = COLOURS[place % len(COLOURS)]
                axes.plot(frames + 0.5, np.full(frames.size, place), 'o', color=colour, ms=7)
            last = max(
                [leave for _, leave, _ in windows]
                + [frame for frames in found.values() for frame in frames]
            )
            axes.set(xlim=(0, 1.05 * last + 1), ylim=(len(ways) - 0.5, -0.5), yticks=[])
            axes.set_xticks(range(0, int(1.05 * last) + 1, 10 if last < 60 else 50))
        all_axes[-1].set_xlabel('frame')

    return svg_chart(
        draw,
        width_px=940,
        height_px=100 + len(clips) * (60 + 22 * len(ways)),
        label=title,
    )


def chart_head(figure: Figure, title: str, legend: Mapping[str, str] | None = None) -> None:
    """
    Write the title and, below it, one legend for all panels; the panels keep clear of both.

    Parameters
    ----------
    figure : Figure
        Empty as yet.
    title : str
        One line.
    legend : mapping of str to str, optional
        Colour by name.

    """
    height_px = figure.get_figheight() * 72
    figure.text(0.01, 1 - 12 / height_px, title, ha='left', va='top', size=15, weight='bold')
    head_px = _TITLE_PX + (_LEGEND_PX if legend else 0)
    figure.get_layout_engine().set(rect=(0, 0, 1, 1 - head_px / height_px))
    if not legend:
        return
    from matplotlib.patches import Patch

    figure.legend(
        [Patch(color=colour) for colour in legend.values()],
        [readable(name) for name in legend],
        loc='upper left',
        bbox_to_anchor=(0.005, 1 - (_TITLE_PX - 2) / height_px),
        borderaxespad=0,
        ncols=len(legend),
        handlelength=1,
        handleheight=0.9,
        columnspacing=1.4,
    )


def _rows(
    axes: Axes, groups: Mapping[str, Mapping[str, _Value]]
) -> tuple[list[float], dict[tuple[str, str], tuple[float, _Value]]]:
    """
    Give groups and what is in them a row each, name the rows at the left; first row at 0.

    Returns
    -------
    list of float
        Places of the groups' heads.
    dict of (group, name) to (place, value)
        The rows below them.

    """
    heads, rows, place = [], {}, 0.0
    for group, entries in groups.items():
        heads.append(place)
        for name, value in entries.items():
            place += 1
            rows[group, name] = (place, value)
        place += 1.5
    places = [(head, readable(group)) for head, group in zip(heads, groups, strict=True)]
    places += [(row, readable(name)) for (_, name), (row, _) in rows.items()]
    axes.set_yticks([at for at, _ in places], labels=[words for _, words in places])
    for label in axes.get_yticklabels()[: len(heads)]:
        label.set(color=INK, fontweight='bold')
    return heads, rows


def _stairs(axes: Axes, values: Sequence[float], low: float, high: float) -> None:
    """
    Draw a line that climbs by one share at each value.

    """
    places = sorted(min(max(value, low), high) for value in values if value <= high)
    levels = np.arange(len(places) + 1) / max(len(values), 1)
    axes.plot([low, *places, high], [0, *levels[1:], levels[-1]], drawstyle='steps-post')
