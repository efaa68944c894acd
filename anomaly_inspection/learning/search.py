# SPDX-License-Identifier: Apache-2.0
"""
Search for the settings of a training, with Optuna.

Losses cannot be compared with each other, so a trial is judged by what the network is for. Each
held-out good part is given synthetic defects. The figure of the trial is the AUROC of the scorer's
anomaly scores of these parts, with defects against without. No real defect is needed. A trial ends
early when its plain differences (image less reconstruction) separate the two worse than the median
of the trials before it did at the same epoch.

"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TYPE_CHECKING

import cv2
import keras
import numpy as np
import optuna
import sqlalchemy.exc

from anomaly_inspection.errors import SettingError
from anomaly_inspection.learning.augmentation import Denoising
from anomaly_inspection.learning.export import exported
from anomaly_inspection.learning.separation import auroc
from anomaly_inspection.learning.synthetic_defects import random_defect
from anomaly_inspection.learning.train import scorer_settings_of, TrainingParts, with_autoencoder
from anomaly_inspection.learning.training_settings import LOSSES, NETS
from anomaly_inspection.progress import no_progress
from anomaly_inspection.scoring.autoencoder import AutoencoderScorer
from anomaly_inspection.setting_check import check_integer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from anomaly_inspection.imaging.preprocessing import Prepared
    from anomaly_inspection.learning.checkpoint import Epoch
    from anomaly_inspection.learning.fit import Fitting
    from anomaly_inspection.learning.training_settings import TrainingSettings
    from anomaly_inspection.progress import Progress
    from anomaly_inspection.recipes.recipe import Recipe, ScorerRecipe


_DEFECTS_EACH = 3
_EPOCHS_BETWEEN_LOOKS = 5
_FIRST_TRIALS_NEVER_PRUNED = 4
_SMOOTH_PX = (5, 5)


def search(
    recipe: Recipe,
    images: Iterable[NDArray[np.uint8] | tuple[str, NDArray[np.uint8]]],
    settings: TrainingSettings,
    *,
    trials: int,
    epochs_each: int,
    folder: Path,
    storage: str = '',
    scorer_settings: Mapping[str, Any] | None = None,
    progress: Progress = no_progress,
    trial_done: Callable[[optuna.trial.FrozenTrial], None] | None = None,
) -> TrainingSettings:
    """
    Try settings and give the best.

    The search varies loss, learning rate, denoising and, where the net leaves a choice, the length
    of the latent vector. Augmentation stays: what a good part may look like is not for a search to
    decide. The storage keeps the trials. An interrupted search goes on where it stopped, and
    machines with the same storage, images and settings share the trials.

    Parameters
    ----------
    recipe, images, scorer_settings, progress
        As for `train`.
    settings : TrainingSettings
        Start; what is not searched for stays as it is.
    trials : int
        How many there are to be in all, whoever ran them, 1 to 10000.
    epochs_each : int
        Most epochs of a trial, 1 to 100000.
    folder : Path
        Training folder; holds the trials as study.db when no storage is given.
    storage : str
        URL of a database as SQLAlchemy takes it, e.g. 'postgresql://user@host/trials'.
    trial_done : callable (FrozenTrial), optional
        Called after every trial of this process.

    Raises
    ------
    SettingError
        When a value is out of range, the storage cannot be used, or every trial was ended early.

    """
    check_integer('search', trials, 1, 10_000)
    check_integer('search_epochs', epochs_each, 1, 100_000)
    chosen = scorer_settings_of(settings, scorer_settings)
    parts = TrainingParts.of(recipe, images, settings, progress)
    start = replace(settings, epochs=epochs_each)
    name = f'{recipe.name} {settings.architecture} {start.fingerprint()[:8]}'
    study = _study(f'{name} {parts.fingerprint()[:8]}', storage, folder, settings.seed)
    spoiled = _with_defects([part.prepared for part in parts.held_out], settings.seed)

    def objective(trial: optuna.Trial) -> float:
        keras.backend.clear_session()
        fitting = parts.fitting(_suggested(trial, start))

        def look(epoch: Epoch) -> None:
            progress(epoch.number, epochs_each, f'trial {trial.number + 1}, epochs')
            if epoch.number % _EPOCHS_BETWEEN_LOOKS == 0:
                trial.report(_plain_separation(fitting, parts, spoiled), epoch.number)
                if trial.should_prune():
                    raise optuna.TrialPruned

        try:
            fitting.run(look)
        except SettingError as error:
            # A learning rate without a finite loss is a bad trial, not a bad search.
            raise optuna.TrialPruned(str(error)) from error
        files = exported(fitting.model, settings.architecture, recipe.preprocessing.fingerprint())
        scorers = with_autoencoder(recipe, files, parts, chosen, progress).scorers
        return _separation(scorers[AutoencoderScorer.name], spoiled)

    try:
        while _finished(study) < trials:
            study.optimize(
                objective,
                n_trials=1,
                callbacks=[lambda _, trial: trial_done(trial)] if trial_done else [],
            )
        best = optuna.trial.FixedTrial(study.best_params)
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise _storage_error(error) from error
    except ValueError as error:
        raise SettingError(f'no trial of {trials} came to its end: {error}') from error
    return replace(_suggested(best, start), epochs=settings.epochs)


def _study(name: str, storage: str, folder: Path, seed: int) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return optuna.create_study(
            storage=storage or f'sqlite:///{folder.resolve() / "study.db"}',
            study_name=name,
            direction='maximize',
            # Machines that share a study must not all begin with the same guesses.
            sampler=optuna.samplers.TPESampler(seed=None if storage else seed),
            pruner=optuna.pruners.MedianPruner(_FIRST_TRIALS_NEVER_PRUNED),
            load_if_exists=True,
        )
    except (OSError, ImportError, ValueError, sqlalchemy.exc.SQLAlchemyError) as error:
        raise _storage_error(error) from error


def _storage_error(error: Exception) -> SettingError:
    # The URL may hold a password, and is not repeated.
    return SettingError(
        f'the storage of the search cannot be used: {str(error).splitlines()[0]}. Allowed: a '
        "database URL such as 'sqlite:////data/study.db' or 'postgresql://user@host/study', its "
        'driver installed and the server reachable'
    )


def _finished(study: optuna.Study) -> int:
    states = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
    return len(study.get_trials(deepcopy=False, states=states))


def _suggested(
    trial: optuna.Trial | optuna.trial.FixedTrial, settings: TrainingSettings
) -> TrainingSettings:
    latent = settings.latent
    if NETS[settings.architecture].latents:
        latent = trial.suggest_int('latent', 32, 1024, log=True)
    return replace(
        settings,
        loss=trial.suggest_categorical('loss', LOSSES),
        learning_rate=trial.suggest_float('learning_rate', 1e-4, 3e-3, log=True),
        latent=latent,
        denoising=Denoising(
            lines=trial.suggest_int('lines', 0, 6),
            noise=trial.suggest_float('noise', 0.0, 0.15),
            blocks=trial.suggest_int('blocks', 0, 4),
            block_share=settings.denoising.block_share,
        ),
    )


def _with_defects(images: Sequence[Prepared], seed: int) -> list[Prepared]:
    """
    Give every image with several synthetic defects, one at a time; always the same defects.

    """
    rng = np.random.default_rng(seed)
    others = [prepared.image for prepared in images]
    return [
        replace(prepared, image=random_defect(prepared.image, others, rng)[0])
        for prepared in images
        for _ in range(_DEFECTS_EACH)
    ]


def _separation(scorer: ScorerRecipe, spoiled: Sequence[Prepared]) -> float:
    """
    Give the AUROC of the anomaly scores; the highest measure of a part counts.

    """
    fitted = AutoencoderScorer.from_arrays(scorer.arrays, scorer.settings)
    found = [fitted.score(prepared).measures for prepared in spoiled]
    good, bad = (
        np.max(
            [
                (np.asarray(values[spec.name]) - scorer.limits[spec.name].typical)
                / (scorer.limits[spec.name].limit - scorer.limits[spec.name].typical)
                for spec in fitted.measures
            ],
            axis=0,
        )
        for values in (
            scorer.good,
            {spec.name: [one[spec.name] for one in found] for spec in fitted.measures},
        )
    )
    return auroc(good, bad)


def _plain_separation(
    fitting: Fitting, parts: TrainingParts, spoiled: Sequence[Prepared]
) -> float:
    """
    Give the AUROC of the highest smoothed difference between image and reconstruction.

    """
    good, bad = (
        np.array([_highest_difference(fitting, prepared.image) for prepared in group])
        for group in ([part.prepared for part in parts.held_out], spoiled)
    )
    return auroc(good, bad)


def _highest_difference(fitting: Fitting, image: NDArray[np.uint8]) -> float:
    seen, drawn = fitting.reconstructions([image])
    differences = np.abs(seen - drawn).mean(axis=-1)
    return max(float(cv2.blur(difference, _SMOOTH_PX).max()) for difference in differences)
