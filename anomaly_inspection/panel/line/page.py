# SPDX-License-Identifier: Apache-2.0
"""
The Line page: what an operator reads from three metres, and why.

"""

from __future__ import annotations

from typing import Protocol, TYPE_CHECKING

from fastapi import Request
from nicegui import ui

from anomaly_inspection.panel import layout
from anomaly_inspection.panel.access.guard import visitor_of
from anomaly_inspection.panel.explaining import explained, explained_further
from anomaly_inspection.panel.layout import text
from anomaly_inspection.panel.line.drift_line import DriftLine
from anomaly_inspection.panel.line.figures import Counters, Health, ScoreChart
from anomaly_inspection.panel.line.measure_bars import MeasureBars
from anomaly_inspection.panel.line.parts import PartDialog, Strip
from anomaly_inspection.panel.live_picture import live_pictures
from anomaly_inspection.panel.people.roles import Role

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anomaly_inspection.panel.cell.state import CellPicture
    from anomaly_inspection.panel.panel_parts import PanelParts
    from anomaly_inspection.panel.people.roles import Visitor
    from anomaly_inspection.panel.words import Words


class Section(Protocol):
    """
    A piece of the page.

    """

    def show(self, picture: CellPicture) -> None:
        """
        Show the cell as it is now.

        """
        ...


def add_page(parts: PanelParts) -> None:
    """
    Add the page to the site, and the same for a screen on the wall.

    """

    @ui.page('/')
    def line(request: Request) -> None:
        with layout.frame(parts, request, 'line') as words:
            visitor = visitor_of(request)
            may_review = visitor is not None and visitor.role >= Role.OPERATOR
            dialog = PartDialog(parts, words, may_review=may_review)
            with ui.element('div').classes('see'):
                live_pictures(parts, words)
                strip = Strip(words, dialog.open)
            with ui.element('div').classes('know'):
                verdict = _Verdict(words)
                drift = DriftLine(parts.state, words)
                first = _FirstProduct(words, visitor_of(request))
                measures = MeasureBars(words)
                counters = Counters(
                    parts.state, words, has_report=_has_report(parts, visitor_of(request))
                )
                chart = ScoreChart(words)
                health = Health(words)
            at_once = (verdict, drift, first, measures, strip)
            _keep_showing(parts, at_once, (counters, chart, health))

    @ui.page('/wall')
    def wall(request: Request) -> None:
        with layout.frame(parts, request, 'wall', is_wall=True) as words:
            with ui.element('div').classes('see'):
                live_pictures(parts, words)
                strip = Strip(words)
            with ui.element('div').classes('know'):
                verdict = _Verdict(words)
                drift = DriftLine(parts.state, words)
                counters = Counters(parts.state, words)
                health = Health(words)
            _keep_showing(parts, (verdict, drift, strip), (counters, health))


def _has_report(parts: PanelParts, visitor: Visitor | None) -> bool:
    return parts.reports is not None and layout.may_open('/report/current.html', visitor)


def _keep_showing(
    parts: PanelParts, at_once: Sequence[Section], each_second: Sequence[Section]
) -> None:
    def show(sections: Sequence[Section]) -> None:
        picture = parts.state.picture()
        for section in sections:
            section.show(picture)

    layout.on_change(parts, lambda: show(at_once))
    show(each_second)
    # Not only when something has changed: with no part coming, the pace falls.
    ui.timer(1.0, lambda: show(each_second))


def has_no_recipe(picture: CellPicture) -> bool:
    """
    Whether parts are rejected because no recipe is in force.

    """
    part = picture.last_part
    decision = part.decision if part else None
    return not picture.recipe.name and decision is not None and decision.reason == 'NOT_READY'


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
        self._further = text(classes='quiet reason-further')

    def show(self, picture: CellPicture) -> None:
        words, part = self._words, picture.last_part
        decision = part.decision if part else None
        self._further.text = explained_further(part, words) if part else ''
        if has_no_recipe(picture):
            self._look('is-none', 'school', words('verdict.no_recipe'))
            self._part.text = words('verdict.part', number=part.number) if part else ''
            self._reason.text = words('verdict.no_recipe_hint')
            return
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
        # The style sheet makes it as large as fits.
        self._word.style(replace=f'--letters: {len(word)}')


class _FirstProduct:
    """
    While no recipe is in force: the way to one, for those who may go it.

    """

    def __init__(self, words: Words, visitor: Visitor | None) -> None:
        self._may_teach = layout.may_open('/teach', visitor)
        with ui.element('div').classes('first-product') as self._box:
            teach = ui.button(words('line.teach_first'), on_click=lambda: ui.navigate.to('/teach'))
            teach.props('unelevated no-caps color=primary icon=school size=lg')

    def show(self, picture: CellPicture) -> None:
        self._box.set_visibility(self._may_teach and has_no_recipe(picture))
