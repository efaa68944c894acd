# SPDX-License-Identifier: Apache-2.0
"""
Recorded images of good parts on disk, one folder for each session.

::

    <teaching folder>/
      pump_20260131-093000/
        session.json         product and time; its loss costs no image
        images/000001.png    written beside and renamed, one at a time
        draft/               what was taught on them, see draft.py

"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, UTC
import json
import os
from pathlib import Path
import re
import secrets
import shutil
import threading
from typing import TYPE_CHECKING
import unicodedata

import cv2

from anomaly_inspection.errors import FrameError, SettingError
from anomaly_inspection.imaging.image_decoding import check_header, decode_image
from anomaly_inspection.imaging.image_header import image_header
from anomaly_inspection.printable import printable, shown

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray

#: Teaching takes an even choice of more images anyway.
MOST_IMAGES = 2000
LONGEST_PRODUCT = 80
LARGEST_UPLOAD_BYTES = 32 * 10**6
LARGEST_UPLOAD_PIXELS = 40_000_000
#: Below this much free space nothing is recorded: the cell needs the rest for its state and logs.
LEAST_FREE_BYTES = 200 * 10**6

_SETTINGS, _IMAGES = 'session.json', 'images'
#: Folders that are not finished yet. So rare a name that `tidy` deletes nobody else's folder.
UNFINISHED = '.unfinished-teaching-'
_UNFINISHED_IMAGE = re.compile(r'\.[0-9]{6}\.png')
_NAME = re.compile(r'[a-z0-9][a-z0-9_-]{0,79}')
_IMAGE_NAME = re.compile(r'[0-9]{6}\.png')
_LONGEST_SLUG = 40
_MOST_SETTINGS_BYTES = 10_000
# Level 1 of zlib: a third of the time of the default, and files a tenth larger.
_PNG_OPTIONS = (cv2.IMWRITE_PNG_COMPRESSION, 1)


def recipe_name_of(product: str) -> str:
    """
    Make a name for folders and recipes from a product: 'Pumpe Nr. 3' becomes 'pumpe_nr_3'.

    """
    plain = unicodedata.normalize('NFKD', product).encode('ascii', 'ignore').decode().lower()
    return re.sub(r'[^a-z0-9]+', '_', plain).strip('_')[:_LONGEST_SLUG].strip('_') or 'product'


@dataclass(eq=False)
class TeachingSession:
    """
    The images of one session. One process writes to it; others may read. Threads may share it.

    Parameters
    ----------
    folder : Path
        Where it is; its last part is the name of the session.
    product : str
        What people call the product.
    created : datetime
        When it was begun, with a time zone.

    """

    folder: Path
    product: str
    created: datetime
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _last_number: int = field(default=0, init=False)

    @property
    def name(self) -> str:
        """
        The name of its folder.

        """
        return self.folder.name

    @property
    def draft_folder(self) -> Path:
        """
        Where the draft is, if there is one.

        """
        return self.folder / 'draft'

    def image_names(self) -> list[str]:
        """
        Give the names of the images, in the order in which they came.

        """
        try:
            names = os.listdir(self.folder / _IMAGES)
        except OSError:
            return []
        return sorted(name for name in names if _IMAGE_NAME.fullmatch(name))

    def image_path(self, name: str) -> Path:
        """
        Give the file of an image.

        Raises
        ------
        SettingError
            When the session has no such image.

        """
        path = self.folder / _IMAGES / name if _IMAGE_NAME.fullmatch(name) else None
        if path is None or path.is_symlink() or not path.is_file():
            raise SettingError(f'session {self.name} has no image {shown(name)}')
        return path

    def read_image(self, name: str) -> NDArray[np.uint8]:
        """
        Read an image.

        Returns
        -------
        ndarray of uint8, (H, W) or (H, W, 3)

        Raises
        ------
        SettingError
            When there is no such image.
        FrameError
            When it is damaged.

        """
        try:
            return decode_image(self.image_path(name).read_bytes())
        except OSError as error:
            raise FrameError(f'{name} cannot be read: {error.strerror}') from error

    def add(self, image: NDArray[np.uint8]) -> str:
        """
        Write an image; when this returns, the disk has it.

        Parameters
        ----------
        image : ndarray of uint8, (H, W) or (H, W, 3)
            Gray or BGR.

        Returns
        -------
        str
            Its name.

        Raises
        ------
        SettingError
            When the session is full or the image cannot be written; the others are as they were.

        """
        content = cv2.imencode('.png', image, _PNG_OPTIONS)[1].tobytes()
        with self._lock:
            present = self.image_names()
            if len(present) >= MOST_IMAGES:
                raise SettingError(
                    f'session {self.name} is full: {len(present)} images; allowed: {MOST_IMAGES}'
                )
            # The number of a deleted image is not given again: a page may still show it.
            newest = int(present[-1][:6]) if present else 0
            self._last_number = max(self._last_number, newest) + 1
            name = f'{self._last_number:06d}.png'
            try:
                _write(self.folder / _IMAGES / name, content)
            except OSError as error:
                raise SettingError(
                    f'cannot write images to {printable(self.folder)}: {error.strerror}; the '
                    f'{len(present)} images recorded so far are safe'
                ) from error
        return name

    def delete(self, names: Iterable[str]) -> int:
        """
        Delete images, all of them or none; give how many.

        Raises
        ------
        SettingError
            When one of them is not there.

        """
        with self._lock:
            paths = [self.image_path(name) for name in dict.fromkeys(names)]
            present = self.image_names()
            self._last_number = max(self._last_number, int(present[-1][:6]) if present else 0)
            for path in paths:
                with suppress(FileNotFoundError):
                    path.unlink()
        return len(paths)

    def check_space(self) -> None:
        """
        Raise SettingError when the disk is too full to record.

        """
        free = shutil.disk_usage(self.folder).free
        if free < LEAST_FREE_BYTES:
            raise SettingError(
                f'the disk of {printable(self.folder)} has {free / 1e6:.0f} MB left; recording '
                f'needs {LEAST_FREE_BYTES / 1e6:.0f} MB. Delete old sessions or make room'
            )


def decode_file(file_name: str, content: bytes) -> NDArray[np.uint8]:
    """
    Read an image file that comes from elsewhere.

    Parameters
    ----------
    file_name : str
        For messages.
    content : bytes
        A PNG, JPEG, BMP or TIFF file of at most LARGEST_UPLOAD_BYTES.

    Raises
    ------
    SettingError
        When it is too large, no such image or damaged.

    """
    shown_name = printable(file_name)[:100]
    if len(content) > LARGEST_UPLOAD_BYTES:
        raise SettingError(
            f'{shown_name} has {len(content) / 1e6:.1f} MB; allowed: '
            f'{LARGEST_UPLOAD_BYTES / 1e6:.0f} MB'
        )
    try:
        header = image_header(content)
        check_header(header)
        if header.width * header.height > LARGEST_UPLOAD_PIXELS:
            raise FrameError(
                f'it is {header.width} x {header.height} px; allowed: '
                f'{LARGEST_UPLOAD_PIXELS // 10**6} megapixels'
            )
        return decode_image(content)
    except FrameError as error:
        raise SettingError(f'{shown_name} is refused: {error}') from error


class TeachingFolder:
    """
    All sessions of a cell.

    Parameters
    ----------
    path : Path
        The folder; made with the first session.

    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._locks: dict[str, threading.Lock] = {}

    def sessions(self) -> list[TeachingSession]:
        """
        Give all sessions, the newest first.

        """
        try:
            names = os.listdir(self.path)
        except OSError:
            return []
        found = [self._open(name) for name in names if self._has(name)]
        return sorted(found, key=lambda one: (one.created, one.name), reverse=True)

    def open(self, name: str) -> TeachingSession:
        """
        Give a session by its name.

        Raises
        ------
        SettingError
            When there is none.

        """
        if not self._has(name):
            raise SettingError(f'there is no teaching session {shown(name)}')
        return self._open(name)

    def begin(self, product: str, now: datetime) -> TeachingSession:
        """
        Begin a session.

        Parameters
        ----------
        product : str
            What people call it, 1 to 80 characters.
        now : datetime
            Part of its name, with a time zone.

        Raises
        ------
        SettingError
            When the product is no name, or the folder cannot be written.

        """
        product = product.strip()
        if not 1 <= len(product) <= LONGEST_PRODUCT or printable(product) != product:
            raise SettingError(
                f'product is {shown(product)}; allowed: 1 to {LONGEST_PRODUCT} characters on one '
                'line'
            )
        created = now.astimezone(UTC).replace(microsecond=0)
        name = f'{recipe_name_of(product)}_{created:%Y%m%d-%H%M%S}'
        settings = json.dumps({'product': product, 'created': created.isoformat()})
        draft = self._unfinished()
        try:
            (draft / _IMAGES).mkdir(parents=True)
            _write(draft / _SETTINGS, settings.encode())
            for turn in range(2, 100):
                try:
                    os.rename(draft, self.path / name)
                    break
                except OSError:
                    # Renaming onto a folder that is not empty fails: two in one second.
                    if not (self.path / name).exists():
                        raise
                    name = f'{name.partition("--")[0]}--{turn}'
            _sync(self.path)
        except OSError as error:
            shutil.rmtree(draft, ignore_errors=True)
            raise SettingError(
                f'cannot begin a teaching session in {printable(self.path)}: {error.strerror}'
            ) from error
        return self._open(name)

    def delete(self, name: str) -> None:
        """
        Delete a session with its images and its draft.

        Raises
        ------
        SettingError
            When there is none, or it cannot be deleted.

        """
        session = self.open(name)
        # Renamed first, so that nobody ever sees half of it.
        doomed = self._unfinished()
        try:
            os.rename(session.folder, doomed)
            shutil.rmtree(doomed)
        except OSError as error:
            raise SettingError(f'cannot delete session {name}: {error.strerror}') from error

    def _open(self, name: str) -> TeachingSession:
        session = _opened(self.path / name)
        # One lock for all who add images at the same time, each with an object of its own.
        session._lock = self._locks.setdefault(name, session._lock)
        return session

    def tidy(self) -> None:
        """
        Remove what a process that died has left half-done; images are never touched.

        """
        left = [self.path, *(session.folder for session in self.sessions())]
        for folder in left:
            for unfinished in folder.glob(f'{UNFINISHED}*'):
                shutil.rmtree(unfinished, ignore_errors=True)
        for session in self.sessions():
            with suppress(OSError):
                for path in (session.folder / _IMAGES).iterdir():
                    if _UNFINISHED_IMAGE.fullmatch(path.name):
                        path.unlink()

    def _has(self, name: str) -> bool:
        # A folder without images is no session of ours.
        return bool(_NAME.fullmatch(name)) and (self.path / name / _IMAGES).is_dir()

    def _unfinished(self) -> Path:
        return self.path / f'{UNFINISHED}{secrets.token_hex(4)}'


def _opened(folder: Path) -> TeachingSession:
    """
    Open a session, whatever has become of its settings: images must not be lost with them.

    """
    product, created = folder.name, None
    with suppress(OSError, ValueError, TypeError, KeyError):
        with (folder / _SETTINGS).open('rb') as file:
            settings = json.loads(file.read(_MOST_SETTINGS_BYTES))
        created = datetime.fromisoformat(settings['created'])
        product = printable(str(settings['product']))[:LONGEST_PRODUCT]
    if created is None or created.tzinfo is None:
        created = datetime.fromtimestamp(folder.stat().st_mtime, UTC)
    return TeachingSession(folder, product, created)


def _write(path: Path, content: bytes) -> None:
    """
    Write a file beside its place, wait for the disk, and rename it.

    """
    temporary = path.with_name(f'.{path.name}')
    try:
        with temporary.open('wb') as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    _sync(path.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
