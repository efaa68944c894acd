# SPDX-License-Identifier: Apache-2.0
"""
Measures as bars against their limits.

"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from nicegui import ui

from anomaly_inspection.panel.explaining import measure_name, number, unit_name
from anomaly_inspection.panel.layout import text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anomaly_inspection.panel.cell.part_views import LimitView, PartView
    from anomaly_inspection.panel.cell.state import CellPicture
    from anomaly_inspection.panel.words import Words

# The bar of a measure begins and ends at these anomaly scores: a typical good part fills a quarter
# of it, and the mark of the limit stands at three quarters.
_BAR_FROM, _BAR_TO = -0.5, 1.5
# More of them get one line each, so that the page needs no scrolling.
_FEW = 4


class MeasureBars:
    """
    Every measure of a part as a bar against its limit.

    Parameters
    ----------
    words : Words
        The viewer's language.

    """

    def __init__(self, words: Words) -> None:
        self._words = words
        self._names: tuple[str, ...] = ()
        self._rows: list[_MeasureRow] = []
        with ui.element('section').classes('box measures'):
            text(words('line.measures'), 'box-title')
            self._list = ui.element('div').classes('measure-list')

    def show(self, picture: CellPicture) -> None:
        """
        Show the last part.

        """
        part = picture.last_part
        self.show_part(part, part.limits if part else picture.limits)

    def show_part(self, part: PartView | None, limits: Sequence[LimitView]) -> None:
        """
        Show one part; None = the limits alone.

        """
        names = tuple(limit.name for limit in limits)
        if names != self._names or not self._rows:
            self._names = names
            self._list.clear()
            is_long = len(limits) > _FEW
            self._list.classes(replace='measure-list' + (' is-long' if is_long else ''))
            with self._list:
                self._rows = [
                    _MeasureRow(limit, self._words, is_short=is_long) for limit in limits
                ]
                if not limits:
                    text(self._words('line.no_limits'), 'quiet')
        for row, limit in zip(self._rows, limits, strict=True):
            row.show(limit, part)


class _MeasureRow:
    def __init__(self, limit: LimitView, words: Words, *, is_short: bool) -> None:
        self._words = words
        self._before_limit = '' if is_short else f'{words("line.limit")} '
        with ui.element('div').classes('measure') as self._row:
            with ui.element('div').classes('measure-words'):
                text(measure_name(limit.name, words), 'measure-name')
                text(limit.scorer, 'measure-scorer')
                self._value = text(classes='measure-value')
                self._limit = text(classes='measure-limit')
            with ui.element('div').classes('bar'):
                self._bar = ui.element('div').classes('bar-fill')
                ui.element('div').classes('bar-mark')

    def show(self, limit: LimitView, part: PartView | None) -> None:
        value = part.value_of(limit) if part else math.nan
        is_bad = part is not None and part.decision is not None and limit.is_exceeded_by(value)
        self._row.classes(replace='measure is-bad' if is_bad else 'measure')
        unit = unit_name(limit.unit, self._words)
        self._value.text = f'{number(value, self._words)} {unit}'.rstrip()
        sign = '≤' if limit.high_is_bad else '≥'
        self._limit.text = f'{self._before_limit}{sign} {number(limit.value, self._words)}'
        score = limit.anomaly_score(value)
        share = 0.0
        if not math.isnan(score):
            share = min(max((score - _BAR_FROM) / (_BAR_TO - _BAR_FROM), 0.02), 1.0)
        self._bar.style(f'width: {100 * share:.1f}%')
