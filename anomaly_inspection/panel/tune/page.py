# SPDX-License-Identifier: Apache-2.0
"""
The Tune page: move a limit, and see beforehand what it does to the parts.

"""

from __future__ import annotations

import math
from typing import Any, TYPE_CHECKING

from fastapi import Request
from nicegui import ui

from anomaly_inspection.panel import layout
from anomaly_inspection.panel.access.guard import visitor_of
from anomaly_inspection.panel.asking import asked
from anomaly_inspection.panel.cell.guarded_commands import LEAST_ROLES
from anomaly_inspection.panel.explaining import axis_number, measure_name, number, said, unit_name
from anomaly_inspection.panel.layout import text
from anomaly_inspection.panel.live_picture import LivePicture
from anomaly_inspection.panel.tune.calibration import CalibrationBox
from anomaly_inspection.panel.tune.challenge import ChallengeBox
from anomaly_inspection.panel.tune.range import ask_for_range, range_text
from anomaly_inspection.panel.tune.tuning import beyond, measured_values, slider_scale

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from anomaly_inspection.panel.cell.commands import Answer
    from anomaly_inspection.panel.cell.part_views import LimitView, PartView
    from anomaly_inspection.panel.cell.state import CellPicture
    from anomaly_inspection.panel.cell.views import PotentiometerView
    from anomaly_inspection.panel.panel_parts import PanelParts
    from anomaly_inspection.panel.tune.tuning import SliderScale
    from anomaly_inspection.panel.words import Words

    Change = Callable[[LimitView, float], Awaitable[Answer]]

# Readable on light and on dark surfaces; an echart knows no colours of a theme.
_GRAY, _RED, _BLUE, _FAINT = '#7d8894', '#d4473d', '#4f86b8', 'rgba(125,136,148,0.25)'
_DRAW_EVERY_S = 1.0


def add_page(parts: PanelParts) -> None:
    """
    Add the page to the site.

    """

    @ui.page('/tune')
    def tune(request: Request) -> None:
        visitor = visitor_of(request)
        own = parts.for_visitor(visitor)

        def may(command: str) -> bool:
            return visitor is not None and visitor.role >= LEAST_ROLES[command]

        with layout.frame(parts, request, 'tune') as words:
            limits = _Limits(own, words, may_change=may('set_limits'))
            with ui.element('div').classes('tune-side'):
                if may('set_limits'):
                    save = _SaveBox(own, words)
                else:
                    text(words('tune.only_look'), 'box')
                    save = None
                knobs = _KnobBox(own, words, may_grab=may('grab'))
                challenges = [
                    ChallengeBox(own, words, may_run=may('run_challenge'), view=view)
                    for view in own.views
                ]
                calibration = CalibrationBox(own, words) if may('calibrate') else None
                with ui.element('section').classes('box tune-live'):
                    LivePicture(words)

            def show() -> None:
                picture = parts.state.picture()
                limits.show(picture)
                knobs.show(picture)
                for challenge in challenges:
                    challenge.show(picture)
                if calibration is not None:
                    calibration.show(picture)
                if save is not None:
                    save.show(picture)

            layout.on_change(parts, show)
            limits.draw(parts.state.picture())
            ui.timer(_DRAW_EVERY_S, lambda: limits.draw(parts.state.picture()))


class _Limits:
    """
    One box for each limit in force.

    """

    def __init__(self, parts: PanelParts, words: Words, *, may_change: bool) -> None:
        self._parts, self._words, self._may_change = parts, words, may_change
        self._rows: list[_LimitRow] = []
        self._shown: object = None
        self._list = ui.element('div').classes('tune-limits')
        self._dialogs = ui.element('div').classes('dialogs')

    def show(self, picture: CellPicture) -> None:
        """
        Show where the limits stand.

        """
        shown = (
            picture.recipe.hash,
            [(one.name, one.typical, one.lowest, one.highest) for one in picture.limits],
        )
        fits = len(self._rows) == len(picture.limits) and all(
            row.fits(limit) for row, limit in zip(self._rows, picture.limits, strict=True)
        )
        if shown != self._shown or not fits:
            self._shown = shown
            self._list.clear()
            with self._list:
                if not picture.limits:
                    text(self._words('line.no_limits'), 'box quiet')
                self._rows = [
                    _LimitRow(
                        *(limit, slider_scale(limit), self._words, self._change),
                        ask_for_range=self._ask_for_range if self._may_change else None,
                    )
                    for limit in picture.limits
                ]
            self.draw(picture)
        for row, limit in zip(self._rows, picture.limits, strict=True):
            row.show(limit)

    def draw(self, picture: CellPicture) -> None:
        """
        Draw the last parts.

        """
        for row in self._rows:
            row.draw(picture.parts, needs_all=picture.needs_all_limits)

    async def _change(self, limit: LimitView, value: float) -> Answer:
        return await asked(self._parts.commands.set_limits, {limit.name: value})

    def _ask_for_range(self, limit: LimitView) -> None:
        self._dialogs.clear()
        with self._dialogs:
            ask_for_range(self._parts, self._words, limit)


