# SPDX-License-Identifier: Apache-2.0
"""
What a person goes through on the page Review.

"""

from __future__ import annotations

from dataclasses import replace
import math

import pytest

pytest.importorskip('pydantic', reason='NiceGUI is not installed: pip install .[panel]')

from anomaly_inspection.panel.cell.part_views import DecisionView, PartView
from anomaly_inspection.panel.cell.shifts import ShiftTable
from anomaly_inspection.panel.review.reject import KeptAs, Reject, ReviewVerdict
from anomaly_inspection.panel.review.review_list import (
    ALL,
    NEW,
    ReviewFilter,
    ReviewList,
    time_span,
)

NOON_S = 1_700_049_600.0


def reject(number: int, verdict: ReviewVerdict | None = None) -> Reject:
    decision = DecisionView(False, 'TIMEOUT' if number % 2 else 'NOT_ALIGNED', recipe_name='pump')
    return Reject(PartView(('s', number), decision=decision), float(number), verdict=verdict)


def test_rejects_and_passed_parts_are_gone_through_apart() -> None:
    parts = [replace(reject(n), kept_as=kind) for n, kind in enumerate(KeptAs)]
    for kind, wanted in (*((str(kind), [n]) for n, kind in enumerate(KeptAs)), ('any', [0, 1, 2])):
        assert numbers(begun(*parts, wanted=ReviewFilter(kind=kind))) == wanted
    assert numbers(begun(*parts)) == [0]


def numbers(shown: ReviewList) -> list[int]:
    return [number for _, number in shown.keys]


def begun(*rejects: Reject, wanted: ReviewFilter | None = None) -> ReviewList:
    shown = ReviewList()
    shown.begin(rejects, wanted or ReviewFilter())
    return shown


def test_one_goes_from_new_to_old_and_not_further() -> None:
    shown = begun(reject(3), reject(2), reject(1))
    assert (shown.current, shown.place, shown.after()) == (('s', 3), 0, ('s', 2))
    assert not shown.move(-1)
    assert shown.move(1)
    assert shown.move(1)
    assert not shown.move(1)
    assert (shown.current, shown.place, shown.after()) == (('s', 1), 2, None)


def test_what_is_judged_meanwhile_stays_and_the_new_come_in_front() -> None:
    shown = begun(reject(3), reject(2))
    shown.move(1)
    shown.update(
        [reject(5), reject(4, ReviewVerdict.GOOD), reject(3, ReviewVerdict.GOOD), reject(2)]
    )
    assert numbers(shown) == [5, 3, 2]
    assert shown.current == ('s', 2)
    # Nor does one that was judged elsewhere come in later.
    shown.update([reject(5), reject(4), reject(3), reject(2)])
    assert numbers(shown) == [5, 3, 2]


def test_when_the_shown_one_is_forgotten_its_neighbour_is_shown() -> None:
    shown = begun(reject(4), reject(3), reject(2), reject(1))
    shown.move(1)
    shown.update([reject(4), reject(2), reject(1)])
    assert shown.current == ('s', 2)
    shown.update([reject(4)])
    assert shown.current == ('s', 4)
    shown.update([])
    assert (shown.current, shown.place, shown.move(1), shown.after()) == (None, 0, False, None)
    shown.update([reject(9)])
    assert shown.current == ('s', 9)


def test_another_filter_keeps_the_shown_one_where_it_can() -> None:
    rejects = [reject(3), reject(2), reject(1)]
    shown = begun(*rejects)
    shown.choose(('s', 2))
    shown.choose(('s', 77))
    shown.begin(rejects, ReviewFilter(reason='NOT_ALIGNED'))
    assert (numbers(shown), shown.current) == ([2], ('s', 2))
    shown.begin(rejects, ReviewFilter(reason='TIMEOUT'))
    assert (numbers(shown), shown.current) == ([3, 1], ('s', 3))
    shown.begin(rejects, ReviewFilter(recipe='valve'))
    assert (numbers(shown), shown.current) == ([], None)


@pytest.mark.parametrize(
    ('wanted', 'takes_new', 'takes_good'),
    [
        *((NEW, True, False), (ALL, True, True)),
        *(('good', False, True), ('defect', False, False)),
    ],
)
def test_the_filter_of_verdicts(wanted: str, takes_new: bool, takes_good: bool) -> None:
    wanted_ones = ReviewFilter(wanted)
    assert wanted_ones.takes(reject(1)) is takes_new
    assert wanted_ones.takes(reject(1, ReviewVerdict.GOOD)) is takes_good


def test_the_filter_of_recipes_knows_parts_without_one() -> None:
    without = reject(1)
    decision = replace(without.part.decision, recipe_name='')
    without = replace(without, part=replace(without.part, decision=decision))
    assert ReviewFilter(recipe='').takes(without)
    assert not ReviewFilter(recipe='').takes(reject(1))


def test_the_shift_before_ends_where_this_one_begins() -> None:
    shifts = ShiftTable(['06:00 Early', '14:00 Late', '22:00 Night'], 'UTC')
    this = time_span('shift', shifts, NOON_S)
    before = time_span('shift_before', shifts, NOON_S)
    assert this == (NOON_S - 6 * 3600, math.inf)
    assert before == (this[0] - 8 * 3600, this[0])
    assert time_span('hour', shifts, NOON_S) == (NOON_S - 3600, math.inf)
    assert time_span('always', shifts, NOON_S) == (-math.inf, math.inf)
