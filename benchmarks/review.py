# SPDX-License-Identifier: Apache-2.0
"""
Measure what reviewed parts do to the limits: false rejects and escapes on parts that nobody has
reviewed, with the limits as taught and as proposed after 20, 50 and 100 clicks.

`python -m benchmarks.review` teaches a product on a few parts of the simulated line, and lets a
lot run that varies more. A person reviews rejects, or rejects and passed parts near a limit,
picked at random. The whole takes about three minutes.

"""

from __future__ import annotations

from dataclasses import replace
import json
from pathlib import Path
import random
from typing import TYPE_CHECKING

import click

from anomaly_inspection.capture.simulated_line import SimulatedLine
from anomaly_inspection.capture.simulated_settings import SimulatedLineSettings
from anomaly_inspection.capture.source import Frame
from anomaly_inspection.deciding.frame_judge import Verdict
from anomaly_inspection.evaluation.recipe_judge import RecipeJudge
from anomaly_inspection.learning.teach import teach, TeachOptions
from anomaly_inspection.reviewing.advice import advise
from anomaly_inspection.reviewing.replay import Replay
from anomaly_inspection.reviewing.review import basis_of, ReviewBasis
from anomaly_inspection.reviewing.stored_part import Kind, StoredPart, Truth
from benchmarks.report import machine

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from anomaly_inspection.recipes.recipe import Recipe

CLICKS = (0, 20, 50, 100)
#: Who reviews what: all clicks for rejects, or every other one for a passed part near a limit.
WAYS = ('rejects', 'rejects and near')
_NEAR = 0.8
_TAUGHT_PARTS = 20
# The lot that runs varies more than the parts that were taught.
_LINE = SimulatedLineSettings(width_px=320, height_px=240, shift_px=3.0, rotation_deg=2.0)
_LOT = replace(_LINE, part_variation=1.3, contrast_levels=(12.0, 60.0), defect_rate=0.3)


@click.command()
@click.option('--parts', default=700, show_default=True, help='Parts that may be reviewed.')
@click.option('--others', default=500, show_default=True, help='Parts that nobody reviews.')
@click.option('--lines', default=2, show_default=True, help='Products; each has its own seed.')
@click.option('--report', type=click.Path(path_type=Path), default=Path('out/benchmarks'))
def main(parts: int, others: int, lines: int, report: Path) -> None:
    """
    Run all cases, print the table and write review.json.

    """
    rows = []
    for seed in range(1, lines + 1):
        recipe = _taught(seed)
        reviewable = list(judged(recipe, seed + 100, parts))
        unseen = list(judged(recipe, seed + 200, others))
        for way in WAYS:
            rows += [
                {'line': seed, 'reviewed': way, **row}
                for row in after_clicks(basis_of(recipe), reviewable, unseen, way, seed)
            ]
    print(table(rows))
    report.mkdir(parents=True, exist_ok=True)
    content = {'machine': machine(), 'parts': parts, 'others': others, 'rows': rows}
    (report / 'review.json').write_text(json.dumps(content, indent=2) + '\n', encoding='utf-8')


def _taught(seed: int) -> Recipe:
    settings = replace(_LINE, seed=seed, defect_rate=0.0, parts=_TAUGHT_PARTS)
    with SimulatedLine(settings) as line:
        frames = [frame.image for frame in _frames(line) if frame.image is not None]
    options = TeachOptions(scorers=('ssim', 'variation'))
    return teach(frames, name='pump', options=options)


def _frames(line: SimulatedLine) -> Iterator[Frame]:
    while (frame := line.read()) is not None:
        yield frame


def judged(recipe: Recipe, seed: int, n_parts: int) -> Iterator[StoredPart]:
    """
    Give parts of a lot as the records would keep them, with what they really were.

    """
    judge = RecipeJudge(recipe)
    settings = replace(_LOT, seed=seed, parts=n_parts)
    with SimulatedLine(settings) as line:
        for number, frame in enumerate(_frames(line)):
            judgement, scores = judge.judge(frame)
            truth = line.truth(frame.name, with_mask=False)
            assert truth is not None
            is_rejected = judgement.verdict is Verdict.REJECT
            passed_as = Kind.NEAR if judgement.anomaly_score >= _NEAR else Kind.PASSED
            yield StoredPart(
                key=(f'lot {seed}', number),
                kind=Kind.REJECT if is_rejected else passed_as,
                is_rejected=is_rejected,
                reason=judgement.reason.name,
                measures={f'{s.scorer}.{k}': v for s in scores for k, v in s.measures.items()},
                recipe=recipe.name,
                truth=Truth.GOOD if truth.is_good else Truth.BAD,
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


def table(rows: list[dict[str, object]]) -> str:
    """
    Write the rows as a Markdown table.

    """
    lines = [
        '| line | reviewed | clicks | limits moved | false rejects | escapes |',
        '|---|---|---|---|---|---|',
    ]
    lines += [
        f'| {row["line"]} | {row["reviewed"]} | {row["clicks"]} | {row["moved"]} '
        f'| {row["false_rejects"]} of {row["good"]} | {row["escapes"]} of {row["bad"]} |'
        for row in rows
    ]
    return '\n'.join(lines)


if __name__ == '__main__':
    main()
