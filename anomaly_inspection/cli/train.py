# SPDX-License-Identifier: Apache-2.0
"""
Add a trained autoencoder to a recipe.

"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
import os
from pathlib import Path
import sys
from typing import Any

import click

from anomaly_inspection.cli.good_images import good_images
from anomaly_inspection.cli.output import (
    console,
    errors,
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
    help='Folder of a taught recipe; gets a new version, the old one is kept beside it.',
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
    help='What training makes small: mse, ssim, ms_ssim or ssim_l1.',
)
@click.option(
    '--input-px',
    type=int,
    default=0,
    help='Side of the square image that the network sees. Default: the one it was made for.',
)
@click.option(
    '--patch-px',
    type=int,
    default=0,
    help='For large parts with small defects: cut the part into squares of this edge and judge '
    'each. Default: the whole part at once.',
)
@click.option(
    '--latent',
    type=int,
    default=0,
    help='Numbers that an image is squeezed into (ssim_autoencoder); fewer copy defects less.',
)
@click.option(
    '--residual',
    default='ssim_l1',
    show_default=True,
    help='How image and reconstruction are compared: ssim, l1, l2 or ssim_l1.',
)
@click.option('--epochs', type=int, default=200, show_default=True, help='Most passes.')
@click.option(
    '--patience',
    type=int,
    default=30,
    show_default=True,
    help='End after so many passes that make held-out good parts no better.',
)
@click.option('--batch', type=int, default=8, show_default=True, help='Images of one step.')
@click.option('--learning-rate', type=float, default=1e-3, show_default=True)
@click.option('--seed', type=int, default=0, show_default=True)
@click.option(
    '--shift-px',
    type=float,
    default=1.0,
    show_default=True,
    help='A good part may lie this much off. What is allowed here is never seen as a defect.',
)
@click.option(
    '--rotation-deg', type=float, default=0.5, show_default=True, help='... turned this much.'
)
@click.option(
    '--brightness', type=float, default=0.02, show_default=True, help='... brighter or darker.'
)
@click.option('--flips', is_flag=True, help='... mirrored.')
@click.option(
    '--noise',
    type=float,
    default=0.0,
    show_default=True,
    help='Spoil the input by this much noise (0.1 = a tenth of white) and ask for the clean one.',
)
@click.option('--lines', type=int, default=0, show_default=True, help='... by so many lines.')
@click.option('--blocks', type=int, default=0, show_default=True, help='... by erased blocks.')
@click.option(
    '--folder',
    type=click.Path(path_type=Path, file_okay=False),
    help='Where the training is kept as it goes. Default: beside the recipe, <recipe>.training.',
)
@click.option('--resume', is_flag=True, help='Go on with a training that was ended or killed.')
@click.option(
    '--search',
    'trials',
    type=int,
    default=0,
    help='First try out so many settings (loss, learning rate, denoising, latent) on synthetic '
    'defects, and take the best.',
)
@click.option(
    '--search-epochs', type=int, default=30, show_default=True, help='Most passes of each.'
)
@click.option(
    '--storage',
    default='',
    help='Database URL of the search, for several machines that share it. Default: a file in the '
    'training folder.',
)
@click.option('--trained-by', default='', help='Who trained it, for the model card.')
def train(images: Path, recipe: Path, **options: Any) -> None:
    """
    Train an autoencoder on IMAGES, a folder of good parts, and add it to a taught recipe.

    The network learns to draw good parts; what it cannot draw is anomalous. Four fifths of the
    images are trained on; the rest tell when to stop and give the limits. A hundred images are a
    start. Minutes to hours without a GPU; a training that was ended goes on by --resume.

    \b
      anomaly-inspection teach good/ --recipe recipes/pump
      anomaly-inspection train good/ --recipe recipes/pump

    In the recipe's folder, model/autoencoder/ then holds the model with its history, loss curve,
    pictures and model card.
    """
    from anomaly_inspection.recipes.folder import read_recipe, write_recipe

    settings = _training_settings(options)
    taught = read_recipe(recipe)
    frames = list(good_images(images))
    with _training_libraries():
        from anomaly_inspection.learning import train as training
    folder = options['folder'] or recipe.with_name(f'{recipe.name}.training')
    scorer_settings = {'residual': options['residual']}
    if options['trials']:
        settings = _searched(taught, frames, settings, folder, scorer_settings, options)
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
    written = write_recipe(trained, recipe)
    training.finish(folder)
    print_recipe(written)


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
