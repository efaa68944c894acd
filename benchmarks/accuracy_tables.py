# SPDX-License-Identifier: Apache-2.0
"""
The tables of the accuracy benchmark, one function for each.

"""

from __future__ import annotations

from typing import NamedTuple, TYPE_CHECKING

from benchmarks.accuracy_result import (
    FEATURES,
    mean_auroc,
    mean_balanced_accuracy,
    pooled,
    WITH,
    WITHOUT,
)
from benchmarks.accuracy_scenarios import SCENARIOS
from benchmarks.report import Table
from benchmarks.simple_methods import SSIM_BEST, SSIM_MEAN, Z_MAP

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anomaly_inspection.evaluation.figures import Estimate
    from benchmarks.accuracy_result import Judged, Outcome

#: Mean image AUROC over sets, by scenario and features.
AUROC_GOALS = {('plain', WITH): 0.97, ('plain', WITHOUT): 0.94, ('moved', WITH): 0.95}
BALANCED_ACCURACY_GOAL = 0.90
POOLED_FALSE_REJECT_GOAL, FALSE_REJECT_GOAL = 0.03, 0.08
MISSED = ' !'
_NONE = '-'


class Goal(NamedTuple):
    """
    One goal, and what was measured.

    """

    what: str
    goal: str
    measured: str
    is_met: bool | None


def tables_of(outcomes: Sequence[Outcome], shares: Sequence[str]) -> list[Table]:
    """
    Give all tables; goals are for the last share.

    """
    last = shares[-1]
    tables = [_goals(outcomes, last)]
    failed = [one for one in outcomes if one.failed]
    if failed:
        tables.append(_failures(failed))
    groups = groups_of(outcomes)
    tables += [
        _figures(group, features, scenario, share)
        for (features, scenario), group in groups.items()
        for share in shares
        if any(one.judged(share) for one in group)
    ]
    if len({features for features, _ in groups}) > 1:
        tables.append(_side_by_side(outcomes, last))
    plain = [one for one in outcomes if one.scenario == 'plain' and one.judged(last)]
    if plain:
        tables.append(_taken(plain))
    compared = [one for one in plain if one.simple.get(last)]
    if compared:
        tables.append(_simple_methods(compared, last))
    located = _judged(plain, last)
    located = [one for one in located if one.figure('pixel_auroc') is not None]
    if located:
        tables.append(_localisation(located, last))
    return tables


def groups_of(outcomes: Sequence[Outcome]) -> dict[tuple[str, str], list[Outcome]]:
    """
    Give the outcomes by features and scenario, each group in the order of the sets.

    """
    groups: dict[tuple[str, str], list[Outcome]] = {}
    for features in FEATURES:
        for scenario in SCENARIOS:
            group = [
                one
                for one in outcomes
                if (one.features, one.scenario) == (features, scenario.name)
            ]
            if group:
                groups[features, scenario.name] = group
    return groups


def goals_of(outcomes: Sequence[Outcome], share: str) -> list[Goal]:
    """
    Compare what was measured with every goal.

    """
    goals = []
    for (features, scenario), group in groups_of(outcomes).items():
        where = f'{scenario}, {FEATURES[features]}'
        judged = _judged(group, share)
        auroc, auroc_goal = mean_auroc(judged), AUROC_GOALS.get((scenario, features))
        if auroc_goal is not None:
            goals.append(
                Goal(
                    f'mean AUROC, {where}',
                    f'>= {auroc_goal:g}',
                    _number(auroc),
                    auroc is not None and auroc >= auroc_goal,
                )
            )
        balanced = mean_balanced_accuracy(judged)
        if scenario == 'plain':
            goals.append(
                Goal(
                    f'mean balanced accuracy, {where}',
                    f'>= {BALANCED_ACCURACY_GOAL:g}',
                    _text(balanced),
                    balanced is not None and balanced.value >= BALANCED_ACCURACY_GOAL,
                )
            )
        false_rejects = pooled(judged, good=True)
        goals.append(
            Goal(
                f'false rejects of all sets, {where}',
                f'<= {POOLED_FALSE_REJECT_GOAL:.0%}',
                _text(false_rejects),
                false_rejects is not None and false_rejects.value <= POOLED_FALSE_REJECT_GOAL,
            )
        )
        over = [one.outcome.set_name for one in judged if _is_over(one)]
        goals.append(
            Goal(
                f'sets with too many false rejects, {where}',
                f'none above {FALSE_REJECT_GOAL:.0%}',
                ', '.join(over) or 'none',
                not over and bool(judged),
            )
        )
        broken = [one.outcome.set_name for one in judged if one.breaks_promise]
        goals.append(
            Goal(
                f'promises that the test images contradict, {where}',
                'none',
                ', '.join(broken) or 'none',
                not broken,
            )
        )
        untaught = [one.set_name for one in group if one.failed]
        goals.append(
            Goal(
                f'sets that cannot be taught or judged, {where}',
                'none',
                ', '.join(untaught) or 'none',
                not untaught,
            )
        )
    return goals


