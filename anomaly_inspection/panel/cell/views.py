# SPDX-License-Identifier: Apache-2.0
"""
What is known of the cell besides its parts: line stop, recipe, calibration, health and so on.

"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
import math


@dataclass(frozen=True)
class LineStopView:
    """
    Whether the line must stand.

    Parameters
    ----------
    is_active : bool
        True while it must.
    reason : str
        One sentence of the sorter, '' when it may run.
    since_s : float
        Wall clock, seconds since 1970.
    cause : str
        The reason as a code, 'gate' or 'no_scores'; '' = not known.

    """

    is_active: bool = False
    reason: str = ''
    since_s: float = math.nan
    cause: str = ''


@dataclass(frozen=True)
class RecipeView:
    """
    The recipe in force.

    Parameters
    ----------
    name : str
        '' = no recipe is in force.
    version : int
        A changed recipe has a higher one.
    path : str
        Its folder, as the decider sees it.
    hash : str
        Of its files.
    frame_px : (width, height)
        Size of the frames that it judges, pixels; (0, 0) = not known.

    """

    name: str = ''
    version: int = 0
    path: str = ''
    hash: str = ''
    frame_px: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class PotentiometerView:
    """
    Where a potentiometer stands, and what it would set.

    Parameters
    ----------
    channel : int
        As the device numbers it.
    position : float
        0 = left end, 1 = right end; NaN = not read.
    limit : str
        The limit that it moves, 'scorer.measure'; '' = not known.
    value : float
        What a grab would set now, in the unit of the limit; NaN = it moves nothing.

    """

    channel: int
    position: float
    limit: str = ''
    value: float = math.nan


@dataclass(frozen=True)
class HealthView:
    """
    One status of /diagnostics.

    Parameters
    ----------
    node : str
        Name without its namespace.
    concern : str
        What of the node it is about; '' = the node as a whole.
    level : str
        'ok', 'warn', 'error' or 'stale' (nothing has been heard for too long).
    message : str
        One sentence.
    heard_s : float
        Steady clock.

    """

    node: str
    concern: str
    level: str
    message: str
    heard_s: float


@dataclass(frozen=True)
class DriftCauseView:
    """
    One thing that is no longer as it was at teaching.

    Parameters
    ----------
    kind : str
        'light', 'focus', 'dirt', 'camera', 'belt', 'parts', or 'unknown'.
    condition : str
        What moved most, as 'light' or 'ssim.mse'.
    change : float
        By how much, in `unit`; NaN = not known.
    unit : str
        '%', 'px', 'deg', or '' for others.

    """

    kind: str
    condition: str = ''
    change: float = math.nan
    unit: str = ''


@dataclass(frozen=True)
class DriftView:
    """
    Whether what the recipe promises about false rejects still holds.

    Parameters
    ----------
    state : str
        'learning', 'valid', 'void', or '' when nobody watches.
    since_s : float
        Void since then, wall clock, seconds since 1970; NaN when it is not void.
    causes : tuple of DriftCauseView
        Why it is void, what is sure first, in the order in which it began.

    """

    state: str = ''
    since_s: float = math.nan
    causes: tuple[DriftCauseView, ...] = ()


@dataclass(frozen=True)
class CalibrationView:
    """
    How far the calibration on the next good parts is.

    Parameters
    ----------
    state : str
        'collecting', 'done', 'failed', 'undone', or '' when none was begun.
    parts, parts_wanted : int
        Collected so far, of so many.
    detail : str
        One sentence of the decider.
    promise : str
        Once done: how the old limits judge the parts, and what the new ones promise.

    """

    state: str = ''
    parts: int = 0
    parts_wanted: int = 0
    detail: str = ''
    promise: str = ''

    @property
    def is_under_way(self) -> bool:
        """
        Whether it can be cancelled.

        """
        return self.state == 'collecting'


def joined_calibration(found: Mapping[str, CalibrationView]) -> CalibrationView:
    """
    Give how far the calibrations of several views are together: as far as the last of them.

    Parameters
    ----------
    found : mapping of str to CalibrationView
        By the name of the view; '' in a cell with one camera.

    """
    for state in ('collecting', 'failed', 'done', 'undone', ''):
        there = {view: one for view, one in found.items() if one.state == state}
        if there:
            last = min(there.values(), key=lambda one: one.parts)
            if state == 'collecting':
                return last
            # Where it failed in one view, another may have new limits.
            others = {view: one for view, one in found.items() if one.state == 'done'}
            told = {**there, **others} if state == 'failed' else there
            return replace(
                last,
                detail=_told({view: one.detail for view, one in told.items()}),
                promise=_told({view: one.promise for view, one in there.items()}),
            )
    return CalibrationView()


def _told(sentences: Mapping[str, str]) -> str:
    return '; '.join(
        f'{view}: {sentence}' if view else sentence
        for view, sentence in sentences.items()
        if sentence
    )


@dataclass(frozen=True)
class ChallengeView:
    """
    How the challenge with known parts stands.

    Parameters
    ----------
    state : str
        'off', 'passed', 'due', 'running', 'failed', or '' when nothing was heard.
    detail : str
        One sentence of the decider.
    is_blocked : bool
        Whether every production part is rejected now.
    parts : tuple of str
        The known parts in their order, each 'good ...' or 'bad ...'.
    parts_done : int
        How many of them came out right in the challenge under way.
    next_due_s : float
        When the next becomes due, seconds since 1970; NaN = never by itself, or it is due.

    """

    state: str = ''
    detail: str = ''
    is_blocked: bool = False
    parts: tuple[str, ...] = ()
    parts_done: int = 0
    next_due_s: float = math.nan

    @property
    def is_configured(self) -> bool:
        """
        Whether there are known parts.

        """
        return bool(self.parts)

    @property
    def is_under_way(self) -> bool:
        """
        Whether the next parts are the known ones.

        """
        return self.state == 'running'
