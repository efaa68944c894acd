# SPDX-License-Identifier: Apache-2.0
"""
Log-in, the first engineer, one's own password: plain forms that work without any script.

They are no NiceGUI pages, because only an answer to a form can set the cookie of a session.

"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment

from anomaly_inspection.errors import AccessError, InspectionError, SettingError, WaitError
from anomaly_inspection.panel.access import cookie_name, visitor_of
from anomaly_inspection.panel.layout import words_for
from anomaly_inspection.panel.people_work import PeopleWork
from anomaly_inspection.panel.route_rules import rule_for

if TYPE_CHECKING:
    from anomaly_inspection.panel.people import People
    from anomaly_inspection.panel.words import Words

# Everything that is filled in is escaped. No script, and no style outside of the file.
_FORM = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
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
        if visitor is not None and visitor.may_act:
            return RedirectResponse(_local_page(request.query_params.get('next', '/')), 303)
        return self._log_in_form(request)

    async def log_in(self, request: Request) -> Response:
        given = await _fields(request)
        next_page = _local_page(given.get('next', '/'))
        return await self._answered(
            request,
            lambda: self._people.log_in(
                given.get('name', ''), given.get('password', ''), _address(request)
            ),
            next_page,
            lambda problem, status: self._log_in_form(request, given, problem, status),
        )

    def _log_in_form(
        self,
        request: Request,
        given: dict[str, str] | None = None,
        problem: str = '',
        status: int = 200,
    ) -> Response:
        words = words_for(request)
        given = given or {}
        next_page = _local_page(given.get('next') or request.query_params.get('next', '/'))
        links = []
        if self._people.takes_code():
            links.append(('/first-engineer', words('log_in.first_engineer')))
        return self._form(
            *(request, words('log_in.title'), words('log_in.button'), '/log-in'),
            [
                _field('name', words('log_in.name'), 'username', given.get('name', '')),
                _field('password', words('log_in.password'), 'current-password'),
                _field('next', '', 'off', next_page),
            ],
            problem=problem,
            status=status,
            links=links,
        )

    # The first engineer

    async def show_first_engineer(self, request: Request) -> Response:
        if not self._people.takes_code():
            return RedirectResponse('/log-in', 303)
        return self._first_engineer_form(request)

    async def add_first_engineer(self, request: Request) -> Response:
        if not self._people.takes_code():
            return RedirectResponse('/log-in', 303)
        given = await _fields(request)
        return await self._answered(
            request,
            lambda: self._people.add_first_engineer(
                *(given.get('code', ''), given.get('name', '')),
                *(given.get('new_password', ''), _address(request)),
            ),
            '/',
            lambda problem, status: self._first_engineer_form(request, given, problem, status),
        )

    def _first_engineer_form(
        self,
        request: Request,
        given: dict[str, str] | None = None,
        problem: str = '',
        status: int = 200,
    ) -> Response:
        words = words_for(request)
        given = given or {}
        return self._form(
            *(request, words('log_in.first_engineer'), words('log_in.create')),
            '/first-engineer',
            [
                _field('code', words('log_in.code'), 'one-time-code', given.get('code', '')),
                _field('name', words('log_in.name'), 'username', given.get('name', '')),
                _field('new_password', words('log_in.new_password'), 'new-password'),
            ],
            hint=words('log_in.code_hint'),
            problem=problem,
            status=status,
        )

    # One's own password

    async def show_password(self, request: Request) -> Response:
        return self._password_form(request)

    async def change_password(self, request: Request) -> Response:
        given = await _fields(request)
        visitor = visitor_of(request)
        assert visitor is not None, 'the guard lets nobody else in'
        return await self._answered(
            request,
            lambda: self._people.change_own_password(
                visitor, given.get('password', ''), given.get('new_password', '')
            ),
            '/',
            lambda problem, status: self._password_form(request, problem, status),
        )

    def _password_form(self, request: Request, problem: str = '', status: int = 200) -> Response:
        words = words_for(request)
        visitor = visitor_of(request)
        must_change = visitor is not None and visitor.must_change_password
        return self._form(
            *(request, words('log_in.own_password'), words('log_in.change'), '/password'),
            [
                _field('password', words('log_in.present_password'), 'current-password'),
                _field('new_password', words('log_in.new_password'), 'new-password'),
            ],
            hint=words('log_in.must_change' if must_change else 'log_in.ends_others'),
            problem=problem,
            status=status,
            links=[] if must_change else [('/people', words('log_in.back'))],
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
        Tell a page that has lost its socket whether it has to log in again.

        """
        visitor = visitor_of(request)
        assert visitor is not None, 'the guard lets nobody else in'
        return {'name': visitor.name, 'role': visitor.role.word}

    # What they share

    async def _answered(
        self,
        request: Request,
        begin: Callable[[], str],
        next_page: str,
        form: Callable[[str, int], Response],
    ) -> Response:
        words = words_for(request)
        try:
            secret = await self._work.do(begin)
        except WaitError as error:
            response = form(words('log_in.wait', seconds=f'{error.wait_s:.0f}'), 429)
            response.headers['retry-after'] = f'{error.wait_s + 1:.0f}'
            return response
        except AccessError:
            return form(words('log_in.wrong'), 403)
        except SettingError as error:
            return form(str(error), 400)
        except InspectionError as error:
            return form(str(error), 503)
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

    def _form(
        self,
        request: Request,
        title: str,
        button: str,
        action: str,
        fields: list[dict[str, object]],
        *,
        hint: str = '',
        problem: str = '',
        status: int = 200,
        links: list[tuple[str, str]] | None = None,
    ) -> Response:
        from anomaly_inspection.panel.words import languages

        words: Words = words_for(request)
        page = _FORM.render(
            words=words,
            languages=languages(),
            theme=_THEMES.get(request.cookies.get('panel_theme', ''), ''),
            cell_name=self._cell_name,
            title=title,
            button=button,
            action=action,
            fields=fields,
            hint=hint,
            problem=problem,
            links=links or [],
        )
        return HTMLResponse(page, status)


def _field(name: str, label: str, autocomplete: str, value: str = '') -> dict[str, object]:
    kind = 'password' if name.endswith('password') else 'text'
    return {
        'name': name,
        'label': label,
        'type': 'hidden' if name == 'next' else kind,
        'autocomplete': autocomplete,
        'value': value,
        'longest': 200,
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
