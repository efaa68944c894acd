# SPDX-License-Identifier: Apache-2.0
"""
What people said, counted: each kind of part apart, weighed by how it was sampled.

"""

from __future__ import annotations

import pytest

from anomaly_inspection.learning.binomial import exact_interval
from anomaly_inspection.reviewing.findings import findings
from anomaly_inspection.reviewing.stored_part import Kind, StoredPart, Truth

GOOD, BAD = Truth.GOOD, Truth.BAD


def parts(kind: Kind, truth: Truth | None, n: int, *, is_rejected: bool) -> list[StoredPart]:
    return [
        StoredPart((f'{kind} {truth}', number), kind, is_rejected, 'LIMIT_EXCEEDED', truth=truth)
        for number in range(n)
    ]


def rejects(truth: Truth | None, n: int) -> list[StoredPart]:
    return parts(Kind.REJECT, truth, n, is_rejected=True)


def passed(kind: Kind, truth: Truth | None, n: int) -> list[StoredPart]:
    return parts(kind, truth, n, is_rejected=False)


def test_an_empty_review_set_says_that_nothing_is_known() -> None:
    said = findings([])
    assert said.false_rejects is None
    assert said.escape_rate is None
    assert any('nothing is known of false rejects' in sentence for sentence in said.sentences())
    assert any('cannot be known' in sentence for sentence in said.sentences())


def test_rejects_alone_say_nothing_of_escapes() -> None:
    numbers = {Kind.REJECT: 40, Kind.NEAR: 10, Kind.PASSED: 950}
    said = findings([*rejects(GOOD, 6), *rejects(BAD, 14), *rejects(None, 20)], numbers)
    assert said.false_rejects is not None
    assert (said.false_rejects.count, said.false_rejects.total) == (6, 20)
    assert said.false_rejects.interval() == exact_interval(6, 20)
    rate = said.false_reject_rate
    assert rate is not None
    # 4 % of all parts were rejected, and 30 % of these were good.
    assert rate.value == pytest.approx(0.04 * 0.3)
    assert rate.low == pytest.approx(0.04 * exact_interval(6, 20)[0])
    assert said.escape_rate is None
    assert any('no passed part was reviewed' in sentence for sentence in said.sentences())


def test_escapes_weigh_each_kind_by_how_many_parts_it_stands_for() -> None:
    numbers = {Kind.REJECT: 100, Kind.NEAR: 100, Kind.SAMPLE: 10, Kind.PASSED: 790}
    reviewed = [
        *passed(Kind.NEAR, BAD, 10),
        *passed(Kind.NEAR, GOOD, 10),
        *passed(Kind.SAMPLE, GOOD, 10),
    ]
    rate = findings(reviewed, numbers).escape_rate
    assert rate is not None
    # Half of the 100 near a limit, none of the 800 others: not 10 of the 30 reviewed.
    assert rate.value == pytest.approx(0.05)
    near, sample = exact_interval(10, 20, 0.975), exact_interval(0, 10, 0.975)
    assert rate.low == pytest.approx(0.1 * near[0])
    assert rate.high == pytest.approx(0.1 * near[1] + 0.8 * sample[1])


def test_a_kind_that_nobody_reviewed_is_named() -> None:
    numbers = {Kind.NEAR: 100, Kind.PASSED: 800}
    said = findings(passed(Kind.NEAR, GOOD, 20), numbers)
    assert said.escape_rate is None
    assert said.unreviewed_passed == (Kind.SAMPLE,)
    assert any('of the sample was reviewed' in sentence for sentence in said.sentences())


def test_known_parts_are_counted_apart_from_production() -> None:
    known = [
        *parts(Kind.KNOWN, BAD, 9, is_rejected=True),
        *parts(Kind.KNOWN, BAD, 1, is_rejected=False),
        *parts(Kind.KNOWN, GOOD, 5, is_rejected=False),
    ]
    said = findings(known, {})
    assert said.false_rejects is None
    assert said.known_bad is not None
    assert said.known_good is not None
    assert (said.known_bad.count, said.known_bad.total) == (1, 10)
    assert (said.known_good.count, said.known_good.total) == (0, 5)
