# SPDX-License-Identifier: Apache-2.0
"""
The openvino scorer: models as others export them, every way to be told about them, and a recipe.

"""

from __future__ import annotations

from collections.abc import Callable, Mapping
import json
from pathlib import Path
import re
from typing import Any

from click.testing import CliRunner
import cv2
import numpy as np
import pytest

from anomaly_inspection.cli import main
from anomaly_inspection.errors import FrameError, RecipeError, SettingError
from anomaly_inspection.imaging.alignment import AlignmentSettings
from anomaly_inspection.imaging.preprocessing import Prepared, PreprocessingSettings
from anomaly_inspection.learning.teach import teach, TeachOptions
from anomaly_inspection.recipes.folder import read_recipe, write_recipe
from anomaly_inspection.scoring.frame_scorer import combined_map, ScoreStatus
from anomaly_inspection.scoring.openvino import OpenvinoScorer
from support.networks import constant, files_of, network, op

SIDE = 16
COLOURS = (40, 100, 220)  # blue, green, red


def prepared(image: np.ndarray, valid: np.ndarray | None = None) -> Prepared:
    valid = np.ones(image.shape[:2], np.bool_) if valid is None else valid
    return Prepared(image, valid, np.eye(2, 3), None)


def coloured(shape: tuple[int, int] = (SIDE, SIDE)) -> Prepared:
    return prepared(np.full((*shape, 3), COLOURS, np.uint8))


def saved(
    folder: Path, model: Any, metadata: Mapping[str, Any] | str | None = None
) -> dict[str, str]:
    """
    Put a model, and its metadata, where the settings say.

    """
    for name, content in files_of(model).items():
        (folder / name).write_bytes(content.tobytes())
    if metadata is not None:
        text = metadata if isinstance(metadata, str) else json.dumps(metadata)
        (folder / 'metadata.json').write_text(text)
    return {'model': str(folder / 'model.xml')}


def channel(image: Any, index: int, axis: int = 1) -> Any:
    return op.gather(image, op.constant([index]), op.constant(axis))


def highest(values: Any, name: str = 'score') -> dict[str, Any]:
    return {name: op.reduce_max(values, op.constant([1, 2, 3]), False)}


def first_channel(image: Any) -> dict[str, Any]:
    return highest(channel(image, 0))


NCHW, NHWC = [1, 3, SIDE, SIDE], [1, SIDE, SIDE, 3]


def score_of(settings: dict[str, str], part: Prepared) -> float:
    return OpenvinoScorer.fit([part], settings).score(part).measures['score']


# ------------------------------------------------------------------------------------ input


