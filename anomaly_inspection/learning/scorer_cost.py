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
from anomaly_inspection.scoring.feature_network import (
    DEEP_SIDE_STEP_PX,
    input_size_px,
    SIDE_STEP_PX,
    STRIDE_PX,
)
from anomaly_inspection.scoring.patch_features import feature_count, grid_shape

if TYPE_CHECKING:
    from collections.abc import Mapping

    Settings = Mapping[str, Any]
    Shape = tuple[int, ...]

# Nanoseconds for each value (pixel and channel) of the prepared image.
_NS_PER_VALUE = {
    'ssim': 20.0,
    'variation': 5.0,
    'template': 60.0,
    'patch_statistics': 20.0,
    'features': 5.0,
    'deep_features': 5.0,
}
# Scorers with a pretrained network, and the steps in which its sides grow.
_STEPS_PX = {'features': SIDE_STEP_PX, 'deep_features': DEEP_SIDE_STEP_PX}
# Nanoseconds for each pixel that the pretrained network sees.
_NS_PER_NETWORK_PIXEL = 300.0
# Nanoseconds for each multiplication of a patch with a whitening matrix.
_NS_PER_PRODUCT = 0.06


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
    if scorer == 'patch_statistics':
        rows, columns = grid_shape(image_shape, settings['stride_px'])
        features = feature_count(image_shape, settings['surface'])
        is_picture = settings['surface'] == 'picture'
        nanoseconds += _ns_of_patches(rows * columns, features, settings, is_picture)
    elif scorer in _STEPS_PX:
        width, height = input_size_px(image_shape, settings['side_px'], _STEPS_PX[scorer])
        patches = width * height // STRIDE_PX**2
        nanoseconds += _NS_PER_NETWORK_PIXEL * width * height
        dimensions = settings['dimensions']
        if settings['statistics'] == 'position':
            # A few directions for each position instead of a matrix (`low_rank_gaussians.py`).
            around = (2 * settings['neighbours'] + 1) ** 2
            products = patches * dimensions * (settings['rank'] + 2) * around
            nanoseconds += _NS_PER_PRODUCT * products
        else:
            nanoseconds += _ns_of_patches(patches, dimensions, settings, True)
    return 1e-6 * nanoseconds


def _ns_of_patches(patches: int, features: int, settings: Settings, has_neighbours: bool) -> float:
    """
    Count what the distances of patches cost: to all kinds, or to the positions around each.

    """
    if settings['statistics'] == 'pooled':
        gaussians = settings['kinds']
    else:
        gaussians = (2 * settings['neighbours'] + 1) ** 2 if has_neighbours else 1
    return _NS_PER_PRODUCT * float(patches * features**2 * gaussians)
