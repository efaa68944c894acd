# SPDX-License-Identifier: Apache-2.0
"""
The figures of a recipe over the judged images of a data set.

"""

from __future__ import annotations

from collections import Counter
import math
from typing import Any, NamedTuple, TYPE_CHECKING

import numpy as np

from anomaly_inspection.deciding.frame_judge import judge, Verdict
from anomaly_inspection.deciding.limits import LimitTable
from anomaly_inspection.evaluation.figures import balanced_accuracy, f1, proportion, ranking
from anomaly_inspection.evaluation.judged_image import NO_PART, rank_score, ranked
from anomaly_inspection.evaluation.pixel_figures import pixel_figures
from anomaly_inspection.evaluation.recipe_faults import (
    blindness_fault,
    false_reject_fault,
    limits_fault,
    limits_note,
)
from anomaly_inspection.evaluation.recipe_judge import combination_of
from anomaly_inspection.evaluation.region_figures import region_figures
from anomaly_inspection.printable import printable
from anomaly_inspection.recipes.limit_table import limit_table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from anomaly_inspection.deciding.frame_judge import Combination
    from anomaly_inspection.deciding.limits import Limit
    from anomaly_inspection.evaluation.figures import Estimate
    from anomaly_inspection.evaluation.judged_image import JudgedImage
    from anomaly_inspection.evaluation.pixel_figures import MapHistograms
    from anomaly_inspection.evaluation.region_figures import RegionMatch
    from anomaly_inspection.recipes.recipe import Recipe


class Located(NamedTuple):
    """
    How one anomaly map agrees with the mask of the image.

    """

    histograms: MapHistograms
    regions: RegionMatch


def recipe_figures(
    recipe: Recipe, images: Sequence[JudgedImage], located: Sequence[Located], region_iou: float
) -> dict[str, Any]:
    """
    Give all figures of `Evaluation` that the judged images and their maps make up.

    Parameters
    ----------
    recipe : Recipe
        What judged the images.
    images : sequence of JudgedImage
        All of them, empty places too.
    located : sequence of Located
        One for each image whose mask says where its defects are.
    region_iou : float
        IoU that made a region and a defect a match.

    """
    judged = [image for image in images if image.true_class != NO_PART]
    matches = [one.regions for one in located]
    by_pixel = pixel_figures([one.histograms for one in located])
    by_region = region_figures(matches)
    estimates = {
        **_estimates_of_images(judged),
        'pixel_auroc': by_pixel and by_pixel.pixel_auroc,
        'aupro': by_pixel and by_pixel.aupro,
        'regions': by_region
        and {matched: part._asdict() for matched, part in by_region._asdict().items()},
        **_estimates_alone(recipe, judged),
    }
    times_s = [image.time_s for image in images if not math.isnan(image.time_s)]
    good = [image for image in judged if image.true_class == 'good']
    defective = [image for image in judged if image.true_class != 'good']
    return {
        'n_good': len(good),
        'n_defect': len(defective),
        'n_no_part': len(images) - len(judged),
        **_each(estimates, lambda one: one.value),
        'ms_per_image': {
            f'p{percent}': 1e3 * float(np.percentile(times_s, percent)) if times_s else None
            for percent in (50, 99)
        },
        'region_counts': by_region
        and {
            'iou_at_least': region_iou,
            'true': sum(one.true_count for one in matches),
            'found': sum(one.found_count for one in matches),
            'matched_by_box': sum(one.box_ious.size for one in matches),
            'matched_by_mask': sum(one.mask_ious.size for one in matches),
        },
        'interval': _each(estimates, lambda one: [one.low, one.high]),
        'faults': _faults(recipe, good, defective),
        'notes': _notes(recipe, judged, has_masks=by_pixel is not None),
    }


def _estimates_of_images(judged: Sequence[JudgedImage]) -> dict[str, Any]:
    """
    Give the figures of the verdicts and of the order of the scores; the maps play no part.

    """
    is_defect, scores = ranked(judged)
    is_rejected = np.array([image.is_rejected for image in judged], bool)
    by_rank = ranking(is_defect, scores)
    return {
        'image_auroc': by_rank and by_rank.image_auroc,
        'average_precision': by_rank and by_rank.average_precision,
        'f1_max': by_rank and by_rank.f1_max,
        'at_limits': {
            **_rates(is_defect, is_rejected),
            'balanced_accuracy': balanced_accuracy(is_defect, is_rejected),
            'f1': f1(is_defect, is_rejected),
        },
        'recall_by_defect': {
            kind: proportion(
                sum(image.is_rejected for image in judged if image.true_class == kind), count
            )
            for kind, count in sorted(Counter(image.true_class for image in judged).items())
            if kind != 'good'
        },
        'class_accuracy': _class_accuracy(judged),
    }


