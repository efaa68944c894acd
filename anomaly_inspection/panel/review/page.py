# SPDX-License-Identifier: Apache-2.0
"""
The Review page: a person goes through rejects, or passed parts, and says which were good.

"""

from __future__ import annotations

import functools
import math
import time
from typing import TYPE_CHECKING

from fastapi import Request
from nicegui import ui

from anomaly_inspection.panel import layout
from anomaly_inspection.panel.access.guard import visitor_of
from anomaly_inspection.panel.asking import asked, tell_refusal
from anomaly_inspection.panel.explaining import explained, explained_further, reason_name
from anomaly_inspection.panel.layout import text
from anomaly_inspection.panel.line.measure_bars import MeasureBars
from anomaly_inspection.panel.review.compared_patches import ComparedPatches
from anomaly_inspection.panel.review.gallery import ICONS, ReviewGallery
from anomaly_inspection.panel.review.reject import KeptAs, LONGEST_COMMENT, ReviewVerdict
from anomaly_inspection.panel.review.review_list import (
    ALL,
    ALWAYS,
    ANY_KIND,
    NEW,
    ReviewFilter,
    ReviewList,
    time_span,
    TIMES,
)
from anomaly_inspection.panel.review.routes import FRAME, MARKED, picture_address
from anomaly_inspection.panel.review.verdicts_box import LOOK_EVERY_S, VerdictsBox

if TYPE_CHECKING:
    from collections.abc import Callable

    from nicegui.events import GenericEventArguments, KeyEventArguments

    from anomaly_inspection.panel.cell.part_views import LimitView, PartKey, PartView
    from anomaly_inspection.panel.panel_parts import PanelParts
    from anomaly_inspection.panel.review.guarded_reviews import GuardedReviews
    from anomaly_inspection.panel.review.reject import Reject
    from anomaly_inspection.panel.words import Words

_KEYS = {ReviewVerdict.GOOD: '1', ReviewVerdict.DEFECT: '2', ReviewVerdict.UNSURE: '3'}
_ANY = '*'
_REFRESH_S = 0.5
_MEASURES_SHOWN = 4


def add_page(parts: PanelParts) -> None:
    """
    Add the page to the site.

    """

    @ui.page('/review')
    def review(request: Request) -> None:
        with layout.frame(parts, request, 'review') as words:
            visitor = visitor_of(request)
            box = functools.partial(VerdictsBox, parts, words, parts.acceptance_for(visitor))
            page = _ReviewPage(parts, words, parts.reviews_for(visitor), box)
            ui.timer(_REFRESH_S, page.look)
            ui.timer(LOOK_EVERY_S, page.verdicts.look)


