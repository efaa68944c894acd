# SPDX-License-Identifier: Apache-2.0
"""
Teach one real set by the product's own command, and judge its test images by another.

"""

from __future__ import annotations

from dataclasses import dataclass, replace
import json
from pathlib import Path
import tempfile
from typing import Any, TYPE_CHECKING

import numpy as np

from anomaly_inspection.capture.image_folder import ImageFolder
from anomaly_inspection.errors import InspectionError
from anomaly_inspection.evaluation.figures import ranking
from anomaly_inspection.evaluation.judged_image import NO_PART
from anomaly_inspection.recipes.folder import read_recipe
from benchmarks.accuracy_result import ONLY, Outcome, WITHOUT
from benchmarks.accuracy_scenarios import folder_to_teach, folder_to_test, Scenario, SCENARIOS
from benchmarks.command_run import PRODUCT, run_command
from benchmarks.real_sets import frames_of, REGIONS
from benchmarks.simple_methods import SimpleMethods, small_gray

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.command_run import CommandRun

_TAUGHT, _UNFIT = 0, 1


@dataclass(frozen=True)
class Task:
    """
    What is taught once: one recipe, and the scenarios that judge with it.

    Parameters
    ----------
    dataset : Path
        The set.
    taught : str
        Which of its good images, see `Scenario`.
    features : str
        Whether pretrained features are at hand, see `accuracy_result.FEATURES`.
    scenarios : tuple of str
        Their names.
    shares : tuple of str
        The shares of the test images to judge.
    scorers : tuple of str
        To teach; none = what the product takes by default.
    settings : tuple of str
        Of these scorers, as `teach --setting` takes them.
    most_images : int, optional
        Good images and test images at most, for a quick look.
    time_limit_s : float
        A command that takes longer is ended.
    label : str
        Tells tasks of a set apart that differ in their scorers.

    """

    dataset: Path
    taught: str
    features: str
    scenarios: tuple[str, ...]
    shares: tuple[str, ...]
    scorers: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    most_images: int | None = None
    time_limit_s: float = 900.0
    label: str = ''

    @property
    def name(self) -> str:
        """
        Name of the set.

        """
        return self.dataset.name


def outcomes_of(task: Task) -> list[Outcome]:
    """
    Teach and judge; a failure is an outcome too.

    """
    with tempfile.TemporaryDirectory() as scratch:
        empty = [Outcome(task.name, scenario, task.features) for scenario in task.scenarios]
        try:
            return _measured(task, empty, Path(scratch))
        except (InspectionError, OSError) as error:
            return [replace(outcome, failed=str(error)) for outcome in empty]


def _measured(task: Task, empty: Sequence[Outcome], scratch: Path) -> list[Outcome]:
    good = folder_to_teach(task.dataset, task.taught, task.most_images, _new(scratch / 'good'))
    recipe = scratch / 'recipes' / task.name
    run = _product(task, ['teach', str(good), '--recipe', str(recipe), *_options(task)])
    taught: dict[str, Any] = {
        'taught_images': _count(good),
        'teach_s': run.wall_s,
        'teach_processor_s': run.processor_s,
        'teach_memory_mb': run.memory_mb,
    }
    if run.status not in (_TAUGHT, _UNFIT) or not recipe.is_dir():
        return [replace(one, **taught, failed=f'teach: {run.sentence}') for one in empty]
    taught.update(_read(recipe))
    return [_judged(task, replace(one, **taught), recipe, good, scratch) for one in empty]


def _options(task: Task) -> list[str]:
    options = ['--no-self-test']
    if task.name in REGIONS:
        region = REGIONS[task.name]
        options += ['--roi', f'{region.x},{region.y},{region.width},{region.height}']
    scorers = ('features',) if task.features == ONLY else task.scorers
    for scorer in scorers:
        options += ['--scorer', scorer]
    for setting in task.settings:
        options += ['--setting', setting]
    return options


def _product(task: Task, arguments: Sequence[str]) -> CommandRun:
    module = 'benchmarks.without_pretrained' if task.features == WITHOUT else PRODUCT
    return run_command(arguments, module=module, time_limit_s=task.time_limit_s)


def _read(recipe: Path) -> dict[str, Any]:
    taught = read_recipe(recipe)
    promised = taught.provenance.promised_rate
    return {
        'scorers': {name: dict(part.settings) for name, part in taught.scorers.items()},
        'choice': list(taught.provenance.choice),
        'alignment': taught.preprocessing.alignment.kind,
        'light': taught.preprocessing.light,
        'promised_rate': promised if promised < 1.0 else None,
        'independent_count': taught.provenance.independent_count,
        'images': list(taught.provenance.images),
        'left_out': list(taught.provenance.left_out),
    }


def _judged(task: Task, outcome: Outcome, recipe: Path, good: Path, scratch: Path) -> Outcome:
    """
    Judge the test images of one scenario.

    """
    scenario = next(one for one in SCENARIOS if one.name == outcome.scenario)
    shares: dict[str, dict[str, Any]] = {}
    simple: dict[str, dict[str, Sequence[float] | None]] = {}
    for share in task.shares:
        tests = folder_to_test(
            task.dataset,
            share,
            scenario,
            task.most_images,
            _new(scratch / f'{scenario.name}_{share}'),
        )
        written = tests / 'figures.json'
        run = _product(task, ['evaluate', str(recipe), str(tests), '--json', str(written)])
        if run.status not in (_TAUGHT, _UNFIT) or not written.is_file():
            return replace(outcome, failed=f'evaluate: {run.sentence}')
        shares[share] = _kept(json.loads(written.read_text(encoding='utf-8')))
        if _compares(task, scenario):
            simple[share] = _simple_aurocs(good, tests, shares[share], task.name)
    return replace(outcome, shares=shares, simple=simple)


def _compares(task: Task, scenario: Scenario) -> bool:
    """
    Tell whether simple methods judge the same images; once a set is enough.

    """
    return scenario.name == 'plain' and task.features != ONLY


def _kept(figures: dict[str, Any]) -> dict[str, Any]:
    """
    Leave out what names a folder of this run, and what each image was compared with.

    """
    rows = [
        {key: row[key] for key in ('name', 'defect', 'anomaly_score', 'verdict', 'reason')}
        for row in figures['images']
    ]
    kept = {key: value for key, value in figures.items() if key not in ('recipe', 'dataset')}
    return {**kept, 'images': rows}


def _simple_aurocs(
    good: Path, tests: Path, figures: Mapping[str, Any], name: str
) -> dict[str, Sequence[float] | None]:
    region = REGIONS.get(name)
    methods = SimpleMethods([small_gray(image, region) for _, image in frames_of(good)])
    parts = {row['name']: row['defect'] for row in figures['images'] if row['defect'] != NO_PART}
    scored = [
        (parts[each] != 'good', methods.scores(small_gray(image, region)))
        for each, image in frames_of(tests / 'test')
        if each in parts
    ]
    is_defect = np.array([defective for defective, _ in scored], bool)
    ranked = {
        way: ranking(is_defect, np.array([scores[way] for _, scores in scored]))
        for way in (scored[0][1] if scored else ())
    }
    return {way: one and one.image_auroc for way, one in ranked.items()}


def _count(folder: Path) -> int:
    with ImageFolder(folder) as source:
        return len(source.names)


def _new(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder
