# SPDX-License-Identifier: Apache-2.0
"""
The charts of the report, the comparison and the self-test, as SVG.

"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, TYPE_CHECKING

import numpy as np
from sklearn.metrics import roc_curve

from anomaly_inspection.chart_style import (
    colour_of,
    dashes_of,
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
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

_WIDTH_PX, _HEIGHT_PX = 520, 340
_BINS = 40
_CELL_WIDTH_PX, _CELL_HEIGHT_PX = 62, 44


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
    # A bin must not lie across the limit.
    below = max(1, round(_BINS * (1 - low) / (high - low)))
    edges = np.append(
        np.linspace(low, 1, below, endpoint=False), np.linspace(1, high, _BINS - below + 1)
    )
    has_unjudged = bool(np.isinf(good).any() or np.isinf(defect).any())

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        without_frame(axes, grid='x')
        labels = {
            float(_on_axis(np.array([value]))[0]): f'{value:g}' for value in _ticks(low, high)
        }
        bin_width = (high - low) / _BINS
        unjudged_at = high + 4 * bin_width
        if has_unjudged:
            labels[unjudged_at] = 'not judged'
        tallest = 0.0
        for scores, colour, sign in ((good, GOOD, 1), (defect, DEFECT, -1)):
            shares = 100 * _shares_by_bin(scores, edges)
            gap = 0.08 * bin_width
            axes.bar(
                edges[:-1] + gap,
                sign * shares,
                np.diff(edges) - 2 * gap,
                align='edge',
                color=colour,
            )
            unjudged = 100 * float(np.isinf(scores).mean()) if scores.size else 0.0
            if has_unjudged:
                axes.bar([unjudged_at], [sign * unjudged], 1.6 * bin_width, color=colour)
            tallest = max(tallest, float(shares.max()), unjudged)
        reach = 1.12 * tallest or 1.0
        axes.set_ylim(-reach, reach)
        axes.set_xlim(low, high + (6 * bin_width if has_unjudged else 0))
        axes.axhline(0, color='#b9bfc7', linewidth=1)
        axes.axvline(1, color=INK, linewidth=1.5)
        axes.annotate('limit', (1, reach), (5, -4), textcoords='offset points', va='top')
        axes.set_xticks(list(labels), labels=list(labels.values()))
        step = _even_step(tallest)
        shown = [step * n for n in range(-int(tallest / step), int(tallest / step) + 1)]
        axes.set_yticks(shown, labels=[f'{abs(value):g} %' for value in shown])
        axes.set_xlabel('anomaly score (0 = typical good part; logarithmic above 1)')
        for words, count, colour, height in (
            ('good', good.size, GOOD, 0.75),
            ('defective', defect.size, DEFECT, 0.25),
        ):
            axes.annotate(
                f'{words} ({count})',
                (0, height),
                (-46, 0),
                xycoords='axes fraction',
                textcoords='offset points',
                rotation=90,
                ha='center',
                va='center',
                color=colour,
            )

    return svg_chart(
        draw, width_px=_WIDTH_PX, height_px=_HEIGHT_PX, label='Histogram of anomaly scores'
    )


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
    is_alone = len(curves) == 1

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        without_frame(axes, grid='both')
        axes.set_aspect('equal')
        axes.plot([0, 1], [0, 1], color='#b9bfc7', linewidth=1, dashes=(4, 4))
        for place, curve in enumerate(curves):
            # Only the order counts, and scikit-learn takes no infinity.
            places = np.unique(curve.scores, return_inverse=True)[1]
            false_rates, recalls, _ = roc_curve(is_defect, places)
            colour = GOOD if is_alone else colour_of(place)
            axes.plot(
                false_rates,
                recalls,
                color=colour,
                linestyle=dashes_of(place),
                label=readable(curve.label, most=24, keep_end=True),
                clip_on=False,
            )
            axes.plot(
                *([value] for value in curve.operating_point),
                marker='o',
                markersize=10,
                color=DEFECT if is_alone else colour,
                markeredgecolor='white',
                markeredgewidth=1.5,
                zorder=5,
                clip_on=False,
            )
        ticks = (0, 0.25, 0.5, 0.75, 1)
        axes.set(xlim=(0, 1), ylim=(0, 1), xticks=ticks, yticks=ticks)
        names = [f'{100 * tick:g} %' for tick in ticks]
        axes.set_xticks(ticks, labels=names)
        axes.set_yticks(ticks, labels=names)
        axes.set_xlabel('good parts rejected')
        axes.set_ylabel('defective parts rejected')
        if is_alone:
            _name_operating_point(axes, curves[0].operating_point)
            return
        axes.plot(
            [], [], 'o', color=TEXT, markersize=9, markeredgecolor='white', label='at the limits'
        )
        # In the lower right corner, where curves of any use do not come.
        axes.legend(loc='lower right', fontsize=11)

    return svg_chart(draw, width_px=_WIDTH_PX, height_px=_HEIGHT_PX, label='ROC curve')


def _name_operating_point(axes: Axes, point: tuple[float, float]) -> None:
    false_rate, recall = point
    is_right = false_rate > 0.6
    axes.annotate(
        'at the limits',
        point,
        (-10 if is_right else 10, -10 if recall > 0.1 else 8),
        textcoords='offset points',
        ha='right' if is_right else 'left',
        va='top' if recall > 0.1 else 'bottom',
        color=DEFECT,
    )


def interval_bar(value: float, low: float, high: float, colour: str) -> str:
    """
    Give a share (0..1) with its interval as a bar for a table cell: HTML, styled by `BAR_STYLE`.

    """
    return (
        f'<span class="share" role="img" aria-label="{value:.3f}">'
        f'<i style="width:{100 * value:.1f}%;background:{colour}"></i>'
        f'<b style="left:{100 * low:.1f}%;width:{100 * (high - low):.1f}%"></b></span>'
    )


BAR_STYLE = f"""
.share {{ display: inline-block; position: relative; width: 180px; height: 10px;
  background: #eef0f3; }}
.share i, .share b {{ position: absolute; left: 0; top: 0; height: 100%; }}
.share b {{ top: 4px; height: 2px; min-width: 1px; background: {INK}; }}
"""


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

    def draw(figure: Figure) -> None:
        grid = figure.subplots()
        without_frame(grid)
        for row, row_shares in enumerate(shares):
            for column, share in enumerate(row_shares):
                _draw_cell(grid, column, row, share)
        grid.set(xlim=(-0.5, len(columns) - 0.5), ylim=(-0.5, len(rows) - 0.5))
        grid.set_aspect(_CELL_HEIGHT_PX / _CELL_WIDTH_PX, anchor='W')
        grid.set_xticks(range(len(columns)), labels=columns)
        grid.set_yticks(range(len(rows)), labels=rows)
        figure.suptitle(readable(title), x=0.02, ha='left', fontsize=14)
        figure.supxlabel(axes[0], fontsize=12, color=TEXT)
        figure.supylabel(axes[1], fontsize=12, color=TEXT)

    return svg_chart(
        draw,
        width_px=max(_CELL_WIDTH_PX * len(columns) + 80, 360),
        height_px=max(_CELL_HEIGHT_PX * len(rows) + 92, 200),
        label=title,
    )


def _draw_cell(
    axes: Axes, column: int, row: int, share: tuple[float, float, float] | None
) -> None:
    from matplotlib.patches import Rectangle

    fill = 'white' if share is None else _share_colour(share[0])
    edge = GRID if share is None else 'white'
    corner = (column - 0.47, row - 0.46)
    axes.add_patch(Rectangle(corner, 0.94, 0.92, facecolor=fill, edgecolor=edge))
    if share is None:
        return
    value, low, high = (100 * one for one in share)
    ink = 'white' if share[0] > 0.8 else INK
    place: dict[str, Any] = {'ha': 'center', 'va': 'center', 'color': ink}
    axes.text(column, row + 0.12, f'{value:.0f} %', size=14, weight='bold', **place)
    axes.text(column, row - 0.26, f'{low:.0f}..{high:.0f}', size=10, **place)


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


def _even_step(tallest: float) -> float:
    """
    Give a round step, per cent, that fits one to four times into the tallest bar.

    """
    steps = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
    return next((step for step in steps if tallest < 5 * step), 50.0)
