# SPDX-License-Identifier: Apache-2.0
"""
The drift watch: how soon it sees each cause, whether it names the right one, false alarms.

Causes act on the lines of `drift_products`, at once and slowly, on parts that a taught recipe
scores. False alarms are counted on these lines without any change, and, as they are too rare for
pictures, on millions of drawn scores.

"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
import json
import math
from pathlib import Path
import statistics
import time
from typing import Any

import click
import cv2

from anomaly_inspection.capture.simulated_drift import LineChange
from anomaly_inspection.drift.reference import low_is_bad, reference_of
from anomaly_inspection.drift.watch import DriftWatch
from anomaly_inspection.imaging.conditions import ConditionMeter, Conditions
from anomaly_inspection.learning.part_preparation import preprocessor_of
from anomaly_inspection.learning.teach import teach, TeachOptions
from anomaly_inspection.recipes.recipe import Recipe
from anomaly_inspection.scoring.measure import BadSide
from benchmarks.drift_false_alarms import drawn, drawn_cells, false_alarm_table
from benchmarks.drift_products import faulty_lines, Product, products
from benchmarks.report import machine, plain, Table

UNCHANGED_PARTS = 80
SUDDEN_PARTS, RAMP_PARTS, RAMP_AMOUNT = 40, 80, 2.0
# A run ends so many parts after all that must be named was.
_PARTS_AFTER = 15
# Parts of the unchanged line, of the change, and of the line for false alarms.
_FIRST_UNCHANGED, _FIRST_CHANGED, _FIRST_LONG = 5_000, 10_000, 20_000


@dataclass(frozen=True)
class Cause:
    """
    One way in which the line changes.

    Parameters
    ----------
    change : LineChange
        What a sudden change is in a frame 320 px wide; a slow one goes from nothing to twice as
        much.
    named : tuple of str
        What the watch must name.
    is_coarse : bool
        Whether the parts are of a batch with coarser tool marks or grain.

    """

    change: LineChange
    named: tuple[str, ...]
    is_coarse: bool = False

    @property
    def needs_mask(self) -> bool:
        """
        Whether it must be known where the part is.

        """
        full = self.change
        return self.is_coarse or full.part_light != 1.0 or full.belt_bgr != (1.0, 1.0, 1.0)

    def at(self, amount: float, scale: float) -> LineChange:
        """
        Give the change so many times as strong, in a frame so many times as wide.

        """
        full = self.change
        return LineChange(
            lamp=1.0 + amount * (full.lamp - 1.0),
            defocus_px=amount * scale * full.defocus_px,
            dirt_share=min(1.0, amount * full.dirt_share),
            dirt_diameter_px=scale * full.dirt_diameter_px,
            dirt_place=full.dirt_place,
            turned_deg=amount * full.turned_deg,
            shifted_px=amount * scale * full.shifted_px,
            belt_bgr=tuple(1.0 + amount * (value - 1.0) for value in full.belt_bgr),
            part_light=1.0 + amount * (full.part_light - 1.0),
        )


_DIRT = {'dirt_share': 0.25, 'dirt_diameter_px': 14.0}
_BELT = {'belt_bgr': (1.15, 1.05, 1.0)}
CAUSES = {
    'lamp -8 %': Cause(LineChange(lamp=0.92), ('LIGHT',)),
    'defocus 0.5 px': Cause(LineChange(defocus_px=0.5), ('FOCUS',)),
    'dirt spot 14 px, -25 %, on the part': Cause(LineChange(**_DIRT), ('DIRT',)),
    'dirt spot beside the part': Cause(LineChange(**_DIRT, dirt_place=(0.1, 0.15)), ('DIRT',)),
    'camera turned 4 degrees': Cause(LineChange(turned_deg=4.0), ('CAMERA',)),
    'camera shifted 4.5 px': Cause(LineChange(shifted_px=4.5), ('CAMERA',)),
    'belt bluer by 15 %': Cause(LineChange(**_BELT), ('BELT',)),
    'belt darker by 12 %': Cause(LineChange(belt_bgr=(0.88, 0.88, 0.88)), ('BELT',)),
    'batch 7 % darker': Cause(LineChange(part_light=0.93), ('PARTS',)),
    'batch with coarser marks': Cause(LineChange(), ('PARTS',), is_coarse=True),
    'lamp and dirt': Cause(LineChange(lamp=0.92, **_DIRT), ('LIGHT', 'DIRT')),
    'lamp and camera turned': Cause(LineChange(lamp=0.92, turned_deg=4.0), ('LIGHT', 'CAMERA')),
    'lamp and defocus': Cause(LineChange(lamp=0.92, defocus_px=0.5), ('LIGHT', 'FOCUS')),
    'belt and defocus': Cause(LineChange(**_BELT, defocus_px=0.5), ('BELT', 'FOCUS')),
    'dirt and defocus': Cause(LineChange(**_DIRT, defocus_px=0.5), ('DIRT', 'FOCUS')),
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
    A taught recipe of one product, and what it says of parts.

    """

    def __init__(self, product: Product) -> None:
        self.product = product
        frames = [product.render(at, LineChange(), False) for at in range(product.taught)]
        options = TeachOptions(scorers=product.scorers, false_reject_rate=0.005)
        self.recipe: Recipe = teach(frames, name='line', options=options)
        self._scorer = self.recipe.frame_scorer()
        self._meter = ConditionMeter(preprocessor_of(self.recipe), self.recipe.references[0])

    def watch(self) -> DriftWatch:
        return DriftWatch(reference_of(self.recipe), low_is_bad(self.recipe))

    def seen(self, at: int, change: LineChange, *, is_coarse: bool = False) -> Seen:
        frame = self.product.render(at, change, is_coarse)
        scores = self._scorer.score(frame)
        measures, has_passed = {}, all(score.measures for score in scores)
        for score in scores:
            part = self.recipe.scorers[score.scorer]
            for spec in self.recipe.measures(score.scorer):
                value = score.measures.get(spec.name, math.nan)
                limit = part.limits[spec.name].limit
                is_bad = value > limit if spec.bad_side is BadSide.HIGH else value < limit
                if spec.name not in part.not_judged:
                    measures[f'{score.scorer}.{spec.name}'] = value
                    has_passed = has_passed and not is_bad
        return Seen(self._meter.measure(frame, scores[0].alignment), measures, has_passed)


