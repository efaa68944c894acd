# SPDX-License-Identifier: Apache-2.0
"""
The dialog in which an engineer says how far a limit may be moved.

"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from nicegui import ui

from anomaly_inspection.panel.asking import asked
from anomaly_inspection.panel.explaining import measure_name, said
from anomaly_inspection.panel.layout import text

if TYPE_CHECKING:
    from anomaly_inspection.panel.cell.part_views import LimitView
    from anomaly_inspection.panel.panel_parts import PanelParts
    from anomaly_inspection.panel.words import Words


def range_text(limit: LimitView, words: Words) -> str:
    """
    Say how far a limit may be moved; '' where nobody has narrowed that.

    """
    if not limit.is_narrowed:
        return ''
    lowest, highest = (words.decimal(f'{end:.6g}') for end in (limit.lowest, limit.highest))
    if math.isinf(limit.lowest):
        return words('tune.range_up_to', highest=highest)
    if math.isinf(limit.highest):
        return words('tune.range_from', lowest=lowest)
    return words('tune.range_between', lowest=lowest, highest=highest)


def ask_for_range(parts: PanelParts, words: Words, limit: LimitView) -> None:
    """
    Open the dialog for one limit.

    """
    recipe = parts.state.picture().recipe
    with ui.dialog().props('persistent') as dialog, ui.card().classes('dialog'):
        text(words('tune.range_title', measure=measure_name(limit.name, words)), 'dialog-title')
        text(words('tune.range_hint', version=recipe.version + 1))
        with ui.element('div').classes('range-ends'):
            ends = [
                ui.number(words(key), value=_shown(end) if limit.is_narrowed else None).props(
                    'outlined dense clearable'
                )
                for key, end in (
                    ('tune.range_lowest', limit.lowest),
                    ('tune.range_highest', limit.highest),
                )
            ]
        refused = text(classes='tune-refused').props('role=alert')
        with ui.element('div').classes('button-row end'):
            cancel = ui.button(words('recipes.cancel'), on_click=dialog.close).props(
                'flat no-caps'
            )
            button = ui.button(words('tune.range_save')).props('unelevated no-caps color=primary')

    async def save() -> None:
        refused.text = ''
        button.props('loading')
        cancel.disable()
        lowest, highest = (_number(end.value) for end in ends)
        answer = await asked(parts.commands.set_limit_ranges, {limit.name: (lowest, highest)})
        button.props(remove='loading')
        cancel.enable()
        if answer.success:
            dialog.close()
        refused.text = '' if answer.success else said(answer, words)

    button.on_click(save)
    dialog.open()


def _shown(value: float) -> float | None:
    return float(f'{value:.6g}') if math.isfinite(value) else None


def _number(value: object) -> float | None:
    is_number = isinstance(value, (int, float)) and math.isfinite(value)
    return float(value) if is_number else None  # type: ignore[arg-type]
