# SPDX-License-Identifier: Apache-2.0
"""
Calibrate: derive the limit of a measure from good parts that the scorer has not seen in fitting.

The model. Let d be the distance of a measure from its perfect end (its `minimum` when high values
are bad, its `maximum` when low values are bad) and y = d^(1/3), the scale on which sums of squares
are close to normal (Wilson & Hilferty, doi:10.1073/pnas.17.12.684); y = the signed measure itself
where there is no such end. With the median m of y and the root mean square s of y - m over the
worse half of the n good parts,

    limit: y = m + t(1 - rate; n / 2) * s * sqrt(1 + 1 / n)

t being Student's quantile with n / 2 degrees of freedom, because s comes from half of the parts.
For normal y this is the one-sided prediction limit of Hahn & Meeker, Statistical Intervals (1991),
chapter 4; the worse half stands for both because only its tail matters and good parts are often
skewed.

A measure that is perfect in at least half of the good parts (the largest region) has no such s.
There the k values that are not perfect are taken as Weibull with the shape 1/2, a tail much
heavier than exponential, because an area jumps when neighbouring places join: with b the mean of
d^(1/2), the limit is the predictive one,

    limit: d^(1/2) = K * b * ((k / (n * rate))^(1 / K) - 1),   K = k + 2

wide for few values; the 2 keeps one single value from giving no limit at all.

The further the rate lies below 1 / n, the more it rests on the model. Simulated with n = 14 to 200
at a rate of 0.0625 %, the rates met were 0.02..0.11 % on normal, exponential and log-normal (sigma
0.3) values, 0.14..0.28 % on Gumbel and shifted exponential, 0.3..0.4 % on log-normal (sigma 1)
values.

A limit is never inside the sample: it keeps a tenth of the way from typical to the worst good part
as a margin beyond that part.

"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import stdtrit

from anomaly_inspection.errors import SettingError
from anomaly_inspection.recipes.recipe import MeasureLimit
from anomaly_inspection.scoring.measure import BadSide

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from anomaly_inspection.scoring.measure import MeasureSpec

_FEWEST_VALUES = 4
_MARGIN_BEYOND_WORST = 0.1
_TAIL_SHAPE = 0.5
# Good parts that hardly differ (a simulation without noise) must not give a limit that any camera
# would trip over.
_SMALLEST_STEP = 0.05
_SMALLEST_STEP_OF_RANGE = 0.01
OUTLYING_DEVIATIONS = 8.0
_MEDIAN_OF_HALF_NORMAL = 0.6745


def limit_from_good(
    values: Sequence[float] | NDArray[np.float64],
    bad_side: BadSide,
    false_reject_rate: float,
    minimum: float = -math.inf,
    maximum: float = math.inf,
) -> MeasureLimit:
    """
    Give the limit that one measure of good parts exceeds at a wanted rate, and its typical value.

    Parameters
    ----------
    values : sequence of float
        The measure of held-out good parts, finite, within the range, at least 4.
    bad_side : BadSide
        Where anomalous values lie.
    false_reject_rate : float
        Share of good parts that may lie beyond this limit, over 0 and below 0.5. Smaller never
        gives a tighter limit.
    minimum, maximum : float
        Reachable range of the measure; infinite = unbounded.

    Returns
    -------
    MeasureLimit
        Rounded to six digits. The limit lies beyond every value and inside the reachable range.

    Raises
    ------
    SettingError
        When values are too few, not finite or outside of the range, the rate is out of range, or a
        typical good part already sits at the bad end, so that no limit can tell anything.

    """
    good = np.asarray(values, dtype=np.float64)
    reachable = int(((good >= minimum) & (good <= maximum) & np.isfinite(good)).sum())
    if good.size < _FEWEST_VALUES or reachable < good.size:
        raise SettingError(
            f'{good.size} measures of good parts, {reachable} of them from {minimum:g} to '
            f'{maximum:g} and finite; needed: at least {_FEWEST_VALUES}, all of them'
        )
    check_rate(false_reject_rate)
    signed, perfect, worst = _high_is_bad(good, bad_side, minimum, maximum)
    typical = _rounded(float(np.median(signed)))
    limit = max(
        _extrapolated(signed, perfect, false_reject_rate),
        typical + (1.0 + _MARGIN_BEYOND_WORST) * (float(signed.max()) - typical),
        typical + _smallest_step(typical, perfect, worst),
    )
    limit = min(_rounded(limit), worst)
    if limit <= typical:
        raise SettingError(
            f'typical good parts measure {np.median(good):g}, which is the bad end of the range '
            f'{minimum:g} to {maximum:g}: no limit can be set'
        )
    sign = 1.0 if bad_side == BadSide.HIGH else -1.0
    return MeasureLimit(limit=sign * limit, typical=sign * typical)


def check_rate(false_reject_rate: float) -> None:
    """
    Raise SettingError unless a false-reject rate is over 0 and below 0.5.

    """
    if not 0.0 < false_reject_rate < 0.5:
        raise SettingError(
            f'false-reject rate is {false_reject_rate}; allowed: over 0 and below 0.5'
        )


def outliers(
    values: NDArray[np.float64], spec: MeasureSpec, deviations: float = OUTLYING_DEVIATIONS
) -> list[int]:
    """
    Find good parts so far on the bad side of the others that they cannot be like them.

    On the scale of the limit's model and with the median over the worse half, which a few outliers
    cannot move. Far is so many deviations, more for few parts, and at least twice the typical
    distance from the perfect end.

    Parameters
    ----------
    values : ndarray of float, (n,)
        One measure of held-out parts; one that is not finite is an outlier.
    spec : MeasureSpec
        The measure.
    deviations : float
        How far is too far.

    Returns
    -------
    list of int
        Their indices.

    """
    signed, perfect, _ = _high_is_bad(values, spec.bad_side, spec.minimum, spec.maximum)
    scaled = _scaled(signed, perfect)
    finite = scaled[np.isfinite(scaled)]
    if finite.size == 0:
        return list(range(len(values)))
    middle = float(np.median(finite))
    worse = np.sort(finite)[finite.size // 2 :] - middle
    spread = float(np.median(worse)) / _MEDIAN_OF_HALF_NORMAL
    far = middle + deviations * (1.0 + 8.0 / len(values)) * spread
    far = max(_unscaled(far, perfect), _unscaled(middle, perfect) + _doubling(middle, perfect))
    return [int(index) for index in np.flatnonzero(~(signed <= far))]


def promised_rate(count: int, confidence: float = 0.95) -> float:
    """
    Give the false-reject rate that good parts alone can promise, whatever the model.

    When none of `count` held-out good parts is rejected, the true rate is below this with the
    given confidence: (1 - rate)^count = 1 - confidence (Clopper & Pearson,
    doi:10.1093/biomet/26.4.404; 60 parts: 4.9 %).

    """
    if count < 1:
        raise SettingError(f'{count} good parts; at least 1 is needed')
    return 1.0 - math.pow(1.0 - confidence, 1.0 / count)


def _high_is_bad(
    values: NDArray[np.float64], bad_side: BadSide, minimum: float, maximum: float
) -> tuple[NDArray[np.float64], float, float]:
    """
    Give values, perfect end and worst end, turned so that high is bad.

    """
    if bad_side == BadSide.HIGH:
        return values, minimum, maximum
    return -values, -maximum, -minimum


def _extrapolated(signed: NDArray[np.float64], perfect: float, rate: float) -> float:
    """
    Give the model's limit; see the top of the file.

    """
    count = signed.size
    scaled = _scaled(signed, perfect)
    middle = float(np.median(scaled))
    worse = scaled[scaled > middle] - middle
    if worse.size == 0:
        return float(signed.max())
    if math.isfinite(perfect) and middle == 0.0:
        beyond = signed[signed > perfect] - perfect
        weight = beyond.size + 2
        ratio = max(1.0, beyond.size / (count * rate))
        mean = float(np.mean(beyond**_TAIL_SHAPE))
        reach = weight * mean * (math.pow(ratio, 1.0 / weight) - 1.0)
        return perfect + math.pow(reach, 1.0 / _TAIL_SHAPE)
    spread = math.sqrt(float(np.mean(worse**2)))
    quantile = float(stdtrit(count // 2, 1.0 - rate))
    return _unscaled(middle + quantile * spread * math.sqrt(1.0 + 1.0 / count), perfect)


def _scaled(signed: NDArray[np.float64], perfect: float) -> NDArray[np.float64]:
    return np.cbrt(signed - perfect) if math.isfinite(perfect) else signed


def _unscaled(scaled: float, perfect: float) -> float:
    return perfect + scaled**3 if math.isfinite(perfect) else scaled


def _doubling(middle: float, perfect: float) -> float:
    """
    Give the step from the typical value to twice its distance from the perfect end.

    """
    return middle**3 if math.isfinite(perfect) else abs(middle)


def _smallest_step(typical: float, perfect: float, worst: float) -> float:
    """
    Give the least distance between typical and limit.

    """
    distance = typical - perfect if math.isfinite(perfect) else abs(typical)
    if distance > 0.0:
        return _SMALLEST_STEP * distance
    span = worst - perfect
    return _SMALLEST_STEP_OF_RANGE * span if math.isfinite(span) else 1.0


def _rounded(value: float) -> float:
    """
    Round to six significant digits: recipes are read by people.

    """
    return float(f'{value:.6g}')
