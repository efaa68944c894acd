# SPDX-License-Identifier: Apache-2.0
"""
State that outlives a process: one small JSON file for each node.

A node that dies is started again by the same parent process, as `ros2 launch` does with
`respawn=True`. Such a node takes up what its predecessor has left. When another parent starts it,
or the machine was restarted in between, the start is a fresh one: then what launch says counts,
and the old state is only worth a line in the log.

"""

from __future__ import annotations

from dataclasses import dataclass
import json
import os
from pathlib import Path
import stat
import tempfile
import threading
from typing import Any, TYPE_CHECKING

from anomaly_inspection.errors import StateError
from anomaly_inspection.printable import printable
from anomaly_inspection.steady_clock import steady_clock_id

if TYPE_CHECKING:
    from collections.abc import Callable

#: Nothing is kept in a folder of this name.
NO_FOLDER = 'none'
_FORMAT = 1
_MOST_BYTES = 1_000_000


@dataclass(frozen=True)
class FoundState:
    """
    What a predecessor has left.

    Parameters
    ----------
    content : dict or None
        What it wrote last; None when there is nothing, or nothing that can be read.
    is_respawn : bool
        Whether the predecessor was started by the same living parent process.
    problem : str
        Why a file that is there cannot be read, one sentence; '' when all is well. Nobody knows
        then what was in force, nor whether this is a respawn.

    """

    content: dict[str, Any] | None = None
    is_respawn: bool = False
    problem: str = ''


def default_state_folder() -> Path:
    """
    Give the folder of all states: in ROS_HOME, else in ~/.ros.

    """
    ros_home = os.environ.get('ROS_HOME') or Path('~', '.ros')
    return Path(ros_home, 'anomaly_inspection', 'state').expanduser()


class StateFile:
    """
    Reads once what a predecessor has left, and writes what a successor shall find.

    A write is atomic: a reader finds the old state or the new one. It waits for the disk, so that
    it survives a loss of power; that may take a second on a busy one. `keep` lets a thread write.
    All methods may be called from any thread.

    Parameters
    ----------
    path : Path or None
        The file; None = nothing is read or written.
    version : int
        Version of the content. A file of another version cannot be read.

    """

    def __init__(self, path: Path | None, *, version: int = 1) -> None:
        self._path = path
        self._version = version
        self._writer = {'boot_id': steady_clock_id(), 'parent': _parent()}
        self._lock = threading.Lock()
        #: What the predecessor has left. Read now: later on the file is our own.
        self.found = FoundState() if path is None else self._read(path)

    @property
    def name(self) -> str:
        """
        Where the state is, for messages.

        """
        return 'no file (state_folder is none)' if self._path is None else printable(self._path)

    def write(self, content: dict[str, Any]) -> None:
        """
        Replace the file; blocks until the disk has it.

        Parameters
        ----------
        content : dict
            What JSON can hold.

        Raises
        ------
        StateError
            When it cannot be written; says where and why. The file is whole, old or new.

        """
        if self._path is None:
            return
        text = json.dumps(
            {
                'format': _FORMAT,
                'version': self._version,
                'writer': self._writer,
                'content': content,
            },
            indent=2,
        )
        with self._lock:
            try:
                # A slow disk takes long: a process that is killed meanwhile must find the news.
                replace_file(self._path, text, waits_for_disk=False)
                replace_file(self._path, text)
            except (OSError, ValueError) as error:
                cause = getattr(error, 'strerror', None) or error
                raise StateError(f'cannot write the state to {self.name}: {cause}') from error

    def _read(self, path: Path) -> FoundState:
        try:
            text = read_small_file(path)
            if text is None:
                return FoundState()
            whole = json.loads(text)
            if (whole['format'], whole['version']) != (_FORMAT, self._version):
                raise ValueError(
                    f'it is of version {whole["format"]}.{whole["version"]}, '
                    f'wanted is {_FORMAT}.{self._version}'
                )
            content, writer = whole['content'], whole['writer']
            if not isinstance(content, dict):
                raise TypeError(f'its content is {content!r}')
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            cause = getattr(error, 'strerror', None) or error
            return FoundState(problem=f'cannot read the state in {printable(path)}: {cause}')
        # A parent that nobody can tell is no parent.
        is_respawn = self._writer['parent'] is not None and writer == self._writer
        return FoundState(content, is_respawn)


class StateKeeper:
    """
    Writes the newest state on a thread of its own, so that nobody waits for the disk.

    Parameters
    ----------
    file : StateFile
        What it writes.
    told : callable
        Called on that thread after each write, with what went wrong; '' when it went well.

    """

    def __init__(self, file: StateFile, told: Callable[[str], None]) -> None:
        self._file = file
        self._told = told
        self._news = threading.Condition()
        self._next: dict[str, Any] | None = None
        self._is_closing = False
        self._thread = threading.Thread(target=self._write_until_closed, daemon=True)
        self._thread.start()

    def keep(self, content: dict[str, Any]) -> None:
        """
        Have this written; returns at once. An older content that still waits is left out.

        """
        with self._news:
            self._next = content
            self._news.notify_all()

    def close(self, timeout_s: float = 5.0) -> None:
        """
        Wait until the last content is written.

        """
        with self._news:
            self._is_closing = True
            self._news.notify_all()
        self._thread.join(timeout_s)

    def _write_until_closed(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._next is not None or self._is_closing)
                content, self._next = self._next, None
            if content is None:
                return
            try:
                self._file.write(content)
            except StateError as error:
                self._told(str(error))
            else:
                self._told('')


def _parent() -> list[int] | None:
    """
    Name the parent process: its id and when it was started, in the kernel's ticks.

    """
    parent_id = os.getppid()
    try:
        text = Path(f'/proc/{parent_id}/stat').read_bytes()
        # The name of the program, in brackets, may hold anything.
        return [parent_id, int(text.rpartition(b')')[2].split()[19])]
    except (OSError, ValueError, IndexError):
        return None


def read_small_file(path: Path) -> str | None:
    """
    Read a small regular file of text; None when there is none.

    """
    content = read_small_bytes(path, _MOST_BYTES)
    return None if content is None else content.decode()


def read_small_bytes(path: Path, most_bytes: int) -> bytes | None:
    """
    Read a small regular file; None when there is none.

    """
    try:
        # A FIFO must not hold up the start of a node.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return None
    with open(descriptor, 'rb') as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > most_bytes:
            raise ValueError(f'it is no file of at most {most_bytes:,} bytes')
        return file.read(most_bytes)


def replace_file(path: Path, content: str | bytes, *, waits_for_disk: bool = True) -> None:
    """
    Replace a file atomically; only its owner may read it (mode 0600).

    Parameters
    ----------
    path : Path
        The file; the folders above it are made.
    content : str or bytes
        All that it shall hold.
    waits_for_disk : bool
        Whether it returns only when a loss of power can no longer undo it.

    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=f'.{path.name}-', dir=path.parent)
    try:
        with open(descriptor, 'wb') as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            if waits_for_disk:
                os.fsync(descriptor)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    if not waits_for_disk:
        return
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
