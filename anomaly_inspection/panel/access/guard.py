# SPDX-License-Identifier: Apache-2.0
"""
The guard around the whole application: nothing gets in that the table of rules does not let in.

It stands outside of FastAPI and NiceGUI, so that it sees every request and every socket.

"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from http.cookies import CookieError, SimpleCookie
import ipaddress
import secrets
import socket
from typing import Any, TYPE_CHECKING
from urllib.parse import urlsplit

from anomaly_inspection.errors import StateError
from anomaly_inspection.panel.access.asgi import headers_of
from anomaly_inspection.panel.access.guarded_connection import call_bounded, call_watched
from anomaly_inspection.panel.access.refusal import log_in_first, not_logged_in, Refusal
from anomaly_inspection.panel.access.route_rules import Rule, rule_for, RULES, WEBSOCKET
from anomaly_inspection.panel.access.security_headers import Headers, with_security_headers
from anomaly_inspection.panel.people.roles import Role, Visitor

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection

    from anomaly_inspection.panel.access.asgi import App, Message, Receive, Scope, Send
    from anomaly_inspection.panel.people.people import People

_SAFE_METHODS = {'GET', 'HEAD', 'OPTIONS'}


@dataclass(frozen=True)
class AccessSettings:
    """
    What a site chooses about access.

    Parameters
    ----------
    wall_display : bool
        Whether everybody may look on without log-in.
    allowed_hosts : tuple of str
        Names under which browsers may call this machine, besides its addresses, localhost and
        its own name.

    """

    wall_display: bool = False
    allowed_hosts: tuple[str, ...] = ()


class AccessGuard:
    """
    ASGI application that lets requests through to another one.

    What it lets through finds the visitor with `visitor_of`.

    Parameters
    ----------
    app : App
        The application behind.
    people : People
        Who may log in.
    settings : AccessSettings
        What the site has chosen.
    rules : iterable of Rule
        Who may reach what.
    is_own_page : callable
        Whether the page that a socket of NiceGUI names was made for this visitor.

    """

    def __init__(
        self,
        app: App,
        people: People,
        settings: AccessSettings | None = None,
        rules: Iterable[Rule] = RULES,
        is_own_page: Callable[[Scope, Visitor], bool] = lambda scope, visitor: True,
    ) -> None:
        # NiceGUI finds its server through this name.
        self.app = app
        self._people = people
        self._settings = settings or AccessSettings()
        self._rules = tuple(rules)
        self._is_own_page = is_own_page
        self._hosts = {'localhost', *_own_names(), *map(str.lower, self._settings.allowed_hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """
        Let one request through, or refuse it.

        """
        if scope['type'] == 'lifespan':
            await self.app(scope, receive, send)
            return
        if scope['type'] not in ('http', 'websocket'):
            return
        nonce = secrets.token_urlsafe(16)
        scope['headers'] = _own_headers(scope['headers'])
        # Fresh: what one request learns of its visitor is nothing for the next one.
        scope['state'] = {**scope.get('state', {}), 'csp_nonce': nonce, 'visitor': None}
        send = _with_headers(send, nonce)
        try:
            verdict = self._verdict(scope)
        except StateError as error:
            verdict = Refusal(503, str(error))
        if isinstance(verdict, Refusal):
            await verdict.send(scope, receive, send)
            return
        rule, visitor = verdict
        scope['state']['visitor'] = visitor
        app = partial(call_bounded, self.app, rule.most_bytes)
        if visitor is None or not (rule.is_long and (visitor.session or visitor.token_id)):
            await app(scope, receive, send)
            return
        await call_watched(
            *(app, scope, receive, send),
            still_may=partial(self._still_may, visitor),
            clicked=partial(self._note_click, visitor),
        )

    # Who may

    def _verdict(self, scope: Scope) -> tuple[Rule, Visitor | None] | Refusal:
        headers = headers_of(scope)
        host = headers.get('host', '')
        if not self._is_known_host(host):
            return Refusal(
                421,
                f'this panel is not known as {host[:100]!r}; call it by its address, or add the '
                'name to the parameter allowed_hosts',
            )
        path = scope['path']
        if not path.startswith('/') or any(bad in path for bad in ('\\', '\0', '//')):
            return Refusal(400, 'the address is not valid')
        if {'.', '..'} & set(path.split('/')):
            return Refusal(400, 'the address is not valid')
        is_socket = scope['type'] == 'websocket'
        method = WEBSOCKET if is_socket else scope['method']
        rule = rule_for(method, path, self._rules)
        visitor = self._visitor(scope, headers, rule)
        if rule is None:
            # Who is not logged in learns nothing of what there is.
            return Refusal(404, 'there is no such address') if visitor else not_logged_in()
        refusal = self._refusal(scope, rule, visitor, method)
        if refusal is not None:
            return refusal
        if method not in _SAFE_METHODS and not _is_own_origin(headers, visitor, is_socket):
            origin = headers.get('origin', 'none')
            return Refusal(403, f'the request comes from another site ({origin[:100]!r})')
        is_of_page = is_socket and path.startswith('/_nicegui_ws/')
        if is_of_page and visitor and not self._is_own_page(scope, visitor):
            return Refusal(403, 'the page was made for another log-in')
        return rule, visitor

    def _visitor(
        self, scope: Scope, headers: Mapping[str, str], rule: Rule | None
    ) -> Visitor | None:
        address = (scope.get('client') or ('', 0))[0]
        authorization = headers.get('authorization')
        if authorization is not None:
            kind, _, token = authorization.partition(' ')
            if kind.lower() != 'bearer' or rule is None or not rule.takes_token:
                return None
            return self._people.tokens.visitor(token.strip(), address)
        secret = _cookies(headers).get(cookie_name(scope))
        if secret:
            is_active = rule is not None and rule.keeps_logged_in
            visitor = self._people.sessions.visitor(secret, address, is_active=is_active)
            if visitor is not None:
                return visitor
        return Visitor('', Role.VIEWER, address) if self._settings.wall_display else None

    def _refusal(
        self, scope: Scope, rule: Rule, visitor: Visitor | None, method: str
    ) -> Refusal | None:
        if rule.role is None:
            return None
        is_navigation = rule.is_page and method == 'GET'
        if visitor is None:
            return log_in_first(scope) if is_navigation else not_logged_in()
        if visitor.must_change_password and is_navigation and scope['path'] != '/password':
            return Refusal(303, '', location='/password')
        may_be_nobody = rule.role == Role.VIEWER and not rule.needs_account
        if visitor.role >= rule.role and (visitor.may_act or may_be_nobody):
            return None
        if not visitor.may_act:
            return log_in_first(scope) if is_navigation else not_logged_in()
        if method not in _SAFE_METHODS:
            what = f'{method} {scope["path"]}'
            why = f'needs the role {rule.role.word}'
            self._people.audit.record(visitor, what, why=why, is_refused=True)
        return Refusal(403, f'this needs the role {rule.role.word}; you are {visitor.role.word}')

    def _is_known_host(self, host: str) -> bool:
        # A foreign name that leads here would make a foreign page one of ours.
        name = _host_name(host)
        if name is None:
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name in self._hosts
        return True

    def _note_click(self, visitor: Visitor) -> None:
        self._people.sessions.visitor_of_key(visitor.session, visitor.address, is_active=True)

    def _still_may(self, visitor: Visitor) -> bool:
        try:
            now = self._people.now(visitor)
        except StateError:
            return False
        # A page was made for a role; one that may do more than its visitor must go.
        return now is not None and now.role >= visitor.role


def visitor_of(connection: HTTPConnection) -> Visitor | None:
    """
    Give who makes a request that the guard has let through; None = not logged in.

    """
    visitor: Visitor | None = connection.scope['state']['visitor']
    return visitor


def cookie_name(scope: Mapping[str, Any]) -> str:
    """
    Name the cookie of the session.

    Browsers share cookies between the ports of a machine, and several cells may run on it.

    """
    port = (scope.get('server') or ('', 0))[1]
    # The prefix makes browsers refuse such a cookie from other hosts and without TLS.
    prefix = '__Host-' if scope.get('scheme') in ('https', 'wss') else ''
    return f'{prefix}anomaly_inspection_{port}'


def _with_headers(send: Send, nonce: str) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message['type'] == 'http.response.start':
            headers = with_security_headers(list(message.get('headers', ())), nonce)
            message = {**message, 'headers': headers}
        await send(message)

    return send_with_headers


def _own_headers(headers: Headers) -> Headers:
    # NiceGUI and others believe what a proxy tells them; there is none that we know of.
    return [
        (name, value)
        for name, value in headers
        if not name.lower().startswith((b'x-forwarded-', b'x-real-ip', b'forwarded'))
    ]


def _cookies(headers: Mapping[str, str]) -> dict[str, str]:
    try:
        return {name: morsel.value for name, morsel in SimpleCookie(headers.get('cookie')).items()}
    except CookieError:
        return {}


def _host_name(host: str) -> str | None:
    try:
        parts = urlsplit(f'//{host}')
        name = parts.hostname
        _ = parts.port
    except ValueError:
        return None
    is_plain = parts.netloc == host and not {'@', '/', '?', '#', ' '} & set(host)
    return name.lower() if name and is_plain else None


def _is_own_origin(headers: Mapping[str, str], visitor: Visitor | None, is_socket: bool) -> bool:
    """
    Say whether a request that may change something comes from a page of ours, or from a program.

    """
    origin = headers.get('origin')
    if origin is None:
        # Browsers send the origin with every socket and every POST; programs come with a token.
        return bool(visitor and visitor.token_id)
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    is_site = parts.scheme in ('http', 'https') and not (parts.path or parts.query)
    return is_site and _without_port(parts.netloc) == _without_port(headers.get('host', ''))


def _without_port(netloc: str) -> str:
    """
    Leave out a port that the scheme says anyway.

    """
    return netloc.lower().removesuffix(':80').removesuffix(':443')


def _own_names() -> set[str]:
    name = socket.gethostname().lower()
    short = name.partition('.')[0]
    return {name, short, f'{short}.local'} - {''}