@dataclass(frozen=True)
class Outcome:
    """
    What came of one change.

    Parameters
    ----------
    parts : int or None
        Until the alarm; None = none came.
    named : tuple of str
        What was named in the first alarm.
    all_named : int or None
        The part from which on all that must be named was, for 15 parts or to the end; None =
        never.
    wrongly_named : tuple of str
        What was named at any time until then and must not be.
    named_at_end : tuple of str
        What was named then.
    false_rejects : int
        Before the alarm.
    first_false_reject : int or None
        The part; None = there was none.
    text : str
        The first sentence at the alarm.

    """

    parts: int | None
    named: tuple[str, ...]
    all_named: int | None
    wrongly_named: tuple[str, ...]
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
        print(f'a false alarm before the change: {watch.verdict.causes[0].text}', flush=True)
    alarm, named, text, rejected, all_named = None, (), '', [], None
    wrong: set[str] = set()
    count = RAMP_PARTS if is_slow else SUDDEN_PARTS
    for at in range(1, count + 1):
        amount = RAMP_AMOUNT * at / count if is_slow else 1.0
        now_s += 1.0
        change = cause.at(amount, cell.product.scale)
        seen = cell.seen(_FIRST_CHANGED + at, change, is_coarse=cause.is_coarse)
        if not seen.has_passed:
            rejected.append(at)
        verdict = feed(watch, seen, now_s)
        if verdict.causes and alarm is None:
            alarm, text, named = at, verdict.causes[0].text, kinds(verdict.causes)
        wrong |= set(kinds(verdict.causes)) - set(cause.named)
        has_all = set(cause.named) <= set(kinds(verdict.causes))
        all_named = (all_named or at) if has_all else None
        if all_named and at >= all_named + _PARTS_AFTER:
            break
    return Outcome(
        alarm,
        named,
        all_named,
        tuple(sorted(wrong)),
        kinds(watch.verdict.causes),
        sum(alarm is None or at <= alarm for at in rejected),
        rejected[0] if rejected else None,
        text,
    )


