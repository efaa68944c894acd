# SPDX-License-Identifier: Apache-2.0
"""
Settings of a training, and what a network sees of the good parts; no TensorFlow.

"""

from dataclasses import replace

import click
import numpy as np
import pytest

from anomaly_inspection.cli import main
from anomaly_inspection.errors import SettingError
from anomaly_inspection.imaging.net_input import net_input
from anomaly_inspection.learning.augmentation import Augmentation, Denoising, spoiled, varied
from anomaly_inspection.learning.training_data import plain_batches, spoiled_batches
from anomaly_inspection.learning.training_settings import LOSSES, NETS, TrainingSettings

STILL = Augmentation(shift_px=0, rotation_deg=0, brightness=0)


def textured(shape=(60, 80), seed=1):
    return np.random.default_rng(seed).integers(20, 200, shape, np.uint8)


@pytest.mark.parametrize('shape', [(60, 80), (60, 80, 3)])
def test_without_augmentation_the_image_stays_as_it_is(shape):
    image = textured(shape)
    np.testing.assert_array_equal(varied(image, STILL, np.random.default_rng(1)), image)


def test_a_patch_is_cut_from_the_image_as_it_is():
    image = textured()
    patches = [varied(image, STILL, np.random.default_rng(seed), 20) for seed in range(30)]
    windows = np.lib.stride_tricks.sliding_window_view(image, (20, 20))
    for patch in patches:
        assert (windows == patch).all(axis=(2, 3)).any()
    assert len({patch.tobytes() for patch in patches}) > 25


def test_the_default_moves_a_part_by_no_more_than_a_pixel_and_never_mirrors_it():
    image = np.zeros((101, 101), np.uint8)
    image[40:45, 30:35] = 200
    for seed in range(50):
        found = varied(image, Augmentation(rotation_deg=0), np.random.default_rng(seed))
        rows, columns = np.indices(found.shape)
        weights = found / found.sum()
        assert abs((rows * weights).sum() - 42) <= 1.01
        assert abs((columns * weights).sum() - 32) <= 1.01
        assert abs(int(found.max()) - 200) <= 4


def test_each_setting_allows_what_it_says():
    image = textured()
    rng = np.random.default_rng(3)
    brighter = varied(image, replace(STILL, brightness=0.2), rng)
    gain = brighter[image > 50] / image[image > 50]
    assert gain.std() < 0.02
    assert 0.8 <= gain.mean() <= 1.2
    assert gain.mean() != pytest.approx(1, abs=0.01)
    flips = {
        varied(image, replace(STILL, flips=True), np.random.default_rng(s)).tobytes()
        for s in range(40)
    }
    assert flips == {
        one.tobytes() for one in (image, image[::-1], image[:, ::-1], image[::-1, ::-1])
    }
    turned = varied(image, replace(STILL, rotation_deg=20), rng)
    assert np.abs(turned.astype(int) - image).mean() > 10


def test_spoiled_inputs_stay_in_range_and_leave_the_target_alone():
    target = net_input(textured((40, 40, 3)), 32)
    before = target.copy()
    found = spoiled(target, Denoising(lines=3, noise=0.5, blocks=2), np.random.default_rng(1))
    np.testing.assert_array_equal(target, before)
    assert found.dtype == np.float32
    assert 0 <= found.min() < found.max() <= 1


@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize('kind', ['lines', 'blocks'])
def test_lines_and_blocks_spoil_a_part_of_the_input(kind, channels):
    target = np.full((64, 64, channels), 0.5, np.float32)
    found = spoiled(target, Denoising(**{kind: 2}), np.random.default_rng(1))
    share = (found != target).any(axis=2).mean()
    assert 0 < share < 0.2


def test_noise_has_the_deviation_asked_for():
    target = np.full((64, 64, 1), 0.5, np.float32)
    found = spoiled(target, Denoising(noise=0.1), np.random.default_rng(1))
    assert (found - target).std() == pytest.approx(0.1, rel=0.05)


