# SPDX-License-Identifier: Apache-2.0
"""
Training an autoencoder: from frames of good parts to a recipe, through kills and bad input.

"""

from dataclasses import replace
import errno
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip('tensorflow', reason='training needs it, the extra [train]')

from click.testing import CliRunner
import cv2

from anomaly_inspection.capture.open_source import open_source
from anomaly_inspection.cli import main
from anomaly_inspection.errors import FrameError, SettingError
from anomaly_inspection.learning.augmentation import Denoising
from anomaly_inspection.learning.checkpoint import Checkpoint
from anomaly_inspection.learning.fit import Fitting
from anomaly_inspection.learning.search import search
from anomaly_inspection.learning.train import finish, train, TrainingParts
from anomaly_inspection.learning.training_settings import TrainingSettings
from anomaly_inspection.recipes.folder import read_recipe, write_recipe
from support.paths import ROOT
from support.small_recipe import SMALL_LINE

TINY = TrainingSettings(
    'tutorial_260', input_px=16, epochs=4, batch=4, seed=3, denoising=Denoising(lines=1, noise=0.1)
)
TINY_OPTIONS = (
    *('--architecture', 'tutorial_260', '--input-px', '16', '--batch', '4', '--seed', '3'),
    *('--lines', '1', '--noise', '0.1'),
)


@pytest.fixture(scope='module')
def frames():
    with open_source(f'{SMALL_LINE},defect_rate=0,parts=24,seed=5') as line:
        return [(f'{index:02d}.png', line.read().image) for index in range(24)]


@pytest.fixture(scope='module')
def good_folder(frames, tmp_path_factory):
    folder = tmp_path_factory.mktemp('good')
    for name, image in frames:
        cv2.imwrite(str(folder / name), image)
    return folder


@pytest.fixture(scope='module')
def recipe(taught_recipe):
    return read_recipe(taught_recipe)


@pytest.fixture(scope='module')
def trained(recipe, frames, tmp_path_factory):
    folder = tmp_path_factory.mktemp('training') / 'whole'
    return train(recipe, frames, TINY, folder=folder, trained_by='me'), folder


def test_a_trained_recipe_is_written_reads_back_and_scores(trained, recipe, frames, tmp_path):
    written = write_recipe(trained[0], tmp_path / 'small')
    assert [*written.scorers] == [*recipe.scorers, 'autoencoder']
    assert written.preprocessing.fingerprint() == recipe.preprocessing.fingerprint()
    for name in recipe.scorers:
        assert written.scorers[name].limits == recipe.scorers[name].limits
    model = tmp_path / 'small' / 'model' / 'autoencoder'
    assert {file.name for file in model.iterdir()} == {
        *('model.xml', 'model.bin', 'history.csv', 'loss.svg', 'reconstructions.png'),
        'model_card.md',
    }
    (score,) = written.frame_scorer(['autoencoder']).score(frames[0][1])
    assert all(np.isfinite(value) for value in score.measures.values())


def test_limits_come_from_the_images_not_trained_on(trained, recipe, frames):
    parts = TrainingParts.of(recipe, frames, TINY)
    taught, held_out = ({part.name for part in group} for group in (parts.taught, parts.held_out))
    assert not taught & held_out
    assert (len(taught), len(held_out)) == (16, 8)
    scorer = trained[0].scorers['autoencoder']
    fitted = trained[0].frame_scorer(['autoencoder'])
    for part in parts.held_out:
        (score,) = fitted.score(dict(frames)[part.name])
        for measure, value in score.measures.items():
            assert np.isclose(scorer.good[measure], value, rtol=0.01, atol=1e-3).any(), measure


def test_the_training_folder_tells_what_was_done(trained):
    _, folder = trained
    lines = (folder / 'history.csv').read_text().splitlines()
    assert lines[0] == 'epoch,loss,held_out_loss,duration_s'
    assert [line.split(',')[0] for line in lines[1:]] == ['1', '2', '3', '4']
    losses = [float(line.split(',')[1]) for line in lines[1:]]
    assert losses[-1] < losses[0]
    card = (folder / 'model_card.md').read_text()
    for text in ('tutorial_260', '| trained by | me |', 'held out', '| noise | 0.1 |', 'seed | 3'):
        assert text in card
    assert (folder / 'loss.svg').read_text().startswith('<svg')
    assert cv2.imread(str(folder / 'reconstructions.png')) is not None


def test_training_ends_early_and_keeps_the_best_weights(frames):
    images = [cv2.resize(image, (32, 32)) for _, image in frames]
    # So high a rate that the loss goes up again.
    settings = replace(TINY, learning_rate=0.05, epochs=60, patience=2, loss='mse')
    fitting = Fitting(images[:16], images[16:], settings)
    fitting.run(lambda epoch: None)
    losses = [epoch.held_out_loss for epoch in fitting.history]
    assert len(losses) < 60
    assert int(np.argmin(losses)) == len(losses) - 3
    seen, drawn = fitting.reconstructions(images[16:])
    assert float(np.square(seen - drawn).mean()) == pytest.approx(min(losses), rel=1e-4)


