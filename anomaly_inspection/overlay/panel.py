# SPDX-License-Identifier: Apache-2.0
"""
The panel of the overlay: verdict and reason, the table of measures, the legend of the heat.

"""

from __future__ import annotations

from dataclasses import dataclass
import math
from typing import TYPE_CHECKING

import cv2
import numpy as np

from anomaly_inspection.errors import SettingError
from anomaly_inspection.overlay.canvas import (
    BAD,
    Box,
    BRIGHT,
    DIM,
    draw_text,
    fill,
    fill_rounded,
    fitted_text,
    FULL_HEAT,
    GOOD,
    HEAT,
    HEAT_ALPHA,
    printable_text,
    sortable,
    text_width,
    TRACK,
    WHITE,
    wrapped_text,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anomaly_inspection.overlay.canvas import Picture

# The bar of a measure ends at this anomaly score; its tick stands at 1.
BAR_END = 1.5

# Nominal pixels of the panel.
PANEL, MARGIN, HEADER, ROW, LEGEND = 316, 14, 170, 41, 46
# So many rows fit beside any picture, and in a column below a wide one.
LEAST_ROWS, ROWS_BELOW = 6, 4

# Blue, green, red. Verdicts differ in word and icon as well, for the colour-blind.
VERDICT_COLOURS = {'PASS': (84, 142, 22), 'REJECT': (44, 48, 214), 'UNDECIDED': (128, 114, 107)}


@dataclass(frozen=True)
class MeasureRow:
    """
    One line of the table of measures.

    Parameters
    ----------
    name : str
        'scorer.measure'.
    value, limit : float
        Unit as below; NaN = not measured, which counts as anomalous.
    relation : str
        What a good value does: '<=' the limit or '>=' the limit.
    unit : str
        '1' for a pure number.
    anomaly_score : float
        0 = a typical good part, 1 = exactly at the limit; NaN = not measured.

    Raises
    ------
    SettingError
        When the relation is another.

    """

    name: str
    value: float
    limit: float
    relation: str
    unit: str = '1'
    anomaly_score: float = math.nan

    def __post_init__(self) -> None:
        if self.relation not in ('<=', '>='):
            raise SettingError(f"relation is {self.relation!r}; allowed: '<=', '>='")

    @property
    def is_anomalous(self) -> bool:
        """
        Whether the value lies beyond the limit or is not known.

        """
        is_good = self.value <= self.limit if self.relation == '<=' else self.value >= self.limit
        return not is_good


def draw_header(
    canvas: Picture, box: Box, unit: float, verdict: str, words: tuple[str, str, str]
) -> None:
    """
    Draw the badge with the verdict, the reason, the title and the recipe.

    """
    margin = round(MARGIN * unit)
    left, right, top = box.x_min + margin, box.x_max - margin, box.y_min + margin
    badge = Box(left, top, right, top + round(60 * unit))
    fill_rounded(canvas, badge, round(8 * unit), VERDICT_COLOURS[verdict])
    _draw_icon(canvas, left + round(34 * unit), top + round(30 * unit), unit, verdict)
    room = right - left - round(76 * unit)
    capital = min(22 * unit, 22 * unit * room / max(1, text_width(verdict, 22 * unit, bold=True)))
    baseline = top + round(30 * unit + capital / 2)
    draw_text(canvas, verdict, left + round(62 * unit), baseline, capital, WHITE, bold=True)

    reason, title, recipe = (printable_text(text) for text in words)
    baseline = badge.y_max + round(24 * unit)
    for line in wrapped_text(reason, right - left, 10.5 * unit, 2):
        draw_text(canvas, line, left, baseline, 10.5 * unit, BRIGHT, bold=True)
        baseline += round(19 * unit)
    baseline += round(2 * unit)
    for text in (title, recipe):
        fitted = fitted_text(text, right - left, 9 * unit)
        draw_text(canvas, fitted, left, baseline, 9 * unit, DIM)
        baseline += round(18 * unit) if text else 0


def _draw_icon(canvas: Picture, x: int, y: int, unit: float, verdict: str) -> None:
    colour, thickness = VERDICT_COLOURS[verdict], round(4.5 * unit)
    cv2.circle(canvas, (x, y), round(17 * unit), WHITE, -1, cv2.LINE_AA)
    strokes = {
        'PASS': (((-7.5, 0.5), (-2.5, 5.5)), ((-2.5, 5.5), (7.5, -5))),
        'REJECT': (((-6, -6), (6, 6)), ((-6, 6), (6, -6))),
        'UNDECIDED': (((-6, 0), (6, 0)),),
    }[verdict]
    for stroke in strokes:
        ends = [(x + round(dx * unit), y + round(dy * unit)) for dx, dy in stroke]
        cv2.line(canvas, ends[0], ends[1], colour, thickness, cv2.LINE_AA)


def draw_table(canvas: Picture, box: Box, unit: float, rows: Sequence[MeasureRow]) -> int:
    """
    Draw the measures; give the row of pixels below them.

    """
    margin, row_height = round(MARGIN * unit), round(ROW * unit)
    columns = max(1, (box.x_max - box.x_min) // round(PANEL * unit))
    places = (box.y_max - box.y_min) // row_height * columns
    shown = list(rows)
    if len(rows) > places:
        shown = sorted(
            rows, key=lambda row: (row.is_anomalous, sortable(row.anomaly_score)), reverse=True
        )[: max(0, places - 1)]
    lines = math.ceil(min(len(rows), places) / columns)
    pitch = (box.x_max - box.x_min) // columns
    for index in range(min(len(rows), places)):
        left = box.x_min + index // max(1, lines) * pitch + margin
        top = box.y_min + index % lines * row_height
        right = left + pitch - 2 * margin
        if index < len(shown):
            _draw_row(canvas, Box(left, top, right, top + row_height), unit, shown[index])
        else:
            more = fitted_text(f'and {len(rows) - len(shown)} more', right - left, 9 * unit)
            draw_text(canvas, more, left, top + round(16 * unit), 9 * unit, DIM)
    return box.y_min + lines * row_height


def _draw_row(canvas: Picture, box: Box, unit: float, row: MeasureRow) -> None:
    capital, baseline = 9 * unit, box.y_min + round(16 * unit)
    width = box.x_max - box.x_min
    value = _number(row.value, row.limit)
    limit = f'{row.relation} {_number(row.limit, row.value)}'
    gap = round(7 * unit)
    limit_x = box.x_max - text_width(limit, capital)
    value_x = limit_x - gap - text_width(value, capital, bold=True)
    name_room = value_x - gap - box.x_min
    name = fitted_text(printable_text(row.name), name_room, capital)
    draw_text(canvas, name, box.x_min, baseline, capital, BRIGHT)
    colour = BAD if row.is_anomalous else GOOD
    draw_text(canvas, value, value_x, baseline, capital, colour, bold=True)
    draw_text(canvas, limit, limit_x, baseline, capital, DIM)
    unit_x = box.x_min + text_width(name, capital) + gap
    unit_name = '' if row.unit == '1' else printable_text(row.unit)
    if text_width(unit_name, 8 * unit) <= value_x - gap - unit_x:
        draw_text(canvas, unit_name, unit_x, baseline, 8 * unit, DIM)

    top, bottom = box.y_min + round(24 * unit), box.y_min + round(30 * unit)
    fill(canvas, Box(box.x_min, top, box.x_max, bottom), TRACK)
    if not math.isnan(row.anomaly_score):
        share = min(max(row.anomaly_score / BAR_END, 0.0), 1.0)
        fill(canvas, Box(box.x_min, top, box.x_min + round(share * width), bottom), colour)
    tick, half = box.x_min + round(width / BAR_END), max(1, round(unit))
    reach = round(3 * unit)
    fill(canvas, Box(tick - half, top - reach, tick + half, bottom + reach), WHITE)


def draw_legend(canvas: Picture, box: Box, unit: float) -> None:
    """
    Draw the scale of the heat.

    """
    margin = round(MARGIN * unit)
    left, right = box.x_min + margin, box.x_max - margin
    bottom = box.y_max - margin
    baseline = bottom - round(14 * unit)
    draw_text(canvas, 'limit', left, baseline, 8 * unit, DIM)
    end = f'{FULL_HEAT} x limit'
    draw_text(canvas, end, right - text_width(end, 8 * unit), baseline, 8 * unit, DIM)
    alpha = HEAT_ALPHA[None, :, None] / HEAT_ALPHA[-1]
    gradient = (HEAT * alpha + np.array(TRACK) * (1 - alpha)).astype(np.uint8)
    size = (right - left, round(6 * unit))
    canvas[bottom - size[1] : bottom, left:right] = cv2.resize(gradient, size)


def _number(value: float, other: float) -> str:
    """
    Write a number with enough decimals to tell it from the other one.

    """
    if math.isnan(value):
        return 'n/a'
    if math.isinf(value):
        return 'inf' if value > 0 else '-inf'
    size = max((abs(n) for n in (value, other) if math.isfinite(n)), default=0.0)
    if size >= 1e6 or 0 < size < 1e-3:
        return f'{value:.2e}'
    decimals = 3 if size < 10 else 1 if size < 1000 else 0
    if value == round(value) and (not math.isfinite(other) or other == round(other)):
        decimals = 0
    while value != other and f'{value:.{decimals}f}' == f'{other:.{decimals}f}' and decimals < 6:
        decimals += 1
    return f'{value:.{decimals}f}'
