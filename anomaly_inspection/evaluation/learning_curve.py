# SPDX-License-Identifier: Apache-2.0
"""
The learning curve: how good a recipe gets with more images, and what the next ones would bring.

Some images are held out. Recipes that are taught on 5, 10, 20, 50 and 100 of the others judge
them, as they are and with synthetic defects of several sizes. All recipes judge the same.

"""

from __future__ import annotations

from dataclasses import dataclass, replace
import itertools
import math
from typing import TYPE_CHECKING

import numpy as np

from anomaly_inspection.capture.source import Frame
from anomaly_inspection.deciding.frame_judge import Verdict
from anomaly_inspection.errors import AlignmentError, FrameError, SettingError
from anomaly_inspection.evaluation.recipe_judge import RecipeJudge
from anomaly_inspection.evaluation.self_test_result import SEEN_SHARE
from anomaly_inspection.imaging.colour_highlight import ColourHighlight
from anomaly_inspection.learning.false_rejects import FEWEST_TO_PROMISE, promised_rate
from anomaly_inspection.learning.more_images import scorers_of
from anomaly_inspection.learning.part_mask import part_in_region
from anomaly_inspection.learning.part_preparation import preprocessor_of
from anomaly_inspection.learning.recipe_calibration import false_rejects_of
from anomaly_inspection.learning.separation import auroc
from anomaly_inspection.learning.synthetic_defects import KIND_NAMES, synthetic_defect
from anomaly_inspection.learning.teach import teach, TeachOptions
from anomaly_inspection.progress import no_progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from anomaly_inspection.learning.good_images import GoodImages
    from anomaly_inspection.progress import Progress
    from anomaly_inspection.recipes.recipe import Recipe

COUNTS = (5, 10, 20, 50, 100)
SIZES_PX = (4.0, 6.0, 8.0, 12.0, 20.0, 32.0)
CONTRAST_LEVELS = 30.0

_HELD_OUT_SHARE, _FEWEST_HELD_OUT, _MOST_HELD_OUT = 0.25, 4, 30
_MOST_OTHERS = 8
# Of each kind and size.
_DEFECTS_EACH = 2
_NEXT_IMAGES = 10
_SEED = 1
# Less than this is lost in the scatter of so few held-out parts.
_NOTEWORTHY = 0.01


@dataclass(frozen=True)
class CurvePoint:
    """
    How good a recipe is that was taught on some of the images.

    Parameters
    ----------
    image_count : int
        On how many.
    auroc : float
        How often a damaged part scores higher than a good one, 0..1.
    false_rejects : float
        Share of the held-out good parts that its limits reject, 0..1.
    smallest_px : float
        The smallest size of defect, at 30 levels, from which on nine of ten are seen; infinite
        when not even the largest one is.

    """

    image_count: int
    auroc: float
    false_rejects: float
    smallest_px: float


@dataclass(frozen=True)
class LearningCurve:
    """
    The figures for more and more images.

    Parameters
    ----------
    points : tuple of CurvePoint
        By number of images, at least one.
    held_out_count : int
        How many good parts were held out.
    independent_count : int
        How many of all images tell something new.
    rejected_count : int
        How many good parts limits reject that were set without them; see `FalseRejects`.

    """

    points: tuple[CurvePoint, ...]
    held_out_count: int
    independent_count: int
    rejected_count: int = 0

    def next_images(self) -> str:
        """
        Say what the next ten images would bring, by the step from the last point but one.

        """
        count = self.independent_count
        promise = _promise_text(count, self.rejected_count)
        if len(self.points) < 2:
            return (
                f'What the next {_NEXT_IMAGES} images would bring cannot be told from so few. '
                f'{promise}'
            )
        before, last = self.points[-2:]
        share = math.log((last.image_count + _NEXT_IMAGES) / last.image_count) / math.log(
            last.image_count / before.image_count
        )
        better = min(1.0 - last.auroc, share * (last.auroc - before.auroc))
        fewer = min(last.false_rejects, share * (before.false_rejects - last.false_rejects))
        gains = []
        if better >= _NOTEWORTHY:
            gains.append(f'about {better:.2f} more AUROC')
        if fewer >= _NOTEWORTHY:
            gains.append(f'about {100 * fewer:.0f} % fewer false rejects')
        bring = ' and '.join(gains) or 'hardly any better figures'
        return f'The next {_NEXT_IMAGES} images would bring {bring}. {promise}'


