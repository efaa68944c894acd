# SPDX-License-Identifier: Apache-2.0
"""
Figures of a run: parts of challenges, and those blocked by one, are no production.

"""

from __future__ import annotations

from dataclasses import replace

from anomaly_inspection.capture.source import Truth
from anomaly_inspection.evaluation import run_summary
from anomaly_inspection.evaluation.run_summary import PartRecord, RunFigures, summarise

GOOD = PartRecord(
    part_id=1,
    truth=Truth(part_present=True, defect='good'),
    verdict='PASS',
    reason='WITHIN_LIMITS',
    has_passed_gate=True,
    gate_is_confirmed=True,
)
DEFECTIVE = replace(
    GOOD,
    truth=Truth(part_present=True, defect='scratch'),
    verdict='REJECT',
    reason='LIMIT_EXCEEDED',
    has_passed_gate=False,
)
BLOCKED = replace(GOOD, verdict='REJECT', reason='CHALLENGE_DUE', has_passed_gate=False)
PRODUCTION = [GOOD, GOOD, DEFECTIVE]
ABOUT_ALL_PARTS = {
    *('parts', 'challenge_parts', 'blocked', 'lost', 'gate_not_followed', 'gate_not_confirmed'),
    'gate_causes',
    *('parts_per_second', 'latency_ms', 'firing_error_ms', 'duration_s'),
}


def figures(summary):
    return {name: value for name, value in summary.items() if name not in ABOUT_ALL_PARTS}


def test_parts_of_challenges_and_blocked_ones_change_no_figure_of_production():
    others = [
        replace(GOOD, known_as='good'),
        replace(GOOD, known_as='good', verdict='REJECT', has_passed_gate=False),
        replace(DEFECTIVE, known_as='bad', reason='CHALLENGE_PART'),
        BLOCKED,
        replace(BLOCKED, truth=DEFECTIVE.truth),
        replace(BLOCKED, known_as='good'),
    ]
    summary = summarise(PRODUCTION + others, 1.0)
    assert figures(summary) == figures(summarise(PRODUCTION, 1.0))
    assert (summary['parts'], summary['challenge_parts'], summary['blocked']) == (9, 4, 2)
    assert (summary['passed'], summary['rejected']) == (2, 1)
    assert (summary['false_reject_rate'], summary['recall']) == (0.0, 1.0)


def test_a_blocked_part_that_passed_the_gate_is_a_fault_all_the_same():
    summary = summarise([*PRODUCTION, replace(BLOCKED, has_passed_gate=True)], 1.0)
    assert summary['gate_not_followed'] == 1


def test_figures_of_a_run_that_goes_on_for_weeks_keep_no_part_and_stay_exact(monkeypatch):
    monkeypatch.setattr(run_summary, 'TIMES_KEPT', 10)
    figures_of_run = RunFigures()
    for number in range(300):
        record = DEFECTIVE if number % 3 == 0 else GOOD
        figures_of_run.take(replace(record, latency_s=1e-3 * number))
    summary = figures_of_run.summary(100.0)
    assert (summary['parts'], summary['passed'], summary['rejected']) == (300, 200, 100)
    assert (summary['n_good'], summary['n_defect'], summary['escapes']) == (200, 100, 0)
    assert [row['true_class'] for row in summary['confusion']] == ['good', 'scratch']
    assert summary['parts_per_second'] == 3.0
    # Of the last parts.
    assert summary['latency_ms']['p50'] == 294.5
    kept = [value for value in vars(figures_of_run).values() if len(value) > 20]
    assert kept == []
