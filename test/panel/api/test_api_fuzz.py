# SPDX-License-Identifier: Apache-2.0
"""
Random requests from the interface's own description: none breaks it or gets past the guard.

"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip('nicegui', reason='NiceGUI is not installed: pip install .[panel]')
pytest.importorskip('schemathesis', reason='schemathesis is not installed')

from hypothesis import given, HealthCheck, settings
import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance

from anomaly_inspection.panel.cell.commands import Answer

FEW = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@schemathesis.serializer('application/zip')
def _as_it_is(context: Any, value: Any) -> Any:
    """
    Send a file as the bytes that it has.

    """
    data = getattr(value, 'data', value)
    return {'data': data if isinstance(data, bytes) else str(data).encode()}


@pytest.fixture(scope='module')
def operations(panel_site: Any) -> list[Any]:
    """
    Give what the interface says that it can do.

    """
    loaded = schemathesis.openapi.from_url(
        f'{panel_site.address}api/openapi.json',
        headers={'Authorization': f'Bearer {VIEWER.of(panel_site)}'},
    )
    found = [result.ok() for result in loaded.get_all_operations()]
    assert len(found) == 29
    return found


def for_random_requests(operation: Any, check: Callable[[Any], None]) -> None:
    given(case=operation.as_strategy())(FEW(lambda case: check(case)))()


def test_no_request_breaks_it(operations: list[Any], panel_site: Any) -> None:
    panel_site.cell.answer = Answer(True, 'done')
    statuses = set()

    def check(case: Any) -> None:
        response = case.call(headers={'Authorization': f'Bearer {ENGINEER.of(panel_site)}'})
        statuses.add(response.status_code)
        # Also: the answer is as the description says.
        case.validate_response(response, checks=[not_a_server_error, response_schema_conformance])

    for operation in operations:
        for_random_requests(operation, check)
    assert 200 in statuses
    assert not statuses & {401, 403}


def test_a_refused_request_changes_nothing(operations: list[Any], panel_site: Any) -> None:
    before = list(panel_site.cell.given)

    def check(case: Any) -> None:
        for authorization in (f'Bearer {VIEWER.of(panel_site)}', 'Bearer ai_0', ''):
            response = case.call(headers={'Authorization': authorization})
            assert response.status_code in (400, 401, 403, 404, 413)

    for operation in operations:
        if operation.method.upper() != 'GET':
            for_random_requests(operation, check)
    assert panel_site.cell.given == before


class _Token:
    """
    One token for all requests of a role.

    """

    def __init__(self, role: str) -> None:
        self._role = role
        self._secret = ''

    def of(self, site: Any) -> str:
        if site.people.tokens.visitor(self._secret, '') is None:
            self._secret = site.token(self._role)
        return self._secret


ENGINEER, VIEWER = _Token('engineer'), _Token('viewer')