class _ReviewPage:
    """
    One reject large, what was measured, what people say about it, and all others small.

    """

    def __init__(
        self,
        parts: PanelParts,
        words: Words,
        guarded: GuardedReviews,
        verdicts_box: Callable[[], VerdictsBox],
    ) -> None:
        self._parts, self._words, self._guarded = parts, words, guarded
        self._reviews = parts.reviews
        self._list = ReviewList()
        self._revision = -1
        self._shown: PartKey | None = None
        # Only what a person has seen can be judged: keys come faster than pictures.
        self._seen: PartKey | None = None
        self._comments: dict[PartKey, str] = {}
        self._filters = _Filters(parts, words, self._begin)
        with ui.element('div').classes('review-see'):
            self._build_picture()
            self._build_verdicts()
        with ui.element('div').classes('review-know'):
            with ui.element('section').classes('box'):
                self._title = text(classes='review-title')
                self._facts = text(classes='quiet')
                self._reason = text(classes='reason')
                self._further = text(classes='quiet')
                self._patches = ComparedPatches(self._parts, words)
                self._said = text(classes='review-said')
            self._measures = MeasureBars(words)
            self.verdicts = verdicts_box()
            self._gallery = ReviewGallery(self._reviews, words, self._choose)
        # Buttons may have the focus: none of the keys presses one.
        ui.keyboard(on_key=self._press, ignore=['input', 'select', 'textarea'])
        self._begin()

    def _build_picture(self) -> None:
        words = self._words
        with ui.element('figure').classes('live review-picture') as self._figure:
            self._image = ui.element('img').props('alt=""')
            source = '(event) => emit(event.target.getAttribute("src"))'
            self._image.on('load', self._loaded, js_handler=source)
            self._image.on('error', self._loaded, js_handler=source)
            self._empty = text(classes='live-empty')
        # The browser has the next picture before it is asked for.
        self._next_image = ui.element('img').props('alt=""').classes('review-ahead')
        with ui.element('div').classes('review-row'):
            self._newer = ui.button(icon='chevron_left', on_click=lambda: self._move(-1))
            self._newer.props(f'flat dense aria-label="{words("review.newer")}"')
            self._place = text(classes='quiet review-place')
            self._older = ui.button(icon='chevron_right', on_click=lambda: self._move(1))
            self._older.props(f'flat dense aria-label="{words("review.older")}"')
            self._marks = ui.switch(
                words('review.marks'), value=True, on_change=self._show_picture
            )
            text(words('review.keys'), 'quiet grow review-keys')

    def _build_verdicts(self) -> None:
        words = self._words
        self._buttons: dict[ReviewVerdict, ui.button] = {}
        with ui.element('div').classes('review-verdicts'):
            for verdict, key in _KEYS.items():
                button = ui.button(on_click=lambda verdict=verdict: self._judge(verdict))
                button.props('outline no-caps no-wrap').classes(f'review-verdict is-{verdict}')
                with button:
                    ui.icon(ICONS[verdict]).classes('review-verdict-icon')
                    text(words(f'review.{verdict}'))
                    text(key, 'review-key')
                self._buttons[verdict] = button
        self._comment = ui.input(words('review.comment')).classes('review-comment')
        self._comment.props(f'outlined dense maxlength={LONGEST_COMMENT}')
        self._comment.on('keydown.enter', self._note_comment)
        self._comment.on('keydown.escape', self._drop_comment)

    # What is shown

    def look(self) -> None:
        """
        Show what has come or was said since.

        """
        if self._revision == self._reviews.revision:
            return
        self._revision = self._reviews.revision
        rejects = self._reviews.kept()
        self._filters.offer(rejects)
        self._list.update(rejects)
        self._show()

    def _begin(self) -> None:
        self._revision = self._reviews.revision
        rejects = self._reviews.kept()
        self._filters.offer(rejects)
        self._list.begin(rejects, self._filters.chosen())
        self._show()

    def _choose(self, key: PartKey) -> None:
        self._list.choose(key)
        self._show()

    def _move(self, step: int) -> None:
        if self._list.move(step):
            self._show()

    def _show(self) -> None:
        words, key = self._words, self._list.current
        reject = self._reviews.reject(key) if key is not None else None
        count = len(self._list.keys)
        self._filters.tell(count, self._reviews.new_count)
        self._place.text = (
            words('review.place', place=self._list.place + 1, count=count) if reject else ''
        )
        self._newer.set_enabled(reject is not None and self._list.place > 0)
        self._older.set_enabled(reject is not None and self._list.after() is not None)
        self._show_facts(reject)
        self._show_picture()
        self._gallery.show(self._list)

    def _show_facts(self, reject: Reject | None) -> None:
        words, part = self._words, reject.part if reject else None
        for verdict, button in self._buttons.items():
            button.set_enabled(reject is not None)
            is_chosen = reject is not None and reject.verdict is verdict
            button.classes(replace=f'review-verdict is-{verdict}' + ' is-chosen' * is_chosen)
        self._comment.set_enabled(reject is not None)
        self._measures.show_part(part, _worst(part))
        self._patches.show(reject)
        if reject is None or part is None or part.decision is None:
            labels = (self._title, self._facts, self._reason, self._further, self._said)
            for label in labels:
                label.text = ''
            self._comment.value = ''
            return
        self._title.text = words('verdict.part', number=part.number)
        decision = part.decision
        recipe = {'name': decision.recipe_name, 'version': decision.recipe_version}
        facts = [
            f'{self._parts.state.shifts.local(reject.kept_s):%Y-%m-%d %H:%M:%S}',
            words('page.recipe', **recipe) if decision.recipe_name else words('page.no_recipe'),
            part.frame_name,
        ]
        self._facts.text = '  ·  '.join(filter(None, facts))
        self._reason.text = explained(part, words)
        self._further.text = explained_further(part, words)
        self._said.text = ''
        if reject.verdict is not None:
            clock = f'{self._parts.state.shifts.local(reject.judged_s):%Y-%m-%d %H:%M}'
            what = words(f'review.{reject.verdict}')
            self._said.text = words('review.said', what=what, who=reject.who, time=clock)
        if reject.key != self._shown:
            self._comment.value = self._comments.get(reject.key, reject.comment)

    def _show_picture(self) -> None:
        key, kind = self._list.current, MARKED if self._marks.value else FRAME
        reject = self._reviews.reject(key) if key is not None else None
        self._shown = reject.key if reject else None
        has_image = reject is not None and not reject.image_problem
        self._image.set_visibility(has_image)
        self._empty.set_visibility(not has_image)
        if reject is None:
            self._empty.text = self._words(self._why_none())
        elif not has_image:
            self._empty.text = self._words('review.no_picture', why=reject.image_problem)
            self._seen = reject.key
        else:
            _set_source(self._image, picture_address(reject.key, kind))
        after = self._list.after()
        if after is not None:
            _set_source(self._next_image, picture_address(after, kind))

    def _why_none(self) -> str:
        if not self._reviews.is_kept:
            return 'review.not_kept'
        return 'review.all_done' if self._filters.chosen().verdict == NEW else 'review.none'

    def _loaded(self, event: GenericEventArguments) -> None:
        key = self._list.current
        if key is not None and event.args in (
            picture_address(key, kind) for kind in (MARKED, FRAME)
        ):
            self._seen = key
            self._figure.props(f'data-seen={key[1]}')

    # What a person says

    async def _press(self, event: KeyEventArguments) -> None:
        key, action = event.key, event.action
        if not action.keydown or event.modifiers.ctrl or event.modifiers.alt:
            return
        if key.arrow_left or key.arrow_right:
            self._move(1 if key.arrow_right else -1)
        elif action.repeat:
            # A key that is held down must not judge one part after the other.
            return
        elif key == 'c':
            self._comment.run_method('focus')
        elif key == 'm':
            self._marks.value = not self._marks.value
        else:
            for verdict, wanted in _KEYS.items():
                if key == wanted:
                    await self._judge(verdict)

    async def _judge(self, verdict: ReviewVerdict) -> None:
        key = self._list.current
        if key is None or self._seen != key:
            return
        await self._say(key, verdict, go_on=True)

    async def _say(self, key: PartKey, verdict: ReviewVerdict, *, go_on: bool) -> None:
        comment = str(self._comment.value or '')
        self._comments[key] = comment
        if go_on and self._list.move(1):
            self._show()
        answer = await asked(self._guarded.judge, key, verdict, comment)
        tell_refusal(answer, self._words)
        if answer.success:
            self._comments.pop(key, None)
        self.look()

    async def _note_comment(self) -> None:
        ui.run_javascript('document.activeElement?.blur()')
        key = self._list.current
        reject = self._reviews.reject(key) if key is not None else None
        if key is None or reject is None:
            return
        # Without a verdict the comment waits for one.
        self._comments[key] = str(self._comment.value or '')
        if reject.verdict is not None:
            await self._say(key, reject.verdict, go_on=False)

    def _drop_comment(self) -> None:
        ui.run_javascript('document.activeElement?.blur()')
        key = self._list.current
        reject = self._reviews.reject(key) if key is not None else None
        if reject is not None:
            self._comments.pop(reject.key, None)
            self._comment.value = reject.comment


