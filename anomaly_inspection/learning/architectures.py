# SPDX-License-Identifier: Apache-2.0
"""
The family of convolutional autoencoders, by name, as Keras models.

In the layer tables C3-64 is a convolution of 3x3 pixels to 64 channels that keeps the size, s2 one
that halves it, T4-32 a transposed convolution that doubles it, D-64 a dense layer, BN batch
normalisation, pool2 a maximum over 2x2 pixels, up2 each pixel twice in both directions; `out` is
the number of channels of the image, 1 or 3. The last layer is a sigmoid, so reconstructions lie in
0..1. Sizes and parameters are for the first named input, gray unless said otherwise; parameters
include the statistics of batch normalisation.

"""

from __future__ import annotations

from typing import Any, TYPE_CHECKING

import keras
from keras import layers, ops, regularizers

from anomaly_inspection.learning.training_settings import check_net, NETS

if TYPE_CHECKING:
    from collections.abc import Callable

RECONSTRUCTION, LATENT = 'reconstruction', 'latent'


def build(name: str, side_px: int, channels: int, latent: int = 0) -> keras.Model:
    """
    Make an untrained net.

    Parameters
    ----------
    name : str
        One of `NETS`.
    side_px : int
        Side of the square input, pixels; each net has its own allowed sizes.
    channels : int
        1 gray or 3 BGR.
    latent : int
        Length of the latent vector, for nets that leave a choice; 0 = as published.

    Returns
    -------
    keras.Model
        Input (n, side_px, side_px, channels) float32 0..1. Outputs: 'reconstruction', of that
        shape, and 'latent', (n, length).

    Raises
    ------
    SettingError
        When the net is unknown or cannot have that size or latent vector.

    """
    check_net(name, side_px, latent)
    image = keras.Input((side_px, side_px, channels), name='image')
    latents = NETS[name].latents
    if latents:
        encoded, decoded = ssim_autoencoder(image, latent or latents[side_px])
    else:
        encoded, decoded = BUILDERS[name](image)
    outputs = {RECONSTRUCTION: decoded, LATENT: layers.Flatten(name=LATENT)(encoded)}
    return keras.Model(image, outputs, name=name)


def tutorial_260(image: Any) -> tuple[Any, Any]:
    """
    Net of tutorial 260 and of the system with the ESP32.

    ======= ============================================================ =======================
    encoder C3-64, pool2, C3-32, pool2, C3-16, pool2                     relu
    latent  16x16x16                                                     4096
    decoder C3-16, up2, C3-32, up2, C3-64, up2, C3-out                   relu
    ======= ============================================================ =======================

    Input 128 px BGR; any multiple of 8. 52,067 parameters.
    Source: tutorial 260 of Python for Microscopists.

    """
    x = image
    for filters in (64, 32, 16):
        x = layers.MaxPooling2D()(_conv(x, filters, 3, 'relu'))
    encoded = x
    for filters in (16, 32, 64):
        x = layers.UpSampling2D()(_conv(x, filters, 3, 'relu'))
    return encoded, _image(x, image, 3)


def mvtec_cae(image: Any) -> tuple[Any, Any]:
    """
    Net called mvtecCAE: Bergmann's as many have copied it, upsampling and halving in turn.

    ======= ============================================================ =======================
    encoder C4-32 s2, C4-32 s2, C4-32 s2, C3-32, C4-64 s2, C3-64,        relu
            C4-128 s2, C3-64, C3-32, C8-1                                the last linear
    latent  8x8x1                                                        64
    decoder C3-32, C3-64, up2, C4-128 s2, up2, C3-64, up2, C4-64 s2,     relu
            up2, C3-32, up2, C4-32 s2, up4, C4-32 s2, up2, C8-32, up2,
            C8-out
    ======= ============================================================ =======================

    Input 256 px; multiples of 32. 746,210 parameters, 337,889 of them in the encoder.
    Source: Bergmann et al., doi:10.5220/0007364503720380, as transcribed by AiVision.

    """
    x = image
    for filters, size_px, stride in (
        *((32, 4, 2), (32, 4, 2), (32, 4, 2), (32, 3, 1), (64, 4, 2)),
        *((64, 3, 1), (128, 4, 2), (64, 3, 1), (32, 3, 1)),
    ):
        x = _conv(x, filters, size_px, 'relu', stride)
    encoded = _conv(x, 1, 8)
    x = _conv(_conv(encoded, 32, 3, 'relu'), 64, 3, 'relu')
    for grown, filters, size_px, stride in (
        *((2, 128, 4, 2), (2, 64, 3, 1), (2, 64, 4, 2), (2, 32, 3, 1)),
        *((2, 32, 4, 2), (4, 32, 4, 2), (2, 32, 8, 1)),
    ):
        x = _conv(layers.UpSampling2D(grown)(x), filters, size_px, 'relu', stride)
    return encoded, _image(layers.UpSampling2D()(x), image, 8)


