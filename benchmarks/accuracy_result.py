# SPDX-License-Identifier: Apache-2.0
"""
What the accuracy benchmark found on one real set, and over all of them.

"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TYPE_CHECKING

import numpy as np

from anomaly_inspection.evaluation.evaluate import Evaluation
from anomaly_inspection.evaluation.figures import Estimate, proportion
from anomaly_inspection.evaluation.judged_image import NO_PART

if TYPE_CHECKING:
    from anomaly_inspection.imaging.region_of_interest import RegionOfInterest
    from anomaly_inspection.recipes.recipe import Recipe

# Limits are derived for the rate that is the goal.
BALANCED_ACCURACY_GOAL, FALSE_REJECT_GOAL = 0.90, 0.03
# Sets whose images differ in size are resized to this.
SIDE_PX = 256

_DRAWS, _SEED = 10_000, 1


@dataclass(frozen=True)
class Product:
    """
    One set and its goals.

    Parameters
    ----------
    name : str
        Its folder.
    auroc_goal : float
        Wanted image AUROC.
    simple_auroc : float
        AUROC of the best simple method when the goals were set, on all test images.
    region : RegionOfInterest, optional
        The region that is judged, where the set says that only one part of the picture counts.
    f1_goal : float, optional
        Wanted best F1, the defective parts being the positive ones.

    """

    name: str
    auroc_goal: float
    simple_auroc: float
    region: RegionOfInterest | None = None
    f1_goal: float | None = None


@dataclass(frozen=True, eq=False)
class Judged:
    """
    One judged share of a set's test images.

    Parameters
    ----------
    evaluation : Evaluation
        Ours.
    simple : dict of str to Estimate or None
        Image AUROC of the simple methods on the same images.

    """

    evaluation: Evaluation
    simple: dict[str, Estimate | None]

    def figure(self, *way: str) -> Estimate | None:
        """
        Give one of our figures with its interval, or None where it is undefined.

        """
        value: Any = self.evaluation.figures
        interval: Any = value['interval']
        for key in way:
            if value is None:
                return None
            value, interval = value[key], interval[key]
        return None if value is None else Estimate(value, *interval)

    def rejected(self, *, good: bool) -> tuple[int, int]:
        """
        Give the number of good or defective parts that were rejected, and their total.

        """
        verdicts = [
            image.is_rejected
            for image in self.evaluation.images
            if image.true_class != NO_PART and (image.true_class == 'good') == good
        ]
        return sum(verdicts), len(verdicts)


@dataclass(frozen=True, eq=False)
class Result:
    """
    The result of one set.

    Parameters
    ----------
    product : Product
        The set.
    recipe : Recipe
        As taught; not on disk.
    taught_images, teach_s : int, float
        Number of good images, and the time of teaching.
    resized : bool
        Whether its images were resized.
    shares : dict of str to Judged
        By 'dev' and, in a final run, 'final'.

    """

    product: Product
    recipe: Recipe
    taught_images: int
    teach_s: float
    resized: bool
    shares: dict[str, Judged]


def mean_balanced_accuracy(judged: Sequence[Judged]) -> Estimate:
    """
    Give the mean over sets of the balanced accuracy, each set with its own draws of images.

    """
    generator = np.random.default_rng(_SEED)
    values, draws = [], []
    for one in judged:
        shares = [one.rejected(good=False), one.rejected(good=True)]
        recall, false_rejects = (
            (count / total, generator.binomial(total, count / total, _DRAWS) / total)
            for count, total in shares
        )
        values.append((recall[0] + 1 - false_rejects[0]) / 2)
        draws.append((recall[1] + 1 - false_rejects[1]) / 2)
    low, high = np.percentile(np.mean(draws, axis=0), (2.5, 97.5))
    return Estimate(float(np.mean(values)), float(low), float(high))


def pooled_false_rejects(judged: Sequence[Judged]) -> Estimate | None:
    """
    Give the share of all sets' good test images that was rejected.

    """
    counts = np.array([one.rejected(good=True) for one in judged]).sum(axis=0)
    return proportion(int(counts[0]), int(counts[1]))
