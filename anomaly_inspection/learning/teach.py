# SPDX-License-Identifier: Apache-2.0
"""
Teach: from frames of good parts to a recipe, limits included, without one bad part.

The frames give the format, the alignment reference (the most central one) and the preprocessing. Every part is then
measured by scorers that were fitted without it (five folds, or leave-one-out for few parts), and limits come from
these held-out measures alone. A frame that is not like the others, be it another part, an empty belt or a part with a
defect, is left out and named in the recipe's provenance; more than a tenth of such frames is an error.

"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
import math
from typing import Any, TYPE_CHECKING

import cv2
import numpy as np

from anomaly_inspection.errors import AlignmentError, FrameError, SettingError
from anomaly_inspection.imaging.alignment import AlignmentSettings
from anomaly_inspection.imaging.filters import Gauss
from anomaly_inspection.imaging.frame_check import FrameFormat
from anomaly_inspection.imaging.light import LIGHTS
from anomaly_inspection.imaging.preprocessing import PreprocessingSettings, Preprocessor
from anomaly_inspection.learning.calibration import (
    limit_from_good,
    outliers,
    promised_rate,
)
from anomaly_inspection.recipes.recipe import (
    measures_of,
    Provenance,
    Recipe,
    ScorerRecipe,
)
from anomaly_inspection.scoring.frame_scorer import RegionSettings
from anomaly_inspection.scoring.measure import BadSide, MeasureSpec
from anomaly_inspection.scoring.region import find_regions
from anomaly_inspection.scoring.registry import scorer_class

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from anomaly_inspection.imaging.preprocessing import Prepared
    from anomaly_inspection.imaging.region_of_interest import RegionOfInterest

    Progress = Callable[[int, int, str], None]

FEWEST_PARTS = 8
MOST_REFERENCES = 20
DEFAULT_FALSE_REJECT_RATE = 0.005

_FOLDS = 5
_LEAVE_ONE_OUT_BELOW = 20
_LARGEST_SHARE_LEFT_OUT = 0.1
_THUMBNAIL_PX = 32
_COLOUR_LEVELS = 6.0
# How many parts the alignment is chosen on, and how much a less simple one must lower their variation.
_ALIGNMENT_SAMPLE = 24
_CLEARLY_LOWER = 0.9
# An alignment that finds less than this of the reference's edges in a good part is a guess.
_LEAST_CONFIDENCE = 0.3
_CONFIDENCE_MARGIN = 0.8
_MIN_AREA_PX = 4
_SHARE_WITH_REGIONS = 0.1
_CONFIDENCE = MeasureSpec('confidence', '1', BadSide.LOW, 'Of the alignment.', 0.0, 1.0)


@dataclass(frozen=True, eq=False)
class _Part:
    name: str
    frame: NDArray[np.uint8]
    prepared: Prepared


def teach(
    images: Iterable[NDArray[np.uint8] | tuple[str, NDArray[np.uint8]]],
    *,
    name: str,
    product: str = '',
    scorers: Sequence[str] = ('ssim', 'variation'),
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
        At least 8 frames of good parts as the camera gives them, all of one format. Names are for messages.
    name : str
        Of the recipe: lower-case letters, digits, '_' and '-'.
    product : str
        What people call it.
    scorers : sequence of str
        Names of the scorers to fit.
    preprocessing : PreprocessingSettings, optional
        Taken as it is. By default: colour by content, Gauss filter, light normalisation, and the simplest alignment
        that clearly lowers the variation between the good parts.
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
        When there are too few frames, too many are unlike the others, or a setting is out of range.
    FrameError
        When a frame is not of the others' format; names it.

    """
    if not scorers or len(set(scorers)) != len(scorers):
        raise SettingError(f'scorers is {list(scorers)}; allowed: one or more, each once')
    measure_count = 1 + sum(len(measures_of(scorer)) for scorer in scorers)
    # Any measure beyond its limit rejects: the wanted rate is shared out among them (Bonferroni).
    rate_each = false_reject_rate / measure_count
    named = _named(images)
    frame_format = _common_format(named)
    report = progress or (lambda done, total, what: None)
    reference = named[_most_central([frame for _, frame in named])][1]
    if preprocessing is None:
        settings = _chosen_preprocessing(
            [frame for _, frame in named], frame_format, reference, region_of_interest, report
        )
    elif region_of_interest is None:
        settings = preprocessing
    else:
        raise SettingError('give region_of_interest inside preprocessing, not beside it')
    left_out: dict[str, str] = {}
    parts = _prepared(named, Preprocessor(settings, frame_format, reference), left_out, report)
    if settings.alignment.kind != 'none':
        confidences = _confidences(parts)
        unlike = outliers(confidences, _CONFIDENCE)
        parts = _without(parts, {i: f'alignment confidence {confidences[i]:.2f}' for i in unlike}, left_out)
    while True:
        _check_enough(parts, len(named), left_out)
        held_out = {scorer: _HeldOut.of(scorer, parts, report) for scorer in scorers}
        unlike_all: dict[int, str] = {}
        for scorer, held in held_out.items():
            unlike_all |= held.outliers(scorer)
        if not unlike_all:
            break
        parts = _without(parts, unlike_all, left_out)
    if preprocessing is None and settings.alignment.kind != 'none':
        lowest = limit_from_good(_confidences(parts), BadSide.LOW, rate_each, 0.0, 1.0).limit
        confidence = math.floor(100 * _CONFIDENCE_MARGIN * lowest) / 100
        settings = replace(settings, alignment=replace(settings.alignment, min_confidence=confidence))
    return Recipe(
        name=name,
        product=product,
        provenance=replace(
            provenance or Provenance(),
            image_count=len(parts),
            left_out=tuple(f'{who}: {why}' for who, why in left_out.items()),
            false_reject_rate=false_reject_rate,
            promised_rate=round(promised_rate(len(parts)), 4),
        ),
        frame_format=frame_format,
        preprocessing=settings,
        scorers={
            scorer: _scorer_recipe(scorer, parts, held, rate_each, frame_format)
            for scorer, held in held_out.items()
        },
        references=_references(reference, parts),
    )


