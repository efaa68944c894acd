# SPDX-License-Identifier: Apache-2.0
"""
What the panel knows of the cell: filled by the node, read by the pages.

The node calls the methods that begin with `take_` and `set_`, from any thread. A page compares
`revision` with what it has shown, and reads `picture()`, which never changes once it is made.

"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import asdict, dataclass, field, replace
import math
import threading
from typing import Any, TYPE_CHECKING

from anomaly_inspection.panel.shifts import Shift, ShiftTable
from anomaly_inspection.panel.teacher_state import ShadowView, TeacherView

if TYPE_CHECKING:
    from anomaly_inspection.panel.cell_commands import Answer

#: Session and number of a part.
PartKey = tuple[str, int]

#: Parts that the panel remembers; at 10 parts/s the last 100 seconds.
PARTS_KEPT = 1000
_SHADOWS_KEPT = 50

#: Shifts whose counts are remembered.
SHIFTS_KEPT = 10


@dataclass(frozen=True)
class MeasureView:
    """
    One measured value of a part.

    Parameters
    ----------
    name : str
        'scorer.measure'.
    value : float
        Unit as below; NaN = could not be measured.
    unit : str
        '1' for a pure number.

    """

    name: str
    value: float
    unit: str = '1'


@dataclass(frozen=True)
class LimitView:
    """
    One limit that acts now.

    Parameters
    ----------
    name : str
        'scorer.measure'.
    value, typical : float
        The limit, and what a typical good part has; unit as below.
    unit : str
        '1' for a pure number.
    high_is_bad : bool
        Whether values above the limit are anomalous, or values below.
    is_from_recipe : bool
        False: somebody has set it since.

    """

    name: str
    value: float
    typical: float
    unit: str = '1'
    high_is_bad: bool = True
    is_from_recipe: bool = True

    @property
    def scorer(self) -> str:
        """
        Name of the scorer.

        """
        return self.name.partition('.')[0]

    @property
    def measure(self) -> str:
        """
        Name of the measure within its scorer.

        """
        return self.name.partition('.')[2]

    def is_exceeded_by(self, value: float) -> bool:
        """
        Whether a value lies beyond the limit or is not known.

        """
        return not (value <= self.value if self.high_is_bad else value >= self.value)

    def anomaly_score(self, value: float) -> float:
        """
        Give 0 for a typical good part and 1 for a part exactly at the limit; NaN = not measured.

        """
        span = self.value - self.typical
        return (value - self.typical) / span if span else math.nan


@dataclass(frozen=True)
class RegionView:
    """
    One connected area over the region limit, in pixels of the frame; the box is half-open.

    Parameters
    ----------
    x_min, y_min, x_max, y_max : int
        Edges of the box.
    area_px : int
        Pixels in the area.
    times_limit : float
        Highest value of the map in it, 1 = the region limit.

    """

    x_min: int
    y_min: int
    x_max: int
    y_max: int
    area_px: int
    times_limit: float


@dataclass(frozen=True)
class ScoreView:
    """
    What one scorer found in the newest frame of a part.

    Parameters
    ----------
    scorer : str
        Its name.
    is_ok : bool
        Whether the measures are valid.
    detail : str
        One sentence: why there are no measures, or how far the part lies beyond the tolerance.
    measures : tuple of MeasureView
        In the order of the scorer.
    regions : tuple of RegionView
        Highest first.
    part_class : str
        The taught class that the part looks most like; '' = the scorer knows no classes.

    """

    scorer: str
    is_ok: bool = True
    detail: str = ''
    measures: tuple[MeasureView, ...] = ()
    regions: tuple[RegionView, ...] = ()
    part_class: str = ''


@dataclass(frozen=True)
class DecisionView:
    """
    The verdict on a part.

    Parameters
    ----------
    has_passed : bool
        Anything but PASS is a reject.
    reason : str
        Name of the reason code, 'LIMIT_EXCEEDED'.
    comparison : str
        Measures and limits, written out.
    anomaly_score : float
        1 = exactly at a limit; NaN = not measured.
    worst_measure : str
        'scorer.measure', '' when not measured.
    recipe_name : str
        The recipe that judged.
    recipe_version : int
        Its version.
    latency_s : float
        From exposure to decision.
    known_as : str
        'good' or 'bad' for a known part of a challenge, '' for a production part.

    """

    has_passed: bool
    reason: str
    comparison: str = ''
    anomaly_score: float = math.nan
    worst_measure: str = ''
    recipe_name: str = ''
    recipe_version: int = 0
    latency_s: float = math.nan
    known_as: str = ''


@dataclass(frozen=True)
class SortView:
    """
    What the gate did with a part.

    Parameters
    ----------
    has_passed : bool
        Whether the part went through the gate.
    is_confirmed : bool
        Whether the gate confirmed it.
    detail : str
        One sentence, '' when all went as decided.

    """

    has_passed: bool
    is_confirmed: bool
    detail: str = ''


@dataclass(frozen=True)
class PartView:
    """
    All that is known of one part.

    Parameters
    ----------
    key : PartKey
        Session and number.
    time_s : float
        Exposure by the wall clock, seconds since 1970; NaN = not known yet.
    frame_name : str
        Where the frame came from; '' for a live camera.
    problem : str
        What was wrong with the frame before it could be scored; '' = nothing.
    decision, sorted : DecisionView, SortView or None
        None = has not come yet.
    scores : tuple of ScoreView
        One a scorer, in the order in which they came first.
    limits : tuple of LimitView
        What the part was judged by.
    frame_px : (width, height)
        Size of its frame, pixels; (0, 0) = not known.

    """

    key: PartKey
    time_s: float = math.nan
    frame_name: str = ''
    problem: str = ''
    decision: DecisionView | None = None
    sorted: SortView | None = None
    scores: tuple[ScoreView, ...] = ()
    limits: tuple[LimitView, ...] = ()
    frame_px: tuple[int, int] = (0, 0)

    @property
    def number(self) -> int:
        """
        Number within its session.

        """
        return self.key[1]

    def value_of(self, limit: LimitView) -> float:
        """
        Give the measured value that a limit is about; NaN = not measured.

        """
        for score in self.scores:
            for measure in score.measures:
                if measure.name == limit.name:
                    return measure.value
        return math.nan


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


@dataclass(frozen=True)
class Counts:
    """
    Production parts that were counted; known parts of a challenge are not.

    Parameters
    ----------
    passed, rejected : int
        By their verdicts.
    by_reason : dict of str to int
        Rejects by the name of their reason.
    shift : Shift
        Which shift they belong to.

    """

    passed: int = 0
    rejected: int = 0
    by_reason: dict[str, int] = field(default_factory=dict)
    shift: Shift = field(default_factory=lambda: Shift('', 0.0))

    @property
    def total(self) -> int:
        """
        All parts.

        """
        return self.passed + self.rejected

    @property
    def good_share(self) -> float:
        """
        Passed parts over all parts, 0..1; NaN = no part yet.

        """
        return self.passed / self.total if self.total else math.nan

    def with_decision(self, decision: DecisionView) -> Counts:
        """
        Count one more part.

        """
        if decision.known_as:
            return self
        if decision.has_passed:
            return replace(self, passed=self.passed + 1)
        of_reason = self.by_reason.get(decision.reason, 0) + 1
        by_reason = {**self.by_reason, decision.reason: of_reason}
        return replace(self, rejected=self.rejected + 1, by_reason=by_reason)


def counts_to_json(counts: tuple[Counts, ...]) -> list[dict[str, object]]:
    """
    Give the counts as JSON can hold them.

    """
    return [asdict(each) for each in counts]


def counts_from_json(content: list[dict[str, Any]]) -> tuple[Counts, ...]:
    """
    Read what `counts_to_json` gave; raises TypeError, ValueError or KeyError for anything else.

    """
    return tuple(
        Counts(
            passed=int(each['passed']),
            rejected=int(each['rejected']),
            by_reason={str(name): int(count) for name, count in each['by_reason'].items()},
            shift=Shift(str(each['shift']['name']), float(each['shift']['began_s'])),
        )
        for each in content
    )


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
    limit_ranges : dict of str to (float, float)
        Least and greatest value that the decider takes, by the name of the limit.
    potentiometers : tuple of PotentiometerView
        Empty = there are none.
    recipe : RecipeView
        In force now.
    line_stop : LineStopView
        Of the sorter.
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
    limit_ranges: dict[str, tuple[float, float]] = field(default_factory=dict)
    potentiometers: tuple[PotentiometerView, ...] = ()
    recipe: RecipeView = field(default_factory=RecipeView)
    line_stop: LineStopView = field(default_factory=LineStopView)
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

    def set_limit_ranges(self, ranges: dict[str, tuple[float, float]]) -> None:
        """
        The decider has told which values it takes.

        """
        self._set(limit_ranges=ranges)

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
