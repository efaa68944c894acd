# SPDX-License-Identifier: Apache-2.0
"""
A request to inspect: which part it is, what the answer is, and what is never PASS.

"""

from __future__ import annotations

import itertools
import math
import random

import pytest

from anomaly_inspection.deciding.frame_judge import Reason, Verdict
from anomaly_inspection.deciding.inspection import (
    Answer,
    checked_deadline,
    DecisionHeard,
    Inspection,
    Outcome,
    PartHeard,
    Request,
    ScoreHeard,
)
from anomaly_inspection.errors import SettingError

GOAL_S = 100.0
KEY = ('session', 7)


def inspection(**settings: float | str) -> Inspection:
    return Inspection(Request(GOAL_S, **{'deadline_s': 2.0, **settings}))  # type: ignore[arg-type]


def part(exposure_s: float = 100.1, key: tuple[str, int] = KEY, frames: int = 1) -> PartHeard:
    return PartHeard(key, exposure_s, frames, is_complete=True)


def decision(
    verdict: int = Verdict.PASS,
    reason: int = Reason.WITHIN_LIMITS,
    key: tuple[str, int] = KEY,
    scorers: tuple[str, ...] = ('ssim',),
) -> DecisionHeard:
    return DecisionHeard(key, verdict, reason, 'ssim.mse 4 <= 6 -> PASS', scorers)


def heard(one: Inspection, *messages: object, now_s: float = 100.3) -> Answer | None:
    for message in messages:
        if isinstance(message, PartHeard):
            one.part_heard(message, now_s)
        elif isinstance(message, ScoreHeard):
            one.score_heard(message, now_s)
        elif isinstance(message, DecisionHeard):
            one.decision_heard(message, now_s)
    return one.answer(now_s)


GOOD = (part(), ScoreHeard(KEY, 'ssim'), decision())


@pytest.mark.parametrize('order', list(itertools.permutations(GOOD)))
def test_a_good_part_passes_in_whatever_order_its_messages_come(order: tuple[object, ...]) -> None:
    one = inspection()
    assert heard(one, *order[:2]) is None
    answer = heard(one, order[2])
    assert answer is not None
    assert (answer.verdict, answer.reason) == (Verdict.PASS, Reason.WITHIN_LIMITS)
    assert answer.was_judged


@pytest.mark.parametrize('exposure_s', [99.9, 99.9999, math.nan, 100.5, math.inf, -math.inf])
def test_a_part_exposed_before_the_goal_or_in_the_future_is_not_the_part_in_place(
    exposure_s: float,
) -> None:
    one = inspection()
    assert heard(one, part(exposure_s), *GOOD[1:]) is None
    answer = one.answer(102.0)
    assert answer is not None
    assert (answer.verdict, answer.outcome) == (Verdict.REJECT, Outcome.NO_PART)
    if exposure_s == 99.9:
        assert answer.text.endswith('; part 7 was exposed 0.100 s too early')


def test_a_part_counts_only_after_the_time_to_settle() -> None:
    one = inspection(settle_s=0.2)
    assert heard(one, *GOOD) is None
    later = ('session', 8)
    answer = heard(
        one, part(100.2, later), ScoreHeard(later, 'ssim'), decision(key=later), now_s=100.4
    )
    assert answer is not None
    assert answer.verdict is Verdict.PASS
    assert one.part is not None
    assert one.part.key == later


def test_the_first_part_after_the_goal_is_the_one_and_another_ones_verdict_is_not_its() -> None:
    one = inspection()
    other = ('session', 8)
    assert heard(one, part(), part(100.2, other), ScoreHeard(other, 'ssim')) is None
    assert heard(one, decision(key=other), ScoreHeard(KEY, 'ssim')) is None
    answer = heard(one, decision(Verdict.REJECT, Reason.LIMIT_EXCEEDED))
    assert answer is not None
    assert (answer.verdict, answer.was_judged) == (Verdict.REJECT, True)


@pytest.mark.parametrize('now_s', [102.0, 102.5, math.nan])
def test_a_pass_at_the_deadline_or_after_it_is_a_reject(now_s: float) -> None:
    one = inspection()
    heard(one, *GOOD[:2])
    one.decision_heard(GOOD[2], now_s)
    answer = one.answer(now_s)
    assert answer is not None
    assert (answer.verdict, answer.outcome) == (Verdict.REJECT, Outcome.LATE)


