# SPDX-License-Identifier: Apache-2.0
"""
The real panel over the wire: who gets in, who may do what, and what hostile texts do.

"""

from __future__ import annotations

from dataclasses import replace
import http.client
from io import BytesIO
import re
from typing import Any

import pytest

pytest.importorskip('nicegui', reason='NiceGUI is not installed: pip install .[panel]')

import httpx
import numpy as np

from anomaly_inspection.panel.access.route_rules import Rule, RULES, WEBSOCKET
from anomaly_inspection.panel.cell.commands import Answer, PartNames
from anomaly_inspection.panel.cell.guarded_commands import LEAST_ROLES
from anomaly_inspection.panel.people.people import People
from anomaly_inspection.panel.people.roles import Role, role_of, Visitor
from anomaly_inspection.panel.review.reject import KeptAs
from anomaly_inspection.panel.teach.commands import TeachSettings
from support.panel_people import PASSWORD
from support.panel_site import SCRIPT

ROLES = [None, *(role.word for role in Role)]
HTTP_RULES = [
    pytest.param(rule, method, id=f'{method} {rule.path}')
    for rule in RULES
    for method in rule.methods.split()
    if method != WEBSOCKET and rule.role is not None
]
COMMANDS = {
    'reset_line': ('POST', '/api/commands/reset_line', {}),
    'grab': ('POST', '/api/commands/grab', {}),
    'save_limits': ('POST', '/api/commands/save_limits', {}),
    'undo_limits': ('POST', '/api/commands/undo_limits', {}),
    'set_limits': ('PUT', '/api/limits', {'limits': {'ssim.mse': 5.0}}),
    'roll_back': ('POST', '/api/commands/roll_back', {'name': 'valve', 'version': 1}),
    'load_recipe': ('POST', '/api/commands/load_recipe', {'name': 'valve'}),
    'set_limit_ranges': ('PUT', '/api/limit_ranges', {'ranges': {'ssim.mse': {'highest': 9}}}),
    'calibrate': ('POST', '/api/commands/calibrate', {'parts': 20}),
    'cancel_calibration': ('POST', '/api/commands/cancel_calibration', {}),
    'undo_calibration': ('POST', '/api/commands/undo_calibration', {}),
    'run_challenge': ('POST', '/api/commands/run_challenge', {}),
    'cancel_challenge': ('POST', '/api/commands/cancel_challenge', {}),
    'tell_lot': ('POST', '/api/lot', {'order': 'A 17', 'lot': 'L-4'}),
    'import_recipe': ('POST', '/api/recipes', {}),
    'delete_recipe': ('POST', '/api/commands/delete_recipe', {'name': 'valve'}),
}


@pytest.fixture
def client(panel_site: Any) -> Any:
    panel_site.cell.given.clear()
    panel_site.cell.answer = Answer(True, 'done')
    panel_site.forget_attempts()
    with httpx.Client(base_url=panel_site.address, timeout=20) as client:
        yield client


@pytest.fixture(scope='module')
def cookies(panel_site: Any) -> dict[str, dict[str, str]]:
    """
    Give the cookie of a log-in for each role.

    """
    panel_site.forget_attempts()
    return {role.word: panel_site.cookie(role.word) for role in Role}


def own(site: Any) -> dict[str, str]:
    return {'origin': site.address.rstrip('/')}


def bearer(site: Any, role: str) -> dict[str, str]:
    return {'authorization': f'Bearer {site.token(role)}'}


@pytest.mark.parametrize(('rule', 'method'), HTTP_RULES)
def test_nothing_without_log_in(panel_site: Any, client: Any, rule: Rule, method: str) -> None:
    path = re.sub(r'\{[^}]*\}', '1', rule.path)
    answer = client.request(method, path, headers=own(panel_site))
    if rule.is_page and method == 'GET':
        assert (answer.status_code, answer.text) == (303, '')
        assert answer.headers['location'].startswith('/log-in?next=/')
    else:
        assert answer.status_code == 401
        assert set(answer.json()) == {'detail'}
    assert panel_site.cell.given == []


