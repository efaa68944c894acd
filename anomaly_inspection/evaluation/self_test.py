# SPDX-License-Identifier: Apache-2.0
"""
Self-test: which sizes and contrasts of defect a recipe can see, asked with good images only.

Synthetic defects are put on frames of good parts, and every frame is prepared, scored and judged
as in the cell. They show where the reach of a recipe ends; real defects have more structure than
these, and a kind that is not among them is not answered for.

"""

from __future__ import annotations

from dataclasses import dataclass
import itertools
import json
import math
from typing import Any, TYPE_CHECKING

import numpy as np

from anomaly_inspection.capture.source import Frame
from anomaly_inspection.deciding.frame_judge import Verdict
from anomaly_inspection.errors import SettingError
from anomaly_inspection.evaluation.figures import Estimate, proportion
from anomaly_inspection.evaluation.recipe_faults import (
    blindness_fault,
    check_any_format_fits,
    false_reject_fault,
    limits_fault,
    limits_note,
)
from anomaly_inspection.evaluation.recipe_judge import RecipeJudge
from anomaly_inspection.learning.part_mask import part_in_region
from anomaly_inspection.learning.synthetic_defects import (
    HIGHEST_CONTRAST,
    KIND_NAMES,
    LOWEST_CONTRAST,
    SMALLEST_SIZE_PX,
    synthetic_defect,
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
DEFECTS_EACH = 10
MOST_DEFECTS_EACH = 1000
MOST_IMAGES = 100
# A size counts as seen from this share on.
SEEN_SHARE = 0.9

_MOST_OTHERS = 8


@dataclass(frozen=True)
class Outcome:
    """
    One synthetic defect and what became of it.

    Parameters
    ----------
    image : str
        Name of the good image it was put on.
    kind : str
        See `synthetic_defect`.
    size_px, contrast_levels : float
        As wanted; met to 15 %.
    number : int
        Draws it again, see `SelfTest.damaged`.
    is_seen : bool
        Whether the recipe rejects the part.
    anomaly_score : float
        Above 1 when it is seen; NaN when the frame could not be judged, which is a reject.

    """

    image: str
    kind: str
    size_px: float
    contrast_levels: float
    number: int
    is_seen: bool
    anomaly_score: float


@dataclass(frozen=True, eq=False)
class GoodImage:
    """
    A frame of a good part, and where on it a defect may lie: on the part, in what is judged.

    """

    frame: NDArray[np.uint8]
    mask_of_part: NDArray[np.bool_]


@dataclass(frozen=True)
class Reach:
    """
    How small a defect of one contrast may be to be seen.

    Parameters
    ----------
    size_px : float
        The smallest size that is seen, or the largest one tried.
    share : Estimate
        Share of the defects of this size that are seen.
    is_seen : bool
        Whether that is enough, see `SEEN_SHARE`.
    has_larger : bool
        Whether larger ones were tried.

    """

    size_px: float
    share: Estimate
    is_seen: bool
    has_larger: bool

    def __str__(self) -> str:
        if not self.is_seen:
            return (
                f'sees {self.size_px:g} px, the largest size tried, only in '
                f'{shares_text(self.share)}'
            )
        larger = ', and larger ones' if self.has_larger else ''
        return f'sees {self.size_px:g} px in {shares_text(self.share)}{larger}'


@dataclass(frozen=True, eq=False)
class SelfTest:
    """
    What a recipe sees.

    Parameters
    ----------
    recipe : Recipe
        What was tested.
    images : dict of str to GoodImage
        Those that passed as they are, by name.
    rejected : dict of str to str
        Good images that the recipe rejects as they are, each with the reason. They get no defects.
    sizes_px, contrasts : tuple of float
        The grid, ascending.
    kinds : tuple of str
        Kinds of defect.
    outcomes : tuple of Outcome
        All that could be drawn; a part may be too small for a size, or too even for a paste.
    notes : tuple of str
        What to bear in mind, one sentence each.
    seed : int
        The same one gives the same defects.

    """

    recipe: Recipe
    images: dict[str, GoodImage]
    rejected: dict[str, str]
    sizes_px: tuple[float, ...]
    contrasts: tuple[float, ...]
    kinds: tuple[str, ...]
    outcomes: tuple[Outcome, ...]
    notes: tuple[str, ...]
    seed: int

    def seen(
        self, size_px: float, contrast_levels: float, kind: str | None = None
    ) -> Estimate | None:
        """
        Give the share of defects of one size and contrast that are seen, with its exact interval.

        None when there are none; all kinds together unless one is named.

        """
        found = [
            outcome.is_seen
            for outcome in self.outcomes
            if (outcome.size_px, outcome.contrast_levels) == (size_px, contrast_levels)
            and kind in (None, outcome.kind)
        ]
        return proportion(sum(found), len(found))

    def seen_in_all(self) -> Estimate | None:
        """
        Give the share of all defects that are seen, with its exact interval; None without defects.

        """
        return proportion(sum(one.is_seen for one in self.outcomes), len(self.outcomes))

    def reach(self, contrast_levels: float) -> Reach | None:
        """
        Give from which size on defects of a contrast are seen; None when none could be drawn.

        """
        cells = [(size, self.seen(size, contrast_levels)) for size in self.sizes_px]
        measured = [(size, cell) for size, cell in cells if cell is not None]
        if not measured:
            return None
        seen_from = len(measured)
        while seen_from and measured[seen_from - 1][1].value >= SEEN_SHARE:
            seen_from -= 1
        is_seen = seen_from < len(measured)
        size, share = measured[seen_from if is_seen else -1]
        return Reach(size, share, is_seen, has_larger=seen_from < len(measured) - 1)

    def in_words(self) -> list[str]:
        """
        Say for every contrast from which size on defects are seen.

        """
        reaches = {contrast: self.reach(contrast) for contrast in self.contrasts}
        return [f'at {contrast:g} levels: {reach}' for contrast, reach in reaches.items() if reach]

    def weakness(self) -> str | None:
        """
        Say that even the most striking defects tried can pass; None when they are seen.

        """
        share = self.seen(self.sizes_px[-1], self.contrasts[-1])
        if share is None or share.value >= SEEN_SHARE:
            return None
        return (
            f'large defects can pass: of those with {self.sizes_px[-1]:g} px at '
            f'{self.contrasts[-1]:g} levels it sees {shares_text(share)}'
        )

    def faults(self) -> list[str]:
        """
        Say what makes the recipe unfit for use, the worst first; empty when nothing does.

        """
        good = len(self.images) + len(self.rejected)
        found = (
            false_reject_fault(self.recipe, len(self.rejected), good),
            limits_fault(self.recipe),
            blindness_fault(
                sum(one.is_seen for one in self.outcomes), len(self.outcomes), 'synthetic defects'
            ),
        )
        return [fault for fault in found if fault]

    def damaged(self, outcome: Outcome) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """
        Draw a defect again: the image with it, and the mask of where it changed.

        """
        return _damaged(
            self.images,
            outcome.image,
            (outcome.kind, outcome.size_px, outcome.contrast_levels),
            np.random.default_rng((self.seed, outcome.number)),
        )


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
        Frames of good parts, better such as it was not taught on. Those that are among the
        recipe's references are left out where the rest is known to be new to it.
    sizes_px, contrasts : sequence of float
        The grid; see `synthetic_defect` for their range.
    defects_each : int
        How many of every kind at every size and contrast, 1 to 1000.
    most_images : int
        Of more images an even choice is taken.
    seed : int
        The same one gives the same defects.
    is_time_up : callable () -> bool, optional
        Asked before every defect; true ends the test, with a note. What was judged until then is
        what a longer test would have judged too.
    progress : callable (done, total, what), optional
        Called after every defect.

    Returns
    -------
    SelfTest
        Without outcomes when the recipe rejects all images as they are.

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
            f'{len(rejected)} of {len(named)} good images are rejected as they are; no defects '
            'were put on them'
        )
    cells = list(itertools.product(KIND_NAMES, sizes, levels)) if passed else []
    total = len(cells) * defects_each
    outcomes = []
    for done, number in enumerate(_visits(len(cells), defects_each, seed), start=1):
        if is_time_up():
            notes.append(f'the time was up after {done - 1} of {total} defects')
            break
        outcome = _judged(judge, passed, cells, number, seed)
        if outcome is not None:
            outcomes.append(outcome)
        progress(done, total, 'judging synthetic defects')
    outcomes.sort(key=lambda outcome: outcome.number)
    note = limits_note(recipe)
    if note:
        notes.append(note)
    return SelfTest(
        recipe, passed, rejected, sizes, levels, KIND_NAMES, tuple(outcomes), tuple(notes), seed
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

    However early a test ends, it has seen all kinds, sizes and contrasts about equally often.

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
) -> Outcome | None:
    """
    Draw the defect of that number and judge it; None when its part has no place for it.

    """
    names = list(passed)
    # Within a cell, every image comes once before one comes again.
    turn, place = divmod(number, len(cells))
    name, cell = names[(turn + place) % len(names)], cells[place]
    try:
        damaged, _ = _damaged(passed, name, cell, np.random.default_rng((seed, number)))
    except SettingError:
        return None
    judgement, _ = judge.judge(Frame(damaged, 0, 0))
    is_seen = judgement.verdict is Verdict.REJECT
    return Outcome(name, *cell, number, is_seen, judgement.anomaly_score)


