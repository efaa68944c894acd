# SPDX-License-Identifier: Apache-2.0
"""
The commands as people use and misuse them: what they refuse, what they headline, how they end.

"""

from __future__ import annotations

import os
from pathlib import Path
import subprocess
import sys
from typing import Any

from click.testing import CliRunner, Result
import cv2
import numpy as np
import pytest

from anomaly_inspection.capture.image_folder import ImageFolder
from anomaly_inspection.cli import main
from anomaly_inspection.cli.output import escaped
from anomaly_inspection.learning.teach import teach, TeachOptions
from anomaly_inspection.recipes.folder import read_recipe, write_recipe
from support.drawn_plate import plate, write_plates
from support.paths import ROOT


@pytest.fixture(scope='module')
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    A recipe of plates; do not change it.

    """
    folder = tmp_path_factory.mktemp('recipes') / 'plate'
    frames = [plate(seed) for seed in range(12)]
    options = TeachOptions(scorers=['variation'])
    write_recipe(teach(frames, name='plate', options=options), folder)
    return folder


def invoke(*arguments: Any) -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments])


def words(result: Result) -> str:
    return ' '.join(result.output.split())


# ------------------------------------------------------------------------------- good parts only


def dataset_of(folder: Path) -> Path:
    """
    A data set in MVTec AD's layout.

    """
    write_plates(folder / 'train' / 'good', 12)
    write_plates(folder / 'test' / 'good', 3, 50)
    write_plates(folder / 'test' / 'scratch', 3, 60)
    return folder


@pytest.mark.parametrize('command', ['teach', 'calibrate', 'self-test', 'train'])
def test_a_data_set_is_refused_where_good_parts_are_asked_for(
    taught: Path, tmp_path: Path, command: str
) -> None:
    dataset = dataset_of(tmp_path / 'dataset')

    def tried(folder: Path) -> Result:
        if command in ('teach', 'train'):
            return invoke(command, folder, '--recipe', tmp_path / 'recipe')
        return invoke(command, taught, folder)

    if command == 'train':
        pytest.importorskip('keras')
        write_recipe(read_recipe(taught), tmp_path / 'recipe')
    before = sorted(tmp_path.rglob('*'))
    for folder, said in (
        (dataset, f'did you mean {dataset}/train/good?'),
        (dataset / 'test', '3 of the 6 images'),
        (dataset / 'test' / 'scratch', '3 of the 3 images'),
    ):
        result = tried(folder)
        assert result.exit_code == 2, result.output
        assert said in words(result)
    assert sorted(tmp_path.rglob('*')) == before


def test_a_folder_with_test_inside_is_no_folder_of_good_parts(tmp_path: Path) -> None:
    write_plates(tmp_path / 'images', 12)
    write_plates(tmp_path / 'images' / 'test', 3, 50)
    result = invoke('teach', tmp_path / 'images', '--recipe', tmp_path / 'recipe')
    assert result.exit_code == 2
    assert "holds a folder 'test'" in words(result)


def test_images_that_labels_csv_calls_defective_are_not_taught(tmp_path: Path) -> None:
    images = write_plates(tmp_path / 'images', 12)
    (images / 'labels.csv').write_text('file,defect\n3.png,scratch\n4.png,good\n')
    result = invoke('teach', images, '--recipe', tmp_path / 'recipe')
    assert result.exit_code == 2
    assert '1 of the 12 images' in words(result)
    assert '3.png' in words(result)


# --------------------------------------------------------------------------------------- teach


def test_teach_ends_with_speed_and_a_self_test_in_three_lines(tmp_path: Path) -> None:
    images = write_plates(tmp_path / 'images', 12)
    result = invoke('teach', images, '--recipe', tmp_path / 'plate', '--scorer', 'variation')
    assert result.exit_code == 0, result.output
    assert 'ms a frame on this machine = at most' in words(result)
    tail = result.output[result.output.index('Self-test: sees') :].splitlines()
    assert len(tail) <= 3
    assert '60 levels from' in result.output
    options = ['--scorer', 'variation', '--no-self-test']
    quiet = invoke('teach', images, '--recipe', tmp_path / 'plate', *options)
    assert quiet.exit_code == 0
    assert 'Self-test' not in quiet.output


def test_teach_does_not_end_like_a_success_when_the_recipe_sees_nothing(tmp_path: Path) -> None:
    images = tmp_path / 'images'
    images.mkdir()
    noise = np.random.default_rng(1)
    for number in range(12):
        # Parts that have nothing in common: the limits let everything pass.
        cv2.imwrite(str(images / f'{number}.png'), noise.integers(0, 256, (112, 112), np.uint8))
    result = invoke('teach', images, '--recipe', tmp_path / 'noise', '--scorer', 'ssim')
    assert result.exit_code == 1, result.output
    assert 'this recipe cannot find defects' in words(result)
    assert 'Try --scorer auto' in words(result)
    assert read_recipe(tmp_path / 'noise').version == 1


# ------------------------------------------------------------------------------------ evaluate


def test_evaluate_headlines_a_recipe_that_rejects_good_parts(taught: Path, tmp_path: Path) -> None:
    write_plates(tmp_path / 'set' / 'train' / 'good', 1)
    write_plates(tmp_path / 'set' / 'test' / 'good', 12, 50, noise=60.0)
    result = invoke('evaluate', taught, tmp_path / 'set', '--html', tmp_path / 'report')
    assert result.exit_code == 1
    assert result.output.lstrip().startswith('12 of 12 good parts rejected: teach again')
    page = (tmp_path / 'report' / 'index.html').read_text()
    assert '<p class="fault">12 of 12 good parts rejected' in page


def test_evaluate_headlines_a_recipe_that_finds_no_defect(taught: Path, tmp_path: Path) -> None:
    # What is called a scratch here is none.
    dataset_of(tmp_path / 'set')
    result = invoke('evaluate', taught, tmp_path / 'set')
    assert result.exit_code == 1
    assert '0 of 3 defective parts rejected' in words(result)
    assert 'rejected: 0 of 3 defective images and 0 of 3 good images' in words(result)


def test_images_of_another_size_give_no_figures_but_one_sentence(
    taught: Path, tmp_path: Path
) -> None:
    for kind in ('good', 'scratch'):
        (tmp_path / 'set' / 'test' / kind).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / 'set' / 'test' / kind / '0.png'), plate(1)[:90])
    (tmp_path / 'set' / 'train' / 'good').mkdir(parents=True)
    sentence = 'frame is 112 x 90 px, the recipe wants 112 x 112 px (all 2 images)'
    result = invoke('evaluate', taught, tmp_path / 'set')
    assert result.exit_code == 2
    assert sentence in words(result)
    assert 'auroc' not in result.output
    # One that fits is enough for figures.
    cv2.imwrite(str(tmp_path / 'set' / 'test' / 'good' / '1.png'), plate(1))
    assert 'auroc' in invoke('evaluate', taught, tmp_path / 'set').output


# --------------------------------------------------------------------- results and options


@pytest.mark.parametrize(
    'arguments',
    [
        ['teach', '{images}', '--recipe', '{file}/recipe'],
        ['train', '{images}', '--recipe', '{file}/recipe'],
        ['calibrate', '{file}/recipe', '{images}'],
        ['self-test', '{taught}', '{images}', '--json', '{file}/x.json'],
        ['self-test', '{taught}', '{images}', '--html', '{file}/page'],
        ['evaluate', '{taught}', '{images}', '--json', '{images}'],
        ['evaluate', '{taught}', '{images}', '--html', '{file}/page'],
        ['run', '--recipe', '{taught}', '--source', '{images}', '--report', '{file}/report'],
        ['simulate', '{file}/line'],
    ],
)
def test_a_result_that_cannot_be_written_is_refused_before_the_work(
    taught: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    images = write_plates(tmp_path / 'images', 12)
    file = tmp_path / 'file'
    file.write_text('')
    monkeypatch.setattr(cv2, 'imdecode', lambda *_: pytest.fail('an image has been read'))
    given = [
        each.format(images=images, taught=taught, file=file, tmp=tmp_path) for each in arguments
    ]
    result = invoke(*given)
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit)
    assert str(file) in words(result) or str(images) in words(result)


@pytest.mark.parametrize('is_kept', [True, False], ids=['kept already', 'no recipe'])
@pytest.mark.parametrize(
    'arguments',
    [
        ['teach', '{images}', '--recipe', '{recipe}'],
        ['train', '{images}', '--recipe', '{recipe}'],
        ['calibrate', '{recipe}', '{images}'],
    ],
    ids=['teach', 'train', 'calibrate'],
)
def test_a_place_that_cannot_take_a_recipe_is_refused_before_the_work(
    taught: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    is_kept: bool,
) -> None:
    images = write_plates(tmp_path / 'images', 12)
    recipe = tmp_path / 'plate'
    if is_kept:
        write_recipe(read_recipe(taught), recipe)
        (tmp_path / 'plate.v1').mkdir()
    else:
        recipe.mkdir()
        (recipe / 'holiday.png').write_bytes(b'sea')
    monkeypatch.setattr(ImageFolder, 'read', lambda _: pytest.fail('an image has been read'))
    result = invoke(*(each.format(images=images, recipe=recipe) for each in arguments))
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit)
    assert ('plate.v1 already exists' if is_kept else 'plate') in words(result)


@pytest.mark.parametrize('value', ['nan', 'inf', '-inf', '-1'])
@pytest.mark.parametrize(
    'option',
    [
        *('teach --speed-budget-ms', 'teach --false-reject-rate', 'calibrate --false-reject-rate'),
        *('run --rate', 'evaluate --region-iou', 'self-test --sizes', 'self-test --contrasts'),
        *('train --learning-rate', 'train --shift-px', 'train --rotation-deg'),
        *('train --brightness', 'train --noise'),
    ],
)
def test_numbers_that_are_none_are_refused_with_the_range(
    taught: Path, tmp_path: Path, option: str, value: str
) -> None:
    command, name = option.split()
    images = write_plates(tmp_path / 'images', 12)
    others = {
        'run': ['--recipe', taught, '--source', images],
        'teach': [images, '--recipe', tmp_path / 'new'],
        'train': [images, '--recipe', taught],
        'evaluate': [taught, images],
    }.get(command, [taught, images])
    result = invoke(command, *others, f'{name}={value}')
    assert result.exit_code == 2, result.output
    assert value in result.output
    assert '<' in result.output or 'allowed' in result.output


def test_a_file_name_cannot_break_the_terminal(tmp_path: Path) -> None:
    assert escaped('a\nb\x1b[31m[red]') == 'a\\nb\\x1b[31m\\[red]'
    assert '\udcff' not in escaped('\udcff.png')
    images = write_plates(tmp_path / 'images', 12)
    cv2.imwrite(str(images / 'odd.png'), np.full((112, 112), 90, np.uint8))
    os.rename(images / 'odd.png', os.fsencode(images) + b'/odd\n\x1b[31m\xff.png')
    # A real process, because a terminal's encoding counts.
    done = subprocess.run(
        [
            *(sys.executable, '-m', 'anomaly_inspection.cli', 'teach', str(images)),
            *('--recipe', str(tmp_path / 'plate'), '--scorer', 'variation', '--no-self-test'),
        ],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    printed = done.stdout + done.stderr
    assert b'odd\\n\\x1b[31m' in printed
    assert b'\x1b[31m' not in printed
    assert b'Traceback' not in printed


# --------------------------------------------------------------------------------------- train


def test_an_interrupted_training_says_how_to_go_on(
    taught: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip('keras')
    from anomaly_inspection.learning import train as training

    write_recipe(read_recipe(taught), tmp_path / 'plate')
    given = ['train', str(tmp_path / 'good'), '--recipe', str(tmp_path / 'plate')]
    monkeypatch.setattr(sys, 'argv', ['anomaly-inspection', *given])

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    write_plates(tmp_path / 'good', 12)
    monkeypatch.setattr(training, 'train', interrupted)
    nothing = invoke(*given)
    assert nothing.exit_code == 130
    assert 'nothing is kept' in words(nothing)
    monkeypatch.setattr(training, 'epochs_kept', lambda folder: 7)
    result = invoke(*given)
    assert result.exit_code == 130
    assert '7 epochs are kept' in words(result)
    assert f'anomaly-inspection {" ".join(given)} --resume' in words(result)


# --------------------------------------------------------------------------------------- build


def test_a_build_that_lacks_a_module_says_so_in_one_line(
    taught: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What an import does whose file was added after the build.
    monkeypatch.setitem(sys.modules, 'anomaly_inspection.evaluation.evaluate', None)
    result = invoke('evaluate', taught, taught)
    assert result.exit_code == 2
    assert 'the build is older than the source' in words(result)
    assert 'anomaly_inspection.evaluation.evaluate' in words(result)


def test_run_without_a_recipe_needs_the_page_that_teaches_one() -> None:
    result = invoke('run', '--source', 'line')
    assert result.exit_code == 2
    assert 'a recipe is needed: name its folder with --recipe, or add --panel' in words(result)
