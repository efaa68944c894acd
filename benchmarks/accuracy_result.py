# SPDX-License-Identifier: Apache-2.0
"""
What the accuracy benchmark found for one real set in one scenario, and over all of them.

"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from anomaly_inspection.deciding.frame_judge import Verdict
from anomaly_inspection.evaluation.figures import Estimate, proportion
from anomaly_inspection.evaluation.judged_image import NO_PART

WITH, WITHOUT, ONLY = 'with', 'without', 'only'
#: Whether the pretrained network of the scorer `features` is at hand.
FEATURES = {
    WITH: 'with pretrained features',
    WITHOUT: 'without pretrained features',
    ONLY: 'pretrained features alone',
}

_DRAWS, _SEED = 10_000, 1


@dataclass(frozen=True, eq=False)
class Outcome:
    """
    One set in one scenario: what was taught, and how the test images were judged.

    Parameters
    ----------
    set_name, scenario, features : str
        What it is; `features` is a key of `FEATURES`.
    failed : str
        Why there are no figures; '' = there are.
    taught_images : int
        How many good images were offered.
    teach_s, teach_processor_s, teach_memory_mb : float
        What the command took.
    scorers : dict
        By the chosen scorer, its settings.
    choice : list of str
        Why, in the product's sentences.
    alignment, light : str
        The chosen preprocessing.
    promised_rate : float, optional
        False rejects that the recipe promises at most; None = it promises nothing.
    independent_count : int
        How many of the good images tell something new, in the product's opinion.
    images : list of str
        What the product says of the good images.
    left_out : list of str
        Good images that the product did not take, with its reasons.
    shares : dict
        By 'dev' and, in a final run, 'final', what `evaluate --json` wrote.
    simple : dict
        By share and simple method, its image AUROC with its interval, or None.

    """

    set_name: str
    scenario: str
    features: str
    failed: str = ''
    taught_images: int = 0
    teach_s: float = 0.0
    teach_processor_s: float = 0.0
    teach_memory_mb: float = 0.0
    scorers: dict[str, Any] = field(default_factory=dict)
    choice: list[str] = field(default_factory=list)
    alignment: str = ''
    light: str = ''
    promised_rate: float | None = None
    independent_count: int = 0
    images: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    shares: dict[str, dict[str, Any]] = field(default_factory=dict)
    simple: dict[str, dict[str, Sequence[float] | None]] = field(default_factory=dict)

    def judged(self, share: str) -> Judged | None:
        """
        Give the figures of one share; None when there are none.

        """
        figures = None if self.failed else self.shares.get(share)
        return None if figures is None else Judged(self, figures)


@dataclass(frozen=True, eq=False)
class Judged:
    """
    The figures of one share of a set's test images.

    Parameters
    ----------
    outcome : Outcome
        Where they belong.
    figures : dict
        What `evaluate --json` wrote.

    """

    outcome: Outcome
    figures: dict[str, Any]

    def figure(self, *way: str) -> Estimate | None:
        """
        Give a figure with its interval, or None where it is undefined.

        """
        value: Any = self.figures
        interval: Any = value['interval']
        for key in way:
            if value is None or key not in value:
                return None
            value, interval = value[key], interval[key]
        return None if value is None else Estimate(value, *interval)

    def rejected(self, *, good: bool) -> tuple[int, int]:
        """
        Give the number of good or defective parts that were rejected, and their total.

        """
        verdicts = [
            image['verdict'] == Verdict.REJECT.name
            for image in self.figures['images']
            if image['defect'] != NO_PART and (image['defect'] == 'good') == good
        ]
        return sum(verdicts), len(verdicts)

    @property
    def breaks_promise(self) -> bool:
        """
        Tell whether the good parts rejected contradict what the recipe promises (95 %).

        """
        promised, found = self.outcome.promised_rate, proportion(*self.rejected(good=True))
        return promised is not None and found is not None and found.low > promised

    def brief(self) -> dict[str, Any]:
        """
        Give what is worth keeping in a log.

        """
        ways = {
            **{key: (key,) for key in ('image_auroc', 'f1_max', 'pixel_auroc', 'aupro')},
            **{
                key: ('at_limits', key)
                for key in ('recall', 'false_reject_rate', 'balanced_accuracy', 'f1')
            },
            'region_f1': ('regions', 'box', 'f1'),
        }
        return {
            'good': self.rejected(good=True)[1],
            'defect': self.rejected(good=False)[1],
            **{
                key: [round(number, 4) for number in found]
                for key, way in ways.items()
                if (found := self.figure(*way)) is not None
            },
        }


def mean_auroc(judged: Sequence[Judged]) -> float | None:
    """
    Give the mean over sets of the image AUROC.

    """
    found = [one.figure('image_auroc') for one in judged]
    values = [estimate.value for estimate in found if estimate is not None]
    return float(np.mean(values)) if values else None


def mean_balanced_accuracy(judged: Sequence[Judged]) -> Estimate | None:
    """
    Give the mean over sets of the balanced accuracy, each set with its own draws of images.

    """
    generator = np.random.default_rng(_SEED)
    values, draws = [], []
    for one in judged:
        counts = [one.rejected(good=good) for good in (False, True)]
        if not all(total for _, total in counts):
            continue
        recall, false_rejects = (
            (count / total, generator.binomial(total, count / total, _DRAWS) / total)
            for count, total in counts
        )
        values.append((recall[0] + 1 - false_rejects[0]) / 2)
        draws.append((recall[1] + 1 - false_rejects[1]) / 2)
    if not values:
        return None
    low, high = np.percentile(np.mean(draws, axis=0), (2.5, 97.5))
    return Estimate(float(np.mean(values)), float(low), float(high))


def pooled(judged: Sequence[Judged], *, good: bool) -> Estimate | None:
    """
    Give the share of all sets' good or defective test images that was rejected.

    """
    counts = [one.rejected(good=good) for one in judged]
    return proportion(sum(count for count, _ in counts), sum(total for _, total in counts))
