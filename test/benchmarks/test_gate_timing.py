# SPDX-License-Identifier: Apache-2.0
"""
Faults of scorer, cable and server, end to end: a sorter in a process of its own, real gates.

The short runs of benchmarks/gate_timing.py; the long ones, with figures, are there.

"""

from __future__ import annotations

import math
from typing import Any

import pytest

pytest.importorskip('anomaly_inspection.msg', reason='needs ROS 2 and the built messages')

from benchmarks.gate_timing import CUT, KILLED, run, STALLED
from benchmarks.gate_timing_belt import belt, BeltPart, TRAVEL_S, WINDOW_S
from benchmarks.gate_timing_result import check, Observed, openings

pytestmark = pytest.mark.ros


@pytest.mark.parametrize(
    ('gate', 'fault'), [('simulated', STALLED), ('serial', CUT), ('modbus', KILLED)]
)
def test_no_part_passes_without_a_fresh_pass_and_none_is_lost(
    ros_context: Any, gate: str, fault: str
) -> None:
    for _ in range(3):
        observed = run(ros_context, gate, 600, 90, fault=fault)
        if observed.wrong == 0 or observed.belt_late_s < WINDOW_S:
            break
    else:
        pytest.skip(
            f'this machine stood still for {observed.belt_late_s:.3f} s: no window is so long'
        )
    assert (observed.wrong, observed.without_event, observed.with_two_events) == (0, 0, 0)
    assert sum(observed.outcomes.values()) == 90
    if fault == STALLED:
        late = [words for words in observed.outcomes if 'no_decision' in words or 'late' in words]
        assert late
    else:
        assert observed.stop_reasons
        assert observed.runs_again, 'recovery by reset, without a restart'


def test_what_the_gate_did_is_compared_with_what_was_to_be_done() -> None:
    parts = [
        BeltPart(0, 0.0, True, 0.1),
        BeltPart(1, 1.0, False, 1.1),
        BeltPart(2, 2.0, True, 9.0),
    ]
    half_s = WINDOW_S / 2
    right = (TRAVEL_S - half_s + 0.001, TRAVEL_S + half_s)
    for spans, wrong, missed in (
        ([right], 0, 0),
        ([], 0, 1),
        ([right, (1.0 + TRAVEL_S, 1.01 + TRAVEL_S)], 1, 0),
        ([right, (2.0 + TRAVEL_S, math.inf)], 1, 0),
        ([right, (5.0, 5.1)], 1, 0),
        ([(0.0, 0.1)], 1, 1),
    ):
        observed = Observed('simulated', '', 60, len(parts))
        check(observed, parts, spans)
        assert (observed.wrong, observed.missed) == (wrong, missed), spans
    assert openings([(1.0, True), (1.1, True), (1.2, False), (3.0, True)]) == [
        (1.0, 1.2),
        (3.0, math.inf),
    ]


def test_the_belt_is_the_same_for_the_same_seed_and_a_stall_delays_verdicts() -> None:
    assert belt(50, 600, stalls=False, seed=3) == belt(50, 600, stalls=False, seed=3)
    stalled = belt(50, 600, stalls=True, seed=3)
    assert any(part.passes and not part.has_fresh_pass for part in stalled)
