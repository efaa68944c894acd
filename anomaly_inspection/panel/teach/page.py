# SPDX-License-Identifier: Apache-2.0
"""
The Teach page: from good parts on the line to a new recipe in force, from left to right.

"""

from __future__ import annotations

import asyncio
from datetime import datetime
import math
from typing import TYPE_CHECKING

from fastapi import Request
from nicegui import ui

from anomaly_inspection.panel import layout
from anomaly_inspection.panel.access.guard import visitor_of
from anomaly_inspection.panel.asking import asked, tell_refusal
from anomaly_inspection.panel.explaining import said
from anomaly_inspection.panel.layout import text
from anomaly_inspection.panel.live_picture import LivePicture
from anomaly_inspection.panel.teach.draft import DraftBox, DraftDetails, TeachBox
from anomaly_inspection.panel.teach.images import SessionImages
from anomaly_inspection.panel.teach.teacher_state import IDLE, RECORDING
from anomaly_inspection.teaching.session import LARGEST_UPLOAD_BYTES, LONGEST_PRODUCT, MOST_IMAGES

if TYPE_CHECKING:
    from nicegui.events import UploadEventArguments

    from anomaly_inspection.panel.cell.state import CellPicture
    from anomaly_inspection.panel.panel_parts import PanelParts
    from anomaly_inspection.panel.teach.teacher_state import SessionView
    from anomaly_inspection.panel.words import Words

_USUAL_PARTS = 30


def add_page(parts: PanelParts) -> None:
    """
    Add the page to the site.

    """

    @ui.page('/teach')
    def teach(request: Request) -> None:
        _show(parts.for_visitor(visitor_of(request)), request)


def _show(parts: PanelParts, request: Request) -> None:
    """
    Make the page for one visitor.

    """
    with layout.frame(parts, request, 'teach') as words:
        with ui.element('div').classes('teach-missing') as missing:
            ui.icon('school')
            text(words('teach.of_views' if parts.has_views else 'teach.not_running'))
        with ui.element('div').classes('teach-columns') as columns:
            with ui.element('div').classes('teach-column'):
                record = _RecordBox(parts, words)
                with ui.element('section').classes('box teach-live'):
                    LivePicture(words)
            with ui.element('div').classes('teach-column'):
                images = SessionImages(parts, words)
                details = DraftDetails(words)
            with ui.element('div').classes('teach-column'):
                teach_box = TeachBox(parts, words, lambda: images.region)
                with ui.element('section').classes('teach-accepted') as accepted:
                    accepted_words = text()
                    ui.button(words('teach.to_line'), on_click=lambda: ui.navigate.to('/')).props(
                        'unelevated no-caps color=primary'
                    )
                draft = DraftBox(parts, words)

        def show() -> None:
            picture = parts.state.picture()
            missing.set_visibility(not picture.teacher_is_running)
            columns.set_visibility(picture.teacher_is_running)
            session = record.show(picture)
            images.show(session.name if session else '', session.images if session else 0)
            teach_box.show(picture, session)
            draft.show(picture, session)
            details.show(session)
            answer = picture.teacher_answers.get('accept')
            is_accepted = answer is not None and answer.success
            accepted_words.text = said(answer, words) if answer is not None and is_accepted else ''
            accepted.set_visibility(is_accepted and not (session and session.draft))

        layout.on_change(parts, show)


