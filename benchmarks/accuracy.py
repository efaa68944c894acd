# SPDX-License-Identifier: Apache-2.0
"""
Measure how well real defects are found: the product's own commands, with their defaults, on every
real set.

For each set: `teach` on train/good alone, then `evaluate` on test images. Nothing is resized, and
nothing is told to the product but the region of interest, where the README of a set gives one. The
scenarios of `accuracy_scenarios.py` teach less, or move the test images.

A hash of their names divides the test images into thirds. A plain run opens only the files of the
`dev` third, and choices may be made by it. `--final` also opens the other two thirds and adds a
line to benchmarks/final_runs.jsonl, so that nobody can look unseen.

"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import as_completed, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
import sys
import traceback
from typing import Any

import click
import cv2

from anomaly_inspection.errors import SettingError
from benchmarks.accuracy_chart import chart_of
from benchmarks.accuracy_result import (
    FEATURES,
    mean_auroc,
    mean_balanced_accuracy,
    Outcome,
    pooled,
    WITH,
    WITHOUT,
)
from benchmarks.accuracy_run import outcomes_of, Task
from benchmarks.accuracy_scenarios import (
    has_one_size,
    MOST_TESTS,
    ONE_PART,
    SCENARIO_NAMES,
    SCENARIOS,
)
from benchmarks.accuracy_store import OutcomeStore, source_hash
from benchmarks.accuracy_tables import goals_of, groups_of, tables_of
from benchmarks.real_sets import DATASETS, DEV, FINAL, SETS
from benchmarks.report import machine, publish, RESULTS
from benchmarks.run_log import FINAL_RUNS, logged
from benchmarks.without_pretrained import PACKAGE

DEFAULT_JOBS, DEFAULT_TIME_LIMIT_S = 2, 900.0


def measure(
    sets: Sequence[str] = SETS,
    *,
    scenarios: Sequence[str] = SCENARIO_NAMES,
    features: Sequence[str] | None = None,
    scorers: Sequence[str] = (),
    most_images: int | None = None,
    jobs: int = DEFAULT_JOBS,
    time_limit_s: float = DEFAULT_TIME_LIMIT_S,
    resume: bool = False,
    final: bool = False,
    datasets: Path = DATASETS,
    folder: Path | None = None,
    log: Path = FINAL_RUNS,
) -> Path:
    """
    Run the benchmark.

    Parameters
    ----------
    sets : sequence of str
        Their names; the report names those that are missing.
    scenarios : sequence of str
        Names of `SCENARIOS`.
    features : sequence of str, optional
        Keys of `FEATURES`; by default with and without the pretrained network, or only without
        where it is not installed.
    scorers : sequence of str
        The scorers to teach, the same for all sets; none = as `teach` chooses by default.
    most_images : int, optional
        Good images and test images of a set at most, for a quick look.
    jobs : int
        How many sets are taught and judged at the same time.
    time_limit_s : float
        A command that takes longer is ended, and counts as failed.
    resume : bool
        Take the outcomes of an earlier run of the same source from its folder.
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
    present = [name for name in sets if (datasets / name).is_dir()]
    if not present:
        raise SettingError(f'none of {", ".join(sets)} is in {datasets}')
    features = features or available_features()
    shares = (DEV, FINAL) if final else (DEV,)
    cropped = [name for name in present if not has_one_size(datasets / name)]
    tasks = [
        Task(
            datasets.absolute() / name,
            taught,
            each,
            tuple(one.name for one in SCENARIOS if one.taught == taught and one.name in scenarios),
            shares,
            tuple(scorers),
            most_images=most_images,
            time_limit_s=time_limit_s,
        )
        for each in features
        for name in present
        for taught in dict.fromkeys(one.taught for one in SCENARIOS if one.name in scenarios)
        if taught != ONE_PART or name not in cropped
    ]
    settings = {
        'scorers': list(scorers) or ['the default of teach'],
        'scenarios': list(scenarios),
        'features': list(features),
        'most_images': most_images,
        'sets': present,
        'without_one_part': cropped,
    }
    folder = folder or RESULTS / 'accuracy'
    store = OutcomeStore(folder / 'outcomes', source_hash())
    outcomes: list[Outcome] = []
    with logged(log, settings, lambda: _brief(outcomes)) if final else _unlogged():
        for _, done in outcomes_by_task(tasks, jobs, store, resume=resume):
            outcomes += done
    outcomes.sort(key=lambda o: (sets.index(o.set_name), SCENARIO_NAMES.index(o.scenario)))
    absent = [name for name in sets if name not in present]
    written = publish(
        'accuracy',
        _introduction(settings, absent, jobs, final=final),
        tables_of(outcomes, shares),
        plot=chart_of(outcomes, shares[-1]),
        figures=_figures(settings, outcomes, shares),
        before=before,
        folder=folder,
    )
    _complain(outcomes)
    return written


