# SPDX-License-Identifier: Apache-2.0
"""
Choose the preprocessing of a product from good parts: colour, alignment, light, highlight.

Parts that were never moved while they were taught do not show which alignment they need. So the
choice moves them itself, as far as the tolerance allows, and judges each alignment by two figures:
the variation V between parts, moved and as they are, and the residual R between a moved part and
the same part as it is. R tells what the motion leaves behind, however much parts differ from each
other; V tells whether different parts come to lie on each other. The simplest alignment that
clearly lowers V * R is taken. That leaves 'none' for a fixed picture, and for a surface without a
position: what is not found there again does not lower R. Where the images show too few different
parts to tell a surface so, it is told by looking alike all over (`surface_check.py`).

"""

from __future__ import annotations

from dataclasses import replace
import math
from typing import NamedTuple, TYPE_CHECKING

import cv2
import numpy as np

from anomaly_inspection.errors import AlignmentError, FrameError, SettingError
from anomaly_inspection.imaging.alignment import AlignmentSettings, UNKNOWNS
from anomaly_inspection.imaging.filters import Gauss
from anomaly_inspection.imaging.frame_check import FrameFormat
from anomaly_inspection.imaging.light import LIGHTS
from anomaly_inspection.imaging.preprocessing import PreprocessingSettings, Preprocessor
from anomaly_inspection.imaging.region_of_interest import RegionOfInterest
from anomaly_inspection.imaging.tolerance import Tolerance
from anomaly_inspection.learning.highlight_choice import choose_highlight
from anomaly_inspection.learning.moved_copies import Motion, rng_of
from anomaly_inspection.learning.outliers import (
    FEWEST_PARTS,
    LARGEST_SHARE_LEFT_OUT,
    most_left_out,
)
from anomaly_inspection.learning.reference_choice import (
    best_reference,
    choose_references,
    MOST_FOUND,
)
from anomaly_inspection.learning.surface_check import are_surfaces
from anomaly_inspection.scoring.variation import flattened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from anomaly_inspection.imaging.alignment import Alignment
    from anomaly_inspection.imaging.preprocessing import Prepared
    from anomaly_inspection.learning.good_images import Named
    from anomaly_inspection.progress import Progress


_THUMBNAIL_PX = 32
# Colours of CIE Lab, a and b as 8-bit values.
_COLOUR_SPREAD = 3.0
# How many parts a choice is made on.
ALIGNMENT_SAMPLE = 24
# How many parts are moved for it.
_MOVED_SAMPLE = 16
# By how much a less simple alignment must lower the variation.
CLEARLY_LOWER = 0.9
_SEARCH_SCALE = 0.2
_ROOM = 1.5
# A few good parts, each put down with care, do not show how far the next one may lie.
_LEAST_ROOM_PX = 24.0
_VARIATION_PIXELS = 60_000
# What no camera's picture falls below; keeps a perfect fit from counting more than a good one.
_LEAST_RESIDUAL_LEVELS = 0.1
# Rare colours need more parts than a choice does.
_HIGHLIGHT_SAMPLE = 100
# As wide as the window of SSIM.
FLATTEN_PX = 7
# An alignment that finds less than this of the reference's edges in a good part is a guess.
LEAST_CONFIDENCE = 0.3
CONFIDENCE_MARGIN = 0.8


