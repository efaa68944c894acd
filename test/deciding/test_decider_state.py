# SPDX-License-Identifier: Apache-2.0
"""
What a decider keeps: it comes back as it was, and nothing broken comes back at all.

"""

from __future__ import annotations

from datetime import datetime
import json
from typing import Any

import pytest

from anomaly_inspection.deciding.challenge_memory import ChallengeMemory
from anomaly_inspection.deciding.decider_state import DeciderState
from anomaly_inspection.deciding.limits import Limit, LimitOrigin, LimitTable
from anomaly_inspection.errors import StateError
from anomaly_inspection.scoring.measure import BadSide

FROM_RECIPE = LimitTable(
    (
        Limit('ssim', 'mse', 60.0, BadSide.HIGH, 20.0),
        Limit('ssim', 'mean_ssim', 0.9, BadSide.LOW, 0.99, minimum=-1.0, maximum=1.0),
    )
)
IN_FORCE = FROM_RECIPE.changed({('ssim', 'mse'): 0.1 + 52}, LimitOrigin.RUNTIME)
STATE = DeciderState(
    recipe_path='/recipes/pump',
    recipe_name='pump',
    recipe_version=3,
    recipe_hash='ab' * 32,
    limits=DeciderState.limits_of(IN_FORCE),
    challenge=ChallengeMemory(
        True, 'the shift changed', '', True, False, False, 12.5, None, datetime(2026, 3, 2, 6)
    ),
    launched_with={'recipe': '/recipes/pump'},
)


def content() -> dict[str, Any]:
    return json.loads(json.dumps(STATE.to_content(), allow_nan=False))  # type: ignore[no-any-return]


def test_it_comes_back_from_json_as_it_was() -> None:
    assert DeciderState.from_content(content()) == STATE
    assert STATE.applied_to(FROM_RECIPE) == IN_FORCE


@pytest.mark.parametrize('key', list(STATE.to_content()))
def test_what_is_not_whole_is_refused(key: str) -> None:
    broken = content()
    del broken[key]
    with pytest.raises(StateError, match='not whole'):
        DeciderState.from_content(broken)
    with pytest.raises(StateError, match='not whole'):
        DeciderState.from_content(content() | {key: None})


@pytest.mark.parametrize('value', ['60', None, True, float('nan'), float('inf')])
def test_a_limit_that_is_no_number_is_refused(value: object) -> None:
    broken = content()
    broken['limits']['ssim.mse']['value'] = value
    with pytest.raises(StateError, match='no finite number'):
        DeciderState.from_content(broken)


def test_limits_of_another_recipe_or_on_the_wrong_side_are_refused() -> None:
    one = LimitTable(FROM_RECIPE.limits[:1])
    with pytest.raises(StateError, match=r'ssim\.mean_ssim'):
        STATE.applied_to(one)
    broken = content()
    broken['limits']['ssim.mse']['value'] = 5.0
    with pytest.raises(StateError, match=r'ssim\.mse: limit 5\.0 refused'):
        DeciderState.from_content(broken).applied_to(FROM_RECIPE)
