# SPDX-License-Identifier: Apache-2.0
"""
Several frames of the part that a robot or a PLC holds before the camera when it calls.

"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from anomaly_inspection.detecting.part_cutter import Cut, PartCutter

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from anomaly_inspection.detecting.frame_choice import Moment

F = TypeVar('F')


class RequestedStationCutter(PartCutter[F]):
    """
    Each call is a part: the next frames, all exposed after the call.

    A call that comes while the frames of another one are taken ends that part with the frames it
    has: they may show another part than the later ones. A part whose frames do not come ends too.

    Parameters
    ----------
    tolerance_s : float
        A frame that comes later than this after it was due does not come, seconds, above 0.
    interval_s : float
        From one frame to the next, seconds, 0 or more.
    frames : int
        Frames of a part, 1 or more.

    """

    def __init__(self, tolerance_s: float, interval_s: float, frames: int) -> None:
        self._tolerance_s = tolerance_s
        self._interval_s = interval_s
        self._wanted = frames
        self._moment: Moment | None = None
        self._due_s = 0.0
        self._frames: tuple[F, ...] = ()

    def want(self, moment: Moment) -> list[Cut[F]]:
        """
        Begin with a part.

        """
        ended = self.give_up('another part was asked for before a frame came')
        self._moment, self._due_s = moment, moment.at_s
        return ended

    def take(
        self, frame: F, exposure_s: float, pixels: NDArray[np.uint8] | None = None
    ) -> list[Cut[F]]:
        """
        Take a frame, if one is due.

        """
        if self._moment is None or exposure_s < self._due_s:
            return []
        self._frames = (*self._frames, frame)
        self._due_s = exposure_s + self._interval_s
        is_new = len(self._frames) == 1
        cut = Cut(
            self._frames,
            is_new=is_new,
            is_complete=is_new and self._wanted == 1,
            moment=self._moment if is_new else None,
        )
        if cut.is_complete:
            self._end()
            return [cut]
        return [cut, *(self.give_up('') if len(self._frames) == self._wanted else [])]

    def tick(self, now_s: float) -> list[Cut[F]]:
        """
        End the part whose next frame has not come in time.

        """
        if self._moment is None or now_s - self._due_s <= self._tolerance_s:
            return []
        return self.give_up(f'no frame within {self._tolerance_s:g} s of the call')

    def give_up(self, problem: str) -> list[Cut[F]]:
        """
        End the part under way, if there is one; without a frame it gets the problem.

        """
        moment, frames = self._moment, self._frames
        self._end()
        if moment is None:
            return []
        if frames:
            return [Cut(frames, is_new=False)]
        return [Cut((), problem=problem, moment=moment)]

    def figures(self) -> dict[str, object]:
        """
        Give what is under way.

        """
        return {'frames of the part under way': len(self._frames)}

    def _end(self) -> None:
        self._moment, self._frames = None, ()
