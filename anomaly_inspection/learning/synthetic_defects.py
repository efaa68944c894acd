# SPDX-License-Identifier: Apache-2.0
"""
Synthetic defects on images of good parts: what a recipe sees can be asked before any real defect.

The finished image is what counts. A defect is drawn as a content (what would stand there) and a
reach (how far a pixel lies from the heart of the defect, pixels); then the reach up to which it
covers and the gain of what it changes are fitted until the change, measured in the finished 8-bit
image, has the wanted size and contrast. Pixels that changed by less than `VISIBLE_LEVELS` do not
count, wherever they lie.

`paste` follows Natural Synthetic Anomalies (Schlueter et al., arXiv:2109.15222): a patch of a good
part, its sides gamma-distributed, scaled and blended in without a seam. The blend here takes off
the difference along the rim, spread inwards by a normalised convolution, which stands in for the
Poisson equation at a tenth of its time and for any outline.

"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
import functools
import math
from typing import Any, TYPE_CHECKING

import cv2
import numpy as np

from anomaly_inspection.errors import SettingError
from anomaly_inspection.imaging.preprocessing import map_to_frame

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Plane = NDArray[Any]

# A pixel has changed when its channels have, on average, by this much.
VISIBLE_LEVELS = 4.0
# The finished defect is as large and as strong as asked within this share.
TOLERANCE = 0.15
SMALLEST_SIZE_PX = 3.0
LOWEST_CONTRAST, HIGHEST_CONTRAST = 6.0, 120.0
# Of the part's area: a larger one would be another part.
LARGEST_SHARE = 0.4

_CLOSE_ENOUGH = 0.06
_STEPS = 6
_TRIES = 10
_REACHES = 8_000
_LONGEST_STEP = 2.5
# Beyond the lower one the difference between two good parts looks like noise.
_HIGHEST_GAIN, _HIGHEST_GAIN_OF_RANDOM = 12.0, 2.5
# A background is even: its spread, and the share of the rim that may belong to the part.
_BACKGROUND_SPREAD = 14.0
_BACKGROUND_RIM = 0.8
_BACKGROUND_PIXELS = 2_000
_PART_SHARES = (0.03, 0.97)
_LEAST_SHARE_OF_REGION = 0.1


@dataclass(frozen=True, eq=False)
class _Place:
    """
    Where a defect is drawn.

    Parameters
    ----------
    patch : ndarray of float32, (h, w, c)
        The good image around it.
    allowed : ndarray of bool, (h, w)
        Where it may change the image.
    x, y : ndarray of float32, (1, w) and (h, 1)
        From its heart, pixels.
    corner : (int, int)
        Column and row of the patch in the image.
    size_px, contrast_levels : float
        As wanted.
    background : ndarray of float32, (c,), or None
        Colour of what lies around the part.

    """

    patch: Plane
    allowed: NDArray[np.bool_]
    x: Plane
    y: Plane
    corner: tuple[int, int]
    size_px: float
    contrast_levels: float
    background: Plane | None

    @property
    def shape(self) -> tuple[int, int]:
        """
        Height and width of the patch.

        """
        return self.patch.shape[0], self.patch.shape[1]

    def sign(self, rng: np.random.Generator) -> float:
        """
        Choose brighter or darker, whichever the gray levels leave room for.

        """
        level = float(self.patch[self.patch.shape[0] // 2, self.patch.shape[1] // 2].mean())
        room = 1.5 * self.contrast_levels
        if level + room > 255.0:
            return -1.0
        return 1.0 if level - room < 0.0 else float(rng.choice((-1.0, 1.0)))


@dataclass(frozen=True, eq=False)
class _Drawing:
    """
    A defect before its size and strength are fitted.

    Parameters
    ----------
    reach : ndarray of float32, (h, w)
        Distance from the heart, pixels, by the defect's own outline.
    content : ndarray of float32, (h, w, c)
        What full cover adds to the image.
    softness : float
        Width of the edge as a share of the reach, 0..1; never below a pixel.

    """

    reach: Plane
    content: Plane
    softness: float


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
    15 %), contrasts from 8 to 90 levels; what the image does not allow comes out as near to it as
    it can be.

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
        kind = KINDS[int(rng.integers(len(KINDS)))]
        largest_px = _LARGEST_OF_PART[kind] * part_px
        size_px = _log_uniform(rng, max(SMALLEST_SIZE_PX, 0.015 * part_px), largest_px)
        contrast = _log_uniform(rng, 8.0, 90.0)
        found = _best_of(
            1, image, others, rng, kind, size_px, contrast, allowed, _HIGHEST_GAIN_OF_RANDOM
        )
        if found is not None:
            return found.placed_in(image)


def silhouette(image: NDArray[np.uint8]) -> NDArray[np.bool_] | None:
    """
    Tell the part from its background, where the rim of the image shows an even one.

    Parameters
    ----------
    image : ndarray of uint8, (h, w) or (h, w, 3)
        A good part.

    Returns
    -------
    ndarray of bool, (h, w), or None
        True on the part, holes left out; None when there is no even background, or hardly
        anything else.

    """
    planes = image.reshape(*image.shape[:2], -1)
    rim = np.concatenate([planes[0], planes[-1], planes[:, 0], planes[:, -1]]).astype(np.float32)
    background = np.median(rim, axis=0)
    rim_distance = np.abs(rim - background).max(axis=1)
    if np.quantile(rim_distance, _BACKGROUND_RIM) > _BACKGROUND_SPREAD:
        return None
    smooth = cv2.GaussianBlur(image, (0, 0), 1.0)
    distances = cv2.split(cv2.absdiff(smooth, np.resize(np.float64(background), (4, 1))))
    distance = functools.reduce(cv2.max, distances)
    level, mask = cv2.threshold(distance, 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    if level <= _BACKGROUND_SPREAD:
        return None
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask)
    if count < 2:
        return None
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    part = labels == largest
    low, high = _PART_SHARES
    return part if low < part.mean() < high else None


def part_in_region(
    frame: NDArray[np.uint8], to_frame: NDArray[np.float64], region_shape: tuple[int, ...]
) -> NDArray[np.bool_]:
    """
    Give where a defect may lie in a frame: on the part, inside of what a recipe looks at.

    Parameters
    ----------
    frame : ndarray of uint8, (H, W) or (H, W, 3)
        Of a good part, as the camera gives it.
    to_frame : ndarray of float64, (2, 3)
        Of the `Prepared` frame.
    region_shape : (int, int)
        Height and width of the prepared image.

    Returns
    -------
    ndarray of bool, (H, W)
        All of the region when no part can be told from the background in it.

    """
    region = np.ones(region_shape, np.float32)
    judged = map_to_frame(region, to_frame, (frame.shape[1], frame.shape[0])) > 0.5
    rows, columns = (np.flatnonzero(judged.any(axis=axis)) for axis in (1, 0))
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    part = silhouette(np.ascontiguousarray(frame[box]))
    if part is None:
        return judged
    found = np.zeros_like(judged)
    found[box] = part & judged[box]
    return found if found.sum() > _LEAST_SHARE_OF_REGION * judged.sum() else judged


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
    A finished patch and how far it is from what was wanted.

    """

    patch: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    corner: tuple[int, int]
    error: float
    text: str

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
    Give the first of several drawings, each in another place, that is near enough, or the nearest.

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
        drawing = _DRAW[kind](
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
) -> _Place:
    half = math.ceil(_HALF_PER_SIZE[kind] * size_px) + 3
    column, row = heart
    left, top = max(0, column - half), max(0, row - half)
    inside = slice(top, row + half + 1), slice(left, column + half + 1)
    patch = planes[inside].astype(np.float32)
    height, width = patch.shape[:2]
    return _Place(
        patch=patch,
        allowed=allowed[inside],
        x=np.arange(left - column, left - column + width, dtype=np.float32)[None, :],
        y=np.arange(top - row, top - row + height, dtype=np.float32)[:, None],
        corner=(left, top),
        size_px=size_px,
        contrast_levels=contrast_levels,
        background=background,
    )


