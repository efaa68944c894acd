# SPDX-License-Identifier: Apache-2.0
"""
Synthetic defects on images of good parts: they show what a recipe sees before any real defect.

The finished image is what counts. A defect is drawn as a content (what would stand there) and a
reach (how far a pixel lies from the heart of the defect, pixels). Then the reach up to which the
defect covers the image, and the gain of its content, are fitted until the change has the wanted
size and contrast, measured in the finished 8-bit image. Pixels that changed by less than
`VISIBLE_LEVELS` do not count, wherever they lie. Among random defects, those of the part's own
structure are not fitted: a missing pin has the size and contrast of that pin.

"""

from __future__ import annotations

from dataclasses import dataclass, replace
import functools
import math
from typing import Any, TYPE_CHECKING

import cv2
import numpy as np

from anomaly_inspection.defect_fit import fit_defect, fit_error, FitSteps
from anomaly_inspection.errors import SettingError
from anomaly_inspection.learning.defect_drawing import Drawing, log_uniform, mean_light, Place
from anomaly_inspection.learning.defect_kinds import ANYWHERE, DefectKind, KINDS, RIM
from anomaly_inspection.learning.part_mask import silhouette

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Plane = NDArray[Any]

KIND_NAMES = tuple(KINDS)
# A pixel has changed when its channels have changed by this much on average.
VISIBLE_LEVELS = 4.0
# The finished defect has the wanted size and contrast within this share.
TOLERANCE = 0.15
SMALLEST_SIZE_PX = 3.0
LOWEST_CONTRAST, HIGHEST_CONTRAST = 6.0, 120.0
# The blurred edge of a part reaches out of its mask by this much, and goes with the piece.
FRINGE_PX = 3.0
# Share of the part's area; a larger defect would be another part.
LARGEST_SHARE = 0.4

_STEPS = FitSteps(
    rounds=6,
    close_enough=0.06,
    size_step=(math.sqrt(0.4), math.sqrt(2.5)),
    strength_step=(0.4, 2.5),
    invisible_step=(math.sqrt(1.2), 2.5),
    largest_size=math.inf,
    highest_strength=math.inf,
)
_TRIES = 10
_TRIES_OF_RANDOM = 6
_REACHES = 8_000
# With more than the second the difference between two good parts looks like noise; with more than
# the third a piece of the part no longer looks like one.
_HIGHEST_GAIN, _HIGHEST_GAIN_OF_RANDOM, _HIGHEST_GAIN_OF_STRUCTURE = 12.0, 2.5, 1.5
_SMALLEST_OF_PART = 0.015
_LOWEST_RANDOM, _HIGHEST_RANDOM = 8.0, 90.0
_BACKGROUND_PIXELS = 2_000
# How often a kind that belongs to the rim of the part lies there, if the part has one; how many
# places are compared to find one with structure, by how many pixels a side.
_SHARE_AT_RIM = 0.6
_PLACES, _PLACE_PIXELS = 40, 16


