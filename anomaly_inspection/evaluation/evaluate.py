# SPDX-License-Identifier: Apache-2.0
"""
Evaluate a recipe on labelled images: every image is scored and judged as in the cell.

"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
import json
import math
from pathlib import Path
import time
from typing import Any, NamedTuple, TYPE_CHECKING

import numpy as np

from anomaly_inspection.capture.image_folder import ImageFolder
from anomaly_inspection.capture.source import Frame
from anomaly_inspection.deciding.frame_judge import Combination, judge, Judgement, Verdict
from anomaly_inspection.deciding.limits import Limit, LimitTable
from anomaly_inspection.deciding.part_decision import ScoreReceived, Terms
from anomaly_inspection.deciding.part_judge import FrameEvidence, judge_frame
from anomaly_inspection.errors import SourceError
from anomaly_inspection.evaluation.figures import (
    balanced_accuracy,
    Estimate,
    f1,
    proportion,
    ranking,
)
from anomaly_inspection.evaluation.pixel_figures import map_histograms, pixel_figures
from anomaly_inspection.evaluation.recipe_faults import (
    blindness_fault,
    check_any_format_fits,
    false_reject_fault,
    limits_fault,
    limits_note,
)
from anomaly_inspection.evaluation.region_figures import (
    check_iou,
    found_mask,
    IOU_AT_LEAST,
    match_regions,
    region_figures,
)
from anomaly_inspection.printable import printable
from anomaly_inspection.progress import no_progress
from anomaly_inspection.recipes.limit_table import limit_table
from anomaly_inspection.scoring.frame_scorer import combined_map, ScorerResult

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from anomaly_inspection.capture.source import Truth
    from anomaly_inspection.evaluation.pixel_figures import MapHistograms
    from anomaly_inspection.evaluation.region_figures import RegionMatch
    from anomaly_inspection.progress import Progress
    from anomaly_inspection.recipes.recipe import Recipe

NO_PART = 'no_part'


@dataclass(frozen=True, eq=False)
class JudgedImage:
    """
    One image of the data set and what became of it.

    Parameters
    ----------
    name : str
        Path relative to the test folder.
    true_class : str
        'good', the kind of defect, or 'no_part' for an empty place.
    judgement : Judgement
        As the decider gives it at the recipe's limits.
    measures : dict of str to dict of str to float
        By scorer and measure; empty when the image could not be scored.
    time_s : float
        From the image to the judgement; NaN when the file could not be read.
    part_class, true_part_class : str
        Which of several kinds of part the scorers and the labels say it is; '' = not said.

    """

    name: str
    true_class: str
    judgement: Judgement
    measures: dict[str, dict[str, float]]
    time_s: float
    part_class: str = ''
    true_part_class: str = ''

    @property
    def is_rejected(self) -> bool:
        """
        Whether the verdict is REJECT.

        """
        return self.judgement.verdict is Verdict.REJECT

    @property
    def rank_score(self) -> float:
        """
        The anomaly score; infinity when there is none, because such a part is always rejected.

        """
        return _rank_score(self.judgement)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """
    What a recipe does on a data set.

    Parameters
    ----------
    recipe : Recipe
        What was evaluated.
    folder : Path
        The test images, absolute.
    images : tuple of JudgedImage
        Those read, in natural order of their names.
    figures : dict
        Ready for JSON: `share` (how many images were read, of how many), `n_good`, `n_defect`,
        `n_no_part`, the rates (None where undefined, `notes` say why), `regions` with
        `region_counts`, `scorers` and `measures` (what each would do alone), `ms_per_image` (score
        and judge, without reading the file), and under `interval` the 95 % interval of each rate
        by the same keys. `faults` say what makes the recipe unfit for use.

    """

    recipe: Recipe
    folder: Path
    images: tuple[JudgedImage, ...]
    figures: dict[str, Any]

    def ranked(self) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        """
        Give which parts are defective, and the score each is ranked by; empty places left out.

        """
        return _ranked([image for image in self.images if image.true_class != NO_PART])


class RecipeJudge:
    """
    Scores and judges single frames by a recipe, as scorer and decider nodes do together.

    """

    def __init__(self, recipe: Recipe) -> None:
        self._scorer = recipe.frame_scorer()
        self._terms = Terms(
            recipe.name,
            recipe.version,
            recipe.hash,
            limit_table(recipe),
            _combination(recipe),
        )

    def judge(self, frame: Frame) -> tuple[Judgement, list[ScorerResult]]:
        """
        Give the judgement on a frame and the scores it stands on; none when it has no image.

        """
        scores = [] if frame.image is None else self._scorer.score(frame.image)
        received = {
            score.scorer: ScoreReceived(
                ('', 0),
                0,
                score.scorer,
                int(score.status),
                score.detail,
                self._terms.recipe_hash,
                score.measures,
                score.part_class,
            )
            for score in scores
        }
        judgement = judge_frame(FrameEvidence(frame.problem, received), self._terms)
        assert judgement is not None, 'every scorer has scored'
        return judgement, scores


class _Located(NamedTuple):
    """
    What one map shows of where the defects are.

    """

    histograms: MapHistograms
    regions: RegionMatch


def evaluate_dataset(
    recipe: Recipe,
    dataset: str | Path,
    progress: Progress = no_progress,
    *,
    names: Callable[[str], bool] | None = None,
    region_iou: float = IOU_AT_LEAST,
) -> Evaluation:
    """
    Score and judge every test image of a data set and give the figures.

    Parameters
    ----------
    recipe : Recipe
        What to judge by.
    dataset : str or Path
        A data set in MVTec AD's layout, or its test folder.
    progress : callable (done, total, what), optional
        Called after every image.
    names : callable (name) -> bool, optional
        Which of the images to read, by their path relative to the test folder; the files of the
        others are never opened.
    region_iou : float
        IoU from which on a region found and a defect marked are a match, over 0 and up to 1.

    Raises
    ------
    SourceError
        When there are no test images, or nothing is known of one of them.
    SettingError
        When `region_iou` is out of range, or all images are of another format than the recipe's.

    """
    check_iou(region_iou)
    folder = test_folder(Path(dataset))
    recipe_judge = RecipeJudge(recipe)
    # Whatever is made at first use must not count as the time of the first image.
    recipe_judge.judge(Frame(recipe.references[0], 0, 0))
    images: list[JudgedImage] = []
    located: list[_Located] = []
    with ImageFolder(folder, wanted=names) as source:
        while (frame := source.read()) is not None:
            truth = _truth(source, folder, frame.name)
            image, scores = _judged(recipe_judge, frame, truth)
            images.append(image)
            if frame.image is not None and _shows_where(truth):
                mask = _mask(folder / frame.name, frame.image.shape[:2], truth)
                located.append(_located(mask, scores, recipe, region_iou))
            progress(len(images), len(source.names), 'judging')
    readable = [image for image in images if not math.isnan(image.time_s)]
    comparisons = [image.judgement.comparison for image in readable]
    check_any_format_fits(recipe, comparisons, len(readable))
    figures = {
        'recipe': {'name': recipe.name, 'version': recipe.version, 'hash': recipe.hash},
        'dataset': str(folder),
        'share': {'images': len(images), 'of': len(images) + source.left_out_count},
        **_figures(recipe, images, located, region_iou),
    }
    return Evaluation(recipe, folder, tuple(images), figures)


def _truth(source: ImageFolder, folder: Path, name: str) -> Truth:
    truth = source.truth(name)
    if truth is None:
        raise SourceError(
            f'nothing is known of {printable(folder / name)}; needed: folders test/good and '
            'test/<defect> beside train or ground_truth, or a labels.csv'
        )
    return truth


def _judged(
    recipe_judge: RecipeJudge, frame: Frame, truth: Truth
) -> tuple[JudgedImage, list[ScorerResult]]:
    started_s = time.perf_counter()
    judgement, scores = recipe_judge.judge(frame)
    time_s = time.perf_counter() - started_s
    image = JudgedImage(
        name=frame.name,
        true_class=truth.defect if truth.part_present else NO_PART,
        judgement=judgement,
        measures={score.scorer: score.measures for score in scores if score.measures},
        time_s=math.nan if frame.image is None else time_s,
        part_class=next((one.part_class for one in scores if one.part_class), ''),
        true_part_class=truth.part_class,
    )
    return image, scores


def test_folder(dataset: Path) -> Path:
    """
    Give the folder of the test images: `dataset/test` where there is one, or `dataset` itself.

    """
    inner = dataset / 'test'
    return (inner if inner.is_dir() else dataset).absolute()


def _shows_where(truth: Truth) -> bool:
    if not truth.part_present:
        return False
    return truth.is_good or (truth.mask is not None and bool(truth.mask.any()))


def _mask(path: Path, size: tuple[int, ...], truth: Truth) -> NDArray[np.bool_]:
    if truth.is_good or truth.mask is None:
        return np.zeros(size, bool)
    if truth.mask.shape != size:
        raise SourceError(
            f'the mask of {path} is {truth.mask.shape[1]} x {truth.mask.shape[0]} px; '
            f'allowed: {size[1]} x {size[0]}, as the image'
        )
    return truth.mask


def _located(
    mask: NDArray[np.bool_], scores: Sequence[ScorerResult], recipe: Recipe, region_iou: float
) -> _Located:
    min_area_px = min(scorer.region.min_area_px for scorer in recipe.scorers.values())
    anomaly_map = combined_map(scores)
    if anomaly_map is None:
        # Not judged: rejected as a whole, but no defect was located.
        anomaly_map = np.zeros(mask.shape, np.float32)
    # The map is in units of the region limit.
    found = found_mask(anomaly_map, 1.0, min_area_px)
    return _Located(map_histograms(anomaly_map, mask), match_regions(mask, found, region_iou))


def _combination(recipe: Recipe) -> Combination:
    return Combination[recipe.combination.upper()]


def _figures(
    recipe: Recipe, images: Sequence[JudgedImage], located: Sequence[_Located], region_iou: float
) -> dict[str, Any]:
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
    Give what the verdicts and the order of the scores are worth, whatever the maps show.

    """
    is_defect, scores = _ranked(judged)
    is_rejected = np.array([image.is_rejected for image in judged], bool)
    ranked = ranking(is_defect, scores)
    return {
        'image_auroc': ranked and ranked.image_auroc,
        'average_precision': ranked and ranked.average_precision,
        'f1_max': ranked and ranked.f1_max,
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
    Give what each scorer and each measure would do without the others.

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
            name: _alone(LimitTable(some), _combination(recipe), judged)
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
    Give what some of the limits would do without the others.

    """
    is_defect, _ = _ranked(judged)
    judgements = [judge(image.measures, limits, combination) for image in judged]
    is_rejected = np.array([one.verdict is Verdict.REJECT for one in judgements], bool)
    ranked = ranking(is_defect, np.array([_rank_score(one) for one in judgements], np.float64))
    return {
        'image_auroc': ranked and ranked.image_auroc,
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


def _ranked(judged: Sequence[JudgedImage]) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    return (
        np.array([image.true_class != 'good' for image in judged], bool),
        np.array([image.rank_score for image in judged], np.float64),
    )


def _class_accuracy(judged: Sequence[JudgedImage]) -> Estimate | None:
    """
    Give the share of good parts of a known class that were taken for that class.

    None when the recipe's classes are not those of the labels, which is so when it was taught
    without their names.

    """
    known = [image for image in judged if image.true_class == 'good' and image.true_part_class]
    if not {image.part_class for image in known} & {image.true_part_class for image in known}:
        return None
    return proportion(
        sum(image.part_class == image.true_part_class for image in known), len(known)
    )


def _rank_score(judgement: Judgement) -> float:
    """
    Give the anomaly score; infinity when there is none, because such a part is always rejected.

    """
    score = judgement.anomaly_score
    return math.inf if math.isnan(score) else score


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
            f'{len(unmeasured)} of {len(judged)} images could not be measured and count as '
            f'rejected, above all scores; the first: {printable(first.name)}, '
            f'{first.judgement.comparison}'
        )
    if not has_masks:
        notes.append(
            'no masks of defects: pixel AUROC, AUPRO and the figures of regions are undefined'
        )
    return notes


def to_json(evaluation: Evaluation) -> str:
    """
    Write the figures and, under `images`, one row an image.

    """
    return json.dumps(as_mapping(evaluation), indent=2, allow_nan=False) + '\n'


def as_mapping(evaluation: Evaluation) -> dict[str, Any]:
    """
    Give what `to_json` writes.

    """
    rows = [
        {
            'name': image.name,
            'defect': image.true_class,
            'anomaly_score': None
            if math.isnan(image.judgement.anomaly_score)
            else image.judgement.anomaly_score,
            'worst_measure': image.judgement.worst_measure,
            'verdict': image.judgement.verdict.name,
            'reason': image.judgement.reason.name,
            'comparison': image.judgement.comparison,
            'part_class': image.part_class,
        }
        for image in evaluation.images
    ]
    return {**evaluation.figures, 'images': rows}
