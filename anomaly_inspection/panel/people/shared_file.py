# SPDX-License-Identifier: Apache-2.0
"""
A small JSON file that several processes read and change: panels of several cells, and commands.

"""

from __future__ import annotations

from contextlib import contextmanager
import copy
import fcntl
import json
import os
import threading
from typing import Any, TYPE_CHECKING

from anomaly_inspection.errors import StateError
from anomaly_inspection.printable import printable
from anomaly_inspection.state_file import read_small_file, replace_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FORMAT = 1


class SharedFile:
    """
    Reads the newest content of a file and changes it, one writer at a time.

    A change is atomic and on the disk when it returns; only the owner may read the file. All
    methods may be called from any thread.

    Parameters
    ----------
    path : Path or None
        The file; None = the content is kept in memory only.
    empty : dict
        The content while there is no file.
    is_disposable : bool
        Whether the content may be lost: a file that cannot be read counts as empty, and what
        cannot be written, as on a full disk, is kept in memory until it can.

    """

    def __init__(
        self, path: Path | None, empty: dict[str, Any], *, is_disposable: bool = False
    ) -> None:
        self._path = path
        self._empty = empty
        self._is_disposable = is_disposable
        self._is_unwritten = False
        # Whoever reads never waits for the disk of whoever changes.
        self._change_lock = threading.Lock()
        self._lock = threading.Lock()
        self._content = copy.deepcopy(empty)
        self._signature: tuple[int, ...] | None = None

    def read(self) -> dict[str, Any]:
        """
        Give the content as it is now; do not change it.

        Raises
        ------
        StateError
            When the file is there and cannot be read.

        """
        with self._lock:
            if self._path is not None and not self._is_unwritten:
                signature = self._signature_now(self._path)
                if signature != self._signature:
                    self._content = self._load(self._path)
                    self._signature = signature
            return self._content

    @contextmanager
    def change(self) -> Iterator[dict[str, Any]]:
        """
        Hold the file, give its content to be changed, and write it; an exception changes nothing.

        Raises
        ------
        StateError
            When the file cannot be read or written; the old one is as it was.

        """
        with self._change_lock, self._held():
            content = copy.deepcopy(self.read())
            yield content
            is_unwritten = not self._write(content)
            with self._lock:
                # The next reader finds the file that was written by its signature.
                self._is_unwritten = is_unwritten
                if self._path is None or is_unwritten:
                    self._content = content

    def _write(self, content: dict[str, Any]) -> bool:
        if self._path is None:
            return True
        try:
            replace_file(self._path, json.dumps({'format': _FORMAT, **content}, indent=1))
        except (OSError, ValueError) as error:
            if self._is_disposable:
                return False
            cause = getattr(error, 'strerror', None) or error
            raise StateError(f'cannot write {printable(self._path)}: {cause}') from error
        return True

    @contextmanager
    def _held(self) -> Iterator[None]:
        if self._path is None:
            yield
            return
        lock_path = self._path.with_name(f'.{self._path.name}.lock')
        try:
            lock_path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            if self._is_disposable:
                yield
                return
            raise StateError(f'cannot write {printable(self._path)}: {error.strerror}') from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _signature_now(self, path: Path) -> tuple[int, ...] | None:
        try:
            status = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            if self._is_disposable:
                return None
            raise StateError(f'cannot read {printable(path)}: {error.strerror}') from error
        return status.st_ino, status.st_mtime_ns, status.st_size

    def _load(self, path: Path) -> dict[str, Any]:
        try:
            text = read_small_file(path)
            if text is None:
                return copy.deepcopy(self._empty)
            content = json.loads(text)
            if content.pop('format') != _FORMAT:
                raise ValueError(f'it is of another format than {_FORMAT}')
            for key, value in self._empty.items():
                if not isinstance(content[key], type(value)):
                    raise TypeError(f'{key} is of the wrong type')
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            if self._is_disposable:
                return copy.deepcopy(self._empty)
            cause = getattr(error, 'strerror', None) or error
            raise StateError(f'cannot read {printable(path)}: {cause}') from error
        return dict(content)
