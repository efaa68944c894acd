# SPDX-License-Identifier: Apache-2.0
"""
Who may log in to the OPC UA server: a file of names, roles and salted hashes of passwords.

"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
import hashlib
import hmac
import os
from pathlib import Path
import re
import stat

from anomaly_inspection.errors import SettingError
from anomaly_inspection.printable import printable

_NAME = re.compile(r'[A-Za-z0-9_.@-]{1,64}', re.ASCII)
_LINE = re.compile(r'([^:]+):(observer|operator):([0-9a-f]{32}):([0-9a-f]{64})')
_MOST_BYTES = 100_000
# As the accounts of the operator's page.
_LEAST_LETTERS, _MOST_LETTERS = 10, 200
# After so many wrong passwords a name waits; the page of the panel does the same.
_WRONG_TO_WAIT = 5
_WAIT_S = 30.0


class OpcuaRole(StrEnum):
    """
    What a person or program may do.

    """

    #: Read.
    OBSERVER = 'observer'
    #: Read, load a recipe, reset the line.
    OPERATOR = 'operator'


@dataclass(frozen=True)
class _User:
    role: OpcuaRole
    salt: bytes
    hashed: bytes


def user_line(name: str, role: OpcuaRole, password: str) -> str:
    """
    Give the line of the file for a user.

    Raises
    ------
    SettingError
        When the name or the password is refused.

    """
    if not _NAME.fullmatch(name):
        raise SettingError(f'name {name!r} is refused: allowed are 1 to 64 of A-Z a-z 0-9 _ . @ -')
    if not _LEAST_LETTERS <= len(password) <= _MOST_LETTERS:
        raise SettingError(
            f'a password of {len(password)} characters is refused: allowed are {_LEAST_LETTERS} '
            f'to {_MOST_LETTERS}'
        )
    salt = os.urandom(16)
    return f'{name}:{role.value}:{salt.hex()}:{_hashed(password, salt).hex()}'


class OpcuaUsers:
    """
    The users of a file, read once.

    Parameters
    ----------
    path : Path
        A file that only its owner and group may read.

    Raises
    ------
    SettingError
        When the file cannot be used; names the line.

    """

    def __init__(self, path: Path) -> None:
        self._users = _read(path.expanduser())
        # By name: wrong passwords in a row, and until when the name waits.
        self._wrong: dict[str, tuple[int, float]] = {}

    def role_of(self, name: str, password: str, now_s: float) -> OpcuaRole | None:
        """
        Give the role of a user; None = name or password is wrong, or too many were.

        """
        user = self._users.get(name)
        if user is None:
            # As long as for a name that is known.
            _hashed(password, b'0' * 16)
            return None
        wrong, until_s = self._wrong.get(name, (0, 0.0))
        if now_s < until_s:
            return None
        if hmac.compare_digest(_hashed(password, user.salt), user.hashed):
            self._wrong.pop(name, None)
            return user.role
        wrong += 1
        self._wrong[name] = (wrong, now_s + _WAIT_S if wrong >= _WRONG_TO_WAIT else 0.0)
        return None


def _read(path: Path) -> dict[str, _User]:
    shown = f'users_file = {printable(path)} is refused'
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with open(descriptor, 'rb') as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_size > _MOST_BYTES:
                raise SettingError(f'{shown}: it is no file of at most {_MOST_BYTES:,} bytes')
            if status.st_mode & stat.S_IRWXO:
                raise SettingError(f'{shown}: everybody may read it. chmod 600 {printable(path)}')
            lines = file.read(_MOST_BYTES).decode().splitlines()
    except OSError as error:
        raise SettingError(f'{shown}: {error.strerror}') from error
    except UnicodeDecodeError as error:
        raise SettingError(f'{shown}: it is no UTF-8') from error
    users = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith('#'):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise SettingError(f'{shown}: line {number} is none of anomaly-inspection opcua-user')
        # The last line of a name counts: a new password is a new line.
        users[match[1]] = _User(
            OpcuaRole(match[2]), bytes.fromhex(match[3]), bytes.fromhex(match[4])
        )
    if not users:
        raise SettingError(
            f'{shown}: it names nobody. anomaly-inspection opcua-user NAME --role operator '
            f'--file {printable(path)}'
        )
    return users


def _hashed(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1, dklen=32)
