# SPDX-License-Identifier: Apache-2.0
"""
The teach command and its images: any folder, more images later, the learning curve.

"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from click.testing import CliRunner
import pytest

from anomaly_inspection.cli.command import main
from anomaly_inspection.cli.output import console, errors
from anomaly_inspection.errors import SettingError
from anomaly_inspection.evaluation.learning_curve import CurvePoint, learning_curve, LearningCurve
from anomaly_inspection.imaging.tolerance import Tolerance
from anomaly_inspection.learning.good_images import GoodImages
from anomaly_inspection.recipes.folder import read_recipe
from support.drawn_plate import plate, write_plates


def taught(*arguments: object, status: int = 0) -> str:
    """
    Run the command and give what it says.

    """
    quick = ('--scorer', 'variation', '--no-self-test')
    with console.capture() as capture, errors.capture() as faults:
        answer = CliRunner().invoke(main, ['teach', *map(str, arguments), *quick])
    said = ' '.join((capture.get() + faults.get() + answer.output).split())
    assert answer.exit_code == status, said
    return said


def test_files_that_cannot_be_used_are_left_out_and_named(tmp_path: Path) -> None:
    images = write_plates(tmp_path / 'good', 11)
    (images / 'broken.png').write_bytes(b'no image')
    said = taught(images, '--recipe', tmp_path / 'plate')
    assert 'left out: broken.png' in said
    assert read_recipe(tmp_path / 'plate').provenance.image_count == 11


def test_a_size_is_taken_and_a_bad_one_is_refused(tmp_path: Path) -> None:
    images = write_plates(tmp_path / 'good', 8)
    said = taught(images, '--recipe', tmp_path / 'plate', '--size', '56x56')
    assert 'they are scaled to 56 x 56 px, and so are frames in the cell' in said
    assert read_recipe(tmp_path / 'plate').frame_format.width == 56
    for bad in ('56', '8x56', '0x0', '99999x99', '-5x20'):
        said = taught(images, '--recipe', tmp_path / 'other', '--size', bad, status=2)
        assert 'each 16 to 16384 px' in said


def test_a_tolerance_is_taken_and_a_bad_one_is_refused(tmp_path: Path) -> None:
    images = write_plates(tmp_path / 'good', 8)
    taught(images, '--recipe', tmp_path / 'plate', '--tolerate', 'fixed,light=20%')
    recipe = read_recipe(tmp_path / 'plate')
    assert recipe.preprocessing.alignment.kind == 'none'
    assert recipe.tolerance == Tolerance(0.0, rotation_deg=0.0, light_share=0.2)
    said = taught(*(images, '--recipe', tmp_path / 'other', '--tolerate', 'light=90%'), status=2)
    assert "'light=90%' is out of range; allowed: light=0 to 50%" in said
    assert not (tmp_path / 'other').exists()


def test_more_images_make_the_next_version_of_a_recipe(tmp_path: Path) -> None:
    recipe = tmp_path / 'plate'
    taught(
        *(write_plates(tmp_path / 'good', 8), '--recipe', recipe),
        *('--roi', '8,8,96,96', '--product', 'Plate'),
    )
    more = write_plates(tmp_path / 'more', 4, first_seed=50)
    (more / 'broken.png').write_bytes(b'no image')
    said = taught('--add', more, '--recipe', recipe)
    assert 'left out: broken.png' in said
    extended = read_recipe(recipe)
    assert (extended.version, extended.provenance.image_count) == (2, 12)
    assert extended.product == 'Plate'
    region = extended.preprocessing.region_of_interest
    assert region is not None
    assert (region.x, region.width) == (8, 96)
    assert extended.teaching_images is not None
    kept = dict(extended.teaching_images.read())
    assert (kept['0.png'] == plate(0)).all()
    assert (kept['0.png (added to version 1)'] == plate(50)).all()
    assert read_recipe(tmp_path / 'plate.v1').provenance.image_count == 8


def test_a_recipe_that_keeps_no_images_says_which_it_needs(tmp_path: Path) -> None:
    images = write_plates(tmp_path / 'good', 8)
    taught(images, '--recipe', tmp_path / 'plate', '--no-keep-images')
    said = taught('--add', images, '--recipe', tmp_path / 'plate', status=2)
    assert 'does not keep the 8 images that it was taught on (from' in said
    assert 'Put them into one folder with the new ones' in said


@pytest.mark.parametrize(
    ('arguments', 'says'),
    [
        ((), 'give IMAGES, a folder of good parts, or --add'),
        (('good', '--add', 'good'), 'not both'),
        (('--add', 'good'), 'there is no recipe'),
        (('--add', 'good', '--size', '50x50'), 'from the recipe; leave them out'),
    ],
)
def test_arguments_that_contradict_each_other_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_plates(tmp_path / 'good', 8)
    assert says in taught(*arguments, '--recipe', 'plate', status=2)


def test_the_learning_curve_is_printed(tmp_path: Path) -> None:
    images = write_plates(tmp_path / 'good', 10)
    said = taught(images, '--recipe', tmp_path / 'plate', '--curve')
    for words in ('images', 'AUROC', 'false rejects', 'smallest defect', 'next 10 images'):
        assert words in said
    few = GoodImages.checked([plate(seed) for seed in range(8)])
    with pytest.raises(SettingError, match='needed for a learning curve: at least 9'):
        learning_curve(few, read_recipe(tmp_path / 'plate'))


def test_the_curve_says_what_the_next_images_bring() -> None:
    few, more = CurvePoint(20, 0.90, 0.10, 20.0), CurvePoint(40, 0.95, 0.02, 8.0)
    rising = LearningCurve((few, more), 10, 40).next_images()
    assert 'about 0.02 more AUROC and about 2 % fewer false rejects' in rising
    assert 'would fall from 7.2 % to 5.8 %' in rising
    flat = LearningCurve((more, replace(more, image_count=80)), 10, 80).next_images()
    assert 'hardly any better figures' in flat
    start = LearningCurve((few,), 4, 7).next_images()
    assert 'cannot be told from so few' in start
    assert 'can be promised from 20 different parts on' in start
