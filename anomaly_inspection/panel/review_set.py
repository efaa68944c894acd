# SPDX-License-Identifier: Apache-2.0
"""
Rejected parts on disk, and what people said about them: the review set.

::

    <review folder>/
      parts/<session>_<number>.json     what was measured, and what a person said
      images/<session>_<number>.png     of rejects that nobody has judged, or not surely
      judged/<recipe>/test/good/*.png   rejects that were good: `evaluate` reads judged/<recipe>,
      judged/<recipe>/test/defect/*.png `teach --add` reads judged/<recipe>/test/good

The JSON file says where the picture belongs; a picture that a crash has left elsewhere is moved.

"""

from __future__ import annotations

from collections import deque, OrderedDict
from contextlib import suppress
from dataclasses import dataclass, replace
import os
from pathlib import Path
import re
import shutil
import threading
import time
from typing import TYPE_CHECKING

import cv2

from anomaly_inspection.errors import FrameError, SettingError, StateError
from anomaly_inspection.panel.reject import (
    file_stem,
    LONGEST_COMMENT,
    Reject,
    reject_from_json,
    reject_to_json,
    ReviewVerdict,
)
from anomaly_inspection.printable import printable, shown
from anomaly_inspection.recipes.recipe import NAME_PATTERN
from anomaly_inspection.state_file import read_small_file, replace_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from anomaly_inspection.panel.part_views import PartKey, PartView

#: Below this much free space nothing is kept: the cell needs the rest for its state and logs.
LEAST_FREE_BYTES = 200 * 10**6
#: Rejects and bytes of their pictures that may wait for the disk.
MOST_ARRIVALS, MOST_ARRIVAL_BYTES = 16, 64 * 10**6
_PARTS, _IMAGES, _JUDGED = 'parts', 'images', 'judged'
_NO_RECIPE = 'no_recipe'
_MISSING = 'the picture is missing'
_PNG_OPTIONS = (cv2.IMWRITE_PNG_COMPRESSION, 1)
# What a crash has left half written may be deleted when it is older than this.
_LEFTOVER_S = 3600.0
_NAMED_FILES = 3


@dataclass(frozen=True)
class ReviewBounds:
    """
    How much a review set may hold. When it is full, the oldest rejects go.

    What people have judged has bounds of its own: no flood of rejects pushes their work out.

    Parameters
    ----------
    most_new, most_judged : int
        Rejects that nobody has judged, and rejects that somebody has.
    most_bytes : int
        Of all pictures; each kind may take half of it.

    """

    most_new: int = 2000
    most_judged: int = 5000
    most_bytes: int = 2_000_000_000


@dataclass(frozen=True, eq=False)
class _Arrival:
    part: PartView
    image: Callable[[], NDArray[np.uint8]]
    n_bytes: int
    now_s: float


