# SPDX-License-Identifier: Apache-2.0
"""
`anomaly-inspection calibrate-camera`: the files it writes, what it prints, what it refuses.

"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from click.testing import CliRunner
import cv2
import numpy as np
import pytest

from anomaly_inspection.capture.belt_plane import BeltPlane, read_belt_plane
from anomaly_inspection.capture.calibration import read_calibration
from anomaly_inspection.capture.calibration_board import CalibrationBoard
from anomaly_inspection.cli.command import main
from anomaly_inspection.cli.output import console, errors
from support.calibrated_camera import BOARD, CAMERA, on_belt, write_pictures

CHARUCO = CalibrationBoard.from_text(BOARD)
MIDDLE = np.array([(240.0, 180.0)])


def calibrated(*arguments: Any, status: int = 0) -> str:
    """
    Run the command and give what it says.

    """
    with console.capture() as capture, errors.capture() as faults:
        answer = CliRunner().invoke(main, ['calibrate-camera', *map(str, arguments)])
    said = ' '.join((capture.get() + faults.get() + answer.output).split())
    assert answer.exit_code == status, said
    return said


@pytest.fixture(scope='module')
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    A folder with pictures of the board, one of them without it, and one of the belt.

    """
    folder = tmp_path_factory.mktemp('site')
    write_pictures(folder / 'board', CHARUCO, 10)
    cv2.imwrite(str(folder / 'board' / 'empty.png'), np.full((360, 480), 80, np.uint8))
    cv2.imwrite(str(folder / 'belt.png'), on_belt(CHARUCO, 30.0)[0])
    return folder


def test_camera_and_belt_are_written_and_the_figures_said(site: Path, tmp_path: Path) -> None:
    out = tmp_path / 'new' / 'calibration'
    said = calibrated(
        *(site / 'board', '--board', BOARD, '--belt-image', site / 'belt.png', '--out', out),
        *('--json', tmp_path / 'figures.json', '--camera-frame', 'left_optical_frame'),
    )
    assert 'left out: empty.png: no marker of DICT_4X4_50' in said
    for words in (
        '10 pictures, 1 left out',
        'reprojection error',
        'picture covered',
        'mm a pixel',
    ):
        assert words in said
    assert sorted(os.listdir(out)) == ['belt_plane.png', 'belt_plane.yaml', 'camera.yaml']
    assert read_calibration(out / 'camera.yaml').size == (480, 360)
    plane = read_belt_plane(out / 'belt_plane.yaml')
    assert plane.camera_frame == 'left_optical_frame'
    truth = BeltPlane(CAMERA.calibration, *on_belt(CHARUCO, 30.0)[1:])
    assert plane.to_belt(MIDDLE) == pytest.approx(truth.to_belt(MIDDLE), abs=0.0005)
    figures = json.loads((tmp_path / 'figures.json').read_text())
    assert list(figures['camera']['left_out']) == ['empty.png']
    assert 0 < figures['camera']['rms_px'] < 0.2
    assert 0 < figures['belt']['spread_m'] < 0.001

    # The camera was moved: its own calibration stays.
    again = tmp_path / 'again'
    calibrated(
        *('--camera-info', out / 'camera.yaml', '--board', BOARD, '--out', again),
        *('--belt-image', site / 'belt.png', '--board-thickness-m', '0.003'),
    )
    assert sorted(os.listdir(again)) == ['belt_plane.png', 'belt_plane.yaml']
    thick = read_belt_plane(again / 'belt_plane.yaml')
    assert thick.to_belt(MIDDLE, 0.003) == pytest.approx(plane.to_belt(MIDDLE), abs=1e-6)


@pytest.mark.parametrize(
    ('arguments', 'says'),
    [
        ([], 'give IMAGES'),
        (['{site}/board', '--camera-info', '{site}/belt.png'], 'give IMAGES'),
        (['--camera-info', '{site}/belt.png'], '--camera-info needs --belt-image'),
        (
            ['--camera-info', '{site}/belt.png', '--belt-image', '{site}/belt.png'],
            'no calibration file',
        ),
        (['{site}/nowhere'], 'there is no folder'),
        (['{site}/belt.png'], 'is a file; allowed: a folder of images'),
        (['{site}/board', '--board', 'checkerboard:9x6:0.025'], 'found in 0 of 11 pictures'),
        (['{site}/board', '--board', 'checkerboard:9x6'], 'inner corners in a row'),
        (['{site}/board', '--max-rms-px', '0.011'], 'allowed: 0 to 0.011 px'),
        (['{site}/board', '--max-rms-px', 'nan'], 'range'),
        (['{site}/board', '--belt-image', '{site}/board/empty.png'], 'empty.png: no marker'),
        (['{site}/board', '--camera-frame', '/left'], 'allowed: letters'),
        (['{site}/board', '--belt-frame', 'camera_optical_frame'], 'another name'),
        (['{site}/board', '--out', '{site}/belt.png/x'], 'is not a folder'),
    ],
)
def test_what_is_refused_says_why_and_writes_nothing(
    site: Path, tmp_path: Path, arguments: list[str], says: str
) -> None:
    given = [text.format(site=site) for text in arguments]
    given = [*given, *(() if '--board' in given else ('--board', BOARD))]
    given = [*given, *(() if '--out' in given else ('--out', str(tmp_path / 'out')))]
    assert says in calibrated(*given, status=2)
    assert not (tmp_path / 'out').exists()


def test_an_older_calibration_stays_when_the_new_one_is_refused(
    site: Path, tmp_path: Path
) -> None:
    (tmp_path / 'camera.yaml').write_text('old')
    calibrated(
        *(site / 'board', '--board', BOARD, '--out', tmp_path, '--max-rms-px', 0.011), status=2
    )
    assert (tmp_path / 'camera.yaml').read_text() == 'old'
