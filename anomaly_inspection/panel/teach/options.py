# SPDX-License-Identifier: Apache-2.0
"""
How to teach, for those who want it otherwise than usual; nobody needs to open it.

"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from nicegui import ui

from anomaly_inspection.panel.layout import text
from anomaly_inspection.panel.teach.commands import TeachSettings

if TYPE_CHECKING:
    from anomaly_inspection.panel.words import Words

#: As the teacher knows them; '' = chosen automatically.
METHODS = ('', 'ssim', 'variation', 'patch_statistics', 'features', 'template')
AUTOENCODER = 'autoencoder'
# Scoring may take so much of the time from part to part; the rest is for camera and gate.
_SHARE_FOR_SCORING = 0.5
_USUAL_BUDGET_MS = 100.0
_FASTEST_PER_S = 1000.0


class TeachOptionsBox:
    """
    The settings of teaching besides the region, folded away.

    Parameters
    ----------
    words : Words
        The viewer's language.

    """

    def __init__(self, words: Words) -> None:
        with ui.expansion(words('teach.more')).props('dense').classes('teach-more'):
            self._method = ui.select(
                {name: words(f'teach.method.{name or "auto"}') for name in METHODS},
                value='',
                label=words('teach.method_title'),
            )
            self._method.props('outlined dense options-dense')
            self._trains = ui.checkbox(words('teach.autoencoder'))
            text(words('teach.autoencoder_hint'), 'quiet small')
            self._colours = ui.checkbox(words('teach.highlight_colours'))
            text(words('teach.highlight_colours_hint'), 'quiet small')
            text(words('teach.tolerance_title'))
            with ui.element('div').classes('teach-row'):
                usual = words('teach.usual')
                self._shift = _number(words('teach.shift'), usual, 2048)
                self._rotation = _number(words('teach.rotation'), usual, 180)
                self._light = _number(words('teach.light'), usual, 50)
            self._turns = ui.checkbox(words('teach.any_rotation'))
            text(words('teach.tolerance_hint'), 'quiet small')
            self._rate = _number(words('teach.rate'), words('teach.rate_usual'), _FASTEST_PER_S)
            text(words('teach.rate_hint'), 'quiet small')

        def lock() -> None:
            self._rotation.set_enabled(not self._turns.value)

        self._turns.on_value_change(lock)

    def settings(self, region: tuple[int, int, int, int] | tuple[()]) -> TeachSettings:
        """
        Give what was chosen.

        """
        method = str(self._method.value or '')
        names = [method] if method else []
        if self._trains.value:
            names.append(AUTOENCODER)
        shift, light = _given(self._shift), _given(self._light)
        rotation = 'any' if self._turns.value else _given(self._rotation)
        tolerance = [
            f'{key}={value}{unit}'
            for key, value, unit in (
                ('shift', shift, 'px'),
                ('rotation', rotation, '' if rotation == 'any' else 'deg'),
                ('light', light, '%'),
            )
            if value
        ]
        rate = float(_given(self._rate) or 0.0)
        budget_ms = min(_USUAL_BUDGET_MS, 1e3 * _SHARE_FOR_SCORING / rate) if rate else 0.0
        return TeachSettings(
            region=region,
            highlight_colours=bool(self._colours.value),
            scorers=tuple(names),
            tolerance=','.join(tolerance),
            speed_budget_ms=budget_ms,
        )


def _number(label: str, usual: str, most: float) -> ui.number:
    field = ui.number(label, min=0, max=most).props(
        f'outlined dense stack-label placeholder="{usual}"'
    )
    return field.classes('grow')


def _given(field: ui.number) -> str:
    """
    Give what was entered as a number without an exponent; '' = nothing.

    """
    value = field.value
    if value is None or not math.isfinite(value):
        return ''
    return f'{value:.3f}'.rstrip('0').rstrip('.')