class _LimitRow:
    """
    A limit: the last parts as dots, and below them the slider on the same scale.

    """

    def __init__(
        self,
        limit: LimitView,
        scale: SliderScale,
        words: Words,
        change: Change,
        *,
        ask_for_range: Callable[[LimitView], None] | None,
    ) -> None:
        self._limit, self.scale, self._words, self._change = limit, scale, words, change
        may_change = ask_for_range is not None
        # Where the slider is held, and the limit that it shows.
        self._at = self._made_for = limit.value
        self._in_force = math.nan
        self._is_held = False
        self._values: list[tuple[int, float]] = []
        self._needs_all = False
        self._drawn: object = None
        unit = unit_name(limit.unit, words)
        with ui.element('section').classes('box tune-limit'):
            with ui.element('div').classes('tune-head'):
                text(measure_name(limit.name, words), 'tune-name')
                text(limit.scorer, 'measure-scorer')
                text(words('tune.typical', value=number(limit.typical, words)), 'tune-typical')
                text(
                    words('tune.at_most' if limit.high_is_bad else 'tune.at_least'),
                    'tune-side-word',
                )
                self._number = (
                    ui.number(step=scale.step)
                    .props('outlined dense hide-bottom-space')
                    .classes('tune-number')
                )
                self._number.props(f'aria-label="{words("line.limit")}"')
                self._number.set_enabled(may_change)
                text(unit, 'tune-unit')
                if ask_for_range is not None:
                    button = ui.button(
                        icon='straighten', on_click=lambda: ask_for_range(self._limit)
                    )
                    button.props(f'flat round dense aria-label="{words("tune.range_set")}"')
                    button.tooltip(words('tune.range_set'))
            self._chart = ui.echart(_chart_options(limit, scale, words)).classes('tune-chart')
            self._slider = ui.slider(
                min=scale.low, max=scale.high, step=scale.step, value=scale.rounded(limit.value)
            ).classes('tune-slider')
            # As numbers: the browser would compare texts letter by letter.
            self._slider.props['inner-min'] = scale.first
            self._slider.props['inner-max'] = scale.last
            self._slider.props(f'aria-label="{words("line.limit")}"')
            if not limit.high_is_bad:
                self._slider.props('reverse')
            self._slider.set_enabled(may_change)
            with ui.element('div').classes('tune-ends'):
                text(words('tune.strict'))
                self._sentence = text(classes='tune-sentence').props('aria-live=polite')
                text(words('tune.tolerant'))
            text(range_text(limit, words), 'tune-range')
            self._refused = text(classes='tune-refused')
        if may_change:
            self._slider.on('update:model-value', self._hold, throttle=0.1, trailing_events=False)
            self._slider.on('change', self._let_go)
            self._number.on('keydown.enter', self._type)
            self._number.on('blur', self._type)

    def fits(self, limit: LimitView) -> bool:
        """
        Whether the limit is on the scale.

        """
        return limit.value == self._made_for or self.scale.holds(limit.value)

    def show(self, limit: LimitView) -> None:
        """
        Show where the limit stands, unless somebody holds the slider.

        """
        self._limit = limit
        if self._is_held or limit.value == self._in_force:
            return
        self._in_force = limit.value
        self._refused.text = ''
        self._stand_at(limit.value)

    def draw(self, parts: tuple[PartView, ...], *, needs_all: bool) -> None:
        """
        Draw the last parts, and count those that the limit would reject.

        """
        self._values, self._needs_all = measured_values(parts, self._limit), needs_all
        self._count()

    def _count(self) -> None:
        drawn = (self._values[-1:], len(self._values), self._at)
        if drawn == self._drawn:
            return
        self._drawn = drawn
        rejected = beyond(self._values, self._limit, self._at)
        if not self._values:
            self._sentence.text = self._words('tune.no_parts')
        else:
            key = 'tune.would_be_beyond' if self._needs_all else 'tune.would_reject'
            self._sentence.text = self._words(key, count=rejected, all=len(self._values))
        good: list[list[float]] = []
        bad: list[list[float]] = []
        for height, (_, value) in enumerate(self._values):
            is_bad = bool(beyond([(0, value)], self._limit, self._at))
            (bad if is_bad else good).append([self.scale.clipped(value), height])
        series = self._chart.options['series']
        series[0]['data'], series[1]['data'] = good, bad
        series[2]['markLine']['data'] = [{'xAxis': self.scale.clipped(self._at)}]
        self._chart.update()

    def _stand_at(self, value: float) -> None:
        self._at = value
        self._slider.set_value(self.scale.rounded(value))
        self._number.set_value(_shown(value))
        self._count()

    def _hold(self, event: Any) -> None:
        value = _number(event.args)
        if math.isnan(value):
            return
        self._is_held = True
        self._at = self.scale.rounded(value)
        self._number.set_value(self._at)
        self._count()

    async def _let_go(self, event: Any) -> None:
        await self._ask(self.scale.rounded(_number(event.args)))

    async def _type(self) -> None:
        value = _number(self._number.value)
        # What was only looked at is no wish.
        if value != _shown(self._in_force) and not self._is_held:
            await self._ask(value)

    async def _ask(self, value: float) -> None:
        self._refused.text = ''
        if math.isnan(value):
            self._stand_at(self._in_force)
            return
        self._is_held = True
        self._at = value
        self._count()
        answer = await self._change(self._limit, value)
        self._is_held = False
        if answer.success:
            # What is in force comes back from the decider; until then the slider stays.
            self._in_force = value
            self._stand_at(value)
        else:
            self._refused.text = said(answer, self._words)
            self._stand_at(self._in_force)


