# SPDX-License-Identifier: Apache-2.0
"""
Who changed what, when and why: one line of JSON for each change, appended to a file.

"""

from __future__ import annotations

from collections import deque
from datetime import datetime, UTC
import fcntl
import json
import os
import threading
from typing import Any, TYPE_CHECKING

from anomaly_inspection.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from anomaly_inspection.panel.people.roles import Visitor

LONGEST_TEXT = 500
MOST_WAITING = 5000
_RETRY_S = 5.0


class AuditLog:
    """
    Appends lines to a file on a thread of its own; nobody who records waits for the disk.

    Lines wait in memory while they cannot be written, the oldest are given up when too many wait,
    and the file then says how many are missing. A full file becomes `.1`, `.1` becomes `.2` ...

    Parameters
    ----------
    path : Path or None
        The file; None = lines are kept in memory only.
    told : callable
        Called on that thread with what goes wrong, one sentence, and with '' when it goes well
        again.
    most_bytes : int
        Size at which a file is full.
    n_files : int
        Number of files that are kept.

    """

    def __init__(
        self,
        path: Path | None,
        told: Callable[[str], None] = lambda problem: None,
        *,
        most_bytes: int = 2_000_000,
        n_files: int = 10,
    ) -> None:
        self._path = path
        self._told = told
        self._most_bytes = most_bytes
        self._n_files = n_files
        self._news = threading.Condition()
        self._waiting: deque[dict[str, Any]] = deque()
        self._n_lost = 0
        self._recent: deque[dict[str, Any]] = deque(maxlen=200)
        self._is_closing = False
        #: What went wrong with the last write; '' when all is well.
        self.problem = ''
        self._thread = threading.Thread(target=self._write_until_closed, daemon=True)
        self._thread.start()

    def record(
        self,
        who: Visitor,
        what: str,
        *,
        subject: str = '',
        old: object = None,
        new: object = None,
        why: str = '',
        is_refused: bool = False,
    ) -> None:
        """
        Record a change or a refused one; returns at once. Never hand over anything secret.

        Parameters
        ----------
        who : Visitor
            Who did it, and from where.
        what : str
            What was done, a word or two such as 'set limits'.
        subject : str
            To what or whom.
        old, new : object
            What it was before and is now; numbers, texts, and lists and dicts of them.
        why : str
            What the person gave as the reason, or why it was refused.
        is_refused : bool
            Whether nothing was changed.

        """
        entry: dict[str, Any] = {
            'when': datetime.now(UTC).isoformat(timespec='milliseconds'),
            'who': _short(who.name),
            'from': _short(who.address),
            'what': _short(what),
        }
        if who.token_id:
            entry['token'] = who.token_id
        for key, value in (('subject', subject), ('old', old), ('new', new), ('why', why)):
            if value not in (None, ''):
                entry[key] = _plain(value)
        if is_refused:
            entry['refused'] = True
        with self._news:
            self._recent.append(entry)
            self._waiting.append(entry)
            if len(self._waiting) > MOST_WAITING:
                self._waiting.popleft()
                self._n_lost += 1
            self._news.notify_all()

    def recent(self) -> list[dict[str, Any]]:
        """
        Give the last 200 entries that this process has recorded, the newest first.

        """
        with self._news:
            return list(reversed(self._recent))

    def last(self, number: int) -> list[dict[str, Any]]:
        """
        Read the newest entries from the file; reads the disk, so do not call it on an event loop.

        """
        if self._path is None:
            return self.recent()[:number]
        lines: list[str] = []
        for path in (self._path, self._numbered(1)):
            try:
                text = path.read_text(encoding='utf-8', errors='replace')
            except OSError:
                continue
            lines = text.splitlines() + lines
            if len(lines) >= number:
                break
        entries = []
        for line in reversed(lines[-number:]):
            try:
                entry = json.loads(line)
            except ValueError:
                # A line that a loss of power has cut.
                continue
            if isinstance(entry, dict):
                entries.append(entry)
        return entries

    def close(self, timeout_s: float = 5.0) -> None:
        """
        Wait until all is written, or the disk refuses it.

        """
        with self._news:
            self._is_closing = True
            self._news.notify_all()
        self._thread.join(timeout_s)

    def _write_until_closed(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._waiting or self._is_closing)
                entries, n_lost = list(self._waiting), self._n_lost
            if not entries:
                return
            problem = self._write(entries, n_lost)
            if problem != self.problem:
                self.problem = problem
                self._told(problem)
            with self._news:
                if not problem:
                    # The oldest may have been given up meanwhile; they are written all the same.
                    written = {id(entry) for entry in entries}
                    while self._waiting and id(self._waiting[0]) in written:
                        self._waiting.popleft()
                    self._n_lost = 0
                elif self._is_closing:
                    return
                else:
                    self._news.wait_for(lambda: self._is_closing, _RETRY_S)

    def _write(self, entries: list[dict[str, Any]], n_lost: int) -> str:
        if self._path is None:
            return ''
        if n_lost:
            now = datetime.now(UTC).isoformat(timespec='milliseconds')
            entries = [{'when': now, 'who': '', 'what': f'{n_lost} entries lost'}, *entries]
        # ASCII: no reader can be led astray by a line separator.
        block = ''.join(json.dumps(entry) + '\n' for entry in entries).encode()
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._append(self._path, block)
        except OSError as error:
            return (
                f'cannot write who changed what to {printable(self._path)}: {error.strerror}; '
                f'up to {MOST_WAITING} entries wait in memory'
            )
        return ''

    def _append(self, path: Path, block: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        with open(os.open(path, flags, 0o600), 'ab', buffering=0) as file:
            # Panels of several cells may write to the same file.
            fcntl.flock(file, fcntl.LOCK_EX)
            size = os.fstat(file.fileno()).st_size
            try:
                written = 0
                while written < len(block):
                    written += file.write(block[written:])
                os.fsync(file.fileno())
            except OSError:
                # Half a line would spoil the next one.
                os.ftruncate(file.fileno(), size)
                raise
            if size + len(block) >= self._most_bytes:
                self._rotate(path)

    def _rotate(self, path: Path) -> None:
        for number in range(self._n_files - 1, 0, -1):
            source = self._numbered(number - 1) if number > 1 else path
            if source.exists():
                source.replace(self._numbered(number))

    def _numbered(self, number: int) -> Path:
        assert self._path is not None
        return self._path.with_name(f'{self._path.name}.{number}')


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + '…'


def _plain(value: object, depth: int = 0) -> Any:
    if isinstance(value, dict) and depth < 4:
        return {_short(str(key)): _plain(entry, depth + 1) for key, entry in [*value.items()][:50]}
    if isinstance(value, (list, tuple)) and depth < 4:
        return [_plain(entry, depth + 1) for entry in value[:50]]
    if isinstance(value, float):
        # JSON knows neither NaN nor infinity.
        return value if abs(value) < float('inf') else str(value)
    return value if isinstance(value, (bool, int)) or value is None else _short(str(value))
