# SPDX-License-Identifier: Apache-2.0
"""
The live picture as an element of a page.

"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nicegui import ui

if TYPE_CHECKING:
    from anomaly_inspection.panel.words import Words


class LivePicture(ui.element, component='assets/live_picture.js'):
    """
    Shows the newest picture of the line, with the number and the verdict of its part.

    Parameters
    ----------
    words : Words
        The viewer's language.

    """

    def __init__(self, words: Words) -> None:
        super().__init__()
        self._props |= {
            'address': '/frames',
            'waiting': words('line.waiting_for_picture'),
            'label': words('line.part'),
            'good': words('verdict.good'),
            'bad': words('verdict.bad'),
        }
