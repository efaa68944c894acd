# SPDX-License-Identifier: Apache-2.0
"""
The page People: one's own account and tokens; for engineers all accounts and the last changes.

"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, ParamSpec, TYPE_CHECKING, TypeVar

from fastapi import Request
from nicegui import ui

from anomaly_inspection.errors import InspectionError
from anomaly_inspection.panel import layout
from anomaly_inspection.panel.access.guard import visitor_of
from anomaly_inspection.panel.layout import text
from anomaly_inspection.panel.people.roles import Role, role_of, Visitor

if TYPE_CHECKING:
    from anomaly_inspection.panel.panel_parts import PanelParts
    from anomaly_inspection.panel.people.accounts import Account
    from anomaly_inspection.panel.people.tokens import ApiToken
    from anomaly_inspection.panel.words import Words

P = ParamSpec('P')
T = TypeVar('T')

_CHANGES = 50
_DAYS = (30, 365, 3650)
_PLAIN = 'flat no-caps'


def add_page(parts: PanelParts) -> None:
    """
    Add the page to the site.

    """

    @ui.page('/people')
    async def people(request: Request) -> None:
        visitor = visitor_of(request)
        assert visitor is not None, 'the guard lets nobody else in'
        with layout.frame(parts, request, 'people') as words:
            page = _PeoplePage(parts, words, visitor)
            await page.show()


class _PeoplePage:
    def __init__(self, parts: PanelParts, words: Words, visitor: Visitor) -> None:
        self._parts = parts
        self._people = parts.people
        self._words = words
        self._visitor = visitor
        self._is_engineer = visitor.role == Role.ENGINEER
        self._changes: list[dict[str, Any]] = []
        # Dialogs must not stand in what is closed or made anew meanwhile.
        self._root = ui.element('div').classes('dialogs')

    async def show(self) -> None:
        if self._is_engineer:
            self._changes = await asyncio.to_thread(self._people.audit.last, _CHANGES)
        with ui.element('div').classes('people-column'):
            self._show_self()
            with ui.element('section').classes('box'):
                self._tokens()
        if self._is_engineer:
            with ui.element('div').classes('people-column'):
                with ui.element('section').classes('box'):
                    self._accounts()
                with ui.element('section').classes('box changes'):
                    self._last_changes()

    # Oneself

    def _show_self(self) -> None:
        words, visitor = self._words, self._visitor
        with ui.element('section').classes('box'):
            text(words('people.you'), 'box-title')
            with ui.element('div').classes('person'):
                text(visitor.name, 'person-name')
                text(words(f'role.{visitor.role.word}'), 'quiet')
            text(words(f'role.{visitor.role.word}_may'), 'quiet')
            with ui.element('div').classes('button-row'):
                ui.button(
                    words('log_in.own_password'), on_click=lambda: ui.navigate.to('/password')
                ).props('outline no-caps')
                ui.button(
                    words('people.log_out_everywhere'),
                    on_click=lambda: self._log_out_everywhere(visitor.name),
                ).props('outline no-caps')

    # Tokens

    @ui.refreshable_method
    def _tokens(self) -> None:
        words = self._words
        with ui.element('div').classes('title-row'):
            text(words('people.tokens'), 'box-title')
            ui.button(words('people.new_token'), icon='add', on_click=self._ask_token).props(
                _PLAIN
            ).classes('new-token')
        text(words('people.tokens_hint'), 'quiet small')
        owner = None if self._is_engineer else self._visitor.name
        tokens = self._people.tokens.all(owner)
        if not tokens:
            text(words('people.no_tokens'), 'quiet')
        with ui.element('div').classes('people-table tokens'):
            for token in tokens:
                self._token_row(token)

    def _token_row(self, token: ApiToken) -> None:
        words = self._words
        with ui.element('div').classes('row-words'):
            text(token.label, 'person-name')
            until = datetime.fromtimestamp(token.expires_s).strftime('%Y-%m-%d')
            text(
                words('people.token_line', owner=token.owner, until=until, id=token.id),
                'quiet small',
            )
        text(words(f'role.{token.role.word}'), 'quiet')
        ui.button(
            words('people.revoke'),
            on_click=lambda: self._confirmed(
                words('people.revoke_token', label=token.label),
                lambda: self._do(self._people.revoke_token, token.id),
            ),
        ).props(_PLAIN)

    def _ask_token(self) -> None:
        words = self._words
        with self._root, ui.dialog() as dialog, ui.card().classes('dialog'):
            text(words('people.new_token'), 'dialog-title')
            label = ui.input(words('people.label')).props('autofocus maxlength=60 outlined')
            role = ui.select(self._role_words(self._visitor.role), value='viewer')
            role.props(f'label="{words("people.role")}" outlined')
            days = ui.select({days: words('people.days', days=days) for days in _DAYS}, value=365)
            days.props(f'label="{words("people.valid")}" outlined')

            async def create() -> None:
                made = await self._try(
                    self._people.create_token,
                    *(self._visitor, label.value or '', role_of(role.value), int(days.value)),
                )
                if made is not None:
                    dialog.close()
                    self._tokens.refresh()
                    self._show_secret(words('people.token_made'), made[0])

            self._dialog_buttons(dialog, words('log_in.create'), create)
        dialog.open()

    # Accounts

    @ui.refreshable_method
    def _accounts(self) -> None:
        words = self._words
        with ui.element('div').classes('title-row'):
            text(words('people.accounts'), 'box-title')
            ui.button(words('people.add'), icon='person_add', on_click=self._ask_account).props(
                _PLAIN
            ).classes('add-account')
        with ui.element('div').classes('people-table accounts'):
            for account in self._people.accounts.all():
                self._account_row(account)

    def _account_row(self, account: Account) -> None:
        words = self._words
        with ui.element('div').classes('row-words'):
            text(account.name, 'person-name')
            number = self._people.sessions.number_of(account)
            state = 'people.logged_in' if number else 'people.not_logged_in'
            if account.must_change_password:
                state = 'people.must_change'
            if not account.is_enabled:
                state = 'people.disabled'
            text(words(state), 'quiet small')
        role = ui.select(self._role_words(Role.ENGINEER), value=account.role.word)
        role.props(f'dense outlined aria-label="{words("people.role")}"').classes('role-select')
        role.on_value_change(
            lambda event: self._do(self._people.set_role, account.name, role_of(event.value))
        )
        with (
            ui.button(icon='more_vert')
            .props(f'flat round dense aria-label="{words("people.more")}"')
            .classes('more'),
            ui.menu(),
        ):
            self._account_menu(account)

    def _account_menu(self, account: Account) -> None:
        words, people, name = self._words, self._people, account.name

        async def reset() -> None:
            password = await self._try(people.reset_password, self._visitor, name)
            if password is not None:
                self._show_secret(words('people.new_password_of', name=name), password)
                self._accounts.refresh()

        ui.menu_item(words('people.reset_password'), reset)
        ui.menu_item(words('people.rename'), lambda: self._ask_name(account))
        ui.menu_item(words('people.log_out_everywhere'), lambda: self._log_out_everywhere(name))
        enabling = 'people.disable' if account.is_enabled else 'people.enable'
        ui.menu_item(
            words(enabling), lambda: self._do(people.set_enabled, name, not account.is_enabled)
        )
        ui.separator()
        ui.menu_item(
            words('people.delete'),
            lambda: self._confirmed(
                words('people.delete_account', name=name), lambda: self._do(people.delete, name)
            ),
        )

    def _ask_account(self) -> None:
        words = self._words
        with self._root, ui.dialog() as dialog, ui.card().classes('dialog'):
            text(words('people.add'), 'dialog-title')
            name = ui.input(words('log_in.name')).props('autofocus maxlength=40 outlined')
            role = ui.select(self._role_words(Role.ENGINEER), value='operator')
            role.props(f'label="{words("people.role")}" outlined')

            async def add() -> None:
                password = await self._try(
                    self._people.add, self._visitor, name.value or '', role_of(role.value)
                )
                if password is not None:
                    dialog.close()
                    self._accounts.refresh()
                    self._show_secret(
                        words('people.new_password_of', name=name.value or ''), password
                    )

            self._dialog_buttons(dialog, words('people.add'), add)
        dialog.open()

    def _ask_name(self, account: Account) -> None:
        words = self._words
        with self._root, ui.dialog() as dialog, ui.card().classes('dialog'):
            text(words('people.rename'), 'dialog-title')
            name = ui.input(words('log_in.name'), value=account.name)
            name.props('autofocus maxlength=40 outlined')

            async def rename() -> None:
                dialog.close()
                await self._do(self._people.rename, account.name, name.value or '')

            self._dialog_buttons(dialog, words('people.rename'), rename)
        dialog.open()

    # Changes

    def _last_changes(self) -> None:
        words = self._words
        text(words('people.changes'), 'box-title')
        with ui.element('div').classes('change-list'):
            for change in self._changes:
                with ui.element('div').classes('change'):
                    text(_local_time(str(change.get('when', ''))), 'quiet small change-time')
                    with ui.element('div').classes('row-words'):
                        text(_change_line(change), 'change-what')
                        if change.get('why'):
                            text(str(change['why']), 'quiet small')

    # What they share

    async def _log_out_everywhere(self, name: str) -> None:
        await self._do(self._people.log_out_everywhere, name)
        if name == self._visitor.name:
            ui.navigate.to('/log-in')

    async def _do(self, change: Callable[..., None], *args: object) -> None:
        """
        Make a change on behalf of the visitor, say why it was refused, and show what is now.

        """
        await self._try(change, self._visitor, *args)
        self._tokens.refresh()
        if self._is_engineer:
            self._accounts.refresh()

    async def _try(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        try:
            return await self._parts.people_work.do(work, *args, **kwargs)
        except InspectionError as error:
            ui.notify(str(error), type='warning', position='top', multi_line=True)
            return None

    def _confirmed(self, question: str, then: Callable[[], Awaitable[None]]) -> None:
        with self._root, ui.dialog() as dialog, ui.card().classes('dialog'):
            text(question, 'dialog-title')

            async def go_on() -> None:
                dialog.close()
                await then()

            self._dialog_buttons(dialog, self._words('people.yes'), go_on)
        dialog.open()

    def _show_secret(self, title: str, secret: str) -> None:
        words = self._words
        with self._root, ui.dialog().props('persistent') as dialog, ui.card().classes('dialog'):
            text(title, 'dialog-title')
            text(secret, 'secret')
            text(words('people.shown_once'), 'quiet')
            with ui.element('div').classes('button-row end'):
                ui.button(words('people.close'), on_click=dialog.close).props('unelevated no-caps')
        dialog.open()

    def _dialog_buttons(
        self, dialog: ui.dialog, label: str, go_on: Callable[[], Awaitable[None]]
    ) -> None:
        with ui.element('div').classes('button-row end'):
            ui.button(self._words('people.cancel'), on_click=dialog.close).props(_PLAIN)
            ui.button(label, on_click=go_on).props('unelevated no-caps').classes('go-on')

    def _role_words(self, most: Role) -> dict[str, str]:
        return {role.word: self._words(f'role.{role.word}') for role in Role if role <= most}


def _local_time(when: str) -> str:
    try:
        return datetime.fromisoformat(when).astimezone().strftime('%m-%d %H:%M')
    except ValueError:
        return when[:16]


def _change_line(change: dict[str, Any]) -> str:
    """
    Put a change into one line; the page shows it as text, whatever it holds.

    """
    line = f'{change.get("who") or "-"}: {change.get("what", "")}'
    if change.get('subject'):
        line += f' {change["subject"]}'
    if 'old' in change and 'new' in change:
        line += f' ({change["old"]} → {change["new"]})'
    elif 'new' in change:
        line += f' ({change["new"]})'
    return line + (' ✗' if change.get('refused') else '')
