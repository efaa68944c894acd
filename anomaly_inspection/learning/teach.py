# SPDX-License-Identifier: Apache-2.0
"""
Teach: from images of good parts to a recipe with limits, without one bad part.

The stages:

1. Take the images and bring them to one format (`good_images.py`), and say how good they are
   (`image_quality.py`).
2. Choose the preprocessing (`preprocessing_choice.py`), unless it is given.
3. Choose the scorers by synthetic defects (`scorer_choice.py`), unless they are named.
4. Fit the scorers (`scorer_fit.py`): prepare the parts, leave out outliers, choose the settings
   that the parts need, cross-validate, derive the limits.
5. Assemble the recipe.

Limits come from cross-validation alone: every part is measured by scorers that were fitted without
it. An image that is unlike the others, be it another part, an empty belt or a part with a defect,
is left out and named in the recipe's provenance. More than a tenth of such images is an error.

"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
import math
from typing import Any, Literal, TYPE_CHECKING

from anomaly_inspection.errors import AlignmentError, SettingError
from anomaly_inspection.imaging.alignment import UNKNOWNS
from anomaly_inspection.imaging.preprocessing import Preprocessor
from anomaly_inspection.imaging.tolerance import Tolerance
from anomaly_inspection.learning.false_rejects import FEWEST_TO_PROMISE
from anomaly_inspection.learning.good_images import GoodImages
from anomaly_inspection.learning.good_part_limits import check_rate, limit_from_good
from anomaly_inspection.learning.image_quality import image_quality, ImageQuality
from anomaly_inspection.learning.part_preparation import least_confidences
from anomaly_inspection.learning.preprocessing_choice import (
    choose_colour,
    choose_preprocessing,
    CONFIDENCE_MARGIN,
    LEAST_CONFIDENCE,
)
from anomaly_inspection.learning.recipe_size import check_recipe_size
from anomaly_inspection.learning.reference_choice import best_reference, reference_count
from anomaly_inspection.learning.scorer_choice import choose_scorers, DEFAULT_BUDGET_MS
from anomaly_inspection.learning.scorer_fit import fit_scorers, FittedScorers
from anomaly_inspection.learning.taught_conditions import taught_conditions
from anomaly_inspection.learning.threads import one_blas_thread
from anomaly_inspection.progress import no_progress
from anomaly_inspection.recipes.recipe import check_name, Provenance
from anomaly_inspection.scoring.measure import BadSide
from anomaly_inspection.scoring.registry import scorer_class
from anomaly_inspection.scoring.scorer import checked_settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from anomaly_inspection.imaging.preprocessing import PreprocessingSettings
    from anomaly_inspection.imaging.region_of_interest import RegionOfInterest
    from anomaly_inspection.learning.good_images import Offered
    from anomaly_inspection.progress import Progress
    from anomaly_inspection.recipes.recipe import Recipe

DEFAULT_FALSE_REJECT_RATE = 0.05
# Of the rate of false rejects, what parts that are not found may add.
_SHARE_NOT_FOUND = 0.2
AUTO = 'auto'


@dataclass(frozen=True)
class TeachOptions:
    """
    How to teach. The defaults suit most products.

    Parameters
    ----------
    scorers : sequence of str, or 'auto'
        Names of the scorers to fit. 'auto', the default, chooses them and their settings by how
        well they see synthetic defects on held-out good parts.
    scorer_settings : mapping of str to mapping
        By scorer, settings to take as they are. The others are defaults, or chosen by what the
        good parts need.
    speed_budget_ms : float
        For 'auto': most time that scoring a prepared frame may take, counted for one core of a
        reference machine (`scorer_cost.py`), over 0.
    preprocessing : PreprocessingSettings, optional
        Taken as it is. By default: colour by content, Gauss filter, and the simplest light
        normalisation and alignment that bring parts back which differ as the tolerance allows.
    region_of_interest : RegionOfInterest, optional
        What to inspect, when no `preprocessing` is given; by default the whole frame. In pixels of
        the images as they are; where their sizes differ, of their median size.
    size : (width, height), optional
        What images and frames are scaled to, px; by default the size of the images, or the median
        size where sizes differ.
    highlight_colours : bool
        Make colours that no good part has stand out in brightness, when no `preprocessing` is
        given; for colour images alone. See `imaging/colour_highlight.py`.
    false_reject_rate : float
        Share of good parts that all limits together may reject, over 0 and below 0.5.
    tolerance : Tolerance
        How far good parts may differ from the images in place, turn, light and focus.

    Raises
    ------
    SettingError
        When an option is out of range, or contradicts another one.

    """

    scorers: Sequence[str] | Literal['auto'] = AUTO
    scorer_settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    speed_budget_ms: float = DEFAULT_BUDGET_MS
    preprocessing: PreprocessingSettings | None = None
    region_of_interest: RegionOfInterest | None = None
    size: tuple[int, int] | None = None
    highlight_colours: bool = False
    false_reject_rate: float = DEFAULT_FALSE_REJECT_RATE
    tolerance: Tolerance = field(default_factory=Tolerance)

    def __post_init__(self) -> None:
        check_rate(self.false_reject_rate)
        if self.scorers == AUTO:
            if self.scorer_settings:
                raise SettingError(
                    f'settings are given, but scorer {AUTO!r} chooses them; name a scorer'
                )
        else:
            self.named_scorers()
        if self.preprocessing is not None and self.region_of_interest is not None:
            raise SettingError('give region_of_interest inside preprocessing, not beside it')
        if self.preprocessing is not None and self.highlight_colours:
            raise SettingError('give colour_highlight inside preprocessing, not highlight_colours')

    def named_scorers(self) -> dict[str, dict[str, Any]]:
        """
        Give the settings that are given for each named scorer, in their own types.

        """
        if not self.scorers or len(set(self.scorers)) != len(self.scorers):
            raise SettingError(f'scorers is {list(self.scorers)}; allowed: one or more, each once')
        for scorer in self.scorer_settings:
            if scorer not in self.scorers:
                raise SettingError(
                    f'settings are given for {scorer!r}, which is not taught; allowed: '
                    f'{", ".join(self.scorers)}'
                )
        checked = {}
        for scorer in self.scorers:
            given = self.scorer_settings.get(scorer, {})
            complete = checked_settings(scorer, scorer_class(scorer).settings, given)
            checked[scorer] = {key: complete[key] for key in given}
        return checked

    def tolerance_within(self, preprocessing: PreprocessingSettings) -> Tolerance:
        """
        Give the tolerance without what a given preprocessing cannot bring back.

        A preprocessing that is given without alignment says that the picture is fixed.

        """
        if self.preprocessing is None:
            return self.tolerance
        unknowns = UNKNOWNS[preprocessing.alignment.kind]
        tolerance = self.tolerance
        if unknowns == 0:
            tolerance = replace(tolerance, shift_px=0.0)
        if unknowns < UNKNOWNS['rigid']:
            tolerance = replace(tolerance, rotation_deg=0.0)
        return tolerance if preprocessing.light != 'none' else replace(tolerance, light_share=0.0)


@one_blas_thread()
def teach(
    images: Iterable[Offered] | GoodImages,
    *,
    name: str,
    product: str = '',
    classes: Mapping[str, str] | None = None,
    options: TeachOptions | None = None,
    provenance: Provenance | None = None,
    quality: ImageQuality | None = None,
    progress: Progress = no_progress,
) -> Recipe:
    """
    Make a recipe from images of good parts.

    Parameters
    ----------
    images : iterable of ndarray of uint8, or of (name, ndarray or FrameError), or GoodImages
        At least 5 frames of good parts as the camera gives them. Where sizes differ they are
        scaled, see `GoodImages.checked`. Names are for messages.
    name : str
        Of the recipe: lower-case letters, digits, '_' and '-'.
    product : str
        What people call it.
    classes : mapping of str to str, optional
        The class of every image by its name, for scorers that tell classes apart. By default these
        take good parts that are alike as a class.
    options : TeachOptions, optional
        How to teach.
    provenance : Provenance, optional
        What the operator knows; counts and rates are filled in here.
    quality : ImageQuality, optional
        Of the images, when it is known already.
    progress : callable (done, total, what), optional
        Called after every step; `done` counts from 1 to `total` for each `what`.

    Returns
    -------
    Recipe
        Not yet on disk. `provenance.left_out` names the images that are unlike the others.

    Raises
    ------
    SettingError
        When there are too few images, too many are unlike the others, or a setting is out of
        range.

    """
    options = options or TeachOptions()
    check_name(name)
    if isinstance(images, GoodImages):
        good = images
    else:
        good = GoodImages.checked(
            images, classes, size=options.size, region=options.region_of_interest
        )
    good.check_enough(good.unfit)
    region = options.region_of_interest and options.region_of_interest.scaled(
        *good.scale, good.frame_format
    )
    _check_size(good, options, region)
    quality = quality or image_quality(
        good.without(good.unfit), progress, has_classes=good.classes is not None
    )
    good = replace(good, groups=quality.groups)
    preprocessing = options.preprocessing or choose_preprocessing(
        good.without(good.unfit),
        good.frame_format,
        region,
        progress,
        highlight_colours=options.highlight_colours,
        tolerance=options.tolerance,
        independent_count=quality.independent_count,
    )
    good = replace(
        good,
        reference=best_reference(good.without(good.unfit), good.frame_format, preprocessing),
    )
    tolerance = options.tolerance_within(preprocessing)
    reasons: tuple[str, ...] = ()
    if options.scorers == AUTO:
        choice = choose_scorers(
            good,
            preprocessing,
            options.false_reject_rate,
            tolerance=tolerance,
            budget_ms=options.speed_budget_ms,
            progress=progress,
        )
        settings, reasons = choice.settings, choice.reasons
    else:
        settings = options.named_scorers()
    fitted = fit_scorers(
        good,
        preprocessing,
        settings,
        options.false_reject_rate,
        progress,
        tolerance,
    )
    if options.preprocessing is None:
        fitted = _with_least_confidence(fitted, good)
    recipe = fitted.recipe(
        name,
        product,
        replace(
            provenance or Provenance(),
            images=(*good.notes, *quality.sentences),
            independent_count=quality.independent_count,
            choice=reasons,
        ),
    )
    return replace(recipe, conditions=taught_conditions(recipe, fitted.parts, good, progress))


def _check_size(good: GoodImages, options: TeachOptions, region: RegionOfInterest | None) -> None:
    """
    Refuse images that are too large before the work, which takes minutes.

    """
    named = good.without(good.unfit)
    given = options.preprocessing
    check_recipe_size(
        good.frame_format,
        given.colour if given else choose_colour(named),
        given.region_of_interest if given else region,
        {} if options.scorers == AUTO else options.named_scorers(),
        len(named),
        reference_count(len(named)),
    )


def _is_any_lost(fitted: FittedScorers, good: GoodImages) -> bool:
    """
    Tell whether a good image was left out because its part was not found.

    """
    preprocessor = Preprocessor(
        fitted.preprocessing, fitted.frame_format, fitted.references[0], fitted.references[1:]
    )
    for name, frame in good.without(good.unfit):
        if name in fitted.left_out:
            try:
                preprocessor.prepare(frame)
            except AlignmentError:
                return True
    return False


def _with_least_confidence(fitted: FittedScorers, good: GoodImages) -> FittedScorers:
    """
    Take the least confidence of the alignment from the good parts.

    Too few different parts do not show how far the next one is from the reference, and where good
    parts were not found, others will not be found either. Then alignment is no reason to reject:
    the scorers judge a part that is not found as it lies.

    """
    alignment = fitted.preprocessing.alignment
    if alignment.kind == 'none':
        return fitted
    confidences = least_confidences(fitted.parts)
    lowest, if_not_found = 0.0, 'as_it_lies'
    if len(confidences) >= FEWEST_TO_PROMISE and not _is_any_lost(fitted, good):
        rate = _SHARE_NOT_FOUND * fitted.false_reject_rate
        lowest = limit_from_good(confidences, BadSide.LOW, rate, 0.0, 1.0).limit
        if_not_found = 'reject'
    least = math.floor(100 * CONFIDENCE_MARGIN * max(lowest, LEAST_CONFIDENCE)) / 100
    return replace(
        fitted,
        preprocessing=replace(
            fitted.preprocessing,
            alignment=replace(alignment, min_confidence=least, if_not_found=if_not_found),
        ),
    )
