# SPDX-License-Identifier: Apache-2.0
"""
The benchmark of the review: figures on parts that nobody has reviewed.

"""

from __future__ import annotations

from anomaly_inspection.deciding.frame_judge import Combination
from anomaly_inspection.deciding.limits import Limit, LimitTable
from anomaly_inspection.reviewing.review import ReviewBasis
from anomaly_inspection.reviewing.stored_part import Kind, StoredPart, Truth
from anomaly_inspection.scoring.measure import BadSide
from benchmarks.review import after_clicks, CLICKS, table, WAYS

LIMIT = Limit('ssim', 'area', 10.0, BadSide.HIGH, 2.0, maximum=1000.0)


def part(number: int, area: float, truth: Truth, reason: str = 'LIMIT_EXCEEDED') -> StoredPart:
    is_rejected = area > LIMIT.value
    return StoredPart(
        ('lot', number),
        Kind.REJECT if is_rejected else Kind.PASSED,
        is_rejected,
        reason if is_rejected else 'WITHIN_LIMITS',
        {LIMIT.name: area},
        truth=truth,
    )


def test_figures_are_of_parts_that_nobody_reviewed() -> None:
    basis = ReviewBasis('pump', LimitTable((LIMIT,)), Combination.ANY, {})
    reviewed = [
        *(part(number, 11.0 + number / 100, Truth.GOOD) for number in range(160)),
        *(part(1000 + number, 30.0, Truth.BAD) for number in range(160)),
    ]
    unseen = [
        part(1, 11.2, Truth.GOOD),
        part(2, 20.0, Truth.GOOD),
        part(3, 11.3, Truth.BAD),
        part(4, 40.0, Truth.BAD),
        # Not aligned: no limit lets it pass.
        part(5, 11.0, Truth.GOOD, reason='NOT_ALIGNED'),
    ]
    rows = list(after_clicks(basis, reviewed, unseen, WAYS[0], seed=1))
    assert [row['clicks'] for row in rows] == list(CLICKS)
    before, last = rows[0], rows[-1]
    assert (before['false_rejects'], before['escapes'], before['moved']) == (3, 0, 0)
    assert (last['false_rejects'], last['escapes'], last['moved']) == (2, 1, 1)
    assert '2 of 3' in table([{'line': 'pump', 'reviewed': WAYS[0], **last}])
