# SPDX-License-Identifier: Apache-2.0
"""
The tables of the accuracy benchmark, one function for each.

"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmarks.accuracy_result import (
    BALANCED_ACCURACY_GOAL,
    FALSE_REJECT_GOAL,
    mean_balanced_accuracy,
    pooled_false_rejects,
    Result,
    SIDE_PX,
)
from benchmarks.report import Table
from benchmarks.simple_methods import SSIM_BEST, SSIM_MEAN, Z_MAP

if TYPE_CHECKING:
    from anomaly_inspection.evaluation.figures import Estimate
    from benchmarks.accuracy_result import Judged


def tables_of(results: Sequence[Result], shares: Sequence[str]) -> list[Table]:
    """
    Give all tables.

    Parameters
    ----------
    results : sequence of Result
        One for each set.
    shares : sequence of str
        The shares of the test images that were judged; goals are for the last one.

    """
    last = shares[-1]
    tables = [
        _auroc(results, shares),
        _simple_methods(results, last),
        _at_limits(results, shares),
        _f1(results, shares),
    ]
    located = [one for one in results if one.shares[last].figure('pixel_auroc') is not None]
    if located:
        tables.append(_localisation(located, shares))
    with_classes = [
        one for one in results if one.shares[last].figure('class_accuracy') is not None
    ]
    if with_classes:
        tables.append(_classes(with_classes, shares))
    return [*tables, _cost(results, last)]


def name_of(result: Result) -> str:
    """
    Give the name of a set, with an asterisk when its images were resized.

    """
    return result.product.name + ('*' if result.resized else '')


def _auroc(results: Sequence[Result], shares: Sequence[str]) -> Table:
    last = shares[-1]
    note = (
        'In brackets the 95 % interval (bootstrap over images, good and defective drawn apart); a '
        'goal is met when the interval reaches it. The best simple method known was measured on '
        'all test images when the goals were set.'
    )
    if any(result.resized for result in results):
        note += (
            f' *: images of more than one size, all resized to {SIDE_PX}x{SIDE_PX} (area '
            'averaging; masks: nearest pixel).'
        )
    return Table(
        'Image AUROC',
        (
            'set',
            *_columns(('good / defect', 'AUROC'), shares),
            'goal',
            f'met ({last})',
            'best simple method known',
        ),
        [
            (
                name_of(result),
                *(_counts(result.shares[share]) for share in shares),
                *_cells(result, shares, 'image_auroc'),
                result.product.auroc_goal,
                _met(result.shares[last].figure('image_auroc'), result.product.auroc_goal),
                f'{result.product.simple_auroc:.3f}',
            )
            for result in results
        ],
        note,
    )


def _simple_methods(results: Sequence[Result], last: str) -> Table:
    return Table(
        f'Simple methods on the same images, AUROC ({last})',
        ('set', 'ours', SSIM_BEST, SSIM_MEAN, Z_MAP),
        [
            (
                name_of(result),
                _text(result.shares[last].figure('image_auroc')),
                *(_text(one) for one in result.shares[last].simple.values()),
            )
            for result in results
        ],
        'Gray, 256x256, not aligned; the region of interest where ours has one. z map: largest '
        '7x7 mean of |image - mean| / (deviation + 8).',
    )


def _at_limits(results: Sequence[Result], shares: Sequence[str]) -> Table:
    pooled = [[result.shares[share] for result in results] for share in shares]
    false_rejects = [pooled_false_rejects(judged) for judged in pooled]
    balanced = [mean_balanced_accuracy(judged) for judged in pooled]
    dash = ('-',) * len(shares)
    rows = [
        (
            name_of(result),
            *_cells(result, shares, 'at_limits', 'recall'),
            *_cells(result, shares, 'at_limits', 'false_reject_rate'),
            *_cells(result, shares, 'at_limits', 'balanced_accuracy'),
        )
        for result in results
    ]
    goals = (
        *(
            _goal(f'<= {FALSE_REJECT_GOAL:g}', one and one.low <= FALSE_REJECT_GOAL)
            for one in false_rejects
        ),
        *(
            _goal(f'>= {BALANCED_ACCURACY_GOAL:g}', one.high >= BALANCED_ACCURACY_GOAL)
            for one in balanced
        ),
    )
    return Table(
        'At the limits chosen from good parts alone',
        ('set', *_columns(('recall', 'false rejects', 'balanced accuracy'), shares)),
        [
            *rows,
            ('all sets', *dash, *map(_text, false_rejects), *map(_text, balanced)),
            ('goal', *dash, *goals),
        ],
        'All sets: false rejects over all their good test images together, and the mean of their '
        'balanced accuracies.',
    )


def _f1(results: Sequence[Result], shares: Sequence[str]) -> Table:
    last = shares[-1]

    def met(result: Result) -> str:
        goal = result.product.f1_goal
        return '-' if goal is None else _met(result.shares[last].figure('f1_max'), goal)

    return Table(
        'F1, the defective parts being the positive ones',
        ('set', *_columns(('best', 'at its own limits'), shares), 'goal', f'met ({last})'),
        [
            (
                name_of(result),
                *_cells(result, shares, 'f1_max'),
                *_cells(result, shares, 'at_limits', 'f1'),
                result.product.f1_goal,
                met(result),
            )
            for result in results
        ],
        'Says little where most images show a defect: rejecting everything gives 2p / (1 + p) at '
        'a share p of defects.',
    )


def _localisation(results: Sequence[Result], shares: Sequence[str]) -> Table:
    return Table(
        'Where the defects are',
        (
            'set',
            *_columns(('pixel AUROC', 'AUPRO', 'region F1', 'by pixels', 'IoU'), shares),
        ),
        [
            (
                name_of(result),
                *_cells(result, shares, 'pixel_auroc'),
                *_cells(result, shares, 'aupro'),
                *_cells(result, shares, 'regions', 'box', 'f1'),
                *_cells(result, shares, 'regions', 'mask', 'f1'),
                *_cells(result, shares, 'regions', 'union_mask', 'median_iou'),
            )
            for result in results
        ],
        'Region F1: all regions found against all of the mask, boxes matched one to one at an IoU '
        'of 0.33; by pixels: matched by the IoU of their pixels. IoU: median over the images with '
        'a defect of all pixels found with all marked.',
    )


def _classes(results: Sequence[Result], shares: Sequence[str]) -> Table:
    return Table(
        'Good parts whose class was recognised',
        ('set', *_columns(('right',), shares)),
        [(name_of(result), *_cells(result, shares, 'class_accuracy')) for result in results],
    )


def _cost(results: Sequence[Result], last: str) -> Table:
    return Table(
        'What it took',
        ('set', 'good images', 'scorers', 'alignment', 'light', 'teach / s', 'image / ms'),
        [
            (
                name_of(result),
                result.taught_images,
                ', '.join(result.recipe.scorers),
                result.recipe.preprocessing.alignment.kind,
                result.recipe.preprocessing.light,
                f'{result.teach_s:.1f}',
                result.shares[last].evaluation.figures['ms_per_image']['p50'],
            )
            for result in results
        ],
        'Teaching includes the held-out parts that the limits come from. An image: median, scored '
        'and judged. One thread of OpenCV.',
    )


def _columns(names: Sequence[str], shares: Sequence[str]) -> tuple[str, ...]:
    return tuple(f'{name}, {share}' for name in names for share in shares)


def _cells(result: Result, shares: Sequence[str], *way: str) -> tuple[str, ...]:
    return tuple(_text(result.shares[share].figure(*way)) for share in shares)


def _counts(judged: Judged) -> str:
    return f'{judged.rejected(good=True)[1]} / {judged.rejected(good=False)[1]}'


def _text(one: Estimate | None) -> str:
    return '-' if one is None else f'{one.value:.3f} ({one.low:.3f}..{one.high:.3f})'


def _met(one: Estimate | None, goal: float) -> str:
    return '-' if one is None else 'yes' if one.high >= goal else 'no'


def _goal(text: str, is_met: bool | None) -> str:
    return f'{text}: {"met" if is_met else "missed"}'
