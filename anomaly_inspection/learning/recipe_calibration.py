# SPDX-License-Identifier: Apache-2.0
"""
Recalibrate: derive new limits and typical values from good parts that a recipe was not taught on.

The fitted scorers and the region limit stay, so every part is held out. A part that is unlike the
others is left out and named. More than a tenth of such parts is an error.

"""

from __future__ import annotations

from dataclasses import dataclass, replace
import math
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from anomaly_inspection.errors import FrameError, SettingError
from anomaly_inspection.learning.false_rejects import (
    are_rejected,
    expected_false_rejects,
    FalseRejects,
)
from anomaly_inspection.learning.good_part_limits import check_rate, limits_from_good
from anomaly_inspection.learning.outliers import (
    check_enough,
    describe_outlier,
    is_mostly_perfect,
    outliers,
    widens_limit,
)
from anomaly_inspection.progress import no_progress
from anomaly_inspection.scoring.frame_scorer import REGION_MEASURES, ScoreStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from anomaly_inspection.learning.good_part_limits import Good, Specs
    from anomaly_inspection.progress import Progress
    from anomaly_inspection.recipes.recipe import MeasureLimit, Recipe

    # The measures of one part, by scorer and measure.
    Measured = Mapping[tuple[str, str], float]
    Limits = Mapping[tuple[str, str], MeasureLimit]

T = TypeVar('T')

# One part in 200 should be as far off as a stray, whatever rate is asked for.
_STRAY_RATE = 0.005
# So few may by chance have differed much less than good parts do.
_FEW_TAUGHT = 40
_LIMITS_FROM = '; limits from '
_REGION_MEASURES = {spec.name for spec in REGION_MEASURES}


