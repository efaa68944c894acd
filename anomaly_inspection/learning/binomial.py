# SPDX-License-Identifier: Apache-2.0
"""
The exact confidence interval of a share (Clopper & Pearson 1934, doi:10.1093/biomet/26.4.404).

"""

from __future__ import annotations

from scipy.special import betaincinv


def upper_bound(count: int, total: int, confidence: float) -> float:
    """
    Give the share that the true one does not exceed, with this one-sided confidence.

    Parameters
    ----------
    count, total : int
        0 <= count <= total, total at least 1.
    confidence : float
        Over 0 and below 1.

    Returns
    -------
    float
        0..1.

    """
    return 1.0 if count == total else float(betaincinv(count + 1, total - count, confidence))


def exact_interval(count: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """
    Give the two-sided interval of the true share.

    Parameters
    ----------
    count, total : int
        0 <= count <= total, total at least 1.
    confidence : float
        Over 0 and below 1.

    Returns
    -------
    low, high : float
        0..1.

    """
    tail = (1.0 - confidence) / 2.0
    low = float(betaincinv(count, total - count + 1, tail)) if count else 0.0
    return low, upper_bound(count, total, 1.0 - tail)
