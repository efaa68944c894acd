# SPDX-License-Identifier: Apache-2.0
"""
How many parts of a shift passed and were rejected.

"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
import math
from typing import Any, TYPE_CHECKING

from anomaly_inspection.panel.cell.shifts import Shift

if TYPE_CHECKING:
    from anomaly_inspection.panel.cell.part_views import DecisionView


@dataclass(frozen=True)
class Counts:
    """
    Production parts that were counted; known parts of a challenge are not.

    Parameters
    ----------
    passed, rejected : int
        By their verdicts.
    by_reason : dict of str to int
        Rejects by the name of their reason.
    shift : Shift
        Which shift they belong to.

    """

    passed: int = 0
    rejected: int = 0
    by_reason: dict[str, int] = field(default_factory=dict)
    shift: Shift = field(default_factory=lambda: Shift('', 0.0))

    @property
    def total(self) -> int:
        """
        All parts.

        """
        return self.passed + self.rejected

    @property
    def good_share(self) -> float:
        """
        Passed parts over all parts, 0..1; NaN = no part yet.

        """
        return self.passed / self.total if self.total else math.nan

    def with_decision(self, decision: DecisionView) -> Counts:
        """
        Count one more part.

        """
        if decision.known_as:
            return self
        if decision.has_passed:
            return replace(self, passed=self.passed + 1)
        of_reason = self.by_reason.get(decision.reason, 0) + 1
        by_reason = {**self.by_reason, decision.reason: of_reason}
        return replace(self, rejected=self.rejected + 1, by_reason=by_reason)


def counts_to_json(counts: tuple[Counts, ...]) -> list[dict[str, object]]:
    """
    Give the counts as JSON can hold them.

    """
    return [asdict(each) for each in counts]


def counts_from_json(content: list[dict[str, Any]]) -> tuple[Counts, ...]:
    """
    Read what `counts_to_json` gave; raises TypeError, ValueError or KeyError for anything else.

    """
    return tuple(
        Counts(
            passed=int(each['passed']),
            rejected=int(each['rejected']),
            by_reason={str(name): int(count) for name, count in each['by_reason'].items()},
            shift=Shift(str(each['shift']['name']), float(each['shift']['began_s'])),
        )
        for each in content
    )
