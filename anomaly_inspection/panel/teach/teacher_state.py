# SPDX-License-Identifier: Apache-2.0
"""
What the panel knows of the teacher: its sessions, its drafts, and what it does now.

"""

from __future__ import annotations

from dataclasses import dataclass
import math

IDLE, RECORDING, TEACHING, ACCEPTING = 'idle', 'recording', 'teaching', 'accepting'


@dataclass(frozen=True)
class DraftView:
    """
    A recipe that was taught and is not in force; see RecipeDraft.msg.

    """

    recipe_name: str
    image_count: int = 0
    distinct_count: int = 0
    left_out: tuple[str, ...] = ()
    # (sentence, is_problem)
    findings: tuple[tuple[str, bool], ...] = ()
    scorers: tuple[str, ...] = ()
    false_rejects: float = math.nan
    promise: str = ''
    frame_time_ms: float = math.nan
    most_parts_per_s: float = math.nan
    sizes_px: tuple[float, ...] = ()
    contrasts_levels: tuple[float, ...] = ()
    # By contrast, then by size; NaN = none could be drawn.
    seen: tuple[float, ...] = ()
    seen_in_all: float = math.nan
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    missed_picture: str = ''
    seen_picture: str = ''
    hash: str = ''


@dataclass(frozen=True)
class SessionView:
    """
    A folder of recorded images.

    Parameters
    ----------
    name, product : str
        Its folder, and what people call the product.
    created_s : float
        Wall clock, seconds since 1970.
    images : int
        How many it holds.
    draft : DraftView or None
        What was taught on them.

    """

    name: str
    product: str
    created_s: float = math.nan
    images: int = 0
    draft: DraftView | None = None


@dataclass(frozen=True)
class TrialView:
    """
    A draft that judges beside the recipe in force.

    Parameters
    ----------
    session : str
        Whose draft; '' = no trial run.
    parts, draft_rejects, rejects_in_force, differ, dropped : int
        See TeacherState.msg.

    """

    session: str = ''
    parts: int = 0
    draft_rejects: int = 0
    rejects_in_force: int = 0
    differ: int = 0
    dropped: int = 0


@dataclass(frozen=True)
class TeacherView:
    """
    The teacher at one moment.

    Parameters
    ----------
    folder, library : str
        Where its sessions and the accepted recipes are.
    sessions : tuple of SessionView
        The newest first.
    activity : str
        IDLE, RECORDING, TEACHING or ACCEPTING.
    session : str
        What is recorded, taught or accepted now.
    done, wanted, dropped : int
        See TeacherState.msg.
    detail, hint, hint_code : str
        See TeacherState.msg.
    trial : TrialView
        The trial run.

    """

    folder: str = ''
    library: str = ''
    sessions: tuple[SessionView, ...] = ()
    activity: str = IDLE
    session: str = ''
    done: int = 0
    wanted: int = 0
    dropped: int = 0
    detail: str = ''
    hint: str = ''
    hint_code: str = ''
    trial: TrialView = TrialView()

    def named(self, name: str) -> SessionView | None:
        """
        Give a session by its name; None = there is none.

        """
        return next((one for one in self.sessions if one.name == name), None)


@dataclass(frozen=True)
class ShadowView:
    """
    Both verdicts on one part.

    Parameters
    ----------
    number : int
        Of the part.
    draft_passes, passes_in_force : bool
        The verdicts.
    anomaly_score : float
        Of the draft; NaN = not measured.
    reason : str
        Name of the draft's reason code.

    """

    number: int
    draft_passes: bool
    passes_in_force: bool
    anomaly_score: float = math.nan
    reason: str = ''
