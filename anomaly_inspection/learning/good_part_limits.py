# SPDX-License-Identifier: Apache-2.0
"""
The limit rule: derive the limit of a measure from good parts that the scorer was not fitted to.

The model. Let d be the distance of a measure from its perfect end (its `minimum` when high values
are bad, its `maximum` when low values are bad) and y = d^(1/3), the scale on which sums of squares
are close to normal (Wilson & Hilferty, doi:10.1073/pnas.17.12.684). A measure without a perfect
end is its own y. With the median m of y and the root mean square s of y - m over the worse half of
the n good parts,

    limit: y = m + t(1 - rate; n / 2) * s * sqrt(1 + 1 / n)

where t is Student's quantile with n / 2 degrees of freedom, because s comes from half of the
parts. For normal y this is the one-sided prediction limit of Hahn & Meeker, Statistical Intervals
(1991), chapter 4. The worse half stands for both halves: only its tail matters, and good parts are
often skewed.

A measure that is perfect in at least half of the good parts (the largest region) has no such s.
Then the k values that are not perfect are modelled as Weibull with the shape 1/2. Its tail is much
heavier than exponential, because an area jumps when neighbouring places join. With the mean b of
d^(1/2), the predictive limit is

    limit: d^(1/2) = K * b * ((k / (n * rate))^(1 / K) - 1),   K = k + 2

It is wide for few values. The 2 makes sure that one single value gives a limit at all.

The further the rate lies below 1 / n, the more it rests on the model. Simulated with n = 14 to 200
at a rate of 0.0625 %, the rates met were 0.02..0.11 % on normal, exponential and log-normal (sigma
0.3) values, 0.14..0.28 % on Gumbel and shifted exponential, 0.3..0.4 % on log-normal (sigma 1)
values.

A limit lies inside the sample only when the wanted rate allows whole parts of the sample to be
rejected. It then lies at the worst part that may not be rejected. Otherwise it lies beyond the
worst good part by a tenth of the way from the typical part to the worst one.

"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import stdtrit

from anomaly_inspection.errors import SettingError
from anomaly_inspection.learning.measure_scale import MeasureScale
from anomaly_inspection.recipes.recipe import MeasureLimit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from anomaly_inspection.scoring.measure import BadSide, MeasureSpec

    Good = Mapping[tuple[str, str], NDArray[np.float64]]
    Specs = Mapping[tuple[str, str], MeasureSpec]

_FEWEST_VALUES = 4
_MARGIN_BEYOND_WORST = 0.1
_TAIL_SHAPE = 0.5
# Good parts that hardly differ (a simulation without noise) must not give a limit that any camera
# would trip over.
_SMALLEST_STEP = 0.05
_SMALLEST_STEP_OF_RANGE = 0.01


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
        Rounded to six digits. The limit lies inside the reachable range, and beyond every value
        but those that the rate allows to be rejected, which are rate * n rounded down.

    Raises
    ------
    SettingError
        When there are too few values, a value is not finite or out of range, the rate is out of
        range, or a typical good part already sits at the bad end, so that no limit can be set.

    """
    good = np.asarray(values, dtype=np.float64)
    reachable = int(((good >= minimum) & (good <= maximum) & np.isfinite(good)).sum())
    if good.size < _FEWEST_VALUES or reachable < good.size:
        raise SettingError(
            f'{good.size} measures of good parts, {reachable} of them from {minimum:g} to '
            f'{maximum:g} and finite; needed: at least {_FEWEST_VALUES}, all of them'
        )
    check_rate(false_reject_rate)
    scale = MeasureScale.of(bad_side, minimum, maximum)
    signed = scale.signed(good)
    typical = _rounded(float(np.median(signed)))
    limit = max(
        _extrapolated(signed, scale, false_reject_rate),
        _beyond_sample(signed, typical, false_reject_rate),
        typical + _smallest_step(typical, scale),
    )
    limit = min(_rounded(limit), scale.worst)
    if limit <= typical:
        raise SettingError(
            f'typical good parts measure {np.median(good):g}, which is the bad end of the range '
            f'{minimum:g} to {maximum:g}: no limit can be set'
        )
    return MeasureLimit(limit=scale.sign * limit, typical=scale.sign * typical)


def check_rate(false_reject_rate: float) -> None:
    """
    Raise SettingError unless a false-reject rate is over 0 and below 0.5.

    """
    if not 0.0 < false_reject_rate < 0.5:
        raise SettingError(
            f'false-reject rate is {false_reject_rate}; allowed: over 0 and below 0.5'
        )


