# SPDX-License-Identifier: Apache-2.0
"""
The Line page: what an operator reads from three metres, and why.

"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fastapi import Request
from nicegui import ui

from anomaly_inspection.panel import layout
from anomaly_inspection.panel.explaining import explained, measure_name, NO_NUMBER, number
from anomaly_inspection.panel.layout import text
from anomaly_inspection.panel.live_picture import LivePicture

if TYPE_CHECKING:
    from anomaly_inspection.panel.cell_state import CellPicture, LimitView, PartView
    from anomaly_inspection.panel.panel_parts import PanelParts
    from anomaly_inspection.panel.words import Words

# The bar of a measure begins and ends at these anomaly scores: a typical good part fills a quarter
# of it, and the mark of the limit stands at three quarters.
_BAR_FROM, _BAR_TO = -0.5, 1.5
_TILES = 24


def add_page(parts: PanelParts) -> None:
    """
    Add the page to the site.

    """

    @ui.page('/')
    def line(request: Request) -> None:
        with layout.frame(parts, request, 'line') as words:
            with ui.element('div').classes('see'):
                LivePicture(words)
                strip = _Strip(words)
            with ui.element('div').classes('know'):
                sections = [kind(words) for kind in (_Verdict, _Measures, _Counters, _Health)]

            def show() -> None:
                picture = parts.state.picture()
                for section in (*sections, strip):
                    section.show(picture)

            layout.on_change(parts, show)


class _Verdict:
    """
    The verdict on the last part, large, and why.

    """

    def __init__(self, words: Words) -> None:
        self._words = words
        with ui.element('section').classes('verdict').props('aria-live=polite') as self._box:
            self._icon = ui.icon('').classes('verdict-icon')
            with ui.element('div').classes('verdict-words'):
                self._word = text(classes='verdict-word')
                self._part = text(classes='verdict-part')
        self._reason = text(classes='reason')

    def show(self, picture: CellPicture) -> None:
        words, part = self._words, picture.last_part
        decision = part.decision if part else None
        if part is None or decision is None:
            self._look('is-none', 'hourglass_empty', words('verdict.none'))
            self._reason.text = words('verdict.none_hint')
            return
        if decision.has_passed:
            self._look('is-good', 'check_circle', words('verdict.good'))
        else:
            self._look('is-bad', 'dangerous', words('verdict.bad'))
        line = words('verdict.part', number=part.number)
        if decision.known_as:
            kind = words(f'verdict.{decision.known_as}_part')
            line += f'  ·  {words("verdict.known", kind=kind)}'
        self._part.text = line
        self._reason.text = explained(part, words)

    def _look(self, kind: str, icon: str, word: str) -> None:
        self._box.classes(replace=f'verdict {kind}')
        self._icon.name = icon
        self._word.text = word


class _Measures:
    """
    Every measure of the last part as a bar against its limit.

    """

    def __init__(self, words: Words) -> None:
        self._words = words
        self._names: tuple[str, ...] = ()
        self._rows: list[_MeasureRow] = []
        with ui.element('section').classes('box measures'):
            text(words('line.measures'), 'box-title')
            self._list = ui.element('div').classes('measure-list')

    def show(self, picture: CellPicture) -> None:
        part = picture.last_part
        limits = part.limits if part else picture.limits
        names = tuple(limit.name for limit in limits)
        if names != self._names or not self._rows:
            self._names = names
            self._list.clear()
            with self._list:
                self._rows = [_MeasureRow(limit, self._words) for limit in limits]
                if not limits:
                    text(self._words('line.no_limits'), 'quiet')
        for row, limit in zip(self._rows, limits, strict=True):
            row.show(limit, part)


class _MeasureRow:
    def __init__(self, limit: LimitView, words: Words) -> None:
        self._words = words
        with ui.element('div').classes('measure') as self._row:
            with ui.element('div').classes('measure-words'):
                text(measure_name(limit.name, words), 'measure-name')
                text(limit.scorer, 'measure-scorer')
                self._value = text(classes='measure-value')
                self._limit = text(classes='measure-limit')
            with ui.element('div').classes('bar'):
                self._bar = ui.element('div').classes('bar-fill')
                ui.element('div').classes('bar-mark')

    def show(self, limit: LimitView, part: PartView | None) -> None:
        value = part.value_of(limit) if part else math.nan
        is_bad = part is not None and part.decision is not None and limit.is_exceeded_by(value)
        self._row.classes(replace='measure is-bad' if is_bad else 'measure')
        unit = '' if limit.unit == '1' else f' {limit.unit}'
        self._value.text = f'{number(value)}{unit}'
        sign = '≤' if limit.high_is_bad else '≥'
        self._limit.text = f'{self._words("line.limit")} {sign} {number(limit.value)}'
        score = limit.anomaly_score(value)
        share = 0.0
        if not math.isnan(score):
            share = min(max((score - _BAR_FROM) / (_BAR_TO - _BAR_FROM), 0.02), 1.0)
        self._bar.style(f'width: {100 * share:.1f}%')


class _Strip:
    """
    The last parts, newest first.

    """

    def __init__(self, words: Words) -> None:
        self._words = words
        self._shown: tuple[str, int] | None = None
        with ui.element('section').classes('strip-box'):
            text(words('line.last_parts'), 'box-title')
            with ui.element('div').classes('strip') as self._row:
                self._tiles = [_Tile() for _ in range(_TILES)]

    def show(self, picture: CellPicture) -> None:
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
    def __init__(self) -> None:
        with ui.element('div').classes('tile is-empty') as self.box:
            self._icon = ui.icon('').classes('tile-icon')
            self._number = text(classes='tile-number')

    def show(self, part: PartView) -> None:
        has_passed = part.decision is not None and part.decision.has_passed
        self.box.classes(replace=f'tile {"is-good" if has_passed else "is-bad"}')
        self._icon.name = 'check' if has_passed else 'close'
        self._number.text = str(part.number)


class _Counters:
    """
    What has been counted, as large numbers.

    """

    def __init__(self, words: Words) -> None:
        with ui.element('section').classes('box counters'):
            text(words('line.counters'), 'box-title')
            with ui.element('div').classes('counter-row'):
                self._numbers = {
                    name: _counter(words(f'line.{name}'))
                    for name in ('parts', 'rejected', 'yield', 'latency')
                }

    def show(self, picture: CellPicture) -> None:
        counts = picture.counts
        total = counts.passed + counts.rejected
        self._numbers['parts'].text = str(total)
        self._numbers['rejected'].text = str(counts.rejected)
        share = f'{100 * counts.passed / total:.1f} %' if total else NO_NUMBER
        self._numbers['yield'].text = share
        latencies = sorted(
            part.decision.latency_s
            for part in picture.parts[-100:]
            if part.decision and not math.isnan(part.decision.latency_s)
        )
        middle = latencies[len(latencies) // 2] if latencies else math.nan
        self._numbers['latency'].text = f'{1e3 * middle:.0f} ms' if latencies else NO_NUMBER


def _counter(name: str) -> ui.label:
    with ui.element('div').classes('counter'):
        value = text(NO_NUMBER, 'counter-value')
        text(name, 'counter-name')
    return value


class _Health:
    """
    One word a node while it is well, a sentence when it is not.

    """

    def __init__(self, words: Words) -> None:
        self._words = words
        self._shown: list[tuple[str, str, str]] | None = None
        with ui.element('section').classes('box health'):
            text(words('line.health'), 'box-title')
            self._list = ui.element('div').classes('health-list')

    def show(self, picture: CellPicture) -> None:
        problems = [
            (status.node, status.level, status.message)
            for status in picture.health
            if status.level != 'ok'
        ]
        if problems == self._shown:
            return
        self._shown = problems
        self._list.clear()
        with self._list:
            if not problems:
                text(self._words('line.all_well'), 'quiet')
            for node, level, message in problems:
                with ui.element('div').classes(f'problem is-{level}'):
                    ui.icon('error' if level == 'error' else 'warning').classes('problem-icon')
                    text(node, 'problem-node')
                    text(message, 'problem-message')
