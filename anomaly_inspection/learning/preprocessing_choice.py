# SPDX-License-Identifier: Apache-2.0
"""
Choose the preprocessing of a product from good parts: colour, alignment, light, highlight.

"""

from __future__ import annotations

from dataclasses import replace
import math
from typing import TYPE_CHECKING

import cv2
import numpy as np

from anomaly_inspection.errors import AlignmentError, SettingError
from anomaly_inspection.imaging.alignment import AlignmentSettings, UNKNOWNS
from anomaly_inspection.imaging.filters import Gauss
from anomaly_inspection.imaging.frame_check import FrameFormat
from anomaly_inspection.imaging.light import LIGHTS
from anomaly_inspection.imaging.preprocessing import PreprocessingSettings, Preprocessor
from anomaly_inspection.learning.highlight_choice import choose_highlight
from anomaly_inspection.learning.outliers import LARGEST_SHARE_LEFT_OUT
from anomaly_inspection.scoring.variation import flattened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from anomaly_inspection.imaging.preprocessing import Prepared
    from anomaly_inspection.imaging.region_of_interest import RegionOfInterest
    from anomaly_inspection.progress import Progress


MOST_REFERENCES = 20
_THUMBNAIL_PX = 32
# Colours of CIE Lab, a and b as 8-bit values.
_COLOUR_SPREAD = 3.0
# How many parts the alignment is chosen on, and by how much a less simple alignment must lower
# their variation.
ALIGNMENT_SAMPLE = 24
CLEARLY_LOWER = 0.9
_SEARCH_SCALE = 0.2
_ROOM = 1.5
# A few good parts, each put down with care, do not show how far the next one may lie.
_LEAST_ROOM_PX = 24.0
_VARIATION_PIXELS = 60_000
# Rare colours need more parts than a choice does.
_HIGHLIGHT_SAMPLE = 100
# As wide as the window of SSIM.
FLATTEN_PX = 7
# An alignment that finds less than this of the reference's edges in a good part is a guess.
LEAST_CONFIDENCE = 0.3
CONFIDENCE_MARGIN = 0.8


def choose_preprocessing(
    named: Sequence[tuple[str, NDArray[np.uint8]]],
    frame_format: FrameFormat,
    region_of_interest: RegionOfInterest | None,
    progress: Progress,
    *,
    highlight_colours: bool = False,
) -> PreprocessingSettings:
    """
    Choose the preprocessing of a product.

    Colour is chosen by content. Alignment and light normalisation are the simplest ones that
    clearly lower the variation between the good parts.

    """
    if highlight_colours and frame_format.encoding == 'mono8':
        raise SettingError(
            'highlight_colours is asked for, but the good images are gray (mono8) and have no '
            'colours; allowed: colour images'
        )
    references = choose_references(named)
    sample = _sample(named)
    base = PreprocessingSettings(
        region_of_interest=region_of_interest,
        colour=choose_colour(named),
        filters=(Gauss(1.0),),
    )
    side = min(frame_format.width, frame_format.height)
    if region_of_interest is not None:
        side = min(region_of_interest.width, region_of_interest.height)
    near, far = max(8.0, float(round(0.05 * side))), float(round(0.2 * side))
    # The least that the recipe will accept: parts that pass in the cell are taught as well.
    least_confidence = round(CONFIDENCE_MARGIN * LEAST_CONFIDENCE, 2)
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
    # Edges tell how parts lie; shine and shadow would hide that.
    best = _simplest(
        [replace(base, alignment=alignment) for alignment in alignments],
        lambda settings: _variation(settings, frame_format, references, sample, FLATTEN_PX),
        lambda done, total: progress(done, total, 'choosing the alignment'),
    )
    best = replace(best, alignment=_with_room(best, far, frame_format, references, sample))
    best = _simplest(
        [replace(best, light=light) for light in LIGHTS],
        lambda settings: _variation(settings, frame_format, references, sample),
        lambda done, total: progress(done, total, 'choosing the light normalisation'),
    )
    if not highlight_colours:
        return best
    seen = replace(best, colour='bgr', light='none')
    frames = [frame for _, frame in named[:: math.ceil(len(named) / _HIGHLIGHT_SAMPLE)]]
    highlight = choose_highlight(_aligned(seen, frame_format, references, frames))
    return replace(best, filters=(*best.filters, highlight))


