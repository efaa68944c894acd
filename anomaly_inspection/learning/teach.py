# SPDX-License-Identifier: Apache-2.0
"""
Teach: from frames of good parts to a recipe, limits included, without one bad part.

The frames give the format, the alignment reference (the most central one) and the preprocessing.
Every part is then measured by scorers that were fitted without it (five folds, or leave-one-out
for few parts), and limits come from these held-out measures alone. A frame that is not like the
others, be it another part, an empty belt or a part with a defect, is left out and named in the
recipe's provenance; more than a tenth of such frames is an error.

"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
import math
from typing import Any, Literal, TYPE_CHECKING

import cv2
import numpy as np

from anomaly_inspection.errors import AlignmentError, FrameError, SettingError
from anomaly_inspection.imaging.alignment import AlignmentSettings, UNKNOWNS
from anomaly_inspection.imaging.filters import Gauss
from anomaly_inspection.imaging.frame_check import (
    check_frame,
    FrameFormat,
    SATURATED_SHARE,
    saturation,
)
from anomaly_inspection.imaging.light import LIGHTS
from anomaly_inspection.imaging.preprocessing import PreprocessingSettings, Preprocessor
from anomaly_inspection.learning.auto import choose, DEFAULT_BUDGET_MS
from anomaly_inspection.learning.calibration import (
    check_enough,
    check_rate,
    FEWEST_PARTS,
    LARGEST_SHARE_LEFT_OUT,
    limit_from_good,
    outliers,
    OUTLYING_DEVIATIONS,
    promised_rate,
    rate_of_each,
)
from anomaly_inspection.recipes.recipe import (
    check_name,
    MeasureLimit,
    measures_of,
    Provenance,
    Recipe,
    ScorerRecipe,
)
from anomaly_inspection.scoring.frame_scorer import RegionSettings
from anomaly_inspection.scoring.measure import BadSide, MeasureSpec
from anomaly_inspection.scoring.patch_statistics import smallest_stride_px, surface_of
from anomaly_inspection.scoring.region import find_regions
from anomaly_inspection.scoring.registry import scorer_class
from anomaly_inspection.scoring.scorer import checked_settings
from anomaly_inspection.scoring.variation import flattened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from anomaly_inspection.imaging.preprocessing import Prepared
    from anomaly_inspection.imaging.region_of_interest import RegionOfInterest
    from anomaly_inspection.scoring.scorer import Scorer

    Progress = Callable[[int, int, str], None]

MOST_REFERENCES = 20
DEFAULT_FALSE_REJECT_RATE = 0.005
AUTO = 'auto'

_FOLDS = 5
_LEAVE_ONE_OUT_BELOW = 20
_THUMBNAIL_PX = 32
# Colours of CIE Lab, a and b as 8-bit values.
_COLOUR_SPREAD = 3.0
# How many parts the alignment is chosen on, and how much a less simple one must lower their
# variation.
_ALIGNMENT_SAMPLE = 24
_CLEARLY_LOWER = 0.9
_SEARCH_SCALE = 0.2
_ROOM = 1.5
# A few good parts, each put down with care, do not show how far the next one may lie.
_LEAST_ROOM_PX = 24.0
_VARIATION_PIXELS = 60_000
# As wide as the window of SSIM.
_FLATTEN_PX = 7
# Many references only of small images: each takes 13 bytes a value in memory, 100 MB in all.
_MANY_REFERENCES, _MOST_REFERENCE_VALUES = 40, 8_000_000
# An alignment that finds less than this of the reference's edges in a good part is a guess.
_LEAST_CONFIDENCE = 0.3
_CONFIDENCE_MARGIN = 0.8
_DEVIATIONS_OF_A_VARIANT = 4.0
_SHARE_OF_BRIGHT, _FEWEST_BRIGHT = 0.01, 3
_MIN_AREA_PX = 4
_LEAST_REGION_LIMIT = 1e-6
_SHARE_WITH_REGIONS = 0.1
_FEWEST_WITH_REGIONS = 5
_CONFIDENCE = MeasureSpec('confidence', '1', BadSide.LOW, 'Of the alignment.', 0.0, 1.0)


@dataclass(frozen=True, eq=False)
class Part:
    """
    A good part, prepared.

    """

    name: str
    prepared: Prepared


def teach(
    images: Iterable[NDArray[np.uint8] | tuple[str, NDArray[np.uint8]]],
    *,
    name: str,
    product: str = '',
    classes: Mapping[str, str] | None = None,
    scorers: Sequence[str] | Literal['auto'] = ('ssim', 'variation'),
    scorer_settings: Mapping[str, Mapping[str, Any]] | None = None,
    speed_budget_ms: float = DEFAULT_BUDGET_MS,
    preprocessing: PreprocessingSettings | None = None,
    region_of_interest: RegionOfInterest | None = None,
    false_reject_rate: float = DEFAULT_FALSE_REJECT_RATE,
    provenance: Provenance | None = None,
    progress: Progress | None = None,
) -> Recipe:
    """
    Make a recipe from frames of good parts.

    Parameters
    ----------
    images : iterable of ndarray of uint8, or of (name, ndarray)
        At least 8 frames of good parts as the camera gives them, all of one format. Names are for
        messages.
    name : str
        Of the recipe: lower-case letters, digits, '_' and '-'.
    product : str
        What people call it.
    classes : mapping of str to str, optional
        The class of every image by its name, for scorers that tell classes apart; by default they
        take good parts that are alike as a class.
    scorers : sequence of str
        Names of the scorers to fit. 'auto' chooses them and their settings by how they see
        synthetic defects on held-out good parts; see `auto.py`.
    scorer_settings : mapping of str to mapping, optional
        By scorer, settings that are taken as they are; the others are defaults, or chosen by what
        the good parts need.
    speed_budget_ms : float
        For 'auto': most time that scoring a prepared frame may take on this machine, over 0.
    preprocessing : PreprocessingSettings, optional
        Taken as it is. By default: colour by content, Gauss filter, light normalisation, and the
        simplest alignment that clearly lowers the variation between the good parts.
    region_of_interest : RegionOfInterest, optional
        What is inspected, when no `preprocessing` is given; the whole frame by default.
    false_reject_rate : float
        Share of good parts that may be rejected, all limits together, over 0 and below 0.5.
    provenance : Provenance, optional
        What the operator knows; counts and rates are filled in here.
    progress : callable (done, total, what), optional
        Called after every step; `done` counts from 1 to `total` for each `what`.

    Returns
    -------
    Recipe
        Not yet on disk. `provenance.left_out` names the frames that were not like the others.

    Raises
    ------
    SettingError
        When there are too few frames, too many are unlike the others, or a setting is out of
        range.
    FrameError
        When a frame is not of the others' format; names it.

    """
    if scorers == AUTO and scorer_settings:
        raise SettingError(f'settings are given, but scorer {AUTO!r} chooses them; name a scorer')
    given = {} if scorers == AUTO else _checked_settings(scorers, scorer_settings or {})
    check_name(name)
    check_rate(false_reject_rate)
    named = _named(images)
    _check_classes(classes, named)
    frame_format = _common_format(named)
    frame_format = replace(frame_format, saturated_share=_saturated_share(named))
    report = progress or (lambda done, total, what: None)
    if region_of_interest is not None and preprocessing is not None:
        raise SettingError('give region_of_interest inside preprocessing, not beside it')
    left_out = _unfit(named, frame_format)
    check_enough(len(named), left_out)
    settings = preprocessing or _chosen_preprocessing(
        [one for one in named if one[0] not in left_out], frame_format, region_of_interest, report
    )
    choice = None
    if scorers == AUTO:
        choice = choose(
            [one for one in named if one[0] not in left_out],
            lambda some, chosen: teach(
                some,
                name=name,
                classes=classes,
                scorers=tuple(chosen),
                scorer_settings=chosen,
                preprocessing=settings,
                false_reject_rate=false_reject_rate,
            ),
            has_classes=classes is not None,
            budget_ms=speed_budget_ms,
            progress=report,
        )
        scorers, given = tuple(choice.settings), choice.settings
    rate_each = rate_of_each(
        false_reject_rate, sum(len(measures_of(scorer)) for scorer in scorers)
    )
    while True:
        check_enough(len(named), left_out)
        remaining = [one for one in named if one[0] not in left_out]
        references = _references(remaining)
        preprocessor = Preprocessor(settings, frame_format, references[0], references[1:])
        parts, unlike = _prepared(remaining, preprocessor, classes or {}, report)
        if not unlike:
            chosen = {
                scorer: _scorer_settings(scorer, parts) | given[scorer] for scorer in scorers
            }
            held_out = {
                scorer: HeldOut.of(scorer, chosen[scorer], parts, report) for scorer in scorers
            }
            for held in held_out.values():
                unlike |= held.unlike
        if not unlike:
            break
        left_out |= unlike
    if preprocessing is None and settings.alignment.kind != 'none':
        lowest = limit_from_good(_confidences(parts), BadSide.LOW, rate_each, 0.0, 1.0).limit
        confidence = math.floor(100 * _CONFIDENCE_MARGIN * max(lowest, _LEAST_CONFIDENCE)) / 100
        settings = replace(
            settings, alignment=replace(settings.alignment, min_confidence=confidence)
        )
    return Recipe(
        name=name,
        product=product,
        provenance=replace(
            provenance or Provenance(),
            image_count=len(parts),
            left_out=tuple(f'{who}: {why}' for who, why in left_out.items()),
            choice=choice.reasons if choice else (),
            false_reject_rate=false_reject_rate,
            promised_rate=round(
                promised_rate(min(len(held.parts) for held in held_out.values())), 4
            ),
        ),
        frame_format=frame_format,
        preprocessing=settings,
        scorers={
            scorer: scorer_recipe(
                scorer,
                chosen[scorer],
                scorer_class(scorer).fit([part.prepared for part in parts], chosen[scorer]),
                held,
                rate_each,
                frame_format,
            )
            for scorer, held in held_out.items()
        },
        references=references,
    )


def good_parts(
    recipe: Recipe,
    images: Iterable[NDArray[np.uint8] | tuple[str, NDArray[np.uint8]]],
    progress: Progress | None = None,
) -> tuple[list[Part], dict[str, str]]:
    """
    Prepare frames of good parts as a recipe says.

    Parameters
    ----------
    recipe : Recipe
        Its preprocessing is used as it is.
    images : iterable of ndarray of uint8, or of (name, ndarray)
        As for `teach`.
    progress : callable (done, total, what), optional
        As for `teach`.

    Returns
    -------
    parts : list of Part
        In the order of the frames.
    left_out : dict of str to str
        Names of the frames that are unlike the others, with the reason.

    Raises
    ------
    SettingError
        When there are too few frames, or too many are unlike the others.
    FrameError
        When a frame is not of the recipe's format; names it.

    """
    named = _named(images)
    frame_format = replace(
        _common_format(named), saturated_share=recipe.frame_format.saturated_share
    )
    if frame_format != recipe.frame_format:
        raise FrameError(
            f'the images are {_text(frame_format)}; the recipe {recipe.name} is for '
            f'{_text(recipe.frame_format)}'
        )
    left_out = _unfit(named, frame_format) | {
        name: 'left out at teaching'
        for name, _ in named
        if any(entry.startswith(f'{name}: ') for entry in recipe.provenance.left_out)
    }
    preprocessor = Preprocessor(
        recipe.preprocessing, frame_format, recipe.references[0], recipe.references[1:]
    )
    remaining = [one for one in named if one[0] not in left_out]
    parts, unlike = _prepared(
        remaining, preprocessor, {}, progress or (lambda done, total, what: None)
    )
    check_enough(len(named), left_out | unlike)
    return [part for part in parts if part.name not in unlike], left_out | unlike


@dataclass(frozen=True, eq=False)
class HeldOut:
    """
    What one scorer measures in parts it was not fitted to.

    Parameters
    ----------
    parts : list of Part
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

    parts: list[Part]
    measures: dict[str, NDArray[np.float64]]
    maps: list[NDArray[np.float16]]
    classes: list[str]
    unlike: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls, scorer: str, settings: dict[str, Any], parts: Sequence[Part], report: Progress
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
    def by(cls, fitted: Scorer, parts: Sequence[Part], report: Progress) -> HeldOut:
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
                unlike[self.parts[index].name] = (
                    f'{scorer}.{spec.name} {values[index]:.4g}, '
                    f'the others about {float(np.median(values)):.4g}'
                )
        return unlike


