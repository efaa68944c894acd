# SPDX-License-Identifier: Apache-2.0
"""
Add a trained autoencoder to a recipe.

"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
import os
from pathlib import Path
import shlex
import sys
from typing import Any

import click

from anomaly_inspection.cli.good_images import good_images
from anomaly_inspection.cli.options import Number
from anomaly_inspection.cli.output import (
    console,
    errors,
    escaped,
    EXIT_INTERRUPTED,
    progress_bar,
)
from anomaly_inspection.cli.recipe_table import print_recipe
from anomaly_inspection.errors import SettingError


@click.command(short_help='Add a trained autoencoder to a recipe.')
@click.argument('images', type=click.Path(path_type=Path))
@click.option(
    '--recipe',
    required=True,
    type=click.Path(path_type=Path),
    help='Folder of a taught recipe. It gets a new version; the old one is kept beside it.',
)
@click.option(
    '--architecture',
    default='ssim_autoencoder',
    show_default=True,
    help='Network: tutorial_260, mvtec_cae, baseline_cae, inception_cae, resnet_cae, skip_cae, '
    'my_cae, my_cae_optuna, grid_patch or ssim_autoencoder.',
)
@click.option(
    '--loss',
    default='ssim',
    show_default=True,
    help='What the training minimises: mse, ssim, ms_ssim or ssim_l1.',
)
@click.option(
    '--input-px',
    type=click.IntRange(0),
    default=0,
    help='Side of the square image that the network sees. Default: the side it was designed for.',
)
@click.option(
    '--patch-px',
    type=click.IntRange(0, 4096),
    default=0,
    help='For large parts with small defects: cut the part into squares of this side and judge '
    'each one. Default: judge the whole part at once.',
)
@click.option(
    '--latent',
    type=click.IntRange(0, 4096),
    default=0,
    help='For ssim_autoencoder: how many numbers describe an image. With fewer, the network is '
    'less able to reproduce defects. Default: as published.',
)
@click.option(
    '--residual',
    default='ssim_l1',
    show_default=True,
    help='How the image is compared with what the network makes of it: ssim, l1, l2 or ssim_l1.',
)
@click.option(
    '--epochs',
    type=click.IntRange(1, 100_000),
    default=200,
    show_default=True,
    help='Stop after this many passes over the images.',
)
@click.option(
    '--patience',
    type=click.IntRange(1, 100_000),
    default=30,
    show_default=True,
    help='Stop earlier when this many passes have brought no improvement on held-out good parts.',
)
@click.option(
    '--batch',
    type=click.IntRange(1, 1024),
    default=8,
    show_default=True,
    help='Images per training step.',
)
@click.option(
    '--learning-rate',
    type=Number(1e-6, 0.1),
    default=1e-3,
    show_default=True,
    help='Step size of the optimizer (Adam).',
)
@click.option(
    '--seed',
    type=click.IntRange(0, 2**31 - 1),
    default=0,
    show_default=True,
    help='The same seed and images give the same network.',
)
@click.option(
    '--shift-px',
    type=Number(0, 100),
    default=1.0,
    show_default=True,
    help='How far a good part may be shifted. Whatever is allowed here is never a defect.',
)
@click.option(
    '--rotation-deg',
    type=Number(0, 180),
    default=0.5,
    show_default=True,
    help='How far a good part may be rotated.',
)
@click.option(
    '--brightness',
    type=Number(0, 0.5),
    default=0.02,
    show_default=True,
    help='How much brighter or darker a good part may be, as a share.',
)
@click.option('--flips', is_flag=True, help='A good part may be mirrored.')
@click.option(
    '--noise',
    type=Number(0, 0.5),
    default=0.0,
    show_default=True,
    help='Denoising: add this much noise to the input (0.1 = a tenth of white) and train the '
    'network to remove it.',
)
@click.option(
    '--lines',
    type=click.IntRange(0, 50),
    default=0,
    show_default=True,
    help='Denoising: draw this many lines into the input.',
)
@click.option(
    '--blocks',
    type=click.IntRange(0, 20),
    default=0,
    show_default=True,
    help='Denoising: erase this many blocks of the input.',
)
@click.option(
    '--folder',
    type=click.Path(path_type=Path, file_okay=False),
    help='Where an unfinished training is kept. Default: <recipe>.training, beside the recipe.',
)
@click.option('--resume', is_flag=True, help='Go on with an interrupted training.')
@click.option(
    '--search',
    'trials',
    type=click.IntRange(0, 10_000),
    default=0,
    help='First try this many settings (loss, learning rate, denoising, latent) on synthetic '
    'defects, then train with the best.',
)
@click.option(
    '--search-epochs',
    type=click.IntRange(1, 100_000),
    default=30,
    show_default=True,
    help='Passes per trial at most.',
)
@click.option(
    '--storage',
    default='',
    help='Database URL that several machines share for one search. '
    'Default: a file in the training folder.',
)
@click.option('--trained-by', default='', help='Your name, kept in the model card.')
def train(images: Path, recipe: Path, **options: Any) -> None:
    """
    Train an autoencoder on IMAGES, a folder of good parts, and add it to a taught recipe.

    The network learns to reproduce good parts. What it cannot reproduce is anomalous. It trains on
    four fifths of the images; the rest decide when to stop, and give the limits. A hundred images
    are a start. Without a GPU this takes minutes to hours. Ctrl-C interrupts it; --resume goes on.

    \b
      anomaly-inspection teach good/ --recipe recipes/pump
      anomaly-inspection train good/ --recipe recipes/pump

    Afterwards, model/autoencoder/ in the recipe holds the model with its history, loss curve,
    pictures and model card.
    """
    from anomaly_inspection.recipes.folder import check_place, read_recipe, write_recipe

    check_place(recipe)
    settings = _training_settings(options)
    taught = read_recipe(recipe)
    frames = list(good_images(images))
    with _training_libraries():
        from anomaly_inspection.learning import train as training
    folder = options['folder'] or recipe.with_name(f'{recipe.name}.training')
    scorer_settings = {'residual': options['residual']}
    if options['trials']:
        settings = _searched(taught, frames, settings, folder, scorer_settings, options)
    try:
        with _training_progress(settings.epochs) as (progress, epoch_done):
            trained = training.train(
                taught,
                frames,
                settings,
                folder=folder,
                scorer_settings=scorer_settings,
                resume=options['resume'],
                trained_by=options['trained_by'],
                source=str(images),
                progress=progress,
                epoch_done=epoch_done,
            )
    except KeyboardInterrupt:
        errors.print(escaped(_how_to_resume(training.epochs_kept(folder))), soft_wrap=True)
        sys.exit(EXIT_INTERRUPTED)
    written = write_recipe(trained, recipe)
    training.finish(folder)
    print_recipe(written)


def _how_to_resume(epochs: int) -> str:
    """
    Say what is left of an interrupted training.

    """
    if not epochs:
        return 'interrupted before the end of the first epoch: nothing is kept'
    given = [argument for argument in sys.argv[1:] if argument != '--resume']
    command = shlex.join(['anomaly-inspection', *given, '--resume'])
    return f'interrupted; {epochs} epochs are kept. To go on: {command}'


@contextmanager
def _training_libraries() -> Iterator[None]:
    """
    Say in words that they are missing; keep from the terminal what they write when loaded.

    """
    # Even its errors: those that matter come as exceptions.
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, 'w') as nowhere:
            os.dup2(nowhere.fileno(), 2)
            yield
    except ImportError as error:
        raise SettingError(
            f"train needs TensorFlow and Optuna ({error}): pip install 'anomaly_inspection[train]'"
        ) from error
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _training_settings(options: dict[str, Any]) -> Any:
    from anomaly_inspection.learning.augmentation import Augmentation, Denoising
    from anomaly_inspection.learning.training_settings import TrainingSettings

    def given(*names: str) -> dict[str, Any]:
        return {name: options[name] for name in names}

    return TrainingSettings(
        **given('architecture', 'loss', 'input_px', 'patch_px', 'latent'),
        **given('epochs', 'patience', 'batch', 'learning_rate', 'seed'),
        augmentation=Augmentation(**given('shift_px', 'rotation_deg', 'brightness', 'flips')),
        denoising=Denoising(**given('lines', 'noise', 'blocks')),
    )


def _searched(
    taught: Any,
    frames: list[tuple[str, Any]],
    settings: Any,
    folder: Path,
    scorer_settings: dict[str, Any],
    options: dict[str, Any],
) -> Any:
    with _training_libraries():
        from anomaly_inspection.learning.search import search

    def trial_done(trial: Any) -> None:
        found = 'ended early' if trial.value is None else f'AUROC {trial.value:.4f}'
        tried = ', '.join(
            f'{key} {value:.3g}' if isinstance(value, float) else f'{key} {value}'
            for key, value in trial.params.items()
        )
        console.print(f'trial {trial.number + 1}: {found} ({tried})', soft_wrap=True)

    with progress_bar() as progress:
        return search(
            taught,
            frames,
            settings,
            trials=options['trials'],
            epochs_each=options['search_epochs'],
            folder=folder,
            storage=options['storage'],
            scorer_settings=scorer_settings,
            progress=progress,
            trial_done=trial_done,
        )


@contextmanager
def _training_progress(
    epochs: int,
) -> Iterator[tuple[Callable[[int, int, str], None], Callable[[Any], None]]]:
    """
    Give what shows a training: a bar on a terminal, a line an epoch elsewhere.

    """
    best = float('inf')

    def text(epoch: Any) -> str:
        nonlocal best
        is_best = epoch.held_out_loss < best
        best = min(best, epoch.held_out_loss)
        return f'loss {epoch.loss:.4f}, held out {epoch.held_out_loss:.4f}' + (
            ', best so far' if is_best else ''
        )

    with progress_bar() as progress:
        if errors.is_terminal:
            yield progress, lambda epoch: progress(epoch.number, epochs, text(epoch))
        else:
            yield (
                progress,
                lambda epoch: console.print(
                    f'epoch {epoch.number} of at most {epochs}: {text(epoch)}, '
                    f'{epoch.duration_s:.1f} s',
                    soft_wrap=True,
                ),
            )
