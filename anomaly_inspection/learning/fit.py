# SPDX-License-Identifier: Apache-2.0
"""
Fit a network to prepared images of good parts: epochs, early stop, checkpoints.

"""

from __future__ import annotations

import math
import time
from typing import Any, TYPE_CHECKING

import keras
import numpy as np
import tensorflow

from anomaly_inspection.errors import SettingError
from anomaly_inspection.learning.architectures import build, RECONSTRUCTION
from anomaly_inspection.learning.checkpoint import Checkpoint, Epoch
from anomaly_inspection.learning.losses import LOSS_FUNCTIONS
from anomaly_inspection.learning.training_data import plain_batches, spoiled_batches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from anomaly_inspection.learning.training_settings import TrainingSettings


class Fitting:
    """
    A network and the state of its training.

    On the CPU the same settings and images give the same weights, also after a kill and a resume.
    TensorFlow's seeds and its choice of repeatable operations hold for the whole process.

    Parameters
    ----------
    taught, held_out : sequence of ndarray of uint8
        Prepared images, all of one size: those fitted to, and those that tell when to stop.
    settings : TrainingSettings
        How.

    """

    def __init__(
        self,
        taught: Sequence[NDArray[np.uint8]],
        held_out: Sequence[NDArray[np.uint8]],
        settings: TrainingSettings,
    ) -> None:
        self._taught, self._held_out, self._settings = taught, held_out, settings
        keras.utils.set_random_seed(settings.seed)
        if not tensorflow.config.list_physical_devices('GPU'):
            tensorflow.config.experimental.enable_op_determinism()
        channels = 1 if taught[0].ndim == 2 else taught[0].shape[2]
        self.model = build(settings.architecture, settings.side_px, channels, settings.latent)
        self._loss = LOSS_FUNCTIONS[settings.loss]
        self._trained = keras.Model(self.model.input, self.model.output[RECONSTRUCTION])
        self._trained.compile(keras.optimizers.Adam(settings.learning_rate), loss=self._loss)
        self._trained.optimizer.build(self._trained.trainable_variables)
        self._best_weights = _values(self.model.variables)
        self.history: list[Epoch] = []

    @property
    def best(self) -> Epoch | None:
        """
        The epoch with the lowest held-out loss; None before the first.

        """
        return min(self.history, key=lambda epoch: epoch.held_out_loss, default=None)

    @property
    def is_done(self) -> bool:
        """
        Whether all epochs are over, or the held-out loss has not fallen for `patience` epochs.

        """
        count, best = len(self.history), self.best
        return count >= self._settings.epochs or (
            best is not None and count - best.number >= self._settings.patience
        )

    def run(self, epoch_done: Callable[[Epoch], None]) -> None:
        """
        Train to the end; the model then has the weights of the best epoch.

        Parameters
        ----------
        epoch_done : callable (Epoch)
            Called after every epoch; may write a checkpoint or raise.

        Raises
        ------
        SettingError
            When the loss is not finite.

        """
        while not self.is_done:
            epoch = self._epoch(len(self.history) + 1)
            self.history.append(epoch)
            if self.best is epoch:
                self._best_weights = _values(self.model.variables)
            epoch_done(epoch)
        _assign(self.model.variables, self._best_weights)

    def checkpoint(self, settings: dict[str, Any], data: str) -> Checkpoint:
        """
        Give everything that is needed to go on.

        """
        return Checkpoint(
            settings=settings,
            data=data,
            history=tuple(self.history),
            weights=_values(self.model.variables),
            optimizer=_values(self._trained.optimizer.variables),
            best_weights=self._best_weights,
        )

    def go_on_from(self, checkpoint: Checkpoint) -> None:
        """
        Take the state of a training with the same settings and images.

        """
        _assign(self.model.variables, checkpoint.weights)
        _assign(self._trained.optimizer.variables, checkpoint.optimizer)
        self._best_weights = list(checkpoint.best_weights)
        self.history = list(checkpoint.history)

    def reconstructions(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """
        Give images, or the patches that cover them, beside their reconstructions.

        Returns
        -------
        ndarray of float32, (2, n, side, side, c)

        """
        pairs = [
            (batch, self._trained.predict_on_batch(batch))
            for batch in plain_batches(images, self._settings)
        ]
        return np.stack([np.concatenate(column) for column in zip(*pairs, strict=True)])

    def _epoch(self, number: int) -> Epoch:
        began_s = time.monotonic()
        self._trained.reset_metrics()
        loss = math.nan
        for inputs, targets in spoiled_batches(self._taught, self._settings, number):
            loss = float(self._trained.train_on_batch(inputs, targets))
        held_out_loss = self._held_out_loss()
        if not math.isfinite(loss + held_out_loss):
            raise SettingError(
                f'the loss of epoch {number} is {loss:g}, of held-out images {held_out_loss:g}; '
                f'it must be finite: a learning_rate below {self._settings.learning_rate:g} may do'
            )
        return Epoch(number, loss, held_out_loss, time.monotonic() - began_s)

    def _held_out_loss(self) -> float:
        losses = [
            self._loss(batch, self._trained.predict_on_batch(batch)).numpy()
            for batch in plain_batches(self._held_out, self._settings)
        ]
        return float(np.concatenate(losses).mean(dtype=np.float64))


def _values(variables: Iterable[Any]) -> list[NDArray[Any]]:
    return [variable.numpy().copy() for variable in variables]


def _assign(variables: Iterable[Any], values: Iterable[NDArray[Any]]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
