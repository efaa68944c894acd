# SPDX-License-Identifier: Apache-2.0
"""
The live picture as an element of a page.

"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nicegui import ui

if TYPE_CHECKING:
    from anomaly_inspection.panel.panel_parts import PanelParts
    from anomaly_inspection.panel.words import Words


class LivePicture(ui.element, component='assets/live_picture.js'):
    """
    Shows the newest picture of the line, with the number and the verdict of its part.

    Parameters
    ----------
    words : Words
        The viewer's language.
    view : str
        Which of several views to show; '' in a cell with one camera.

    """

    def __init__(self, words: Words, view: str = '') -> None:
        super().__init__()
        self._props |= {
            'address': f'/frames?view={view}' if view else '/frames',
            'view': view,
            'waiting': words('line.waiting_for_picture'),
            'label': words('line.part'),
            'good': words('verdict.good'),
            'bad': words('verdict.bad'),
        }


def live_pictures(parts: PanelParts, words: Words) -> None:
    """
    Show the newest picture of each view.

    """
    with ui.element('div').classes('lives'):
        for view in parts.frames.views:
            LivePicture(words, view)
