# SPDX-License-Identifier: Apache-2.0
"""
Figures over scored images, each with its 95 % interval.

Proportions have the exact interval of Clopper and Pearson. All other figures use a bootstrap over
images that draws good and defective images separately, so that no draw lacks a class. When the
classes separate perfectly, they do so in every draw, and the bootstrap interval has no width: read
the interval of the recall as well.

"""

from __future__ import annotations

from typing import NamedTuple, TYPE_CHECKING

import numpy as np
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from anomaly_inspection.learning.binomial import exact_interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Labels = NDArray[np.bool_]
    Values = NDArray[np.float64]
    Counts = NDArray[np.int32]

_DRAWS = 1000
_SEED = 1
_CONFIDENCE = 0.95


class Estimate(NamedTuple):
    """
    A figure with its 95 % interval.

    """

    value: float
    low: float
    high: float


def proportion(count: int, total: int) -> Estimate | None:
    """
    Give a share with its exact interval; see `learning/binomial.py`.

    Parameters
    ----------
    count, total : int
        0 <= count <= total.

    Returns
    -------
    Estimate or None
        None when `total` is 0.

    """
    if not total:
        return None
    return Estimate(count / total, *exact_interval(count, total, _CONFIDENCE))


def bootstrap_counts(is_defect: Labels) -> Counts:
    """
    Draw images with replacement; every draw keeps the numbers of good and defective images.

    Returns
    -------
    ndarray of int32, (draws, n)
        How often each image is in each draw; every call gives the same.

    """
    generator = np.random.default_rng(_SEED)
    counts = np.zeros((_DRAWS, is_defect.size), np.int32)
    for members in (np.flatnonzero(~is_defect), np.flatnonzero(is_defect)):
        if members.size:
            shares = np.full(members.size, 1 / members.size)
            counts[:, members] = generator.multinomial(members.size, shares, _DRAWS)
    return counts


def estimate(value: float, drawn: Values) -> Estimate:
    """
    Give a figure with the interval that holds 95 % of its values in the draws.

    """
    tail_percent = 50 * (1 - _CONFIDENCE)
    low, high = np.percentile(drawn, (tail_percent, 100 - tail_percent))
    return Estimate(float(value), float(low), float(high))


class Ranking(NamedTuple):
    """
    How well a score ranks defective parts (positive) above good ones, at any limit.

    Parameters
    ----------
    image_auroc : Estimate
        How often a defective part scores higher than a good one; ties count half.
    average_precision : Estimate
        Precision averaged over recall.
    f1_max : Estimate
        F1 at the best limit. It is high for any score when many parts are defective: rejecting
        everything gives 2p / (1 + p) at a share p of defects.

    """

    image_auroc: Estimate
    average_precision: Estimate
    f1_max: Estimate


def ranking(is_defect: Labels, scores: Values) -> Ranking | None:
    """
    Give the figures of a ranking.

    Parameters
    ----------
    is_defect : ndarray of bool, (n,)
        What is true.
    scores : ndarray of float64, (n,)
        High = anomalous; infinity for what could not be measured, which ranks highest.

    Returns
    -------
    Ranking or None
        None when there is only one class.

    """
    if is_defect.all() or not is_defect.any():
        return None
    # Only the order counts, and scikit-learn takes no infinity.
    places = np.unique(scores, return_inverse=True)[1]
    precision, recall, _ = precision_recall_curve(is_defect, places)
    values = (
        roc_auc_score(is_defect, places),
        average_precision_score(is_defect, places),
        (2 * precision * recall / np.maximum(precision + recall, 1e-12)).max(),
    )
    drawn = ranking_in_draws(is_defect, places, bootstrap_counts(is_defect))
    return Ranking(*map(estimate, values, drawn))


def ranking_in_draws(
    is_defect: Labels, scores: Values | NDArray[np.intp], counts: Counts
) -> tuple[Values, Values, Values]:
    """
    Give AUROC, average precision and highest F1 in each draw.

    scikit-learn takes one draw at a time and is a hundred times slower.

    """
    order = np.argsort(-scores, kind='stable')
    is_last_of_ties = np.append(np.diff(scores[order]) != 0, True)
    ordered = counts[:, order]
    zero = np.zeros((len(counts), 1))
    found, false = (
        np.hstack([zero, np.cumsum(ordered * one, axis=1)[:, is_last_of_ties]])
        for one in (is_defect[order], ~is_defect[order])
    )
    found_total, false_total = found[:, -1], false[:, -1]
    steps = np.diff(found, axis=1)
    area = (np.diff(false, axis=1) * (found[:, 1:] + found[:, :-1]) / 2).sum(axis=1)
    precision = found[:, 1:] / np.maximum(found[:, 1:] + false[:, 1:], 1)
    return (
        area / (found_total * false_total),
        (steps * precision).sum(axis=1) / found_total,
        (2 * found / (found + false + found_total[:, None])).max(axis=1),
    )


def balanced_accuracy(is_defect: Labels, is_rejected: Labels) -> Estimate | None:
    """
    Give the mean of the shares of defective parts rejected and of good parts passed.

    Returns
    -------
    Estimate or None
        None when there is only one class.

    """
    if is_defect.all() or not is_defect.any():
        return None
    is_right = is_defect == is_rejected
    drawn = [
        (bootstrap_counts(is_defect)[:, members] * is_right[members]).sum(axis=1) / members.sum()
        for members in (is_defect, ~is_defect)
    ]
    value = (is_right[is_defect].mean() + is_right[~is_defect].mean()) / 2
    return estimate(value, (drawn[0] + drawn[1]) / 2)


def f1(is_defect: Labels, is_rejected: Labels) -> Estimate | None:
    """
    Give F1 of the rejections; defective parts are the positive ones.

    Returns
    -------
    Estimate or None
        None when there is only one class.

    """
    if is_defect.all() or not is_defect.any():
        return None
    weights = np.vstack([np.ones((1, is_defect.size), np.int32), bootstrap_counts(is_defect)])
    found, total = ((weights * one).sum(axis=1) for one in (is_defect & is_rejected, is_defect))
    values = 2 * found / (total + (weights * is_rejected).sum(axis=1))
    return estimate(values[0], values[1:])


def auroc_difference(is_defect: Labels, first: Values, second: Values) -> Estimate | None:
    """
    Give by how much the image AUROC of `second` is above that of `first`, -1..1.

    Both score the same images, and each draw takes the same images for both (paired), so images
    that are hard for both do not widen the interval. The two differ if the interval excludes 0.

    Returns
    -------
    Estimate or None
        None when there is only one class.

    """
    if is_defect.all() or not is_defect.any():
        return None
    weights = np.vstack([np.ones((1, is_defect.size), np.int32), bootstrap_counts(is_defect)])
    areas = [
        ranking_in_draws(is_defect, np.unique(scores, return_inverse=True)[1], weights)[0]
        for scores in (first, second)
    ]
    difference = areas[1] - areas[0]
    return estimate(difference[0], difference[1:])
