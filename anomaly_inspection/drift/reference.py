# SPDX-License-Identifier: Apache-2.0
"""
The drift reference: how good parts looked at teaching, and how far a part is from that.

"""

from __future__ import annotations

from dataclasses import dataclass
import math
from statistics import NormalDist
from typing import TYPE_CHECKING

import cv2
import numpy as np

from anomaly_inspection.imaging.conditions import CELLS, CONDITIONS
from anomaly_inspection.scoring.measure import BadSide

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from anomaly_inspection.imaging.conditions import Conditions
    from anomaly_inspection.recipes.recipe import Recipe

#: Fewer good parts do not say how good parts differ.
FEWEST_PARTS = 20
# Smaller deviations of good parts count as these: nobody wants to hear of smaller changes, and
# alike teaching images must not make every camera's day a drift.
_LEAST_SPREADS = {
    'light': 0.01,
    'colour_blue': 0.01,
    'colour_red': 0.01,
    'sharpness': 0.03,
    'position_x': 0.5,
    'position_y': 0.5,
    'rotation': 0.1,
    'size': 0.001,
    'certainty': 0.01,
    'background': 0.02,
    'background_blue': 0.01,
    'background_red': 0.01,
}
_LEAST_CELL_SPREAD = 0.015
_LEAST_SHARE_OF_TYPICAL = 0.005
# A measure with one value in most parts is no scale.
_MOST_ALIKE = 0.5
_CELL_NEIGHBOURS = 5


@dataclass(frozen=True, eq=False)
class Scale:
    """
    How one condition or measure differs between good parts.

    Values become normal scores: the value of rank i of n good parts has the score that the normal
    distribution has there. So scores of good parts are normal, whatever the distribution is.
    Beyond the furthest good parts, scores go on in proportion.

    Parameters
    ----------
    places : ndarray of float64, (m,)
        Different values of good parts, rising.
    scores : ndarray of float64, (m,)
        Their normal scores.
    typical, spread : float
        Median of the good parts, and their deviation, over 0.

    """

    places: NDArray[np.float64]
    scores: NDArray[np.float64]
    typical: float
    spread: float

    @classmethod
    def of(cls, values: Sequence[float] | NDArray[np.float64], least: float = 0.0) -> Scale | None:
        """
        Make the scale of the values of good parts; None when they are too few or too much alike.

        Parameters
        ----------
        values : sequence of float
            Finite.
        least : float
            A smaller deviation counts as this one.

        """
        ordered = np.sort(np.asarray(values, np.float64))
        count = ordered.size
        if count < FEWEST_PARTS:
            return None
        places, first, repeats = np.unique(ordered, return_index=True, return_counts=True)
        middle = float(np.median(ordered))
        least = max(least, _LEAST_SHARE_OF_TYPICAL * abs(middle), 1e-9)
        if repeats.max() > _MOST_ALIKE * count and least <= 1e-9:
            return None
        normal = NormalDist()
        ranks = first + (repeats - 1) / 2.0
        scores = np.array([normal.inv_cdf((rank + 0.5) / count) for rank in ranks])
        spread = float(ordered.std(ddof=1))
        # Scores of parts that differ less than `least` shrink, so that `least` is one deviation.
        scores = scores * min(1.0, spread / least)
        return cls(places, scores, middle, max(spread, least))

    def score(self, values: NDArray[np.float64] | float) -> NDArray[np.float64]:
        """
        Give the scores of values, in deviations of good parts; NaN stays NaN.

        """
        values = np.asarray(values, np.float64)
        below = np.minimum(values - self.places[0], 0.0)
        above = np.maximum(values - self.places[-1], 0.0)
        inside = np.interp(values, self.places, self.scores)
        return np.asarray(inside + (below + above) / self.spread, np.float64)


@dataclass(frozen=True, eq=False)
class CellScale:
    """
    How the cells of a grid differ between good parts.

    Parameters
    ----------
    mean, spread : ndarray of float32, `GRID`
        Of each cell, logarithm of gray levels; the spread is that of the local difference.

    """

    mean: NDArray[np.float32]
    spread: NDArray[np.float32]

    @classmethod
    def of(cls, cells: Sequence[NDArray[np.float32]]) -> CellScale:
        """
        Make the scale of the cells of good parts.

        """
        mean = np.asarray(np.mean(cells, axis=0, dtype=np.float64), np.float32)
        local = [_local(one - mean) for one in cells]
        return cls(mean, np.std(local, axis=0, ddof=1).astype(np.float32))

    def score(self, cells: NDArray[np.float32]) -> NDArray[np.float64]:
        """
        Give by how many deviations each cell differs from its neighbours, beside good parts.

        """
        return _local(cells - self.mean).astype(np.float64) / self.used_spread

    @property
    def used_spread(self) -> NDArray[np.float32]:
        """
        The deviation of each cell that a score of 1 stands for.

        """
        return np.maximum(self.spread, np.float32(_LEAST_CELL_SPREAD))