def choose_preprocessing(
    named: Sequence[Named],
    frame_format: FrameFormat,
    region_of_interest: RegionOfInterest | None,
    progress: Progress,
    *,
    highlight_colours: bool = False,
    tolerance: Tolerance | None = None,
    independent_count: int | None = None,
) -> PreprocessingSettings:
    """
    Choose the preprocessing of a product.

    Colour is chosen by content. Alignment and light normalisation are the simplest ones that
    clearly lower the variation between good parts that are moved and lit as the tolerance allows.
    `independent_count` says how many different parts the images show; by default all differ.

    """
    if highlight_colours and frame_format.encoding == 'mono8':
        raise SettingError(
            'highlight_colours is asked for, but the good images are gray (mono8) and have no '
            'colours; allowed: colour images'
        )
    region = region_of_interest or RegionOfInterest.whole(frame_format)
    tolerance = (tolerance or Tolerance()).in_pixels(min(region.width, region.height))
    sample = _Sample(named, frame_format, region, tolerance)
    best = PreprocessingSettings(
        region_of_interest=region_of_interest,
        colour=choose_colour(named),
        filters=(Gauss(1.0),),
        alignment=AlignmentSettings('none'),
    )
    is_seen_once = independent_count is not None and independent_count < FEWEST_PARTS
    if not (is_seen_once and _shows_surface(named, region)):
        best = _with_alignment(best, region, tolerance, sample, named, progress)
        free = replace(best, alignment=_alignments(tolerance, region)[-1])
        if best.alignment.kind == 'none' and sample.finds_most(free):
            # Parts that lie in any turn may be lost from one image, and found from another.
            reference = best_reference(named, frame_format, free)
            if reference:
                other = _Sample(named, frame_format, region, tolerance, reference)
                aligned = _with_alignment(best, region, tolerance, other, named, progress)
                if aligned.alignment.kind != 'none':
                    best, sample = aligned, other
    best = _simplest(
        [replace(best, light=light) for light in LIGHTS],
        sample.judged,
        lambda done, total: progress(done, total, 'choosing the light normalisation'),
    )
    if not highlight_colours:
        return best
    seen = replace(best, colour='bgr', light='none')
    frames = [frame for _, frame in named[:: math.ceil(len(named) / _HIGHLIGHT_SAMPLE)]]
    highlight = choose_highlight(one for one in sample.prepared(seen, frames) if one is not None)
    return replace(best, filters=(*best.filters, highlight))


def _shows_surface(named: Sequence[Named], region: RegionOfInterest) -> bool:
    rows = slice(region.y, region.y + region.height)
    columns = slice(region.x, region.x + region.width)
    return are_surfaces([frame[rows, columns] for frame in _sample(named)])


def _with_alignment(
    settings: PreprocessingSettings,
    region: RegionOfInterest,
    tolerance: Tolerance,
    sample: _Sample,
    named: Sequence[Named],
    progress: Progress,
) -> PreprocessingSettings:
    """
    Choose an alignment that finds enough of all parts, not only of the sample.

    """
    candidates = [
        replace(settings, alignment=alignment) for alignment in _alignments(tolerance, region)
    ]
    total = len(candidates)
    judged: dict[PreprocessingSettings, _Judged] = {}

    def judge(candidate: PreprocessingSettings) -> _Judged:
        if candidate not in judged:
            # Edges tell how parts lie; shine and shadow would hide that.
            judged[candidate] = sample.judged(candidate, FLATTEN_PX, is_lit=False)
        return judged[candidate]

    while True:
        best = _simplest(
            candidates,
            judge,
            lambda done, _: (
                progress(done, total, 'choosing the alignment')
                if len(candidates) == total
                else None
            ),
        )
        if best.alignment.kind == 'none':
            return best
        roomy = replace(best, alignment=_with_room(best, region, tolerance, sample))
        frames = [frame for _, frame in named]
        lost = sum(one is None for one in sample.prepared(roomy, frames))
        if lost <= most_left_out(len(frames)):
            return roomy
        candidates.remove(best)


def _alignments(tolerance: Tolerance, region: RegionOfInterest) -> list[AlignmentSettings]:
    """
    Give the alignments to choose from, the simple ones first.

    """
    assert tolerance.shift_px is not None
    short_side = min(region.width, region.height)
    near = max(8.0, float(round(0.05 * short_side)), math.ceil(_ROOM * tolerance.shift_px))
    far = max(near, _far_px(region))
    turn = min(180.0, max(10.0, math.ceil(_ROOM * tolerance.rotation_deg)))
    # The least that the recipe will accept: parts that pass in the cell are taught as well.
    least_confidence = round(CONFIDENCE_MARGIN * LEAST_CONFIDENCE, 2)
    wanted = [
        ('none', near, 0.0),
        ('translation', near, 0.0),
        ('rigid', near, turn),
        ('translation', far, 0.0),
        ('rigid', far, turn),
        ('rigid', far, 180.0),
        ('similarity', far, turn),
        ('similarity', far, 180.0),
    ]
    return [
        AlignmentSettings(kind, search_px, search_deg, _SEARCH_SCALE, least_confidence)
        for kind, search_px, search_deg in dict.fromkeys(wanted)
    ]


