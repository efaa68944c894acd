# SPDX-License-Identifier: Apache-2.0
"""
Trial run: a draft judges live parts on a thread of its own, behind everything else.

"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from dataclasses import dataclass, replace
import os
import threading
import time
from typing import TYPE_CHECKING

from anomaly_inspection.capture.source import Frame
from anomaly_inspection.errors import FrameError
from anomaly_inspection.evaluation.recipe_judge import RecipeJudge

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from anomaly_inspection.deciding.frame_judge import Judgement
    from anomaly_inspection.recipes.recipe import Recipe

    Key = tuple[str, int]

#: Frames that may wait; a new one takes the place of the oldest.
WAITING_FRAMES = 3
_NICENESS = 15


@dataclass(frozen=True)
class TrialCounts:
    """
    What a trial run has seen so far.

    Parameters
    ----------
    parts : int
        Judged by both the draft and the recipe in force.
    draft_rejects, rejects_in_force, differ : int
        Rejected by the draft; rejected by the recipe in force; judged differently.
    dropped : int
        Parts that the draft did not judge, because it was slower than the line.

    """

    parts: int = 0
    draft_rejects: int = 0
    rejects_in_force: int = 0
    differ: int = 0
    dropped: int = 0

    def with_part(self, *, draft_rejects: bool, rejects_in_force: bool) -> TrialCounts:
        """
        Count one part more.

        """
        return replace(
            self,
            parts=self.parts + 1,
            draft_rejects=self.draft_rejects + draft_rejects,
            rejects_in_force=self.rejects_in_force + rejects_in_force,
            differ=self.differ + (draft_rejects != rejects_in_force),
        )

    def with_dropped(self) -> TrialCounts:
        """
        Count one part that the draft did not judge.

        """
        return replace(self, dropped=self.dropped + 1)


class TrialRun:
    """
    Judges frames by a recipe that is not in force.

    Parameters
    ----------
    recipe : Recipe
        The draft.
    judged : callable (key, Judgement, seconds) -> None
        Called on the thread of the trial run after each frame.
    dropped : callable (key) -> None
        Called where `put` is called, for a frame that gave way to a newer one.
    failed : callable (Exception) -> None
        Called on the thread of the trial run when judging fails; it goes on with the next frame.

    """

    def __init__(
        self,
        recipe: Recipe,
        *,
        judged: Callable[[Key, Judgement, float], None],
        dropped: Callable[[Key], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self._judge = RecipeJudge(recipe)
        self._judged, self._dropped, self._failed = judged, dropped, failed
        self._changed = threading.Condition()
        self._waiting: deque[tuple[Key, Callable[[], NDArray[np.uint8]]]] = deque()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name='trial run', daemon=True)
        self._thread.start()

    def put(self, key: Key, frame: Callable[[], NDArray[np.uint8]]) -> None:
        """
        Take a frame of a part; returns at once.

        """
        given_way = []
        with self._changed:
            if self._is_closed:
                return
            self._waiting.append((key, frame))
            while len(self._waiting) > WAITING_FRAMES:
                given_way.append(self._waiting.popleft()[0])
            self._changed.notify()
        for old_key in given_way:
            self._dropped(old_key)

    def close(self, timeout_s: float = 2.0) -> None:
        """
        Forget what waits and end.

        """
        with self._changed:
            self._is_closed = True
            self._waiting.clear()
            self._changed.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        with suppress(OSError, AttributeError):
            # On Linux a niceness is that of a thread.
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        while (task := self._next()) is not None:
            key, frame = task
            try:
                start_s = time.perf_counter()
                judgement, _ = self._judge.judge(_frame(frame))
                duration_s = time.perf_counter() - start_s
            except Exception as error:  # noqa: BLE001 - a thread's edge: the next part must be judged
                self._failed(error)
                continue
            if not self._is_closed:
                self._judged(key, judgement, duration_s)

    def _next(self) -> tuple[Key, Callable[[], NDArray[np.uint8]]] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closed)
            return None if self._is_closed else self._waiting.popleft()


def _frame(frame: Callable[[], NDArray[np.uint8]]) -> Frame:
    try:
        return Frame(frame(), 0, 0)
    except FrameError as error:
        return Frame(None, 0, 0, problem=str(error))
