# SPDX-License-Identifier: Apache-2.0
"""
Log-in, the first engineer, one's own password: plain forms that work without any script.

They are no NiceGUI pages, because only an answer to a form can set the cookie of a session.

"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment

from anomaly_inspection.errors import AccessError, InspectionError, SettingError, WaitError
from anomaly_inspection.panel.access.guard import cookie_name, visitor_of
from anomaly_inspection.panel.access.route_rules import rule_for
from anomaly_inspection.panel.layout import words_for
from anomaly_inspection.panel.people.work import PeopleWork
from anomaly_inspection.panel.words import languages

if TYPE_CHECKING:
    from anomaly_inspection.panel.people.people import People
    from anomaly_inspection.panel.words import Words

# Everything that is filled in is escaped. No script, and no style outside of the file.
_PAGE = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
    """<!doctype html>
<html lang="{{ words.language }}" class="{{ theme }}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }} &ndash; {{ cell_name }}</title>
<link rel="icon" href="/assets/icon.svg">
<link rel="stylesheet" href="/assets/forms.css">
</head>
<body>
<main>
<p class="product">{{ words('page.title') }} <span class="cell-name">{{ cell_name }}</span></p>
<h1>{{ title }}</h1>
{% if hint %}<p class="hint">{{ hint }}</p>{% endif %}
<form method="post" action="{{ action }}">
{% for field in fields %}
<label for="{{ field.name }}">{{ field.label }}</label>
<input id="{{ field.name }}" name="{{ field.name }}" type="{{ field.type }}"
 autocomplete="{{ field.autocomplete }}" value="{{ field.value }}" maxlength="{{ field.longest }}"
 required{% if loop.first %} autofocus{% endif %}>
{% endfor %}
{% if problem %}<p class="problem" role="alert">{{ problem }}</p>{% endif %}
<button type="submit">{{ button }}</button>
</form>
{% for address, text in links %}<p class="link"><a href="{{ address }}">{{ text }}</a></p>
{% endfor %}
<p class="languages">
{% for code, name in languages.items() %}<a href="/language/{{ code }}">{{ name }}</a>{% endfor %}
</p>
</main>
</body>
</html>
"""
)
_THEMES = {'light': 'light', 'dark': 'dark'}
_MOST_FIELDS = 10
_LONGEST_FIELD = 200


@dataclass(frozen=True)
class _Field:
    name: str
    #: Key in the language files; '' = hidden.
    label: str
    autocomplete: str


@dataclass(frozen=True)
class _Form:
    """
    One form; title, button and hint are keys in the language files.

    """

    address: str
    title: str
    button: str
    fields: tuple[_Field, ...]
    hint: str = ''


_NAME = _Field('name', 'log_in.name', 'username')
_PASSWORD = _Field('password', 'log_in.password', 'current-password')
_NEW_PASSWORD = _Field('new_password', 'log_in.new_password', 'new-password')
_LOG_IN = _Form(
    *('/log-in', 'log_in.title', 'log_in.button'),
    (_NAME, _PASSWORD, _Field('next', '', 'off')),
)
_FIRST_ENGINEER = _Form(
    *('/first-engineer', 'log_in.first_engineer', 'log_in.create'),
    (_Field('code', 'log_in.code', 'one-time-code'), _NAME, _NEW_PASSWORD),
    hint='log_in.code_hint',
)
_OWN_PASSWORD = _Form(
    *('/password', 'log_in.own_password', 'log_in.change'),
    (replace(_PASSWORD, label='log_in.present_password'), _NEW_PASSWORD),
    hint='log_in.ends_others',
)
_MUST_CHANGE = replace(_OWN_PASSWORD, hint='log_in.must_change')


def add_routes(app: FastAPI, people: People, work: PeopleWork, cell_name: str) -> None:
    """
    Add the forms and what answers them to the application.

    """
    forms = _Forms(people, work, cell_name)
    app.get('/log-in')(forms.show_log_in)
    app.post('/log-in')(forms.log_in)
    app.get('/first-engineer')(forms.show_first_engineer)
    app.post('/first-engineer')(forms.add_first_engineer)
    app.get('/password')(forms.show_password)
    app.post('/password')(forms.change_password)
    app.post('/log-out')(forms.log_out)
    app.get('/session')(forms.session)


class _Forms:
    def __init__(self, people: People, work: PeopleWork, cell_name: str) -> None:
        self._people = people
        self._work = work
        self._cell_name = cell_name

    # Log-in

    async def show_log_in(self, request: Request) -> Response:
        visitor = visitor_of(request)
        next_page = _local_page(request.query_params.get('next', '/'))
        if visitor is not None and visitor.may_act:
            return RedirectResponse(next_page, 303)
        return self._page(request, _LOG_IN, {'next': next_page})

    async def log_in(self, request: Request) -> Response:
        given = await _fields(request)
        given['next'] = _local_page(given.get('next', '/'))
        return await self._answered(
            *(request, _LOG_IN, given),
            lambda: self._people.log_in(
                given.get('name', ''), given.get('password', ''), _address(request)
            ),
            given['next'],
        )

    # The first engineer

    async def show_first_engineer(self, request: Request) -> Response:
        if not self._people.takes_code():
            return RedirectResponse('/log-in', 303)
        return self._page(request, _FIRST_ENGINEER)

    async def add_first_engineer(self, request: Request) -> Response:
        if not self._people.takes_code():
            return RedirectResponse('/log-in', 303)
        given = await _fields(request)
        return await self._answered(
            *(request, _FIRST_ENGINEER, given),
            lambda: self._people.add_first_engineer(
                *(given.get('code', ''), given.get('name', '')),
                *(given.get('new_password', ''), _address(request)),
            ),
        )

    # One's own password

    async def show_password(self, request: Request) -> Response:
        return self._page(request, _password_form(request))

    async def change_password(self, request: Request) -> Response:
        given = await _fields(request)
        visitor = visitor_of(request)
        assert visitor is not None, 'the guard lets nobody else in'
        return await self._answered(
            *(request, _password_form(request), given),
            lambda: self._people.change_own_password(
                visitor, given.get('password', ''), given.get('new_password', '')
            ),
        )

    # Log-out, and whether the log-in still holds

    async def log_out(self, request: Request) -> Response:
        visitor = visitor_of(request)
        if visitor is not None:
            await self._work.do(self._people.log_out, visitor)
        response = RedirectResponse('/log-in', 303)
        response.delete_cookie(cookie_name(request.scope), path='/')
        return response

    async def session(self, request: Request) -> dict[str, str]:
        """
        Tell a page whose log-in it is by now.

        """
        visitor = visitor_of(request)
        assert visitor is not None, 'the guard lets nobody else in'
        return {'name': visitor.name, 'role': visitor.role.word}

    # What they share

    async def _answered(
        self,
        request: Request,
        form: _Form,
        given: dict[str, str],
        begin: Callable[[], str],
        next_page: str = '/',
    ) -> Response:
        """
        Begin a session and go on to a page, or show the form again and say what was wrong.

        """
        words = words_for(request)
        try:
            secret = await self._work.do(begin)
        except WaitError as error:
            said = words('log_in.wait', seconds=f'{error.wait_s:.0f}')
            response = self._page(request, form, given, said, 429)
            response.headers['retry-after'] = f'{error.wait_s + 1:.0f}'
            return response
        except AccessError:
            return self._page(request, form, given, words('log_in.wrong'), 403)
        except SettingError as error:
            return self._page(request, form, given, str(error), 400)
        except InspectionError as error:
            return self._page(request, form, given, str(error), 503)
        response = RedirectResponse(next_page, 303)
        response.set_cookie(
            cookie_name(request.scope),
            secret,
            max_age=int(self._people.sessions.times.absolute_s),
            path='/',
            httponly=True,
            samesite='strict',
            secure=request.url.scheme == 'https',
        )
        return response

    def _page(
        self,
        request: Request,
        form: _Form,
        given: Mapping[str, str] = MappingProxyType({}),
        problem: str = '',
        status: int = 200,
    ) -> Response:
        """
        Show a form with what was given, passwords left out.

        """
        words: Words = words_for(request)
        links = []
        if form is _LOG_IN and self._people.takes_code():
            links = [('/first-engineer', words('log_in.first_engineer'))]
        elif form is _OWN_PASSWORD:
            links = [('/people', words('log_in.back'))]
        page = _PAGE.render(
            words=words,
            languages=languages(),
            theme=_THEMES.get(request.cookies.get('panel_theme', ''), ''),
            cell_name=self._cell_name,
            title=words(form.title),
            button=words(form.button),
            action=form.address,
            fields=[_shown_field(field, given, words) for field in form.fields],
            hint=words(form.hint) if form.hint else '',
            problem=problem,
            links=links,
        )
        return HTMLResponse(page, status)


def _password_form(request: Request) -> _Form:
    visitor = visitor_of(request)
    return _MUST_CHANGE if visitor is not None and visitor.must_change_password else _OWN_PASSWORD


def _shown_field(field: _Field, given: Mapping[str, str], words: Words) -> dict[str, object]:
    is_password = field.name.endswith('password')
    kind = 'password' if is_password else 'text' if field.label else 'hidden'
    return {
        'name': field.name,
        'label': words(field.label) if field.label else '',
        'type': kind,
        'autocomplete': field.autocomplete,
        'value': '' if is_password else given.get(field.name, ''),
        'longest': _LONGEST_FIELD,
    }


async def _fields(request: Request) -> dict[str, str]:
    """
    Read a posted form; the guard has bounded its size. What is no form has no fields.

    """
    try:
        found = parse_qs(
            (await request.body()).decode(),
            keep_blank_values=True,
            max_num_fields=_MOST_FIELDS,
        )
    except ValueError:
        return {}
    return {name: values[0] for name, values in found.items()}


def _local_page(address: str) -> str:
    """
    Give a page of ours, whatever a link has said: never another site.

    """
    rule = rule_for('GET', address)
    is_ours = rule is not None and rule.is_page and not set(address) & set('\\\r\n?#')
    return address if is_ours and not address.startswith('//') else '/'


def _address(request: Request) -> str:
    return request.client.host if request.client else ''
