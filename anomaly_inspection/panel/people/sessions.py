# SPDX-License-Identifier: Apache-2.0
"""
Who is logged in: sessions with random keys, which are kept as hashes.

"""

from __future__ import annotations

from dataclasses import dataclass
import hashlib
import secrets
import threading
import time
from typing import Any, TYPE_CHECKING

from anomaly_inspection.panel.people.roles import Role, Visitor
from anomaly_inspection.setting_check import check_range
from anomaly_inspection.steady_clock import steady_clock_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from anomaly_inspection.panel.people.accounts import Account, Accounts
    from anomaly_inspection.panel.people.shared_file import SharedFile

#: The content of the file of sessions while there is none.
EMPTY: dict[str, Any] = {'boot_id': '', 'sessions': {}}
MOST_SESSIONS_EACH = 20
# When somebody was last active is written this often: a restart forgets no more than that.
_WRITTEN_EVERY_S = 60.0


@dataclass(frozen=True)
class SessionTimes:
    """
    When a log-in ends by itself.

    Parameters
    ----------
    idle_s : float
        After this time without a click or a page, 60 s to 30 days.
    absolute_s : float
        After this time in any case, 60 s to 30 days.

    """

    idle_s: float = 3600.0
    absolute_s: float = 12 * 3600.0

    def __post_init__(self) -> None:
        for name in ('idle_s', 'absolute_s'):
            check_range(name, getattr(self, name), 60.0, 30 * 86400.0, 's')


class Sessions:
    """
    Begins, checks and ends log-ins.

    They survive a restart of the panel, and end with a restart of the machine.

    Parameters
    ----------
    file : SharedFile
        Disposable file with the content `EMPTY` while it does not exist.
    accounts : Accounts
        Whom they belong to.
    times : SessionTimes
        When they end.
    now_s : callable
        Seconds on the steady clock of this machine, the same for all processes.
    boot_id : str or None
        Which run of the machine that clock belongs to; None = this one.

    """

    def __init__(
        self,
        file: SharedFile,
        accounts: Accounts,
        times: SessionTimes | None = None,
        now_s: Callable[[], float] = time.monotonic,
        boot_id: str | None = None,
    ) -> None:
        self._file = file
        self._accounts = accounts
        self.times = times or SessionTimes()
        self._now_s = now_s
        self._boot_id = steady_clock_id() if boot_id is None else boot_id
        self._lock = threading.Lock()
        self._last_active_s: dict[str, float] = {}
        self._written_s = now_s()
        self._is_writing = False

    def begin(self, account: Account, address: str) -> str:
        """
        Log somebody in.

        Returns
        -------
        str
            The secret for the cookie; nobody can get it a second time.

        """
        secret = secrets.token_urlsafe(32)
        now_s = self._now_s()
        with self._file.change() as content:
            sessions = self._living(content)
            own = [key for key, entry in sessions.items() if entry['account_id'] == account.id]
            for key in own[: max(0, len(own) - MOST_SESSIONS_EACH + 1)]:
                del sessions[key]
            sessions[_key(secret)] = {
                'account_id': account.id,
                'epoch': account.epoch,
                'began_s': now_s,
                'active_s': now_s,
                'address': address,
            }
            content['sessions'] = sessions
            content['boot_id'] = self._boot_id
        return secret

    def visitor(self, secret: str, address: str, *, is_active: bool = True) -> Visitor | None:
        """
        Give who holds this secret now; None when the log-in has ended or never was.

        Parameters
        ----------
        secret : str
            What the cookie says.
        address : str
            Where the request comes from.
        is_active : bool
            Whether a person does something; a page that only refreshes itself is not.

        """
        return self.visitor_of_key(_key(secret), address, is_active=is_active)

    def visitor_of_key(self, key: str, address: str, *, is_active: bool = False) -> Visitor | None:
        """
        Give who is behind a `Visitor.session` now; None when that log-in has ended.

        """
        content = self._file.read()
        entry = content['sessions'].get(key)
        if entry is None or content['boot_id'] != self._boot_id or not self._is_alive(key, entry):
            return None
        account = self._accounts.of_id(entry['account_id'])
        if account is None or not account.is_enabled or account.epoch != entry['epoch']:
            return None
        if is_active:
            self._set_active(key)
        must_change = account.must_change_password
        return Visitor(
            name=account.name,
            role=Role.VIEWER if must_change else account.role,
            address=address,
            account_id=account.id,
            session=key,
            must_change_password=must_change,
        )

    def end(self, key: str) -> None:
        """
        End one log-in; does nothing when it has ended already.

        """
        if key in self._file.read()['sessions']:
            with self._file.change() as content:
                content['sessions'] = self._living(content)
                content['sessions'].pop(key, None)

    def number_of(self, account: Account) -> int:
        """
        Count the log-ins of an account that have not ended.

        """
        return sum(
            entry['account_id'] == account.id and entry['epoch'] == account.epoch
            for entry in self._living(self._file.read()).values()
        )

    def _active_s(self, key: str, entry: dict[str, Any]) -> float:
        return max(float(entry['active_s']), self._last_active_s.get(key, 0.0))

    def _is_alive(self, key: str, entry: dict[str, Any]) -> bool:
        now_s = self._now_s()
        return (
            now_s - entry['began_s'] < self.times.absolute_s
            and now_s - self._active_s(key, entry) < self.times.idle_s
        )

    def _living(self, content: dict[str, Any]) -> dict[str, Any]:
        if content['boot_id'] != self._boot_id:
            return {}
        return {
            key: {**entry, 'active_s': self._active_s(key, entry)}
            for key, entry in content['sessions'].items()
            if self._is_alive(key, entry)
        }

    def _set_active(self, key: str) -> None:
        now_s = self._now_s()
        with self._lock:
            self._last_active_s[key] = now_s
            if self._is_writing or now_s - self._written_s < _WRITTEN_EVERY_S:
                return
            self._is_writing, self._written_s = True, now_s
        # Nobody who asks waits for the disk.
        threading.Thread(target=self._write_active, daemon=True).start()

    def _write_active(self) -> None:
        try:
            with self._file.change() as content:
                content['sessions'] = self._living(content)
            with self._lock:
                self._last_active_s = {
                    key: last_s
                    for key, last_s in self._last_active_s.items()
                    if key in content['sessions']
                }
        finally:
            with self._lock:
                self._is_writing = False


def _key(secret: str) -> str:
    return hashlib.sha256(secret.encode('utf-8', 'replace')).hexdigest()