class _Filters:
    """
    What to show: what was said, rejects or passed parts, when, why and by which recipe.

    """

    def __init__(self, parts: PanelParts, words: Words, changed: Callable[[], None]) -> None:
        self._parts, self._words = parts, words
        self._is_offering = False
        self._begin_anew = changed
        verdicts = {NEW: words('review.new'), ALL: words('review.all')}
        verdicts |= {str(verdict): words(f'review.{verdict}') for verdict in ReviewVerdict}
        with ui.element('section').classes('box review-filters'):
            self._verdict = self._select('review.show', verdicts, NEW)
            kinds = {str(kind): words(f'review.kind_{kind}') for kind in KeptAs}
            kinds[ANY_KIND] = words('review.all')
            self._kind = self._select('review.kind', kinds, str(KeptAs.REJECT))
            times = {choice: words(f'review.time_{choice}') for choice in TIMES}
            self._time = self._select('review.time', times, ALWAYS)
            anything = {_ANY: words('review.any')}
            self._reason = self._select('review.reason', dict(anything), _ANY)
            self._recipe = self._select('review.recipe', dict(anything), _ANY)
            self._count = text(classes='quiet grow review-count')

    def _select(self, label: str, options: dict[str, str], value: str) -> ui.select:
        select = ui.select(options, value=value, label=self._words(label))
        select.props('outlined dense options-dense').classes('review-select')
        select.on_value_change(self._changed)
        # In the browser, at once: the field would take the next key.
        select.on('update:model-value', js_handler='() => document.activeElement?.blur()')
        return select

    def _changed(self) -> None:
        if self._is_offering:
            return
        self._begin_anew()

    def offer(self, rejects: list[Reject]) -> None:
        """
        Offer the reasons and recipes that there are.

        """
        words = self._words
        reasons = {each: reason_name(each, words) for each in sorted({r.reason for r in rejects})}
        recipes = {
            each: each or words('page.no_recipe') for each in sorted({r.recipe for r in rejects})
        }
        self._is_offering = True
        for select, names in ((self._reason, reasons), (self._recipe, recipes)):
            options = {_ANY: words('review.any'), **names}
            if select.value not in options:
                options[select.value] = select.value
            if options != select.options:
                select.set_options(options)
        self._is_offering = False

    def chosen(self) -> ReviewFilter:
        """
        Give what was chosen.

        """
        from_s, to_s = time_span(self._time.value, self._parts.state.shifts, time.time())
        reason, recipe = (
            None if select.value == _ANY else select.value
            for select in (self._reason, self._recipe)
        )
        verdict, kind = self._verdict.value, self._kind.value
        return ReviewFilter(verdict, from_s, to_s, reason, recipe, kind)

    def tell(self, count: int, new_count: int) -> None:
        """
        Say how many are shown, and how many nobody has reviewed.

        """
        self._count.text = self._words('review.count', count=count, new=new_count)


def _worst(part: PartView | None) -> list[LimitView]:
    """
    Give the limits that a part comes closest to, the worst first; they tell why, and all fit.

    """
    if part is None:
        return []

    def badness(limit: LimitView) -> float:
        score = limit.anomaly_score(part.value_of(limit))
        return math.inf if math.isnan(score) else score

    return sorted(part.limits, key=badness, reverse=True)[:_MEASURES_SHOWN]


def _set_source(image: ui.element, address: str) -> None:
    if image.props.get('src') != address:
        image.props['src'] = address
        image.update()