def available_features() -> tuple[str, ...]:
    """
    Give what can be compared on this machine: without the pretrained network, and with it.

    """
    return (WITH, WITHOUT) if find_spec(PACKAGE) else (WITHOUT,)


def outcomes_by_task(
    tasks: Sequence[Task], jobs: int, store: OutcomeStore, *, resume: bool
) -> Iterator[tuple[Task, list[Outcome]]]:
    """
    Give the outcomes of each task as it ends, and keep them.

    Parameters
    ----------
    tasks : sequence of Task
        Their commands run in processes of their own.
    jobs : int
        How many run at the same time.
    store : OutcomeStore
        Where they are kept.
    resume : bool
        Take from the store what is there.

    """
    waiting = []
    for task in tasks:
        kept = store.read(task) if resume else None
        if kept is None:
            waiting.append(task)
        else:
            yield task, kept
    if resume:
        print(f'{len(tasks) - len(waiting)} of {len(tasks)} are there', file=sys.stderr)
    pool = ThreadPoolExecutor(jobs)
    try:
        running = {pool.submit(outcomes_of, task): task for task in waiting}
        for done, future in enumerate(as_completed(running), start=1):
            task = running[future]
            try:
                outcomes = future.result()
            except Exception:  # noqa: BLE001 (a fault in one set must not cost the others)
                traceback.print_exc()
                fault = f'the benchmark: {traceback.format_exc().splitlines()[-1]}'
                outcomes = [
                    Outcome(task.name, one, task.features, failed=fault) for one in task.scenarios
                ]
            else:
                store.write(task, outcomes)
            print(f'{done}/{len(waiting)} {_line(task, outcomes)}', file=sys.stderr, flush=True)
            yield task, outcomes
    finally:
        pool.shutdown(cancel_futures=True)


def _line(task: Task, outcomes: Sequence[Outcome]) -> str:
    texts = []
    for one in outcomes:
        judged = one.judged(DEV)
        if judged is None:
            texts.append(f'{one.scenario} failed: {one.failed}')
            continue
        auroc = judged.figure('image_auroc')
        good, defective = (judged.rejected(good=each) for each in (True, False))
        texts.append(
            f'{one.scenario} AUROC {auroc.value if auroc else float("nan"):.3f}, rejected '
            f'{good[0]} of {good[1]} good and {defective[0]} of {defective[1]} defective'
        )
    took = f'taught in {outcomes[0].teach_s:.0f} s' if outcomes else ''
    return f'{task.name} {task.label or task.taught} {task.features}: {took}; {"; ".join(texts)}'


