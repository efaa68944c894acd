# SPDX-License-Identifier: Apache-2.0
"""
Judge the confirmed bad parts of a recipe in a process of its own, so that inspection goes first.

The child reads one JSON line, the two folders, from its standard input, and writes one JSON line.

"""

from __future__ import annotations

from contextlib import suppress
import json
import os
from pathlib import Path
import subprocess
import sys
from typing import Any, TYPE_CHECKING

from anomaly_inspection.errors import InspectionError, RecipeError
from anomaly_inspection.reviewing.bad_parts import (
    BadPartCheck,
    BadParts,
    checked_by_limits,
    measured_bad_parts,
    MeasuredBadPart,
)

if TYPE_CHECKING:
    from anomaly_inspection.recipes.recipe import Recipe

_NICENESS = 15
# The kernel ends this process first when memory runs out, and not the sorter.
_OOM_SCORE = 900
_TIMEOUT_S = 150.0
_LONGEST_LINE = 20_000


def check_apart(
    recipe: Recipe, folder: Path | None = None, *, timeout_s: float = _TIMEOUT_S
) -> BadPartCheck:
    """
    Judge the confirmed bad parts by a recipe; blocks, and returns at once where there are none.

    Parameters
    ----------
    recipe : Recipe
        Its limits count.
    folder : Path, optional
        Where a version lies that measures just so; the folder of the recipe by default.
    timeout_s : float
        How long it may take, seconds.

    Raises
    ------
    RecipeError
        When the parts cannot be read or judged: then nobody knows whether it would pass them.

    """
    folder = folder or recipe.path
    if folder is None or not BadParts(folder).all():
        return BadPartCheck((), (), 0)
    package = Path(__file__).resolve().parents[2]
    path = os.pathsep.join(filter(None, (str(package), os.environ.get('PYTHONPATH', ''))))
    unknown = 'the parts that people have confirmed as bad could not be judged'
    try:
        done = subprocess.run(
            [sys.executable, '-m', 'anomaly_inspection.reviewing.check_process'],
            input=json.dumps({'recipe': str(folder)}) + '\n',
            stdout=subprocess.PIPE,
            text=True,
            timeout=timeout_s,
            check=False,
            process_group=0,
            env={**os.environ, 'PYTHONPATH': path},
        )
        answer = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        raise RecipeError(f'{unknown} within {timeout_s:g} s') from None
    except OSError as error:
        raise RecipeError(f'{unknown}: {error.strerror}') from error
    except ValueError:
        raise RecipeError(f'{unknown}: the check ended with status {done.returncode}') from None
    if 'error' in answer:
        raise RecipeError(f'{unknown}: {answer["error"]}')
    return checked_by_limits(recipe, [MeasuredBadPart(*part) for part in answer['parts']])


def _answer(job: dict[str, Any]) -> dict[str, Any]:
    from anomaly_inspection.recipes.folder import read_recipe

    folder = Path(job['recipe'])
    try:
        measured = measured_bad_parts(read_recipe(folder), BadParts(folder))
    except InspectionError as error:
        return {'error': str(error)}
    return {'parts': [[part.name, part.reason, part.measures] for part in measured]}


def main() -> int:
    """
    Judge the job that stands on the standard input.

    """
    # What a library prints must not come between.
    out = os.fdopen(os.dup(sys.stdout.fileno()), 'w', encoding='utf-8')
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    os.nice(_NICENESS)
    with suppress(OSError):
        Path('/proc/self/oom_score_adj').write_text(str(_OOM_SCORE), encoding='ascii')
    with out:
        out.write(json.dumps(_answer(json.loads(sys.stdin.readline(_LONGEST_LINE)))) + '\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
