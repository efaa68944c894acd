# SPDX-License-Identifier: Apache-2.0
"""
The line that `run` prints for each part: what an arm leaves is no fault, what a gate does is.

"""

import threading

import pytest

from anomaly_inspection.capture.source import Truth
from anomaly_inspection.cli.run_output import PartPrinter
from anomaly_inspection.evaluation.run_summary import PartRecord

LEFT = {
    'part_id': 7,
    'truth': Truth(),
    'verdict': 'PASS',
    'reason': 'WITHIN_LIMITS',
    'has_passed_gate': False,
    'gate_is_confirmed': True,
    'sort_cause': 'not_picked',
    'sort_detail': 'the arm was busy',
}


@pytest.mark.parametrize(
    ('by_arm', 'changes', 'said', 'not_said'),
    [
        (True, {}, ['arm left', 'the arm was busy'], ['FALSE REJECT', 'ARM:', 'gate']),
        (True, {'sort_cause': 'line_stopped'}, ['ARM: the arm was busy', 'FALSE REJECT'], []),
        (True, {'gate_is_confirmed': False}, ['ARM: the arm was busy', 'FALSE REJECT'], []),
        (True, {'verdict': 'REJECT', 'sort_cause': ''}, ['arm left', 'FALSE REJECT'], ['ARM:']),
        (True, {'has_passed_gate': True, 'sort_cause': ''}, ['arm picked'], ['ARM:']),
        (False, {}, ['gate sorted out', 'GATE: the arm was busy', 'FALSE REJECT'], []),
        (False, {'has_passed_gate': True, 'sort_cause': ''}, ['gate passed'], ['GATE:']),
    ],
)
def test_what_became_of_a_part(capsys, by_arm, changes, said, not_said):
    PartPrinter(threading.Event(), by_arm=by_arm).take(PartRecord(**{**LEFT, **changes}))
    line = capsys.readouterr().out
    assert [words for words in said if words not in line] == []
    assert [words for words in not_said if words in line] == []
