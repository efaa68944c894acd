# SPDX-License-Identifier: Apache-2.0
"""
A small network of random convolutions, to take features from.

"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from support.networks import files_of, network, op

LAYERS = {'early': 4, 'middle': 8, 'late': 16}
CHANNELS = {'early': 8, 'middle': 12, 'late': 16}
DEEP_LAYER, DEEP_CHANNELS = 'deep', 20


def write_small_backbone(folder: Path, seed: int = 1, side: int = -1) -> Path:
    """
    Write it as an OpenVINO model: 1 x 3 x height x width, layers of 4, 8, 16 and 32 px a cell.

    """
    random = np.random.default_rng(seed)

    def convolved(values: Any, channels: int, stride: int, name: str = '') -> Any:
        taken = values.output(0).get_partial_shape()[1].get_length()
        kernel = random.normal(0, (9 * taken) ** -0.5, (channels, taken, 3, 3)).astype(np.float32)
        found = op.convolution(values, kernel, [stride] * 2, [0, 0], [0, 0], [1, 1], 'same_upper')
        found = op.relu(found)
        if name:
            found.set_friendly_name(name)
        return found

    def classified(image: Any) -> dict[str, Any]:
        values = convolved(image, 8, 2)
        for name, channels in CHANNELS.items():
            values = convolved(values, channels, 2, name)
            values = op.add(values, convolved(values, channels, 1))
        values = convolved(values, DEEP_CHANNELS, 2, DEEP_LAYER)
        return {'classes': op.reduce_mean(values, op.constant([2, 3]), False)}

    path = folder / 'small.xml'
    for name, content in files_of(network([1, 3, side, side], classified)).items():
        (folder / name.replace('model', path.stem)).write_bytes(content.tobytes())
    return path


def keep_small_backbone(folder: Path, scorer: str = 'features') -> str:
    """
    Put it into the user's cache, where the scorer finds it by the name given back.

    """
    from anomaly_inspection.learning.backbones import keep_backbone_of_file

    layers = list(LAYERS) if scorer == 'features' else [DEEP_LAYER]
    return keep_backbone_of_file(write_small_backbone(folder), layers, scorer)
