# SPDX-License-Identifier: Apache-2.0
"""
Train an autoencoder on the images of a session and add it to the recipe that was taught on them.

"""

from __future__ import annotations

import importlib.util
from pathlib import Path
import tempfile
from typing import TYPE_CHECKING

from anomaly_inspection.errors import SettingError
from anomaly_inspection.learning.training_settings import TrainingSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anomaly_inspection.learning.checkpoint import Epoch
    from anomaly_inspection.learning.good_images import Named
    from anomaly_inspection.progress import Progress
    from anomaly_inspection.recipes.recipe import Recipe

#: Stands among the scorers that are asked for, and is trained instead of fitted.
AUTOENCODER = 'autoencoder'
TRAINING = TrainingSettings()
_NEEDED = ('tensorflow', 'matplotlib')


def check_training_packages() -> None:
    """
    Raise SettingError where the packages that a training needs are not installed.

    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise SettingError(
            f'training an autoencoder needs {" and ".join(missing)}, which this machine does not '
            "have: pip install 'anomaly_inspection[train]', or teach without it"
        )


def with_trained_autoencoder(
    recipe: Recipe,
    images: Sequence[Named],
    work: Path,
    *,
    trained_by: str,
    source: str,
    progress: Progress,
) -> Recipe:
    """
    Give the recipe with a trained autoencoder beside its other scorers.

    Parameters
    ----------
    recipe : Recipe
        Taught on the same images.
    images : sequence of (name, ndarray of uint8)
        Good parts, at least 20.
    work : Path
        An existing folder for what the training writes meanwhile; nothing is left in it.
    trained_by, source : str
        For the model card.
    progress : callable (done, total, what)
        Told after each pass over the images.

    Raises
    ------
    SettingError
        When there are too few images, or a package is missing.

    """
    check_training_packages()
    from anomaly_inspection.learning import train as training

    def told(epoch: Epoch) -> None:
        what = f'training the autoencoder, held-out loss {epoch.held_out_loss:.4f}, passes'
        progress(epoch.number, TRAINING.epochs, what)

    with tempfile.TemporaryDirectory(prefix='training_', dir=work) as folder:
        return training.train(
            recipe,
            images,
            TRAINING,
            folder=Path(folder),
            trained_by=trained_by,
            source=source,
            progress=progress,
            epoch_done=told,
        )
