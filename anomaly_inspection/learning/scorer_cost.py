# SPDX-License-Identifier: Apache-2.0
"""
What scoring a frame costs, counted from the size of the image and the settings of the scorer.

A choice must not depend on how busy the machine was, so nothing is timed. The counts are
multiplied by the time that one core of a reference machine took (a cloud server at about 3 GHz).
Other machines differ by up to 2.5 times. `teach` prints the measured time of the finished recipe.

"""

from __future__ import annotations

import math
from typing import Any, TYPE_CHECKING

from anomaly_inspection.errors import SettingError
from anomaly_inspection.scoring.patch_features import feature_count, grid_shape

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Settings = Mapping[str, Any]
    Shape = tuple[int, ...]

# Nanoseconds for each value (pixel and channel) of the prepared image.
_NS_PER_VALUE = {'ssim': 20.0, 'variation': 5.0, 'template': 60.0, 'patch_statistics': 20.0}
# Nanoseconds for each multiplication of a patch with a whitening matrix.
_NS_PER_PRODUCT = 0.12


def counted_ms(scorer: str, settings: Settings, image_shape: Shape) -> float:
    """
    Give how long a scorer takes for a prepared frame on one core of the reference machine.

    Parameters
    ----------
    scorer : str
        Its name.
    settings : mapping
        All of its settings.
    image_shape : tuple of int
        Shape of the prepared image, (h, w) or (h, w, 3).

    Returns
    -------
    float
        Milliseconds.

    Raises
    ------
    SettingError
        When the cost of this scorer cannot be counted.

    """
    if scorer not in _NS_PER_VALUE:
        raise SettingError(
            f'the cost of scorer {scorer!r} is not known; known: {", ".join(_NS_PER_VALUE)}'
        )
    nanoseconds = _NS_PER_VALUE[scorer] * math.prod(image_shape)
    if scorer in _PRODUCTS:
        nanoseconds += _NS_PER_PRODUCT * _PRODUCTS[scorer](settings, image_shape)
    return 1e-6 * nanoseconds


def _patch_products(settings: Settings, image_shape: Shape) -> float:
    rows, columns = grid_shape(image_shape, settings['stride_px'])
    features = feature_count(image_shape, settings['surface'])
    if settings['statistics'] == 'pooled':
        gaussians = settings['kinds']
    elif settings['surface'] == 'picture':
        gaussians = (2 * settings['neighbours'] + 1) ** 2
    else:
        gaussians = 1
    return float(rows * columns * features**2 * gaussians)


_PRODUCTS: dict[str, Callable[[Settings, Shape], float]] = {'patch_statistics': _patch_products}
