# SPDX-License-Identifier: Apache-2.0
"""
The autoencoder scorer, with networks whose drawings are known, alone and in a recipe.

"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
import re
from typing import Any

import cv2
import numpy as np
import pytest
from skimage.metrics import structural_similarity
import yaml

from anomaly_inspection.deciding.frame_judge import Combination, judge, Reason, Verdict
from anomaly_inspection.errors import (
    FrameError,
    LimitError,
    RecipeError,
    SettingError,
)
from anomaly_inspection.imaging.alignment import AlignmentSettings
from anomaly_inspection.imaging.frame_check import FrameFormat
from anomaly_inspection.imaging.preprocessing import (
    Prepared,
    PreprocessingSettings,
    Preprocessor,
)
from anomaly_inspection.recipes.folder import read_recipe, write_recipe
from anomaly_inspection.recipes.limit_table import limit_table
from anomaly_inspection.recipes.recipe import MeasureLimit, measures_of, Recipe, ScorerRecipe
from anomaly_inspection.scoring.autoencoder import AutoencoderScorer
from anomaly_inspection.scoring.frame_scorer import FrameScorer, RegionSettings, ScoreStatus
from support.networks import autoencoder_files, FINGERPRINT, OWN

SIDE = 32
PLAIN = {'residual': 'l1', 'smooth_px': 1, 'tolerance': 'none'}


def good_image(seed: int, shape: tuple[int, ...] = (SIDE, SIDE)) -> np.ndarray:
    """
    Draw a gradient with a bar, and camera noise.

    """
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    base = 60.0 + 80.0 * columns / shape[1] + 40.0 * (rows > shape[0] // 2)
    base = base if len(shape) == 2 else base[..., None] + [0, 10, 20]
    noise = np.random.default_rng(seed).normal(0, 2, shape)
    return np.clip(np.rint(base + noise), 1, 254).astype(np.uint8)


def prepared(image: np.ndarray, valid: np.ndarray | None = None) -> Prepared:
    valid = np.ones(image.shape[:2], np.bool_) if valid is None else valid
    return Prepared(image, valid, np.eye(2, 3), None)


def good_parts(count: int = 12, shape: tuple[int, ...] = (SIDE, SIDE)) -> list[Prepared]:
    return [prepared(good_image(seed, shape)) for seed in range(count)]


def drawn(image: np.ndarray) -> np.ndarray:
    """
    Give an image as the network draws it.

    """
    values = image.astype(np.float32) / np.float32(255)
    return values[None, ..., None] if image.ndim == 2 else values[None]


def scorer(reconstruction: Any = None, shape=(SIDE, SIDE), **settings: Any) -> AutoencoderScorer:
    files = autoencoder_files(reconstruction, channels=1 if len(shape) == 2 else 3)
    return AutoencoderScorer.of_model(files, good_parts(shape=shape), {**PLAIN, **settings})


def with_square(image: np.ndarray, levels: int) -> np.ndarray:
    changed = image.astype(int)
    changed[8:14, 20:26] += levels
    return changed.astype(np.uint8)


# ------------------------------------------------------------------------------------- measures


@pytest.mark.parametrize('residual', ['ssim', 'l1', 'l2', 'ssim_l1'])
@pytest.mark.parametrize('shape', [(SIDE, SIDE), (SIDE, SIDE, 3)])
def test_a_perfect_drawing_has_no_residual_and_no_region(residual: str, shape) -> None:
    part = good_parts(shape=shape)[3]
    output = scorer(residual=residual, shape=shape).score(part)
    assert output.measures['reconstruction_error'] < 1e-12
    assert output.measures['peak_residual'] < 1e-6
    assert output.measures['latent_density'] == 1.0
    assert output.anomaly_map.shape == part.valid.shape
    assert output.anomaly_map.dtype == np.float32


def test_no_contour_is_a_largest_region_of_zero() -> None:
    frame_format = FrameFormat(SIDE, SIDE, 'mono8')
    settings = PreprocessingSettings(light='none', alignment=AlignmentSettings(kind='none'))
    frames = FrameScorer(
        Preprocessor(settings, frame_format, good_image(0)),
        {'autoencoder': (scorer(), RegionSettings(0.01, 1))},
    )
    (score,) = frames.score(good_image(4))
    assert score.status == ScoreStatus.OK
    assert score.regions == ()
    assert score.measures['largest_region'] == 0


@pytest.mark.parametrize('levels', [20, 40])
def test_residuals_are_those_of_the_definition(levels: int) -> None:
    template = good_image(0)
    part = prepared(with_square(template, levels))
    change = levels / 255
    outputs = {
        residual: scorer(drawn(template), residual=residual).score(part)
        for residual in ('l1', 'l2', 'ssim', 'ssim_l1')
    }
    expected = 36 * change**2 / SIDE**2
    for output in outputs.values():
        assert output.measures['reconstruction_error'] == pytest.approx(expected, rel=1e-4)
    # Absolute: twice the contrast is twice the residual, and four times its square.
    assert outputs['l1'].measures['peak_residual'] == pytest.approx(change, rel=1e-4)
    assert outputs['l2'].measures['peak_residual'] == pytest.approx(change**2, rel=1e-4)
    square = outputs['l1'].anomaly_map > change / 2
    assert square.sum() == 36
    assert square[8:14, 20:26].all()
    _, similarity = structural_similarity(
        part.image / 255.0,
        template / 255.0,
        data_range=1.0,
        gaussian_weights=True,
        use_sample_covariance=False,
        full=True,
    )
    np.testing.assert_allclose(outputs['ssim'].anomaly_map, 1 - similarity, atol=1e-4)
    both = outputs['ssim'].anomaly_map + outputs['l1'].anomaly_map
    np.testing.assert_allclose(outputs['ssim_l1'].anomaly_map, both, atol=1e-5)


def test_colour_counts_as_the_mean_of_the_channels() -> None:
    template = good_image(0, (SIDE, SIDE, 3))
    part = template.copy()
    part[5:9, 5:9, 2] += 60
    output = scorer(drawn(template), shape=template.shape).score(prepared(part))
    assert output.measures['peak_residual'] == pytest.approx(20 / 255, rel=1e-4)
    assert output.measures['reconstruction_error'] == pytest.approx(
        16 / SIDE**2 * (60 / 255) ** 2 / 3, rel=1e-4
    )


def test_the_map_is_smoothed_and_its_peak_is_the_measure() -> None:
    template = good_image(0)
    part = template.copy()
    part[16, 16] += 90
    output = scorer(drawn(template), smooth_px=3).score(prepared(part))
    assert output.measures['peak_residual'] == pytest.approx(10 / 255, rel=1e-4)
    assert output.anomaly_map.max() == output.measures['peak_residual']


def test_what_every_drawing_lacks_is_tolerated() -> None:
    """
    A network that draws no bar leaves the same residual on every part.

    """
    without_bar = good_image(0).copy()
    without_bar[SIDE // 2 + 1 :] -= 40
    part = prepared(with_square(good_image(50), 30))
    plain = scorer(drawn(without_bar)).score(part)
    tolerant = scorer(drawn(without_bar), tolerance='good_parts').score(part)
    assert np.unravel_index(plain.anomaly_map.argmax(), (SIDE, SIDE))[0] > SIDE // 2
    row, column = np.unravel_index(tolerant.anomaly_map.argmax(), (SIDE, SIDE))
    assert (8 <= row < 14) & (20 <= column < 26)
    assert tolerant.anomaly_map[SIDE // 2 + 2 :].max() < 12 / 255
    assert tolerant.measures['reconstruction_error'] == plain.measures['reconstruction_error']


def test_tolerated_is_mean_and_deviation_of_the_residuals() -> None:
    parts = good_parts()
    template = good_image(99)
    residuals = [np.abs(part.image - template.astype(float)) / 255 for part in parts]
    expected = np.mean(residuals, axis=0) + np.std(residuals, axis=0)
    tolerated = scorer(drawn(template), tolerance='good_parts').to_arrays()['tolerated']
    np.testing.assert_allclose(tolerated, expected, atol=1e-6)


def test_a_strange_part_has_less_latent_density() -> None:
    known = scorer()
    ordinary, strange = (
        known.score(prepared(image)).measures['latent_density']
        for image in (good_image(77), 255 - good_image(77))
    )
    assert 0.9 < ordinary < 0.99
    assert 0 < strange < 0.1


def test_what_is_not_valid_does_not_count() -> None:
    template = good_image(0)
    valid = np.ones((SIDE, SIDE), np.bool_)
    valid[:, :8] = False
    part = template.copy()
    part[:, :8] = 255
    output = scorer(drawn(template)).score(prepared(part, valid))
    assert output.measures['reconstruction_error'] < 1e-12
    assert output.measures['peak_residual'] < 1e-6
    with pytest.raises(FrameError, match='no pixel'):
        scorer().score(prepared(template, np.zeros_like(valid)))


def test_an_image_of_another_size_than_the_network_is_resized() -> None:
    shape = (48, 80)
    template = good_image(0, shape)
    small = cv2.resize(template, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    part = template.astype(int)
    part[20:30, 40:60] += 60
    output = scorer(drawn(small), shape=shape).score(prepared(part.astype(np.uint8)))
    assert output.anomaly_map.shape == shape
    found = output.anomaly_map > 30 / 255
    assert found.sum() == pytest.approx(200, abs=60)
    assert np.mean(np.nonzero(found), axis=1) == pytest.approx([24.5, 49.5], abs=1)


# ---------------------------------------------------------------------------------------- patches


@pytest.mark.parametrize(('patch_px', 'stride_px'), [(SIDE, 0), (SIDE, 7), (24, 24), (45, 45)])
def test_every_pixel_lies_in_a_patch_and_overlaps_are_averaged(patch_px: int, stride_px: int):
    """
    A network that always draws gray leaves the same residual in a pixel, whatever its patch.

    """
    shape = (45, 77)
    part = prepared(np.full(shape, 100, np.uint8))
    output = scorer(0.5, shape=shape, patch_px=patch_px, stride_px=stride_px).score(part)
    np.testing.assert_allclose(output.anomaly_map, 0.5 - 100 / 255, atol=1e-6)
    assert output.measures['reconstruction_error'] == pytest.approx((0.5 - 100 / 255) ** 2, 1e-5)


def test_a_defect_in_the_last_corner_is_seen_in_its_place() -> None:
    shape = (45, 77)
    image = np.full(shape, 127, np.uint8)
    image[41:, 70:] = 227
    output = scorer(127 / 255, shape=shape, patch_px=SIDE).score(prepared(image))
    np.testing.assert_array_equal(output.anomaly_map > 0.2, image > 200)
    assert output.measures['peak_residual'] == pytest.approx(100 / 255, rel=1e-4)


def test_the_strangest_patch_gives_the_density() -> None:
    shape = (SIDE, 4 * SIDE)
    grid = scorer(shape=shape, patch_px=SIDE, stride_px=SIDE)
    whole = scorer(shape=shape)
    part = good_image(60, shape)
    part[:, :SIDE] = 255 - part[:, :SIDE]
    assert grid.score(prepared(part)).measures['latent_density'] < 0.1
    assert grid.score(prepared(good_image(61, shape))).measures['latent_density'] > 0.85
    assert whole.score(prepared(part)).measures['latent_density'] < 0.1


# ------------------------------------------------------------------------------ settings and data


@pytest.mark.parametrize(
    ('settings', 'complaint'),
    [
        ({'residual': 'l3'}, "residual is 'l3'; allowed: ssim, l1, l2, ssim_l1"),
        ({'tolerance': 'all'}, 'allowed: good_parts, none'),
        ({'smooth_px': 0}, 'from 1 to 63'),
        ({'patch_px': SIDE + 1}, f'patch_px is {SIDE + 1}; allowed: 0 .* to {SIDE}'),
        ({'patch_px': 16, 'stride_px': 17}, 'stride_px is 17; allowed: up to patch_px, 16'),
        ({'patches': 3}, "no setting 'patches'"),
    ],
)
def test_a_wrong_setting_is_refused(settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(SettingError, match=complaint):
        scorer(**settings)


def test_it_is_trained_not_taught() -> None:
    with pytest.raises(SettingError, match='anomaly-inspection train'):
        AutoencoderScorer.fit(good_parts(), {})


def test_too_few_or_mixed_images_are_refused() -> None:
    files = autoencoder_files()
    for images in ([], good_parts(1), [*good_parts(3), *good_parts(1, (SIDE, SIDE + 1))]):
        with pytest.raises(FrameError):
            AutoencoderScorer.of_model(files, images, {})
    with pytest.raises(FrameError, match='different latent vectors'):
        AutoencoderScorer.of_model(files, [good_parts(1)[0]] * 9, {})


def test_images_of_other_channels_than_the_network_are_refused() -> None:
    with pytest.raises(RecipeError, match='of 3 channels, the prepared ones have 1'):
        AutoencoderScorer.of_model(autoencoder_files(channels=3), good_parts(), {})


def test_a_frame_of_another_size_is_refused() -> None:
    with pytest.raises(FrameError, match='fitted to'):
        scorer().score(prepared(good_image(1, (SIDE, SIDE + 2))))


@pytest.mark.parametrize('shape', [(SIDE, SIDE), (40, 50, 3)])
def test_comes_back_from_its_arrays_with_all_files(shape) -> None:
    files = autoencoder_files(channels=1 if len(shape) == 2 else 3)
    files['history.csv'] = np.frombuffer(b'epoch,loss\n1,0.5\n', np.uint8)
    settings = {'residual': 'ssim_l1', 'patch_px': 24}
    first = AutoencoderScorer.of_model(files, good_parts(shape=shape), settings)
    arrays = first.to_arrays()
    np.testing.assert_array_equal(arrays['history.csv'], files['history.csv'])
    again = AutoencoderScorer.from_arrays(arrays, settings)
    part = prepared(255 - good_image(30, shape))
    assert again.score(part).measures == first.score(part).measures
    np.testing.assert_array_equal(again.score(part).anomaly_map, first.score(part).anomaly_map)


@pytest.mark.parametrize(
    ('key', 'array'),
    [
        ('tolerated', None),
        ('tolerated', np.zeros((SIDE, SIDE))),
        ('channels', np.array([2])),
        ('channels', np.array([3])),
        ('latents', np.zeros((5, 7), np.float32)),
        ('latents', np.full((5, 16), np.nan, np.float32)),
        ('latent_centre', np.zeros(7, np.float32)),
        ('latent_spacing', np.array([0.0])),
        ('latent_spacing', np.array([-1.0, 2.0])),
        ('model.bin', None),
        ('model.bin', np.zeros(3, np.uint8)),
    ],
)
def test_broken_arrays_are_refused(key: str, array: np.ndarray | None) -> None:
    arrays = scorer().to_arrays()
    del arrays[key]
    if array is not None:
        arrays[key] = array
    with pytest.raises(RecipeError, match=re.escape(key)):
        AutoencoderScorer.from_arrays(arrays, PLAIN)


# --------------------------------------------------------------------------------------- recipes

PREPROCESSING = PreprocessingSettings(light='none', alignment=AlignmentSettings(kind='none'))
LIMITS = {
    'reconstruction_error': MeasureLimit(0.002, 0.0005),
    'peak_residual': MeasureLimit(0.5, 0.1),
    'latent_density': MeasureLimit(0.2, 0.5),
    'largest_region': MeasureLimit(40.0, 0.0),
}


def made_recipe(not_judged: frozenset[str] = frozenset(), combination: str = 'any') -> Recipe:
    own = {**OWN, 'preprocessing_fingerprint': PREPROCESSING.fingerprint()}
    files = autoencoder_files(drawn(good_image(0)), own=own)
    fitted = AutoencoderScorer.of_model(files, good_parts(), PLAIN)
    specs = measures_of('autoencoder')
    part = ScorerRecipe(
        settings={**AutoencoderScorer.default_settings, **PLAIN},
        region=RegionSettings(0.2, 4),
        limits={spec.name: LIMITS[spec.name] for spec in specs},
        arrays=fitted.to_arrays(),
        good={spec.name: np.linspace(0.1, 0.4, 5) for spec in specs},
        not_judged=not_judged,
    )
    return Recipe(
        name='pump',
        product='',
        provenance=made_provenance(),
        frame_format=FrameFormat(SIDE, SIDE, 'mono8'),
        preprocessing=PREPROCESSING,
        scorers={'autoencoder': part},
        references=(good_image(0), good_image(1)),
        combination=combination,
    )


def made_provenance() -> Any:
    from anomaly_inspection.recipes.recipe import Provenance

    return Provenance(image_count=12)


def test_a_recipe_with_a_network_scores_the_same_after_reading(tmp_path: Path) -> None:
    recipe = made_recipe()
    read = write_recipe(recipe, tmp_path / 'pump')
    assert {file.name for file in (tmp_path / 'pump/model/autoencoder').iterdir()} == {
        'model.xml',
        'model.bin',
    }
    frame = with_square(good_image(5), 80)
    (before,), (after,) = (one.frame_scorer().score(frame) for one in (recipe, read))
    assert after.status == ScoreStatus.OK
    assert after.measures == before.measures
    assert after.measures['largest_region'] == 36
    assert (after.regions[0].x_min, after.regions[0].y_max) == (20, 14)


def test_a_network_of_another_preprocessing_is_refused(tmp_path: Path) -> None:
    recipe = made_recipe()
    other = replace(PREPROCESSING, light='gain')
    with pytest.raises(
        RecipeError, match=f'another preprocessing .*{PREPROCESSING.fingerprint()}'
    ):
        write_recipe(replace(recipe, preprocessing=other), tmp_path / 'pump')
    assert not (tmp_path / 'pump').exists()
    write_recipe(recipe, tmp_path / 'pump')
    for name, content in autoencoder_files(drawn(good_image(0))).items():
        (tmp_path / 'pump/model/autoencoder' / name).write_bytes(content.tobytes())
    with pytest.raises(RecipeError, match=FINGERPRINT):
        read_recipe(tmp_path / 'pump')


@pytest.mark.parametrize(
    ('name', 'content', 'complaint'),
    [
        ('model.bin', b'\x00' * 9, 'no readable OpenVINO model'),
        ('model.xml', b'<html/>', 'no readable OpenVINO model'),
        ('model.xml', None, 'model.xml is missing'),
    ],
)
def test_a_recipe_with_a_broken_network_is_refused(
    tmp_path: Path, name: str, content: bytes | None, complaint: str
) -> None:
    write_recipe(made_recipe(), tmp_path / 'pump')
    file = tmp_path / 'pump/model/autoencoder' / name
    file.unlink() if content is None else file.write_bytes(content)
    with pytest.raises(RecipeError, match=f'pump.*autoencoder.*{complaint}'):
        read_recipe(tmp_path / 'pump')


# ------------------------------------------------------------------------- AND, OR of two measures

TWO_OF_THEM = frozenset({'peak_residual', 'largest_region'})


@pytest.mark.parametrize(
    ('combination', 'density', 'error', 'verdict', 'formula'),
    [
        # The ESP32 system: anomaly when density < T_d AND error > T_r.
        ('all', 0.1, 0.003, Verdict.REJECT, 'error 0.00300 > 0.00200, D 0.100 < 0.200 -> REJECT'),
        ('all', 0.1, 0.001, Verdict.PASS, 'D 0.100 < 0.200, error 0.00100 <= 0.00200 (only all '
         'limits exceeded together reject) -> PASS'),
        ('all', 0.3, 0.003, Verdict.PASS, 'error 0.00300 > 0.00200, D 0.300 >= 0.200 (only all '
         'limits exceeded together reject) -> PASS'),
        ('all', 0.3, 0.001, Verdict.PASS, 'error 0.00100 <= 0.00200, D 0.300 >= 0.200 -> PASS'),
        # Tutorial 260: density < T_d OR error > T_r.
        ('any', 0.1, 0.001, Verdict.REJECT, 'D 0.100 < 0.200, error 0.00100 <= 0.00200 -> REJECT'),
        ('any', 0.3, 0.003, Verdict.REJECT, 'error 0.00300 > 0.00200, D 0.300 >= 0.200 -> REJECT'),
        ('any', 0.3, 0.001, Verdict.PASS, 'error 0.00100 <= 0.00200, D 0.300 >= 0.200 -> PASS'),
    ],
)  # fmt: skip
def test_both_rules_of_two_measures_with_their_formula(
    tmp_path: Path, combination: str, density: float, error: float, verdict: Verdict, formula: str
) -> None:
    recipe = write_recipe(made_recipe(TWO_OF_THEM, combination), tmp_path / 'pump')
    measures = {
        'reconstruction_error': error,
        'latent_density': density,
        # Far beyond their limits, and of no account.
        'peak_residual': 3.0,
        'largest_region': 900.0,
    }
    judgement = judge(
        {'autoencoder': measures},
        limit_table(recipe),
        Combination.ALL if recipe.combination == 'all' else Combination.ANY,
    )
    assert judgement.verdict == verdict
    assert (judgement.reason == Reason.LIMIT_EXCEEDED) == (verdict == Verdict.REJECT)
    full = formula.replace('error', 'autoencoder.reconstruction_error')
    assert judgement.comparison == full.replace('D ', 'autoencoder.latent_density ')


def test_what_is_not_judged_stands_in_the_yaml_and_is_measured_still(tmp_path: Path) -> None:
    path = tmp_path / 'pump'
    read = write_recipe(made_recipe(TWO_OF_THEM), path)
    assert read.scorers['autoencoder'].not_judged == TWO_OF_THEM
    assert {limit.measure for limit in limit_table(read)} == {
        'reconstruction_error',
        'latent_density',
    }
    (score,) = read.frame_scorer().score(good_image(3))
    assert set(score.measures) == set(LIMITS)
    content = yaml.safe_load((path / 'recipe.yaml').read_text())
    measures = content['scorers']['autoencoder']['measures']
    assert measures['peak_residual']['judged'] is False
    assert 'judged' not in measures['latent_density']
    changed = read.with_limits({('autoencoder', 'latent_density'): 0.3})
    assert changed.scorers['autoencoder'].not_judged == TWO_OF_THEM


def test_a_recipe_that_judges_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match='no measure is judged; allowed: one at least'):
        write_recipe(made_recipe(frozenset(LIMITS)), tmp_path / 'pump')


def test_judged_must_be_true_or_false(tmp_path: Path) -> None:
    path = tmp_path / 'pump'
    write_recipe(made_recipe(TWO_OF_THEM), path)
    text = (path / 'recipe.yaml').read_text()
    (path / 'recipe.yaml').write_text(text.replace('judged: false}', 'judged: 0}'))
    with pytest.raises(RecipeError, match='judged is 0; allowed: true or false'):
        read_recipe(path)


@pytest.mark.parametrize('limit', [2730.0, 1.5, -0.1])
def test_a_density_limit_that_no_part_can_reach_is_refused(limit: float) -> None:
    with pytest.raises(LimitError, match=re.escape('allowed: from 0.0 up to')):
        made_recipe().with_limits({('autoencoder', 'latent_density'): limit})
