# SPDX-License-Identifier: Apache-2.0
"""
How many parts passed and were rejected, since the bridge first ran.

"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, TYPE_CHECKING

from anomaly_inspection.plant.payloads import PAYLOAD_FORMAT, utc_text

if TYPE_CHECKING:
    from anomaly_inspection.plant.plant_decision import PlantDecision


@dataclass
class PartCounts:
    """
    Totals that never reset; the known parts of challenges are counted apart.

    Parameters
    ----------
    since_ns : int
        When counting began, nanoseconds since 1970.
    passed, rejected : int
        Production parts.
    by_reason : Counter
        Rejected production parts by the name of the reason.
    challenge_parts : int
        Known parts of challenges.

    """

    since_ns: int
    passed: int = 0
    rejected: int = 0
    by_reason: Counter[str] = field(default_factory=Counter)
    challenge_parts: int = 0

    def add(self, decision: PlantDecision) -> None:
        """
        Count one more part.

        """
        self.add_named(
            has_passed=decision.has_passed,
            reason=decision.reason,
            is_known=bool(decision.known_as),
        )

    def add_named(self, *, has_passed: bool, reason: str, is_known: bool) -> None:
        """
        Count one more part by what is known of it.

        """
        if is_known:
            self.challenge_parts += 1
        elif has_passed:
            self.passed += 1
        else:
            self.rejected += 1
            self.by_reason[reason] += 1

    def payload(self, moment_ns: int) -> dict[str, Any]:
        """
        Give the payload of the topic `counts`.

        """
        return {
            'format': PAYLOAD_FORMAT,
            'timestamp': utc_text(moment_ns),
            'since': utc_text(self.since_ns),
            'total': self.passed + self.rejected,
            'passed': self.passed,
            'rejected': self.rejected,
            'rejected_by_reason': dict(self.by_reason),
            'challenge_parts': self.challenge_parts,
        }

    def to_json(self) -> dict[str, Any]:
        """
        Give the counts as JSON can hold them.

        """
        return {
            'since_ns': self.since_ns,
            'passed': self.passed,
            'rejected': self.rejected,
            'by_reason': dict(self.by_reason),
            'challenge_parts': self.challenge_parts,
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> PartCounts:
        """
        Read what `to_json` gave; raises TypeError, ValueError or KeyError for anything else.

        """
        return cls(
            since_ns=int(content['since_ns']),
            passed=int(content['passed']),
            rejected=int(content['rejected']),
            by_reason=Counter({str(k): int(v) for k, v in dict(content['by_reason']).items()}),
            challenge_parts=int(content['challenge_parts']),
        )