def _class_spec(scorer: str) -> MeasureSpec | None:
    """
    Give the measure by which a scorer tells classes apart; None when it knows none.

    """
    return next((spec for spec in scorer_class(scorer).measures if spec.class_range), None)


def _is_beyond(values: NDArray[np.float64], bound: float, spec: MeasureSpec) -> NDArray[np.bool_]:
    return np.asarray(values > bound if spec.bad_side is BadSide.HIGH else values < bound)


def _folds(parts: Sequence[Part]) -> list[int]:
    """
    Give the fold of every part, each class spread over all of them.

    """
    folds = len(parts) if len(parts) < _LEAVE_ONE_OUT_BELOW else _FOLDS
    order = sorted(range(len(parts)), key=lambda index: parts[index].prepared.part_class)
    fold_of = [0] * len(parts)
    for place, index in enumerate(order):
        fold_of[index] = place % folds
    return fold_of


def _named(
    images: Iterable[NDArray[np.uint8] | tuple[str, NDArray[np.uint8]]],
) -> list[tuple[str, NDArray[np.uint8]]]:
    named = [
        image if isinstance(image, tuple) else (f'image {index}', image)
        for index, image in enumerate(images)
    ]
    if len(named) < FEWEST_PARTS:
        raise SettingError(f'{len(named)} good images; needed: at least {FEWEST_PARTS}')
    name, count = Counter(name for name, _ in named).most_common(1)[0]
    if count > 1:
        raise SettingError(f'{count} good images are called {name!r}; each needs its own name')
    return named