def baseline_cae(image: Any) -> tuple[Any, Any]:
    """
    Net called baselineCAE.

    ======= ============================================================ =======================
    encoder 6 x [C3-f, BN, pool2], f = 32, 32, 64, 64, 128, 128          LReLU .1, L2 1e-6
    latent  D-64                                                         64, LReLU .1
    decoder reshape 4x4x4, 6 x [C3-f, BN, up2],                          LReLU .1, L2 1e-6
            f = 128, 128, 64, 64, 32, 32; C3-out, BN
    ======= ============================================================ =======================

    Input 256 px; 64, 128, 256 or 512. 712,197 parameters, 419,360 of them in the encoder.
    Source: the collection of autoencoders that AiVision stands on.

    """
    x = image
    for filters in (32, 32, 64, 64, 128, 128):
        x = layers.MaxPooling2D()(_normalised(x, filters, 3))
    grid = x.shape[1]
    encoded = layers.LeakyReLU(0.1)(layers.Dense(64)(layers.Flatten()(x)))
    x = layers.Reshape((grid, grid, 64 // grid**2))(encoded)
    for filters in (128, 128, 64, 64, 32, 32):
        x = layers.UpSampling2D()(_normalised(x, filters, 3))
    return encoded, _normalised_image(x, image)


def inception_cae(image: Any) -> tuple[Any, Any]:
    """
    Net called inceptionCAE: every layer sees at several scales at once.

    ======= ============================================================ =======================
    block f C1-f, C3-f, C5-f and [maximum over 3x3, C1-f] side by side,  LReLU .1, L2 1e-6
            each with BN: 4 f channels
    encoder 6 x [block f, pool2], f = 32, 32, 64, 64, 128, 128
    latent  4x4x512                                                      8192
    decoder 6 x [block f, up2], f = 128, 128, 64, 64, 32, 32;
            C3-out, BN
    ======= ============================================================ =======================

    Input 256 px; multiples of 64. 11,521,797 parameters, 4,581,248 of them in the encoder.
    Source: as `baseline_cae`.

    """
    x = image
    for filters in (32, 32, 64, 64, 128, 128):
        x = layers.MaxPooling2D()(_inception(x, filters))
    encoded = x
    for filters in (128, 128, 64, 64, 32, 32):
        x = layers.UpSampling2D()(_inception(x, filters))
    return encoded, _normalised_image(x, image)


def resnet_cae(image: Any) -> tuple[Any, Any]:
    """
    Net called resnetCAE: an encoder as ResNet-18 with pre-activation.

    ======= ============================================================ =======================
    encoder C7-64 s2, BN, maximum over 3x3 s2, 2 x block 64,             relu, L2 1e-4
            2 x block 128, 2 x block 256, 2 x block 512, C1-512, C1-512
    block f BN, C3-f, BN, C3-f, added to its input (through C1-f where
            the shape changes); the first of 128, 256 and 512 with s2
    latent  8x8x512                                                      32,768
    decoder 4 x [T4-f, BN, C3-f, BN, C3-f, added to the output of T4-f], relu
            f = 512, 256, 128, 64; T4-out
    ======= ============================================================ =======================

    Input 256 px; multiples of 32. 24,929,857 parameters. The original concatenates its shortcuts
    and drops a branch of the last stage; here they are added, as in a ResNet (He et al.,
    doi:10.1007/978-3-319-46493-0_38).
    Source: as `baseline_cae`.

    """
    x = layers.ReLU()(layers.BatchNormalization()(_residual_conv(image, 64, 7, 2)))
    x = layers.MaxPooling2D(3, 2, padding='same')(x)
    for filters in (64, 128, 256, 512):
        x = _residual(x, filters, 1 if filters == 64 else 2)
        x = _residual(x, filters, 1)
    for _ in range(2):
        x = layers.ReLU()(_residual_conv(x, 512, 1))
    encoded = x
    for filters in (512, 256, 128, 64):
        grown = layers.Conv2DTranspose(filters, 4, 2, padding='same')(x)
        x = grown
        for _ in range(2):
            x = layers.ReLU()(layers.BatchNormalization()(x))
            x = layers.Conv2D(filters, 3, padding='same')(x)
        x = layers.Add()([grown, x])
    return encoded, _transposed_image(x, image)


def skip_cae(image: Any) -> tuple[Any, Any]:
    """
    Net called skipCAE: two layers of the encoder are handed on to the decoder.

    ======= ============================================================ =======================
    encoder 8 x C3-f s2, f = 32, 32, 64, 64, 128, 128, 256, 256          LReLU .3
    latent  D-64                                                         64, relu
    decoder D-256, reshape 1x1x256, T3-256 of the same size,             LReLU .3
            T3-256, T3-128, T3-128 + the 5th of the encoder, BN,
            T3-64, T3-64 + the 3rd of the encoder, BN, T3-32, T3-32,
            T3-out
    ======= ============================================================ =======================

    Input 256 px; 256 or 512. 2,967,041 parameters, 1,188,128 of them in the encoder. What is
    handed on holds the defect as well: it copies more than the others do.
    Source: as `baseline_cae`.

    """
    taps = []
    x = image
    for filters in (32, 32, 64, 64, 128, 128, 256, 256):
        x = layers.LeakyReLU(0.3)(_conv(x, filters, 3, stride=2))
        taps.append(x)
    shape = x.shape[1:]
    encoded = layers.Dense(64, activation='relu')(layers.Flatten()(x))
    x = layers.Dense(shape[0] * shape[1] * shape[2])(encoded)
    x = layers.LeakyReLU(0.3)(layers.Reshape(shape)(x))
    for filters, stride, tap in (
        *((256, 1, None), (256, 2, None), (128, 2, None), (128, 2, 4)),
        *((64, 2, None), (64, 2, 2), (32, 2, None), (32, 2, None)),
    ):
        x = layers.Conv2DTranspose(filters, 3, stride, padding='same')(x)
        if tap is None:
            x = layers.LeakyReLU(0.3)(x)
        else:
            x = layers.LeakyReLU(0.3)(layers.Add()([x, taps[tap]]))
            x = layers.BatchNormalization()(x)
    return encoded, _transposed_image(x, image, 3)


def my_cae(image: Any, filters: int = 32) -> tuple[Any, Any]:
    """
    Net called myCAE.

    ======= ============================================================ =======================
    encoder 4 x [C3-32, C3-32, pool2]                                    relu
    latent  16x16x32                                                     8192
    decoder 4 x [C3-32, C3-32, up2], C3-out                              relu
    ======= ============================================================ =======================

    Input 256 px; multiples of 16. 139,329 parameters, 65,056 of them in the encoder.
    Source: AiVision.

    """
    x = image
    for _ in range(4):
        x = layers.MaxPooling2D()(_conv(_conv(x, filters, 3, 'relu'), filters, 3, 'relu'))
    encoded = x
    for _ in range(4):
        x = layers.UpSampling2D()(_conv(_conv(x, filters, 3, 'relu'), filters, 3, 'relu'))
    return encoded, _image(x, image, 3)


def my_cae_optuna(image: Any) -> tuple[Any, Any]:
    """
    Net called myCAE_optuna: `my_cae` with 128 channels in the place of 32, found by a search.

    Input 256 px; multiples of 16. Latent 16x16x128 = 32,768. 2,216,193 parameters.
    Source: AiVision.

    """
    return my_cae(image, filters=128)


def grid_patch(image: Any) -> tuple[Any, Any]:
    """
    Patch net of the grid system: shallow, and told where each maximum lay.

    ======= ============================================================ =======================
    encoder C3-32, pool2, dropout .5, C3-64, pool2, dropout .5           relu
    latent  32x32x64                                                     65,536
    decoder unpool2, C3-32, dropout .5, unpool2, C3-out                  linear
    ======= ============================================================ =======================

    unpool2 puts each value where the maximum of the encoder's pool2 was found, 0 elsewhere.
    Input 128 px BGR, a patch of a larger image; any multiple of 4. 38,723 parameters.
    Source: the grid system.

    """
    wide = _conv(image, 32, 3, 'relu')
    narrow = _conv(layers.Dropout(0.5)(layers.MaxPooling2D()(wide)), 64, 3, 'relu')
    encoded = layers.Dropout(0.5)(layers.MaxPooling2D()(narrow))
    x = layers.Dropout(0.5)(_conv(_unpooled(encoded, narrow), 32, 3))
    return encoded, _image(_unpooled(x, wide), image, 3)


def ssim_autoencoder(image: Any, latent: int) -> tuple[Any, Any]:
    """
    Bergmann's autoencoder, made for the SSIM loss.

    ======= ============================================================ =======================
    encoder C4-32 s2, C4-32 s2, C4-32 s2, C3-32, C4-64 s2, C3-64,        LReLU .2
            C4-128 s2, C3-64, C3-32, C8-500 to 1x1                       the last linear
    latent  1x1x500                                                      500
    decoder T8-32 from 1x1 to 8x8, C3-64, C3-128, T4-64, C3-64, T4-32,   LReLU .2
            C3-32, T4-32, T4-32, T4-out
    ======= ============================================================ =======================

    Input 256 px; at 128 px one C4-32 s2 and one T4-32 less, and 100 latent values. 2.72 million
    parameters at 256 px BGR, 1.05 million at 128 px BGR.
    Source: Bergmann et al., doi:10.5220/0007364503720380, table of the supplement.

    """
    is_large = image.shape[1] == 256
    x = image
    for filters, size_px, stride in (
        *((32, 4, 2),) * (3 if is_large else 2),
        *((32, 3, 1), (64, 4, 2), (64, 3, 1), (128, 4, 2), (64, 3, 1), (32, 3, 1)),
    ):
        x = layers.LeakyReLU(0.2)(_conv(x, filters, size_px, stride=stride))
    encoded = layers.Conv2D(latent, 8)(x)
    x = layers.LeakyReLU(0.2)(layers.Conv2DTranspose(32, 8)(encoded))
    for filters, stride in (
        *((64, 1), (128, 1), (64, 2), (64, 1), (32, 2), (32, 1)),
        *((32, 2),) * (2 if is_large else 1),
    ):
        grown = (
            _conv(x, filters, 3)
            if stride == 1
            else layers.Conv2DTranspose(filters, 4, 2, padding='same')(x)
        )
        x = layers.LeakyReLU(0.2)(grown)
    return encoded, _transposed_image(x, image)


BUILDERS: dict[str, Callable[..., tuple[Any, Any]]] = {
    builder.__name__: builder
    for builder in (
        *(tutorial_260, mvtec_cae, baseline_cae, inception_cae, resnet_cae),
        *(skip_cae, my_cae, my_cae_optuna, grid_patch, ssim_autoencoder),
    )
}


def _conv(
    x: Any, filters: int, size_px: int, activation: str | None = None, stride: int = 1
) -> Any:
    return layers.Conv2D(filters, size_px, stride, padding='same', activation=activation)(x)


def _image(x: Any, image: Any, size_px: int) -> Any:
    channels = image.shape[-1]
    return layers.Conv2D(
        channels, size_px, padding='same', activation='sigmoid', name=RECONSTRUCTION
    )(x)


def _transposed_image(x: Any, image: Any, size_px: int = 4) -> Any:
    channels = image.shape[-1]
    return layers.Conv2DTranspose(
        channels, size_px, 2, padding='same', activation='sigmoid', name=RECONSTRUCTION
    )(x)


def _normalised_image(x: Any, image: Any) -> Any:
    x = layers.BatchNormalization()(_conv(x, image.shape[-1], 3))
    return layers.Activation('sigmoid', name=RECONSTRUCTION)(x)


def _normalised(x: Any, filters: int, size_px: int) -> Any:
    convolution = layers.Conv2D(
        filters, size_px, padding='same', kernel_regularizer=regularizers.L2(1e-6)
    )
    return layers.LeakyReLU(0.1)(layers.BatchNormalization()(convolution(x)))


def _inception(x: Any, filters: int) -> Any:
    highest = layers.MaxPooling2D(3, 1, padding='same')(x)
    branches = [_normalised(x, filters, size_px) for size_px in (1, 3, 5)]
    return layers.Concatenate()([*branches, _normalised(highest, filters, 1)])


def _residual_conv(x: Any, filters: int, size_px: int, stride: int = 1) -> Any:
    return layers.Conv2D(
        filters,
        size_px,
        stride,
        padding='same',
        kernel_initializer='he_normal',
        kernel_regularizer=regularizers.L2(1e-4),
    )(x)


def _residual(x: Any, filters: int, stride: int) -> Any:
    active = layers.ReLU()(layers.BatchNormalization()(x))
    has_other_shape = stride > 1 or x.shape[-1] != filters
    shortcut = _residual_conv(active, filters, 1, stride) if has_other_shape else x
    y = _residual_conv(active, filters, 3, stride)
    y = layers.ReLU()(layers.BatchNormalization()(y))
    return layers.Add()([shortcut, _residual_conv(y, filters, 3)])


def _unpooled(x: Any, before: Any) -> Any:
    """
    Put each value where the maximum of its 2x2 pixels of `before` lies, the first of equal ones.

    """
    height, width, channels = before.shape[1:]
    windows = ops.reshape(before, (-1, height // 2, 2, width // 2, 2, channels))
    windows = ops.transpose(windows, (0, 1, 3, 5, 2, 4))
    windows = ops.reshape(windows, (-1, height // 2, width // 2, channels, 4))
    # Not by argmax, which OpenVINO cannot take over.
    highest = ops.max(windows, axis=-1, keepdims=True)
    is_highest = ops.cast(ops.equal(windows, highest), 'float32')
    is_first = is_highest * ops.cast(ops.equal(ops.cumsum(is_highest, axis=-1), 1.0), 'float32')
    spread = ops.expand_dims(x, -1) * is_first
    spread = ops.reshape(spread, (-1, height // 2, width // 2, channels, 2, 2))
    return ops.reshape(ops.transpose(spread, (0, 1, 4, 2, 5, 3)), (-1, height, width, channels))
