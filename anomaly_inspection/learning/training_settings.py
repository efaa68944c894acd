# SPDX-License-Identifier: Apache-2.0
"""
The settings of a training and their ranges; needs no TensorFlow.

"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
import hashlib
import json

from anomaly_inspection.errors import SettingError
from anomaly_inspection.learning.augmentation import Augmentation, Denoising
from anomaly_inspection.setting_check import check_choice, check_integer, check_number

LOSSES = ('mse', 'ssim', 'ms_ssim', 'ssim_l1')


@dataclass(frozen=True)
class Net:
    """
    What inputs a net can have.

    Parameters
    ----------
    sides_px : sequence of int
        Allowed sides of the square input, in ascending order.
    side_px : int
        The side it was made for.
    latents : dict of int to int
        Length of the latent vector by side, where the net leaves a choice; else empty.

    """

    sides_px: range | tuple[int, ...]
    side_px: int
    latents: dict[int, int] = field(default_factory=dict)

    def allowed_sides(self) -> str:
        """
        Say which sides are allowed.

        """
        if isinstance(self.sides_px, range):
            first, last, step = self.sides_px[0], self.sides_px[-1], self.sides_px.step
            return f'multiples of {step} from {first} to {last}'
        return ', '.join(map(str, self.sides_px))


NETS = {
    'tutorial_260': Net(range(16, 513, 8), 128),
    'mvtec_cae': Net(range(64, 513, 32), 256),
    'baseline_cae': Net((64, 128, 256, 512), 256),
    'inception_cae': Net(range(64, 513, 64), 256),
    'resnet_cae': Net(range(64, 513, 32), 256),
    'skip_cae': Net((256, 512), 256),
    'my_cae': Net(range(32, 513, 16), 256),
    'my_cae_optuna': Net(range(32, 513, 16), 256),
    'grid_patch': Net(range(16, 513, 4), 128),
    'ssim_autoencoder': Net((128, 256), 256, {128: 100, 256: 500}),
}


@dataclass(frozen=True)
class TrainingSettings:
    """
    How a network is trained.

    Parameters
    ----------
    architecture : str
        One of `NETS`.
    loss : str
        'mse', 'ssim', 'ms_ssim' or 'ssim_l1'; see `losses`.
    input_px : int
        Side of the net's square input, pixels; 0 = the one it was made for.
    patch_px : int
        Edge of the square patches of the prepared image that the net sees one by one; 0 = it sees
        the whole image at once.
    latent : int
        Length of the latent vector, 2 to 4096, for ssim_autoencoder; 0 = as published (100 at
        128 px, 500 at 256 px).
    epochs : int
        Most passes over the training images, 1 to 100000.
    patience : int
        Training ends after so many epochs without a lower held-out loss, 1 to 100000.
    batch : int
        Images of one step, 1 to 1024.
    learning_rate : float
        Of Adam, 1e-6 to 0.1.
    seed : int
        Of everything random, 0 to 2**31 - 1. On CPU the same seed and images give the same
        weights.
    augmentation : Augmentation
        What good parts may look like beside the images given.
    denoising : Denoising
        What is spoiled in the input and asked back in the output.

    Raises
    ------
    SettingError
        When a value is out of range.

    """

    architecture: str = 'ssim_autoencoder'
    loss: str = 'ssim'
    input_px: int = 0
    patch_px: int = 0
    latent: int = 0
    epochs: int = 200
    patience: int = 30
    batch: int = 8
    learning_rate: float = 1e-3
    seed: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)
    denoising: Denoising = field(default_factory=Denoising)

    def __post_init__(self) -> None:
        check_choice('loss', self.loss, LOSSES)
        if self.patch_px:
            check_integer('patch_px', self.patch_px, 16, 4096)
        check_integer('epochs', self.epochs, 1, 100_000)
        check_integer('patience', self.patience, 1, 100_000)
        check_integer('batch', self.batch, 1, 1024)
        check_number('learning_rate', self.learning_rate, 1e-6, 0.1)
        check_integer('seed', self.seed, 0, 2**31 - 1)
        check_net(self.architecture, self.side_px, self.latent)

    @property
    def side_px(self) -> int:
        """
        Side of the net's input, pixels.

        """
        check_choice('architecture', self.architecture, NETS)
        return self.input_px or NETS[self.architecture].side_px

    def fingerprint(self) -> str:
        """
        Give the SHA-256 of the settings, 64 hex digits.

        """
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


def check_net(name: str, side_px: int, latent: int) -> None:
    """
    Raise SettingError unless there is such a net and it can have that input and latent vector.

    """
    check_choice('architecture', name, NETS)
    net = NETS[name]
    if side_px not in net.sides_px:
        raise SettingError(f'input_px of {name} is {side_px!r}; allowed: {net.allowed_sides()}')
    if latent and not net.latents:
        raise SettingError(f'latent is {latent}; allowed: 0, {name} leaves no choice')
    if latent:
        check_integer('latent', latent, 2, 4096)
