# SPDX-License-Identifier: Apache-2.0
"""
A scale on which the measures of good parts are close to normal, and high is bad.

"""

from __future__ import annotations

from dataclasses import dataclass
import math
from typing import TYPE_CHECKING

import numpy as np

from anomaly_inspection.scoring.measure import BadSide

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly_inspection.scoring.measure import MeasureSpec


@dataclass(frozen=True)
class MeasureScale:
    """
    The ends of a measure after it was signed so that high values are bad.

    Parameters
    ----------
    sign : float
        1 or -1: signed value = sign * value.
    perfect, worst : float
        Signed ends of the reachable range; infinite = unbounded.

    """

    sign: float
    perfect: float
    worst: float

    @classmethod
    def of(cls, bad_side: BadSide, minimum: float, maximum: float) -> MeasureScale:
        """
        Make the scale of a measure with this reachable range.

        """
        if bad_side == BadSide.HIGH:
            return cls(1.0, minimum, maximum)
        return cls(-1.0, -maximum, -minimum)

    @classmethod
    def of_spec(cls, spec: MeasureSpec) -> MeasureScale:
        """
        Make the scale of a measure.

        """
        return cls.of(spec.bad_side, spec.minimum, spec.maximum)

    @property
    def has_perfect_end(self) -> bool:
        """
        Whether a value can be perfect.

        """
        return math.isfinite(self.perfect)

    def signed(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """
        Give values with high = bad.

        """
        return self.sign * values

    def normalized(self, signed: NDArray[np.float64]) -> NDArray[np.float64]:
        """
        Give signed values on the scale where they are close to normal.

        The cube root of the distance from the perfect end (Wilson & Hilferty,
        doi:10.1073/pnas.17.12.684); the signed value itself where there is no such end.

        """
        return np.cbrt(signed - self.perfect) if self.has_perfect_end else signed

    def restored(self, normal: float) -> float:
        """
        Give the signed value of a normalized one.

        """
        return self.perfect + normal**3 if self.has_perfect_end else normal
