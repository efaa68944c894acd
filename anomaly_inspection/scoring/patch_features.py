# SPDX-License-Identifier: Apache-2.0
"""
Hand-made features of the small patches of an image: the filter bank of `patch_statistics.py`.

Features of a `picture`, at four scales: gray level (colour images: L, a and b of CIE Lab) and
strength of the gradient in four directions. Features of a `texture`, at three scales: the strength
of the gradient in the logarithm of the gray level less its mean over 8 px, as a share of what it
is around, along streaks and in the whole image; for colour images a and b as well. So exposure,
shading and how coarse the surface is do not matter for a texture.

"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np

from anomaly_inspection.scoring import one_pass

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from anomaly_inspection.imaging.preprocessing import Prepared

SURFACES = ('picture', 'texture', 'streaks_down', 'streaks_across')
# Every level halves the image, so the features of the last one see eight times as far.
_PICTURE_LEVELS, _TEXTURE_LEVELS = 4, 3
_DIRECTIONS = 4
# For textures: light changes by factors, and structure wider than _LIGHT_PX counts as light.
# _DARK_LEVELS are added to every pixel, so that noise in dark pixels does not count.
_LIGHT_PX, _DARK_LEVELS, _LEVELS_PER_UNIT = 8.0, 20.0, 50.0
# For a texture of streaks: gradients across them are so many times those along them.
_STREAKY = 1.5
# Gradients of a texture are relative to those around, over so many cells, with this minimum.
_AROUND_CELLS, _LEAST_GRADIENT, _RELATIVE_UNIT = 55, 0.3, 10.0
# Neighbouring patches overlap by this much, in cells of the grid.
_POOLING_CELLS = 0.7
# Gray levels, less than a camera's noise; matters only for images that are all the same.
LEAST_DEVIATION = 0.5


def surface_of(images: Sequence[Prepared]) -> str:
    """
    Tell which of the `SURFACES` good parts show.

    They show a texture when they share no picture, not even several: a typical part differs even
    from the part most like it by more than half of its local contrast.

    Parameters
    ----------
    images : sequence of Prepared
        Good parts.

    """
    valid = np.all([part.valid for part in images], axis=0)
    if len(images) < 2 or not valid.any():
        return 'picture'
    planes = [_without_light(_gray(part.image)) for part in images]
    contrasts = np.stack([plane[valid] for plane in planes])
    own = np.square(contrasts).mean(axis=1)
    apart = np.array(
        [
            min(np.square(one - contrasts[j]).mean() for j in range(len(images)) if j != i)
            for i, one in enumerate(contrasts)
        ]
    )
    if float(np.median(apart / np.maximum(own, LEAST_DEVIATION**2))) <= 0.5:
        return 'picture'
    return texture_of(images)


def texture_of(images: Sequence[Prepared]) -> str:
    """
    Tell which texture good parts show: 'texture', or 'streaks_down' or 'streaks_across'.

    """
    planes = [_without_light(_gray(part.image)) for part in images]
    strengths = np.array(
        [
            [way[part.valid].mean() for way in _gradients(plane)]
            for part, plane in zip(images, planes, strict=True)
        ]
    )
    across, _, down, _ = np.median(strengths, axis=0)
    if across > _STREAKY * down:
        return 'streaks_down'
    return 'streaks_across' if down > _STREAKY * across else 'texture'


def _gray(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) if image.ndim == 3 else image
    return np.asarray(gray, np.float32)


def grid_shape(shape: Sequence[int], stride_px: int) -> tuple[int, int]:
    """
    Give rows and columns of the grid of patches.

    """
    return max(1, round(shape[0] / stride_px)), max(1, round(shape[1] / stride_px))


def feature_count(shape: Sequence[int], surface: str) -> int:
    colours = 2 if len(shape) == 3 else 0
    if surface == 'picture':
        return _PICTURE_LEVELS * (1 + colours + _DIRECTIONS)
    return _TEXTURE_LEVELS * (colours + _DIRECTIONS)


def patch_features(image: NDArray[np.uint8], stride_px: int, surface: str) -> NDArray[np.float32]:
    """
    Give the features of every patch, about gray levels, (rows, columns, features).

    """
    rows, columns = grid_shape(image.shape, stride_px)
    if image.ndim == 3:
        image = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2Lab), np.uint8)
    planes = [np.asarray(plane, np.float32) for plane in cv2.split(image)]
    is_picture = surface == 'picture'
    if not is_picture:
        planes[0] = _without_light(planes[0])
    depth = _PICTURE_LEVELS if is_picture else _TEXTURE_LEVELS
    own = len(planes) if is_picture else len(planes) - 1
    pooled = np.empty((rows, columns, depth * (own + _DIRECTIONS)), np.float32)
    for level in range(depth):
        if level:
            size = (planes[0].shape[1] + 1) // 2, (planes[0].shape[0] + 1) // 2
            planes = [
                np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_AREA), np.float32)
                for plane in planes
            ]
        strengths_at = depth * own + level * _DIRECTIONS
        _put_level(planes, pooled, level * own, strengths_at, is_picture=is_picture)
    features = np.asarray(
        cv2.GaussianBlur(pooled, (0, 0), _POOLING_CELLS, borderType=cv2.BORDER_REFLECT), np.float32
    )
    if not is_picture:
        gradients = np.ascontiguousarray(features[..., depth * own :])
        features[..., depth * own :] = _relative_strengths(gradients, surface)
    return features


def _put_level(
    planes: Sequence[NDArray[np.float32]],
    pooled: NDArray[np.float32],
    levels_at: int,
    strengths_at: int,
    *,
    is_picture: bool,
) -> None:
    """
    Put the mean levels of the planes, and the strengths of the first one, into `pooled`.

    The level of the first plane counts for a picture alone.

    """
    rows, columns = pooled.shape[:2]
    first, others = planes[0], planes[1:]
    # As `_pooled` does where it takes the mean over an area.
    if one_pass.is_built() and rows < first.shape[0] and columns <= first.shape[1]:
        one_pass.cell_means(first, pooled, levels_at if is_picture else None, strengths_at)
    else:
        if is_picture:
            pooled[..., levels_at] = _pooled(first, rows, columns)
        for index, strength in enumerate(_gradients(first), start=strengths_at):
            pooled[..., index] = _pooled(strength, rows, columns)
    for index, plane in enumerate(others, start=levels_at + is_picture):
        pooled[..., index] = _pooled(plane, rows, columns)


def _pooled(plane: NDArray[np.float32], rows: int, columns: int) -> NDArray[np.float32]:
    """
    Give the mean over every cell of the grid.

    """
    shrinks = plane.shape[0] > rows
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(plane, (columns, rows), interpolation=method), np.float32)


def _without_light(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """
    Give the logarithm of a plane less its local mean.

    """
    logarithm = cv2.log(plane + np.float32(_DARK_LEVELS))
    wide = cv2.GaussianBlur(logarithm, (0, 0), _LIGHT_PX, borderType=cv2.BORDER_REFLECT)
    return np.asarray((logarithm - wide) * _LEVELS_PER_UNIT, np.float32)


def _relative_strengths(gradients: NDArray[np.float32], surface: str) -> NDArray[np.float32]:
    """
    Give the strength of gradients relative to that around them and in the whole image.

    For streaks also relative to that along the streak.

    """
    rows, columns, count = gradients.shape
    wide, high = min(_AROUND_CELLS, columns), min(_AROUND_CELLS, rows)
    edges = [(wide, high)]
    if surface != 'texture':
        edges.append((1, high) if surface == 'streaks_down' else (wide, 1))
    usual = np.full(gradients.shape, _LEAST_GRADIENT, np.float32)
    usual += np.median(gradients.reshape(-1, count), axis=0)
    for edge in edges:
        around = cv2.blur(gradients, edge, borderType=cv2.BORDER_REFLECT)
        usual += np.asarray(around).reshape(gradients.shape)
    return np.asarray(gradients / usual * _RELATIVE_UNIT, np.float32)


def _gradients(plane: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
    """
    Give the strength of the gradient across, along a diagonal, down, along the other diagonal.

    """
    border = cv2.BORDER_REFLECT
    across = np.asarray(cv2.Sobel(plane, -1, 1, 0, scale=0.25, borderType=border), np.float32)
    down = np.asarray(cv2.Sobel(plane, -1, 0, 1, scale=0.25, borderType=border), np.float32)
    diagonal = np.asarray(cv2.add(across, down), np.float32)
    other_diagonal = np.asarray(cv2.absdiff(across, down), np.float32)
    for strength in (across, diagonal, down):
        np.abs(strength, out=strength)
    for strength in (diagonal, other_diagonal):
        strength *= np.float32(math.sqrt(0.5))
    return across, diagonal, down, other_diagonal