def _check_classes(
    classes: Mapping[str, str] | None, named: Sequence[tuple[str, NDArray[np.uint8]]]
) -> None:
    """
    Raise SettingError unless no image has a class, or every one.

    """
    nameless = [name for name, _ in named if not (classes or {}).get(name)]
    if classes is not None and nameless:
        raise SettingError(
            f'{len(nameless)} of {len(named)} good images have no class, the first is '
            f'{nameless[0]!r}; give one to each, or to none'
        )


def _common_format(named: Sequence[tuple[str, NDArray[np.uint8]]]) -> FrameFormat:
    shapes = Counter(frame.shape for _, frame in named)
    shape, _ = shapes.most_common(1)[0]
    for name, frame in named:
        if frame.shape != shape or frame.dtype != np.uint8:
            raise FrameError(
                f'{name} is {frame.dtype} of shape {frame.shape}; most good images are uint8 of '
                f'shape {shape}'
            )
    return FrameFormat(shape[1], shape[0], 'mono8' if len(shape) == 2 else 'bgr8')


def _saturated_share(named: Sequence[tuple[str, NDArray[np.uint8]]]) -> float:
    """
    Give the share of values at the ceiling that makes a frame saturated.

    The default, unless a hundredth of the good frames, three at least, are as bright without being
    white all over: then halfway from the brightest of them to white.

    """
    shares = [saturation(frame) for _, frame in named]
    bright = [share for share in shares if SATURATED_SHARE <= share < 1.0]
    if len(bright) < max(_FEWEST_BRIGHT, _SHARE_OF_BRIGHT * len(named)):
        return SATURATED_SHARE
    return round((1.0 + max(bright)) / 2, 6)