class ReviewSet:
    """
    Keeps rejects on a thread of its own, so that nobody waits for the disk.

    Only `judge` and `png_of` touch the disk on the caller's thread.

    Parameters
    ----------
    folder : Path or None
        The review folder; made when it is needed. None = nothing is kept.
    told : callable (str) -> None
        Called with what keeps rejects from being kept, one sentence, and with '' when that is
        over; on the thread of the set.
    noted : callable (str) -> None
        Called with what is strange in the folder, one sentence; on the same thread.
    bounds : ReviewBounds
        How much to keep.

    """

    def __init__(
        self,
        folder: Path | None,
        told: Callable[[str], None] = lambda problem: None,
        noted: Callable[[str], None] = lambda sentence: None,
        *,
        bounds: ReviewBounds | None = None,
    ) -> None:
        self.folder = folder
        self._told, self._noted = told, noted
        self.bounds = bounds or ReviewBounds()
        half = self.bounds.most_bytes // 2
        self._new = _Shelf(self.bounds.most_new, half)
        self._judged = _Shelf(self.bounds.most_judged, half)
        self._changed = threading.Condition()
        self._arrivals: deque[_Arrival] = deque()
        self._arrival_bytes = 0
        self._is_busy = folder is not None
        self._is_closing = False
        self._problem = ''
        # The thread of the set and those of people change files in turn.
        self._disk = threading.RLock()
        #: Higher for every change.
        self.revision = 0
        #: Rejects that came faster than the disk could take them.
        self.lost_count = 0
        self._thread: threading.Thread | None = None
        if folder is not None:
            self._thread = threading.Thread(target=self._run, name='review set', daemon=True)
            self._thread.start()

    # For the cell

    def put(
        self, part: PartView, image: Callable[[], NDArray[np.uint8]], n_bytes: int, now_s: float
    ) -> None:
        """
        Keep a reject; returns at once. One that is there already is left as it is.

        Parameters
        ----------
        part : PartView
            What is known of it.
        image : callable () -> ndarray of uint8, (H, W) gray or (H, W, 3) BGR
            Gives its picture; called on the thread of the set. Raises FrameError, which becomes
            `Reject.image_problem`, when there is none.
        n_bytes : int
            Memory that the picture takes until then.
        now_s : float
            Seconds since 1970.

        """
        if self.folder is None:
            return
        with self._changed:
            n_waiting = len(self._arrivals)
            is_too_much = self._arrival_bytes + n_bytes > MOST_ARRIVAL_BYTES and n_waiting > 0
            if self._is_closing or n_waiting >= MOST_ARRIVALS or is_too_much:
                self.lost_count += 1
                return
            self._arrivals.append(_Arrival(part, image, n_bytes, now_s))
            self._arrival_bytes += n_bytes
            self._changed.notify_all()

    def settle(self, timeout_s: float = 10.0) -> bool:
        """
        Wait until the folder is read and all that came is kept or given up.

        """
        with self._changed:
            return self._changed.wait_for(
                lambda: not self._arrivals and not self._is_busy, timeout_s
            )

    def close(self, timeout_s: float = 5.0) -> None:
        """
        Take nothing more, and wait until all that came is kept.

        """
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout_s)

    # For people

    def rejects(self) -> list[Reject]:
        """
        Give all that are kept, the newest first.

        """
        with self._changed:
            both = [*self._new.rejects(), *self._judged.rejects()]
        return sorted(both, key=lambda reject: reject.kept_s, reverse=True)

    def reject(self, key: PartKey) -> Reject | None:
        """
        Give one; None = it is not kept, or not any more.

        """
        with self._changed:
            found = self._new.found(key) or self._judged.found(key)
            return found.reject if found else None

    @property
    def new_count(self) -> int:
        """
        How many nobody has judged.

        """
        return len(self._new)

    def judge(
        self, key: PartKey, verdict: ReviewVerdict, comment: str, who: str, now_s: float
    ) -> Reject:
        """
        Note what a person says; blocks until the disk has it. A later verdict replaces it.

        Returns
        -------
        Reject
            As it is now.

        Raises
        ------
        SettingError
            When the reject is not kept, or the comment is too long.
        StateError
            When the disk refuses it; then nothing has changed.

        """
        if len(comment) > LONGEST_COMMENT:
            raise SettingError(
                f'the comment has {len(comment)} characters; allowed: up to {LONGEST_COMMENT}'
            )
        with self._disk:
            with self._changed:
                item = self._new.found(key) or self._judged.found(key)
            if item is None or self.folder is None:
                raise SettingError(
                    f'part {key[1]} of session {shown(key[0])} is not in the review set (any more)'
                )
            judged = replace(
                item.reject,
                verdict=verdict,
                comment=printable(comment),
                who=printable(who),
                judged_s=now_s,
            )
            try:
                replace_file(self._part_path(key), reject_to_json(judged))
            except (OSError, ValueError) as error:
                raise StateError(
                    f'the review is not noted: cannot write {self._name()}: {_cause(error)}'
                ) from error
            # The disk has the verdict. A picture that cannot be moved now is moved at a restart.
            with suppress(OSError):
                self._put_in_place(judged)
            with self._changed:
                self._new.remove(key)
                self._judged.remove(key)
                self._judged.add(replace(item, reject=judged))
                self._tell_change()
            self._make_room(self._judged)
        return judged

    def png_of(self, key: PartKey) -> bytes | None:
        """
        Read the picture of a reject; None = there is none.

        """
        reject = self.reject(key)
        if reject is None or reject.image_problem:
            return None
        for place in self._places(reject):
            with suppress(OSError):
                return place.read_bytes()
        return None

    # The thread of the set

    def _run(self) -> None:
        assert self.folder is not None
        try:
            self._load()
        except OSError as error:
            self._noted(f'cannot read {self._name()}: {_cause(error)}')
        while (arrival := self._next()) is not None:
            problem = self._keep(arrival)
            with self._changed:
                if not problem and self.lost_count:
                    problem = (
                        f'{self.lost_count} rejects came faster than the disk of {self._name()} '
                        'could take them, and cannot be reviewed'
                    )
                    if not self._arrivals:
                        self.lost_count = 0
            if problem != self._problem:
                self._problem = problem
                self._told(problem)

    def _next(self) -> _Arrival | None:
        with self._changed:
            self._is_busy = False
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._arrivals or self._is_closing)
            if not self._arrivals:
                return None
            self._is_busy = True
            arrival = self._arrivals.popleft()
            self._arrival_bytes -= arrival.n_bytes
            return arrival

    def _keep(self, arrival: _Arrival) -> str:
        """
        Write a reject, and say what went wrong.

        """
        if self.reject(arrival.part.key) is not None:
            return self._problem
        assert self.folder is not None
        png, image_problem = _encoded(arrival.image)
        reject = Reject(arrival.part, arrival.now_s, image_problem)
        with self._disk:
            try:
                self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                free = shutil.disk_usage(self.folder).free
                if free < LEAST_FREE_BYTES:
                    return (
                        f'rejects cannot be reviewed: the disk of {self._name()} has '
                        f'{free / 1e6:.0f} MB left, {LEAST_FREE_BYTES / 1e6:.0f} MB must stay free'
                    )
                # The picture first: no part may point to one that is not there.
                if png:
                    replace_file(self._place(reject), png, waits_for_disk=False)
                path = self._part_path(reject.key)
                replace_file(path, reject_to_json(reject), waits_for_disk=False)
            except (OSError, ValueError) as error:
                with suppress(OSError):
                    self._place(reject).unlink()
                return f'rejects cannot be reviewed: cannot write {self._name()}: {_cause(error)}'
            with self._changed:
                self._new.add(_Item(reject, len(png)))
                self._tell_change()
            self._make_room(self._new)
        return ''

    def _make_room(self, shelf: _Shelf) -> None:
        while True:
            with self._changed:
                oldest = shelf.take_surplus()
                if oldest is None:
                    return
                self._tell_change()
            # The part first: a picture without one is found and deleted at the next start.
            for path in (self._part_path(oldest.key), *self._places(oldest)):
                with suppress(OSError):
                    path.unlink()

    def _tell_change(self) -> None:
        self.revision += 1
        self._changed.notify_all()

    # Reading the folder

    def _load(self) -> None:
        assert self.folder is not None
        items, strange = [], []
        for path in sorted((self.folder / _PARTS).glob('*.json')):
            try:
                items.append(self._read(path))
            except (OSError, ValueError) as error:
                strange.append(f'{printable(path.name)} ({_cause(error)})')
        with self._changed:
            for shelf, is_judged in ((self._new, False), (self._judged, True)):
                of_shelf = [one for one in items if (one.reject.verdict is not None) == is_judged]
                for item in sorted(of_shelf, key=_age):
                    shelf.add(item)
            self._tell_change()
        if strange:
            more = (
                f' and {len(strange) - _NAMED_FILES} more' if len(strange) > _NAMED_FILES else ''
            )
            self._noted(
                f'these files in {printable(self.folder / _PARTS)} cannot be read and are left '
                f'out: {"; ".join(strange[:_NAMED_FILES])}{more}'
            )
        with self._disk:
            for shelf in (self._new, self._judged):
                self._make_room(shelf)
            self._tidy()

    def _read(self, path: Path) -> _Item:
        text = read_small_file(path)
        if text is None:
            raise ValueError('it is gone')
        reject = reject_from_json(text)
        if path.stem != file_stem(reject.key):
            raise ValueError(f'it is about part {reject.key[1]} of {shown(reject.key[0])}')
        if reject.image_problem:
            return _Item(reject, 0)
        with suppress(OSError):
            self._put_in_place(reject)
        for place in self._places(reject):
            with suppress(OSError):
                return _Item(reject, place.stat().st_size)
        return _Item(replace(reject, image_problem=_MISSING), 0)

    def _tidy(self) -> None:
        """
        Delete what a crash has left half written, and pictures whose part was forgotten.

        """
        assert self.folder is not None
        for path in self._leftovers():
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > _LEFTOVER_S:
                    path.unlink()

    def _leftovers(self) -> Iterator[Path]:
        assert self.folder is not None
        yield from (self.folder / _PARTS).glob('.*.json-*')
        yield from self.folder.rglob('.*.png-*')
        for path in (self.folder / _IMAGES).glob('*.png'):
            if not (self.folder / _PARTS / f'{path.stem}.json').exists():
                yield path

    # Places

    def _name(self) -> str:
        return printable(self.folder or '')

    def _part_path(self, key: PartKey) -> Path:
        assert self.folder is not None
        return self.folder / _PARTS / f'{file_stem(key)}.json'

    def _place(self, reject: Reject) -> Path:
        """
        Where the picture belongs.

        """
        assert self.folder is not None
        name = f'{file_stem(reject.key)}.png'
        if reject.verdict in (None, ReviewVerdict.UNSURE):
            return self.folder / _IMAGES / name
        return self._split(reject) / str(reject.verdict) / name

    def _split(self, reject: Reject) -> Path:
        assert self.folder is not None
        is_plain = re.fullmatch(NAME_PATTERN, reject.recipe) is not None
        recipe = reject.recipe if is_plain else _NO_RECIPE
        return self.folder / _JUDGED / recipe / 'test'

    def _places(self, reject: Reject) -> list[Path]:
        """
        Where the picture may be, the likeliest place first.

        """
        verdicts = (reject.verdict, None, ReviewVerdict.GOOD, ReviewVerdict.DEFECT)
        return [self._place(replace(reject, verdict=verdict)) for verdict in verdicts]

    def _put_in_place(self, reject: Reject) -> None:
        place = self._place(reject)
        found = next((path for path in self._places(reject) if path.is_file()), place)
        if found == place:
            return
        if place.parent.parent == self._split(reject):
            # `evaluate` knows the layout by these two.
            for verdict in (ReviewVerdict.GOOD, ReviewVerdict.DEFECT):
                (self._split(reject) / verdict).mkdir(parents=True, exist_ok=True)
        place.parent.mkdir(parents=True, exist_ok=True)
        os.replace(found, place)


