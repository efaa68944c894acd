# SPDX-License-Identifier: Apache-2.0
"""
The charts of the evaluation report, as SVG.

"""

from __future__ import annotations

from html import escape
from itertools import cycle
import math
from typing import NamedTuple, TYPE_CHECKING

import numpy as np
from sklearn.metrics import roc_curve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

GOOD, DEFECT, LIMIT = '#2f6fab', '#d1622b', '#1d1f23'
#: Of recipes side by side, none of them that of good or defective parts; further ones begin again.
COLOURS = ('#7a4fa3', '#1f9488', '#c0861a', '#b8456b', '#5b7f2b', '#44546a', '#a0643c', '#8a9099')
_GRID, _TEXT = '#e3e6ea', '#5c636e'
_WIDTH, _HEIGHT = 520, 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 16, 16, 46
_BINS = 40


def score_histogram(good: NDArray[np.float64], defect: NDArray[np.float64]) -> str:
    """
    Draw the anomaly scores, good parts upwards, defective ones downwards, with the limit at 1.

    Parameters
    ----------
    good, defect : ndarray of float64, (n,)
        Anomaly scores; infinity for what could not be judged, which gets a bin of its own. Above 1
        the axis is logarithmic.

    """
    measured = np.concatenate([good, defect])
    measured = _on_axis(measured[np.isfinite(measured)])
    low = math.floor(2 * min(0.0, measured.min(initial=0.0))) / 2
    high = max(1.5, math.ceil(4 * measured.max(initial=0.0)) / 4)
    has_unjudged = bool(np.isinf(good).any() or np.isinf(defect).any())
    width = _WIDTH - _LEFT - _RIGHT
    axis = width - (96 if has_unjudged else 0)
    # A bin must not lie across the limit.
    below = max(1, round(_BINS * (1 - low) / (high - low)))
    edges = np.append(
        np.linspace(low, 1, below, endpoint=False), np.linspace(1, high, _BINS - below + 1)
    )
    middle = (_TOP + _HEIGHT - _BOTTOM) / 2
    shares = [
        np.append(_shares_by_bin(scores, edges), np.isinf(scores).mean() if scores.size else 0.0)
        for scores in (good, defect)
    ]
    tallest = max(float(np.concatenate(shares).max()), 1e-9)
    scale = (middle - _TOP - 14) / tallest

    def at(place: float) -> float:
        return float(_LEFT + axis * (place - low) / (high - low))

    parts = [_line(_LEFT, middle, _WIDTH - _RIGHT, middle, _GRID)]
    for value in _ticks(low, high):
        x = at(float(_on_axis(np.array([value]))[0]))
        parts += [
            _line(x, _TOP, x, _HEIGHT - _BOTTOM, _GRID),
            _text(x, _HEIGHT - _BOTTOM + 16, f'{value:g}', 'middle'),
        ]
    for share, colour, direction in ((shares[0], GOOD, -1), (shares[1], DEFECT, 1)):
        for index, height in enumerate(share):
            if not height:
                continue
            if index < len(edges) - 1:
                left, right = at(edges[index]), at(edges[index + 1])
            else:
                left, right = _WIDTH - _RIGHT - 40, _WIDTH - _RIGHT - 22
            size = max(1.5, height * scale)
            top = middle - size if direction < 0 else middle
            parts.append(
                f'<rect x="{left + 0.5:.1f}" y="{top:.1f}" width="{right - left - 1:.1f}" '
                f'height="{size:.1f}" fill="{colour}"/>'
            )
    if has_unjudged:
        x = _WIDTH - _RIGHT - 31
        parts.append(_text(x, _HEIGHT - _BOTTOM + 16, 'not judged', 'middle'))
    x = at(1.0)
    parts += [
        _line(x, _TOP - 6, x, _HEIGHT - _BOTTOM, LIMIT, 'stroke-width="1.5"'),
        _text(x + 5, _TOP + 4, 'limit', 'start', LIMIT),
        _text(_LEFT - 8, _TOP + 16, 'good', 'end', GOOD),
        _text(_LEFT - 8, _HEIGHT - _BOTTOM - 8, 'defect', 'end', DEFECT),
        _text(
            _LEFT + width / 2,
            _HEIGHT - 8,
            'anomaly score (0 = typical good part; logarithmic above 1)',
            'middle',
        ),
    ]
    return _svg(parts, 'Histogram of anomaly scores')


class RocCurve(NamedTuple):
    """
    What is drawn of one recipe.

    Parameters
    ----------
    label : str
        For the legend.
    scores : ndarray of float64, (n,)
        Anomaly scores; infinity for what could not be judged.
    operating_point : (float, float)
        False reject rate and recall at the limits.

    """

    label: str
    scores: NDArray[np.float64]
    operating_point: tuple[float, float]


