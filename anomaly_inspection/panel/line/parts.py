# SPDX-License-Identifier: Apache-2.0
"""
The strip of the last parts, and what one of them was like.

"""

from __future__ import annotations

from collections.abc import Callable
import math
from typing import TYPE_CHECKING

from nicegui import ui

from anomaly_inspection.panel.explaining import explained, explained_further
from anomaly_inspection.panel.frames.hub import KINDS, MARKED, PLAIN
from anomaly_inspection.panel.layout import text
from anomaly_inspection.panel.line.measure_bars import MeasureBars
from anomaly_inspection.panel.review import routes as review_routes
from anomaly_inspection.panel.review.compared_patches import ComparedPatches
from anomaly_inspection.panel.review.routes import picture_address

if TYPE_CHECKING:
    from anomaly_inspection.panel.cell.part_views import PartKey, PartView
    from anomaly_inspection.panel.cell.state import CellPicture
    from anomaly_inspection.panel.panel_parts import PanelParts
    from anomaly_inspection.panel.words import Words

_TILES = 24
_OF_REJECTS = {MARKED: review_routes.MARKED, PLAIN: review_routes.FRAME}


class Strip:
    """
    The last parts, newest first.

    Parameters
    ----------
    words : Words
        The viewer's language.
    chosen : callable or None
        Called with the part that somebody clicks.

    """

    def __init__(self, words: Words, chosen: Callable[[PartKey], None] | None = None) -> None:
        self._shown: PartKey | None = None
        with ui.element('section').classes('strip-box'):
            text(words('line.last_parts'), 'box-title')
            with ui.element('div').classes('strip'):
                self._tiles = [_Tile(words, chosen) for _ in range(_TILES)]

    def show(self, picture: CellPicture) -> None:
        """
        Put the parts that are new in front.

        """
        parts = picture.parts[-_TILES:]
        keys = [part.key for part in parts]
        new = keys.index(self._shown) + 1 if self._shown in keys else 0
        for part in parts[new:]:
            # The oldest tile is used again, in front: two small changes instead of a whole row.
            tile = self._tiles.pop()
            self._tiles.insert(0, tile)
            tile.show(part)
            tile.box.move(target_index=0)
        if keys:
            self._shown = keys[-1]


class _Tile:
    def __init__(self, words: Words, chosen: Callable[[PartKey], None] | None) -> None:
        self._words = words
        self._key: PartKey = ('', 0)
        self._kind = 'tile' if chosen is None else 'tile is-open'
        with ui.element('button').classes('tile is-empty').props('type=button') as self.box:
            self._icon = ui.icon('').classes('tile-icon')
            self._number = text(classes='tile-number')
        if chosen is not None:
            self.box.on('click', lambda: chosen(self._key))

    def show(self, part: PartView) -> None:
        has_passed = part.decision is not None and part.decision.has_passed
        self._key = part.key
        self.box.classes(replace=f'{self._kind} {"is-good" if has_passed else "is-bad"}')
        self._icon.name = 'check' if has_passed else 'close'
        self._number.text = str(part.number)


class PartDialog:
    """
    One part: its pictures, why it has its verdict, its measures.

    Parameters
    ----------
    parts : PanelParts
        As the page was given.
    words : Words
        The viewer's language.
    may_review : bool
        Whether the viewer may see the rejects that are kept.

    """

    def __init__(self, parts: PanelParts, words: Words, *, may_review: bool) -> None:
        self._parts, self._words, self._may_review = parts, words, may_review
        self._key: PartKey = ('', 0)
        with ui.dialog() as self._dialog, ui.element('div').classes('part-dialog'):
            with ui.element('div').classes('part-dialog-head'):
                self._icon = ui.icon('').classes('part-dialog-icon')
                with ui.element('div').classes('part-dialog-words'):
                    self._title = text(classes='part-dialog-title')
                    self._facts = text(classes='quiet')
                ui.button(icon='close', on_click=self._dialog.close).props('flat round')
            with ui.element('div').classes('part-dialog-body'):
                with ui.element('div').classes('part-dialog-see'):
                    self._choice = ui.toggle(
                        {kind: words(f'part.{kind}') for kind in KINDS},
                        value=MARKED,
                        on_change=lambda: self._show_picture(),
                    ).props('no-caps unelevated')
                    with ui.element('div').classes('part-dialog-picture'):
                        self._image = ui.element('img').props('alt=""')
                        self._no_picture = text(words('part.no_picture'), 'live-empty')
                with ui.element('div').classes('part-dialog-know'):
                    self._reason = text(classes='reason')
                    self._further = text(classes='quiet')
                    self._patches = ComparedPatches(parts, words)
                    self._measures = MeasureBars(words)
                    self._gate = text(classes='quiet')

    def open(self, key: PartKey) -> None:
        """
        Show a part; one that is forgotten is left alone.

        """
        part = self._parts.state.part(key)
        if part is None or part.decision is None:
            return
        words, decision = self._words, part.decision
        self._key = key
        self._icon.name = 'check_circle' if decision.has_passed else 'dangerous'
        kind = 'is-good' if decision.has_passed else 'is-bad'
        self._icon.classes(replace=f'part-dialog-icon {kind}')
        verdict = words('verdict.good' if decision.has_passed else 'verdict.bad')
        self._title.text = f'{words("verdict.part", number=part.number)}: {verdict}'
        facts = []
        if not math.isnan(part.time_s):
            facts.append(f'{self._parts.state.shifts.local(part.time_s):%H:%M:%S}')
        recipe = {'name': decision.recipe_name, 'version': decision.recipe_version}
        facts.append(words('page.recipe', **recipe))
        if not math.isnan(decision.latency_s):
            facts.append(f'{1e3 * decision.latency_s:.0f} ms')
        if part.frame_name:
            facts.append(part.frame_name)
        self._facts.text = '  ·  '.join(facts)
        self._reason.text = explained(part, words)
        self._further.text = explained_further(part, words)
        self._patches.show(self._parts.reviews.reject(key) if self._may_review else None)
        self._measures.show_part(part, part.limits)
        self._gate.text = self._gate_words(part)
        self._choice.value = MARKED
        self._show_picture()
        self._dialog.open()

    def _gate_words(self, part: PartView) -> str:
        if part.sorted is None:
            return self._words('part.gate_unknown')
        key = 'part.gate_passed' if part.sorted.has_passed else 'part.gate_rejected'
        return ' '.join(filter(None, (self._words(key), part.sorted.detail)))

    def _show_picture(self) -> None:
        address = self._address(self._choice.value)
        self._image.set_visibility(bool(address))
        self._no_picture.set_visibility(not address)
        if address:
            self._image.props['src'] = address
            self._image.update()

    def _address(self, kind: str) -> str:
        session_id, number = self._key
        if self._parts.frames.jpeg_of(self._key, kind) is not None:
            return f'/parts/{session_id}/{number}/{kind}.jpg'
        # Nobody looked when it came; of a reject there is the frame all the same.
        reject = self._parts.reviews.reject(self._key) if self._may_review else None
        if reject is None or reject.image_problem or kind not in _OF_REJECTS:
            return ''
        return picture_address(self._key, _OF_REJECTS[kind])
