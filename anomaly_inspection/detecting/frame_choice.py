# SPDX-License-Identifier: Apache-2.0
"""
The frame of a stream that belongs to a moment: to a part that photo eye or robot has announced.

"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

F = TypeVar('F')

# Frames that are kept for moments that become known after them.
_KEPT_FRAMES = 8


@dataclass(frozen=True)
class Moment:
    """
    When the frame of a part is wanted.

    Parameters
    ----------
    at_s : float
        Steady clock, seconds.
    is_earliest : bool
        A frame from before it will not do.

    """

    at_s: float
    is_earliest: bool = False


@dataclass(frozen=True)
class Choice(Generic[F]):
    """
    What came of a moment.

    Parameters
    ----------
    moment : Moment
        The moment.
    frame : object or None
        Its frame; None when there is none.
    problem : str
        Why there is none, one sentence; '' when there is one.

    """

    moment: Moment
    frame: F | None
    problem: str = ''


class FrameChoice(Generic[F]):
    """
    Finds the frame whose exposure is nearest to each moment; no frame is given twice.

    A choice is made as soon as no nearer frame can come. Every moment gets exactly one.

    Parameters
    ----------
    tolerance_s : float
        A frame further away than this is not of the moment, seconds, above 0.
    waiting : int
        Moments that may wait at once, 1 or more; one more gets no frame.

    """

    def __init__(self, tolerance_s: float, waiting: int) -> None:
        self._tolerance_s = tolerance_s
        self._waiting = waiting
        self._moments: list[Moment] = []
        self._frames: deque[tuple[float, F]] = deque(maxlen=_KEPT_FRAMES)
        self._newest_s = float('-inf')

    @property
    def waiting_count(self) -> int:
        """
        How many moments wait for their frame.

        """
        return len(self._moments)

    def want(self, moment: Moment) -> list[Choice[F]]:
        """
        Take a moment; gives the choice if it can be made at once.

        """
        if len(self._moments) >= self._waiting:
            problem = f'{self._waiting} parts wait for their frames, no more can wait'
            return [Choice(moment, None, problem)]
        self._moments.append(moment)
        return self._choose(self._newest_s)

    def take(self, frame: F, exposure_s: float) -> list[Choice[F]]:
        """
        Take a frame, exposed later than those before; gives the choices it makes possible.

        """
        self._frames.append((exposure_s, frame))
        self._newest_s = max(self._newest_s, exposure_s)
        return self._choose(self._newest_s)

    def tick(self, now_s: float) -> list[Choice[F]]:
        """
        Give the choices for moments for which no frame has come in time.

        """
        return self._choose(now_s - self._tolerance_s)

    def give_up(self, problem: str) -> list[Choice[F]]:
        """
        Let go of all moments that wait.

        """
        given_up: list[Choice[F]] = [Choice(moment, None, problem) for moment in self._moments]
        self._moments.clear()
        self._frames.clear()
        return given_up

    def _choose(self, known_until_s: float) -> list[Choice[F]]:
        """
        Choose for the moments up to which all frames are known.

        """
        due = [moment for moment in self._moments if moment.at_s <= known_until_s]
        self._moments = [moment for moment in self._moments if moment.at_s > known_until_s]
        return [self._choice(moment) for moment in due]

    def _choice(self, moment: Moment) -> Choice[F]:
        usable = [
            (abs(exposure_s - moment.at_s), number)
            for number, (exposure_s, _) in enumerate(self._frames)
            if not (moment.is_earliest and exposure_s < moment.at_s)
        ]
        if not usable or min(usable)[0] > self._tolerance_s:
            nearest = f'the nearest is {min(usable)[0]:.3f} s off' if usable else 'there is none'
            problem = f'no frame within {self._tolerance_s:g} s of the part: {nearest}'
            return Choice(moment, None, problem)
        number = min(usable)[1]
        frame = self._frames[number][1]
        del self._frames[number]
        return Choice(moment, frame)