def _local(difference: NDArray[np.float32]) -> NDArray[np.float32]:
    """
    Take away what the neighbourhood shares: lamps that stand elsewhere light whole sides.

    """
    around = cv2.medianBlur(np.ascontiguousarray(difference, np.float32), _CELL_NEIGHBOURS)
    return difference - np.asarray(around, np.float32)


@dataclass(frozen=True, eq=False)
class DriftReference:
    """
    How good parts looked.

    Parameters
    ----------
    conditions : dict of str to Scale
        By name, out of `CONDITIONS`.
    measures : dict of str to Scale
        By 'scorer.measure'; scores rise towards the bad side.
    bad_is_low : frozenset of str
        Measures whose low values are bad.
    cells : dict of str to CellScale
        By name, out of `CELLS`.
    count : int
        How many different good parts it comes from.
    is_learned_on_line : bool
        Whether these were parts of the line, not those of teaching.

    """

    conditions: dict[str, Scale]
    measures: dict[str, Scale]
    bad_is_low: frozenset[str]
    cells: dict[str, CellScale]
    count: int
    is_learned_on_line: bool = False

    @classmethod
    def of_arrays(
        cls,
        arrays: Mapping[str, NDArray[np.float64]],
        good: Mapping[str, NDArray[np.float64]],
        bad_is_low: frozenset[str],
        count: int,
        *,
        is_learned_on_line: bool = False,
    ) -> DriftReference | None:
        """
        Make the reference of what is known of good parts; None when it is too little.

        Parameters
        ----------
        arrays : mapping of str to ndarray
            As `condition_arrays` gives them.
        good : mapping of str to ndarray of float64, (n,)
            Good parts, where these are taught ones held-out ones, by 'scorer.measure'.
        bad_is_low : frozenset of str
            Measures whose low values are bad.
        count : int
            How many different parts they were.
        is_learned_on_line : bool
            Whether these were parts of the line, not those of teaching.

        """
        if count < FEWEST_PARTS:
            return None
        conditions = _scales({name: arrays[name] for name in CONDITIONS if name in arrays})
        if 'light' not in conditions:
            return None
        cells = {
            name: CellScale(*np.asarray(arrays[name], np.float32))
            for name in CELLS
            if name in arrays
        }
        measures = _measure_scales(good, bad_is_low)
        return cls(conditions, measures, bad_is_low, cells, count, is_learned_on_line)


def reference_of(recipe: Recipe) -> DriftReference | None:
    """
    Give what a recipe says of its good parts; None when that is too little to compare with.

    """
    good = {
        f'{scorer}.{measure}': values
        for scorer, part in recipe.scorers.items()
        for measure, values in part.good.items()
        if measure not in part.not_judged
    }
    counts = [len(values) for values in recipe.conditions.values() if values.ndim == 1]
    count = min(counts, default=0)
    independent = recipe.provenance.independent_count
    return DriftReference.of_arrays(
        recipe.conditions,
        good,
        low_is_bad(recipe),
        min(count, independent) if independent else count,
    )


def low_is_bad(recipe: Recipe) -> frozenset[str]:
    """
    Give the measures of a recipe whose low values are bad, as 'scorer.measure'.

    """
    return frozenset(
        f'{scorer}.{spec.name}'
        for scorer in recipe.scorers
        for spec in recipe.measures(scorer)
        if spec.bad_side is BadSide.LOW
    )


def _scales(arrays: Mapping[str, NDArray[np.float64]]) -> dict[str, Scale]:
    found = {name: Scale.of(values, _LEAST_SPREADS[name]) for name, values in arrays.items()}
    return {name: scale for name, scale in found.items() if scale is not None}


def _measure_scales(
    good: Mapping[str, NDArray[np.float64]], bad_is_low: frozenset[str]
) -> dict[str, Scale]:
    found = {
        name: Scale.of(-values if name in bad_is_low else values)
        for name, values in good.items()
        if not _is_mostly_alike(values)
    }
    return {name: scale for name, scale in found.items() if scale is not None}


def _is_mostly_alike(values: NDArray[np.float64]) -> bool:
    return bool(np.unique(values, return_counts=True)[1].max() > _MOST_ALIKE * len(values))


def condition_arrays(conditions: Sequence[Conditions]) -> dict[str, NDArray[np.float64]]:
    """
    Give what a recipe holds of the conditions of its good parts.

    Returns
    -------
    dict of str to ndarray of float64
        By name out of `CONDITIONS`, (n,): one value a part, where all have one. By name out of
        `CELLS`, (2, rows, columns): mean and spread of each cell.

    """
    arrays = {
        name: np.array([one.values[name] for one in conditions])
        for name in CONDITIONS
        if all(name in one.values and math.isfinite(one.values[name]) for one in conditions)
    }
    for name in CELLS:
        cells = [one.cells[name] for one in conditions if name in one.cells]
        if len(cells) == len(conditions) >= 2:
            scale = CellScale.of(cells)
            arrays[name] = np.stack([scale.mean, scale.spread]).astype(np.float64)
    return arrays
