# SPDX-License-Identifier: Apache-2.0
"""
What is done with a recipe that has just been taught: which images it keeps, what it promises, and
a short self-test. The command `teach` and the teacher node do the same.

"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from anomaly_inspection.evaluation.self_test import self_test
from anomaly_inspection.learning.recipe_calibration import false_rejects_of
from anomaly_inspection.progress import no_progress
from anomaly_inspection.recipes.layout import USUAL_IMAGES_MB
from anomaly_inspection.recipes.teaching_images import encoded

if TYPE_CHECKING:
    from collections.abc import Callable

    from anomaly_inspection.evaluation.self_test_result import SelfTest
    from anomaly_inspection.learning.good_images import GoodImages, Named
    from anomaly_inspection.progress import Progress
    from anomaly_inspection.recipes.recipe import Recipe

# So few defects take seconds for most recipes.
_TEST_SIZES_PX, _TEST_CONTRASTS, _TEST_DEFECTS_EACH = (8.0, 16.0, 32.0), (15.0, 30.0, 60.0), 2
_TEST_IMAGES = 20
_TEST_TIME_S = 30.0


def taught_on(recipe: Recipe, good: GoodImages) -> list[Named]:
    """
    Give the images that a recipe was taught on, those left out not among them.

    """
    left_out = recipe.provenance.left_out
    return [
        (name, image)
        for name, image in good.without(good.unfit)
        if not any(text.startswith(f'{name}: ') for text in left_out)
    ]


def images_to_keep(recipe: Recipe, good: GoodImages) -> list[tuple[str, bytes]] | None:
    """
    Give the files of the images that the recipe keeps; None when they take too much disk.

    """
    return encoded(taught_on(recipe, good), 10**6 * USUAL_IMAGES_MB)


def promise(recipe: Recipe, false_reject_rate: float) -> str:
    """
    Say which false-reject rate to expect and which one the good parts can promise.

    """
    false_rejects = false_rejects_of(recipe)
    if false_rejects is not None:
        return false_rejects.promise(false_reject_rate)
    return (
        'The scorers used different parts for their limits. So few parts can promise at best '
        f'{100 * recipe.provenance.promised_rate:.2g} % false rejects.'
    )


def short_self_test(
    recipe: Recipe,
    good: GoodImages,
    progress: Progress = no_progress,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> SelfTest:
    """
    Try the recipe on synthetic defects on the parts that it was taught on, for 30 s at most.

    """
    end_s = clock() + _TEST_TIME_S
    return self_test(
        recipe,
        taught_on(recipe, good),
        sizes_px=_TEST_SIZES_PX,
        contrasts=_TEST_CONTRASTS,
        defects_each=_TEST_DEFECTS_EACH,
        most_images=_TEST_IMAGES,
        is_time_up=lambda: clock() > end_s,
        progress=progress,
    )
