# SPDX-License-Identifier: Apache-2.0
"""
The first stage of teaching: take images of good parts, whatever their format, and make them one.

Memory is bounded: many images are thinned out evenly, very large ones are scaled.

"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
import math
from typing import TYPE_CHECKING

import numpy as np

from anomaly_inspection.errors import FrameError, SettingError
from anomaly_inspection.imaging.frame_check import (
    check_frame,
    FrameFormat,
    SATURATED_SHARE,
    saturation,
)
from anomaly_inspection.imaging.frame_fit import fit_frame
from anomaly_inspection.learning.common_format import common_format
from anomaly_inspection.learning.outliers import check_enough, FEWEST_PARTS, OTHER_CLASS
from anomaly_inspection.recipes.budget import DEFAULT_BUDGET_BYTES

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from anomaly_inspection.imaging.region_of_interest import RegionOfInterest

    Named = tuple[str, NDArray[np.uint8]]
    Offered = NDArray[np.uint8] | tuple[str, NDArray[np.uint8] | FrameError]

_SHARE_OF_BRIGHT, _FEWEST_BRIGHT = 0.01, 3
_SMALLEST_SIDE_PX = 16

# What teaching holds of each image: the frame; of the region the prepared image and a moved copy,
# each with a mask, and for two scorers three maps in half precision.
_REGION_IMAGES, _BYTES_PER_REGION_PIXEL = 2, 8
# Rather scale the images than teach on fewer.
_FEWEST_WHEN_LARGE = 30
_NO_PICTURE = np.zeros((0, 0), np.uint8)
_CLASSES_ARE_ALIKE = (
    'each folder inside the folder of images is taken for a class of parts: when all of them show '
    'the same part (days, cameras), put their images into one folder'
)


@dataclass(frozen=True, eq=False)
class GoodImages:
    """
    Images of good parts, brought to one format, each with a name.

    Parameters
    ----------
    named : list of (name, ndarray of uint8)
        All that were taken, those that are unfit among them.
    frame_format : FrameFormat
        Of all that are fit.
    unfit : dict of str to str
        Names of images that cannot be used, with the reason: unreadable, black, saturated, or of
        another format than nearly all others.
    classes : mapping of str to str, or None
        The class of every image by its name; None when the parts have no named classes.
    notes : tuple of str
        What was done to the images, one sentence each.
    scale : (float, float)
        Width and height of the format, as shares of those that the images have on disk.
    groups : mapping of str to int
        Images with the same number are near copies or of one sequence; see `image_quality`.
    reference : str
        Name of the image to align to; '' = the most central one.
    unreadable : frozenset of str
        Names of those unfit images that could not be read. They show no part, so they do not count
        as unlike the others.

    """

    named: list[Named]
    frame_format: FrameFormat
    unfit: dict[str, str]
    classes: Mapping[str, str] | None = None
    notes: tuple[str, ...] = ()
    scale: tuple[float, float] = (1.0, 1.0)
    groups: Mapping[str, int] = field(default_factory=dict)
    reference: str = ''
    unreadable: frozenset[str] = frozenset()

    @classmethod
    def checked(
        cls,
        images: Iterable[Offered],
        classes: Mapping[str, str] | None = None,
        *,
        size: tuple[int, int] | None = None,
        region: RegionOfInterest | None = None,
        budget_bytes: int = DEFAULT_BUDGET_BYTES,
    ) -> GoodImages:
        """
        Take images, bring them to one format and check them.

        Parameters
        ----------
        images : iterable of ndarray of uint8, or of (name, ndarray or FrameError)
            At least 5. Without a name the third is called 'image 2'. An error stands for an image
            that cannot be read.
        classes : mapping of str to str, optional
            The class of every image by its name.
        size : (width, height), optional
            What the images are scaled to, 16 to 16384 px; by default the size they have, or the
            median size when sizes differ.
        region : RegionOfInterest, optional
            What will be inspected, for the estimate of memory.
        budget_bytes : int
            Memory that teaching may take for the images. More images are thinned out evenly; large
            ones are scaled rather than left with fewer than 30.

        Raises
        ------
        SettingError
            When there are too few images or too many that are unfit, most cannot be read, two have
            the same name, only some have a class, or the size is out of range.

        """
        read = _Reader(region, budget_bytes)
        read.take_all(images)
        fit = read.kept
        common = common_format(fit, read.sizes, size)
        unfit = read.unfit | common.left_out
        taken = [one for one in fit if one[0] not in common.left_out]
        frame_format = replace(common.frame_format, saturated_share=_saturated_share(taken))
        fitted = [(name, fit_frame(frame, frame_format)[0]) for name, frame in taken]
        unfit |= _unfit(fitted, frame_format)
        fit_names = {name for name, _ in fitted}
        good = cls(
            fitted + [(name, _NO_PICTURE) for name in unfit if name not in fit_names],
            frame_format,
            unfit,
            None,
            (*read.notes(), *common.notes),
            common.scale,
            unreadable=frozenset(read.unreadable),
        )
        good.check_enough(unfit)
        return good.with_classes(classes)

    @classmethod
    def of_format(cls, images: Iterable[Offered], frame_format: FrameFormat) -> GoodImages:
        """
        Take images for a recipe that exists, and bring them to its format as the cell does.

        Parameters
        ----------
        images
            As for `checked`.
        frame_format : FrameFormat
            Of the recipe. Images that it does not accept are unfit.

        Raises
        ------
        SettingError
            When there are too few images, most cannot be read, or two have the same name.
        FrameError
            When the recipe accepts no more than a few of them.

        """
        read = _Reader(None, DEFAULT_BUDGET_BYTES, is_scaled=False)
        read.take_all(images)
        unfit = read.unfit | _unfit(read.kept, frame_format)
        fitted = [
            (name, fit_frame(frame, frame_format)[0])
            for name, frame in read.kept
            if frame_format.accepts(frame.shape)
        ]
        if len(fitted) <= len(read.kept) // 2:
            name, problem = next(iter(unfit.items()))
            raise FrameError(f'{name}: {problem}')
        names = {name for name, _ in fitted}
        rest = [(name, _NO_PICTURE) for name in unfit if name not in names]
        unreadable = frozenset(read.unreadable)
        return cls(fitted + rest, frame_format, unfit, None, read.notes(), unreadable=unreadable)

    def check_enough(self, left_out: Mapping[str, str]) -> None:
        """
        Raise SettingError when too many images are unlike the others; see `check_enough`.

        Parameters
        ----------
        left_out : mapping of name to reason
            All that are left out, those that cannot be read among them.

        """
        unlike = {name: why for name, why in left_out.items() if name not in self.unreadable}
        is_of_class = any(why.startswith(OTHER_CLASS) for why in unlike.values())
        check_enough(
            len(self.named) - len(self.unreadable),
            unlike,
            _CLASSES_ARE_ALIKE if is_of_class else '',
        )

    def with_classes(self, classes: Mapping[str, str] | None) -> GoodImages:
        """
        Give the same images with their classes; all of them need one, or none.

        """
        _check_classes(classes, [one for one in self.named if one[0] not in self.unfit])
        return replace(self, classes=classes)

    def without(self, left_out: Container[str]) -> list[Named]:
        """
        Give the images whose names are not left out.

        """
        return [one for one in self.named if one[0] not in left_out]

    def subset(self, named: Sequence[Named]) -> GoodImages:
        """
        Give some of the images, which are fit, with the format of all of them.

        """
        if len(named) < FEWEST_PARTS:
            raise SettingError(f'{len(named)} good images; needed: at least {FEWEST_PARTS}')
        return replace(self, named=list(named), unfit={}, unreadable=frozenset())


@dataclass
class _Reader:
    """
    Takes images one after another within a budget of memory.

    Parameters
    ----------
    region : RegionOfInterest or None
        What will be inspected.
    budget_bytes : int
        For all images together.
    is_scaled : bool
        Whether very large images are scaled; otherwise only thinned out.
    kept : list of (name, ndarray of uint8)
        An even choice of the images offered so far that show a picture.
    sizes : dict of str to (width, height)
        As the images came, px.
    unfit : dict of str to str
        Names of images without a usable picture, with the reason.
    unreadable : set of str
        Names of those among them that could not be read.

    """

    region: RegionOfInterest | None
    budget_bytes: int
    is_scaled: bool = True
    kept: list[Named] = field(default_factory=list)
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    unfit: dict[str, str] = field(default_factory=dict)
    unreadable: set[str] = field(default_factory=set)
    _names: Counter[str] = field(default_factory=Counter)
    _step: int = 1
    _kept_bytes: int = 0
    _scaled_count: int = 0

    def take_all(self, images: Iterable[Offered]) -> None:
        """
        Take images, and check that they are enough and each has its own name.

        """
        for index, image in enumerate(images):
            name, content = image if isinstance(image, tuple) else (f'image {index}', image)
            self._take(name, content)
        self._check_names()
        offered = self._names.total()
        if len(self.kept) < FEWEST_PARTS:
            raise SettingError(
                f'{len(self.kept)} good images; needed: at least {FEWEST_PARTS}'
                f'{_reasons(self.unfit)}'
            )
        if len(self.unreadable) > offered // 2:
            raise SettingError(
                f'{len(self.unreadable)} of {offered} good images cannot be read; allowed: at '
                f'most half{_reasons(self.unfit)}'
            )

    def _take(self, name: str, content: NDArray[np.uint8] | FrameError) -> None:
        self._names[name] += 1
        problem = _problem(content)
        if isinstance(content, FrameError):
            self.unreadable.add(name)
        if problem or isinstance(content, FrameError):
            self.unfit[name] = problem
            return
        pictures = self._names.total() - len(self.unfit)
        self.sizes[name] = content.shape[1], content.shape[0]
        if (pictures - 1) % self._step:
            return
        image = self._scaled(content)
        self.kept.append((name, image))
        self._kept_bytes += self._work_bytes(image)
        if self._kept_bytes > self.budget_bytes and len(self.kept) > _FEWEST_WHEN_LARGE:
            self.kept = self.kept[::2]
            self._step *= 2
            self._kept_bytes = sum(self._work_bytes(frame) for _, frame in self.kept)

    def _check_names(self) -> None:
        for name, count in self._names.most_common(1):
            if count > 1:
                raise SettingError(
                    f'{count} good images are called {name!r}; each needs its own name'
                )

    def notes(self) -> tuple[str, ...]:
        notes = []
        if self._step > 1:
            notes.append(
                f'{self._names.total():,} images take too much memory: an even choice of '
                f'{len(self.kept):,} is taken.'
            )
        if self._scaled_count:
            notes.append(
                'The images take too much memory in full, so they are scaled. Give --roi around '
                'the part to keep every detail.'
            )
        return tuple(notes)

    def _work_bytes(self, image: NDArray[np.uint8]) -> int:
        height, width, *channels = image.shape
        region_px = width * height
        if self.region is not None:
            region_px = min(region_px, self.region.width * self.region.height)
        depth = channels[0] if channels else 1
        region_bytes = region_px * (_REGION_IMAGES * depth + _BYTES_PER_REGION_PIXEL)
        return int(depth * width * height + region_bytes)

    def _scaled(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        share = self.budget_bytes / _FEWEST_WHEN_LARGE / self._work_bytes(image)
        if share >= 1.0 or not self.is_scaled:
            return image
        self._scaled_count += 1
        height, width = (
            max(_SMALLEST_SIDE_PX, int(math.sqrt(share) * side)) for side in image.shape[:2]
        )
        wanted = FrameFormat(width, height, 'mono8' if image.ndim == 2 else 'bgr8')
        return fit_frame(image, wanted)[0]


def _problem(content: NDArray[np.uint8] | FrameError) -> str:
    """
    Say why something is no picture that can be taught; '' when it is one.

    """
    if isinstance(content, FrameError):
        return str(content)
    if content.dtype != np.uint8:
        return f'has values of type {content.dtype}; allowed: uint8'
    if content.ndim != 2 and (content.ndim != 3 or content.shape[2] != 3):
        return f'is an array of shape {content.shape}; allowed: gray or three colours'
    height, width = content.shape[:2]
    if min(height, width) < _SMALLEST_SIDE_PX:
        return f'is {width} x {height} px; allowed: {_SMALLEST_SIDE_PX} px a side or more'
    return ''


def _reasons(unfit: Mapping[str, str]) -> str:
    return ''.join(f'; {name}: {why}' for name, why in list(unfit.items())[:5])


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
