# SPDX-License-Identifier: Apache-2.0
"""
The limits of a recipe as the decider judges by them.

"""

from __future__ import annotations

from typing import TYPE_CHECKING

from anomaly_inspection.deciding.limits import Limit, LimitTable

if TYPE_CHECKING:
    from anomaly_inspection.recipes.recipe import Recipe


def limit_table(recipe: Recipe) -> LimitTable:
    """
    Give the limits of all judged measures of a recipe, in the order of its scorers and measures.

    """
    return LimitTable(
        tuple(
            Limit(
                scorer=scorer_name,
                measure=spec.name,
                value=scorer.limits[spec.name].limit,
                bad_side=spec.bad_side,
                typical=scorer.limits[spec.name].typical,
                unit=spec.unit,
                minimum=spec.minimum,
                maximum=spec.maximum,
                tells_class=spec.class_range is not None,
            )
            for scorer_name, scorer in recipe.scorers.items()
            for spec in recipe.measures(scorer_name)
            if spec.name not in scorer.not_judged
        )
    )
