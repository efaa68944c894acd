# SPDX-License-Identifier: Apache-2.0
"""
Fit scorers to good parts and give them limits: the part of teaching that is the same for every
choice of scorers.

"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TYPE_CHECKING

from anomaly_inspection.imaging.preprocessing import Preprocessor
from anomaly_inspection.imaging.region_of_interest import RegionOfInterest
from anomaly_inspection.learning.cross_validation import cross_validate, HeldOutScores
from anomaly_inspection.learning.false_rejects import FEWEST_TO_PROMISE, promised_rate
from anomaly_inspection.learning.good_part_limits import rate_of_each
from anomaly_inspection.learning.part_preparation import (
    farthest_pose,
    GoodPart,
    images_to_fit,
    prepare_parts,
)
from anomaly_inspection.learning.reference_choice import choose_references
from anomaly_inspection.learning.scorer_limits import scorer_recipe
from anomaly_inspection.learning.setting_choice import choose_settings
from anomaly_inspection.progress import no_progress
from anomaly_inspection.recipes.recipe import measures_of, Provenance, Recipe, ScorerRecipe
from anomaly_inspection.scoring.registry import scorer_class

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from anomaly_inspection.imaging.frame_check import FrameFormat
    from anomaly_inspection.imaging.preprocessing import PreprocessingSettings
    from anomaly_inspection.imaging.tolerance import Tolerance
    from anomaly_inspection.learning.good_images import GoodImages, Named
    from anomaly_inspection.progress import Progress

    Settings = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, eq=False)
class FittedScorers:
    """
    Scorers with limits, and the good parts that they come from.

    Parameters
    ----------
    frame_format : FrameFormat
        Of the images.
    preprocessing : PreprocessingSettings
        What the parts were prepared with.
    references : tuple of ndarray of uint8
        Images to align to; the first is the reference.
    parts : list of GoodPart
        The prepared parts, without those left out.
    scorers : dict of str to ScorerRecipe
        By name.
    left_out : dict of str to str
        Names of the images that are unlike the others, with the reason.
    false_reject_rate : float
        Share of good parts that all limits together may reject.
    held_out_count : int
        How many parts the limits of each scorer come from, at least.
    tolerance : Tolerance or None
        How far parts may lie, in pixels, widened by how far the taught ones do.

    """

    frame_format: FrameFormat
    preprocessing: PreprocessingSettings
    references: tuple[NDArray[np.uint8], ...]
    parts: list[GoodPart]
    scorers: dict[str, ScorerRecipe]
    left_out: dict[str, str]
    false_reject_rate: float
    held_out_count: int
    tolerance: Tolerance | None = None

    def recipe(self, name: str, product: str = '', provenance: Provenance | None = None) -> Recipe:
        """
        Assemble the recipe; its provenance gets the counts and rates.

        """
        return Recipe(
            name=name,
            product=product,
            provenance=replace(
                provenance or Provenance(),
                image_count=len(self.parts),
                left_out=tuple(f'{who}: {why}' for who, why in self.left_out.items()),
                false_reject_rate=self.false_reject_rate,
                promised_rate=self._promised_rate(provenance),
            ),
            frame_format=self.frame_format,
            preprocessing=self.preprocessing,
            scorers=self.scorers,
            references=self.references,
            tolerance=self.tolerance,
        )

    def _promised_rate(self, provenance: Provenance | None) -> float:
        """
        Give the rate that the different parts can promise; 1 when they are too few for any.

        """
        distinct = provenance.independent_count if provenance else 0
        count = min(self.held_out_count, distinct or self.held_out_count)
        return round(promised_rate(count), 4) if count >= FEWEST_TO_PROMISE else 1.0


def fit_scorers(
    images: GoodImages,
    preprocessing: PreprocessingSettings,
    settings: Settings,
    false_reject_rate: float,
    progress: Progress = no_progress,
    tolerance: Tolerance | None = None,
) -> FittedScorers:
    """
    Fit scorers to good parts and derive their limits by cross-validation.

    Images that are unlike the others are left out, and all is measured anew without them.

    Parameters
    ----------
    images : GoodImages
        Images of good parts.
    preprocessing : PreprocessingSettings
        How to prepare them.
    settings : mapping of str to mapping
        By the name of each scorer, the settings that are given. The others are defaults, or chosen
        by what the good parts need.
    false_reject_rate : float
        Share of good parts that all limits together may reject, over 0 and below 0.5.
    progress : callable (done, total, what), optional
        Called after every step.
    tolerance : Tolerance, optional
        The limits are to hold for good parts that are moved and lit so far; by default for parts
        as they are.

    Raises
    ------
    SettingError
        When too many images are unlike the others, or a scorer or its limits do not suit them.

    """
    left_out = dict(images.unfit)
    while True:
        images.check_enough(left_out)
        named = images.without(left_out)
        measured = _measure(named, images, preprocessing, settings, progress, tolerance)
        if not measured.outlying:
            break
        left_out |= measured.outlying
    scorers = {
        scorer: scorer_recipe(
            scorer_class(scorer).fit(images_to_fit(scorer, measured.parts), chosen),
            chosen,
            measured.held_out[scorer],
            rate_of_each(false_reject_rate, measures_of(scorer), len(settings)),
            images.frame_format,
        )
        for scorer, chosen in measured.settings.items()
    }
    return FittedScorers(
        frame_format=images.frame_format,
        preprocessing=preprocessing,
        references=measured.references,
        parts=measured.parts,
        scorers=scorers,
        left_out=left_out,
        false_reject_rate=false_reject_rate,
        held_out_count=min(len(held_out.parts) for held_out in measured.held_out.values()),
        tolerance=_taught_for(tolerance, preprocessing, images.frame_format, measured.parts),
    )


def _taught_for(
    tolerance: Tolerance | None,
    preprocessing: PreprocessingSettings,
    frame_format: FrameFormat,
    parts: Sequence[GoodPart],
) -> Tolerance | None:
    """
    Give the tolerance that the limits hold for: widened to where the parts already lie.

    """
    if tolerance is None:
        return None
    region = preprocessing.region_of_interest or RegionOfInterest.whole(frame_format)
    in_pixels = tolerance.in_pixels(min(region.width, region.height))
    return in_pixels.widened(*farthest_pose(parts))


@dataclass(frozen=True, eq=False)
class _Measured:
    """
    Prepared parts and what the scorers measure in them; without scores when a part is outlying.

    """

    references: tuple[NDArray[np.uint8], ...]
    parts: list[GoodPart]
    outlying: dict[str, str]
    settings: dict[str, dict[str, Any]]
    held_out: dict[str, HeldOutScores]


def _measure(
    named: Sequence[Named],
    images: GoodImages,
    preprocessing: PreprocessingSettings,
    settings: Settings,
    progress: Progress,
    tolerance: Tolerance | None,
) -> _Measured:
    references = choose_references(named, images.reference)
    preprocessor = Preprocessor(preprocessing, images.frame_format, references[0], references[1:])
    parts, outlying = prepare_parts(named, preprocessor, images.classes, progress, tolerance)
    parts = [replace(part, group=images.groups.get(part.name)) for part in parts]
    if outlying:
        return _Measured(references, parts, outlying, {}, {})
    complete = {
        scorer: choose_settings(scorer, parts) | dict(given) for scorer, given in settings.items()
    }
    held_out = {
        scorer: cross_validate(scorer, chosen, parts, progress)
        for scorer, chosen in complete.items()
    }
    for scores in held_out.values():
        outlying |= scores.outlying
    return _Measured(references, parts, outlying, complete, held_out)
