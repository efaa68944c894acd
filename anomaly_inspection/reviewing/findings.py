# SPDX-License-Identifier: Apache-2.0
"""
Measured false rejects and escapes, with intervals, from what people said about stored parts.

Nobody reviews all parts. All rejects are kept; of passed parts only those near a limit and a
sample. So each kind is counted apart, and a rate over all parts weighs each kind by how many parts
of it there were. What the reviewed parts cannot tell is said.

"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from anomaly_inspection.learning.binomial import exact_interval
from anomaly_inspection.reviewing.stored_part import Kind, Truth

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from anomaly_inspection.reviewing.stored_part import StoredPart

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Share:
    """
    A counted share, and where the true one lies with 95 % confidence (Clopper-Pearson).

    Parameters
    ----------
    count, total : int
        0 <= count <= total, total at least 1.

    """

    count: int
    total: int

    @property
    def value(self) -> float:
        """
        The counted share, 0..1.

        """
        return self.count / self.total

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """
        Give the interval of the true share, 0..1.

        """
        return exact_interval(self.count, self.total, confidence)


@dataclass(frozen=True)
class Estimate:
    """
    An estimated share of all parts with its interval, 0..1.

    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Findings:
    """
    What the verdicts say.

    Parameters
    ----------
    false_rejects : Share or None
        Good parts among the reviewed rejects; None = no reject was reviewed.
    escapes : mapping of Kind to Share
        Bad parts among the reviewed passed parts, by why they were kept.
    known_good, known_bad : Share or None
        Parts known beforehand that came out wrong: good ones rejected, bad ones passed.
    numbers : mapping of Kind to int, or None
        How many production parts of each kind there were in all; None = not known.

    """

    false_rejects: Share | None
    escapes: Mapping[Kind, Share]
    known_good: Share | None
    known_bad: Share | None
    numbers: Mapping[Kind, int] | None = None

    @property
    def false_reject_rate(self) -> Estimate | None:
        """
        Good parts that were rejected, as a share of all parts; None = cannot be known.

        """
        if self.numbers is None or self.false_rejects is None or not self._n_parts:
            return None
        weight = self.numbers.get(Kind.REJECT, 0) / self._n_parts
        low, high = self.false_rejects.interval()
        return Estimate(weight * self.false_rejects.value, weight * low, weight * high)

    @property
    def escape_rate(self) -> Estimate | None:
        """
        Bad parts that passed, as a share of all parts; None = cannot be known.

        """
        if self.numbers is None or not self._n_parts or self.unreviewed_passed:
            return None
        strata = [
            (self.numbers.get(Kind.NEAR, 0), self.escapes.get(Kind.NEAR)),
            (self._n_others, self.escapes.get(Kind.SAMPLE)),
        ]
        used = [(n / self._n_parts, share) for n, share in strata if n and share]
        if not used:
            return None
        # Each interval takes its part of the error, so that all hold together.
        confidence = 1.0 - (1.0 - CONFIDENCE) / len(used)
        ends = [(weight, share, share.interval(confidence)) for weight, share in used]
        return Estimate(
            sum(weight * share.value for weight, share, _ in ends),
            sum(weight * low for weight, _, (low, _) in ends),
            sum(weight * high for weight, _, (_, high) in ends),
        )

    @property
    def unreviewed_passed(self) -> tuple[Kind, ...]:
        """
        Kinds of passed parts of which there are some, but nobody has reviewed any.

        """
        if self.numbers is None:
            return ()
        there = {Kind.NEAR: self.numbers.get(Kind.NEAR, 0), Kind.SAMPLE: self._n_others}
        return tuple(kind for kind, n in there.items() if n and kind not in self.escapes)

    @property
    def _n_others(self) -> int:
        assert self.numbers is not None
        return self.numbers.get(Kind.SAMPLE, 0) + self.numbers.get(Kind.PASSED, 0)

    @property
    def _n_parts(self) -> int:
        assert self.numbers is not None
        return sum(n for kind, n in self.numbers.items() if kind is not Kind.KNOWN)

    def sentences(self) -> tuple[str, ...]:
        """
        Say what is known and what is not, one sentence each.

        """
        return tuple(self._of_rejects() + self._of_passed() + self._of_known())

    def _of_rejects(self) -> list[str]:
        share = self.false_rejects
        if share is None:
            return ['No reject was reviewed, so nothing is known of false rejects.']
        said = [f'Of {share.total} reviewed rejects {share.count} were good: {_words(share)}.']
        rate = self.false_reject_rate
        if rate is not None:
            said.append(f'False rejects are {_estimate(rate)} of all parts.')
        said.append(
            'This holds if the reviewed rejects were picked at random, and not the odd ones alone.'
        )
        return said

    def _of_passed(self) -> list[str]:
        said = [
            f'Of {share.total} reviewed passed parts '
            f'{"near a limit" if kind is Kind.NEAR else "of the sample"} {share.count} were bad: '
            f'{_words(share)}.'
            for kind, share in self.escapes.items()
        ]
        rate = self.escape_rate
        if rate is not None:
            said.append(f'Escapes are {_estimate(rate)} of all parts.')
        elif not self.escapes:
            said.append(
                'Rejects say nothing of escapes: no passed part was reviewed, so the share of bad '
                'parts that pass cannot be known from this.'
            )
        elif self.unreviewed_passed:
            kinds = ' and '.join(
                'near a limit' if kind is Kind.NEAR else 'of the sample'
                for kind in self.unreviewed_passed
            )
            said.append(
                f'The share of escapes cannot be known: no passed part {kinds} was reviewed.'
            )
        else:
            said.append(
                'How many parts of each kind there were is not known here; give the folder of the '
                'records to get rates of all parts.'
            )
        return said

    def _of_known(self) -> list[str]:
        said = []
        if self.known_bad is not None:
            share = self.known_bad
            said.append(f'Of {share.total} known bad parts {share.count} passed: {_words(share)}.')
        if self.known_good is not None:
            share = self.known_good
            said.append(
                f'Of {share.total} known good parts {share.count} were rejected: {_words(share)}.'
            )
        return said


