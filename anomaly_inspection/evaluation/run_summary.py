# SPDX-License-Identifier: Apache-2.0
"""
The result of a run of the cell: one record for each part, and the figures over all parts.

"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
import math
from typing import Any, TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from anomaly_inspection.capture.source import Truth

#: A defect at least this large and strong must never pass (demo and bench).
LARGE_DIAMETER_PX = 12.0
LARGE_CONTRAST_LEVELS = 30.0


@dataclass(frozen=True)
class PartRecord:
    """
    One part from the camera to the gate.

    Parameters
    ----------
    part_id : int
        0 = the part was announced, but its message never came.
    name : str
        Name of its frame.
    truth : Truth or None
        What is known about it beforehand.
    verdict, reason, comparison : str
        As decided; '' = no decision came.
    known_as : str
        'good' or 'bad': a known part of a challenge; '' = production.
    anomaly_score : float
        NaN = not measured.
    latency_s : float
        From exposure to decision, seconds; NaN = no decision came.
    has_passed_gate : bool or None
        What the gate did; None = no sort event came.
    gate_is_confirmed : bool
        Whether the gate confirmed it.
    sort_cause : str
        Why the gate did not do what was decided, such as 'too_close'; '' = it did.
    sort_detail : str
        What the sorter says about it.
    firing_error_s : float
        How late the gate acted, seconds; NaN = it did not have to act.

    """

    part_id: int = 0
    name: str = ''
    truth: Truth | None = None
    verdict: str = ''
    reason: str = ''
    comparison: str = ''
    known_as: str = ''
    anomaly_score: float = math.nan
    latency_s: float = math.nan
    has_passed_gate: bool | None = None
    gate_is_confirmed: bool = False
    sort_cause: str = ''
    sort_detail: str = ''
    firing_error_s: float = math.nan

    @property
    def is_lost(self) -> bool:
        """
        Whether the part has no decision or no sort event.

        """
        return not self.verdict or self.has_passed_gate is None

    @property
    def has_gate_followed(self) -> bool:
        """
        Whether the gate did what was decided.

        """
        return not self.is_lost and self.has_passed_gate == (self.verdict == 'PASS')

    @property
    def is_blocked(self) -> bool:
        """
        Whether it is a production part rejected because a challenge was due or had failed.

        """
        return not self.known_as and self.reason == 'CHALLENGE_DUE'

    @property
    def is_inspected_production(self) -> bool:
        """
        Whether the figures of production may count it: no part of a challenge, and not blocked.

        """
        return not self.known_as and not self.is_blocked

    @property
    def true_class(self) -> str:
        """
        'good', the kind of defect, 'no_part', or 'unknown'.

        """
        if self.truth is None:
            return 'unknown'
        return self.truth.defect if self.truth.part_present else 'no_part'

    @property
    def is_escape(self) -> bool:
        """
        Whether a defective part passed the gate, in production.

        """
        is_defective = self.true_class not in ('good', 'no_part', 'unknown')
        return self.is_inspected_production and bool(self.has_passed_gate) and is_defective

    @property
    def is_large_escape(self) -> bool:
        """
        Whether it passed with a defect of at least 12 px and 30 gray levels.

        """
        return (
            self.is_escape
            and self.truth is not None
            and self.truth.diameter_px >= LARGE_DIAMETER_PX
            and self.truth.contrast_levels >= LARGE_CONTRAST_LEVELS
        )

    @property
    def is_false_reject(self) -> bool:
        """
        Whether a good part did not pass the gate, in production that was not blocked.

        """
        is_good = self.true_class == 'good'
        return self.is_inspected_production and is_good and not self.has_passed_gate


@dataclass(frozen=True)
class ConfusionRow:
    """
    How many parts of one true class passed and were rejected.

    """

    true_class: str
    parts: int
    passed: int
    rejected: int


def confusion(records: Sequence[PartRecord]) -> list[ConfusionRow]:
    """
    Count the parts passed and rejected in each true class: good first, no_part last.

    """
    classes = sorted(
        {record.true_class for record in records},
        key=lambda name: (name != 'good', name in ('no_part', 'unknown'), name),
    )
    rows = []
    for name in classes:
        members = [record for record in records if record.true_class == name]
        passed = sum(bool(record.has_passed_gate) for record in members)
        rows.append(ConfusionRow(name, len(members), passed, len(members) - passed))
    return rows


def percentile(values: Sequence[float], percent: float) -> float:
    """
    Give a percentile of the finite values; NaN when there are none.

    """
    finite = [value for value in values if math.isfinite(value)]
    return float(np.percentile(finite, percent)) if finite else math.nan


def summarise(records: Sequence[PartRecord], duration_s: float) -> dict[str, Any]:
    """
    Give the figures over all parts, ready for JSON.

    Parameters
    ----------
    records : sequence of PartRecord
        All parts.
    duration_s : float
        From the first part to the last sort event, seconds.

    Returns
    -------
    dict
        Counts, rates, latencies in milliseconds; rates are None when the truth is not known.
        Parts of a challenge and blocked parts count as parts, and the gate must follow their
        decisions too. Verdicts, rates and the confusion leave them out.

    """
    inspected = [record for record in records if record.is_inspected_production]
    good = [record for record in inspected if record.true_class == 'good']
    defective = [r for r in inspected if r.true_class not in ('good', 'no_part', 'unknown')]
    latencies_ms = [1e3 * record.latency_s for record in records]
    firing_ms = [1e3 * abs(record.firing_error_s) for record in records]
    return {
        'parts': len(records),
        'challenge_parts': sum(bool(record.known_as) for record in records),
        'blocked': sum(record.is_blocked for record in records),
        'passed': sum(bool(record.has_passed_gate) for record in inspected),
        'rejected': sum(record.has_passed_gate is False for record in inspected),
        'lost': sum(record.is_lost for record in records),
        'gate_not_followed': sum(
            not record.is_lost and not record.has_gate_followed for record in records
        ),
        'gate_causes': dict(
            Counter(
                record.sort_cause or 'unknown'
                for record in records
                if not record.is_lost and not record.has_gate_followed
            )
        ),
        'gate_not_confirmed': sum(
            record.has_passed_gate is not None and not record.gate_is_confirmed
            for record in records
        ),
        'n_good': len(good),
        'n_defect': len(defective),
        'n_no_part': sum(record.true_class == 'no_part' for record in inspected),
        'false_rejects': sum(record.is_false_reject for record in records),
        'escapes': sum(record.is_escape for record in records),
        'large_escapes': sum(record.is_large_escape for record in records),
        'false_reject_rate': (
            sum(record.is_false_reject for record in records) / len(good) if good else None
        ),
        'recall': (
            1 - sum(record.is_escape for record in records) / len(defective) if defective else None
        ),
        'confusion': [vars(row) for row in confusion(inspected)],
        'duration_s': duration_s,
        'parts_per_second': len(records) / duration_s if duration_s > 0 else None,
        'latency_ms': {'p50': percentile(latencies_ms, 50), 'p99': percentile(latencies_ms, 99)},
        'firing_error_ms': {'p50': percentile(firing_ms, 50), 'p99': percentile(firing_ms, 99)},
    }
