# SPDX-License-Identifier: Apache-2.0
"""
Challenges by the JSON interface: of the cell, or of one of its views.

"""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip('nicegui', reason='NiceGUI is not installed: pip install .[panel]')


from anomaly_inspection.panel.cell.views import ChallengeView


def test_a_challenge_is_shown_and_its_view_reaches_the_cell(panel_site: Any, client: Any) -> None:
    state = panel_site.parts.state
    state.set_challenge(ChallengeView('due', 'due', True, ('good gold', 'bad scratch')))
    shown = client.get('/api/challenge')
    assert shown.status_code == 200
    assert (shown.json()['state'], shown.json()['is_blocked']) == ('due', True)
    unknown = client.get('/api/challenge', params={'view': 'left'})
    assert unknown.status_code == 404
    assert unknown.json()['detail'].startswith("there is no view 'left'")
    for command in ('run_challenge', 'cancel_challenge'):
        for body, given in (({}, None), ({'view': 'left', 'why': 'new shift'}, 'left')):
            assert client.post(f'/api/commands/{command}', json=body).status_code == 200
            assert panel_site.cell.given[-1] == (command, given)
        assert panel_site.people.audit.recent()[0]['why'] == 'new shift'
        refused = client.post(f'/api/commands/{command}', json={'view': 'x' * 31})
        assert refused.status_code == 422
    state.set_challenge(ChallengeView())
