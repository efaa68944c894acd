# SPDX-License-Identifier: Apache-2.0
"""
Two small pictures side by side: what was found, and the same place of the nearest good part.

"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from nicegui import ui

from anomaly_inspection.panel.layout import text
from anomaly_inspection.panel.review.routes import FOUND, GOOD, picture_address

if TYPE_CHECKING:
    from anomaly_inspection.panel.cell.part_views import PartKey
    from anomaly_inspection.panel.panel_parts import PanelParts
    from anomaly_inspection.panel.review.reject import Reject
    from anomaly_inspection.panel.words import Words

# Less is noise of the camera.
_LEAST_LEVELS = 1.0


class ComparedPatches:
    """
    Shows a reject beside the nearest good part; hidden when there is nothing to compare.

    Parameters
    ----------
    parts : PanelParts
        As the page was given.
    words : Words
        The viewer's language.

    """

    def __init__(self, parts: PanelParts, words: Words) -> None:
        self._parts, self._words = parts, words
        self._key: PartKey | None = None
        self._images: dict[str, ui.element] = {}
        with ui.element('div').classes('patches') as self._box:
            for kind in (FOUND, GOOD):
                with ui.element('figure').classes('patch'):
                    image = ui.element('img').props('alt=""')
                    text(words(f'patches.{kind.partition(".")[0]}'), 'quiet')
                self._images[kind] = image
            self._contrast = text(classes='patches-contrast')
        self._images[GOOD].on('load', self._show_contrast)
        self._images[FOUND].on('error', self._hide)
        self._box.set_visibility(False)

    def show(self, reject: Reject | None) -> None:
        """
        Show a reject; None = nothing.

        """
        key = reject.key if reject is not None and not reject.image_problem else None
        if key == self._key:
            return
        self._key = key
        self._contrast.text = ''
        self._box.set_visibility(key is not None)
        if key is None:
            return
        for kind, image in self._images.items():
            image.props['src'] = picture_address(key, kind)
            image.update()

    def _hide(self) -> None:
        self._box.set_visibility(False)

    def _show_contrast(self) -> None:
        compared = self._parts.good_parts.known(self._key) if self._key else None
        levels = compared.contrast_levels if compared else math.nan
        if math.isnan(levels) or abs(levels) < _LEAST_LEVELS:
            self._contrast.text = ''
            return
        word = 'patches.brighter' if levels > 0 else 'patches.darker'
        self._contrast.text = self._words(word, levels=round(abs(levels)))
