# SPDX-License-Identifier: Apache-2.0
"""
How well one order of methods predicts another, and which kinds of defect predict it best.

"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
import functools
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import rankdata

from anomaly_inspection.learning.separation import auroc

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

# A kind is left out when the other sets agree better without it by this much. Less is noise.
CLEARLY_BETTER = 0.005


@dataclass(frozen=True, eq=False)
class DefectScores:
    """
    Anomaly scores of a set by several methods, one row each.

    Parameters
    ----------
    name : str
        Of the set.
    methods : tuple of str
        Names of the methods.
    good, damaged : ndarray of float64, (methods, images)
        Good training images, as they are and with synthetic defects.
    test_good, test_defects : ndarray of float64, (methods, images)
        Real test images.
    kinds : ndarray of str, (images,)
        Kind of each synthetic defect.
    strengths : ndarray of float64, (images,)
        Contrast times diameter of each, gray levels times pixels.

    """

    name: str
    methods: tuple[str, ...]
    good: NDArray[np.float64]
    damaged: NDArray[np.float64]
    test_good: NDArray[np.float64]
    test_defects: NDArray[np.float64]
    kinds: NDArray[np.str_]
    strengths: NDArray[np.float64]

    @functools.cached_property
    def real_aurocs(self) -> NDArray[np.float64]:
        """
        The AUROC of each method on the real defects.

        """
        return _aurocs(self.test_good, self.test_defects)

    @functools.cached_property
    def aurocs_by_kind(self) -> dict[str, NDArray[np.float64]]:
        """
        The AUROC of each method on each kind of synthetic defect that there is.

        """
        return {
            str(kind): _aurocs(self.good, self.damaged[:, self.kinds == kind])
            for kind in np.unique(self.kinds)
        }

    def aurocs(self, kinds: Sequence[str]) -> NDArray[np.float64]:
        """
        Give the AUROC of each method on synthetic defects, the mean over kinds.

        A kind that the part has no place for does not count; 0.5 when none is left.

        """
        by_kind = self.aurocs_by_kind
        found = [by_kind[kind] for kind in kinds if kind in by_kind]
        return np.mean(found, axis=0) if found else np.full(len(self.methods), 0.5)

    def of_strength(self, low: float, high: float) -> DefectScores:
        """
        Give the same with only the synthetic defects from one strength to another.

        """
        chosen = (self.strengths >= low) & (self.strengths < high)
        return replace(
            self,
            damaged=self.damaged[:, chosen],
            kinds=self.kinds[chosen],
            strengths=self.strengths[chosen],
        )

    def write(self, path: Path) -> None:
        """
        Write to a file.

        """
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(
            path, **{each.name: np.asarray(getattr(self, each.name)) for each in fields(self)}
        )

    @classmethod
    def read(cls, path: Path) -> DefectScores:
        """
        Read from a file.

        """
        with np.load(path) as arrays:
            values = {key: arrays[key] for key in arrays.files}
        methods = tuple(str(method) for method in values.pop('methods'))
        return cls(name=str(values.pop('name')), methods=methods, **values)


def _aurocs(good: NDArray[np.float64], bad: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([auroc(one, other) for one, other in zip(good, bad, strict=True)])


@dataclass(frozen=True)
class Agreement:
    """
    How well the order by synthetic defects agrees with the order by real ones.

    Parameters
    ----------
    concordance : float
        Share of the pairs of methods in the right order, each counted by its difference in real
        AUROC, 0..1; pairs that the synthetic defects cannot tell apart count half.
    spearman : float
        Rank correlation, -1..1; 0 when one of the orders is all ties.
    regret : float
        AUROC of the best method on real defects minus that of the method chosen, 0..1.
    best_synthetic : float
        Highest AUROC on synthetic defects.

    """

    concordance: float
    spearman: float
    regret: float
    best_synthetic: float


def agreement(scores: DefectScores, kinds: Sequence[str]) -> Agreement:
    """
    Compare the orders of the methods by some kinds of synthetic defect and by real defects.

    """
    return compared(scores.aurocs(kinds), scores.real_aurocs)


def compared(synthetic: NDArray[np.float64], real: NDArray[np.float64]) -> Agreement:
    """
    Compare two orders of methods.

    Parameters
    ----------
    synthetic, real : ndarray of float64, (methods,)
        AUROC of each method.

    """
    one, other = np.triu_indices(real.size, 1)
    weights = np.abs(real[one] - real[other])
    agree = np.sign(synthetic[one] - synthetic[other]) * np.sign(real[one] - real[other])
    total = float(weights.sum())
    chosen = np.isclose(synthetic, synthetic.max())
    return Agreement(
        concordance=float((weights * (agree + 1.0) / 2.0).sum()) / total if total else 1.0,
        spearman=_correlation(rankdata(synthetic), rankdata(real)),
        # Ties are broken by chance.
        regret=float(real.max() - real[chosen].mean()),
        best_synthetic=float(synthetic.max()),
    )


def _correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    if not np.ptp(one) or not np.ptp(other):
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])


def chosen_by_others(sets: Sequence[DefectScores], kinds: Sequence[str]) -> tuple[str, ...]:
    """
    Choose kinds by how well they order the methods on some sets.

    From all kinds, the one whose loss helps most is left out, again and again, as long as the mean
    concordance over the sets rises clearly.

    """
    chosen = tuple(kinds)
    best = _mean_concordance(sets, chosen)
    while len(chosen) > 1:
        trials = {
            kind: _mean_concordance(sets, tuple(one for one in chosen if one != kind))
            for kind in chosen
        }
        worst = max(trials, key=lambda kind: trials[kind])
        if trials[worst] <= best + CLEARLY_BETTER:
            break
        chosen = tuple(one for one in chosen if one != worst)
        best = trials[worst]
    return chosen


def _mean_concordance(sets: Sequence[DefectScores], kinds: Sequence[str]) -> float:
    return float(np.mean([agreement(one, kinds).concordance for one in sets])) if sets else 0.0


def order_by(found: Agreement) -> tuple[float, float, float]:
    """
    Give what a table shows of an agreement: concordance, Spearman, regret.

    """
    return found.concordance, found.spearman, found.regret