def test_a_pass_that_is_sent_only_after_the_deadline_is_a_reject() -> None:
    one = inspection()
    answer = heard(one, *GOOD)
    assert answer is not None
    assert answer.verdict is Verdict.PASS
    late = one.answer(102.0)
    assert late is not None
    assert (late.verdict, late.outcome, late.decision) == (Verdict.REJECT, Outcome.LATE, None)
    assert one.answer(101.0) is late, 'what was late once is not in time again'


@pytest.mark.parametrize(
    ('messages', 'outcome', 'says'),
    [
        ((), Outcome.NO_PART, 'no part was exposed after the goal and announced within 2 s'),
        (GOOD[:1], Outcome.LATE, 'no score and no decision came'),
        (GOOD[:2], Outcome.LATE, 'it was scored, but no decision came'),
        ((GOOD[0], GOOD[2]), Outcome.LATE, 'a score of it is missing'),
    ],
)
def test_what_does_not_come_is_named_at_the_deadline(
    messages: tuple[object, ...], outcome: Outcome, says: str
) -> None:
    one = inspection()
    assert heard(one, *messages) is None
    answer = one.answer(102.0)
    assert answer is not None
    assert (answer.verdict, answer.outcome, answer.was_judged) == (Verdict.REJECT, outcome, False)
    assert says in answer.text


@pytest.mark.parametrize('outcome', [Outcome.CANCELLED, Outcome.LINE_STOPPED])
def test_an_end_beats_an_answer_that_was_not_sent(outcome: Outcome) -> None:
    one = inspection()
    heard(one, *GOOD)
    one.end(outcome, 'because')
    answer = one.answer(100.4)
    assert answer is not None
    assert (answer.verdict, answer.outcome, answer.text) == (Verdict.REJECT, outcome, 'because')
    assert heard(one, *GOOD) is answer
    rejected = inspection()
    heard(rejected, part(), decision(Verdict.REJECT, Reason.LIMIT_EXCEEDED, scorers=()))
    rejected.end(outcome, 'because')
    answer = rejected.answer(100.4)
    assert answer is not None
    assert (answer.outcome, answer.decision) == (outcome, None)


@pytest.mark.parametrize(
    ('verdict', 'reason', 'was_judged'),
    [
        (2, Reason.LIMIT_EXCEEDED, True),
        (2, Reason.NOT_ALIGNED, True),
        (2, Reason.UNKNOWN_CLASS, True),
        (2, Reason.TOO_FEW_FRAMES_PASSED, True),
        (2, Reason.FRAME_INVALID, False),
        (2, Reason.TIMEOUT, False),
        (2, Reason.SCORE_INVALID, False),
        (2, Reason.RECIPE_MISMATCH, False),
        (2, Reason.NOT_READY, False),
        (2, Reason.CHALLENGE_DUE, False),
        (2, Reason.CHALLENGE_PART, False),
        # What no decider of ours says.
        (0, Reason.WITHIN_LIMITS, False),
        (3, Reason.WITHIN_LIMITS, False),
        (1, Reason.LIMIT_EXCEEDED, False),
        (1, 0, False),
        (2, 250, False),
    ],
)
def test_only_what_was_judged_by_its_frames_is_a_verdict_on_the_part(
    verdict: int, reason: int, was_judged: bool
) -> None:
    answer = heard(inspection(), part(), decision(verdict, reason, scorers=()))
    assert answer is not None
    assert answer.verdict is Verdict.REJECT
    assert (answer.reason, answer.was_judged) == (reason, was_judged)


def test_a_reject_after_a_pass_beats_it_and_a_pass_after_a_reject_does_not() -> None:
    reject = decision(Verdict.REJECT, Reason.LIMIT_EXCEEDED, scorers=())
    for messages in ((*GOOD, reject), (*GOOD[:2], reject, GOOD[2])):
        answer = heard(inspection(), *messages)
        assert answer is not None
        assert answer.verdict is Verdict.REJECT


