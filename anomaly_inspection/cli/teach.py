# SPDX-License-Identifier: Apache-2.0
"""
Make a recipe from images of good parts.

"""

from __future__ import annotations

from pathlib import Path
import sys
from typing import Any, TYPE_CHECKING

import click

from anomaly_inspection.cli.good_images import offered_images, print_left_out
from anomaly_inspection.cli.learning_curve import print_curve
from anomaly_inspection.cli.marks import GivenMarks, mark_options
from anomaly_inspection.cli.options import (
    FALSE_REJECT_RATE,
    Number,
    tolerance,
    width_and_height,
)
from anomaly_inspection.cli.output import (
    console,
    escaped,
    EXIT_FAULT,
    EXIT_OK,
    print_fault,
    print_note,
    progress_bar,
)
from anomaly_inspection.cli.recipe_table import print_recipe
from anomaly_inspection.cli.scorer_options import (
    backbones,
    named_scorers,
    network_settings,
    scorer_settings,
)
from anomaly_inspection.errors import SettingError
from anomaly_inspection.printable import printable
from anomaly_inspection.recipes.layout import USUAL_IMAGES_MB

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anomaly_inspection.cli.scorer_options import Scorers, Settings
    from anomaly_inspection.evaluation.self_test_result import SelfTest
    from anomaly_inspection.learning.good_images import GoodImages
    from anomaly_inspection.learning.image_quality import ImageQuality
    from anomaly_inspection.recipes.recipe import Recipe


