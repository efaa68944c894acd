# SPDX-License-Identifier: Apache-2.0
"""
The picture files of the records: written on a thread of their own, within a quota, and deleted
when they are old.

::

    <folder>/pictures/reject/2026-11-29/<hash of session>_<part>_frame.png

"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, UTC
import hashlib
from pathlib import Path
import re
import shutil
import threading
from typing import TYPE_CHECKING

import cv2

from anomaly_inspection.errors import InspectionError, StateError
from anomaly_inspection.printable import printable
from anomaly_inspection.records.record import Record, record, sequence_of_text
from anomaly_inspection.state_file import replace_file

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

#: The kinds, in the order in which they go when there is no room.
KINDS = ('sample', 'near', 'reject')
#: Pictures that may wait to be written, and their bytes.
MOST_WAITING, MOST_WAITING_BYTES = 32, 64 * 10**6
_DAY_US = 86_400_000_000
_PNG_OPTIONS = (
    *(cv2.IMWRITE_PNG_COMPRESSION, 1),
    *(cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_HUFFMAN_ONLY),
)
_PATH = re.compile(r'(sample|near|reject)/\d{4}-\d\d-\d\d/[0-9a-f]{16}_\d+_(frame|map|good)\.png')


@dataclass(frozen=True)
class PictureBounds:
    """
    How much room pictures may take, and for how long.

    Parameters
    ----------
    most_bytes : int
        All together.
    least_free_bytes : int
        What must stay free on their disk.
    keep_days : dict of str to float
        By kind; 0 = for ever.

    """

    most_bytes: int
    least_free_bytes: int
    keep_days: dict[str, float]


@dataclass(frozen=True, eq=False)
class Picture:
    """
    A picture that waits to be written.

    Parameters
    ----------
    session, part : str, int
        Key of the part.
    kind : str
        Why it is kept: 'reject', 'near' or 'sample'.
    shows : str
        'frame', 'map', or 'good': the nearest good part, at the place of the defect.
    time_us : int
        When the part was decided, microseconds since 1970.
    n_bytes : int
        Memory that it takes until then.
    pixels : callable () -> ndarray of uint8, (H, W) gray or (H, W, 3) BGR
        Called on the thread of the store; raises InspectionError when there are none.

    """

    session: str
    part: int
    kind: str
    shows: str
    time_us: int
    n_bytes: int
    pixels: Callable[[], NDArray[np.uint8]]


class PictureStore:
    """
    Writes pictures and sees to it that they stay within their bounds.

    Parameters
    ----------
    folder : Path
        The folder 'pictures' of the records.
    cell : str
        The cell that they are of.
    bounds : PictureBounds
        How much and how long.
    recorded : callable (Record) -> None
        Called with a record for each file that was written or deleted; on the thread of the store.
    told : callable (str) -> None
        Called with what keeps pictures from being kept, and with '' when it is over.

    """

    def __init__(
        self,
        folder: Path,
        cell: str,
        bounds: PictureBounds,
        *,
        recorded: Callable[[Record], None],
        told: Callable[[str], None] = lambda problem: None,
    ) -> None:
        self._folder, self._cell, self._bounds = folder, cell, bounds
        self._recorded, self._told = recorded, told
        self._news = threading.Condition()
        self._waiting: deque[Picture] = deque()
        self._waiting_bytes = 0
        self._is_closing = False
        self._files: dict[str, deque[tuple[str, int]]] = {kind: deque() for kind in KINDS}
        self._disk = threading.RLock()
        #: Pictures that came faster than the disk could take them.
        self.lost = 0
        #: Bytes of all files.
        self.n_bytes = 0
        self._thread = threading.Thread(target=self._run, name='pictures', daemon=True)
        self._thread.start()

    def put(self, picture: Picture) -> None:
        """
        Have a picture written; returns at once.

        """
        with self._news:
            is_too_much = (
                len(self._waiting) >= MOST_WAITING
                or self._waiting_bytes + picture.n_bytes > MOST_WAITING_BYTES
            )
            if self._is_closing or (is_too_much and self._waiting):
                self.lost += 1
                return
            self._waiting.append(picture)
            self._waiting_bytes += picture.n_bytes
            self._news.notify_all()

    def make_room(self, n_bytes: int, why: str) -> int:
        """
        Delete the oldest pictures, samples first and rejects last; may be called by any thread.

        Returns
        -------
        int
            Bytes that were given back.

        """
        freed = 0
        with self._disk:
            for kind in KINDS:
                while freed < n_bytes and self._files[kind]:
                    freed += self._delete_oldest(kind, why)
        return freed

    def clean(self, now_us: int) -> int:
        """
        Delete what is older than its kind is kept; gives how many files that were.

        """
        deleted = 0
        with self._disk:
            for kind, days in self._bounds.keep_days.items():
                if days <= 0:
                    continue
                oldest = _day(now_us - round(days * _DAY_US))
                # A whole day at a time: its name says how old it is.
                while self._files[kind] and self._files[kind][0][0].split('/')[1] < oldest:
                    self._delete_oldest(kind, f'older than {days:g} days')
                    deleted += 1
        return deleted

    def close(self, timeout_s: float = 5.0) -> None:
        """
        Take nothing more, and wait until all that came is written.

        """
        with self._news:
            self._is_closing = True
            self._news.notify_all()
        self._thread.join(timeout_s)

    # The thread of the store

    def _run(self) -> None:
        with self._disk:
            self._load()
        while True:
            with self._news:
                self._news.wait_for(lambda: self._waiting or self._is_closing)
                if not self._waiting:
                    return
                picture = self._waiting.popleft()
                self._waiting_bytes -= picture.n_bytes
            try:
                problem = self._write(picture)
            except InspectionError as error:
                problem = str(error)
            except OSError as error:
                problem = f'cannot write pictures to {printable(self._folder)}: {error.strerror}'
            if not problem and self.lost:
                problem, self.lost = (
                    (
                        f'{self.lost} pictures came faster than the disk of '
                        f'{printable(self._folder)} could take them'
                    ),
                    0,
                )
            self._told(problem)

    def _load(self) -> None:
        for kind in KINDS:
            found = []
            for path in (self._folder / kind).glob('*/*.png'):
                with suppress(OSError):
                    status = path.stat()
                    found.append((path.parent.name, status.st_mtime, path, status.st_size))
            for _, _, path, size in sorted(found, key=lambda each: each[:2]):
                self._files[kind].append((path.relative_to(self._folder).as_posix(), size))
                self.n_bytes += size

    def _write(self, picture: Picture) -> str:
        is_encoded, png = cv2.imencode('.png', picture.pixels(), _PNG_OPTIONS)
        if not is_encoded:
            raise StateError('a picture cannot be encoded')
        content = png.tobytes()
        with self._disk:
            excess = self.n_bytes + len(content) - self._bounds.most_bytes
            if excess > 0:
                self.make_room(excess, 'the quota of the pictures was used up')
            if not self._has_room(len(content)):
                return (
                    f'no more pictures are kept: the disk of {printable(self._folder)} has less '
                    f'than {self._bounds.least_free_bytes / 1e6:.0f} MB left'
                )
            path = _path(picture)
            replace_file(self._folder / path, content, waits_for_disk=False)
            self._files[picture.kind].append((path, len(content)))
            self.n_bytes += len(content)
        self._recorded(
            record(
                'pictures',
                cell=self._cell,
                source='pictures',
                sequence=sequence_of_text(path.encode()),
                time_us=picture.time_us,
                session=picture.session,
                part=picture.part,
                kind=picture.kind,
                shows=picture.shows,
                path=path,
                sha256=hashlib.sha256(content).hexdigest(),
                n_bytes=len(content),
            )
        )
        return ''

    def _has_room(self, n_bytes: int) -> bool:
        place = self._folder
        while not place.exists():
            place = place.parent
        wanted = self._bounds.least_free_bytes + n_bytes
        missing = wanted - shutil.disk_usage(place).free
        if missing > 0:
            self.make_room(missing, 'the disk was full')
        return shutil.disk_usage(place).free >= wanted

    def _delete_oldest(self, kind: str, why: str) -> int:
        path, size = self._files[kind].popleft()
        self.n_bytes -= size
        with suppress(OSError):
            (self._folder / path).unlink()
        with suppress(OSError):
            # The folder of a day, when it was the last one of it.
            (self._folder / path).parent.rmdir()
        self._recorded(removal(self._cell, path, why))
        return size


def removal(cell: str, path: str, why: str) -> Record:
    """
    Make the record of a picture that was deleted now.

    """
    now_us = round(datetime.now(UTC).timestamp() * 1e6)
    return record(
        'picture_removals',
        cell=cell,
        source='pictures',
        sequence=sequence_of_text(path.encode()),
        time_us=now_us,
        path=path,
        why=why,
    )


def picture_path(folder: Path, path: str) -> Path | None:
    """
    Give the file that a row names; None when the row names nothing that this store writes.

    """
    return folder / path if _PATH.fullmatch(path) else None


def _path(picture: Picture) -> str:
    # Whatever a session is called, this is no path.
    session = hashlib.sha256(picture.session.encode(errors='surrogatepass')).hexdigest()[:16]
    name = f'{session}_{picture.part}_{picture.shows}.png'
    return f'{picture.kind}/{_day(picture.time_us)}/{name}'


def _day(time_us: int) -> str:
    return datetime.fromtimestamp(time_us / 1e6, UTC).strftime('%Y-%m-%d')