@pytest.mark.parametrize('path', ['/frames', '/_nicegui_ws/socket.io/?client_id=1'])
@pytest.mark.parametrize('role', ROLES)
def test_no_socket_without_log_in_or_from_another_site(
    panel_site: Any, cookies: dict[str, dict[str, str]], path: str, role: str | None
) -> None:
    def status(origin: str) -> int:
        host = panel_site.address.removeprefix('http://').rstrip('/')
        connection = http.client.HTTPConnection(host, timeout=20)
        cookie = '; '.join(
            f'{name}={value}' for name, value in cookies.get(role or '', {}).items()
        )
        headers = {'Upgrade': 'websocket', 'Connection': 'Upgrade', 'Origin': origin}
        headers |= {'Sec-WebSocket-Key': 'x3JJHMbDL1EzLkh9GBhXDw==', 'Sec-WebSocket-Version': '13'}
        suffix = '&EIO=4&transport=websocket' if '?' in path else ''
        connection.request('GET', path + suffix, headers={**headers, 'Cookie': cookie})
        answer = connection.getresponse().status
        connection.close()
        return answer

    assert status('http://evil.example') == 403
    # 101 is the socket itself.
    assert status(own(panel_site)['origin']) == (403 if role is None else 101)


@pytest.mark.parametrize(('rule', 'method'), HTTP_RULES)
def test_nothing_for_a_lower_role(
    panel_site: Any, client: Any, cookies: dict[str, dict[str, str]], rule: Rule, method: str
) -> None:
    assert rule.role is not None
    path = re.sub(r'\{[^}]*\}', '1', rule.path)
    for role in (role for role in Role if role < rule.role):
        client.cookies = cookies[role.word]
        answer = client.request(method, path, headers=own(panel_site))
        assert answer.status_code == 403
        assert answer.json() == {
            'detail': f'this needs the role {rule.role.word}; you are {role.word}'
        }
    assert panel_site.cell.given == []


def test_every_kind_of_answer_is_in_the_table() -> None:
    tested = {(rule.path, method) for rule, method in (each.values for each in HTTP_RULES)}
    paths = ['/review', '/rejects/{session_id}/{part_id}/{kind}', '/api/reviews', '/stream.mjpeg']
    assert {(path, 'GET') for path in paths} <= tested
    sockets = {rule.path for rule in RULES if WEBSOCKET in rule.methods.split()}
    assert sockets == {'/frames', '/_nicegui_ws/{path:path}'}


@pytest.mark.parametrize('command', LEAST_ROLES)
@pytest.mark.parametrize('role', ROLES)
def test_commands_hold_their_roles(
    panel_site: Any, client: Any, command: str, role: str | None
) -> None:
    method, path, body = COMMANDS[command]
    headers = bearer(panel_site, role) if role else own(panel_site)
    answer = client.request(method, path, json={**body, 'why': 'test'}, headers=headers)
    may = role is not None and role_of(role) >= LEAST_ROLES[command]
    assert answer.status_code == (200 if may else 403 if role else 401)
    assert [name for name, _ in panel_site.cell.given] == ([command] if may else [])


@pytest.mark.parametrize(
    ('command', 'arguments'),
    [
        *[('record', ('x', '', 1)), ('teach', ('s', TeachSettings())), ('accept', ('s',))],
        *[('stop', ()), ('add_image', ('', 's', 'a.png', b'')), ('delete_images', ('s', ['a']))],
        *[('delete_session', ('s',)), ('start_trial', ('s',)), ('stop_trial', ())],
        ('discard', ('s',)),
    ],
)
def test_only_engineers_teach(
    panel_site: Any, client: Any, command: str, arguments: tuple[object, ...]
) -> None:
    people: People = panel_site.people
    for role in ('viewer', 'operator', 'engineer'):
        secret = people.log_in(role, PASSWORD, '127.0.0.1')
        visitor = people.sessions.visitor(secret, '127.0.0.1')
        parts = panel_site.parts.for_visitor(visitor)
        assert getattr(parts.teaching, command)(*arguments).success == (role == 'engineer')
    assert [name for name, _ in panel_site.cell.given] == [command]


