# SPDX-License-Identifier: Apache-2.0
"""
False alarms of the drift watch among millions of drawn scores, as they are too rare for pictures.

"""

from __future__ import annotations

from collections.abc import Iterator
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anomaly_inspection.drift.charts import Charts, limit_for
from anomaly_inspection.drift.reference import Scale
from anomaly_inspection.drift.watch import ALLOWANCE, allowance_for, FALSE_ALARM_RATE
from benchmarks.report import Table

SIDES = 30
CELL_SIDES = 3072
_DRAWS = {
    'normal': lambda scores: scores,
    'skewed': lambda scores: np.exp(0.5 * scores),
}


def drawn(
    watches: int, parts: int, *, taught: int, kind: str, correlation: float, seed: int
) -> dict[str, Any]:
    """
    Count false alarms of the charts of many watches; each has its own few taught parts.

    The numbers of a watch have fifteen two-sided charts, each with a limit as in a watch with 30
    sides.

    """
    rng, count = np.random.default_rng(seed), watches * SIDES // 2
    draw = _DRAWS[kind]
    scales = [Scale.of(draw(rng.standard_normal(taught))) for _ in range(count)]
    scored = _Table(scales, -8.0, 25.0)
    charts = Charts(
        np.full(count, allowance_for(taught, SIDES)),
        np.full(count, limit_for(FALSE_ALARM_RATE / 2 / SIDES, ALLOWANCE)),
    )
    has_alarmed = np.zeros(count, np.bool_)
    alarms, was = 0, charts.is_alarmed
    for moment, values in enumerate(_followed(rng, parts, count, correlation)):
        charts.add(scored(draw(values)), moment)
        alarms += int((charts.is_alarmed & ~was).sum())
        was = charts.is_alarmed
        has_alarmed |= was.any(axis=0)
    per_watch = has_alarmed.reshape(watches, -1).any(axis=1)
    return {
        'taught': taught,
        'scores': kind,
        'correlation': correlation,
        'parts': watches * parts,
        'false_alarms': alarms,
        'watches': watches,
        'watches_with_one': int(per_watch.sum()),
        'measured_correlation': float(charts.correlation.mean()),
    }


def _followed(
    rng: np.random.Generator, parts: int, count: int, correlation: float
) -> Iterator[NDArray[np.float64]]:
    scores = rng.standard_normal(count)
    fresh = math.sqrt(1.0 - correlation**2)
    for _ in range(parts):
        yield scores
        scores = correlation * scores + fresh * rng.standard_normal(count)


class _Table:
    """
    The scales of many charts, as one table from value to score on an even grid.

    """

    def __init__(self, scales: list[Scale | None], low: float, high: float) -> None:
        grid = np.linspace(low, high, 2001)
        self._low, self._step = low, grid[1] - grid[0]
        self._scores = np.stack([scale.score(grid) for scale in scales if scale is not None])
        self._rows = np.arange(len(self._scores))

    def __call__(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        place = np.clip((values - self._low) / self._step, 0, self._scores.shape[1] - 1.001)
        left = place.astype(np.int64)
        share = place - left
        low, high = self._scores[self._rows, left], self._scores[self._rows, left + 1]
        return low + share * (high - low)


def drawn_cells(watches: int, parts: int, *, taught: int, seed: int) -> dict[str, Any]:
    """
    Count false alarms of the cells of many watches.

    """
    rng, count = np.random.default_rng(seed), CELL_SIDES // 2
    has_alarmed, alarms = 0, 0
    for _ in range(watches):
        good = rng.standard_normal((taught, count))
        mean, spread = good.mean(axis=0), good.std(axis=0, ddof=1)
        charts = Charts(
            np.full(count, allowance_for(taught, CELL_SIDES)),
            np.full(count, limit_for(FALSE_ALARM_RATE / 2 / CELL_SIDES, ALLOWANCE)),
        )
        was, any_alarm = charts.is_alarmed, False
        for moment in range(parts):
            charts.add((rng.standard_normal(count) - mean) / spread, moment)
            alarms += int((charts.is_alarmed & ~was).sum())
            was = charts.is_alarmed
            any_alarm = any_alarm or bool(was.any())
        has_alarmed += any_alarm
    return {
        'taught': taught,
        'scores': 'cells',
        'correlation': 0.0,
        'parts': watches * parts,
        'false_alarms': alarms,
        'watches': watches,
        'watches_with_one': has_alarmed,
    }


def false_alarm_table(rows: list[dict[str, Any]]) -> Table:
    """
    Lay out the false alarms among drawn scores.

    """
    return Table(
        'False alarms without change',
        ('taught parts', 'scores', 'correlation', 'parts', 'alarms', 'per 100,000', 'watches'),
        [
            (
                *(row['taught'], row['scores'], row['correlation'], row['parts']),
                *(row['false_alarms'], 1e5 * row['false_alarms'] / row['parts']),
                f'{row["watches_with_one"]} of {row["watches"]}',
            )
            for row in rows
        ],
    )
