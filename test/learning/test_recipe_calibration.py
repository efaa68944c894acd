# SPDX-License-Identifier: Apache-2.0
"""
Limits anew from good parts that the recipe was not taught on: from a folder, or part by part.

"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from click.testing import CliRunner, Result
import cv2
import numpy as np
import pytest

from anomaly_inspection.capture.open_source import open_source
from anomaly_inspection.cli import main
from anomaly_inspection.cli.output import console, errors
from anomaly_inspection.errors import FrameError, SettingError
from anomaly_inspection.imaging.preprocessing import PreprocessingSettings
from anomaly_inspection.learning.cell_calibration import CalibrationState, CellCalibration
from anomaly_inspection.learning.image_quality import ImageQuality
from anomaly_inspection.learning.recipe_calibration import (
    false_rejects_of,
    good_of,
    limits_of,
    recalibrate,
    RecipeCalibration,
    specs_of,
)
from anomaly_inspection.learning.teach import teach, TeachOptions
from anomaly_inspection.recipes.folder import read_recipe, write_recipe
from anomaly_inspection.recipes.recipe import checked_limit, Recipe
from support.small_recipe import SMALL_LINE

SIZE = (96, 128)
MSE = ('ssim', 'mse')


def part(seed: int, *, noise: float = 2.0, spot: bool = False) -> np.ndarray:
    image = np.full(SIZE, 60.0)
    cv2.rectangle(image, (30, 20), (98, 76), 160, -1)
    cv2.circle(image, (50, 48), 9, 90, -1)
    if spot:
        cv2.circle(image, (80, 45), 5, 240, -1)
    rng = np.random.default_rng(seed)
    return np.clip(image + rng.normal(0, noise * rng.uniform(0.9, 1.1), SIZE), 0, 255).astype(
        np.uint8
    )


def good_parts(
    count: int, *, start: int = 100, noise: float = 2.0
) -> list[tuple[str, np.ndarray]]:
    return [(f'{seed}.png', part(seed, noise=noise)) for seed in range(start, start + count)]


@pytest.fixture(scope='module')
def recipe() -> Recipe:
    frames = [part(seed) for seed in range(24)]
    return teach(
        frames,
        name='part',
        options=TeachOptions(
            scorers=('ssim', 'variation'),
            preprocessing=PreprocessingSettings(),
            false_reject_rate=0.03,
        ),
        # They differ by noise alone, and would count as copies of one part.
        quality=ImageQuality(len(frames), len(frames), {}, ()),
    )


@pytest.fixture(scope='module')
def noisier(recipe: Recipe) -> RecipeCalibration:
    return recalibrate(recipe, good_parts(20, noise=4.0))


def test_limits_and_typical_values_follow_the_new_parts(
    recipe: Recipe, noisier: RecipeCalibration
) -> None:
    assert noisier.false_rejects.parts == 20
    assert noisier.beyond_before == 20
    assert noisier.limits[MSE].typical > recipe.scorers['ssim'].limits['mse'].limit
    assert noisier.left_out == noisier.strays == ()
    for key, spec in specs_of(recipe).items():
        checked_limit(key[0], spec, noisier.limits[key])
        assert len(noisier.good[key]) == 20


def test_the_recipe_keeps_all_that_was_fitted(recipe: Recipe, noisier: RecipeCalibration) -> None:
    changed = noisier.applied_to(recipe, 'new/')
    for name, scorer in recipe.scorers.items():
        assert changed.scorers[name].arrays is scorer.arrays
        assert changed.scorers[name].region == scorer.region
    assert limits_of(changed) == noisier.limits
    assert list(limits_of(changed)) == list(limits_of(recipe))
    assert changed.provenance.promised_rate == round(noisier.false_rejects.promised_rate, 4)
    assert changed.provenance.image_count == recipe.provenance.image_count
    again = noisier.applied_to(replace(changed), 'newer/')
    assert again.provenance.source.count('limits from') == 1
    assert 'newer/' in again.provenance.source


def test_what_is_not_judged_plays_no_part_and_stays(recipe: Recipe) -> None:
    ssim = replace(recipe.scorers['ssim'], not_judged=frozenset({'mse'}))
    quiet = replace(recipe, scorers={**recipe.scorers, 'ssim': ssim})
    found = recalibrate(quiet, good_parts(20, noise=4.0))
    assert MSE not in found.limits
    assert MSE not in good_of(quiet)
    changed = found.applied_to(quiet, 'new/').scorers['ssim']
    assert changed.limits['mse'] == ssim.limits['mse']
    assert changed.limits['lowest_ssim'] == found.limits['ssim', 'lowest_ssim']
    assert changed.limits.keys() == changed.good.keys() == ssim.limits.keys()


def test_the_limit_of_what_no_part_shows_stays(recipe: Recipe) -> None:
    found = recalibrate(recipe, good_parts(12, noise=1.0))
    key = ('ssim', 'largest_region')
    assert not found.good[key].any()
    assert found.limits[key] == limits_of(recipe)[key]


def test_a_stranger_is_left_out_and_named(recipe: Recipe) -> None:
    offered = [
        *good_parts(20),
        ('black.png', np.zeros(SIZE, np.uint8)),
        ('spot.png', part(1, spot=True)),
    ]
    found = recalibrate(recipe, offered)
    assert len(found.left_out) == 2
    assert found.left_out[0].startswith('black.png: frame is black')
    assert found.left_out[1].startswith('spot.png: ')
    assert found.false_rejects.parts == 20


def test_many_parts_that_the_recipe_would_call_defective_are_refused(recipe: Recipe) -> None:
    """
    A folder with defects: too many of them to stand out as single ones.

    """
    bad = [(f'bad {seed}.png', part(seed, spot=True)) for seed in range(200, 208)]
    with pytest.raises(SettingError, match=r'8 of 20 good images.*bad 200\.png'):
        recalibrate(recipe, good_parts(12) + bad)


def from_small_line(seed: int, count: int, defect_rate: float) -> list[tuple[str, np.ndarray]]:
    with open_source(f'{SMALL_LINE},defect_rate={defect_rate},parts={count},seed={seed}') as line:
        return [(f'{seed} {index}', line.read().image) for index in range(count)]


@pytest.mark.parametrize('seed', [1105, 1107, 5001])
def test_good_parts_of_the_same_line_are_enough_like_those_taught(
    taught_recipe: Path, seed: int
) -> None:
    """
    Twelve parts were taught; they happen to differ less than the parts of the line do.

    """
    recipe = read_recipe(taught_recipe)
    found = recalibrate(recipe, from_small_line(seed, 40, 0.0))
    assert found.false_rejects.parts >= 36


def test_a_batch_with_odd_parts_is_refused_and_says_what_else_it_may_be(
    taught_recipe: Path,
) -> None:
    offered = from_small_line(1105, 32, 0.0) + from_small_line(7, 8, 1.0)
    with pytest.raises(SettingError, match='taught on 12 parts: if all of these are good, teach'):
        recalibrate(read_recipe(taught_recipe), offered)


def test_a_part_that_moves_the_limits_outwards_is_named(recipe: Recipe) -> None:
    good = good_of(recipe)
    parts = [(f'part {i}', {key: float(good[key][i]) for key in good}) for i in range(20)]
    far = limits_of(recipe)[MSE]
    parts[4][1][MSE] = far.typical + 4.0 * (far.limit - far.typical)
    found = RecipeCalibration.of(parts, recipe, limits_of(recipe), 0.005, 'any')
    assert [stray.split(':')[0] for stray in found.strays] == ['part 4']
    assert found.beyond_before == 1
    assert 'Look at 1 that move' in found.summary()
    assert 'moved far' not in found.summary()
    assert found.limits[MSE].limit > far.limit


@pytest.mark.parametrize('count', [0, 4])
def test_too_few_parts_are_refused(recipe: Recipe, count: int) -> None:
    with pytest.raises(SettingError, match=f'0 of {count} good images.*with 5 left'):
        recalibrate(recipe, good_parts(count))


def test_an_image_of_another_size_is_refused_by_name(recipe: Recipe) -> None:
    with pytest.raises(FrameError, match=r'wide\.png is uint8 of shape \(96, 130\)'):
        recalibrate(recipe, [*good_parts(9), ('wide.png', np.zeros((96, 130), np.uint8))])


def test_an_image_that_the_recipe_was_taught_on_is_refused(recipe: Recipe) -> None:
    with pytest.raises(SettingError, match=r'was taught on old\.png'):
        recalibrate(recipe, [('old.png', recipe.references[3])])


@pytest.mark.parametrize('rate', [0.0, 0.5, float('nan')])
def test_a_bad_rate_is_refused_before_any_work(recipe: Recipe, rate: float) -> None:
    with pytest.raises(SettingError, match='over 0 and below'):
        recalibrate(recipe, iter(()), rate)


def test_a_taught_recipe_tells_what_to_expect(recipe: Recipe) -> None:
    expected = false_rejects_of(recipe)
    assert expected is not None
    assert expected.parts == 24
    copies = replace(recipe.provenance, independent_count=1)
    expected = false_rejects_of(replace(recipe, provenance=copies))
    assert expected is not None
    assert expected.parts == 1
    scorers = dict(recipe.scorers)
    good = {name: values[:20] for name, values in scorers['ssim'].good.items()}
    scorers['ssim'] = replace(scorers['ssim'], good=good)
    assert false_rejects_of(replace(recipe, scorers=scorers)) is None


# Part by part


def running(recipe: Recipe, parts: int = 8, rate: float = 0.0) -> CellCalibration:
    return CellCalibration(recipe, limits_of(recipe), 'any', parts, rate)


def test_the_rate_is_that_of_the_recipe_unless_one_is_asked_for(recipe: Recipe) -> None:
    assert running(recipe).rate == recipe.provenance.false_reject_rate
    assert running(recipe, rate=0.1).rate == 0.1


def test_the_same_parts_give_the_same_limits_by_folder_and_one_by_one(
    recipe: Recipe, noisier: RecipeCalibration
) -> None:
    run = running(recipe, 20)
    is_last = [
        run.take(f'{i}', {key: float(noisier.good[key][i]) for key in noisier.good}, '')
        for i in range(20)
    ]
    assert is_last == [False] * 19 + [True]
    assert not run.take('one more', {}, 'TIMEOUT')
    result = run.derived()
    assert result.limits == noisier.limits
    assert run.is_collecting, 'deriving alone changes nothing'
    run.finish(result)
    assert run.state is CalibrationState.DONE
    old, new = limits_of(recipe)[MSE].limit, result.limits[MSE].limit
    assert f'ssim.mse {old:.4g} -> {new:.4g}' in run.detail
    assert '20 of 20 lie beyond the old limits. The line has moved far' in run.detail


def test_what_did_not_count_is_told(recipe: Recipe) -> None:
    run = running(recipe)
    for reason in ('TIMEOUT', 'NOT_ALIGNED', 'TIMEOUT'):
        assert not run.take('part', {}, reason)
    assert run.detail == '0 of 8 good parts collected; not counted: 1 NOT_ALIGNED, 2 TIMEOUT'
    run.fail('cancelled')
    assert run.state is CalibrationState.FAILED
    assert run.detail.startswith('cancelled; 0 of 8')


# The command


@pytest.fixture
def folders(recipe: Recipe, tmp_path: Path) -> tuple[Path, Path]:
    write_recipe(recipe, tmp_path / 'part')
    images = tmp_path / 'new'
    images.mkdir()
    for name, image in good_parts(10, noise=4.0):
        cv2.imwrite(str(images / name), image)
    return tmp_path / 'part', images


def calibrated(*arguments: object) -> Result:
    return CliRunner().invoke(main, ['calibrate', *map(str, arguments)])


def test_the_command_writes_the_next_version(folders: tuple[Path, Path]) -> None:
    answer = calibrated(*folders, '--false-reject-rate', '0.02')
    assert answer.exit_code == 0, answer.output
    old, new = read_recipe(folders[0].with_name('part.v1')), read_recipe(folders[0])
    assert new.version == 2
    assert new.provenance.false_reject_rate == 0.02
    assert new.scorers['ssim'].limits['mse'].typical > old.scorers['ssim'].limits['mse'].typical


def test_a_dry_run_writes_nothing(
    folders: tuple[Path, Path],
) -> None:
    before = {path: path.read_bytes() for path in folders[0].rglob('*') if path.is_file()}
    with console.capture() as capture:
        assert calibrated(*folders, '--dry-run').exit_code == 0
    said = ' '.join(capture.get().split())
    assert 'give 147 more good parts' in said
    assert 'stays at version 1' in said
    after = {path: path.read_bytes() for path in folders[0].parent.rglob('*') if path.is_file()}
    assert {path: after[path] for path in before} == before
    assert not folders[0].with_name('part.v1').exists()


def test_an_image_that_cannot_be_read_is_an_error(folders: tuple[Path, Path]) -> None:
    (folders[1] / 'broken.png').write_bytes(b'no image')
    with errors.capture() as capture:
        assert calibrated(*folders).exit_code == 2
    assert 'broken.png' in capture.get()
    assert read_recipe(folders[0]).version == 1


def test_teach_ends_with_what_it_promises(tmp_path: Path) -> None:
    images = tmp_path / 'good'
    images.mkdir()
    for name, image in good_parts(12):
        cv2.imwrite(str(images / name), image)
    with console.capture() as capture:
        answer = CliRunner().invoke(
            main,
            ['teach', str(images), '--recipe', str(tmp_path / 'part'), '--scorer', 'variation'],
        )
    assert answer.exit_code == 0, answer.output
    said = ' '.join(capture.get().split())
    assert '12 images, but only 1 different one: put the part down anew each time' in said
    assert 'No false-reject rate can be promised' in said
    assert 'give 92 more good parts (93 in all)' in said
