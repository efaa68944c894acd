# SPDX-License-Identifier: Apache-2.0
"""
Several views of one part: what belongs together, when a part passes, and what is never PASS.

"""

from __future__ import annotations

from collections.abc import Iterator
import math
import random
from typing import Any

import pytest

from anomaly_inspection.deciding.frame_judge import Reason, Verdict
from anomaly_inspection.deciding.view_join import (
    JoinedPart,
    ViewJoin,
    ViewJoinSettings,
    ViewSaid,
)
from anomaly_inspection.errors import SettingError

PASS = ViewSaid(True, Reason.WITHIN_LIMITS, 'ssim.mse 4 <= 6 -> PASS')
BAD = ViewSaid(False, Reason.LIMIT_EXCEEDED, 'ssim.mse 9 > 6 -> REJECT')
WITHIN_S, DEADLINE_S = 0.02, 0.4


def settings(**changes: Any) -> ViewJoinSettings:
    given = {'views': ('top', 'left'), 'leading': 'top'}
    return ViewJoinSettings(**{**given, 'within_s': WITHIN_S, 'deadline_s': DEADLINE_S, **changes})


class Line:
    """
    A joiner, and what it has said so far.

    """

    def __init__(self, **changes: Any) -> None:
        self.join = ViewJoin(settings(**changes))
        self.now = 0.0
        self.news: list[JoinedPart] = []

    def part(self, view: str, number: int, at_s: float, session: str = 'a') -> None:
        self.now = max(self.now, at_s)
        self.news += self.join.part_seen(view, (f'{view} {session}', number), at_s, self.now)

    def said(self, view: str, number: int, said: ViewSaid = PASS, session: str = 'a') -> None:
        key = (f'{view} {session}', number)
        self.news += self.join.verdict_received(view, key, said, self.now)

    def at(self, now: float) -> None:
        self.now = now
        self.news += self.join.tick(now)

    def verdict(self, view: str, number: int, session: str = 'a') -> Any:
        key = (f'{view} {session}', number)
        return next((one.verdict for one in self.news if one.key == key), None)


def test_a_part_passes_when_all_views_pass_and_no_rival_can_come_any_more() -> None:
    line = Line()
    line.part('top', 1, 1.0)
    line.part('left', 1, 1.01)
    line.said('left', 1)
    line.said('top', 1)
    assert line.verdict('top', 1) is None
    line.at(1.05)
    verdict = line.verdict('top', 1)
    assert verdict.verdict is Verdict.PASS
    assert verdict.reason is Reason.WITHIN_LIMITS
    assert verdict.comparison == f'top: {PASS.comparison}; left: {PASS.comparison}'


def test_one_view_that_rejects_rejects_with_its_reason_at_once() -> None:
    line = Line()
    line.part('top', 1, 1.0)
    line.part('left', 1, 1.0)
    line.said('top', 1)
    line.said('left', 1, BAD)
    verdict = line.verdict('top', 1)
    assert (verdict.verdict, verdict.reason) == (Verdict.REJECT, Reason.LIMIT_EXCEEDED)
    assert verdict.comparison == f'top: {PASS.comparison}; left: {BAD.comparison}'


@pytest.mark.parametrize('has_seen', [True, False])
def test_a_view_without_a_verdict_is_named_at_the_deadline(has_seen: bool) -> None:
    line = Line()
    line.part('top', 1, 1.0)
    line.said('top', 1)
    if has_seen:
        line.part('left', 1, 1.0)
    line.at(1.0 + DEADLINE_S)
    assert line.verdict('top', 1) is None
    line.at(1.01 + DEADLINE_S)
    verdict = line.verdict('top', 1)
    assert (verdict.verdict, verdict.reason) == (Verdict.REJECT, Reason.VIEW_MISSING)
    assert verdict.missing == ('left',)
    text = 'no verdict within 0.41 s' if has_seen else 'did not see the part'
    assert verdict.comparison == f'top: {PASS.comparison}; left: {text} -> REJECT'


def test_verdicts_that_come_after_the_deadline_do_not_pass_the_part() -> None:
    line = Line()
    line.part('top', 1, 1.0)
    line.part('left', 1, 1.0)
    line.now = 1.01 + DEADLINE_S
    line.said('top', 1)
    line.said('left', 1)
    assert line.verdict('top', 1).verdict is Verdict.REJECT


