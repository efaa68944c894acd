# SPDX-License-Identifier: Apache-2.0
"""
The box that says what the verdicts say, and the dialogs in which an engineer acts on it.

"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TYPE_CHECKING

from nicegui import run, ui

from anomaly_inspection.errors import InspectionError
from anomaly_inspection.panel.asking import asked
from anomaly_inspection.panel.explaining import measure_name, number, said, unit_name
from anomaly_inspection.panel.layout import text
from anomaly_inspection.panel.review.verdicts import Verdicts, verdicts_of
from anomaly_inspection.reviewing.accepted_limits import LONGEST_REASON
from anomaly_inspection.reviewing.looser import FEWEST_GOOD, Hold, MOST_TIMES
from anomaly_inspection.reviewing.stored_part import Kind

if TYPE_CHECKING:
    from anomaly_inspection.panel.cell.commands import Answer
    from anomaly_inspection.panel.panel_parts import PanelParts
    from anomaly_inspection.panel.review.verdicts import GuardedAcceptance
    from anomaly_inspection.panel.words import Words
    from anomaly_inspection.reviewing.advice import MeasureAdvice
    from anomaly_inspection.reviewing.findings import Findings, Share
    from anomaly_inspection.reviewing.looser import Held

LOOK_EVERY_S = 2.0
_LIMITS_SHOWN = 3


class VerdictsBox:
    """
    What the verdicts say about the limits in force.

    Parameters
    ----------
    parts : PanelParts
        The cell and the review set.
    words : Words
        The language of the page.
    acceptance : GuardedAcceptance
        What the visitor may do about it.

    """

    def __init__(self, parts: PanelParts, words: Words, acceptance: GuardedAcceptance) -> None:
        self._parts, self._words, self._acceptance = parts, words, acceptance
        self._seen: object = None
        self._is_looking = False
        self._verdicts: Verdicts | None = None
        self._dialogs = ui.element('div')
        with ui.element('section').classes('box verdicts') as self._box:
            with ui.element('div').classes('title-row'):
                text(words('verdicts.title'), 'box-title grow')
                self._toggle = ui.button(icon='expand_more', on_click=self._open_or_close)
                self._toggle.props(
                    f'flat round dense aria-expanded=false aria-label="{words("verdicts.more")}"'
                )
            self._main = text(classes='verdicts-main')
            # Closed at first: who judges parts needs the room for the others.
            with ui.element('div') as self._rest:
                self._lines = ui.element('div').classes('verdicts-lines')
                with ui.element('div').classes('button-row verdicts-buttons'):
                    self._accept = self._button('accept', 'check', self._ask_to_accept)
                    self._undo = self._button('undo', 'undo', self._ask_to_undo)
                    self._keep = self._button('keep', 'inventory_2', self._ask_to_keep)
            self._rest.set_visibility(False)
        self._box.set_visibility(False)

    def _open_or_close(self) -> None:
        is_open = not self._rest.visible
        self._rest.set_visibility(is_open)
        self._toggle.props(
            f'icon={"expand_less" if is_open else "expand_more"} '
            f'aria-expanded={"true" if is_open else "false"}'
        )

    def _button(self, key: str, icon: str, click: Callable[[], None]) -> ui.button:
        button = ui.button(self._words(f'verdicts.{key}'), on_click=click)
        button.props(f'outline dense no-caps color=primary icon={icon}')
        button.set_visibility(False)
        return button

    async def look(self) -> None:
        """
        Count anew when a verdict, a limit or the recipe has changed.

        """
        picture, reviews = self._parts.state.picture(), self._parts.reviews
        limits = tuple((limit.name, limit.value) for limit in picture.limits)
        seen = (reviews.revision, picture.recipe.hash, limits)
        if seen == self._seen or self._is_looking:
            return
        self._is_looking = True
        try:
            found = await run.io_bound(_found, self._parts)
        finally:
            self._is_looking = False
        self._seen = seen
        # The page may have been closed meanwhile.
        if not self._box.is_deleted:
            self._show(found)

    def _show(self, found: Verdicts | str | None) -> None:
        words = self._words
        self._verdicts = found if isinstance(found, Verdicts) else None
        self._lines.clear()
        verdicts = self._verdicts
        self._box.set_visibility(
            verdicts is None
            or bool(verdicts.review.n_reviewed or verdicts.n_other or verdicts.last)
        )
        may = self._acceptance.is_allowed
        changes = verdicts.review.advice.changes if verdicts else {}
        self._accept.set_visibility(may and bool(changes))
        self._undo.set_visibility(may and verdicts is not None and verdicts.last is not None)
        self._keep.set_visibility(may and verdicts is not None and verdicts.n_bad_to_keep > 0)
        if verdicts is None:
            self._main.text = words('verdicts.not_known', why=found or '')
            return
        self._keep.text = words('verdicts.keep', count=verdicts.n_bad_to_keep)
        share = verdicts.review.findings.false_rejects
        sentences = [words('verdicts.false_rejects', **_share(share, words))] if share else []
        if changes:
            sentences.append(words('verdicts.proposed', count=len(changes)))
        self._main.text = ' '.join(sentences)
        with self._lines:
            self._show_escapes(verdicts.review.findings)
            if verdicts.n_other:
                text(words('verdicts.other', count=verdicts.n_other), 'quiet')
            self._show_advice(verdicts)

    def _show_escapes(self, found: Findings) -> None:
        words = self._words
        for kind, share in found.escapes.items():
            text(words(f'verdicts.escapes_{kind}', **_share(share, words, digits=1)))
        if not found.escapes:
            text(words('verdicts.no_escapes'), 'quiet')
        elif Kind.SAMPLE not in found.escapes:
            text(words('verdicts.no_sample'), 'quiet')

    def _show_advice(self, verdicts: Verdicts) -> None:
        words, advice = self._words, verdicts.review.advice
        changed = [one for one in advice.measures if one.is_change]
        held = [(one, one.held) for one in advice.measures if one.held]
        for one, why in held[:_LIMITS_SHOWN]:
            text(held_words(one, why, words), 'verdicts-limit')
        if not changed:
            if not held and advice.now.good + advice.now.bad:
                text(words('verdicts.nothing'))
            return
        for one in changed[:_LIMITS_SHOWN]:
            text(limit_words(one, words), 'verdicts-limit')
        if len(changed) > _LIMITS_SHOWN:
            text(words('verdicts.more_limits', count=len(changed) - _LIMITS_SHOWN), 'quiet')
        then = advice.then
        values = {
            'now': advice.now.good_rejected,
            'then': then.good_rejected,
            'good': then.good,
            'passed': then.bad_passed,
            'bad': then.bad,
        }
        text(words('verdicts.then', **values))
        if verdicts.flips.unknown_to_pass:
            text(words('verdicts.unknown', count=verdicts.flips.unknown_to_pass))
        if not then.bad:
            text(words('verdicts.no_bad'), 'verdicts-warn')

    # What an engineer does

    def _ask_to_accept(self) -> None:
        verdicts = self._verdicts
        if verdicts is None:
            return
        # What the dialog shows is what is set, whatever is counted meanwhile.
        changed = [one for one in verdicts.review.advice.measures if one.is_change]
        values = {one.limit.name: one.proposed for one in changed}
        self._ask(
            'accept',
            [limit_words(one, self._words) for one in changed],
            lambda why: self._acceptance.accept(values, why),
        )

    def _ask_to_undo(self) -> None:
        last = self._verdicts.last if self._verdicts else None
        if last is None:
            return
        words = self._words
        lines = [words('verdicts.accepted', who=last.who, time=last.when, why=last.why)]
        lines += [
            words(
                'verdicts.limit',
                measure=measure_name(name, words),
                unit='',
                old=number(last.new.get(name, value), words),
                new=number(value, words),
            )
            for name, value in last.old.items()
        ]
        self._ask('undo', lines, self._acceptance.undo)

    def _ask_to_keep(self) -> None:
        self._ask('keep', [self._words('verdicts.keep_hint')], self._acceptance.keep_bad)

    def _ask(self, key: str, lines: list[str], command: Callable[[str], Answer]) -> None:
        words = self._words
        self._dialogs.clear()
        with self._dialogs, ui.dialog().props('persistent') as dialog, ui.card().classes('dialog'):
            text(words(f'verdicts.{key}_title'), 'dialog-title')
            for line in lines:
                text(line)
            if key != 'keep':
                text(words('verdicts.acts'), 'quiet')
            why = ui.input(words('verdicts.why')).props(
                f'outlined dense autofocus maxlength={LONGEST_REASON}'
            )
            refused = text(classes='tune-refused').props('role=alert')
            with ui.element('div').classes('button-row end'):
                cancel = ui.button(words('recipes.cancel'), on_click=dialog.close)
                cancel.props('flat no-caps')
                button = ui.button(words(f'verdicts.{key}_now'))
                button.props('unelevated no-caps color=primary')
                button.bind_enabled_from(why, 'value', lambda value: bool((value or '').strip()))

        async def go() -> None:
            refused.text = ''
            button.props('loading')
            cancel.disable()
            answer = await asked(command, str(why.value or ''))
            button.props(remove='loading')
            cancel.enable()
            if answer.success:
                dialog.close()
                ui.notify(said(answer, words), type='info', position='top')
                self._seen = None
            else:
                refused.text = said(answer, words)

        button.on_click(go)
        dialog.open()


def limit_words(advice: MeasureAdvice, words: Words) -> str:
    """
    Say in one line which limit is proposed.

    """
    unit = unit_name(advice.limit.unit, words)
    return words(
        'verdicts.limit',
        measure=measure_name(advice.limit.name, words),
        unit=f' {unit}' if unit else '',
        old=number(advice.limit.value, words),
        new=number(advice.proposed, words),
    )


def held_words(advice: MeasureAdvice, held: Held, words: Words) -> str:
    """
    Say in one line why a limit is not loosened.

    """
    needed = held.bad_needed if held.why is Hold.FEW_BAD else FEWEST_GOOD
    return words(
        f'verdicts.held_{held.why}',
        measure=measure_name(advice.limit.name, words),
        good=held.good,
        bad=held.bad,
        needed=needed,
        times=words.decimal(f'{MOST_TIMES:g}'),
    )


def _found(parts: PanelParts) -> Verdicts | str:
    try:
        return verdicts_of(parts.reviews.kept(), parts.state.picture(), parts.reviews)
    except InspectionError as error:
        return str(error)


def _share(share: Share, words: Words, digits: int = 0) -> dict[str, Any]:
    low, high = share.interval()
    percent, low_percent, high_percent = (
        words.decimal(f'{100 * value:.{digits}f}') for value in (share.value, low, high)
    )
    return {
        'count': share.count,
        'total': share.total,
        'percent': percent,
        'low': low_percent,
        'high': high_percent,
    }
