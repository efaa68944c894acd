# SPDX-License-Identifier: Apache-2.0
"""
The charts of the benchmarks, as SVG: heat maps, bars, intervals, and curves of shares.

"""

from __future__ import annotations

from html import escape
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

COLOURS = ('#2f6fab', '#d1622b', '#5b8c3a', '#8a5aa8', '#7a7f87', '#b8962e', '#2a9d9d', '#b04a6f')
_INK, _TEXT, _GRID = '#1d1f23', '#5c636e', '#e3e6ea'
# From a miss to a hit, light to dark.
_LOW_RGB, _HIGH_RGB = (250, 236, 226), (32, 92, 148)


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
    cell_w, cell_h, left, top, gap = 62, 40, 74, 74, 26
    width_each = cell_w * len(columns)
    width = left + len(panels) * (width_each + gap)
    height = top + cell_h * len(rows) + 60
    parts = [_label(left, 26, title, size=16, colour=_INK, weight=600)]
    middle = top + cell_h * len(rows) / 2
    parts.append(_label(20, middle, row_title, anchor='middle', turn=-90))
    for number, (name, shares) in enumerate(panels.items()):
        x0 = left + number * (width_each + gap)
        parts.append(_label(x0, top - 12, name, size=14, colour=_INK, weight=600))
        for row, values in enumerate(shares):
            y = top + cell_h * (len(rows) - 1 - row)
            if number == 0:
                parts.append(_label(x0 - 8, y + cell_h / 2 + 4, rows[row], anchor='end'))
            for column, share in enumerate(values):
                x = x0 + cell_w * column
                parts.append(
                    f'<rect x="{x + 1}" y="{y + 1}" width="{cell_w - 2}" height="{cell_h - 2}" '
                    f'rx="3" fill="{_shade(share)}"/>'
                )
                if not math.isnan(share):
                    ink = '#ffffff' if share > 0.55 else _INK
                    text = f'{100 * share:.0f}%'
                    parts.append(
                        _label(
                            x + cell_w / 2,
                            y + cell_h / 2 + 5,
                            text,
                            size=14,
                            colour=ink,
                            anchor='middle',
                        )
                    )
        bottom = top + cell_h * len(rows)
        for column, text in enumerate(columns):
            parts.append(_label(x0 + cell_w * (column + 0.5), bottom + 18, text, anchor='middle'))
        parts.append(_label(x0 + width_each / 2, bottom + 42, column_title, anchor='middle'))
    return _svg(width, height, parts)


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
    high = 10 ** math.ceil(math.log10(1.05 * max(values)))
    left, top, width, bar_h, head_h, gap = 214, 56, 820, 18, 22, 10
    axis = width - left - 70

    def at(value: float) -> float:
        return left + axis * math.log(value / low) / math.log(high / low)

    height = top + sum(head_h + len(group) * bar_h + gap for group in groups.values()) + 50
    parts = [_label(24, 28, title, size=16, colour=_INK, weight=600)]
    tick = low
    while tick <= high * 1.001:
        x = at(tick)
        parts.append(_line(x, top - 8, x, height - 44, _GRID))
        parts.append(_label(x, height - 26, f'{tick:g}', anchor='middle'))
        tick *= 10
    parts.append(_label(left + axis / 2, height - 8, f'{unit}, logarithmic', anchor='middle'))
    y: float = top
    for group_name, group in groups.items():
        parts.append(_label(24, y + 12, group_name, colour=_INK, weight=600))
        y += head_h
        for name, value in group.items():
            colour = COLOURS[0] if name.startswith(ours) else COLOURS[1]
            parts.append(_label(left - 10, y + bar_h - 5, name, anchor='end'))
            parts.append(
                f'<rect x="{left}" y="{y + 1:.1f}" width="{at(value) - left:.1f}" '
                f'height="{bar_h - 3}" rx="2" fill="{colour}"/>'
            )
            parts.append(_label(at(value) + 6, y + bar_h - 5, f'{value:.3g}', size=11))
            y += bar_h
        y += gap
    return _svg(width, height, parts)


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
    left, top, width, row_h, head_h, gap = 150, 56, 860, 17, 20, 14
    axis = width - left - 76

    def at(value: float) -> float:
        return left + axis * (min(max(value, low), high) - low) / (high - low)

    height = top + sum(head_h + len(group) * row_h + gap for group in groups.values()) + 46
    parts = [_label(24, 28, title, size=16, colour=_INK, weight=600)]
    for step in range(round(10 * (high - low)) + 1):
        x = at(low + step / 10)
        parts.append(_line(x, top - 8, x, height - 44, _GRID))
        parts.append(_label(x, height - 26, f'{low + step / 10:g}', anchor='middle'))
    parts.append(_label(left + axis / 2, height - 8, axis_title, anchor='middle'))
    y: float = top
    for group_name, group in groups.items():
        parts.append(_label(24, y + 12, group_name, colour=_INK, weight=600))
        y += head_h
        if group_name in goals:
            x = at(goals[group_name])
            parts.append(_line(x, y - 4, x, y + len(group) * row_h + 2, _INK))
        for name, found in group.items():
            parts.append(_label(left - 10, y + row_h - 5, name, size=12, anchor='end'))
            if found is not None:
                value, lowest, highest = found
                colour = COLOURS[names.index(name) % len(COLOURS)]
                middle = y + row_h / 2
                parts.append(
                    f'<line x1="{at(lowest):.1f}" y1="{middle:.1f}" x2="{at(highest):.1f}" '
                    f'y2="{middle:.1f}" stroke="{colour}" stroke-width="3" '
                    'stroke-linecap="round" opacity="0.45"/>'
                    f'<circle cx="{at(value):.1f}" cy="{middle:.1f}" r="5" fill="{colour}"/>'
                )
                parts.append(_label(left + axis + 14, y + row_h - 5, f'{value:.3f}', size=12))
            y += row_h
        y += gap
    return _svg(width, height, parts)


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
    # Two at least, so that title and legend find room.
    across = min(4, max(2, math.ceil(len(panels) / 2)))
    plot_w, plot_h, left, top, gap_x, gap_y = 262, 150, 56, 92, 34, 62
    width = left + across * (plot_w + gap_x)
    height = top + math.ceil(len(panels) / across) * (plot_h + gap_y) + 8
    is_logarithmic = low > 0
    ticks = _ticks(low, high, is_logarithmic=is_logarithmic)

    def at(value: float) -> float:
        value = min(max(value, low), high)
        if is_logarithmic:
            return plot_w * math.log(value / low) / math.log(high / low)
        return plot_w * (value - low) / (high - low)

    parts = [_label(left, 28, title, size=16, colour=_INK, weight=600)]
    parts += _legend(names, left, 54)
    for number, (panel_name, curves) in enumerate(panels.items()):
        x0 = left + (number % across) * (plot_w + gap_x)
        y0 = top + (number // across) * (plot_h + gap_y)
        parts.append(_label(x0, y0 - 7, panel_name, colour=_INK, weight=600))
        for share in (0.0, 0.5, 1.0):
            y = y0 + plot_h * (1 - share)
            parts.append(_line(x0, y, x0 + plot_w, y, _GRID))
            if number % across == 0:
                parts.append(_label(x0 - 8, y + 4, f'{100 * share:.0f}%', anchor='end'))
        for tick in ticks:
            x = x0 + at(tick)
            parts.append(_line(x, y0, x, y0 + plot_h, _GRID))
            parts.append(_label(x, y0 + plot_h + 16, f'{tick:g}', size=11, anchor='middle'))
        parts.append(
            _label(x0 + plot_w / 2, y0 + plot_h + 33, axis_title, size=11, anchor='middle')
        )
        if goal is not None:
            x = x0 + at(goal)
            parts.append(_line(x, y0, x, y0 + plot_h, _INK, dashes='4 3'))
        # The first curve lies on top, thin: those under it still show where they are the same.
        for name, values in reversed(list(curves.items())):
            style = f'stroke="{COLOURS[names.index(name) % len(COLOURS)]}" ' + (
                'stroke-width="1.8"' if name == names[0] else 'stroke-width="4" opacity="0.6"'
            )
            places = [x0 + at(value) for value in sorted(values) if value <= high]
            parts.append(_stairs(places, len(values), (x0, x0 + plot_w), (y0, plot_h), style))
    return _svg(width, height, parts)


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
    left, top, axis, row_h, head_h, gap = 24, 92, 900, 22, 26, 22
    width = left + axis + 24
    parts = [_label(left, 28, title, size=16, colour=_INK, weight=600)]
    parts += _legend(ways, left, 58)
    y: float = top
    for name, (windows, found) in clips.items():
        last = max([leave for _, leave, _ in windows] + [f for fs in found.values() for f in fs])
        scale = axis / (1.05 * last + 1)
        parts.append(_label(left, y + 12, name, colour=_INK, weight=600))
        y += head_h
        height = row_h * len(found)
        parts.append(_line(left, y + height, left + axis, y + height, _GRID))
        for enter, leave, counts in windows:
            x, across = left + scale * enter, max(3.0, scale * (leave + 1 - enter))
            fill = '#dfe6ee' if counts else '#f6dfd5'
            parts.append(
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{across:.1f}" height="{height}" '
                f'fill="{fill}"/>'
            )
        for number, way in enumerate(ways):
            middle = y + row_h * (number + 0.5)
            colour = COLOURS[number % len(COLOURS)]
            parts += [
                f'<circle cx="{left + scale * (frame + 0.5):.1f}" cy="{middle:.1f}" r="4" '
                f'fill="{colour}"/>'
                for frame in found.get(way, ())
            ]
        for tick in range(0, int(1.05 * last) + 1, 10 if last < 60 else 50):
            x = left + scale * tick
            parts.append(_label(x, y + height + 15, f'{tick}', size=11, anchor='middle'))
        y += height + gap
    parts.append(_label(left + axis / 2, y + 8, 'frame', size=11, anchor='middle'))
    return _svg(width, y + 22, parts)


def _stairs(
    places: Sequence[float],
    total: int,
    ends: tuple[float, float],
    top_and_height: tuple[float, float],
    style: str,
) -> str:
    """
    Draw a line that climbs by one `total`-th at each place.

    """
    top, height = top_and_height
    levels = [top + height * (1 - count / max(total, 1)) for count in range(len(places) + 1)]
    points = [(ends[0], levels[0])]
    for place, below, above in zip(places, levels[:-1], levels[1:], strict=True):
        points += [(place, below), (place, above)]
    points.append((ends[1], levels[-1]))
    text = ' '.join(f'{x:.1f},{y:.1f}' for x, y in points)
    return f'<polyline points="{text}" fill="none" {style}/>'


def _ticks(low: float, high: float, *, is_logarithmic: bool) -> list[float]:
    if not is_logarithmic:
        return [round(low + (high - low) * step / 4, 6) for step in range(5)]
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    return [10.0**power for power in range(first, last + 1)]


def _legend(names: Sequence[str], x: float, y: float) -> list[str]:
    parts = []
    for number, name in enumerate(names):
        colour = COLOURS[number % len(COLOURS)]
        parts.append(
            f'<rect x="{x:.0f}" y="{y - 10}" width="12" height="12" rx="2" fill="{colour}"/>'
        )
        parts.append(_label(x + 18, y, name))
        x += 34 + 7.2 * len(name)
    return parts


def _shade(share: float) -> str:
    if math.isnan(share):
        return '#f4f5f6'
    mixed = (
        round(low + (high - low) * share) for low, high in zip(_LOW_RGB, _HIGH_RGB, strict=True)
    )
    return f'rgb({",".join(map(str, mixed))})'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, dashes: str = '') -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"'
        + (f' stroke-dasharray="{dashes}"' if dashes else '')
        + '/>'
    )


def _label(
    x: float,
    y: float,
    text: str,
    *,
    size: int = 13,
    colour: str = _TEXT,
    anchor: str = 'start',
    weight: int = 400,
    turn: int = 0,
) -> str:
    turned = f' transform="rotate({turn} {x:.1f} {y:.1f})"' if turn else ''
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colour}" font-weight="{weight}" '
        f'text-anchor="{anchor}"{turned}>{escape(text)}</text>'
    )


def _svg(width: float, height: float, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" '
        'font-family="system-ui, Helvetica, Arial, sans-serif">\n'
        f'<rect width="100%" height="100%" fill="#ffffff"/>\n' + '\n'.join(parts) + '\n</svg>\n'
    )
