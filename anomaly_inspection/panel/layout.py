# SPDX-License-Identifier: Apache-2.0
"""
The frame of every page: head with navigation, banner of a stopped line, light and dark, language.

A page is a function that opens `frame` and fills it:

    @ui.page('/tune')
    def tune(request: Request) -> None:
        with layout.frame(parts, request, 'tune') as words:
            ...

"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
import math
import time
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse, Response
from nicegui import ui

from anomaly_inspection.panel.access.guard import visitor_of
from anomaly_inspection.panel.access.route_rules import rule_for
from anomaly_inspection.panel.asking import asked
from anomaly_inspection.panel.cell.guarded_commands import LEAST_ROLES
from anomaly_inspection.panel.explaining import said, stop_words
from anomaly_inspection.panel.words import languages, preferred_language, Words

if TYPE_CHECKING:
    from anomaly_inspection.panel.panel_parts import PanelParts
    from anomaly_inspection.panel.people.roles import Visitor

#: Pages in the order of the navigation: key of their name in the language files -> address.
PAGES = {
    'line': '/',
    'review': '/review',
    'tune': '/tune',
    'teach': '/teach',
    'recipes': '/recipes',
    'people': '/people',
}

_LANGUAGE_COOKIE = 'panel_language'
_THEME_COOKIE = 'panel_theme'
_THEMES = {'auto': None, 'light': False, 'dark': True}
_YEAR_S = 365 * 24 * 3600
#: How often a page looks whether something has changed, seconds.
REFRESH_S = 0.2


def add_routes(app: FastAPI) -> None:
    """
    Add the addresses that choose language and theme, and come back.

    """

    @app.get('/language/{code}')
    def choose_language(code: str, request: Request) -> Response:
        return _chosen(request, _LANGUAGE_COOKIE, code if code in languages() else '')

    @app.get('/theme/{name}')
    def choose_theme(name: str, request: Request) -> Response:
        return _chosen(request, _THEME_COOKIE, name if name in _THEMES else '')


def words_for(request: Request) -> Words:
    """
    Give the strings in the language that the viewer has chosen, else the browser's.

    """
    chosen = request.cookies.get(_LANGUAGE_COOKIE, '')
    if chosen in languages():
        return Words(chosen)
    return Words(preferred_language(request.headers.get('accept-language', '')))


@contextmanager
def frame(
    parts: PanelParts, request: Request, page: str, *, is_wall: bool = False
) -> Iterator[Words]:
    """
    Open the frame of a page; what the body makes stands in it.

    Parameters
    ----------
    parts : PanelParts
        As the page was given.
    request : Request
        For language and theme.
    page : str
        Key in `PAGES`.
    is_wall : bool
        For a screen on the wall: no navigation, no buttons.

    Yields
    ------
    Words
        The strings of the viewer's language.

    """
    words = words_for(request)
    ui.dark_mode(_THEMES.get(request.cookies.get(_THEME_COOKIE, 'auto')))
    ui.colors(primary='#5b7690')
    ui.page_title(f'{words(f"page.{page}")} · {parts.cell_name}')
    visitor = visitor_of(request)
    # A word of ours: nothing from outside becomes HTML.
    role = visitor.role.word if visitor is not None else ''
    ui.add_head_html(
        '<link rel="stylesheet" href="/assets/panel.css">'
        f'<script src="/assets/session.js" data-role="{role}" defer></script>'
    )
    with ui.element('div').classes('page' + (' wall' if is_wall else '')):
        _head(parts, words, page, visitor, is_wall=is_wall)
        _line_stop_banner(parts, words, visitor, is_wall=is_wall)
        with ui.element('main').classes(f'content {page}'):
            yield words


def text(content: str = '', classes: str = '') -> ui.label:
    """
    Make a text; whatever it holds is shown as text, never as HTML.

    """
    return ui.label(content).classes(classes)


def keep_in_sight(grid: ui.element, tile: ui.element) -> None:
    """
    Scroll a grid until a tile of it is seen; the page itself stays where it is.

    """
    # `scrollIntoView` would move the whole page while somebody reads it.
    ui.run_javascript(f"""
        const grid = getHtmlElement({grid.id}), tile = getHtmlElement({tile.id});
        if (grid && tile) {{
          const top = tile.offsetTop - grid.offsetTop;
          const last = top + tile.offsetHeight - grid.clientHeight;
          if (top < grid.scrollTop) grid.scrollTop = top - 6;
          if (last > grid.scrollTop) grid.scrollTop = last + 6;
        }}
    """)


def on_change(parts: PanelParts, show: Callable[[], None]) -> None:
    """
    Call `show` now, and whenever something about the cell has changed, a few times a second.

    """
    shown = -1

    def look() -> None:
        nonlocal shown
        revision = parts.state.revision
        if revision != shown:
            shown = revision
            show()

    look()
    ui.timer(REFRESH_S, look)


def _head(
    parts: PanelParts, words: Words, page: str, visitor: Visitor | None, *, is_wall: bool
) -> None:
    with ui.element('header').classes('head'):
        text(words('page.title'), 'product')
        text(parts.cell_name, 'cell-name')
        if not is_wall:
            with ui.element('nav').classes('navigation'):
                for name, address in PAGES.items():
                    if not may_open(address, visitor):
                        continue
                    is_here = ' is-here' if name == page else ''
                    ui.link(words(f'page.{name}'), address).classes(f'tab{is_here}')
        ui.element('div').classes('gap')
        recipe = text(classes='recipe')
        clock = text(classes='clock')
        if not is_wall:
            _who(words, visitor)
            _settings_menu(words)

    def show() -> None:
        picture = parts.state.picture()
        name, version = picture.recipe.name, picture.recipe.version
        words_of_recipe = (
            words('page.recipe', name=name, version=version) if name else words('page.no_recipe')
        )
        if picture.limits_are_unsaved:
            words_of_recipe += f' ({words("page.unsaved")})'
        recipe.text = words_of_recipe

    def tick() -> None:
        clock.text = f'{parts.state.shifts.local(time.time()):%H:%M}'

    on_change(parts, show)
    tick()
    ui.timer(5.0, tick)


def may_open(address: str, visitor: Visitor | None) -> bool:
    """
    Whether a visitor may open a page of the navigation.

    """
    rule = rule_for('GET', address)
    if rule is None or visitor is None:
        return False
    is_known = visitor.may_act or not rule.needs_account
    return is_known and (rule.role is None or visitor.role >= rule.role)


def _who(words: Words, visitor: Visitor | None) -> None:
    """
    Show who is logged in, with a way out; or the way in.

    """
    if visitor is None or not visitor.may_act:
        ui.link(words('log_in.button'), '/log-in').classes('who-link')
        return
    with ui.element('div').classes('who'):
        text(visitor.name, 'who-name')
        text(words(f'role.{visitor.role.word}'), 'who-role')
    with (
        ui.element('form').props('method=post action=/log-out'),
        ui.element('button').props('type=submit').classes('who-out'),
    ):
        text(words('log_in.log_out'))


def _settings_menu(words: Words) -> None:
    with ui.button(icon='settings').props('flat round dense').classes('settings') as button:
        button.props(f'aria-label="{words("page.language")}"')
        with ui.menu():
            for code, name in languages().items():
                ui.menu_item(name, lambda code=code: ui.navigate.to(f'/language/{code}'))
            ui.separator()
            for theme in _THEMES:
                ui.menu_item(
                    words(f'page.theme_{theme}'),
                    lambda theme=theme: ui.navigate.to(f'/theme/{theme}'),
                )


def _line_stop_banner(
    parts: PanelParts, words: Words, visitor: Visitor | None, *, is_wall: bool
) -> None:
    commands = parts.commands_for(visitor)
    may_reset = visitor is not None and visitor.role >= LEAST_ROLES['reset_line']
    with ui.element('section').classes('line-stop').props('role=alert') as banner:
        ui.icon('front_hand').classes('line-stop-icon')
        with ui.element('div').classes('line-stop-words'):
            with ui.element('div').classes('line-stop-title'):
                text(words('line_stop.title'))
                since = text(classes='since')
            cause = text(classes='cause')
            detail = text(classes='detail')
            hint = text(classes='advice')
            refused = text(classes='refused')
        button = ui.button(words('line_stop.reset'), color='white').props(
            'unelevated no-caps text-color=red-10'
        )
        button.classes('reset').set_visibility(may_reset and not is_wall)

    async def reset() -> None:
        button.disable()
        refused.text = ''
        answer = await asked(commands.reset_line)
        button.enable()
        if answer.success:
            ui.notify(words('line_stop.done'), type='info', position='top')
        else:
            refused.text = words('line_stop.refused', message=said(answer, words))

    button.on_click(reset)

    def show() -> None:
        stop = parts.state.picture().line_stop
        banner.set_visibility(stop.is_active)
        if not stop.is_active:
            refused.text = ''
            return
        cause.text, detail.text, hint.text = stop_words(stop, words)
        since.text = ''
        if not math.isnan(stop.since_s):
            clock = f'{parts.state.shifts.local(stop.since_s):%H:%M:%S}'
            since.text = words('line_stop.since', time=clock)

    on_change(parts, show)


def _chosen(request: Request, cookie: str, value: str) -> Response:
    """
    Set the cookie and go back to the page of this site that the viewer came from.

    """
    back = request.headers.get('referer', '')
    base = str(request.base_url)
    path = '/' + back.removeprefix(base) if back.startswith(base) else '/'
    # Two slashes would name another host.
    response = RedirectResponse('/' + path.lstrip('/'), status_code=303)
    if value:
        response.set_cookie(
            cookie,
            value,
            max_age=_YEAR_S,
            samesite='strict',
            httponly=True,
            secure=request.url.scheme == 'https',
        )
    return response
