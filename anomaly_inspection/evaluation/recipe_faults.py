# SPDX-License-Identifier: Apache-2.0
"""
Sentences that say why a recipe is unfit for use, for the top of a result.

"""

from __future__ import annotations

from typing import TYPE_CHECKING

from anomaly_inspection.errors import SettingError
from anomaly_inspection.evaluation.figures import proportion
from anomaly_inspection.imaging.frame_check import format_problem
from anomaly_inspection.recipes.limit_table import limit_table
from anomaly_inspection.scoring.measure import BadSide

if TYPE_CHECKING:
    from collections.abc import Iterable

    from anomaly_inspection.recipes.recipe import Recipe

# Shares of good parts rejected. A recipe taught on few parts promises little, but no recipe may
# reject half of them.
_TOLERATED_SHARE, _LARGEST_SHARE = 0.1, 0.5
# A recipe that surely sees a smaller share of defects than this is of no use.
_BLIND_SHARE = 0.1


def false_reject_fault(recipe: Recipe, rejected: int, good: int) -> str | None:
    """
    Say that a recipe rejects too many good parts; None when chance may explain it.

    Parameters
    ----------
    recipe : Recipe
        The rate it promises is tolerated, and at least a tenth.
    rejected, good : int
        How many of how many good parts it rejects.

    """
    share = proportion(rejected, good)
    allowed = min(max(_TOLERATED_SHARE, recipe.provenance.promised_rate), _LARGEST_SHARE)
    if share is None or share.low <= allowed:
        return None
    return f'{rejected} of {good} good parts rejected: teach again, with good parts like these'


def blindness_fault(seen: int, defects: int, what: str) -> str | None:
    """
    Say that a recipe rejects none or hardly any of some defects; None when there are none.

    """
    share = proportion(seen, defects)
    if share is None or (seen and share.high > _BLIND_SHARE):
        return None
    return f'{seen} of {defects} {what} rejected: this recipe cannot find defects'


def limits_without_effect(recipe: Recipe) -> tuple[str, ...]:
    """
    Write out the limits that no part can exceed, such as 'ssim.lowest_ssim >= -1'.

    Such limits come from good parts that differ over the whole range of the measure.

    """
    return tuple(
        f'{limit.name} {"<=" if limit.bad_side is BadSide.HIGH else ">="} {limit.value:g}'
        for limit in limit_table(recipe)
        if (
            limit.value >= limit.maximum
            if limit.bad_side is BadSide.HIGH
            else limit.value <= limit.minimum
        )
    )


def limits_fault(recipe: Recipe) -> str | None:
    """
    Say that a recipe can reject no part by its measures; None when it can.

    """
    without_effect = limits_without_effect(recipe)
    # Where all limits must be exceeded together, one that cannot be is enough.
    enough = 1 if recipe.combination == 'all' else sum(1 for _ in limit_table(recipe))
    if len(without_effect) < enough:
        return None
    return f'{", ".join(without_effect)}: this recipe can never reject a part'


def limits_note(recipe: Recipe) -> str | None:
    """
    Say which limits of a recipe, but not all of it, can never reject a part.

    """
    without_effect = limits_without_effect(recipe)
    if not without_effect or limits_fault(recipe):
        return None
    return (
        f'{", ".join(without_effect)} can never reject a part: '
        'the good parts already differ over the whole range of this measure'
    )


def check_any_format_fits(recipe: Recipe, comparisons: Iterable[str], total: int) -> None:
    """
    Refuse images when none has the format of the recipe: no figure would mean anything.

    Parameters
    ----------
    recipe : Recipe
        The recipe that judged the images.
    comparisons : iterable of str
        Comparison of each rejected image.
    total : int
        How many images there were, at least 1.

    Raises
    ------
    SettingError
        Names both formats.

    """
    problems = [problem for text in comparisons if (problem := format_problem(text))]
    if problems and len(problems) == total:
        which = 'the only image' if total == 1 else f'all {total} images'
        raise SettingError(
            f'{problems[0]} ({which}); recipe {recipe.name} cannot judge them: '
            'teach one on such images'
        )
