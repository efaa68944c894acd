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

A limit lies inside the sample only where the wanted rate allows whole parts of it to be rejected:
then at the worst part but so many. Otherwise it keeps a tenth of the way from typical to the worst
good part as a margin beyond that part.

"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import betaincinv, stdtrit

from anomaly_inspection.errors import SettingError
from anomaly_inspection.recipes.recipe import MeasureLimit
from anomaly_inspection.scoring.measure import BadSide

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from anomaly_inspection.scoring.measure import MeasureSpec

    Good = Mapping[tuple[str, str], NDArray[np.float64]]
    Specs = Mapping[tuple[str, str], MeasureSpec]

FEWEST_PARTS = 8
LARGEST_SHARE_LEFT_OUT = 0.1

_FEWEST_VALUES = 4
_FEWEST_OFF_PERFECT = 5
_MOST_TURNS = 100
_MARGIN_BEYOND_WORST = 0.1
_TAIL_SHAPE = 0.5
# Good parts that hardly differ (a simulation without noise) must not give a limit that any camera
# would trip over.
_SMALLEST_STEP = 0.05
_SMALLEST_STEP_OF_RANGE = 0.01
OUTLYING_DEVIATIONS = 8.0
_MEDIAN_OF_HALF_NORMAL = 0.6745


@dataclass(frozen=True)
class FalseRejects:
    """
    How many good parts were rejected by limits that were derived without them.

    Parameters
    ----------
    rejected, parts : int
        0 <= rejected <= parts, at least one part.

    """

    rejected: int
    parts: int

    @property
    def rate(self) -> float:
        """
        Give the share.

        """
        return self.rejected / self.parts

    @property
    def interval(self) -> tuple[float, float]:
        """
        Give the 95 % interval of the true rate (Clopper & Pearson, doi:10.1093/biomet/26.4.404).

        """
        passed = self.parts - self.rejected
        low = float(betaincinv(self.rejected, passed + 1, 0.025)) if self.rejected else 0.0
        high = float(betaincinv(self.rejected + 1, passed, 0.975)) if passed else 1.0
        return low, high

    @property
    def promised_rate(self) -> float:
        """
        Give the rate that these parts can promise; see `promised_rate`.

        """
        return promised_rate(self.parts, rejected=self.rejected)

    def promise(self, false_reject_rate: float) -> str:
        """
        Say what rate is expected, which can be promised, and how many parts are missing.

        Parameters
        ----------
        false_reject_rate : float
            The rate asked for.

        """
        low, high = self.interval
        needed = parts_needed(false_reject_rate, self.rejected)
        text = (
            f'Expected false rejects: {_percent(self.rate)} (95 % interval {_percent(low)} to '
            f'{_percent(high)}), as {self.rejected} of {self.parts} good parts lie beyond limits '
            f'derived without them. To promise {_percent(false_reject_rate)} takes {needed} good '
            f'parts, {self.rejected or "none"} of them rejected'
        )
        if needed <= self.parts:
            return f'{text}: enough are there.'
        return (
            f'{text}: {needed - self.parts} are missing, these promise '
            f'{_percent(self.promised_rate)}.'
        )


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
        _beyond_sample(signed, typical, false_reject_rate),
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


def _beyond_sample(signed: NDArray[np.float64], typical: float, rate: float) -> float:
    """
    Give the least limit that the sample itself asks for; see the top of the file.

    """
    allowed = math.floor(rate * signed.size)
    if allowed:
        return float(np.sort(signed)[-1 - allowed])
    return typical + (1.0 + _MARGIN_BEYOND_WORST) * (float(signed.max()) - typical)


def check_rate(false_reject_rate: float) -> None:
    """
    Raise SettingError unless a false-reject rate is over 0 and below 0.5.

    """
    if not 0.0 < false_reject_rate < 0.5:
        raise SettingError(
            f'false-reject rate is {false_reject_rate}; allowed: over 0 and below 0.5'
        )


