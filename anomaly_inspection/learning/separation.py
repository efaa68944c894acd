# SPDX-License-Identifier: Apache-2.0
"""
How well anomaly scores separate damaged parts from good ones.

"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

if TYPE_CHECKING:
    from numpy.typing import NDArray


def auroc(good: NDArray[np.float64], damaged: NDArray[np.float64]) -> float:
    """
    Give how often a damaged part scores higher than a good one; ties count half.

    Parameters
    ----------
    good, damaged : ndarray of float64
        Anomaly scores, at least one of each; may be infinite.

    Returns
    -------
    float
        0..1; 0.5 = the scores tell nothing.

    """
    is_damaged = np.repeat([False, True], [good.size, damaged.size])
    # Only the order counts, and scikit-learn takes no infinity.
    return float(roc_auc_score(is_damaged, rankdata(np.concatenate([good, damaged]))))
