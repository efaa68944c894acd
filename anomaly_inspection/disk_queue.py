# SPDX-License-Identifier: Apache-2.0
"""
A bounded queue of records on disk, for what must reach a database or a broker in the end.

A record is safe from the death of the process when `append` returns, and from a loss of power
after the next `sync`. Whoever takes records out calls `sync`, reads a batch with `peek`, delivers
it, and only then calls `acknowledge`. A process that dies in between delivers the batch once more:
a record arrives at least once and in order, and its number tells a repeat.

The folder holds segments, files of lines 'NUMBER CHECKSUM RECORD'. The first number of a segment
is its name. A segment is removed when all its records are acknowledged, or when the queue is full
and it is the oldest.

"""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
from dataclasses import dataclass
import fcntl
import json
import os
from pathlib import Path
import threading
import time
import zlib

from anomaly_inspection.errors import SettingError, StateError
from anomaly_inspection.printable import printable
from anomaly_inspection.state_file import read_small_file, replace_file

_SEGMENTS = 8
_LARGEST_SEGMENT_BYTES = 8_000_000
_SMALLEST_QUEUE_BYTES = 4096
# A predecessor that is just ending may hold the folder for so long.
_HANDOVER_S = 2.0
_SUFFIX = '.queue'
_POSITION = 'position.json'


@dataclass(frozen=True)
class QueuedRecord:
    """
    A record that waits.

    Parameters
    ----------
    number : int
        Counts up from 1; after a `sync` it is never used again in this folder.
    content : bytes
        As it was appended.

    """

    number: int
    content: bytes


@dataclass
class _Segment:
    first_number: int
    path: Path
    size: int


@dataclass(frozen=True)
class _Place:
    """
    Behind a record: its number, the segment and the byte at which the next record begins.

    """

    number: int
    segment_first: int
    offset: int


