# SPDX-License-Identifier: Apache-2.0
"""
The report of the detection benchmark: its tables, its figures and its heat maps.

"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, TYPE_CHECKING

import numpy as np

from anomaly_inspection.capture.simulated_defects import MISSING_BORE
from anomaly_inspection.evaluation.figures import proportion
from anomaly_inspection.evaluation.run_summary import (
    LARGE_CONTRAST_LEVELS,
    LARGE_DIAMETER_PX,
)
from benchmarks.charts import heat_maps
from benchmarks.detection_result import COMBINED, CONTRASTS_LEVELS, DIAMETERS_PX, JudgedPart
from benchmarks.report import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anomaly_inspection.evaluation.figures import Estimate


def _bin(value: float, edges: Sequence[int]) -> int:
    """
    Give the cell of a value. The true value is measured and may be slightly outside the range.

    """
    return min(max(int(np.searchsorted(edges, value, 'right')) - 1, 0), len(edges) - 2)


def _cells(parts: Sequence[JudgedPart], way: str) -> list[list[Estimate | None]]:
    shape = (len(CONTRASTS_LEVELS) - 1, len(DIAMETERS_PX) - 1)
    found, total = np.zeros(shape, int), np.zeros(shape, int)
    for part in parts:
        cell = (
            _bin(part.contrast_levels, CONTRASTS_LEVELS),
            _bin(part.diameter_px, DIAMETERS_PX),
        )
        total[cell] += 1
        found[cell] += part.rejected[way]
    return [
        [
            proportion(int(found[row, column]), int(total[row, column]))
            for column in range(shape[1])
        ]
        for row in range(shape[0])
    ]


def _rate(parts: Sequence[JudgedPart], way: str) -> Estimate | None:
    return proportion(sum(part.rejected[way] for part in parts), len(parts))


def _percent(rate: Estimate | None) -> str:
    if rate is None:
        return '-'
    return f'{100 * rate.value:.1f} % ({100 * rate.low:.1f}..{100 * rate.high:.1f})'


def _ranges(edges: Sequence[int]) -> list[str]:
    return [f'{low}-{high}' for low, high in pairwise(edges)]


def tables_of(
    good: Sequence[JudgedPart], defective: Sequence[JudgedPart], ways: Sequence[str]
) -> list[Table]:
    """
    Give all tables.

    """
    large = [part for part in defective if part.is_large]
    missed = [part for part in large if not part.rejected[COMBINED]]
    rejected = [part for part in good if part.rejected[COMBINED]]
    return [
        _summary(good, defective, ways),
        *(_by_contrast_and_diameter(defective, way) for way in ways),
        _by_kind(defective, ways),
        *([_parts('Large defects that passed', missed)] if missed else []),
        *([_parts('Good parts that were rejected', rejected)] if rejected else []),
    ]


def _summary(
    good: Sequence[JudgedPart], defective: Sequence[JudgedPart], ways: Sequence[str]
) -> Table:
    large = [part for part in defective if part.is_large]
    drawn = [part for part in large if part.defect != MISSING_BORE]
    return Table(
        f'Found of {len(defective)} defective parts, rejected of {len(good)} good ones',
        (
            'judged by',
            f'>= {LARGE_DIAMETER_PX:g} px and >= {LARGE_CONTRAST_LEVELS:g} levels ({len(large)})',
            f'of these no missing bore ({len(drawn)})',
            'all defects',
            'good parts rejected',
        ),
        [
            (way, *(_percent(_rate(parts, way)) for parts in (large, drawn, defective, good)))
            for way in ways
        ],
        'In brackets the exact 95 % interval. "combined": any limit of any scorer rejects.',
    )


def _by_contrast_and_diameter(defective: Sequence[JudgedPart], way: str) -> Table:
    labels = reversed(_ranges(CONTRASTS_LEVELS))
    rows = [
        (
            f'{label} levels',
            *('-' if rate is None else f'{100 * rate.value:.0f} %' for rate in row),
        )
        for label, row in zip(labels, reversed(_cells(defective, way)), strict=True)
    ]
    diameters = tuple(f'{label} px' for label in _ranges(DIAMETERS_PX))
    return Table(f'Found by contrast and diameter, {way}', ('', *diameters), rows)


def _by_kind(defective: Sequence[JudgedPart], ways: Sequence[str]) -> Table:
    rows = []
    for kind in sorted({part.defect for part in defective}):
        of_kind = [part for part in defective if part.defect == kind]
        large = [part for part in of_kind if part.is_large]
        rates = (_percent(_rate(large, way)) for way in ways)
        rows.append((kind, len(of_kind), len(large), *rates))
    return Table(
        f'Found by kind, >= {LARGE_DIAMETER_PX:g} px and >= {LARGE_CONTRAST_LEVELS:g} levels',
        ('kind', 'parts', 'so large', *ways),
        rows,
        'A missing bore has the size and contrast of a bore, whatever the ranges say.',
    )


def _parts(title: str, parts: Sequence[JudgedPart]) -> Table:
    return Table(
        title,
        ('part', 'kind', 'diameter / px', 'contrast / levels', 'beyond its limit'),
        [
            (
                part.index,
                part.defect,
                part.diameter_px,
                part.contrast_levels,
                part.grounds or 'none',
            )
            for part in parts
        ],
    )


def figures_of(
    good: Sequence[JudgedPart], defective: Sequence[JudgedPart], ways: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """
    Give the figures of each way, for the JSON file.

    """
    return {
        way: {
            'found_large': _rate([part for part in defective if part.is_large], way),
            'found': _rate(defective, way),
            'false_reject_rate': _rate(good, way),
            'found_by_contrast_and_diameter': _cells(defective, way),
        }
        for way in ways
    }


def heat_maps_of(defective: Sequence[JudgedPart], ways: Sequence[str]) -> str:
    """
    Draw the share of defects found by each way, as SVG.

    """
    nan = float('nan')
    return heat_maps(
        'Share of defects found, by contrast and diameter',
        {
            way: [[rate.value if rate else nan for rate in row] for row in _cells(defective, way)]
            for way in ways
        },
        columns=_ranges(DIAMETERS_PX),
        rows=_ranges(CONTRASTS_LEVELS),
        column_title='diameter / px',
        row_title='contrast / gray levels',
    )
