# SPDX-License-Identifier: Apache-2.0
"""
`teach --origin --axis --grasp`: marks in a picture of the part, kept when it is taught anew.

"""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner
import cv2
import numpy as np
import pytest

from anomaly_inspection.cli.command import main
from anomaly_inspection.cli.output import console, errors
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


@pytest.fixture(scope='module')
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_plates(tmp_path_factory.mktemp('plates') / 'good', 8)
    cv2.imwrite(str(folder.parent / 'moved.png'), np.roll(plate(60), (3, 4), axis=(0, 1)))
    return folder


def test_marks_are_kept_until_somebody_forgets_them(images: Path, tmp_path: Path) -> None:
    recipe = tmp_path / 'plate'
    taught(
        *(images, '--recipe', recipe, '--origin', '39,43', '--axis', '15', '--height-m', '0.02'),
        *('--grasp', '79,73,90,12.5', '--grasp', '50,60,0', '--marks-in', images / '../moved.png'),
        *('--edge-shift', '0.5,-0.4'),
    )
    marks = read_recipe(recipe).marks
    assert marks is not None
    # The bores, where the plate has not moved.
    assert marks.origin_px == pytest.approx((35.0, 40.0), abs=0.3)
    assert marks.axis_deg == pytest.approx(15.0, abs=0.5)
    assert marks.height_m == 0.02
    assert marks.edge_shift_px == (0.5, -0.4)
    first, second = marks.grasps
    assert (first.x_px, first.y_px) == pytest.approx((75.0, 70.0), abs=0.3)
    assert (first.width_px, second.width_px) == (pytest.approx(12.5, rel=0.02), None)

    taught(images, '--recipe', recipe)
    again = read_recipe(recipe)
    assert again.version == 2
    assert again.marks is not None
    assert again.marks.origin_px == pytest.approx(marks.origin_px, abs=0.1)
    assert len(again.marks.grasps) == 2

    taught(images, '--recipe', recipe, '--axis', '-90')
    anew = read_recipe(recipe).marks
    assert anew is not None
    assert (anew.origin_px, anew.grasps) == (None, ())
    assert anew.axis_deg == pytest.approx(-90.0, abs=0.5)

    taught(images, '--recipe', recipe, '--no-marks')
    assert read_recipe(recipe).marks is None


@pytest.mark.parametrize(
    ('options', 'says'),
    [
        (['--origin', '5'], "numbers such as '320.5,240'"),
        (['--origin', 'a,b'], "numbers such as '320.5,240'"),
        (['--origin', 'nan,5'], 'origin x_px is nan; allowed: a number from 0.0'),
        (['--origin', '112,5'], 'allowed: 0,0 to 111,111 px'),
        (['--axis', '400'], 'range'),
        (['--grasp', '5,5'], "numbers such as '320.5,240,90,60'"),
        (['--grasp', '5,5,0,0'], 'grasp width_px is 0.0; allowed: a number from 0.1'),
        (['--grasp', '5,500,0'], 'allowed: 0,0 to 111,111 px'),
        (['--height-m', '3'], 'range'),
        (['--marks-in', '{images}/0.png'], '--marks-in needs --origin'),
        (['--axis', '5', '--marks-in', '{images}/none.png'], 'the file is missing'),
        (['--axis', '5', '--no-marks'], 'not both'),
        (['--axis', '5', '--tolerate', 'fixed'], 'does not align its parts'),
    ],
)
def test_marks_that_cannot_be_are_refused_and_nothing_is_written(
    images: Path, tmp_path: Path, options: list[str], says: str
) -> None:
    given = [text.format(images=images) for text in options]
    assert says in taught(images, '--recipe', tmp_path / 'plate', *given, status=2)
    assert not (tmp_path / 'plate').exists()
