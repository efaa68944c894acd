# SPDX-License-Identifier: Apache-2.0
"""
What the panel knows of the cell: filled by the node, read by the pages.

The node calls the methods that begin with `take_` and `set_`, from any thread. A page compares
`revision` with what it has shown, and reads `picture()`, which never changes once it is made.

"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field, replace
import math
import threading
from typing import TYPE_CHECKING

from anomaly_inspection.panel.cell.part_views import PartKey, PartView
from anomaly_inspection.panel.cell.shift_counts import Counts
from anomaly_inspection.panel.cell.shifts import ShiftTable
from anomaly_inspection.panel.cell.views import (
    CalibrationView,
    ChallengeView,
    DriftView,
    HealthView,
    LineStopView,
    RecipeView,
)
from anomaly_inspection.panel.teach.teacher_state import ShadowView, TeacherView

if TYPE_CHECKING:
    from anomaly_inspection.panel.cell.commands import Answer
    from anomaly_inspection.panel.cell.part_views import (
        DecisionView,
        LimitView,
        ScoreView,
        SortView,
    )
    from anomaly_inspection.panel.cell.views import PotentiometerView

#: Parts that the panel remembers; at 10 parts/s the last 100 seconds.
PARTS_KEPT = 1000
_SHADOWS_KEPT = 50

#: Shifts whose counts are remembered.
SHIFTS_KEPT = 10


@dataclass(frozen=True)
class CellPicture:
    """
    The cell at one moment.

    Parameters
    ----------
    revision : int
        Higher for every change.
    parts : tuple of PartView
        Those that were decided, newest last.
    limits : tuple of LimitView
        In force now.
    limits_are_unsaved : bool
        Whether they differ from the recipe on disk.
    needs_all_limits : bool
        Whether a part is rejected only when all its measures lie beyond their limits.
    calibration : CalibrationView
        The calibration on the next good parts.
    limits_before_calibration : dict of str to float
        The limits when the last calibration began; empty = not known.
    challenges : dict of str to ChallengeView
        The challenge with known parts of each view; '' in a cell with one camera.
    potentiometers : tuple of PotentiometerView
        Empty = there are none.
    recipe : RecipeView
        In force now.
    line_stop : LineStopView
        Of the sorter.
    drift : DriftView
        Whether the line still shows what was taught.
    health : tuple of HealthView
        Of every node that was heard of.
    counts : tuple of Counts
        Of the last shifts, oldest first; the last is that of the newest part.
    teacher : TeacherView
        The teacher.
    teacher_is_running : bool
        Whether it answers.
    teacher_answers : dict of str to Answer
        What came of the last 'record', 'teach' and 'accept'; not there while it is under way.
    shadows : tuple of ShadowView
        Of the trial run, newest last.

    """

    revision: int = 0
    parts: tuple[PartView, ...] = ()
    limits: tuple[LimitView, ...] = ()
    limits_are_unsaved: bool = False
    needs_all_limits: bool = False
    calibration: CalibrationView = field(default_factory=CalibrationView)
    limits_before_calibration: dict[str, float] = field(default_factory=dict)
    challenges: dict[str, ChallengeView] = field(default_factory=dict)
    potentiometers: tuple[PotentiometerView, ...] = ()
    recipe: RecipeView = field(default_factory=RecipeView)
    line_stop: LineStopView = field(default_factory=LineStopView)
    drift: DriftView = field(default_factory=DriftView)
    health: tuple[HealthView, ...] = ()
    counts: tuple[Counts, ...] = ()
    teacher: TeacherView = field(default_factory=TeacherView)
    teacher_is_running: bool = False
    teacher_answers: dict[str, Answer] = field(default_factory=dict)
    shadows: tuple[ShadowView, ...] = ()

    @property
    def last_part(self) -> PartView | None:
        """
        The part that was decided last.

        """
        return self.parts[-1] if self.parts else None

    def parts_per_minute(self, now_s: float) -> float:
        """
        Give the pace of the last minute; `now_s` is in seconds since 1970.

        """
        return float(sum(1 for part in self.parts if now_s - 60 < part.time_s <= now_s))

    def latencies_s(self, newest: int = 200) -> list[float]:
        """
        Give the times from exposure to decision of the newest parts, sorted.

        """
        decisions = (part.decision for part in self.parts[-newest:])
        return sorted(d.latency_s for d in decisions if d and not math.isnan(d.latency_s))


class CellState:
    """
    Thread-safe store of what was heard of the cell.

    Parameters
    ----------
    parts_kept : int
        Older parts are forgotten.
    shifts : ShiftTable or None
        When a shift begins; None = at midnight.
    counts : tuple of Counts
        What was counted before the panel was started, oldest shift first.

    """

    def __init__(
        self,
        parts_kept: int = PARTS_KEPT,
        shifts: ShiftTable | None = None,
        counts: tuple[Counts, ...] = (),
    ) -> None:
        self.shifts = shifts or ShiftTable()
        self._lock = threading.Lock()
        self._parts_kept = parts_kept
        self._parts: OrderedDict[PartKey, PartView] = OrderedDict()
        self._decided: OrderedDict[PartKey, None] = OrderedDict()
        self._health: dict[tuple[str, str], HealthView] = {}
        self._picture = CellPicture(counts=counts)
        self._revision = 0

    @property
    def revision(self) -> int:
        """
        Higher for every change.

        """
        return self._revision

    def picture(self) -> CellPicture:
        """
        Give the cell as it is now.

        """
        with self._lock:
            if self._picture.revision != self._revision:
                self._picture = replace(
                    self._picture,
                    revision=self._revision,
                    parts=tuple(self._parts[key] for key in self._decided),
                    health=tuple(self._health[key] for key in sorted(self._health)),
                )
            return self._picture

    def part(self, key: PartKey) -> PartView | None:
        """
        Give one part; None = unknown or forgotten.

        """
        with self._lock:
            return self._parts.get(key)

    # Parts

    def take_part(
        self, key: PartKey, time_s: float, frame_name: str = '', problem: str = ''
    ) -> None:
        """
        A part has come.

        """
        with self._lock:
            self._change(key, time_s=time_s, frame_name=frame_name, problem=problem)

    def take_score(self, key: PartKey, score: ScoreView) -> None:
        """
        A scorer has measured a frame of a part; a later frame takes the place of the earlier.

        """
        with self._lock:
            before = self._known(key).scores
            if any(known.scorer == score.scorer for known in before):
                scores = tuple(score if k.scorer == score.scorer else k for k in before)
            else:
                scores = (*before, score)
            self._change(key, scores=scores)

    def take_decision(self, key: PartKey, decision: DecisionView, now_s: float) -> None:
        """
        A part has been decided at `now_s`, seconds since 1970.

        """
        with self._lock:
            if key not in self._decided:
                self._count(decision, now_s)
            self._change(
                key,
                decision=decision,
                limits=self._picture.limits,
                frame_px=self._picture.recipe.frame_px,
            )
            self._decided[key] = None

    def _count(self, decision: DecisionView, now_s: float) -> None:
        shift = self.shifts.shift_at(now_s)
        counts = self._picture.counts
        # A clock that is put back must not begin an old shift anew.
        if not counts or counts[-1].shift.began_s < shift.began_s:
            counts = (*counts, Counts(shift=shift))
        counts = (*counts[:-1], counts[-1].with_decision(decision))
        self._picture = replace(self._picture, counts=counts[-SHIFTS_KEPT:])

    def take_sort(self, key: PartKey, sort: SortView) -> None:
        """
        The gate has handled a part.

        """
        with self._lock:
            self._change(key, sorted=sort)

    def _known(self, key: PartKey) -> PartView:
        return self._parts.get(key) or PartView(key)

    def _change(self, key: PartKey, **changes: object) -> None:
        self._parts[key] = replace(self._known(key), **changes)  # type: ignore[arg-type]
        while len(self._parts) > self._parts_kept:
            oldest, _ = self._parts.popitem(last=False)
            self._decided.pop(oldest, None)
        self._revision += 1

    # What is in force

    def set_limits(
        self, limits: tuple[LimitView, ...], *, are_unsaved: bool, needs_all: bool = False
    ) -> None:
        """
        Other limits act now.

        """
        self._set(limits=limits, limits_are_unsaved=are_unsaved, needs_all_limits=needs_all)

    def set_calibration(self, calibration: CalibrationView) -> None:
        """
        A calibration has come further, or has ended.

        """
        picture = self._picture
        if calibration.is_under_way and not picture.calibration.is_under_way:
            before = {limit.name: limit.value for limit in picture.limits}
            self._set(calibration=calibration, limits_before_calibration=before)
        else:
            self._set(calibration=calibration)

    def set_challenge(self, challenge: ChallengeView, view: str = '') -> None:
        """
        The challenge, with several views that of a view, stands otherwise.

        """
        self._set(challenges={**self._picture.challenges, view: challenge})

    def set_potentiometers(self, potentiometers: tuple[PotentiometerView, ...]) -> None:
        """
        Somebody has turned a potentiometer.

        """
        if potentiometers != self._picture.potentiometers:
            self._set(potentiometers=potentiometers)

    def set_recipe(self, recipe: RecipeView) -> None:
        """
        Another recipe is in force.

        """
        self._set(recipe=recipe)

    def set_line_stop(self, line_stop: LineStopView) -> None:
        """
        The line must stand, or may run again.

        """
        self._set(line_stop=line_stop)

    def set_drift(self, drift: DriftView) -> None:
        """
        The line shows what was taught, or no longer.

        """
        self._set(drift=drift)

    # The teacher

    def set_teacher(self, teacher: TeacherView) -> None:
        """
        The teacher has told what it does.

        """
        before = self._picture.teacher
        self._set(teacher=teacher)
        if teacher.trial.session != before.trial.session:
            self._set(shadows=())

    def set_teacher_running(self, *, is_running: bool) -> None:
        """
        The teacher answers, or does not.

        """
        if is_running != self._picture.teacher_is_running:
            self._set(teacher_is_running=is_running)

    def set_teacher_answer(self, command: str, answer: Answer | None) -> None:
        """
        Something the teacher was asked for has ended; None = it has begun.

        """
        answers = {
            name: one for name, one in self._picture.teacher_answers.items() if name != command
        }
        self._set(teacher_answers=answers if answer is None else {**answers, command: answer})

    def take_shadow(self, shadow: ShadowView) -> None:
        """
        A draft on trial has judged a part.

        """
        self._set(shadows=(*self._picture.shadows, shadow)[-_SHADOWS_KEPT:])

    def set_health(self, statuses: list[HealthView]) -> None:
        """
        A node has reported how it is.

        """
        with self._lock:
            for status in statuses:
                key = (status.node, status.concern)
                before = self._health.get(key)
                self._health[key] = status
                if before is None or (before.level, before.message) != (
                    status.level,
                    status.message,
                ):
                    self._revision += 1

    def mark_stale(self, now_s: float, after_s: float) -> None:
        """
        Call every status stale that was last heard before `now_s - after_s` (steady clock).

        """
        with self._lock:
            for key, status in self._health.items():
                if status.level != 'stale' and now_s - status.heard_s > after_s:
                    self._health[key] = replace(status, level='stale')
                    self._revision += 1

    def _set(self, **changes: object) -> None:
        with self._lock:
            # `picture` sees by the revision that parts and health may have changed as well.
            self._picture = replace(self._picture, **changes)  # type: ignore[arg-type]
            self._revision += 1
