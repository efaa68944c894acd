# SPDX-License-Identifier: Apache-2.0
"""
The state of the cell in one word, and its health.

"""

from __future__ import annotations

from dataclasses import replace

import pytest

from anomaly_inspection.plant.cell_status import CellStatus, Health

RUNNING = CellStatus(recipe='pump', is_decider_heard=True, since_part_s=1.0)


@pytest.mark.parametrize(
    ('changes', 'state', 'reason'),
    [
        ({}, 'running', ''),
        ({'since_part_s': 11.0}, 'idle', 'no part for more than 10 s'),
        ({'block_reason': 'a challenge is due'}, 'blocked', 'a challenge is due'),
        ({'recipe': ''}, 'no_recipe', 'no recipe is in force: every part is rejected'),
        ({'stop_reason': 'the gate failed', 'recipe': ''}, 'stopped', 'the gate failed'),
        ({'is_decider_heard': False}, 'unknown', 'the decider says nothing'),
        (
            {'is_decider_heard': False, 'decider': 'view_joiner'},
            'unknown',
            'the view_joiner says nothing',
        ),
    ],
)
def test_the_worst_that_holds_is_the_state(
    changes: dict[str, object], state: str, reason: str
) -> None:
    payload = replace(RUNNING, **changes).payload()  # type: ignore[arg-type]
    assert payload == {'state': state, 'reason': reason}


def test_health_names_the_worst_level_and_each_problem_once() -> None:
    health = Health()
    assert health.payload(0.0) == {'level': 'ok', 'problems': []}
    health.take('camera', '', 'ok', 'active', 0.0)
    health.take('camera', 'frames', 'warn', 'late', 0.0)
    health.take('sorter', 'line', 'error', 'stopped', 0.0)
    payload = health.payload(1.0)
    assert payload['level'] == 'error'
    assert [problem['node'] for problem in payload['problems']] == ['camera', 'sorter']
    health.take('camera', 'frames', 'ok', '', 6.0)
    silent = health.payload(6.0)
    assert silent['level'] == 'stale'
    assert silent['problems'] == [
        {'node': 'sorter', 'concern': '', 'level': 'stale', 'message': 'says nothing any more'},
    ]
