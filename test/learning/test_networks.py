# SPDX-License-Identifier: Apache-2.0
"""
The autoencoders themselves: architectures, losses, export.

"""

import numpy as np
import pytest

pytest.importorskip('tensorflow', reason='networks need it, the extra [train]')

import keras
import tensorflow

from anomaly_inspection.errors import SettingError
from anomaly_inspection.learning.architectures import _unpooled, build, BUILDERS
from anomaly_inspection.learning.export import exported
from anomaly_inspection.learning.losses import LOSS_FUNCTIONS
from anomaly_inspection.learning.training_settings import LOSSES, NETS
from anomaly_inspection.scoring.model import Autoencoder

# Of the systems before this one, batch normalisation included.
PARAMETERS = {
    ('tutorial_260', 128, 3): 52_067,
    ('mvtec_cae', 256, 1): 746_210,
    ('baseline_cae', 256, 1): 712_197,
    ('inception_cae', 256, 1): 11_521_797,
    ('skip_cae', 256, 1): 2_967_041,
    ('my_cae', 256, 1): 139_329,
    ('my_cae_optuna', 256, 1): 2_216_193,
    ('grid_patch', 128, 3): 38_723,
}


@pytest.mark.parametrize(('name', 'side_px', 'channels'), PARAMETERS)
def test_nets_have_as_many_parameters_as_the_original(name, side_px, channels):
    model = build(name, side_px, channels)
    assert model.count_params() == PARAMETERS[name, side_px, channels]


@pytest.mark.parametrize(
    ('side_px', 'latent', 'millions'), [(128, 0, 1.05), (256, 0, 2.72), (128, 100, 1.05)]
)
def test_the_ssim_autoencoder_is_as_large_as_published(side_px, latent, millions):
    model = build('ssim_autoencoder', side_px, 3, latent)
    assert model.count_params() / 1e6 == pytest.approx(millions, abs=0.005)
    assert model.output['latent'].shape[1] == {128: 100, 256: 500}[side_px]


@pytest.mark.parametrize(
    ('name', 'channels'),
    [(name, 1 + 2 * (place % 2)) for place, name in enumerate(NETS) if name != 'skip_cae'],
)
def test_nets_draw_an_image_like_their_input(name, channels):
    side_px = NETS[name].sides_px[0]
    model = build(name, side_px, channels)
    image = np.random.default_rng(1).random((2, side_px, side_px, channels), np.float32)
    drawn = model(image)
    assert set(drawn) == {'reconstruction', 'latent'}
    assert drawn['reconstruction'].shape == image.shape
    assert drawn['latent'].shape[0] == 2
    assert 0 <= drawn['reconstruction'].numpy().min() <= drawn['reconstruction'].numpy().max() <= 1


def test_every_net_and_loss_that_can_be_asked_for_is_there():
    assert {*BUILDERS} == {*NETS}
    assert {*LOSS_FUNCTIONS} == {*LOSSES}
    for builder in BUILDERS.values():
        assert 'Source:' in builder.__doc__


def test_a_size_that_a_net_cannot_have_is_refused():
    with pytest.raises(SettingError, match='input_px of skip_cae is 128; allowed: 256, 512'):
        build('skip_cae', 128, 1)
    with pytest.raises(SettingError, match='architecture'):
        build('unet', 128, 1)


def test_unpooling_puts_values_where_the_maxima_were():
    before = np.array([[1, 5, 0, 0], [2, 3, 0, 0], [7, 7, 4, 1], [7, 7, 2, 9]], np.float32)
    pooled = np.array([[10, 20], [30, 40]], np.float32)
    found = _unpooled(
        pooled[None, :, :, None], keras.ops.convert_to_tensor(before[None, ..., None])
    )
    expected = [[0, 10, 20, 0], [0, 0, 0, 0], [30, 0, 0, 0], [0, 0, 0, 40]]
    np.testing.assert_array_equal(found[0, ..., 0], expected)


