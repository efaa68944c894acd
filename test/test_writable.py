# SPDX-License-Identifier: Apache-2.0
"""
Whether a folder can be written is known before the work, and finding out leaves no trace.

"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from anomaly_inspection.errors import SettingError
from anomaly_inspection.writable import check_writable


@pytest.mark.parametrize('place', ['report', 'deep/er/report', '.', 'über raw \udcff'])
def test_a_place_that_can_be_written_is_taken_and_left_as_it_was(
    tmp_path: Path, place: str
) -> None:
    before = tmp_path.stat().st_mode
    check_writable(tmp_path / place)
    assert list(tmp_path.iterdir()) == []
    assert tmp_path.stat().st_mode == before


def test_a_relative_path_stands_below_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    check_writable('report')
    (tmp_path / 'report').write_text('')
    with pytest.raises(SettingError, match='is not a folder'):
        check_writable('report')


def test_a_link_to_a_folder_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / 'link').symlink_to(tmp_path)
    check_writable(tmp_path / 'link' / 'report')


@pytest.mark.parametrize(
    ('place', 'cause'),
    [
        ('file', 'is not a folder'),
        ('file/report', 'is not a folder'),
        ('pipe/report', 'is not a folder'),
        ('dangling', 'No such file'),
        ('x' * 300, 'too long'),
        ('x' * 300 + '/report', 'too long'),
        ('a\0b', 'null'),
        ('/proc/no-such-process/report', '/proc'),
        ('/dev/null/report', 'is not a folder'),
        ('file-\udcff/report', 'file-\ufffd is not a folder'),
    ],
)
def test_a_place_that_cannot_be_written_is_refused_in_one_sentence(
    tmp_path: Path, place: str, cause: str
) -> None:
    (tmp_path / 'file').write_text('kept')
    (tmp_path / 'file-\udcff').write_text('')
    os.mkfifo(tmp_path / 'pipe')
    (tmp_path / 'dangling').symlink_to(tmp_path / 'nowhere')
    with pytest.raises(SettingError, match=cause) as caught:
        check_writable(tmp_path / place)
    message = str(caught.value)
    assert message.startswith('cannot write ')
    assert '\n' not in message
    message.encode()
    assert (tmp_path / 'file').read_text() == 'kept'
