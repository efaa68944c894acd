# SPDX-License-Identifier: Apache-2.0
"""
The benchmark of inspect: an answer that is wrong is found.

"""

from __future__ import annotations

from dataclasses import replace
import threading

import pytest

from benchmarks.inspect_calls import Call, Exposure, figures, problem_of

GOOD, BAD = Exposure(10.1, True), Exposure(10.1, False)


def call(kind: str = 'plain', **fields: object) -> Call:
    made = Call(1, kind, 1.5, sent_s=10.0, answered_s=10.3, status=4, verdict=1, outcome=1)
    made.latency_s = 0.29
    made = replace(made, **fields)  # type: ignore[arg-type]
    made.ended = threading.Event()
    made.ended.set()
    return made


def test_right_answers_are_right() -> None:
    assert problem_of(call(), [GOOD, GOOD, BAD], 2) == ''
    assert problem_of(call(verdict=2), [BAD], 1) == ''
    assert problem_of(call(verdict=2, status=6, outcome=3), [GOOD], 1) == ''
    assert problem_of(call('frozen', verdict=2, status=6, outcome=3), [], 1) == ''


@pytest.mark.parametrize(
    ('one', 'exposures', 'says'),
    [
        (call(answered_s=12.5), [GOOD], 'answered 2.500 s after'),
        (call(verdict=0), [GOOD], 'verdict 0'),
        (call(), [Exposure(9.9, True)], 'a frame from before the goal'),
        (call(), [BAD], 'a bad part has passed'),
        (call(), [], 'PASS without a part'),
        (call(verdict=2), [GOOD], 'a good part was rejected'),
        (call('cancelled', was_cancelled=True), [GOOD], 'PASS after it was cancelled'),
        (call('frozen'), [GOOD], 'PASS with a frozen scorer'),
        (call(status=6), [GOOD], 'PASS with status 6'),
        (call(latency_s=1.5), [GOOD], 'PASS 1.500 s after the goal'),
    ],
)
def test_a_wrong_answer_is_found(one: Call, exposures: list[Exposure], says: str) -> None:
    assert says in problem_of(one, exposures, 1)


def test_no_answer_is_found() -> None:
    silent = call()
    silent.ended.clear()
    assert problem_of(silent, [], 1) == 'no answer'


def test_times_are_those_of_judged_plain_calls() -> None:
    calls = [call(answered_s=10.0 + n / 100) for n in range(1, 101)]
    calls += [call('hurried', answered_s=99.0), call(outcome=3, verdict=2, answered_s=99.0)]
    found = figures(calls, {1: 'JUDGED', 3: 'LATE'})
    assert found['calls'] == 102
    assert found['judged_plain'] == 100
    assert found['p50_ms'] == pytest.approx(505.0)
    assert found['p99_ms'] == pytest.approx(990.0)
    assert found['answers']['plain'] == {'PASS JUDGED': 100, 'REJECT LATE': 1}
