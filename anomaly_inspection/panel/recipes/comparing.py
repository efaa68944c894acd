# SPDX-License-Identifier: Apache-2.0
"""
The dialog that puts two recipes, or two versions of one, side by side.

"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from nicegui import run, ui

from anomaly_inspection.errors import InspectionError
from anomaly_inspection.panel.explaining import measure_name, NO_NUMBER, number
from anomaly_inspection.panel.layout import text
from anomaly_inspection.recipes.comparison import (
    compare,
    Comparison,
    Difference,
    LimitDifference,
    LimitValues,
    recipe_values,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from anomaly_inspection.panel.recipes.library import RecipeEntry
    from anomaly_inspection.panel.words import Words


class ComparingDialog:
    """
    Lets a person choose two recipes, and says what is not the same.

    Parameters
    ----------
    words : Words
        The viewer's language.
    entries : iterable of RecipeEntry
        What there is to choose from.
    first, second : (str, int)
        Name and version that are compared at first: the old one and the new one.

    """

    def __init__(
        self,
        words: Words,
        entries: Iterable[RecipeEntry],
        first: tuple[str, int],
        second: tuple[str, int],
    ) -> None:
        self._words = words
        self._summaries = {
            (entry.name, summary.version): summary
            for entry in entries
            for summary in (entry.summary, *entry.older)
        }
        # A browser sends back a text, whatever the key was.
        self._keys = {f'{name} {version}': (name, version) for name, version in self._summaries}
        labels = {
            key: words('recipes.name_and_version', name=name, version=version)
            for key, (name, version) in self._keys.items()
        }
        with ui.dialog() as dialog, ui.card().classes('dialog compare-dialog'):
            with ui.element('div').classes('title-row'):
                text(words('recipes.compare_title'), 'dialog-title')
                close = ui.button(icon='close', on_click=dialog.close)
                close.props(f'flat round dense aria-label="{words("recipes.close")}"')
            with ui.element('div').classes('compare-columns'):
                self._sides = [
                    self._side(labels, f'{name} {version}') for name, version in (first, second)
                ]
            self._result = ui.element('div').classes('compare-result')
        self._dialog = dialog

    async def open(self) -> None:
        """
        Show the dialog.

        """
        self._dialog.open()
        await self._show()

    def _side(self, labels: dict[str, str], chosen: str) -> tuple[ui.select, ui.element]:
        with ui.element('div').classes('compare-side'):
            select = ui.select(labels, value=chosen, on_change=self._show)
            select.props('outlined dense options-dense')
            picture = ui.element('img').classes('compare-picture')
        return select, picture

    async def _show(self) -> None:
        keys = [self._keys[str(select.value)] for select, _ in self._sides]
        for (_, picture), (name, version) in zip(self._sides, keys, strict=True):
            picture.props['src'] = f'/recipes/{name}/picture.jpg?version={version}'
        old, new = (self._summaries[key] for key in keys)
        found: Comparison | str | None
        try:
            found = await run.io_bound(_compared, old.folder, new.folder)
        except InspectionError as error:
            found = str(error)
        # The page may have been closed meanwhile.
        if self._result.is_deleted:
            return
        self._result.clear()
        with self._result:
            if isinstance(found, str):
                text(found, 'tune-refused')
            elif found is not None:
                self._show_comparison(found)

    def _show_comparison(self, found: Comparison) -> None:
        words = self._words
        if not found.limits and not found.others:
            text(words('recipes.no_difference'), 'compare-same')
            return
        text(words('recipes.limits'), 'box-title')
        for limit in found.limits:
            self._limit_row(limit)
        text(words('recipes.same_limits', count=found.same_limits), 'quiet')
        if not found.others:
            return
        text(words('recipes.others'), 'box-title')
        for difference in found.others:
            old, new = (
                self._value(difference.key, one) for one in (difference.old, difference.new)
            )
            self._row(self._label(difference), old, new)

    def _limit_row(self, limit: LimitDifference) -> None:
        words = self._words
        unit = '' if limit.unit == '1' else limit.unit
        old, new = (self._limit_text(one, unit) for one in (limit.old, limit.new))
        scorer = limit.name.partition('.')[0]
        hint = ''
        if limit.is_stricter is not None:
            hint = words('recipes.stricter' if limit.is_stricter else 'recipes.more_tolerant')
        self._row(f'{measure_name(limit.name, words)} ({scorer})', old, new, hint)

    def _limit_text(self, values: LimitValues | None, unit: str) -> str:
        if values is None:
            return ''
        limit = (
            NO_NUMBER
            if math.isnan(values.limit)
            else f'{number(values.limit, self._words)} {unit}'.strip()
        )
        parts = [limit, self._words('tune.typical', value=number(values.typical, self._words))]
        if not values.is_judged:
            parts.append(self._words('recipes.not_judged'))
        return ', '.join(parts)

    def _row(self, label: str, old: str, new: str, hint: str = '') -> None:
        with ui.element('div').classes('compare-row'):
            text(label)
            text(old or NO_NUMBER, 'compare-value')
            with ui.element('div').classes('compare-new'):
                text(new or NO_NUMBER, 'compare-value')
                text(hint, 'compare-hint')

    def _value(self, key: str, value: str) -> str:
        """
        Give a value in plain words where it is one of a few; what people have written stays.

        """
        is_choice = key == 'combination' or key.startswith(('frame.', 'preprocessing.'))
        if is_choice and self._words.has(f'recipes.value.{value}'):
            return self._words(f'recipes.value.{value}')
        return value

    def _label(self, difference: Difference) -> str:
        """
        Name what differs in plain words where there are some, else by its key.

        """
        for prefix, key in _readings(difference.key):
            if self._words.has(f'recipes.field.{key}'):
                label = self._words(f'recipes.field.{key}')
                return f'{prefix}: {label}' if prefix else label
        return difference.key


def _readings(key: str) -> Iterator[tuple[str, str]]:
    """
    Give what a key may be about: ('', 'product'), or ('ssim', 'region').

    """
    yield '', key
    top, _, rest = key.partition('.')
    if top == 'scorers':
        scorer, _, inner = rest.partition('.')
        yield scorer, f'scorer.{inner}'


def _compared(old: Path, new: Path) -> Comparison:
    return compare(recipe_values(old), recipe_values(new))
