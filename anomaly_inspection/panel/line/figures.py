# SPDX-License-Identifier: Apache-2.0
"""
Figures of the Line page: counters of the shift, score over time, health of the nodes.

"""

from __future__ import annotations

import math
import time
from typing import Any, TYPE_CHECKING

from nicegui import ui
import numpy as np

from anomaly_inspection.panel.explaining import axis_number, NO_NUMBER, reason_name
from anomaly_inspection.panel.layout import text
from anomaly_inspection.panel.report.shift_reports import CURRENT, LAST

if TYPE_CHECKING:
    from anomaly_inspection.panel.cell.shift_counts import Counts
    from anomaly_inspection.panel.cell.state import CellPicture, CellState
    from anomaly_inspection.panel.cell.views import HealthView
    from anomaly_inspection.panel.words import Words

_REASONS_SHOWN = 3
# The chart ends at this anomaly score; higher ones stand at its edge.
_HIGHEST_SCORE = 3.0
_LOWEST_SCORE = -1.0
_POINTS = 300
_BINS = 24
# Readable on light and on dark surfaces; an echart knows no colours of a theme.
_GRAY, _RED, _FAINT = '#7d8894', '#d4473d', 'rgba(125,136,148,0.25)'


class Counters:
    """
    What was counted in this shift.

    Parameters
    ----------
    state : CellState
        For the clock of the plant.
    words : Words
        The viewer's language.
    has_report : bool
        Whether the viewer may open shift reports, and there are any.

    """

    def __init__(self, state: CellState, words: Words, *, has_report: bool = False) -> None:
        self._state, self._words = state, words
        with ui.element('section').classes('box counters'):
            with ui.element('div').classes('box-title'):
                self._shift = text()
                if has_report:
                    _report_links(words)
            with ui.element('div').classes('counter-row'):
                self._numbers = {
                    name: _counter(words(f'line.{name}'))
                    for name in ('parts', 'rejected', 'yield', 'per_minute', 'latency')
                }
            self._reasons = text(classes='quiet reasons')
            self._before = text(classes='quiet')

    def show(self, picture: CellPicture) -> None:
        """
        Show the counts of the shift that runs now.

        """
        words, now_s = self._words, time.time()
        shift = self._state.shifts.shift_at(now_s)
        name = shift.name or words('line.this_shift')
        began = f'{self._state.shifts.local(shift.began_s):%H:%M}'
        self._shift.text = words('line.shift_since', name=name, time=began)
        is_current = picture.counts and picture.counts[-1].shift.began_s >= shift.began_s
        counts = picture.counts[-1] if is_current else None
        latencies = picture.latencies_s()
        values = {
            'parts': str(counts.total if counts else 0),
            'rejected': str(counts.rejected if counts else 0),
            'yield': _percent(counts, words),
            'per_minute': f'{picture.parts_per_minute(now_s):.0f}',
            'latency': f'{1e3 * latencies[len(latencies) // 2]:.0f} ms'
            if latencies
            else NO_NUMBER,
        }
        for key, value in values.items():
            self._numbers[key].text = value
        by_reason = sorted(
            counts.by_reason.items() if counts else (), key=lambda entry: entry[1], reverse=True
        )
        self._reasons.text = '  ·  '.join(
            f'{reason_name(reason, words)}: {count}'
            for reason, count in by_reason[:_REASONS_SHOWN]
        )
        before = picture.counts[-2 if is_current else -1 :][:1] if picture.counts else ()
        if before and (not is_current or len(picture.counts) > 1):
            last = before[0]
            self._before.text = words(
                'line.shift_before',
                name=last.shift.name or words('line.last_shift'),
                parts=last.total,
                share=_percent(last, words),
            )


def _report_links(words: Words) -> None:
    with ui.element('span').classes('report-links'):
        text(words('line.report'))
        for shift in (CURRENT, LAST):
            ui.link(words(f'line.report_{shift}'), f'/report/{shift}.html', new_tab=True)


def _percent(counts: Counts | None, words: Words) -> str:
    if counts is None or math.isnan(counts.good_share):
        return NO_NUMBER
    return words.decimal(f'{100 * counts.good_share:.1f} %')


def _counter(name: str) -> ui.label:
    with ui.element('div').classes('counter'):
        value = text(NO_NUMBER, 'counter-value')
        text(name, 'counter-name')
    return value


