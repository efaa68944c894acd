# SPDX-License-Identifier: Apache-2.0
"""
A signed report says whether it was changed, and by whose key it was signed.

"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from anomaly_inspection.errors import ReportError, SettingError
from anomaly_inspection.evaluation.signed_report import (
    check_signature,
    read_key,
    read_report,
    signed,
)

CONTENT = {'recipe': {'name': 'pumpe ü'}, 'known_parts': {'escapes': {'count': 0, 'of': 12}}}
KEY, OTHER_KEY = b'k' * 32, b'o' * 32


def written(folder: Path, report: object) -> Path:
    file = folder / 'report.json'
    file.write_text(json.dumps(report, indent=1), encoding='utf-8')
    return file


def test_a_report_is_read_and_its_signature_checked(tmp_path: Path) -> None:
    report = read_report(written(tmp_path, signed(CONTENT, KEY)))
    assert report['content'] == CONTENT
    assert 'is signed with the key' in check_signature(report, KEY, 'r')
    # Its name says which key it is, and gives nothing of it away.
    assert KEY.decode() not in json.dumps(report)


def test_another_key_and_a_missing_signature_are_refused(tmp_path: Path) -> None:
    report = read_report(written(tmp_path, signed(CONTENT, KEY)))
    with pytest.raises(ReportError, match='is not signed with this key'):
        check_signature(report, OTHER_KEY, 'r')
    unsigned = read_report(written(tmp_path, signed(CONTENT, None)))
    assert 'not signed' in check_signature(unsigned, None, 'r')
    with pytest.raises(ReportError, match='r is not signed'):
        check_signature(unsigned, KEY, 'r')


def test_whoever_changes_the_content_and_its_hash_lacks_the_key(tmp_path: Path) -> None:
    report = signed(CONTENT, KEY)
    forged = signed({**CONTENT, 'known_parts': {'escapes': {'count': 0, 'of': 9999}}}, None)
    forged['signature'] = report['signature']
    read = read_report(written(tmp_path, forged))
    with pytest.raises(ReportError, match='is not signed with this key'):
        check_signature(read, KEY, 'r')


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'content': {'recipe': {'name': 'valve'}}}, 'was changed'),
        ({'sha256': '0' * 64}, 'was changed'),
        ({'sha256': None}, 'was changed'),
        ({'format': 2}, 'format 2'),
        ({'content': [1]}, 'no report'),
    ],
)
def test_a_report_that_was_changed_is_refused(tmp_path, change, words) -> None:
    with pytest.raises(ReportError, match=words):
        read_report(written(tmp_path, {**signed(CONTENT, KEY), **change}))


@pytest.mark.parametrize('text', ['', 'x', '[]', '[' * 100_000, '{"a": 1', '\x00'])
def test_what_is_no_report_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / 'report.json'
    file.write_text(text)
    with pytest.raises(ReportError, match='no report'):
        read_report(file)


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=r'gone\.json: No such file'):
        read_report(tmp_path / 'gone.json')
    with pytest.raises(SettingError, match=r'gone\.key: No such file'):
        read_key(tmp_path / 'gone.key')


@pytest.mark.parametrize(('content', 'is_taken'), [(b'k' * 31, False), (b'k' * 32 + b'\n', True)])
def test_a_key_that_can_be_guessed_is_refused(tmp_path, content, is_taken) -> None:
    file = tmp_path / 'site.key'
    file.write_bytes(content)
    if is_taken:
        assert read_key(file) == b'k' * 32
    else:
        with pytest.raises(SettingError, match='has 31 bytes; allowed: 32 to 4096'):
            read_key(file)
