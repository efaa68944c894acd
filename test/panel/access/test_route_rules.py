# SPDX-License-Identifier: Apache-2.0
"""
Every address of the real application has a rule, every rule an address, and every command a role.

"""

from __future__ import annotations

from collections.abc import Iterator
import inspect
from typing import Any

import pytest

pytest.importorskip('nicegui', reason='NiceGUI is not installed: pip install .[panel]')

from nicegui import Client, core
from starlette.routing import Mount, WebSocketRoute

from anomaly_inspection.panel.access.route_rules import rule_for, RULES, WEBSOCKET
from anomaly_inspection.panel.cell.commands import CellCommands
from anomaly_inspection.panel.cell.guarded_commands import GuardedCommands, LEAST_ROLES
from anomaly_inspection.panel.people.roles import Role
from anomaly_inspection.panel.teach.commands import TeachCommands
from anomaly_inspection.panel.teach.guarded_commands import GuardedTeaching

# What any visitor of the internet may do: get in, see our public files, choose a language.
OPEN = {
    *('GET /log-in', 'POST /log-in', 'GET /first-engineer', 'POST /first-engineer'),
    *('GET /assets/{path:path}', 'GET /favicon.ico', 'GET /language/{code}', 'GET /theme/{name}'),
}


# NiceGUI adds it when a page with an upload is opened.
ADDED_BY_PAGES = {'/_nicegui/client/{client}/upload/{element}'}


def flat(routes: Any) -> Iterator[Any]:
    """
    Give the routes with those of routers that are included as a whole.

    """
    for route in routes:
        inner = getattr(route, 'original_router', None)
        if inner is None:
            yield route
        else:
            yield from flat(inner.routes)


def addresses(routes: Any, prefix: str = '') -> Iterator[tuple[str, str]]:
    for route in flat(routes):
        path = prefix + route.path
        if isinstance(route, WebSocketRoute) or type(route).__name__ == 'APIWebSocketRoute':
            yield WEBSOCKET, path
        elif isinstance(route, Mount):
            if route.app is core.app:
                yield from addresses(core.app.routes)
            else:
                methods = ('GET', 'POST', WEBSOCKET) if 'ws' in path else ('GET',)
                yield from ((method, f'{path.rstrip("/")}/x') for method in methods)
        else:
            for method in (route.methods or {'GET'}) - {'HEAD'}:
                yield method, path


@pytest.fixture(scope='module')
def routes(panel_site: Any) -> list[tuple[str, str]]:
    from anomaly_inspection.panel.server import build_app

    found = sorted(set(addresses(build_app(panel_site.parts).routes)))
    assert len(found) > 25
    return found


def example(path: str) -> str:
    """
    Give an address of a route: '/parts/{part_id}' -> '/parts/1'.

    """
    import re

    return re.sub(r'\{[^}]*\}', '1', path)


def test_every_address_has_a_rule(routes: list[tuple[str, str]]) -> None:
    missing = [
        f'{method} {path}' for method, path in routes if rule_for(method, example(path)) is None
    ]
    assert not missing, 'add a rule to RULES in panel/route_rules.py'


def test_every_rule_has_an_address(routes: list[tuple[str, str]]) -> None:
    used = {id(rule_for(method, example(path))) for method, path in routes}
    assert {rule.path for rule in RULES if id(rule) not in used} <= ADDED_BY_PAGES


def test_no_more_is_open_to_everybody() -> None:
    is_open = {
        f'{method} {rule.path}'
        for rule in RULES
        for method in rule.methods.split()
        if rule.role is None
    }
    assert is_open == OPEN


def test_every_page_leads_to_the_log_in() -> None:
    for path in Client.page_routes.values():
        rule = rule_for('GET', path)
        assert rule is not None
        assert rule.is_page, path


def test_a_new_address_is_refused(routes: list[tuple[str, str]]) -> None:
    assert rule_for('GET', '/new') is None
    assert rule_for('POST', '/') is None
    assert rule_for('GET', '/api/new') is None


def test_every_command_has_a_role_and_a_guard() -> None:
    def commands(kind: type) -> set[str]:
        return {name for name, _ in inspect.getmembers(kind, inspect.isfunction) if name[0] != '_'}

    assert commands(CellCommands) == set(LEAST_ROLES) == commands(GuardedCommands)
    assert commands(TeachCommands) == commands(GuardedTeaching)
    assert all(role >= Role.OPERATOR for role in LEAST_ROLES.values())
