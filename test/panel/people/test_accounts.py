# SPDX-License-Identifier: Apache-2.0
"""
Accounts, passwords and the file that keeps them.

"""

from __future__ import annotations

from pathlib import Path
import stat

import pytest

pytest.importorskip('argon2', reason='argon2-cffi is not installed: pip install .[panel]')

from anomaly_inspection.errors import SettingError, StateError
from anomaly_inspection.panel.people import accounts as accounts_module
from anomaly_inspection.panel.people import passwords
from anomaly_inspection.panel.people.accounts import Accounts
from anomaly_inspection.panel.people.roles import Role
from anomaly_inspection.panel.people.shared_file import SharedFile

PASSWORD = 'correct horse battery'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / 'people' / 'accounts.json'


@pytest.fixture
def accounts(path: Path) -> Accounts:
    return accounts_in(path)


def accounts_in(path: Path) -> Accounts:
    return Accounts(SharedFile(path, accounts_module.EMPTY))


def test_there_is_nobody_at_first(accounts: Accounts) -> None:
    assert accounts.all() == []
    assert not accounts.has_engineer()


def test_another_process_sees_an_account_at_once(accounts: Accounts, path: Path) -> None:
    other = accounts_in(path)
    assert other.all() == []
    accounts.add('Anna', PASSWORD, Role.ENGINEER)
    assert [account.name for account in other.all()] == ['Anna']
    other.set_role('anna', Role.ENGINEER)
    other.add('ben', PASSWORD, Role.OPERATOR)
    assert [account.name for account in accounts.all()] == ['Anna', 'ben']


def test_only_the_owner_may_read_the_file_and_it_holds_no_password(
    accounts: Accounts, path: Path
) -> None:
    accounts.add('anna', PASSWORD, Role.ENGINEER)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = path.read_text()
    assert PASSWORD not in text
    assert '$argon2id$' in text


@pytest.mark.parametrize('password', ['', 'x' * 9, 'x' * 201])
def test_a_password_has_10_to_200_characters(accounts: Accounts, password: str) -> None:
    with pytest.raises(SettingError, match=f'has {len(password)} characters; allowed: 10 to 200'):
        accounts.add('anna', password, Role.ENGINEER)
    assert accounts.all() == []


@pytest.mark.parametrize('password', ['x' * 10, 'x' * 200, 'ääääääääää', '   \t leer  '])
def test_nothing_else_is_asked_of_a_password(accounts: Accounts, password: str) -> None:
    account = accounts.add('anna', password, Role.VIEWER)
    assert passwords.is_right(password, account.password_hash)
    assert not passwords.is_right(password + 'x', account.password_hash)


def test_an_accent_typed_in_two_ways_is_one_password() -> None:
    assert passwords.is_right(
        'cafe\u0301 creme bru\u0302lee', passwords.hashed('caf\u00e9 creme br\u00fblee')
    )


def test_two_accounts_with_one_password_have_two_hashes() -> None:
    assert passwords.hashed(PASSWORD) != passwords.hashed(PASSWORD)


@pytest.mark.parametrize('hash_of', [None, '', 'no hash', '$argon2id$v=19$m=19456'])
def test_a_broken_hash_is_never_right(hash_of: str | None) -> None:
    assert not passwords.is_right(PASSWORD, hash_of)


@pytest.mark.parametrize(
    'name', ['', ' ', 'x' * 41, '<script>', "a'b", 'a/b', '..\\x', 'a\nb\x00', 'a"b', '&amp;']
)
def test_names_that_are_refused(accounts: Accounts, name: str) -> None:
    with pytest.raises(SettingError, match='allowed: 1 to 40 letters'):
        accounts.add(name, PASSWORD, Role.OPERATOR)


@pytest.mark.parametrize('other', ['Anna', ' anna ', 'ANNA', '\uff41nna'])
def test_case_and_width_do_not_make_another_name(accounts: Accounts, other: str) -> None:
    accounts.add('anna', PASSWORD, Role.OPERATOR)
    with pytest.raises(SettingError, match='already'):
        accounts.add(other, PASSWORD, Role.OPERATOR)
    assert accounts.named(other) is not None


def test_the_last_engineer_stays(accounts: Accounts) -> None:
    accounts.add('anna', PASSWORD, Role.ENGINEER)
    accounts.add('ben', PASSWORD, Role.OPERATOR)
    for change in (
        lambda: accounts.delete('anna'),
        lambda: accounts.set_role('anna', Role.OPERATOR),
        lambda: accounts.set_enabled('anna', False),
    ):
        with pytest.raises(SettingError, match='last engineer'):
            change()
        account = accounts.existing('anna')
        assert (account.role, account.is_enabled) == (Role.ENGINEER, True)
    accounts.set_role('ben', Role.ENGINEER)
    accounts.set_enabled('anna', False)
    with pytest.raises(SettingError, match='last engineer'):
        accounts.delete('ben')
    accounts.delete('anna')
    assert [account.name for account in accounts.all()] == ['ben']


def test_without_an_engineer_others_can_still_be_changed(accounts: Accounts) -> None:
    accounts.add('ben', PASSWORD, Role.OPERATOR)
    accounts.set_enabled('ben', False)
    accounts.delete('ben')
    assert accounts.all() == []


def test_a_renamed_account_stays_the_same(accounts: Accounts) -> None:
    before = accounts.add('anna', PASSWORD, Role.ENGINEER)
    accounts.add('ben', PASSWORD, Role.VIEWER)
    accounts.rename('anna', 'Anna M.')
    assert accounts.existing('anna m.').id == before.id
    with pytest.raises(SettingError, match='already'):
        accounts.rename('ben', 'ANNA M.')
    with pytest.raises(SettingError, match="no account 'nobody'"):
        accounts.rename('nobody', 'x')


@pytest.mark.parametrize(
    'content', ['', '{', '[]', '{"format": 1}', '{"format": 2, "accounts": [], "tokens": []}']
)
def test_a_broken_file_is_an_error_and_not_an_empty_house(path: Path, content: str) -> None:
    path.parent.mkdir()
    path.write_text(content)
    accounts = accounts_in(path)
    for use in (accounts.all, accounts.has_engineer):
        with pytest.raises(StateError, match=r'cannot read .*accounts.json'):
            use()
    with pytest.raises(StateError):
        accounts.add('anna', PASSWORD, Role.ENGINEER)
    assert path.read_text() == content


def test_a_broken_entry_is_an_error(path: Path) -> None:
    path.parent.mkdir()
    path.write_text('{"format": 1, "accounts": [{"id": "1", "name": "x"}], "tokens": []}')
    with pytest.raises(StateError, match='cannot be read'):
        accounts_in(path).all()


def test_an_account_that_cannot_be_written_does_not_exist(
    accounts: Accounts, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts.add('anna', PASSWORD, Role.ENGINEER)

    def full(*args: object) -> None:
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('anomaly_inspection.panel.people.shared_file.replace_file', full)
    with pytest.raises(StateError, match='No space left on device'):
        accounts.add('ben', PASSWORD, Role.OPERATOR)
    assert [account.name for account in accounts.all()] == ['anna']