def pair(side_px=64, channels=3, seed=1):
    rng = np.random.default_rng(seed)
    smooth = np.cumsum(rng.normal(0, 0.05, (2, side_px, side_px, channels)), axis=1)
    one = np.clip(0.5 + smooth, 0, 1)
    other = np.clip(one + rng.normal(0, 0.05, one.shape), 0, 1)
    return one.astype(np.float32), other.astype(np.float32)


@pytest.mark.parametrize('channels', [1, 3])
def test_ssim_is_that_of_scikit_image(channels):
    metrics = pytest.importorskip('skimage.metrics')
    one, other = pair(channels=channels)
    expected = [
        metrics.structural_similarity(
            a, b, data_range=1.0, channel_axis=2, gaussian_weights=True, sigma=1.5,
            use_sample_covariance=False,
        )
        for a, b in zip(one, other, strict=True)
    ]  # fmt: skip
    found = 1 - LOSS_FUNCTIONS['ssim'](one, other).numpy()
    assert 0.05 < np.min(expected) < np.max(expected) < 0.97
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_ms_ssim_is_that_of_tensorflow():
    one, other = pair(side_px=176)
    expected = tensorflow.image.ssim_multiscale(one, other, 1.0).numpy()
    np.testing.assert_allclose(1 - LOSS_FUNCTIONS['ms_ssim'](one, other), expected, atol=2e-3)


@pytest.mark.parametrize('name', LOSSES)
def test_a_loss_is_0_for_the_same_image_and_grows_with_noise(name):
    one, other = pair(side_px=32)
    loss = LOSS_FUNCTIONS[name]
    np.testing.assert_allclose(loss(one, one), 0, atol=1e-5)
    milder = one + 0.3 * (other - one)
    assert (loss(one, milder).numpy() > 0).all()
    assert (loss(one, milder).numpy() < loss(one, other).numpy()).all()


@pytest.mark.parametrize('name', LOSSES)
def test_a_loss_has_a_slope_everywhere(name):
    one, _ = pair(side_px=64)
    drawn = tensorflow.Variable(1 - one)
    with tensorflow.GradientTape() as tape:
        loss = tensorflow.reduce_mean(LOSS_FUNCTIONS[name](one, drawn))
    slope = tape.gradient(loss, drawn).numpy()
    assert np.isfinite(slope).all()
    assert np.abs(slope).max() > 0


def test_only_with_l1_ssim_sees_another_plain_colour():
    one, other = (np.full((1, 32, 32, 3), level, np.float32) for level in (0.5, 0.6))
    assert LOSS_FUNCTIONS['ssim_l1'](one, other)[0] > 5 * LOSS_FUNCTIONS['ssim'](one, other)[0]


@pytest.mark.parametrize(
    ('name', 'side_px', 'channels'),
    [('baseline_cae', 64, 1), ('grid_patch', 16, 3), ('ssim_autoencoder', 128, 3)],
)
def test_the_exported_model_gives_what_the_keras_model_gives(name, side_px, channels):
    keras.utils.set_random_seed(1)
    model = build(name, side_px, channels)
    rng = np.random.default_rng(1)
    for variable in model.variables:
        if 'moving' in variable.path:
            variable.assign(rng.uniform(0.2, 0.4, variable.shape))
        elif 'kernel' in variable.path:
            variable.assign(1.5 * variable)
    network = Autoencoder.from_arrays(exported(model, name, 'a1' * 32))
    assert network.preprocessing_fingerprint == 'a1' * 32
    assert (network.side_px, network.channels) == (side_px, channels)
    image = rng.random((side_px, side_px, channels), np.float32)
    expected = model(image[None], training=False)
    drawn, latent = network.run(image)
    np.testing.assert_allclose(drawn, expected['reconstruction'][0], atol=1e-4)
    np.testing.assert_allclose(latent, expected['latent'][0], atol=1e-4)
    assert np.std(drawn) > 1e-4
