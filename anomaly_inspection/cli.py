# SPDX-License-Identifier: Apache-2.0
"""
The `anomaly-inspection` command.

"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
import json
import os
from pathlib import Path
import signal
import sys
import threading
from typing import Any, Literal, TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from anomaly_inspection import __version__
from anomaly_inspection.errors import InspectionError, SettingError

if TYPE_CHECKING:
    from anomaly_inspection.evaluation.run_summary import PartRecord

EXIT_OK, EXIT_FAULT, EXIT_USAGE = 0, 1, 2
# Of a bank; more would scroll the limits away.
_MOST_CLASSES = 20

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


class _Group(click.Group):
    """
    Turns the package's own errors into one line and exit status 2.

    """

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except InspectionError as error:
            errors.print(f'[bold red]error:[/] {_escaped(str(error))}', soft_wrap=True)
            sys.exit(EXIT_USAGE)


@click.group(cls=_Group, context_settings={'help_option_names': ['-h', '--help']})
@click.version_option(__version__)
def main() -> None:
    """
    Visual inspection taught on good parts only.

    \b
    Teach a product from a folder of good images, then run the cell on any source:
      anomaly-inspection teach good_images/ --recipe recipes/pump
      anomaly-inspection run --recipe recipes/pump --source 0

    \b
    No camera at hand? Everything works on the simulated line:
      anomaly-inspection simulate out/line --parts 60 --seed 1
      anomaly-inspection teach out/line/train/good --recipe out/pump
      anomaly-inspection run --recipe out/pump --source line:parts=100,seed=2
    """


# --------------------------------------------------------------------------------------- teach


def _four_numbers(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[int, int, int, int] | None:
    if value is None:
        return None
    try:
        x, y, width, height = (int(text) for text in value.split(','))
    except ValueError:
        raise click.BadParameter(
            f"{value!r}: four whole numbers of pixels are wanted, as in '40,20,200,240'"
        ) from None
    return x, y, width, height


@main.command()
@click.argument('images', type=click.Path(path_type=Path))
@click.option(
    '--recipe', required=True, type=click.Path(path_type=Path), help='Folder of the new recipe.'
)
@click.option(
    '--scorer',
    'scorers',
    multiple=True,
    help="Scorer to teach; may be given several times. 'auto' chooses by synthetic defects on the "
    'good parts. Default: ssim and variation.',
)
@click.option(
    '--setting',
    'settings',
    metavar='SCORER.KEY=VALUE',
    multiple=True,
    help='Setting of a scorer, as in patch_statistics.statistics=pooled; may be given several '
    'times.',
)
@click.option(
    '--speed-budget-ms',
    type=float,
    default=30.0,
    show_default=True,
    help='With --scorer auto: most time that scoring a frame may take on this machine.',
)
@click.option(
    '--roi',
    metavar='X,Y,W,H',
    callback=_four_numbers,
    help='Region of interest in pixels of the frame; what lies outside is not judged.',
)
@click.option(
    '--highlight-colours',
    is_flag=True,
    help='Colour cameras: what has a colour that no good part has (rust, a stain, a wrong '
    'component) becomes white or black, so that every scorer sees it. The colours come from the '
    'good parts.',
)
@click.option(
    '--false-reject-rate',
    type=float,
    default=0.005,
    show_default=True,
    help='Share of good parts that may be rejected; smaller moves the limits outwards.',
)
@click.option(
    '--model',
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help='OpenVINO .xml of an exported anomaly model, the .bin beside it; for --scorer openvino.',
)
@click.option(
    '--model-metadata',
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help='Its metadata; default: metadata.json beside it.',
)
@click.option('--product', default='', help='Product name, for the provenance.')
@click.option('--taught-by', default='', help='Who taught it, for the provenance.')
def teach(
    images: Path,
    recipe: Path,
    scorers: tuple[str, ...],
    settings: tuple[str, ...],
    speed_budget_ms: float,
    roi: tuple[int, int, int, int] | None,
    highlight_colours: bool,
    false_reject_rate: float,
    model: Path | None,
    model_metadata: Path | None,
    product: str,
    taught_by: str,
) -> None:
    """
    Make a recipe from IMAGES, a folder of good parts.

    Limits come from these good parts alone, by cross-validation. Thirty images are a start, a
    hundred are better. An existing recipe gets a new version; the old one is kept beside it.

    Where all images lie in two or more folders of IMAGES, these are the classes of the parts, for
    the scorer template; otherwise it takes parts that are alike as a class.
    """
    from anomaly_inspection.imaging.region_of_interest import RegionOfInterest
    from anomaly_inspection.learning.recalibration import false_rejects_of
    from anomaly_inspection.learning.teach import teach as teach_parts
    from anomaly_inspection.recipes.folder import write_recipe
    from anomaly_inspection.recipes.recipe import Provenance

    chosen = _scorer_settings(settings)
    for scorer, files in _network_settings(scorers, model, model_metadata).items():
        chosen.setdefault(scorer, {}).update(files)
    frames = list(_good_images(images))
    with _progress() as progress:
        taught = teach_parts(
            frames,
            name=recipe.name,
            product=product,
            classes=_classes([name for name, _ in frames]),
            scorers=_named_scorers(scorers),
            scorer_settings=chosen,
            speed_budget_ms=speed_budget_ms,
            region_of_interest=RegionOfInterest(*roi) if roi else None,
            highlight_colours=highlight_colours,
            false_reject_rate=false_reject_rate,
            provenance=Provenance(taught_by=taught_by, source=str(images)),
            progress=progress,
        )
    _print_left_out(taught.provenance.left_out)
    for reason in taught.provenance.choice:
        console.print(f'  {_escaped(reason)}', soft_wrap=True)
    written = write_recipe(taught, recipe)
    _print_recipe(written)
    false_rejects = false_rejects_of(written)
    if false_rejects is None:
        promise = (
            'The scorers took their limits from different parts; so few parts promise '
            f'{100 * written.provenance.promised_rate:.2g} % false rejects at best.'
        )
    else:
        promise = false_rejects.promise(false_reject_rate)
    console.print(promise, soft_wrap=True)


def _good_images(folder: Path) -> Iterator[tuple[str, Any]]:
    """
    Give the images of a folder with their names; one that cannot be read is an error.

    """
    from anomaly_inspection.capture.image_folder import ImageFolder

    with ImageFolder(folder) as images:
        while (frame := images.read()) is not None:
            if frame.image is None:
                raise SettingError(f'{folder / frame.name}: {frame.problem}')
            yield frame.name, frame.image


def _print_left_out(left_out: Iterable[str]) -> None:
    for name in left_out:
        errors.print(f'[yellow]left out:[/] {_escaped(name)}', soft_wrap=True)


def _named_scorers(scorers: tuple[str, ...]) -> tuple[str, ...] | Literal['auto']:
    if 'auto' not in scorers:
        return scorers or ('ssim', 'variation')
    if len(scorers) > 1:
        raise SettingError(f'--scorer {" ".join(scorers)}: auto chooses alone; allowed: auto only')
    return 'auto'


def _scorer_settings(texts: tuple[str, ...]) -> dict[str, dict[str, int | float | str]]:
    """
    Read 'scorer.key=value'; values that read as numbers are numbers.

    """
    settings: dict[str, dict[str, int | float | str]] = {}
    for text in texts:
        name, equals, value = text.partition('=')
        scorer, dot, key = name.partition('.')
        if not (equals and dot and scorer and key):
            raise SettingError(
                f'--setting {text}: allowed: scorer.key=value, as in '
                'patch_statistics.statistics=pooled'
            )
        if key in settings.setdefault(scorer, {}):
            raise SettingError(f'--setting {name} is given twice; allowed: once')
        settings[scorer][key] = _number_or_text(value)
    return settings


def _number_or_text(text: str) -> int | float | str:
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text


def _network_settings(
    scorers: tuple[str, ...], model: Path | None, metadata: Path | None
) -> dict[str, dict[str, str]]:
    """
    Give the settings of the scorer openvino; refuse early what cannot be taught.

    """
    from anomaly_inspection.scoring.autoencoder import AutoencoderScorer
    from anomaly_inspection.scoring.openvino import model_files, OpenvinoScorer

    if AutoencoderScorer.name in scorers:
        AutoencoderScorer.fit((), {})
    if (OpenvinoScorer.name in scorers) != (model is not None) or (metadata and not model):
        raise SettingError(
            '--scorer openvino needs --model; --model and --model-metadata are for it alone'
        )
    if model is None:
        return {}
    model_files(model, metadata or '')
    return {OpenvinoScorer.name: {'model': str(model), 'metadata': str(metadata or '')}}


def _classes(names: list[str]) -> dict[str, str] | None:
    """
    Give the class of each image, the folder that it lies in; None when they are not in several.

    """
    classes = {name: name.rpartition('/')[0] for name in names}
    return classes if all(classes.values()) and len(set(classes.values())) > 1 else None


def _print_recipe(recipe: Any) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ('scorer', 'measure'):
        table.add_column(heading)
    for heading in ('typical good part', 'limit'):
        table.add_column(heading, justify='right')
    table.add_column('unit')
    for scorer_name, scorer in recipe.scorers.items():
        units = {spec.name: spec.unit for spec in recipe.measures(scorer_name)}
        for measure, limit in scorer.limits.items():
            table.add_row(
                scorer_name,
                measure,
                f'{limit.typical:.4g}',
                'not judged' if measure in scorer.not_judged else f'{limit.limit:.4g}',
                units[measure],
            )
    console.print(table)
    if 'template' in recipe.scorers:
        _print_classes(recipe.scorers['template'])
    for each in recipe.preprocessing.filters:
        if each.kind == 'colour_highlight':
            console.print(
                f'what lies more than {each.tolerance_levels:g} levels (CIE Lab, a and b) from '
                f'the colours of good parts ({len(each.colours)}, see recipe.yaml) turns '
                f'{each.toward}',
                soft_wrap=True,
            )
    console.print(
        f'recipe [bold]{recipe.name}[/] version {recipe.version} written to {recipe.path} '
        f'(alignment {recipe.preprocessing.alignment.kind}, hash {recipe.hash[:12]})',
        soft_wrap=True,
    )


def _print_classes(scorer: Any) -> None:
    """
    Print the limit of every class in deviations, which the recipe's is a multiple of.

    """
    from anomaly_inspection.scoring.template import taught_classes

    classes = taught_classes(scorer.arrays)
    table = Table(box=None, pad_edge=False)
    table.add_column('class')
    for heading in ('templates', 'good parts', 'limit of z'):
        table.add_column(heading, justify='right')
    for each in classes[:_MOST_CLASSES]:
        table.add_row(
            _escaped(each.name),
            str(each.templates),
            str(each.parts),
            f'{scorer.limits["peak_difference"].limit * each.typical:.4g}',
        )
    console.print(table)
    if len(classes) > _MOST_CLASSES:
        console.print(f'and {len(classes) - _MOST_CLASSES} more classes')


# --------------------------------------------------------------------------------------- train


@main.command(short_help='Add a trained autoencoder to a recipe.')
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
    frames = list(_good_images(images))
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
    _print_recipe(written)


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

    with _progress() as progress:
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

    with _progress() as progress:
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


# ----------------------------------------------------------------------------------- calibrate


@main.command()
@click.argument('recipe', type=click.Path(path_type=Path))
@click.argument('images', type=click.Path(path_type=Path))
@click.option(
    '--false-reject-rate',
    type=float,
    help='Share of good parts that may be rejected; default: what the recipe was taught with.',
)
@click.option('--dry-run', is_flag=True, help='Only print; the recipe stays as it is.')
def calibrate(recipe: Path, images: Path, false_reject_rate: float | None, dry_run: bool) -> None:
    """
    Derive the limits of RECIPE anew from IMAGES, a folder of good parts it was not taught on.

    All that was taught stays; limits and typical values become those of these parts. Writes the
    next version of the recipe; the old one is kept beside it.
    """
    from anomaly_inspection.learning.recalibration import recalibrate
    from anomaly_inspection.recipes.folder import read_recipe, write_recipe

    old = read_recipe(recipe)
    with _progress() as progress:
        found = recalibrate(old, _good_images(images), false_reject_rate, progress)
    _print_left_out(found.left_out)
    table = Table(box=None, pad_edge=False)
    table.add_column('measure')
    for heading in ('typical good part', 'limit'):
        table.add_column(heading, justify='right', no_wrap=True)
    table.add_column('unit', no_wrap=True)
    for key, before in found.before.items():
        now = found.limits[key]
        table.add_row(
            '.'.join(key),
            f'{before.typical:.4g} -> {now.typical:.4g}',
            f'{before.limit:.4g} -> {now.limit:.4g}',
            found.specs[key].unit,
        )
    console.print(table)
    console.print(_escaped(found.summary()), soft_wrap=True)
    if dry_run:
        console.print(f'nothing was written: recipe {old.name} stays version {old.version}')
        return
    written = write_recipe(found.applied_to(old, str(images)), recipe)
    console.print(
        f'recipe [bold]{written.name}[/] version {written.version} written to {written.path} '
        f'(hash {written.hash[:12]})',
        soft_wrap=True,
    )


# ----------------------------------------------------------------------------------- self-test


def _numbers(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[float, ...] | None:
    if value is None:
        return None
    try:
        return tuple(float(text) for text in value.split(','))
    except ValueError:
        raise click.BadParameter(f"{value!r}: numbers are wanted, as in '8,12,20'") from None


@main.command()
@click.argument('recipe', type=click.Path(path_type=Path))
@click.argument('images', type=click.Path(path_type=Path))
@click.option(
    '--sizes',
    'sizes_px',
    metavar='PX,..',
    callback=_numbers,
    help='Sizes of the defects: diameter of the circle of the same area. Default: 4,6,8,12,20,32.',
)
@click.option(
    '--contrasts',
    metavar='LEVELS,..',
    callback=_numbers,
    help='Contrasts of the defects: mean change of the gray level. Default: 8,15,30,60.',
)
@click.option(
    '--defects-each',
    type=click.IntRange(1, 1000),
    default=10,
    show_default=True,
    help='Defects of every kind at every size and contrast; more give narrower intervals.',
)
@click.option('--seed', type=click.IntRange(0), default=1, show_default=True)
@click.option(
    '--json',
    'json_file',
    type=click.Path(path_type=Path, dir_okay=False),
    help='Write all figures.',
)
@click.option(
    '--html', type=click.Path(path_type=Path, file_okay=False), help='Write a page to look at.'
)
def self_test(
    recipe: Path,
    images: Path,
    sizes_px: tuple[float, ...] | None,
    contrasts: tuple[float, ...] | None,
    defects_each: int,
    seed: int,
    json_file: Path | None,
    html: Path | None,
) -> None:
    """
    Show which sizes and contrasts of defect RECIPE sees, with IMAGES, a folder of good parts.

    Puts synthetic defects (pastes, scratches, stains, missing material, dents) on the good parts
    and judges them as in the cell. Take good parts that the recipe was not taught on.
    """
    from anomaly_inspection.evaluation import self_test as tests
    from anomaly_inspection.evaluation.self_test_report import write_self_test
    from anomaly_inspection.recipes.folder import read_recipe

    with _progress() as progress:
        result = tests.self_test(
            read_recipe(recipe),
            _good_images(images),
            sizes_px=sizes_px or tests.SIZES_PX,
            contrasts=contrasts or tests.CONTRASTS,
            defects_each=defects_each,
            seed=seed,
            progress=progress,
        )
    table = Table(
        title='Percent of the defects seen, all kinds, with the 95 % interval',
        title_justify='left',
        box=None,
        pad_edge=False,
    )
    table.add_column('levels', justify='right')
    for size_px in result.sizes_px:
        table.add_column(f'{size_px:g} px', justify='right')
    for contrast in result.contrasts:
        shares = [result.seen(size_px, contrast) for size_px in result.sizes_px]
        texts = [
            tests.shares_text(share).replace(' % ', '\n') if share else '-' for share in shares
        ]
        table.add_row(f'{contrast:g}', *texts)
    console.print(table)
    console.print()
    for sentence in result.in_words():
        console.print(f'  {sentence}', soft_wrap=True)
    for note in result.notes:
        console.print(f'[yellow]{_escaped(note)}[/]', soft_wrap=True)
    if json_file:
        try:
            json_file.write_text(tests.to_json(result), encoding='utf-8')
        except OSError as error:
            raise SettingError(f'{json_file} cannot be written: {error.strerror}') from error
    if html:
        console.print(f'page {_escaped(str(write_self_test(result, html)))}', soft_wrap=True)


# ----------------------------------------------------------------------------------------- run


@main.command()
@click.option(
    '--recipe', required=True, type=click.Path(path_type=Path), help='Folder of the recipe.'
)
@click.option(
    '--source',
    required=True,
    help="Camera index or device, image folder, video file, or 'line' for the simulated line "
    "('line:parts=200,seed=2,defect_rate=0.3').",
)
@click.option(
    '--rate',
    type=click.FloatRange(0.01, 1000),
    default=5.0,
    show_default=True,
    help='Parts per second from files and the simulated line; a camera keeps its own pace.',
)
@click.option(
    '--parts', type=click.IntRange(1), help='Stop after so many parts; default: at the end.'
)
@click.option(
    '--config',
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help='Parameter file of the nodes; default: config/cell.yaml.',
)
@click.option(
    '--report',
    type=click.Path(path_type=Path, file_okay=False),
    help='Write overlays, parts.jsonl and summary.json into this folder.',
)
@click.option(
    '--fail-on-escape',
    is_flag=True,
    help='Exit with 1 when a part passed whose defect is known to be >= 12 px and >= 30 levels.',
)
def run(
    recipe: Path,
    source: str,
    rate: float,
    parts: int | None,
    config: Path | None,
    report: Path | None,
    fail_on_escape: bool,
) -> None:
    """
    Run the cell in one process, all nodes over DDS, and print a line a part.

    Exit status: 0 every part was decided and its gate confirmed, 1 a part was lost, a gate did not
    follow or confirm, or the line was stopped, 2 the command could not be carried out as given.
    """
    from anomaly_inspection.capture.open_source import open_source
    from anomaly_inspection.recipes.folder import read_recipe

    read_recipe(recipe)
    try:
        from anomaly_inspection.nodes.run import run_cell
        from anomaly_inspection.nodes.share import share_folder
    except ImportError as error:
        raise SettingError(
            f'run needs ROS 2 and the built messages ({error}): source the workspace first, '
            'or use `make run`'
        ) from error

    interrupted = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: interrupted.set())
    truth_source = open_source(source)
    if truth_source.is_live:
        # A camera that is not there now is a wrong option; one that is lost later is opened again.
        with truth_source:
            pass
    # The truth of files can be read once they are open; a camera has none.
    with nullcontext() if truth_source.is_live else truth_source:
        result = run_cell(
            recipe,
            truth_source,
            source,
            rate_hz=rate,
            parameter_file=config or share_folder() / 'config' / 'cell.yaml',
            overlays=report / 'overlays' if report else None,
            most_parts=parts,
            interrupted=interrupted,
            part_done=_print_part,
        )
    summary = _print_summary(result)
    if report:
        _write_report(report, result, summary)
    sys.exit(_exit_status(summary, fail_on_escape=fail_on_escape))


def _print_part(record: PartRecord) -> None:
    color = 'green' if record.verdict == 'PASS' else 'red'
    notes = [f'challenge: known {record.known_as}'] if record.known_as else []
    if record.is_escape:
        notes.append(f'[bold red]ESCAPE of {record.true_class}[/]')
    if record.is_false_reject:
        notes.append('[bold yellow]FALSE REJECT[/]')
    if not record.has_gate_followed or not record.gate_is_confirmed:
        notes.append(f'[bold red]GATE: {_escaped(record.sort_detail)}[/]')
    gate = {True: 'passed', False: 'sorted out', None: 'LOST'}[record.has_passed_gate]
    console.print(
        f'{record.part_id:>6} {_escaped(record.name):<28} '
        f'[{color}]{record.verdict or "LOST":<6}[/] '
        f'{record.reason.lower().replace("_", " "):<15} score {record.anomaly_score:6.2f}  '
        f'{1e3 * record.latency_s:6.1f} ms  gate {gate:<10} '
        f'{record.true_class:<16} {" ".join(notes)}',
        soft_wrap=True,
    )


def _print_summary(result: Any) -> dict[str, Any]:
    from anomaly_inspection.evaluation.run_summary import summarise

    summary = summarise(result.records, result.duration_s)
    summary['line_stops'] = result.line_stop_reasons
    table = Table(title='What became of the parts', title_justify='left', box=None)
    table.add_column('truth')
    for heading in ('parts', 'passed', 'sorted out'):
        table.add_column(heading, justify='right')
    for row in summary['confusion']:
        table.add_row(
            row['true_class'], str(row['parts']), str(row['passed']), str(row['rejected'])
        )
    console.print()
    console.print(table)
    console.print()
    for name, value in (
        ('false rejects', f'{summary["false_rejects"]} of {summary["n_good"]} good parts'),
        (
            'escapes',
            f'{summary["escapes"]} of {summary["n_defect"]} defective parts, '
            f'{summary["large_escapes"]} of them known to be >= 12 px and >= 30 levels',
        ),
        ('lost parts', summary['lost']),
        ('gate not as decided', summary['gate_not_followed']),
        ('gate not confirmed', summary['gate_not_confirmed']),
        ('throughput', f'{summary["parts_per_second"] or 0:.1f} parts/s'),
        (
            'exposure to decision',
            f'p50 {summary["latency_ms"]["p50"]:.1f} ms, '
            f'p99 {summary["latency_ms"]["p99"]:.1f} ms',
        ),
        (
            'gate firing error',
            f'p50 {summary["firing_error_ms"]["p50"]:.1f} ms, '
            f'p99 {summary["firing_error_ms"]["p99"]:.1f} ms',
        ),
    ):
        console.print(f'  {name:<22}{value}')
    if summary['challenge_parts'] or summary['blocked']:
        console.print(
            f'  not counted above     {summary["challenge_parts"]} parts of challenges, '
            f'{summary["blocked"]} blocked because one was due'
        )
    for reason in result.line_stop_reasons:
        console.print(f'  [bold red]line stopped[/]          {_escaped(reason)}', soft_wrap=True)
    return summary


def _write_report(folder: Path, result: Any, summary: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / 'parts.jsonl').open('w') as file:
        for record in result.records:
            entry = {**vars(record), 'true_class': record.true_class}
            del entry['truth']
            file.write(json.dumps(_without_nan(entry)) + '\n')
    (folder / 'summary.json').write_text(json.dumps(_without_nan(summary), indent=2) + '\n')
    console.print(f'  report                {folder} ({len(result.overlays)} overlays)')


def _exit_status(summary: dict[str, Any], *, fail_on_escape: bool) -> int:
    has_fault = bool(
        summary['lost']
        or summary['gate_not_followed']
        or summary['gate_not_confirmed']
        or summary['line_stops']
        or not summary['parts']
    )
    has_escape = fail_on_escape and summary['large_escapes'] > 0
    return EXIT_FAULT if has_fault or has_escape else EXIT_OK


# ------------------------------------------------------------------------------------ evaluate


@main.command()
@click.argument('recipes', nargs=-1, required=True, type=click.Path(path_type=Path))
@click.argument('dataset', type=click.Path(path_type=Path))
@click.option(
    '--json',
    'json_file',
    type=click.Path(path_type=Path, dir_okay=False),
    help='Write all figures.',
)
@click.option(
    '--html', type=click.Path(path_type=Path, file_okay=False), help='Write a report to look at.'
)
@click.option(
    '--region-iou',
    type=float,
    default=0.33,
    show_default=True,
    help='IoU from which on a region found and a defect marked are a match.',
)
def evaluate(
    recipes: tuple[Path, ...],
    dataset: Path,
    json_file: Path | None,
    html: Path | None,
    region_iou: float,
) -> None:
    """
    Measure RECIPES on DATASET, labelled images in MVTec AD's layout (its root or its test folder).

    Several recipes are put side by side, with the differences of their AUROC from the first's.
    """
    from anomaly_inspection.evaluation import comparison, comparison_report, report
    from anomaly_inspection.evaluation.evaluate import evaluate_dataset, to_json
    from anomaly_inspection.recipes.folder import read_recipe

    read = [read_recipe(recipe) for recipe in recipes]
    with _progress() as progress:
        evaluations = [
            evaluate_dataset(recipe, dataset, progress, region_iou=region_iou) for recipe in read
        ]
    if len(evaluations) == 1:
        _print_figures(evaluations[0].figures)
        text = to_json(evaluations[0])
    else:
        compared = comparison.compare(evaluations)
        _print_comparison(compared)
        text = comparison.to_json(compared)
    if json_file:
        try:
            json_file.write_text(text, encoding='utf-8')
        except OSError as error:
            raise SettingError(f'{json_file} cannot be written: {error.strerror}') from error
    if html:
        page = (
            report.write_report(evaluations[0], html)
            if len(evaluations) == 1
            else comparison_report.write_comparison(compared, html)
        )
        console.print(f'report {_escaped(str(page))}', soft_wrap=True)


def _print_comparison(compared: Any) -> None:
    for place, (label, evaluation) in enumerate(
        zip(compared.labels, compared.evaluations, strict=True)
    ):
        console.print(f'[bold]{_escaped(label)}[/]', soft_wrap=True)
        _print_figures(evaluation.figures)
        difference = compared.differences[place - 1] if place else None
        if difference is not None:
            console.print(
                f'image AUROC less that of {_escaped(compared.labels[0])}: '
                f'{difference.value:+.3f} (95 %: {difference.low:+.3f} to {difference.high:+.3f})',
                soft_wrap=True,
            )
        console.print()


def _print_figures(figures: dict[str, Any]) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column('figure')
    table.add_column('value', justify='right')
    table.add_column('95 % interval', justify='right')
    intervals = figures['interval']
    rows = {key: (figures[key], intervals[key]) for key in ('image_auroc', 'average_precision')}
    rows['f1_max'] = figures['f1_max'], intervals['f1_max']
    for group in ('at_limits', 'recall_by_defect'):
        prefix = 'recall of ' if group == 'recall_by_defect' else ''
        for key, value in figures[group].items():
            rows[f'{prefix}{key}'] = value, intervals[group][key]
    for key in ('class_accuracy', 'pixel_auroc', 'aupro'):
        rows[key] = figures[key], intervals[key]
    for group, shares in (figures['regions'] or {}).items():
        for key, value in shares.items():
            rows[f'region {group} {key}'] = value, intervals['regions'][group][key]
    for name, (value, interval) in rows.items():
        if value is not None:
            table.add_row(
                _escaped(name), f'{value:.3f}', f'{interval[0]:.3f} to {interval[1]:.3f}'
            )
    times = figures['ms_per_image']
    console.print(
        f'{figures["n_good"]} good, {figures["n_defect"]} defective, '
        f'{figures["n_no_part"]} of empty places'
    )
    console.print(table)
    if times['p50'] is not None:
        console.print(f'{times["p50"]:.1f} ms an image (median), 99 % below {times["p99"]:.1f} ms')
    for note in figures['notes']:
        console.print(f'[yellow]{_escaped(note)}[/]', soft_wrap=True)


# ------------------------------------------------------------------------------------ simulate


@main.command()
@click.argument('directory', type=click.Path(path_type=Path))
@click.option(
    '--parts',
    type=click.IntRange(1),
    default=200,
    show_default=True,
    help='Number of test parts, good and defective.',
)
@click.option(
    '--train-parts',
    type=click.IntRange(0),
    default=60,
    show_default=True,
    help='Number of good parts to teach with.',
)
@click.option('--seed', type=click.IntRange(0), default=1, show_default=True)
@click.option(
    '--line',
    default='line',
    show_default=True,
    help="The line's settings, as in 'line:rotation_deg=180,defect_rate=0.5'.",
)
def simulate(directory: Path, parts: int, train_parts: int, seed: int, line: str) -> None:
    """
    Write a labelled data set of the simulated line into DIRECTORY.

    MVTec layout: train/good, test/good, test/<defect>, ground_truth/<defect>, with labels.csv and
    events.csv. The same seed gives the same images.
    """
    from dataclasses import replace

    from anomaly_inspection.capture.simulated_dataset import write_dataset
    from anomaly_inspection.capture.simulated_line import SimulatedLineSettings

    settings = replace(SimulatedLineSettings.from_spec(line), seed=seed)
    with _progress() as progress:
        write_dataset(
            directory,
            settings,
            train_parts=train_parts,
            test_parts=parts,
            progress=lambda done, total: progress(done, total, 'rendering'),
        )
    console.print(f'{train_parts} good parts to teach and {parts} test parts in {directory}')


# ------------------------------------------------------------------------------------- helpers


@contextmanager
def _progress() -> Iterator[Callable[[int, int, str], None]]:
    columns = (
        TextColumn('{task.description:<28}'),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=errors, transient=True) as bar:
        task = bar.add_task('', total=None)

        def update(done: int, total: int, what: str) -> None:
            bar.update(task, completed=done, total=total, description=what)

        yield update


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def _without_nan(value: Any) -> Any:
    """
    Give the value with None in the place of NaN, which JSON does not know.

    """
    if isinstance(value, dict):
        return {key: _without_nan(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_without_nan(entry) for entry in value]
    return None if isinstance(value, float) and value != value else value


if __name__ == '__main__':
    main()