@pytest.mark.parametrize('command', LEAST_ROLES)
def test_a_page_whose_log_in_has_ended_gives_no_commands(panel_site: Any, command: str) -> None:
    people: People = panel_site.people
    secret = people.log_in('engineer', PASSWORD, '127.0.0.1')
    visitor = people.sessions.visitor(secret, '127.0.0.1')
    arguments = {
        'set_limits': [{'ssim.mse': 5.0}],
        'load_recipe': ['x'],
        'roll_back': ['x', 1],
        'import_recipe': [BytesIO(), 'x'],
        'delete_recipe': ['x'],
        'set_limit_ranges': [{'ssim.mse': (None, 9.0)}],
        'calibrate': [20],
        'tell_lot': [PartNames('A 17')],
    }.get(command, [])
    panel_site.cell.given.clear()
    for who in (None, Visitor('', Role.ENGINEER)):
        assert not getattr(panel_site.parts.commands_for(who), command)(*arguments).success
    commands = panel_site.parts.commands_for(visitor)
    assert getattr(commands, command)(*arguments).success
    people.log_out(visitor)
    answer = getattr(commands, command)(*arguments)
    assert (answer.success, answer.message) == (False, 'your log-in has ended; log in again')
    assert len(panel_site.cell.given) == 1


def test_a_change_says_who_what_old_new_and_why(panel_site: Any, client: Any) -> None:
    body = {'limits': {'ssim.mse': 5.0}, 'why': 'more tolerance'}
    client.put('/api/limits', json=body, headers=bearer(panel_site, 'engineer'))
    entry = panel_site.people.audit.recent()[0]
    assert (entry['who'], entry['from'], entry['what']) == ('engineer', '127.0.0.1', 'set limits')
    assert (entry['old'], entry['new']) == ({'ssim.mse': 9.0}, {'ssim.mse': 5.0})
    assert entry['why'] == 'more tolerance'


def test_a_refusal_of_the_cell_is_no_success(panel_site: Any, client: Any) -> None:
    panel_site.cell.answer = Answer(False, 'the cause lasts')
    answer = client.post(
        '/api/commands/reset_line', json={}, headers=bearer(panel_site, 'operator')
    )
    assert (answer.status_code, answer.json()['message']) == (409, 'the cause lasts')
    assert panel_site.people.audit.recent()[0]['refused'] is True


# Log-in by the form


def log_in(client: Any, site: Any, name: str, password: str, **more: str) -> Any:
    fields = {'name': name, 'password': password, **more}
    return client.post('/log-in', data=fields, headers=own(site))


def test_the_cookie_is_strict(panel_site: Any, client: Any) -> None:
    answer = log_in(client, panel_site, 'operator', PASSWORD, next='/people')
    assert (answer.status_code, answer.headers['location']) == (303, '/people')
    cookie = answer.headers['set-cookie'].lower()
    assert all(word in cookie for word in ('httponly', 'samesite=strict', 'path=/', 'max-age='))
    assert client.get('/session').json() == {'name': 'operator', 'role': 'operator'}
    assert client.post('/log-out', headers=own(panel_site)).status_code == 303
    assert client.get('/session').status_code == 401


@pytest.mark.parametrize(
    'target',
    [
        *('//evil.example', 'https://evil.example/', '/\\evil.example', '/unknown', ''),
        *('javascript:alert(1)', '/api/state', '/\r\nset-cookie: a=b', '/people?x', '/log-out'),
    ],
)
def test_a_log_in_never_leads_to_another_site(panel_site: Any, client: Any, target: str) -> None:
    answer = log_in(client, panel_site, 'viewer', PASSWORD, next=target)
    assert (answer.status_code, answer.headers['location']) == (303, '/')


def test_a_foreign_form_cannot_log_anybody_in(panel_site: Any, client: Any) -> None:
    fields = {'name': 'viewer', 'password': PASSWORD}
    for headers in ({}, {'origin': 'http://evil.example'}):
        answer = client.post('/log-in', data=fields, headers=headers)
        assert (answer.status_code, 'set-cookie' in answer.headers) == (403, False)