def rate_of_each(false_reject_rate: float, measure_count: int, combination: str = 'any') -> float:
    """
    Give the rate of each limit, so that all together reject no more good parts than wanted.

    With 'any', one measure beyond its limit rejects a part: the measures share the rate
    (Bonferroni), and one more share is for an alignment that fails. With 'all', each measure may
    have the whole rate. Both hold however the measures depend on each other. The measures of one
    part move together, so good parts of the simulated line and of five real products met about a
    third of the rate asked for.

    """
    return false_reject_rate if combination == 'all' else false_reject_rate / (1 + measure_count)


def limits_from_good(
    good: Good,
    specs: Specs,
    false_reject_rate: float,
    combination: str = 'any',
    fixed: Mapping[tuple[str, str], MeasureLimit] | None = None,
) -> dict[tuple[str, str], MeasureLimit]:
    """
    Give the limits that all together reject good parts at a wanted rate.

    Parameters
    ----------
    good : mapping of (scorer, measure) to ndarray of float64, (n,)
        Each measure of held-out good parts.
    specs : mapping of (scorer, measure) to MeasureSpec
        The same measures.
    false_reject_rate : float
        Share of good parts that may be rejected, over 0 and below 0.5.
    combination : 'any' or 'all'
        Whether one measure beyond its limit rejects a part, or only all of them together.
    fixed : mapping of (scorer, measure) to MeasureLimit, optional
        Limits that are given, not derived.

    Raises
    ------
    SettingError
        See `limit_from_good`; names the measure.

    """
    check_rate(false_reject_rate)
    rate_each = rate_of_each(false_reject_rate, len(good), combination)
    limits = dict(fixed or {})
    for key, values in good.items():
        if key in limits:
            continue
        spec = specs[key]
        try:
            limits[key] = limit_from_good(
                values, spec.bad_side, rate_each, spec.minimum, spec.maximum
            )
        except SettingError as error:
            raise SettingError(f'{".".join(key)}: {error}') from error
    return {key: limits[key] for key in good}


def _extrapolated(signed: NDArray[np.float64], scale: MeasureScale, rate: float) -> float:
    """
    Give the limit of the model; see the top of the file.

    """
    count = signed.size
    normal = scale.normalized(signed)
    middle = float(np.median(normal))
    worse = normal[normal > middle] - middle
    if worse.size == 0:
        return float(signed.max())
    if scale.has_perfect_end and middle == 0.0:
        return _extrapolated_from_few(signed[signed > scale.perfect], count, scale, rate)
    spread = math.sqrt(float(np.mean(worse**2)))
    quantile = float(stdtrit(count // 2, 1.0 - rate))
    return scale.restored(middle + quantile * spread * math.sqrt(1.0 + 1.0 / count))


def _extrapolated_from_few(
    off_perfect: NDArray[np.float64], count: int, scale: MeasureScale, rate: float
) -> float:
    """
    Give the limit of the model where most of the parts are perfect; see the top of the file.

    """
    distances = off_perfect - scale.perfect
    weight = distances.size + 2
    ratio = max(1.0, distances.size / (count * rate))
    mean = float(np.mean(distances**_TAIL_SHAPE))
    reach = weight * mean * (math.pow(ratio, 1.0 / weight) - 1.0)
    return scale.perfect + math.pow(reach, 1.0 / _TAIL_SHAPE)


def _beyond_sample(signed: NDArray[np.float64], typical: float, rate: float) -> float:
    """
    Give the least limit that the sample itself asks for; see the top of the file.

    """
    allowed = math.floor(rate * signed.size)
    if allowed:
        return float(np.sort(signed)[-1 - allowed])
    return typical + (1.0 + _MARGIN_BEYOND_WORST) * (float(signed.max()) - typical)


def _smallest_step(typical: float, scale: MeasureScale) -> float:
    """
    Give the least distance between typical and limit.

    """
    distance = typical - scale.perfect if scale.has_perfect_end else abs(typical)
    if distance > 0.0:
        return _SMALLEST_STEP * distance
    span = scale.worst - scale.perfect
    return _SMALLEST_STEP_OF_RANGE * span if math.isfinite(span) else 1.0


def _rounded(value: float) -> float:
    """
    Round to six significant digits: recipes are read by people.

    """
    return float(f'{value:.6g}')
