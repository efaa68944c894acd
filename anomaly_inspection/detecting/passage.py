# SPDX-License-Identifier: Apache-2.0
"""
From sights to parts: which frame of a passing part is the best one, and when a part is held.

"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Generic, TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from anomaly_inspection.detecting.presence import Sight, Stretch

F = TypeVar('F')

# Frames for which a part is remembered after it has left the column: its image may flicker.
_REMEMBERED_FRAMES = 5
# Frames in a row without a part before a held one counts as removed.
_EMPTY_FRAMES = 2
# Edges are not found more exactly than this.
_EDGE_NOISE_PX = 6


class Travel(IntEnum):
    """
    Which way the belt runs, as the frames show it.

    """

    EITHER = 0
    TO_THE_RIGHT = 1
    TO_THE_LEFT = -1


@dataclass(frozen=True)
class Passage(Generic[F]):
    """
    One part that has passed the trigger column, or stands on it.

    Parameters
    ----------
    frame : object
        The frame in which it lay best.
    stretch : Stretch
        Where it lay.
    distance_px : float
        From its middle to the trigger column.

    """

    frame: F
    stretch: Stretch
    distance_px: float


@dataclass
class _Part(Generic[F]):
    stretch: Stretch
    is_told: bool = False
    best: Passage[F] | None = None
    best_s: float = 0.0
    first_offset_px: float | None = None
    offset_px: float = 0.0
    absent_frames: int = 0


class PassageTracker(Generic[F]):
    """
    Gives each part that covers the trigger column once, with its best frame.

    Best is the frame in which the part is whole and its middle is nearest to the column. It is
    given as soon as it is known: when the middle has passed the column, when the column is empty
    again, or when none better has come for `patience_s` (the belt stands, or the part is longer
    than the region). A part ends when the column is empty, or covered by what cannot be the same
    part, since that moves with the belt; fast parts with a narrow gap leave no frame in which the
    column is empty.

    Parameters
    ----------
    patience_s : float
        Seconds, above 0.
    travel : Travel
        What crosses the column the other way is no part: a part that is put back, a hand.

    """

    def __init__(self, patience_s: float, travel: Travel = Travel.EITHER) -> None:
        self._patience_s = patience_s
        self._travel = travel
        self.against_count = 0
        self._part: _Part[F] | None = None
        self.covered_since_s: float | None = None

    def update(self, sight: Sight, frame: F) -> list[Passage[F]]:
        """
        Take the next frame; gives the parts whose best frame is known now.

        """
        part, now = self._part, sight.covering
        if part is not None:
            part.stretch = part.stretch.moved(sight.motion_px)
        is_same = (
            part is not None
            and now is not None
            and (sight.has_returned or part.stretch.overlaps(now))
        )
        told = [] if is_same else self.give_up()
        if now is None:
            self.covered_since_s = None
            if part is not None:
                part.absent_frames += 1
                if part.absent_frames > _REMEMBERED_FRAMES:
                    self._part = None
            return told
        if self.covered_since_s is None or not is_same:
            self.covered_since_s = sight.exposure_s
        if part is None or not is_same:
            # What was taken for the empty scene and moves on has been given before.
            part = self._part = _Part(now, is_told=sight.has_returned)
        part.stretch, part.absent_frames = now, 0
        if not part.is_told and self._has_best(part, sight, now, frame):
            told += self.give_up()
        return told

    def tick(self, now_s: float) -> list[Passage[F]]:
        """
        Give the part that waits for a better frame when none has come for `patience_s`.

        """
        part = self._part
        is_due = part is not None and now_s - part.best_s >= self._patience_s
        return self.give_up() if is_due else []

    def give_up(self) -> list[Passage[F]]:
        """
        Give the part that waits for a better frame, if there is one.

        """
        part = self._part
        if part is None or part.is_told or part.best is None:
            return []
        part.is_told = True
        best, part.best = part.best, None
        assert part.first_offset_px is not None
        if self._travel * (part.offset_px - part.first_offset_px) < -_EDGE_NOISE_PX:
            self.against_count += 1
            return []
        return [best]

    def _has_best(self, part: _Part[F], sight: Sight, now: Stretch, frame: F) -> bool:
        """
        Keep the frame if it is the best so far; say whether none better can come.

        """
        offset_px = now.center_px - sight.trigger_x_px
        distance_px = abs(offset_px)
        best = part.best
        if best is None or (now.is_cut, distance_px) < (best.stretch.is_cut, best.distance_px):
            part.best = best = Passage(frame, now, distance_px)
            part.best_s = sight.exposure_s
        if part.first_offset_px is None:
            part.first_offset_px = part.offset_px = offset_px
        has_crossed = part.offset_px * offset_px < 0
        moves_away = distance_px > best.distance_px + _EDGE_NOISE_PX
        part.offset_px = offset_px
        has_passed = not best.stretch.is_cut and (has_crossed or moves_away or distance_px < 1)
        return has_passed or sight.exposure_s - part.best_s >= self._patience_s


@dataclass(frozen=True)
class Held(Generic[F]):
    """
    What is new of a part that is held before the camera.

    Parameters
    ----------
    frames : tuple
        All its frames so far; the last one is new unless the part is complete.
    is_complete : bool
        It has been removed.

    """

    frames: tuple[F, ...]
    is_complete: bool = False


@dataclass
class StationTracker(Generic[F]):
    """
    Gives the frames of a part that is held on the trigger column, one every so often.

    A part opens when it covers the column and is at rest, so that no frame shows it on its way or
    the hand that brings it, and is complete when the column is empty in two frames in a row.

    Parameters
    ----------
    interval_s : float
        From one frame to the next, seconds, above 0.
    most_frames : int
        Frames of a part, 1 or more; after these it waits for its removal.

    """

    interval_s: float
    most_frames: int
    covered_since_s: float | None = field(default=None, init=False)
    _frames: list[F] = field(default_factory=list, init=False)
    _last_s: float = field(default=0.0, init=False)
    _before: Stretch | None = field(default=None, init=False)
    _empty_frames: int = field(default=0, init=False)

    def update(self, sight: Sight, frame: F) -> Held[F] | None:
        """
        Take the next frame; gives the part when there is something new of it.

        """
        before, self._before = self._before, sight.covering
        if sight.covering is None:
            self.covered_since_s = None
            self._empty_frames += 1
            return self.give_up() if self._empty_frames >= _EMPTY_FRAMES else None
        self._empty_frames = 0
        if self.covered_since_s is None:
            self.covered_since_s = sight.exposure_s
        if not self._frames and not (before and _is_at_rest(before, sight.covering)):
            return None
        is_due = not self._frames or sight.exposure_s - self._last_s >= self.interval_s
        if len(self._frames) >= self.most_frames or not is_due:
            return None
        self._frames.append(frame)
        self._last_s = sight.exposure_s
        return Held(tuple(self._frames))

    def give_up(self) -> Held[F] | None:
        """
        Close the part that is held, if there is one.

        """
        if not self._frames:
            return None
        frames, self._frames = tuple(self._frames), []
        return Held(frames, is_complete=True)


def _is_at_rest(before: Stretch, now: Stretch) -> bool:
    moved_px = max(abs(before.start_px - now.start_px), abs(before.end_px - now.end_px))
    return moved_px <= _EDGE_NOISE_PX
