# SPDX-License-Identifier: Apache-2.0
"""
Follow the file in which the operator's page notes who changed what.

"""

from __future__ import annotations

from datetime import datetime
import json
import os
from pathlib import Path
from typing import Any

from anomaly_inspection.records.record import event, Record, sequence_of_text

#: Name of the file in the folder of the people.
AUDIT_NAME = 'audit.jsonl'
_MOST_BYTES = 1_000_000
# What the page calls a change -> the kind of event. All else is 'change'.
_KINDS = {
    'log in': 'log_in',
    'log out': 'log_in',
    'log out everywhere': 'log_in',
    'review a reject': 'review',
    'reset line': 'line_reset',
    'set limits': 'limit_change',
    'save limits': 'limit_change',
    'undo limits': 'limit_change',
    'undo calibration': 'limit_change',
    'accept limits': 'limit_change',
    'undo accepted limits': 'limit_change',
    'set limit ranges': 'limit_change',
    'load recipe': 'recipe_change',
}


class AuditFollower:
    """
    Gives the lines that are new since the last look.

    A first look gives the whole file and the one before it, because nobody knows what came while
    no recorder ran. A line has the same sequence number every time, so the database takes it once.

    Parameters
    ----------
    path : Path
        The file; it may not be there yet.
    cell : str
        The cell that the records are for.

    """

    def __init__(self, path: Path, cell: str) -> None:
        self._path, self._cell = path, cell
        self._inode = 0
        self._offset = 0
        self._is_first = True

    def new_records(self) -> list[Record]:
        """
        Read what is new, at most a megabyte of it; raises OSError when the file cannot be read.

        """
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return []
        records: list[Record] = []
        if self._is_first:
            self._inode, self._offset = status.st_ino, 0
            records += self._lines_of(self._older, 0)[0]
            self._is_first = False
        elif status.st_ino != self._inode:
            # The file was full and has become the older one.
            records += self._lines_of(self._older, self._offset)[0]
            self._inode, self._offset = status.st_ino, 0
        elif status.st_size == self._offset:
            return []
        new, self._offset = self._lines_of(self._path, self._offset)
        return records + new

    @property
    def _older(self) -> Path:
        return self._path.with_name(f'{self._path.name}.1')

    def _lines_of(self, path: Path, offset: int) -> tuple[list[Record], int]:
        try:
            # It is ours or nobody's: a link or a pipe in its place is not followed.
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            return [], offset
        with open(descriptor, 'rb') as file:
            file.seek(offset)
            block = file.read(_MOST_BYTES)
        # The last line may still be under way.
        end = block.rfind(b'\n') + 1
        if not end and len(block) == _MOST_BYTES:
            end = len(block)
        lines = block[:end].splitlines()
        records = [each for each in map(self._record, lines) if each is not None]
        return records, offset + end

    def _record(self, line: bytes) -> Record | None:
        try:
            entry = json.loads(line)
            when = datetime.fromisoformat(entry['when'])
            what = str(entry['what'])
        except (ValueError, TypeError, KeyError):
            return None
        is_refused = entry.get('refused') is True
        return event(
            'refusal' if is_refused else _KINDS.get(what, 'change'),
            _sentence(what, entry),
            who=str(entry.get('who', '')),
            data={key: value for key, value in entry.items() if key not in ('when', 'who')},
            cell=self._cell,
            source='page',
            sequence=sequence_of_text(line),
            time_us=round(when.timestamp() * 1e6),
        )


def _sentence(what: str, entry: dict[str, Any]) -> str:
    subject = f' {entry["subject"]}' if entry.get('subject') else ''
    change = ''
    if 'old' in entry or 'new' in entry:
        change = f': {_short(entry.get("old"))} -> {_short(entry.get("new"))}'
    why = f' ({entry["why"]})' if entry.get('why') else ''
    return f'{what}{subject}{change}{why}'


def _short(value: object) -> str:
    if value is None:
        return '-'
    return value if isinstance(value, str) else json.dumps(value)
