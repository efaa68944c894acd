# SPDX-License-Identifier: Apache-2.0
"""
Synthetic defects on images of good parts: they show what a recipe sees before any real defect.

The finished image is what counts. A defect is drawn as a content (what would stand there) and a
reach (how far a pixel lies from the heart of the defect, pixels). Then the reach up to which the
defect covers the image, and the gain of its content, are fitted until the change has the wanted
size and contrast, measured in the finished 8-bit image. Pixels that changed by less than
`VISIBLE_LEVELS` do not count, wherever they lie.

"""

from __future__ import annotations

from dataclasses import dataclass, replace
import math
from typing import Any, TYPE_CHECKING

import cv2
import numpy as np

from anomaly_inspection.defect_fit import fit_defect, fit_error, FitSteps
from anomaly_inspection.errors import SettingError
from anomaly_inspection.learning.defect_kinds import Drawing, KINDS, log_uniform, Place
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
_REACHES = 8_000
# With more than the second the difference between two good parts looks like noise.
_HIGHEST_GAIN, _HIGHEST_GAIN_OF_RANDOM = 12.0, 2.5
_BACKGROUND_PIXELS = 2_000


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
        wanted size and contrast can be met to 15 % (a paste among parts that are all alike).

    """
    allowed = _allowed(image, others, mask_of_part)
    _check_range(kind, size_px, contrast_levels, int(allowed.sum()))
    found = _best_of(_TRIES, image, others, rng, kind, size_px, contrast_levels, allowed)
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
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """
    Put a defect of random kind, size and contrast on the image of a good part.

    Sizes are log-uniform from 3 px, or 1.5 % of the part's own size, to half of it (a scratch to
    15 %), contrasts from 8 to 90 levels. Where the image does not allow that size or contrast, the
    defect comes as near to it as possible.

    Parameters
    ----------
    image, others, rng, mask_of_part
        As for `synthetic_defect`.

    Returns
    -------
    image : ndarray of uint8
        A copy with the defect.
    mask : ndarray of bool, (h, w)
        The pixels that changed by at least 4 levels, mean of the channels; never empty.

    """
    allowed = _allowed(image, others, mask_of_part)
    part_px = math.sqrt(float(allowed.sum()))
    while True:
        kind = KIND_NAMES[int(rng.integers(len(KIND_NAMES)))]
        largest_px = KINDS[kind].largest_of_part * part_px
        size_px = log_uniform(rng, max(SMALLEST_SIZE_PX, 0.015 * part_px), largest_px)
        contrast = log_uniform(rng, 8.0, 90.0)
        found = _best_of(
            1, image, others, rng, kind, size_px, contrast, allowed, _HIGHEST_GAIN_OF_RANDOM
        )
        if found is not None:
            return found.placed_in(image)


# Checks


def _allowed(
    image: NDArray[np.uint8],
    others: Sequence[NDArray[np.uint8]],
    mask_of_part: NDArray[np.bool_] | None,
) -> NDArray[np.bool_]:
    for one in (image, *others):
        if one.dtype != np.uint8 or one.ndim not in (2, 3) or one.shape != image.shape:
            raise SettingError(
                f'an image is {one.dtype} of shape {one.shape}; allowed: uint8 of shape '
                f'{image.shape}, (h, w) or (h, w, 3), as the others'
            )
    if mask_of_part is None:
        mask_of_part = silhouette(image)
    if mask_of_part is None:
        return np.ones(image.shape[:2], bool)
    if mask_of_part.dtype != bool or mask_of_part.shape != image.shape[:2]:
        raise SettingError(
            f'the mask of the part is {mask_of_part.dtype} of shape {mask_of_part.shape}; '
            f'allowed: bool of shape {image.shape[:2]}'
        )
    if not mask_of_part.any():
        raise SettingError('the mask of the part is empty: there is nowhere to put a defect')
    return mask_of_part


def _check_range(kind: str, size_px: float, contrast_levels: float, area_px: int) -> None:
    if kind not in KINDS:
        raise SettingError(f'kind of defect is {kind!r}; allowed: {", ".join(KINDS)}')
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
    image: NDArray[np.uint8],
    others: Sequence[NDArray[np.uint8]],
    rng: np.random.Generator,
    kind: str,
    size_px: float,
    contrast_levels: float,
    allowed: NDArray[np.bool_],
    highest_gain: float = _HIGHEST_GAIN,
) -> _Found | None:
    """
    Give the first of several drawings that is near enough, or the nearest; each in another place.

    """
    planes = image.reshape(*image.shape[:2], -1)
    where = np.flatnonzero(allowed)
    background, edge = None, where
    if kind == 'missing' and where.size < allowed.size:
        outside = planes[~allowed]
        outside = outside[:: math.ceil(len(outside) / _BACKGROUND_PIXELS)]
        background = np.median(outside, axis=0).astype(np.float32)
        inner = cv2.erode(allowed.view(np.uint8), np.ones((3, 3), np.uint8), borderValue=1)
        edge = np.flatnonzero(allowed & (inner == 0))
    best: _Found | None = None
    for _ in range(tries):
        places = edge if edge.size and rng.random() < 0.6 else where
        row, column = divmod(int(places[int(rng.integers(places.size))]), allowed.shape[1])
        place = _place(planes, allowed, (column, row), kind, size_px, contrast_levels, background)
        drawing = KINDS[kind].draw(
            rng, place, [one.reshape(planes.shape) for one in others] or [planes]
        )
        found = _fitted(place, drawing, highest_gain)
        if found is not None and (best is None or found.error < best.error):
            best = found
        if best is not None and best.error <= TOLERANCE:
            break
    return best


def _place(
    planes: NDArray[np.uint8],
    allowed: NDArray[np.bool_],
    heart: tuple[int, int],
    kind: str,
    size_px: float,
    contrast_levels: float,
    background: Plane | None,
) -> Place:
    half = math.ceil(KINDS[kind].half_per_size * size_px) + 3
    column, row = heart
    left, top = max(0, column - half), max(0, row - half)
    inside = slice(top, row + half + 1), slice(left, column + half + 1)
    patch = planes[inside].astype(np.float32)
    height, width = patch.shape[:2]
    return Place(
        patch=patch,
        allowed=allowed[inside],
        x=np.arange(left - column, left - column + width, dtype=np.float32)[None, :],
        y=np.arange(top - row, top - row + height, dtype=np.float32)[:, None],
        corner=(left, top),
        size_px=size_px,
        contrast_levels=contrast_levels,
        background=background,
    )


def _fitted(place: Place, drawing: Drawing, highest_gain: float) -> _Found | None:
    """
    Find the reach and the gain at which the finished patch measures as wanted.

    """
    good = place.patch.astype(np.uint8)
    allowed_px = float(np.count_nonzero(place.allowed))
    reaches = drawing.reach[place.allowed]
    reaches = reaches[:: max(1, reaches.size // _REACHES)]

    def change_of(size_px: float) -> tuple[Plane, Plane]:
        share = min(1.0, math.pi / 4.0 * size_px**2 / allowed_px)
        place_in_order = min(reaches.size - 1, round(share * reaches.size))
        reach = float(np.partition(reaches, place_in_order)[place_in_order]) + 0.5
        cover = (reach - drawing.reach) / max(1.0, drawing.softness * reach)
        cover = np.clip(cover, 0.0, 1.0) * place.allowed
        return cover, cover[..., None] * drawing.content

    def drawn(size_px: float, gain: float) -> _Found | None:
        _, change = change_of(size_px)
        finished = np.clip(np.rint(place.patch + gain * change), 0.0, 255.0).astype(np.uint8)
        levels = _channel_mean(cv2.absdiff(finished, good.reshape(finished.shape)))
        mask = levels >= VISIBLE_LEVELS
        area_px = int(np.count_nonzero(mask))
        if area_px == 0:
            return None
        diameter_px = math.sqrt(4.0 / math.pi * area_px)
        wanted = (place.size_px, place.contrast_levels)
        contrast = float(levels[mask].mean())
        error = fit_error(wanted, diameter_px, contrast)
        return _Found(finished, mask, place.corner, diameter_px, contrast, error)

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
