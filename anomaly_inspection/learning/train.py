# SPDX-License-Identifier: Apache-2.0
"""
Train: add an autoencoder to a taught recipe, from frames of good parts.

The frames go through the recipe's own preprocessing. The network is fitted to four fifths of them.
The rest, at least eight, chosen by the seed, tell when to stop and which epoch is best, and give
the limits. The training folder gets these files as training goes on:

::

    <folder>/
      checkpoint.npz        all that is needed to go on after a kill; removed by `finish`
      history.csv           one line an epoch
      loss.svg              both losses by epoch
      reconstructions.png   held-out images beside what the network makes of them
      model_card.md         data, settings, figures, who and when
      model.xml, model.bin  what scoring runs (OpenVINO)

"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import datetime, UTC
import hashlib
import math
import os
from typing import Any, TYPE_CHECKING

import numpy as np
import tensorflow

from anomaly_inspection.chart_style import require_matplotlib
from anomaly_inspection.errors import SettingError
from anomaly_inspection.learning.checkpoint import Checkpoint
from anomaly_inspection.learning.cross_validation import score_held_out
from anomaly_inspection.learning.export import exported
from anomaly_inspection.learning.false_rejects import promised_rate
from anomaly_inspection.learning.fit import Fitting
from anomaly_inspection.learning.good_part_limits import rate_of_each
from anomaly_inspection.learning.part_preparation import prepare_for_recipe
from anomaly_inspection.learning.scorer_limits import scorer_recipe
from anomaly_inspection.learning.training_report import (
    history_csv,
    loss_chart,
    model_card,
    PICTURES,
    reconstruction_picture,
)
from anomaly_inspection.progress import no_progress
from anomaly_inspection.recipes.recipe import measures_of
from anomaly_inspection.scoring.autoencoder import AutoencoderScorer
from anomaly_inspection.scoring.scorer import checked_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from anomaly_inspection.learning.checkpoint import Epoch
    from anomaly_inspection.learning.part_preparation import GoodPart
    from anomaly_inspection.learning.training_settings import TrainingSettings
    from anomaly_inspection.progress import Progress
    from anomaly_inspection.recipes.recipe import Recipe


FEWEST_IMAGES = 20

_HELD_OUT_SHARE = 0.2
_FEWEST_HELD_OUT = 8
_CHECKPOINT = 'checkpoint.npz'


@dataclass(frozen=True, eq=False)
class TrainingParts:
    """
    Good parts, prepared and split.

    Parameters
    ----------
    taught, held_out : list of GoodPart
        The network is fitted to `taught`; `held_out` tells when to stop and gives the limits.
    left_out : dict of str to str
        Frames that are unlike the others, with the reason.

    """

    taught: list[GoodPart]
    held_out: list[GoodPart]
    left_out: dict[str, str]

    @classmethod
    def of(
        cls,
        recipe: Recipe,
        images: Iterable[NDArray[np.uint8] | tuple[str, NDArray[np.uint8]]],
        settings: TrainingSettings,
        progress: Progress = no_progress,
    ) -> TrainingParts:
        """
        Prepare frames as the recipe says and split them by the seed.

        Raises
        ------
        SettingError
            When there are too few images or too many unlike the others, or the patches are larger
            than the prepared image.
        FrameError
            When a frame is not of the recipe's format; names it.

        """
        parts, left_out = prepare_for_recipe(recipe, images, progress)
        if len(parts) < FEWEST_IMAGES:
            raise SettingError(
                f'{len(parts)} good images to train on; needed: at least {FEWEST_IMAGES}'
            )
        shorter = min(parts[0].prepared.image.shape[:2])
        if settings.patch_px > shorter:
            raise SettingError(
                f'patch_px is {settings.patch_px}; allowed: 0 (the whole image) or 16 to '
                f'{shorter}, the shorter side of the prepared image'
            )
        order = np.random.default_rng(settings.seed).permutation(len(parts))
        count = max(_FEWEST_HELD_OUT, round(_HELD_OUT_SHARE * len(parts)))
        held = set(order[:count].tolist())
        return cls(
            [part for index, part in enumerate(parts) if index not in held],
            [part for index, part in enumerate(parts) if index in held],
            left_out,
        )

    def fitting(self, settings: TrainingSettings) -> Fitting:
        """
        Make an untrained network for these parts.

        """
        taught, held_out = (
            [part.prepared.image for part in group] for group in (self.taught, self.held_out)
        )
        return Fitting(taught, held_out, settings)

    def fingerprint(self) -> str:
        """
        Give the SHA-256 over names and prepared images, 64 hex digits.

        """
        digest = hashlib.sha256()
        for part in (*self.taught, *self.held_out):
            digest.update(f'{part.name} {part.prepared.image.shape}'.encode())
            digest.update(part.prepared.image.tobytes())
        return digest.hexdigest()


def train(
    recipe: Recipe,
    images: Iterable[NDArray[np.uint8] | tuple[str, NDArray[np.uint8]]],
    settings: TrainingSettings,
    *,
    folder: Path,
    scorer_settings: Mapping[str, Any] | None = None,
    resume: bool = False,
    trained_by: str = '',
    source: str = '',
    progress: Progress = no_progress,
    epoch_done: Callable[[Epoch], None] | None = None,
) -> Recipe:
    """
    Train an autoencoder and give the recipe with it, limits included.

    Parameters
    ----------
    recipe : Recipe
        A taught recipe. Its other scorers and their limits stay as they are; an autoencoder that
        it already has is replaced.
    images : iterable of ndarray of uint8, or of (name, ndarray)
        At least 20 frames of good parts as the camera gives them.
    settings : TrainingSettings
        Network and training.
    folder : Path
        Training folder, made when missing; see the top of the file.
    scorer_settings : mapping, optional
        Settings of the scorer, but for `patch_px`; the defaults for what is left out.
    resume : bool
        Go on with the training that the folder holds.
    trained_by, source : str
        Who trained it and where the images came from, for the model card.
    progress : callable (done, total, what), optional
        Called while images are prepared and measured.
    epoch_done : callable (Epoch), optional
        Called after every epoch; on resume, for the new ones only.

    Returns
    -------
    Recipe
        Not yet on disk. Call `finish` once it is.

    Raises
    ------
    SettingError
        When a setting or the images do not do, the folder cannot be written, holds a training that
        was not finished (without `resume`) or another one (with it), or the loss is not finite.
    FrameError
        When a frame is not of the recipe's format; names it.

    """
    # Now, not after hours: the training ends with a chart.
    require_matplotlib()
    chosen = scorer_settings_of(settings, scorer_settings)
    checkpoint = _checkpoint_to_resume(folder, resume=resume)
    parts = TrainingParts.of(recipe, images, settings, progress)
    data = f'{recipe.preprocessing.fingerprint()} {parts.fingerprint()}'
    fitting = parts.fitting(settings)
    if checkpoint is not None:
        checkpoint.check_continues(asdict(settings), data, folder)
        fitting.go_on_from(checkpoint)

    def keep(epoch: Epoch) -> None:
        fitting.checkpoint(asdict(settings), data).write(folder / _CHECKPOINT)
        _write(folder / 'history.csv', history_csv(fitting.history).encode())
        if epoch_done is not None:
            epoch_done(epoch)

    try:
        folder.mkdir(parents=True, exist_ok=True)
        fitting.run(keep)
        every = math.ceil(len(parts.held_out) / PICTURES)
        shown = [part.prepared.image for part in parts.held_out[::every]]
        files = {
            'history.csv': history_csv(fitting.history).encode(),
            'loss.svg': loss_chart(fitting.history, settings.loss).encode(),
            'reconstructions.png': reconstruction_picture(fitting.reconstructions(shown)),
            'model_card.md': _model_card(
                recipe, parts, settings, fitting, trained_by=trained_by, source=source
            ).encode(),
        }
        model = exported(fitting.model, settings.architecture, recipe.preprocessing.fingerprint())
        arrays = {name: np.frombuffer(content, np.uint8) for name, content in files.items()}
        for name, content in (arrays | model).items():
            _write(folder / name, content.tobytes())
    except OSError as error:
        raise SettingError(
            f'the training folder {folder} cannot be written: {error}. Make room and go on with '
            '--resume'
        ) from error
    return with_autoencoder(recipe, model | arrays, parts, chosen, progress)


def scorer_settings_of(
    settings: TrainingSettings, given: Mapping[str, Any] | None
) -> dict[str, Any]:
    """
    Give all settings of the scorer, which cuts patches as the training did.

    """
    return checked_settings(
        AutoencoderScorer.name,
        AutoencoderScorer.settings,
        {**(given or {}), 'patch_px': settings.patch_px},
    )


def finish(folder: Path) -> None:
    """
    Remove the checkpoint: the recipe is on disk, there is nothing to go on with.

    """
    (folder / _CHECKPOINT).unlink(missing_ok=True)


def with_autoencoder(
    recipe: Recipe,
    files: Mapping[str, NDArray[np.uint8]],
    parts: TrainingParts,
    settings: Mapping[str, Any],
    progress: Progress,
) -> Recipe:
    """
    Give a recipe with the scorer of a trained model, with limits from the held-out parts.

    """
    name = AutoencoderScorer.name
    fitted = AutoencoderScorer.of_model(files, [part.prepared for part in parts.taught], settings)
    held_out = score_held_out(fitted, parts.held_out, progress)
    names = {*recipe.scorers, name}
    # As in teach, any measure beyond its limit rejects. The limits of the other scorers stay.
    rate_each = rate_of_each(recipe.provenance.false_reject_rate, measures_of(name), len(names))
    scorer = scorer_recipe(fitted, settings, held_out, rate_each, recipe.frame_format)
    promise = round(promised_rate(len(parts.held_out)), 4)
    return replace(
        recipe,
        scorers={**recipe.scorers, name: scorer},
        provenance=replace(
            recipe.provenance, promised_rate=max(promise, recipe.provenance.promised_rate)
        ),
        path=None,
        hash='',
    )


def epochs_kept(folder: Path) -> int:
    """
    Give how many epochs of an unfinished training a folder holds; 0 when there is none.

    """
    path = folder / _CHECKPOINT
    return len(Checkpoint.read(path).history) if path.exists() else 0


def _checkpoint_to_resume(folder: Path, *, resume: bool) -> Checkpoint | None:
    path = folder / _CHECKPOINT
    if resume:
        return Checkpoint.read(path)
    if path.exists():
        count = len(Checkpoint.read(path).history)
        raise SettingError(
            f'{folder} holds a training that was not finished ({count} epochs); go on with it by '
            '--resume, or remove the folder to train anew'
        )
    return None


def _write(path: Path, content: bytes) -> None:
    draft = path.with_name(f'.{path.name}.draft')
    try:
        draft.write_bytes(content)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _model_card(
    recipe: Recipe,
    parts: TrainingParts,
    settings: TrainingSettings,
    fitting: Fitting,
    *,
    trained_by: str,
    source: str,
) -> str:
    best = fitting.best
    assert best is not None
    shape = fitting.model.input.shape[1:]
    devices = tensorflow.config.list_physical_devices('GPU')
    plain = {key: value for key, value in asdict(settings).items() if not isinstance(value, dict)}
    return model_card(
        f'{settings.architecture} for {recipe.product or recipe.name}',
        {
            'Data': {
                'images': source or 'not said',
                'trained on': _listed([part.name for part in parts.taught]),
                'held out, for the early stop and the limits': _listed(
                    [part.name for part in parts.held_out]
                ),
                'left out': '; '.join(f'{who}: {why}' for who, why in parts.left_out.items())
                or 'none',
                'recipe': f'{recipe.name}, version {recipe.version}',
                'preprocessing fingerprint': recipe.preprocessing.fingerprint(),
            },
            'Network': {
                'input': f'{shape[1]}x{shape[0]} px, {"gray" if shape[2] == 1 else "BGR"}, 0..1',
                'parameters': f'{fitting.model.count_params():,}',
                'latent vector': fitting.model.output['latent'].shape[1],
            },
            'Settings': {**plain, 'input_px': settings.side_px},
            'Augmentation (what a good part may look like)': asdict(settings.augmentation),
            'Denoising (what was spoiled in the input)': asdict(settings.denoising),
            'Figures': {
                'epochs': len(fitting.history),
                'best epoch': best.number,
                'loss of the best epoch': f'{best.loss:.5g}',
                'held-out loss of the best epoch': f'{best.held_out_loss:.5g}',
                'training time': f'{sum(epoch.duration_s for epoch in fitting.history):.0f} s',
            },
            'Who and when': {
                'trained by': trained_by or 'not said',
                'finished': datetime.now(UTC).strftime('%Y-%m-%dT%H:%M:%SZ'),
                'with': f'TensorFlow {tensorflow.__version__} on '
                + (', '.join(device.name for device in devices) or 'the processor'),
            },
        },
        'An autoencoder that has seen good parts only. It says how far a part is from what it can '
        'draw; what it was not shown as good counts as anomalous, and a defect that looks like '
        'what the augmentation allows does not. Limits and typical values stand in recipe.yaml.',
    )


def _listed(names: Sequence[str]) -> str:
    return f'{len(names)}: {", ".join(names)}'