def kinds(causes: Any) -> tuple[str, ...]:
    return tuple(cause.kind.name for cause in causes)


def feed(watch: DriftWatch, seen: Seen, now_s: float) -> Any:
    return watch.feed(seen.conditions, seen.measures, has_passed=seen.has_passed, now_s=now_s)


def of_causes(cell: Cell) -> dict[str, Any]:
    """
    Try every cause on one product, at once and slowly, and print the table.

    """
    product = cell.product
    unchanged = [cell.seen(_FIRST_UNCHANGED + at, LineChange()) for at in range(UNCHANGED_PARTS)]
    outcomes: dict[str, Any] = {}
    rows = []
    for name, cause in CAUSES.items():
        if cause.needs_mask and not product.has_mask:
            continue
        both = {'sudden': change_of(cell, unchanged, cause, is_slow=False)}
        if not cause.is_coarse:
            both['slow'] = change_of(cell, unchanged, cause, is_slow=True)
        outcomes[name] = {speed: asdict(outcome) for speed, outcome in both.items()}
        for speed, outcome in both.items():
            rows.append((f'{name}, {speed}', *_row(outcome, cause.named), outcome.text))
    columns = (
        *('cause', 'parts until alarm', 'named in it', 'all named after', 'ever wrong'),
        *('false rejects before', 'first false reject', 'sentence'),
    )
    note = (
        f'After {UNCHANGED_PARTS} unchanged parts. Slow: from nothing to {RAMP_AMOUNT:g} times '
        f'the sudden change within {RAMP_PARTS} parts.'
    )
    print(Table(product.name, columns, rows, note).markdown(), flush=True)
    return outcomes


def _row(outcome: Outcome, wanted: tuple[str, ...]) -> tuple[Any, ...]:
    return (
        outcome.parts,
        _rightness(outcome.named, wanted),
        outcome.all_named,
        ', '.join(outcome.wrongly_named) or 'no',
        outcome.false_rejects,
        outcome.first_false_reject,
    )


def _rightness(named: tuple[str, ...], wanted: tuple[str, ...]) -> str:
    if set(named) == set(wanted):
        return 'right'
    if named and set(named) < set(wanted):
        return f'{len(named)} of {len(wanted)}'
    return f'wrong: {", ".join(named)}' if named else '-'


def summary(outcomes: dict[str, dict[str, Any]], speed: str, title: str) -> Table:
    """
    Lay out each cause over several products: medians, and how often it was named rightly.

    """
    rows = []
    for name, cause in CAUSES.items():
        found = [
            Outcome(**one[name][speed]) for one in outcomes.values() if speed in one.get(name, {})
        ]
        if not found:
            continue
        seen = [one for one in found if one.parts is not None]
        wanted = set(cause.named)
        rows.append(
            (
                *(name, f'{len(seen)} of {len(found)}', _spread(one.parts for one in seen)),
                sum(set(one.named) == wanted for one in seen),
                sum(set(one.named) < wanted for one in seen),
                sum(not set(one.named) <= wanted for one in seen),
                sum(one.all_named is not None for one in seen),
                _spread(one.all_named for one in seen if one.all_named is not None),
                sum(bool(one.wrongly_named) for one in seen),
                _spread(one.false_rejects for one in found),
            )
        )
    columns = (
        *('cause', 'alarms', 'parts until alarm', 'first alarm: right', 'a part of it', 'wrong'),
        *('all named in the end', 'after parts', 'ever wrong', 'false rejects before'),
    )
    note = 'Median (largest) over the products.'
    return Table(title, columns, rows, note)


def _spread(values: Any) -> str:
    numbers: Sequence[int] = sorted(values)
    return f'{statistics.median(numbers):g} ({numbers[-1]})' if numbers else '-'


