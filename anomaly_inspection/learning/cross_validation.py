# SPDX-License-Identifier: Apache-2.0
"""
Held-out good parts: what scorers measure in parts they were not fitted to, and the limits from it.

"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, TYPE_CHECKING

import numpy as np

from anomaly_inspection.errors import SettingError
from anomaly_inspection.imaging.frame_check import FrameFormat
from anomaly_inspection.learning.good_part_limits import limit_from_good
from anomaly_inspection.learning.outliers import (
    describe_outlier,
    FEWEST_PARTS,
    LARGEST_SHARE_LEFT_OUT,
    outliers,
    OUTLYING_DEVIATIONS,
)
from anomaly_inspection.recipes.recipe import MeasureLimit, measures_of, ScorerRecipe
from anomaly_inspection.scoring.frame_scorer import RegionSettings
from anomaly_inspection.scoring.measure import BadSide, MeasureSpec
from anomaly_inspection.scoring.region import find_regions
from anomaly_inspection.scoring.registry import scorer_class

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from anomaly_inspection.imaging.preprocessing import Prepared
    from anomaly_inspection.scoring.scorer import Scorer

    Progress = Callable[[int, int, str], None]

_FOLDS = 5
_LEAVE_ONE_OUT_BELOW = 20
_DEVIATIONS_OF_A_VARIANT = 4.0
_MIN_AREA_PX = 4
_LEAST_REGION_LIMIT = 1e-6
_SHARE_WITH_REGIONS = 0.1
_FEWEST_WITH_REGIONS = 5


@dataclass(frozen=True, eq=False)
class TaughtPart:
    """
    A good part, prepared.

    """

    name: str
    prepared: Prepared


@dataclass(frozen=True, eq=False)
class HeldOut:
    """
    What one scorer measures in parts it was not fitted to.

    Parameters
    ----------
    parts : list of TaughtPart
        Those measured, n.
    measures : dict of str to ndarray, (n,)
        The scorer's own measures.
    maps : list of ndarray of float16, (h, w)
        Half precision, because those of all parts are held at once.
    classes : list of str
        The class that each looks most like.
    unlike : dict of str to str
        Names of parts that are unlike the others, with the reason.

    """

    parts: list[TaughtPart]
    measures: dict[str, NDArray[np.float64]]
    maps: list[NDArray[np.float16]]
    classes: list[str]
    unlike: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls, scorer: str, settings: dict[str, Any], parts: Sequence[TaughtPart], report: Progress
    ) -> HeldOut:
        kind = scorer_class(scorer)
        fold_of = _folds(parts)
        class_spec = _class_spec(scorer)
        outputs: dict[int, tuple[dict[str, float], str]] = {}
        maps: dict[int, NDArray[np.float16]] = {}
        for fold in sorted(set(fold_of)):
            others = [part for part, own in zip(parts, fold_of, strict=True) if own != fold]
            known = {part.prepared.part_class for part in others}
            fitted = kind.fit([part.prepared for part in others], settings)
            for index in np.flatnonzero(np.array(fold_of) == fold).tolist():
                prepared = parts[index].prepared
                # Against strangers a part measures nothing that limits could come from.
                if class_spec and prepared.part_class not in known:
                    continue
                output = fitted.score(prepared)
                maps[index] = output.anomaly_map.astype(np.float16)
                outputs[index] = output.measures, output.part_class
                report(len(outputs), len(parts), f'measuring held-out parts, {scorer}')
        measured = sorted(outputs)
        held = cls(
            [parts[index] for index in measured],
            {
                spec.name: np.array([outputs[index][0][spec.name] for index in measured])
                for spec in kind.measures
            },
            [maps[index] for index in measured],
            [outputs[index][1] for index in measured],
        )
        if class_spec and held.are_variants(class_spec):
            held = held.with_their_like(scorer, class_spec)
        else:
            held.unlike.update(held.outliers(scorer))
        if len(held.parts) < FEWEST_PARTS:
            raise SettingError(
                f'{len(held.parts)} of {len(parts)} good images have their like among the '
                f'others; needed for the limits of {scorer}: at least {FEWEST_PARTS}. Teach '
                'several images of each class'
            )
        return held

    @classmethod
    def by(cls, fitted: Scorer, parts: Sequence[TaughtPart], report: Progress) -> HeldOut:
        """
        Measure parts by a scorer that was fitted without any of them.

        """
        outputs = []
        for part in parts:
            outputs.append(fitted.score(part.prepared))
            report(len(outputs), len(parts), f'measuring held-out parts, {fitted.name}')
        return cls(
            list(parts),
            {
                spec.name: np.array([output.measures[spec.name] for output in outputs])
                for spec in fitted.measures
            },
            [output.anomaly_map.astype(np.float16) for output in outputs],
            [output.part_class for output in outputs],
        )

    def are_variants(self, spec: MeasureSpec) -> bool:
        """
        Tell whether many parts match none of the others: each is a class of its own.

        """
        assert spec.class_range is not None
        strangers = _is_beyond(self.measures[spec.name], spec.class_range[0], spec)
        return int(strangers.sum()) > LARGEST_SHARE_LEFT_OUT * len(strangers)

    def with_their_like(self, scorer: str, spec: MeasureSpec) -> HeldOut:
        """
        Keep only the parts whose like is among the others: what a part measures against a stranger
        says nothing of the limits.

        """
        assert spec.class_range is not None
        has_like = ~_is_beyond(self.measures[spec.name], spec.class_range[1], spec)
        alike = self._only(np.flatnonzero(has_like))
        # Variants that differ in a detail alone are common where there are many.
        odd = alike.outliers(scorer, _DEVIATIONS_OF_A_VARIANT)
        return alike._only([i for i, part in enumerate(alike.parts) if part.name not in odd])

    def _only(self, indices: Sequence[int] | NDArray[np.intp]) -> HeldOut:
        return HeldOut(
            [self.parts[i] for i in indices],
            {name: values[indices] for name, values in self.measures.items()},
            [self.maps[i] for i in indices],
            [self.classes[i] for i in indices],
        )

    def outliers(self, scorer: str, deviations: float = OUTLYING_DEVIATIONS) -> dict[str, str]:
        """
        Give the names of the parts that are unlike the others, with the reason.

        """
        unlike = {
            part.name: f'called {part.prepared.part_class!r}, looks like {looks_like!r}'
            for part, looks_like in zip(self.parts, self.classes, strict=True)
            if part.prepared.part_class not in ('', looks_like) and looks_like
        }
        for spec in scorer_class(scorer).measures:
            values = self.measures[spec.name]
            for index in outliers(values, spec, deviations):
                unlike[self.parts[index].name] = describe_outlier(
                    f'{scorer}.{spec.name}', values, index
                )
        return unlike


def _class_spec(scorer: str) -> MeasureSpec | None:
    """
    Give the measure by which a scorer tells classes apart; None when it knows none.

    """
    return next((spec for spec in scorer_class(scorer).measures if spec.class_range), None)


def _is_beyond(values: NDArray[np.float64], bound: float, spec: MeasureSpec) -> NDArray[np.bool_]:
    return np.asarray(values > bound if spec.bad_side is BadSide.HIGH else values < bound)


def _folds(parts: Sequence[TaughtPart]) -> list[int]:
    """
    Give the fold of every part, each class spread over all of them.

    """
    folds = len(parts) if len(parts) < _LEAVE_ONE_OUT_BELOW else _FOLDS
    order = sorted(range(len(parts)), key=lambda index: parts[index].prepared.part_class)
    fold_of = [0] * len(parts)
    for place, index in enumerate(order):
        fold_of[index] = place % folds
    return fold_of


def scorer_recipe(
    scorer: str,
    settings: dict[str, Any],
    fitted: Scorer,
    held: HeldOut,
    rate_each: float,
    frame_format: FrameFormat,
) -> ScorerRecipe:
    """
    Give a fitted scorer its limits, from parts that it was not fitted to.

    """
    peaks = np.array([float(one.max()) for one in held.maps])
    region = RegionSettings(_region_limit(peaks), _MIN_AREA_PX)
    frame_size = (frame_format.width, frame_format.height)
    areas = [
        max(
            (
                found.area_px
                for found in find_regions(
                    one.astype(np.float32),
                    region.limit,
                    region.min_area_px,
                    part.prepared.to_frame,
                    frame_size,
                )
            ),
            default=0,
        )
        for one, part in zip(held.maps, held.parts, strict=True)
    ]
    good = {**held.measures, 'largest_region': np.array(areas, np.float64)}
    return ScorerRecipe(
        settings=settings,
        region=region,
        limits={
            spec.name: _limit(good[spec.name], spec, rate_each) for spec in measures_of(scorer)
        },
        arrays=fitted.to_arrays(),
        good=good,
    )


def _limit(good: NDArray[np.float64], spec: MeasureSpec, rate: float) -> MeasureLimit:
    """
    Give the limit of a measure.

    Of one that tells the class it lies at least twice as far from perfect as parts of a class do:
    a part with a defect is still of its class.

    """
    found = limit_from_good(good, spec.bad_side, rate, spec.minimum, spec.maximum)
    if spec.class_range is None:
        return found
    if spec.bad_side is BadSide.HIGH:
        loosest = max(found.limit, 2 * spec.class_range[1] - spec.minimum)
    else:
        loosest = min(found.limit, 2 * spec.class_range[1] - spec.maximum)
    return replace(found, limit=float(f'{loosest:.6g}'))


def _region_limit(peaks: NDArray[np.float64]) -> float:
    """
    Give the map value that a tenth of the held-out good parts, at least five, exceed somewhere.

    Not one that none exceeds: how large such places are in good parts gives the largest region a
    limit of its own, which finds wide weak defects that no peak gives away.

    """
    share = max(_SHARE_WITH_REGIONS, _FEWEST_WITH_REGIONS / len(peaks))
    # Never 0, even where no good part shows anything: maps are published in units of it.
    return max(_LEAST_REGION_LIMIT, float(f'{np.quantile(peaks, 1.0 - share):.6g}'))