@pytest.mark.parametrize(
    ('shape', 'metadata', 'expected'),
    [
        (NCHW, None, 220 / 255),
        (NCHW, {'colour': 'rgb'}, 220 / 255),
        (NCHW, {'colour': 'bgr'}, 40 / 255),
        (NCHW, {'value_max': 255}, 220.0),
        (NCHW, {'mean': [0.5, 9, 9], 'std': [0.25, 9, 9]}, (220 / 255 - 0.5) / 0.25),
        (NCHW, {'mean': 0.5, 'std': 0.25}, (220 / 255 - 0.5) / 0.25),
        (NCHW, {'value_max': 255, 'mean': 20, 'std': 10}, 20.0),
        (NCHW, {'layout': 'nchw'}, 220 / 255),
        # Of 3 x 16 x 16 nothing else fits; 3 x 5 x 3 could be both.
        ([1, 3, 5, 3], {'layout': 'nchw'}, 220 / 255),
    ],
)
def test_the_input_is_made_as_the_metadata_says(
    tmp_path: Path, shape: list[int], metadata: dict[str, Any] | None, expected: float
) -> None:
    settings = saved(tmp_path, network(shape, first_channel), metadata)
    assert score_of(settings, coloured()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize('shape', [NHWC, [1, 3, 5, 3]])
def test_channels_may_come_last(tmp_path: Path, shape: list[int]) -> None:
    model = network(shape, lambda image: highest(channel(image, 0, axis=3)))
    settings = saved(tmp_path, model, {'layout': 'nhwc'})
    assert score_of(settings, coloured()) == pytest.approx(220 / 255)


@pytest.mark.parametrize('shape', [[1, 1, SIDE, SIDE], [1, SIDE, SIDE, 1]])
def test_one_channel_is_gray(tmp_path: Path, shape: list[int]) -> None:
    settings = saved(tmp_path, network(shape, highest))
    assert score_of(settings, prepared(np.full((9, 9), 90, np.uint8))) == pytest.approx(90 / 255)
    gray = cv2.cvtColor(coloured().image, cv2.COLOR_BGR2GRAY)[0, 0]
    assert score_of(settings, coloured()) == pytest.approx(gray / 255)


def test_a_gray_image_fills_three_channels(tmp_path: Path) -> None:
    model = network(NCHW, lambda image: highest(channel(image, 1)))
    part = prepared(np.full((9, 9), 90, np.uint8))
    assert score_of(saved(tmp_path, model), part) == pytest.approx(90 / 255)


def test_whole_numbers_go_up_to_255(tmp_path: Path) -> None:
    model = network(
        NCHW, lambda image: first_channel(op.convert(image, np.dtype(np.float32))), dtype=np.uint8
    )
    assert score_of(saved(tmp_path, model), coloured()) == 220.0


@pytest.mark.parametrize('shape', [[-1, 3, SIDE, SIDE], [-1, 3, -1, -1], [1, 3, -1, -1]])
def test_what_is_dynamic_becomes_static(tmp_path: Path, shape: list[int]) -> None:
    model = network(shape, lambda image: {'output': channel(image, 0)})
    part = coloured((12, 20))
    scorer = OpenvinoScorer.fit([part], saved(tmp_path, model))
    output = scorer.score(part)
    assert output.anomaly_map.shape == (12, 20)
    np.testing.assert_allclose(output.anomaly_map, 220 / 255, rtol=1e-5)


# ------------------------------------------------------------------------------------ outputs


def anomalib_2(image: Any) -> dict[str, Any]:
    """
    Give what anomalib 2 exports: both outputs scaled, and what its thresholds make of them.

    """
    red = channel(image, 0)
    score = op.multiply(op.reduce_max(red, op.constant([1, 2, 3]), False), constant(0.5))
    return {
        'pred_score': score,
        'pred_label': op.greater(score, constant(0.5)),
        'anomaly_map': red,
        'pred_mask': op.greater(red, constant(0.5)),
    }


def test_anomalib_2(tmp_path: Path) -> None:
    image = np.zeros((30, 40, 3), np.uint8)
    image[10:20, 20:36, 2] = 200
    scorer = OpenvinoScorer.fit(
        [prepared(image)], saved(tmp_path, network([-1, 3, -1, -1], anomalib_2))
    )
    output = scorer.score(prepared(image))
    assert output.measures['score'] == pytest.approx(100 / 255)
    assert output.measures['peak'] == pytest.approx(200 / 255)
    np.testing.assert_array_equal(output.anomaly_map > 0.5, image[..., 2] > 100)


def test_what_labels_and_counts_is_neither_map_nor_score(tmp_path: Path) -> None:
    """
    Without thresholds anomalib 2 gives label and mask as copies of score and map.

    """

    def outputs(image: Any) -> dict[str, Any]:
        blue = channel(image, 2)
        return {
            'pred_mask': blue,
            **highest(blue, 'pred_label'),
            'classes': op.convert(blue, np.dtype(np.int64)),
            'output': channel(image, 0),
            **highest(channel(image, 1), 'number'),
        }

    output = OpenvinoScorer.fit([coloured()], saved(tmp_path, network(NCHW, outputs))).score(
        coloured()
    )
    assert output.measures == {
        'score': pytest.approx(100 / 255),
        'peak': pytest.approx(220 / 255),
    }


def test_anomalib_1_puts_a_map_on_its_scale(tmp_path: Path) -> None:
    metadata = {
        'task': 'segmentation',
        'image_threshold': 30.0,
        'pixel_threshold': 20.0,
        'anomaly_maps.min': 0.0,
        'anomaly_maps.max': 40.0,
        'pred_scores.min': 5.0,
        'pred_scores.max': 45.0,
    }
    model = network(
        [-1, 3, SIDE, SIDE],
        lambda image: {'output': op.multiply(channel(image, 0), constant(255.0))},
    )
    output = OpenvinoScorer.fit([coloured()], saved(tmp_path, model, metadata)).score(coloured())
    # (220 - 20) / 40 + 0.5, not cut off at 1; of the map, as there is no score.
    assert output.measures == {'score': pytest.approx(5.5), 'peak': pytest.approx(5.5)}


def test_anomalib_1_puts_a_score_on_its_scale(tmp_path: Path) -> None:
    metadata = {'image_threshold': 0.5, 'pred_scores.min': 0.0, 'pred_scores.max': 2.0}
    settings = saved(tmp_path, network(NCHW, lambda image: highest(image, 'output')), metadata)
    output = OpenvinoScorer.fit([coloured()], settings).score(coloured())
    expected = (220 / 255 - 0.5) / 2 + 0.5
    assert output.measures == {'score': pytest.approx(expected), 'peak': pytest.approx(expected)}
    assert not output.anomaly_map.any()


def test_anomalib_0_normalises_outside_the_graph(tmp_path: Path) -> None:
    step = 'albumentations.augmentations.'
    transforms = [
        {'__class_fullname__': step + 'geometric.resize.Resize', 'height': 16, 'width': 16},
        {
            '__class_fullname__': step + 'transforms.Normalize',
            'mean': [0.485, 0.456, 0.406],
            'std': [0.229, 0.224, 0.225],
            'max_pixel_value': 255.0,
        },
        {'__class_fullname__': 'albumentations.pytorch.transforms.ToTensorV2'},
    ]
    metadata = {
        'task': 'classification',
        'transform': {'__version__': '1.3', 'transform': {'transforms': transforms}},
        'image_threshold': 1.0,
        'pixel_threshold': 1.0,
        'min': 0.0,
        'max': 4.0,
    }
    settings = saved(tmp_path, network(NCHW, first_channel), metadata)
    expected = ((220 / 255 - 0.485) / 0.229 - 1) / 4 + 0.5
    assert score_of(settings, coloured()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ('told', 'expected'),
    [
        ({'mean_values': '20 30 40', 'scale_values': '2 3 4'}, 100.0),
        ({'mean_values': '20, 30, 40', 'embedded_processing': 'True'}, 220 / 255),
        ({'reverse_input_channels': 'NO'}, 40 / 255),
        ({'reverse_input_channels': 'True'}, 220 / 255),
        ({'image_threshold': '0.5', 'normalization_scale': '2'}, (220 / 255 - 0.5) / 2 + 0.5),
    ],
)
def test_the_rt_info_of_model_api_is_understood(
    tmp_path: Path, told: dict[str, str], expected: float
) -> None:
    information = {('model_info', key): value for key, value in told.items()}
    settings = saved(tmp_path, network(NCHW, first_channel, information))
    assert score_of(settings, coloured()) == pytest.approx(expected, rel=1e-5)


def test_the_file_wins_over_the_model(tmp_path: Path) -> None:
    information = {('model_info', 'reverse_input_channels'): 'False'}
    settings = saved(tmp_path, network(NCHW, first_channel, information), {'colour': 'rgb'})
    assert score_of(settings, coloured()) == pytest.approx(220 / 255)


def test_the_metadata_may_lie_elsewhere(tmp_path: Path) -> None:
    settings = saved(tmp_path, network(NCHW, first_channel), {'colour': 'rgb'})
    other = tmp_path / 'other.json'
    other.write_text('{"colour": "bgr"}')
    assert score_of({**settings, 'metadata': str(other)}, coloured()) == pytest.approx(40 / 255)


def test_outputs_are_told_by_the_names_given(tmp_path: Path) -> None:
    model = network(
        NCHW,
        lambda image: {
            'one': channel(image, 0),
            'other': channel(image, 2),
            **highest(channel(image, 1), 'number'),
        },
    )
    settings = saved(tmp_path, model)
    with pytest.raises(RecipeError, match="map_output is ''; allowed: one, other"):
        OpenvinoScorer.fit([coloured()], settings)
    saved(tmp_path, model, {'map_output': 'third'})
    with pytest.raises(RecipeError, match="map_output is 'third'; allowed: one, other"):
        OpenvinoScorer.fit([coloured()], settings)
    saved(tmp_path, model, {'map_output': 'other'})
    output = OpenvinoScorer.fit([coloured()], settings).score(coloured())
    assert output.measures == {
        'score': pytest.approx(100 / 255),
        'peak': pytest.approx(40 / 255),
    }


def test_what_is_not_valid_is_not_in_the_map(tmp_path: Path) -> None:
    valid = np.ones((SIDE, SIDE), np.bool_)
    valid[:, :5] = False
    model = network(NCHW, lambda image: {'map': channel(image, 0)})
    output = OpenvinoScorer.fit([coloured()], saved(tmp_path, model)).score(
        prepared(coloured().image, valid)
    )
    np.testing.assert_array_equal(output.anomaly_map > 0, valid)


def test_a_map_that_undershoots_is_cut_at_zero(tmp_path: Path) -> None:
    image = np.full((SIDE, SIDE), 200, np.uint8)
    image[3, 3] = 0
    model = network([1, 1, SIDE, SIDE], lambda shown: {'map': op.subtract(shown, constant(0.1))})
    output = OpenvinoScorer.fit([prepared(image)], saved(tmp_path, model)).score(prepared(image))
    assert output.anomaly_map.min() == 0


# ------------------------------------------------------------------------------------ bad input


def minus_map(image: Any) -> dict[str, Any]:
    return {'map': op.multiply(channel(image, 0), constant(-1))}


def labels_only(image: Any) -> dict[str, Any]:
    return {'pred_label': op.greater(channel(image, 0), constant(0.5))}


def vector(image: Any) -> dict[str, Any]:
    return {'features': op.reduce_max(image, op.constant([2, 3]), False)}


def not_finite(image: Any) -> dict[str, Any]:
    return {'map': op.log(op.multiply(channel(image, 0), constant(-1)))}


@pytest.mark.parametrize(
    ('shape', 'outputs', 'complaint'),
    [
        ([1, 4, SIDE, SIDE], first_channel, r'shape \[1, 4, 16, 16\].* 1 or 3 channels'),
        ([1, SIDE, SIDE, 2], first_channel, r'shape \[1, 16, 16, 2\]'),
        ([2, 3, SIDE, SIDE], first_channel, r'shape \[2, 3, 16, 16\]'),
        ([1, 3, 5, 3], first_channel, 'layout nchw or nhwc; .*says the layout'),
        ([1, -1, -1, -1], first_channel, r'shape \[1, 0, 0, 0\]'),
        (NCHW, minus_map, r'goes down to -0.8\d+; allowed: 0 and more.*anomaly_maps.min'),
        (NCHW, labels_only, r"gives \['pred_label'\] .*allowed: a map"),
        (NCHW, vector, r"gives \['features'\] float32 \(1, 3\); allowed: a map"),
        (NCHW, not_finite, "'map' of the network holds values that are not finite"),
    ],
)
def test_a_model_that_cannot_be_used_is_refused(
    tmp_path: Path, shape: list[int], outputs: Callable[[Any], Any], complaint: str
) -> None:
    settings = saved(tmp_path, network(shape, outputs))
    with pytest.raises(RecipeError, match=complaint):
        OpenvinoScorer.fit([coloured()], settings)


@pytest.mark.parametrize(
    ('metadata', 'complaint'),
    [
        ('{', 'not readable JSON'),
        ('[1]', r'holds \[1\]; allowed: a mapping'),
        ('\x00', 'not readable JSON'),
        ({'color': 'rgb'}, 'color is unknown; allowed: layout, colour'),
        ({'colour': 'grb'}, "colour is 'grb'; allowed: 'rgb' or 'bgr'"),
        ({'layout': 'chw'}, "layout is 'chw'; allowed: 'nchw' or 'nhwc'"),
        ({'layout': 'nhwc'}, 'layout nhwc; allowed'),
        ({'value_max': 1024}, 'value_max is 1024; allowed: 1 or 255'),
        ({'value_max': True}, 'value_max is True'),
        ({'mean': [1, 2]}, r'mean is \[1, 2\]; allowed: a finite number, or three'),
        ({'mean': 'x'}, "mean is 'x'"),
        ({'std': [1, 0, 1]}, r'std is \[1, 0, 1\]; allowed: .*over 0'),
        ('{"mean": NaN}', 'mean is nan; allowed: a finite'),
        ({'map_output': 3}, 'map_output is 3; allowed: the name'),
        ({'pixel_threshold': None}, 'pixel_threshold is None; allowed: a finite number'),
        ({'transform': {'transform': 3}}, 'transform is .*; allowed: a serialised albumentations'),
        ({'image_threshold': 1, 'min': 2, 'max': 2}, 'max is 2; allowed: over min, which is 2'),
    ],
)
def test_wrong_metadata_is_refused(
    tmp_path: Path, metadata: dict[str, Any] | str, complaint: str
) -> None:
    settings = saved(tmp_path, network(NCHW, first_channel), metadata)
    with pytest.raises(
        RecipeError, match=f'metadata.json.*{complaint}|{complaint}.*metadata.json'
    ):
        OpenvinoScorer.fit([coloured()], settings)


def test_one_channel_has_one_mean(tmp_path: Path) -> None:
    metadata = {'mean': [0.485, 0.456, 0.406], 'std': [1, 1, 1]}
    settings = saved(tmp_path, network([1, 1, SIDE, SIDE], highest), metadata)
    with pytest.raises(RecipeError, match=r'mean is \[0.485, .*allowed: one number'):
        OpenvinoScorer.fit([coloured()], settings)


def test_files_that_are_not_there_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"openvino\.model is ''"):
        OpenvinoScorer.fit([coloured()], {})
    with pytest.raises(SettingError, match=r'model\.onnx.*allowed: an OpenVINO \.xml file'):
        OpenvinoScorer.fit([coloured()], {'model': str(tmp_path / 'model.onnx')})
    settings = saved(tmp_path, network(NCHW, first_channel))
    with pytest.raises(SettingError, match=r'none\.json cannot be read: No such file'):
        OpenvinoScorer.fit([coloured()], {**settings, 'metadata': str(tmp_path / 'none.json')})
    (tmp_path / 'model.bin').unlink()
    with pytest.raises(SettingError, match=r'model\.bin cannot be read: No such file'):
        OpenvinoScorer.fit([coloured()], settings)
    with pytest.raises(SettingError, match='model is 3; allowed: a text'):
        OpenvinoScorer.fit([coloured()], {'model': 3})


