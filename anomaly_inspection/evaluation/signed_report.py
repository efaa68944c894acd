# SPDX-License-Identifier: Apache-2.0
"""
A report as JSON that says whether it was changed since, and by whose key it was signed.

::

    {"format": 1, "content": {...}, "sha256": "...",
     "signature": {"kind": "HMAC-SHA256", "key": "first 16 digits of its SHA-256", "value": "..."}}

The hash and the signature are over the content as compact JSON with sorted keys. Without a key
`signature` is null: the hash finds damage, but whoever changes the content can change it as well.

"""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

from anomaly_inspection.errors import ReportError, SettingError
from anomaly_inspection.printable import printable

FORMAT = 1
KIND = 'HMAC-SHA256'
LEAST_KEY_BYTES, MOST_KEY_BYTES = 32, 4096
_MOST_BYTES = 200 * 10**6


def read_key(path: Path) -> bytes:
    """
    Read the file of a key.

    Raises
    ------
    SettingError
        When it cannot be read, or holds fewer than 32 or more than 4096 bytes.

    """
    try:
        with path.open('rb') as file:
            # What ends a line in an editor is no part of the key.
            key = file.read(MOST_KEY_BYTES + 3).rstrip(b'\r\n')
    except OSError as error:
        raise SettingError(f'cannot read the key {printable(path)}: {error.strerror}') from error
    if not LEAST_KEY_BYTES <= len(key) <= MOST_KEY_BYTES:
        raise SettingError(
            f'the key {printable(path)} has {len(key)} bytes; allowed: {LEAST_KEY_BYTES} to '
            f'{MOST_KEY_BYTES}. Make one with: openssl rand -hex 32'
        )
    return key


def signed(content: dict[str, Any], key: bytes | None) -> dict[str, Any]:
    """
    Give the report of a content.

    Parameters
    ----------
    content : dict
        Ready for JSON, without NaN.
    key : bytes or None
        What to sign with; None = it is not signed.

    """
    message = _message(content)
    signature = None
    if key is not None:
        signature = {'kind': KIND, 'key': key_name(key), 'value': _mac(key, message)}
    return {
        'format': FORMAT,
        'content': content,
        'sha256': hashlib.sha256(message).hexdigest(),
        'signature': signature,
    }


def key_name(key: bytes) -> str:
    """
    Name a key without giving it away: 16 digits of its hash.

    """
    return hashlib.sha256(b'name of key ' + key).hexdigest()[:16]


def read_report(path: Path) -> dict[str, Any]:
    """
    Read a report, and check that its content is the one that its hash is of.

    Raises
    ------
    ReportError
        When it cannot be read, is no report, or was changed.

    """
    shown = printable(path)
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ReportError(f'{shown} is larger than {_MOST_BYTES / 1e6:.0f} MB: no report')
        report = json.loads(path.read_bytes())
    except OSError as error:
        raise ReportError(f'cannot read {shown}: {error.strerror}') from error
    except (ValueError, RecursionError) as error:
        raise ReportError(f'{shown} is no report: it is not JSON') from error
    if not isinstance(report, dict) or not isinstance(report.get('content'), dict):
        raise ReportError(f'{shown} is no report: it has no content')
    if report.get('format') != FORMAT:
        raise ReportError(f'{shown} is of format {report.get("format")!r}; allowed: {FORMAT}')
    digest = hashlib.sha256(_message(report['content'])).hexdigest()
    if report.get('sha256') != digest:
        raise ReportError(
            f'{shown} was changed: its content has the SHA-256 {digest}, and it says '
            f'{str(report.get("sha256"))[:64]!r}'
        )
    return report


def check_signature(report: dict[str, Any], key: bytes | None, shown: str) -> str:
    """
    Say by which key a report was signed.

    Parameters
    ----------
    report : dict
        As `read_report` gives it.
    key : bytes or None
        The key that it should be signed with; None = only say what it claims.
    shown : str
        Its name, for messages.

    Raises
    ------
    ReportError
        When it is not signed with this key.

    """
    signature = report.get('signature')
    if signature is None:
        if key is not None:
            raise ReportError(f'{shown} is not signed')
        return 'it is not signed: whoever can write the file can change it'
    name = str(signature.get('key'))[:16] if isinstance(signature, dict) else ''
    if key is None:
        return f'it says that it is signed with the key {name}; --key checks that'
    if not isinstance(signature, dict) or signature.get('kind') != KIND:
        raise ReportError(f'{shown} is signed in a way that is not known; allowed: {KIND}')
    value = str(signature.get('value'))
    if not hmac.compare_digest(value.encode(), _mac(key, _message(report['content'])).encode()):
        raise ReportError(
            f'{shown} is not signed with this key: it names the key {name!r}, this one is '
            f'{key_name(key)!r}'
        )
    return f'it is signed with the key {name}'


def _message(content: dict[str, Any]) -> bytes:
    # ASCII, so that no editor or disk writes the same text in another way.
    return json.dumps(content, sort_keys=True, separators=(',', ':')).encode()


def _mac(key: bytes, message: bytes) -> str:
    return hmac.new(key, message, hashlib.sha256).hexdigest()