def _text(frame_format: FrameFormat) -> str:
    return f'{frame_format.width}x{frame_format.height} {frame_format.encoding}'


def _unfit(
    named: Sequence[tuple[str, NDArray[np.uint8]]], frame_format: FrameFormat
) -> dict[str, str]:
    """
    Give the frames that no part can be seen in, black or saturated, with the reason.

    """
    unfit = {}
    for name, frame in named:
        try:
            check_frame(frame, frame_format)
        except FrameError as error:
            unfit[name] = str(error)
    return unfit


def _most_central(frames: Sequence[NDArray[np.uint8]]) -> int:
    """
    Give the frame with the smallest median distance to all others, by thumbnails: no outlier can
    be that.

    """
    size = (_THUMBNAIL_PX, _THUMBNAIL_PX)
    thumbnails = np.array(
        [cv2.resize(_gray(frame), size, interpolation=cv2.INTER_AREA).ravel() for frame in frames],
        dtype=np.float32,
    )
    distances = [float(np.median(np.abs(thumbnails - one).mean(axis=1))) for one in thumbnails]
    return int(np.argmin(distances))


def _chosen_preprocessing(
    named: Sequence[tuple[str, NDArray[np.uint8]]],
    frame_format: FrameFormat,
    region_of_interest: RegionOfInterest | None,
    report: Progress,
) -> PreprocessingSettings:
    """
    Choose colour by content, and the simplest alignment and light normalisation that clearly lower
    the variation.

    """
    references = _references(named)
    sample = [frame for _, frame in named[:: math.ceil(len(named) / _ALIGNMENT_SAMPLE)]]
    base = PreprocessingSettings(
        region_of_interest=region_of_interest,
        colour='bgr' if _is_coloured(sample) else 'gray',
        filters=(Gauss(1.0),),
    )
    side = min(frame_format.width, frame_format.height)
    if region_of_interest is not None:
        side = min(region_of_interest.width, region_of_interest.height)
    near, far = max(8.0, float(round(0.05 * side))), float(round(0.2 * side))
    # What the recipe will accept at least: parts that pass in the cell are taught as well.
    least_confidence = round(_CONFIDENCE_MARGIN * _LEAST_CONFIDENCE, 2)
    alignments = [
        AlignmentSettings(kind, search_px, search_deg, _SEARCH_SCALE, least_confidence)
        for kind, search_px, search_deg in (
            ('none', near, 0.0),
            ('translation', near, 0.0),
            ('rigid', near, 10.0),
            ('translation', far, 0.0),
            ('rigid', far, 10.0),
            ('rigid', far, 180.0),
            ('similarity', far, 10.0),
            ('similarity', far, 180.0),
        )
    ]
    # Edges tell how parts lie; shine and shadow would drown them.
    best = _simplest(
        [replace(base, alignment=alignment) for alignment in alignments],
        lambda settings: _variation(settings, frame_format, references, sample, _FLATTEN_PX),
        lambda done, total: report(done, total, 'choosing the alignment'),
    )
    best = replace(best, alignment=_with_room(best, far, frame_format, references, sample))
    return _simplest(
        [replace(best, light=light) for light in LIGHTS],
        lambda settings: _variation(settings, frame_format, references, sample),
        lambda done, total: report(done, total, 'choosing the light normalisation'),
    )