@pytest.mark.parametrize(
    ('told', 'verdict', 'says'),
    [
        (('cap',), Verdict.PASS, ''),
        (('nut',), Verdict.REJECT, "looks most like 'nut', expected is 'cap'"),
        (('cap', 'nut'), Verdict.REJECT, "'cap' and 'nut'"),
        (('',), Verdict.REJECT, 'of none that a scorer tells'),
    ],
)
def test_a_part_of_another_class_than_expected_is_a_reject(
    told: tuple[str, ...], verdict: Verdict, says: str
) -> None:
    scores = [ScoreHeard(KEY, 'ssim', name) for name in told]
    answer = heard(inspection(expected_class='cap'), part(), *scores, decision())
    assert answer is not None
    assert answer.verdict is verdict
    assert says in answer.text
    assert (answer.outcome is Outcome.WRONG_CLASS) == (verdict is Verdict.REJECT)
    assert answer.was_judged


def test_frames_that_are_added_are_news_of_the_part_and_old_versions_are_not() -> None:
    one = inspection()
    assert one.part_heard(PartHeard(KEY, 100.1, 1, is_complete=False), 100.2)
    assert not one.part_heard(PartHeard(KEY, 100.1, 1, is_complete=False), 100.2)
    assert not one.part_heard(part(100.2, ('session', 8)), 100.3)
    assert one.part_heard(PartHeard(KEY, 100.1, 2, is_complete=True), 100.3)


def test_no_order_of_events_makes_a_pass_of_anything_but_a_fresh_pass_of_the_part() -> None:
    rng = random.Random(3)
    older, newer = ('session', 6), ('session', 8)
    keys = [older, KEY, newer]
    exposure_s = {older: 99.9, KEY: 100.1, newer: 100.2}
    passes = 0
    for _ in range(3000):
        good = {key: rng.random() < 0.5 for key in keys}
        messages: list[object] = []
        for key in keys:
            verdict = Verdict.PASS if good[key] else Verdict.REJECT
            reason = Reason.WITHIN_LIMITS if good[key] else Reason.LIMIT_EXCEEDED
            messages += [ScoreHeard(key, 'ssim'), decision(verdict, reason, key)]
        rng.shuffle(messages)
        # Parts come in their order, at any time.
        at = sorted(rng.sample(range(len(messages) + 1), 3))
        for n, key in reversed(list(zip(at, keys, strict=True))):
            messages.insert(n, part(exposure_s[key], key))
        messages = [message for message in messages if rng.random() < 0.9]
        one, now_s = inspection(), 100.2
        for message in messages:
            now_s += rng.choice([0.0, 0.05, 0.5])
            heard(one, message, now_s=now_s)
            if rng.random() < 0.02:
                one.end(Outcome.CANCELLED, 'cancelled')
        answer = one.answer(now_s)
        if answer is not None and answer.verdict is Verdict.PASS:
            passes += 1
            assert one.part is not None
            assert now_s < GOAL_S + 2.0
            assert one.part.key != older
            assert good[one.part.key]
    assert passes > 100


def test_what_it_remembers_is_bounded() -> None:
    one = inspection(deadline_s=60.0)
    heard(one, part(), ScoreHeard(KEY, 'ssim'))
    for number in range(1000):
        other = ('other', number)
        heard(one, ScoreHeard(other, 'ssim'), decision(key=other))
    assert len(one._scores) <= 65
    assert len(one._decisions) <= 65
    answer = heard(one, decision())
    assert answer is not None
    assert answer.verdict is Verdict.PASS, 'the part in place is not forgotten'


@pytest.mark.parametrize('asked_s', [-1.0, 0.001, 61.0, math.nan, math.inf])
def test_a_deadline_out_of_range_is_refused_with_the_range(asked_s: float) -> None:
    with pytest.raises(SettingError, match=r'deadline_s .* s, allowed: 0.01 to 60 s'):
        checked_deadline(asked_s, 2.0, 60.0)


def test_the_deadline_is_the_default_where_none_is_asked_for_and_longer_than_settling() -> None:
    assert checked_deadline(0.0, 2.0, 60.0) == 2.0
    assert checked_deadline(0.5, 2.0, 60.0) == 0.5
    with pytest.raises(SettingError, match=r'deadline_s 0.2 s, allowed: above 0.3 s'):
        checked_deadline(0.2, 2.0, 60.0, 0.3)
