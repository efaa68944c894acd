# SPDX-License-Identifier: Apache-2.0
"""
Measure how long `patch_statistics` and `features` take for a prepared frame, beside their floor.

The floor is what this machine needs at least on one thread: for the bytes that must be read, or
for the multiplications, whichever takes longer. Both speeds are measured in turn with the scorers.

"""

from __future__ import annotations

from functools import partial
import math
from typing import Any, TYPE_CHECKING

import cv2
import numpy as np
from threadpoolctl import threadpool_limits

from anomaly_inspection.imaging.preprocessing import Prepared
from anomaly_inspection.learning.backbones import (
    is_packaged_backbone_installed,
    keep_packaged_backbone,
)
from anomaly_inspection.scoring import one_pass
from anomaly_inspection.scoring.feature_network import input_size_px
from anomaly_inspection.scoring.model import read_network
from anomaly_inspection.scoring.registry import scorer_class
from benchmarks.report import Table, timed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    from anomaly_inspection.scoring.scorer import Scorer

_AROUND = (2 * one_pass.PATCH_REACH + 1) ** 2
_WAYS = (
    ('patch_statistics', 'position', 'gray'),
    ('patch_statistics', 'position', 'colour'),
    ('patch_statistics', 'pooled', 'gray'),
    ('features', 'position', 'gray'),
    ('features', 'pooled', 'gray'),
)


def patch_scorers(
    frames: Sequence[NDArray[np.uint8]],
    taught: int,
    repeats: int,
    scikit_image_map: Callable[[NDArray[np.uint8], NDArray[np.uint8]], object],
    numpy_alone: Callable[[], AbstractContextManager[None]],
) -> list[dict[str, Any]]:
    """
    Time the scorers, with the C++ functions and without.

    Parameters
    ----------
    frames : sequence of ndarray of uint8, (h, w, 3)
        The first `taught` are what the scorers are fitted to.
    taught, repeats : int
        How many frames to fit to; how often each call is timed.
    scikit_image_map : callable
        Makes the SSIM map that times are compared with.
    numpy_alone : callable
        Gives a context without the C++ functions.

    """
    colours = {
        'gray': [_prepared(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)) for frame in frames],
        'colour': [_prepared(frame) for frame in frames],
    }
    gray = [part.image for part in colours['gray']]
    calls: dict[str, Callable[[int], object]] = {
        '': lambda index: scikit_image_map(gray[0], gray[taught + index % (len(gray) - taught)])
    }
    values = np.ones(32_000_000, np.float32)
    one, two = np.ones((1024, 512), np.float32), np.ones((512, 1024), np.float32)
    # In turn with the scorers, so that a busy moment affects all of them.
    calls['read'] = lambda _: values.sum()
    calls['multiply'] = lambda _: one @ two
    needs: dict[str, tuple[float, float]] = {}
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with threadpool_limits(1, 'blas'):
            for scorer, statistics, colour in _WAYS:
                if scorer == 'features' and not is_packaged_backbone_installed():
                    continue
                name = f'{scorer}, {statistics}, {colour}'
                fitted = _fitted(scorer, statistics, colours[colour][:taught])
                score = partial(_score, fitted, colours[colour][taught:])
                calls[name] = score
                calls[f'{name}: NumPy'] = partial(_score_within, numpy_alone, score)
                needs[name] = _needs(fitted, frames[0].shape)
            timing = timed(calls, repeats=repeats)
    finally:
        cv2.setNumThreads(before)
    read_ms, multiply_ms = (timing[what].p50 for what in ('read', 'multiply'))
    results = []
    for name, (read, products) in needs.items():
        floor_ms = max(
            read / values.nbytes * read_ms, products / (one.size * two.shape[1]) * multiply_ms
        )
        results.append(
            {
                'what': name,
                'time': timing[name],
                'share': timing[name].p50 / timing[''].p50,
                'numpy_share': timing[f'{name}: NumPy'].p50 / timing[''].p50,
                'megabytes': 1e-6 * read,
                'million_products': 1e-6 * products,
                'floor_ms': floor_ms,
            }
        )
    return results