def _far_px(region: RegionOfInterest) -> float:
    """
    Give how far parts are looked for; a strip may lie farther along it than it is wide.

    """
    short_side, long_side = sorted((region.width, region.height))
    return float(round(max(0.2 * short_side, 0.05 * long_side)))


def choose_colour(named: Sequence[tuple[str, NDArray[np.uint8]]]) -> str:
    """
    Give 'bgr' when the good images have different colours, else 'gray'.

    """
    return 'bgr' if _is_coloured(_sample(named)) else 'gray'


def _sample(named: Sequence[Named]) -> list[NDArray[np.uint8]]:
    return [frame for _, frame in named[:: math.ceil(len(named) / ALIGNMENT_SAMPLE)]]


class _Judged(NamedTuple):
    """
    V * R, infinite when too many parts cannot be aligned, and whether all of them can.

    """

    variation: float
    has_all: bool


class _Sample:
    """
    Some of the good parts, as they are and moved.

    """

    def __init__(
        self,
        named: Sequence[Named],
        frame_format: FrameFormat,
        region: RegionOfInterest,
        tolerance: Tolerance,
        reference: str = '',
    ) -> None:
        self._frame_format = frame_format
        self._found_shares: dict[AlignmentSettings, float] = {}
        self._references = choose_references(named, reference)
        chosen = list(named[:: math.ceil(len(named) / _MOVED_SAMPLE)])
        self.frames = [frame for _, frame in chosen]
        # Light would blur the difference between alignments, which see edges alone.
        self._moved: list[NDArray[np.uint8]] = []
        self._moved_and_lit: list[NDArray[np.uint8]] = []
        for name, frame in chosen:
            rng = rng_of(name, frame, 0)
            motion = Motion.drawn(tolerance, rng)
            self._moved.append(motion.pose_only().apply(frame, region.center, rng))
            self._moved_and_lit.append(motion.apply(frame, region.center, rng))

    def prepared(
        self, settings: PreprocessingSettings, frames: Sequence[NDArray[np.uint8]]
    ) -> Iterator[Prepared | None]:
        """
        Prepare frames; None for each that cannot be aligned.

        """
        try:
            preprocessor = Preprocessor(
                settings, self._frame_format, self._references[0], self._references[1:]
            )
        except AlignmentError:
            yield from (None for _ in frames)
            return
        for frame in frames:
            try:
                yield preprocessor.prepare(frame)
            except (AlignmentError, FrameError):
                yield None

    def poses(self, settings: PreprocessingSettings) -> list[Alignment]:
        """
        Give how the parts lie that can be aligned.

        """
        found = self.prepared(settings, self.frames)
        return [one.alignment for one in found if one and one.alignment]

    def finds_most(self, settings: PreprocessingSettings) -> bool:
        """
        Tell whether settings that were judged find most of the parts, but not all.

        """
        return MOST_FOUND <= self._found_shares.get(settings.alignment, 1.0) < 1.0

    def judged(
        self, settings: PreprocessingSettings, flatten_px: int = 0, *, is_lit: bool = True
    ) -> _Judged:
        """
        Judge settings by how they bring the moved parts back; see the top of the file.

        """
        moved = self._moved_and_lit if is_lit else self._moved
        prepared = list(self.prepared(settings, [*self.frames, *moved]))
        found = [one for one in prepared if one is not None]
        self._found_shares[settings.alignment] = len(found) / len(prepared)
        if len(found) < (1.0 - LARGEST_SHARE_LEFT_OUT) * len(prepared):
            return _Judged(math.inf, False)
        if flatten_px:
            prepared = [one and _flattened(one, flatten_px) for one in prepared]
            found = [one for one in prepared if one is not None]
        still, again = prepared[: len(self.frames)], prepared[len(self.frames) :]
        residuals = [
            _residual(one, other)
            for one, other in zip(still, again, strict=True)
            if one is not None and other is not None
        ]
        residual = float(np.median(residuals)) if residuals else math.inf
        # A good part that is lost when it moves is thrown away, as if it were not aligned at all.
        share = sum(one is None for one in again) / len(again)
        if share > 0.0:
            residual = (1.0 - share) * residual + share * self._residual_of_still(
                settings, moved, flatten_px
            )
        return _Judged(
            spread(found) * (_LEAST_RESIDUAL_LEVELS + residual), len(found) == len(prepared)
        )

    def _residual_of_still(
        self, settings: PreprocessingSettings, moved: Sequence[NDArray[np.uint8]], flatten_px: int
    ) -> float:
        """
        Give what the motion leaves behind where nothing is aligned.

        """
        fixed = replace(settings, alignment=replace(settings.alignment, kind='none'))
        prepared = [
            one and (_flattened(one, flatten_px) if flatten_px else one)
            for one in self.prepared(fixed, [*self.frames, *moved])
        ]
        pairs = zip(prepared[: len(moved)], prepared[len(moved) :], strict=True)
        residuals = [_residual(one, other) for one, other in pairs if one and other]
        return float(np.median(residuals)) if residuals else math.inf


