# SPDX-License-Identifier: Apache-2.0
"""
Cross-validation: what scorers measure in good parts that they were not fitted to.

Ten folds, or leave-one-out for fewer than 20 parts: a scorer that was fitted to far fewer parts
measures more in the others than the finished one will. A part and its moved copies are one: they
stay in one fold, and the worst of what is measured in them counts. So the limits hold for parts
that are moved, and the number of parts says how far they can be trusted. Near copies of a part
count as one part.

A copy in which a scorer measures far more than in the copies of the other parts was aligned wrong.
It does not count, because one such copy would make a limit blind.

"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TYPE_CHECKING

import numpy as np

from anomaly_inspection.errors import SettingError
from anomaly_inspection.learning.outliers import (
    describe_outlier,
    FEWEST_PARTS,
    LARGEST_SHARE_LEFT_OUT,
    OTHER_CLASS,
    outliers,
    OUTLYING_DEVIATIONS,
)
from anomaly_inspection.learning.part_preparation import images_to_fit
from anomaly_inspection.learning.threads import in_threads
from anomaly_inspection.scoring.measure import BadSide, MeasureSpec
from anomaly_inspection.scoring.registry import scorer_class

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from anomaly_inspection.imaging.preprocessing import Prepared
    from anomaly_inspection.learning.part_preparation import GoodPart
    from anomaly_inspection.progress import Progress
    from anomaly_inspection.scoring.scorer import Scorer

_FOLDS = 10
_LEAVE_ONE_OUT_BELOW = 20
# Parts of a class of their own differ in a detail alone, and are common where there are many.
_DEVIATIONS_OF_A_CLASS = 4.0


class _Score(NamedTuple):
    """
    What a scorer measures in one image.

    """

    measures: dict[str, float]
    anomaly_map: NDArray[np.float16]
    looks_like: str

    @classmethod
    def of(cls, fitted: Scorer, prepared: Prepared) -> _Score:
        output = fitted.score(prepared)
        half_precision = output.anomaly_map.astype(np.float16)
        return cls(output.measures, half_precision, output.part_class)


class _PartScore(NamedTuple):
    """
    What a scorer measures in one part, as it is and moved.

    """

    part: GoodPart
    still: _Score
    moved: list[_Score]

    @classmethod
    def of(cls, fitted: Scorer, part: GoodPart) -> _PartScore:
        return cls(
            part,
            _Score.of(fitted, part.prepared),
            [_Score.of(fitted, moved) for moved in part.moved],
        )


@dataclass(frozen=True, eq=False)
class HeldOutScores:
    """
    What one scorer measures in good parts that it was not fitted to.

    Parameters
    ----------
    scorer : str
        Name of the scorer.
    parts : list of GoodPart
        The parts that were measured, n.
    measures : dict of str to ndarray of float64, (n,)
        The scorer's own measures: the worst of the part as it is and moved.
    still_measures : dict of str to ndarray of float64, (n,)
        The measures of the part as it is.
    maps : list of ndarray of float16, (h, w)
        The anomaly map of each part, as it is or moved, that has the highest peak. In half
        precision, because those of all parts are held at once.
    classes : list of str
        The class that each part looks most like.
    outlying : dict of str to str
        Names of parts that are unlike the others, with the reason.

    """

    scorer: str
    parts: list[GoodPart]
    measures: dict[str, NDArray[np.float64]]
    still_measures: dict[str, NDArray[np.float64]]
    maps: list[NDArray[np.float16]]
    classes: list[str]
    outlying: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, scorer: str, scores: Sequence[_PartScore]) -> HeldOutScores:
        """
        Collect the scores of the parts.

        """
        specs = scorer_class(scorer).measures
        counted = _without_misaligned(scores, specs)
        still = {
            spec.name: np.array([score.still.measures[spec.name] for score in scores])
            for spec in specs
        }
        worst = {
            spec.name: np.array(
                [
                    (max if spec.bad_side is BadSide.HIGH else min)(
                        one.measures[spec.name] for one in each
                    )
                    for each in counted
                ]
            )
            for spec in specs
        }
        return cls(
            scorer,
            [score.part for score in scores],
            worst,
            still,
            [
                max((one.anomaly_map for one in each), key=lambda found: float(found.max()))
                for each in counted
            ],
            [score.still.looks_like for score in scores],
        )

    def keep(self, indices: Sequence[int] | NDArray[np.intp]) -> HeldOutScores:
        """
        Give the scores of some of the parts.

        """
        return HeldOutScores(
            self.scorer,
            [self.parts[i] for i in indices],
            {name: values[indices] for name, values in self.measures.items()},
            {name: values[indices] for name, values in self.still_measures.items()},
            [self.maps[i] for i in indices],
            [self.classes[i] for i in indices],
        )

    def find_outliers(self, deviations: float = OUTLYING_DEVIATIONS) -> dict[str, str]:
        """
        Give the names of the parts that are unlike the others, with the reason.

        """
        found = {
            part.name: f'{OTHER_CLASS}{part.prepared.part_class!r}, looks like {looks_like!r}'
            for part, looks_like in zip(self.parts, self.classes, strict=True)
            if part.prepared.part_class not in ('', looks_like) and looks_like
        }
        for spec in scorer_class(self.scorer).measures:
            values = self.still_measures[spec.name]
            for index in outliers(values, spec, deviations):
                found[self.parts[index].name] = describe_outlier(
                    f'{self.scorer}.{spec.name}', values, index
                )
        return found


def _without_misaligned(
    scores: Sequence[_PartScore], specs: Sequence[MeasureSpec]
) -> list[list[_Score]]:
    """
    Give what counts of each part: the part as it is, and its copies unless they are outliers.

    """
    moved = [(index, one) for index, score in enumerate(scores) for one in score.moved]
    strange = {
        place
        for spec in specs
        for place in outliers(np.array([one.measures[spec.name] for _, one in moved]), spec)
    }
    counted = [[score.still] for score in scores]
    for place, (index, one) in enumerate(moved):
        if place not in strange:
            counted[index].append(one)
    return counted


def cross_validate(
    scorer: str, settings: Mapping[str, Any], parts: Sequence[GoodPart], progress: Progress
) -> HeldOutScores:
    """
    Measure every part by a scorer that was fitted to the other folds.

    A scorer that tells classes apart does not measure a part whose class no other fold has. Where
    many parts are of a class of their own, only parts that have their like are kept.

    Parameters
    ----------
    scorer : str
        Name of the scorer.
    settings : mapping
        All settings of the scorer.
    parts : sequence of GoodPart
        Prepared parts.
    progress : callable (done, total, what)
        Called after every part.

    Raises
    ------
    SettingError
        When fewer than 5 parts have their like among the others.

    """
    class_spec = _class_spec(scorer)
    scores = _score_by_folds(scorer, settings, parts, progress)
    if class_spec and _are_mostly_strangers(scores, class_spec):
        scores = _with_their_like(scores, class_spec)
    else:
        scores.outlying.update(scores.find_outliers())
    if len(scores.parts) < FEWEST_PARTS and any(part.group is not None for part in parts):
        # Each kind of part was taught by near copies alone. Better measured by its copies than not
        # at all: the promise counts different parts only.
        apart = [replace(part, group=None) for part in parts]
        return cross_validate(scorer, settings, apart, progress)
    if len(scores.parts) < FEWEST_PARTS:
        raise SettingError(
            f'{len(scores.parts)} of {len(parts)} good images have their like among the '
            f'others; needed for the limits of {scorer}: at least {FEWEST_PARTS}. Teach '
            'several images of each class'
        )
    return scores


def score_held_out(fitted: Scorer, parts: Sequence[GoodPart], progress: Progress) -> HeldOutScores:
    """
    Measure parts by a scorer that was fitted without any of them.

    """
    scores = []
    for part in parts:
        scores.append(_PartScore.of(fitted, part))
        progress(len(scores), len(parts), f'measuring held-out parts, {fitted.name}')
    return HeldOutScores.of(fitted.name, scores)


def _score_by_folds(
    scorer: str, settings: Mapping[str, Any], parts: Sequence[GoodPart], progress: Progress
) -> HeldOutScores:
    fold_of = np.array(folds_of(parts))
    has_classes = _class_spec(scorer) is not None

    def score_fold(fold: int) -> dict[int, _PartScore]:
        others = [parts[index] for index in np.flatnonzero(fold_of != fold).tolist()]
        known_classes = {part.prepared.part_class for part in others}
        fitted = scorer_class(scorer).fit(images_to_fit(scorer, others), settings)
        return {
            index: _PartScore.of(fitted, parts[index])
            for index in np.flatnonzero(fold_of == fold).tolist()
            if not has_classes or parts[index].prepared.part_class in known_classes
        }

    scores: dict[int, _PartScore] = {}
    for found in in_threads(score_fold, np.unique(fold_of).tolist()):
        for index, score in found.items():
            scores[index] = score
            progress(len(scores), len(parts), f'measuring held-out parts, {scorer}')
    return HeldOutScores.of(scorer, [scores[index] for index in sorted(scores)])


def folds_of(parts: Sequence[GoodPart], folds: int | None = None) -> list[int]:
    """
    Give the fold of every part.

    Near copies and images of one sequence share a fold: a part tells nothing about others when a
    scorer was fitted to its copy. Each class is spread over all folds.

    Parameters
    ----------
    parts : sequence of GoodPart
        Prepared parts.
    folds : int, optional
        How many folds, where there are so many groups; by default ten, or one a group where
        there are fewer than 20.

    """
    groups = _groups(parts)
    if folds is None:
        folds = len(groups) if len(groups) < _LEAVE_ONE_OUT_BELOW else _FOLDS
    order = sorted(groups, key=lambda group: parts[group[0]].prepared.part_class)
    fold_of = [0] * len(parts)
    for place, group in enumerate(order):
        for index in group:
            fold_of[index] = place % folds
    return fold_of


def _groups(parts: Sequence[GoodPart]) -> list[list[int]]:
    """
    Give the parts by group; each part is its own group where there are too few groups to divide.

    """
    groups: dict[tuple[str, int], list[int]] = {}
    for index, part in enumerate(parts):
        group = -1 - index if part.group is None else part.group
        groups.setdefault((part.prepared.part_class, group), []).append(index)
    if len(groups) < FEWEST_PARTS:
        return [[index] for index in range(len(parts))]
    return list(groups.values())


def _class_spec(scorer: str) -> MeasureSpec | None:
    """
    Give the measure by which a scorer tells classes apart; None when it knows no classes.

    """
    return next((spec for spec in scorer_class(scorer).measures if spec.class_range), None)


def _are_mostly_strangers(scores: HeldOutScores, spec: MeasureSpec) -> bool:
    """
    Tell whether many parts match none of the others: then each of these is a class of its own.

    """
    assert spec.class_range is not None
    strangers = _is_beyond(scores.measures[spec.name], spec.class_range[0], spec)
    return int(strangers.sum()) > LARGEST_SHARE_LEFT_OUT * len(strangers)


def _with_their_like(scores: HeldOutScores, spec: MeasureSpec) -> HeldOutScores:
    """
    Keep the parts that have their like among the others.

    A limit cannot come from what a part measures against parts of other classes.

    """
    assert spec.class_range is not None
    has_like = ~_is_beyond(scores.measures[spec.name], spec.class_range[1], spec)
    alike = scores.keep(np.flatnonzero(has_like))
    outlying = alike.find_outliers(_DEVIATIONS_OF_A_CLASS)
    return alike.keep([i for i, part in enumerate(alike.parts) if part.name not in outlying])


def _is_beyond(values: NDArray[np.float64], bound: float, spec: MeasureSpec) -> NDArray[np.bool_]:
    return np.asarray(values > bound if spec.bad_side is BadSide.HIGH else values < bound)
