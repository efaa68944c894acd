# SPDX-License-Identifier: Apache-2.0
"""
Write recorded parts to disk on a thread of its own, so that nobody waits for the disk.

"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
import threading
from typing import TYPE_CHECKING

from anomaly_inspection.errors import FrameError, SettingError
from anomaly_inspection.learning.part_hints import PartHint, PartHints

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from anomaly_inspection.teaching.session import TeachingSession

#: Parts that may wait for the disk.
WAITING_PARTS = 8
# When a session goes on, the newest of its images are compared with, as if they had just come.
_IMAGES_TO_REMEMBER = 30


@dataclass(frozen=True)
class RecordedImage:
    """
    An image that the disk has.

    Parameters
    ----------
    name : str
        Its name in the session; '' = it could not be read, and was not recorded.
    hint : PartHint
        What is wrong with it.
    count : int
        How many images have been recorded since the start.

    """

    name: str
    hint: PartHint
    count: int


class ImageRecorder:
    """
    Writes the images of a session and says what is wrong with each.

    Parameters
    ----------
    session : TeachingSession
        Where the images go.
    wanted : int
        How many to record; 0 = until it is closed.
    told : callable (RecordedImage) -> None
        Called on the recorder's thread after each image.
    failed : callable (Exception) -> None
        Called on that thread when no image can be written any more; then it has ended.
    finished : callable () -> None
        Called on that thread when all wanted images are written.

    """

    def __init__(
        self,
        session: TeachingSession,
        wanted: int,
        *,
        told: Callable[[RecordedImage], None],
        failed: Callable[[Exception], None],
        finished: Callable[[], None],
    ) -> None:
        self.session = session
        self.wanted = wanted
        self._told, self._failed, self._finished = told, failed, finished
        self._changed = threading.Condition()
        self._waiting: deque[Callable[[], NDArray[np.uint8]]] = deque()
        self._accepted = 0
        self._is_closed = False
        #: Parts that came while too many waited for the disk.
        self.dropped = 0
        self.count = 0
        self._thread = threading.Thread(target=self._run, name='image recorder', daemon=True)
        self._thread.start()

    def put(self, frame: Callable[[], NDArray[np.uint8]]) -> None:
        """
        Take a part; returns at once.

        Parameters
        ----------
        frame : callable () -> ndarray of uint8
            Gives its image; called on the recorder's thread. May raise FrameError.

        """
        with self._changed:
            if self._is_closed or 0 < self.wanted <= self._accepted:
                return
            if len(self._waiting) >= WAITING_PARTS:
                self.dropped += 1
                return
            self._accepted += 1
            self._waiting.append(frame)
            self._changed.notify()

    def close(self, timeout_s: float = 10.0) -> None:
        """
        Take no more parts, and wait until those that came are written.

        """
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            hints = self._remembered()
            while (frame := self._next()) is not None:
                self._record(frame, hints)
                if 0 < self.wanted <= self.count:
                    self._end()
                    self._finished()
                    return
        except Exception as error:  # noqa: BLE001 - a thread's edge: whoever waits must hear of it
            self._end()
            self._failed(error)

    def _remembered(self) -> PartHints:
        hints = PartHints()
        for name in self.session.image_names()[-_IMAGES_TO_REMEMBER:]:
            try:
                hints.take(self.session.read_image(name))
            except (FrameError, SettingError):
                continue
        return hints

    def _record(self, frame: Callable[[], NDArray[np.uint8]], hints: PartHints) -> None:
        try:
            image = frame()
        except FrameError as error:
            with self._changed:
                # Another part may come in its place.
                self._accepted -= 1
            hint = PartHint('unreadable', f'The image cannot be used: {error}')
            self._told(RecordedImage('', hint, self.count))
            return
        name = self.session.add(image)
        self.count += 1
        self._told(RecordedImage(name, hints.take(image), self.count))

    def _next(self) -> Callable[[], NDArray[np.uint8]] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closed)
            return self._waiting.popleft() if self._waiting else None

    def _end(self) -> None:
        with self._changed:
            self._is_closed = True
            self._waiting.clear()