def _goals(outcomes: Sequence[Outcome], share: str) -> Table:
    return Table(
        f'Goals ({share})',
        ('goal', 'wanted', 'measured', ''),
        [
            (one.what, one.goal, one.measured, 'met' if one.is_met else 'MISSED')
            for one in goals_of(outcomes, share)
        ],
        'In brackets the 95 % interval. Goals are compared with the value, not with the interval. '
        'Means leave out the sets that failed.',
    )


def _failures(failed: Sequence[Outcome]) -> Table:
    return Table(
        'What could not be taught or judged, and what the product says of it',
        ('set', 'scenario', 'features', 'sentence'),
        [(one.set_name, one.scenario, one.features, one.failed) for one in failed],
    )


def _figures(group: Sequence[Outcome], features: str, scenario: str, share: str) -> Table:
    judged = _judged(group, share)
    rows = [_row(one, one.judged(share)) for one in group]
    balanced = mean_balanced_accuracy(judged)
    rows.append(
        (
            'mean of the sets',
            _NONE,
            _number(mean_auroc(judged)),
            _text(balanced),
            *(_NONE,) * 3,
            _number(_mean([one.teach_s for one in group if not one.failed]), 0),
            _number(_mean([one.figures['ms_per_image']['p50'] for one in judged]), 1),
        )
    )
    rows.append(
        (
            'all images together',
            f'{_total(judged, good=True)} / {_total(judged, good=False)}',
            *(_NONE,) * 2,
            _text(pooled(judged, good=False)),
            _text(pooled(judged, good=True)),
            *(_NONE,) * 3,
        )
    )
    return Table(
        f'{scenario.replace("_", " ").capitalize()}, {FEATURES[features]} ({share})',
        (
            'set',
            'good / defect',
            'AUROC',
            'balanced accuracy',
            'recall',
            'false rejects',
            'promised',
            'teach / s',
            'image / ms',
        ),
        rows,
        f'{MISSED.strip()}: more than {FALSE_REJECT_GOAL:.0%} of the good parts rejected. '
        'promised: the recipe says that at most so many good parts are rejected; a dash: it '
        'promises nothing.',
    )


def _row(outcome: Outcome, judged: Judged | None) -> tuple[object, ...]:
    teach_s = _number(outcome.teach_s, 0) if outcome.teach_s else _NONE
    if judged is None:
        return (outcome.set_name, 'failed', *(_NONE,) * 5, teach_s, _NONE)
    return (
        outcome.set_name,
        f'{judged.rejected(good=True)[1]} / {judged.rejected(good=False)[1]}',
        _text(judged.figure('image_auroc')),
        _number(judged.figure('at_limits', 'balanced_accuracy')),
        _share(judged, good=False),
        _share(judged, good=True) + (MISSED if _is_over(judged) else ''),
        _NONE if outcome.promised_rate is None else f'{outcome.promised_rate:.1%}',
        teach_s,
        _number(judged.figures['ms_per_image']['p50'], 1),
    )


