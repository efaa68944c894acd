# SPDX-License-Identifier: Apache-2.0
"""
Measure what reviewed parts do to the limits: false rejects and escapes on parts that nobody has
reviewed, with the limits as taught and as proposed after 50 to 300 clicks.

`python -m benchmarks.review` teaches products on a few parts of the simulated line, and lets lots
run that vary more, each in its own way. A person reviews rejects, or rejects and passed parts
near a limit, picked at random. Then the same with real images, as far as they are here: the
command `teach` takes 30 good parts; of the dev test images and the good parts left over, half are
reviewed and the other half give the figures. The whole takes about fifteen minutes.

"""

from __future__ import annotations

from dataclasses import dataclass, replace
import json
from pathlib import Path
import random
import tempfile
from typing import Any, TYPE_CHECKING

import click

from anomaly_inspection.capture.folder_truth import FolderTruth
from anomaly_inspection.capture.image_file import read_image
from anomaly_inspection.capture.image_folder import ImageFolder
from anomaly_inspection.capture.simulated_line import SimulatedLine
from anomaly_inspection.capture.simulated_settings import SimulatedLineSettings
from anomaly_inspection.capture.source import Frame
from anomaly_inspection.deciding.frame_judge import Verdict
from anomaly_inspection.deciding.limits import LimitOrigin
from anomaly_inspection.evaluation.recipe_judge import RecipeJudge
from anomaly_inspection.learning.teach import teach, TeachOptions
from anomaly_inspection.recipes.folder import read_recipe
from anomaly_inspection.reviewing.advice import advise
from anomaly_inspection.reviewing.findings import percent, Share
from anomaly_inspection.reviewing.replay import Replay
from anomaly_inspection.reviewing.review import basis_of, ReviewBasis
from anomaly_inspection.reviewing.stored_part import Kind, StoredPart, Truth
from benchmarks.accuracy_scenarios import evenly
from benchmarks.command_run import run_command
from benchmarks.real_sets import DATASETS, DEV, share_of
from benchmarks.report import machine

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from anomaly_inspection.recipes.recipe import Recipe
    from anomaly_inspection.reviewing.stored_part import PartKey

CLICKS = (0, 50, 100, 200, 300)
#: Who reviews what: all clicks for rejects, or every other one for a passed part near a limit.
WAYS = ('rejects', 'rejects and near')
_NEAR = 0.8
_TAUGHT_PARTS = 20
_LINE = SimulatedLineSettings(width_px=320, height_px=240, shift_px=3.0, rotation_deg=2.0)
_LOT = replace(_LINE, part_variation=1.3, contrast_levels=(12.0, 60.0), defect_rate=0.3)
#: What runs after teaching; a product each. Good parts vary more than those that were taught.
LOTS = {
    'parts vary more': _LOT,
    'parts vary more, another product': _LOT,
    'light varies more': replace(_LOT, part_variation=1.0, light=0.3),
    'noise and weak defects': replace(_LOT, noise_levels=4.0, contrast_levels=(10.0, 40.0)),
    'small defects': replace(_LOT, part_variation=1.5, diameter_px=(6.0, 16.0)),
    'nothing new': replace(_LOT, part_variation=1.0),
}
REAL_SETS = ('casting', 'magnetic_tile', 'dice', 'deeppcb')
_TAUGHT_IMAGES = 30
_TEACH_LIMIT_S = 900.0


@click.command()
@click.option('--parts', default=700, show_default=True, help='Parts that may be reviewed.')
@click.option('--others', default=500, show_default=True, help='Parts that nobody reviews.')
@click.option('--lines', default=len(LOTS), show_default=True, help='How many simulated lots.')
@click.option('--first-seed', default=1, show_default=True, help='Other parts and products.')
@click.option('--real/--no-real', default=True, show_default=True, help='Real images as well.')
@click.option('--report', type=click.Path(path_type=Path), default=Path('out/benchmarks'))
def main(parts: int, others: int, lines: int, first_seed: int, real: bool, report: Path) -> None:
    """
    Run all cases, print the table and write review.json.

    """
    rows = []
    for seed, (name, lot) in enumerate(list(LOTS.items())[:lines], first_seed):
        recipe = _taught(seed)
        reviewable = list(judged(recipe, replace(lot, seed=seed + 100, parts=parts)))
        unseen = list(judged(recipe, replace(lot, seed=seed + 200, parts=others)))
        for way in WAYS:
            rows += [
                {'line': name, 'reviewed': way, **row}
                for row in after_clicks(basis_of(recipe), reviewable, unseen, way, seed)
            ]
    for name in REAL_SETS if real else ():
        rows += _of_real_set(DATASETS / name)
    print(table(rows))
    report.mkdir(parents=True, exist_ok=True)
    content = {'machine': machine(), 'parts': parts, 'others': others, 'rows': rows}
    (report / 'review.json').write_text(json.dumps(content, indent=2) + '\n', encoding='utf-8')


