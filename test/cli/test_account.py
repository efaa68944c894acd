# SPDX-License-Identifier: Apache-2.0
"""
The command `anomaly-inspection account`.

"""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner, Result
import pytest

pytest.importorskip('argon2', reason='argon2-cffi is not installed: pip install .[panel]')

from anomaly_inspection.cli import main
from anomaly_inspection.panel.people.people import People

PASSWORD = 'correct horse battery'


def run(folder: Path, *arguments: str, given: str = '') -> Result:
    options = ['account', '--state-folder', str(folder), *arguments]
    return CliRunner().invoke(main, options, input=given)


def test_the_first_engineer_from_a_script(tmp_path: Path) -> None:
    result = run(
        *(tmp_path, 'add', 'Anna', '--role', 'engineer', '--password-stdin'), given=PASSWORD + '\n'
    )
    assert (result.exit_code, result.output) == (0, 'Anna can log in as engineer\n')
    people = People(tmp_path / 'people')
    assert people.log_in('anna', PASSWORD, '127.0.0.1')
    record = json.loads((tmp_path / 'people' / 'audit.jsonl').read_text().splitlines()[0])
    assert (record['from'], record['what'], record['subject']) == (
        'terminal',
        'add account',
        'Anna',
    )


def test_the_password_is_asked_for_twice_and_not_shown(tmp_path: Path) -> None:
    result = run(tmp_path, 'add', 'anna', '--role', 'engineer', given=f'{PASSWORD}\n{PASSWORD}\n')
    assert result.exit_code == 0
    assert PASSWORD not in result.output


@pytest.mark.parametrize(
    ('arguments', 'given', 'message'),
    [
        (['add', 'ben', '--role', 'operator', '--password-stdin'], 'short\n', '5 characters'),
        (['add', 'ben', '--role', 'operator', '--password-stdin'], '', '0 characters'),
        (['add', '<b>', '--role', 'operator', '--password-stdin'], PASSWORD, 'letters'),
        (['add', 'ANNA', '--role', 'operator', '--password-stdin'], PASSWORD, 'already'),
        (['add', 'ben', '--role', 'boss'], '', "'boss' is not one of"),
        (['password', 'ben', '--password-stdin'], PASSWORD, "no account 'ben'; there are: anna"),
        (['role', 'anna', 'viewer'], '', 'last engineer'),
        (['disable', 'anna'], '', 'last engineer'),
        (['delete', 'anna'], '', 'last engineer'),
    ],
)
def test_what_is_refused(tmp_path: Path, arguments: list[str], given: str, message: str) -> None:
    add = ('add', 'anna', '--role', 'engineer', '--password-stdin')
    assert run(tmp_path, *add, given=PASSWORD).exit_code == 0
    result = run(tmp_path, *arguments, given=given)
    assert result.exit_code == 2
    assert message in ' '.join(result.output.split())


def test_accounts_are_changed_and_listed(tmp_path: Path) -> None:
    assert 'no accounts yet' in run(tmp_path, 'list').output
    for name, role in (('anna', 'engineer'), ('ben', 'operator')):
        run(tmp_path, 'add', name, '--role', role, '--password-stdin', given=PASSWORD)
    result = run(tmp_path, 'password', 'ben', '--password-stdin', given=PASSWORD + 'x')
    assert result.exit_code == 0
    assert run(tmp_path, 'disable', 'ben').output == 'ben can no longer log in\n'
    assert run(tmp_path, 'role', 'ben', 'viewer').output == 'ben is now viewer\n'
    listed = run(tmp_path, 'list').output
    assert [word in listed for word in ('anna', 'engineer', 'ben', 'viewer', 'no')] == [True] * 5
    assert run(tmp_path, 'enable', 'ben').output == 'ben can log in\n'
    assert run(tmp_path, 'delete', 'ben').output == 'ben is deleted\n'
    assert 'ben' not in run(tmp_path, 'list').output
