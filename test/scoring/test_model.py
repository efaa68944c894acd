# SPDX-License-Identifier: Apache-2.0
"""
Networks from bytes: what runs, and every way in which the bytes can be wrong.

"""

from __future__ import annotations

from pathlib import Path
import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from anomaly_inspection.errors import RecipeError
from anomaly_inspection.scoring import model as model_module
from anomaly_inspection.scoring.model import Autoencoder, Model, read_network
from support.networks import (
    autoencoder_files,
    constant,
    files_of,
    FINGERPRINT,
    network,
    op,
    openvino,
    OWN,
)

FILES = autoencoder_files()


def image(side: int = 32, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(1).random((side, side, channels), np.float32)


@pytest.mark.parametrize('channels', [1, 3])
def test_an_autoencoder_runs_from_bytes(channels: int) -> None:
    autoencoder = Autoencoder.from_arrays(autoencoder_files(side=16, channels=channels))
    assert (autoencoder.side_px, autoencoder.channels, autoencoder.latent_size) == (
        16,
        channels,
        16,
    )
    assert autoencoder.architecture == 'for_tests'
    assert autoencoder.preprocessing_fingerprint == FINGERPRINT
    shown = image(16, channels)
    drawn, latent = autoencoder.run(shown)
    np.testing.assert_array_equal(drawn, shown)
    expected = shown.mean(axis=2).reshape(4, 4, 4, 4).mean(axis=(1, 3)).ravel()
    np.testing.assert_allclose(latent, expected, atol=1e-6)


# The step of `Model` that locked up, all of them at the same instant.
TYPES_IN_FOUR_THREADS = """
import sys, threading
import numpy as np
from anomaly_inspection.scoring.model import read_network
with np.load(sys.argv[1]) as archive:
    type = read_network(dict(archive)).inputs[0].get_element_type()
sys.setswitchinterval(1e-6)
together = threading.Barrier(4)
def ask():
    together.wait()
    type.to_dtype()
threads = [threading.Thread(target=ask) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def test_threads_may_use_a_network_at_once_as_soon_as_one_was_read(tmp_path: Path) -> None:
    np.savez(tmp_path / 'files.npz', **autoencoder_files(side=8))
    # Only the first time in a process counts, and by chance it may go well: so several try.
    command = [sys.executable, '-c', TYPES_IN_FOUR_THREADS, tmp_path / 'files.npz']
    tries = [subprocess.Popen(command) for _ in range(8)]
    try:
        assert [one.wait(timeout=60) for one in tries] == [0] * len(tries)
    finally:
        for one in tries:
            one.kill()
            one.wait()


def test_an_answer_stays_when_the_next_image_is_run() -> None:
    autoencoder = Autoencoder.from_arrays(FILES)
    drawn, latent = autoencoder.run(image())
    kept = drawn.copy(), latent.copy()
    autoencoder.run(np.zeros((32, 32, 1), np.float32))
    np.testing.assert_array_equal(drawn, kept[0])
    np.testing.assert_array_equal(latent, kept[1])


def test_numbers_have_the_precision_of_float32() -> None:
    weights = np.random.default_rng(2).normal(0, 1, (8, 1, 3, 3))

    def filtered(shown):
        planes = op.transpose(shown, op.constant([0, 3, 1, 2]))
        many = op.convolution(planes, constant(weights), [1, 1], [1, 1], [1, 1], [1, 1])
        return op.transpose(
            op.reduce_mean(many, op.constant([1]), True), op.constant([0, 2, 3, 1])
        )

    drawn, _ = Autoencoder.from_arrays(autoencoder_files(filtered)).run(image())
    padded = np.pad(image()[..., 0].astype(float), 1)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))
    expected = np.einsum('hwij,kij->hw', windows, weights[:, 0]) / 8
    np.testing.assert_allclose(drawn[..., 0], expected, atol=2e-6)


def changed(key: str, content: bytes) -> dict[str, np.ndarray]:
    return {**FILES, key: np.frombuffer(content, np.uint8)}


XML, BIN = FILES['model.xml'].tobytes(), FILES['model.bin'].tobytes()


@pytest.mark.parametrize(
    'files',
    [
        changed('model.xml', b''),
        changed('model.xml', XML[: len(XML) // 2]),
        changed('model.xml', XML[:-3]),
        changed('model.xml', b'\x00\xff' * 500),
        changed('model.xml', b'<html><body>404</body></html>'),
        changed('model.xml', b'<?xml version="1.0"?><net name="x" version="11"/>'),
        changed('model.xml', XML.replace(b'type="AvgPool"', b'type="Unheard"')),
        changed('model.bin', b''),
        changed('model.bin', BIN[:-1]),
    ],
)
def test_broken_files_are_refused(files: dict[str, np.ndarray]) -> None:
    with pytest.raises(RecipeError, match=r'model\.xml'):
        Autoencoder.from_arrays(files)


@pytest.mark.parametrize('key', ['model.xml', 'model.bin'])
def test_a_missing_file_is_refused_by_name(key: str) -> None:
    files = {name: content for name, content in FILES.items() if name != key}
    with pytest.raises(RecipeError, match=re.escape(f'{key} is missing')):
        Autoencoder.from_arrays(files)


@pytest.mark.parametrize(
    ('own', 'complaint'),
    [
        ({}, "not made by this package.*scorer 'openvino'"),
        ({**OWN, 'format_version': '2'}, "version '2'; allowed: 1, .* is older than the model"),
        ({**OWN, 'format_version': 'x'}, "version 'x'; allowed: 1$"),
        ({**OWN, 'kind': 'segmentation'}, "kind 'segmentation'; allowed: 'autoencoder'"),
        ({**OWN, 'preprocessing_fingerprint': 'ab'}, "fingerprint 'ab'; allowed: 64 hex digits"),
    ],
)
def test_a_model_of_another_make_is_refused(own: dict[str, str], complaint: str) -> None:
    with pytest.raises(RecipeError, match=complaint):
        Autoencoder.from_arrays(autoencoder_files(own=own))


INFORMATION = {('anomaly_inspection', key): value for key, value in OWN.items()}


@pytest.mark.parametrize(
    ('shape', 'outputs', 'complaint'),
    [
        ([1, 16, 8, 1], ('reconstruction', 'latent'), r'takes \[1,16,8,1\]; allowed: 1 x side'),
        ([1, 1, 16, 16], ('reconstruction', 'latent'), r'takes \[1,1,16,16\]'),
        ([2, 16, 16, 1], ('reconstruction', 'latent'), r'takes \[2,16,16,1\]'),
        ([-1, 16, 16, 1], ('reconstruction', 'latent'), r'takes \[\?,16,16,1\]'),
        ([1, 256], ('reconstruction', 'latent'), r'takes \[1,256\]'),
        ([1, 16, 16, 3], ('reconstruction',), 'gives .*; allowed: reconstruction'),
        ([1, 16, 16, 3], ('drawing', 'latent'), 'gives .*; allowed: reconstruction'),
    ],
)
def test_other_shapes_are_refused(shape: list[int], outputs: tuple[str, ...], complaint: str):
    def made(shown):
        flat = op.reshape(shown, op.constant([1, -1]), False)
        return {
            name: flat if name == 'latent' else op.multiply(shown, constant(1)) for name in outputs
        }

    with pytest.raises(RecipeError, match=complaint):
        Autoencoder.from_arrays(files_of(network(shape, made, INFORMATION)))


def test_a_model_that_spreads_a_value_over_gigabytes_is_refused() -> None:
    def made(given: Any) -> dict[str, Any]:
        whole = op.reduce_mean(given, np.array([0, 1, 2, 3], np.int64))
        spread = op.broadcast(whole, np.array([2**16, 2**16], np.int64))
        return {'map': op.reduce_max(spread, np.array([0], np.int64))}

    bomb = files_of(network([1, 1, 8, 8], made))
    assert len(bomb['model.xml']) < 10_000
    with pytest.raises(RecipeError, match=r'takes 17180 MB of memory; allowed: 2147 MB'):
        Model(read_network(bomb), (1, 1, 8, 8))


def test_a_model_of_two_inputs_is_refused() -> None:
    inputs = [op.parameter([1, 4, 4, 1], np.float32, name) for name in ('one', 'other')]
    two = openvino.Model([op.add(*inputs)], inputs, 'two')
    with pytest.raises(RecipeError, match='2 inputs; allowed: one'):
        Autoencoder.from_arrays(files_of(two))


def test_values_that_are_not_finite_are_an_error() -> None:
    broken = autoencoder_files(lambda shown: op.log(op.subtract(shown, constant(0.5))))
    with pytest.raises(RecipeError, match=r"'reconstruction' .* not finite"):
        Autoencoder.from_arrays(broken).run(image())


def test_without_openvino_one_sentence_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, 'openvino', None)
    model_module._prepared_core.cache_clear()
    with pytest.raises(RecipeError, match='pip install openvino'):
        Autoencoder.from_arrays(FILES)


def test_openvino_is_loaded_only_for_a_network() -> None:
    script = (
        'import sys\n'
        'import anomaly_inspection.cli, anomaly_inspection.recipes.folder\n'
        'import anomaly_inspection.learning.teach\n'
        'sys.exit(" ".join(set(sys.modules) & {"openvino", "tensorflow", "keras"}) or None)'
    )
    subprocess.run([sys.executable, '-c', script], check=True, timeout=60)
