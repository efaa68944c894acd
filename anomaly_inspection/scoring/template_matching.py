# SPDX-License-Identifier: Apache-2.0
"""
Template matching: which template an image is most like, and how it lies on it.

Likeness is the correlation coefficient of Lewis (1995), "Fast normalized cross-correlation", with
one gray level squared added to both variances so that flat images have one as well ::

    NCC = (cov(x, t) + 1) / sqrt((var(x) + 1) * (var(t) + 1))

A bank of templates is searched by thumbnails first. The few likeliest templates are then compared
in full, at every shift and at the likeliest angle.

"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple, TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_THUMBNAIL_PX = 32
_LEAST_VARIANCE = 1.0
# Angles are searched on images of about this short side; a strip is no longer than the second.
_COARSE_PX, _LONGEST_STRIP_PX = 64, 256


class Pose(NamedTuple):
    """
    How an image lies on a template.

    Parameters
    ----------
    ncc : float
        Over the pixels that both have; -inf when they are less than half of the image's.
    frame, template : (slice, slice)
        The part of the image, after it was turned, that the template covers, and the part of the
        template there.
    turn_deg : float
        By which the image is turned about its centre, counter-clockwise.

    """

    ncc: float
    frame: tuple[slice, slice]
    template: tuple[slice, slice]
    turn_deg: float = 0.0


def thumbnail(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """
    Give a small version of an image, as one row, for a quick search.

    """
    small = cv2.resize(image, (_THUMBNAIL_PX, _THUMBNAIL_PX), interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.float32).ravel()


def thumbnail_correlations(
    thumbnails: NDArray[np.float32], image: NDArray[np.uint8], valid: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """
    Give the NCC of an image with every thumbnail, over the image's valid part.

    """
    weights = np.ones(thumbnails.shape[1], np.float32)
    if not valid.all():
        size = (_THUMBNAIL_PX, _THUMBNAIL_PX)
        share = cv2.resize(valid.view(np.uint8) * 255, size, interpolation=cv2.INTER_AREA)
        channels = len(weights) // share.size
        weights = np.repeat(np.asarray(share == 255, np.float32).ravel(), channels)
    total = max(float(weights.sum()), 1.0)
    small = thumbnail(image)
    small = (small - small @ weights / total) * weights
    sums, squares = thumbnails @ weights, np.square(thumbnails) @ weights
    variances = np.maximum(squares - sums * sums / total, 0) / total
    own = float(small @ small) / total
    covariances = thumbnails @ small / total
    return np.asarray(
        (covariances + _LEAST_VARIANCE)
        / np.sqrt((variances + _LEAST_VARIANCE) * (own + _LEAST_VARIANCE)),
        np.float32,
    )


def best_match(
    image: NDArray[np.uint8],
    valid: NDArray[np.bool_],
    templates: Sequence[tuple[NDArray[np.uint8], NDArray[np.bool_]]],
    search_px: int,
    search_deg: float,
) -> tuple[int, Pose]:
    """
    Find the template with the highest NCC, and the shift and rotation that give it.

    Parameters
    ----------
    image, valid : ndarray of uint8, (h, w[, 3]), and of bool, (h, w)
        The image and its valid pixels.
    templates : sequence of (ndarray of uint8, ndarray of bool)
        Each template with its judged pixels.
    search_px, search_deg : int, float
        How far the image may be shifted and rotated.

    Returns
    -------
    (int, Pose)
        Index of the template, and how the image lies on it.

    """
    # At least three quarters of the template are compared at every shift.
    search_px = min(search_px, (min(valid.shape) - 1) // 8)
    poses = [_best_shift(image, valid, *template, search_px) for template in templates]
    best = max(range(len(poses)), key=lambda which: poses[which].ncc)
    likely, turn_deg = _likely_rotation(image, valid, templates, search_px, search_deg)
    # Less than half a pixel at the corners does not matter.
    if abs(turn_deg) * math.hypot(*valid.shape) > math.degrees(1.0):
        turned = _best_shift(*rotated(image, valid, turn_deg), *templates[likely], search_px)
        if turned.ncc > poses[best].ncc:
            return likely, turned._replace(turn_deg=turn_deg)
    return best, poses[best]


def _likely_rotation(
    image: NDArray[np.uint8],
    valid: NDArray[np.bool_],
    templates: Sequence[tuple[NDArray[np.uint8], NDArray[np.bool_]]],
    search_px: int,
    search_deg: float,
) -> tuple[int, float]:
    """
    Find the template and the angle with the highest NCC on small copies, at any shift.

    A parabola gives angles between the steps. Pixels that are not valid get the mean gray level.

    """
    scale = max(1, min(valid.shape) // _COARSE_PX, max(valid.shape) // _LONGEST_STRIP_PX)
    size = (valid.shape[1] // scale, valid.shape[0] // scale)
    reach = math.ceil(search_px / scale)
    if not search_deg or min(size) <= 2 * reach + 2:
        return 0, 0.0
    small = _small(image, valid, size)
    # A step moves the corners by a pixel.
    steps = math.ceil(math.radians(search_deg) * math.hypot(*size) / 2)
    angles = np.linspace(-search_deg, search_deg, 2 * steps + 1)
    everywhere = np.ones(size[::-1], np.bool_)
    turned = np.stack([rotated(small, everywhere, angle)[0] for angle in angles.tolist()])
    inner = np.stack([_small(*template, size) for template in templates])
    inner = inner[:, reach : size[1] - reach, reach : size[0] - reach]
    windows = [
        turned[:, top : top + inner.shape[1], left : left + inner.shape[2]]
        for top, left in itertools.product(range(2 * reach + 1), repeat=2)
    ]
    likeness = np.max([_unit_rows(inner) @ _unit_rows(window).T for window in windows], axis=0)
    which, best = divmod(int(likeness.argmax()), len(angles))
    turn_deg = float(angles[best])
    if 0 < best < len(angles) - 1:
        before, at, after = likeness[which, best - 1 : best + 2].tolist()
        if before - 2 * at + after < 0:
            step = float(angles[1] - angles[0])
            turn_deg += 0.5 * step * (before - after) / (before - 2 * at + after)
    return which, turn_deg


def _unit_rows(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """
    Give each image as a row of unit length, so that the product of two is their correlation.

    """
    rows = images.reshape(len(images), -1).astype(np.float32)
    rows -= rows.mean(axis=1, keepdims=True)
    lengths = np.sqrt(np.einsum('ij,ij->i', rows, rows))
    return np.asarray(rows / np.maximum(lengths, 1.0)[:, None], np.float32)


def _small(
    image: NDArray[np.uint8], valid: NDArray[np.bool_], size: tuple[int, int]
) -> NDArray[np.uint8]:
    small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    if valid.all():
        return small
    share = cv2.resize(valid.view(np.uint8) * np.uint8(255), size, interpolation=cv2.INTER_AREA)
    seen = np.asarray(share) == 255
    level = small[seen].mean(axis=0) if seen.any() else small.mean(axis=(0, 1))
    return np.where(seen[..., None] if image.ndim == 3 else seen, small, level).astype(np.uint8)


def _best_shift(
    image: NDArray[np.uint8],
    valid: NDArray[np.bool_],
    template: NDArray[np.uint8],
    judged: NDArray[np.bool_],
    search_px: int,
) -> Pose:
    """
    Find the shift with the highest NCC.

    """
    x_px = y_px = 0
    if search_px:
        known = image
        shared = valid & judged
        if not shared.all():
            # Unknown pixels must not favour any shift.
            known = np.where(shared[..., None] if image.ndim == 3 else shared, image, template)
        inner = template[search_px:-search_px, search_px:-search_px]
        likeness = np.nan_to_num(cv2.matchTemplate(known, inner, cv2.TM_CCOEFF_NORMED))
        _, highest, _, (left, top) = cv2.minMaxLoc(likeness)
        if highest > likeness[search_px, search_px]:
            x_px, y_px = left - search_px, top - search_px
    rows, row = _overlap(y_px, image.shape[0])
    columns, column = _overlap(x_px, image.shape[1])
    frame, covering = (rows, columns), (row, column)
    inside = valid[frame] & judged[covering]
    # A few pixels correlate with anything.
    if 2 * int(np.count_nonzero(inside)) < max(2, int(np.count_nonzero(valid))):
        return Pose(-math.inf, frame, covering)
    return Pose(_ncc(image[frame], template[covering], inside), frame, covering)


def rotated(
    image: NDArray[np.uint8], valid: NDArray[np.bool_], turn_deg: float
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """
    Rotate an image about its centre; what comes in over the border is not valid.

    """
    if not turn_deg:
        return image, valid
    rotation, size = rotation_matrix(valid, turn_deg), valid.shape[::-1]
    turned = cv2.warpAffine(image, rotation, size, borderMode=cv2.BORDER_REPLICATE)
    seen = cv2.warpAffine(valid.view(np.uint8) * np.uint8(255), rotation, size)
    return np.asarray(turned, np.uint8), np.asarray(seen == 255)


def rotation_matrix(valid: NDArray[np.bool_], turn_deg: float) -> NDArray[np.float64]:
    height, width = valid.shape
    centre = ((width - 1) / 2, (height - 1) / 2)
    return np.asarray(cv2.getRotationMatrix2D(centre, turn_deg, 1.0), np.float64)


def _overlap(shift_px: int, length: int) -> tuple[slice, slice]:
    """
    Give the part of a frame's axis that a shifted template covers, and that part of the template.

    """
    ahead, behind = max(shift_px, 0), max(-shift_px, 0)
    return slice(ahead, length - behind), slice(behind, length - ahead)


def _ncc(one: NDArray[np.uint8], two: NDArray[np.uint8], inside: NDArray[np.bool_]) -> float:
    """
    Give the NCC of two images over some of their pixels, each channel about its own mean.

    """
    pixels = np.count_nonzero(inside)
    first, second = (
        np.asarray(image[inside] if pixels < inside.size else image, np.float32).reshape(
            pixels, -1
        )
        for image in (one, two)
    )
    first -= first.mean(axis=0)
    second -= second.mean(axis=0)
    samples = first.size
    covariance = float(np.vdot(first, second)) / samples
    variances = [float(np.vdot(each, each)) / samples for each in (first, second)]
    return (covariance + _LEAST_VARIANCE) / float(
        np.sqrt((variances[0] + _LEAST_VARIANCE) * (variances[1] + _LEAST_VARIANCE))
    )
