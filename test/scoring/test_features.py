# SPDX-License-Identifier: Apache-2.0
"""
The features scorer: what it learns from good parts, whatever the network, and what it keeps.

"""

from __future__ import annotations

from dataclasses import replace
import gc
from typing import Any
import weakref

import cv2
import numpy as np
import pytest

from anomaly_inspection.errors import FrameError, RecipeError, SettingError
from anomaly_inspection.imaging.preprocessing import Prepared
from anomaly_inspection.scoring import features
from anomaly_inspection.scoring.feature_network import input_size_px
from anomaly_inspection.scoring.features import FeaturesScorer
from anomaly_inspection.scoring.model import Model
from support.networks import files_of, network, op
from support.small_backbone import keep_small_backbone

SIZE = (96, 128)
STATISTICS = ('position', 'pooled')


def part_image(seed: int, shift_px: int = 0, colour: bool = False) -> np.ndarray:
    """
    Draw a printed disc under a camera's noise.

    """
    rng = np.random.default_rng(1000 + seed)
    image = np.full((*SIZE, 3), 60, np.uint8)
    cv2.circle(image, (64 + shift_px, 48), 36, (90, 150, 180), -1, cv2.LINE_AA)
    cv2.rectangle(image, (50 + shift_px, 40), (58 + shift_px, 56), (40, 40, 40), -1)
    if not colour:
        image = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY))
    return np.clip(image + rng.normal(0, 3, image.shape), 0, 255).astype(np.uint8)


def prepared(image: np.ndarray, valid: np.ndarray | None = None) -> Prepared:
    valid = np.ones(image.shape[:2], np.bool_) if valid is None else valid
    return Prepared(image, valid, np.eye(2, 3), None)


def good_parts(count: int = 16, **drawn: Any) -> list[Prepared]:
    return [prepared(part_image(seed, **drawn)) for seed in range(count)]


@pytest.fixture(scope='module')
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """
    Settings for a small network and small images.

    """
    backbone = keep_small_backbone(tmp_path_factory.mktemp('backbone'))
    return {'backbone': backbone, 'side_px': 128, 'dimensions': 16}


@pytest.fixture(scope='module', params=STATISTICS)
def fitted(given: dict[str, Any], request: pytest.FixtureRequest) -> FeaturesScorer:
    return FeaturesScorer.fit(good_parts(), {**given, 'statistics': request.param})


def test_good_parts_lie_at_about_one_and_a_stain_shows_where_it_is(fitted: FeaturesScorer) -> None:
    good = [fitted.score(prepared(part_image(seed))) for seed in range(100, 105)]
    for output in good:
        assert 0.4 < output.anomaly_map.mean() < 1.6
        assert set(output.measures) == {spec.name for spec in fitted.measures}
    image = part_image(100)
    image[60:68, 70:78] = np.indices((8, 8)).sum(axis=0) % 4 // 2 * 200
    bad = fitted.score(prepared(image))
    for measure, value in bad.measures.items():
        assert value > max(output.measures[measure] for output in good)
    y, x = np.unravel_index(bad.anomaly_map.argmax(), SIZE)
    assert 52 <= y < 76
    assert 62 <= x < 86
    assert bad.anomaly_map.dtype == np.float32
    assert bad.anomaly_map.shape == SIZE


def test_a_position_has_its_own_look_pooled_patches_lie_anywhere(given: dict[str, Any]) -> None:
    peaks = {}
    for statistics in STATISTICS:
        scorer = FeaturesScorer.fit(good_parts(), {**given, 'statistics': statistics})
        good, moved = (
            scorer.score(prepared(part_image(100, shift_px))).measures['worst_mean_distance']
            for shift_px in (0, 24)
        )
        peaks[statistics] = moved / good
    assert peaks['position'] > 1.5 * peaks['pooled']


def test_colour_counts_where_frames_have_it(given: dict[str, Any]) -> None:
    scorer = FeaturesScorer.fit(good_parts(colour=True), given)
    good = scorer.score(prepared(part_image(100, colour=True))).measures['peak_distance']
    image = part_image(100, colour=True).astype(float)
    # Weights of the gray level: 0.114, 0.587, 0.299.
    image[56:76, 60:80] += np.array([0.0, -25.0, 25 * 0.587 / 0.299])
    tinted = prepared(np.clip(image, 0, 255).astype(np.uint8))
    assert scorer.score(tinted).measures['peak_distance'] > 1.5 * good


def test_the_network_sees_the_light_that_the_camera_saw(given: dict[str, Any]) -> None:
    seen = part_image(100)
    clipped = Prepared(np.full_like(seen, 255), np.ones(SIZE, np.bool_), np.eye(2, 3), None)
    lit = replace(clipped, unlit=seen)
    for light, is_same in (('as_seen', True), ('as_taught', False)):
        scorer = FeaturesScorer.fit(good_parts(), {**given, 'light': light})
        plain = scorer.score(prepared(seen)).measures
        assert (scorer.score(lit).measures == plain) is is_same
        assert (scorer.score(clipped).measures == plain) is False


