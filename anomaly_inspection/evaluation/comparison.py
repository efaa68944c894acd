# SPDX-License-Identifier: Apache-2.0
"""
Compare several recipes on the same images.

"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
import json
from typing import TYPE_CHECKING

from anomaly_inspection.errors import SettingError
from anomaly_inspection.evaluation.evaluate import as_mapping
from anomaly_inspection.evaluation.figures import auroc_difference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anomaly_inspection.evaluation.evaluate import Evaluation
    from anomaly_inspection.evaluation.figures import Estimate


@dataclass(frozen=True, eq=False)
class Comparison:
    """
    The results of several recipes on one data set.

    Parameters
    ----------
    evaluations : tuple of Evaluation
        Of the same images, two or more.
    labels : tuple of str
        Name of each recipe, with its version or path where names are the same.
    differences : tuple of Estimate or None
        Image AUROC of each recipe but the first, minus that of the first, paired; None without
        both classes.

    """

    evaluations: tuple[Evaluation, ...]
    labels: tuple[str, ...]
    differences: tuple[Estimate | None, ...]


def compare(evaluations: Sequence[Evaluation]) -> Comparison:
    """
    Compare evaluations of the same images.

    Raises
    ------
    SettingError
        When there are fewer than two, or they are not of the same images.

    """
    if len(evaluations) < 2:
        raise SettingError(f'{len(evaluations)} evaluations to compare; allowed: 2 and more')
    first = evaluations[0]
    images = [(image.name, image.true_class) for image in first.images]
    for other in evaluations[1:]:
        if [(image.name, image.true_class) for image in other.images] != images:
            raise SettingError(f'{other.folder} and {first.folder} do not hold the same images')
    is_defect, scores = first.ranked()
    return Comparison(
        tuple(evaluations),
        _labels(evaluations),
        tuple(auroc_difference(is_defect, scores, one.ranked()[1]) for one in evaluations[1:]),
    )


def _labels(evaluations: Sequence[Evaluation]) -> tuple[str, ...]:
    """
    Give the shortest labels that are all different.

    """
    recipes = [evaluation.recipe for evaluation in evaluations]
    for labels in (
        [recipe.name for recipe in recipes],
        [f'{recipe.name} {recipe.version}' for recipe in recipes],
        [str(recipe.path) for recipe in recipes],
    ):
        if max(Counter(labels).values()) == 1:
            return tuple(labels)
    return tuple(f'{place}: {recipe.name}' for place, recipe in enumerate(recipes, 1))


def to_json(comparison: Comparison) -> str:
    """
    Write what `evaluate.to_json` writes for each recipe, and the differences of AUROC.

    """
    first, *others = comparison.labels
    content = {
        'recipes': dict(
            zip(comparison.labels, map(as_mapping, comparison.evaluations), strict=True)
        ),
        'image_auroc_difference': [
            {
                'recipe': label,
                'less': first,
                'value': difference and difference.value,
                'interval': difference and [difference.low, difference.high],
            }
            for label, difference in zip(others, comparison.differences, strict=True)
        ],
    }
    return json.dumps(content, indent=2, allow_nan=False) + '\n'
