# SPDX-License-Identifier: Apache-2.0
"""
Small OpenVINO models whose every output is known, as bytes.

"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
import tempfile
from typing import Any

import numpy as np
import pytest

openvino = pytest.importorskip('openvino', reason='networks need OpenVINO: pip install openvino')
op = openvino.opset13

FINGERPRINT = 'ab' * 32
OWN = {
    'kind': 'autoencoder',
    'architecture': 'for_tests',
    'preprocessing_fingerprint': FINGERPRINT,
    'format_version': '1',
}


def constant(value: Any) -> Any:
    return op.constant(np.asarray(value, np.float32))


def files_of(network: Any) -> dict[str, np.ndarray]:
    with tempfile.TemporaryDirectory() as folder:
        xml = Path(folder, 'model.xml')
        openvino.save_model(network, xml, compress_to_fp16=False)
        return {
            key: np.fromfile(xml.with_name(key), np.uint8) for key in ('model.xml', 'model.bin')
        }


def network(
    shape: list[int],
    outputs: Callable[[Any], Mapping[str, Any]],
    information: Mapping[tuple[str, str], str] | None = None,
    dtype: type = np.float32,
) -> Any:
    """
    Make a model from what its outputs are of its input.

    """
    image = op.parameter(shape, dtype, 'input')
    made = outputs(image)
    for name, node in made.items():
        node.output(0).set_names({name})
    model = openvino.Model(list(made.values()), [image], 'for_tests')
    for path, value in (information or {}).items():
        model.set_rt_info(value, list(path))
    return model


def autoencoder_files(
    reconstruction: Callable[[Any], Any] | np.ndarray | float | None = None,
    *,
    side: int = 32,
    channels: int = 1,
    cells: int = 4,
    own: Mapping[str, str] = OWN,
) -> dict[str, np.ndarray]:
    """
    Make an autoencoder: it draws its input (None), always the same image, or what it is told.

    The latent vector holds the mean gray level of cells x cells squares.

    """

    def outputs(image: Any) -> dict[str, Any]:
        if callable(reconstruction):
            drawn = reconstruction(image)
        elif reconstruction is None:
            drawn = op.multiply(image, constant(1))
        else:
            drawn = op.add(op.multiply(image, constant(0)), constant(reconstruction))
        gray = op.reduce_mean(image, op.constant([3]), True)
        planes = op.transpose(gray, op.constant([0, 3, 1, 2]))
        step = [side // cells] * 2
        means = op.avg_pool(planes, step, [0, 0], [0, 0], step, False)
        return {
            'reconstruction': drawn,
            'latent': op.reshape(means, op.constant([1, cells * cells]), False),
        }

    information = {('anomaly_inspection', key): value for key, value in own.items()}
    return files_of(network([1, side, side, channels], outputs, information))
