# SPDX-License-Identifier: Apache-2.0
"""
What the decider takes from a recipe: the limits, and what is known of good parts.

"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from anomaly_inspection.deciding.explanation import KnownGood
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


def known_good(recipe: Recipe) -> KnownGood:
    """
    Give what a recipe knows of good parts, to explain rejects with.

    """
    box = recipe.preprocessing.region_of_interest
    whole = 0, 0, recipe.frame_format.width, recipe.frame_format.height
    return KnownGood(
        {
            (scorer_name, measure): tuple(np.sort(values[np.isfinite(values)]).tolist())
            for scorer_name, scorer in recipe.scorers.items()
            for measure, values in scorer.good.items()
        },
        whole if box is None else (box.x, box.y, box.width, box.height),
    )
