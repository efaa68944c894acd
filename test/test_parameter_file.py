# SPDX-License-Identifier: Apache-2.0
"""
A parameter file that the nodes cannot have been meant to read is refused, with the nearest name.

"""

from __future__ import annotations

from pathlib import Path

import pytest

from anomaly_inspection.errors import SettingError
from anomaly_inspection.parameter_file import (
    check_parameter_file,
    given_parameter_files,
    NODE_NAMES,
)
from support.paths import ROOT


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / 'site.yaml'
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_the_files_that_the_package_ships_are_taken_and_name_every_node(tmp_path: Path) -> None:
    paths = [ROOT / 'config' / name for name in ('cell.yaml', 'two_views.yaml')]
    assert [check_parameter_file(path) for path in paths] == [[], []]
    text = '\n'.join(path.read_text() for path in paths)
    assert all(f'/**/{name}:' in text for name in NODE_NAMES)


@pytest.mark.parametrize(
    'section', ['camera', '/camera', '/**/camera', '/left/camera', '/**', '/*/camera']
)
def test_every_way_to_name_a_node_is_allowed(tmp_path: Path, section: str) -> None:
    text = f'{section}:\n  ros__parameters:\n    rate_hz: 5.0\n'
    assert check_parameter_file(written(tmp_path, text)) == []


def test_a_namespace_may_be_a_level_of_its_own(tmp_path: Path) -> None:
    text = 'left:\n  camera:\n    ros__parameters:\n      rate_hz: 5.0\n'
    assert check_parameter_file(written(tmp_path, text)) == []


@pytest.mark.parametrize(
    ('text', 'told'),
    [
        ('', 'is empty; allowed'),
        ('# nothing but a comment\n', 'is empty; allowed'),
        ('- camera\n', 'is a list; allowed'),
        ('just words\n', 'is a str; allowed'),
        ('camera: [1, 2\n', r'is no readable YAML at line 2, column 1: '),
        ('camera:\n\tros__parameters:\n', 'is no readable YAML at line 2, column 1: '),
        (b'\xff\xfe\x00', r'is no text in UTF-8 \(byte 0\)'),
        ('[' * 5000, 'is no readable YAML'),
        ('camera:\n  rate_hz: 5.0\n', 'camera/rate_hz has no ros__parameters; allowed'),
        ('camera: 5\n', 'camera has no ros__parameters; allowed'),
        ('camera:\n  ros__parameters: 5\n', 'ros__parameters of camera is 5; allowed'),
        ('ros__parameters:\n  rate_hz: 5.0\n', 'ros__parameters belongs to no node; allowed'),
        (
            'camra:\n  ros__parameters:\n    rate_hz: 5.0\n',
            "camra is the name of no node; did you mean 'camera'",
        ),
        (
            '/left/Decider:\n  ros__parameters:\n    deadline_s: 5.0\n',
            "left/Decider is the name of no node; did you mean 'decider'",
        ),
        (
            'usb_cam:\n  ros__parameters:\n    video_device: /dev/video0\n',
            'has no section for any node of the cell; allowed: camera, part_detector',
        ),
    ],
)
def test_what_no_node_would_read_is_refused(tmp_path: Path, text: str | bytes, told: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(SettingError, match=told) as refusal:
        check_parameter_file(path)
    assert str(path) in str(refusal.value)
    assert '\n' not in str(refusal.value)


def test_a_node_of_somebody_else_is_allowed_and_named(tmp_path: Path) -> None:
    text = (
        'camera:\n  ros__parameters:\n    rate_hz: 5.0\n'
        'conveyor_driver:\n  ros__parameters:\n    speed: 1.0\n'
    )
    [note] = check_parameter_file(written(tmp_path, text))
    assert 'no node of the cell is called conveyor_driver' in note


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / 'missing.yaml'):
        with pytest.raises(SettingError, match='there is no parameter file'):
            check_parameter_file(path)


def test_a_huge_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / 'huge.yaml'
    with path.open('wb') as file:
        file.truncate(10**12)
    with pytest.raises(SettingError, match='is larger than'):
        check_parameter_file(path)


def test_the_files_are_found_among_the_arguments_of_a_node() -> None:
    arguments = ['node', '--ros-args', '--params-file', 'a.yaml', '-p', 'x:=1']
    arguments += ['--params-file', 'b.yaml', '--params-file']
    assert given_parameter_files(arguments) == [Path('a.yaml'), Path('b.yaml')]