def choose_colour(named: Sequence[tuple[str, NDArray[np.uint8]]]) -> str:
    """
    Give 'bgr' when the good images have different colours, else 'gray'.

    """
    return 'bgr' if _is_coloured(_sample(named)) else 'gray'


def _sample(named: Sequence[tuple[str, NDArray[np.uint8]]]) -> list[NDArray[np.uint8]]:
    return [frame for _, frame in named[:: math.ceil(len(named) / ALIGNMENT_SAMPLE)]]


def _with_room(
    settings: PreprocessingSettings,
    far_px: float,
    frame_format: FrameFormat,
    references: Sequence[NDArray[np.uint8]],
    frames: Sequence[NDArray[np.uint8]],
) -> AlignmentSettings:
    """
    Widen the search range where good parts come near its end or lie beyond it.

    """
    alignment = settings.alignment
    if alignment.kind == 'none':
        return alignment
    wide = replace(alignment, search_px=max(alignment.search_px, far_px))
    found = list(_aligned(replace(settings, alignment=wide), frame_format, references, frames))
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
    progress: Callable[[int, int], None],
) -> PreprocessingSettings:
    """
    Give the first of the candidates, or a later one that clearly lowers the variation.

    A less simple kind of alignment must lower it more: clearly for every step of simplicity that
    is lost. More freedom brings even strange parts a little nearer.

    """
    best, lowest = candidates[0], math.inf
    kinds = list(UNKNOWNS)
    for done, candidate in enumerate(candidates, start=1):
        value = variation(candidate)
        steps = kinds.index(candidate.alignment.kind) - kinds.index(best.alignment.kind)
        if value < CLEARLY_LOWER ** max(1, steps) * lowest:
            best, lowest = candidate, value
        progress(done, len(candidates))
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

    Infinite when the parts cannot be aligned. It is the median because a stranger among the parts
    moves the mean, and with it the distance of every other part.

    """
    found = list(_aligned(settings, frame_format, references, frames))
    if len(found) < (1.0 - LARGEST_SHARE_LEFT_OUT) * len(frames):
        return math.inf
    return spread(flattened_parts(found, flatten_px) if flatten_px else found)


def flattened_parts(found: Sequence[Prepared], flatten_px: int) -> list[Prepared]:
    return [replace(one, image=flattened(one.image, flatten_px)) for one in found]


def spread(found: Sequence[Prepared], floor_levels: float = 0.0) -> float:
    """
    Give how far a typical part lies from the median part, in gray levels.

    `floor_levels` is the distance that noise alone gives every pixel.

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
) -> Iterator[Prepared]:
    """
    Prepare the frames that can be aligned; none when the reference has nothing to align on.

    """
    try:
        preprocessor = Preprocessor(settings, frame_format, references[0], references[1:])
    except AlignmentError:
        return
    for frame in frames:
        try:
            yield preprocessor.prepare(frame)
        except AlignmentError:
            continue


def _is_coloured(frames: Sequence[NDArray[np.uint8]]) -> bool:
    """
    Tell whether the picture has different colours; one tint over all of it does not count.

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


def reference_count(parts: int) -> int:
    """
    Give how many frames `choose_references` gives for a number of parts.

    """
    others = parts - 1
    return 1 + len(range(0, others, math.ceil(others / (MOST_REFERENCES - 1))))


def choose_references(
    named: Sequence[tuple[str, NDArray[np.uint8]]],
) -> tuple[NDArray[np.uint8], ...]:
    """
    Give the most central frame, which the others are aligned to, and an even choice of the others.

    """
    frames = [frame for _, frame in named]
    reference = frames.pop(_most_central(frames))
    return (reference, *frames[:: math.ceil(len(frames) / (MOST_REFERENCES - 1))])


def _most_central(frames: Sequence[NDArray[np.uint8]]) -> int:
    """
    Give the frame with the smallest median distance to all others, which is never an outlier.

    """
    size = (_THUMBNAIL_PX, _THUMBNAIL_PX)
    thumbnails = np.array(
        [cv2.resize(_gray(frame), size, interpolation=cv2.INTER_AREA).ravel() for frame in frames],
        dtype=np.float32,
    )
    distances = [float(np.median(np.abs(thumbnails - one).mean(axis=1))) for one in thumbnails]
    return int(np.argmin(distances))


def _gray(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if frame.ndim == 2:
        return frame
    return np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), dtype=np.uint8)
