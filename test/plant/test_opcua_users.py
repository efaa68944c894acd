# SPDX-License-Identifier: Apache-2.0
"""
Who may log in to the OPC UA server.

"""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner
import pytest

from anomaly_inspection.cli.command import main
from anomaly_inspection.errors import SettingError
from anomaly_inspection.plant.opcua_users import OpcuaRole, OpcuaUsers, user_line

PASSWORD = 'correct horse'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / 'users'
    file.write_text(user_line('hmi', OpcuaRole.OPERATOR, PASSWORD) + '\n')
    file.chmod(0o600)
    return file


def test_a_password_gives_the_role_and_the_file_does_not_hold_it(file: Path) -> None:
    users = OpcuaUsers(file)
    assert users.role_of('hmi', PASSWORD, 0.0) is OpcuaRole.OPERATOR
    assert users.role_of('hmi', PASSWORD.upper(), 0.0) is None
    assert users.role_of('nobody', PASSWORD, 0.0) is None
    assert PASSWORD not in file.read_text()


def test_after_five_wrong_passwords_the_right_one_waits_as_well(file: Path) -> None:
    users = OpcuaUsers(file)
    for _ in range(5):
        assert users.role_of('hmi', 'wrong', 0.0) is None
    assert users.role_of('hmi', PASSWORD, 29.0) is None
    assert users.role_of('hmi', PASSWORD, 31.0) is OpcuaRole.OPERATOR


def test_the_last_line_of_a_name_counts(file: Path) -> None:
    with file.open('a') as lines:
        lines.write('# changed\n' + user_line('hmi', OpcuaRole.OBSERVER, 'another one') + '\n')
    users = OpcuaUsers(file)
    assert users.role_of('hmi', PASSWORD, 0.0) is None
    assert users.role_of('hmi', 'another one', 0.0) is OpcuaRole.OBSERVER


@pytest.mark.parametrize(
    ('content', 'mode', 'words'),
    [
        ('', 0o600, 'it names nobody'),
        ('hmi:operator:secret\n', 0o600, 'line 1 is none of'),
        (b'\xff', 0o600, 'no UTF-8'),
        ('x', 0o644, 'everybody may read it. chmod 600'),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(
    tmp_path: Path, content: str | bytes, mode: int, words: str
) -> None:
    file = tmp_path / 'users'
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    file.chmod(mode)
    with pytest.raises(SettingError) as refused:
        OpcuaUsers(file)
    assert words in str(refused.value)
    assert 'secret' not in str(refused.value)


def test_the_command_adds_a_user(tmp_path: Path) -> None:
    file = tmp_path / 'users'
    options = ['opcua-user', 'eye', '--role', 'observer', '--file', str(file), '--password-stdin']
    outcome = CliRunner().invoke(main, options, input=f'{PASSWORD}\n')
    assert outcome.exit_code == 0, outcome.output
    assert file.stat().st_mode & 0o777 == 0o600
    assert OpcuaUsers(file).role_of('eye', PASSWORD, 0.0) is OpcuaRole.OBSERVER
    refused = CliRunner().invoke(main, options, input='short\n')
    assert refused.exit_code == 2
    assert file.read_text().count('\n') == 1


@pytest.mark.parametrize('name', ['', 'a:b', 'a b', 'a\nb', 'x' * 65, 'ä'])
def test_a_name_that_would_break_the_file_is_refused(name: str) -> None:
    with pytest.raises(SettingError, match='is refused: allowed are 1 to 64'):
        user_line(name, OpcuaRole.OBSERVER, PASSWORD)
