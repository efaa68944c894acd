# SPDX-License-Identifier: Apache-2.0
"""
Certificates for tests, made by openssl.

"""

from pathlib import Path
import shutil
import subprocess

import pytest


def _openssl(*arguments: str) -> None:
    if shutil.which('openssl') is None:
        pytest.skip('openssl is not installed')
    subprocess.run(['openssl', *arguments], check=True, capture_output=True, timeout=60)


def write_certificate(folder: Path) -> tuple[Path, Path]:
    """
    Write cert.pem for this machine and its key.pem; give both.

    """
    certificate, key = folder / 'cert.pem', folder / 'key.pem'
    _openssl(
        *('req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=localhost'),
        *('-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'),
        *('-keyout', str(key), '-out', str(certificate)),
    )
    return certificate, key


def write_key(file: Path) -> None:
    """
    Write a key that belongs to no certificate.

    """
    _openssl('genrsa', '-out', str(file), '2048')


def write_locked_key(key: Path, file: Path) -> None:
    """
    Write the same key locked with a password.

    """
    _openssl('rsa', '-aes128', '-passout', 'pass:secret', '-in', str(key), '-out', str(file))
