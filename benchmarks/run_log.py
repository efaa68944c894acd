# SPDX-License-Identifier: Apache-2.0
"""
A log of benchmark runs that looked at what nobody may choose by.

"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, UTC
import json
from pathlib import Path
import subprocess
from typing import Any

from anomaly_inspection.errors import SettingError
from benchmarks.report import ROOT

FINAL_RUNS = Path(__file__).with_name('final_runs.jsonl')


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