def learning_curve(
    good: GoodImages,
    recipe: Recipe,
    progress: Progress = no_progress,
) -> LearningCurve:
    """
    Teach on more and more of the images and judge the rest.

    Parameters
    ----------
    good : GoodImages
        All images of good parts.
    recipe : Recipe
        Taught on all of them. Its scorers are taught anew each time, with its settings.
    progress : callable (done, total, what), optional
        Called after every point.

    Raises
    ------
    SettingError
        When there are fewer than 9 images.

    """
    left_out = {entry.partition(': ')[0] for entry in recipe.provenance.left_out}
    named = [one for one in good.without(good.unfit) if one[0] not in left_out]
    held_count = min(_MOST_HELD_OUT, max(_FEWEST_HELD_OUT, int(_HELD_OUT_SHARE * len(named))))
    most = len(named) - held_count
    if most < COUNTS[0]:
        raise SettingError(
            f'{len(named)} good images; needed for a learning curve: at least '
            f'{COUNTS[0] + _FEWEST_HELD_OUT}'
        )
    places = set(np.linspace(0, len(named) - 1, held_count).round().astype(int).tolist())
    held_out = [one for place, one in enumerate(named) if place in places]
    taught = [one for place, one in enumerate(named) if place not in places]
    scorers = scorers_of(recipe)
    options = TeachOptions(
        scorers=tuple(scorers),
        scorer_settings=scorers,
        region_of_interest=recipe.preprocessing.region_of_interest,
        highlight_colours=any(
            isinstance(each, ColourHighlight) for each in recipe.preprocessing.filters
        ),
        false_reject_rate=recipe.provenance.false_reject_rate,
    )
    damaged = _damaged(recipe, [frame for _, frame in held_out])
    counts = sorted({*(count for count in COUNTS if count < most), most})
    points = []
    for done, count in enumerate(counts, start=1):
        chosen = [taught[place] for place in np.linspace(0, most - 1, count).round().astype(int)]
        try:
            # The region of the recipe is in pixels of its format already.
            images = replace(good.subset(chosen), scale=(1.0, 1.0))
            fewer = teach(images, name=recipe.name, options=options)
        except (SettingError, FrameError):
            # These few are too unlike each other.
            continue
        finally:
            progress(done, len(counts), 'learning curve')
        points.append(_point(count, fewer, [frame for _, frame in held_out], damaged))
    if not points:
        raise SettingError('no part of the images can be taught, so there is no learning curve')
    independent = recipe.provenance.independent_count or len(named)
    rejects = false_rejects_of(recipe)
    rejected = rejects.rejected if rejects else 0
    return LearningCurve(tuple(points), held_count, independent, rejected)


def _point(
    count: int,
    recipe: Recipe,
    held_out: Sequence[NDArray[np.uint8]],
    damaged: Sequence[tuple[float, NDArray[np.uint8]]],
) -> CurvePoint:
    judge = RecipeJudge(recipe)

    def judged(frame: NDArray[np.uint8]) -> tuple[bool, float]:
        judgement, _ = judge.judge(Frame(frame, 0, 0))
        score = judgement.anomaly_score
        return judgement.verdict is Verdict.REJECT, math.inf if math.isnan(score) else score

    good = [judged(frame) for frame in held_out]
    bad = [(size, *judged(frame)) for size, frame in damaged]
    smallest = math.inf
    for size in sorted(SIZES_PX, reverse=True):
        seen = [is_seen for one, is_seen, _ in bad if one == size]
        if seen and np.mean(seen) < SEEN_SHARE:
            break
        smallest = size if seen else smallest
    return CurvePoint(
        count,
        auroc(np.array([score for _, score in good]), np.array([score for _, _, score in bad])),
        float(np.mean([is_rejected for is_rejected, _ in good])),
        smallest,
    )


def _damaged(
    recipe: Recipe, frames: Sequence[NDArray[np.uint8]]
) -> list[tuple[float, NDArray[np.uint8]]]:
    """
    Draw each kind of defect in each size on several of the images.

    """
    preprocessor = preprocessor_of(recipe)
    places = []
    for frame in frames:
        try:
            prepared = preprocessor.prepare(frame)
        except (AlignmentError, FrameError):
            continue
        places.append((frame, part_in_region(frame, prepared.to_frame, prepared.image.shape[:2])))
    rng = np.random.default_rng(_SEED)
    found = []
    others = list(frames[:: math.ceil(len(frames) / _MOST_OTHERS)])
    cells = itertools.product(range(min(_DEFECTS_EACH, len(places))), KIND_NAMES, SIZES_PX)
    for number, (_, kind, size_px) in enumerate(cells):
        frame, part = places[number % len(places)]
        try:
            damaged, _ = synthetic_defect(
                frame,
                others,
                rng,
                kind=kind,
                size_px=size_px,
                contrast_levels=CONTRAST_LEVELS,
                mask_of_part=part,
            )
        except SettingError:
            # The part has no place for it.
            continue
        found.append((size_px, damaged))
    if not found:
        raise SettingError('no synthetic defect can be drawn on these parts')
    return found


def _promise_text(count: int, rejected: int) -> str:
    more = count + _NEXT_IMAGES
    if more < FEWEST_TO_PROMISE:
        return f'A false-reject rate can be promised from {FEWEST_TO_PROMISE} different parts on.'
    after = f'{100 * promised_rate(more, rejected=rejected):.2g} %'
    if count < FEWEST_TO_PROMISE:
        return f'With them, at most {after} false rejects can be promised.'
    now = f'{100 * promised_rate(count, rejected=rejected):.2g} %'
    return f'The false-reject rate that can be promised would fall from {now} to {after}.'
