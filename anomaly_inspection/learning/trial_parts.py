# SPDX-License-Identifier: Apache-2.0
"""
The parts that scorers are tried on: good parts in folds, and the same parts with a defect.

Good parts are judged as they are and moved as the tolerance allows, and every other defect is put
on a moved part. A scorer that sees a moved part as a defect loses by that.

Every image is prepared once, for all scorers. All is drawn from fixed seeds, and nothing depends
on time or on the number of threads: the same images give the same parts on an idle and on a busy
machine.

"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
import math
from typing import TYPE_CHECKING

import cv2
import numpy as np

from anomaly_inspection.errors import AlignmentError, FrameError, SettingError
from anomaly_inspection.imaging.preprocessing import Preprocessor
from anomaly_inspection.imaging.region_of_interest import RegionOfInterest
from anomaly_inspection.learning.cross_validation import folds_of
from anomaly_inspection.learning.moved_copies import moved_copy
from anomaly_inspection.learning.part_mask import part_in_region
from anomaly_inspection.learning.part_preparation import prepare_parts
from anomaly_inspection.learning.reference_choice import choose_references
from anomaly_inspection.learning.synthetic_defects import random_defect
from anomaly_inspection.learning.threads import in_threads

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly_inspection.imaging.preprocessing import Prepared, PreprocessingSettings
    from anomaly_inspection.imaging.tolerance import Tolerance
    from anomaly_inspection.learning.good_images import GoodImages, Named
    from anomaly_inspection.learning.part_preparation import GoodPart
    from anomaly_inspection.progress import Progress

_FOLDS, _FOLDS_OF_FEW, _FEW_PARTS = 3, 5, 30
_FEWEST_PARTS = 5
# At most so many good parts, and as many with a defect; fewer of large images, to bound memory.
_MOST_PARTS, _LEAST_PARTS = 100, 24
_MOST_PIXELS = 100 * 640 * 480
_DRAWS = 20
_OTHERS = 8
_SEED = 1
# Pixels times gray levels. Hardly any scorer sees weaker defects: they would only add noise.
_LEAST_STRENGTH = 200.0


@dataclass(frozen=True, eq=False)
class TrialParts:
    """
    Good parts in folds, and the same parts with synthetic defects; all prepared.

    Parameters
    ----------
    parts : list of GoodPart
        The good parts, n.
    fold_of : ndarray of int, (n,)
        The fold of each part, from 0.
    good, damaged : list of (int, Prepared or None)
        What is judged: the parts and their moved copies, and parts with a defect. Each with the
        index of its part; None when it cannot be aligned or is saturated, which rejects it.

    """

    parts: list[GoodPart]
    fold_of: NDArray[np.intp]
    good: list[tuple[int, Prepared | None]]
    damaged: list[tuple[int, Prepared | None]]

    @classmethod
    def of(
        cls,
        images: GoodImages,
        preprocessing: PreprocessingSettings,
        tolerance: Tolerance | None,
        progress: Progress,
    ) -> TrialParts:
        """
        Choose parts, prepare them and draw defects on them.

        Parameters
        ----------
        images : GoodImages
            At least 5 that are fit; an even choice of at most 100 is taken.
        preprocessing : PreprocessingSettings
            Of the recipe.
        tolerance : Tolerance or None
            How good parts may differ from the images; None = parts are judged as they are.
        progress : callable (done, total, what)
            Called after every image.

        Raises
        ------
        SettingError
            When fewer than 5 parts can be prepared.

        """
        named = images.without(images.unfit)
        references = choose_references(named, images.reference)
        preprocessor = Preprocessor(
            preprocessing, images.frame_format, references[0], references[1:]
        )
        height, width = images.frame_format.shape[:2]
        most = min(_MOST_PARTS, max(_LEAST_PARTS, _MOST_PIXELS // (height * width)))
        sample = _even_choice(_by_class(named, images.classes), most)
        parts, outlying = prepare_parts(
            sample,
            preprocessor,
            images.classes,
            # All parts are prepared again for the limits: each has a progress of its own.
            lambda done, total, _: progress(done, total, 'preparing the trial of scorers'),
        )
        parts = [
            replace(part, group=images.groups.get(part.name))
            for part in parts
            if part.name not in outlying
        ]
        if len(parts) < _FEWEST_PARTS:
            raise SettingError(
                f'{len(parts)} good images can be aligned; needed to choose scorers: at least '
                f'{_FEWEST_PARTS}. Name the scorers instead'
            )
        folds = _FOLDS if len(parts) >= _FEW_PARTS else _FOLDS_OF_FEW
        drawing = _Drawing(dict(sample), parts, preprocessor, preprocessing, tolerance)
        good: list[tuple[int, Prepared | None]] = [
            (index, part.prepared) for index, part in enumerate(parts)
        ]
        if tolerance is not None:
            copies = _drawn(drawing.moved, len(parts), 'moving good parts', progress)
            good += copies
            parts = [
                replace(part, moved=(copy,) if copy is not None else ())
                for part, (_, copy) in zip(parts, copies, strict=True)
            ]
        damaged = _drawn(drawing.damaged, most, 'drawing synthetic defects', progress)
        return cls(parts, np.array(folds_of(parts, folds)), good, damaged)

    @property
    def folds(self) -> int:
        """
        Give the number of folds.

        """
        return int(self.fold_of.max()) + 1


def _by_class(named: list[Named], classes: Mapping[str, str] | None) -> list[Named]:
    """
    Put the images of each class together, so that an even choice takes some of each.

    """
    return named if classes is None else sorted(named, key=lambda one: classes[one[0]])


def _even_choice(named: Sequence[Named], most: int) -> list[Named]:
    places = np.linspace(0, len(named) - 1, min(len(named), most)).round().astype(int)
    return [named[place] for place in places]


@dataclass(frozen=True, eq=False)
class _Drawing:
    """
    Moves good parts, puts defects on them, and prepares the result.

    """

    frames: Mapping[str, NDArray[np.uint8]]
    parts: Sequence[GoodPart]
    preprocessor: Preprocessor
    preprocessing: PreprocessingSettings
    tolerance: Tolerance | None

    def moved(self, number: int) -> tuple[int, Prepared | None]:
        """
        Give a part moved; its index is the number.

        """
        return number, self._prepared(self._moved_frame(number))

    def damaged(self, number: int) -> tuple[int, Prepared | None]:
        """
        Put a random defect on a part, every other one on a moved part.

        """
        index = number % len(self.parts)
        part = self.parts[index]
        frame, prepared = self.frames[part.name], part.prepared
        is_moved = self.tolerance is not None and (number + number // len(self.parts)) % 2 == 1
        if is_moved:
            moved_frame = self._moved_frame(index)
            moved = self._prepared(moved_frame)
            if moved is not None:
                frame, prepared = moved_frame, moved
        where = part_in_region(frame, prepared.to_frame, prepared.image.shape[:2])
        names = [one.name for one in self.parts[:: math.ceil(len(self.parts) / _OTHERS)]]
        others = [self.frames[name] for name in names]
        # A generator for each defect: threads may draw them in any order.
        rng = np.random.default_rng([_SEED, number])
        return index, self._prepared(clear_defect(frame, others, rng, where))

    def _moved_frame(self, index: int) -> NDArray[np.uint8]:
        assert self.tolerance is not None
        name = self.parts[index].name
        frame = self.frames[name]
        region = self.preprocessing.region_of_interest or RegionOfInterest(
            0, 0, frame.shape[1], frame.shape[0]
        )
        return moved_copy(name, frame, self.tolerance, region)

    def _prepared(self, frame: NDArray[np.uint8]) -> Prepared | None:
        try:
            return self.preprocessor.prepare(frame)
        except (AlignmentError, FrameError):
            return None


def _drawn(
    draw: Callable[[int], tuple[int, Prepared | None]], count: int, what: str, progress: Progress
) -> list[tuple[int, Prepared | None]]:
    drawn = []
    for one in in_threads(draw, range(count)):
        drawn.append(one)
        progress(len(drawn), count, what)
    return drawn


def clear_defect(
    frame: NDArray[np.uint8],
    others: Sequence[NDArray[np.uint8]],
    rng: np.random.Generator,
    part: NDArray[np.bool_],
) -> NDArray[np.uint8]:
    """
    Draw defects until one is strong enough to tell scorers apart, or the last of several.

    """
    for _ in range(_DRAWS):
        damaged, mask = random_defect(frame, others, rng, part)
        contrast = float(cv2.absdiff(damaged, frame)[mask].mean())
        if contrast * math.sqrt(4.0 / math.pi * float(mask.sum())) >= _LEAST_STRENGTH:
            break
    return damaged