@dataclass(frozen=True)
class _Item:
    reject: Reject
    n_bytes: int


class _Shelf:
    """
    Rejects in the order in which they go when there are too many.

    """

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._items: OrderedDict[PartKey, _Item] = OrderedDict()
        self._n_bytes = 0

    def __len__(self) -> int:
        return len(self._items)

    def rejects(self) -> list[Reject]:
        return [item.reject for item in self._items.values()]

    def found(self, key: PartKey) -> _Item | None:
        return self._items.get(key)

    def add(self, item: _Item) -> None:
        self._items[item.reject.key] = item
        self._n_bytes += item.n_bytes

    def remove(self, key: PartKey) -> None:
        item = self._items.pop(key, None)
        self._n_bytes -= item.n_bytes if item else 0

    def take_surplus(self) -> Reject | None:
        if len(self) <= self._most and self._n_bytes <= self._most_bytes:
            return None
        if not self._items:
            return None
        reject = next(iter(self._items.values())).reject
        self.remove(reject.key)
        return reject


def _age(item: _Item) -> float:
    reject = item.reject
    return reject.kept_s if reject.verdict is None else reject.judged_s


def _encoded(image: Callable[[], NDArray[np.uint8]]) -> tuple[bytes, str]:
    """
    Give the picture as PNG, or why there is none.

    """
    try:
        return cv2.imencode('.png', image(), _PNG_OPTIONS)[1].tobytes(), ''
    except FrameError as error:
        return b'', printable(str(error))[:500]
    except Exception as error:  # noqa: BLE001 - a thread's edge: whatever the picture is, go on
        return b'', printable(repr(error))[:500]


def _cause(error: Exception) -> str:
    return getattr(error, 'strerror', None) or str(error)
