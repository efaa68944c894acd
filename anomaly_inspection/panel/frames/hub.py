# SPDX-License-Identifier: Apache-2.0
"""
The newest picture for all viewers: encoded once, newest wins, never more than one under way.

The node gives pictures from its thread; viewers wait for them in the server's event loop. A slow
viewer misses pictures and holds up nobody.

"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
import math
import threading

from anomaly_inspection.panel.cell.part_views import PartKey

#: The part with its differences marked, the frame as it was taken, and the anomaly map.
KINDS = MARKED, PLAIN, MAP = 'marked', 'frame', 'map'


@dataclass(frozen=True)
class Frame:
    """
    One picture of one part.

    Parameters
    ----------
    key : PartKey
        Which part it shows.
    jpeg : bytes
        Encoded.
    has_passed : bool or None
        The verdict that belongs to it; None = none yet.
    kind : str
        One of `KINDS`; only MARKED goes to those who look, the others are kept for later.
    time_s : float
        Exposure, seconds since 1970 by the camera's clock.
    view : str
        Which of several views it is of; '' in a cell with one camera. Only those of the leading
        one are kept for later.

    """

    key: PartKey
    jpeg: bytes
    has_passed: bool | None = None
    kind: str = MARKED
    time_s: float = math.nan
    view: str = ''


class FrameHub:
    """
    Takes pictures from one side and hands the newest to every viewer on the other.

    Parameters
    ----------
    kept, rejects_kept : int
        So many pictures of the last parts, and beside them of the last rejects, stay at hand.
    views : sequence of str
        Names of the views, the leading one first; empty in a cell with one camera.

    """

    def __init__(self, kept: int = 48, rejects_kept: int = 48, views: Sequence[str] = ()) -> None:
        self.views = tuple(views) or ('',)
        self._lock = threading.Lock()
        self._newest: dict[str, tuple[int, Frame]] = {}
        self._viewers: dict[Viewer, asyncio.AbstractEventLoop] = {}
        self._stores: tuple[tuple[OrderedDict[PartKey, dict[str, bytes]], int], ...] = (
            (OrderedDict(), kept),
            (OrderedDict(), rejects_kept),
        )

    @property
    def viewer_count(self) -> int:
        """
        How many look.

        """
        return len(self._viewers)

    def give(self, frame: Frame) -> None:
        """
        Take a new picture; may be called from any thread.

        """
        with self._lock:
            for is_for_rejects, (store, size) in enumerate(self._stores):
                if is_for_rejects and frame.has_passed is not False:
                    continue
                if frame.view != self.views[0]:
                    continue
                store.setdefault(frame.key, {})[frame.kind] = frame.jpeg
                while len(store) > size:
                    store.popitem(last=False)
            if frame.kind != MARKED:
                return
            self._newest[frame.view] = (self.newest(frame.view)[0] + 1, frame)
            viewers = [one for one in self._viewers.items() if one[0].view == frame.view]
        for viewer, loop in viewers:
            try:
                loop.call_soon_threadsafe(viewer.arrived.set)
            except RuntimeError:
                # The server's loop has ended.
                self._leave(viewer)

    def jpeg_of(self, key: PartKey, kind: str = MARKED) -> bytes | None:
        """
        Give the picture of a part; None = nobody looked then, or it is too long ago.

        """
        with self._lock:
            return next((store[key].get(kind) for store, _ in self._stores if key in store), None)

    def kinds_of(self, key: PartKey) -> tuple[str, ...]:
        """
        Give the kinds of pictures of a part that are at hand.

        """
        return tuple(kind for kind in KINDS if self.jpeg_of(key, kind) is not None)

    @contextmanager
    def viewer(self, view: str = '') -> Iterator[Viewer]:
        """
        Look at a view ('' = the leading one) as long as the context lasts; call it in the event
        loop.

        """
        viewer = Viewer(self, view or self.views[0])
        with self._lock:
            self._viewers[viewer] = asyncio.get_running_loop()
        try:
            yield viewer
        finally:
            self._leave(viewer)

    def _leave(self, viewer: Viewer) -> None:
        with self._lock:
            self._viewers.pop(viewer, None)

    def newest(self, view: str = '') -> tuple[int, Frame | None]:
        """
        Give the newest picture of a view ('' = the leading one) and how many came up to it.

        """
        return self._newest.get(view or self.views[0], (0, None))


class Viewer:
    """
    One who looks.

    """

    def __init__(self, hub: FrameHub, view: str) -> None:
        self.view = view
        self.arrived = asyncio.Event()
        self._hub = hub
        self._seen = -1

    async def next(self) -> Frame:
        """
        Wait for a picture that this viewer has not had.

        """
        while True:
            self.arrived.clear()
            count, frame = self._hub.newest(self.view)
            if frame is not None and count != self._seen:
                self._seen = count
                return frame
            await self.arrived.wait()
