# SPDX-License-Identifier: Apache-2.0
"""
Wrong passwords: who fails has to wait, longer each time, whatever is restarted in between.

"""

from __future__ import annotations

from dataclasses import dataclass
import hashlib
import ipaddress
import time
from typing import Any, TYPE_CHECKING

from anomaly_inspection.steady_clock import steady_clock_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from anomaly_inspection.panel.people.shared_file import SharedFile

#: The content of the file of attempts while there is none.
EMPTY: dict[str, Any] = {'boot_id': '', 'attempts': {}}

# Failures without a wait, and the longest wait. A person mistypes; all people at one terminal
# share its address. Nobody can keep others out of their account for longer than that wait.
_FREE_OF_ACCOUNT, _LONGEST_OF_ACCOUNT_S = 4, 300.0
_FREE_OF_ADDRESS, _LONGEST_OF_ADDRESS_S = 9, 900.0
_FIRST_WAIT_S = 5.0
_FORGOTTEN_AFTER_S = 3600.0
_MOST_ENTRIES = 2000


@dataclass(frozen=True)
class _Source:
    key: str
    n_free: int
    longest_wait_s: float

    def wait_s(self, n_failures: int) -> float:
        n_waits = n_failures - self.n_free
        if n_waits <= 0:
            return 0.0
        return float(min(self.longest_wait_s, _FIRST_WAIT_S * 2 ** min(n_waits - 1, 20)))


class Attempts:
    """
    Counts failed log-ins by account and by address.

    Names are kept as hashes: people type their password into the wrong field.

    Parameters
    ----------
    file : SharedFile
        Disposable file with the content `EMPTY` while it does not exist.
    now_s : callable
        Seconds on the steady clock of this machine, the same for all processes.
    boot_id : str or None
        Which run of the machine that clock belongs to; None = this one.

    """

    def __init__(
        self,
        file: SharedFile,
        now_s: Callable[[], float] = time.monotonic,
        boot_id: str | None = None,
    ) -> None:
        self._file = file
        self._now_s = now_s
        self._boot_id = steady_clock_id() if boot_id is None else boot_id

    def wait_s(self, name: str, address: str) -> float:
        """
        Say how long to wait before the next attempt; 0 = it may be made now.

        """
        now_s = self._now_s()
        entries = self._entries()
        return max(
            (
                source.wait_s(int(entries[source.key][0])) - (now_s - entries[source.key][1])
                for source in _sources(name, address)
                if source.key in entries
            ),
            default=0.0,
        )

    def failed(self, name: str, address: str) -> None:
        """
        Count a failure.

        """
        now_s = self._now_s()

        def count(entries: dict[str, list[float]]) -> None:
            for source in _sources(name, address):
                n_failures = entries.get(source.key, [0])[0] + 1
                entries[source.key] = [n_failures, now_s]

        self._change(count)

    def succeeded(self, name: str) -> None:
        """
        Forget the failures of an account, not those of the address.

        """
        key = _account(name).key
        if key in self._entries():
            self._change(lambda entries: entries.pop(key, None))

    def _entries(self) -> dict[str, list[float]]:
        content = self._file.read()
        now_s = self._now_s()
        # After a restart of the machine its clock begins anew: every wait begins now.
        is_same_boot = content['boot_id'] == self._boot_id
        entries = {
            key: [n_failures, last_s if is_same_boot else now_s]
            for key, (n_failures, last_s) in content['attempts'].items()
        }
        return {
            key: entry for key, entry in entries.items() if now_s - entry[1] < _FORGOTTEN_AFTER_S
        }

    def _change(self, change: Callable[[dict[str, list[float]]], object]) -> None:
        with self._file.change() as content:
            entries = self._entries()
            change(entries)
            # Whoever tries thousands of names must not make room by that for the next ones.
            most = sorted(entries.items(), key=lambda entry: entry[1], reverse=True)
            content['attempts'] = dict(most[:_MOST_ENTRIES])
            content['boot_id'] = self._boot_id


def _sources(name: str, address: str) -> list[_Source]:
    return [
        _account(name),
        _Source(_address_key(address), _FREE_OF_ADDRESS, _LONGEST_OF_ADDRESS_S),
    ]


def _account(name: str) -> _Source:
    digest = hashlib.sha256(' '.join(name.split()).casefold().encode('utf-8', 'replace'))
    key = f'account {digest.hexdigest()[:32]}'
    return _Source(key, _FREE_OF_ACCOUNT, _LONGEST_OF_ACCOUNT_S)


def _address_key(address: str) -> str:
    try:
        ip = ipaddress.ip_address(address.partition('%')[0])
    except ValueError:
        return 'address unknown'
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is None:
            # One customer's network: a machine may choose any address in it.
            return f'address {ipaddress.ip_network((ip, 64), strict=False)}'
        ip = ip.ipv4_mapped
    return f'address {ip}'
