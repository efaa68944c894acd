# SPDX-License-Identifier: Apache-2.0
"""
The accounts of the operator's page: who there is, with which role.

"""

from __future__ import annotations

from dataclasses import dataclass
import re
import secrets
from typing import Any, TYPE_CHECKING
import unicodedata

from anomaly_inspection.errors import SettingError, StateError
from anomaly_inspection.panel.people import passwords
from anomaly_inspection.panel.people.roles import Role, role_of
from anomaly_inspection.printable import shown

if TYPE_CHECKING:
    from anomaly_inspection.panel.people.shared_file import SharedFile

LONGEST_NAME = 40
MOST_ACCOUNTS = 200
#: The content of the file of accounts while there is none.
EMPTY: dict[str, Any] = {'accounts': [], 'tokens': []}


@dataclass(frozen=True)
class Account:
    """
    One person.

    Parameters
    ----------
    id : str
        Random, and the same for as long as the account exists.
    name : str
        Name to log in with; case does not matter.
    role : Role
        What the person may do.
    password_hash : str
        Argon2id hash.
    is_enabled : bool
        Whether the person may log in.
    must_change_password : bool
        Whether somebody else chose the password.
    epoch : int
        Log-ins of an earlier epoch have ended.

    """

    id: str
    name: str
    role: Role
    password_hash: str
    is_enabled: bool = True
    must_change_password: bool = False
    epoch: int = 0


class Accounts:
    """
    Reads and changes the accounts in a file.

    Every method reads the newest file, so that a change by a command or by the panel of another
    cell counts at once. Each raises StateError when the file cannot be read or written, and
    SettingError when something is refused.

    Parameters
    ----------
    file : SharedFile
        File with the content `EMPTY` while it does not exist.

    """

    def __init__(self, file: SharedFile) -> None:
        self._file = file

    def all(self) -> list[Account]:
        """
        Give all accounts, by name.

        """
        accounts = [_from_entry(entry) for entry in self._file.read()['accounts']]
        return sorted(accounts, key=lambda account: _key(account.name))

    def named(self, name: str) -> Account | None:
        """
        Give the account of a name; None when there is none.

        """
        key = _key(name)
        return next((account for account in self.all() if _key(account.name) == key), None)

    def of_id(self, account_id: str) -> Account | None:
        """
        Give the account of an id; None when there is none.

        """
        for entry in self._file.read()['accounts']:
            if entry['id'] == account_id:
                return _from_entry(entry)
        return None

    def existing(self, name: str) -> Account:
        """
        Give the account of a name.

        Raises
        ------
        SettingError
            When there is none; names those that exist.

        """
        account = self.named(name)
        if account is None:
            names = ', '.join(account.name for account in self.all()) or 'none yet'
            raise SettingError(f'there is no account {shown(name)}; there are: {names}')
        return account

    def has_engineer(self) -> bool:
        """
        Say whether there is an engineer who may log in.

        """
        return any(_is_engineer(entry) for entry in self._file.read()['accounts'])

    def add(
        self,
        name: str,
        password: str,
        role: Role,
        *,
        must_change_password: bool = False,
        only_first: bool = False,
    ) -> Account:
        """
        Add an account.

        Parameters
        ----------
        name : str
            1 to 40 letters, digits, spaces and . _ - @.
        password : str
            10 to 200 characters.
        role : Role
            What the person may do.
        must_change_password : bool
            Whether the person has to choose another password at the first log-in.
        only_first : bool
            Refuse it when there is an engineer already.

        """
        name = checked_name(name)
        password_hash = passwords.hashed(password)
        with self._file.change() as content:
            entries = content['accounts']
            if only_first and any(_is_engineer(entry) for entry in entries):
                raise SettingError('there is an engineer already, who can add accounts')
            if len(entries) >= MOST_ACCOUNTS:
                raise SettingError(
                    f'there are {len(entries)} accounts; allowed: up to {MOST_ACCOUNTS}'
                )
            _check_free(entries, name)
            entry = {
                'id': secrets.token_hex(8),
                'name': name,
                'role': role.word,
                'password_hash': password_hash,
                'is_enabled': True,
                'must_change_password': must_change_password,
                'epoch': 0,
            }
            entries.append(entry)
        return _from_entry(entry)

    def rename(self, name: str, new_name: str) -> None:
        """
        Give an account another name; who is logged in stays so.

        """
        new_name = checked_name(new_name)
        with self._file.change() as content:
            entry = _entry(content, name)
            _check_free([other for other in content['accounts'] if other is not entry], new_name)
            entry['name'] = new_name

    def set_role(self, name: str, role: Role) -> None:
        """
        Give an account another role; it counts at once, for its tokens too.

        """
        with self._file.change() as content:
            entry = _entry(content, name)
            was_engineer = _is_engineer(entry)
            entry['role'] = role.word
            _check_engineer_left(content, name, was_engineer)

    def set_enabled(self, name: str, is_enabled: bool) -> None:
        """
        Let somebody log in, or not any longer; log-ins and tokens then end at once.

        """
        with self._file.change() as content:
            entry = _entry(content, name)
            was_engineer = _is_engineer(entry)
            entry['is_enabled'] = is_enabled
            entry['epoch'] += 1
            _check_engineer_left(content, name, was_engineer)

    def set_password(
        self, name: str, password: str, *, must_change_password: bool = False
    ) -> None:
        """
        Give an account another password; all its log-ins end.

        """
        password_hash = passwords.hashed(password)
        with self._file.change() as content:
            entry = _entry(content, name)
            entry['password_hash'] = password_hash
            entry['must_change_password'] = must_change_password
            entry['epoch'] += 1

    def log_out_everywhere(self, name: str) -> None:
        """
        End all log-ins of an account; its tokens stay.

        """
        with self._file.change() as content:
            _entry(content, name)['epoch'] += 1

    def delete(self, name: str) -> None:
        """
        Remove an account with its tokens.

        """
        with self._file.change() as content:
            entry = _entry(content, name)
            content['accounts'].remove(entry)
            content['tokens'] = [
                token for token in content['tokens'] if token['account_id'] != entry['id']
            ]
            _check_engineer_left(content, name, _is_engineer(entry))