def _of_real_set(dataset: Path) -> list[dict[str, object]]:
    if not dataset.is_dir():
        print(f'{dataset.name} is not here: skipped')
        return []
    with tempfile.TemporaryDirectory() as scratch:
        split = split_of(dataset, Path(scratch) / 'good')
        recipe_path = Path(scratch) / 'recipes' / dataset.name
        arguments = ['teach', str(split.taught), '--recipe', str(recipe_path), '--no-self-test']
        run = run_command(arguments, time_limit_s=_TEACH_LIMIT_S)
        if not (recipe_path / 'recipe.yaml').is_file():
            print(f'{dataset.name} cannot be taught: {run.sentence}')
            return []
        recipe = read_recipe(recipe_path)
    judge = RecipeJudge(recipe)
    halves = [
        [
            stored(judge, Frame(read_image(path), 0, 0), (dataset.name, number), truth)
            for number, (path, truth) in enumerate(half)
        ]
        for half in (split.reviewed, split.unseen)
    ]
    rows: list[dict[str, object]] = []
    for name, basis in (('as taught', basis_of(recipe)), ('half', stricter(basis_of(recipe)))):
        reviewable, unseen = (judged_anew(basis, half) for half in halves)
        rows += [
            {'line': f'{dataset.name}, limits {name}', 'reviewed': WAYS[0], **row}
            for row in after_clicks(basis, reviewable, unseen, WAYS[0], 1)
        ]
    return rows


def stricter(basis: ReviewBasis) -> ReviewBasis:
    """
    Put all limits at half their distance from a typical part, as a careful person may.

    """
    values = {
        (limit.scorer, limit.measure): (limit.typical + limit.value) / 2.0 for limit in basis.table
    }
    return replace(basis, table=basis.table.changed(values, LimitOrigin.RUNTIME))


def judged_anew(basis: ReviewBasis, parts: list[StoredPart]) -> list[StoredPart]:
    """
    Judge parts by the limits of a basis.

    """
    replay = Replay(basis.table, basis.combination, parts)
    rejected = replay.rejected(replay.limits)
    judged = [
        replace(part, kind=Kind.REJECT if is_rejected else Kind.PASSED, is_rejected=is_rejected)
        for part, is_rejected in zip(replay.parts, map(bool, rejected), strict=True)
    ]
    return [*judged, *replay.left_out]


@dataclass(frozen=True)
class Split:
    """
    How the images of a set are used.

    Parameters
    ----------
    taught : Path
        Folder of the good parts to teach.
    reviewed, unseen : list of (Path, Truth)
        The others, half and half: dev test images, and good parts that are not taught.

    """

    taught: Path
    reviewed: list[tuple[Path, Truth]]
    unseen: list[tuple[Path, Truth]]


def split_of(dataset: Path, scratch: Path) -> Split:
    """
    Split the images of a set; those of the final share are not touched.

    """
    good, tests = dataset.absolute() / 'train' / 'good', dataset.absolute() / 'test'
    names = image_names(good)
    taught = set(evenly(names, _TAUGHT_IMAGES))
    scratch.mkdir(parents=True)
    for name in taught:
        (scratch / name).parent.mkdir(parents=True, exist_ok=True)
        (scratch / name).symlink_to(good / name)
    truths = FolderTruth(tests)
    pool = [(good / name, Truth.GOOD) for name in names if name not in taught]
    for name in image_names(tests):
        if share_of(f'test/{name}') != DEV:
            continue
        truth = truths.of(name, with_mask=False)
        if truth is not None and truth.part_present:
            pool.append((tests / name, Truth.GOOD if truth.is_good else Truth.BAD))
    random.Random(1).shuffle(pool)
    return Split(scratch, pool[::2], pool[1::2])


def image_names(folder: Path) -> tuple[str, ...]:
    """
    Give the names of the images in a folder and below it.

    """
    with ImageFolder(folder) as source:
        return source.names