def test_the_same_seed_gives_the_same_start_another_does_not(frames):
    images = [cv2.resize(image, (32, 32)) for _, image in frames]

    def start(seed):
        model = Fitting(images[:16], images[16:], replace(TINY, seed=seed)).model
        return np.concatenate([variable.numpy().ravel() for variable in model.variables])

    np.testing.assert_array_equal(start(3), start(3))
    assert np.abs(start(3) - start(4)).max() > 0.01


def test_a_killed_training_goes_on_to_what_it_would_have_been(
    trained, taught_recipe, recipe, frames, good_folder, tmp_path
):
    folder = tmp_path / 'killed'
    command = [sys.executable, '-m', 'anomaly_inspection.cli', 'train', str(good_folder)]
    options = [*TINY_OPTIONS, '--epochs', '100000', '--folder', str(folder)]
    with subprocess.Popen(
        [*command, '--recipe', str(taught_recipe), *options],
        cwd=ROOT,
        env={**os.environ, 'PYTHONUNBUFFERED': '1'},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        lines = []
        try:
            for line in process.stdout:
                lines.append(line)
                if line.startswith('epoch 2 '):
                    break
        finally:
            process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL, lines
    assert read_recipe(taught_recipe).version == recipe.version

    with pytest.raises(
        SettingError, match=r'was not finished \(\d+ epochs\); go on with it by --re'
    ):
        train(recipe, frames, TINY, folder=folder)
    numbers = []
    done = len(Checkpoint.read(folder / 'checkpoint.npz').history)
    settings = replace(TINY, epochs=max(TINY.epochs, done))
    resumed = train(
        recipe,
        frames,
        settings,
        folder=folder,
        resume=True,
        epoch_done=lambda epoch: numbers.append(epoch.number),
    )
    expected = trained[0]
    if settings.epochs > TINY.epochs:
        expected = train(recipe, frames, settings, folder=tmp_path / 'longer')
    else:
        assert 1 not in numbers
        assert numbers[-1] == TINY.epochs
    np.testing.assert_array_equal(
        resumed.scorers['autoencoder'].arrays['model.bin'],
        expected.scorers['autoencoder'].arrays['model.bin'],
    )
    finish(folder)
    assert not (folder / 'checkpoint.npz').exists()


@pytest.fixture(scope='module')
def ended(recipe, frames, tmp_path_factory):
    folder = tmp_path_factory.mktemp('ended')

    def stop(epoch):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(recipe, frames, TINY, folder=folder, epoch_done=stop)
    return folder


@pytest.fixture
def checkpoint(ended, tmp_path):
    """
    The folder of a training that was ended after its first epoch.

    """
    return shutil.copytree(ended, tmp_path / 'training')


def test_only_the_same_training_can_be_gone_on_with(checkpoint, recipe, frames):
    for changes, message in (
        ({'loss': 'mse'}, "loss is 'mse', the training .* was begun with 'ssim'"),
        ({'denoising': Denoising()}, 'denoising is'),
    ):
        with pytest.raises(SettingError, match=message):
            train(recipe, frames, replace(TINY, **changes), folder=checkpoint, resume=True)
    with pytest.raises(SettingError, match=r'the good images, or the preproc.* are not'):
        train(recipe, frames[1:], TINY, folder=checkpoint, resume=True)


def test_a_broken_checkpoint_is_refused(checkpoint, recipe, frames):
    path = checkpoint / 'checkpoint.npz'
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(SettingError, match='is not a readable checkpoint'):
        train(recipe, frames, TINY, folder=checkpoint, resume=True)
    path.unlink()
    with pytest.raises(SettingError, match='there is no training to go on with'):
        train(recipe, frames, TINY, folder=checkpoint, resume=True)


def test_a_full_disk_ends_the_training_and_keeps_the_checkpoint(
    checkpoint, recipe, frames, monkeypatch
):
    before = (checkpoint / 'checkpoint.npz').read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(SettingError, match=r'cannot be written: .*No space left.*--resume'):
        train(recipe, frames, TINY, folder=checkpoint, resume=True)
    assert (checkpoint / 'checkpoint.npz').read_bytes() == before
    assert not [*checkpoint.glob('.*')]


def test_images_that_do_not_do_are_refused(recipe, frames, tmp_path):
    with pytest.raises(SettingError, match='19 good images to train on; needed: at least 20'):
        train(recipe, frames[:19], TINY, folder=tmp_path)
    smaller = [(name, image[:200]) for name, image in frames]
    with pytest.raises(FrameError, match='frame is 320 x 200 px, the recipe wants 320 x 240 px'):
        train(recipe, smaller, TINY, folder=tmp_path)
    with pytest.raises(SettingError, match=r'patch_px is 300; allowed: 0 .* or 16 to 240'):
        train(recipe, frames, replace(TINY, patch_px=300), folder=tmp_path)
    assert not [*tmp_path.iterdir()]


def test_a_loss_that_is_not_finite_ends_the_training(frames, monkeypatch):
    images = [cv2.resize(image, (16, 16)) for _, image in frames]
    fitting = Fitting(images[:16], images[16:], TINY)
    for variable in fitting.model.variables:
        variable.assign(np.full(variable.shape, np.nan))
    with pytest.raises(SettingError, match=r'loss of epoch 1 is nan.*learning_rate below'):
        fitting.run(lambda epoch: None)


def test_patches_are_trained_on_and_scored(recipe, frames, tmp_path):
    settings = replace(TINY, architecture='grid_patch', patch_px=120, epochs=1)
    trained = train(recipe, frames[:20], settings, folder=tmp_path)
    assert trained.scorers['autoencoder'].settings['patch_px'] == 120
    (score,) = trained.frame_scorer(['autoencoder']).score(frames[0][1])
    assert np.isfinite(score.measures['reconstruction_error'])


def test_the_search_finds_settings_and_does_not_run_its_trials_twice(recipe, frames, tmp_path):
    done = []
    settings = replace(TINY, epochs=50)

    def found(storage=''):
        return search(
            recipe,
            frames,
            settings,
            trials=1,
            epochs_each=1,
            folder=tmp_path,
            storage=storage,
            trial_done=done.append,
        )

    best = found()
    (winner,) = done
    assert 0 <= winner.value <= 1
    assert (best.loss, best.learning_rate) == (
        winner.params['loss'],
        winner.params['learning_rate'],
    )
    assert (best.epochs, best.augmentation) == (50, settings.augmentation)
    # Another machine, that is given the same storage.
    assert found(f'sqlite:///{tmp_path / "study.db"}') == best
    assert len(done) == 1


def test_a_storage_that_cannot_be_used_is_named_without_its_password(recipe, frames, tmp_path):
    for storage in ('sqlite:////nowhere/at/all.db', 'nonsense', 'nosql://me:secret@host/trials'):
        with pytest.raises(SettingError, match='storage of the search cannot be used') as caught:
            search(recipe, frames, TINY, trials=1, epochs_each=1, folder=tmp_path, storage=storage)
        assert 'secret' not in str(caught.value)


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_the_command_names_an_image_it_cannot_read(taught_recipe, good_folder, tmp_path):
    folder = tmp_path / 'good'
    folder.mkdir()
    for file in good_folder.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / '07.png').write_bytes(b'not an image')
    result = run('train', folder, '--recipe', taught_recipe, *TINY_OPTIONS)
    assert result.exit_code == 2
    assert '07.png' in result.output


