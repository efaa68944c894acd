# SPDX-License-Identifier: Apache-2.0
"""
How well the regions found agree with the defects marked: precision, recall, F1 and IoU.

A region is a connected area (8-neighbourhood): on one side of the map over the region limit, on
the other of the mask. Boxes are half-open: 10 columns from 0 on end at 10 and are 10 px wide. All
regions of an image count, none is chosen, and each is matched with one of the other side at most.

"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TYPE_CHECKING

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment

from anomaly_inspection.errors import SettingError
from anomaly_inspection.evaluation.figures import bootstrap_counts, Estimate, estimate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]
    Values = NDArray[np.float64]

#: That of the DeepPCB data set (Tang et al. 2019, arXiv:1902.06197).
IOU_AT_LEAST = 0.33


@dataclass(frozen=True, eq=False)
class RegionMatch:
    """
    How the regions found in one image meet the defects marked in it.

    Parameters
    ----------
    true_count, found_count : int
        Regions of the mask and of the map.
    box_ious, mask_ious : ndarray of float64, (pairs,)
        IoU of each matched pair, matched by their boxes and matched by their pixels.
    union_iou : float
        IoU of all pixels found and all pixels marked; NaN when there are neither.

    """

    true_count: int
    found_count: int
    box_ious: Values
    mask_ious: Values
    union_iou: float


def check_iou(at_least: float) -> None:
    """
    Refuse an IoU that no pair, or every pair, would reach.

    """
    if not 0 < at_least <= 1:
        raise SettingError(f'the least IoU of a match is {at_least}; allowed: over 0 and up to 1')


def found_mask(anomaly_map: NDArray[np.float32], limit: float, min_area_px: int) -> Mask:
    """
    Give where a map lies over a limit, without the regions smaller than `min_area_px`.

    """
    over = anomaly_map > limit
    count, labels, stats, _ = cv2.connectedComponentsWithStats(over.view(np.uint8), connectivity=8)
    is_large = stats[:count, cv2.CC_STAT_AREA] >= min_area_px
    is_large[0] = False
    return np.asarray(is_large[labels])


def match_regions(true: Mask, found: Mask, at_least: float = IOU_AT_LEAST) -> RegionMatch:
    """
    Match the regions found in one image with the defects marked in it.

    Parameters
    ----------
    true, found : ndarray of bool, (H, W)
        Where the defects are, and where something was found; both may be empty.
    at_least : float
        Lower IoU is no match, over 0 and up to 1.

    """
    true_count, true_labels, true_boxes = _components(true)
    found_count, found_labels, found_boxes = _components(found)
    both = true & found
    shared = np.bincount(
        true_labels[both] * found_count + found_labels[both], minlength=true_count * found_count
    ).reshape(true_count, found_count)
    areas = [
        np.bincount(labels[mask], minlength=count)
        for labels, mask, count in (
            (true_labels, true, true_count),
            (found_labels, found, found_count),
        )
    ]
    united = np.count_nonzero(true | found)
    return RegionMatch(
        true_count=true_count,
        found_count=found_count,
        box_ious=_matched(box_ious(true_boxes, found_boxes), at_least),
        mask_ious=_matched(_ratio(shared, areas[0][:, None] + areas[1] - shared), at_least),
        union_iou=np.count_nonzero(both) / united if united else float('nan'),
    )


def box_ious(first: NDArray[np.intp], second: NDArray[np.intp]) -> Values:
    """
    Give the IoU of each of some boxes with each of others.

    Parameters
    ----------
    first, second : ndarray of int, (n, 4) and (m, 4)
        Half-open boxes: x_min, y_min, x_max, y_max.

    Returns
    -------
    ndarray of float64, (n, m)
        0 (apart) to 1 (the same).

    """
    one, other = first[:, None], second[None]
    low, high = np.maximum(one[..., :2], other[..., :2]), np.minimum(one[..., 2:], other[..., 2:])
    shared = np.maximum(high - low, 0).prod(axis=-1)
    areas = [(boxes[..., 2:] - boxes[..., :2]).prod(axis=-1) for boxes in (one, other)]
    return _ratio(shared, areas[0] + areas[1] - shared)


def _components(mask: Mask) -> tuple[int, NDArray[np.intp], NDArray[np.intp]]:
    """
    Give number, labels (from 0 on; -1 elsewhere) and half-open boxes of the regions of a mask.

    """
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    boxes = stats[1:, : cv2.CC_STAT_AREA].astype(np.intp)
    boxes[:, 2:] += boxes[:, :2]
    return count - 1, labels.astype(np.intp) - 1, boxes


def _matched(ious: Values, at_least: float) -> Values:
    """
    Give the IoU of the matched pairs: as many pairs as can be, and of these the highest sum.

    """
    is_match = ious >= at_least
    # One more pair outweighs whatever all the others could gain.
    weights = np.where(is_match, ious + min(ious.shape), 0.0)
    rows, columns = linear_sum_assignment(weights, maximize=True)
    return np.asarray(ious[rows, columns][is_match[rows, columns]])


def _ratio(part: NDArray[np.intp], whole: NDArray[np.intp]) -> Values:
    return np.asarray(part / np.maximum(whole, 1), np.float64)


class Agreement(NamedTuple):
    """
    How the regions agree, matched one way.

    Parameters
    ----------
    precision : Estimate or None
        Share of the regions found that match a defect; None when none was found.
    recall : Estimate
        Share of the defects that match a region found.
    f1 : Estimate
        2 matches / (defects + regions found).
    mean_iou, median_iou : Estimate or None
        Over the matched pairs; None when there are none.

    """

    precision: Estimate | None
    recall: Estimate | None
    f1: Estimate | None
    mean_iou: Estimate | None
    median_iou: Estimate | None


class UnionAgreement(NamedTuple):
    """
    IoU of all that was found and all that is marked in an image, over the images with a defect.

    """

    mean_iou: Estimate | None
    median_iou: Estimate | None


class RegionFigures(NamedTuple):
    """
    How well the regions found agree with the defects marked, all images together.

    Parameters
    ----------
    box, mask : Agreement
        Matched by the IoU of half-open boxes, and by that of pixels.
    union_mask : UnionAgreement
        Whatever the regions: of pixels, image by image.

    """

    box: Agreement
    mask: Agreement
    union_mask: UnionAgreement


def region_figures(matches: Sequence[RegionMatch]) -> RegionFigures | None:
    """
    Give the figures over all images of which it is known where their defects are, good ones too:
    what is found in a good image is a false region.

    Returns
    -------
    RegionFigures or None
        None when no image has a defect.

    """
    is_defect = np.array([one.true_count > 0 for one in matches], bool)
    if not is_defect.any():
        return None
    counts = bootstrap_counts(is_defect)
    unions = np.array([one.union_iou for one in matches])
    return RegionFigures(
        _agreement(matches, [one.box_ious for one in matches], counts),
        _agreement(matches, [one.mask_ious for one in matches], counts),
        UnionAgreement(*_mean_and_median(unions[is_defect], counts[:, is_defect])),
    )


def _agreement(
    matches: Sequence[RegionMatch], ious: Sequence[Values], counts: NDArray[np.int32]
) -> Agreement:
    pairs = np.array([one.size for one in ious])
    true = np.array([one.true_count for one in matches])
    found = np.array([one.found_count for one in matches])
    image_of_pair = np.repeat(np.arange(len(matches)), pairs)
    return Agreement(
        *(
            _share(factor * pairs, total, counts)
            for factor, total in ((1, found), (1, true), (2, true + found))
        ),
        *_mean_and_median(np.concatenate(ious), counts[:, image_of_pair]),
    )


def _share(
    part: NDArray[np.intp], whole: NDArray[np.intp], counts: NDArray[np.int32]
) -> Estimate | None:
    if not whole.any():
        return None
    drawn = counts @ whole
    has_any = drawn > 0
    return estimate(part.sum() / whole.sum(), (counts @ part)[has_any] / drawn[has_any])


def _mean_and_median(
    values: Values, counts: NDArray[np.int32]
) -> tuple[Estimate, Estimate] | tuple[None, None]:
    """
    Give mean and median of values, each drawn as often as its image is.

    """
    if not values.size:
        return None, None
    order = np.argsort(values)
    values, counts = values[order], counts[:, order]
    sums = np.cumsum(counts, axis=1)
    sums = sums[sums[:, -1] > 0]
    totals = sums[:, -1:]
    means = np.diff(sums, axis=1, prepend=0) @ values / totals[:, 0]
    middles = [values[(sums > place).argmax(axis=1)] for place in ((totals - 1) // 2, totals // 2)]
    return (
        estimate(float(values.mean()), means),
        estimate(float(np.median(values)), (middles[0] + middles[1]) / 2),
    )