def unchanged_line(cell: Cell, parts: int) -> dict[str, Any]:
    """
    Count false alarms on a line that does not change.

    """
    alarmed, rejected, duration_s = 0, 0, 0.0
    watch, was = cell.watch(), False
    for at in range(parts):
        seen = cell.seen(_FIRST_LONG + at, LineChange())
        rejected += not seen.has_passed
        began_s = time.process_time()
        verdict = feed(watch, seen, float(at))
        duration_s += time.process_time() - began_s
        if verdict.causes and not was:
            alarmed += 1
            print(f'{cell.product.name}, part {at}: {verdict.causes[0].text}', flush=True)
        was = bool(verdict.causes)
    counted = {
        'line': cell.product.name,
        'parts': parts,
        'rejected': rejected,
        'false_alarms': alarmed,
        'watch_ms_per_part': 1e3 * duration_s / parts,
    }
    print(json.dumps(counted), flush=True)
    return counted


@click.command()
@click.option('--product', 'wanted', multiple=True, help='Only products whose name holds this.')
@click.option(
    '--parts',
    type=click.IntRange(1),
    default=200,
    show_default=True,
    help='Of each unchanged line.',
)
@click.option('--watches', default=200, show_default=True, help='Watches of drawn scores.')
@click.option('--drawn-parts', default=5000, show_default=True, help='Parts of each of them.')
@click.option('--report', type=click.Path(path_type=Path), default=Path('out/benchmarks'))
def main(
    wanted: tuple[str, ...], parts: int, watches: int, drawn_parts: int, report: Path
) -> None:
    """
    Measure the drift watch; prints tables and writes JSON.

    """
    cv2.setNumThreads(1)
    chosen = [
        product for product in products() if not wanted or any(w in product.name for w in wanted)
    ]
    # What was held out tells most.
    chosen.sort(key=lambda product: not product.is_held_out)
    outcomes: dict[str, Any] = {}
    unchanged: list[dict[str, Any]] = []
    content: dict[str, Any] = {
        'benchmark': 'drift',
        'machine': machine(),
        'held_out': [product.name for product in chosen if product.is_held_out],
        'causes': outcomes,
        'unchanged_lines': unchanged,
    }
    report.mkdir(parents=True, exist_ok=True)

    def write() -> None:
        # Each time anew: a run that is broken off leaves what it has measured.
        (report / 'drift.json').write_text(json.dumps(plain(content), indent=2) + '\n')

    for product in chosen:
        cell = Cell(product)
        outcomes[product.name] = of_causes(cell)
        unchanged.append(unchanged_line(cell, parts))
        write()
    for is_held_out, group in ((False, 'products the rules were made on'), (True, 'held out')):
        names = {product.name for product in chosen if product.is_held_out is is_held_out}
        part = {name: outcomes[name] for name in outcomes if name in names}
        for speed in ('sudden', 'slow') if part else ():
            print(summary(part, speed, f'{speed}: {len(part)} {group}').markdown(), flush=True)
    unchanged += [unchanged_line(Cell(product), parts) for product in faulty_lines()]
    write()
    content['false_alarms'] = of_drawn_scores(watches, drawn_parts) if watches else []
    write()
    print(f'Written to {report / "drift.json"}')


def of_drawn_scores(watches: int, parts: int) -> list[dict[str, Any]]:
    """
    Count false alarms among drawn scores, and print the table.

    """
    counted = [
        drawn(watches, parts, taught=taught, kind=kind, correlation=correlation, seed=taught)
        for taught in (20, 40, 100)
        for kind, correlation in (('normal', 0.0), ('skewed', 0.0), ('normal', 0.5))
    ]
    counted += [drawn(watches, parts, taught=40, kind='normal', correlation=0.8, seed=8)]
    counted += [
        drawn_cells(max(1, watches // 20), parts, taught=taught, seed=taught)
        for taught in (20, 40)
    ]
    print(false_alarm_table(counted).markdown(), flush=True)
    return counted


if __name__ == '__main__':
    main()
