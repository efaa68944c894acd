# SPDX-License-Identifier: Apache-2.0
"""
Which rejected parts count: those of a line that has changed, never those of a line with defects.

"""

import numpy as np
import pytest

from anomaly_inspection.drift.reference import DriftReference
from anomaly_inspection.drift.rejects import NUMBERS, Rejects, Scored
from anomaly_inspection.drift.watch import DriftStatus, DriftWatch
from anomaly_inspection.imaging.conditions import Conditions

NOWHERE = {NUMBERS: np.zeros((2, 3), np.bool_)}
# Of two conditions and a measure.
BEGUN = {NUMBERS: np.array([[True, False, True], [False, False, False]])}


def scored(*numbers, now_s=0.0):
    return Scored({NUMBERS: np.array(numbers)}, np.array(numbers), now_s)


def counted(parts):
    return [part.scores[NUMBERS].tolist() for part in parts]


@pytest.fixture
def rejects():
    return Rejects(conditions=2)


def test_a_reject_counts_where_it_and_the_two_before_follow_the_good_parts(rejects):
    assert rejects.take(scored(3.0, 3.0, 9.0), BEGUN) == []
    rejects.end_row()
    assert rejects.take(scored(2.5, 3.0, 9.0), BEGUN) == []

    third = rejects.take(scored(3.5, 3.0, 9.0), BEGUN)

    # Good parts have not begun to move in the second condition; a measure never counts.
    assert [part.scores[NUMBERS][0] for part in third] == [3.5]
    assert np.isnan(third[0].scores[NUMBERS][1:]).all()
    assert third[0].is_partial


@pytest.mark.parametrize('odd', [0.0, -3.0, np.nan])
def test_a_reject_of_another_kind_ends_that(rejects, odd):
    for _ in range(2):
        rejects.take(scored(3.0, 0.0, 9.0), BEGUN)
    assert rejects.take(scored(odd, 0.0, 9.0), BEGUN) == []
    assert rejects.take(scored(3.0, 0.0, 9.0), BEGUN) == []


def test_nothing_counts_while_good_parts_are_as_taught(rejects):
    for _ in range(500):
        for _ in range(9):
            assert rejects.take(scored(3.0, 3.0, 9.0), NOWHERE) == []
        rejects.end_row()


def test_ten_in_a_row_count_and_the_nine_before_where_all_are_alike(rejects):
    for at in range(9):
        assert rejects.take(scored(3.0, -1.0 * at, 9.0, now_s=at), NOWHERE) == []

    tenth = rejects.take(scored(3.0, -9.0, 9.0, now_s=9), NOWHERE)

    assert [part.now_s for part in tenth] == list(range(10))
    assert [part.is_partial for part in tenth] == [True] * 9 + [False]
    assert all(part.scores[NUMBERS][0] == 3.0 for part in tenth)
    assert all(np.isnan(part.scores[NUMBERS][1:]).all() for part in tenth[:9])
    assert counted(tenth[9:]) == [[3.0, -9.0, 9.0]]
    assert counted(rejects.take(scored(1.0, 1.0, 1.0), NOWHERE)) == [[1.0, 1.0, 1.0]]


def test_what_has_counted_before_the_tenth_does_not_count_again(rejects):
    for _ in range(2):
        rejects.take(scored(3.0, 3.0, 9.0), NOWHERE)
    for _ in range(7):
        assert len(rejects.take(scored(3.0, 3.0, 9.0), BEGUN)) == 1

    tenth = rejects.take(scored(3.0, 3.0, 9.0), BEGUN)

    first = [part.scores[NUMBERS][0] for part in tenth]
    assert np.isfinite(first).tolist() == [True] * 2 + [False] * 7 + [True]
    assert all(part.scores[NUMBERS][1] == 3.0 for part in tenth)


def watch_of(rng):
    """
    Give the watch of a line whose parts have three conditions.

    """
    names = ('light', 'sharpness', 'background')
    arrays = {name: rng.normal(0.0, 1.0, 40) for name in names}
    watch = DriftWatch(DriftReference.of_arrays(arrays, {}, frozenset(), 40))
    return watch, lambda shift: Conditions({name: float(rng.normal(shift, 1.0)) for name in names})


@pytest.mark.parametrize('defective', [0.3, 0.6])
def test_a_line_with_many_dark_defects_and_good_parts_as_taught_raises_no_alarm(defective):
    rng = np.random.default_rng(4)
    watch, part = watch_of(rng)
    in_a_row = 0

    for at in range(4000):
        # Nine in a row at most: ten mean that the line has changed.
        is_defective = rng.random() < defective and in_a_row < 9
        in_a_row = in_a_row + 1 if is_defective else 0
        # Each defect makes the part darker, by much.
        watch.feed(part(-6.0 if is_defective else 0.0), {}, has_passed=not is_defective, now_s=at)

    assert watch.verdict.status is DriftStatus.VALID


def test_a_line_that_rejects_half_of_its_darker_parts_is_told_sooner_by_its_rejects():
    needed = {}
    for counts_rejects in (True, False):
        rng = np.random.default_rng(5)
        watch, part = watch_of(rng)
        for at in range(200):
            has_passed = at % 3 == 0
            if has_passed or counts_rejects:
                watch.feed(part(-2.5), {}, has_passed=has_passed, now_s=at)
            if watch.verdict.causes:
                break
        needed[counts_rejects] = at
    assert needed[True] < 0.7 * needed[False]