def test_broken_files_are_refused(tmp_path: Path) -> None:
    settings = saved(tmp_path, network(NCHW, first_channel))
    xml = tmp_path / 'model.xml'
    xml.write_bytes(xml.read_bytes()[:-20])
    with pytest.raises(RecipeError, match='no readable OpenVINO model'):
        OpenvinoScorer.fit([coloured()], settings)


def test_a_frame_of_another_size_is_refused(tmp_path: Path) -> None:
    scorer = OpenvinoScorer.fit([coloured()], saved(tmp_path, network(NCHW, first_channel)))
    with pytest.raises(FrameError, match='fitted to'):
        scorer.score(coloured((SIDE, SIDE + 1)))


def fitted_arrays(tmp_path: Path) -> dict[str, np.ndarray]:
    settings = saved(tmp_path, network(NCHW, anomalib_2), {'colour': 'bgr'})
    return OpenvinoScorer.fit([coloured((20, 24))], settings).to_arrays()


def test_comes_back_from_its_arrays(tmp_path: Path) -> None:
    arrays = fitted_arrays(tmp_path)
    for file in tmp_path.iterdir():
        file.unlink()
    again = OpenvinoScorer.from_arrays(arrays, {'model': 'was/here.xml'})
    assert again.to_arrays().keys() == {'image_shape', 'model.xml', 'model.bin', 'metadata.json'}
    output = again.score(coloured((20, 24)))
    assert output.measures == {
        'score': pytest.approx(20 / 255),
        'peak': pytest.approx(40 / 255),
    }


