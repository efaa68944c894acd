# SPDX-License-Identifier: Apache-2.0
"""
The result of a run of the cell: one record for each part, and the figures over all parts.

"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
import math
from typing import Any, TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from anomaly_inspection.capture.source import Truth

#: A defect at least this large and strong must never pass (demo and bench).
LARGE_DIAMETER_PX = 12.0
LARGE_CONTRAST_LEVELS = 30.0
#: Parts whose times count in the percentiles.
TIMES_KEPT = 100_000


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


def percentile(values: Sequence[float], percent: float) -> float:
    """
    Give a percentile of the finite values; NaN when there are none.

    """
    finite = [value for value in values if math.isfinite(value)]
    return float(np.percentile(finite, percent)) if finite else math.nan


class RunFigures:
    """
    Count parts as they are finished; keeps no part, so a run may go on for weeks.

    """

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._causes: Counter[str] = Counter()
        # True class -> how many passed, and how many were rejected.
        self._passed: Counter[str] = Counter()
        self._rejected: Counter[str] = Counter()
        self._latencies_ms: deque[float] = deque(maxlen=TIMES_KEPT)
        self._firing_ms: deque[float] = deque(maxlen=TIMES_KEPT)

    @property
    def parts(self) -> int:
        """
        Give how many parts were counted.

        """
        return self._counts['parts']

    def take(self, record: PartRecord) -> None:
        """
        Count a part.

        """
        misses_gate = not record.is_lost and not record.has_gate_followed
        is_moved = record.has_passed_gate is not None
        for name, is_so in (
            ('parts', True),
            ('challenge_parts', bool(record.known_as)),
            ('blocked', record.is_blocked),
            ('lost', record.is_lost),
            ('gate_not_followed', misses_gate),
            ('gate_not_confirmed', is_moved and not record.gate_is_confirmed),
            ('false_rejects', record.is_false_reject),
            ('escapes', record.is_escape),
            ('large_escapes', record.is_large_escape),
        ):
            self._counts[name] += is_so
        if misses_gate:
            self._causes[record.sort_cause or 'unknown'] += 1
        if record.is_inspected_production:
            self._counts['passed'] += record.has_passed_gate is True
            self._counts['rejected'] += record.has_passed_gate is False
            self._passed[record.true_class] += bool(record.has_passed_gate)
            self._rejected[record.true_class] += not record.has_passed_gate
        self._latencies_ms.append(1e3 * record.latency_s)
        self._firing_ms.append(1e3 * abs(record.firing_error_s))

    def summary(self, duration_s: float) -> dict[str, Any]:
        """
        Give the figures, ready for JSON.

        Parameters
        ----------
        duration_s : float
            From the first part to the last sort event, seconds.

        Returns
        -------
        dict
            Counts, rates, latencies in milliseconds; rates are None when the truth is not known.
            Parts of a challenge and blocked parts count as parts, and the gate must follow their
            decisions too. Verdicts, rates and the confusion leave them out. Times are those of the
            last `TIMES_KEPT` parts, all else of all parts.

        """
        counts = self._counts
        rows = self._confusion()
        good = sum(row.parts for row in rows if row.true_class == 'good')
        no_part = sum(row.parts for row in rows if row.true_class == 'no_part')
        unknown = sum(row.parts for row in rows if row.true_class == 'unknown')
        defective = sum(row.parts for row in rows) - good - no_part - unknown
        latencies, firing = list(self._latencies_ms), list(self._firing_ms)
        names = ('parts', 'challenge_parts', 'blocked', 'passed', 'rejected', 'lost')
        return {
            **{name: counts[name] for name in names},
            'gate_not_followed': counts['gate_not_followed'],
            'gate_causes': dict(self._causes),
            'gate_not_confirmed': counts['gate_not_confirmed'],
            'n_good': good,
            'n_defect': defective,
            'n_no_part': no_part,
            **{name: counts[name] for name in ('false_rejects', 'escapes', 'large_escapes')},
            'false_reject_rate': counts['false_rejects'] / good if good else None,
            'recall': 1 - counts['escapes'] / defective if defective else None,
            'confusion': [vars(row) for row in rows],
            'duration_s': duration_s,
            'parts_per_second': counts['parts'] / duration_s if duration_s > 0 else None,
            'latency_ms': {'p50': percentile(latencies, 50), 'p99': percentile(latencies, 99)},
            'firing_error_ms': {'p50': percentile(firing, 50), 'p99': percentile(firing, 99)},
        }

    def _confusion(self) -> list[ConfusionRow]:
        """
        Give how many parts of each true class passed: good first, no_part last.

        """
        classes = sorted(
            self._passed,
            key=lambda name: (name != 'good', name in ('no_part', 'unknown'), name),
        )
        return [
            ConfusionRow(
                *(name, self._passed[name] + self._rejected[name]),
                *(self._passed[name], self._rejected[name]),
            )
            for name in classes
        ]


def summarise(records: Iterable[PartRecord], duration_s: float) -> dict[str, Any]:
    """
    Give the figures over parts; see `RunFigures.summary`.

    """
    figures = RunFigures()
    for record in records:
        figures.take(record)
    return figures.summary(duration_s)