def _with_room(
    settings: PreprocessingSettings,
    far_px: float,
    frame_format: FrameFormat,
    references: Sequence[NDArray[np.uint8]],
    frames: Sequence[NDArray[np.uint8]],
) -> AlignmentSettings:
    """
    Widen the search range where good parts come near its end, or lie beyond it: so will others.

    """
    alignment = settings.alignment
    if alignment.kind == 'none':
        return alignment
    wide = replace(alignment, search_px=max(alignment.search_px, far_px))
    found = _aligned(replace(settings, alignment=wide), frame_format, references, frames)
    poses = [prepared.alignment for prepared in found if prepared.alignment]
    shift_px = max(max(abs(pose.x_px), abs(pose.y_px)) for pose in poses)
    turn_deg = math.degrees(max(abs(pose.angle_rad) for pose in poses))
    return replace(
        alignment,
        search_px=max(alignment.search_px, _LEAST_ROOM_PX, float(math.ceil(_ROOM * shift_px))),
        search_deg=max(alignment.search_deg, min(180.0, float(math.ceil(_ROOM * turn_deg)))),
    )


def _simplest(
    candidates: Sequence[PreprocessingSettings],
    variation: Callable[[PreprocessingSettings], float],
    report: Callable[[int, int], None],
) -> PreprocessingSettings:
    """
    Give the first of the candidates, or a later one that clearly lowers the variation.

    Once for every kind of alignment that it is less simple: more freedom brings even strange
    parts a little nearer.

    """
    best, lowest = candidates[0], math.inf
    kinds = list(UNKNOWNS)
    for done, candidate in enumerate(candidates, start=1):
        value = variation(candidate)
        steps = kinds.index(candidate.alignment.kind) - kinds.index(best.alignment.kind)
        if value < _CLEARLY_LOWER ** max(1, steps) * lowest:
            best, lowest = candidate, value
        report(done, len(candidates))
    return best


