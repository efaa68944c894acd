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

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
import csv
from dataclasses import dataclass
from datetime import datetime, UTC
from hashlib import sha256
import json
from pathlib import Path
import subprocess
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
from anomaly_inspection.evaluation.evaluate import evaluate_dataset, Evaluation, NO_PART
from anomaly_inspection.evaluation.figures import Estimate, proportion, ranking
from anomaly_inspection.learning.teach import AUTO, teach, TeachOptions
from benchmarks.charts import intervals
from benchmarks.real_sets import DATASETS, REGIONS
from benchmarks.report import machine, publish, ROOT, Table
from benchmarks.simple_methods import SimpleMethods, small_gray, SSIM_BEST, SSIM_MEAN, Z_MAP

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly_inspection.imaging.region_of_interest import RegionOfInterest
    from anomaly_inspection.recipes.recipe import Recipe

LOG = Path(__file__).with_name('final_runs.jsonl')
DEV, FINAL = 'dev', 'final'
# Wide, so that the choice depends less on the load of the machine.
SPEED_BUDGET_MS = 100.0
# Limits are derived for the rate that is the goal.
BALANCED_ACCURACY_GOAL, FALSE_REJECT_GOAL = 0.90, 0.03
# Sets whose images differ in size are resized to this.
SIDE_PX = 256

_DRAWS, _SEED = 10_000, 1


@dataclass(frozen=True)
class Product:
    """
    One set and its goals.

    Parameters
    ----------
    name : str
        Its folder.
    auroc_goal : float
        Wanted image AUROC.
    simple_auroc : float
        AUROC of the best simple method when the goals were set, on all test images.
    region : RegionOfInterest, optional
        The region that is judged, where the set says that only one part of the picture counts.
    f1_goal : float, optional
        Wanted best F1, the defective parts being the positive ones.

    """

    name: str
    auroc_goal: float
    simple_auroc: float
    region: RegionOfInterest | None = None
    f1_goal: float | None = None


PRODUCTS = (
    Product('mvtec_bottle', 0.995, 0.978),
    Product('bottle_line', 0.99, 0.98, REGIONS['bottle_line']),
    Product('dice', 0.999, 0.999, f1_goal=0.95),
    Product('casting', 0.93, 0.788),
    Product('magnetic_tile', 0.90, 0.792),
    Product('deeppcb', 0.99, 0.98),
)


@dataclass(frozen=True, eq=False)
class Judged:
    """
    One judged share of a set's test images.

    Parameters
    ----------
    evaluation : Evaluation
        Ours.
    simple : dict of str to Estimate or None
        Image AUROC of the simple methods on the same images.

    """

    evaluation: Evaluation
    simple: dict[str, Estimate | None]

    def figure(self, *way: str) -> Estimate | None:
        """
        Give one of our figures with its interval, or None where it is undefined.

        """
        value: Any = self.evaluation.figures
        interval: Any = value['interval']
        for key in way:
            if value is None:
                return None
            value, interval = value[key], interval[key]
        return None if value is None else Estimate(value, *interval)

    def rejected(self, *, good: bool) -> tuple[int, int]:
        """
        Give the number of good or defective parts that were rejected, and their total.

        """
        verdicts = [
            image.is_rejected
            for image in self.evaluation.images
            if image.true_class != NO_PART and (image.true_class == 'good') == good
        ]
        return sum(verdicts), len(verdicts)


@dataclass(frozen=True, eq=False)
class Result:
    """
    The result of one set.

    Parameters
    ----------
    product : Product
        The set.
    recipe : Recipe
        As taught; not on disk.
    taught_images, teach_s : int, float
        Number of good images, and the time of teaching.
    resized : bool
        Whether its images were resized.
    shares : dict of str to Judged
        By 'dev' and, in a final run, 'final'.

    """

    product: Product
    recipe: Recipe
    taught_images: int
    teach_s: float
    resized: bool
    shares: dict[str, Judged]