@pytest.mark.parametrize(
    ('key', 'array'),
    [
        ('image_shape', None),
        ('image_shape', np.array([20, 24, 4])),
        ('image_shape', np.array([20, 0])),
        ('image_shape', np.array([20])),
        ('image_shape', np.array([10**9, 10**9])),
        ('model.xml', None),
        ('metadata.json', np.frombuffer(b'{', np.uint8)),
        ('history.csv', np.frombuffer(b'x', np.uint8)),
    ],
)
def test_broken_arrays_are_refused(tmp_path: Path, key: str, array: np.ndarray | None) -> None:
    arrays = fitted_arrays(tmp_path)
    arrays.pop(key, None)
    if array is not None:
        arrays[key] = array
    with pytest.raises(RecipeError, match=re.escape(key)):
        OpenvinoScorer.from_arrays(arrays, {})


# ------------------------------------------------------------------------------------ a recipe


def good_frame(seed: int) -> np.ndarray:
    """
    Draw a plain surface: nothing to align on, so that teaching takes no time.

    """
    noise = np.random.default_rng(seed).normal(0, 3, (48, 64))
    return np.clip(120 + noise, 0, 255).astype(np.uint8)


def distance_to_good(image: Any) -> dict[str, Any]:
    """
    Give what a trained anomaly model gives: a map that is high where a part is unlike the good.

    """
    good = cv2.resize(good_frame(999), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return {
        'output': op.absolute(op.subtract(channel(image, 0), constant(good[None, None] / 255)))
    }


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / 'good'
    folder.mkdir()
    for seed in range(10):
        cv2.imwrite(str(folder / f'{seed:02d}.png'), good_frame(seed))
    return folder


def test_teach_takes_an_exported_model_and_the_cell_runs_it(tmp_path: Path, images: Path) -> None:
    settings = saved(tmp_path, network(NCHW, distance_to_good))
    arguments = ['teach', str(images), '--recipe', str(tmp_path / 'pump')]
    arguments += ['--scorer', 'openvino', '--model', settings['model']]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert 'openvino' in result.output
    Path(settings['model']).unlink()
    recipe = read_recipe(tmp_path / 'pump')
    assert set(recipe.scorers) == {'openvino'}
    # Nothing was fitted to the images, so all of them are held out.
    assert recipe.scorers['openvino'].good['score'].size == 10
    part = good_frame(60)
    part[8:24, 10:30] = 180
    (good,), (bad,) = (recipe.frame_scorer().score(frame) for frame in (good_frame(50), part))
    assert good.status == bad.status == ScoreStatus.OK
    limits = recipe.scorers['openvino'].limits
    for measure in ('score', 'peak'):
        assert good.measures[measure] <= limits[measure].limit
        assert bad.measures[measure] > limits[measure].limit
    assert write_recipe(recipe, tmp_path / 'copy').scorers['openvino'].settings == {
        'model': settings['model'],
        'metadata': '',
    }


def test_a_score_without_a_map_makes_a_recipe_without_regions(tmp_path: Path) -> None:
    settings = saved(tmp_path, network([1, 1, SIDE, SIDE], highest))
    frames = [good_frame(seed) for seed in range(10)]
    recipe = teach(
        frames,
        name='pump',
        options=TeachOptions(
            scorers=['openvino'],
            scorer_settings={'openvino': settings},
            preprocessing=PreprocessingSettings(alignment=AlignmentSettings(kind='none')),
        ),
    )
    (score,) = recipe.frame_scorer().score(frames[0])
    assert score.regions == ()
    heat = combined_map([score])
    assert heat is not None
    assert not heat.any()


@pytest.mark.parametrize(
    ('options', 'complaint'),
    [
        (['--scorer', 'openvino'], '--scorer openvino and --model go together'),
        (['--model', 'MODEL'], 'go together'),
        (['--scorer', 'openvino', '--model', 'good/00.png'], 'allowed: an OpenVINO .xml file'),
        (['--scorer', 'openvino', '--model', 'none.xml'], 'does not exist'),
        (['--scorer', 'autoencoder'], 'anomaly-inspection train'),
    ],
)
def test_what_cannot_be_taught_is_said_at_once(
    tmp_path: Path,
    images: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    complaint: str,
) -> None:
    settings = saved(tmp_path, network(NCHW, distance_to_good))
    options = [settings['model'] if option == 'MODEL' else option for option in options]
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ['teach', str(images), '--recipe', 'pump', *options])
    assert result.exit_code == 2
    assert complaint in ' '.join(result.output.split())
    assert not (tmp_path / 'pump').exists()