def test_a_name_that_is_a_script_is_shown_as_text(panel_site: Any, client: Any) -> None:
    answer = log_in(client, panel_site, '"><script>alert(1)</script>', 'x')
    assert answer.status_code == 403
    assert '<script' not in answer.text
    assert '&lt;script&gt;' in answer.text


@pytest.mark.parametrize(
    'content', [b'\xff\xfe', b'&' * 100, b'name=' + b'x' * 60_000, b'=&=', b'%', b'name=%00']
)
def test_what_is_no_form_is_refused(panel_site: Any, client: Any, content: bytes) -> None:
    assert client.post('/log-in', content=content, headers=own(panel_site)).status_code in (
        400,
        403,
        429,
    )


def test_after_ten_wrong_passwords_the_form_says_wait(panel_site: Any, client: Any) -> None:
    panel_site.people.accounts.add('carl', PASSWORD, Role.VIEWER)
    statuses = [log_in(client, panel_site, 'carl', 'wrong').status_code for _ in range(10)]
    assert statuses[:4] == [403] * 4
    assert statuses[-1] == 429
    answer = log_in(client, panel_site, 'carl', PASSWORD)
    assert answer.status_code == 429
    assert 0 < int(answer.headers['retry-after']) <= 900
    assert re.search(r'Wait \d+ seconds', answer.text)


@pytest.mark.parametrize(('language', 'word'), [('en', 'Password'), ('de-DE', 'Passwort')])
def test_the_form_speaks_the_language_of_the_browser(
    client: Any, language: str, word: str
) -> None:
    assert word in client.get('/log-in', headers={'accept-language': language}).text


def test_one_changes_the_password_and_stays_logged_in(panel_site: Any, client: Any) -> None:
    people: People = panel_site.people
    people.accounts.add('dora', PASSWORD, Role.OPERATOR, must_change_password=True)
    log_in(client, panel_site, 'dora', PASSWORD)
    assert client.get('/').headers['location'] == '/password'
    assert client.get('/session').json()['role'] == 'viewer'
    fields = {'password': PASSWORD, 'new_password': 'another good one'}
    answer = client.post('/password', data=fields, headers=own(panel_site))
    assert answer.status_code == 303
    assert client.get('/session').json()['role'] == 'operator'
    assert client.get('/').status_code == 200


# Names and sizes


@pytest.mark.parametrize(
    'name', ['../pump', '/etc', '..', '.', 'pump/../valve', 'pump\0', 'PUMP', '', 'x' * 200]
)
def test_a_recipe_is_named_and_never_a_path(panel_site: Any, client: Any, name: str) -> None:
    answer = client.post(
        '/api/commands/load_recipe', json={'name': name}, headers=bearer(panel_site, 'engineer')
    )
    assert answer.status_code in (404, 422)
    assert panel_site.cell.given == []


def test_a_link_out_of_the_library_is_no_recipe(panel_site: Any, client: Any) -> None:
    outside = panel_site.recipes.parent / 'outside'
    outside.mkdir()
    (outside / 'recipe.yaml').touch()
    (panel_site.recipes / 'link').symlink_to(outside)
    headers = bearer(panel_site, 'engineer')
    assert client.get('/api/recipes', headers=headers).json()['names'] == ['pump', 'valve']
    answer = client.post('/api/commands/load_recipe', json={'name': 'link'}, headers=headers)
    assert answer.status_code == 404


@pytest.mark.parametrize(
    'path',
    [
        *('/assets/../server.py', '/assets/%2e%2e/server.py', '/assets/..%2fserver.py'),
        *('/assets//etc/passwd', '/assets/%2fetc%2fpasswd', '/assets/%5c..%5cserver.py'),
        *('/language/..%2f..%2fx', '/assets/x%00.css'),
    ],
)
def test_no_path_leaves_the_assets(panel_site: Any, client: Any, path: str) -> None:
    # Not with httpx, which tidies up the path.
    host = panel_site.address.removeprefix('http://').rstrip('/')
    connection = http.client.HTTPConnection(host, timeout=20)
    connection.request('GET', path)
    answer = connection.getresponse()
    assert answer.status in (303, 400, 401, 404)
    assert b'PanelServer' not in answer.read()
    connection.close()