def share_of(name: str) -> str:
    """
    Give the share of a test image, by its path relative to the root of its set.

    """
    return FINAL if int(sha256(name.encode()).hexdigest(), 16) % 3 else DEV


# ------------------------------------------------------------------------------------- one set


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


# ------------------------------------------------------------------------------------ all sets


def mean_balanced_accuracy(judged: Sequence[Judged]) -> Estimate:
    """
    Give the mean over sets of the balanced accuracy, each set with its own draws of images.

    """
    generator = np.random.default_rng(_SEED)
    values, draws = [], []
    for one in judged:
        shares = [one.rejected(good=False), one.rejected(good=True)]
        recall, false_rejects = (
            (count / total, generator.binomial(total, count / total, _DRAWS) / total)
            for count, total in shares
        )
        values.append((recall[0] + 1 - false_rejects[0]) / 2)
        draws.append((recall[1] + 1 - false_rejects[1]) / 2)
    low, high = np.percentile(np.mean(draws, axis=0), (2.5, 97.5))
    return Estimate(float(np.mean(values)), float(low), float(high))


def pooled_false_rejects(judged: Sequence[Judged]) -> Estimate | None:
    """
    Give the share of all sets' good test images that was rejected.

    """
    counts = np.array([one.rejected(good=True) for one in judged]).sum(axis=0)
    return proportion(int(counts[0]), int(counts[1]))


