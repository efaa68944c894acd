# SPDX-License-Identifier: Apache-2.0
"""
How well anomaly maps show where the defects are: pixel AUROC and AUPRO.

Maps are not kept: each leaves three histograms over one fixed row of thresholds, 0.8 % apart at
every size of value (the upper 13 bits of half precision). Memory grows with the number of images,
not with their size, and the bootstrap needs no pixel again. Against all pixels sorted, the figures
differ by less than 0.001.

"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TYPE_CHECKING

import cv2
import numpy as np
from sklearn.metrics import auc

from anomaly_inspection.evaluation.figures import bootstrap_counts, Estimate, estimate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

HIGHEST_FALSE_POSITIVE_RATE = 0.3
_DROPPED_BITS = 3
_LEVELS = 1 << (16 - _DROPPED_BITS)
_DRAWS_AT_ONCE = 50


@dataclass(frozen=True, eq=False)
class MapHistograms:
    """
    What is kept of one anomaly map.

    Parameters
    ----------
    background : ndarray of int32, (levels,)
        Pixels without a defect at each level of the map.
    defect : ndarray of int32, (levels,)
        Pixels of a defect.
    overlap : ndarray of float32, (levels,)
        The same, each divided by the size of its defect (connected region of the mask): summed
        from above, the sum over the defects of how much of each is found.
    defect_count : int
        Number of such regions.

    """

    background: NDArray[np.int32]
    defect: NDArray[np.int32]
    overlap: NDArray[np.float32]
    defect_count: int


def map_histograms(anomaly_map: NDArray[np.float32], mask: NDArray[np.bool_]) -> MapHistograms:
    """
    Take from a map what the figures need.

    Parameters
    ----------
    anomaly_map : ndarray of float32, (H, W)
        High = anomalous; no NaN.
    mask : ndarray of bool, (H, W)
        Where the defects are.

    """
    levels = _levels(anomaly_map)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    sizes = np.maximum(stats[:, cv2.CC_STAT_AREA], 1)
    inside = levels[mask]
    return MapHistograms(
        background=np.bincount(levels[~mask], minlength=_LEVELS).astype(np.int32),
        defect=np.bincount(inside, minlength=_LEVELS).astype(np.int32),
        overlap=np.bincount(inside, 1.0 / sizes[labels[mask]], _LEVELS).astype(np.float32),
        defect_count=count - 1,
    )


def _levels(anomaly_map: NDArray[np.float32]) -> NDArray[np.uint16]:
    """
    Number the values in their order, coarsely: the bits of a positive float are in its order.

    """
    largest = float(np.finfo(np.float16).max)
    # Adding 0 makes of -0 the 0 that it equals.
    half = np.clip(anomaly_map, -largest, largest).astype(np.float16) + np.float16(0)
    bits = half.view(np.uint16)
    in_order = np.where(bits >= 0x8000, ~bits, bits | np.uint16(0x8000))
    return np.asarray(in_order >> _DROPPED_BITS, np.uint16)


class PixelFigures(NamedTuple):
    """
    How well the maps show where the defects are.

    Parameters
    ----------
    pixel_auroc : Estimate
        How often a pixel of a defect lies higher in the map than one of the background.
    aupro : Estimate
        Area under the mean overlap with each defect over the share of background pixels taken for
        defects, up to a share of 0.3, divided by 0.3 (Bergmann et al. 2021,
        doi:10.1007/s11263-020-01400-4).

    """

    pixel_auroc: Estimate
    aupro: Estimate


def pixel_figures(histograms: Sequence[MapHistograms]) -> PixelFigures | None:
    """
    Give pixel AUROC and AUPRO over all maps.

    Returns
    -------
    PixelFigures or None
        None when no map has a defect or none has background.

    """
    is_defect = np.array([one.defect_count > 0 for one in histograms], bool)
    background = np.array([one.background for one in histograms], np.float32)
    if not is_defect.any() or not background.any():
        return None
    defect = np.array([one.defect for one in histograms], np.float32)
    overlap = np.array([one.overlap for one in histograms], np.float32)
    used = np.flatnonzero(background.any(axis=0) | defect.any(axis=0))[::-1]
    rows = [one[:, used] for one in (background, defect, overlap)]
    counts = bootstrap_counts(is_defect)
    drawn = np.vstack(
        [_areas(some, *rows) for some in np.array_split(counts, len(counts) // _DRAWS_AT_ONCE)]
    )
    point = _areas(np.ones((1, len(histograms)), np.int32), *rows)
    return PixelFigures(*(estimate(point[0, i], drawn[:, i]) for i in (0, 1)))


def _areas(
    counts: NDArray[np.int32],
    background: NDArray[np.float32],
    defect: NDArray[np.float32],
    overlap: NDArray[np.float32],
) -> NDArray[np.float64]:
    """
    Give AUROC and AUPRO for each row of counts (how often each image is drawn).

    Columns of the histograms are levels of the map, highest first.

    """
    # Whole numbers up to 2**24 are exact, and in single precision it takes half the time.
    weights = counts.astype(np.float32)
    false_rates, true_rates, overlaps = (
        _shares_from_above(weights @ one) for one in (background, defect, overlap)
    )
    return np.array(
        [
            (auc(false_rate, true_rate), _area_up_to_limit(false_rate, overlapped))
            for false_rate, true_rate, overlapped in zip(
                false_rates, true_rates, overlaps, strict=True
            )
        ]
    )


def _shares_from_above(histograms: NDArray[np.float32]) -> NDArray[np.float64]:
    sums = np.cumsum(histograms, axis=1, dtype=np.float64)
    return np.hstack([np.zeros((len(sums), 1)), sums / sums[:, -1:]])


def _area_up_to_limit(false_rates: NDArray[np.float64], overlaps: NDArray[np.float64]) -> float:
    end = HIGHEST_FALSE_POSITIVE_RATE
    is_inside = false_rates < end
    x = np.append(false_rates[is_inside], end)
    y = np.append(overlaps[is_inside], np.interp(end, false_rates, overlaps))
    return float(auc(x, y) / end)
