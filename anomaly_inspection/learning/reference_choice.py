# SPDX-License-Identifier: Apache-2.0
"""
Choose the image that parts are aligned to, and the others that a recipe keeps as references.

The image that looks most like all others is the first choice. It may lie at the edge of what the
parts do: the smallest one, or the one farthest to the left. Then the search range, counted from
there, misses parts that it would hold if counted from the middle. So where parts are lost, images
of parts that lie in the middle are tried as well.

"""

from __future__ import annotations

import math
from typing import NamedTuple, TYPE_CHECKING

import cv2
import numpy as np

from anomaly_inspection.errors import AlignmentError
from anomaly_inspection.imaging.alignment import Aligner, AlignmentSettings
from anomaly_inspection.imaging.region_of_interest import RegionOfInterest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from anomaly_inspection.imaging.alignment import Alignment
    from anomaly_inspection.imaging.frame_check import FrameFormat
    from anomaly_inspection.imaging.preprocessing import PreprocessingSettings
    from anomaly_inspection.learning.good_images import Named

MOST_REFERENCES = 20
_THUMBNAIL_PX = 32
# How many parts must be found from it, and how many other images are tried.
_SAMPLE, _OTHERS = 24, 4
# Another image is tried only where one finds so many of the parts: where parts have no position in
# common, none finds them.
MOST_FOUND = 0.7
# A survey that is to reach parts beyond the search range.
_WIDE_SHARE, _WIDE_SCALE = 0.3, 0.3


def reference_count(parts: int) -> int:
    """
    Give how many frames `choose_references` gives for a number of parts.

    """
    others = parts - 1
    return 1 + len(range(0, others, math.ceil(others / (MOST_REFERENCES - 1))))


def choose_references(
    named: Sequence[tuple[str, NDArray[np.uint8]]], first: str = ''
) -> tuple[NDArray[np.uint8], ...]:
    """
    Give the frame that others are aligned to, and an even choice of the others.

    Parameters
    ----------
    named : sequence of (name, ndarray of uint8)
        Good images.
    first : str
        Name of the image to align to; '' or unknown = the most central one.

    """
    frames = [frame for _, frame in named]
    names = [name for name, _ in named]
    place = names.index(first) if first in names else _most_central(frames)
    reference = frames.pop(place)
    return (reference, *frames[:: math.ceil(len(frames) / (MOST_REFERENCES - 1))])


def best_reference(
    named: Sequence[Named], frame_format: FrameFormat, settings: PreprocessingSettings
) -> str:
    """
    Give the name of the image that most parts can be aligned to; '' = the most central one.

    Parameters
    ----------
    named : sequence of (name, ndarray of uint8)
        Good images of this format.
    frame_format : FrameFormat
        Of the images.
    settings : PreprocessingSettings
        With the alignment.

    """
    alignment = settings.alignment
    if alignment.kind == 'none':
        return ''
    region = settings.region_of_interest or RegionOfInterest.whole(frame_format)
    trial = _Trial(named, region)
    count = len(trial.found(alignment, ''))
    if not MOST_FOUND <= count / len(trial.sample) < 1.0:
        return ''
    best = ''
    for name in _middle_ones(trial.found(_wide(alignment, region), ''), alignment)[:_OTHERS]:
        # No more may be lost than from the best one so far.
        found = trial.found(alignment, name, most_lost=len(trial.sample) - count - 1)
        if found:
            best, count = name, len(found)
        if count == len(trial.sample):
            break
    return best


class _Trial(NamedTuple):
    """
    Good images, to be aligned to one of them.

    """

    named: Sequence[Named]
    region: RegionOfInterest

    @property
    def sample(self) -> Sequence[Named]:
        return self.named[:: math.ceil(len(self.named) / _SAMPLE)]

    def found(
        self, alignment: AlignmentSettings, first: str, most_lost: int | None = None
    ) -> dict[str, Alignment]:
        """
        Give how the parts of the sample lie against one reference, without those it does not find.

        Give none of them where it loses more than `most_lost`.

        """
        reference, *others = (_gray(frame) for frame in choose_references(self.named, first))
        try:
            aligner = Aligner(alignment, reference, self.region, others)
        except AlignmentError:
            return {}
        found, lost = {}, 0
        for name, frame in self.sample:
            try:
                found[name] = aligner.align(_gray(frame))
            except AlignmentError:
                lost += 1
                if most_lost is not None and lost > most_lost:
                    return {}
        return found


def _wide(alignment: AlignmentSettings, region: RegionOfInterest) -> AlignmentSettings:
    reach_px = float(round(_WIDE_SHARE * min(region.width, region.height)))
    return AlignmentSettings(
        alignment.kind,
        max(alignment.search_px, reach_px),
        alignment.search_deg,
        max(alignment.search_scale, _WIDE_SCALE),
        alignment.min_confidence,
    )


def _middle_ones(found: dict[str, Alignment], alignment: AlignmentSettings) -> list[str]:
    """
    Give the names of the parts, those first that lie in the middle of all of them.

    Distances count in search ranges; where any turn is found, turns do not count.

    """
    turns_count = 0.0 if alignment.search_deg >= 180.0 else 1.0
    poses = np.array(
        [
            [
                pose.x_px / max(alignment.search_px, 1.0),
                pose.y_px / max(alignment.search_px, 1.0),
                turns_count * math.degrees(pose.angle_rad) / max(alignment.search_deg, 1.0),
                (pose.scale - 1.0) / max(alignment.search_scale, 0.01),
            ]
            for pose in found.values()
        ]
    )
    if not poses.size:
        return []
    middle = (poses.min(axis=0) + poses.max(axis=0)) / 2
    names = list(found)
    return [names[place] for place in np.argsort(np.abs(poses - middle).max(axis=1))]


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
