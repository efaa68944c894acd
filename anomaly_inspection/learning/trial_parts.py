# SPDX-License-Identifier: Apache-2.0
"""
The parts that scorers are tried on: good parts in folds, and the same parts with a defect.

Every image is prepared once, for all scorers. All is drawn from fixed seeds, and nothing depends
on time or on the number of threads: the same images give the same parts on an idle and on a busy
machine.

"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
import math
import os
from typing import TYPE_CHECKING, TypeVar

import cv2
import numpy as np

from anomaly_inspection.errors import AlignmentError, SettingError
from anomaly_inspection.imaging.preprocessing import Preprocessor
from anomaly_inspection.learning.part_mask import part_in_region
from anomaly_inspection.learning.part_preparation import prepare_parts
from anomaly_inspection.learning.preprocessing_choice import choose_references
from anomaly_inspection.learning.synthetic_defects import random_defect

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly_inspection.imaging.preprocessing import Prepared, PreprocessingSettings
    from anomaly_inspection.learning.good_images import GoodImages, Named
    from anomaly_inspection.learning.part_preparation import GoodPart
    from anomaly_inspection.progress import Progress

T = TypeVar('T')
R = TypeVar('R')

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
_MOST_THREADS = 4


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
    damaged : list of (int, Prepared or None)
        The part that the defect was put on, and the prepared image; None when the damaged part
        cannot be aligned, which rejects it.

    """

    parts: list[GoodPart]
    fold_of: NDArray[np.intp]
    damaged: list[tuple[int, Prepared | None]]

    @classmethod
    def of(
        cls, images: GoodImages, preprocessing: PreprocessingSettings, progress: Progress
    ) -> TrialParts:
        """
        Choose parts, prepare them and draw defects on them.

        Parameters
        ----------
        images : GoodImages
            At least 5 that are fit; an even choice of at most 100 is taken.
        preprocessing : PreprocessingSettings
            Of the recipe.
        progress : callable (done, total, what)
            Called after every image.

        Raises
        ------
        SettingError
            When fewer than 5 parts can be prepared.

        """
        named = images.without(images.unfit)
        references = choose_references(named)
        preprocessor = Preprocessor(
            preprocessing, images.frame_format, references[0], references[1:]
        )
        height, width = images.frame_format.shape[:2]
        most = min(_MOST_PARTS, max(_LEAST_PARTS, _MOST_PIXELS // (height * width)))
        sample = _even_choice(_by_class(named, images.classes), most)
        parts, outlying = prepare_parts(sample, preprocessor, images.classes, progress)
        parts = [part for part in parts if part.name not in outlying]
        if len(parts) < _FEWEST_PARTS:
            raise SettingError(
                f'{len(parts)} good images can be aligned; needed to choose scorers: at least '
                f'{_FEWEST_PARTS}. Name the scorers instead'
            )
        folds = _FOLDS if len(parts) >= _FEW_PARTS else _FOLDS_OF_FEW
        frames = dict(sample)
        damaged = _damaged(
            [frames[part.name] for part in parts], parts, preprocessor, most, progress
        )
        return cls(parts, np.arange(len(parts)) % folds, damaged)

    @property
    def folds(self) -> int:
        """
        Give the number of folds.

        """
        return int(self.fold_of.max()) + 1


def in_threads(work: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
    """
    Do work on every item, several at a time, and give the results in the order of the items.

    """
    threads = min(_MOST_THREADS, len(os.sched_getaffinity(0)))
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(work, items)


def _by_class(named: list[Named], classes: Mapping[str, str] | None) -> list[Named]:
    """
    Put the images of each class together, so that an even choice takes some of each.

    """
    return named if classes is None else sorted(named, key=lambda one: classes[one[0]])


def _even_choice(named: Sequence[Named], most: int) -> list[Named]:
    places = np.linspace(0, len(named) - 1, min(len(named), most)).round().astype(int)
    return [named[place] for place in places]


def _damaged(
    frames: Sequence[NDArray[np.uint8]],
    parts: Sequence[GoodPart],
    preprocessor: Preprocessor,
    count: int,
    progress: Progress,
) -> list[tuple[int, Prepared | None]]:
    """
    Put a random defect on good parts, one part after the other, and prepare the result.

    """
    others = frames[:: math.ceil(len(frames) / _OTHERS)]

    def draw(number: int) -> tuple[int, Prepared | None]:
        index = number % len(parts)
        prepared = parts[index].prepared
        frame = frames[index]
        part = part_in_region(frame, prepared.to_frame, prepared.image.shape[:2])
        # A generator for each defect: threads may draw them in any order.
        rng = np.random.default_rng([_SEED, number])
        try:
            return index, preprocessor.prepare(clear_defect(frame, others, rng, part))
        except AlignmentError:
            return index, None

    damaged = []
    for one in in_threads(draw, range(count)):
        damaged.append(one)
        progress(len(damaged), count, 'drawing synthetic defects')
    return damaged


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