def _introduction(
    settings: dict[str, Any], absent: Sequence[str], jobs: int, *, final: bool
) -> str:
    scorers = ', '.join(settings['scorers'])
    lines = [
        "The product's own commands on each set: `teach` on train/good alone with scorers: "
        f'{scorers}, then `evaluate`. Nothing is resized or told to them but the region of '
        'interest, where the README of a set gives one. '
        f'{jobs} at a time, so the times are those of a busy machine.'
    ]
    if final:
        lines.append(
            'dev: the third of the test images, by a hash of their names, that choices may use. '
            'final: the other two thirds, which no choice has seen; every look at them is in '
            'benchmarks/final_runs.jsonl.'
        )
    else:
        lines.append(
            'Judged on the dev third of the test images, by a hash of their names; no other file '
            'was opened.'
        )
    lines += [f'{one.name}: {one.what}.' for one in SCENARIOS if one.name in settings['scenarios']]
    lines.append(
        f'Scenarios other than plain judge at most {MOST_TESTS} test images of a set, spread '
        'evenly.'
    )
    if settings['without_one_part'] and ONE_PART in settings['scenarios']:
        lines.append(
            f'{ONE_PART} leaves out {", ".join(settings["without_one_part"])}: images '
            'differ in size, and a recipe taught on one size refuses the others.'
        )
    if settings['most_images'] is not None:
        lines.append(
            f'A quick look: at most {settings["most_images"]} good images and as many test images.'
        )
    if absent:
        lines.append(f'Missing in ../shared/datasets: {", ".join(absent)}.')
    return '\n\n'.join([lines[0] + ' ' + lines[1], *lines[2:]])


def _figures(
    settings: dict[str, Any], outcomes: Sequence[Outcome], shares: Sequence[str]
) -> dict[str, Any]:
    return {
        'settings': settings,
        'goals': [one._asdict() for one in goals_of(outcomes, shares[-1])],
        'all_sets': {
            f'{features}/{scenario}/{share}': {
                'image_auroc': mean_auroc(judged),
                'balanced_accuracy': mean_balanced_accuracy(judged),
                'false_reject_rate': pooled(judged, good=True),
                'recall': pooled(judged, good=False),
                'failed': [one.set_name for one in group if one.failed],
            }
            for (features, scenario), group in groups_of(outcomes).items()
            for share in shares
            for judged in [[one for one in (each.judged(share) for each in group) if one]]
        },
        'outcomes': [asdict(one) for one in outcomes],
    }


@contextmanager
def _unlogged() -> Iterator[None]:
    yield


def _brief(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """
    Give what the log keeps of each set and scenario.

    """
    return {
        f'{one.set_name}/{one.scenario}/{one.features}': {
            share: judged.brief() for share in one.shares if (judged := one.judged(share))
        }
        or {'failed': one.failed}
        for one in outcomes
    }


def _complain(outcomes: Sequence[Outcome]) -> None:
    failed = [one for one in outcomes if one.failed]
    if failed:
        print(f'{len(failed)} of {len(outcomes)} outcomes are failures', file=sys.stderr)


@click.command()
@click.argument('sets', nargs=-1)
@click.option(
    '--scenario',
    'scenarios',
    multiple=True,
    type=click.Choice(SCENARIO_NAMES),
    help='May be given several times. Default: all.',
)
@click.option(
    '--features',
    multiple=True,
    type=click.Choice(list(FEATURES)),
    help='With the pretrained network, without it, or scorer features only; may be given several '
    'times. Default: with and without.',
)
@click.option(
    '--scorer',
    'scorers',
    multiple=True,
    help='May be given several times. Default: as teach chooses.',
)
@click.option(
    '--most-images',
    type=click.IntRange(min=8),
    help='Good images and test images of a set at most, for a quick look.',
)
@click.option(
    '--jobs',
    type=click.IntRange(min=1),
    default=DEFAULT_JOBS,
    show_default=True,
    help='How many sets are taught and judged at the same time.',
)
@click.option(
    '--time-limit-s',
    type=click.FloatRange(min=1),
    default=DEFAULT_TIME_LIMIT_S,
    show_default=True,
    help='A command that takes longer is ended and counts as failed.',
)
@click.option(
    '--resume',
    is_flag=True,
    help='Go on with an interrupted run: keep what the same source has measured.',
)
@click.option('--final', is_flag=True, help='Read the final two thirds too; this is logged.')
def main(sets: tuple[str, ...], scenarios: tuple[str, ...], **options: Any) -> None:
    """
    Measure how well the defects of real sets are found; all of SETS by default.
    """
    for name in sets:
        if name not in SETS:
            raise click.BadParameter(f'there is no set {name}; there are: {", ".join(SETS)}')
    measure(
        sets or SETS,
        scenarios=scenarios or SCENARIO_NAMES,
        **options,
    )


if __name__ == '__main__':
    main()