def test_what_the_leading_view_has_not_seen_is_a_part_of_its_own_in_time_for_the_sorter() -> None:
    line = Line(views=('top', 'left', 'right'))
    line.part('left', 1, 1.0)
    line.part('right', 1, 1.01)
    line.said('left', 1)
    line.said('right', 1)
    line.at(1.0 + DEADLINE_S / 2)
    assert len(set(line.news)) == 1
    verdict = line.verdict('left', 1)
    assert (verdict.verdict, verdict.reason) == (Verdict.REJECT, Reason.VIEW_MISSING)
    assert verdict.missing == ('top',)
    assert verdict.comparison.startswith('top: did not see the part -> REJECT; left: ssim')
    # A leading part that is later than all deadlines may not have its verdict either.
    line.part('top', 1, 1.0)
    line.said('top', 1)
    line.at(1.0 + 2 * DEADLINE_S)
    assert line.verdict('top', 1).reason is Reason.VIEW_UNCLEAR


def test_two_parts_of_a_view_for_one_part_are_unclear() -> None:
    line = Line()
    line.part('top', 1, 1.0)
    line.part('left', 1, 0.99)
    line.part('left', 2, 1.01)
    verdict = line.verdict('top', 1)
    assert (verdict.verdict, verdict.reason) == (Verdict.REJECT, Reason.VIEW_UNCLEAR)
    assert 'left: 2 of its parts may be this one (within 0.02 s) -> REJECT' in verdict.comparison
    line.at(3.0)
    assert len(set(line.news)) == 1


def test_a_part_that_two_may_claim_passes_neither() -> None:
    line = Line()
    line.part('top', 1, 1.0)
    line.part('left', 1, 1.015)
    line.said('top', 1)
    line.said('left', 1)
    line.part('top', 2, 1.03)
    line.said('top', 2)
    line.at(2.0)
    for number in (1, 2):
        assert line.verdict('top', number).reason is Reason.VIEW_UNCLEAR
    assert line.join.pitch_s == pytest.approx(0.03)


def test_a_rival_that_comes_after_the_pass_is_told_to_the_sorter_as_a_part_of_its_own() -> None:
    line = Line()
    line.part('top', 1, 1.0)
    line.part('left', 1, 1.0)
    line.said('top', 1)
    line.said('left', 1)
    line.at(1.05)
    assert line.verdict('top', 1).verdict is Verdict.PASS
    line.now = 1.2
    line.part('left', 2, 1.01)
    rival = line.verdict('left', 2)
    assert (rival.verdict, rival.reason) == (Verdict.REJECT, Reason.VIEW_UNCLEAR)


def test_a_reject_of_a_view_beats_its_pass_while_the_part_is_undecided() -> None:
    line = Line()
    line.part('top', 1, 1.0)
    line.said('top', 1)
    line.said('top', 1, BAD)
    line.said('top', 1)
    line.part('left', 1, 1.0)
    line.said('left', 1)
    assert line.verdict('top', 1).reason is Reason.LIMIT_EXCEEDED


def test_a_verdict_may_come_before_its_part_and_a_part_twice() -> None:
    line = Line()
    line.said('left', 1)
    line.said('top', 1)
    for _ in range(2):
        line.part('left', 1, 1.0)
        line.part('top', 1, 1.0)
    line.at(1.1)
    assert line.verdict('top', 1).verdict is Verdict.PASS
    assert len(set(line.news)) == 1


def test_two_sessions_of_a_view_are_never_mixed() -> None:
    line = Line()
    line.part('left', 1, 0.5, session='before')
    line.said('left', 1, session='before')
    line.part('top', 1, 1.0)
    line.part('left', 1, 1.0, session='after')
    line.said('top', 1)
    line.at(1.1)
    assert line.verdict('top', 1) is None
    line.said('left', 1, BAD, session='after')
    assert line.verdict('top', 1).reason is Reason.LIMIT_EXCEEDED


@pytest.mark.parametrize('delay_s', [-0.3, 0.25])
def test_a_camera_further_along_the_belt_sees_the_part_sooner_or_later(delay_s: float) -> None:
    line = Line(delays_s={'left': delay_s}, deadline_s=0.6)
    for view, at_s in sorted({'top': 1.0, 'left': 1.0 + delay_s}.items(), key=lambda v: v[1]):
        line.part(view, 1, at_s)
        line.said(view, 1)
    line.at(1.31)
    assert line.verdict('top', 1).verdict is Verdict.PASS
    assert line.join.joined_of('left', ('left a', 1)).key == ('top a', 1)


def test_a_single_view_needs_no_other() -> None:
    line = Line(views=('top',))
    line.part('top', 1, 1.0)
    line.said('top', 1)
    line.at(1.1)
    assert line.verdict('top', 1).verdict is Verdict.PASS


@pytest.mark.parametrize('exposure_s', [math.nan, math.inf, 99.0])
def test_an_exposure_in_the_future_counts_as_now(exposure_s: float) -> None:
    join = ViewJoin(settings())
    join.part_seen('top', ('top', 1), exposure_s, 1.0)
    news = join.tick(1.01 + DEADLINE_S)
    assert [one.verdict.reason for one in news if one.verdict] == [Reason.VIEW_MISSING]