def small(**changes):
    return TrainingSettings('tutorial_260', input_px=16, **changes)


def test_epochs_differ_from_each_other_but_not_from_themselves():
    images = [textured(seed=seed) for seed in range(5)]
    settings = small(denoising=Denoising(lines=2, noise=0.05), batch=2)

    def epoch(number, **changes):
        batches = list(spoiled_batches(images, replace(settings, **changes), number))
        assert [len(inputs) for inputs, _ in batches] == [2, 2, 1]
        return np.concatenate([np.concatenate(batch) for batch in batches])

    np.testing.assert_array_equal(epoch(1), epoch(1))
    for other in (epoch(2), epoch(1, seed=7)):
        assert np.abs(epoch(1) - other).max() > 0.1


def test_every_image_is_in_every_epoch():
    images = [np.full((20, 20), level, np.uint8) for level in range(0, 250, 50)]
    settings = small(augmentation=STILL, batch=4)
    targets = np.concatenate([target for _, target in spoiled_batches(images, settings, 1)])
    found = sorted(255 * targets.mean(axis=(1, 2, 3)))
    np.testing.assert_allclose(found, range(0, 250, 50), atol=1e-3)


def test_patches_cover_the_whole_image():
    image = np.zeros((50, 70), np.uint8)
    settings = small(patch_px=32, batch=100)
    patches = next(plain_batches([image], settings))
    assert patches.shape == (6, 16, 16, 1)
    for row in range(50):
        for column in (0, 31, 32, 69):
            marked = image.copy()
            marked[row, column] = 255
            assert next(plain_batches([marked], settings)).any(), (row, column)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'architecture': 'unet'}, 'architecture is .unet.; allowed: tutorial_260'),
        ({'input_px': 100}, 'input_px of ssim_autoencoder is 100; allowed: 128, 256'),
        (
            {'architecture': 'mvtec_cae', 'input_px': 100},
            'is 100; allowed: multiples of 32 from 64 to 512',
        ),
        ({'architecture': 'my_cae', 'latent': 9}, 'latent is 9; allowed: 0'),
        ({'latent': 5000}, 'latent is 5000; allowed: an integer from 2 to 4096'),
        ({'loss': 'bce'}, 'loss is .bce.; allowed: mse, ssim'),
        ({'patch_px': 8}, 'patch_px is 8; allowed: an integer from 16'),
        ({'epochs': 0}, 'epochs is 0'),
        ({'learning_rate': float('nan')}, 'learning_rate is nan'),
        ({'batch': 2.5}, 'batch is 2.5'),
        ({'seed': -1}, 'seed is -1'),
    ],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(SettingError, match=message):
        TrainingSettings(**changes)


@pytest.mark.parametrize(
    ('kind', 'changes'),
    [
        *((Augmentation, {key: -1.0}) for key in ('shift_px', 'rotation_deg', 'brightness')),
        *((Denoising, {key: 99}) for key in ('lines', 'noise', 'blocks', 'block_share')),
    ],
)
def test_augmentation_out_of_range_is_refused(kind, changes):
    with pytest.raises(SettingError, match=f'{next(iter(changes))} is .*; allowed'):
        kind(**changes)


def test_every_net_can_be_asked_for():
    for name, net in NETS.items():
        assert TrainingSettings(name).side_px == net.side_px in net.sides_px


def test_the_command_offers_what_there_is_with_the_same_defaults():
    options = {option.name: option for option in main.commands['train'].params}
    settings = TrainingSettings()
    parts = {**vars(settings), **vars(settings.augmentation), **vars(settings.denoising)}
    shared = set(parts) & set(options)
    assert {'architecture', 'loss', 'learning_rate', 'shift_px', 'noise', 'patience'} <= shared
    context = click.Context(main.commands['train'])
    assert {name: options[name].get_default(context) for name in shared} == {
        name: parts[name] for name in shared
    }
    for name in NETS:
        assert name in options['architecture'].help
    for name in LOSSES:
        assert name in options['loss'].help
