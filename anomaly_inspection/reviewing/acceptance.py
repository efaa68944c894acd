# SPDX-License-Identifier: Apache-2.0
"""
Set limits that an engineer has accepted, and take them back.

"""

from __future__ import annotations

from typing import TYPE_CHECKING

from anomaly_inspection.errors import LimitError, RecipeError
from anomaly_inspection.recipes.folder import check_place, write_recipe
from anomaly_inspection.recipes.limit_table import limit_table
from anomaly_inspection.reviewing.accepted_limits import (
    AcceptanceLog,
    check_can_be_undone,
    checked_reason,
)
from anomaly_inspection.reviewing.bad_parts import BadParts, check_bad_parts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from anomaly_inspection.recipes.recipe import Recipe


def accept_limits(
    recipe: Recipe, path: Path, values: Mapping[str, float], *, who: str, why: str
) -> Recipe:
    """
    Write limits as the next version of a recipe, and note who accepted them.

    Parameters
    ----------
    recipe : Recipe
        As it lies in the folder.
    path : Path
        Its folder.
    values : mapping of str to float
        The new limits by 'scorer.measure'.
    who, why : str
        The engineer, and the reason.

    Returns
    -------
    Recipe
        As it was written.

    Raises
    ------
    LimitError
        When a limit lies outside of the engineer's range, or of that of the measure.
    RecipeError
        When a part that the recipe must reject would pass, or the recipe cannot be written.
    SettingError, StateError
        When there is no reason, or the note cannot be written; then nothing has changed.

    """
    why = checked_reason(why)
    return _set(recipe, path, values, who, why, is_undo=False)


def undo_acceptance(
    recipe: Recipe, path: Path, *, who: str, why: str
) -> tuple[Recipe, dict[str, float]]:
    """
    Put the limits from before the last acceptance back, as the next version.

    Returns
    -------
    recipe : Recipe
        As it was written.
    values : dict of str to float
        The limits that were put back.

    Raises
    ------
    SettingError
        When there is nothing to undo, or a limit was moved since.
    LimitError, RecipeError, StateError
        As for `accept_limits`.

    """
    why = checked_reason(why)
    values = check_can_be_undone(AcceptanceLog(path).last(), _limits(recipe))
    return _set(recipe, path, values, who, why, is_undo=True), values


def _set(
    recipe: Recipe, path: Path, values: Mapping[str, float], who: str, why: str, *, is_undo: bool
) -> Recipe:
    keyed = {}
    for name, value in values.items():
        scorer, dot, measure = name.partition('.')
        if not dot:
            raise LimitError(f'{name!r} is refused; allowed: scorer.measure')
        keyed[scorer, measure] = value
    changed = recipe.with_limits(keyed)
    refusal = check_bad_parts(changed, BadParts(path)).refusal
    if refusal:
        raise RecipeError(f'the limits are refused: {refusal}')
    check_place(path)
    now = _limits(recipe)
    # The note first: a limit that nobody accounts for is worse than a note of one that came not.
    AcceptanceLog(path).add(
        who, why, {name: now[name] for name in values}, values, is_undo=is_undo
    )
    return write_recipe(changed, path)


def _limits(recipe: Recipe) -> dict[str, float]:
    return {limit.name: limit.value for limit in limit_table(recipe)}
