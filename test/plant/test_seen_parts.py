# SPDX-License-Identifier: Apache-2.0
"""
Which parts were taken already.

"""

from __future__ import annotations

from itertools import pairwise
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly_inspection.plant.seen_parts import SeenParts


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from('ab'), st.integers(1, 30)), max_size=60))
def test_exactly_the_parts_that_were_added_are_remembered(parts: list[tuple[str, int]]) -> None:
    seen, wanted = SeenParts(), set()
    for part in parts:
        assert (part in seen) == (part in wanted)
        seen.add(*part)
        wanted.add(part)
    again = SeenParts.from_json(json.loads(json.dumps(seen.to_json())))
    for session in 'ab':
        for number in range(32):
            assert ((session, number) in seen) == ((session, number) in wanted)
            assert ((session, number) in again) == ((session, number) in wanted)
    for ranges in seen.to_json().values():
        assert all(before[1] + 1 < after[0] for before, after in pairwise(ranges))


def test_only_the_last_sessions_are_remembered() -> None:
    seen = SeenParts()
    for number in range(25):
        seen.add(f'session {number}', 1)
    assert ('session 0', 1) not in seen
    assert ('session 24', 1) in seen
