# SPDX-License-Identifier: Apache-2.0
"""
Keep the ranges that an engineer has set for the limits when a product is taught anew.

"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anomaly_inspection.recipes.recipe import Recipe


def with_ranges_of(older: Recipe | None, recipe: Recipe) -> tuple[Recipe, tuple[str, ...]]:
    """
    Give a recipe that was taught anew the ranges of the one that it takes the place of.

    A range stays as it is where it holds the new limit. Else the end that excludes the limit moves
    to the limit. A measure that the new recipe does not have loses its range.

    Parameters
    ----------
    older : Recipe or None
        The recipe from before; None = there is none.
    recipe : Recipe
        The new one. Its own ranges come first.

    Returns
    -------
    recipe : Recipe
        Not yet on disk; the same object when there is nothing to carry over.
    notes : tuple of str
        What the engineer has to look at: one sentence for each range that was widened or dropped.

    """
    ranges = {}
    notes = []
    for key, (lowest, highest) in _ranges_of(older).items():
        name, old = '.'.join(key), _words(lowest, highest)
        part = recipe.scorers.get(key[0])
        limit = part.limits.get(key[1]) if part is not None else None
        if limit is None:
            notes.append(
                f'the range of {name}, {old}, is dropped: the new recipe has no such limit'
            )
            continue
        if (limit.lowest, limit.highest) != (None, None):
            continue
        low = None if lowest is None else min(lowest, limit.limit)
        high = None if highest is None else max(highest, limit.limit)
        if (low, high) != (lowest, highest):
            notes.append(
                f'the range of {name}, {old}, is now {_words(low, high)}: the new limit lay '
                'outside of it'
            )
        ranges[key] = (low, high)
    return (recipe.with_ranges(ranges) if ranges else recipe), tuple(notes)


def _ranges_of(
    recipe: Recipe | None,
) -> dict[tuple[str, str], tuple[float | None, float | None]]:
    return {
        (scorer, measure): (limit.lowest, limit.highest)
        for scorer, part in (recipe.scorers.items() if recipe is not None else ())
        for measure, limit in part.limits.items()
        if (limit.lowest, limit.highest) != (None, None)
    }


def _words(lowest: float | None, highest: float | None) -> str:
    low = -math.inf if lowest is None else lowest
    if highest is None:
        return f'{low:g} or more'
    return f'up to {highest:g}' if math.isinf(low) else f'{low:g} to {highest:g}'
