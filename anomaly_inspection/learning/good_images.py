# SPDX-License-Identifier: Apache-2.0
"""
The first stage of teaching: take images of good parts and check that they belong together.

"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from anomaly_inspection.errors import FrameError, SettingError
from anomaly_inspection.imaging.frame_check import (
    check_frame,
    FrameFormat,
    SATURATED_SHARE,
    saturation,
)
from anomaly_inspection.learning.outliers import FEWEST_PARTS

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    Named = tuple[str, NDArray[np.uint8]]

_SHARE_OF_BRIGHT, _FEWEST_BRIGHT = 0.01, 3


@dataclass(frozen=True, eq=False)
class GoodImages:
    """
    Images of good parts that have one format and a name each.

    Parameters
    ----------
    named : list of (name, ndarray of uint8)
        All that were offered.
    frame_format : FrameFormat
        Of all of them.
    unfit : dict of str to str
        Names of images that show no part, because they are black or saturated, with the reason.
    classes : mapping of str to str, or None
        The class of every image by its name; None when the parts have no named classes.

    """

    named: list[Named]
    frame_format: FrameFormat
    unfit: dict[str, str]
    classes: Mapping[str, str] | None = None

    @classmethod
    def checked(
        cls,
        images: Iterable[NDArray[np.uint8] | Named],
        classes: Mapping[str, str] | None = None,
        saturated_share: float | None = None,
    ) -> GoodImages:
        """
        Take images and check them.

        Parameters
        ----------
        images : iterable of ndarray of uint8, or of (name, ndarray)
            At least 8. Without a name the third is called 'image 2'.
        classes : mapping of str to str, optional
            The class of every image by its name.
        saturated_share : float, optional
            Share of values at the ceiling above which an image is unfit; by default from the
            images themselves.

        Raises
        ------
        SettingError
            When there are too few images, two have the same name, or only some have a class.
        FrameError
            When an image has another format than most of the others; names it.

        """
        named = _named(images)
        _check_classes(classes, named)
        frame_format = _common_format(named)
        if saturated_share is None:
            saturated_share = _saturated_share(named)
        frame_format = replace(frame_format, saturated_share=saturated_share)
        return cls(named, frame_format, _unfit(named, frame_format), classes)

    def without(self, left_out: Container[str]) -> list[Named]:
        """
        Give the images whose names are not left out.

        """
        return [one for one in self.named if one[0] not in left_out]

    def subset(self, named: Sequence[Named]) -> GoodImages:
        """
        Give some of the images as if only these had been offered.

        """
        return GoodImages.checked(named, self.classes)


def _named(images: Iterable[NDArray[np.uint8] | Named]) -> list[Named]:
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


def _check_classes(classes: Mapping[str, str] | None, named: Sequence[Named]) -> None:
    """
    Raise SettingError unless no image has a class, or every image has one.

    """
    nameless = [name for name, _ in named if not (classes or {}).get(name)]
    if classes is not None and nameless:
        raise SettingError(
            f'{len(nameless)} of {len(named)} good images have no class, the first is '
            f'{nameless[0]!r}; give a class to every image or to none'
        )


def _common_format(named: Sequence[Named]) -> FrameFormat:
    shapes = Counter(frame.shape for _, frame in named)
    shape, _ = shapes.most_common(1)[0]
    for name, frame in named:
        if frame.shape != shape or frame.dtype != np.uint8:
            raise FrameError(
                f'{name} is {frame.dtype} of shape {frame.shape}; most good images are uint8 of '
                f'shape {shape}'
            )
    return FrameFormat(shape[1], shape[0], 'mono8' if len(shape) == 2 else 'bgr8')


def _saturated_share(named: Sequence[Named]) -> float:
    """
    Give the share of values at the ceiling above which a frame counts as saturated.

    The default, unless a hundredth of the good images (at least three) are brighter than that
    without being white all over. Then it lies halfway from the brightest of them to white.

    """
    shares = [saturation(frame) for _, frame in named]
    bright = [share for share in shares if SATURATED_SHARE <= share < 1.0]
    if len(bright) < max(_FEWEST_BRIGHT, _SHARE_OF_BRIGHT * len(named)):
        return SATURATED_SHARE
    return round((1.0 + max(bright)) / 2, 6)


def _unfit(named: Sequence[Named], frame_format: FrameFormat) -> dict[str, str]:
    unfit = {}
    for name, frame in named:
        try:
            check_frame(frame, frame_format)
        except FrameError as error:
            unfit[name] = str(error)
    return unfit
