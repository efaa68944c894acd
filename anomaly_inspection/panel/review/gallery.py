# SPDX-License-Identifier: Apache-2.0
"""
The rejects of a review, small, a page at a time.

"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nicegui import ui

from anomaly_inspection.panel.layout import keep_in_sight, text
from anomaly_inspection.panel.review.reject import ReviewVerdict
from anomaly_inspection.panel.review.routes import picture_address, SMALL

if TYPE_CHECKING:
    from collections.abc import Callable

    from anomaly_inspection.panel.cell.part_views import PartKey
    from anomaly_inspection.panel.review.reject import Reject
    from anomaly_inspection.panel.review.review_list import ReviewList
    from anomaly_inspection.panel.review.review_set import ReviewSet
    from anomaly_inspection.panel.words import Words

_SHOWN_AT_ONCE = 60
#: The icon of each verdict.
ICONS = {
    ReviewVerdict.GOOD: 'check_circle',
    ReviewVerdict.DEFECT: 'dangerous',
    ReviewVerdict.UNSURE: 'help',
}


class ReviewGallery:
    """
    Shows the page of the gallery on which the current reject is.

    Parameters
    ----------
    reviews : ReviewSet
        The rejects.
    words : Words
        The viewer's language.
    chosen : callable (PartKey) -> None
        Called with the reject that somebody clicks.

    """

    def __init__(
        self, reviews: ReviewSet, words: Words, chosen: Callable[[PartKey], None]
    ) -> None:
        self._reviews, self._words, self._chosen = reviews, words, chosen
        self._tiles: dict[PartKey, _Tile] = {}
        self._current: PartKey | None = None
        with ui.element('section').classes('box review-gallery'):
            self._title = text(classes='box-title')
            self._grid = ui.element('div').classes('review-grid')

    def show(self, shown: ReviewList) -> None:
        """
        Show the tiles around the current one.

        """
        first = shown.place // _SHOWN_AT_ONCE * _SHOWN_AT_ONCE
        keys = shown.keys[first : first + _SHOWN_AT_ONCE]
        last = first + len(keys)
        self._title.text = (
            self._words('review.shown', first=first + 1, last=last, count=len(shown.keys))
            if keys
            else ''
        )
        for key in [key for key in self._tiles if key not in keys]:
            self._tiles.pop(key).box.delete()
        for place, key in enumerate(keys):
            if key not in self._tiles:
                with self._grid:
                    self._tiles[key] = _Tile(key, self._chosen)
                self._tiles[key].box.move(target_index=place)
            self._tiles[key].show(self._reviews.reject(key), is_current=key == shown.current)
        if shown.current is not None and shown.current != self._current:
            keep_in_sight(self._grid, self._tiles[shown.current].box)
        self._current = shown.current


class _Tile:
    def __init__(self, key: PartKey, chosen: Callable[[PartKey], None]) -> None:
        self._shown: object = None
        with ui.element('div').classes('review-tile') as self.box:
            image = ui.element('img')
            image._props |= {
                'src': picture_address(key, SMALL),
                'alt': '',
                'loading': 'lazy',
            }
            text(str(key[1]), 'review-tile-number')
            self._icon = ui.icon('').classes('review-mark')
        self.box.on('click', lambda: chosen(key))

    def show(self, reject: Reject | None, *, is_current: bool) -> None:
        verdict = reject.verdict if reject else None
        if (verdict, is_current) == self._shown:
            return
        self._shown = (verdict, is_current)
        kind = ' is-current' if is_current else ''
        kind += f' is-{verdict}' if verdict else ''
        self.box.classes(replace=f'review-tile{kind}')
        self._icon.name = ICONS[verdict] if verdict else ''
        self._icon.set_visibility(verdict is not None)
