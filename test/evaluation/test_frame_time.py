# SPDX-License-Identifier: Apache-2.0
"""
Which rates a recipe can keep: refused where it surely cannot, warned of where it hardly can.

"""

from __future__ import annotations

from pathlib import Path

import pytest

from anomaly_inspection.evaluation.frame_time import FrameTime, measure_frame_time
from anomaly_inspection.recipes.folder import read_recipe

DEADLINE_S = 0.5


def test_only_a_rate_that_even_the_quickest_frame_cannot_keep_is_refused() -> None:
    busy = FrameTime(typical_s=0.25, shortest_s=0.1)
    assert busy.refusal(9.0, DEADLINE_S) is None
    refusal = busy.refusal(11.0, DEADLINE_S)
    assert refusal is not None
    assert '11 parts/s are too fast' in refusal
    assert 'up to 10 parts/s' in refusal
    # A camera's own pace is not known before it runs.
    assert busy.refusal(None, DEADLINE_S) is None


def test_two_workers_keep_twice_the_rate_but_no_shorter_deadline() -> None:
    busy = FrameTime(typical_s=0.25, shortest_s=0.1)
    assert busy.refusal(19.0, DEADLINE_S, 2) is None
    refusal = busy.refusal(21.0, DEADLINE_S, 2)
    assert refusal is not None
    assert '2 frames at the same time' in refusal
    assert 'up to 20 parts/s' in refusal
    assert busy.refusal(None, 0.1, 2) is not None
    steady = FrameTime(typical_s=0.1, shortest_s=0.09)
    assert steady.warning(9.0, DEADLINE_S) is not None
    assert steady.warning(9.0, DEADLINE_S, 2) is None
    assert steady.warning(9.0, 0.11, 2) is not None


def test_scoring_that_takes_longer_than_the_deadline_is_refused_at_any_rate() -> None:
    slow = FrameTime(typical_s=0.7, shortest_s=0.6)
    for rate_hz in (0.1, None):
        refusal = slow.refusal(rate_hz, DEADLINE_S)
        assert refusal is not None
        assert 'at least 600 ms a frame' in refusal
        assert '500 ms (deadline_s)' in refusal
    assert slow.refusal(None, 0.8) is None


@pytest.mark.parametrize(('rate_hz', 'is_warned'), [(5.0, False), (9.0, True), (None, False)])
def test_a_rate_without_time_to_spare_is_warned_of(rate_hz: float | None, is_warned: bool) -> None:
    warning = FrameTime(typical_s=0.1, shortest_s=0.09).warning(rate_hz, DEADLINE_S)
    assert (warning is not None) == is_warned
    if warning is not None:
        assert '100 ms a frame on this machine = at most 10 parts/s' in warning


@pytest.mark.parametrize(
    ('typical_s', 'words'),
    [(0.0021, '2.1 ms a frame'), (0.0021, '476 parts/s'), (1.25, '0.8 parts/s')],
)
def test_times_and_rates_are_written_plainly(typical_s: float, words: str) -> None:
    assert words in str(FrameTime(typical_s, typical_s))


def test_the_time_of_a_recipe_is_measured(taught_recipe: Path) -> None:
    measured = measure_frame_time(read_recipe(taught_recipe))
    assert 0 < measured.shortest_s <= measured.typical_s