def _residual(one: Prepared, other: Prepared) -> float:
    """
    Give the mean difference between two prepared images of one part, gray levels.

    """
    is_seen = one.valid & other.valid
    if not is_seen.any():
        return math.inf
    return float(np.abs(one.image.astype(np.float32) - other.image)[is_seen].mean())


def _with_room(
    settings: PreprocessingSettings,
    region: RegionOfInterest,
    tolerance: Tolerance,
    sample: _Sample,
) -> AlignmentSettings:
    """
    Widen the search range where good parts come near its end or lie beyond it.

    """
    alignment = settings.alignment
    assert tolerance.shift_px is not None
    wide = replace(alignment, search_px=max(alignment.search_px, _far_px(region)))
    # The wide search may take too much memory; the settings themselves have found parts.
    poses = sample.poses(replace(settings, alignment=wide)) or sample.poses(settings)
    shift_px = max(max(abs(pose.x_px), abs(pose.y_px)) for pose in poses)
    turn_deg = math.degrees(max(abs(pose.angle_rad) for pose in poses))
    room_px = max(_ROOM * shift_px, shift_px + _ROOM * tolerance.shift_px)
    room_deg = max(_ROOM * turn_deg, turn_deg + tolerance.rotation_deg)
    return replace(
        alignment,
        search_px=max(alignment.search_px, _LEAST_ROOM_PX, float(math.ceil(room_px))),
        search_deg=max(alignment.search_deg, min(180.0, float(math.ceil(room_deg)))),
    )


def _simplest(
    candidates: Sequence[PreprocessingSettings],
    judged: Callable[[PreprocessingSettings], _Judged],
    progress: Callable[[int, int], None],
) -> PreprocessingSettings:
    """
    Give the first of the candidates, or a later one that clearly lowers the variation.

    A less simple kind of alignment must lower it more: clearly for every step of simplicity that
    is lost. More freedom brings even strange parts a little nearer. A wider search is tried only
    where the narrower one of the same kind does not find every part.

    """
    best, lowest = candidates[0], math.inf
    kinds = list(UNKNOWNS)
    finds_all = set()
    for done, candidate in enumerate(candidates, start=1):
        kind = candidate.alignment.kind
        if (kind, candidate.light) not in finds_all:
            found = judged(candidate)
            if found.has_all:
                finds_all.add((kind, candidate.light))
            steps = kinds.index(kind) - kinds.index(best.alignment.kind)
            if found.variation < CLEARLY_LOWER ** max(1, steps) * lowest:
                best, lowest = candidate, found.variation
        progress(done, len(candidates))
    return best


def flattened_parts(found: Sequence[Prepared], flatten_px: int) -> list[Prepared]:
    return [_flattened(one, flatten_px) for one in found]


def _flattened(one: Prepared, flatten_px: int) -> Prepared:
    return replace(one, image=flattened(one.image, flatten_px))


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
