# SPDX-License-Identifier: Apache-2.0
"""
Outcomes of the accuracy benchmark on disk, so that an interrupted run can go on.

"""

from __future__ import annotations

from dataclasses import asdict
from hashlib import sha256
from importlib.metadata import distributions
import json
import os
import re
from typing import TYPE_CHECKING

from benchmarks.accuracy_result import Outcome
from benchmarks.report import plain, ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.accuracy_run import Task

# What decides the figures: the product, and the procedure. The layout of the report does not.
_SOURCES = (
    'anomaly_inspection/**/*.py',
    'benchmarks/accuracy_run.py',
    'benchmarks/accuracy_scenarios.py',
    'benchmarks/real_sets.py',
    'benchmarks/simple_methods.py',
)


def source_hash(root: Path = ROOT) -> str:
    """
    Give a hash of all that decides the figures: sources and installed packages.

    """
    digest = sha256()
    for pattern in _SOURCES:
        for path in sorted(root.glob(pattern)):
            digest.update(f'{path.relative_to(root)}\0'.encode())
            digest.update(path.read_bytes())
    installed = {f'{one.name} {one.version}' for one in distributions()}
    digest.update('\n'.join(sorted(installed)).encode())
    return digest.hexdigest()


class OutcomeStore:
    """
    A folder with one file for each task.

    Parameters
    ----------
    folder : Path
        Made when the first outcome is written.
    source : str
        As `source_hash` gives it; outcomes of another source are not taken.

    """

    def __init__(self, folder: Path, source: str) -> None:
        self._folder = folder
        self._source = source

    def read(self, task: Task) -> list[Outcome] | None:
        """
        Give the outcomes of the same task by the same source; None when there are none.

        """
        try:
            content = json.loads(self._path(task).read_text(encoding='utf-8'))
            if content['key'] != self._key(task):
                return None
            return [Outcome(**outcome) for outcome in content['outcomes']]
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, task: Task, outcomes: Sequence[Outcome]) -> None:
        """
        Keep the outcomes of a task, in the place of older ones.

        """
        self._folder.mkdir(parents=True, exist_ok=True)
        content = {'key': self._key(task), 'outcomes': [asdict(one) for one in outcomes]}
        path = self._path(task)
        unfinished = path.with_suffix('.part')
        unfinished.write_text(json.dumps(plain(content)) + '\n', encoding='utf-8')
        os.replace(unfinished, path)

    def _path(self, task: Task) -> Path:
        label = re.sub(r'\W+', '_', task.label)
        words = (task.name, '+'.join(task.scenarios), task.features, *filter(None, [label]))
        return self._folder / f'{"-".join(words)}.json'

    def _key(self, task: Task) -> str:
        return sha256(f'{self._source} {task!r}'.encode()).hexdigest()
