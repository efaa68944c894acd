# SPDX-License-Identifier: Apache-2.0
"""
The drift watch: how soon it sees each cause, whether it names the right one, false alarms.

Causes act on the simulated line, at once and slowly, on parts that a taught recipe scores. False
alarms are counted on that line without any change, and, as they are too rare for pictures, on
millions of drawn scores.

"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
import json
import math
from pathlib import Path
import time
from typing import Any

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from anomaly_inspection.capture.simulated_drift import LineChange, render_changed
from anomaly_inspection.capture.simulated_settings import SimulatedLineSettings
from anomaly_inspection.drift.charts import Charts, limit_for
from anomaly_inspection.drift.reference import low_is_bad, reference_of, Scale
from anomaly_inspection.drift.watch import (
    ALLOWANCE,
    allowance_for,
    DriftWatch,
    FALSE_ALARM_RATE,
)
from anomaly_inspection.imaging.conditions import ConditionMeter, Conditions
from anomaly_inspection.learning.part_preparation import preprocessor_of
from anomaly_inspection.learning.teach import teach, TeachOptions
from anomaly_inspection.recipes.recipe import Recipe
from anomaly_inspection.scoring.measure import BadSide
from benchmarks.report import machine, plain, Table

LINE = SimulatedLineSettings(
    width_px=320, height_px=240, defect_rate=0.0, light=0.04, shift_px=3.0, rotation_deg=3.0
)
TAUGHT_PARTS = 60
UNCHANGED_PARTS = 80
SUDDEN_PARTS, RAMP_PARTS = 60, 150


@dataclass(frozen=True)
class Cause:
    """
    One way in which the line changes.

    Parameters
    ----------
    change : LineChange
        What a sudden change is; a slow one goes from nothing to three times as much.
    named : tuple of str
        What the watch must name.
    batch : mapping
        Settings of the line from the change on, for another batch of parts.

    """

    change: LineChange
    named: tuple[str, ...]
    batch: Mapping[str, Any] | None = None

    def at(self, amount: float) -> LineChange:
        """
        Give the change so many times as strong.

        """
        full = self.change
        return LineChange(
            lamp=1.0 + amount * (full.lamp - 1.0),
            defocus_px=amount * full.defocus_px,
            dirt_share=min(1.0, amount * full.dirt_share),
            dirt_diameter_px=full.dirt_diameter_px,
            turned_deg=amount * full.turned_deg,
            shifted_px=amount * full.shifted_px,
            belt_bgr=tuple(1.0 + amount * (value - 1.0) for value in full.belt_bgr),
            part_light=1.0 + amount * (full.part_light - 1.0),
        )


CAUSES = {
    'lamp -8 %': Cause(LineChange(lamp=0.92), ('LIGHT',)),
    'defocus 0.5 px': Cause(LineChange(defocus_px=0.5), ('FOCUS',)),
    'dirt spot 14 px, -25 %': Cause(LineChange(dirt_share=0.25, dirt_diameter_px=14.0), ('DIRT',)),
    'camera turned 4 degrees': Cause(LineChange(turned_deg=4.0), ('CAMERA',)),
    'camera shifted 4.5 px': Cause(LineChange(shifted_px=4.5), ('CAMERA',)),
    'belt bluer by 15 %': Cause(LineChange(belt_bgr=(1.15, 1.05, 1.0)), ('BELT',)),
    'batch 7 % darker': Cause(LineChange(part_light=0.93), ('PARTS',)),
    'batch with coarser tool marks': Cause(LineChange(), ('PARTS',), {'part_variation': 2.2}),
    'lamp and dirt': Cause(
        LineChange(lamp=0.92, dirt_share=0.25, dirt_diameter_px=14.0), ('LIGHT', 'DIRT')
    ),
    'lamp and camera turned': Cause(LineChange(lamp=0.92, turned_deg=4.0), ('LIGHT', 'CAMERA')),
    'belt and defocus': Cause(
        LineChange(belt_bgr=(1.15, 1.05, 1.0), defocus_px=0.5), ('BELT', 'FOCUS')
    ),
    'dirt and defocus': Cause(
        LineChange(dirt_share=0.25, dirt_diameter_px=14.0, defocus_px=0.5), ('DIRT', 'FOCUS')
    ),
}


@dataclass(frozen=True)
class Seen:
    """
    What a cell knows of one part.

    """

    conditions: Conditions
    measures: dict[str, float]
    has_passed: bool


class Cell:
    """
    A taught recipe of the line, and what it says of parts.

    """

    def __init__(self, seed: int) -> None:
        self._line = replace(LINE, seed=seed)
        frames = [render_changed(self._line, at, LineChange()) for at in range(TAUGHT_PARTS)]
        options = TeachOptions(scorers=('variation',), false_reject_rate=0.005)
        self.recipe: Recipe = teach(frames, name='line', options=options)
        self._scorer = self.recipe.frame_scorer()
        self._meter = ConditionMeter(preprocessor_of(self.recipe), self.recipe.references[0])

    def watch(self) -> DriftWatch:
        return DriftWatch(reference_of(self.recipe), low_is_bad(self.recipe))

    def seen(self, at: int, change: LineChange, batch: Mapping[str, Any] | None = None) -> Seen:
        line = replace(self._line, **batch) if batch else self._line
        frame = render_changed(line, at, change)
        score = self._scorer.score(frame)[0]
        measures, has_passed = {}, bool(score.measures)
        part = self.recipe.scorers[score.scorer]
        for spec in self.recipe.measures(score.scorer):
            value = score.measures.get(spec.name, math.nan)
            limit = part.limits[spec.name].limit
            is_bad = value > limit if spec.bad_side is BadSide.HIGH else value < limit
            if spec.name not in part.not_judged:
                measures[f'{score.scorer}.{spec.name}'] = value
                has_passed = has_passed and not is_bad
        return Seen(self._meter.measure(frame, score.alignment), measures, has_passed)


@dataclass(frozen=True)
class Outcome:
    """
    What came of one change.

    Parameters
    ----------
    parts : int or None
        Until the alarm; None = none came.
    named : tuple of str
        What was named then, and at the end of the run.
    named_at_end : tuple of str
        What was named after all parts.
    false_rejects : int
        Before the alarm.
    first_false_reject : int or None
        The part; None = there was none.
    text : str
        The first sentence at the alarm.

    """

    parts: int | None
    named: tuple[str, ...]
    named_at_end: tuple[str, ...]
    false_rejects: int
    first_false_reject: int | None
    text: str


def change_of(cell: Cell, unchanged: list[Seen], cause: Cause, *, is_slow: bool) -> Outcome:
    """
    Let the line run as taught, then change.

    """
    watch, now_s = cell.watch(), 0.0
    for seen in unchanged:
        now_s += 1.0
        feed(watch, seen, now_s)
    if watch.verdict.causes:
        raise click.ClickException('a false alarm before the change')
    alarm, named, text, rejected = None, (), '', []
    count = RAMP_PARTS if is_slow else SUDDEN_PARTS
    for at in range(count):
        amount = 3.0 * (at + 1) / count if is_slow else 1.0
        now_s += 1.0
        seen = cell.seen(10_000 + at, cause.at(amount), cause.batch)
        if not seen.has_passed:
            rejected.append(at + 1)
        verdict = feed(watch, seen, now_s)
        if verdict.causes and alarm is None:
            alarm, text = at + 1, verdict.causes[0].text
            named = kinds(verdict.causes)
    return Outcome(
        alarm,
        named,
        kinds(watch.verdict.causes),
        sum(alarm is None or at <= alarm for at in rejected),
        rejected[0] if rejected else None,
        text,
    )


def kinds(causes: Any) -> tuple[str, ...]:
    return tuple(cause.kind.name for cause in causes)


def feed(watch: DriftWatch, seen: Seen, now_s: float) -> Any:
    return watch.feed(seen.conditions, seen.measures, has_passed=seen.has_passed, now_s=now_s)


def unchanged_lines(lines: int, parts: int) -> dict[str, Any]:
    """
    Count false alarms on lines that do not change; each has its own recipe.

    """
    alarmed, duration_s = 0, 0.0
    for seed in range(2, 2 + lines):
        cell = Cell(seed)
        watch, was = cell.watch(), False
        for at in range(parts):
            seen = cell.seen(10_000 + at, LineChange())
            began_s = time.process_time()
            verdict = feed(watch, seen, float(at))
            duration_s += time.process_time() - began_s
            alarmed += bool(verdict.causes) and not was
            was = bool(verdict.causes)
    return {
        'lines': lines,
        'parts': lines * parts,
        'false_alarms': alarmed,
        'watch_ms_per_part': 1e3 * duration_s / (lines * parts),
    }


# False alarms among drawn scores

SIDES = 30
CELL_SIDES = 3072
_DRAWS = {
    'normal': lambda scores: scores,
    'skewed': lambda scores: np.exp(0.5 * scores),
}


def drawn(
    watches: int, parts: int, *, taught: int, kind: str, correlation: float, seed: int
) -> dict[str, Any]:
    """
    Count false alarms of the charts of many watches; each has its own few taught parts.

    The numbers of a watch have fifteen two-sided charts, each with a limit as in a watch with 30
    sides.

    """
    rng, count = np.random.default_rng(seed), watches * SIDES // 2
    draw = _DRAWS[kind]
    scales = [Scale.of(draw(rng.standard_normal(taught))) for _ in range(count)]
    scored = _Table(scales, -8.0, 25.0)
    charts = Charts(
        np.full(count, allowance_for(taught, SIDES)),
        np.full(count, limit_for(FALSE_ALARM_RATE / 2 / SIDES, ALLOWANCE)),
    )
    has_alarmed = np.zeros(count, np.bool_)
    alarms, was = 0, charts.is_alarmed
    for moment, values in enumerate(_followed(rng, parts, count, correlation)):
        charts.add(scored(draw(values)), moment)
        alarms += int((charts.is_alarmed & ~was).sum())
        was = charts.is_alarmed
        has_alarmed |= was.any(axis=0)
    per_watch = has_alarmed.reshape(watches, -1).any(axis=1)
    return {
        'taught': taught,
        'scores': kind,
        'correlation': correlation,
        'parts': watches * parts,
        'false_alarms': alarms,
        'watches': watches,
        'watches_with_one': int(per_watch.sum()),
        'measured_correlation': float(charts.correlation.mean()),
    }


def _followed(
    rng: np.random.Generator, parts: int, count: int, correlation: float
) -> Iterator[NDArray[np.float64]]:
    scores = rng.standard_normal(count)
    fresh = math.sqrt(1.0 - correlation**2)
    for _ in range(parts):
        yield scores
        scores = correlation * scores + fresh * rng.standard_normal(count)


class _Table:
    """
    The scales of many charts, as one table from value to score on an even grid.

    """

    def __init__(self, scales: list[Scale | None], low: float, high: float) -> None:
        grid = np.linspace(low, high, 2001)
        self._low, self._step = low, grid[1] - grid[0]
        self._scores = np.stack([scale.score(grid) for scale in scales if scale is not None])
        self._rows = np.arange(len(self._scores))

    def __call__(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        place = np.clip((values - self._low) / self._step, 0, self._scores.shape[1] - 1.001)
        left = place.astype(np.int64)
        share = place - left
        low, high = self._scores[self._rows, left], self._scores[self._rows, left + 1]
        return low + share * (high - low)


def drawn_cells(watches: int, parts: int, *, taught: int, seed: int) -> dict[str, Any]:
    """
    Count false alarms of the cells of many watches.

    """
    rng, count = np.random.default_rng(seed), CELL_SIDES // 2
    has_alarmed, alarms = 0, 0
    for _ in range(watches):
        good = rng.standard_normal((taught, count))
        mean, spread = good.mean(axis=0), good.std(axis=0, ddof=1)
        charts = Charts(
            np.full(count, allowance_for(taught, CELL_SIDES)),
            np.full(count, limit_for(FALSE_ALARM_RATE / 2 / CELL_SIDES, ALLOWANCE)),
        )
        was, any_alarm = charts.is_alarmed, False
        for moment in range(parts):
            charts.add((rng.standard_normal(count) - mean) / spread, moment)
            alarms += int((charts.is_alarmed & ~was).sum())
            was = charts.is_alarmed
            any_alarm = any_alarm or bool(was.any())
        has_alarmed += any_alarm
    return {
        'taught': taught,
        'scores': 'cells',
        'correlation': 0.0,
        'parts': watches * parts,
        'false_alarms': alarms,
        'watches': watches,
        'watches_with_one': has_alarmed,
    }


@click.command()
@click.option('--lines', default=4, show_default=True, help='Lines without change.')
@click.option('--parts', default=400, show_default=True, help='Parts of each of them.')
@click.option('--watches', default=200, show_default=True, help='Watches of drawn scores.')
@click.option('--drawn-parts', default=5000, show_default=True, help='Parts of each of them.')
@click.option('--report', type=click.Path(path_type=Path), default=Path('out/benchmarks'))
def main(lines: int, parts: int, watches: int, drawn_parts: int, report: Path) -> None:
    """
    Measure the drift watch; prints tables and writes JSON.

    """
    cv2.setNumThreads(1)
    before = machine()
    outcomes = of_causes()
    false_alarms = [
        drawn(watches, drawn_parts, taught=taught, kind=kind, correlation=correlation, seed=taught)
        for taught in (20, 40, 100)
        for kind, correlation in (('normal', 0.0), ('skewed', 0.0), ('normal', 0.5))
    ]
    false_alarms += [
        drawn(watches, drawn_parts, taught=40, kind='normal', correlation=0.8, seed=8)
    ]
    false_alarms += [
        drawn_cells(max(1, watches // 20), drawn_parts, taught=taught, seed=taught)
        for taught in (20, 40)
    ]
    print(false_alarm_table(false_alarms).markdown(), flush=True)
    end_to_end = unchanged_lines(lines, parts)
    print(json.dumps(end_to_end), flush=True)
    report.mkdir(parents=True, exist_ok=True)
    content = {
        'benchmark': 'drift',
        'machine': before,
        'causes': outcomes,
        'false_alarms': false_alarms,
        'unchanged_lines': end_to_end,
    }
    (report / 'drift.json').write_text(json.dumps(plain(content), indent=2) + '\n')
    print(f'Written to {report / "drift.json"}')


def of_causes() -> dict[str, Any]:
    """
    Try every cause, at once and slowly, and print the table.

    """
    cell = Cell(1)
    unchanged = [cell.seen(5_000 + at, LineChange()) for at in range(UNCHANGED_PARTS)]
    outcomes: dict[str, Any] = {}
    rows = []
    for name, cause in CAUSES.items():
        sudden = change_of(cell, unchanged, cause, is_slow=False)
        slow = None if cause.batch else change_of(cell, unchanged, cause, is_slow=True)
        outcomes[name] = {'sudden': asdict(sudden), 'slow': slow and asdict(slow)}
        rows.append(
            (
                name,
                sudden.parts,
                _rightness(sudden.named, cause.named),
                _rightness(sudden.named_at_end, cause.named),
                sudden.false_rejects,
                slow and slow.parts,
                slow and _rightness(slow.named, cause.named),
                slow and slow.false_rejects,
                slow and slow.first_false_reject,
            )
        )
        print(name, rows[-1][1:], sudden.text, flush=True)
    columns = (
        *('cause', 'sudden: parts until alarm', 'named at alarm', f'after {SUDDEN_PARTS} parts'),
        *('false rejects before', 'slow: parts until alarm', 'named at alarm'),
        *('false rejects before', 'first false reject, part'),
    )
    note = (
        f'After {UNCHANGED_PARTS} unchanged parts. Slow: from nothing to three times the sudden '
        f'change within {RAMP_PARTS} parts.'
    )
    print(Table('Causes', columns, rows, note).markdown(), flush=True)
    return outcomes


def _rightness(named: tuple[str, ...], wanted: tuple[str, ...]) -> str:
    if set(named) == set(wanted):
        return 'right'
    if named and set(named) < set(wanted):
        return f'{len(named)} of {len(wanted)}'
    return f'wrong: {", ".join(named)}' if named else '-'


def false_alarm_table(rows: list[dict[str, Any]]) -> Table:
    """
    Lay out the false alarms among drawn scores.

    """
    return Table(
        'False alarms without change',
        ('taught parts', 'scores', 'correlation', 'parts', 'alarms', 'per 100,000', 'watches'),
        [
            (
                *(row['taught'], row['scores'], row['correlation'], row['parts']),
                *(row['false_alarms'], 1e5 * row['false_alarms'] / row['parts']),
                f'{row["watches_with_one"]} of {row["watches"]}',
            )
            for row in rows
        ],
    )


if __name__ == '__main__':
    main()
