# SPDX-License-Identifier: Apache-2.0
"""
One calm line on the Line page: what has changed since teaching.

"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from nicegui import ui

from anomaly_inspection.panel.layout import text

if TYPE_CHECKING:
    from anomaly_inspection.panel.cell.state import CellPicture, CellState
    from anomaly_inspection.panel.cell.views import DriftCauseView, DriftView
    from anomaly_inspection.panel.words import Words

_DAY_S = 86_400.0
_MINUS = '\u2212'


class DriftLine:
    """
    Says what has changed since teaching; nothing while all is as taught.

    Parameters
    ----------
    state : CellState
        For the clock of the plant.
    words : Words
        The viewer's language.

    """

    def __init__(self, state: CellState, words: Words) -> None:
        self._state, self._words = state, words
        with ui.element('div').classes('drift').props('role=status') as self._box:
            ui.icon('trending_up').classes('drift-icon')
            self._text = text()
        self._box.set_visibility(False)

    def show(self, picture: CellPicture) -> None:
        """
        Show how the promise stands.

        """
        drift = picture.drift
        self._box.set_visibility(drift.state == 'void')
        if drift.state == 'void':
            last = picture.last_part
            now_s = last.time_s if last else drift.since_s
            self._text.text = drift_words(drift, self._words, self._clock(drift.since_s, now_s))

    def _clock(self, since_s: float, now_s: float) -> str:
        local = self._state.shifts.local(since_s)
        return f'{local:%H:%M}' if now_s - since_s < _DAY_S else f'{local:%d.%m. %H:%M}'


def drift_words(drift: DriftView, words: Words, clock: str) -> str:
    """
    Say what has changed since teaching, in the viewer's language.

    """
    causes = '; '.join(_cause(cause, words) for cause in drift.causes)
    return words('drift.void', time=clock, causes=causes)


def _cause(cause: DriftCauseView, words: Words) -> str:
    change = _change(cause, words)
    name = words(f'drift.{cause.kind}')
    return f'{name} {change}' if change else name


def _change(cause: DriftCauseView, words: Words) -> str:
    """
    Write by how much; '' for a measure, whose numbers stand on the Tune page.

    """
    if not cause.unit or not math.isfinite(cause.change):
        return ''
    key = f'drift.unit_{cause.unit}'
    unit = words(key) if words.has(key) else cause.unit
    digits = 0 if abs(cause.change) >= 10 or cause.unit == '%' else 1
    number = words.decimal(f'{abs(cause.change):.{digits}f}')
    if cause.kind == 'camera':
        return f'({number} {unit})'
    sign = '+' if cause.change > 0 else _MINUS
    return f'({sign}{number} {unit})'