@dataclass(frozen=True, eq=False)
class _HeldOut:
    """
    What one scorer measures in parts it was not fitted to.

    Parameters
    ----------
    measures : dict of str to ndarray, (n,)
        The scorer's own measures.
    maps : list of ndarray of float16, (h, w)
        Half precision, because those of all parts are held at once.

    """

    measures: dict[str, NDArray[np.float64]]
    maps: list[NDArray[np.float16]]

    @classmethod
    def of(cls, scorer: str, parts: Sequence[_Part], report: Progress) -> _HeldOut:
        kind = scorer_class(scorer)
        count = len(parts)
        folds = count if count < _LEAVE_ONE_OUT_BELOW else _FOLDS
        outputs: dict[int, Any] = {}
        for fold in range(folds):
            others = [part.prepared for i, part in enumerate(parts) if i % folds != fold]
            fitted = kind.fit(others, kind.default_settings)
            for index in range(fold, count, folds):
                output = fitted.score(parts[index].prepared)
                outputs[index] = output.measures, output.anomaly_map.astype(np.float16)
                report(len(outputs), count, f'measuring held-out parts, {scorer}')
        return cls(
            {
                spec.name: np.array([outputs[i][0][spec.name] for i in range(count)])
                for spec in kind.measures
            },
            [outputs[i][1] for i in range(count)],
        )

    def outliers(self, scorer: str) -> dict[int, str]:
        """
        Give the parts that are unlike the others, with the reason.

        """
        return {
            index: f'{scorer}.{spec.name} {self.measures[spec.name][index]:.4g}, '
            f'the others about {float(np.median(self.measures[spec.name])):.4g}'
            for spec in scorer_class(scorer).measures
            for index in outliers(self.measures[spec.name], spec)
        }