def patch_table(figures: Sequence[Mapping[str, Any]]) -> Table:
    """
    Give the table of these times.

    """
    return Table(
        'patch_statistics and features: a prepared frame of 640x480, one thread',
        (
            'scorer',
            'p50 / ms',
            'share of scikit-image',
            'NumPy alone',
            'MB read',
            'million products',
            'floor / ms',
            'times the floor',
        ),
        [
            (
                row['what'],
                row['time'].p50,
                row['share'],
                row['numpy_share'],
                row['megabytes'],
                row['million_products'],
                row['floor_ms'],
                row['time'].p50 / row['floor_ms'],
            )
            for row in figures
        ],
        'Shares are of the time that scikit-image takes for the SSIM map of the gray frame; '
        '"NumPy alone" is the share without the C++ functions. Floor: the statistics that are '
        'read, or the products of patches with matrices and of the layers of the network, at the '
        'speeds that one thread reached in this run for a sum and for a product of large '
        'matrices.',
    )


def _prepared(image: NDArray[Any]) -> Prepared:
    return Prepared(
        np.asarray(image, np.uint8), np.ones(image.shape[:2], bool), np.eye(2, 3), None
    )


def _fitted(scorer: str, statistics: str, parts: Sequence[Prepared]) -> Scorer:
    kind = scorer_class(scorer)
    settings = {**kind.default_settings, 'statistics': statistics}
    if 'backbone' in settings:
        settings['backbone'] = keep_packaged_backbone()
    fitted = kind.fit(parts, settings)
    # As in a cell: while teaching, the features of the network are kept.
    return kind.from_arrays(fitted.to_arrays(), settings)


def _score(fitted: Scorer, parts: Sequence[Prepared], index: int) -> object:
    return fitted.score(parts[index % len(parts)])


def _score_within(
    context: Callable[[], AbstractContextManager[None]],
    score: Callable[[int], object],
    index: int,
) -> object:
    with context():
        return score(index)


def _needs(fitted: Scorer, shape: Sequence[int]) -> tuple[float, float]:
    """
    Count the bytes of statistics that must be read, and the multiplications.

    """
    arrays = fitted.to_arrays()
    read = sum(arrays[key].nbytes for key in ('mean', 'whitening', 'directions') if key in arrays)
    count = arrays['mean'].shape[2]
    products = 0.0
    if 'projection' in arrays:
        width, height = input_size_px(shape, int(fitted.settings['side_px'].default))
        products += _products_of_network(arrays, (height, width))
        products += arrays['projection'].size * width * height / 64
        patches = width * height // 64
    else:
        stride_px = int(fitted.settings['stride_px'].default)
        patches = shape[0] * shape[1] // stride_px**2
    if 'directions' in arrays:
        products += _AROUND * float(arrays['directions'].size)
    elif arrays['mean'].shape[0] > 1:
        products += _AROUND * float(arrays['whitening'].size)
    else:
        products += patches * arrays['mean'].shape[1] * count * (count + 1) / 2
    return read, products


def _products_of_network(arrays: Mapping[str, NDArray[Any]], size: tuple[int, int]) -> float:
    """
    Count the multiplications of the convolutions of a network.

    """
    network = read_network({key: value for key, value in arrays.items() if '.' in key})
    network.reshape((1, *size, 3))
    total = 0.0
    for step in network.get_ops():
        if step.get_type_name() not in ('Convolution', 'GroupConvolution'):
            continue
        weights = list(step.input(1).get_shape())
        _, channels, height, width = list(step.output(0).get_shape())
        # Weights: (groups,) channels out, channels in, height, width.
        total += math.prod(weights[-3:]) * channels * height * width
    return total