def _estimates_alone(recipe: Recipe, judged: Sequence[JudgedImage]) -> dict[str, Any]:
    """
    Give the figures that each scorer and each measure would have without the others.

    """
    limits = limit_table(recipe)
    tables: dict[str, dict[str, tuple[Limit, ...]]] = {
        'scorers': {
            scorer: tuple(limit for limit in limits if limit.scorer == scorer)
            for scorer in limits.scorers
        },
        'measures': {limit.name: (limit,) for limit in limits},
    }
    return {
        group: {
            name: _alone(LimitTable(some), combination_of(recipe), judged)
            for name, some in members.items()
        }
        for group, members in tables.items()
    }


def _faults(
    recipe: Recipe, good: Sequence[JudgedImage], defective: Sequence[JudgedImage]
) -> list[str]:
    found = (
        false_reject_fault(recipe, sum(image.is_rejected for image in good), len(good)),
        limits_fault(recipe),
        blindness_fault(
            sum(image.is_rejected for image in defective), len(defective), 'defective parts'
        ),
    )
    return [fault for fault in found if fault]


def _alone(
    limits: LimitTable,
    combination: Combination,
    judged: Sequence[JudgedImage],
) -> dict[str, Estimate | None]:
    """
    Give the figures that some of the limits would have without the others.

    """
    is_defect, _ = ranked(judged)
    judgements = [judge(image.measures, limits, combination) for image in judged]
    is_rejected = np.array([one.verdict is Verdict.REJECT for one in judgements], bool)
    by_rank = ranking(is_defect, np.array([rank_score(one) for one in judgements], np.float64))
    return {
        'image_auroc': by_rank and by_rank.image_auroc,
        **_rates(is_defect, is_rejected),
    }


def _rates(
    is_defect: NDArray[np.bool_], is_rejected: NDArray[np.bool_]
) -> dict[str, Estimate | None]:
    return {
        'recall': proportion(int(is_rejected[is_defect].sum()), int(is_defect.sum())),
        'false_reject_rate': proportion(
            int(is_rejected[~is_defect].sum()), int((~is_defect).sum())
        ),
    }


def _class_accuracy(judged: Sequence[JudgedImage]) -> Estimate | None:
    """
    Give the share of good parts of a known class that were taken for that class.

    None when the recipe and the labels use different class names, as after teaching without
    the names.

    """
    known = [image for image in judged if image.true_class == 'good' and image.true_part_class]
    if not {image.part_class for image in known} & {image.true_part_class for image in known}:
        return None
    return proportion(
        sum(image.part_class == image.true_part_class for image in known), len(known)
    )


def _each(tree: Any, leaf: Callable[[Estimate], Any]) -> Any:
    if isinstance(tree, dict):
        return {key: _each(value, leaf) for key, value in tree.items()}
    return None if tree is None else leaf(tree)


def _notes(recipe: Recipe, judged: Sequence[JudgedImage], *, has_masks: bool) -> list[str]:
    classes = {image.true_class == 'good' for image in judged}
    notes = [
        f'no {what} images: AUROC, average precision, F1 and balanced accuracy are undefined'
        for what, is_good in (('good', True), ('defective', False))
        if is_good not in classes
    ]
    about_limits = limits_note(recipe)
    if about_limits:
        notes.append(about_limits)
    unmeasured = [image for image in judged if math.isnan(image.judgement.anomaly_score)]
    if unmeasured:
        first = unmeasured[0]
        notes.append(
            f'{len(unmeasured)} of {len(judged)} images could not be measured. They count as '
            f'rejected, with the highest score. The first: {printable(first.name)}, '
            f'{first.judgement.comparison}'
        )
    if not has_masks:
        notes.append(
            'no masks of defects: pixel AUROC, AUPRO and the region figures are undefined'
        )
    return notes