# Rejects


REJECT = '/api/reviews/session/1'
# 401: of an address that is in no rule, a program with a token learns as little as anybody.
NOTHING_THERE = (400, 401, 404, 422)


def test_operators_judge_rejects_and_it_is_recorded(panel_site: Any, client: Any) -> None:
    operator = bearer(panel_site, 'operator')
    body = {'verdict': 'defect', 'comment': f'a scratch {SCRIPT}'}
    assert client.put(REJECT, json=body, headers=operator).status_code == 200
    (found,) = (
        reject
        for reject in client.get('/api/reviews', headers=operator).json()
        if (reject['session_id'], reject['part_id']) == ('session', 1)
    )
    assert (found['verdict'], found['who']) == ('defect', 'operator')
    assert found['comment'] == f'a scratch {SCRIPT}'
    entry = panel_site.people.audit.recent()[0]
    assert (entry['who'], entry['what'], entry['new']) == ('operator', 'review a reject', 'defect')
    assert 'token' in entry
    new = client.get('/api/reviews?only_new=true', headers=operator).json()
    assert 1 not in {reject['part_id'] for reject in new if reject['session_id'] == 'session'}


def test_passed_parts_are_reviewed_by_programs_too(panel_site: Any, client: Any) -> None:
    operator, state = bearer(panel_site, 'operator'), panel_site.parts.state
    for number, kind in ((901, KeptAs.NEAR), (902, KeptAs.SAMPLE), (903, KeptAs.SAMPLE)):
        part = replace(state.part(('session', 3)), key=('passed', number))
        image = np.zeros((8, 8), np.uint8)
        panel_site.reviews.put(part, lambda image=image: image, 64, 1.7e9, kind)
    assert panel_site.reviews.settle()

    def listed(kind: str) -> set[int]:
        answer = client.get(f'/api/reviews?kind={kind}', headers=operator)
        assert answer.status_code == 200
        assert {each['kind'] for each in answer.json()} <= {kind}
        return {each['part_id'] for each in answer.json() if each['session_id'] == 'passed'}

    assert (listed('reject'), listed('near'), listed('sample')) == (set(), {901}, {902, 903})
    assert client.get('/api/reviews?kind=known', headers=operator).status_code == 422
    findings = '/api/reviews/findings'
    assert client.get(findings, headers=operator).json()['escapes_sample'] is None
    for number, verdict in ((902, 'defect'), (903, 'good')):
        address = f'/api/reviews/passed/{number}'
        answer = client.put(address, json={'verdict': verdict}, headers=operator)
        assert answer.status_code == 200
    found = client.get(findings, headers=operator).json()
    share = found['escapes_sample']
    assert (share['count'], share['total']) == (1, 2)
    # Clopper-Pearson of 1 of 2.
    assert share['low'] == pytest.approx(0.0126, abs=1e-4)
    assert share['high'] == pytest.approx(0.9874, abs=1e-4)
    assert found['escapes_near'] is None
    nobody = client.get(f'{findings}?recipe=nobody', headers=operator).json()
    assert nobody == dict.fromkeys(found)
    assert client.get(findings, headers=bearer(panel_site, 'viewer')).status_code == 403


@pytest.mark.parametrize(
    ('body', 'status'),
    [
        ({'verdict': '../good'}, 422),
        ({'verdict': None}, 422),
        ({'verdict': 'good', 'comment': 'x' * 501}, 422),
        ({'verdict': 'good', 'who': 'somebody else'}, 422),
    ],
)
def test_a_review_that_is_none_changes_nothing(
    panel_site: Any, client: Any, body: dict[str, Any], status: int
) -> None:
    before = panel_site.reviews.reject(('session', 2))
    address = '/api/reviews/session/2'
    assert (
        client.put(address, json=body, headers=bearer(panel_site, 'operator')).status_code
        == status
    )
    assert panel_site.reviews.reject(('session', 2)) is before


