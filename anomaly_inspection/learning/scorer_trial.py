# SPDX-License-Identifier: Apache-2.0
"""
Trials of scorers: how they judge held-out good parts, and the same parts with a defect.

A scorer is fitted to all folds but one and measures the parts of that fold, as they are and
damaged. So each part is judged by a scorer that has not seen it, and no scorer is fitted more
often than there are folds. The limits come from the good parts of all folds.

"""

from __future__ import annotations

from dataclasses import dataclass
import math
from typing import Any, Self, TYPE_CHECKING

import numpy as np

from anomaly_inspection.errors import SettingError
from anomaly_inspection.learning.good_part_limits import FEWEST_VALUES, limits_from_good
from anomaly_inspection.learning.measure_scale import MeasureScale
from anomaly_inspection.learning.part_preparation import images_to_fit
from anomaly_inspection.learning.separation import auroc
from anomaly_inspection.scoring.registry import scorer_class

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from anomaly_inspection.imaging.preprocessing import Prepared
    from anomaly_inspection.learning.trial_parts import TrialParts
    from anomaly_inspection.scoring.measure import MeasureSpec
    from anomaly_inspection.scoring.scorer import Scorer

    Settings = Mapping[str, Mapping[str, Any]]
    # Values of each measure, by scorer and measure.
    Measures = Mapping[tuple[str, str], NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class Measured:
    """
    What some scorers measure in held-out parts.

    Parameters
    ----------
    settings : mapping of str to mapping
        By scorer, the settings that differ from its defaults.
    good, damaged : mapping of (scorer, measure) to ndarray of float64
        Values in good parts, and in parts with a defect; NaN where a part cannot be aligned.
    cost_ms : float
        Counted time of scoring a prepared frame.

    """

    settings: Settings
    good: Measures
    damaged: Measures
    cost_ms: float

    @classmethod
    def joined(cls, folds: Sequence[Self]) -> Self:
        """
        Put the folds of one trial together.

        """
        first = folds[0]
        good, damaged = (
            {key: np.concatenate([values[key] for values in each]) for key in each[0]}
            for each in ([fold.good for fold in folds], [fold.damaged for fold in folds])
        )
        return cls(first.settings, good, damaged, first.cost_ms)

    def with_other(self, other: Measured) -> Measured:
        """
        Put the measures of another scorer beside these.

        """
        return Measured(
            {**self.settings, **other.settings},
            {**self.good, **other.good},
            {**self.damaged, **other.damaged},
            self.cost_ms + other.cost_ms,
        )

    def judged(self, false_reject_rate: float) -> Trial:
        """
        Judge the parts by limits that come from the good ones.

        Raises
        ------
        SettingError
            When no limits can be set.

        """
        specs = {
            (scorer, spec.name): spec
            for scorer in self.settings
            for spec in scorer_class(scorer).measures
        }
        is_usual = _have_their_like(self.good, specs)
        if is_usual.sum() < FEWEST_VALUES:
            raise _too_few_alike(int(is_usual.sum()), is_usual.size)
        usual = {key: values[is_usual] for key, values in self.good.items()}
        limits = limits_from_good(usual, specs, false_reject_rate)

        def scores(values: Measures) -> NDArray[np.float64]:
            each = [
                (values[key] - limit.typical) / (limit.limit - limit.typical)
                for key, limit in limits.items()
            ]
            highest = np.max(each, axis=0)
            return np.where(np.isnan(highest), np.inf, highest)

        return Trial(self, scores(self.good), scores(self.damaged))


@dataclass(frozen=True, eq=False)
class Trial:
    """
    How some scorers judge held-out good parts and damaged ones.

    Parameters
    ----------
    measured : Measured
        What they measure.
    good, damaged : ndarray of float64
        Anomaly scores; infinity for parts that cannot be aligned.

    """

    measured: Measured
    good: NDArray[np.float64]
    damaged: NDArray[np.float64]

    @property
    def seen(self) -> NDArray[np.bool_]:
        """
        Which defects are seen at the limits.

        """
        return self.damaged > 1.0

    @property
    def auroc(self) -> float:
        """
        How often a damaged part scores higher than a good one; ties count half.

        """
        return auroc(self.good, self.damaged)

    @property
    def text(self) -> str:
        """
        'patch_statistics (statistics pooled)'.

        """
        return settings_text(self.measured.settings)

    @property
    def figures(self) -> str:
        """
        What it reached, for a sentence.

        """
        return (
            f'sees {100 * float(self.seen.mean()):.0f} % at its limits, AUROC {self.auroc:.3f}, '
            f'about {self.measured.cost_ms:.0f} ms a frame'
        )


def settings_text(settings: Settings) -> str:
    """
    Give scorers and their settings in words.

    """
    parts = []
    for scorer, given in settings.items():
        words = ', '.join(f'{key} {value}' for key, value in given.items())
        parts.append(f'{scorer} ({words})' if words else scorer)
    return ' with '.join(parts)


def try_scorer(
    trial_parts: TrialParts, fold: int, scorer: str, settings: Mapping[str, Any]
) -> tuple[Measures, Measures]:
    """
    Fit a scorer to all folds but one and measure the parts of that fold.

    Parameters
    ----------
    trial_parts : TrialParts
        The parts.
    fold : int
        The fold to measure, from 0.
    scorer : str
        Its name.
    settings : mapping
        All of its settings.

    Returns
    -------
    good, damaged : mapping of (scorer, measure) to ndarray of float64
        As in `Measured`.

    Raises
    ------
    SettingError, FrameError
        When the scorer cannot be fitted to these parts.

    """
    is_held_out = trial_parts.fold_of == fold
    fitted = _fitted(trial_parts, fold, scorer, settings)
    return (
        _measures(fitted, (part for i, part in trial_parts.good if is_held_out[i])),
        _measures(fitted, (part for i, part in trial_parts.damaged if is_held_out[i])),
    )


def check_alike_enough(trial_parts: TrialParts, scorer: str, settings: Mapping[str, Any]) -> None:
    """
    Check that limits can come from the parts, before the work, when a scorer tells classes apart.

    Folds are looked at until enough good parts have their like, so this is quick in most cases.

    Raises
    ------
    SettingError, FrameError
        When too few parts have their like among the others, or the scorer cannot be fitted.

    """
    specs = {(scorer, spec.name): spec for spec in scorer_class(scorer).measures}
    if all(spec.class_range is None for spec in specs.values()):
        return
    alike = 0
    for fold in range(trial_parts.folds):
        is_held_out = trial_parts.fold_of == fold
        fitted = _fitted(trial_parts, fold, scorer, settings)
        good = _measures(fitted, (part for i, part in trial_parts.good if is_held_out[i]))
        alike += int(_have_their_like(good, specs).sum())
        if alike >= FEWEST_VALUES:
            return
    raise _too_few_alike(alike, len(trial_parts.good))


def _fitted(
    trial_parts: TrialParts, fold: int, scorer: str, settings: Mapping[str, Any]
) -> Scorer:
    """
    Fit a scorer to all folds but one.

    """
    taught = [trial_parts.parts[i] for i in np.flatnonzero(trial_parts.fold_of != fold).tolist()]
    return scorer_class(scorer).fit(images_to_fit(scorer, taught), settings)


def _measures(fitted: Scorer, images: Iterable[Prepared | None]) -> Measures:
    names = [spec.name for spec in fitted.measures]
    rows = []
    for image in images:
        found = fitted.score(image).measures if image is not None else {}
        rows.append([found.get(name, math.nan) for name in names])
    columns = np.array(rows, np.float64).reshape(-1, len(names)).T
    return {(fitted.name, name): column for name, column in zip(names, columns, strict=True)}


def _have_their_like(
    good: Measures, specs: Mapping[tuple[str, str], MeasureSpec]
) -> NDArray[np.bool_]:
    """
    Tell which good parts limits can come from: not those of no class that was taught.

    """
    have = ~np.isnan(next(iter(good.values())))
    for key, spec in specs.items():
        if spec.class_range is not None:
            scale = MeasureScale.of_spec(spec)
            have &= scale.signed(good[key]) <= scale.sign * spec.class_range[1]
    return have


def _too_few_alike(alike: int, of: int) -> SettingError:
    return SettingError(
        f'{alike} of {of} good parts have their like among the others, too few for limits'
    )