class _SaveBox:
    """
    Save the limits in the recipe, or go back to what it says.

    """

    def __init__(self, parts: PanelParts, words: Words) -> None:
        self._parts, self._words = parts, words
        with ui.element('section').classes('box'):
            text(words('tune.changes'), 'box-title')
            self._state = text(classes='tune-state')
            with ui.element('div').classes('button-row'):
                self._save = ui.button(words('tune.save'), on_click=self._ask_to_save)
                self._save.props('unelevated no-caps color=primary icon=save')
                self._undo = ui.button(words('tune.undo'), on_click=self._ask_to_undo)
                self._undo.props('outline no-caps color=primary icon=undo')
            self._refused = text(classes='tune-refused')

    def show(self, picture: CellPicture) -> None:
        """
        Show whether there is something to save.

        """
        is_changed = picture.limits_are_unsaved
        key = 'tune.unsaved' if is_changed else 'tune.saved'
        self._state.text = self._words(key, version=picture.recipe.version)
        self._save.set_enabled(is_changed)
        self._undo.set_enabled(is_changed)

    async def _ask_to_save(self) -> None:
        await self._ask(self._parts.commands.save_limits)

    async def _ask_to_undo(self) -> None:
        await self._ask(self._parts.commands.undo_limits)

    async def _ask(self, command: Callable[[], Answer]) -> None:
        self._save.disable()
        self._undo.disable()
        answer = await asked(command)
        self._refused.text = '' if answer.success else said(answer, self._words)
        if answer.success:
            ui.notify(said(answer, self._words), type='info', position='top')
        self.show(self._parts.state.picture())