def _fitted(place: _Place, drawing: _Drawing, highest_gain: float) -> _Found | None:
    """
    Find the reach and the gain at which the finished patch measures as wanted.

    """
    good = place.patch.astype(np.uint8)
    wanted_px = math.pi / 4.0 * place.size_px**2
    reaches = drawing.reach[place.allowed]
    reaches = reaches[:: max(1, reaches.size // _REACHES)]
    share = wanted_px / float(np.count_nonzero(place.allowed))
    gain = 0.0
    best: _Found | None = None
    for _ in range(_STEPS):
        place_in_order = min(reaches.size - 1, round(share * reaches.size))
        reach = float(np.partition(reaches, place_in_order)[place_in_order]) + 0.5
        cover = (reach - drawing.reach) / max(1.0, drawing.softness * reach)
        cover = np.clip(cover, 0.0, 1.0) * place.allowed
        change = cover[..., None] * drawing.content
        if gain == 0.0:
            strength = float(_channel_mean(np.abs(change))[cover > 0.0].mean())
            if strength < 1e-3:
                return None
            gain = min(highest_gain, place.contrast_levels / strength)
        finished = np.clip(np.rint(place.patch + gain * change), 0.0, 255.0).astype(np.uint8)
        levels = _channel_mean(cv2.absdiff(finished, good.reshape(finished.shape)))
        mask = levels >= VISIBLE_LEVELS
        area_px = int(np.count_nonzero(mask))
        if area_px == 0:
            gain, share = min(highest_gain, _LONGEST_STEP * gain), 1.2 * share
            continue
        contrast = float(levels[mask].mean())
        diameter_px = math.sqrt(4.0 / math.pi * area_px)
        error = max(
            abs(math.log(diameter_px / place.size_px)),
            abs(math.log(contrast / place.contrast_levels)),
        )
        if best is None or error < best.error:
            text = f'{diameter_px:.1f} px and {contrast:.1f} levels'
            best = _Found(finished, mask, place.corner, error, text)
        if error < _CLOSE_ENOUGH:
            break
        share = min(1.0, share * _step(wanted_px / area_px))
        gain = min(highest_gain, gain * _step(place.contrast_levels / contrast))
    return best


def _step(ratio: float) -> float:
    return min(_LONGEST_STEP, max(1.0 / _LONGEST_STEP, ratio))


def _channel_mean(planes: NDArray[np.uint8] | Plane) -> Plane:
    levels = np.asarray(planes, np.float32)
    if levels.ndim == 2 or levels.shape[2] == 1:
        return levels.reshape(levels.shape[:2])
    return cv2.transform(levels, np.full((1, 3), 1 / 3, np.float32))


# Kinds


def _paste(
    rng: np.random.Generator, place: _Place, others: Sequence[NDArray[np.uint8]]
) -> _Drawing:
    """
    A patch of a good part, scaled, blended in without a seam.

    """
    height, width = place.shape
    sides = np.clip(rng.gamma(2.0, 0.5, 2), 0.4, 1.6)
    aspect = math.sqrt(float(sides[0] / sides[1]))
    reach = _box(rng, place, aspect)
    half = place.size_px * math.sqrt(math.pi) / 4.0
    ring = (np.abs(reach - half) < max(1.0, 0.15 * half)).astype(np.float32)
    best, strongest = np.zeros_like(place.patch), -1.0
    # Parts are often alike: the patch that differs most of three shows something.
    for _ in range(3):
        source = others[int(rng.integers(len(others)))]
        patch = _scaled_patch(rng, source, (height, width), _log_uniform(rng, 0.7, 1.4))
        difference = patch - place.patch
        strength = float(np.abs(difference[reach < half]).mean()) if half >= 1.0 else 0.0
        if strength > strongest:
            best, strongest = difference, strength
    sigma = max(1.0, 0.35 * half)
    weight = cv2.GaussianBlur(ring, (0, 0), sigma)[..., None] + np.float32(1e-6)
    along_rim = cv2.GaussianBlur(best * ring[..., None], (0, 0), sigma)
    return _Drawing(reach, best - along_rim.reshape(best.shape) / weight, 0.3)


def _scratch(
    rng: np.random.Generator, place: _Place, others: Sequence[NDArray[np.uint8]]
) -> _Drawing:
    """
    A thin bent line, bright or dark, uneven along its length, at times one of several.

    """
    length = place.size_px * math.sqrt(math.pi / 4.0 * _log_uniform(rng, 5.0, 25.0))
    height, width = place.shape
    left, top = float(place.x[0, 0]), float(place.y[0, 0])
    canvas = np.full((height, width), 255, np.uint8)
    heading = rng.uniform(0.0, math.pi)
    for stroke in range(int(rng.choice((1, 1, 2, 3)))):
        bend = rng.uniform(-0.6, 0.6) / max(1.0, length / 30.0) ** 0.3
        turn = heading + bend * np.linspace(-1.0, 1.0, 24)
        points = np.stack([np.cos(turn), np.sin(turn)], axis=1).cumsum(axis=0)
        points = (points - points.mean(axis=0)) * (length / 24.0)
        if stroke:
            points = 0.7 * points + rng.normal(0.0, 0.3 * place.size_px + 1.0, 2)
        pixels = np.rint((points - (left, top)) * 16.0).astype(np.int32)
        cv2.polylines(canvas, [pixels[:, None]], False, 0, 1, cv2.LINE_8, 4)
    reach: Plane = cv2.distanceTransform(canvas, cv2.DIST_L2, 3)
    grain = _noise(rng, place.shape, max(2.0, place.size_px / 3.0))
    reach = np.maximum(0.0, reach + 0.25 * grain)
    tone = 1.0 + 0.3 * grain
    return _Drawing(reach, _toned(place, place.sign(rng) * tone, _tint(rng, 0.15)), 0.5)


def _stain(
    rng: np.random.Generator, place: _Place, others: Sequence[NDArray[np.uint8]]
) -> _Drawing:
    """
    A spot or film: bright, dark or coloured, with a hard edge, a soft one or a rim.

    """
    reach = _blob(rng, place, rng.uniform(0.1, 0.5))
    tone = 1.0 + rng.uniform(0.0, 0.3) * _noise(rng, place.shape, max(2.0, place.size_px / 3.0))
    if rng.random() < 0.3:
        rim = (reach - 0.45 * place.size_px) / (0.1 * place.size_px + 0.5)
        tone = tone + np.exp(-(rim**2))
    content = _toned(place, place.sign(rng) * tone, _tint(rng, 0.6))
    if rng.random() < 0.3:
        # A film lets through what lies under it: strong where the part is bright.
        content = content * (0.3 + place.patch / (float(place.patch.mean()) + 1.0))
    return _Drawing(reach, content, float(rng.choice((0.05, 0.3, 0.9))))


def _missing(
    rng: np.random.Generator, place: _Place, others: Sequence[NDArray[np.uint8]]
) -> _Drawing:
    """
    Material that is not there: the background, a piece of the surface beside it, or what lies
    under it.

    """
    reach = _blob(rng, place, 0.35) if rng.random() < 0.5 else _box(rng, place, 1.0, 0.4)
    source = rng.random()
    least = 0.5 * place.contrast_levels
    near = reach < 0.5 * place.size_px
    if place.background is not None and source < 0.6:
        content = place.background - place.patch
    else:
        height, width = place.shape
        shift = place.size_px * rng.uniform(0.8, 1.6)
        angle = rng.uniform(0.0, 2.0 * math.pi)
        matrix = np.array(
            [[1, 0, shift * math.cos(angle)], [0, 1, shift * math.sin(angle)]], np.float32
        )
        beside = cv2.warpAffine(
            place.patch, matrix, (width, height), borderMode=cv2.BORDER_REFLECT_101
        )
        content = beside.reshape(place.patch.shape) - place.patch
    if source > 0.85 or float(np.abs(content[near]).mean()) < least:
        level = float(place.patch[near].mean()) + place.sign(rng) * place.contrast_levels
        under = level + 0.1 * place.contrast_levels * _noise(rng, place.shape, 2.0)
        content = under[..., None] - place.patch
    return _Drawing(reach, content, 0.05)


def _dent(
    rng: np.random.Generator, place: _Place, others: Sequence[NDArray[np.uint8]]
) -> _Drawing:
    """
    A dent or bump: one flank lit, the other in shade.

    """
    reach = _blob(rng, place, 0.2)
    angle = rng.uniform(0.0, 2.0 * math.pi)
    radius = 0.5 * place.size_px
    slope = (place.x * math.cos(angle) + place.y * math.sin(angle)) / radius
    tone = np.tanh(2.5 * slope) + rng.uniform(-0.5, 0.5)
    return _Drawing(reach, _toned(place, tone, _tint(rng, 0.05)), float(rng.uniform(0.5, 1.0)))


_DRAW: dict[
    str, Callable[[np.random.Generator, _Place, Sequence[NDArray[np.uint8]]], _Drawing]
] = {
    'paste': _paste,
    'scratch': _scratch,
    'stain': _stain,
    'missing': _missing,
    'dent': _dent,
}
# Half the side of the patch, in diameters.
_HALF_PER_SIZE = {'paste': 1.3, 'scratch': 2.4, 'stain': 1.3, 'missing': 1.3, 'dent': 1.3}
# Largest random size, as a share of the part's.
_LARGEST_OF_PART = {'paste': 0.5, 'scratch': 0.15, 'stain': 0.5, 'missing': 0.5, 'dent': 0.5}
KINDS = tuple(_DRAW)


# Outlines and textures


def _blob(rng: np.random.Generator, place: _Place, raggedness: float) -> Plane:
    """
    Reach from the heart by an uneven, stretched outline.

    """
    angle, stretch = rng.uniform(0.0, math.pi), _log_uniform(rng, 1.0, 1.5)
    cosine, sine = math.cos(angle), math.sin(angle)
    along = (place.x * cosine + place.y * sine) / stretch
    across = (place.y * cosine - place.x * sine) * stretch
    uneven = _noise(rng, place.shape, max(2.0, place.size_px / 2.0))
    return np.hypot(along, across) * np.exp(raggedness * np.clip(uneven, -1.5, 1.5))


def _box(rng: np.random.Generator, place: _Place, aspect: float, turn: float = math.pi) -> Plane:
    """
    Reach from the heart by a turned rectangle.

    """
    angle = rng.uniform(-turn, turn)
    cosine, sine = math.cos(angle), math.sin(angle)
    along = np.abs(place.x * cosine + place.y * sine) / aspect
    across = np.abs(place.y * cosine - place.x * sine) * aspect
    return np.maximum(along, across)


def _noise(rng: np.random.Generator, shape: tuple[int, int], grain_px: float) -> Plane:
    """
    Smooth noise, zero mean, about unit deviation.

    """
    cells = [min(64, max(4, round(side / grain_px) + 1)) for side in shape]
    small = rng.standard_normal(cells, dtype=np.float32)
    return cv2.resize(small, shape[::-1], interpolation=cv2.INTER_CUBIC)


def _scaled_patch(
    rng: np.random.Generator,
    source: NDArray[np.uint8],
    shape: tuple[int, int],
    scale: float,
) -> Plane:
    height = min(source.shape[0], max(2, round(shape[0] / scale)))
    width = min(source.shape[1], max(2, round(shape[1] / scale)))
    top = int(rng.integers(source.shape[0] - height + 1))
    left = int(rng.integers(source.shape[1] - width + 1))
    cut = source[top : top + height, left : left + width].astype(np.float32)
    scaled = cv2.resize(cut, shape[::-1], interpolation=cv2.INTER_LINEAR)
    return scaled.reshape(*shape, -1)


def _tint(rng: np.random.Generator, strength: float) -> Plane:
    """
    How strongly each of B, G, R changes, mean 1.

    """
    tint = 1.0 + strength * rng.uniform(-1.0, 1.0, 3).astype(np.float32)
    return np.asarray(tint / tint.mean())


def _toned(place: _Place, tone: Plane, tint: Plane) -> Plane:
    """
    Give the tone as a change of every channel, of the wanted contrast at tone 1.

    """
    channels = place.patch.shape[2]
    weights = tint if channels == 3 else np.ones(channels, np.float32)
    return np.float32(place.contrast_levels) * tone[..., None].astype(np.float32) * weights


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return math.exp(rng.uniform(math.log(low), math.log(max(low, high))))
