# SPDX-License-Identifier: Apache-2.0
"""
The box of the Tune page that derives the limits from the next good parts.

"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from nicegui import ui

from anomaly_inspection.panel.asking import asked
from anomaly_inspection.panel.explaining import measure_name, number, said
from anomaly_inspection.panel.layout import text

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from anomaly_inspection.panel.cell.commands import Answer
    from anomaly_inspection.panel.cell.state import CellPicture
    from anomaly_inspection.panel.panel_parts import PanelParts
    from anomaly_inspection.panel.words import Words

_USUAL_PARTS, _FEWEST_PARTS, _MOST_PARTS = 50, 5, 100_000


class CalibrationBox:
    """
    Begin, watch, cancel and undo a calibration; whoever looks sees the one that is under way.

    """

    def __init__(self, parts: PanelParts, words: Words) -> None:
        self._parts, self._words = parts, words
        self._shown: object = None
        with ui.element('section').classes('box'):
            text(words('calibrate.title'), 'box-title')
            with ui.element('div').classes('tune-calibrate-start') as self._start_row:
                text(words('calibrate.hint'), 'quiet')
                with ui.element('div').classes('button-row'):
                    self._count = ui.number(
                        words('calibrate.parts'),
                        value=_USUAL_PARTS,
                        min=_FEWEST_PARTS,
                        max=_MOST_PARTS,
                        precision=0,
                    ).props('outlined dense hide-bottom-space')
                    self._count.classes('calibrate-count')
                    self._start = ui.button(words('calibrate.start'), on_click=self._begin)
                    self._start.props('unelevated no-caps color=primary icon=play_arrow')
            with ui.element('div').classes('calibrate-progress') as self._progress_row:
                with ui.element('div').classes('calibrate-number'):
                    self._done = text(classes='calibrate-done').props('aria-live=polite')
                    self._of = text(classes='quiet')
                self._bar = ui.linear_progress(value=0, show_value=False, size='8px')
                self._not_counted = text(classes='quiet small')
                self._cancel = ui.button(words('calibrate.cancel'), on_click=self._ask_to_cancel)
                self._cancel.props('outline no-caps color=primary icon=close')
            self._result = ui.element('div').classes('calibrate-result')
            self._undo = ui.button(words('calibrate.undo'), on_click=self._ask_to_undo)
            self._undo.props('outline no-caps color=primary icon=undo')
            self._refused = text(classes='tune-refused').props('role=alert')

    def show(self, picture: CellPicture) -> None:
        """
        Show how far it is, or what came of it.

        """
        found = picture.calibration
        self._start_row.set_visibility(not found.is_under_way)
        self._progress_row.set_visibility(found.is_under_way)
        self._undo.set_visibility(found.state == 'done')
        if found.is_under_way:
            self._done.text = str(found.parts)
            self._of.text = self._words('calibrate.of', count=found.parts_wanted)
            self._bar.set_value(found.parts / max(found.parts_wanted, 1))
            # The decider says which parts did not count, and why.
            self._not_counted.text = found.detail.partition('; ')[2]
        limits = {limit.name: limit.value for limit in picture.limits}
        shown = (found, limits, picture.limits_before_calibration)
        if shown != self._shown:
            self._shown = shown
            self._result.clear()
            with self._result:
                self._show_result(picture)

    def _show_result(self, picture: CellPicture) -> None:
        found, before = picture.calibration, picture.limits_before_calibration
        if found.state == 'done' and before:
            for limit in picture.limits:
                with ui.element('div').classes('calibrate-limit'):
                    text(measure_name(limit.name, self._words), 'grow')
                    old = number(before.get(limit.name, math.nan), self._words)
                    text(f'{old}  →  {number(limit.value, self._words)}', 'calibrate-values')
            text(found.promise, 'quiet')
        elif found.state == 'failed':
            text(found.detail, 'tune-refused')
        elif not found.is_under_way and found.detail:
            text(found.detail, 'quiet')

    async def _begin(self) -> None:
        count = self._count.value
        if count is None or math.isnan(count):
            self._refused.text = self._words('calibrate.how_many')
            return
        await self._ask(self._start, self._parts.commands.calibrate, int(count), 0.0)

    async def _ask_to_cancel(self) -> None:
        await self._ask(self._cancel, self._parts.commands.cancel_calibration)

    async def _ask_to_undo(self) -> None:
        await self._ask(self._undo, self._parts.commands.undo_calibration)

    async def _ask(
        self, button: ui.button, command: Callable[..., Answer], *arguments: Any
    ) -> None:
        self._refused.text = ''
        button.disable()
        answer = await asked(command, *arguments)
        button.enable()
        # What was begun and then failed is told by the decider.
        is_told = self._parts.state.picture().calibration.state == 'failed'
        self._refused.text = '' if answer.success or is_told else said(answer, self._words)
