# SPDX-License-Identifier: Apache-2.0
"""
The box of the Tune page that leads through a challenge: which known part to show next.

"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from nicegui import ui

from anomaly_inspection.panel.asking import asked
from anomaly_inspection.panel.cell.views import ChallengeView
from anomaly_inspection.panel.explaining import said
from anomaly_inspection.panel.layout import text

if TYPE_CHECKING:
    from collections.abc import Callable

    from anomaly_inspection.panel.cell.commands import Answer
    from anomaly_inspection.panel.cell.state import CellPicture
    from anomaly_inspection.panel.panel_parts import PanelParts
    from anomaly_inspection.panel.words import Words

# Which command to give: the page has a button for that.
_COMMAND = re.compile(r'(: to test them,|[:;,])? *start ~/run_challenge.*', re.DOTALL)
_ICONS = {'passed': 'check_circle', 'due': 'schedule', 'running': 'play_circle', 'failed': 'error'}


class ChallengeBox:
    """
    Begin and cancel a challenge; hidden where no known parts are configured.

    Parameters
    ----------
    parts : PanelParts
        Of the visitor.
    words : Words
        In the language of the visitor.
    may_run : bool
        Whether the visitor may begin and cancel.
    view : str
        The view in which it runs; '' in a cell with one camera.

    """

    def __init__(self, parts: PanelParts, words: Words, *, may_run: bool, view: str = '') -> None:
        self._parts, self._words, self._may_run, self._view = parts, words, may_run, view
        self._shown: object = None
        with ui.element('section').classes('box challenge') as self._box:
            title = 'challenge.title_of_view' if view else 'challenge.title'
            text(words(title, view=view) if view else words(title), 'box-title')
            self._state = ui.element('div').classes('challenge-state')
            with self._state:
                self._icon = ui.icon('')
                self._word = text().props('aria-live=polite')
            self._blocked = text(words('challenge.blocked'), 'tune-refused')
            self._detail = text(classes='quiet')
            self._list = ui.element('div').classes('challenge-parts')
            with ui.element('div').classes('button-row'):
                self._start = ui.button(words('challenge.start'), on_click=self._begin)
                self._start.props('unelevated no-caps color=primary icon=play_arrow')
                self._cancel = ui.button(words('challenge.cancel'), on_click=self._ask_to_cancel)
                self._cancel.props('outline no-caps color=primary icon=close')
            self._refused = text(classes='tune-refused').props('role=alert')

    def show(self, picture: CellPicture) -> None:
        """
        Show how it stands.

        """
        found, words = self._found(picture), self._words
        self._box.set_visibility(found.is_configured)
        if not found.is_configured or found == self._shown:
            return
        self._shown = found
        self._icon.name = _ICONS.get(found.state, '')
        key = f'challenge.{found.state}'
        self._word.text = words(key) if words.has(key) else ''
        self._state.classes(replace=f'challenge-state is-{found.state}')
        self._blocked.set_visibility(found.is_blocked)
        self._detail.text = self._sentence(found)
        self._detail.set_visibility(bool(self._detail.text))
        self._start.set_visibility(self._may_run and not found.is_under_way)
        self._cancel.set_visibility(self._may_run and found.is_under_way)
        self._list.clear()
        with self._list:
            for place, part in enumerate(found.parts):
                self._part(found, place, part)

    def _found(self, picture: CellPicture) -> ChallengeView:
        return picture.challenges.get(self._view, ChallengeView())

    def _sentence(self, found: ChallengeView) -> str:
        if found.is_under_way:
            return self._words('challenge.put_on')
        sentence = _COMMAND.sub('', found.detail)
        if found.is_blocked:
            # The page says so itself.
            sentence = sentence.removesuffix('; production is blocked')
        if not math.isnan(found.next_due_s):
            local = self._parts.state.shifts.local(found.next_due_s)
            sentence += '. ' + self._words('challenge.next_due', time=f'{local:%Y-%m-%d %H:%M}')
        return sentence

    def _part(self, found: ChallengeView, place: int, part: str) -> None:
        icon, kind = 'radio_button_unchecked', ''
        if found.is_under_way and place < found.parts_done:
            icon, kind = 'check_circle', ' is-done'
        elif found.is_under_way and place == found.parts_done:
            icon, kind = 'arrow_forward', ' is-next'
        word, _, name = part.partition(' ')
        with ui.element('div').classes(f'challenge-part{kind}'):
            ui.icon(icon)
            key = f'challenge.{word}'
            text(self._words(key) if self._words.has(key) else word, 'challenge-kind')
            text(name, 'grow')

    async def _begin(self) -> None:
        await self._ask(self._start, self._parts.commands.run_challenge)

    async def _ask_to_cancel(self) -> None:
        await self._ask(self._cancel, self._parts.commands.cancel_challenge)

    async def _ask(self, button: ui.button, command: Callable[[str], Answer]) -> None:
        self._refused.text = ''
        button.disable()
        answer = await asked(lambda: command(self._view))
        button.enable()
        # What was begun and then failed is told by the decider.
        is_told = self._found(self._parts.state.picture()).state == 'failed'
        self._refused.text = '' if answer.success or is_told else said(answer, self._words)
