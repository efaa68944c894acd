# SPDX-License-Identifier: Apache-2.0
"""
The quick median is the median.

"""

from __future__ import annotations

import numpy as np
import pytest

from anomaly_inspection.imaging.quick_median import quick_median


@pytest.mark.parametrize('count', [1, 2, 3, 4, 511, 512])
@pytest.mark.parametrize('dtype', [np.float32, np.float64])
def test_it_is_what_numpy_gives_to_the_last_bit(count: int, dtype: type) -> None:
    values = np.random.default_rng(count).normal(size=count).astype(dtype)
    # Equal values, as levels of a camera are.
    values[: count // 2] = np.round(values[: count // 2])
    before = values.copy()
    assert quick_median(values) == np.median(values)
    assert np.array_equal(values, before)
