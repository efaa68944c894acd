# SPDX-License-Identifier: Apache-2.0
"""
The same images give the same recipe, byte for byte, however busy the machine is.

"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
import re
import subprocess
import sys

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from anomaly_inspection.learning import scorer_choice
from anomaly_inspection.learning.teach import teach, TeachOptions
from anomaly_inspection.recipes.folder import write_recipe
from support.drawn_plate import plate

BUSY = 'print("busy", flush=True)\nwhile True: pass'
# When it was taught is the one thing that may differ.
CREATED = re.compile(rb'^created: .*$', re.MULTILINE)


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """
    Keep the cores busy until the block ends.

    """
    command = [sys.executable, '-c', BUSY]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(count)]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == b'busy\n'
        yield
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def taught(folder: Path) -> dict[str, bytes]:
    """
    Teach eight plates with nothing named; give the content of the recipe's files, without dates.

    """
    images = [(f'{seed}', plate(seed)) for seed in range(8)]
    write_recipe(teach(images, name='plate'), folder / 'plate')
    return {
        str(file.relative_to(folder)): CREATED.sub(b'', file.read_bytes())
        for file in sorted(folder.rglob('*'))
        if file.is_file()
    }


def test_the_same_images_give_the_same_recipe_on_a_busy_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # The others would only take longer.
    some = ('variation', 'patch_statistics')
    candidates = [one for one in scorer_choice.CANDIDATES if one[0] in some]
    monkeypatch.setattr(scorer_choice, 'CANDIDATES', tuple(candidates))
    idle = taught(tmp_path / 'idle')
    with busy_processes(4):
        busy = taught(tmp_path / 'busy')
    assert b'chosen: ' in idle['plate/recipe.yaml']
    assert idle.keys() == busy.keys()
    for name, content in idle.items():
        assert content == busy[name], name


def test_no_matrix_is_divided_among_threads_while_teaching() -> None:
    # With more threads the sums of a product are rounded differently, and small ones take longer.
    def threads() -> list[int]:
        return [pool['num_threads'] for pool in threadpool_info() if pool['user_api'] == 'blas']

    seen: set[int] = set()
    images = [(f'{seed}', plate(seed)) for seed in range(8)]
    options = TeachOptions(scorers=('variation',))
    with threadpool_limits(limits=2, user_api='blas'):
        teach(images, name='plate', options=options, progress=lambda *_: seen.update(threads()))
        after = threads()
    assert seen == {1}
    assert set(after) == {2}
