# SPDX-License-Identifier: Apache-2.0
"""
The certificate of the page and its key, checked before the server starts.

"""

from __future__ import annotations

from pathlib import Path
import ssl

from anomaly_inspection.errors import SettingError
from anomaly_inspection.printable import printable

# Older tools write 'BEGIN RSA PRIVATE KEY' and the like.
_KEY_MARK = 'PRIVATE KEY-----'
_CERTIFICATE_MARK = '-----BEGIN CERTIFICATE-----'
# 'BEGIN ENCRYPTED PRIVATE KEY', or the line 'Proc-Type: 4,ENCRYPTED'.
_LOCKED_MARK = 'ENCRYPTED'


def tls_files(certificate: str, key: str) -> tuple[str, str]:
    """
    Check the files for TLS, and give their full paths.

    Parameters
    ----------
    certificate, key : str
        Files in PEM format; ~ is the home of this process. Both '' = no TLS.

    Raises
    ------
    SettingError
        When only one is given, or a file cannot be used.

    """
    if bool(certificate) != bool(key):
        raise SettingError(
            f'certificate = {certificate!r} and key = {key!r} are refused: '
            'give both for TLS, or neither'
        )
    if not certificate:
        return '', ''
    certificate_text = _text('certificate', certificate)
    key_text = _text('key', key)
    shown_key = printable(key)
    if _CERTIFICATE_MARK not in certificate_text:
        raise SettingError(
            f'certificate = {printable(certificate)} is refused: no certificate in PEM format '
            f'({_CERTIFICATE_MARK})'
        )
    if _KEY_MARK not in key_text:
        raise SettingError(f'key = {shown_key} is refused: no private key in PEM format')
    if _LOCKED_MARK in key_text:
        raise SettingError(
            f'key = {shown_key} is refused: it is locked with a password, and nobody is there to '
            'enter it. Write one without: openssl pkey -in KEY -out NEW_KEY'
        )
    paths = str(Path(certificate).expanduser()), str(Path(key).expanduser())
    try:
        # Without the password OpenSSL would ask for one on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(*paths, password=lambda: '')
    except ssl.SSLError as error:
        if error.reason == 'KEY_VALUES_MISMATCH':
            raise SettingError(
                f'key = {shown_key} is refused: it does not belong to certificate = '
                f'{printable(certificate)}'
            ) from error
        raise SettingError(
            f'certificate = {printable(certificate)} with key = {shown_key} is refused: OpenSSL '
            f'cannot read one of them ({error.reason or error})'
        ) from error
    return paths


def _text(name: str, file: str) -> str:
    path = Path(file).expanduser()
    try:
        # Nothing else may be opened: a pipe would never end.
        if path.is_file():
            return path.read_text(encoding='latin-1')
        reason = 'it is a folder' if path.is_dir() else 'there is no such file'
    except OSError as error:
        reason = error.strerror or str(error)
    raise SettingError(f'{name} = {printable(file)} is refused: {reason}')