def _variation(
    settings: PreprocessingSettings,
    frame_format: FrameFormat,
    references: Sequence[NDArray[np.uint8]],
    frames: Sequence[NDArray[np.uint8]],
    flatten_px: int = 0,
) -> float:
    """
    Give how far a typical part lies from the median part, in gray levels.

    Infinite when the parts cannot be aligned. The median, because a stranger among the parts moves
    the mean, and with it the distance of every other part.

    """
    found = _aligned(settings, frame_format, references, frames)
    if len(found) < (1.0 - LARGEST_SHARE_LEFT_OUT) * len(frames):
        return math.inf
    return _spread(_flattened(found, flatten_px) if flatten_px else found)


def _flattened(found: Sequence[Prepared], flatten_px: int) -> list[Prepared]:
    return [replace(one, image=flattened(one.image, flatten_px)) for one in found]


def _spread(found: Sequence[Prepared], floor_levels: float = 0.0) -> float:
    """
    Give how far a typical part lies from the median part, in gray levels.

    Every pixel lies `floor_levels` off for its noise alone.

    """
    step = max(1, math.isqrt(found[0].valid.size // _VARIATION_PIXELS))
    images = [prepared.image[::step, ::step] for prepared in found]
    valid = [prepared.valid[::step, ::step] for prepared in found]
    middle = np.median(images, axis=0)
    distances = [
        float(np.hypot(image - middle, floor_levels)[mask].mean())
        for image, mask in zip(images, valid, strict=True)
        if mask.any()
    ]
    return float(np.median(distances))


def _aligned(
    settings: PreprocessingSettings,
    frame_format: FrameFormat,
    references: Sequence[NDArray[np.uint8]],
    frames: Sequence[NDArray[np.uint8]],
) -> list[Prepared]:
    """
    Prepare those frames that can be aligned; none when the reference has nothing to align on.

    """
    found = []
    try:
        preprocessor = Preprocessor(settings, frame_format, references[0], references[1:])
    except AlignmentError:
        return []
    for frame in frames:
        try:
            found.append(preprocessor.prepare(frame))
        except AlignmentError:
            continue
    return found


def _is_coloured(frames: Sequence[NDArray[np.uint8]]) -> bool:
    """
    Tell whether the picture holds different colours, which is more than one tint over all of it.

    """
    if frames[0].ndim == 2:
        return False
    spreads = []
    for frame in frames:
        size = (_THUMBNAIL_PX, _THUMBNAIL_PX)
        lab = cv2.cvtColor(
            cv2.resize(frame, size, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2Lab
        )
        spreads.append(float(lab[..., 1:].std(axis=(0, 1)).mean()))
    return float(np.median(spreads)) > _COLOUR_SPREAD


def _prepared(
    named: Sequence[tuple[str, NDArray[np.uint8]]],
    preprocessor: Preprocessor,
    classes: Mapping[str, str],
    report: Progress,
) -> tuple[list[Part], dict[str, str]]:
    """
    Prepare frames; those that cannot be, or far less surely than the others, come with the reason.

    """
    parts, unlike = [], {}
    for done, (name, frame) in enumerate(named, start=1):
        try:
            prepared = preprocessor.prepare(frame)
            parts.append(Part(name, replace(prepared, part_class=classes.get(name, ''))))
        except AlignmentError as error:
            unlike[name] = str(error)
        report(done, len(named), 'preparing')
    confidences = _confidences(parts)
    for index in outliers(confidences, _CONFIDENCE):
        unlike[parts[index].name] = f'alignment confidence {confidences[index]:.2f}'
    return parts, unlike


def _confidences(parts: Sequence[Part]) -> NDArray[np.float64]:
    """
    Give how sure the alignment of each part is; empty when they are not aligned.

    """
    alignments = (part.prepared.alignment for part in parts)
    return np.array([alignment.confidence for alignment in alignments if alignment], np.float64)


def _checked_settings(
    scorers: Sequence[str], given: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """
    Give the settings that were asked for, by scorer, in their own types.

    """
    if not scorers or len(set(scorers)) != len(scorers):
        raise SettingError(f'scorers is {list(scorers)}; allowed: one or more, each once')
    for scorer in given:
        if scorer not in scorers:
            raise SettingError(
                f'settings are given for {scorer!r}, which is not taught; allowed: '
                f'{", ".join(scorers)}'
            )
    checked = {}
    for scorer in scorers:
        asked = given.get(scorer, {})
        complete = checked_settings(scorer, scorer_class(scorer).settings, asked)
        checked[scorer] = {key: complete[key] for key in asked}
    return checked


def _scorer_settings(scorer: str, parts: Sequence[Part]) -> dict[str, Any]:
    """
    Give the defaults, but for what the good parts need.

    Shine and shadow that lie differently on every part hide a small mark: `flatten_px`. Without
    the local mean an edge keeps at least half of its height, so the variation must fall clearly
    below half. Noise, which the deviations are floored at, counts in both.

    """
    settings = dict(scorer_class(scorer).default_settings)
    if 'flatten_px' in settings:
        sample = [part.prepared for part in parts[:: math.ceil(len(parts) / _ALIGNMENT_SAMPLE)]]
        floor = settings['floor_levels']
        if _spread(_flattened(sample, _FLATTEN_PX), floor) < 0.5 * _CLEARLY_LOWER * _spread(
            sample, floor
        ):
            settings['flatten_px'] = _FLATTEN_PX
    if 'references' in settings and _needs_many_references(scorer, settings, parts):
        settings['references'] = _MANY_REFERENCES
    if 'surface' in settings:
        sample = [part.prepared for part in parts[:: math.ceil(len(parts) / _ALIGNMENT_SAMPLE)]]
        settings['surface'] = surface_of(sample)
    if settings.get('stride_px'):
        shape = parts[0].prepared.image.shape
        settings['stride_px'] = smallest_stride_px(shape, settings['stride_px'])
    return settings


def _needs_many_references(scorer: str, settings: dict[str, Any], parts: Sequence[Part]) -> bool:
    """
    Tell whether good parts clearly find more alike ones among many references than among few.

    So it is where there are several kinds of good part. Parts that all lie on one reference are of
    one kind.

    """
    taught = [part.prepared for i, part in enumerate(parts) if i % _FOLDS]
    if (
        taught[0].alignment is not None
        or len(taught) <= settings['references']
        or _MANY_REFERENCES * taught[0].image.size > _MOST_REFERENCE_VALUES
    ):
        return False
    few, many = (
        scorer_class(scorer).fit(taught, {**settings, 'references': count, 'tolerance': 'none'})
        for count in (settings['references'], _MANY_REFERENCES)
    )
    unlike_few, unlike_many = (
        np.median([1 - one.score(part.prepared).measures['mean_ssim'] for part in parts[::_FOLDS]])
        for one in (few, many)
    )
    return bool(unlike_many < _CLEARLY_LOWER * unlike_few)


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


def _references(
    named: Sequence[tuple[str, NDArray[np.uint8]]],
) -> tuple[NDArray[np.uint8], ...]:
    """
    Give the most central frame, to align to, and an even choice of the others.

    """
    frames = [frame for _, frame in named]
    reference = frames.pop(_most_central(frames))
    return (reference, *frames[:: math.ceil(len(frames) / (MOST_REFERENCES - 1))])


def _gray(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if frame.ndim == 2:
        return frame
    return np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), dtype=np.uint8)
