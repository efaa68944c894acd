# SPDX-License-Identifier: Apache-2.0
"""
Ask whether the constants of `teach --scorer auto` were fitted to the real sets: fix them anew
without one set, and let them choose for that set.

`auto` tries its candidates on synthetic defects. It takes the first one of its list, or a later
one whose AUROC is clearly higher. The order of the list and what is clear were chosen on real
sets. For each set, this benchmark takes the order and the margin that serve best on the real
defects of all other sets. Then it shows what they choose for the set that was left out.

"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
import re
import sys
from typing import Any, NamedTuple

import click
import cv2
import numpy as np

from anomaly_inspection.errors import SettingError
from anomaly_inspection.learning import scorer_choice
from anomaly_inspection.learning.teach import AUTO
from benchmarks.accuracy import available_features, outcomes_by_task
from benchmarks.accuracy_result import FEATURES, Outcome
from benchmarks.accuracy_run import Task
from benchmarks.accuracy_scenarios import ALL
from benchmarks.accuracy_store import OutcomeStore, source_hash
from benchmarks.charts import intervals
from benchmarks.real_sets import DATASETS, DEV, SETS
from benchmarks.report import machine, publish, RESULTS, Table

MARGINS = (0.0, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1)
DEFAULT_MOST_IMAGES = 60
# 'patch_statistics (statistics pooled): sees 80 % at its limits, AUROC 0.967, 3.1 ms a frame'.
_TRIAL = re.compile(r'(?P<what>[^:]+): .*?AUROC (?P<auroc>[01]\.\d+)')
# What auto itself says first of all.
_CHOSEN = 'chosen: '
_SHIPPED, _LEFT_OUT, _BEST = 'as shipped', 'fixed without the set', 'best candidate'

#: By set, by candidate: AUROC on synthetic defects; the same on real ones.
Aurocs = Mapping[str, Mapping[str, float]]


class Constants(NamedTuple):
    """
    What `auto` chooses by.

    Parameters
    ----------
    order : tuple of str
        The candidates; the first one is taken unless a later one is clearly better.
    margin : float
        By how much the AUROC of a later one must be higher.

    """

    order: tuple[str, ...]
    margin: float


def text_of(scorer: str, settings: Mapping[str, Any]) -> str:
    """
    Name a candidate as the product does in its reasons: 'patch_statistics (statistics pooled)'.

    """
    words = ', '.join(f'{key} {value}' for key, value in settings.items())
    return f'{scorer} ({words})' if words else scorer


SHIPPED = Constants(
    tuple(text_of(*one) for one in scorer_choice.CANDIDATES),
    scorer_choice._CLEARLY_HIGHER_AUROC,
)


def chosen(synthetic: Mapping[str, float], constants: Constants) -> str:
    """
    Give the candidate that `auto` takes; one that was not tried to the end cannot be taken.

    Parameters
    ----------
    synthetic : mapping of str to float
        AUROC on synthetic defects, by candidate; not empty.
    constants : Constants
        What to choose by.

    """
    tried = [one for one in constants.order if one in synthetic]
    best = tried[0]
    for one in tried[1:]:
        if synthetic[one] > synthetic[best] + constants.margin:
            best = one
    return best


def constants_without(left_out: str, synthetic: Aurocs, real: Aurocs) -> Constants:
    """
    Fix the constants on all sets but one.

    The order is that of the mean AUROC on real defects. The margin is the one whose choices have
    the highest mean AUROC on real defects; of equals, the largest, which trusts the order most.

    """
    others = [name for name in real if name != left_out]
    candidates = {one: None for name in others for one in real[name]}
    mean = {
        one: float(np.mean([real[name][one] for name in others if one in real[name]]))
        for one in candidates
    }
    order = tuple(sorted(candidates, key=lambda one: -mean[one]))

    def served(margin: float) -> float:
        constants = Constants(order, margin)
        return float(np.mean([real[name][chosen(synthetic[name], constants)] for name in others]))

    return Constants(order, max(reversed(MARGINS), key=served))


def measure(
    sets: Sequence[str] = SETS,
    *,
    features: str | None = None,
    most_images: int = DEFAULT_MOST_IMAGES,
    jobs: int = 2,
    resume: bool = False,
    datasets: Path = DATASETS,
    folder: Path | None = None,
) -> Path:
    """
    Run the benchmark on the dev third of the test images.

    Parameters
    ----------
    sets : sequence of str
        At least two of them must be there.
    features : str, optional
        A key of `FEATURES`; by default with the pretrained network where it is installed.
    most_images : int
        Good images and test images of a set at most.
    jobs : int
        How many sets are taught at the same time.
    resume : bool
        Take what an earlier run of the same source has measured.
    datasets : Path
        Where the sets are.
    folder : Path, optional
        Where the report goes.

    Raises
    ------
    SettingError
        When fewer than two sets are there or can be taught.

    """
    before = machine()
    cv2.setNumThreads(1)
    features = features or available_features()[0]
    folder = folder or RESULTS / 'auto_constants'
    tasks = [
        one
        for name in sets
        if (datasets / name).is_dir()
        for one in _tasks(datasets.absolute() / name, features, most_images)
    ]
    store = OutcomeStore(folder / 'outcomes', source_hash())
    found: dict[str, dict[str, Outcome]] = {}
    for task, (outcome,) in outcomes_by_task(tasks, jobs, store, resume=resume):
        found.setdefault(task.name, {})[task.label] = outcome
    synthetic, real = _aurocs(found)
    if len(real) < 2:
        raise SettingError(f'{len(real)} sets of {", ".join(sets)} can be taught; needed: 2')
    order = [name for name in sets if name in real]
    choices = {
        name: _choices(name, synthetic, real, _chosen_by_auto(found[name][AUTO], real[name]))
        for name in order
    }
    return publish(
        'auto_constants',
        f'What auto chooses for each set ({FEATURES[features]}) with its constants as shipped, '
        'and with constants that were fixed on all other sets. AUROC on real defects, dev third, '
        f'from at most {most_images} good images and as many test images of a set.',
        [_table(choices, synthetic, real), _all_candidates(order, synthetic, real)],
        plot=intervals(
            'Image AUROC of what auto chooses (95 % interval)',
            {
                name: {
                    what: found[name][one.candidate].judged(DEV).figure('image_auroc')  # type: ignore[union-attr]
                    for what, one in ways.items()
                }
                for name, ways in choices.items()
            },
            goals={},
            axis_title='image AUROC',
            low=0.4,
            high=1.0,
        ),
        figures={
            'synthetic': synthetic,
            'real': real,
            'choices': {
                name: {what: one._asdict() for what, one in ways.items()}
                for name, ways in choices.items()
            },
        },
        before=before,
        folder=folder,
    )


class Choice(NamedTuple):
    """
    What was chosen for a set, and what it reached on real defects.

    """

    candidate: str
    auroc: float
    margin: float | None = None


def _tasks(dataset: Path, features: str, most_images: int) -> list[Task]:
    """
    Give the task of `auto` and that of each candidate alone.

    """
    auto = Task(
        dataset, ALL, features, ('plain',), (DEV,), (AUTO,), most_images=most_images, label=AUTO
    )
    return [
        auto,
        *(
            replace(
                auto,
                scorers=(scorer,),
                settings=tuple(f'{scorer}.{key}={value}' for key, value in settings.items()),
                label=text_of(scorer, settings),
            )
            for scorer, settings in scorer_choice.CANDIDATES
        ),
    ]


def _aurocs(
    found: Mapping[str, Mapping[str, Outcome]],
) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, float]]]:
    """
    Give the AUROC of each candidate on synthetic and on real defects, for sets that have both.

    """
    synthetic: dict[str, dict[str, float]] = {}
    real: dict[str, dict[str, float]] = {}
    for name, outcomes in found.items():
        measured = {
            one: estimate.value
            for one, outcome in outcomes.items()
            if one != AUTO
            and (judged := outcome.judged(DEV))
            and (estimate := judged.figure('image_auroc'))
        }
        tried = {
            match['what']: float(match['auroc'])
            for reason in (outcomes[AUTO].choice if AUTO in outcomes else ())
            if (match := _TRIAL.match(reason)) and match['what'] in measured
        }
        if tried:
            synthetic[name], real[name] = tried, measured
        else:
            failed = [one.failed for one in outcomes.values() if one.failed]
            print(f'{name} is left out: {"; ".join(failed) or "no trial"}', file=sys.stderr)
    return synthetic, real


def _chosen_by_auto(outcome: Outcome, real: Mapping[str, float]) -> str:
    """
    Give the candidate that auto has chosen, without a second scorer that joins it.

    """
    said = [one.removeprefix(_CHOSEN) for one in outcome.choice if one.startswith(_CHOSEN)]
    return next(one for one in real if one in said)


def _choices(name: str, synthetic: Aurocs, real: Aurocs, shipped: str) -> dict[str, Choice]:
    constants = constants_without(name, synthetic, real)
    left_out = chosen(synthetic[name], constants)
    best = max(real[name], key=lambda one: real[name][one])
    return {
        _SHIPPED: Choice(shipped, real[name][shipped]),
        _LEFT_OUT: Choice(left_out, real[name][left_out], constants.margin),
        _BEST: Choice(best, real[name][best]),
    }


def _table(choices: Mapping[str, Mapping[str, Choice]], synthetic: Aurocs, real: Aurocs) -> Table:
    def mean(what: str) -> float:
        return float(np.mean([ways[what].auroc for ways in choices.values()]))

    return Table(
        'What auto chooses, its constants fixed with and without the set',
        (
            'set',
            *(f'{_SHIPPED}, {key}' for key in ('chosen', 'AUROC')),
            *(f'{_LEFT_OUT}, {key}' for key in ('margin', 'chosen', 'AUROC')),
            *(f'{_BEST}, {key}' for key in ('which', 'AUROC')),
        ),
        [
            *(
                (
                    name,
                    ways[_SHIPPED].candidate,
                    f'{ways[_SHIPPED].auroc:.3f}',
                    f'{ways[_LEFT_OUT].margin:g}',
                    ways[_LEFT_OUT].candidate,
                    f'{ways[_LEFT_OUT].auroc:.3f}',
                    ways[_BEST].candidate,
                    f'{ways[_BEST].auroc:.3f}',
                )
                for name, ways in choices.items()
            ),
            (
                'mean',
                '-',
                f'{mean(_SHIPPED):.3f}',
                '-',
                '-',
                f'{mean(_LEFT_OUT):.3f}',
                '-',
                f'{mean(_BEST):.3f}',
            ),
        ],
        f'As shipped, in this order: {"; ".join(SHIPPED.order)}. One scorer alone: what a second '
        'one that joins would add is not in this table.',
    )


def _all_candidates(order: Sequence[str], synthetic: Aurocs, real: Aurocs) -> Table:
    def cell(name: str, one: str) -> str:
        return ' / '.join(
            f'{values[name][one]:.3f}' if one in values[name] else '-'
            for values in (synthetic, real)
        )

    return Table(
        'AUROC of each candidate: synthetic defects / real ones',
        ('set', *SHIPPED.order),
        [(name, *(cell(name, one) for one in SHIPPED.order)) for name in order],
        'A dash: not tried to the end, or it cannot be taught.',
    )


@click.command()
@click.argument('sets', nargs=-1)
@click.option('--features', type=click.Choice(list(FEATURES)), help='Default: with, if installed.')
@click.option(
    '--most-images', type=click.IntRange(min=8), default=DEFAULT_MOST_IMAGES, show_default=True
)
@click.option('--jobs', type=click.IntRange(min=1), default=2, show_default=True)
@click.option('--resume', is_flag=True, help='Keep what the same source has measured.')
def main(sets: tuple[str, ...], **options: Any) -> None:
    """
    Show what auto would choose for each of SETS if its constants had never seen that set.
    """
    for name in sets:
        if name not in SETS:
            raise click.BadParameter(f'there is no set {name}; there are: {", ".join(SETS)}')
    measure(sets or SETS, **options)


if __name__ == '__main__':
    main()
