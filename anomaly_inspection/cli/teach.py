# SPDX-License-Identifier: Apache-2.0
"""
Make a recipe from images of good parts.

"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Literal

import click

from anomaly_inspection.cli.good_images import good_images, print_left_out
from anomaly_inspection.cli.output import (
    console,
    escaped,
    progress_bar,
)
from anomaly_inspection.cli.recipe_table import print_recipe
from anomaly_inspection.errors import SettingError


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


@click.command()
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
    from anomaly_inspection.learning.recipe_calibration import false_rejects_of
    from anomaly_inspection.learning.teach import teach as teach_parts
    from anomaly_inspection.learning.teach import TeachOptions
    from anomaly_inspection.recipes.folder import write_recipe
    from anomaly_inspection.recipes.recipe import Provenance

    chosen = _scorer_settings(settings)
    for scorer, files in _network_settings(scorers, model, model_metadata).items():
        chosen.setdefault(scorer, {}).update(files)
    frames = list(good_images(images))
    with progress_bar() as progress:
        taught = teach_parts(
            frames,
            name=recipe.name,
            product=product,
            classes=_classes([name for name, _ in frames]),
            provenance=Provenance(taught_by=taught_by, source=str(images)),
            progress=progress,
            options=TeachOptions(
                scorers=_named_scorers(scorers),
                scorer_settings=chosen,
                speed_budget_ms=speed_budget_ms,
                region_of_interest=RegionOfInterest(*roi) if roi else None,
                highlight_colours=highlight_colours,
                false_reject_rate=false_reject_rate,
            ),
        )
    print_left_out(taught.provenance.left_out)
    for reason in taught.provenance.choice:
        console.print(f'  {escaped(reason)}', soft_wrap=True)
    written = write_recipe(taught, recipe)
    print_recipe(written)
    false_rejects = false_rejects_of(written)
    if false_rejects is None:
        promise = (
            'The scorers took their limits from different parts; so few parts promise '
            f'{100 * written.provenance.promised_rate:.2g} % false rejects at best.'
        )
    else:
        promise = false_rejects.promise(false_reject_rate)
    console.print(promise, soft_wrap=True)


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
