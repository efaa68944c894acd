# SPDX-License-Identifier: Apache-2.0
"""
The limits that would have been right, and which verdicts they turn round.

"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
import math
import re

import numpy as np
import pytest

from anomaly_inspection.deciding.frame_judge import Combination, judge, Verdict
from anomaly_inspection.deciding.limits import Limit, LimitOrigin, LimitTable
from anomaly_inspection.errors import LimitError
from anomaly_inspection.reviewing.advice import advise, checked_changes
from anomaly_inspection.reviewing.looser import BAD_FOR_EACH, Hold, MOST_TIMES
from anomaly_inspection.reviewing.replay import Replay
from anomaly_inspection.reviewing.stored_part import Kind, StoredPart, Truth
from anomaly_inspection.scoring.measure import BadSide

GOOD, BAD = Truth.GOOD, Truth.BAD
AREA = Limit('ssim', 'area', 10.0, BadSide.HIGH, 2.0, maximum=1000.0)
MEAN = Limit('ssim', 'mean', 0.8, BadSide.LOW, 0.95, maximum=1.0)
TABLE = LimitTable((AREA, MEAN))
ANY, ALL = Combination.ANY, Combination.ALL


def part(
    number: int,
    truth: Truth | None,
    area: float,
    mean: float = 0.95,
    *,
    table: LimitTable = TABLE,
    combination: Combination = ANY,
    **changes: object,
) -> StoredPart:
    """
    Give a part as the cell would have judged it.

    """
    measures = {'area': area, 'mean': mean}
    judgement = judge({'ssim': measures}, table, combination)
    stored = StoredPart(
        ('session', number),
        Kind.REJECT if judgement.verdict is Verdict.REJECT else Kind.PASSED,
        judgement.verdict is Verdict.REJECT,
        judgement.reason.name,
        {f'ssim.{name}': value for name, value in measures.items()},
        {limit.name: limit.value for limit in table},
        'pump',
        1,
        truth,
    )
    return replace(stored, **changes)  # type: ignore[arg-type]


def replay_of(
    *parts: StoredPart,
    table: LimitTable = TABLE,
    combination: Combination = ANY,
) -> Replay:
    return Replay(table, combination, parts)


@pytest.mark.parametrize('combination', [ANY, ALL])
@pytest.mark.parametrize('tells_class', [False, True])
def test_the_replay_rejects_exactly_what_the_decider_rejects(
    combination: Combination, tells_class: bool
) -> None:
    random = np.random.default_rng(1)
    table = LimitTable((replace(AREA, tells_class=tells_class), MEAN))
    parts = [
        part(
            *(number, None, float(area), float(mean)),
            table=table,
            combination=combination,
        )
        for number, (area, mean) in enumerate(
            zip(random.uniform(5, 15, 200), random.uniform(0.7, 0.9, 200), strict=True)
        )
    ]
    # Exactly at a limit is still good.
    parts.append(part(200, None, 10.0, 0.8, table=table, combination=combination))
    replay = Replay(table, combination, parts)
    assert len(replay.parts) == 201
    other = {'ssim.area': 8.0, 'ssim.mean': 0.85}
    changed = table.changed(
        {tuple(name.split('.')): value for name, value in other.items()}, LimitOrigin.RUNTIME
    )
    for values, limits in ((other, changed), ({}, table)):
        expected = [
            judge(
                {'ssim': {n.partition('.')[2]: v for n, v in one.measures.items()}},
                *(limits, combination),
            ).verdict
            is Verdict.REJECT
            for one in replay.parts
        ]
        assert list(replay.rejected(replay.limits_of(values))) == expected
    assert 0 < len(replay.flips(other)) < 201
    assert not replay.flips({})
    assert not replay.changed_decisions()


def test_parts_that_no_limit_decides_about_are_left_out() -> None:
    parts = [
        part(1, GOOD, 12.0),
        part(2, GOOD, math.nan),
        part(3, GOOD, 12.0, reason='TIMEOUT'),
        # Two frames, of which another one was the worst.
        part(4, GOOD, 5.0, is_rejected=True, reason='LIMIT_EXCEEDED'),
        # A recipe with another measure.
        part(5, GOOD, 12.0, measures={'template.similarity': 0.5}),
    ]
    replay = replay_of(*parts)
    assert [one.key[1] for one in replay.parts] == [1]
    assert sorted(one.key[1] for one in replay.left_out) == [2, 3, 4, 5]


# Enough of them, and so far away that they hold nothing back.
def far_bad(count: int = BAD_FOR_EACH) -> tuple[StoredPart, ...]:
    return tuple(part(1000 + number, BAD, 900.0, -9.0) for number in range(count))


FAR_BAD = far_bad()


def goods(*areas: float, first: int = 1) -> list[StoredPart]:
    return [part(first + number, GOOD, area) for number, area in enumerate(areas)]


def test_confirmed_good_parts_loosen_a_limit_to_what_three_of_them_reach() -> None:
    replay = replay_of(*goods(11.0, 11.2, 12.0, 13.0, 13.5), *FAR_BAD)
    advice = advise(replay)
    area, mean = advice.measures
    assert area.proposed == 12.0
    assert (area.held, mean.held) == (None, None)
    assert not mean.is_change
    assert (advice.now.good_rejected, advice.then.good_rejected) == (5, 2)
    assert (advice.now.bad_passed, advice.then.bad_passed) == (0, 0)
    flips = replay.flips(advice.changes)
    assert [(flip.part.key[1], flip.would_be_rejected) for flip in flips] == [
        (number, False) for number in (1, 2, 3)
    ]


@pytest.mark.parametrize(
    ('parts', 'hold', 'words'),
    [
        # One good part, or four, are no support.
        ([*goods(11.0), *FAR_BAD], Hold.FEW_GOOD, '1 good part exceeds it; at least 5'),
        ([*goods(*[11.0] * 4), *FAR_BAD], Hold.FEW_GOOD, '4 good parts exceed it; at least 5'),
        ([*goods(*[11.0] * 5), *FAR_BAD[1:]], Hold.FEW_BAD, '99 rejected parts .* least 100'),
        ([*goods(*[11.0] * 9)], Hold.FEW_BAD, '0 rejected parts'),
        # Twice as far from the limit as the good parts, a bad one would pass.
        (
            [*goods(*[11.0] * 9), part(50, BAD, 12.0), *FAR_BAD],
            Hold.NEAR_BAD,
            'a bad part lies too near',
        ),
        # 1.5 times the distance of 8 from the typical part ends at 14.
        ([*goods(*[14.1] * 9), *FAR_BAD], Hold.TOO_FAR, '1.5 times its distance'),
    ],
)
def test_a_limit_without_enough_support_stays(
    parts: list[StoredPart], hold: Hold, words: str
) -> None:
    advice = advise(replay_of(*parts))
    assert advice.changes == {}
    held = advice.measures[0].held
    assert held is not None
    assert held.why is hold
    assert re.search(words, held.sentence)


def test_a_limit_moves_right_at_the_least_support() -> None:
    # The mirror of the test above: one part more, or a little further away.
    for parts in (
        [*goods(*[11.0] * 5), *FAR_BAD],
        [*goods(*[11.0] * 9), part(50, BAD, 12.01), *FAR_BAD],
        [*goods(*[11.0, 14.0, 14.0, 14.0, 15.0, 15.0, 11.0]), *FAR_BAD],
    ):
        advice = advise(replay_of(*parts))
        assert set(advice.changes) == {'ssim.area'}
        assert advice.changes['ssim.area'] in (11.0, 14.0)


def test_a_good_part_beyond_a_bad_one_stays_rejected() -> None:
    advice = advise(replay_of(*goods(*[11.0] * 5, 15.0), part(50, BAD, 14.5), *FAR_BAD))
    assert advice.measures[0].proposed == 11.0
    assert advice.then.good_rejected == 1
    assert advice.then.bad_passed == 0


def test_two_limits_that_reject_good_parts_together_are_loosened_together() -> None:
    parts = [part(number, GOOD, 12.0, 0.75) for number in range(5)]
    # Each of them needs its own hundred.
    few = advise(replay_of(*parts, *far_bad(199)))
    assert few.changes == {}
    assert {one.held and one.held.why for one in few.measures} == {Hold.FEW_BAD}
    advice = advise(replay_of(*parts, *far_bad(200)))
    assert set(advice.changes) == {'ssim.area', 'ssim.mean'}
    assert advice.then.good_rejected == 0
    assert advice.changes['ssim.mean'] <= 0.75


def test_good_parts_that_another_limit_still_rejects_support_nothing() -> None:
    # Six exceed the area; of these two exceed the mean as well, too few to loosen it.
    parts = [*goods(*[11.0] * 4), *(part(10 + n, GOOD, 11.0, 0.75) for n in range(2))]
    advice = advise(replay_of(*parts, *FAR_BAD))
    assert advice.changes == {}
    assert [one.held and one.held.why for one in advice.measures] == [
        Hold.OTHER_LIMITS,
        Hold.FEW_GOOD,
    ]


def test_loosening_one_limit_never_lets_a_bad_part_through_another() -> None:
    # Each limit alone could be loosened; both together would let the bad part pass.
    parts = [*goods(*[13.0] * 5), *(part(10 + number, GOOD, 2.0, 0.75) for number in range(5))]
    alone = [advise(replay_of(*one, *FAR_BAD)).changes for one in (parts[:5], parts[5:])]
    assert [set(one) for one in alone] == [{'ssim.area'}, {'ssim.mean'}]
    advice = advise(replay_of(*parts, part(50, BAD, 12.0, 0.75), *far_bad(200)))
    assert advice.then.bad_passed == 0
    assert advice.then.good_rejected == 5


def test_the_limits_of_most_use_are_loosened_when_bad_parts_support_no_more() -> None:
    parts = [*goods(*[11.0] * 5), *(part(10 + number, GOOD, 2.0, 0.77) for number in range(6))]
    advice = advise(replay_of(*parts, *far_bad(199)))
    assert set(advice.changes) == {'ssim.mean'}
    held = advice.measures[0].held
    assert held is not None
    assert (held.why, held.bad, held.bad_needed) == (Hold.FEW_BAD, 199, 200)
    both = advise(replay_of(*parts, *far_bad(200)))
    assert set(both.changes) == {'ssim.area', 'ssim.mean'}
    assert both.then.good_rejected == 0


@pytest.mark.parametrize('combination', [ANY, ALL])
def test_no_proposal_lets_a_bad_part_pass_that_is_rejected_now(combination: Combination) -> None:
    n_loosened = 0
    for seed in range(30):
        random = np.random.default_rng(seed)
        of_this = {'combination': combination}
        drawn = [
            (GOOD, random.uniform(8, 14, 100), random.uniform(0.72, 0.85, 100)),
            (BAD, random.uniform(8, 40, 4), random.uniform(0.4, 0.85, 4)),
        ]
        parts = [
            part(number + 200 * (truth is BAD), truth, area, mean, **of_this)
            for truth, areas, means in drawn
            for number, (area, mean) in enumerate(zip(areas, means, strict=True))
        ]
        far = [part(1000 + n, BAD, 900.0, -1.0, **of_this) for n in range(200)]
        replay = Replay(TABLE, combination, [*parts, *far])
        advice = advise(replay)
        limits = replay.limits_of(advice.changes)
        before, then = replay.rejected(replay.limits), replay.rejected(limits)
        is_bad = np.array([one.truth is BAD for one in replay.parts])
        assert then[before & is_bad].all()
        furthest = replay.typical + MOST_TIMES * (replay.limits - replay.typical)
        assert (limits <= furthest + 1e-9).all()
        n_loosened += bool((limits > replay.limits).any())
    assert n_loosened > 3, n_loosened


def test_a_confirmed_bad_part_that_passed_makes_the_cheapest_limit_stricter() -> None:
    parts = [
        part(1, BAD, 9.0, 0.82),
        # Good parts fill the area up to 9.5; the mean costs none of them.
        *(part(number, GOOD, 5.0 + number / 10, 0.95) for number in range(10, 45)),
    ]
    advice = advise(replay_of(*parts))
    assert (advice.now.bad_passed, advice.then.bad_passed) == (1, 0)
    assert advice.then.good_rejected == 0
    assert set(advice.changes) == {'ssim.mean'}
    assert 0.82 < advice.changes['ssim.mean'] < 0.95


def test_held_out_good_parts_of_the_recipe_say_what_a_stricter_limit_costs() -> None:
    parts = [part(1, BAD, 9.0, 0.82)]
    good = {'ssim.area': np.linspace(1, 3, 50), 'ssim.mean': np.linspace(0.8, 1.0, 50)}
    assert set(advise(replay_of(*parts), good).changes) == {'ssim.area'}
    good = {'ssim.area': np.linspace(1, 10, 50), 'ssim.mean': np.linspace(0.9, 1.0, 50)}
    assert set(advise(replay_of(*parts), good).changes) == {'ssim.mean'}


def test_the_range_of_the_engineer_holds_a_proposal_back() -> None:
    table = LimitTable((replace(AREA, highest=11.0), MEAN))
    advice = advise(replay_of(*goods(*[12.0] * 5), *FAR_BAD, table=table))
    assert advice.changes == {}
    held = advice.measures[0].held
    assert held is not None
    assert held.why is Hold.RANGE
    advice = advise(replay_of(*goods(*[10.9] * 5), *FAR_BAD, table=table))
    assert advice.measures[0].proposed == 10.9


def test_a_limit_never_goes_over_to_the_good_side_of_a_typical_part() -> None:
    advice = advise(replay_of(part(1, BAD, 1.5, 0.97)))
    assert advice.changes == {}
    assert advice.then.bad_passed == 1


def test_all_limits_together_reject_only_then_one_of_them_is_enough_to_let_a_part_pass() -> None:
    of_all = {'table': TABLE, 'combination': ALL}
    parts = [part(number, GOOD, 12.0, 0.75, **of_all) for number in range(5)]
    far = [part(1000 + number, BAD, 40.0, 0.2, **of_all) for number in range(BAD_FOR_EACH)]
    advice = advise(replay_of(*parts, *far, **of_all))
    assert advice.then.good_rejected == 0
    assert advice.then.bad_passed == 0


def test_nothing_reviewed_proposes_nothing() -> None:
    for parts in ([], [part(1, None, 12.0)]):
        advice = advise(replay_of(*parts))
        assert advice.changes == {}
        assert (advice.now.good, advice.now.bad) == (0, 0)


@pytest.mark.parametrize(
    ('values', 'words'),
    [
        ({'ssim.area': math.nan}, 'refused, allowed'),
        ({'ssim.area': 1.0}, 'above 2.0'),
        ({'nothing': 1.0}, 'scorer.measure'),
        ({'ssim.nothing': 1.0}, 'known are ssim.area'),
    ],
)
def test_limits_to_try_are_refused_with_what_is_allowed(
    values: Mapping[str, float], words: str
) -> None:
    with pytest.raises(LimitError, match=words):
        checked_changes(replay_of(), values)
