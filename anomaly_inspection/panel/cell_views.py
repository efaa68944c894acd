# SPDX-License-Identifier: Apache-2.0
"""
What is known of the cell besides its parts: line stop, recipe, potentiometers, health.

"""

from __future__ import annotations

from dataclasses import dataclass
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

    """

    is_active: bool = False
    reason: str = ''
    since_s: float = math.nan


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