def checked_name(name: str) -> str:
    """
    Give a name as it is kept: composed characters, single spaces.

    Raises
    ------
    SettingError
        When it is empty, too long, or has other characters.

    """
    text = ' '.join(unicodedata.normalize('NFKC', name).split())
    if not re.fullmatch(rf'[\w.@-](?:[\w .@-]{{0,{LONGEST_NAME - 1}}})', text):
        raise SettingError(
            f'the name is {shown(name)}; allowed: 1 to {LONGEST_NAME} letters, digits, spaces '
            'and . _ - @'
        )
    return text


def _key(name: str) -> str:
    return ' '.join(unicodedata.normalize('NFKC', name).split()).casefold()


def _from_entry(entry: dict[str, Any]) -> Account:
    try:
        return Account(
            id=entry['id'],
            name=entry['name'],
            role=role_of(entry['role']),
            password_hash=entry['password_hash'],
            is_enabled=entry['is_enabled'] is True,
            must_change_password=entry['must_change_password'] is True,
            epoch=entry['epoch'],
        )
    except (KeyError, TypeError, SettingError) as error:
        raise StateError(f'an entry of the file of accounts cannot be read: {error}') from error


def _entry(content: dict[str, Any], name: str) -> dict[str, Any]:
    for entry in content['accounts']:
        if _key(entry['name']) == _key(name):
            found: dict[str, Any] = entry
            return found
    raise SettingError(f'there is no account {shown(name)}')


def _is_engineer(entry: dict[str, Any]) -> bool:
    return entry['role'] == Role.ENGINEER.word and entry['is_enabled'] is True


def _check_free(entries: list[dict[str, Any]], name: str) -> None:
    if any(_key(entry['name']) == _key(name) for entry in entries):
        raise SettingError(f'there is an account {shown(name)} already; choose another name')


def _check_engineer_left(content: dict[str, Any], name: str, was_engineer: bool) -> None:
    if was_engineer and not any(_is_engineer(entry) for entry in content['accounts']):
        raise SettingError(
            f'{shown(name)} is the last engineer who may log in; add another engineer first'
        )