class _KnobBox:
    """
    The potentiometers, and the button that takes their values over.

    """

    def __init__(self, parts: PanelParts, words: Words, *, may_grab: bool) -> None:
        self._parts, self._words = parts, words
        self._rows: dict[int, tuple[ui.label, ui.element, ui.label]] = {}
        with ui.element('section').classes('box') as self._box:
            text(words('tune.knobs'), 'box-title')
            self._list = ui.element('div').classes('measure-list')
            with ui.element('div').classes('button-row'):
                button = ui.button(words('tune.grab'), on_click=self._grab)
                button.props('unelevated no-caps color=primary icon=back_hand')
                button.set_visibility(may_grab)
            self._refused = text(classes='tune-refused')

    def show(self, picture: CellPicture) -> None:
        """
        Show where the potentiometers stand; nothing where there are none.

        """
        knobs = picture.potentiometers
        self._box.set_visibility(bool(knobs))
        if [knob.channel for knob in knobs] != list(self._rows):
            self._list.clear()
            with self._list:
                self._rows = {knob.channel: self._row() for knob in knobs}
        for knob in knobs:
            self._show_knob(knob, *self._rows[knob.channel])

    def _row(self) -> tuple[ui.label, ui.element, ui.label]:
        with ui.element('div').classes('measure'):
            with ui.element('div').classes('measure-words'):
                name = text(classes='measure-name grow')
                value = text(classes='measure-value')
            with ui.element('div').classes('bar'):
                bar = ui.element('div').classes('bar-fill')
        return name, bar, value

    def _show_knob(
        self, knob: PotentiometerView, name: ui.label, bar: ui.element, value: ui.label
    ) -> None:
        words = self._words
        name.text = (
            measure_name(knob.limit, words)
            if knob.limit
            else words('tune.channel', number=knob.channel)
        )
        is_used = not math.isnan(knob.value)
        value.text = number(knob.value, words) if is_used else words('tune.moves_nothing')
        share = 0.0 if math.isnan(knob.position) else min(max(knob.position, 0.0), 1.0)
        bar.style(f'width: {100 * share:.1f}%')

    async def _grab(self) -> None:
        answer = await asked(self._parts.commands.grab)
        self._refused.text = '' if answer.success else said(answer, self._words)
        if answer.success:
            ui.notify(said(answer, self._words), type='info', position='top')


def _shown(value: float) -> float:
    """
    Give a limit with as many digits as a person reads.

    """
    return float(f'{value:.5g}')


def _number(value: object) -> float:
    """
    Read what a browser sent; NaN = no finite number.

    """
    if isinstance(value, list):
        value = value[0] if value else None
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else math.nan  # type: ignore[arg-type]


def _chart_options(limit: LimitView, scale: SliderScale, words: Words) -> dict[str, Any]:
    label = {
        'color': _GRAY,
        'fontSize': 12,
        'showMinLabel': False,
        'showMaxLabel': False,
        ':formatter': axis_number(words),
    }
    # Without a precision, echarts rounds a line to two decimals.
    line = {'silent': True, 'symbol': 'none', 'precision': 12, 'label': {'show': False}}
    return {
        'animation': False,
        'textStyle': {'fontFamily': 'Roboto, sans-serif'},
        'grid': {'left': 10, 'right': 10, 'top': 6, 'bottom': 22},
        'xAxis': {
            'type': 'value',
            'min': scale.low,
            'max': scale.high,
            'inverse': not limit.high_is_bad,
            'axisLabel': label,
            'splitLine': {'show': False},
            'axisLine': {'lineStyle': {'color': _FAINT}, 'onZero': False},
        },
        'yAxis': {'type': 'value', 'min': -2, 'max': 101, 'show': False},
        'series': [
            {
                'type': 'scatter',
                'data': [],
                'symbolSize': 6,
                'itemStyle': {'color': _GRAY},
                'markLine': {
                    **line,
                    'lineStyle': {'color': _GRAY, 'type': 'dashed', 'width': 1},
                    'data': [{'xAxis': limit.typical}],
                },
            },
            {
                'type': 'scatter',
                'data': [],
                'symbol': 'diamond',
                'symbolSize': 10,
                'itemStyle': {'color': _RED},
            },
            {
                'type': 'scatter',
                'data': [],
                'markLine': {
                    **line,
                    'lineStyle': {'color': _BLUE, 'type': 'solid', 'width': 3},
                    'data': [{'xAxis': limit.value}],
                },
            },
        ],
    }