def test_recipes_from_before_the_setting_see_the_light_of_the_reference(
    given: dict[str, Any],
) -> None:
    old = {**FeaturesScorer.default_settings, **given, 'light': 'as_taught'}
    arrays = FeaturesScorer.fit(good_parts(), old).to_arrays()
    del old['light']
    scorer = FeaturesScorer.from_arrays(arrays, old)
    lit = replace(prepared(part_image(100)), unlit=np.zeros(SIZE, np.uint8))
    assert scorer.score(lit).measures == scorer.score(prepared(part_image(100))).measures


def test_comes_back_the_same_from_its_arrays(
    fitted: FeaturesScorer, given: dict[str, Any]
) -> None:
    kinds = fitted.to_arrays()['mean'].shape[:2]
    settings = {**given, 'statistics': 'pooled' if kinds[0] == 1 else 'position'}
    arrays = fitted.to_arrays()
    assert {key for key in arrays if '.' in key} == {'model.xml', 'model.bin'}
    assert {key for key in arrays if '.' not in key} <= set(FeaturesScorer.array_names)
    again = FeaturesScorer.from_arrays(arrays, settings)
    part = prepared(part_image(100))
    first, second = fitted.score(part), again.score(part)
    assert first.measures == second.measures
    np.testing.assert_array_equal(first.anomaly_map, second.anomaly_map)
    refitted = FeaturesScorer.fit(good_parts(), settings).to_arrays()
    for key, array in arrays.items():
        np.testing.assert_array_equal(array, refitted[key])