def _taught(seed: int) -> Recipe:
    settings = replace(_LINE, seed=seed, defect_rate=0.0, parts=_TAUGHT_PARTS)
    with SimulatedLine(settings) as line:
        frames = [frame.image for frame in _frames(line) if frame.image is not None]
    options = TeachOptions(scorers=('ssim', 'variation'))
    return teach(frames, name='pump', options=options)


def _frames(line: SimulatedLine) -> Iterator[Frame]:
    while (frame := line.read()) is not None:
        yield frame


def judged(recipe: Recipe, settings: SimulatedLineSettings) -> Iterator[StoredPart]:
    """
    Give parts of a lot as the records would keep them, with what they really were.

    """
    judge = RecipeJudge(recipe)
    with SimulatedLine(settings) as line:
        for number, frame in enumerate(_frames(line)):
            truth = line.truth(frame.name, with_mask=False)
            assert truth is not None
            key = (f'lot {settings.seed}', number)
            yield stored(judge, frame, key, Truth.GOOD if truth.is_good else Truth.BAD)


def stored(judge: RecipeJudge, frame: Frame, key: PartKey, truth: Truth) -> StoredPart:
    """
    Judge a frame and give the part as the records would keep it.

    """
    judgement, scores = judge.judge(frame)
    is_rejected = judgement.verdict is Verdict.REJECT
    passed_as = Kind.NEAR if judgement.anomaly_score >= _NEAR else Kind.PASSED
    return StoredPart(
        key=key,
        kind=Kind.REJECT if is_rejected else passed_as,
        is_rejected=is_rejected,
        reason=judgement.reason.name,
        measures={f'{s.scorer}.{k}': v for s in scores for k, v in s.measures.items()},
        truth=truth,
    )


def after_clicks(
    basis: ReviewBasis,
    reviewable: list[StoredPart],
    unseen: list[StoredPart],
    way: str,
    seed: int,
) -> Iterator[dict[str, object]]:
    """
    Give the figures on unseen parts after each number of clicks.

    """
    chooser = random.Random(seed)
    rejects = [part for part in reviewable if part.kind is Kind.REJECT]
    near = [part for part in reviewable if part.kind is Kind.NEAR]
    for each in (rejects, near):
        chooser.shuffle(each)
    later = Replay(basis.table, basis.combination, unseen)
    for clicks in CLICKS:
        n_near = min(clicks // 2, len(near)) if way != WAYS[0] else 0
        chosen = rejects[: clicks - n_near] + near[:n_near]
        replay = Replay(basis.table, basis.combination, chosen)
        advice = advise(replay, basis.good)
        yield {
            'clicks': len(chosen),
            'bad_clicks': sum(part.truth is Truth.BAD for part in chosen),
            'moved': len(advice.changes),
            **figures(later, advice.changes),
        }


def figures(replay: Replay, limits: Mapping[str, float]) -> dict[str, float]:
    """
    Give false rejects and escapes with other limits; parts that cannot be judged are rejects.

    """
    counts = {truth: [0, 0] for truth in Truth}
    rejected = replay.rejected(replay.limits_of(limits))
    for part, is_rejected in zip(replay.parts, rejected, strict=True):
        assert part.truth is not None
        counts[part.truth][0] += 1
        counts[part.truth][1] += bool(is_rejected)
    for part in replay.left_out:
        assert part.truth is not None
        counts[part.truth][0] += 1
        counts[part.truth][1] += 1
    (good, good_rejected), (bad, bad_rejected) = counts[Truth.GOOD], counts[Truth.BAD]
    return {
        'good': good,
        'false_rejects': good_rejected,
        'bad': bad,
        'escapes': bad - bad_rejected,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """
    Write the rows as a Markdown table.

    """
    lines = [
        '| product | reviewed | clicks | bad | limits moved | false rejects | escapes |',
        '|---|---|---|---|---|---|---|',
    ]
    lines += [
        f'| {row["line"]} | {row["reviewed"]} | {row["clicks"]} | {row["bad_clicks"]} '
        f'| {row["moved"]} | {_with_interval(row["false_rejects"], row["good"])} '
        f'| {_with_interval(row["escapes"], row["bad"])} |'
        for row in rows
    ]
    return '\n'.join(lines)


def _with_interval(count: int, total: int) -> str:
    if not total:
        return '-'
    low, high = Share(count, total).interval()
    return f'{count} of {total} ({percent(low)} to {percent(high)})'


if __name__ == '__main__':
    main()