def synthetic_defect(
    image: NDArray[np.uint8],
    others: Sequence[NDArray[np.uint8]],
    rng: np.random.Generator,
    *,
    kind: str,
    size_px: float,
    contrast_levels: float,
    mask_of_part: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """
    Put one defect of a given size and contrast on the image of a good part.

    Parameters
    ----------
    image : ndarray of uint8, (h, w) or (h, w, 3)
        A good part.
    others : sequence of ndarray of uint8
        Other good parts, of the same format; may be empty.
    rng : Generator
        The same state gives the same defect.
    kind : str
        One of `KINDS`.
    size_px : float
        Diameter of the circle of the changed area, from 3 px to what 40 % of the part measures.
    contrast_levels : float
        Mean absolute change over the mask and the channels, 6 to 120 gray levels.
    mask_of_part : ndarray of bool, (h, w), optional
        Where a defect may lie. By default the part's `silhouette`, or anywhere when it has none.
        A defect of the part's structure also changes what lies around it: 3 px, or half its size
        when a piece is moved or bent.

    Returns
    -------
    image : ndarray of uint8
        A copy with the defect.
    mask : ndarray of bool, (h, w)
        The pixels that changed by at least 4 levels, mean of the channels.

    Raises
    ------
    SettingError
        When a value is out of range, the images are not alike, or the part has no place where the
        wanted size and contrast can be met to 15 % (a piece where the part is even).

    """
    part = _Part.checked(image, others, mask_of_part)
    _check_range(kind, size_px, contrast_levels, part.where.size)
    highest_gain = _HIGHEST_GAIN_OF_STRUCTURE if KINDS[kind].is_structural else _HIGHEST_GAIN
    found = _best_of(_TRIES, part, rng, KINDS[kind], size_px, contrast_levels, highest_gain)
    if found is None or found.error > TOLERANCE:
        got = 'nothing' if found is None else found.text
        raise SettingError(
            f'a {kind} of {size_px:g} px and {contrast_levels:g} levels cannot be met on this '
            f'image within {TOLERANCE:.0%}; nearest: {got}'
        )
    return found.placed_in(image)


def random_defect(
    image: NDArray[np.uint8],
    others: Sequence[NDArray[np.uint8]],
    rng: np.random.Generator,
    mask_of_part: NDArray[np.bool_] | None = None,
    *,
    kinds: Sequence[str] = KIND_NAMES,
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """
    Put a defect of random kind, size and contrast on the image of a good part.

    Sizes are log-uniform from 3 px, or 1.5 % of the part's own size, to half of it (a scratch or a
    crack to less), contrasts from 8 to 90 levels. Where the image does not allow that size or
    contrast, the defect comes as near to it as possible. A defect of the part's own structure has
    the contrast that the part gives it.

    Parameters
    ----------
    image, others, rng, mask_of_part
        As for `synthetic_defect`.
    kinds : sequence of str
        The kinds to draw, each as often; a kind that the part has no place for is left out.

    Returns
    -------
    image : ndarray of uint8
        A copy with the defect.
    mask : ndarray of bool, (h, w)
        The pixels that changed by at least 4 levels, mean of the channels; never empty.

    """
    part = _Part.checked(image, others, mask_of_part)
    _check_kinds(kinds)
    part_px = math.sqrt(float(part.where.size))
    smallest_px = max(SMALLEST_SIZE_PX, _SMALLEST_OF_PART * part_px)
    places = {name: KINDS[name] for name in kinds}
    while places:
        name = tuple(places)[int(rng.integers(len(places)))]
        for _ in range(_TRIES_OF_RANDOM):
            size_px = log_uniform(rng, smallest_px, places[name].largest_of_part * part_px)
            contrast = log_uniform(rng, _LOWEST_RANDOM, _HIGHEST_RANDOM)
            found = _random(part, rng, places[name], size_px, contrast)
            if found is not None:
                return found.placed_in(image)
        del places[name]
    raise SettingError(f'the part has no place for a defect of the kinds {", ".join(kinds)}')


# Checks


@dataclass(frozen=True, eq=False)
class _Part:
    """
    The image of a part, other parts, and where a defect may lie.

    """

    planes: NDArray[np.uint8]
    others: list[NDArray[np.uint8]]
    mask: NDArray[np.bool_]

    @classmethod
    def checked(
        cls,
        image: NDArray[np.uint8],
        others: Sequence[NDArray[np.uint8]],
        mask_of_part: NDArray[np.bool_] | None,
    ) -> _Part:
        """
        Check what an outsider gives.

        """
        for one in (image, *others):
            if one.dtype != np.uint8 or one.ndim not in (2, 3) or one.shape != image.shape:
                raise SettingError(
                    f'an image is {one.dtype} of shape {one.shape}; allowed: uint8 of shape '
                    f'{image.shape}, (h, w) or (h, w, 3), as the others'
                )
        if mask_of_part is None:
            mask_of_part = silhouette(image)
        if mask_of_part is None:
            mask_of_part = np.ones(image.shape[:2], bool)
        if mask_of_part.dtype != bool or mask_of_part.shape != image.shape[:2]:
            raise SettingError(
                f'the mask of the part is {mask_of_part.dtype} of shape {mask_of_part.shape}; '
                f'allowed: bool of shape {image.shape[:2]}'
            )
        if not mask_of_part.any():
            raise SettingError('the mask of the part is empty: there is nowhere to put a defect')
        planes = image.reshape(*image.shape[:2], -1)
        return cls(planes, [one.reshape(planes.shape) for one in others] or [planes], mask_of_part)

    @functools.cached_property
    def where(self) -> NDArray[np.intp]:
        """
        Give the flat indices of the pixels of the part.

        """
        return np.flatnonzero(self.mask)

    @functools.cached_property
    def light(self) -> Plane:
        """
        Give the mean of the image, (c,).

        """
        return mean_light(self.planes)

    @functools.cached_property
    def rim(self) -> NDArray[np.intp]:
        """
        Give the flat indices of the pixels at its rim; empty when it fills the image.

        """
        kernel = np.ones((3, 3), np.uint8)
        inner = cv2.erode(self.mask.view(np.uint8), kernel, borderValue=1)
        return np.flatnonzero(self.mask & (inner == 0))

    @functools.cached_property
    def background(self) -> Plane | None:
        """
        Give some pixels around the part, (n, c); None when it fills the image.

        """
        if self.where.size == self.mask.size:
            return None
        outside = self.planes[~self.mask]
        every = math.ceil(len(outside) / _BACKGROUND_PIXELS)
        return outside[::every].astype(np.float32)

    def heart(self, rng: np.random.Generator, kind: DefectKind, size_px: float) -> tuple[int, int]:
        """
        Choose row and column of a place that suits the kind.

        """
        if kind.hearts == RIM and self.rim.size and rng.random() < _SHARE_AT_RIM:
            return self._one_of(rng, self.rim)
        if kind.hearts == ANYWHERE:
            return self._one_of(rng, self.where)
        places = [self._one_of(rng, self.where) for _ in range(_PLACES)]
        return max(places, key=lambda place: self._unevenness(place, size_px))

    def _one_of(self, rng: np.random.Generator, places: NDArray[np.intp]) -> tuple[int, int]:
        row, column = divmod(int(places[int(rng.integers(places.size))]), self.mask.shape[1])
        return row, column

    def _unevenness(self, place: tuple[int, int], size_px: float) -> float:
        half = max(2, round(size_px / 2.0))
        step = max(1, 2 * half // _PLACE_PIXELS)
        rows, columns = (slice(max(0, at - half), at + half + 1, step) for at in place)
        return float(self.planes[rows, columns].std(axis=(0, 1)).mean())


def _check_kinds(kinds: Sequence[str]) -> None:
    for kind in kinds:
        if kind not in KINDS:
            raise SettingError(f'kind of defect is {kind!r}; allowed: {", ".join(KINDS)}')
    if not kinds:
        raise SettingError(f'no kind of defect is given; allowed: {", ".join(KINDS)}')


def _check_range(kind: str, size_px: float, contrast_levels: float, area_px: int) -> None:
    _check_kinds([kind])
    largest = math.sqrt(4.0 / math.pi * LARGEST_SHARE * area_px)
    if not SMALLEST_SIZE_PX <= size_px <= largest:
        raise SettingError(
            f'size of the defect is {size_px:g} px; allowed: {SMALLEST_SIZE_PX:g} to '
            f'{largest:.0f} px on this part'
        )
    if not LOWEST_CONTRAST <= contrast_levels <= HIGHEST_CONTRAST:
        raise SettingError(
            f'contrast of the defect is {contrast_levels:g} levels; allowed: {LOWEST_CONTRAST:g} '
            f'to {HIGHEST_CONTRAST:g}'
        )


# Fit


@dataclass(frozen=True, eq=False)
class _Found:
    """
    A finished patch, and how far it is from what is wanted.

    """

    patch: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    corner: tuple[int, int]
    diameter_px: float
    contrast_levels: float
    error: float

    @property
    def text(self) -> str:
        """
        '12.3 px and 45.6 levels'.

        """
        return f'{self.diameter_px:.1f} px and {self.contrast_levels:.1f} levels'

    def placed_in(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        x, y = self.corner
        height, width = self.mask.shape
        finished, mask = image.copy(), np.zeros(image.shape[:2], bool)
        target = finished[y : y + height, x : x + width]
        target[...] = self.patch.reshape(target.shape)
        mask[y : y + height, x : x + width] = self.mask
        return finished, mask


def _best_of(
    tries: int,
    part: _Part,
    rng: np.random.Generator,
    kind: DefectKind,
    size_px: float,
    contrast_levels: float,
    highest_gain: float,
) -> _Found | None:
    """
    Give the first of several drawings that is near enough, or the nearest; each in another place.

    """
    best: _Found | None = None
    for _ in range(tries):
        place = _place(part, rng, kind, size_px, contrast_levels)
        found = _fitted(place, kind.draw(rng, place, part.others), highest_gain)
        if found is not None and (best is None or found.error < best.error):
            best = found
        if best is not None and best.error <= TOLERANCE:
            break
    return best


def _random(
    part: _Part, rng: np.random.Generator, kind: DefectKind, size_px: float, contrast: float
) -> _Found | None:
    """
    Draw a random defect; None when the place does not suit it.

    """
    if not kind.is_structural:
        return _best_of(1, part, rng, kind, size_px, contrast, _HIGHEST_GAIN_OF_RANDOM)
    place = _place(part, rng, kind, size_px, contrast)
    drawing = kind.draw(rng, place, part.others)
    assert drawing.full_reach is not None, 'a piece has an extent of its own'
    cover = drawing.cover(drawing.full_reach + 0.5) * place.allowed
    found = _finished(place, cover[..., None] * drawing.content)
    if found is None or found.contrast_levels < _LOWEST_RANDOM:
        return None
    largest_px = math.sqrt(4.0 / math.pi * LARGEST_SHARE * part.where.size)
    return found if SMALLEST_SIZE_PX <= found.diameter_px <= largest_px else None


def _place(
    part: _Part,
    rng: np.random.Generator,
    kind: DefectKind,
    size_px: float,
    contrast_levels: float,
) -> Place:
    row, column = part.heart(rng, kind, size_px)
    half = math.ceil(kind.half_per_size * size_px) + 3
    left, top = max(0, column - half), max(0, row - half)
    inside = slice(top, row + half + 1), slice(left, column + half + 1)
    patch, allowed = part.planes[inside].astype(np.float32), part.mask[inside]
    if kind.is_structural:
        outwards = cv2.distanceTransform((~allowed).view(np.uint8), cv2.DIST_L2, 3)
        allowed = outwards <= max(FRINGE_PX, kind.leaves_part_by * size_px)
    height, width = patch.shape[:2]
    return Place(
        patch=patch,
        allowed=allowed,
        x=np.arange(left - column, left - column + width, dtype=np.float32)[None, :],
        y=np.arange(top - row, top - row + height, dtype=np.float32)[:, None],
        corner=(left, top),
        size_px=size_px,
        contrast_levels=contrast_levels,
        light=part.light,
        background=part.background if kind.hearts == RIM else None,
    )


def _finished(place: Place, change: Plane) -> _Found | None:
    """
    Add a change to the patch and measure what is seen of it; None when nothing is.

    """
    good = place.patch.astype(np.uint8)
    finished = np.clip(np.rint(place.patch + change), 0.0, 255.0).astype(np.uint8)
    levels = _channel_mean(cv2.absdiff(finished, good).reshape(finished.shape))
    mask = levels >= VISIBLE_LEVELS
    area_px = int(np.count_nonzero(mask))
    if area_px == 0:
        return None
    diameter_px = math.sqrt(4.0 / math.pi * area_px)
    contrast = float(levels[mask].mean())
    error = fit_error((place.size_px, place.contrast_levels), diameter_px, contrast)
    return _Found(finished, mask, place.corner, diameter_px, contrast, error)


def _fitted(place: Place, drawing: Drawing, highest_gain: float) -> _Found | None:
    """
    Find the reach and the gain at which the finished patch measures as wanted.

    """
    allowed_px = float(np.count_nonzero(place.allowed))
    reaches = drawing.reach[place.allowed]
    reaches = reaches[:: max(1, reaches.size // _REACHES)]

    def change_of(size_px: float) -> tuple[Plane, Plane]:
        share = min(1.0, math.pi / 4.0 * size_px**2 / allowed_px)
        place_in_order = min(reaches.size - 1, round(share * reaches.size))
        reach = float(np.partition(reaches, place_in_order)[place_in_order])
        cover = drawing.cover(reach + 0.5) * place.allowed
        return cover, cover[..., None] * drawing.content

    def drawn(size_px: float, gain: float) -> _Found | None:
        return _finished(place, gain * change_of(size_px)[1])

    cover, change = change_of(place.size_px)
    strength = float(_channel_mean(np.abs(change))[cover > 0.0].mean())
    if strength < 1e-3:
        return None
    steps = replace(
        _STEPS,
        largest_size=math.sqrt(4.0 / math.pi * allowed_px),
        highest_strength=highest_gain,
    )
    start = (place.size_px, min(highest_gain, place.contrast_levels / strength))
    return fit_defect(drawn, (place.size_px, place.contrast_levels), start, steps)


def _channel_mean(planes: NDArray[np.uint8] | Plane) -> Plane:
    levels = np.asarray(planes, np.float32)
    if levels.ndim == 2 or levels.shape[2] == 1:
        return levels.reshape(levels.shape[:2])
    return cv2.transform(levels, np.full((1, 3), 1 / 3, np.float32))
