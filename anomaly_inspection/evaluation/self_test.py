# SPDX-License-Identifier: Apache-2.0
"""
Find out which sizes and contrasts of defect a recipe can see, from good images only.

The self-test draws synthetic defects on frames of good parts, and prepares, scores and judges each
frame as the cell does. This shows the smallest defects that a recipe can see. Real defects have
more structure, and the test says nothing about kinds of defect that it does not draw.

"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np

from anomaly_inspection.capture.source import Frame
from anomaly_inspection.deciding.frame_judge import Verdict
from anomaly_inspection.errors import SettingError
from anomaly_inspection.evaluation.recipe_faults import check_any_format_fits, limits_note
from anomaly_inspection.evaluation.recipe_judge import RecipeJudge
from anomaly_inspection.evaluation.self_test_result import (
    draw_defect,
    GoodImage,
    JudgedDefect,
    SelfTest,
)
from anomaly_inspection.learning.part_mask import part_in_region
from anomaly_inspection.learning.synthetic_defects import (
    HIGHEST_CONTRAST,
    KIND_NAMES,
    LOWEST_CONTRAST,
    SMALLEST_SIZE_PX,
)
from anomaly_inspection.progress import no_progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from anomaly_inspection.progress import Progress
    from anomaly_inspection.recipes.recipe import Recipe
    from anomaly_inspection.scoring.frame_scorer import ScorerResult

SIZES_PX = (4.0, 6.0, 8.0, 12.0, 20.0, 32.0)
CONTRASTS = (8.0, 15.0, 30.0, 60.0)
DEFECTS_EACH = 5
MOST_DEFECTS_EACH = 1000
MOST_IMAGES = 100


def self_test(
    recipe: Recipe,
    images: Iterable[tuple[str, NDArray[np.uint8]]],
    *,
    sizes_px: Sequence[float] = SIZES_PX,
    contrasts: Sequence[float] = CONTRASTS,
    defects_each: int = DEFECTS_EACH,
    most_images: int = MOST_IMAGES,
    seed: int = 1,
    is_time_up: Callable[[], bool] = lambda: False,
    progress: Progress = no_progress,
) -> SelfTest:
    """
    Put synthetic defects on good images and count how many of them the recipe rejects.

    Parameters
    ----------
    recipe : Recipe
        What to judge by.
    images : iterable of (name, ndarray of uint8)
        Frames of good parts, preferably such as the recipe was not taught on. Its own references
        are left out when the other images are known to be new to it.
    sizes_px, contrasts : sequence of float
        The grid; see `synthetic_defect` for their range.
    defects_each : int
        How many of every kind at every size and contrast, 1 to 1000.
    most_images : int
        From a longer list, evenly spaced images are taken.
    seed : int
        The same one gives the same defects.
    is_time_up : callable () -> bool, optional
        Called before every defect; true ends the test, with a note. A longer test would give the
        same results for the defects judged so far.
    progress : callable (done, total, what), optional
        Called after every defect.

    Returns
    -------
    SelfTest
        Without defects when the recipe rejects all images as they are.

    Raises
    ------
    SettingError
        When a value is out of range, there is no image, or all are of another format than the
        recipe's.

    """
    sizes, levels = tuple(sorted(set(sizes_px))), tuple(sorted(set(contrasts)))
    _check(sizes, levels, defects_each)
    named, notes = _new_to(recipe, list(images))
    if not named:
        raise SettingError('there are no good images; allowed: at least 1')
    named = named[:: max(1, math.ceil(len(named) / most_images))]
    judge = RecipeJudge(recipe)
    passed, rejected = _sorted_by_verdict(judge, named)
    check_any_format_fits(recipe, rejected.values(), len(named))
    if rejected:
        notes.append(
            f'the recipe rejects {len(rejected)} of {len(named)} good images as they are; the '
            'test draws no defects on them'
        )
    cells = list(itertools.product(KIND_NAMES, sizes, levels)) if passed else []
    total = len(cells) * defects_each
    defects = []
    for done, number in enumerate(_visits(len(cells), defects_each, seed), start=1):
        if is_time_up():
            notes.append(f'the time was up after {done - 1} of {total} defects')
            break
        defect = _judged(judge, passed, cells, number, seed)
        if defect is not None:
            defects.append(defect)
        progress(done, total, 'judging synthetic defects')
    defects.sort(key=lambda defect: defect.number)
    note = limits_note(recipe)
    if note:
        notes.append(note)
    return SelfTest(
        recipe, passed, rejected, sizes, levels, KIND_NAMES, tuple(defects), tuple(notes), seed
    )


def _sorted_by_verdict(
    judge: RecipeJudge, named: Sequence[tuple[str, NDArray[np.uint8]]]
) -> tuple[dict[str, GoodImage], dict[str, str]]:
    passed, rejected = {}, {}
    for name, frame in named:
        judgement, scores = judge.judge(Frame(frame, 0, 0))
        if judgement.verdict is Verdict.REJECT:
            rejected[name] = judgement.comparison
        else:
            passed[name] = GoodImage(frame, _mask_of_part(frame, scores))
    return passed, rejected


def _visits(cell_count: int, defects_each: int, seed: int) -> Iterator[int]:
    """
    Number the defects, cell by cell and turn by turn, in an order that is fair to all cells.

    A test that ends early has still tried all kinds, sizes and contrasts about equally often.

    """
    rng = np.random.default_rng(seed)
    for turn in range(defects_each):
        for place in rng.permutation(cell_count):
            yield turn * cell_count + int(place)


def _judged(
    judge: RecipeJudge,
    passed: dict[str, GoodImage],
    cells: Sequence[tuple[str, float, float]],
    number: int,
    seed: int,
) -> JudgedDefect | None:
    """
    Draw the defect of that number and judge it; None when its part has no place for it.

    """
    names = list(passed)
    # Within a cell, every image is used once before one is used again.
    turn, place = divmod(number, len(cells))
    name, cell = names[(turn + place) % len(names)], cells[place]
    try:
        damaged, _ = draw_defect(passed, name, cell, np.random.default_rng((seed, number)))
    except SettingError:
        return None
    judgement, _ = judge.judge(Frame(damaged, 0, 0))
    return JudgedDefect(name, *cell, number, judgement)


def _check(sizes: tuple[float, ...], contrasts: tuple[float, ...], defects_each: int) -> None:
    if not 1 <= defects_each <= MOST_DEFECTS_EACH:
        raise SettingError(f'defects_each is {defects_each}; allowed: 1 to {MOST_DEFECTS_EACH}')
    for what, values, low, high in (
        ('size of a defect', sizes, SMALLEST_SIZE_PX, math.inf),
        ('contrast of a defect', contrasts, LOWEST_CONTRAST, HIGHEST_CONTRAST),
    ):
        if not values:
            raise SettingError(f'no {what} is given; allowed: one or more')
        for value in values:
            if not low <= value <= high or math.isinf(value):
                upper = 'as large as the part' if math.isinf(high) else f'{high:g}'
                raise SettingError(f'{what} is {value:g}; allowed: {low:g} to {upper}')


def _new_to(
    recipe: Recipe, named: list[tuple[str, NDArray[np.uint8]]]
) -> tuple[list[tuple[str, NDArray[np.uint8]]], list[str]]:
    """
    Leave out the images that the recipe was taught on if one can tell; otherwise add a note.

    A recipe keeps some of its good parts. When it keeps all of them, every other image is new to
    it.

    """
    kept = [reference.tobytes() for reference in recipe.references]
    new = [(name, image) for name, image in named if image.tobytes() not in kept]
    known = len(named) - len(new)
    if not known:
        return named, []
    if new and recipe.provenance.image_count <= len(kept):
        return new, [f'{known} images that the recipe was taught on are left out']
    return named, [
        f'the images contain {known} of the {len(kept)} good parts that the recipe keeps. The '
        'recipe was taught on most or all of these images, so the shares seen may be too high. '
        'Test with good parts that it was not taught on'
    ]


def _mask_of_part(frame: NDArray[np.uint8], scores: Sequence[ScorerResult]) -> NDArray[np.bool_]:
    score = scores[0]
    assert score.prepared_map is not None, 'the frame was judged'
    assert score.to_frame is not None, 'the frame was judged'
    return part_in_region(frame, score.to_frame, score.prepared_map.shape)
