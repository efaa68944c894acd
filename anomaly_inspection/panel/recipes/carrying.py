# SPDX-License-Identifier: Apache-2.0
"""
Dialogs of the Recipes page that carry recipes: import an archive, export one, delete a recipe.

"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from nicegui import run, ui

from anomaly_inspection.errors import InspectionError
from anomaly_inspection.panel.asking import asked, tell_refusal
from anomaly_inspection.panel.cell.commands import Answer
from anomaly_inspection.panel.explaining import said
from anomaly_inspection.panel.layout import text
from anomaly_inspection.recipes.archive import LARGEST_ARCHIVE_BYTES, SUFFIX
from anomaly_inspection.reviewing.carrying import check_can_be_carried

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from anomaly_inspection.panel.panel_parts import PanelParts
    from anomaly_inspection.panel.recipes.library import RecipeEntry
    from anomaly_inspection.panel.words import Words

    Look = Callable[[], Awaitable[None]]

# Large archives go past the framework, to the same address that programs use.
_ADDRESS = '/api/recipes'


async def export(entry: RecipeEntry, words: Words) -> None:
    """
    Download a recipe as one file; say why when it cannot be one.

    """
    try:
        await run.io_bound(check_can_be_carried, entry.summary.folder)
    except InspectionError as error:
        tell_refusal(Answer.of_error(error), words)
        return
    ui.download.from_url(f'{_ADDRESS}/{entry.name}/archive{SUFFIX}')


def ask_for_archive(words: Words, look: Look) -> None:
    """
    Open the dialog that takes an archive.

    """
    with ui.dialog() as dialog, ui.card().classes('dialog'):
        text(words('recipes.import'), 'dialog-title')
        text(words('recipes.import_hint'))
        uploader = ui.element('q-uploader').classes('recipe-upload')
        uploader.props('auto-upload send-raw flat bordered max-files=1')
        uploader.props['url'] = _ADDRESS
        uploader.props['accept'] = SUFFIX
        uploader.props['max-file-size'] = LARGEST_ARCHIVE_BYTES
        uploader.props['label'] = words('recipes.import_choose')
        done = text(classes='recipe-imported').props('role=status')
        refused = text(classes='tune-refused').props('role=alert')
        with ui.element('div').classes('button-row end'):
            ui.button(words('recipes.close'), on_click=dialog.close).props('flat no-caps')

    async def show(event: Any) -> None:
        answer = _answer(event.args, words('recipes.import_failed'))
        done.text, refused.text = ('', '')
        (done if answer.success else refused).text = said(answer, words)
        uploader.run_method('reset')
        await look()

    def refuse() -> None:
        done.text = ''
        refused.text = words('recipes.import_refused')

    uploader.on('uploaded', show, js_handler='(info) => emit(info.xhr.responseText)')
    uploader.on('failed', show, js_handler='(info) => emit(info.xhr.responseText)')
    uploader.on('rejected', refuse, js_handler='() => emit()')
    dialog.open()


def ask_to_delete(parts: PanelParts, words: Words, entry: RecipeEntry, look: Look) -> None:
    """
    Open the dialog that deletes a recipe once its name is typed.

    """
    count = 1 + len(entry.older)
    with ui.dialog().props('persistent') as dialog, ui.card().classes('dialog'):
        text(words('recipes.really_delete', name=entry.name), 'dialog-title')
        text(words('recipes.deletes', count=count))
        typed = ui.input(words('recipes.type_name', name=entry.name)).props('outlined dense')
        typed.props('autofocus autocomplete=off')
        refused = text(classes='tune-refused').props('role=alert')
        with ui.element('div').classes('button-row end'):
            ui.button(words('recipes.cancel'), on_click=dialog.close).props('flat no-caps')
            button = ui.button(words('recipes.delete'))
            button.props('unelevated no-caps color=negative')

    def is_meant() -> bool:
        return str(typed.value or '').strip() == entry.name

    async def go() -> None:
        if not is_meant():
            return
        button.disable()
        answer = await asked(parts.commands.delete_recipe, str(entry.summary.folder))
        if answer.success:
            dialog.close()
            ui.notify(said(answer, words), type='info', position='top')
        refused.text = '' if answer.success else said(answer, words)
        button.set_enabled(is_meant())
        await look()

    button.disable()
    typed.on_value_change(lambda: button.set_enabled(is_meant()))
    typed.on('keydown.enter', go)
    button.on_click(go)
    dialog.open()


def _answer(response: object, otherwise: str) -> Answer:
    """
    Read what the address has answered; a browser may send anything instead.

    """
    try:
        content = json.loads(str(response))
        message = content.get('message') or content.get('detail')
    except (ValueError, AttributeError, RecursionError):
        return Answer(False, otherwise)
    return Answer(content.get('success') is True, str(message or otherwise)[:1000])
