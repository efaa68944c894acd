# SPDX-License-Identifier: Apache-2.0
"""
What a training needs to go on after it was killed, in one file.

"""

from __future__ import annotations

from dataclasses import dataclass
import json
import os
from typing import Any, TYPE_CHECKING
import zipfile

import numpy as np

from anomaly_inspection.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_FORMAT_VERSION = 1
_GROUPS = ('weights', 'optimizer', 'best_weights')
# The length of a training may change between a kill and a resume; what is trained may not.
_FREE_SETTINGS = ('epochs', 'patience')


@dataclass(frozen=True)
class Epoch:
    """
    One pass over the training images.

    Parameters
    ----------
    number : int
        From 1.
    loss, held_out_loss : float
        Mean over the images trained on, as augmented and spoiled, and over the held-out ones.
    duration_s : float
        How long it took.

    """

    number: int
    loss: float
    held_out_loss: float
    duration_s: float


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """
    The state of a training after an epoch. Chance has no state: it depends on seed and epoch.

    Parameters
    ----------
    settings : mapping
        The training settings, plain values.
    data : str
        Fingerprint of the images.
    history : sequence of Epoch
        All epochs so far, in order.
    weights, optimizer : sequence of ndarray
        Variables of the net (those of its dropout's chance as well) and of the optimizer.
    best_weights : sequence of ndarray
        Variables of the net after the epoch with the lowest held-out loss.

    """

    settings: Mapping[str, Any]
    data: str
    history: Sequence[Epoch]
    weights: Sequence[NDArray[Any]]
    optimizer: Sequence[NDArray[Any]]
    best_weights: Sequence[NDArray[Any]]

    def write(self, path: Path) -> None:
        """
        Write the file in one step: a reader finds the old one or the new one.

        Raises
        ------
        OSError
            When it cannot be written; the old file is still there.

        """
        about = {
            'format_version': _FORMAT_VERSION,
            'settings': dict(self.settings),
            'data': self.data,
            'history': [vars(epoch) for epoch in self.history],
        }
        arrays = {
            f'{group}/{index:04d}': array
            for group in _GROUPS
            for index, array in enumerate(getattr(self, group))
        }
        draft = path.with_name(f'.{path.name}.draft')
        try:
            with draft.open('wb') as file:
                np.savez(file, about=np.array(json.dumps(about)), **arrays)
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, path)
        finally:
            draft.unlink(missing_ok=True)

    @classmethod
    def read(cls, path: Path) -> Checkpoint:
        """
        Read the file.

        Raises
        ------
        SettingError
            When it is missing, broken or of another version.

        """
        if not path.exists():
            raise SettingError(f'there is no training to go on with: {path} is missing')
        try:
            with path.open('rb') as file, np.load(file, allow_pickle=False) as archive:
                about = json.loads(str(archive['about']))
                groups = {
                    group: [archive[key] for key in sorted(archive.files) if group == key[:-5]]
                    for group in _GROUPS
                }
            if about['format_version'] != _FORMAT_VERSION:
                raise SettingError(
                    f'{path} is of format version {about["format_version"]}; allowed: '
                    f'{_FORMAT_VERSION}'
                )
            history = [Epoch(**epoch) for epoch in about['history']]
            return cls(about['settings'], about['data'], history, **groups)
        except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise SettingError(
                f'{path} is not a readable checkpoint ({error}); remove it to train anew'
            ) from error

    def check_continues(self, settings: Mapping[str, Any], data: str, path: Path) -> None:
        """
        Raise SettingError unless these settings and images are those of the checkpoint.

        """
        for key, value in settings.items():
            before = self.settings.get(key)
            if key not in _FREE_SETTINGS and value != before:
                raise SettingError(
                    f'{key} is {value!r}, the training in {path} was begun with {before!r}; go on '
                    'with that, or train anew in another folder'
                )
        if data != self.data:
            raise SettingError(
                f'the good images, or the preprocessing of the recipe, are not those that the '
                f'training in {path} was begun with; train anew in another folder'
            )
