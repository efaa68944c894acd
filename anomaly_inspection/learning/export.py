# SPDX-License-Identifier: Apache-2.0
"""
From a trained Keras model to the files that scoring runs: OpenVINO IR.

"""

from __future__ import annotations

from pathlib import Path
import tempfile
from typing import TYPE_CHECKING

import numpy as np
import openvino
import tensorflow

from anomaly_inspection.learning.architectures import LATENT, RECONSTRUCTION

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

_RT_INFO = 'anomaly_inspection'


def exported(
    model: keras.Model, architecture: str, preprocessing_fingerprint: str
) -> dict[str, NDArray[np.uint8]]:
    """
    Give a model as OpenVINO IR, batch 1, 32-bit.

    Parameters
    ----------
    model : keras.Model
        As `architectures.build` makes it.
    architecture : str
        Its name.
    preprocessing_fingerprint : str
        Of the preprocessing that its training images went through; scoring refuses another one.

    Returns
    -------
    dict of str to ndarray of uint8
        'model.xml' and 'model.bin', the bytes of the files.

    """
    shape = tensorflow.TensorSpec((1, *model.input.shape[1:]), tensorflow.float32, name='image')
    scored = tensorflow.function(lambda image: model(image, training=False))
    converted = openvino.convert_model(scored.get_concrete_function(shape))
    for output in converted.outputs:
        rank = len(output.get_partial_shape())
        output.get_tensor().set_names({RECONSTRUCTION if rank == 4 else LATENT})
    for key, value in (
        ('kind', 'autoencoder'),
        ('architecture', architecture),
        ('preprocessing_fingerprint', preprocessing_fingerprint),
        ('format_version', '1'),
    ):
        converted.set_rt_info(value, [_RT_INFO, key])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, 'model.xml')
        openvino.save_model(converted, path, compress_to_fp16=False)
        names = 'model.xml', 'model.bin'
        return {name: np.fromfile(path.with_name(name), np.uint8) for name in names}
