# SPDX-License-Identifier: Apache-2.0
"""
A process that reads recipes and says what came of it: a reader that hangs, or takes all memory,
takes only this process with it.

"""

from __future__ import annotations

from dataclasses import dataclass
import json
from pathlib import Path
import selectors
import subprocess
import sys

ROOT = Path(__file__).resolve().parents[2]

# No answer until then is a hang; a good recipe takes a fraction of a second.
HANGS_AFTER_S = 30.0

_CHILD = """
import json, resource, sys
from pathlib import Path
import cv2, numpy
from anomaly_inspection.recipes.folder import read_recipe

def memory_mb(key):
    for line in Path('/proc/self/status').read_text().splitlines():
        if line.startswith(key + ':'):
            return int(line.split()[1]) / 1024

# What grows without end must not take the machine.
resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
for line in sys.stdin:
    path, options = json.loads(line)
    before = memory_mb('VmRSS')
    Path('/proc/self/clear_refs').write_text('5')  # the peak begins anew
    error = recipe = None
    try:
        recipe = read_recipe(path, **options)
    except BaseException as caught:
        error = caught  # held, as a node may hold what it has to report
    peak, held = memory_mb('VmHWM') - before, memory_mb('VmRSS') - before
    print(json.dumps([type(error).__name__, str(error), peak, held]), flush=True)
    del error, recipe
"""


@dataclass(frozen=True)
class Answer:
    """
    What came of reading one recipe.

    Parameters
    ----------
    error : str
        Class of the exception; 'NoneType' when the recipe is good.
    message : str
        What it says.
    peak_mb : float
        Largest memory while reading, over that before.
    held_mb : float
        Memory afterwards, over that before, while the exception is still held.

    """

    error: str
    message: str
    peak_mb: float
    held_mb: float


class RecipeReader:
    """
    Reads recipes in a process of its own.

    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def read(self, path: Path, **options: int) -> Answer:
        """
        Read one recipe; raises TimeoutError when no answer comes.

        """
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, '-c', _CHILD],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=ROOT,
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([str(path), options]) + '\n')
        self._process.stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            if not selector.select(HANGS_AFTER_S):
                self.close()
                raise TimeoutError(f'no answer within {HANGS_AFTER_S:g} s')
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f'the reader died with status {self._process.wait()}')
        return Answer(*json.loads(answer))

    def close(self) -> None:
        """
        End the process.

        """
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None