def test_the_command_refuses_settings_before_it_loads_anything(taught_recipe, tmp_path):
    result = run('train', tmp_path, '--recipe', taught_recipe, '--architecture', 'unet')
    assert result.exit_code == 2
    assert "architecture is 'unet'; allowed: tutorial_260" in ' '.join(result.output.split())


def test_the_command_trains_and_writes_the_next_version(
    recipe, taught_recipe, good_folder, tmp_path
):
    mine = write_recipe(recipe, tmp_path / recipe.name)
    result = run(
        'train', good_folder, '--recipe', mine.path, *TINY_OPTIONS, '--epochs', 1
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert 'epoch 1 of at most 1: loss' in result.output
    written = read_recipe(mine.path)
    assert written.version == mine.version + 1
    assert 'autoencoder' in written.scorers
    assert not (tmp_path / f'{recipe.name}.training' / 'checkpoint.npz').exists()


def test_the_command_says_what_is_missing_where_nothing_can_be_trained(
    taught_recipe, good_folder, monkeypatch
):
    # As Python has it for a module that cannot be imported.
    monkeypatch.setitem(sys.modules, 'anomaly_inspection.learning.search', None)
    result = run('train', good_folder, '--recipe', taught_recipe, *TINY_OPTIONS, '--search', 1)
    assert result.exit_code == 2
    assert "pip install 'anomaly_inspection[train]'" in ' '.join(result.output.split())


def test_the_command_itself_does_not_load_tensorflow():
    code = 'import sys, anomaly_inspection.cli, anomaly_inspection.learning.teach as t; '
    code += 'print([m for m in ("tensorflow", "keras", "optuna", "openvino") if m in sys.modules])'
    found = subprocess.run(
        [sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == '[]'
