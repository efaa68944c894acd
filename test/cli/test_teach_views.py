# SPDX-License-Identifier: Apache-2.0
"""
`teach --view`: a recipe for each view, and what it refuses.

"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
import pytest

from anomaly_inspection.cli import main
from anomaly_inspection.recipes.folder import read_recipe
from anomaly_inspection.recipes.view_set import read_view_set
from support.drawn_plate import write_plates


def taught(recipe: Path, *arguments: Any) -> Result:
    given = ('--recipe', recipe, '--scorer', 'variation', '--no-self-test', *arguments)
    return CliRunner().invoke(main, ['teach', *map(str, given)])


def test_each_view_gets_a_recipe_and_one_can_be_taught_anew(tmp_path: Path) -> None:
    top, left = write_plates(tmp_path / 'a', 8), write_plates(tmp_path / 'b', 8, 50)
    part = tmp_path / 'part'
    result = taught(part, '--view', f'top={top}', '--view', f'left={left}', '--product', 'Plate')
    assert result.exit_code == 0, result.output
    assert 'holds the recipes of the views top, left' in ' '.join(result.output.split())
    before = read_view_set(part)
    assert list(before.taught) == ['top', 'left']
    assert read_recipe(part / 'left').product == 'Plate'
    anew = write_plates(tmp_path / 'c', 8, 90)
    result = taught(part, '--view', f'left={anew}')
    assert result.exit_code == 0, result.output
    after = read_view_set(part)
    assert after.taught['top'] == before.taught['top']
    assert after.taught['left'] != before.taught['left']
    assert read_recipe(part / 'left').version == 2


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (('images', '--view', 'top=a'), '--view takes the place of IMAGES and --add'),
        (('--view', 'top'), '--view top: allowed is NAME=IMAGES'),
        (('--view', 'top='), '--view top=: allowed is NAME=IMAGES'),
        (('--view', 'Top=a'), "view 'Top' is refused; allowed: a small letter"),
        (('--view', 'top=a', '--view', 'top=b'), '--view top is given twice'),
        (tuple(f'--view=v{n}=a' for n in range(5)), '5 views: v0, v1, v2, v3, v4; allowed: 4'),
    ],
)
def test_views_that_cannot_be_are_refused(
    tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    result = taught(tmp_path / 'part', *arguments)
    assert result.exit_code == 2
    assert words in ' '.join(result.output.split())
    assert not (tmp_path / 'part').exists()


def test_the_recipe_of_one_camera_is_no_folder_for_several(tmp_path: Path) -> None:
    images = write_plates(tmp_path / 'a', 8)
    assert taught(tmp_path / 'plate', images).exit_code == 0
    result = taught(tmp_path / 'plate', '--view', f'top={images}')
    assert result.exit_code == 2
    assert 'is the recipe of one view; give --recipe another folder' in ' '.join(
        result.output.split()
    )