def _side_by_side(outcomes: Sequence[Outcome], share: str) -> Table:
    """
    Compare what pretrained features change.

    """
    used = [features for features in FEATURES if any(o.features == features for o in outcomes)]
    cells = {(one.set_name, one.scenario, one.features): one.judged(share) for one in outcomes}
    places = list(dict.fromkeys((one.set_name, one.scenario) for one in outcomes))

    def figures(way: tuple[str, ...], place: tuple[str, str]) -> list[str]:
        found = [cells.get((*place, features)) for features in used]
        return [_number(None if one is None else one.figure(*way)) for one in found]

    return Table(
        f'Pretrained features side by side ({share})',
        (
            'set',
            'scenario',
            *(f'AUROC, {features}' for features in used),
            *(f'balanced accuracy, {features}' for features in used),
            *(f'false rejects, {features}' for features in used),
        ),
        [
            (
                *place,
                *figures(('image_auroc',), place),
                *figures(('at_limits', 'balanced_accuracy'), place),
                *figures(('at_limits', 'false_reject_rate'), place),
            )
            for place in places
        ],
    )


def _taken(plain: Sequence[Outcome]) -> Table:
    return Table(
        'What the product chose from all good images, and what that took',
        (
            'set',
            'features',
            'good images',
            'independent',
            'left out',
            'scorers',
            'alignment',
            'light',
            'teach / s',
            'of a processor / s',
            'memory / MB',
        ),
        [
            (
                one.set_name,
                one.features,
                one.taught_images,
                one.independent_count or _NONE,
                len(one.left_out),
                ', '.join(one.scorers),
                one.alignment,
                one.light,
                f'{one.teach_s:.0f}',
                f'{one.teach_processor_s:.0f}',
                f'{one.teach_memory_mb:.0f}',
            )
            for one in plain
        ],
        'Of the whole command, its start included. Several sets are taught at the same time.',
    )


def _simple_methods(outcomes: Sequence[Outcome], share: str) -> Table:
    ways = (SSIM_BEST, SSIM_MEAN, Z_MAP)
    seen: dict[str, Outcome] = {}
    for one in outcomes:
        seen.setdefault(one.set_name, one)
    return Table(
        f'Simple methods on the same images, AUROC ({share})',
        ('set', *ways),
        [
            (name, *(_interval(one.simple[share].get(way)) for way in ways))
            for name, one in seen.items()
        ],
        'Gray, 256x256, not aligned; the region of interest where ours has one. z map: largest '
        '7x7 mean of |image - mean| / (deviation + 8).',
    )


def _localisation(judged: Sequence[Judged], share: str) -> Table:
    return Table(
        f'Where the defects are, all good images taught ({share})',
        ('set', 'features', 'pixel AUROC', 'AUPRO', 'region F1', 'by pixels', 'IoU'),
        [
            (
                one.outcome.set_name,
                one.outcome.features,
                _text(one.figure('pixel_auroc')),
                _text(one.figure('aupro')),
                _text(one.figure('regions', 'box', 'f1')),
                _text(one.figure('regions', 'mask', 'f1')),
                _text(one.figure('regions', 'union_mask', 'median_iou')),
            )
            for one in judged
        ],
        'Region F1: all regions found against all of the mask, boxes matched one to one at an IoU '
        'of 0.33; by pixels: matched by the IoU of their pixels. IoU: median over the images with '
        'a defect of all pixels found with all marked.',
    )


def _judged(outcomes: Sequence[Outcome], share: str) -> list[Judged]:
    return [judged for one in outcomes if (judged := one.judged(share)) is not None]


def _is_over(judged: Judged) -> bool:
    count, total = judged.rejected(good=True)
    return count > FALSE_REJECT_GOAL * total


def _share(judged: Judged, *, good: bool) -> str:
    count, total = judged.rejected(good=good)
    return f'{count / total:.1%} ({count})' if total else _NONE


def _total(judged: Sequence[Judged], *, good: bool) -> int:
    return sum(one.rejected(good=good)[1] for one in judged)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _number(value: float | Estimate | None, digits: int = 3) -> str:
    if value is None:
        return _NONE
    return f'{value[0] if isinstance(value, tuple) else value:.{digits}f}'


def _interval(one: Sequence[float] | None) -> str:
    return _NONE if one is None else '{:.3f} ({:.3f}..{:.3f})'.format(*one)


def _text(one: Estimate | None) -> str:
    return _interval(one)
