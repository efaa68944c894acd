# SPDX-License-Identifier: Apache-2.0
"""
The losses of a reconstruction that training minimises, for a data range of 1.0.

SSIM of two images x and y at one place, over a Gaussian window of 11x11 pixels with sigma 1.5
(means m, variances v, covariance c, all with the weights of the window):

    l = (2 mx my + C1) / (mx^2 + my^2 + C1)       C1 = 0.01^2
    s = (2 cxy + C2) / (vx + vy + C2)             C2 = 0.03^2
    SSIM = l s

averaged over all windows that lie inside the image, and over channels (Wang et al.,
doi:10.1109/TIP.2003.819861).

    mse       mean over pixels and channels of (x - y)^2
    ssim      1 - SSIM
    ms_ssim   1 - product over scales j of S_j^w_j, S_j the mean of s at scale j, of SSIM at the
              coarsest; each scale has half the pixels of the one before; w = .0448, .2856, .3001,
              .2363, .1333 (Wang et al., doi:10.1109/ACSSC.2003.1292216). Images too small for five
              scales take as many as fit, their weights made to sum to 1. Below e = .01 the power
              is taken of e^2 / (2 e - S_j): it keeps a slope where S_j is negative.
    ssim_l1   1 - SSIM + mean |x - y|: SSIM alone hardly sees a change of plain colour

"""

from __future__ import annotations

import math
from typing import Any, TYPE_CHECKING

from keras import ops
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_C1, _C2 = 0.01**2, 0.03**2
_WINDOW_PX, _SIGMA_PX = 11, 1.5
_SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_SMALL_SIMILARITY = 0.01


def mse(true: Any, predicted: Any) -> Any:
    """
    Give the mean squared error of each image, (n,).

    """
    return ops.mean(ops.square(true - predicted), axis=(1, 2, 3))


def ssim(true: Any, predicted: Any) -> Any:
    """
    Give 1 - SSIM of each image, (n,); images at least 11 px wide and high.

    """
    luminance, structure = _luminance_and_structure(true, predicted)
    return 1.0 - ops.mean(luminance * structure, axis=(1, 2, 3))


def ms_ssim(true: Any, predicted: Any) -> Any:
    """
    Give 1 - the SSIM over several scales of each image, (n,).

    """
    side_px = min(true.shape[1:3])
    scales = min(len(_SCALE_WEIGHTS), 1 + int(math.log2(side_px / _WINDOW_PX)))
    weights = np.array(_SCALE_WEIGHTS[:scales]) / sum(_SCALE_WEIGHTS[:scales])
    product: Any = 1.0
    for scale, weight in enumerate(weights):
        luminance, structure = _luminance_and_structure(true, predicted)
        is_coarsest = scale == scales - 1
        similar = ops.mean(luminance * structure if is_coarsest else structure, axis=(2, 3))
        product *= ops.power(_positive(similar), float(weight))
        if not is_coarsest:
            true, predicted = (ops.average_pool(image, 2, 2) for image in (true, predicted))
    return 1.0 - ops.mean(product, axis=1)


def ssim_l1(true: Any, predicted: Any) -> Any:
    """
    Give 1 - SSIM plus the mean absolute error of each image, (n,).

    """
    return ssim(true, predicted) + ops.mean(ops.absolute(true - predicted), axis=(1, 2, 3))


LOSS_FUNCTIONS: dict[str, Callable[[Any, Any], Any]] = {
    loss.__name__: loss for loss in (mse, ssim, ms_ssim, ssim_l1)
}


def _positive(similar: Any) -> Any:
    """
    Continue a similarity smoothly below a small value, so that it stays positive.

    """
    small = _SMALL_SIMILARITY
    # Both sides are computed everywhere: the pole must lie where the other side is taken.
    below = small**2 / (2 * small - ops.minimum(similar, small))
    return ops.where(similar > small, similar, below)


def _luminance_and_structure(true: Any, predicted: Any) -> tuple[Any, Any]:
    """
    Give l and s for every window and channel, (n, c, h - 10, w - 10).

    """
    x, y = (ops.transpose(image, (0, 3, 1, 2)) for image in (true, predicted))
    mean_x, mean_y, xx, yy, xy = ops.split(
        _windowed(ops.concatenate([x, y, x * x, y * y, x * y], axis=1)), 5, axis=1
    )
    product, squares = mean_x * mean_y, mean_x * mean_x + mean_y * mean_y
    luminance = (2 * product + _C1) / (squares + _C1)
    structure = (2 * (xy - product) + _C2) / (xx + yy - squares + _C2)
    return luminance, structure


def _windowed(maps: Any) -> Any:
    """
    Give the weighted mean of every window of maps (n, c, h, w).

    As two matrix products, one down and one along.

    """
    height, width = maps.shape[2:]
    return ops.matmul(ops.matmul(_band(height), maps), _band(width).T)


def _band(size_px: int) -> NDArray[np.float32]:
    """
    Give the matrix, (size - 10, size), that takes the weighted mean of every window of a line.

    """
    offsets = np.arange(_WINDOW_PX) - _WINDOW_PX // 2
    weights = np.exp(-0.5 * (offsets / _SIGMA_PX) ** 2)
    band = np.zeros((size_px - _WINDOW_PX + 1, size_px), np.float32)
    for place, row in enumerate(band):
        row[place : place + _WINDOW_PX] = weights / weights.sum()
    return band
