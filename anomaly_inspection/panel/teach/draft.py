# SPDX-License-Identifier: Apache-2.0
"""
The right side of the Teach page: teach, what came of it, trial run, accept.

"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from nicegui import ui

from anomaly_inspection.panel.asking import asked, tell_refusal
from anomaly_inspection.panel.explaining import NO_NUMBER, said
from anomaly_inspection.panel.layout import text
from anomaly_inspection.panel.teach.options import TeachOptionsBox
from anomaly_inspection.panel.teach.teacher_state import ACCEPTING, IDLE, TEACHING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from anomaly_inspection.panel.cell.state import CellPicture
    from anomaly_inspection.panel.panel_parts import PanelParts
    from anomaly_inspection.panel.teach.images import Region
    from anomaly_inspection.panel.teach.teacher_state import DraftView, SessionView, ShadowView
    from anomaly_inspection.panel.words import Words

# As the teacher refuses fewer.
_FEWEST_IMAGES = 5
_SHADOWS = 6


class TeachBox:
    """
    Settings, the button, and how far it is.

    """

    def __init__(
        self, parts: PanelParts, words: Words, region: Callable[[], Region | None]
    ) -> None:
        self._parts, self._words, self._region = parts, words, region
        self._session: SessionView | None = None
        with ui.element('section').classes('box'):
            text(words('teach.teach_title'), 'box-title')
            with ui.element('div').classes('teach-row'):
                self._note = text(classes='quiet grow')
                self._begin = ui.button(words('teach.teach'), on_click=self._teach)
                self._begin.props('unelevated no-caps color=primary')
                self._cancel = ui.button(words('teach.cancel'), on_click=self._stop)
                self._cancel.props('outline no-caps')
            self._options = TeachOptionsBox(words)
            self._bar = ui.linear_progress(0.0, show_value=False).classes('teach-progress')
            self._problem = text(classes='teach-problem')

    def show(self, picture: CellPicture, session: SessionView | None) -> None:
        """
        Show what there is to teach, and how far it is.

        """
        self._session = session
        teacher, words = picture.teacher, self._words
        is_teaching = teacher.activity == TEACHING
        images = session.images if session else 0
        self._begin.set_visibility(not is_teaching)
        self._cancel.set_visibility(is_teaching)
        self._bar.set_visibility(is_teaching)
        self._begin.set_enabled(teacher.activity == IDLE and images >= _FEWEST_IMAGES)
        if is_teaching:
            self._bar.value = teacher.done / teacher.wanted if teacher.wanted else 0.0
            detail = teacher.detail[:1].upper() + teacher.detail[1:]
            self._note.text = f'{detail}: {teacher.done} / {teacher.wanted}'
        elif images < _FEWEST_IMAGES:
            self._note.text = words('teach.too_few', least=_FEWEST_IMAGES)
        else:
            self._note.text = words('teach.teach_hint', count=images)
        answer = picture.teacher_answers.get('teach')
        failed = answer is not None and not answer.success and not is_teaching
        self._problem.text = said(answer, self._words) if answer is not None and failed else ''

    async def _teach(self) -> None:
        if self._session is None:
            return
        settings = self._options.settings(self._region() or ())
        self._begin.disable()
        await asked(self._parts.teaching.teach, self._session.name, settings)

    async def _stop(self) -> None:
        await asked(self._parts.teaching.stop)


class DraftBox:
    """
    What was taught: figures, self-test as a table and picture, trial run, accept or throw away.

    """

    def __init__(self, parts: PanelParts, words: Words) -> None:
        self._parts, self._words = parts, words
        self._shown: tuple[Any, ...] = ()
        self._session: SessionView | None = None
        with ui.element('section').classes('box teach-draft') as self._box:
            text(words('teach.result'), 'box-title')
            self._body = ui.element('div').classes('teach-draft-body')
        with ui.element('section').classes('box') as self._trial_box:
            text(words('teach.trial'), 'box-title')
            with ui.element('div').classes('teach-row'):
                self._trial_words = text(classes='grow')
                self._trial = ui.button(on_click=self._toggle_trial).props('outline no-caps')
            self._counts = ui.element('div').classes('counter-row teach-counts')
            with self._counts:
                self._numbers = {
                    name: _counter(words(f'teach.{name}'))
                    for name in ('parts', 'draft_rejects', 'rejects_in_force', 'differ')
                }
                self._boxes = {}
                for name, label in self._numbers.items():
                    slot = label.parent_slot
                    assert slot is not None, 'it stands in its counter'
                    self._boxes[name] = slot.parent
            self._dropped = text(classes='quiet')
            self._list = ui.element('div').classes('teach-shadows')
            self._rows: list[_ShadowRow] = []
            with self._list:
                with ui.element('div').classes('teach-shadow is-head'):
                    for key in ('part', 'by_draft', 'in_force'):
                        text(words(f'teach.{key}'))
                self._rows = [_ShadowRow(words) for _ in range(_SHADOWS)]
        with ui.element('section').classes('box teach-end') as self._end_box:
            with ui.element('div').classes('teach-row'):
                self._accept = ui.button(words('teach.accept'), on_click=self._accept_draft)
                self._accept.props('unelevated no-caps color=primary').classes('grow')
                self._discard = ui.button(words('teach.discard'), on_click=self._throw_away)
                self._discard.props('outline no-caps')
            self._problem = text(classes='teach-problem')

    def show(self, picture: CellPicture, session: SessionView | None) -> None:
        """
        Show the draft of a session.

        """
        self._session = session
        draft = session.draft if session else None
        for box in (self._box, self._trial_box, self._end_box):
            box.set_visibility(draft is not None)
        if session is None or draft is None:
            self._shown = ()
            return
        if (session.name, draft) != self._shown:
            self._shown = (session.name, draft)
            self._body.clear()
            with self._body:
                _headline(draft, self._words)
                self._rate_words = text()
        self._show_rate(picture, draft)
        self._show_trial(picture, session)
        is_accepting = picture.teacher.activity == ACCEPTING
        for button in (self._accept, self._discard):
            button.set_enabled(picture.teacher.activity == IDLE)
        self._accept.text = self._words('teach.accepting' if is_accepting else 'teach.accept')
        answer = picture.teacher_answers.get('accept')
        self._problem.text = (
            said(answer, self._words) if answer is not None and not answer.success else ''
        )

    def _show_rate(self, picture: CellPicture, draft: DraftView) -> None:
        """
        Show the time for a part against the rate of the line.

        """
        per_s = picture.parts_per_minute(time.time()) / 60
        is_slow = per_s > draft.most_parts_per_s
        self._rate_words.set_visibility(per_s > 0)
        key = 'teach.rate_too_high' if is_slow else 'teach.rate_fits'
        self._rate_words.text = self._words(
            key,
            rate=self._words.decimal(f'{per_s:.2g}'),
            most=self._words.decimal(f'{draft.most_parts_per_s:.3g}'),
        )
        self._rate_words.classes(replace='teach-problem' if is_slow else 'quiet')

    def _show_trial(self, picture: CellPicture, session: SessionView) -> None:
        trial, words = picture.teacher.trial, self._words
        is_on = trial.session == session.name
        self._trial.text = words('teach.trial_stop' if is_on else 'teach.trial_start')
        has_recipe = bool(picture.recipe.name)
        key = 'trial_on' if is_on else 'trial_off'
        self._trial_words.text = words(f'teach.{key}' if has_recipe else f'teach.{key}_first')
        for name in ('rejects_in_force', 'differ'):
            self._boxes[name].set_visibility(has_recipe)
        self._counts.set_visibility(is_on)
        self._list.set_visibility(is_on)
        self._dropped.set_visibility(is_on and trial.dropped > 0)
        for name, label in self._numbers.items():
            label.text = str(getattr(trial, name))
        self._dropped.text = words('teach.trial_dropped', count=trial.dropped)
        newest = picture.shadows[::-1]
        for place, row in enumerate(self._rows):
            row.show(newest[place] if place < len(newest) else None, has_recipe=has_recipe)

    async def _toggle_trial(self) -> None:
        session, teaching = self._session, self._parts.teaching
        if session is None:
            return
        is_on = self._parts.state.picture().teacher.trial.session == session.name
        self._trial.disable()
        if is_on:
            answer = await asked(teaching.stop_trial)
        else:
            answer = await asked(teaching.start_trial, session.name)
        self._trial.enable()
        tell_refusal(answer, self._words)

    async def _accept_draft(self) -> None:
        session = self._session
        if session is None or session.draft is None:
            return
        if session.draft.faults and not await _is_wanted(session.draft, self._words):
            return
        self._accept.disable()
        await asked(self._parts.teaching.accept, session.name)

    async def _throw_away(self) -> None:
        if self._session is not None:
            answer = await asked(self._parts.teaching.discard, self._session.name)
            tell_refusal(answer, self._words)


class DraftDetails:
    """
    What the draft sees of drawn defects, and what there is to know about the images.

    """

    def __init__(self, words: Words) -> None:
        self._words = words
        self._shown: tuple[Any, ...] = ()
        self._box = ui.element('section').classes('box teach-details')

    def show(self, session: SessionView | None) -> None:
        """
        Show the draft of a session.

        """
        draft = session.draft if session else None
        self._box.set_visibility(draft is not None)
        if session is None or draft is None or (session.name, draft) == self._shown:
            return
        self._shown = (session.name, draft)
        self._box.clear()
        with self._box:
            with ui.element('div').classes('teach-part'):
                text(self._words('teach.self_test'), 'box-title')
                _table(draft, self._words)
                _examples(session.name, draft, self._words)
            with ui.element('div').classes('teach-part'):
                text(self._words('teach.about_images'), 'box-title')
                _notes(draft, self._words)


class _ShadowRow:
    """
    Both verdicts on one part, each as shape and word.

    """

    def __init__(self, words: Words) -> None:
        self._words = words
        with ui.element('div').classes('teach-shadow') as self._row:
            self._number = text()
            self._draft, self._in_force = _Verdict(words), _Verdict(words)

    def show(self, shadow: ShadowView | None, *, has_recipe: bool) -> None:
        self._row.set_visibility(shadow is not None)
        if shadow is None:
            return
        self._number.text = str(shadow.number)
        self._draft.show(has_passed=shadow.draft_passes)
        self._in_force.show(has_passed=shadow.passes_in_force if has_recipe else None)
        differs = has_recipe and shadow.draft_passes != shadow.passes_in_force
        self._row.classes(replace='teach-shadow' + (' differs' if differs else ''))


class _Verdict:
    def __init__(self, words: Words) -> None:
        self._words = words
        with ui.element('div').classes('teach-verdict') as self._box:
            self._icon = ui.icon('')
            self._word = text()

    def show(self, *, has_passed: bool | None) -> None:
        self._icon.set_visibility(has_passed is not None)
        if has_passed is None:
            self._word.text = NO_NUMBER
            return
        kind = 'good' if has_passed else 'bad'
        self._box.classes(replace=f'teach-verdict is-{kind}')
        self._icon.name = 'check_circle' if has_passed else 'dangerous'
        self._word.text = self._words(f'verdict.{kind}')


def _headline(draft: DraftView, words: Words) -> None:
    """
    Show the figures that decide.

    """
    for fault in draft.faults:
        with ui.element('div').classes('problem is-error'):
            ui.icon('error').classes('problem-icon')
            text(fault, 'problem-message')
    if draft.faults:
        text(words('teach.fault_advice'))
    with ui.element('div').classes('counter-row'):
        for name, value in (
            ('seen_in_all', _percent(draft.seen_in_all)),
            ('false_rejects', _percent(draft.false_rejects)),
            ('frame_time', words.decimal(f'{draft.frame_time_ms:.3g} ms')),
            ('most_parts', words.decimal(f'{draft.most_parts_per_s:.3g}')),
        ):
            _counter(words(f'teach.{name}')).text = value
    text(
        words(
            'teach.taught_on',
            name=draft.recipe_name,
            count=draft.image_count,
            distinct=draft.distinct_count,
            scorers=', '.join(draft.scorers),
        ),
        'quiet',
    )


async def _is_wanted(draft: DraftView, words: Words) -> bool:
    """
    Ask whether a draft that is not fit for use shall be used all the same.

    """
    with ui.dialog() as dialog, ui.card().classes('teach-dialog'):
        text(words('teach.really_accept'), 'teach-hint-title')
        for fault in draft.faults:
            text(fault)
        with ui.element('div').classes('teach-row'):
            ui.element('div').classes('grow')
            ui.button(words('teach.cancel'), on_click=dialog.close).props('flat no-caps')
            ui.button(words('teach.accept_anyway'), on_click=lambda: dialog.submit(True)).props(
                'unelevated no-caps color=negative'
            )
    return bool(await dialog)


def _examples(session: str, draft: DraftView, words: Words) -> None:
    for key, picture in (('missed', draft.missed_picture), ('seen', draft.seen_picture)):
        if picture:
            text(words(f'teach.{key}_examples'), 'quiet')
            image = ui.element('img').classes('teach-examples')
            image._props |= {
                # The hash: another draft has other pictures at the same address.
                'src': f'/teaching/{session}/draft/{key}.png?{draft.hash[:12]}',
                'alt': words(f'teach.{key}_examples'),
            }


def _notes(draft: DraftView, words: Words) -> None:
    with ui.element('ul').classes('teach-notes'):
        for sentence, is_problem in draft.findings:
            _note(sentence, is_problem=is_problem)
        for name in draft.left_out:
            _note(words('teach.left_out', name=name), is_problem=True)
        _note(draft.promise, is_problem=False)
        for sentence in draft.notes:
            _note(sentence, is_problem=False)


def _table(draft: DraftView, words: Words) -> None:
    """
    Show the self-test: the share seen, by size and contrast.

    """
    columns = len(draft.sizes_px)
    with (
        ui.element('div')
        .classes('teach-table')
        .style(f'grid-template-columns: auto repeat({columns}, 1fr)')
    ):
        text(words('teach.table_head'), 'teach-head quiet')
        for size in draft.sizes_px:
            text(words.decimal(f'{size:g} px'), 'teach-head')
        for row, contrast in enumerate(draft.contrasts_levels):
            text(words('teach.levels', count=words.decimal(f'{contrast:g}')), 'teach-head')
            for share in draft.seen[row * columns : (row + 1) * columns]:
                strength = 0 if math.isnan(share) else round(100 * share)
                text(_percent(share), 'teach-cell').style(f'--share: {strength}%')


def _note(sentence: str, *, is_problem: bool) -> None:
    with ui.element('li').classes('teach-note' + (' is-problem' if is_problem else '')):
        ui.icon('warning' if is_problem else 'check').classes('teach-note-icon')
        text(sentence[:1].upper() + sentence[1:])


def _counter(name: str) -> ui.label:
    with ui.element('div').classes('counter'):
        value = text('-', 'counter-value')
        text(name, 'counter-name')
    return value


def _percent(share: float) -> str:
    return '-' if math.isnan(share) else f'{100 * share:.0f} %'
