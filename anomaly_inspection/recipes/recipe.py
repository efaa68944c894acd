# SPDX-License-Identifier: Apache-2.0
"""
The recipe: all that the cell knows of one product.

"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
import math
import re
from typing import Any, TYPE_CHECKING

from anomaly_inspection.deciding.limits import Limit
from anomaly_inspection.errors import LimitError, RecipeError, SettingError
from anomaly_inspection.imaging.preprocessing import Preprocessor
from anomaly_inspection.scoring.deep_features import DeepFeaturesScorer
from anomaly_inspection.scoring.frame_scorer import FrameScorer, REGION_MEASURES
from anomaly_inspection.scoring.registry import scorer_class
from anomaly_inspection.scoring.scorer import TrainedOnPreprocessing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from anomaly_inspection.imaging.frame_check import FrameFormat
    from anomaly_inspection.imaging.part_marks import PartMarks
    from anomaly_inspection.imaging.preprocessing import PreprocessingSettings
    from anomaly_inspection.imaging.tolerance import Tolerance
    from anomaly_inspection.recipes.teaching_images import TeachingImages
    from anomaly_inspection.scoring.frame_scorer import RegionSettings
    from anomaly_inspection.scoring.measure import MeasureSpec

COMBINATIONS = ('any', 'all')
NAME_PATTERN = r'[a-z0-9_-]+'
NAME_ALLOWED = 'lower-case letters, digits, "_" and "-"'


@dataclass(frozen=True)
class MeasureLimit:
    """
    The limit of one measure.

    Parameters
    ----------
    limit : float
        A value beyond it, on the bad side, is anomalous; exactly at it is still good. Unit of the
        measure.
    typical : float
        Median of the measure over held-out good parts, unit of the measure.
    lowest, highest : float or None
        The range in which the limit may be moved, both included; None = as far as the measure
        allows.

    """

    limit: float
    typical: float
    lowest: float | None = None
    highest: float | None = None


@dataclass(frozen=True)
class Provenance:
    """
    Where a recipe comes from and what was seen while it was taught.

    Parameters
    ----------
    taught_by, test_number, sample_phase, test_position : str
        As the operator gave them; '' = not given.
    source : str
        Where the good images came from.
    image_count : int
        Number of good parts it was taught on, those left out not counted.
    independent_count : int
        How many of the images tell something new: near copies and images of one recorded sequence
        count once; 0 = unknown.
    left_out : tuple of str
        Names of images that were offered as good parts but not taken, each with the reason.
    images : tuple of str
        What was done to the images and how good they are, one sentence each.
    choice : tuple of str
        Why these scorers were chosen, one sentence each; empty when they were named.
    false_reject_rate : float
        Share of good parts that the limits may reject, all measures together, as it was asked for.
    promised_rate : float
        What the number of independent images alone can promise: the true rate is below this with
        95 % confidence. 1 = nothing can be promised.

    """

    taught_by: str = ''
    test_number: str = ''
    sample_phase: str = ''
    test_position: str = ''
    source: str = ''
    image_count: int = 0
    independent_count: int = 0
    left_out: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    choice: tuple[str, ...] = ()
    false_reject_rate: float = 0.005
    promised_rate: float = 1.0


@dataclass(frozen=True, eq=False)
class ScorerRecipe:
    """
    What a recipe holds for one scorer.

    Parameters
    ----------
    settings : dict of str to anything YAML can hold
        See the scorer's `default_settings`.
    region : RegionSettings
        What makes a region in the scorer's map.
    limits : dict of str to MeasureLimit
        One for each of the scorer's measures and region measures.
    arrays : dict of str to ndarray
        The fitted data, as the scorer's `to_arrays` gives them.
    good : dict of str to ndarray of float64, (n,)
        Each measure of the held-out good parts: what the limits were derived from.
    not_judged : frozenset of str
        Measures that are published but play no part in the verdict.

    """

    settings: dict[str, Any]
    region: RegionSettings
    limits: dict[str, MeasureLimit]
    arrays: dict[str, NDArray[Any]] = field(repr=False)
    good: dict[str, NDArray[np.float64]] = field(repr=False)
    not_judged: frozenset[str] = frozenset()


@dataclass(frozen=True, eq=False)
class Recipe:
    """
    All that the cell knows of one product.

    Parameters
    ----------
    name : str
        Lower-case letters, digits, '_' and '-'.
    product : str
        What people call it.
    provenance : Provenance
        Where it comes from.
    frame_format : FrameFormat
        What every frame must be.
    preprocessing : PreprocessingSettings
        From a frame to what scorers see.
    scorers : dict of str to ScorerRecipe
        By name, in the order of the scores; at least one.
    references : tuple of ndarray of uint8
        Good frames as the camera gave them, at least one; the first is the alignment reference,
        the others tell which of its edges good parts share.
    tolerance : Tolerance or None
        How far good parts may lie, turn and be lit differently, with its shift in pixels; None =
        not known, as in recipes of older versions.
    combination : 'any' or 'all'
        Whether one judged measure beyond its limit rejects a part, or only all of them together.
    version : int
        Counts up from 1 at each writing; 0 = never written.
    created : str
        When this version was written, ISO 8601, UTC; '' = never written.
    path : Path or None
        Folder it was read from; None = not on disk as it is.
    hash : str
        SHA-256 over its files, 64 hexadecimal digits; '' = not on disk as it is.
    teaching_images : TeachingImages or None
        The images that it was taught on; None = it does not keep them.
    conditions : dict of str to ndarray of float64
        How the pictures of its good parts were lit, and where the parts lay in them, by the names
        in `imaging/conditions.py`; empty = not known, as in recipes of older versions.
    marks : PartMarks or None
        What a person has marked on the part, in pixels of the first reference; None = nothing.

    """

    name: str
    product: str
    provenance: Provenance
    frame_format: FrameFormat
    preprocessing: PreprocessingSettings
    scorers: dict[str, ScorerRecipe]
    references: tuple[NDArray[np.uint8], ...] = field(repr=False)
    tolerance: Tolerance | None = None
    combination: str = 'any'
    version: int = 0
    created: str = ''
    path: Path | None = None
    hash: str = ''
    teaching_images: TeachingImages | None = None
    conditions: dict[str, NDArray[np.float64]] = field(default_factory=dict, repr=False)
    marks: PartMarks | None = None

    def at(self, path: Path) -> Recipe:
        """
        Give the recipe as it lies in a folder.

        """
        images = self.teaching_images and replace(self.teaching_images, folder=path)
        return replace(self, path=path, teaching_images=images)

    def frame_scorer(self, names: Sequence[str] | None = None) -> FrameScorer:
        """
        Make what scores frames by this recipe.

        Parameters
        ----------
        names : sequence of str, optional
            The scorers wanted; all of the recipe's by default.

        Raises
        ------
        SettingError
            When the recipe has no such scorer.
        RecipeError
            When the fitted data do not fit the scorer.

        """
        wanted = tuple(self.scorers) if names is None else tuple(names)
        fitted = {}
        for name in wanted:
            part = self._scorer(name)
            scorer = scorer_class(name).from_arrays(part.arrays, part.settings)
            if isinstance(scorer, TrainedOnPreprocessing):
                self._check_trained_on(name, scorer.preprocessing_fingerprint)
            fitted[name] = (scorer, part.region)
        return FrameScorer(
            Preprocessor(
                self.preprocessing,
                self.frame_format,
                self.references[0],
                self.references[1:],
                gives_unaligned=DeepFeaturesScorer.name in fitted,
            ),
            fitted,
            self.tolerance,
        )

    def measures(self, scorer_name: str) -> tuple[MeasureSpec, ...]:
        """
        Give all measures of one scorer of the recipe, those of its regions included.

        """
        self._scorer(scorer_name)
        return measures_of(scorer_name)

    def with_limits(self, limits: Mapping[tuple[str, str], float]) -> Recipe:
        """
        Give the recipe with some limits changed, not yet on disk.

        Parameters
        ----------
        limits : mapping of (scorer, measure) to float
            New limits, unit of each measure.

        Raises
        ------
        LimitError
            When one of them is refused; then none is changed.

        """
        return self._with_measure_limits(
            {
                key: replace(self._measure_limit(*key), limit=float(value))
                for key, value in limits.items()
            }
        )

    def with_ranges(
        self, ranges: Mapping[tuple[str, str], tuple[float | None, float | None]]
    ) -> Recipe:
        """
        Give the recipe with other ranges in which limits may be moved, not yet on disk.

        Parameters
        ----------
        ranges : mapping of (scorer, measure) to (float or None, float or None)
            Lowest and highest limit that is taken, both included, unit of the measure; None = as
            far as the measure allows. Ranges that are not named stay.

        Raises
        ------
        LimitError
            When one of them is refused, e.g. as it does not hold the limit; then none is changed.

        """
        changed = {}
        for key, (lowest, highest) in ranges.items():
            limit = replace(self._measure_limit(*key), lowest=lowest, highest=highest)
            low = -math.inf if lowest is None else lowest
            high = math.inf if highest is None else highest
            if not low <= limit.limit <= high:
                raise LimitError(
                    f'{".".join(key)}: range {low!r} to {high!r} refused, allowed: a range that '
                    f'holds the limit, {limit.limit!r}'
                )
            changed[key] = limit
        return self._with_measure_limits(changed)

    def _measure_limit(self, scorer_name: str, measure_name: str) -> MeasureLimit:
        part = self.scorers.get(scorer_name)
        if part is None or measure_name not in part.limits:
            known = ', '.join(f'{s}.{m}' for s, p in self.scorers.items() for m in p.limits)
            raise LimitError(
                f'there is no measure {scorer_name}.{measure_name}; there are: {known}'
            )
        return part.limits[measure_name]

    def _with_measure_limits(self, limits: Mapping[tuple[str, str], MeasureLimit]) -> Recipe:
        scorers = dict(self.scorers)
        for (scorer_name, measure_name), limit in limits.items():
            spec = next(spec for spec in measures_of(scorer_name) if spec.name == measure_name)
            checked_limit(scorer_name, spec, limit)
            part = scorers[scorer_name]
            scorers[scorer_name] = replace(part, limits={**part.limits, measure_name: limit})
        return replace(self, scorers=scorers, path=None, hash='')

    def _check_trained_on(self, scorer_name: str, fingerprint: str) -> None:
        own = self.preprocessing.fingerprint()
        if fingerprint != own:
            raise RecipeError(
                f'the network of {scorer_name} was trained on images of another preprocessing '
                f'(fingerprint {fingerprint}) than that of recipe {self.name} ({own}): train it '
                'again'
            )

    def _scorer(self, name: str) -> ScorerRecipe:
        if name not in self.scorers:
            raise SettingError(
                f'recipe {self.name} has no scorer {name!r}; it has: {", ".join(self.scorers)}'
            )
        return self.scorers[name]


def measures_of(scorer_name: str) -> tuple[MeasureSpec, ...]:
    """
    Give all measures that a scorer reports, those of its regions included.

    """
    return scorer_class(scorer_name).measures + REGION_MEASURES


def check_name(name: str) -> None:
    """
    Raise SettingError unless a recipe can have that name.

    """
    if re.fullmatch(NAME_PATTERN, name) is None:
        raise SettingError(f'the name of a recipe is {name!r}; allowed: {NAME_ALLOWED}')


def checked_limit(scorer_name: str, spec: MeasureSpec, limit: MeasureLimit) -> Limit:
    """
    Give a limit as the decider judges by it.

    Raises
    ------
    LimitError
        When the decider would not take it; names the measure, the value and what is allowed.

    """
    minimum, maximum = spec.limit_range
    return Limit(
        scorer=scorer_name,
        measure=spec.name,
        value=limit.limit,
        bad_side=spec.bad_side,
        typical=limit.typical,
        unit=spec.unit,
        minimum=minimum,
        maximum=maximum,
        tells_class=spec.class_range is not None,
        lowest=-math.inf if limit.lowest is None else limit.lowest,
        highest=math.inf if limit.highest is None else limit.highest,
    )