def _four_numbers(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[int, int, int, int] | None:
    if value is None:
        return None
    try:
        x, y, width, height = (int(text) for text in value.split(','))
    except ValueError:
        raise click.BadParameter(
            f"{value!r} is not four whole numbers of pixels such as '40,20,200,240'"
        ) from None
    return x, y, width, height


@click.command(short_help='Make a recipe from good parts.')
@click.argument('images', type=click.Path(path_type=Path), required=False)
@click.option(
    '--recipe',
    required=True,
    type=click.Path(path_type=Path),
    help='Folder of the recipe to write. Its last part is the name of the recipe.',
)
@click.option(
    '--view',
    'views',
    metavar='NAME=IMAGES',
    multiple=True,
    help='Several cameras see each part: images of good parts of one of them; give it once for '
    'each view, 4 at most, in place of IMAGES. RECIPE then holds a recipe for each view. All '
    'other options hold for each of them.',
)
@click.option(
    '--add',
    'more',
    type=click.Path(path_type=Path),
    metavar='MORE_IMAGES',
    help='Teach the recipe anew with the images that it keeps and those in this folder. Give this '
    'in place of IMAGES.',
)
@click.option(
    '--keep-images/--no-keep-images',
    'is_kept',
    default=None,
    help='Keep the images in the recipe, so that --add can extend it. Default: when they take '
    f'less than {USUAL_IMAGES_MB} MB.',
)
@click.option(
    '--scorer',
    'scorers',
    multiple=True,
    help="Method that compares parts; give it several times to use several. Default: 'auto' "
    'tries all of them with synthetic defects on your parts and takes the best.',
)
@click.option(
    '--setting',
    'settings',
    metavar='SCORER.KEY=VALUE',
    multiple=True,
    help='Setting of a scorer, such as patch_statistics.statistics=pooled; may be given several '
    'times.',
)
@click.option(
    '--speed-budget-ms',
    type=Number(0, 60_000, min_open=True),
    default=100.0,
    show_default=True,
    help='For --scorer auto: the longest time that the scorers may take for a frame, counted for '
    'one core at about 3 GHz.',
)
@click.option(
    '--roi',
    metavar='X,Y,W,H',
    callback=_four_numbers,
    help='Region of interest: left, top, width and height in pixels. Nothing outside is judged.',
)
@click.option(
    '--size',
    metavar='WxH',
    callback=width_and_height,
    help='Scale the images, and the frames in the cell, to this size, such as 640x480. Default: '
    'the size of the images, or their median size where sizes differ.',
)
@click.option(
    '--tolerate',
    callback=tolerance,
    metavar='WHAT=HOW_MUCH,...',
    help='How far a good part may lie from the taught ones: shift=12px (or 4%), rotation=10deg '
    '(or any), light=15%, defocus=1px, noise=2levels; "fixed" = the part never moves. Default: '
    'shift=3%,rotation=5deg,light=10%,defocus=0.5px,noise=1levels.',
)
@click.option(
    '--highlight-colours',
    is_flag=True,
    help='For colour cameras: turn every colour that no good part has (rust, a stain, a wrong '
    'component) white or black, so that all scorers see it.',
)
@click.option(
    '--false-reject-rate',
    type=FALSE_REJECT_RATE,
    default=0.05,
    show_default=True,
    help='Share of good parts that may be rejected, 0.05 = 5 in 100. A smaller share makes '
    'the limits less strict.',
)
@click.option(
    '--model',
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help='For --scorer openvino: the .xml file of an exported anomaly model; its .bin file must '
    'be beside it.',
)
@click.option(
    '--model-metadata',
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help='For --scorer openvino: JSON file with the metadata of the model. '
    'Default: metadata.json beside it.',
)
@click.option(
    '--backbone',
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help='For --scorer features and deep_features: an .onnx or OpenVINO .xml file of a pretrained '
    'network. Default: EfficientNet-Lite0, from the extra [pretrained].',
)
@click.option(
    '--backbone-layers',
    metavar='NAME,NAME',
    help='With --backbone: the layers to take features from. Default: found in the network.',
)
@click.option(
    '--self-test/--no-self-test',
    'is_tested',
    default=True,
    show_default=True,
    help='Try the recipe on synthetic defects at the end (seconds, 30 s at most).',
)
@click.option(
    '--curve',
    'has_curve',
    is_flag=True,
    help='Teach on 5, 10, 20, 50 and 100 of the images as well, and say what more images bring. '
    'Takes as long as teaching several times.',
)
@mark_options
@click.option('--product', default='', help='Name of the product, kept in the recipe.')
@click.option('--taught-by', default='', help='Your name, kept in the recipe.')
def teach(
    images: Path | None,
    recipe: Path,
    views: tuple[str, ...],
    **given: Any,
) -> None:
    """
    Make a recipe from IMAGES, a folder of good parts only.

    Thirty images are a start, a hundred are better. Put each part down anew, and let light and
    position vary as they do on the line. An existing recipe gets a new version; the old one is
    kept beside it. --add teaches a recipe anew with more images.

    Parts of several classes (scorer template): put each class in a folder of its own inside
    IMAGES. Otherwise parts that look alike become a class.

    Exit status: 0 when the recipe is fit for use, 1 when it is written but its self-test shows
    that it is not, 2 when no recipe can be made.
    """
    from anomaly_inspection.cli.teach_views import teach_views, view_folders

    if not views:
        sys.exit(_teach_one(images, recipe, **given))
    if images is not None or given['more'] is not None:
        raise SettingError('--view takes the place of IMAGES and --add; leave them out')
    folders = view_folders(views)
    sys.exit(teach_views(folders, recipe, lambda *place: _teach_one(*place, **given)))


def _teach_one(
    images: Path | None,
    recipe: Path,
    *,
    more: Path | None,
    is_kept: bool | None,
    scorers: tuple[str, ...],
    settings: tuple[str, ...],
    is_tested: bool,
    has_curve: bool,
    model: Path | None,
    model_metadata: Path | None,
    backbone: Path | None,
    backbone_layers: str | None,
    **given: Any,
) -> int:
    """
    Teach one recipe; give the exit status.

    """
    from anomaly_inspection.recipes.carried_ranges import with_ranges_of
    from anomaly_inspection.recipes.folder import check_place, write_recipe
    from anomaly_inspection.teaching.after_teaching import promise

    chosen = scorer_settings(settings)
    for scorer, files in network_settings(scorers, model, model_metadata).items():
        chosen.setdefault(scorer, {}).update(files)
    if backbone or backbone_layers:
        for scorer, name in backbones(scorers, backbone, backbone_layers).items():
            chosen.setdefault(scorer, {}).setdefault('backbone', name)
    named = named_scorers(scorers)
    marks = GivenMarks(given, images or more)
    old = check_place(recipe)
    if more is None:
        good = _read(images, given)
    else:
        good, named, chosen = _extended(old, images, recipe, more, scorers, named, chosen, given)
    quality = _looked_at(good)
    taught = _taught(good, quality, images or more, recipe.name, named, chosen, given)
    print_left_out(taught.provenance.left_out)
    _print_choice(taught.provenance.choice)
    taught, notes = with_ranges_of(old, marks.put_on(taught, old))
    written = write_recipe(taught, recipe, images=_kept(taught, good, is_kept))
    print_recipe(written)
    for note in notes:
        console.print(escaped(note), soft_wrap=True)
    console.print(promise(written, given['false_reject_rate']), soft_wrap=True)
    _print_speed(written)
    result = _tested(written, good) if is_tested else None
    if result is not None:
        _print_self_test(result)
    if has_curve:
        print_curve(written, good)
    return EXIT_FAULT if result is not None and result.faults() else EXIT_OK


def _print_choice(reasons: Sequence[str]) -> None:
    from anomaly_inspection.learning.scorer_choice import NEARLY_BLIND

    for reason in reasons:
        if reason.startswith(NEARLY_BLIND):
            print_fault(f'{reason}.')
        else:
            console.print(f'  {escaped(reason)}', soft_wrap=True)


def _read(images: Path | None, given: dict[str, Any]) -> GoodImages:
    from anomaly_inspection.imaging.region_of_interest import RegionOfInterest
    from anomaly_inspection.learning.good_images import GoodImages

    if images is None:
        raise SettingError('give IMAGES, a folder of good parts, or --add MORE_IMAGES')
    good = GoodImages.checked(
        offered_images(images),
        size=given['size'],
        region=RegionOfInterest(*given['roi']) if given['roi'] else None,
    )
    return good.with_classes(_classes([name for name, _ in good.without(good.unfit)]))


def _extended(
    old: Recipe | None,
    images: Path | None,
    recipe: Path,
    more: Path,
    scorers: tuple[str, ...],
    named: Scorers,
    chosen: Settings,
    given: dict[str, Any],
) -> tuple[GoodImages, Scorers, Settings]:
    """
    Give what --add teaches: all images, and what was not given anew as the recipe has it.

    """
    from anomaly_inspection.learning.more_images import scorers_of, with_more_images

    if images is not None:
        raise SettingError('give IMAGES or --add, not both: --add takes the images of the recipe')
    if given['size'] or given['roi']:
        raise SettingError(
            '--add takes size and region of interest from the recipe; leave them out'
        )
    if old is None:
        raise SettingError(f'there is no recipe {printable(recipe)} that could be extended')
    if not scorers and not chosen:
        settings = scorers_of(old)
        named, chosen = tuple(settings), {name: dict(values) for name, values in settings.items()}
    region = old.preprocessing.region_of_interest
    given['roi'] = region and (region.x, region.y, region.width, region.height)
    given['highlight_colours'] |= any(
        each.kind == 'colour_highlight' for each in old.preprocessing.filters
    )
    given['product'] = given['product'] or old.product
    given['tolerate'] = given['tolerate'] or old.tolerance
    good = with_more_images(old, offered_images(more))
    return good.with_classes(_classes([name for name, _ in good.named])), named, chosen


def _kept(taught: Recipe, good: GoodImages, is_kept: bool | None) -> list[tuple[str, bytes]]:
    """
    Give the files of the images to keep; none when they are not wanted or take too much.

    """
    from anomaly_inspection.recipes.teaching_images import encoded
    from anomaly_inspection.teaching.after_teaching import images_to_keep, taught_on

    if is_kept is False:
        return []
    files = encoded(taught_on(taught, good)) if is_kept else images_to_keep(taught, good)
    if files is None:
        print_note(
            f'The images are not kept, as they take more than {USUAL_IMAGES_MB} MB. '
            '--keep-images keeps them, so that --add can extend the recipe.'
        )
    return files or []


def _looked_at(good: GoodImages) -> ImageQuality:
    """
    Say how good the images are, one line each.

    """
    from anomaly_inspection.learning.image_quality import image_quality

    with progress_bar() as progress:
        quality = image_quality(
            good.without(good.unfit), progress, has_classes=good.classes is not None
        )
    for note in good.notes:
        console.print(escaped(note), soft_wrap=True)
    for finding in quality.findings:
        if finding.is_problem:
            print_note(finding.sentence)
        else:
            console.print(escaped(finding.sentence), soft_wrap=True)
    return quality


def _taught(
    good: GoodImages,
    quality: ImageQuality,
    images: Path | None,
    name: str,
    scorers: Scorers,
    scorer_settings: Settings,
    given: dict[str, Any],
) -> Recipe:
    from anomaly_inspection.imaging.region_of_interest import RegionOfInterest
    from anomaly_inspection.imaging.tolerance import Tolerance
    from anomaly_inspection.learning.teach import teach as teach_parts
    from anomaly_inspection.learning.teach import TeachOptions
    from anomaly_inspection.recipes.recipe import Provenance

    with progress_bar() as progress:
        return teach_parts(
            good,
            name=name,
            product=given['product'],
            quality=quality,
            provenance=Provenance(taught_by=given['taught_by'], source=str(images)),
            progress=progress,
            options=TeachOptions(
                scorers=scorers,
                scorer_settings=scorer_settings,
                speed_budget_ms=given['speed_budget_ms'],
                region_of_interest=RegionOfInterest(*given['roi']) if given['roi'] else None,
                highlight_colours=given['highlight_colours'],
                false_reject_rate=given['false_reject_rate'],
                tolerance=given['tolerate'] or Tolerance(),
            ),
        )


def _print_speed(recipe: Recipe) -> None:
    from anomaly_inspection.evaluation.frame_time import measure_frame_time

    console.print(f'Speed: {measure_frame_time(recipe)}.', soft_wrap=True)


def _tested(recipe: Recipe, good: GoodImages) -> SelfTest:
    """
    Try the recipe on synthetic defects on the parts that it was taught on.

    """
    from anomaly_inspection.teaching.after_teaching import short_self_test

    with progress_bar() as progress:
        return short_self_test(recipe, good, progress)


def _print_self_test(result: SelfTest) -> None:
    """
    Sum up a self-test in three lines, faults aside.

    """
    from anomaly_inspection.evaluation.recipe_faults import limits_note

    share = result.seen_in_all()
    if share is not None:
        console.print(
            f'Self-test: sees {100 * share.value:.0f} % of {len(result.defects)} synthetic '
            'defects on the parts it was taught on. On other parts it may see fewer.',
            soft_wrap=True,
        )
        reaches = {contrast: result.reach(contrast) for contrast in result.contrasts}
        texts = [
            f'{contrast:g} levels from {reach.size_px:g} px'
            if reach.is_seen
            else f'{contrast:g} levels not reliably'
            for contrast, reach in reaches.items()
            if reach
        ]
        console.print(
            f'  By contrast: {", ".join(texts)}. More: anomaly-inspection self-test --help',
            soft_wrap=True,
        )
    faults = result.faults()
    notes = () if faults else (limits_note(result.recipe), result.weakness())
    for note in filter(None, notes):
        print_note(f'  {note}')
    for fault in faults:
        print_fault(fault)
    if faults or result.weakness():
        is_chosen = bool(result.recipe.provenance.choice)
        first = '' if is_chosen else '--scorer auto, '
        console.print(f'  Try {first}--roi around the part, or steadier light and place.')


def _classes(names: list[str]) -> dict[str, str] | None:
    """
    Give the class of each image, the folder that it lies in; None when they are not in several.

    """
    classes = {name: name.rpartition('/')[0] for name in names}
    return classes if all(classes.values()) and len(set(classes.values())) > 1 else None