def test_the_network_sees_each_part_once_however_often_it_is_fitted_to(
    given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = good_parts(8)
    runs = []
    run = Model.outputs
    monkeypatch.setattr(Model, 'outputs', lambda self, values: runs.append(1) or run(self, values))
    for statistics in STATISTICS:
        for left_out in range(3):
            others = parts[:left_out] + parts[left_out + 1 :]
            scorer = FeaturesScorer.fit(others, {**given, 'statistics': statistics})
            scorer.score(parts[left_out])
    assert len(runs) == len(parts)


def test_features_are_kept_only_as_long_as_their_part(given: dict[str, Any]) -> None:
    parts = good_parts(6)
    scorer = FeaturesScorer.fit(parts, given)
    kept = scorer._network._kept
    before = len(kept)
    gone = weakref.ref(parts[0])
    parts.clear()
    gc.collect()
    assert gone() is None
    assert len(kept) == before - 6
    in_the_cell = FeaturesScorer.from_arrays(scorer.to_arrays(), given)
    part = prepared(part_image(100))
    in_the_cell.score(part)
    assert len(in_the_cell._network._kept) == 0


def test_what_lies_outside_the_valid_area_is_not_judged(given: dict[str, Any]) -> None:
    valid = np.ones(SIZE, np.bool_)
    valid[:, :16] = False
    parts = [prepared(part.image, valid if i % 3 else None) for i, part in enumerate(good_parts())]
    scorer = FeaturesScorer.fit(parts, given)
    assert not scorer.to_arrays()['judged'][:, :16].any()
    output = scorer.score(parts[0])
    assert (output.anomaly_map[:, :16] == 0).all()
    assert output.measures['peak_distance'] == output.anomaly_map.max()
    with pytest.raises(FrameError, match='no judged pixel'):
        scorer.score(prepared(part_image(100), np.zeros(SIZE, np.bool_)))
    blind = [prepared(part_image(seed), np.zeros(SIZE, np.bool_)) for seed in range(5)]
    with pytest.raises(FrameError, match='no pixel is valid'):
        FeaturesScorer.fit(blind, given)


def test_a_cell_that_hardly_reaches_into_the_judged_area_stays_quiet(
    given: dict[str, Any],
) -> None:
    """
    A cell is 7 px wide: of the first, only the last 2 px are judged, in every part.

    """
    valid = np.ones(SIZE, np.bool_)
    valid[:, :5] = False
    scorer = FeaturesScorer.fit([prepared(part.image, valid) for part in good_parts()], given)
    anomaly_map = scorer.score(prepared(part_image(100), valid)).anomaly_map
    assert anomaly_map[:, 5:7].max() < anomaly_map[:, 16:].max()


def test_identical_images_give_finite_distances(given: dict[str, Any]) -> None:
    part = prepared(np.full(SIZE, 90, np.uint8))
    for statistics in STATISTICS:
        scorer = FeaturesScorer.fit([part] * 6, {**given, 'statistics': statistics})
        # Pooled patches differ at the borders of the image.
        most = 0.2 if statistics == 'position' else 5.0
        assert scorer.score(part).measures['peak_distance'] < most
        noise = prepared(np.random.default_rng(0).integers(0, 256, SIZE, np.uint8))
        other = scorer.score(noise)
        # Teaching holds maps in half precision.
        assert np.isfinite(other.anomaly_map.astype(np.float16)).all()
        assert other.measures['peak_distance'] > 2


@pytest.mark.parametrize('shape', [(16, 400), (500, 33), (17, 23, 3), (300, 300)])
def test_images_of_any_shape_take_about_the_same_area(
    given: dict[str, Any], shape: tuple[int, ...]
) -> None:
    width, height = input_size_px(shape, 128)
    assert width % 16 == height % 16 == 0
    assert 0.6 * 128**2 < width * height < 1.6 * 128**2
    rng = np.random.default_rng(0)
    parts = [prepared(rng.integers(0, 256, shape, np.uint8)) for _ in range(5)]
    for statistics in STATISTICS:
        scorer = FeaturesScorer.fit(parts, {**given, 'statistics': statistics})
        output = scorer.score(parts[0])
        assert output.anomaly_map.shape == shape[:2]
        assert np.isfinite(output.anomaly_map).all()


CHANGES: list[tuple[str, Any, str]] = [
    ('mean', None, "lack 'mean'"),
    ('projection', None, "lack 'projection'"),
    ('image_shape', None, "lack 'image_shape'"),
    ('model.bin', None, 'model.bin is missing'),
    ('model.xml', lambda array: array[:1000], 'no readable OpenVINO model'),
    ('mean', lambda array: array[:, 1:, :-1], 'sizes disagree'),
    ('mean', lambda array: array * np.inf, 'finite'),
    ('directions', lambda array: array[..., 1:], 'sizes disagree'),
    ('directions', lambda array: np.repeat(array, 9, axis=2), 'sizes disagree'),
    ('precision', lambda array: array[1:], 'sizes disagree'),
    ('precision', lambda array: -array, 'must be positive'),
    ('projection', lambda array: array[1:], 'sizes disagree'),
    ('offset', lambda array: array[1:], 'sizes disagree'),
    ('offset', lambda array: array.astype(np.float64), 'float32'),
    ('judged', lambda array: array[1:], 'image_shape is'),
    ('image_shape', lambda array: np.array([96, 128, 2]), 'image_shape is'),
    ('image_shape', lambda array: np.array([96]), 'image_shape is'),
    ('image_shape', lambda array: np.array([-96, 128]), 'image_shape is'),
]


@pytest.mark.parametrize(('key', 'change', 'match'), CHANGES)
def test_broken_arrays_are_refused(
    given: dict[str, Any], key: str, change: Any, match: str
) -> None:
    arrays = FeaturesScorer.fit(good_parts(5), given).to_arrays()
    if change is None:
        del arrays[key]
    else:
        arrays[key] = change(arrays[key])
    with pytest.raises(RecipeError, match=match):
        FeaturesScorer.from_arrays(arrays, given)


def test_a_network_of_other_channels_or_a_foreign_file_is_refused(given: dict[str, Any]) -> None:
    arrays = FeaturesScorer.fit(good_parts(5), given).to_arrays()

    def pooled(image: Any) -> dict[str, Any]:
        planes = op.transpose(op.convert(image, 'f32'), op.constant([0, 3, 1, 2]))
        found = op.avg_pool(planes, [8, 8], [0, 0], [0, 0], [8, 8], False)
        return {'features': op.transpose(found, op.constant([0, 2, 3, 1]))}

    other = files_of(network([1, -1, -1, 3], pooled, dtype=np.uint8))
    with pytest.raises(RecipeError, match='sizes disagree: projection'):
        FeaturesScorer.from_arrays({**arrays, **other}, given)
    with pytest.raises(RecipeError, match=r'weights\.pth is not a file'):
        FeaturesScorer.from_arrays({**arrays, 'weights.pth': other['model.bin']}, given)


def test_wrong_settings_images_and_frames_are_refused(
    given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = good_parts(5)
    for wrong, match in (
        ({'statistics': 'both'}, 'allowed: position, pooled'),
        ({'side_px': 32}, 'side_px is 32; allowed: a whole number from 64'),
        ({'backbone': 'none'}, "no backbone 'none'"),
        ({'backbone': '../none'}, 'allowed: the name of a backbone'),
    ):
        with pytest.raises(SettingError, match=match):
            FeaturesScorer.fit(parts, {**given, **wrong})
    with monkeypatch.context() as patch:
        patch.setattr(features, 'MOST_MATRIX_BYTES', 100_000)
        with pytest.raises(SettingError, match=r'would take .* MB; .*smaller side_px'):
            FeaturesScorer.fit(parts, given)
    with pytest.raises(FrameError, match='3 good images; at least 4'):
        FeaturesScorer.fit(parts[:3], given)
    scorer = FeaturesScorer.fit(parts, given)
    for shape in ((96, 127), (96, 128, 3)):
        with pytest.raises(FrameError, match='128x96 uint8'):
            scorer.score(prepared(np.full(shape, 90, np.uint8)))