def check_enough(offered: int, left_out: Mapping[str, str]) -> None:
    """
    Raise SettingError when too many parts are unlike the others: nobody can say which are good.

    Parameters
    ----------
    offered : int
        Parts, those left out included.
    left_out : mapping of name to reason
        At most a tenth, or one, may be; 8 parts must remain.

    """
    allowed = max(1, math.floor(LARGEST_SHARE_LEFT_OUT * offered))
    if len(left_out) > allowed or offered - len(left_out) < FEWEST_PARTS:
        reasons = '; '.join(f'{name}: {why}' for name, why in left_out.items())
        raise SettingError(
            f'{len(left_out)} of {offered} good images are unlike the others; allowed: at most '
            f'{allowed}, with {FEWEST_PARTS} left{f" ({reasons})" if reasons else ""}'
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


def are_strays(
    values: NDArray[np.float64], usual: MeasureLimit, spec: MeasureSpec
) -> NDArray[np.bool_]:
    """
    Tell which parts differ more from each other than good parts of the recipe do.

    Light that has changed moves all parts, a defect moves one: a part strays when it lies beyond
    the usual limit after that was moved, and widened, as the typical part has moved.

    Parameters
    ----------
    values : ndarray of float64, (n,)
        One measure of the parts.
    usual : MeasureLimit
        Limit and typical value as the good parts of the recipe gave them.
    spec : MeasureSpec
        The measure.

    Returns
    -------
    ndarray of bool, (n,)

    """
    signed, perfect, _ = _high_is_bad(values, spec.bad_side, spec.minimum, spec.maximum)
    sign = 1.0 if spec.bad_side == BadSide.HIGH else -1.0
    typical, reach = sign * usual.typical, abs(usual.limit - usual.typical)
    middle = float(np.median(signed))
    if math.isfinite(perfect) and middle > perfect:
        # Nobody knows how far parts differ that were all perfect when they were taught.
        reach *= (
            max(1.0, (middle - perfect) / (typical - perfect)) if typical > perfect else math.inf
        )
    return np.asarray(signed > middle + reach)


def tells_nothing(values: NDArray[np.float64], spec: MeasureSpec) -> bool:
    """
    Tell whether too few parts have left the perfect end of a measure to say how far others may go.

    """
    signed, perfect, _ = _high_is_bad(values, spec.bad_side, spec.minimum, spec.maximum)
    off = int((signed > perfect).sum())
    return math.isfinite(perfect) and off < min(_FEWEST_OFF_PERFECT, values.size / 2)


def promised_rate(count: int, confidence: float = 0.95, rejected: int = 0) -> float:
    """
    Give the false-reject rate that good parts alone can promise, whatever the model.

    When so many of `count` good parts are rejected by limits derived without them, the true rate
    is below this with the given confidence (Clopper & Pearson, doi:10.1093/biomet/26.4.404; none
    of 60 parts: 4.9 %).

    """
    if count < 1 or not 0 <= rejected <= count:
        raise SettingError(
            f'{rejected} of {count} good parts rejected; allowed: 0 to all of at least 1'
        )
    if rejected == count:
        return 1.0
    return float(betaincinv(rejected + 1, count - rejected, confidence))


def parts_needed(false_reject_rate: float, rejected: int = 0, confidence: float = 0.95) -> int:
    """
    Give how many good parts, so many of them rejected, promise a false-reject rate.

    The smallest count for which `promised_rate` is not above it (0.5 %, none rejected: 598).

    """
    check_rate(false_reject_rate)
    most = math.ceil(20.0 * (rejected + 1) / false_reject_rate)
    return 1 + bisect_left(
        range(1, most),
        True,
        key=lambda count: (
            count >= rejected and promised_rate(count, confidence, rejected) <= false_reject_rate
        ),
    )


def rate_of_each(false_reject_rate: float, measure_count: int, combination: str = 'any') -> float:
    """
    Give the rate of each limit, so that all together reject no more good parts than wanted.

    Where any measure beyond its limit rejects, they share it (Bonferroni), with one share for the
    alignment that can fail. Where only all of them reject, each may have all of it. Both hold
    however the measures depend on each other; as those of one part move together, good parts of
    the simulated line and of five real products met about a third of the rate asked for.

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


def are_rejected(
    good: Good,
    limits: Mapping[tuple[str, str], MeasureLimit],
    specs: Specs,
    combination: str = 'any',
) -> NDArray[np.bool_]:
    """
    Tell which parts lie beyond the limits.

    Returns
    -------
    ndarray of bool, (n,)

    """
    beyond = [
        values > limits[key].limit
        if specs[key].bad_side == BadSide.HIGH
        else values < limits[key].limit
        for key, values in good.items()
    ]
    if combination == 'any':
        return np.asarray(np.any(beyond, axis=0))
    # A part of no taught class is rejected whatever else it measures.
    strangers = [one for one, key in zip(beyond, good, strict=True) if specs[key].class_range]
    return np.asarray(np.all(beyond, axis=0) | np.any(strangers, axis=0))


def expected_false_rejects(
    good: Good,
    specs: Specs,
    false_reject_rate: float,
    combination: str = 'any',
    fixed: Mapping[tuple[str, str], MeasureLimit] | None = None,
) -> FalseRejects:
    """
    Estimate how many good parts to come the limits will reject.

    A limit lies beyond nearly all parts that it was derived from, so counting those says nothing.
    Here each part (of more than 100, each hundredth of them) is judged by limits that were derived
    from all others by the same rule. Parts that were left out as unlike the others are not in it,
    nor are good parts to come that cannot be aligned.

    Parameters are those of `limits_from_good`.

    """
    check_rate(false_reject_rate)
    count = len(next(iter(good.values())))
    turns = min(count, _MOST_TURNS)
    rejected = 0
    for turn in range(turns):
        is_out = np.arange(count) % turns == turn
        limits = limits_from_good(
            {key: values[~is_out] for key, values in good.items()},
            specs,
            false_reject_rate,
            combination,
            fixed,
        )
        out = {key: values[is_out] for key, values in good.items()}
        rejected += int(are_rejected(out, limits, specs, combination).sum())
    return FalseRejects(rejected, count)


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


def _percent(rate: float) -> str:
    return f'{100 * rate:.2g} %'


def _rounded(value: float) -> float:
    """
    Round to six significant digits: recipes are read by people.

    """
    return float(f'{value:.6g}')
