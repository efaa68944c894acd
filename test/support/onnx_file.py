# SPDX-License-Identifier: Apache-2.0
"""
Writes a small network as an ONNX file, byte by byte: no package for it is needed.

"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

_VARINT, _BYTES = 0, 2
_INTEGERS = 7


def convolutions(strides: Mapping[str, int], side: int, seed: int = 1) -> bytes:
    """
    Give a chain of named convolutions without overlap, four channels each, and their mean.

    """
    random = np.random.default_rng(seed)
    nodes, weights, last, channels = [], [], 'image', 3
    for name, stride in strides.items():
        kernel = random.normal(0, 0.3, (4, channels, stride, stride)).astype('<f4')
        weights.append(_tensor(f'{name}.weight', kernel))
        attributes = [_integers(key, [stride] * 2) for key in ('kernel_shape', 'strides')]
        nodes.append(_node('Conv', name, [last, f'{name}.weight'], f'{name}_out', attributes))
        last, channels = f'{name}_out', 4
    nodes.append(_node('GlobalAveragePool', 'pool', [last], 'classes', []))
    graph = b''.join(
        [
            *(_field(1, node) for node in nodes),
            _field(2, b'for_tests'),
            *(_field(5, each) for each in weights),
            _field(11, _value('image', [1, 3, side, side])),
            _field(12, _value('classes', [1, 4, 1, 1])),
        ]
    )
    return _number(1, 8) + _field(7, graph) + _field(8, _number(2, 13))


def _varint(value: int) -> bytes:
    content = bytearray()
    while value > 127:
        content.append(value & 127 | 128)
        value >>= 7
    return bytes([*content, value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3 | _VARINT) + _varint(value)


def _field(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | _BYTES) + _varint(len(content)) + content


def _tensor(name: str, values: np.ndarray) -> bytes:
    dimensions = b''.join(_number(1, length) for length in values.shape)
    return dimensions + _number(2, 1) + _field(8, name.encode()) + _field(9, values.tobytes())


def _integers(name: str, values: Sequence[int]) -> bytes:
    numbers = b''.join(_number(8, value) for value in values)
    return _field(1, name.encode()) + numbers + _number(20, _INTEGERS)


def _node(
    kind: str, name: str, inputs: Sequence[str], output: str, attributes: Sequence[bytes]
) -> bytes:
    return b''.join(
        [
            *(_field(1, each.encode()) for each in inputs),
            _field(2, output.encode()),
            _field(3, name.encode()),
            _field(4, kind.encode()),
            *(_field(5, each) for each in attributes),
        ]
    )


def _value(name: str, shape: Sequence[int]) -> bytes:
    dimensions = b''.join(_field(1, _number(1, length)) for length in shape)
    tensor = _number(1, 1) + _field(2, dimensions)
    return _field(1, name.encode()) + _field(2, _field(1, tensor))
