# SPDX-License-Identifier: Apache-2.0
"""
The tray of an arm against the truth.

"""

from __future__ import annotations

from anomaly_inspection.capture.source import Truth
from anomaly_inspection.evaluation.run_summary import PartRecord
from anomaly_inspection.evaluation.tray_figures import tray_figures, TrayRow


def part(number: int, defect: str = 'good', **fields: object) -> PartRecord:
    verdict = 'PASS' if defect == 'good' else 'REJECT'
    given = {'verdict': verdict, 'has_passed_gate': verdict == 'PASS', **fields}
    truth = Truth(part_present=True, defect=defect)
    return PartRecord(part_id=number, truth=truth, **given)  # type: ignore[arg-type]


def test_the_tray_is_counted_by_what_the_parts_really_are() -> None:
    records = {
        1: part(1),
        2: part(2, has_passed_gate=False, sort_cause='not_picked'),
        3: part(3, verdict='REJECT', has_passed_gate=False),
        4: part(4, 'scratch'),
        5: part(5, 'scratch'),
        6: part(6, has_passed_gate=False, sort_cause='gate_failed'),
    }
    figures = tray_figures(records, tray=[1, 5], dropped=[6])
    assert figures.rows == [TrayRow('good', 4, 1, 2, 1), TrayRow('scratch', 2, 1, 1, 0)]
    assert figures.left_good == {'not_picked': 1, 'rejected': 1, 'gate_failed': 1}
    assert figures.bad_in_tray == 1
    # Part 5 lies in the tray, and its record says that it was left.
    assert figures.said_otherwise == 1


def test_a_part_in_the_tray_that_nobody_saw_counts_as_bad() -> None:
    figures = tray_figures({1: part(1)}, tray=[1, 7], dropped=[])
    assert figures.bad_in_tray == 1
    assert figures.rows[-1] == TrayRow('unknown', 1, 1, 0, 0)