def shares_text(estimate: Estimate) -> str:
    """
    Write a share with its interval in percent: '97 % (90..99)'.

    """
    return f'{100 * estimate.value:.0f} % ({100 * estimate.low:.0f}..{100 * estimate.high:.0f})'


def to_json(result: SelfTest) -> str:
    """
    Write the figures: one entry for every size and contrast, all kinds together and each alone.

    """
    cells = []
    for kind in (None, *result.kinds):
        for contrast, size_px in itertools.product(result.contrasts, result.sizes_px):
            share = result.seen(size_px, contrast, kind)
            count = sum(
                (one.size_px, one.contrast_levels) == (size_px, contrast)
                and kind in (None, one.kind)
                for one in result.outcomes
            )
            cells.append(
                {
                    'kind': kind or 'all',
                    'size_px': size_px,
                    'contrast_levels': contrast,
                    'defects': count,
                    'seen': share and share.value,
                    'interval': share and [share.low, share.high],
                }
            )
    recipe = result.recipe
    figures: dict[str, Any] = {
        'recipe': {'name': recipe.name, 'version': recipe.version, 'hash': recipe.hash},
        'seed': result.seed,
        'images': sorted(result.images),
        'rejected': result.rejected,
        'faults': result.faults(),
        'notes': result.notes,
        'in_words': result.in_words(),
        'cells': cells,
    }
    return json.dumps(figures, indent=2, allow_nan=False) + '\n'


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
    Leave out the images that the recipe was taught on, where one can tell, else say so.

    A recipe keeps some of its good parts. When it keeps all of them, what is not among these is
    new to it.

    """
    kept = [reference.tobytes() for reference in recipe.references]
    new = [(name, image) for name, image in named if image.tobytes() not in kept]
    known = len(named) - len(new)
    if not known:
        return named, []
    if new and recipe.provenance.image_count <= len(kept):
        return new, [f'{known} images that the recipe was taught on are left out']
    return named, [
        f'{known} of the {len(kept)} good parts that the recipe keeps are among the images: it '
        'was taught on them or on most of them, so the shares seen may be too high. Test with '
        'good parts that it has not seen'
    ]


def _mask_of_part(frame: NDArray[np.uint8], scores: Sequence[ScorerResult]) -> NDArray[np.bool_]:
    score = scores[0]
    assert score.prepared_map is not None, 'the frame was judged'
    assert score.to_frame is not None, 'the frame was judged'
    return part_in_region(frame, score.to_frame, score.prepared_map.shape)


def _damaged(
    images: dict[str, GoodImage],
    name: str,
    cell: tuple[str, float, float],
    rng: np.random.Generator,
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    kind, size_px, contrast_levels = cell
    others = [other.frame for key, other in images.items() if key != name]
    return synthetic_defect(
        images[name].frame,
        others[:: math.ceil(len(others) / _MOST_OTHERS) or 1],
        rng,
        kind=kind,
        size_px=size_px,
        contrast_levels=contrast_levels,
        mask_of_part=images[name].mask_of_part,
    )
