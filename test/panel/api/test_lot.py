# SPDX-License-Identifier: Apache-2.0
"""
Order, lot and serial number by the JSON interface: taken whole, or refused whole.

"""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip('nicegui', reason='NiceGUI is not installed: pip install .[panel]')


from anomaly_inspection.panel.cell.commands import Answer, PartNames


def test_order_lot_and_serial_number_reach_the_cell_and_the_record(
    panel_site: Any, client: Any
) -> None:
    body = {'order': 'A 17', 'lot': 'L-4', 'serial': '0001', 'session_id': 's', 'part_id': 7}
    assert client.post('/api/lot', json={**body, 'why': 'new batch'}).status_code == 200
    assert panel_site.cell.given == [
        ('tell_lot', (PartNames('A 17', 'L-4', '0001', ('s', 7)), 'operator'))
    ]
    entry = panel_site.people.audit.recent()[0]
    assert (entry['who'], entry['what'], entry['why']) == ('operator', 'tell lot', 'new batch')
    assert entry['new'] == {'order': 'A 17', 'lot': 'L-4', 'serial': '0001'}


@pytest.mark.parametrize(
    'body',
    [
        {'lot': 'x' * 101},
        {'order': 7},
        {'lot': None},
        {'part_id': -1},
        {'part_id': 2**64},
        {'session_id': 'x' * 201},
        {'stranger': 'x'},
        ['lot'],
    ],
)
def test_what_is_not_as_described_is_refused_and_nothing_holds(
    panel_site: Any, client: Any, body: object
) -> None:
    assert client.post('/api/lot', json=body).status_code == 422
    assert panel_site.cell.given == []


def test_a_refusal_of_the_cell_is_said(panel_site: Any, client: Any) -> None:
    panel_site.cell.answer = Answer(False, 'nobody would hear it')
    answer = client.post('/api/lot', json={'lot': 'L-4'})
    assert (answer.status_code, answer.json()['message']) == (409, 'nobody would hear it')
