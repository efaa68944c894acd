# SPDX-License-Identifier: Apache-2.0
"""
The limits of a recipe as the decider judges by them.

"""

from __future__ import annotations

from typing import TYPE_CHECKING

from anomaly_inspection.deciding.limits import LimitTable
from anomaly_inspection.recipes.recipe import checked_limit

if TYPE_CHECKING:
    from anomaly_inspection.recipes.recipe import Recipe


def limit_table(recipe: Recipe) -> LimitTable:
    """
    Give the limits of all judged measures of a recipe, in the order of its scorers and measures.

    """
    return LimitTable(
        tuple(
            checked_limit(scorer_name, spec, scorer.limits[spec.name])
            for scorer_name, scorer in recipe.scorers.items()
            for spec in recipe.measures(scorer_name)
            if spec.name not in scorer.not_judged
        )
    )
