# SPDX-License-Identifier: Apache-2.0
"""
Tokens for programs that use the JSON interface in the name of an account.

"""

from __future__ import annotations

from dataclasses import dataclass
import hashlib
import hmac
import re
import secrets
import time
from typing import Any, TYPE_CHECKING

from anomaly_inspection.errors import SettingError, StateError
from anomaly_inspection.panel.people.roles import Role, role_of, Visitor
from anomaly_inspection.printable import shown
from anomaly_inspection.setting_check import check_integer

if TYPE_CHECKING:
    from collections.abc import Callable

    from anomaly_inspection.panel.people.accounts import Accounts
    from anomaly_inspection.panel.people.shared_file import SharedFile

MOST_TOKENS_EACH = 20
LONGEST_LABEL = 60
LONGEST_DAYS = 3650
_FORM = re.compile(r'ai_([0-9a-f]{12})_([A-Za-z0-9_-]{43})')
_DAY_S = 86400.0


@dataclass(frozen=True)
class ApiToken:
    """
    What may be told of a token.

    Parameters
    ----------
    id : str
        Names the token; not secret.
    label : str
        What its owner calls it.
    owner : str
        Name of the account it belongs to.
    role : Role
        What it allows; never more than the owner's role.
    expires_s : float
        When it expires, in seconds since 1970.

    """

    id: str
    label: str
    owner: str
    role: Role
    expires_s: float


class ApiTokens:
    """
    Makes, lists, checks and revokes tokens, which are kept as hashes in the file of accounts.

    Parameters
    ----------
    file : SharedFile
        The file of accounts.
    accounts : Accounts
        Who owns them.
    wall_s : callable
        Seconds since 1970.

    """

    def __init__(
        self, file: SharedFile, accounts: Accounts, wall_s: Callable[[], float] = time.time
    ) -> None:
        self._file = file
        self._accounts = accounts
        self._wall_s = wall_s

    def create(self, owner: str, label: str, role: Role, days: int = 365) -> tuple[str, ApiToken]:
        """
        Make a token.

        Parameters
        ----------
        owner : str
            Name of an account.
        label : str
            What it is for, 1 to 60 characters.
        role : Role
            What it allows; up to the owner's role.
        days : int
            How long it lasts, 1 to 3650 days.

        Returns
        -------
        secret : str
            The token itself; it cannot be shown again.
        token : ApiToken
            What may be told of it.

        Raises
        ------
        SettingError
            When something is refused.

        """
        check_integer('days', days, 1, LONGEST_DAYS)
        label = ' '.join(label.split())
        if not 1 <= len(label) <= LONGEST_LABEL:
            raise SettingError(
                f'the label is {shown(label)}; allowed: 1 to {LONGEST_LABEL} characters'
            )
        account = self._accounts.existing(owner)
        if role > account.role:
            raise SettingError(
                f'role is {role.word}; {account.name} is {account.role.word}, and a token may '
                'not do more than its owner'
            )
        token_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        entry = {
            'id': token_id,
            'account_id': account.id,
            'label': label,
            'role': role.word,
            'hash': hashlib.sha256(secret.encode()).hexdigest(),
            'expires_s': round(self._wall_s() + days * _DAY_S),
        }
        with self._file.change() as content:
            tokens = content['tokens']
            own = [token for token in tokens if token['account_id'] == account.id]
            if len(own) >= MOST_TOKENS_EACH:
                raise SettingError(
                    f'{account.name} has {len(own)} tokens; allowed: up to {MOST_TOKENS_EACH}; '
                    'revoke one first'
                )
            tokens.append(entry)
        return f'ai_{token_id}_{secret}', self._told(entry)

    def all(self, owner: str | None = None) -> list[ApiToken]:
        """
        Give the tokens of an account, or all, without what is secret of them.

        """
        tokens = [self._told(entry) for entry in self._file.read()['tokens']]
        return [token for token in tokens if owner is None or token.owner == owner]

    def revoke(self, token_id: str) -> ApiToken:
        """
        Make a token useless at once.

        Raises
        ------
        SettingError
            When there is none of this id.

        """
        with self._file.change() as content:
            for entry in content['tokens']:
                if entry['id'] == token_id:
                    content['tokens'].remove(entry)
                    return self._told(entry)
            raise SettingError(f'there is no token {shown(token_id)}')

    def visitor(self, secret: str, address: str) -> Visitor | None:
        """
        Give whom a token speaks for; None when it is worth nothing.

        """
        found = _FORM.fullmatch(secret)
        if found is None:
            return None
        digest = hashlib.sha256(found[2].encode()).hexdigest()
        for entry in self._file.read()['tokens']:
            if entry['id'] == found[1] and hmac.compare_digest(entry['hash'], digest):
                return self._visitor(entry, address)
        return None

    def visitor_of_id(self, token_id: str, address: str) -> Visitor | None:
        """
        Give whom the token behind a `Visitor.token_id` speaks for now.

        """
        for entry in self._file.read()['tokens']:
            if entry['id'] == token_id:
                return self._visitor(entry, address)
        return None

    def _visitor(self, entry: dict[str, Any], address: str) -> Visitor | None:
        account = self._accounts.of_id(entry['account_id'])
        if account is None or not account.is_enabled or self._wall_s() >= entry['expires_s']:
            return None
        return Visitor(
            name=account.name,
            role=min(account.role, role_of(entry['role'])),
            address=address,
            account_id=account.id,
            token_id=entry['id'],
        )

    def _told(self, entry: dict[str, Any]) -> ApiToken:
        account = self._accounts.of_id(entry['account_id'])
        if account is None:
            raise StateError(f'token {shown(entry["id"])} belongs to nobody')
        return ApiToken(
            id=entry['id'],
            label=entry['label'],
            owner=account.name,
            role=min(account.role, role_of(entry['role'])),
            expires_s=entry['expires_s'],
        )
