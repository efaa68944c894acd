# SPDX-License-Identifier: Apache-2.0
"""
The guard on a small application: what it lets through, and what it refuses.

"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import threading
from typing import Any

import pytest

pytest.importorskip('nicegui', reason='NiceGUI is not installed: pip install .[panel]')

from fastapi import FastAPI, Request, Response, WebSocket
from fastapi.responses import StreamingResponse
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from anomaly_inspection.panel.access import guarded_connection
from anomaly_inspection.panel.access.asgi import Receive, Scope, Send
from anomaly_inspection.panel.access.guard import AccessGuard, AccessSettings, visitor_of
from anomaly_inspection.panel.access.route_rules import Rule, WEBSOCKET
from anomaly_inspection.panel.people.people import People
from anomaly_inspection.panel.people.roles import Role

PASSWORD = 'correct horse battery'
SITE = 'http://localhost:8080'
# The test client does not know the host of a socket by itself.
SOCKET = 'ws://localhost:8080/socket'
COOKIE = 'anomaly_inspection_8080'

RULES = (
    Rule('GET', '/open', None),
    Rule('GET', '/page', Role.VIEWER, is_page=True),
    Rule('GET', '/mine', Role.VIEWER, is_page=True, needs_account=True),
    Rule('GET', '/data', Role.VIEWER, takes_token=True),
    Rule('POST', '/operate', Role.OPERATOR, takes_token=True, most_bytes=1000),
    Rule('POST', '/engineer', Role.ENGINEER, takes_token=True),
    Rule('GET', '/files/{path:path}', Role.VIEWER),
    Rule('GET', '/stream', Role.VIEWER, takes_token=True, is_long=True),
    Rule(WEBSOCKET, '/socket', Role.VIEWER, most_bytes=1000, takes_token=True, is_long=True),
)


class Site:
    """
    The application behind the guard, with one account of each role.

    """

    def __init__(self, folder: Path) -> None:
        self.people = People(folder)
        self.reached: list[str] = []
        self.stream_ended = threading.Event()
        self.app = self._app()
        for role in Role:
            self.people.accounts.add(role.word, PASSWORD, role)

    def client(self, role: Role | None = None, **settings: object) -> TestClient:
        guard = AccessGuard(self.app, self.people, AccessSettings(**settings), RULES)
        client = TestClient(guard, base_url=SITE, follow_redirects=False)
        if role is not None:
            client.cookies.set(COOKIE, self.people.log_in(role.word, PASSWORD, '127.0.0.1'))
        return client

    def token(self, role: Role) -> dict[str, str]:
        secret, _ = self.people.tokens.create(role.word, 'test', role, 1)
        return {'authorization': f'Bearer {secret}'}

    def _app(self) -> FastAPI:
        app = FastAPI()

        @app.api_route('/{path:path}', methods=['GET', 'POST', 'PUT', 'DELETE', 'OPTIONS'])
        async def reached(path: str, request: Request) -> object:
            if path == 'stream':
                return StreamingResponse(self._stream(), media_type='text/plain')
            body = await request.body()
            self.reached.append(path)
            visitor = visitor_of(request)
            return {'name': visitor.name if visitor else None, 'bytes': len(body)}

        @app.websocket('/socket')
        async def socket(socket: WebSocket) -> None:
            await socket.accept()
            self.reached.append('socket')
            try:
                while True:
                    await socket.send_text(await socket.receive_text())
            except WebSocketDisconnect:
                self.stream_ended.set()

        return app

    async def _stream(self) -> AsyncIterator[bytes]:
        try:
            while True:
                yield b'picture'
                await asyncio.sleep(0.01)
        finally:
            self.stream_ended.set()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.people.close()


OWN = {'origin': SITE}


def test_without_log_in_only_the_way_in_is_open(site: Site) -> None:
    client = site.client()
    assert client.get('/open').status_code == 200
    for path in ('/data', '/files/x', '/stream', '/unknown', '/'):
        answer = client.get(path)
        assert (answer.status_code, answer.json()) == (401, {'detail': answer.json()['detail']})
    assert client.post('/engineer', headers=OWN).status_code == 401
    with pytest.raises(WebSocketDisconnect), client.websocket_connect(SOCKET, headers=OWN):
        pass
    assert site.reached == ['open']


def test_a_person_is_led_to_the_log_in_and_back(site: Site) -> None:
    answer = site.client().get('/page')
    assert (answer.status_code, answer.headers['location']) == (303, '/log-in?next=/page')


def test_what_is_not_in_the_table_is_not_there(site: Site) -> None:
    client = site.client(Role.ENGINEER)
    for method, path in (('GET', '/unknown'), ('DELETE', '/page'), ('POST', '/page')):
        assert client.request(method, path, headers=OWN).status_code == 404
    assert client.options('/page', headers=OWN).status_code == 404
    assert site.reached == []


@pytest.mark.parametrize('role', Role)
@pytest.mark.parametrize('by', ['cookie', 'token'])
def test_roles_hold(site: Site, role: Role, by: str) -> None:
    client = site.client(role if by == 'cookie' else None)
    headers = OWN if by == 'cookie' else site.token(role)
    statuses = [client.get('/data', headers=headers).status_code]
    statuses += [
        client.post(path, headers=headers).status_code for path in ('/operate', '/engineer')
    ]
    assert statuses == [200 if role >= least else 403 for least in Role]
    assert len(site.reached) == role


def test_a_refused_change_is_recorded(site: Site) -> None:
    answer = site.client(Role.VIEWER).post('/operate', headers=OWN)
    assert answer.json()['detail'] == 'this needs the role operator; you are viewer'
    entry = site.people.audit.recent()[0]
    assert (entry['who'], entry['what'], entry['refused']) == ('viewer', 'POST /operate', True)


def test_a_token_opens_no_pages(site: Site) -> None:
    client = site.client()
    headers = site.token(Role.ENGINEER)
    assert client.get('/data', headers=headers).status_code == 200
    assert client.get('/page', headers=headers).status_code == 303
    assert client.get('/files/x', headers=headers).status_code == 401


@pytest.mark.parametrize(
    'authorization', ['', 'Bearer', 'Bearer x', 'Basic YTpi', 'Bearer ai_000000000000_' + 'x' * 43]
)
def test_a_wrong_token_is_not_helped_by_a_cookie(site: Site, authorization: str) -> None:
    client = site.client(Role.ENGINEER)
    assert client.get('/data', headers={'authorization': authorization}).status_code == 401


@pytest.mark.parametrize('cookie', ['', 'x', '"', 'a=b; c', '\x7f', 'x' * 5000])
def test_a_wrong_cookie_is_nobody(site: Site, cookie: str) -> None:
    answer = site.client().get('/data', headers={'cookie': f'{COOKIE}={cookie}'})
    assert answer.status_code == 401


def test_a_screen_on_the_wall_looks_on_and_does_nothing(site: Site) -> None:
    client = site.client(wall_display=True)
    assert client.get('/page').json()['name'] == ''
    assert client.get('/mine').status_code == 303
    assert client.post('/operate', headers=OWN).status_code == 401
    with client.websocket_connect(SOCKET, headers=OWN) as socket:
        socket.send_text('x')
        assert socket.receive_text() == 'x'
    with pytest.raises(WebSocketDisconnect), client.websocket_connect(SOCKET):
        pass


# Foreign pages


FOREIGN = [
    *('http://evil.example', 'http://localhost:8081', 'http://localhost', 'null', '', 'file://'),
    *('http://localhost:8080.evil.example', 'http://evil.example/http://localhost:8080'),
    *('http://localhost:8080@evil.example', 'javascript:alert(1)', 'http://[', SITE + '/x'),
]


@pytest.mark.parametrize('origin', [None, *FOREIGN])
def test_a_foreign_page_changes_nothing_and_opens_no_socket(
    site: Site, origin: str | None
) -> None:
    headers = {} if origin is None else {'origin': origin}
    client = site.client(Role.ENGINEER)
    assert client.post('/operate', headers=headers).status_code == 403
    with pytest.raises(WebSocketDisconnect), client.websocket_connect(SOCKET, headers=headers):
        pass
    assert site.reached == []


@pytest.mark.parametrize('origin', FOREIGN)
def test_a_foreign_page_that_knows_a_token_is_refused_too(site: Site, origin: str) -> None:
    headers = {'origin': origin, **site.token(Role.ENGINEER)}
    assert site.client().post('/operate', headers=headers).status_code == 403


@pytest.mark.parametrize(
    ('host', 'is_known'),
    [
        *[('localhost', True), ('localhost:8080', True), ('127.0.0.1:8080', True)],
        *[('[::1]:8080', True), ('192.0.2.1', True), ('cell-1.plant.example:8080', True)],
        *[('evil.example', False), ('localhost.evil.example', False), ('', False)],
        *[('localhost:x', False), ('a@localhost', False), ('localhost/x', False), ('[', False)],
    ],
)
def test_a_foreign_name_that_leads_here_is_refused(site: Site, host: str, is_known: bool) -> None:
    client = site.client(wall_display=True, allowed_hosts=('cell-1.plant.example',))
    answer = client.get('/page', headers={'host': host})
    assert answer.status_code == (200 if is_known else 421)
    if not is_known:
        assert 'allowed_hosts' in answer.json()['detail']


@pytest.mark.parametrize(
    'path', ['/files/../open', '/files/%2e%2e/x', '/files/..%2fx', '/files//x', '/files/a%00b']
)
def test_paths_that_lead_elsewhere_are_refused(site: Site, path: str) -> None:
    client = site.client(Role.ENGINEER)
    answer = client.get(f'{SITE}{path}')
    assert answer.status_code in (400, 404) or site.reached == ['open']
    assert not any('..' in reached or '\0' in reached for reached in site.reached)


def test_a_proxy_that_nobody_has_set_up_is_not_believed(site: Site) -> None:
    seen: list[bytes] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.extend(name for name, _ in scope['headers'])
        await Response()(scope, receive, send)

    client = TestClient(AccessGuard(app, site.people, rules=RULES), base_url=SITE)
    client.get('/open', headers={'x-forwarded-for': '1.2.3.4', 'X-Forwarded-Prefix': '/x'})
    assert seen
    assert not [name for name in seen if b'forwarded' in name]


# Too large


def test_a_body_that_says_it_is_too_large_is_refused_unread(site: Site) -> None:
    answer = site.client(Role.OPERATOR).post('/operate', content=b'x' * 1001, headers=OWN)
    assert (answer.status_code, 'up to 1,000 bytes' in answer.text) == (413, True)
    assert site.reached == []


def test_a_body_that_does_not_say_how_large_it_is_is_counted(site: Site) -> None:
    client = site.client(Role.OPERATOR)
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(50):
            sent += 100
            yield b'x' * 100

    assert client.post('/operate', content=endless(), headers=OWN).status_code == 413
    assert site.reached == []
    answer = client.post('/operate', content=iter([b'x' * 1000]), headers=OWN)
    assert answer.json()['bytes'] == 1000


@pytest.mark.parametrize('length', ['-1', 'x', '1e3', '9' * 30])
def test_a_senseless_length_is_refused(site: Site, length: str) -> None:
    headers = {**OWN, 'content-length': length}
    assert site.client(Role.OPERATOR).post('/operate', headers=headers).status_code == 413


def test_a_message_of_a_socket_that_is_too_large_ends_it(site: Site) -> None:
    client = site.client(Role.VIEWER)
    with client.websocket_connect(SOCKET, headers=OWN) as socket:
        socket.send_text('x' * 1000)
        assert len(socket.receive_text()) == 1000
        socket.send_text('x' * 1001)
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_text()
        assert closed.value.code == 1009


# The end of a log-in


def test_a_socket_ends_with_its_log_in(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarded_connection, '_WATCH_S', 0.01)
    with site.client(Role.VIEWER).websocket_connect(SOCKET, headers=OWN) as socket:
        socket.send_text('x')
        assert socket.receive_text() == 'x'
        site.people.accounts.log_out_everywhere('viewer')
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_text()
        assert closed.value.code == 1008
    assert site.stream_ended.wait(10)


@pytest.mark.parametrize('by', ['cookie', 'token'])
def test_a_stream_ends_with_its_log_in(
    site: Site, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    monkeypatch.setattr(guarded_connection, '_WATCH_S', 0.01)
    client = site.client(Role.VIEWER if by == 'cookie' else None)
    headers = {} if by == 'cookie' else site.token(Role.VIEWER)
    threading.Timer(0.1, site.people.accounts.set_enabled, ('viewer', False)).start()
    # The client reads to the end, and there is none without the guard.
    answer = client.get('/stream', headers=headers)
    assert answer.content.startswith(b'picture')
    assert site.stream_ended.wait(10)


def test_a_click_keeps_somebody_logged_in_and_a_heartbeat_does_not(site: Site) -> None:
    kept: list[bool] = []
    sessions = site.people.sessions
    real = sessions.visitor_of_key

    def noted(key: str, address: str, *, is_active: bool = False) -> object:
        kept.append(is_active)
        return real(key, address, is_active=is_active)

    client = site.client(Role.VIEWER)
    with client.websocket_connect(SOCKET, headers=OWN) as socket:
        sessions.visitor_of_key = noted  # type: ignore[method-assign]
        socket.send_text('3')
        socket.receive_text()
        assert True not in kept
        socket.send_text('42["event",{}]')
        socket.receive_text()
    assert True in kept


# Answers


def test_every_answer_carries_the_headers(site: Site) -> None:
    client = site.client(Role.VIEWER)
    for path in ('/open', '/data', '/engineer', '/unknown'):
        headers = client.get(path).headers
        assert headers['x-content-type-options'] == 'nosniff'
        assert headers['cache-control'] == 'no-store'
        assert "default-src 'none'" in headers['content-security-policy']
        assert 'unsafe' not in headers['content-security-policy']
        assert "frame-ancestors 'none'" in headers['content-security-policy']


def test_a_broken_file_of_accounts_lets_nobody_in_and_says_so(site: Site, tmp_path: Path) -> None:
    client = site.client(Role.ENGINEER)
    (tmp_path / 'accounts.json').write_text('{')
    answer = client.get('/data')
    assert answer.status_code == 503
    assert 'accounts.json' in answer.json()['detail']


async def _no_answer(scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive())['type'] != 'http.disconnect':
        pass


async def _pass_on(request: Request, call_next: RequestResponseEndpoint) -> Response:
    return await call_next(request)


def call_guard(app: Any, people: People, messages: list[dict[str, Any]]) -> None:
    """
    Make one request whose body and end are the messages.

    """
    scope = {
        'type': 'http',
        'method': 'GET',
        'path': '/open',
        'query_string': b'',
        'headers': [(b'host', b'localhost:8080')],
        'client': ('127.0.0.1', 50000),
    }

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: object) -> None:
        raise AssertionError(f'nobody hears {message}')

    answer = AccessGuard(app, people, rules=RULES)(scope, receive, send)
    # In a thread of its own: a browser of other tests keeps a loop running in this one.
    with ThreadPoolExecutor(1) as threads:
        threads.submit(asyncio.run, answer).result()


def test_a_visitor_who_leaves_before_the_answer_is_no_error(site: Site) -> None:
    # As NiceGUI's own middleware, which misses the answer that nobody waits for.
    app = BaseHTTPMiddleware(_no_answer, dispatch=_pass_on)
    left = {'type': 'http.disconnect'}
    call_guard(app, site.people, [{'type': 'http.request'}, left, left])


def test_a_page_without_an_answer_is_an_error_for_who_waits(site: Site) -> None:
    async def page(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        raise RuntimeError('No response returned.')

    with pytest.raises(RuntimeError, match='No response returned'):
        call_guard(page, site.people, [{'type': 'http.request'}])
