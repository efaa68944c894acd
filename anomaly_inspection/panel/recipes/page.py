# SPDX-License-Identifier: Apache-2.0
"""
The Recipes page: what the cell can inspect, which of it is in force, and how to switch.

"""

from __future__ import annotations

import functools
import math
import struct
from typing import Any, TYPE_CHECKING

import cv2
from fastapi import FastAPI, Request, Response
from nicegui import run, ui
import numpy as np

from anomaly_inspection.errors import InspectionError
from anomaly_inspection.panel import layout
from anomaly_inspection.panel.access.guard import visitor_of
from anomaly_inspection.panel.asking import asked
from anomaly_inspection.panel.cell.commands import PASSES_BAD_PARTS
from anomaly_inspection.panel.cell.guarded_commands import LEAST_ROLES
from anomaly_inspection.panel.explaining import said
from anomaly_inspection.panel.layout import text
from anomaly_inspection.panel.recipes.carrying import ask_for_archive, ask_to_delete, export
from anomaly_inspection.panel.recipes.comparing import ComparingDialog
from anomaly_inspection.panel.recipes.library import RecipeEntry, RecipeLibrary, RecipeSummary
from anomaly_inspection.recipes.layout import reference_name, REFERENCES
from anomaly_inspection.recipes.removal import kept_versions
from anomaly_inspection.reviewing.accepted_limits import LONGEST_REASON

if TYPE_CHECKING:
    from collections.abc import Callable

    from anomaly_inspection.panel.cell.commands import Answer
    from anomaly_inspection.panel.panel_parts import PanelParts
    from anomaly_inspection.panel.words import Words

_PICTURE_PX = 640
_OLDER_SHOWN = 5
_MOST_PIXELS, _MOST_BYTES = 100_000_000, 2**26
# Another program may write recipes as well.
_LOOK_AGAIN_S = 5.0


def add_page(app: FastAPI, parts: PanelParts) -> None:
    """
    Add the page to the site, and the address of a recipe's picture.

    """

    # Not a coroutine: it reads a file, and FastAPI runs it on a thread.
    @app.get('/recipes/{name}/picture.jpg')
    def picture(name: str, version: int = 0) -> Response:
        try:
            library = RecipeLibrary.of(parts.state.picture())
            folder = library.folder_of(name)
            folder = kept_versions(folder).get(version, folder)
            with (folder / REFERENCES / reference_name(0)).open('rb') as file:
                content = _thumbnail(file.read(_MOST_BYTES))
        except (InspectionError, OSError, cv2.error, struct.error, ValueError):
            return Response(status_code=404)
        return Response(content, media_type='image/jpeg', headers={'Cache-Control': 'no-cache'})

    @ui.page('/recipes')
    def recipes(request: Request) -> None:
        visitor = visitor_of(request)
        may_load = visitor is not None and visitor.role >= LEAST_ROLES['load_recipe']
        may_load = may_load and not parts.has_views
        with layout.frame(parts, request, 'recipes') as words:
            if parts.has_views:
                text(words('recipes.of_views'), 'box quiet recipe-note')
            head = ui.element('div').classes('recipe-import')
            cards = _Cards(parts.for_visitor(visitor), words, may_load=may_load)
            if may_load:
                with head:
                    button = ui.button(words('recipes.import'), on_click=cards.ask_for_archive)
                    button.props('outline no-caps color=primary icon=upload')
            ui.timer(_LOOK_AGAIN_S, cards.look)
            layout.on_change(parts, cards.see_what_is_in_force)