class ScoreChart:
    """
    Anomaly score of the last parts with its limit, and the histogram of those that passed.

    Parameters
    ----------
    words : Words
        The viewer's language.

    """

    def __init__(self, words: Words) -> None:
        self._shown = -1
        with ui.element('section').classes('box chart'):
            text(words('line.score'), 'box-title')
            self._chart = ui.echart(_chart_options(words)).classes('chart-area')

    def show(self, picture: CellPicture) -> None:
        """
        Draw the scores that are new.

        """
        count = sum(counts.total for counts in picture.counts)
        if count == self._shown:
            return
        self._shown = count
        good: list[list[float]] = []
        bad: list[list[float]] = []
        for part in picture.parts[-_POINTS:]:
            decision = part.decision
            if decision is None or math.isnan(decision.anomaly_score):
                continue
            score = min(max(decision.anomaly_score, _LOWEST_SCORE), _HIGHEST_SCORE)
            (good if decision.has_passed else bad).append([part.number, round(score, 3)])
        series = self._chart.options['series']
        series[0]['data'], series[1]['data'] = good, bad
        heights, _ = np.histogram(
            [score for _, score in good], bins=_BINS, range=(_LOWEST_SCORE, _HIGHEST_SCORE)
        )
        series[2]['data'] = [int(height) for height in heights]
        self._chart.update()


def _chart_options(words: Words) -> dict[str, Any]:
    label = {'color': _GRAY, 'fontSize': 12, ':formatter': axis_number(words)}
    limit = {
        'silent': True,
        'symbol': 'none',
        'lineStyle': {'color': _GRAY, 'type': 'solid', 'width': 2},
        'label': {'formatter': words('line.limit'), 'color': _GRAY, 'position': 'insideStartTop'},
        'data': [{'yAxis': 1}],
    }
    bounds = {'min': _LOWEST_SCORE, 'max': _HIGHEST_SCORE}
    bins = [f'{index}' for index in range(_BINS)]
    return {
        'animation': False,
        'textStyle': {'fontFamily': 'Roboto, sans-serif'},
        'grid': [
            {'left': 34, 'right': '24%', 'top': 8, 'bottom': 22},
            {'left': '80%', 'right': 8, 'top': 8, 'bottom': 22},
        ],
        'xAxis': [
            {
                'type': 'value',
                'scale': True,
                'minInterval': 1,
                'axisLabel': label,
                'splitLine': {'show': False},
                'axisLine': {'lineStyle': {'color': _FAINT}},
            },
            {'type': 'value', 'gridIndex': 1, 'show': False},
        ],
        'yAxis': [
            {
                'type': 'value',
                **bounds,
                'interval': 1,
                'axisLabel': label,
                'splitLine': {'lineStyle': {'color': _FAINT}},
            },
            {'type': 'category', 'gridIndex': 1, 'data': bins, 'show': False},
        ],
        'series': [
            {
                'type': 'scatter',
                'data': [],
                'symbolSize': 6,
                'itemStyle': {'color': _GRAY},
                'markLine': limit,
            },
            {
                'type': 'scatter',
                'data': [],
                'symbol': 'diamond',
                'symbolSize': 11,
                'itemStyle': {'color': _RED},
            },
            {
                'type': 'bar',
                'xAxisIndex': 1,
                'yAxisIndex': 1,
                'data': [],
                'barCategoryGap': '10%',
                'itemStyle': {'color': _GRAY},
            },
        ],
    }


class Health:
    """
    One word a node while it is well, a sentence when it is not.

    Parameters
    ----------
    words : Words
        The viewer's language.

    """

    def __init__(self, words: Words) -> None:
        self._words = words
        self._shown: list[tuple[str, str, str]] | None = None
        with ui.element('section').classes('box health'):
            text(words('line.health'), 'box-title')
            self._list = ui.element('div').classes('health-list')

    def show(self, picture: CellPicture) -> None:
        """
        Show the nodes anew when one of them has changed.

        """
        worst: dict[str, HealthView] = {}
        for status in picture.health:
            before = worst.get(status.node)
            if before is None or _RANK[status.level] > _RANK[before.level]:
                worst[status.node] = status
        found = [(node, status.level, status.message) for node, status in worst.items()]
        if found == self._shown:
            return
        self._shown = found
        self._list.clear()
        with self._list:
            if not found:
                text(self._words('line.nobody_heard'), 'quiet')
            for node, level, message in found:
                if level != 'ok':
                    self._problem(node, level, message)
            with ui.element('div').classes('well'):
                for node, level, _ in found:
                    if level == 'ok':
                        with ui.element('div').classes('node'):
                            ui.icon('check').classes('node-icon')
                            text(node)

    def _problem(self, node: str, level: str, message: str) -> None:
        with ui.element('div').classes(f'problem is-{level}'):
            ui.icon('warning' if level == 'warn' else 'error').classes('problem-icon')
            text(node, 'problem-node')
            is_silent = level == 'stale'
            text(self._words('line.silent') if is_silent else message, 'problem-message')


_RANK = {'ok': 0, 'warn': 1, 'stale': 2, 'error': 3}
