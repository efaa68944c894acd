# SPDX-License-Identifier: Apache-2.0
"""
The limits that would have been right, and which verdicts they turn round.

"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
import math

import numpy as np
import pytest

from anomaly_inspection.deciding.frame_judge import Combination, judge, Verdict
from anomaly_inspection.deciding.limits import Limit, LimitOrigin, LimitTable
from anomaly_inspection.errors import LimitError
from anomaly_inspection.reviewing.advice import advise, checked_changes
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


def test_confirmed_good_parts_loosen_a_limit_up_to_the_confirmed_bad_ones() -> None:
    replay = replay_of(part(1, GOOD, 12.0), part(2, GOOD, 14.0), part(3, BAD, 14.3))
    advice = advise(replay)
    area, mean = advice.measures
    assert 14.0 <= area.proposed < 14.3
    assert (area.for_good, area.for_bad) == (14.0, 14.3)
    assert not mean.is_change
    assert math.isnan(mean.for_bad)
    assert (advice.now.good_rejected, advice.then.good_rejected) == (2, 0)
    assert (advice.now.bad_passed, advice.then.bad_passed) == (0, 0)
    flips = replay.flips(advice.changes)
    assert [(flip.part.key[1], flip.would_be_rejected) for flip in flips] == [
        (1, False),
        (2, False),
    ]


def test_a_good_part_beyond_a_bad_one_stays_rejected() -> None:
    advice = advise(replay_of(part(1, GOOD, 12.0), part(2, GOOD, 20.0), part(3, BAD, 15.0)))
    assert 12.0 <= advice.measures[0].proposed < 15.0
    assert advice.then.good_rejected == 1
    assert advice.then.bad_passed == 0


def test_two_limits_that_reject_a_good_part_together_are_loosened_together() -> None:
    advice = advise(replay_of(part(1, GOOD, 12.0, 0.75), part(2, BAD, 30.0, 0.5)))
    assert set(advice.changes) == {'ssim.area', 'ssim.mean'}
    assert advice.then.good_rejected == 0
    assert advice.changes['ssim.mean'] <= 0.75


def test_loosening_one_limit_never_lets_a_bad_part_through_another() -> None:
    # Each limit alone could be loosened; both together would let the bad part pass.
    parts = [part(1, GOOD, 13.0), part(2, GOOD, 2.0, 0.7), part(3, BAD, 12.0, 0.75)]
    advice = advise(replay_of(*parts))
    assert advice.then.bad_passed == 0
    assert advice.then.good_rejected == 1


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
    advice = advise(replay_of(part(1, GOOD, 12.0, table=table), table=table))
    assert advice.changes == {}
    assert advice.measures[0].is_bounded
    advice = advise(replay_of(part(1, GOOD, 10.9, table=table), table=table))
    assert advice.measures[0].proposed <= 11.0


def test_a_limit_never_goes_over_to_the_good_side_of_a_typical_part() -> None:
    advice = advise(replay_of(part(1, BAD, 1.5, 0.97)))
    assert advice.changes == {}
    assert advice.then.bad_passed == 1


def test_all_limits_together_reject_only_then_one_of_them_is_enough_to_let_a_part_pass() -> None:
    table = LimitTable((AREA, MEAN))
    of_all = {'table': table, 'combination': ALL}
    parts = [part(1, GOOD, 12.0, 0.75, **of_all), part(2, BAD, 40.0, 0.7, **of_all)]
    advice = advise(replay_of(*parts, **of_all))
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
