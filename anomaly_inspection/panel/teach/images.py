# SPDX-License-Identifier: Apache-2.0
"""
The images of a session: one large, to draw the region of interest on, and all of them small.

"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nicegui import ui

from anomaly_inspection.errors import InspectionError
from anomaly_inspection.imaging.image_header import image_header
from anomaly_inspection.panel.asking import asked, tell_refusal
from anomaly_inspection.panel.layout import keep_in_sight, text
from anomaly_inspection.teaching.session import TeachingFolder

if TYPE_CHECKING:
    from nicegui.events import KeyEventArguments, MouseEventArguments

    from anomaly_inspection.panel.panel_parts import PanelParts
    from anomaly_inspection.panel.words import Words

_SHOWN_AT_ONCE = 100
# A shorter side is a click, not a rectangle.
_LEAST_SIDE_PX = 16
_HEADER_BYTES = 64

Region = tuple[int, int, int, int]


class SessionImages:
    """
    Shows the images of one session at a time. Keys: arrows move, space marks, Delete deletes.

    """

    def __init__(self, parts: PanelParts, words: Words) -> None:
        self._parts, self._words = parts, words
        self._session = ''
        self._names: list[str] = []
        self._tiles: dict[str, ui.element] = {}
        self._marked: set[str] = set()
        self._current = ''
        self._page = 0
        self._size = (0, 0)
        self._start: tuple[int, int] | None = None
        #: Left, top, width, height in pixels of the images; None = the whole image.
        self.region: Region | None = None
        with ui.element('section').classes('box teach-images'):
            text(words('teach.look'), 'box-title')
            self._empty = text(words('teach.no_images'), 'quiet teach-empty')
            self._picture = ui.interactive_image(
                on_mouse=self._draw, events=['mousedown', 'mousemove', 'mouseup']
            ).classes('teach-picture')
            with ui.element('div').classes('teach-row') as self._region_row:
                self._region_words = text(classes='quiet grow')
                self._whole = ui.button(words('teach.whole_image'), on_click=self._forget_region)
                self._whole.props('flat dense no-caps')
            self._grid = ui.element('div').classes('teach-grid')
            with ui.element('div').classes('teach-row') as self._bar:
                self._older = ui.button(icon='chevron_left', on_click=lambda: self._turn(-1))
                self._older.props(f'flat dense aria-label="{words("teach.older")}"')
                self._shown_words = text(classes='quiet')
                self._newer = ui.button(icon='chevron_right', on_click=lambda: self._turn(1))
                self._newer.props(f'flat dense aria-label="{words("teach.newer")}"')
                text(words('teach.keys'), 'quiet grow teach-keys')
                self._delete = ui.button(icon='delete', on_click=self._delete_marked)
                self._delete.props('flat no-caps')
        ui.keyboard(on_key=self._press)
        self._show_page()

    def show(self, session: str, count: int) -> None:
        """
        Show a session; looks at the disk only when it is another one or its count has changed.

        """
        if session == self._session and count == len(self._names):
            return
        if session != self._session:
            self._session, self._marked, self._current, self.region = session, set(), '', None
            self._names = []
        was_at_end = not self._names or self._page == self._last_page()
        was_newest = not self._names or self._current == self._names[-1]
        folder = TeachingFolder(Path(self._parts.state.picture().teacher.folder))
        try:
            self._names = folder.open(session).image_names() if session else []
        except InspectionError:
            self._names = []
        self._marked &= set(self._names)
        if was_at_end or self._page > self._last_page():
            self._page = self._last_page()
        if self._names and (was_newest or self._current not in self._names):
            self._current = self._names[-1]
        self._show_page()

    def _last_page(self) -> int:
        return max(0, (len(self._names) - 1) // _SHOWN_AT_ONCE)

    def _turn(self, step: int) -> None:
        self._page = min(max(0, self._page + step), self._last_page())
        self._current = self._names[self._page * _SHOWN_AT_ONCE]
        self._show_page()

    def _show_page(self) -> None:
        start = self._page * _SHOWN_AT_ONCE
        names = self._names[start : start + _SHOWN_AT_ONCE]
        addresses = {f'/teaching/{self._session}/thumbnails/{name}': name for name in names}
        for address in [one for one in self._tiles if one not in addresses]:
            self._tiles.pop(address).delete()
        with self._grid:
            for address, name in addresses.items():
                if address not in self._tiles:
                    self._tiles[address] = self._tile(address, name)
        has_images = bool(self._names)
        self._empty.set_visibility(not has_images)
        for element in (self._picture, self._region_row, self._grid, self._bar):
            element.set_visibility(has_images)
        has_pages = self._last_page() > 0
        self._older.set_visibility(has_pages)
        self._newer.set_visibility(has_pages)
        self._shown_words.text = self._words(
            'teach.shown', first=start + 1, last=start + len(names), all=len(self._names)
        )
        self._show_current()

    def _tile(self, address: str, name: str) -> ui.element:
        # No button: it would take the keys that move and mark.
        with ui.element('div').classes('teach-tile') as tile:
            tile.on('click', lambda: self._choose(name))
            image = ui.element('img')
            image._props |= {'src': address, 'alt': name, 'loading': 'lazy'}
            ui.icon('check_circle').classes('teach-mark')
        return tile

    def _choose(self, name: str) -> None:
        if name == self._current:
            self._marked ^= {name}
        self._current = name
        self._show_current()

    def _show_current(self) -> None:
        for address, tile in self._tiles.items():
            name = address.rpartition('/')[2]
            kind = ' is-current' if name == self._current else ''
            kind += ' is-marked' if name in self._marked else ''
            tile.classes(replace=f'teach-tile{kind}')
        self._scroll_to_current()
        count = len(self._marked) or 1
        self._delete.text = self._words('teach.delete_images', count=count)
        if not self._current:
            return
        self._picture.set_source(f'/teaching/{self._session}/images/{self._current}')
        self._size = self._size_of_current()
        width, height = self._size
        if height:
            self._picture.style(
                replace=f'max-width: calc(var(--teach-picture) * {width / height:.4f})'
            )
        self._show_region()

    def _scroll_to_current(self) -> None:
        tile = self._tiles.get(f'/teaching/{self._session}/thumbnails/{self._current}')
        if tile is not None:
            keep_in_sight(self._grid, tile)

    def _size_of_current(self) -> tuple[int, int]:
        folder = TeachingFolder(Path(self._parts.state.picture().teacher.folder))
        try:
            path = folder.open(self._session).image_path(self._current)
            with path.open('rb') as file:
                header = image_header(file.read(_HEADER_BYTES))
        except (InspectionError, OSError):
            return self._size
        return header.width, header.height

    # Keys

    def _press(self, event: KeyEventArguments) -> None:
        if not event.action.keydown or not self._names or self._current not in self._names:
            return
        place = self._names.index(self._current)
        if event.key.arrow_left or event.key.arrow_right:
            place += 1 if event.key.arrow_right else -1
            place = min(max(0, place), len(self._names) - 1)
            self._current = self._names[place]
            if place // _SHOWN_AT_ONCE != self._page:
                self._page = place // _SHOWN_AT_ONCE
                self._show_page()
            else:
                self._show_current()
        elif event.key == ' ':
            self._marked ^= {self._current}
            self._show_current()
        elif event.key.delete:
            ui.timer(0.0, self._delete_marked, once=True)

    async def _delete_marked(self) -> None:
        names = sorted(self._marked) or [self._current]
        place = self._names.index(names[0]) if names[0] in self._names else 0
        # A button that has the focus would take the keys.
        ui.run_javascript('document.activeElement?.blur()')
        self._delete.disable()
        answer = await asked(self._parts.teaching.delete_images, self._session, names)
        self._delete.enable()
        tell_refusal(answer, self._words)
        if not answer.success:
            return
        self._marked.clear()
        left = [name for name in self._names if name not in names]
        self._current = left[min(place, len(left) - 1)] if left else ''

    # Region of interest

    def _draw(self, event: MouseEventArguments) -> None:
        width, height = self._size
        x = min(max(0, round(event.image_x)), width)
        y = min(max(0, round(event.image_y)), height)
        if event.type == 'mousedown':
            self._start = (x, y)
        elif self._start is None:
            return
        elif event.type == 'mousemove' and not event.buttons & 1:
            # Let go outside of the picture.
            self._start = None
            return
        start_x, start_y = self._start or (x, y)
        left, right = sorted((start_x, x))
        top, bottom = sorted((start_y, y))
        is_region = min(right - left, bottom - top) >= _LEAST_SIDE_PX
        if is_region:
            self.region = (left, top, right - left, bottom - top)
        if event.type == 'mouseup':
            self._start = None
        self._show_region()

    def _forget_region(self) -> None:
        self.region = None
        self._show_region()

    def _show_region(self) -> None:
        self._whole.set_visibility(self.region is not None)
        if self.region is None:
            self._picture.content = ''
            self._region_words.text = self._words('teach.draw_region')
            return
        left, top, width, height = self.region
        frame_width, frame_height = self._size
        line = max(2, frame_width // 200)
        # Numbers of ours alone: what comes from outside never becomes SVG.
        self._picture.content = (
            f'<path fill="#101316" fill-opacity="0.55" fill-rule="evenodd" '
            f'd="M0 0H{frame_width}V{frame_height}H0ZM{left} {top}h{width}v{height}h{-width}Z"/>'
            f'<rect x="{left}" y="{top}" width="{width}" height="{height}" fill="none" '
            f'stroke="#ffffff" stroke-width="{line}"/>'
        )
        self._region_words.text = self._words(
            'teach.region', width=width, height=height, x=left, y=top
        )