def _named(
    images: Iterable[NDArray[np.uint8] | tuple[str, NDArray[np.uint8]]],
) -> list[tuple[str, NDArray[np.uint8]]]:
    named = [
        image if isinstance(image, tuple) else (f'image {index}', image)
        for index, image in enumerate(images)
    ]
    if len(named) < FEWEST_PARTS:
        raise SettingError(f'{len(named)} good images; needed: at least {FEWEST_PARTS}')
    return named


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


def _most_central(frames: Sequence[NDArray[np.uint8]]) -> int:
    """
    Give the frame with the smallest median distance to all others, by thumbnails: no outlier can be that.

    """
    size = (_THUMBNAIL_PX, _THUMBNAIL_PX)
    thumbnails = np.array(
        [cv2.resize(_gray(frame), size, interpolation=cv2.INTER_AREA).ravel() for frame in frames],
        dtype=np.float32,
    )
    distances = [float(np.median(np.abs(thumbnails - one).mean(axis=1))) for one in thumbnails]
    return int(np.argmin(distances))


def _chosen_preprocessing(
    frames: Sequence[NDArray[np.uint8]],
    frame_format: FrameFormat,
    reference: NDArray[np.uint8],
    region_of_interest: RegionOfInterest | None,
    report: Progress,
) -> PreprocessingSettings:
    """
    Choose colour by content, and the simplest alignment and light normalisation that clearly lower the variation.

    """
    step = math.ceil(len(frames) / _ALIGNMENT_SAMPLE)
    sample = frames[::step]
    base = PreprocessingSettings(
        region_of_interest=region_of_interest,
        colour='bgr' if _is_coloured(sample) else 'gray',
        filters=(Gauss(1.0),),
    )
    side = min(frame_format.width, frame_format.height)
    if region_of_interest is not None:
        side = min(region_of_interest.width, region_of_interest.height)
    near, far = max(8.0, round(0.05 * side)), round(0.2 * side)
    alignments = [
        AlignmentSettings(kind, search_px, search_deg, min_confidence=_LEAST_CONFIDENCE)
        for kind, search_px, search_deg in (
            ('none', near, 0.0),
            ('translation', near, 0.0),
            ('rigid', near, 10.0),
            ('translation', far, 0.0),
            ('rigid', far, 10.0),
            ('rigid', far, 180.0),
        )
    ]
    best = _simplest(
        [replace(base, alignment=alignment) for alignment in alignments],
        lambda settings: _variation(settings, frame_format, reference, sample),
        lambda done, total: report(done, total, 'choosing the alignment'),
    )
    return _simplest(
        [replace(best, light=light) for light in LIGHTS],
        lambda settings: _variation(settings, frame_format, reference, sample),
        lambda done, total: report(done, total, 'choosing the light normalisation'),
    )


def _simplest(
    candidates: Sequence[PreprocessingSettings],
    variation: Callable[[PreprocessingSettings], float],
    report: Callable[[int, int], None],
) -> PreprocessingSettings:
    """
    Give the first of the candidates, or a later one that clearly lowers the variation.

    """
    best, lowest = candidates[0], math.inf
    for done, candidate in enumerate(candidates, start=1):
        value = variation(candidate)
        if value < _CLEARLY_LOWER * lowest:
            best, lowest = candidate, value
        report(done, len(candidates))
    return best


def _variation(
    settings: PreprocessingSettings,
    frame_format: FrameFormat,
    reference: NDArray[np.uint8],
    frames: Sequence[NDArray[np.uint8]],
) -> float:
    """
    Give how far a typical part lies from the mean of the others, gray levels; infinite when they cannot be aligned.

    """
    try:
        preprocessor = Preprocessor(settings, frame_format, reference)
    except AlignmentError:
        return math.inf
    prepared = []
    for frame in frames:
        try:
            prepared.append(preprocessor.prepare(frame))
        except (AlignmentError, FrameError):
            continue
    if len(prepared) < (1.0 - _LARGEST_SHARE_LEFT_OUT) * len(frames):
        return math.inf
    valid = [one.valid.reshape(one.valid.shape + (1,) * (one.image.ndim - 2)) for one in prepared]
    total = np.zeros(prepared[0].image.shape, np.float32)
    count = np.zeros(valid[0].shape, np.float32)
    for one, mask in zip(prepared, valid, strict=True):
        total += one.image * mask
        count += mask
    distances = []
    for one, mask in zip(prepared, valid, strict=True):
        shared = (mask & (count > 1)).reshape(one.valid.shape)
        others = (total - one.image * mask) / np.maximum(count - mask, 1)
        distances.append(float(np.abs(one.image - others)[shared].mean()))
    return float(np.median(distances))


