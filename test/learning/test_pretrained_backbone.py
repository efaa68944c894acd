# SPDX-License-Identifier: Apache-2.0
"""
The pretrained backbone: its weights are read without PyTorch, and nothing else is.

"""

from __future__ import annotations

from collections import OrderedDict
import io
import os
import pickle
import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from anomaly_inspection.errors import SettingError
from anomaly_inspection.learning import pretrained_backbone
from anomaly_inspection.learning.pretrained_backbone import (
    efficientnet_lite0,
    PACKAGE,
    packaged_backbone,
    read_tensors,
    STAGES,
)
from anomaly_inspection.scoring.model import Model

MAGIC = 119547037146038801333356


class Stored:
    """
    A tensor as `torch.save` would write it.

    """

    def __init__(self, array: Any, stride: tuple[int, ...] | None = None, count: int = 0) -> None:
        self.array = array
        self.stride = stride or tuple(step // array.itemsize for step in array.strides)
        self.count = count or array.size


def saved(monkeypatch: pytest.MonkeyPatch, tensors: dict[str, Any], magic: int = MAGIC) -> bytes:
    """
    Write tensors in PyTorch's old format, without PyTorch.

    """

    class FloatStorage:
        pass

    def _rebuild_tensor_v2(*_: Any) -> None:
        pass

    torch, utilities = ModuleType('torch'), ModuleType('torch._utils')
    FloatStorage.__module__, FloatStorage.__qualname__ = 'torch', 'FloatStorage'
    _rebuild_tensor_v2.__module__ = 'torch._utils'
    _rebuild_tensor_v2.__qualname__ = '_rebuild_tensor_v2'
    torch.FloatStorage = FloatStorage  # type: ignore[attr-defined]
    utilities._rebuild_tensor_v2 = _rebuild_tensor_v2  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, 'torch', torch)
    monkeypatch.setitem(sys.modules, 'torch._utils', utilities)

    class Pickler(pickle.Pickler):
        def persistent_id(self, value: Any) -> Any:
            if isinstance(value, tuple) and value[:1] == ('a storage',):
                return ('storage', FloatStorage, value[1], 'cpu', value[2], None)
            return None

        def reducer_override(self, value: Any) -> Any:
            if not isinstance(value, Stored):
                return NotImplemented
            storage = ('a storage', str(id(value)), value.count)
            size = value.array.shape
            return (_rebuild_tensor_v2, (storage, 0, size, value.stride, False, OrderedDict()))

    file = io.BytesIO()
    for value in (magic, 1001, {'little_endian': True}):
        pickle.dump(value, file, protocol=2)
    Pickler(file, protocol=2).dump(OrderedDict(tensors))
    stored = [tensor for tensor in tensors.values() if isinstance(tensor, Stored)]
    pickle.dump([str(id(tensor)) for tensor in stored], file, protocol=2)
    for tensor in stored:
        file.write(tensor.count.to_bytes(8, 'little'))
        file.write(tensor.array.tobytes(order='A'))
    return file.getvalue()


def test_tensors_come_out_in_the_order_of_their_strides(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = np.arange(6, dtype=np.float32).reshape(2, 3)
    turned = np.asfortranarray(np.arange(24, dtype=np.float32).reshape(2, 3, 4))
    content = saved(monkeypatch, {'plain': Stored(plain), 'turned': Stored(turned)})
    read = read_tensors(io.BytesIO(content))
    assert list(read) == ['plain', 'turned']
    assert np.array_equal(read['plain'], plain)
    assert np.array_equal(read['turned'], turned)
    assert read['turned'].flags.c_contiguous


@pytest.mark.parametrize(
    ('stride', 'count'),
    [((300, 1), 0), ((-3, 1), 0), ((3, 1), 10**9)],
    ids=['beyond its values', 'backwards', 'too many'],
)
def test_a_tensor_that_does_not_fit_its_values_is_refused(
    monkeypatch: pytest.MonkeyPatch, stride: tuple[int, ...], count: int
) -> None:
    content = saved(monkeypatch, {'x': Stored(np.zeros((2, 3), np.float32), stride, count)})
    with pytest.raises(SettingError, match='does not fit its'):
        read_tensors(io.BytesIO(content))


class Evil:
    """
    Runs a command when an ordinary unpickler reads it.

    """

    def __reduce__(self) -> Any:
        return os.system, ('false',)


def test_code_in_the_file_is_refused_and_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    content = saved(monkeypatch, {'x': Evil()})
    monkeypatch.setattr(os, 'system', lambda _: pytest.fail('it was run'))
    with pytest.raises(SettingError, match='system; allowed: tensors alone'):
        read_tensors(io.BytesIO(content))


def test_what_is_no_such_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = saved(monkeypatch, {'x': Stored(np.zeros(3, np.float32))})
    with pytest.raises(SettingError, match='not a PyTorch file of the old format'):
        read_tensors(io.BytesIO(saved(monkeypatch, {}, magic=1)))
    for content in (b'', b'PK\x03\x04' + bytes(100), whole[:40], whole[:-1]):
        with pytest.raises(SettingError, match='the weights cannot be read'):
            read_tensors(io.BytesIO(content))


def test_missing_weights_are_named() -> None:
    with pytest.raises(SettingError, match=r"lack '_bn0\.running_var'"):
        efficientnet_lite0({})


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained_backbone, 'PACKAGE', 'no_such_package')
    with pytest.raises(SettingError, match=r"pip install 'anomaly_inspection\[pretrained\]'"):
        packaged_backbone()


def test_the_packaged_network_gives_a_feature_map_for_each_stage() -> None:
    pytest.importorskip(PACKAGE, reason='the pretrained backbone is not installed')
    network = packaged_backbone()
    image = np.random.default_rng(1).uniform(0, 255, (1, 64, 96, 3)).astype(np.float32)
    outputs = {
        name: values
        for names, values in Model(network, image.shape).outputs(image)
        for name in names
    }
    assert {name: values.shape[2:] for name, values in outputs.items()} == {
        name: (64 // stride, 96 // stride) for name, stride in STAGES.items()
    }


def test_a_network_that_computes_something_else_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip(PACKAGE, reason='the pretrained backbone is not installed')
    monkeypatch.setattr(pretrained_backbone, '_NORM_EPSILON', 1e-1)
    with pytest.raises(SettingError, match='known: '):
        packaged_backbone()
