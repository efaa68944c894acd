# SPDX-License-Identifier: Apache-2.0
"""
How the pictures of the taught parts were lit, and where the parts lay in them.

The drift watch compares the parts of the line with that.

"""

from __future__ import annotations

from typing import TYPE_CHECKING

from anomaly_inspection.drift.reference import condition_arrays
from anomaly_inspection.imaging.conditions import ConditionMeter
from anomaly_inspection.learning.part_preparation import preprocessor_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from anomaly_inspection.learning.good_images import GoodImages
    from anomaly_inspection.learning.part_preparation import GoodPart
    from anomaly_inspection.progress import Progress
    from anomaly_inspection.recipes.recipe import Recipe


def taught_conditions(
    recipe: Recipe, parts: Sequence[GoodPart], images: GoodImages, progress: Progress
) -> dict[str, NDArray[np.float64]]:
    """
    Measure the conditions of the taught parts.

    Near copies count once: they say nothing of how pictures differ.

    Parameters
    ----------
    recipe : Recipe
        The taught recipe.
    parts : sequence of GoodPart
        What it was taught on.
    images : GoodImages
        Their images.
    progress : callable (done, total, what)
        Called after every part.

    """
    meter = ConditionMeter(preprocessor_of(recipe), recipe.references[0])
    frames = dict(images.named)
    seen: set[int] = set()
    measured = []
    for done, part in enumerate(parts, start=1):
        alignment = part.prepared.alignment
        is_found = alignment is None or alignment.is_found
        if is_found and (part.group is None or part.group not in seen):
            seen |= set() if part.group is None else {part.group}
            measured.append(meter.measure(frames[part.name], alignment))
        progress(done, len(parts), 'measuring light and sharpness')
    return condition_arrays(measured)