def roc(is_defect: NDArray[np.bool_], curves: Sequence[RocCurve]) -> str:
    """
    Draw ROC curves, each with the point where the limits lie.

    Parameters
    ----------
    is_defect : ndarray of bool, (n,)
        Of both classes.
    curves : sequence of RocCurve
        One alone has no legend.

    """
    side = _HEIGHT - _TOP - _BOTTOM
    left = (_WIDTH - side) / 2 + 10

    def point(false_rate: float, recall: float) -> tuple[float, float]:
        return left + side * false_rate, _TOP + side * (1 - recall)

    parts = []
    for value in (0, 0.25, 0.5, 0.75, 1):
        x, y = point(value, value)
        parts += [
            _line(x, _TOP, x, _TOP + side, _GRID),
            _line(left, y, left + side, y, _GRID),
            _text(x, _TOP + side + 16, f'{value:g}', 'middle'),
            _text(left - 8, y + 4, f'{value:g}', 'end'),
        ]
    parts += [
        _line(*point(0, 0), *point(1, 1), '#b9bfc7', 'stroke-dasharray="4 4"'),
        _text(left + side / 2, _HEIGHT - 8, 'good parts rejected', 'middle'),
        f'<g transform="translate({left - 44:.0f} {_TOP + side / 2:.0f}) rotate(-90)">'
        f'{_text(0, 0, "defective parts rejected", "middle")}</g>',
    ]
    dots = []
    is_alone = len(curves) == 1
    for colour, curve in zip(cycle((GOOD,) if is_alone else COLOURS), curves, strict=False):
        # Only the order counts, and scikit-learn takes no infinity.
        places = np.unique(curve.scores, return_inverse=True)[1]
        false_rates, recalls, _ = roc_curve(is_defect, places)
        line = ' '.join(
            f'{x:.1f},{y:.1f}' for x, y in map(point, false_rates.tolist(), recalls.tolist())
        )
        x, y = point(*curve.operating_point)
        parts.append(
            f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2.2"/>'
        )
        dots.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5.5" '
            f'fill="{DEFECT if is_alone else colour}" stroke="white" stroke-width="1.5"/>'
        )
    parts += dots
    if not is_alone:
        parts += _roc_legend([curve.label for curve in curves], left + side)
    else:
        false_rate, recall = curves[0].operating_point
        is_right = false_rate > 0.6
        parts.append(
            _text(
                x + (-10 if is_right else 10),
                y + (16 if recall > 0.1 else -12),
                'at the limits',
                'end' if is_right else 'start',
                DEFECT,
            )
        )
    return _svg(parts, 'ROC curve')


def _roc_legend(labels: Sequence[str], right: float) -> list[str]:
    """
    Write the names into the lower right corner, where curves of any use do not come.

    """
    shortened = [name if len(name) <= 24 else f'{name[:23]}…' for name in labels]
    rows = [*shortened, 'at the limits']
    width = 34 + 6.4 * max(map(len, rows))
    top = _HEIGHT - _BOTTOM - 10 - 17 * len(rows)
    x = right - 8 - width
    parts = [
        f'<rect x="{x:.0f}" y="{top - 4:.0f}" width="{width:.0f}" '
        f'height="{17 * len(rows) + 6:.0f}" rx="4" fill="white" fill-opacity="0.88"/>'
    ]
    for place, (colour, name) in enumerate(zip(cycle(COLOURS), rows, strict=False)):
        y = top + 17 * place + 12
        if place < len(labels):
            parts.append(_line(x + 8, y - 4, x + 24, y - 4, colour, 'stroke-width="3"'))
            parts.append(_text(x + 30, y, name, 'start', LIMIT))
        else:
            parts.append(
                f'<circle cx="{x + 16:.0f}" cy="{y - 4:.0f}" r="4.5" fill="{_TEXT}"/>'
                + _text(x + 30, y, name, 'start')
            )
    return parts


def interval_bar(value: float, low: float, high: float, colour: str) -> str:
    """
    Draw a share with its interval as a bar for a table cell.

    """
    size = 180
    return (
        f'<svg width="{size}" height="16" role="img" aria-label="{value:.3f}">'
        f'<rect y="3" width="{size}" height="10" fill="#eef0f3"/>'
        f'<rect y="3" width="{size * value:.1f}" height="10" fill="{colour}"/>'
        f'<rect x="{size * low:.1f}" y="7" width="{max(1.0, size * (high - low)):.1f}" height="2" '
        f'fill="{LIMIT}"/></svg>'
    )


