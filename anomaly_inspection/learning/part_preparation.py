# SPDX-License-Identifier: Apache-2.0
"""
From images of good parts to prepared parts, without those that cannot be aligned like the others.

"""

from __future__ import annotations

from dataclasses import dataclass, replace
import math
from typing import TYPE_CHECKING

import numpy as np

from anomaly_inspection.errors import AlignmentError, FrameError
from anomaly_inspection.imaging.preprocessing import Preprocessor
from anomaly_inspection.imaging.region_of_interest import RegionOfInterest
from anomaly_inspection.learning.good_images import GoodImages
from anomaly_inspection.learning.moved_copies import moved_copy
from anomaly_inspection.learning.outliers import FEWEST_PARTS, outliers
from anomaly_inspection.progress import no_progress
from anomaly_inspection.scoring.measure import BadSide, MeasureSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from anomaly_inspection.imaging.preprocessing import Prepared
    from anomaly_inspection.imaging.tolerance import Tolerance
    from anomaly_inspection.learning.good_images import Named
    from anomaly_inspection.progress import Progress
    from anomaly_inspection.recipes.recipe import Recipe

# Scorers that are fitted to the moved copies as well. The limits come from moved parts; a scorer
# that knows how a part changes when it moves keeps them narrow. On five real sets `features` then
# found 77, 79, 34, 95 and 0 % of the defects instead of 73, 71, 3, 89 and 0 %, and still rejected
# no good part. `patch_statistics` gained on one of them and lost on another.
_FITTED_TO_COPIES = frozenset({'features', 'deep_features'})
# A part that shows so many of the reference's edges is found, however many more the others show:
# beside the border of the frame some of them do not count.
_SURELY_FOUND = 0.5
_CONFIDENCE = MeasureSpec('confidence', '1', BadSide.LOW, 'Of the alignment.', 0.0, 1.0)


@dataclass(frozen=True, eq=False)
class GoodPart:
    """
    A good part, prepared.

    Parameters
    ----------
    name : str
        Of its image.
    prepared : Prepared
        The image as it is.
    moved : tuple of Prepared
        Moved copies of the image; without those that cannot be aligned.
    group : int or None
        Parts with the same number are near copies or of one sequence; None = a group of its own.

    """

    name: str
    prepared: Prepared
    moved: tuple[Prepared, ...] = ()
    group: int | None = None


def prepare_parts(
    named: Sequence[Named],
    preprocessor: Preprocessor,
    classes: Mapping[str, str] | None,
    progress: Progress,
    tolerance: Tolerance | None = None,
) -> tuple[list[GoodPart], dict[str, str]]:
    """
    Prepare images of good parts.

    Parameters
    ----------
    named : sequence of (name, ndarray of uint8)
        The images.
    preprocessor : Preprocessor
        Of the recipe.
    classes : mapping of str to str, or None
        The class of every image by its name.
    progress : callable (done, total, what)
        Called after every image.
    tolerance : Tolerance, optional
        When given, each part gets a moved copy that this allows.

    Returns
    -------
    parts : list of GoodPart
        In the order of the images; the outliers that could be prepared are among them.
    outlying : dict of str to str
        Names of images that cannot be aligned, or far less surely than the others, with the
        reason.

    """
    parts, outlying = [], {}
    for done, (name, frame) in enumerate(named, start=1):
        try:
            prepared = preprocessor.prepare(frame)
        except AlignmentError as error:
            outlying[name] = str(error)
        else:
            part_class = (classes or {}).get(name, '')
            moved = _moved(name, frame, preprocessor, tolerance) if tolerance else ()
            parts.append(
                GoodPart(
                    name,
                    replace(prepared, part_class=part_class),
                    tuple(replace(one, part_class=part_class) for one in moved),
                )
            )
        progress(done, len(named), 'preparing')
    confidences = alignment_confidences(parts)
    for index in outliers(confidences, _CONFIDENCE):
        if confidences[index] < _SURELY_FOUND:
            outlying[parts[index].name] = f'alignment confidence {confidences[index]:.2f}'
    return parts, outlying


