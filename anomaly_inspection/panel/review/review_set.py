# SPDX-License-Identifier: Apache-2.0
"""
Rejected and some passed parts, and what people said about them: the review set.

"""

from __future__ import annotations

from collections import deque, OrderedDict
from dataclasses import dataclass, replace
import threading
from typing import TYPE_CHECKING

import cv2

from anomaly_inspection.errors import FrameError, SettingError, StateError
from anomaly_inspection.panel.review.folder import cause_of, KeptReject, ReviewFolder
from anomaly_inspection.panel.review.reject import (
    KeptAs,
    LONGEST_COMMENT,
    Reject,
    ReviewVerdict,
)
from anomaly_inspection.printable import printable, shown

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from anomaly_inspection.panel.cell.part_views import PartKey, PartView

#: Rejects and bytes of their pictures that may wait for the disk.
MOST_ARRIVALS, MOST_ARRIVAL_BYTES = 16, 64 * 10**6
# Faster and smaller than the default for pictures with noise; no loss.
_PNG_OPTIONS = (
    *(cv2.IMWRITE_PNG_COMPRESSION, 1),
    *(cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_HUFFMAN_ONLY),
)
_NAMED_FILES = 3


@dataclass(frozen=True)
class ReviewBounds:
    """
    How much a review set may hold. When it is full, the oldest parts go.

    What people have judged has bounds of its own, and so have passed parts: no flood of one kind
    pushes the others out.

    Parameters
    ----------
    most_new, most_passed, most_judged : int
        Rejects that nobody has judged, passed parts that nobody has, and parts that somebody has.
    most_bytes : int
        Of all pictures. Rejects and judged parts may take two fifths each, passed ones the rest.

    """

    most_new: int = 2000
    most_passed: int = 1000
    most_judged: int = 5000
    most_bytes: int = 2_000_000_000


@dataclass(frozen=True, eq=False)
class _Arrival:
    part: PartView
    image: Callable[[], NDArray[np.uint8]]
    n_bytes: int
    now_s: float
    kept_as: KeptAs