def _tables(results: Sequence[Result], shares: Sequence[str]) -> list[Table]:
    last = shares[-1]
    several = [f', {share}' for share in shares]
    dash = ('-',) * len(shares)

    def each(result: Result, *way: str) -> tuple[str, ...]:
        return tuple(_text(result.shares[share].figure(*way)) for share in shares)

    pooled = [[result.shares[share] for result in results] for share in shares]
    false_rejects = [pooled_false_rejects(judged) for judged in pooled]
    balanced = [mean_balanced_accuracy(judged) for judged in pooled]
    tables = [
        Table(
            'Image AUROC',
            (
                'set',
                *(f'good / defect{one}' for one in several),
                *(f'AUROC{one}' for one in several),
                'goal',
                f'met ({last})',
                'best simple method known',
            ),
            [
                (
                    _name(result),
                    *(_counts(result.shares[share]) for share in shares),
                    *each(result, 'image_auroc'),
                    result.product.auroc_goal,
                    _met(result.shares[last].figure('image_auroc'), result.product.auroc_goal),
                    f'{result.product.simple_auroc:.3f}',
                )
                for result in results
            ],
            'In brackets the 95 % interval (bootstrap over images, good and defective drawn '
            'apart); a goal is met when the interval reaches it. The best simple method known '
            'was measured on all test images when the goals were set.'
            + (
                f' *: images of more than one size, all resized to {SIDE_PX}x{SIDE_PX} '
                '(area averaging; masks: nearest pixel).'
                if any(result.resized for result in results)
                else ''
            ),
        ),
        Table(
            f'Simple methods on the same images, AUROC ({last})',
            ('set', 'ours', SSIM_BEST, SSIM_MEAN, Z_MAP),
            [
                (
                    _name(result),
                    _text(result.shares[last].figure('image_auroc')),
                    *(_text(one) for one in result.shares[last].simple.values()),
                )
                for result in results
            ],
            'Gray, 256x256, not aligned; the region of interest where ours has one. z map: '
            'largest 7x7 mean of |image - mean| / (deviation + 8).',
        ),
        Table(
            'At the limits chosen from good parts alone',
            (
                'set',
                *(f'recall{one}' for one in several),
                *(f'false rejects{one}' for one in several),
                *(f'balanced accuracy{one}' for one in several),
            ),
            [
                *(
                    (
                        _name(result),
                        *each(result, 'at_limits', 'recall'),
                        *each(result, 'at_limits', 'false_reject_rate'),
                        *each(result, 'at_limits', 'balanced_accuracy'),
                    )
                    for result in results
                ),
                ('all sets', *dash, *map(_text, false_rejects), *map(_text, balanced)),
                (
                    'goal',
                    *dash,
                    *(
                        _goal(f'<= {FALSE_REJECT_GOAL:g}', one and one.low <= FALSE_REJECT_GOAL)
                        for one in false_rejects
                    ),
                    *(
                        _goal(f'>= {BALANCED_ACCURACY_GOAL:g}', one.high >= BALANCED_ACCURACY_GOAL)
                        for one in balanced
                    ),
                ),
            ],
            'All sets: false rejects over all their good test images together, and the mean of '
            'their balanced accuracies.',
        ),
        Table(
            'F1, the defective parts being the positive ones',
            (
                'set',
                *(f'best{one}' for one in several),
                *(f'at its own limits{one}' for one in several),
                'goal',
                f'met ({last})',
            ),
            [
                (
                    _name(result),
                    *each(result, 'f1_max'),
                    *each(result, 'at_limits', 'f1'),
                    result.product.f1_goal,
                    *(
                        ('-',)
                        if result.product.f1_goal is None
                        else (_met(result.shares[last].figure('f1_max'), result.product.f1_goal),)
                    ),
                )
                for result in results
            ],
            'Says little where most images show a defect: rejecting everything gives '
            '2p / (1 + p) at a share p of defects.',
        ),
    ]
    located = [one for one in results if one.shares[last].figure('pixel_auroc') is not None]
    if located:
        tables.append(
            Table(
                'Where the defects are',
                (
                    'set',
                    *(
                        f'{what}{one}'
                        for what in ('pixel AUROC', 'AUPRO', 'region F1', 'by pixels', 'IoU')
                        for one in several
                    ),
                ),
                [
                    (
                        _name(result),
                        *each(result, 'pixel_auroc'),
                        *each(result, 'aupro'),
                        *each(result, 'regions', 'box', 'f1'),
                        *each(result, 'regions', 'mask', 'f1'),
                        *each(result, 'regions', 'union_mask', 'median_iou'),
                    )
                    for result in located
                ],
                'Region F1: all regions found against all of the mask, boxes matched one to one '
                'at an IoU of 0.33; by pixels: matched by the IoU of their pixels. IoU: median '
                'over the images with a defect of all pixels found with all marked.',
            )
        )
    told_apart = [one for one in results if one.shares[last].figure('class_accuracy') is not None]
    if told_apart:
        tables.append(
            Table(
                'Good parts whose class was recognised',
                ('set', *(f'right{one}' for one in several)),
                [(_name(result), *each(result, 'class_accuracy')) for result in told_apart],
            )
        )
    tables.append(
        Table(
            'What it took',
            ('set', 'good images', 'scorers', 'alignment', 'light', 'teach / s', 'image / ms'),
            [
                (
                    _name(result),
                    result.taught_images,
                    ', '.join(result.recipe.scorers),
                    result.recipe.preprocessing.alignment.kind,
                    result.recipe.preprocessing.light,
                    f'{result.teach_s:.1f}',
                    result.shares[last].evaluation.figures['ms_per_image']['p50'],
                )
                for result in results
            ],
            'Teaching includes the held-out parts that the limits come from. An image: median, '
            'scored and judged. One thread of OpenCV.',
        )
    )
    return tables


def _name(result: Result) -> str:
    return result.product.name + ('*' if result.resized else '')


def _counts(judged: Judged) -> str:
    return f'{judged.rejected(good=True)[1]} / {judged.rejected(good=False)[1]}'


def _text(one: Estimate | None) -> str:
    return '-' if one is None else f'{one.value:.3f} ({one.low:.3f}..{one.high:.3f})'


def _met(one: Estimate | None, goal: float) -> str:
    return '-' if one is None else 'yes' if one.high >= goal else 'no'