def test_what_is_undecided_when_the_joiner_stops_is_rejected_and_forgotten() -> None:
    line = Line()
    line.part('top', 1, 1.0)
    stopped = line.join.stop(1.1)
    assert [one.verdict.reason for one in stopped if one.verdict] == [Reason.NOT_READY]
    assert line.join.tick(9.0) == []


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'views': ()}, '1 to 4 names'),
        ({'views': ('top', 'top')}, 'all different'),
        ({'views': tuple('abcde'), 'leading': 'a'}, '1 to 4 names'),
        ({'leading': 'front'}, "leading_view = 'front': allowed is one of top, left"),
        ({'within_s': 0.0}, 'within_s = 0.0: allowed is a number above 0'),
        ({'deadline_s': math.nan}, 'deadline_s = nan'),
        ({'delays_s': {'back': 1.0}}, "view 'back' = 1.0 s: allowed is a number, for one of top"),
        ({'delays_s': {'top': 0.1}}, "leading view 'top' is where the belt is measured from"),
        ({'delays_s': {'left': 0.5}}, 'deadline_s = 0.4 s: the last view sees a part up to 0.540'),
    ],
)
def test_settings_that_contradict_each_other_are_refused(changes: Any, words: str) -> None:
    with pytest.raises(SettingError, match=words.replace('(', r'\(')):
        settings(**changes)


def events(rng: random.Random, bad: dict[str, set[int]], parts: int) -> Iterator[Any]:
    """
    What three views say of parts that come 0.15 s apart: late, lost, doubled and in any order.

    """
    for number in range(1, parts + 1):
        # The trigger comes unevenly; each view has its own jitter.
        at_s = 0.15 * number + rng.uniform(0, 0.02)
        for view in ('top', 'left', 'right'):
            if rng.random() < 0.05:
                continue
            exposure_s = at_s + rng.uniform(0, 0.015)
            # Sessions begin anew now and then, and count from 1 again.
            key = (f'{view} {number // 40}', number % 40 + 1)
            said = BAD if number in bad[view] else PASS
            heard_s = exposure_s + rng.choice((*(4 * (0.002, 0.03)), 0.3, 0.7))
            verdict_s = exposure_s + rng.choice((*(4 * (0.02, 0.05)), 0.2, 0.6))
            copies = 2 if rng.random() < 0.1 else 1
            for _ in range(copies):
                if rng.random() > 0.05:
                    yield heard_s, 'part', view, key, exposure_s, number
                if rng.random() > 0.1:
                    yield verdict_s, 'said', view, key, said, number
        if rng.random() < 0.05:
            # A trigger that comes twice: the same part is announced and judged once more.
            key = (f'left again {number}', number)
            said = BAD if number in bad['left'] else PASS
            exposure_s = at_s + rng.uniform(-0.03, 0.03)
            yield exposure_s + 0.01, 'part', 'left', key, exposure_s, 0
            yield exposure_s + 0.03, 'said', 'left', key, said, 0


@pytest.mark.parametrize('seed', range(20))
def test_whatever_is_late_lost_doubled_or_reordered_no_bad_part_passes(seed: int) -> None:
    rng, parts = random.Random(seed), 200
    views = ('top', 'left', 'right')
    bad = {view: {n for n in range(parts + 1) if rng.random() < 0.15} for view in views}
    join = ViewJoin(settings(views=views))
    numbers: dict[Any, int] = {}
    decided: dict[Any, Any] = {}
    now = 0.0
    news: list[JoinedPart] = []
    for at_s, kind, view, key, content, number in sorted(
        events(rng, bad, parts), key=lambda e: e[:2]
    ):
        while now + 0.01 < at_s:
            now += 0.01
            news += join.tick(now)
        now = at_s
        if kind == 'part':
            numbers[key] = number
            news += join.part_seen(view, key, content, now)
        else:
            news += join.verdict_received(view, key, content, now)
        for one in news:
            if one.verdict is not None:
                assert one.key not in decided, 'decided twice'
                decided[one.key] = one
        news.clear()
    for one in join.tick(now + 9.0):
        decided[one.key] = one
    bad_numbers = set.union(*bad.values())
    passed = [one for one in decided.values() if one.verdict.verdict is Verdict.PASS]
    for one in passed:
        assert set(one.parts) == set(views)
        assert numbers[one.key] not in bad_numbers
        assert {numbers[part.key] for part in one.parts.values()} <= {0, numbers[one.key]}
    # It is no test when nothing passes.
    assert len(passed) > 10
    # Each part of the leading view has exactly one verdict.
    leading = {key for key in numbers if key[0].startswith('top')}
    assert leading <= set(decided)