class ReviewSet:
    """
    Keeps parts on a thread of its own, so that nobody waits for the disk.

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
        self._folder = None if folder is None else ReviewFolder(folder)
        self._told, self._noted = told, noted
        self.bounds = bounds or ReviewBounds()
        fifth = self.bounds.most_bytes // 5
        self._new = _Shelf(self.bounds.most_new, 2 * fifth)
        self._passed = _Shelf(self.bounds.most_passed, fifth)
        self._judged = _Shelf(self.bounds.most_judged, 2 * fifth)
        self._shelves = (self._new, self._passed, self._judged)
        self._changed = threading.Condition()
        self._arrivals: deque[_Arrival] = deque()
        self._arrival_bytes = 0
        self._is_busy = self.is_kept
        self._is_closing = False
        self._problem = ''
        # The thread of the set and those of people change files in turn.
        self._disk = threading.RLock()
        #: Higher for every change.
        self.revision = 0
        #: Rejects that came faster than the disk could take them.
        self.lost_count = 0
        self._thread: threading.Thread | None = None
        if self.is_kept:
            self._thread = threading.Thread(target=self._run, name='review set', daemon=True)
            self._thread.start()

    @property
    def is_kept(self) -> bool:
        """
        Whether rejects are kept at all.

        """
        return self._folder is not None

    # For the cell

    def put(
        self,
        part: PartView,
        image: Callable[[], NDArray[np.uint8]],
        n_bytes: int,
        now_s: float,
        kept_as: KeptAs = KeptAs.REJECT,
    ) -> None:
        """
        Keep a part; returns at once. One that is there already is left as it is.

        While rejects wait for the disk, passed parts are not taken.

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
        kept_as : KeptAs
            Why it is kept.

        """
        if not self.is_kept:
            return
        with self._changed:
            n_waiting = len(self._arrivals)
            if kept_as is not KeptAs.REJECT and n_waiting >= MOST_ARRIVALS // 4:
                return
            is_too_much = self._arrival_bytes + n_bytes > MOST_ARRIVAL_BYTES and n_waiting > 0
            if self._is_closing or n_waiting >= MOST_ARRIVALS or is_too_much:
                self.lost_count += 1
                return
            self._arrivals.append(_Arrival(part, image, n_bytes, now_s, kept_as))
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

    def kept(self) -> list[Reject]:
        """
        Give all that are kept, the newest first.

        """
        with self._changed:
            found = [reject for shelf in self._shelves for reject in shelf.rejects()]
        return sorted(found, key=lambda reject: reject.kept_s, reverse=True)

    def reject(self, key: PartKey) -> Reject | None:
        """
        Give one; None = it is not kept, or not any more.

        """
        with self._changed:
            found = self._found(key)
            return found.reject if found else None

    @property
    def new_count(self) -> int:
        """
        How many rejects nobody has judged.

        """
        return len(self._new)

    def _found(self, key: PartKey) -> KeptReject | None:
        return next(filter(None, (shelf.found(key) for shelf in self._shelves)), None)

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
                item = self._found(key)
            if item is None or self._folder is None:
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
            self._folder.change(judged)
            with self._changed:
                for shelf in self._shelves:
                    shelf.remove(key)
                self._judged.add(replace(item, reject=judged))
                self._tell_change()
            self._make_room(self._folder, self._judged)
        return judged

    def png_of(self, key: PartKey) -> bytes | None:
        """
        Read the picture of a reject; None = there is none.

        """
        reject = self.reject(key)
        if reject is None or self._folder is None:
            return None
        return self._folder.png_of(reject)

    def picture_of(self, reject: Reject) -> Path | None:
        """
        Give the file of the picture of a reject; None = there is none.

        """
        return None if self._folder is None else self._folder.picture_of(reject)

    # The thread of the set

    def _run(self) -> None:
        assert self._folder is not None
        self._load(self._folder)
        while (arrival := self._next()) is not None:
            problem = self._keep(self._folder, arrival)
            with self._changed:
                if not problem and self.lost_count:
                    problem = (
                        f'{self.lost_count} rejects came faster than the disk of '
                        f'{printable(self._folder.path)} could take them, and cannot be reviewed'
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

    def _keep(self, folder: ReviewFolder, arrival: _Arrival) -> str:
        """
        Write a reject, and say what went wrong.

        """
        if self.reject(arrival.part.key) is not None:
            return self._problem
        png, image_problem = _encoded(arrival.image)
        with self._disk:
            try:
                reject = Reject(
                    arrival.part, arrival.now_s, image_problem, kept_as=arrival.kept_as
                )
                kept = folder.add(reject, png)
            except StateError as error:
                return f'rejects cannot be reviewed: {error}'
            shelf = self._shelf_of(kept.reject)
            with self._changed:
                shelf.add(kept)
                self._tell_change()
            self._make_room(folder, shelf)
        return ''

    def _shelf_of(self, reject: Reject) -> _Shelf:
        if reject.verdict is not None:
            return self._judged
        return self._new if reject.kept_as is KeptAs.REJECT else self._passed

    def _make_room(self, folder: ReviewFolder, shelf: _Shelf) -> None:
        while True:
            with self._changed:
                oldest = shelf.take_surplus()
                if oldest is None:
                    return
                self._tell_change()
            folder.forget(oldest)

    def _tell_change(self) -> None:
        self.revision += 1
        self._changed.notify_all()

    def _load(self, folder: ReviewFolder) -> None:
        try:
            found, strange = folder.read()
        except OSError as error:
            self._noted(f'cannot read {printable(folder.path)}: {cause_of(error)}')
            return
        with self._changed:
            for kept in sorted(found, key=_age):
                self._shelf_of(kept.reject).add(kept)
            self._tell_change()
        if strange:
            n_more = len(strange) - _NAMED_FILES
            more = f' and {n_more} more' if n_more > 0 else ''
            self._noted(
                f'these files of rejects in {printable(folder.path)} cannot be read and are left '
                f'out: {"; ".join(strange[:_NAMED_FILES])}{more}'
            )
        with self._disk:
            for shelf in self._shelves:
                self._make_room(folder, shelf)
            folder.tidy()


class _Shelf:
    """
    Rejects in the order in which they go when there are too many.

    """

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._items: OrderedDict[PartKey, KeptReject] = OrderedDict()
        self._n_bytes = 0

    def __len__(self) -> int:
        return len(self._items)

    def rejects(self) -> list[Reject]:
        return [item.reject for item in self._items.values()]

    def found(self, key: PartKey) -> KeptReject | None:
        return self._items.get(key)

    def add(self, item: KeptReject) -> None:
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


def _age(item: KeptReject) -> float:
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