class _Cards:
    """
    One card for each recipe of the library.

    """

    def __init__(self, parts: PanelParts, words: Words, *, may_load: bool) -> None:
        self._parts, self._words, self._may_load = parts, words, may_load
        self._in_force: object = None
        self._shown: object = None
        self._entries: list[RecipeEntry] = []
        self._list = ui.element('div').classes('recipe-cards')
        self._dialogs = ui.element('div').classes('dialogs')

    def see_what_is_in_force(self) -> None:
        """
        Read the library anew when another recipe has come into force.

        """
        recipe = self._parts.state.picture().recipe
        if recipe != self._in_force:
            self._in_force = recipe
            ui.timer(0.0, self.look, once=True)

    async def look(self) -> None:
        """
        Read the library, and show it when it has changed.

        """
        picture = self._parts.state.picture()
        library = RecipeLibrary.of(picture)
        entries = await run.io_bound(library.entries)
        shown = (entries, picture.recipe, library.is_known)
        # The page may have been closed meanwhile.
        if entries is None or shown == self._shown or self._list.is_deleted:
            return
        self._shown, self._entries = shown, entries
        self._list.clear()
        with self._list:
            if not entries:
                key = 'recipes.empty' if library.is_known else 'recipes.none'
                text(self._words(key), 'box quiet')
            for entry in entries:
                self._card(entry)

    def ask_for_archive(self) -> None:
        """
        Open the dialog that imports a recipe.

        """
        self._dialogs.clear()
        with self._dialogs:
            ask_for_archive(self._words, self.look)

    def _card(self, entry: RecipeEntry) -> None:
        words, summary = self._words, entry.summary
        in_force = self._parts.state.picture().recipe
        is_in_force = entry.is_in_force(in_force)
        with ui.element('section').classes(
            'box recipe-card' + (' is-here' if is_in_force else '')
        ):
            address = f'/recipes/{entry.name}/picture.jpg?version={summary.version}'
            ui.element('img').classes('recipe-picture').props['src'] = address
            with ui.element('div').classes('recipe-words'):
                with ui.element('div').classes('title-row'):
                    text(entry.name, 'recipe-name')
                    if is_in_force:
                        with ui.element('div').classes('recipe-in-force'):
                            ui.icon('check_circle')
                            text(words('recipes.in_force'))
                    elif self._may_load:
                        self._button('recipes.load', lambda: self._ask_to_load(entry))
                if summary.product:
                    text(summary.product, 'recipe-product')
                if summary.problem:
                    text(summary.problem, 'tune-refused')
                else:
                    text(self._version(summary))
                    figures = words(
                        'recipes.figures',
                        images=summary.image_count,
                        width=summary.width_px,
                        height=summary.height_px,
                        scorers=', '.join(summary.scorers),
                    )
                    text(figures, 'quiet')
                for older in entry.older[:_OLDER_SHOWN]:
                    with ui.element('div').classes('recipe-older'):
                        text(self._version(older), 'quiet grow')
                        if self._may_load and not older.problem:
                            self._button(
                                'recipes.roll_back',
                                functools.partial(self._ask_to_roll_back, entry, older),
                                is_small=True,
                            )

                if len(entry.older) > _OLDER_SHOWN:
                    more = len(entry.older) - _OLDER_SHOWN
                    text(words('recipes.more', count=more), 'quiet small')
                self._actions(entry, is_here=str(summary.folder) == in_force.path)

    def _actions(self, entry: RecipeEntry, *, is_here: bool) -> None:
        with ui.element('div').classes('recipe-actions'):
            self._action('compare', 'compare_arrows', lambda: self._compare(entry))
            if self._may_load:
                self._action('export', 'download', lambda: export(entry, self._words))
            if self._may_load and not is_here:
                self._action('delete', 'delete', lambda: self._ask_to_delete(entry))

    def _action(self, key: str, icon: str, click: Callable[[], Any]) -> None:
        button = ui.button(self._words(f'recipes.{key}'), on_click=click)
        button.props(f'flat dense no-caps color=primary icon={icon}')

    async def _compare(self, entry: RecipeEntry) -> None:
        in_force = self._parts.state.picture().recipe
        new = (entry.name, entry.summary.version)
        if str(entry.summary.folder) != in_force.path:
            others = [one for one in self._entries if str(one.summary.folder) == in_force.path]
            old = [(one.name, one.summary.version) for one in others]
        else:
            old = [(entry.name, older.version) for older in entry.older]
        self._dialogs.clear()
        with self._dialogs:
            dialog = ComparingDialog(self._words, self._entries, (old or [new])[0], new)
        await dialog.open()

    def _ask_to_delete(self, entry: RecipeEntry) -> None:
        self._dialogs.clear()
        with self._dialogs:
            ask_to_delete(self._parts, self._words, entry, self.look)

    def _button(self, key: str, click: Callable[[], None], *, is_small: bool = False) -> None:
        button = ui.button(self._words(key), on_click=click)
        button.props('no-caps color=primary ' + ('flat dense' if is_small else 'unelevated'))

    def _version(self, summary: RecipeSummary) -> str:
        line = self._words('recipes.version', version=summary.version)
        if not math.isnan(summary.created_s):
            line += f'  ·  {self._parts.state.shifts.local(summary.created_s):%Y-%m-%d %H:%M}'
        if summary.taught_by:
            line += f'  ·  {summary.taught_by}'
        return line

    def _ask_to_load(self, entry: RecipeEntry) -> None:
        path = str(entry.summary.folder)
        self._ask(
            self._words('recipes.really_load', name=entry.name, version=entry.summary.version),
            'recipes.load',
            lambda: self._parts.commands.load_recipe(path),
            lambda why: self._parts.commands.load_recipe(path, override_reason=why),
        )

    def _ask_to_roll_back(self, entry: RecipeEntry, older: RecipeSummary) -> None:
        path = str(entry.summary.folder)
        self._ask(
            self._words(
                'recipes.really_roll_back',
                name=entry.name,
                version=older.version,
                next=entry.summary.version + 1,
            ),
            'recipes.roll_back',
            lambda: self._parts.commands.roll_back(path, older.version),
        )

    def _ask(
        self,
        question: str,
        button_key: str,
        command: Callable[[], Answer],
        override: Callable[[str], Answer] | None = None,
    ) -> None:
        """
        Ask whether it is really meant; on a refusal the dialog stays and says why.

        A recipe that would pass confirmed bad parts may be loaded all the same, with a reason.

        """
        words, picture = self._words, self._parts.state.picture()
        self._dialogs.clear()
        with self._dialogs, ui.dialog().props('persistent') as dialog, ui.card().classes('dialog'):
            text(question, 'dialog-title')
            text(words('recipes.what_happens'))
            if picture.limits_are_unsaved:
                text(words('recipes.unsaved'), 'tune-refused')
            refused = text(classes='tune-refused').props('role=alert')
            why = ui.input(words('recipes.override_why'))
            why.props(f'outlined dense maxlength={LONGEST_REASON}').set_visibility(False)
            with ui.element('div').classes('button-row end'):
                cancel = ui.button(words('recipes.cancel'), on_click=dialog.close)
                cancel.props('flat no-caps')
                button = ui.button(words(button_key)).props('unelevated no-caps color=primary')

        async def go() -> None:
            refused.text = ''
            button.props('loading')
            cancel.disable()
            reason = str(why.value or '').strip()
            answer = await (asked(override, reason) if override and reason else asked(command))
            button.props(remove='loading')
            cancel.enable()
            if answer.code == PASSES_BAD_PARTS and override:
                why.set_visibility(True)
                button.text = words('recipes.override')
            if answer.success:
                # The card and the head of the page say what is in force now.
                dialog.close()
            else:
                refused.text = said(answer, words)
            await self.look()

        button.on_click(go)
        dialog.open()


def _thumbnail(content: bytes) -> bytes:
    """
    Make a small JPEG of a PNG file.

    """
    # The size stands in its head; a small file can hold a huge image.
    width, height = struct.unpack('>II', content[16:24])
    if not 0 < width * height <= _MOST_PIXELS:
        raise ValueError(f'{width} x {height} pixels')
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    if pixels is None:
        raise ValueError('no image')
    size = (_PICTURE_PX, max(1, round(pixels.shape[0] * _PICTURE_PX / pixels.shape[1])))
    return cv2.imencode('.jpg', cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))[
        1
    ].tobytes()