def _is_coloured(frames: Sequence[NDArray[np.uint8]]) -> bool:
    """
    Tell colour from gray in three channels.

    """
    if frames[0].ndim == 2:
        return False
    spans = [frame.max(axis=2).astype(np.float32) - frame.min(axis=2) for frame in frames]
    return float(np.median([span.mean() for span in spans])) > _COLOUR_LEVELS


def _prepared(
    named: Sequence[tuple[str, NDArray[np.uint8]]],
    preprocessor: Preprocessor,
    left_out: dict[str, str],
    report: Progress,
) -> list[_Part]:
    parts = []
    for done, (name, frame) in enumerate(named, start=1):
        try:
            parts.append(_Part(name, frame, preprocessor.prepare(frame)))
        except (AlignmentError, FrameError) as error:
            left_out[name] = str(error)
        report(done, len(named), 'preparing')
    return parts


def _confidences(parts: Sequence[_Part]) -> NDArray[np.float64]:
    return np.array(
        [part.prepared.alignment.confidence for part in parts if part.prepared.alignment]
    )


def _without(
    parts: Sequence[_Part], unlike: dict[int, str], left_out: dict[str, str]
) -> list[_Part]:
    left_out |= {parts[index].name: why for index, why in unlike.items()}
    return [part for index, part in enumerate(parts) if index not in unlike]


def _check_enough(parts: Sequence[_Part], offered: int, left_out: dict[str, str]) -> None:
    """
    Refuse to teach when too many frames are unlike the others: then nobody can say which are the good ones.

    """
    allowed = max(1, math.floor(_LARGEST_SHARE_LEFT_OUT * offered))
    if len(left_out) > allowed or len(parts) < FEWEST_PARTS:
        reasons = '; '.join(f'{name}: {why}' for name, why in left_out.items())
        raise SettingError(
            f'{len(left_out)} of {offered} good images are unlike the others, allowed: {allowed}, '
            f'and {FEWEST_PARTS} must remain ({reasons})'
        )


def _scorer_recipe(
    scorer: str,
    parts: Sequence[_Part],
    held: _HeldOut,
    rate_each: float,
    frame_format: FrameFormat,
) -> ScorerRecipe:
    kind = scorer_class(scorer)
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
        for one, part in zip(held.maps, parts, strict=True)
    ]
    good = {**held.measures, 'largest_region': np.array(areas, np.float64)}
    return ScorerRecipe(
        settings=dict(kind.default_settings),
        region=region,
        limits={
            spec.name: limit_from_good(
                good[spec.name], spec.bad_side, rate_each, spec.minimum, spec.maximum
            )
            for spec in measures_of(scorer)
        },
        arrays=kind.fit([part.prepared for part in parts], kind.default_settings).to_arrays(),
        good=good,
    )


def _region_limit(peaks: NDArray[np.float64]) -> float:
    """
    Give the map value that a tenth of the held-out good parts exceed somewhere.

    Not one that none exceeds: how large such places are in good parts gives the largest region a limit of its own,
    which finds wide weak defects that no peak gives away.

    """
    return float(f'{np.quantile(peaks, 1.0 - _SHARE_WITH_REGIONS):.6g}')


def _references(
    reference: NDArray[np.uint8], parts: Sequence[_Part]
) -> tuple[NDArray[np.uint8], ...]:
    """
    Give the alignment reference and an even choice of the other parts.

    """
    others = [part.frame for part in parts if part.frame is not reference]
    step = max(1, math.ceil(len(others) / (MOST_REFERENCES - 1)))
    return (reference, *others[::step])


def _gray(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if frame.ndim == 2:
        return frame
    return np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), dtype=np.uint8)