@pytest.mark.parametrize(
    'name',
    [
        *('..%2f..%2faccounts.json/1', '..%5c..%5cx/1', 'session/99', 'session/-1', 'other/1'),
        *(f'session/{2**64}', 'session/1e3', '%00/1', 'session%2f1/1'),
    ],
)
def test_only_rejects_of_the_set_are_judged_and_shown(
    panel_site: Any, client: Any, name: str
) -> None:
    operator = bearer(panel_site, 'operator')
    answer = client.put(f'/api/reviews/{name}', json={'verdict': 'good'}, headers=operator)
    assert answer.status_code in NOTHING_THERE
    for kind in ('frame.png', 'marked.jpg', 'small.jpg'):
        answer = client.get(f'/rejects/{name}/{kind}', headers=operator)
        assert answer.status_code in NOTHING_THERE
        assert b'PNG' not in answer.content


@pytest.mark.parametrize('kind', ['..%2f..%2fparts%2fsession_1.json', 'frame.jpg', '', 'x'])
def test_a_reject_has_three_pictures_and_no_other(panel_site: Any, client: Any, kind: str) -> None:
    operator = bearer(panel_site, 'operator')
    kinds = {'frame.png': 'image/png', 'marked.jpg': 'image/jpeg', 'small.jpg': 'image/jpeg'}
    for good, media_type in kinds.items():
        answer = client.get(f'/rejects/session/1/{good}', headers=operator)
        assert (answer.status_code, answer.headers['content-type']) == (200, media_type)
    answer = client.get(f'/rejects/session/1/{kind}', headers=operator)
    assert answer.status_code in NOTHING_THERE


@pytest.mark.parametrize('path', ['/log-in', '/password', '/api/limits', '/api/commands/grab'])
def test_a_body_that_is_too_large_is_refused(panel_site: Any, client: Any, path: str) -> None:
    method = 'PUT' if path == '/api/limits' else 'POST'
    client.cookies.update(panel_site.cookie('engineer'))
    answer = client.request(method, path, content=b'x' * 70_000, headers=own(panel_site))
    assert answer.status_code == 413
    assert panel_site.cell.given == []


def test_the_description_is_served_to_who_is_logged_in(panel_site: Any, client: Any) -> None:
    description = client.get('/api/openapi.json', headers=bearer(panel_site, 'viewer')).json()
    documented = {
        f'{method.upper()} {path}'
        for path, operations in description['paths'].items()
        for method in operations
    }
    in_table = {
        f'{method} {rule.path}'
        for rule in RULES
        for method in rule.methods.split()
        if rule.path.startswith('/api/') and rule.path != '/api/openapi.json'
    }
    assert documented == in_table


@pytest.mark.parametrize(
    'content',
    [
        *(b'{"limits": {"ssim.mse": NaN}}', b'{"limits": {"ssim.mse": 1e999}}'),
        *(b'{"limits": {"ssim.mse": -Infinity}}', b'{"limits": {"ssim.mse": "NaN"}}'),
        *(b'{"limits": {"\\ud800": NaN}}', b'{"limits": {"ssim.mse": 1}, "why": "\\ud800"}'),
        *(b'[' * 30_000, b'{"limits":' * 5_000, b'\xff', b'{"limits": ' + b'9' * 5000 + b'}'),
        *(b'{"limits": {}}', b'{"limits": null}', b'null', b'', b'{"limits": {"": true}, "x": 1}'),
    ],
)
def test_json_that_is_none_or_hostile_is_refused(
    panel_site: Any, client: Any, content: bytes
) -> None:
    headers = {**bearer(panel_site, 'engineer'), 'content-type': 'application/json'}
    answer = client.put('/api/limits', content=content, headers=headers)
    assert answer.status_code in (400, 422)
    assert answer.json()['detail']
    assert panel_site.cell.given == []
