# SPDX-License-Identifier: Apache-2.0
"""
A real PostgreSQL server of the tests' own, on a socket in a temporary folder.

"""

from __future__ import annotations

import os
from pathlib import Path
import pwd
import shutil
import signal
import subprocess
import tempfile
import time

import pytest


class PostgresServer:
    """
    A server that can be killed and started again.

    """

    def __init__(self) -> None:
        self._binaries = _binaries()
        # PostgreSQL refuses to run as root.
        self._user = 'postgres' if os.geteuid() == 0 else None
        # A socket's path has at most 107 characters.
        self.folder = Path(tempfile.mkdtemp(prefix='pg_', dir='/tmp'))
        if self._user:
            shutil.chown(self.folder, self._user)
        self._run('initdb', '-D', self.folder / 'data', '-A', 'trust', '-U', 'tester', '--no-sync')
        self._server: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """
        Start it, and wait until it answers.

        """
        log = (self.folder / 'log').open('ab')
        self._server = subprocess.Popen(
            [self._binaries / 'postgres', '-D', self.folder / 'data', '-k', self.folder,
             '-h', '', '-c', 'fsync=off'],
            user=self._user, stdout=log, stderr=log,
        )  # fmt: skip
        log.close()
        end = time.monotonic() + 30
        while self._is_ready() != 0:
            assert time.monotonic() < end, (self.folder / 'log').read_text()
            time.sleep(0.05)

    def kill(self) -> None:
        """
        End it without a word.

        """
        assert self._server is not None
        # The workers notice that their parent is gone.
        self._server.send_signal(signal.SIGKILL)
        self._server.wait()
        end = time.monotonic() + 30
        while self._is_ready() == 0:
            assert time.monotonic() < end
            time.sleep(0.05)

    def new_database(self, name: str) -> str:
        """
        Make a database and give its URL.

        """
        self._run('createdb', '-h', self.folder, '-U', 'tester', name)
        return f'postgresql://tester@/{name}?host={self.folder}'

    def close(self) -> None:
        """
        End it and delete its data.

        """
        if self._server is not None and self._server.poll() is None:
            self._server.send_signal(signal.SIGQUIT)
            self._server.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _is_ready(self) -> int:
        return subprocess.run(
            [self._binaries / 'pg_isready', '-q', '-h', self.folder], check=False
        ).returncode

    def _run(self, program: str, *arguments: object) -> None:
        subprocess.run(
            [self._binaries / program, *map(str, arguments)],
            user=self._user, check=True, capture_output=True, cwd=self.folder,
        )  # fmt: skip


def _binaries() -> Path:
    found = sorted(Path('/usr/lib/postgresql').glob('*/bin/initdb'))
    if not found:
        pytest.skip('no PostgreSQL server is installed: apt install postgresql')
    if os.geteuid() == 0:
        try:
            pwd.getpwnam('postgres')
        except KeyError:
            pytest.skip('PostgreSQL does not run as root, and there is no user postgres')
    return found[-1].parent
