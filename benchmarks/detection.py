# SPDX-License-Identifier: Apache-2.0
"""
Measure which defects are found, on a fixed set of the simulated line that is declared here before
anything is scored.

A recipe is taught on 80 good parts of one seed. It judges good parts of a second seed and
defective parts of a third, by each scorer's own limits and by all limits together. The baseline is
plain SSIM to one picture, not aligned, with the lowest value of the taught parts as its limit.

"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
import json
import math
import multiprocessing
from pathlib import Path
import shutil
import tempfile
import threading
from typing import Any, TYPE_CHECKING

import click
import cv2
import numpy as np

from anomaly_inspection.capture.simulated_defects import MISSING_BORE
from anomaly_inspection.capture.simulated_line import (
    render_part,
    SimulatedLineSettings,
)
from anomaly_inspection.deciding.frame_judge import Combination, judge, Verdict
from anomaly_inspection.deciding.limits import LimitTable
from anomaly_inspection.evaluation.figures import proportion
from anomaly_inspection.evaluation.run_summary import (
    LARGE_CONTRAST_LEVELS,
    LARGE_DIAMETER_PX,
    summarise,
)
from anomaly_inspection.learning.teach import teach
from anomaly_inspection.recipes.folder import read_recipe, write_recipe
from anomaly_inspection.recipes.limit_table import limit_table
from anomaly_inspection.scoring.frame_scorer import ScoreStatus
from anomaly_inspection.scoring.ssim import SsimReference
from benchmarks.charts import heat_maps
from benchmarks.report import machine, publish, RESULTS, ROOT, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from anomaly_inspection.evaluation.figures import Estimate
    from anomaly_inspection.recipes.recipe import Recipe

# The bench. Any change here makes it another bench, whose figures cannot be compared with older
# ones.
TAUGHT = SimulatedLineSettings(seed=1001, defect_rate=0.0)
GOOD = SimulatedLineSettings(seed=2002, defect_rate=0.0)
DEFECTIVE = SimulatedLineSettings(
    seed=3003, defect_rate=1.0, diameter_px=(3.0, 40.0), contrast_levels=(8.0, 80.0)
)
TAUGHT_PARTS, GOOD_PARTS, DEFECTIVE_PARTS = 80, 1000, 1200
DIAMETERS_PX = (3, 5, 8, 12, 20, 40)
CONTRASTS_LEVELS = (8, 15, 30, 50, 80)

COMBINED, PLAIN = 'combined', 'plain SSIM'
_CHUNK = 20


@dataclass(frozen=True)
class JudgedPart:
    """
    One judged part of the bench.

    Parameters
    ----------
    index : int
        Which part of its line.
    defect : str
        Kind of defect, or 'good'.
    diameter_px, contrast_levels : float
        Of the defect; NaN for a good part.
    rejected : dict of str to bool
        By scorer, 'combined' and 'plain SSIM'.
    grounds : str
        Why 'combined' rejected it: the exceeded limits, or the status; '' = passed.

    """

    index: int
    defect: str
    diameter_px: float
    contrast_levels: float
    rejected: dict[str, bool]
    grounds: str

    @property
    def is_large(self) -> bool:
        """
        Tell whether its defect must be found.

        """
        return (
            self.diameter_px >= LARGE_DIAMETER_PX and self.contrast_levels >= LARGE_CONTRAST_LEVELS
        )


class _Bench:
    """
    Judges parts; made once in each process.

    """

    def __init__(self, recipe: Recipe, plain_limit: float) -> None:
        self._frame_scorer = recipe.frame_scorer()
        self._limits = limit_table(recipe)
        self._reference = _gray(recipe.references[0])
        self._plain_limit = plain_limit

    def judge(self, settings: SimulatedLineSettings, index: int) -> JudgedPart:
        part = render_part(settings, index)
        scores = self._frame_scorer.score(part.image)
        measures = {score.scorer: score.measures for score in scores}
        rejected = {}
        for scorer in self._limits.scorers:
            own = LimitTable(tuple(limit for limit in self._limits if limit.scorer == scorer))
            rejected[scorer] = judge(measures, own, Combination.ANY).verdict is Verdict.REJECT
        judgement = judge(measures, self._limits, Combination.ANY)
        rejected[COMBINED] = judgement.verdict is Verdict.REJECT
        rejected[PLAIN] = plain_ssim(part.image, self._reference) < self._plain_limit
        failed = [score.status.name for score in scores if score.status is not ScoreStatus.OK]
        exceeded = [
            limit.name
            for limit in self._limits
            if not failed and limit.is_exceeded_by(measures[limit.scorer][limit.measure])
        ]
        return JudgedPart(
            index=index,
            defect=part.truth.defect,
            diameter_px=part.truth.diameter_px,
            contrast_levels=part.truth.contrast_levels,
            rejected=rejected,
            grounds=failed[0] if failed else ', '.join(exceeded),
        )


_bench: _Bench


def _start_worker(recipe: Path, plain_limit: float) -> None:
    global _bench
    cv2.setNumThreads(1)
    _bench = _Bench(read_recipe(recipe), plain_limit)


def _judge_chunk(settings: SimulatedLineSettings, indices: Sequence[int]) -> list[JudgedPart]:
    return [_bench.judge(settings, index) for index in indices]


def _gray(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)


def plain_ssim(image: NDArray[np.uint8], reference: NDArray[np.uint8]) -> float:
    """
    Give the mean SSIM of a frame, as it lies, to one gray picture.

    """
    first, second = SsimReference.of(_gray(image)), SsimReference.of(reference)
    return float(first.similarity_map(second).mean())


def taught_recipe(folder: Path, parts: int = TAUGHT_PARTS) -> tuple[Recipe, float]:
    """
    Teach the recipe of the bench into a new folder.

    Returns
    -------
    tuple of Recipe and float
        The recipe, and the limit of plain SSIM.

    """
    frames = [render_part(TAUGHT, index).image for index in range(parts)]
    recipe = write_recipe(teach(frames, name='bench', product='pump body (simulated)'), folder)
    reference = _gray(recipe.references[0])
    others = [frame for frame in frames if not np.array_equal(frame, recipe.references[0])]
    return recipe, min(plain_ssim(frame, reference) for frame in others)


def judged_parts(
    recipe: Path, plain_limit: float, good: int, defective: int, processes: int
) -> tuple[list[JudgedPart], list[JudgedPart]]:
    """
    Judge the first good and defective parts of the bench.

    """
    spawn = multiprocessing.get_context('spawn')
    with ProcessPoolExecutor(
        processes, mp_context=spawn, initializer=_start_worker, initargs=(recipe, plain_limit)
    ) as pool:
        waiting = [
            [
                pool.submit(_judge_chunk, settings, range(start, min(start + _CHUNK, count)))
                for start in range(0, count, _CHUNK)
            ]
            for settings, count in ((GOOD, good), (DEFECTIVE, defective))
        ]
        good_parts, defective_parts = (
            [part for future in futures for part in future.result()] for futures in waiting
        )
    return good_parts, defective_parts


def _bin(value: float, edges: Sequence[int]) -> int:
    """
    Give the cell of a value. The true value is measured and may be slightly outside the range.

    """
    return min(max(int(np.searchsorted(edges, value, 'right')) - 1, 0), len(edges) - 2)


def _cells(parts: Sequence[JudgedPart], way: str) -> list[list[Estimate | None]]:
    shape = (len(CONTRASTS_LEVELS) - 1, len(DIAMETERS_PX) - 1)
    found, total = np.zeros(shape, int), np.zeros(shape, int)
    for part in parts:
        cell = (
            _bin(part.contrast_levels, CONTRASTS_LEVELS),
            _bin(part.diameter_px, DIAMETERS_PX),
        )
        total[cell] += 1
        found[cell] += part.rejected[way]
    return [
        [
            proportion(int(found[row, column]), int(total[row, column]))
            for column in range(shape[1])
        ]
        for row in range(shape[0])
    ]


def _rate(parts: Sequence[JudgedPart], way: str) -> Estimate | None:
    return proportion(sum(part.rejected[way] for part in parts), len(parts))


def _percent(rate: Estimate | None) -> str:
    if rate is None:
        return '-'
    return f'{100 * rate.value:.1f} % ({100 * rate.low:.1f}..{100 * rate.high:.1f})'


def _ranges(edges: Sequence[int]) -> list[str]:
    return [f'{low}-{high}' for low, high in pairwise(edges)]


def _tables(
    good: Sequence[JudgedPart], defective: Sequence[JudgedPart], ways: Sequence[str]
) -> list[Table]:
    large = [part for part in defective if part.is_large]
    missed = [part for part in large if not part.rejected[COMBINED]]
    rejected = [part for part in good if part.rejected[COMBINED]]
    return [
        _summary(good, defective, ways),
        *(_by_contrast_and_diameter(defective, way) for way in ways),
        _by_kind(defective, ways),
        *([_parts('Large defects that passed', missed)] if missed else []),
        *([_parts('Good parts that were rejected', rejected)] if rejected else []),
    ]


def _summary(
    good: Sequence[JudgedPart], defective: Sequence[JudgedPart], ways: Sequence[str]
) -> Table:
    large = [part for part in defective if part.is_large]
    drawn = [part for part in large if part.defect != MISSING_BORE]
    return Table(
        f'Found of {len(defective)} defective parts, rejected of {len(good)} good ones',
        (
            'judged by',
            f'>= {LARGE_DIAMETER_PX:g} px and >= {LARGE_CONTRAST_LEVELS:g} levels ({len(large)})',
            f'of these no missing bore ({len(drawn)})',
            'all defects',
            'good parts rejected',
        ),
        [
            (way, *(_percent(_rate(parts, way)) for parts in (large, drawn, defective, good)))
            for way in ways
        ],
        'In brackets the exact 95 % interval. "combined": any limit of any scorer rejects.',
    )


def _by_contrast_and_diameter(defective: Sequence[JudgedPart], way: str) -> Table:
    labels = reversed(_ranges(CONTRASTS_LEVELS))
    rows = [
        (
            f'{label} levels',
            *('-' if rate is None else f'{100 * rate.value:.0f} %' for rate in row),
        )
        for label, row in zip(labels, reversed(_cells(defective, way)), strict=True)
    ]
    diameters = tuple(f'{label} px' for label in _ranges(DIAMETERS_PX))
    return Table(f'Found by contrast and diameter, {way}', ('', *diameters), rows)


def _by_kind(defective: Sequence[JudgedPart], ways: Sequence[str]) -> Table:
    rows = []
    for kind in sorted({part.defect for part in defective}):
        of_kind = [part for part in defective if part.defect == kind]
        large = [part for part in of_kind if part.is_large]
        rates = (_percent(_rate(large, way)) for way in ways)
        rows.append((kind, len(of_kind), len(large), *rates))
    return Table(
        f'Found by kind, >= {LARGE_DIAMETER_PX:g} px and >= {LARGE_CONTRAST_LEVELS:g} levels',
        ('kind', 'parts', 'so large', *ways),
        rows,
        'A missing bore has the size and contrast of a bore, whatever the ranges say.',
    )


def _parts(title: str, parts: Sequence[JudgedPart]) -> Table:
    return Table(
        title,
        ('part', 'kind', 'diameter / px', 'contrast / levels', 'beyond its limit'),
        [
            (
                part.index,
                part.defect,
                part.diameter_px,
                part.contrast_levels,
                part.grounds or 'none',
            )
            for part in parts
        ],
    )


def _through_the_cell(
    recipe: Path, good: Sequence[JudgedPart], defective: Sequence[JudgedPart], count: int
) -> tuple[Table, dict[str, Any]]:
    """
    Send parts of the bench, good and defective in turn, through the cell and look at the gate.

    """
    from anomaly_inspection.capture.image_folder import ImageFolder
    from anomaly_inspection.nodes.cell_run import run_cell

    expected: dict[str, bool] = {}
    with tempfile.TemporaryDirectory() as scratch:
        dataset = Path(scratch)
        (dataset / 'train' / 'good').mkdir(parents=True)
        chosen = [
            (settings, part)
            for pair in zip(good, defective, strict=False)
            for settings, part in zip((GOOD, DEFECTIVE), pair, strict=True)
        ][:count]
        for place, (settings, part) in enumerate(chosen):
            name = f'{part.defect}/{place:06d}.png'
            path = dataset / 'test' / name
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), render_part(settings, part.index).image)
            expected[name] = part.rejected[COMBINED]
        with ImageFolder(dataset / 'test') as source:
            result = run_cell(
                recipe,
                source,
                str(dataset / 'test'),
                rate_hz=5.0,
                parameter_file=ROOT / 'config' / 'cell.yaml',
                interrupted=threading.Event(),
                part_done=lambda record: None,
            )
    summary = summarise(result.records, result.duration_s)
    as_judged = sum(
        (record.verdict == 'REJECT') == expected[record.name]
        for record in result.records
        if record.name and record.verdict
    )
    figures = {
        'parts': len(chosen),
        'verdict_as_in_the_bench': as_judged,
        'line_stops': result.line_stop_reasons,
        **{key: summary[key] for key in ('lost', 'gate_not_followed', 'gate_not_confirmed')},
    }
    rows = [(key.replace('_', ' '), str(value)) for key, value in figures.items()]
    return Table('Through the cell: camera, scorers, decider, sorter and gate', ('', ''), rows), (
        figures
    )


def measure(
    parts: int,
    *,
    taught: int = TAUGHT_PARTS,
    processes: int = 2,
    through_the_cell: int = 0,
    folder: Path | None = None,
) -> Path:
    """
    Run the bench.

    Parameters
    ----------
    parts : int
        How many defective parts; good ones in proportion.
    taught : int
        How many parts the recipe is taught on.
    processes : int
        Number of processes, with one thread each.
    through_the_cell : int
        Number of parts that also go through the cell; 0 = none.
    folder : Path, optional
        Where the report goes.

    Returns
    -------
    Path
        The folder of the report.

    """
    before = machine()
    cv2.setNumThreads(1)
    folder = folder or RESULTS / 'detection'
    recipe_folder = folder / 'recipe'
    # Otherwise the older recipe would be kept beside the new one.
    shutil.rmtree(recipe_folder, ignore_errors=True)
    recipe, plain_limit = taught_recipe(recipe_folder, taught)
    good_count = math.ceil(parts * GOOD_PARTS / DEFECTIVE_PARTS)
    good, defective = judged_parts(recipe_folder, plain_limit, good_count, parts, processes)
    ways = (*recipe.scorers, COMBINED, PLAIN)
    tables = _tables(good, defective, ways)
    figures: dict[str, Any] = {
        'taught_parts': taught,
        'alignment': recipe.preprocessing.alignment.kind,
        'colour': recipe.preprocessing.colour,
        'bench': {
            'taught': asdict(TAUGHT),
            'good': asdict(replace(GOOD, parts=len(good))),
            'defective': asdict(replace(DEFECTIVE, parts=len(defective))),
        },
        'diameters_px': DIAMETERS_PX,
        'contrasts_levels': CONTRASTS_LEVELS,
        'ways': {
            way: {
                'found_large': _rate([part for part in defective if part.is_large], way),
                'found': _rate(defective, way),
                'false_reject_rate': _rate(good, way),
                'found_by_contrast_and_diameter': _cells(defective, way),
            }
            for way in ways
        },
    }
    if through_the_cell:
        table, figures['through_the_cell'] = _through_the_cell(
            recipe_folder, good, defective, through_the_cell
        )
        tables.insert(1, table)
    nan = float('nan')
    plot = heat_maps(
        'Share of defects found, by contrast and diameter',
        {
            way: [[rate.value if rate else nan for rate in row] for row in _cells(defective, way)]
            for way in ways
        },
        columns=_ranges(DIAMETERS_PX),
        rows=_ranges(CONTRASTS_LEVELS),
        column_title='diameter / px',
        row_title='contrast / gray levels',
    )
    published = publish(
        'detection',
        f'Simulated line at {GOOD.width_px}x{GOOD.height_px}: a recipe of {taught} good parts '
        f'(seed {TAUGHT.seed}) judges {len(good)} good parts (seed {GOOD.seed}) and '
        f'{len(defective)} defective ones (seed {DEFECTIVE.seed}; diameter 3 to 40 px and '
        'contrast 8 to 80 levels, both log-uniform). Limits are as taught, from good parts alone.',
        tables,
        plot=plot,
        figures=figures,
        before=before,
        folder=folder,
    )
    with (folder / 'parts.jsonl').open('w') as file:
        for part in (*good, *defective):
            file.write(json.dumps(asdict(part)).replace('NaN', 'null') + '\n')
    return published


@click.command()
@click.option(
    '--parts',
    type=click.IntRange(2),
    default=DEFECTIVE_PARTS,
    show_default=True,
    help='Number of defective parts; good ones in proportion. The bench uses the default.',
)
@click.option(
    '--through-the-cell',
    type=click.IntRange(0, GOOD_PARTS * 2),
    default=0,
    show_default=True,
    help='Send this many of the parts through the cell as well (needs ROS), to check the gate.',
)
@click.option('--processes', type=click.IntRange(1), default=2, show_default=True)
def main(parts: int, through_the_cell: int, processes: int) -> None:
    """
    Measure which defects of the simulated line are found.
    """
    measure(parts, processes=processes, through_the_cell=through_the_cell)


if __name__ == '__main__':
    main()