class DiskQueue:
    """
    Keeps records in a folder until they are acknowledged.

    All methods may be called from any thread. Only one process may have the folder open.

    Parameters
    ----------
    folder : Path
        Its folder; made when it is missing.
    most_bytes : int
        Bound of all records together, at least 4096 bytes. When it is reached, the oldest eighth
        is dropped and counted in `dropped`.

    Raises
    ------
    SettingError
        When the bound is too small.
    StateError
        When the folder cannot be used, or another process has it.

    """

    def __init__(self, folder: Path, *, most_bytes: int = 100_000_000) -> None:
        if most_bytes < _SMALLEST_QUEUE_BYTES:
            raise SettingError(
                f'the queue in {printable(folder)} may hold {most_bytes} bytes; '
                f'it needs at least {_SMALLEST_QUEUE_BYTES}'
            )
        self._folder = folder
        self._most_bytes = most_bytes
        self._segment_bytes = min(most_bytes // _SEGMENTS, _LARGEST_SEGMENT_BYTES)
        self._news = threading.Condition()
        self._is_closed = False
        self._peeked: list[_Place] = []
        self._done = _Place(0, 0, 0)
        #: Records that were never acknowledged because the queue was full, in its whole life.
        self.dropped = 0
        #: Lines that could not be read, since it was opened. A torn last line is not counted.
        self.damaged = 0
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            self._lock_file = os.open(folder / 'lock', flags, 0o600)
        except OSError as error:
            raise StateError(
                f'cannot keep a queue in {printable(folder)}: {error.strerror}'
            ) from error
        try:
            self._take_the_folder()
            self._open()
        except BaseException:
            os.close(self._lock_file)
            raise

    @property
    def waiting(self) -> int:
        """
        How many records wait.

        """
        with self._news:
            return self._next_number - 1 - self._done.number

    @property
    def size_bytes(self) -> int:
        """
        Bytes on disk.

        """
        with self._news:
            return self._size()

    def append(self, content: bytes) -> int:
        """
        Put a record behind the others.

        Parameters
        ----------
        content : bytes
            One line without its end, as `json.dumps` writes it.

        Returns
        -------
        int
            Its number.

        Raises
        ------
        StateError
            When it cannot be written, for instance on a full disk. Then the queue is as before.
        ValueError
            When the record holds a line end or is larger than an eighth of the queue.

        """
        if b'\n' in content:
            raise ValueError('a record of the queue is one line and cannot hold a line end')
        with self._news:
            if self._is_closed:
                raise StateError(f'the queue in {printable(self._folder)} is closed')
            number = self._next_number
            head = b'%d ' % number
            line = head + b'%08x ' % zlib.crc32(head + content) + content + b'\n'
            if len(line) > self._segment_bytes:
                raise ValueError(
                    f'a record of {len(line):,} bytes is too large for the queue: '
                    f'at most {self._segment_bytes:,}'
                )
            try:
                self._write(line)
            except OSError as error:
                raise StateError(
                    f'cannot write to the queue in {printable(self._folder)}: {error.strerror}'
                ) from error
            self._next_number += 1
            while self._size() > self._most_bytes and len(self._segments) > 1:
                self._drop_oldest_segment()
            self._news.notify_all()
            return number

    def sync(self) -> None:
        """
        Wait until a loss of power can no longer take back what was appended so far.

        """
        with self._news:
            if self._is_closed:
                return
            descriptor = os.dup(self._file)
        try:
            os.fsync(descriptor)
        except OSError as error:
            raise StateError(
                f'cannot write to the queue in {printable(self._folder)}: {error.strerror}'
            ) from error
        finally:
            os.close(descriptor)

    def wait(self, timeout_s: float) -> bool:
        """
        Wait until a record is there; False when there is none after this time or at the end.

        """
        with self._news:
            self._news.wait_for(lambda: self._has_records() or self._is_closed, timeout_s)
            return self._has_records() and not self._is_closed

    def peek(self, most: int = 500) -> list[QueuedRecord]:
        """
        Read the oldest records; they stay until they are acknowledged.

        Parameters
        ----------
        most : int
            At most so many.

        Raises
        ------
        StateError
            When they cannot be read.

        """
        with self._news:
            records: list[QueuedRecord] = []
            self._peeked = []
            try:
                for record, place in self._records_after(self._done):
                    if len(records) == most:
                        break
                    records.append(record)
                    self._peeked.append(place)
            except OSError as error:
                raise StateError(
                    f'cannot read the queue in {printable(self._folder)}: {error.strerror}'
                ) from error
            if not records and self._has_records():
                # What is left cannot be read; to wait for it would be in vain.
                self.damaged += self._next_number - 1 - self._done.number
                newest = self._segments[-1]
                self._done = _Place(self._next_number - 1, newest.first_number, newest.size)
            return records

    def acknowledge(self, number: int) -> None:
        """
        Say that the records up to this number have arrived; they will not be read again.

        Parameters
        ----------
        number : int
            The number of a record that `peek` gave. An older one changes nothing.

        Raises
        ------
        StateError
            When it cannot be noted on disk. A later process then reads these records again.

        """
        with self._news:
            if number <= self._done.number:
                return
            places = [place for place in self._peeked if place.number <= number]
            if not places or number >= self._next_number:
                raise ValueError(f'record {number} was not read and cannot be acknowledged')
            self._done = places[-1]
            self._peeked = self._peeked[len(places) :]
            try:
                # First, because a full disk has no room for the note.
                while self._segments[0].first_number < self._done.segment_first:
                    self._segments.pop(0).path.unlink(missing_ok=True)
                self._note_position()
            except OSError as error:
                raise StateError(
                    f'cannot write to the queue in {printable(self._folder)}: {error.strerror}'
                ) from error

    def close(self) -> None:
        """
        Let go of the folder; whoever waits goes on.

        """
        with self._news:
            if self._is_closed:
                return
            self._is_closed = True
            self._news.notify_all()
            # What the disk refuses stands in the page cache all the same.
            with contextlib.suppress(OSError):
                os.fsync(self._file)
            os.close(self._file)
            os.close(self._lock_file)

    # All below: with the lock held

    def _take_the_folder(self) -> None:
        end = time.monotonic() + _HANDOVER_S
        while True:
            try:
                fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if time.monotonic() > end:
                    raise StateError(
                        f'another process uses the queue in {printable(self._folder)}'
                    ) from error
                time.sleep(0.05)
            else:
                return

    def _open(self) -> None:
        try:
            self._segments = [
                _Segment(int(path.name.removesuffix(_SUFFIX)), path, path.stat().st_size)
                for path in self._folder.glob(f'*{_SUFFIX}')
                if path.name.removesuffix(_SUFFIX).isdecimal()
            ]
            self._segments.sort(key=lambda segment: segment.first_number)
            acknowledged = self._read_position()
            if self._segments:
                newest = self._segments[-1]
                last, newest.size = self._cut_torn_line(newest)
                self._next_number = max(last, newest.first_number - 1, acknowledged) + 1
                self._file = self._open_segment(newest.path)
            else:
                self._next_number = acknowledged + 1
                self._begin_segment()
            self._done = self._place_of(acknowledged)
        except OSError as error:
            raise StateError(
                f'cannot keep a queue in {printable(self._folder)}: {error.strerror}'
            ) from error

    def _read_position(self) -> int:
        try:
            text = read_small_file(self._folder / _POSITION)
            position = json.loads(text) if text else {}
            acknowledged = int(position.get('acknowledged', 0))
            self.dropped = int(position.get('dropped', 0))
        except (ValueError, TypeError, AttributeError):
            # What was delivered is delivered once more.
            self.damaged += 1
            return 0
        return acknowledged

    def _note_position(self) -> None:
        text = json.dumps({'acknowledged': self._done.number, 'dropped': self.dropped})
        # The segments are still there after a loss of power: the news of it can wait.
        replace_file(self._folder / _POSITION, text, waits_for_disk=False)

    def _cut_torn_line(self, segment: _Segment) -> tuple[int, int]:
        """
        Cut off what a killed process or a loss of power has left behind the last whole line.

        """
        last, end = segment.first_number - 1, 0
        for record, place in self._records_in(segment, 0, segment.first_number - 1):
            last, end = record.number, place.offset
        if end < segment.size:
            os.truncate(segment.path, end)
        return last, end

    def _place_of(self, number: int) -> _Place:
        """
        Find where the records after this number begin.

        """
        begun = [segment for segment in self._segments if segment.first_number <= number]
        if not begun:
            first = self._segments[0].first_number
            return _Place(first - 1, first, 0)
        offset = 0
        for record, place in self._records_in(begun[-1], 0, begun[-1].first_number - 1):
            if record.number > number:
                break
            offset = place.offset
        return _Place(number, begun[-1].first_number, offset)

    def _records_after(self, start: _Place) -> Iterator[tuple[QueuedRecord, _Place]]:
        number = start.number
        for segment in self._segments:
            if segment.first_number < start.segment_first:
                continue
            offset = start.offset if segment.first_number == start.segment_first else 0
            for record, place in self._records_in(segment, offset, number):
                number = record.number
                yield record, place

    def _records_in(
        self, segment: _Segment, offset: int, after: int
    ) -> Iterator[tuple[QueuedRecord, _Place]]:
        with open(segment.path, 'rb') as file:
            file.seek(offset)
            while offset < segment.size:
                line = file.readline()
                if not line:
                    return
                offset += len(line)
                record = _parsed(line)
                if record is None:
                    # Only a whole line counts: the last one may be torn.
                    self.damaged += line.endswith(b'\n')
                elif record.number > after:
                    after = record.number
                    yield record, _Place(after, segment.first_number, offset)

    def _write(self, line: bytes) -> None:
        if self._segments[-1].size + len(line) > self._segment_bytes:
            full = self._file
            os.fsync(full)
            self._begin_segment()
            os.close(full)
        newest = self._segments[-1]
        try:
            written = 0
            while written < len(line):
                written += os.write(self._file, line[written:])
        except OSError:
            # Half a line would spoil the next one.
            os.ftruncate(self._file, newest.size)
            raise
        newest.size += len(line)

    def _begin_segment(self) -> None:
        path = self._folder / f'{self._next_number:020d}{_SUFFIX}'
        self._file = self._open_segment(path)
        folder = os.open(self._folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self._segments.append(_Segment(self._next_number, path, 0))

    def _open_segment(self, path: Path) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        return os.open(path, flags, 0o600)

    def _drop_oldest_segment(self) -> None:
        oldest = self._segments.pop(0)
        first_kept = self._segments[0].first_number
        if self._done.number < first_kept - 1:
            self.dropped += first_kept - 1 - self._done.number
            self._done = _Place(first_kept - 1, first_kept, 0)
            self._peeked = [place for place in self._peeked if place.number >= first_kept]
        # If that fails it is found, and dropped again, at the next start.
        with contextlib.suppress(OSError):
            oldest.path.unlink(missing_ok=True)
            self._note_position()

    def _has_records(self) -> bool:
        return self._done.number < self._next_number - 1

    def _size(self) -> int:
        return sum(segment.size for segment in self._segments)


def _parsed(line: bytes) -> QueuedRecord | None:
    try:
        number, checksum, content = line.split(b' ', 2)
        if not line.endswith(b'\n') or not number.isdigit():
            return None
        content = content[:-1]
        if int(checksum, 16) != zlib.crc32(number + b' ' + content):
            return None
    except ValueError:
        return None
    return QueuedRecord(int(number), content)
