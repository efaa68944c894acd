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
from dataclasses import replace
import math
from typing import Any, Literal, TYPE_CHECKING

import numpy as np

from anomaly_inspection.errors import AlignmentError, FrameError, SettingError
from anomaly_inspection.imaging.frame_check import (
    check_frame,
    FrameFormat,
    SATURATED_SHARE,
    saturation,
)
from anomaly_inspection.imaging.preprocessing import PreprocessingSettings, Preprocessor
from anomaly_inspection.learning.cross_validation import HeldOut, scorer_recipe, TaughtPart
from anomaly_inspection.learning.false_rejects import promised_rate
from anomaly_inspection.learning.good_part_limits import check_rate, limit_from_good, rate_of_each
from anomaly_inspection.learning.outliers import check_enough, FEWEST_PARTS, outliers
from anomaly_inspection.learning.preprocessing_choice import (
    chosen_preprocessing,
    CONFIDENCE_MARGIN,
    LEAST_CONFIDENCE,
    references_of,
)
from anomaly_inspection.learning.scorer_choice import choose, DEFAULT_BUDGET_MS
from anomaly_inspection.learning.setting_choice import chosen_settings
from anomaly_inspection.recipes.recipe import check_name, measures_of, Provenance, Recipe
from anomaly_inspection.scoring.measure import BadSide, MeasureSpec
from anomaly_inspection.scoring.registry import scorer_class
from anomaly_inspection.scoring.scorer import checked_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from anomaly_inspection.imaging.region_of_interest import RegionOfInterest

    Progress = Callable[[int, int, str], None]

DEFAULT_FALSE_REJECT_RATE = 0.005
AUTO = 'auto'
_SHARE_OF_BRIGHT, _FEWEST_BRIGHT = 0.01, 3
_CONFIDENCE = MeasureSpec('confidence', '1', BadSide.LOW, 'Of the alignment.', 0.0, 1.0)


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
    highlight_colours: bool = False,
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
    highlight_colours : bool
        Make colours that the good parts do not have stand out in brightness, when no
        `preprocessing` is given; see `colour_highlight.py`. For colour frames alone.
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
    if highlight_colours and preprocessing is not None:
        raise SettingError('give colour_highlight inside preprocessing, not highlight_colours')
    left_out = _unfit(named, frame_format)
    check_enough(len(named), left_out)
    settings = preprocessing or chosen_preprocessing(
        [one for one in named if one[0] not in left_out],
        frame_format,
        region_of_interest,
        report,
        highlight_colours=highlight_colours,
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
        references = references_of(remaining)
        preprocessor = Preprocessor(settings, frame_format, references[0], references[1:])
        parts, unlike = _prepared(remaining, preprocessor, classes or {}, report)
        if not unlike:
            chosen = {scorer: chosen_settings(scorer, parts) | given[scorer] for scorer in scorers}
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
        confidence = math.floor(100 * CONFIDENCE_MARGIN * max(lowest, LEAST_CONFIDENCE)) / 100
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
) -> tuple[list[TaughtPart], dict[str, str]]:
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
    parts : list of TaughtPart
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


def _prepared(
    named: Sequence[tuple[str, NDArray[np.uint8]]],
    preprocessor: Preprocessor,
    classes: Mapping[str, str],
    report: Progress,
) -> tuple[list[TaughtPart], dict[str, str]]:
    """
    Prepare frames; those that cannot be, or far less surely than the others, come with the reason.

    """
    parts, unlike = [], {}
    for done, (name, frame) in enumerate(named, start=1):
        try:
            prepared = preprocessor.prepare(frame)
            parts.append(TaughtPart(name, replace(prepared, part_class=classes.get(name, ''))))
        except AlignmentError as error:
            unlike[name] = str(error)
        report(done, len(named), 'preparing')
    confidences = _confidences(parts)
    for index in outliers(confidences, _CONFIDENCE):
        unlike[parts[index].name] = f'alignment confidence {confidences[index]:.2f}'
    return parts, unlike


def _confidences(parts: Sequence[TaughtPart]) -> NDArray[np.float64]:
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
