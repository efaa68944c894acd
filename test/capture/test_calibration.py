# SPDX-License-Identifier: Apache-2.0
"""
Calibration files: read as ROS writes them, refused with the file and the key.

"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from anomaly_inspection.capture.calibration import read_calibration
from anomaly_inspection.errors import SettingError

# As camera_calibration writes it.
TEXT = """image_width: 640
image_height: 480
camera_name: narrow_stereo
camera_matrix:
  rows: 3
  cols: 3
  data: [600.5, 0, 320.0, 0, 601.0, 240.0, 0, 0, 1]
distortion_model: plumb_bob
distortion_coefficients:
  rows: 1
  cols: 5
  data: [0.1, -0.2, 0.001, 0.002, 0]
rectification_matrix:
  rows: 3
  cols: 3
  data: [1, 0, 0, 0, 1, 0, 0, 0, 1]
projection_matrix:
  rows: 3
  cols: 4
  data: [590.0, 0, 321.0, 0, 0, 595.0, 241.0, 0, 0, 0, 1, 0]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / 'camera.yaml'


def test_a_file_of_camera_calibration_is_read(file: Path) -> None:
    file.write_text(TEXT)
    found = read_calibration(file)
    assert found.size == (640, 480)
    assert found.distortion_model == 'plumb_bob'
    assert found.distortion == (0.1, -0.2, 0.001, 0.002, 0.0)
    assert found.camera_matrix == (600.5, 0, 320, 0, 601, 240, 0, 0, 1)
    assert found.rectification_matrix == (1, 0, 0, 0, 1, 0, 0, 0, 1)
    assert found.projection_matrix == (590, 0, 321, 0, 0, 595, 241, 0, 0, 0, 1, 0)


@pytest.mark.parametrize(
    ('key', 'value', 'words'),
    [
        ('image_width', None, r'camera\.yaml: image_width is missing'),
        ('image_width', 0, 'image_width = 0 is refused: allowed is an integer from 1'),
        ('image_height', '480', "image_height = '480' is refused"),
        (
            'distortion_model',
            'thin_prism',
            "= 'thin_prism' is refused: allowed is plumb_bob",
        ),
        ('distortion_model', ['plumb_bob'], 'distortion_model'),
        ('camera_matrix', [1, 2], 'camera_matrix = .*allowed is rows, cols and data'),
        ('camera_matrix', {'data': [1.0] * 8}, r'camera_matrix\.data.*9 numbers, not 8'),
        ('projection_matrix', {'data': [1.0] * 9}, r'projection_matrix\.data.*12 numbers, not 9'),
        ('distortion_coefficients', {'data': [0.0] * 8}, 'distortion_coefficients.data'),
        ('camera_matrix', {'data': [float('nan')] * 9}, r'camera_matrix\.data = nan.*finite'),
        ('camera_matrix', {'data': ['1'] * 9}, r"camera_matrix\.data = '1'.*finite"),
        ('camera_matrix', {'data': [10**400] * 9}, r'camera_matrix\.data'),
    ],
)
def test_a_wrong_value_is_refused_with_its_key(
    file: Path, key: str, value: object, words: str
) -> None:
    content = yaml.safe_load(TEXT)
    content[key] = value
    if value is None:
        del content[key]
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(SettingError, match=words):
        read_calibration(file)


@pytest.mark.parametrize(
    ('data', 'words'),
    [
        (b'', 'allowed is a YAML mapping'),
        (b'- 1\n', 'allowed is a YAML mapping'),
        (b'a: [', 'is no YAML file'),
        (b'\xff\xfe', 'is no YAML file'),
        (b'[' * 20_000, 'is no YAML file'),
        (b'# ' + b'x' * 70_000, 'more than 65536 bytes'),
    ],
)
def test_what_is_no_calibration_file_is_refused(file: Path, data: bytes, words: str) -> None:
    file.write_bytes(data)
    with pytest.raises(SettingError, match=words):
        read_calibration(file)


def test_a_missing_file_and_a_pipe_are_refused_at_once(file: Path) -> None:
    with pytest.raises(SettingError, match='there is no calibration file'):
        read_calibration(file)
    os.mkfifo(file)
    with pytest.raises(SettingError, match='there is no calibration file'):
        read_calibration(file)