def _goal(text: str, is_met: bool | None) -> str:
    return f'{text}: {"met" if is_met else "missed"}'


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
    with logged(log, settings, lambda: _figures(results)) if final else _unlogged():
        for product in present:
            result = result_of(product, datasets / product.name, scorers, shares)
            results.append(result)
            print(f'{product.name}: taught in {result.teach_s:.0f} s', file=sys.stderr)
    absent = [product.name for product in products if product not in present]
    return publish(
        'accuracy',
        'Taught on train/good alone, limits and settings included, with '
        + (
            f'the scorers {", ".join(scorers)}'
            if scorers
            else 'scorers chosen by synthetic defects'
        )
        + f' for a false-reject rate of {FALSE_REJECT_GOAL:g}. '
        + (
            'dev: the third of the test images, by a hash of their names, that choices may use. '
            'final: the other two thirds, which no choice has seen; every look at them is in '
            'benchmarks/final_runs.jsonl.'
            if final
            else 'Judged on the dev third of the test images, by a hash of their names; no other '
            'file was opened.'
        )
        + (f' Missing in ../shared/datasets: {", ".join(absent)}.' if absent else ''),
        _tables(results, shares),
        plot=intervals(
            'Image AUROC with its 95 % interval (line: the goal)',
            {
                _name(result): {
                    **{
                        f'ours, {share}': judged.figure('image_auroc')
                        for share, judged in result.shares.items()
                    },
                    **result.shares[shares[-1]].simple,
                }
                for result in results
            },
            goals={_name(result): result.product.auroc_goal for result in results},
            axis_title='image AUROC',
            low=0.4,
            high=1.0,
        ),
        figures={
            'settings': settings,
            'sets': {
                result.product.name: {
                    'goal': result.product.auroc_goal,
                    'resized': result.resized,
                    'taught_images': result.taught_images,
                    'teach_s': result.teach_s,
                    'scorers': {
                        name: part.settings for name, part in result.recipe.scorers.items()
                    },
                    'choice': result.recipe.provenance.choice,
                    'alignment': result.recipe.preprocessing.alignment.kind,
                    **{share: _full(judged) for share, judged in result.shares.items()},
                }
                for result in results
            },
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


@contextmanager
def _unlogged() -> Iterator[None]:
    yield


@contextmanager
def logged(
    log: Path, settings: Mapping[str, Any], figures: Callable[[], Mapping[str, Any]]
) -> Iterator[None]:
    """
    Write a line about a run, even when it fails: it has seen the images.

    Parameters
    ----------
    log : Path
        Gets the line.
    settings : mapping
        What was asked for.
    figures : callable
        Called at the end; gives what was found until then.

    Raises
    ------
    SettingError
        When the log cannot be written; raised before the run.

    """
    record = {
        'date': datetime.now(UTC).isoformat(timespec='seconds'),
        **_commit(log),
        'settings': settings,
        'completed': False,
    }
    try:
        with log.open('a'):
            pass
    except OSError as error:
        raise SettingError(f'the log {log} cannot be written: {error.strerror}') from error
    try:
        yield
        record['completed'] = True
    finally:
        record['figures'] = figures()
        with log.open('a') as lines:
            lines.write(json.dumps(record) + '\n')


def _figures(results: Sequence[Result]) -> dict[str, Any]:
    return {
        result.product.name: {share: _brief(one) for share, one in result.shares.items()}
        for result in results
    }


def _commit(log: Path) -> dict[str, Any]:
    """
    Give the commit, and whether the tree differs from it, not counting the log itself.

    """

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ('git', '-C', str(ROOT), *arguments), capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    try:
        changes = git('status', '--porcelain', '--', '.', f':!benchmarks/{log.name}')
        return {'commit': git('rev-parse', 'HEAD'), 'dirty': bool(changes)}
    except (OSError, subprocess.CalledProcessError) as error:
        raise SettingError(f'a final run is logged with its commit, and git fails: {error}') from (
            error
        )


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
