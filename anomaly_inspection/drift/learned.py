# SPDX-License-Identifier: Apache-2.0
"""
What the drift watch has learned of the first good parts of the line, kept on disk.

One file for each recipe; its name is the recipe's hash, and the hash stands in it as well.

"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TYPE_CHECKING

import numpy as np

from anomaly_inspection.drift.reference import condition_arrays, DriftReference, FEWEST_PARTS
from anomaly_inspection.errors import RecipeError, StateError
from anomaly_inspection.imaging.conditions import CELLS, CONDITIONS, GRID
from anomaly_inspection.printable import printable
from anomaly_inspection.recipes.budget import Budget
from anomaly_inspection.recipes.statistics_file import read_statistics, statistics_bytes
from anomaly_inspection.state_file import read_small_bytes, replace_file

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from anomaly_inspection.imaging.conditions import Conditions

_HASH, _MEASURE = 'recipe_hash', 'measure/'
_MOST_BYTES = 4_000_000
# A cell has some tens of products; the oldest files go.
_MOST_FILES = 100


@dataclass(frozen=True, eq=False)
class LearnedParts:
    """
    What good parts of the line were like.

    Parameters
    ----------
    arrays : mapping of str to ndarray of float64
        As `condition_arrays` gives them.
    measures : mapping of str to ndarray of float64, (n,)
        By 'scorer.measure'.
    count : int
        How many parts.

    """

    arrays: Mapping[str, NDArray[np.float64]]
    measures: Mapping[str, NDArray[np.float64]]
    count: int

    @classmethod
    def of(cls, parts: Sequence[tuple[Conditions, Mapping[str, float]]]) -> LearnedParts:
        """
        Sum up conditions and measures of good parts.

        """
        names = set.intersection(*(set(measures) for _, measures in parts))
        return cls(
            condition_arrays([conditions for conditions, _ in parts]),
            {name: np.array([measures[name] for _, measures in parts]) for name in sorted(names)},
            len(parts),
        )

    def reference(self, bad_is_low: frozenset[str]) -> DriftReference | None:
        """
        Give what later parts are compared with; None when it is too little.

        Parameters
        ----------
        bad_is_low : frozenset of str
            'scorer.measure' of the measures whose low values are bad.

        """
        return DriftReference.of_arrays(
            *(self.arrays, self.measures, bad_is_low, self.count), is_learned_on_line=True
        )


class LearnedFolder:
    """
    Keeps what was learned, and finds it again.

    Parameters
    ----------
    path : Path or None
        The folder; None = nothing is kept.

    """

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def find(self, recipe_hash: str, measures: Collection[str]) -> LearnedParts | None:
        """
        Give what was learned of a recipe; None when nothing was.

        Parameters
        ----------
        recipe_hash : str
            Of the recipe.
        measures : collection of str
            'scorer.measure' that the recipe has.

        Raises
        ------
        StateError
            When the file cannot be read or belongs to another recipe; says which and why.

        """
        if self._path is None:
            return None
        path = self._file(recipe_hash)
        try:
            content = read_small_bytes(path, _MOST_BYTES)
            return None if content is None else _parts(content, recipe_hash, measures)
        except (OSError, ValueError, RecipeError) as error:
            cause = getattr(error, 'strerror', None) or error
            raise StateError(f'{printable(path)} is left aside: {cause}') from error

    def keep(self, recipe_hash: str, parts: LearnedParts) -> None:
        """
        Keep what was learned of a recipe; blocks until the disk has it. Atomic.

        Raises
        ------
        StateError
            When it cannot be written; says where and why.

        """
        if self._path is None:
            return
        arrays: dict[str, NDArray[Any]] = {
            _HASH: np.array(recipe_hash),
            **parts.arrays,
            **{f'{_MEASURE}{name}': values for name, values in parts.measures.items()},
        }
        path = self._file(recipe_hash)
        try:
            replace_file(path, statistics_bytes(arrays))
        except OSError as error:
            raise StateError(f'cannot write {printable(path)}: {error.strerror}') from error
        self._remove_oldest()

    def _file(self, recipe_hash: str) -> Path:
        assert self._path is not None
        return self._path / f'{recipe_hash}.npz'

    def _remove_oldest(self) -> None:
        assert self._path is not None
        # Another process may remove one first.
        with suppress(OSError):
            files = sorted(self._path.glob('*.npz'), key=lambda file: file.stat().st_mtime)
            for file in files[:-_MOST_FILES]:
                file.unlink()


def _parts(content: bytes, recipe_hash: str, measures: Collection[str]) -> LearnedParts:
    """
    Read a file and check that it is what `keep` writes for that recipe.

    """
    known = {_HASH, *CONDITIONS, *CELLS, *(f'{_MEASURE}{name}' for name in measures)}
    arrays = read_statistics(content, known, Budget(_MOST_BYTES))
    found = arrays.pop(_HASH, np.array(''))
    if found.shape != () or str(found) != recipe_hash:
        raise RecipeError(f'it belongs to the recipe {printable(str(found))[:80]!r}')
    count = arrays['light'].size if 'light' in arrays else 0
    for name, values in arrays.items():
        shape = (2, *GRID) if name in CELLS else (count,)
        if values.shape != shape or values.dtype != np.float64 or count < FEWEST_PARTS:
            raise RecipeError(f'array {name!r} has {values.shape} numbers, wanted are {shape}')
    return LearnedParts(
        {name: values for name, values in arrays.items() if not name.startswith(_MEASURE)},
        {
            name.removeprefix(_MEASURE): values
            for name, values in arrays.items()
            if name.startswith(_MEASURE)
        },
        count,
    )
