# SPDX-License-Identifier: Apache-2.0
"""
Several threads work on frames, and the results come out in the order of the frames.

"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
import threading
import time
from typing import Generic, TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Frame = TypeVar('Frame')
Result = TypeVar('Result')


@dataclass(eq=False)
class _Task(Generic[Frame, Result]):
    """
    One frame on its way.

    """

    frame: Frame
    result: Result | None = None
    error: Exception | None = None
    is_done: bool = False
    is_overdue: bool = False


class FrameWorkers(Generic[Frame, Result]):
    """
    Threads that work on frames; results are delivered one at a time, in the order of the frames.

    Parameters
    ----------
    count : int
        Number of threads.
    most_waiting : int
        How many frames may wait for a thread; the oldest give way to a new one.
    work : callable (frame) -> result
        Runs on several threads at once.
    deliver : callable (frame, result) -> None
        Runs on one thread at a time.
    fail : callable (Exception) -> None
        Hears what `work` and `deliver` raise, on one thread at a time; such a frame has no result.

    """

    def __init__(
        self,
        count: int,
        most_waiting: int,
        *,
        work: Callable[[Frame], Result],
        deliver: Callable[[Frame, Result], None],
        fail: Callable[[Exception], None],
    ) -> None:
        self._most_waiting = most_waiting
        self._work = work
        self._deliver = deliver
        self._fail = fail
        self._changed = threading.Condition()
        self._waiting: deque[_Task[Frame, Result]] = deque()
        #: Those that wait, are worked on, or wait for one before them, in order.
        self._under_way: list[_Task[Frame, Result]] = []
        self._is_delivering = False
        self._is_closed = False
        # A thread that hangs must not keep the process alive.
        self._threads = [
            threading.Thread(target=self._run, name=f'frame worker {number}', daemon=True)
            for number in range(1, count + 1)
        ]
        for thread in self._threads:
            thread.start()

    def put(self, frame: Frame) -> int:
        """
        Take a frame; returns at once.

        Returns
        -------
        int
            How many older frames have lost their place in the queue to it.

        """
        dropped = 0
        with self._changed:
            task: _Task[Frame, Result] = _Task(frame)
            self._waiting.append(task)
            self._under_way.append(task)
            while len(self._waiting) > self._most_waiting:
                self._under_way.remove(self._waiting.popleft())
                dropped += 1
            self._changed.notify()
        return dropped

    def release(self, is_overdue: Callable[[Frame], bool]) -> bool:
        """
        Let results pass frames that are worked on for too long; to be called now and then.

        Returns
        -------
        bool
            Whether there are such frames.

        """
        with self._changed:
            worked_on = len(self._under_way) - len(self._waiting)
            for task in self._under_way[:worked_on]:
                task.is_overdue = not task.is_done and is_overdue(task.frame)
            found = any(task.is_overdue for task in self._under_way)
        if found:
            self._deliver_results()
        return found

    def close(self, timeout_s: float) -> bool:
        """
        Forget all frames and end the threads; after this no result is delivered.

        Parameters
        ----------
        timeout_s : float
            How long to wait for the frames that are worked on.

        Returns
        -------
        bool
            Whether all threads have ended; one that hangs ends when its work does.

        """
        with self._changed:
            self._is_closed = True
            self._waiting.clear()
            self._under_way.clear()
            self._changed.notify_all()
        end_s = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, end_s - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _run(self) -> None:
        while (task := self._next()) is not None:
            try:
                task.result = self._work(task.frame)
            except Exception as error:  # noqa: BLE001 - a thread's edge: the others must go on
                task.error = error
            with self._changed:
                task.is_done = True
            self._deliver_results()

    def _next(self) -> _Task[Frame, Result] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closed)
            return None if self._is_closed else self._waiting.popleft()

    def _deliver_results(self) -> None:
        with self._changed:
            if self._is_delivering:
                # Whoever delivers looks again before it stops.
                return
            self._is_delivering = True
        while (task := self._next_result()) is not None:
            try:
                if task.error is not None:
                    raise task.error
                self._deliver(task.frame, task.result)  # type: ignore[arg-type]
            except Exception as error:  # noqa: BLE001 - as above
                self._fail(error)

    def _next_result(self) -> _Task[Frame, Result] | None:
        with self._changed:
            for task in self._under_way:
                if task.is_done:
                    self._under_way.remove(task)
                    return task
                if not task.is_overdue:
                    break
            self._is_delivering = False
            return None