class _RecordBox:
    """
    Choose or begin a session, record into it, and see how it goes.

    """

    def __init__(self, parts: PanelParts, words: Words) -> None:
        self._parts, self._words = parts, words
        self._names: dict[str, str] = {}
        self._chosen = ''
        self._wants_new = False
        # The session that files have begun, until the teacher's state shows it.
        self._begun = ''
        self._adding = asyncio.Lock()
        with ui.element('section').classes('box'):
            text(words('teach.record_title'), 'box-title')
            text(words('teach.record_hint'), 'quiet teach-hint-above')
            with ui.element('div').classes('teach-row'):
                self._select = (
                    ui.select({}, label=words('teach.session'), on_change=self._take_choice)
                    .props('outlined dense options-dense')
                    .classes('grow')
                )
                self._product = ui.input(words('teach.product')).classes('grow')
                self._product.props(f'outlined dense maxlength={LONGEST_PRODUCT} autofocus')
                self._product.on('keydown.enter', self._record)
                self._new = ui.button(icon='add', on_click=self._begin_new).props('flat dense')
                self._new.tooltip(words('teach.new_product'))
                self._new.props(f'aria-label="{words("teach.new_product")}"')
                self._remove = ui.button(icon='delete', on_click=self._ask_to_delete)
                self._remove.props(f'flat dense aria-label="{words("teach.delete_session")}"')
                self._remove.tooltip(words('teach.delete_session'))
            with ui.element('div').classes('teach-row'):
                self._parts_wanted = ui.number(
                    words('teach.how_many'),
                    value=_USUAL_PARTS,
                    min=0,
                    max=MOST_IMAGES,
                    precision=0,
                ).props('outlined dense')
                self._record_button = ui.button(words('teach.record'), on_click=self._record)
                self._record_button.props('unelevated no-caps color=primary icon=videocam')
                self._stop_button = ui.button(words('teach.stop'), on_click=self._stop)
                self._stop_button.props('unelevated no-caps icon=stop color=primary')
            text(words('teach.how_many_hint'), 'quiet')
            with ui.element('div').classes('teach-counter'):
                self._count = text('0', 'teach-count')
                self._count_words = text(classes='quiet')
            with ui.element('div').classes('teach-hint').props('aria-live=polite') as self._hint:
                self._hint_icon = ui.icon('').classes('teach-hint-icon')
                with ui.element('div'):
                    self._hint_title = text(classes='teach-hint-title')
                    self._hint_words = text(classes='quiet')
            self._problem = text(classes='teach-problem')
            self._upload = ui.upload(
                label=words('teach.upload'),
                multiple=True,
                auto_upload=True,
                max_file_size=LARGEST_UPLOAD_BYTES,
                on_upload=self._take_file,
                on_rejected=lambda: ui.notify(
                    words('teach.upload_refused'), type='negative', position='top'
                ),
            ).props('flat bordered accept=".png,.jpg,.jpeg,.bmp,.tif,.tiff"')
            self._upload.classes('teach-upload')

    def show(self, picture: CellPicture) -> SessionView | None:
        """
        Show how recording goes; give the session that is looked at.

        """
        teacher, words = picture.teacher, self._words
        names = {one.name: _label(one, words) for one in teacher.sessions}
        if self._begun in names:
            self._chosen, self._wants_new, self._begun = self._begun, False, ''
        if teacher.activity != IDLE:
            self._chosen, self._wants_new = teacher.session, False
        if self._chosen not in names:
            self._chosen = next(iter(names), '')
        if names != self._names or self._select.value != (self._chosen or None):
            self._names = names
            self._select.set_options(names, value=self._chosen or None)
        is_new = self._wants_new or not names
        session = None if is_new else teacher.named(self._chosen)
        is_recording = teacher.activity == RECORDING
        self._select.set_visibility(not is_new)
        self._product.set_visibility(is_new)
        self._new.set_visibility(bool(names))
        self._new.props(f'icon={"close" if self._wants_new else "add"}')
        self._remove.set_visibility(session is not None and teacher.activity == IDLE)
        self._record_button.set_visibility(not is_recording)
        has_images = session is not None and session.images > 0
        self._record_button.text = words('teach.record_more' if has_images else 'teach.record')
        self._record_button.set_enabled(teacher.activity == IDLE)
        self._stop_button.set_visibility(is_recording)
        self._upload.set_visibility(not is_recording)
        self._show_count(picture, session, is_recording=is_recording)
        answer = picture.teacher_answers.get('record')
        is_problem = answer is not None and not answer.success and not is_recording
        self._problem.text = said(answer, self._words) if answer is not None and is_problem else ''
        return session

    def _show_count(
        self, picture: CellPicture, session: SessionView | None, *, is_recording: bool
    ) -> None:
        teacher, words = picture.teacher, self._words
        self._count.text = str(session.images if session else 0)
        self._count_words.text = words('teach.images')
        if is_recording:
            self._count.text = str(teacher.done)
            self._count_words.text = words('teach.recording')
            if teacher.wanted:
                self._count_words.text = words('teach.recorded_of', count=teacher.wanted)
        if teacher.dropped:
            self._count_words.text += f'  ·  {words("teach.dropped", count=teacher.dropped)}'
        self._hint.set_visibility(is_recording)
        code = teacher.hint_code
        is_waiting = not code and not teacher.done
        if code:
            self._hint.classes('is-problem')
        else:
            self._hint.classes(remove='is-problem')
        self._hint_icon.name = (
            'hourglass_empty' if is_waiting else 'warning' if code else 'check_circle'
        )
        key = f'teach.hint.{"waiting" if is_waiting else code or "good"}'
        self._hint_title.text = words(key) if words.has(key) else teacher.hint
        self._hint_words.text = teacher.hint

    def _take_choice(self) -> None:
        if self._select.value:
            self._chosen = str(self._select.value)

    def _begin_new(self) -> None:
        self._wants_new = not self._wants_new
        self._product.value = ''
        self.show(self._parts.state.picture())

    async def _record(self) -> None:
        target = self._target()
        if target is None:
            return
        wanted = self._parts_wanted.value
        count = 0 if wanted is None or math.isnan(wanted) else int(wanted)
        answer = await asked(self._parts.teaching.record, *target, count)
        tell_refusal(answer, self._words)

    def _target(self) -> tuple[str, str] | None:
        """
        Give product and session that images go to, one of them ''; None when none is named.

        """
        is_new = self._wants_new or not self._parts.state.picture().teacher.sessions
        if not is_new:
            return '', self._chosen
        product = str(self._product.value or '').strip()
        if not product:
            ui.notify(self._words('teach.product_missing'), type='warning', position='top')
            return None
        return product, ''

    async def _stop(self) -> None:
        tell_refusal(await asked(self._parts.teaching.stop), self._words)

    async def _take_file(self, event: UploadEventArguments) -> None:
        content = await event.file.read()
        # One at a time: the first of many files begins the session of the others.
        async with self._adding:
            target = ('', self._begun) if self._begun else self._target()
            if target is None:
                return
            answer = await asked(self._parts.teaching.add_image, *target, event.file.name, content)
            if answer.success and target[0]:
                self._begun = str(answer.values['session'])
        tell_refusal(answer, self._words)
        if answer.success:
            # One box for all files that are added together.
            ui.notify(said(answer, self._words), type='info', position='top', group='added')

    def _ask_to_delete(self) -> None:
        words, name = self._words, self._chosen
        with ui.dialog() as dialog, ui.card().classes('teach-dialog'):
            text(words('teach.really_delete'), 'teach-hint-title')
            text(self._names.get(name, name))
            with ui.element('div').classes('teach-row'):
                ui.element('div').classes('grow')
                ui.button(words('teach.keep'), on_click=dialog.close).props('flat no-caps')

                async def delete() -> None:
                    dialog.close()
                    tell_refusal(
                        await asked(self._parts.teaching.delete_session, name), self._words
                    )

                ui.button(words('teach.delete_session'), on_click=delete).props(
                    'unelevated no-caps color=negative'
                )
        dialog.open()


def _label(session: SessionView, words: Words) -> str:
    began = datetime.fromtimestamp(session.created_s)
    is_today = began.date() == datetime.now().date()
    time = began.strftime('%H:%M' if is_today else '%Y-%m-%d %H:%M')
    return words('teach.session_label', product=session.product, time=time)