@dataclass(frozen=True, eq=False)
class RecipeCalibration:
    """
    Limits from good parts, beside those from before.

    Parameters
    ----------
    specs : mapping of (scorer, measure) to MeasureSpec
        The measures.
    before : mapping of (scorer, measure) to MeasureLimit
        The limits until then.
    limits : dict of (scorer, measure) to MeasureLimit
        The new ones, with the new typical values.
    good : dict of (scorer, measure) to ndarray of float64, (n,)
        What they were derived from.
    left_out : tuple of str
        The parts that were not like the others, each with the reason.
    strays : tuple of str
        Names of the parts that were taken but move the limits outwards: somebody should look at
        them.
    beyond_before : int
        How many of the parts that were taken lie beyond the limits until then.
    false_reject_rate : float
        As it was asked for.
    false_rejects : FalseRejects
        What to expect, by cross-validation.

    """

    specs: Specs
    before: Limits
    limits: Limits
    good: Good
    left_out: tuple[str, ...]
    strays: tuple[str, ...]
    beyond_before: int
    false_reject_rate: float
    false_rejects: FalseRejects

    @classmethod
    def of(
        cls,
        parts: Sequence[tuple[str, Measured]],
        recipe: Recipe,
        before: Limits,
        false_reject_rate: float,
        combination: str,
        unmeasured: Mapping[str, str] | None = None,
    ) -> RecipeCalibration:
        """
        Derive the limits.

        Parameters
        ----------
        parts : sequence of (name, mapping of (scorer, measure) to float)
            Good parts, each with all measures.
        recipe : Recipe
            Whose scorers measured them.
        before : mapping of (scorer, measure) to MeasureLimit
            The limits until now. Where a part hardly ever leaves the perfect end of a measure, its
            limit stays.
        false_reject_rate : float
            Share of good parts that all limits together may reject, over 0 and below 0.5.
        combination : 'any' or 'all'
            Of the limits, as the parts are judged.
        unmeasured : mapping of name to reason, optional
            Parts that could not be measured; they count as unlike the others.

        Raises
        ------
        SettingError
            When parts are too few, more than a tenth are unlike the others, or no limit can be
            set.

        """
        check_rate(false_reject_rate)
        specs = specs_of(recipe)
        left_out = dict(unmeasured or {})
        count = len(parts) + len(left_out)
        check_enough(count, left_out)
        offered = {key: np.array([measured[key] for _, measured in parts]) for key in specs}
        odd = {}
        for key, values in offered.items():
            # A part has a region or not: the few that have one are no outliers for that.
            if key[1] not in _REGION_MEASURES:
                for index in outliers(values, specs[key]):
                    odd[index] = describe_outlier('.'.join(key), values, index)
        left_out |= {parts[index][0]: why for index, why in sorted(odd.items())}
        check_enough(count, left_out)
        kept = [index for index in range(len(parts)) if index not in odd]
        names = [parts[index][0] for index in kept]
        good = {key: values[kept] for key, values in offered.items()}
        taught = good_of(recipe)
        usual = limits_from_good(taught, specs, _STRAY_RATE)
        strays = {
            names[index]: describe_outlier('.'.join(key), values, int(index))
            for key, values in good.items()
            for index in np.flatnonzero(
                widens_limit(values, usual[key], specs[key], len(taught[key]))
            )
        }
        # A stray may be a good part of a kind that was not taught; many strays hardly are.
        fewest = min(len(values) for values in taught.values())
        hint = f'the recipe was taught on {fewest} parts: if all of these are good, teach on more'
        check_enough(count, left_out | strays, hint if fewest < _FEW_TAUGHT else '')
        untold = {key: before[key] for key in specs if is_mostly_perfect(good[key], specs[key])}
        settings = specs, false_reject_rate, combination, untold
        return cls(
            specs=specs,
            before=before,
            limits=limits_from_good(good, *settings),
            good=good,
            left_out=tuple(f'{who}: {why}' for who, why in left_out.items()),
            strays=tuple(f'{who}: {why}' for who, why in strays.items()),
            beyond_before=int(are_rejected(good, before, specs, combination).sum()),
            false_reject_rate=false_reject_rate,
            false_rejects=expected_false_rejects(good, *settings),
        )

    def summary(self) -> str:
        """
        Say how the old limits judge the parts, and what to expect of the new limits.

        """
        text = f'{self.beyond_before} of {self.false_rejects.parts} lie beyond the old limits. '
        if 2 * self.beyond_before > self.false_rejects.parts:
            text += 'The line has moved far from what was taught: teaching again finds more. '
        if self.strays:
            text += (
                f'Look at {len(self.strays)} that move the limits outwards, are they good? '
                f'{"; ".join(self.strays)}. '
            )
        return text + self.false_rejects.promise(self.false_reject_rate)

    def applied_to(self, recipe: Recipe, source: str) -> Recipe:
        """
        Give the recipe with these limits, not yet on disk; measures that are not judged stay.

        Parameters
        ----------
        recipe : Recipe
            The one whose scorers measured the parts.
        source : str
            Where the good parts came from.

        """
        scorers = {
            name: replace(
                part,
                limits=part.limits | _in_ranges_of(part.limits, _of_scorer(name, self.limits)),
                good=part.good | _of_scorer(name, self.good),
            )
            for name, part in recipe.scorers.items()
        }
        provenance = replace(
            recipe.provenance,
            source=recipe.provenance.source.split(_LIMITS_FROM)[0] + _LIMITS_FROM + source,
            left_out=(*recipe.provenance.left_out, *self.left_out),
            false_reject_rate=self.false_reject_rate,
            promised_rate=round(self.false_rejects.promised_rate, 4),
        )
        return replace(recipe, scorers=scorers, provenance=provenance, path=None, hash='')


def specs_of(recipe: Recipe) -> Specs:
    """
    Give the judged measures of a recipe by scorer and name, in the order of its limits.

    """
    return {
        (scorer, spec.name): spec
        for scorer, part in recipe.scorers.items()
        for spec in recipe.measures(scorer)
        if spec.name not in part.not_judged
    }


def limits_of(recipe: Recipe) -> Limits:
    """
    Give the limits of the judged measures by scorer and measure.

    """
    return {
        (scorer, measure): recipe.scorers[scorer].limits[measure]
        for scorer, measure in specs_of(recipe)
    }


