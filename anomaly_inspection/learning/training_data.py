# SPDX-License-Identifier: Apache-2.0
"""
From prepared images to the batches for training and judging a network.

"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from anomaly_inspection.imaging.net_input import net_input
from anomaly_inspection.learning.augmentation import spoiled, varied

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from anomaly_inspection.learning.training_settings import TrainingSettings

_Item = TypeVar('_Item')


def spoiled_batches(
    images: Sequence[NDArray[np.uint8]], settings: TrainingSettings, epoch: int
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """
    Give one epoch of training: every image, or as many patches as cover it, in random order.

    Order, augmentation and spoiling depend only on the seed and the number of the epoch. So a
    training that goes on after a kill sees what it would have seen.

    Yields
    ------
    input, target : ndarray of float32, (n, side, side, c)
        Spoiled, and as it should be; n is `settings.batch`, or less in the last batch.

    """
    rng = np.random.default_rng([settings.seed, epoch])
    patches = math.prod(len(starts) for starts in _starts(images[0].shape, settings.patch_px))
    order = rng.permutation(np.repeat(np.arange(len(images)), patches))
    for chosen in _in_batches(order.tolist(), settings.batch):
        targets = [
            net_input(
                varied(images[index], settings.augmentation, rng, settings.patch_px),
                settings.side_px,
            )
            for index in chosen
        ]
        inputs = [spoiled(target, settings.denoising, rng) for target in targets]
        yield np.stack(inputs), np.stack(targets)


def plain_batches(
    images: Sequence[NDArray[np.uint8]], settings: TrainingSettings
) -> Iterator[NDArray[np.float32]]:
    """
    Give images, or patches that cover them, as scoring sees them; always the same ones.

    """
    rows, columns = _starts(images[0].shape, settings.patch_px)
    height, width = images[0].shape[:2]
    size_px = settings.patch_px
    places = [
        (index, slice(y, y + (size_px or height)), slice(x, x + (size_px or width)))
        for index in range(len(images))
        for y in rows
        for x in columns
    ]
    for chosen in _in_batches(places, settings.batch):
        yield np.stack(
            [net_input(images[index][y, x], settings.side_px) for index, y, x in chosen]
        )


def _starts(shape: Sequence[int], patch_px: int) -> tuple[list[int], list[int]]:
    """
    Give the rows and columns where evenly spaced patches begin that cover an image.

    """
    if not patch_px:
        return [0], [0]
    rows, columns = (
        np.rint(np.linspace(0, full - patch_px, math.ceil(full / patch_px))).astype(int).tolist()
        for full in shape[:2]
    )
    return rows, columns


def _in_batches(items: Sequence[_Item], size: int) -> Iterator[Sequence[_Item]]:
    return (items[start : start + size] for start in range(0, len(items), size))