def are_few_different(parts: Sequence[GoodPart]) -> bool:
    """
    Tell whether the images show so few different parts that nobody knows how the next one differs.

    """
    return different_count(parts) < FEWEST_PARTS


def different_count(parts: Sequence[GoodPart]) -> int:
    """
    Give how many different parts the images show; near copies count once.

    """
    copies = {part.group for part in parts if part.group is not None}
    return len(copies) + sum(part.group is None for part in parts)


def images_to_fit(scorer: str, parts: Iterable[GoodPart]) -> list[Prepared]:
    """
    Give what a scorer is fitted to: the parts, and for some scorers their moved copies.

    """
    images = []
    for part in parts:
        images.append(part.prepared)
        if scorer in _FITTED_TO_COPIES:
            images.extend(part.moved)
    return images


def _moved(
    name: str, frame: NDArray[np.uint8], preprocessor: Preprocessor, tolerance: Tolerance
) -> tuple[Prepared, ...]:
    region = preprocessor.settings.region_of_interest or RegionOfInterest.whole(
        preprocessor.frame_format
    )
    try:
        return (preprocessor.prepare(moved_copy(name, frame, tolerance, region)),)
    except (AlignmentError, FrameError):
        return ()


def least_confidences(parts: Sequence[GoodPart]) -> NDArray[np.float64]:
    """
    Give how sure the alignment of each different part is at least, as it is and moved, 0..1.

    Near copies are one part.

    """
    least: dict[int, float] = {}
    for index, part in enumerate(parts):
        group = -1 - index if part.group is None else part.group
        for one in (part.prepared, *part.moved):
            if one.alignment:
                least[group] = min(least.get(group, 1.0), one.alignment.confidence)
    return np.array(list(least.values()), np.float64)


def farthest_pose(parts: Sequence[GoodPart]) -> tuple[float, float]:
    """
    Give how far a part as it is lies from the reference at most: pixels and degrees.

    Copies do not count: a recipe that is taught anew with its own tolerance would widen it.

    """
    poses = [part.prepared.alignment for part in parts if part.prepared.alignment]
    shift_px = max((max(abs(pose.x_px), abs(pose.y_px)) for pose in poses), default=0.0)
    return shift_px, math.degrees(max((abs(pose.angle_rad) for pose in poses), default=0.0))


def alignment_confidences(parts: Sequence[GoodPart]) -> NDArray[np.float64]:
    """
    Give how sure the alignment of each part is, 0..1; empty when the parts are not aligned.

    """
    alignments = (part.prepared.alignment for part in parts)
    return np.array([alignment.confidence for alignment in alignments if alignment], np.float64)


def prepare_for_recipe(
    recipe: Recipe,
    images: Iterable[NDArray[np.uint8] | Named],
    progress: Progress = no_progress,
) -> tuple[list[GoodPart], dict[str, str]]:
    """
    Prepare images of good parts with the preprocessing of a recipe.

    Parameters
    ----------
    recipe : Recipe
        A taught recipe.
    images : iterable of ndarray of uint8, or of (name, ndarray)
        As for `teach`.
    progress : callable (done, total, what), optional
        Called after every image.

    Returns
    -------
    parts : list of GoodPart
        In the order of the images.
    left_out : dict of str to str
        Names of the images that are unlike the others, with the reason.

    Raises
    ------
    SettingError
        When there are too few images, or too many are unlike the others.
    FrameError
        When most images do not have a format that the recipe accepts; names one.

    """
    good = GoodImages.of_format(images, recipe.frame_format)
    left_out = good.unfit | {
        name: 'left out at teaching'
        for name, _ in good.named
        if any(entry.startswith(f'{name}: ') for entry in recipe.provenance.left_out)
    }
    parts, outlying = prepare_parts(
        good.without(left_out), preprocessor_of(recipe), None, progress
    )
    left_out |= outlying
    good.check_enough(left_out)
    return [part for part in parts if part.name not in outlying], left_out


def preprocessor_of(recipe: Recipe) -> Preprocessor:
    """
    Make the preprocessor of a recipe.

    """
    return Preprocessor(
        recipe.preprocessing, recipe.frame_format, recipe.references[0], recipe.references[1:]
    )
