# SPDX-License-Identifier: Apache-2.0
"""
How to reach the broker, and the credentials, which only a file holds.

"""

from __future__ import annotations

from dataclasses import dataclass
import os
from pathlib import Path
import ssl
import stat

from anomaly_inspection.errors import SettingError
from anomaly_inspection.printable import printable
from anomaly_inspection.setting_check import check_range

_MOST_CREDENTIAL_BYTES = 4096
_MOST_CLIENT_ID_LETTERS = 128
_LOCAL_HOSTS = ('127.0.0.1', 'localhost', '::1')
PLAIN_PORT, TLS_PORT = 1883, 8883


@dataclass(frozen=True)
class Credentials:
    """
    User name and password; neither is ever shown.

    """

    user: str
    password: str

    def __repr__(self) -> str:
        """
        Hide both.

        """
        return 'Credentials(...)'


@dataclass(frozen=True)
class BrokerSettings:
    """
    How to reach the broker.

    Parameters
    ----------
    host : str
        Name or address.
    port : int
        TCP port; 0 = 1883, with TLS 8883.
    client_id : str
        Unique at the broker: a second client of the same id throws the first one out.
    keep_alive_s : int
        Longest silence; the broker declares a client dead after one and a half times this.
    is_encrypted : bool
        Whether to use TLS.
    ca_file : str
        Certificates of the authorities that may vouch for the broker (PEM); '' = those of the
        operating system.
    certificate, key : str
        The client's own certificate and private key (PEM); both '' = none.
    credentials_file : str
        File with the user name in its first line and the password in the second; '' = none.

    Raises
    ------
    SettingError
        When a setting is out of range, or settings do not fit together.

    """

    host: str
    port: int = 0
    client_id: str = 'anomaly_inspection'
    keep_alive_s: int = 30
    is_encrypted: bool = False
    ca_file: str = ''
    certificate: str = ''
    key: str = ''
    credentials_file: str = ''

    def __post_init__(self) -> None:
        if not self.host or not self.host.isprintable() or ' ' in self.host:
            raise SettingError(f'host = {self.host!r} is refused: allowed is a name or an address')
        check_range('port', self.port, 0, 65535)
        check_range('keep_alive_s', self.keep_alive_s, 5, 3600)
        is_fit = 0 < len(self.client_id) <= _MOST_CLIENT_ID_LETTERS
        if not is_fit or not self.client_id.isprintable():
            raise SettingError(
                f'client_id = {self.client_id!r} is refused: allowed are 1 to '
                f'{_MOST_CLIENT_ID_LETTERS} printable letters'
            )
        if bool(self.certificate) != bool(self.key):
            raise SettingError(
                f'certificate = {self.certificate!r} and key = {self.key!r} are refused: give '
                'both for a client certificate, or neither'
            )
        if not self.is_encrypted and (self.ca_file or self.certificate):
            raise SettingError('ca_file and certificate are refused without tls: true')

    @property
    def port_used(self) -> int:
        """
        The port, with 0 resolved.

        """
        return self.port or (TLS_PORT if self.is_encrypted else PLAIN_PORT)

    @property
    def address(self) -> str:
        """
        'host:port', for messages.

        """
        return f'{self.host}:{self.port_used}'

    @property
    def sends_readable_password(self) -> bool:
        """
        Whether the password crosses a network that others may read.

        """
        is_local = self.host in _LOCAL_HOSTS
        return bool(self.credentials_file) and not self.is_encrypted and not is_local

    def credentials(self) -> Credentials | None:
        """
        Read the file of the credentials; None when there is none.

        Raises
        ------
        SettingError
            When it cannot be used; says why, and never what it holds.

        """
        return read_credentials(Path(self.credentials_file)) if self.credentials_file else None

    def tls_context(self) -> ssl.SSLContext | None:
        """
        Make what TLS needs of the files; None without TLS.

        Raises
        ------
        SettingError
            When a file cannot be used.

        """
        if not self.is_encrypted:
            return None
        try:
            context = ssl.create_default_context(cafile=_path(self.ca_file))
        except (OSError, ValueError) as error:
            raise SettingError(
                f'ca_file = {printable(self.ca_file)} is refused: {_cause(error)}'
            ) from error
        if self.certificate:
            _refuse_readable_by_others('key', Path(self.key).expanduser())
            try:
                # Without the password OpenSSL would ask for one on the terminal.
                context.load_cert_chain(
                    str(_path(self.certificate)), _path(self.key), password=lambda: ''
                )
            except (OSError, ValueError) as error:
                raise SettingError(
                    f'certificate = {printable(self.certificate)} with key = '
                    f'{printable(self.key)} is refused: {_cause(error)}'
                ) from error
        return context

    def check(self) -> None:
        """
        Raise SettingError when a file cannot be used now.

        """
        self.credentials()
        self.tls_context()


def read_credentials(path: Path) -> Credentials:
    """
    Read user name and password.

    Parameters
    ----------
    path : Path
        A regular file of at most 4096 bytes that only its owner and group may read: the user name
        in the first line, the password in the second.

    Raises
    ------
    SettingError
        When the file is missing, may be read by everybody, or has no two such lines.

    """
    path = path.expanduser()
    shown = f'credentials_file = {printable(path)} is refused'
    try:
        # A FIFO must not hold up the start of a node.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with open(descriptor, 'rb') as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_size > _MOST_CREDENTIAL_BYTES:
                raise SettingError(
                    f'{shown}: it is no file of at most {_MOST_CREDENTIAL_BYTES:,} bytes'
                )
            if status.st_mode & stat.S_IRWXO:
                raise SettingError(f'{shown}: everybody may read it. chmod 600 {printable(path)}')
            lines = file.read(_MOST_CREDENTIAL_BYTES).decode().splitlines()
    except OSError as error:
        raise SettingError(f'{shown}: {error.strerror}') from error
    except UnicodeDecodeError as error:
        raise SettingError(f'{shown}: it is no UTF-8') from error
    if len(lines) != 2 or not lines[0]:
        raise SettingError(
            f'{shown}: it has {len(lines)} lines; wanted are two, the user name and the password'
        )
    return Credentials(*lines)


def _refuse_readable_by_others(setting: str, path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise SettingError(
            f'{setting} = {printable(path)} is refused: {error.strerror}'
        ) from error
    if mode & stat.S_IRWXO:
        raise SettingError(
            f'{setting} = {printable(path)} is refused: everybody may read it. '
            f'chmod 600 {printable(path)}'
        )


def _path(file: str) -> str | None:
    return str(Path(file).expanduser()) if file else None


def _cause(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return f'OpenSSL cannot read it ({error.reason or error})'
    return getattr(error, 'strerror', None) or str(error)
