# SPDX-License-Identifier: Apache-2.0
"""
The whole review of a recipe: what the verdicts say, which limits would have been right, and what
they would do to every stored part.

"""

from __future__ import annotations

from collections import Counter
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

from anomaly_inspection.evaluation.recipe_judge import combination_of
from anomaly_inspection.recipes.limit_table import limit_table
from anomaly_inspection.reviewing.advice import advise
from anomaly_inspection.reviewing.findings import findings
from anomaly_inspection.reviewing.replay import Replay
from anomaly_inspection.reviewing.stored_part import Truth

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from anomaly_inspection.deciding.frame_judge import Combination
    from anomaly_inspection.deciding.limits import LimitTable
    from anomaly_inspection.recipes.recipe import Recipe
    from anomaly_inspection.reviewing.advice import Advice
    from anomaly_inspection.reviewing.findings import Findings
    from anomaly_inspection.reviewing.replay import Flip
    from anomaly_inspection.reviewing.stored_part import Kind, StoredPart


@dataclass(frozen=True)
class FlipCounts:
    """
    How many verdicts would turn round, by what the parts really were.

    Parameters
    ----------
    good_to_pass, bad_to_pass, unknown_to_pass : int
        Rejected parts that would pass.
    good_to_reject, bad_to_reject, unknown_to_reject : int
        Passed parts that would be rejected.

    """

    good_to_pass: int = 0
    bad_to_pass: int = 0
    unknown_to_pass: int = 0
    good_to_reject: int = 0
    bad_to_reject: int = 0
    unknown_to_reject: int = 0

    @property
    def total(self) -> int:
        """
        All of them.

        """
        return sum(astuple(self))


def count_flips(flips: Iterable[Flip]) -> FlipCounts:
    """
    Count flips by what the parts really were.

    """
    counts = Counter((flip.part.truth, flip.would_be_rejected) for flip in flips)
    return FlipCounts(
        *(counts[truth, False] for truth in (Truth.GOOD, Truth.BAD, None)),
        *(counts[truth, True] for truth in (Truth.GOOD, Truth.BAD, None)),
    )


@dataclass(frozen=True)
class Review:
    """
    What people said, and what follows from it.

    Parameters
    ----------
    findings : Findings
        Measured false rejects and escapes.
    advice : Advice
        The limits that would have been right.
    replay : Replay
        The stored parts with their measures.

    """

    findings: Findings
    advice: Advice
    replay: Replay

    @property
    def n_reviewed(self) -> int:
        """
        Parts that people have judged or that were known, and that limits can judge.

        """
        return self.advice.now.good + self.advice.now.bad


@dataclass(frozen=True, eq=False)
class ReviewBasis:
    """
    What a review needs of a recipe; small enough to be kept.

    Parameters
    ----------
    name : str
        Of the recipe.
    table : LimitTable
        Its limits.
    combination : Combination
        Whether one limit exceeded rejects, or only all.
    good : dict of str to ndarray of float64, (n,)
        Each measure of the held-out good parts, by 'scorer.measure'.

    """

    name: str
    table: LimitTable
    combination: Combination
    good: dict[str, NDArray[np.float64]]


def basis_of(recipe: Recipe) -> ReviewBasis:
    """
    Give what a review needs of a recipe.

    """
    good = {
        f'{scorer}.{measure}': values
        for scorer, part in recipe.scorers.items()
        for measure, values in part.good.items()
    }
    return ReviewBasis(recipe.name, limit_table(recipe), combination_of(recipe), good)


def review_of(
    basis: ReviewBasis,
    parts: Iterable[StoredPart],
    measured: Iterable[StoredPart],
    *,
    table: LimitTable | None = None,
    numbers: Mapping[Kind, int] | None = None,
) -> Review:
    """
    Review a recipe.

    Parameters
    ----------
    basis : ReviewBasis
        Of the recipe.
    parts : iterable of StoredPart
        As the cell has decided them, for the counts of false rejects and escapes.
    measured : iterable of StoredPart
        Those of them that can be judged, with the measures of this recipe.
    table : LimitTable, optional
        The limits that act now; those of the recipe by default.
    numbers : mapping of Kind to int, optional
        How many production parts of each kind there were in all.

    """
    replay = Replay(table or basis.table, basis.combination, measured)
    own = [part for part in parts if part.recipe == basis.name]
    return Review(findings(own, numbers), advise(replay, basis.good), replay)