def share_map(
    title: str,
    columns: Sequence[str],
    rows: Sequence[str],
    shares: Sequence[Sequence[tuple[float, float, float] | None]],
    axes: tuple[str, str],
) -> str:
    """
    Draw shares in a grid of cells, from none (orange) over half (white) to all (blue).

    Parameters
    ----------
    title : str
        Above the grid.
    columns, rows : sequence of str
        Their labels; the first row is drawn at the bottom.
    shares : sequence of sequences of (share, low, high) or None
        By row and column, 0..1, with the interval; None is left blank.
    axes : (str, str)
        What columns and rows are.

    """
    wide, high = 62, 44
    left, top = 52, 34
    width, height = left + wide * len(columns) + 12, top + high * len(rows) + 44
    parts = [
        f'<text x="{left}" y="20" fill="{LIMIT}" font-weight="650" font-size="14">'
        f'{escape(title)}</text>'
    ]
    for place, (label, row) in enumerate(zip(rows, shares, strict=True)):
        y = top + high * (len(rows) - 1 - place)
        parts.append(_text(left - 8, y + high / 2 + 4, label, 'end'))
        for column, share in enumerate(row):
            x = left + wide * column
            shape = f'x="{x + 1}" y="{y + 1}" width="{wide - 2}" height="{high - 2}" rx="3"'
            if share is None:
                parts.append(f'<rect {shape} fill="none" stroke="{_GRID}"/>')
                continue
            value, lower, upper = (100 * one for one in share)
            ink = 'white' if share[0] > 0.8 else LIMIT
            parts += [
                f'<rect {shape} fill="{_share_colour(share[0])}"/>',
                f'<text x="{x + wide / 2}" y="{y + 21}" text-anchor="middle" fill="{ink}" '
                f'font-size="14" font-weight="650">{value:.0f} %</text>',
                f'<text x="{x + wide / 2}" y="{y + 35}" text-anchor="middle" fill="{ink}" '
                f'font-size="10">{lower:.0f}..{upper:.0f}</text>',
            ]
    for column, label in enumerate(columns):
        middle = left + wide * (column + 0.5)
        parts.append(_text(middle, top + high * len(rows) + 16, label, 'middle'))
    middle = top + high * len(rows) / 2
    parts += [
        _text(left + wide * len(columns) / 2, height - 8, axes[0], 'middle'),
        f'<g transform="translate(14 {middle:.0f}) rotate(-90)">'
        f'{_text(0, 0, axes[1], "middle")}</g>',
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(title)}" class="chart" '
        'font-family="system-ui, sans-serif" font-size="12">'
        f'{"".join(parts)}</svg>'
    )


def _share_colour(share: float) -> str:
    """
    Mix orange, white and blue.

    """
    end = GOOD if share > 0.5 else DEFECT
    # Cells that see nothing are many; they must not shout.
    weight = abs(2 * share - 1) * (1.0 if share > 0.5 else 0.7)
    mixed = [round(255 + weight * (int(end[place : place + 2], 16) - 255)) for place in (1, 3, 5)]
    return '#' + ''.join(f'{level:02x}' for level in mixed)


def _on_axis(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """
    Place scores on an axis that is linear up to the limit and logarithmic beyond.

    """
    return np.where(scores > 1, 1 + np.log2(np.maximum(scores, 1)) / 2, scores)


def _shares_by_bin(scores: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    placed = _on_axis(scores[np.isfinite(scores)])
    # Exactly at the limit is still good, so bins include their upper edge.
    bins = np.clip(np.searchsorted(edges, placed, side='left') - 1, 0, len(edges) - 2)
    return np.bincount(bins, minlength=len(edges) - 1) / max(1, scores.size)


def _ticks(low: float, high: float) -> list[float]:
    highest = 2.0 ** (2 * (high - 1))
    step = 1.0 if low > -3 else 2.0 ** math.ceil(math.log2(-low / 3))
    ticks = [-step * n for n in range(int(-low / step), 0, -1)] + [0.0]
    powers = [2.0**n for n in range(int(math.log2(highest)) + 1)]
    # More than seven labels would run into one another.
    every = max(1, math.ceil(len(powers) / 7))
    return ticks + powers[::every]


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, more: str = '') -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" {more}/>'
    )


def _text(x: float, y: float, text: str, anchor: str, colour: str = _TEXT) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">'
        f'{escape(text)}</text>'
    )


def _svg(parts: Sequence[str], title: str) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}" '
        f'class="chart">{"".join(parts)}</svg>'
    )