def findings(parts: Iterable[StoredPart], numbers: Mapping[Kind, int] | None = None) -> Findings:
    """
    Count what people said about parts.

    Parameters
    ----------
    parts : iterable of StoredPart
        Those that nobody knows the truth of do not count.
    numbers : mapping of Kind to int, optional
        How many production parts of each kind there were in all.

    """
    counts = Counter(
        (part.kind, part.is_rejected, part.truth) for part in parts if part.truth is not None
    )

    def share(kind: Kind, is_rejected: bool, wrong: Truth) -> Share | None:
        total = sum(counts[kind, is_rejected, truth] for truth in Truth)
        return Share(counts[kind, is_rejected, wrong], total) if total else None

    def share_of_known(truth: Truth, wrongly_rejected: bool) -> Share | None:
        total = sum(counts[Kind.KNOWN, is_rejected, truth] for is_rejected in (False, True))
        return Share(counts[Kind.KNOWN, wrongly_rejected, truth], total) if total else None

    escapes = {kind: share(kind, False, Truth.BAD) for kind in (Kind.NEAR, Kind.SAMPLE)}
    return Findings(
        false_rejects=share(Kind.REJECT, True, Truth.GOOD),
        escapes={kind: found for kind, found in escapes.items() if found is not None},
        known_good=share_of_known(Truth.GOOD, True),
        known_bad=share_of_known(Truth.BAD, False),
        numbers=numbers,
    )


def percent(share: float) -> str:
    """
    Write a share as people read it.

    """
    return f'{100 * share:.3g} %' if share < 0.999_95 else '100 %'


def _words(share: Share) -> str:
    low, high = share.interval()
    return f'{percent(share.value)} ({percent(low)} to {percent(high)})'


def _estimate(estimate: Estimate) -> str:
    return f'{percent(estimate.value)} ({percent(estimate.low)} to {percent(estimate.high)})'
