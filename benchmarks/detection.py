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
from dataclasses import asdict, replace
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

from anomaly_inspection.capture.simulated_line import (
    render_part,
    SimulatedLineSettings,
)
from anomaly_inspection.deciding.frame_judge import Combination, judge, Verdict
from anomaly_inspection.deciding.limits import LimitTable
from anomaly_inspection.evaluation.run_summary import (
    summarise,
)
from anomaly_inspection.learning.teach import teach, TeachOptions
from anomaly_inspection.recipes.folder import read_recipe, write_recipe
from anomaly_inspection.recipes.limit_table import limit_table
from anomaly_inspection.scoring.frame_scorer import ScoreStatus
from anomaly_inspection.scoring.ssim import SsimReference
from benchmarks.detection_result import (
    COMBINED,
    CONTRASTS_LEVELS,
    DEFECTIVE,
    DEFECTIVE_PARTS,
    DIAMETERS_PX,
    GOOD,
    GOOD_PARTS,
    JudgedPart,
    PLAIN,
    TAUGHT,
    TAUGHT_PARTS,
)
from benchmarks.detection_tables import figures_of, heat_maps_of, tables_of
from benchmarks.report import machine, publish, RESULTS, ROOT, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from anomaly_inspection.recipes.recipe import Recipe


_CHUNK = 20


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
    recipe = write_recipe(
        teach(
            frames,
            name='bench',
            product='pump body (simulated)',
            options=TeachOptions(scorers=('ssim', 'variation')),
        ),
        folder,
    )
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
    tables = tables_of(good, defective, ways)
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
        'ways': figures_of(good, defective, ways),
    }
    if through_the_cell:
        table, figures['through_the_cell'] = _through_the_cell(
            recipe_folder, good, defective, through_the_cell
        )
        tables.insert(1, table)
    published = publish(
        'detection',
        f'Simulated line at {GOOD.width_px}x{GOOD.height_px}: a recipe of {taught} good parts '
        f'(seed {TAUGHT.seed}) judges {len(good)} good parts (seed {GOOD.seed}) and '
        f'{len(defective)} defective ones (seed {DEFECTIVE.seed}; diameter 3 to 40 px and '
        'contrast 8 to 80 levels, both log-uniform). Limits are as taught, from good parts alone.',
        tables,
        plot=heat_maps_of(defective, ways),
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
