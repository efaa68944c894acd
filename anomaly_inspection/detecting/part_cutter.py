# SPDX-License-Identifier: Apache-2.0
"""
From a stream of frames to parts: one cutter for each way to know that a part is there.

"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Generic, TYPE_CHECKING, TypeVar

from anomaly_inspection.detecting.frame_choice import FrameChoice, Moment

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from anomaly_inspection.detecting.frame_choice import Choice
    from anomaly_inspection.detecting.passage import Held, Passage, PassageTracker, StationTracker
    from anomaly_inspection.detecting.photo_eye import PhotoEye
    from anomaly_inspection.detecting.presence import PresenceDetector, Sight

F = TypeVar('F')

# Parts that may wait for their frames at once.
_WAITING_PARTS = 64
# A chattering photo eye is told for so long.
_CHATTER_TOLD_S = 10.0


@dataclass(frozen=True)
class Cut(Generic[F]):
    """
    A part, or what is new of one.

    Parameters
    ----------
    frames : tuple
        All its frames so far; () when none could be found for it.
    problem : str
        Why there is no frame, one sentence; '' when there is one.
    is_new : bool
        The part was not given before.
    is_complete : bool
        No further frame comes.
    moment : Moment or None
        What it was cut by, where that is a moment.

    """

    frames: tuple[F, ...]
    problem: str = ''
    is_new: bool = True
    is_complete: bool = True
    moment: Moment | None = None


class PartCutter(ABC, Generic[F]):
    """
    Cuts parts out of a stream; all times are the steady clock's, in seconds.

    Attributes
    ----------
    needs_pixels : bool
        Whether `take` wants the pixels of each frame.

    """

    needs_pixels: ClassVar[bool] = False

    @abstractmethod
    def take(
        self, frame: F, exposure_s: float, pixels: NDArray[np.uint8] | None = None
    ) -> list[Cut[F]]:
        """
        Take the next frame; gives the parts that are known now.

        Parameters
        ----------
        frame : object
            The frame, handed back in a `Cut`.
        exposure_s : float
            When it was exposed, later than the frame before.
        pixels : ndarray of uint8, (H, W) gray or (H, W, 3) BGR, or None
            The frame's pixels; None only where `needs_pixels` is False.

        Raises
        ------
        InspectionError
            When no part can be seen in such a frame.

        """

    def tick(self, now_s: float) -> list[Cut[F]]:
        """
        Give the parts that need not wait any longer.

        """
        return []

    def give_up(self, problem: str) -> list[Cut[F]]:
        """
        Give the parts that are known and were not given; without a frame they get the problem.

        """
        return []

    def warnings(self, now_s: float, stuck_after_s: float) -> dict[str, str]:
        """
        Say what the cutter cannot resolve by itself, by topic; '' where all is well.

        Parameters
        ----------
        now_s : float
            The time.
        stuck_after_s : float
            A photo eye or trigger column that is covered for longer is a warning.

        """
        return {}

    def figures(self) -> dict[str, object]:
        """
        Give the numbers that diagnostics show.

        """
        return {}


class EveryFrameCutter(PartCutter[F]):
    """
    Every frame is a part: the camera is triggered by hardware.

    """

    def take(
        self, frame: F, exposure_s: float, pixels: NDArray[np.uint8] | None = None
    ) -> list[Cut[F]]:
        """
        Give the frame as a part.

        """
        return [Cut((frame,))]


class MomentCutter(PartCutter[F]):
    """
    A photo eye, a robot or a PLC tells the moment; the frame nearest to it is the part's.

    Parameters
    ----------
    tolerance_s : float
        A frame further away than this does not show the part, seconds, above 0.
    eye : PhotoEye or None
        The photo eye, where there is one.
    eye_to_frame_s : float
        From the edge of the photo eye to the wanted exposure, seconds.

    """

    def __init__(
        self, tolerance_s: float, eye: PhotoEye | None = None, eye_to_frame_s: float = 0.0
    ) -> None:
        self._choice: FrameChoice[F] = FrameChoice(tolerance_s, _WAITING_PARTS)
        self._eye = eye
        self._eye_to_frame_s = eye_to_frame_s

    @property
    def waiting_count(self) -> int:
        """
        How many parts wait for their frame.

        """
        return self._choice.waiting_count

    def take_eye(self, is_covered: bool, now_s: float) -> list[Cut[F]]:
        """
        Take a signal of the photo eye.

        """
        if self._eye is None or not self._eye.begins_part(is_covered, now_s):
            return []
        return self.want(Moment(now_s + self._eye_to_frame_s))

    def want(self, moment: Moment) -> list[Cut[F]]:
        """
        Take a moment at which a part is there.

        """
        return _cuts(self._choice.want(moment))

    def take(
        self, frame: F, exposure_s: float, pixels: NDArray[np.uint8] | None = None
    ) -> list[Cut[F]]:
        """
        Take a frame for the moments before and after it.

        """
        return _cuts(self._choice.take(frame, exposure_s))

    def tick(self, now_s: float) -> list[Cut[F]]:
        """
        Give the parts for which no frame has come in time.

        """
        return _cuts(self._choice.tick(now_s))

    def give_up(self, problem: str) -> list[Cut[F]]:
        """
        Give the parts that wait for their frame.

        """
        return _cuts(self._choice.give_up(problem))

    def warnings(self, now_s: float, stuck_after_s: float) -> dict[str, str]:
        """
        Tell of a photo eye that chatters or stays covered.

        """
        if self._eye is None:
            return {}
        chatter_s = self._eye.last_chatter_s
        chatters = chatter_s is not None and now_s - chatter_s < _CHATTER_TOLD_S
        return {
            'chatter': 'the photo eye chatters: edges sooner than part_interval_s '
            f'{self._eye.part_interval_s:g} s after a part are ignored'
            if chatters
            else '',
            'stuck': _stuck('the photo eye', self._eye.covered_since_s, now_s, stuck_after_s),
        }

    def figures(self) -> dict[str, object]:
        """
        Give what waits, and how often the photo eye chattered.

        """
        figures: dict[str, object] = {'parts waiting for their frame': self.waiting_count}
        if self._eye is not None:
            figures['edges ignored as chatter'] = self._eye.chatter_count
        return figures


class _PresenceCutter(PartCutter[F]):
    """
    What differs from the empty scene is a part.

    """

    needs_pixels: ClassVar[bool] = True

    def __init__(
        self, detector: PresenceDetector, tracker: PassageTracker[F] | StationTracker[F]
    ) -> None:
        self._detector = detector
        self._tracker = tracker

    @abstractmethod
    def _update(self, sight: Sight, frame: F) -> list[Cut[F]]:
        """
        Take what a frame shows.

        """

    def take(
        self, frame: F, exposure_s: float, pixels: NDArray[np.uint8] | None = None
    ) -> list[Cut[F]]:
        """
        Look for parts in the frame.

        """
        assert pixels is not None
        return self._update(self._detector.see(pixels, exposure_s), frame)

    def warnings(self, now_s: float, stuck_after_s: float) -> dict[str, str]:
        """
        Tell of a column that stays covered and of a scene that has changed.

        """
        scene = self._detector.scene
        if scene is None:
            return {}
        covered_s = self._tracker.covered_since_s
        return {
            'stuck': _stuck('the trigger column', covered_s, now_s, stuck_after_s),
            'scene': 'the scene has changed and stands still: after absorb_after_s '
            f'{self._detector.absorb_after_s:g} s it counts as empty; ~/learn_empty does it at '
            'once'
            if scene.unmoved_s > stuck_after_s
            else '',
        }

    def figures(self) -> dict[str, object]:
        """
        Give what is known of the empty scene.

        """
        scene = self._detector.scene
        if scene is None:
            return {}
        return {
            'empty scene known for s': round(scene.known_s, 1),
            'brightness against the empty scene': round(scene.gain, 3),
            'cells absorbed into the empty scene': scene.absorbed_count,
        }


class BeltCutter(_PresenceCutter[F]):
    """
    One frame of each part that passes the trigger column.

    Parameters
    ----------
    detector : PresenceDetector
        What knows the empty scene.
    tracker : PassageTracker
        What follows the parts.

    """

    def __init__(self, detector: PresenceDetector, tracker: PassageTracker[F]) -> None:
        super().__init__(detector, tracker)
        self._passages = tracker

    def _update(self, sight: Sight, frame: F) -> list[Cut[F]]:
        return self._passed(self._passages.update(sight, frame))

    def tick(self, now_s: float) -> list[Cut[F]]:
        """
        Give the part for which no better frame has come in time.

        """
        return self._passed(self._passages.tick(now_s))

    def give_up(self, problem: str) -> list[Cut[F]]:
        """
        Give the part that waits for a better frame.

        """
        return self._passed(self._passages.give_up())

    def figures(self) -> dict[str, object]:
        """
        Give what crossed against the belt, and what is known of the empty scene.

        """
        return {'crossings against the belt': self._passages.against_count, **super().figures()}

    def _passed(self, passages: Sequence[Passage[F]]) -> list[Cut[F]]:
        return [Cut((passage.frame,)) for passage in passages]


class StationCutter(_PresenceCutter[F]):
    """
    Several frames of each part that is held on the trigger column.

    Parameters
    ----------
    detector : PresenceDetector
        What knows the empty scene.
    tracker : StationTracker
        What follows the part.

    """

    def __init__(self, detector: PresenceDetector, tracker: StationTracker[F]) -> None:
        super().__init__(detector, tracker)
        self._station = tracker

    def _update(self, sight: Sight, frame: F) -> list[Cut[F]]:
        return self._held(self._station.update(sight, frame))

    def give_up(self, problem: str) -> list[Cut[F]]:
        """
        Complete the part that is held.

        """
        return self._held(self._station.give_up())

    def _held(self, held: Held[F] | None) -> list[Cut[F]]:
        if held is None:
            return []
        is_new = len(held.frames) == 1 and not held.is_complete
        return [Cut(held.frames, is_new=is_new, is_complete=held.is_complete)]


def _cuts(choices: Sequence[Choice[F]]) -> list[Cut[F]]:
    return [
        Cut(
            () if choice.frame is None else (choice.frame,),
            problem=choice.problem,
            moment=choice.moment,
        )
        for choice in choices
    ]


def _stuck(what: str, since_s: float | None, now_s: float, stuck_after_s: float) -> str:
    if since_s is None or now_s - since_s <= stuck_after_s:
        return ''
    return (
        f'{what} has been covered for more than {stuck_after_s:g} s: no further part can be seen'
    )