def good_of(recipe: Recipe) -> Good:
    """
    Give the judged measures of the held-out good parts of a recipe by scorer and measure.

    """
    return {
        (scorer, measure): recipe.scorers[scorer].good[measure]
        for scorer, measure in specs_of(recipe)
    }


def recalibrate(
    recipe: Recipe,
    images: Iterable[tuple[str, NDArray[np.uint8]]],
    false_reject_rate: float | None = None,
    progress: Progress = no_progress,
) -> RecipeCalibration:
    """
    Derive the limits of a recipe anew from images of good parts.

    Parameters
    ----------
    recipe : Recipe
        Taught on other images.
    images : iterable of (name, ndarray of uint8)
        At least 8 frames of good parts in the recipe's format.
    false_reject_rate : float, optional
        By default what the recipe was taught with.
    progress : callable (done, total, what), optional
        Called after every image; `total` is `done`, as the images may come one by one.

    Raises
    ------
    SettingError
        When images are too few, too many are unlike the others, one is a reference of the recipe,
        or no limit can be set.
    FrameError
        When an image is not of the recipe's format; names it.

    """
    rate = recipe.provenance.false_reject_rate if false_reject_rate is None else false_reject_rate
    check_rate(rate)
    scorer = recipe.frame_scorer()
    parts: list[tuple[str, Measured]] = []
    unmeasured = {}
    for name, image in images:
        _check_new(recipe, name, image)
        scores = scorer.score(image)
        failed = [score for score in scores if score.status != ScoreStatus.OK]
        if failed:
            unmeasured[name] = failed[0].detail
        else:
            measured = {
                (score.scorer, measure): value
                for score in scores
                for measure, value in score.measures.items()
            }
            parts.append((name, measured))
        done = len(parts) + len(unmeasured)
        progress(done, done, 'measuring good parts')
    return RecipeCalibration.of(
        parts, recipe, limits_of(recipe), rate, recipe.combination, unmeasured
    )


def false_rejects_of(recipe: Recipe) -> FalseRejects | None:
    """
    Give the false rejects to expect of a recipe, from the held-out good parts that it holds.

    Returns
    -------
    FalseRejects or None
        None when the scorers took their limits from different parts: then nobody can say which
        parts pass all of them.

    """
    good = good_of(recipe)
    if len({len(values) for values in good.values()}) > 1:
        return None
    found = expected_false_rejects(
        good, specs_of(recipe), recipe.provenance.false_reject_rate, recipe.combination
    )
    distinct = recipe.provenance.independent_count
    if not 0 < distinct < found.parts:
        return found
    # Copies of a part say as much as one of them.
    return FalseRejects(math.ceil(found.rejected * distinct / found.parts), distinct)


def _in_ranges_of(
    before: Mapping[str, MeasureLimit], limits: Mapping[str, MeasureLimit]
) -> dict[str, MeasureLimit]:
    """
    Keep the ranges in which limits may be moved; other good parts do not change them.

    """
    return {
        name: replace(limit, lowest=before[name].lowest, highest=before[name].highest)
        for name, limit in limits.items()
    }


def _of_scorer(name: str, values: Mapping[tuple[str, str], T]) -> dict[str, T]:
    return {measure: value for (scorer, measure), value in values.items() if scorer == name}


def _check_new(recipe: Recipe, name: str, image: NDArray[np.uint8]) -> None:
    """
    Refuse an image that has another format, or that the recipe was taught on.

    """
    wanted = recipe.frame_format
    if not wanted.accepts(image.shape) or image.dtype != np.uint8:
        raise FrameError(
            f'{name} is {image.dtype} of shape {image.shape}; the recipe takes uint8 of shape '
            f'{wanted.shape} ({wanted.encoding})'
        )
    if any(np.array_equal(image, reference) for reference in recipe.references):
        raise SettingError(
            f'recipe {recipe.name} was taught on {name}: what it measures there says nothing of '
            'parts to come. Take images that it has not seen'
        )
