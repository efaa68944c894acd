# SPDX-License-Identifier: Apache-2.0
"""
Evaluate a recipe on labelled images: score and judge every image as the cell does.

"""

from __future__ import annotations

from dataclasses import dataclass
import json
import math
from pathlib import Path
import time
from typing import Any, TYPE_CHECKING

import numpy as np

from anomaly_inspection.capture.image_folder import ImageFolder
from anomaly_inspection.capture.source import Frame
from anomaly_inspection.errors import SourceError
from anomaly_inspection.evaluation.judged_image import JudgedImage, NO_PART, ranked
from anomaly_inspection.evaluation.pixel_figures import map_histograms
from anomaly_inspection.evaluation.recipe_faults import check_any_format_fits
from anomaly_inspection.evaluation.recipe_figures import Located, recipe_figures
from anomaly_inspection.evaluation.recipe_judge import RecipeJudge
from anomaly_inspection.evaluation.region_figures import (
    check_iou,
    found_mask,
    IOU_AT_LEAST,
    match_regions,
)
from anomaly_inspection.printable import printable
from anomaly_inspection.progress import no_progress
from anomaly_inspection.scoring.frame_scorer import combined_map

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from anomaly_inspection.capture.source import Truth
    from anomaly_inspection.progress import Progress
    from anomaly_inspection.recipes.recipe import Recipe
    from anomaly_inspection.scoring.frame_scorer import ScorerResult


@dataclass(frozen=True, eq=False)
class Evaluation:
    """
    The result of a recipe on a data set.

    Parameters
    ----------
    recipe : Recipe
        The recipe evaluated.
    folder : Path
        The test images, absolute.
    images : tuple of JudgedImage
        The images read, in natural order of their names.
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
        return ranked(self.images)


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
        The recipe to judge by.
    dataset : str or Path
        A data set in MVTec AD's layout, or its test folder.
    progress : callable (done, total, what), optional
        Called after every image.
    names : callable (name) -> bool, optional
        Says whether to read an image, given its path relative to the test folder. Other files are
        never opened.
    region_iou : float
        Lowest IoU at which a region found matches a marked defect, over 0 and up to 1.

    Raises
    ------
    SourceError
        When there are no test images, or one of them has no label.
    SettingError
        When `region_iou` is out of range, or all images are of another format than the recipe's.

    """
    check_iou(region_iou)
    folder = test_folder(Path(dataset))
    recipe_judge = RecipeJudge(recipe)
    # What the first use sets up must not count as time of the first image.
    recipe_judge.judge(Frame(recipe.references[0], 0, 0))
    images: list[JudgedImage] = []
    located: list[Located] = []
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
        **recipe_figures(recipe, images, located, region_iou),
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
) -> Located:
    min_area_px = min(scorer.region.min_area_px for scorer in recipe.scorers.values())
    anomaly_map = combined_map(scores)
    if anomaly_map is None:
        # Not judged: rejected as a whole, but no defect was located.
        anomaly_map = np.zeros(mask.shape, np.float32)
    # The map is in units of the region limit.
    found = found_mask(anomaly_map, 1.0, min_area_px)
    return Located(map_histograms(anomaly_map, mask), match_regions(mask, found, region_iou))


def to_json(evaluation: Evaluation) -> str:
    """
    Write the figures and, under `images`, one row for each image.

    """
    return json.dumps(as_mapping(evaluation), indent=2, allow_nan=False) + '\n'


def as_mapping(evaluation: Evaluation) -> dict[str, Any]:
    """
    Give the content that `to_json` writes.

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
