# SPDX-License-Identifier: Apache-2.0
"""
Measure how well real defects are found: one fixed procedure for all real sets, compared with
simple methods.

For each set: teach on train/good alone, with limits and settings, then judge test images. A hash
of their names divides them into thirds. A plain run opens only the files of the `dev` third, and
choices may be made by it. `--final` also opens the other two thirds and adds a line to
benchmarks/final_runs.jsonl, so that nobody can look unseen.

"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
import csv
from hashlib import sha256
from pathlib import Path
import sys
import tempfile
import time
from typing import Any, TYPE_CHECKING

import click
import cv2
import numpy as np

from anomaly_inspection.capture.folder_truth import FolderTruth
from anomaly_inspection.capture.image_folder import ImageFolder
from anomaly_inspection.errors import SettingError
from anomaly_inspection.evaluation.evaluate import evaluate_dataset, Evaluation
from anomaly_inspection.evaluation.figures import Estimate, ranking
from anomaly_inspection.evaluation.judged_image import NO_PART
from anomaly_inspection.learning.teach import AUTO, teach, TeachOptions
from benchmarks.accuracy_result import (
    FALSE_REJECT_GOAL,
    Judged,
    mean_balanced_accuracy,
    pooled_false_rejects,
    Product,
    Result,
    SIDE_PX,
)
from benchmarks.accuracy_tables import name_of, tables_of
from benchmarks.charts import intervals
from benchmarks.real_sets import DATASETS, REGIONS
from benchmarks.report import machine, publish
from benchmarks.run_log import logged
from benchmarks.simple_methods import SimpleMethods, small_gray, SSIM_BEST, SSIM_MEAN, Z_MAP

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly_inspection.imaging.region_of_interest import RegionOfInterest

LOG = Path(__file__).with_name('final_runs.jsonl')
# Wide, so that the choice depends less on the load of the machine.
SPEED_BUDGET_MS = 100.0
DEV, FINAL = 'dev', 'final'

PRODUCTS = (
    Product('mvtec_bottle', 0.995, 0.978),
    Product('bottle_line', 0.99, 0.98, REGIONS['bottle_line']),
    Product('dice', 0.999, 0.999, f1_goal=0.95),
    Product('casting', 0.93, 0.788),
    Product('magnetic_tile', 0.90, 0.792),
    Product('deeppcb', 0.99, 0.98),
)


def share_of(name: str) -> str:
    """
    Give the share of a test image, by its path relative to the root of its set.

    """
    return FINAL if int(sha256(name.encode()).hexdigest(), 16) % 3 else DEV


def result_of(
    product: Product, dataset: Path, scorers: Sequence[str], shares: Sequence[str]
) -> Result:
    """
    Teach on a set's good images and judge the wanted shares of its test images.

    Raises
    ------
    SettingError, SourceError
        When the set cannot be read or taught.

    """
    good = frames_of(dataset / 'train' / 'good')
    is_resized = len({frame.shape[:2] for _, frame in good}) > 1
    if is_resized:
        good = [(name, _resized(frame)) for name, frame in good]
    began_s = time.perf_counter()
    recipe = teach(
        good,
        name=product.name,
        classes=_classes(dataset, [name for name, _ in good]),
        options=TeachOptions(
            scorers=scorers or AUTO,
            speed_budget_ms=SPEED_BUDGET_MS,
            false_reject_rate=FALSE_REJECT_GOAL,
            region_of_interest=product.region,
        ),
    )
    teach_s = time.perf_counter() - began_s
    simple = SimpleMethods([small_gray(frame, product.region) for _, frame in good])
    judged = {}
    for share in shares:
        with _test_images(dataset, share, is_resized) as (folder, wanted):
            evaluation = evaluate_dataset(recipe, folder, names=wanted)
            judged[share] = Judged(evaluation, _simple_aurocs(simple, evaluation, product.region))
    return Result(product, recipe, len(good), teach_s, is_resized, judged)


def frames_of(folder: Path) -> list[tuple[str, NDArray[np.uint8]]]:
    """
    Read all images of a folder, with their names.

    """
    frames = []
    with ImageFolder(folder) as source:
        while (frame := source.read()) is not None:
            if frame.image is None:
                raise SettingError(f'{folder / frame.name}: {frame.problem}')
            frames.append((frame.name, frame.image))
    return frames


def _classes(dataset: Path, names: Sequence[str]) -> dict[str, str] | None:
    """
    Give the class of each good image where the set gives all of them, else None.

    """
    truth = FolderTruth((dataset / 'train' / 'good').absolute())
    known = {name: truth.of(name) for name in names}
    classes = {name: one.part_class for name, one in known.items() if one and one.part_class}
    return classes if len(classes) == len(names) else None


def _resized(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(frame, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA))


@contextmanager
def _test_images(
    dataset: Path, share: str, is_resized: bool
) -> Iterator[tuple[Path, Callable[[str], bool] | None]]:
    """
    Give a folder and the test images of a share in it; no other image is opened.

    """

    def wanted(name: str) -> bool:
        return share_of(f'test/{name}') == share

    if not is_resized:
        yield dataset, wanted
        return
    with tempfile.TemporaryDirectory() as scratch:
        _write_resized(dataset / 'test', wanted, Path(scratch))
        yield Path(scratch), None


def _write_resized(test: Path, wanted: Callable[[str], bool], folder: Path) -> None:
    """
    Write the wanted images and their masks in one size, with their labels.

    """
    rows = [('file', 'defect', 'part_present', 'mask')]
    with ImageFolder(test, wanted=wanted) as source:
        while (frame := source.read()) is not None:
            truth = source.truth(frame.name)
            if frame.image is None or truth is None:
                raise SettingError(f'{test / frame.name}: {frame.problem or "nothing is known"}')
            name, mask_name = f'test/{frame.name}.png', ''
            _write(folder / name, _resized(frame.image))
            if truth.mask is not None:
                mask_name = f'ground_truth/{frame.name}.png'
                size = (SIDE_PX, SIDE_PX)
                mask = truth.mask.astype(np.uint8) * 255
                _write(folder / mask_name, cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST))
            rows.append((name, truth.defect, 'yes' if truth.part_present else 'no', mask_name))
    with (folder / 'labels.csv').open('w', newline='') as table:
        csv.writer(table).writerows(rows)


def _write(path: Path, image: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image)


def _simple_aurocs(
    simple: SimpleMethods, evaluation: Evaluation, region: RegionOfInterest | None
) -> dict[str, Estimate | None]:
    names = {image.name for image in evaluation.images if image.true_class != NO_PART}
    scores: dict[str, list[float]] = {way: [] for way in (SSIM_BEST, SSIM_MEAN, Z_MAP)}
    with ImageFolder(evaluation.folder, wanted=names.__contains__) as source:
        while (frame := source.read()) is not None:
            if frame.image is None:
                raise SettingError(f'{evaluation.folder / frame.name}: {frame.problem}')
            for way, score in simple.scores(small_gray(frame.image, region)).items():
                scores[way].append(score)
    is_defect = evaluation.ranked()[0]
    ranked = {way: ranking(is_defect, np.array(values)) for way, values in scores.items()}
    return {way: one and one.image_auroc for way, one in ranked.items()}


def _brief(judged: Judged) -> dict[str, Any]:
    ways = {
        **{key: (key,) for key in ('image_auroc', 'f1_max', 'pixel_auroc', 'aupro')},
        **{
            key: ('at_limits', key)
            for key in ('recall', 'false_reject_rate', 'balanced_accuracy', 'f1')
        },
        'region_f1': ('regions', 'box', 'f1'),
    }
    return {
        'good': judged.rejected(good=True)[1],
        'defect': judged.rejected(good=False)[1],
        **{
            key: [round(number, 4) for number in found]
            for key, way in ways.items()
            if (found := judged.figure(*way)) is not None
        },
    }


def _full(judged: Judged) -> dict[str, Any]:
    figures = judged.evaluation.figures
    return {
        **{key: value for key, value in figures.items() if key not in ('recipe', 'dataset')},
        'simple_methods': judged.simple,
    }


def measure(
    products: Sequence[Product] = PRODUCTS,
    *,
    scorers: Sequence[str] = (),
    final: bool = False,
    datasets: Path = DATASETS,
    folder: Path | None = None,
    log: Path = LOG,
) -> Path:
    """
    Run the benchmark.

    Parameters
    ----------
    products : sequence of Product
        The sets; the report names those that are missing.
    scorers : sequence of str
        The scorers to teach, the same for all sets; none = chosen for each set by its good parts.
    final : bool
        Whether to read the other two thirds as well; this is logged.
    datasets : Path
        Where the sets are.
    folder : Path, optional
        Where the report goes.
    log : Path
        Of the final runs.

    Returns
    -------
    Path
        The folder of the report.

    Raises
    ------
    SettingError
        When all sets are missing, or a final run cannot be logged.

    """
    before = machine()
    cv2.setNumThreads(1)
    present = [product for product in products if (datasets / product.name).is_dir()]
    if not present:
        raise SettingError(f'none of {", ".join(one.name for one in products)} is in {datasets}')
    shares = (DEV, FINAL) if final else (DEV,)
    settings = {
        'scorers': list(scorers) or [AUTO],
        'speed_budget_ms': SPEED_BUDGET_MS,
        'false_reject_rate': FALSE_REJECT_GOAL,
        'sets': [product.name for product in present],
    }
    results: list[Result] = []
    with logged(log, settings, lambda: _brief_figures(results)) if final else _unlogged():
        for product in present:
            result = result_of(product, datasets / product.name, scorers, shares)
            results.append(result)
            print(f'{product.name}: taught in {result.teach_s:.0f} s', file=sys.stderr)
    absent = [product.name for product in products if product not in present]
    return publish(
        'accuracy',
        _introduction(scorers, absent, final=final),
        tables_of(results, shares),
        plot=intervals(
            'Image AUROC with its 95 % interval (line: the goal)',
            {name_of(result): _aurocs(result) for result in results},
            goals={name_of(result): result.product.auroc_goal for result in results},
            axis_title='image AUROC',
            low=0.4,
            high=1.0,
        ),
        figures={
            'settings': settings,
            'sets': {result.product.name: _figures_of(result) for result in results},
            'all_sets': {
                share: {
                    'false_reject_rate': pooled_false_rejects(judged),
                    'balanced_accuracy': mean_balanced_accuracy(judged),
                }
                for share in shares
                for judged in [[result.shares[share] for result in results]]
            },
        },
        before=before,
        folder=folder,
    )


def _introduction(scorers: Sequence[str], absent: Sequence[str], *, final: bool) -> str:
    with_scorers = (
        f'the scorers {", ".join(scorers)}' if scorers else 'scorers chosen by synthetic defects'
    )
    text = (
        f'Taught on train/good alone, limits and settings included, with {with_scorers} for a '
        f'false-reject rate of {FALSE_REJECT_GOAL:g}. '
    )
    if final:
        text += (
            'dev: the third of the test images, by a hash of their names, that choices may use. '
            'final: the other two thirds, which no choice has seen; every look at them is in '
            'benchmarks/final_runs.jsonl.'
        )
    else:
        text += (
            'Judged on the dev third of the test images, by a hash of their names; no other file '
            'was opened.'
        )
    if absent:
        text += f' Missing in ../shared/datasets: {", ".join(absent)}.'
    return text


def _aurocs(result: Result) -> dict[str, Estimate | None]:
    ours = {
        f'ours, {share}': judged.figure('image_auroc') for share, judged in result.shares.items()
    }
    last = list(result.shares.values())[-1]
    return ours | last.simple


def _figures_of(result: Result) -> dict[str, Any]:
    return {
        'goal': result.product.auroc_goal,
        'resized': result.resized,
        'taught_images': result.taught_images,
        'teach_s': result.teach_s,
        'scorers': {name: part.settings for name, part in result.recipe.scorers.items()},
        'choice': result.recipe.provenance.choice,
        'alignment': result.recipe.preprocessing.alignment.kind,
        **{share: _full(judged) for share, judged in result.shares.items()},
    }


@contextmanager
def _unlogged() -> Iterator[None]:
    yield


def _brief_figures(results: Sequence[Result]) -> dict[str, Any]:
    return {
        result.product.name: {share: _brief(one) for share, one in result.shares.items()}
        for result in results
    }


@click.command()
@click.argument('sets', nargs=-1)
@click.option(
    '--scorer',
    'scorers',
    multiple=True,
    help='May be given several times. Default: chosen for each set by synthetic defects on its '
    'good parts, as teach --scorer auto does.',
)
@click.option('--final', is_flag=True, help='Read the final two thirds too; this is logged.')
def main(sets: tuple[str, ...], scorers: tuple[str, ...], final: bool) -> None:
    """
    Measure how well the defects of real sets are found; all of SETS by default.
    """
    known = {product.name: product for product in PRODUCTS}
    for name in sets:
        if name not in known:
            raise click.BadParameter(f'there is no set {name}; there are: {", ".join(known)}')
    measure([known[name] for name in sets or known], scorers=scorers, final=final)


if __name__ == '__main__':
    main()
