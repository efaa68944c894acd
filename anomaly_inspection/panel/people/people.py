# SPDX-License-Identifier: Apache-2.0
"""
Everything about people behind one face: log-in, sessions, tokens, accounts, and the record of it.

"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from typing import TYPE_CHECKING

from anomaly_inspection.errors import AccessError, SettingError, WaitError
from anomaly_inspection.panel.people import accounts as accounts_module
from anomaly_inspection.panel.people import attempts as attempts_module
from anomaly_inspection.panel.people import passwords
from anomaly_inspection.panel.people import sessions as sessions_module
from anomaly_inspection.panel.people.accounts import Account, Accounts
from anomaly_inspection.panel.people.attempts import Attempts
from anomaly_inspection.panel.people.audit import AuditLog
from anomaly_inspection.panel.people.roles import Role, Visitor
from anomaly_inspection.panel.people.sessions import Sessions, SessionTimes
from anomaly_inspection.panel.people.shared_file import SharedFile
from anomaly_inspection.panel.people.tokens import ApiToken, ApiTokens

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_CODE_LETTERS = 'ABCDEFGHJKMNPQRSTUVWXYZ23456789'
_CODE_NAME = 'one-time code'


class People:
    """
    Logs people in and changes accounts, always on behalf of a visitor, and records it.

    Methods that check or set a password take some 30 ms of a core, and changes wait for the disk:
    do not call them on an event loop.

    Parameters
    ----------
    folder : Path or None
        Folder of the files; None = all is kept in memory only.
    times : SessionTimes
        When log-ins end.
    told : callable
        Called with what goes wrong with the record of changes; '' when it goes well again.

    """

    def __init__(
        self,
        folder: Path | None,
        times: SessionTimes | None = None,
        told: Callable[[str], None] = lambda problem: None,
    ) -> None:
        def path(name: str) -> Path | None:
            return None if folder is None else folder / name

        account_file = SharedFile(path('accounts.json'), accounts_module.EMPTY)
        self.accounts = Accounts(account_file)
        self.tokens = ApiTokens(account_file, self.accounts)
        self.sessions = Sessions(
            SharedFile(path('sessions.json'), sessions_module.EMPTY, is_disposable=True),
            self.accounts,
            times,
        )
        self.attempts = Attempts(
            SharedFile(path('attempts.json'), attempts_module.EMPTY, is_disposable=True)
        )
        self.audit = AuditLog(path('audit.jsonl'), told)
        self._code_lock = threading.Lock()
        self._code_hash: bytes | None = None

    def close(self) -> None:
        """
        Write what waits to be written.

        """
        self.audit.close()

    # Log-in

    def log_in(self, name: str, password: str, address: str) -> str:
        """
        Check a password and begin a session.

        Returns
        -------
        str
            The secret for the cookie.

        Raises
        ------
        WaitError
            When there were too many failures.
        AccessError
            When name or password are wrong; it does not say which.

        """
        self._check_wait(name, address)
        account = self.accounts.named(name)
        is_right = passwords.is_right(password, account.password_hash if account else None)
        if account is None or not is_right or not account.is_enabled:
            self.attempts.failed(name, address)
            # A name that nobody has may be a password in the wrong field.
            known = account.name if account else 'an unknown name'
            nobody = Visitor('', Role.VIEWER, address)
            why = 'the account is disabled' if account and is_right else 'wrong name or password'
            self.audit.record(nobody, 'log in', subject=known, why=why, is_refused=True)
            raise AccessError('the name or the password is wrong')
        self.attempts.succeeded(name)
        return self._begin(account, address)

    def log_out(self, visitor: Visitor) -> None:
        """
        End the session of a visitor.

        """
        self.sessions.end(visitor.session)
        self.audit.record(visitor, 'log out')

    def now(self, visitor: Visitor) -> Visitor | None:
        """
        Give what a visitor may do now; None when the log-in has ended.

        """
        if visitor.session:
            return self.sessions.visitor_of_key(visitor.session, visitor.address)
        if visitor.token_id:
            return self.tokens.visitor_of_id(visitor.token_id, visitor.address)
        return visitor

    def check_role(self, visitor: Visitor, role: Role, what: str) -> Visitor:
        """
        Give the visitor as of now, when that is enough for what is wanted.

        Raises
        ------
        AccessError
            When it is not; recorded.

        """
        now = self.now(visitor)
        if now is None:
            self.audit.record(visitor, what, why='the log-in has ended', is_refused=True)
            raise AccessError('your log-in has ended; log in again', 'log_in_ended')
        if now.role < role or (role > Role.VIEWER and not now.may_act):
            why = f'needs the role {role.word}'
            self.audit.record(now, what, why=why, is_refused=True)
            if now.must_change_password:
                raise AccessError('first choose a password of your own', 'own_password_first')
            raise AccessError(
                f'{what}: {why}; you are {now.role.word}',
                'needs_role',
                role=role.word,
                own_role=now.role.word,
            )
        return now

    # The first engineer

    def new_code(self) -> str | None:
        """
        Make the one-time code with which the first engineer can be added.

        Returns
        -------
        str or None
            A code of 12 letters and digits (59 bits) to be shown on the terminal, valid until it
            is used or this process ends; None when there is an engineer.

        """
        with self._code_lock:
            self._code_hash = None
            if self.accounts.has_engineer():
                return None
            groups = (''.join(secrets.choice(_CODE_LETTERS) for _ in range(4)) for _ in range(3))
            code = '-'.join(groups)
            self._code_hash = _code_hash(code)
            return code

    def takes_code(self) -> bool:
        """
        Say whether the first engineer can be added with a code now.

        """
        return self._code_hash is not None and not self.accounts.has_engineer()

    def add_first_engineer(self, code: str, name: str, password: str, address: str) -> str:
        """
        Add the first engineer and log them in.

        Returns
        -------
        str
            The secret for the cookie.

        Raises
        ------
        WaitError, AccessError
            When the code is wrong.
        SettingError
            When name or password are refused; the code can be used again.

        """
        self._check_wait(_CODE_NAME, address)
        nobody = Visitor('', Role.VIEWER, address)
        with self._code_lock:
            expected = self._code_hash
            if expected is None or not hmac.compare_digest(expected, _code_hash(code)):
                self.attempts.failed(_CODE_NAME, address)
                self.audit.record(
                    nobody, 'add the first engineer', why='wrong code', is_refused=True
                )
                raise AccessError('the code is wrong; the terminal of the panel shows it')
            account = self.accounts.add(name, password, Role.ENGINEER, only_first=True)
            self._code_hash = None
        self.attempts.succeeded(_CODE_NAME)
        self.audit.record(
            nobody,
            'add account',
            subject=account.name,
            new=Role.ENGINEER.word,
            why='one-time code',
        )
        return self._begin(account, address)

    # What everybody may do for themselves

    def change_own_password(self, visitor: Visitor, old: str, new: str) -> str:
        """
        Change one's own password; all other log-ins of the account end.

        Returns
        -------
        str
            The secret for the cookie of a new session.

        """
        account = self._own(visitor)
        self._check_wait(account.name, visitor.address)
        if not passwords.is_right(old, account.password_hash):
            self.attempts.failed(account.name, visitor.address)
            self.audit.record(visitor, 'change password', why='wrong password', is_refused=True)
            raise AccessError('your present password is wrong')
        if passwords.is_right(new, account.password_hash):
            raise SettingError('the new password is the present one; choose another')
        self.accounts.set_password(account.name, new)
        self.attempts.succeeded(account.name)
        self.audit.record(visitor, 'change password', subject=account.name)
        return self._begin(self.accounts.existing(account.name), visitor.address)

    def create_token(
        self, visitor: Visitor, label: str, role: Role, days: int
    ) -> tuple[str, ApiToken]:
        """
        Make a token for oneself; a token cannot make tokens.

        """
        account = self._own(visitor)
        secret, token = self.tokens.create(account.name, label, role, days)
        self.audit.record(
            visitor, 'create token', subject=f'{token.id} {token.label}', new=token.role.word
        )
        return secret, token

    def revoke_token(self, visitor: Visitor, token_id: str) -> None:
        """
        Revoke one's own token; engineers may revoke all.

        """
        account = self._own(visitor)
        is_own = any(token.id == token_id for token in self.tokens.all(account.name))
        if not is_own:
            visitor = self.check_role(visitor, Role.ENGINEER, 'revoke token')
        token = self.tokens.revoke(token_id)
        self.audit.record(
            visitor, 'revoke token', subject=f'{token.id} {token.label}', old=token.owner
        )

    def log_out_everywhere(self, visitor: Visitor, name: str) -> None:
        """
        End all log-ins of an account: one's own, or any as an engineer.

        """
        account = self._own(visitor)
        target = self.accounts.existing(name)
        if target.id != account.id:
            visitor = self.check_role(visitor, Role.ENGINEER, 'log out everywhere')
        self.accounts.log_out_everywhere(target.name)
        self.audit.record(visitor, 'log out everywhere', subject=target.name)

    # What engineers may do

    def add(self, visitor: Visitor, name: str, role: Role) -> str:
        """
        Add an account; returns the password for the first log-in, to be changed there.

        """
        visitor = self._engineer(visitor, 'add account')
        password = passwords.new_password()
        account = self.accounts.add(name, password, role, must_change_password=True)
        self.audit.record(visitor, 'add account', subject=account.name, new=role.word)
        return password

    def reset_password(self, visitor: Visitor, name: str) -> str:
        """
        Give an account a password for the next log-in, to be changed there.

        """
        visitor = self._engineer(visitor, 'reset password')
        account = self.accounts.existing(name)
        password = passwords.new_password()
        self.accounts.set_password(name, password, must_change_password=True)
        self.attempts.succeeded(account.name)
        self.audit.record(visitor, 'reset password', subject=account.name)
        return password

    def set_role(self, visitor: Visitor, name: str, role: Role) -> None:
        """
        Give an account another role.

        """
        visitor = self._engineer(visitor, 'set role')
        account = self.accounts.existing(name)
        self.accounts.set_role(name, role)
        self.audit.record(
            visitor, 'set role', subject=account.name, old=account.role.word, new=role.word
        )

    def set_enabled(self, visitor: Visitor, name: str, is_enabled: bool) -> None:
        """
        Let somebody log in, or not any longer.

        """
        what = 'enable account' if is_enabled else 'disable account'
        visitor = self._engineer(visitor, what)
        account = self.accounts.existing(name)
        self.accounts.set_enabled(name, is_enabled)
        self.audit.record(visitor, what, subject=account.name)

    def rename(self, visitor: Visitor, name: str, new_name: str) -> None:
        """
        Give an account another name.

        """
        visitor = self._engineer(visitor, 'rename account')
        account = self.accounts.existing(name)
        self.accounts.rename(name, new_name)
        self.audit.record(visitor, 'rename account', old=account.name, new=new_name)

    def delete(self, visitor: Visitor, name: str) -> None:
        """
        Remove an account with its tokens.

        """
        visitor = self._engineer(visitor, 'delete account')
        account = self.accounts.existing(name)
        self.accounts.delete(name)
        self.audit.record(visitor, 'delete account', subject=account.name, old=account.role.word)

    def _engineer(self, visitor: Visitor, what: str) -> Visitor:
        now = self.check_role(visitor, Role.ENGINEER, what)
        return self._without_token(now, what)

    def _own(self, visitor: Visitor) -> Account:
        """
        Give the account of a visitor who is logged in with a password.

        """
        now = self.now(visitor)
        account = None if now is None else self.accounts.of_id(now.account_id)
        if now is None or account is None:
            raise AccessError('you are not logged in')
        self._without_token(now, 'change an account')
        return account

    def _without_token(self, visitor: Visitor, what: str) -> Visitor:
        # A token that was stolen must not be able to make itself permanent.
        if visitor.token_id:
            self.audit.record(visitor, what, why='not with a token', is_refused=True)
            raise AccessError('accounts cannot be changed with a token; log in on the page')
        return visitor

    def _begin(self, account: Account, address: str) -> str:
        secret = self.sessions.begin(account, address)
        self.audit.record(Visitor(account.name, account.role, address), 'log in')
        return secret

    def _check_wait(self, name: str, address: str) -> None:
        wait_s = self.attempts.wait_s(name, address)
        if wait_s > 0:
            raise WaitError(wait_s)


def _code_hash(code: str) -> bytes:
    letters = ''.join(letter for letter in code.upper() if letter.isalnum())
    return hashlib.sha256(letters.encode('utf-8', 'replace')).digest()
