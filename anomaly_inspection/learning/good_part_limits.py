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

The furthest of every 40 parts, and of fewer, counts in s as at most 1.5 times as far from m as the
next one: one odd part would otherwise widen all limits.

Few parts say little about s, but good parts of other products do: where a measure has a
`usual_spread` c, s is drawn towards c * m as if 40 more parts had been seen (the moderated
variance of Smyth, 2004, doi:10.2202/1544-6115.1027; n / 2 + 20 degrees of freedom). So five parts
give a limit that sees defects, and copies of one part a limit that leaves room for others.

A measure that is perfect in at least half of the good parts has no such s, and an area (the
largest region) no use for it. Their k values that are not perfect are modelled as Weibull with the
shape 1/2. Its tail is much heavier than exponential, because an area jumps when neighbouring
places join. With the mean b of d^(1/2), the predictive limit is

    limit: d^(1/2) = K * b * ((k / (n * rate))^(1 / K) - 1),   K = k + 2

It is wide for few values. The 2 makes sure that one single value gives a limit at all.

Rates met, simulated with 14 / 40 / 200 parts: asked for 5 %, 5.3 / 4.9 / 5.0 % on normal, 5.8 /
5.1 / 4.8 % on exponential, 7.1 / 5.6 / 5.3 % on log-normal (sigma 1) values. The further the rate
lies below 1 / n, the more it rests on the model: asked for 0.0625 %, 0.04..0.14 % on normal,
exponential and log-normal (sigma 0.3), 0.2..0.5 % on Gumbel, shifted exponential and log-normal
(sigma 1) values.

A limit lies beyond all good parts but those that the rate allows to be rejected, and but one: a
limit beyond one odd part would see no defect that is less odd.
Regions in parts that mostly have none are too few for that: their limit lies beyond all of them,
by a tenth.

Several measures of one scorer move together, so shares of the rate would make their limits too
wide. They get one rule for all: z = (y - m) / s of each measure, the limit of the largest z of a
part by the rule above, and from that the limit of each measure, all at the same z. Areas, and
measures that are perfect in most parts, have no z and keep a small share of their own. (Of five to
eight parts, most have a region. When its area took part in z, it widened all limits: on 16
products, each taught on five parts of two draws, `features` found 35 % of the defects and rejected
7.7 % of the good parts instead of 45 and 4.5 %; on eight, 40 and 5.3 % instead of 54 and 4.9 %.
From 14 parts on it makes no difference.)

"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import stdtrit

from anomaly_inspection.errors import SettingError
from anomaly_inspection.learning.measure_scale import MeasureScale
from anomaly_inspection.recipes.recipe import MeasureLimit

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from anomaly_inspection.scoring.measure import BadSide, MeasureSpec

    Good = Mapping[tuple[str, str], NDArray[np.float64]]
    Specs = Mapping[tuple[str, str], MeasureSpec]

FEWEST_VALUES = 4
_MARGIN_BEYOND_WORST = 0.1
_SHARE_OF_PERFECT = 0.5
_TAIL_SHAPE = 0.5
#: How many parts the usual spread counts for.
USUAL_PARTS = 40
_PARTS_WITH_AN_ODD_ONE, _FURTHEST_ODD_PART = 40, 1.5
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
        but those that the rate allows to be rejected: rate * n rounded down, at least one.

    Raises
    ------
    SettingError
        When there are too few values, a value is not finite or out of range, the rate is out of
        range, or a typical good part already sits at the bad end, so that no limit can be set.

    """
    check_rate(false_reject_rate)
    variation = _Variation.of(values, MeasureScale.of(bad_side, minimum, maximum))
    return _common_limits([variation], false_reject_rate)[0]


def limits_of_scorer(
    good: Mapping[str, NDArray[np.float64]], specs: Iterable[MeasureSpec], rate_each: float
) -> dict[str, MeasureLimit]:
    """
    Give the limits of the measures of one scorer, which move together.

    Parameters
    ----------
    good : mapping of str to ndarray of float64, (n,)
        By measure, its values in held-out good parts.
    specs : iterable of MeasureSpec
        The measures.
    rate_each : float
        What each measure adds to the share of good parts that may be rejected, over 0 and below
        0.5.

    Raises
    ------
    SettingError
        See `limit_from_good`; names the measure.

    """
    check_rate(rate_each)
    specs = list(specs)
    variations = {}
    for spec in specs:
        with _naming(spec.name):
            scale = MeasureScale.of_spec(spec)
            variations[spec.name] = _Variation.of(
                good[spec.name], scale, spec.usual_spread, is_area=spec.is_area
            )
    varying = [name for name, one in variations.items() if one.deviation > 0.0]
    # What is nearly always perfect hardly ever rejects a good part: it needs no whole share.
    rates = [(varying, len(specs) * rate_each)]
    rates += [([name], _SHARE_OF_PERFECT * rate_each) for name in variations.keys() - varying]
    limits: dict[str, MeasureLimit] = {}
    for names, rate in rates:
        with _naming(' and '.join(names)):
            found = _common_limits([variations[name] for name in names], rate)
        limits.update(zip(names, found, strict=True))
    return {name: limits[name] for name in variations}


def check_rate(false_reject_rate: float) -> None:
    """
    Raise SettingError unless a false-reject rate is over 0 and below 0.5.

    """
    if not 0.0 < false_reject_rate < 0.5:
        raise SettingError(
            f'false-reject rate is {false_reject_rate}; allowed: over 0 and below 0.5'
        )


def rate_of_each(
    false_reject_rate: float,
    specs: Collection[MeasureSpec],
    scorers: int,
    combination: str = 'any',
) -> float:
    """
    Give the rate of each limit of a scorer, so that all limits together reject no more good parts
    than wanted.

    With 'any', one measure beyond its limit rejects a part, so scorers share the rate equally, and
    so do the measures of a scorer, which put their shares together again (`limits_of_scorer`). One
    more share is for parts that are not found, and for regions where good parts have none. With
    'all', each measure may have the whole rate.

    A scorer with a usual spread gets twice an equal share of the scorers, at most the whole rate:
    it rejects about half as many good parts as its rate says. On 11 products, `features` and
    `deep_features` rejected 2.8 % of 572 further good parts where 5 % were asked for. With equal
    shares it was 1.9 %, and on 16 products 5 of 100 defects fewer were found.

    Parameters
    ----------
    false_reject_rate : float
        The wanted rate, over 0 and below 0.5.
    specs : collection of MeasureSpec
        The measures of the scorer.
    scorers : int
        How many scorers judge.
    combination : 'any' or 'all'
        Whether one measure beyond its limit rejects a part, or only all of them together.

    """
    if combination == 'all':
        return false_reject_rate
    share = 2.0 if any(spec.usual_spread is not None for spec in specs) else 1.0
    return false_reject_rate * min(1.0, share / scorers) / (1 + len(specs))


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
    limits = dict(fixed or {})
    derived = [key for key in good if key not in limits]
    measures = {
        scorer: [spec for key, spec in specs.items() if key[0] == scorer]
        for scorer in dict.fromkeys(scorer for scorer, _ in good)
    }
    scorers = dict.fromkeys(scorer for scorer, _ in derived)
    # With 'all', a part must be beyond every limit: each has a rule of its own.
    groups = (
        [[key] for key in derived]
        if combination == 'all'
        else [[key for key in derived if key[0] == scorer] for scorer in scorers]
    )
    for keys in groups:
        scorer = keys[0][0]
        with _naming(scorer, '.'):
            found = limits_of_scorer(
                {measure: good[scorer, measure] for _, measure in keys},
                [specs[key] for key in keys],
                rate_of_each(false_reject_rate, measures[scorer], len(measures), combination),
            )
        limits.update({key: found[key[1]] for key in keys})
    return {key: limits[key] for key in good}


@contextmanager
def _naming(name: str, mark: str = ': ') -> Iterator[None]:
    """
    Put the name of a measure before the sentence of an error.

    """
    try:
        yield
    except SettingError as error:
        raise SettingError(f'{name}{mark}{error}') from error


@dataclass(frozen=True, eq=False)
class _Variation:
    """
    How one measure varies over good parts.

    Parameters
    ----------
    scale : MeasureScale
        Of the measure.
    signed : ndarray of float64, (n,)
        Its values, high = bad.
    middle, deviation : float
        m and s at the top of the file; s is 0 for an area, and for a measure that is perfect in
        most parts, or never worse than in a typical one and without a usual spread.
    usual_parts : int
        How many parts the usual spread counts for in s; 0 = s comes from these parts alone.
    is_area : bool
        Whether the measure is an area.

    """

    scale: MeasureScale
    signed: NDArray[np.float64]
    middle: float
    deviation: float
    usual_parts: int
    is_area: bool = False

    @classmethod
    def of(
        cls,
        values: Sequence[float] | NDArray[np.float64],
        scale: MeasureScale,
        usual_spread: float | None = None,
        *,
        is_area: bool = False,
    ) -> _Variation:
        """
        Measure the variation of values; raise SettingError when they give no limit.

        """
        signed = scale.signed(np.asarray(values, dtype=np.float64))
        reachable = int(
            ((signed >= scale.perfect) & (signed <= scale.worst) & np.isfinite(signed)).sum()
        )
        if signed.size < FEWEST_VALUES or reachable < signed.size:
            low, high = sorted((scale.sign * scale.perfect, scale.sign * scale.worst))
            raise SettingError(
                f'{signed.size} measures of good parts, {reachable} of them from {low:g} to '
                f'{high:g} and finite; needed: at least {FEWEST_VALUES}, all of them'
            )
        normal = scale.normalized(signed)
        middle = float(np.median(normal))
        if is_area or (scale.has_perfect_end and middle == 0.0):
            return cls(scale, signed, middle, 0.0, 0, is_area)
        usual_parts = USUAL_PARTS if usual_spread is not None else 0
        deviation = _deviation(normal, middle, usual_parts, (usual_spread or 0.0) * middle)
        return cls(scale, signed, middle, deviation, usual_parts)

    @property
    def typical(self) -> float:
        """
        Give the median, rounded as recipes hold it.

        """
        return _rounded(float(np.median(self.signed)))

    @property
    def reach(self) -> NDArray[np.float64]:
        """
        Give z of every part; see the top of the file.

        """
        return (self.scale.normalized(self.signed) - self.middle) / self.deviation

    def limit(self, signed_limit: float) -> MeasureLimit:
        """
        Give a limit that leaves some room and lies inside the range.

        """
        scale, typical = self.scale, self.typical
        limit = max(signed_limit, typical + _smallest_step(typical, scale))
        limit = min(_rounded(limit), scale.worst)
        if limit <= typical:
            low, high = sorted((scale.sign * scale.perfect, scale.sign * scale.worst))
            raise SettingError(
                f'typical good parts measure {scale.sign * typical:g}, which is the bad end of '
                f'the range {low:g} to {high:g}: no limit can be set'
            )
        return MeasureLimit(limit=scale.sign * limit, typical=scale.sign * typical)


def _common_limits(variations: Sequence[_Variation], rate: float) -> list[MeasureLimit]:
    """
    Give limits that all together reject good parts at a rate; see the top of the file.

    A measure that does not vary comes alone.

    """
    if not variations:
        return []
    first = variations[0]
    if first.deviation == 0.0:
        signed, scale = first.signed, first.scale
        limit = float(signed.max())
        is_tail = first.is_area or (scale.has_perfect_end and first.middle == 0.0)
        if is_tail and limit > scale.perfect:
            off_perfect = signed[signed > scale.perfect]
            limit = _extrapolated_from_few(off_perfect, signed.size, scale, rate)
        return [first.limit(max(limit, _beyond_all(signed, rate)))]
    furthest = np.max([one.reach for one in variations], axis=0)
    usual_parts = min(one.usual_parts for one in variations)
    reach = max(_extrapolated(furthest, rate, usual_parts), _beyond_most(furthest, rate))
    return [
        one.limit(one.scale.restored(one.middle + reach * one.deviation)) for one in variations
    ]


def _extrapolated(reach: NDArray[np.float64], rate: float, usual_parts: int) -> float:
    """
    Give the limit of the model; see the top of the file.

    """
    count = reach.size
    middle = float(np.median(reach))
    # Usually, a part deviates by one s.
    spread = _deviation(reach, middle, usual_parts, 1.0)
    quantile = float(stdtrit((count + usual_parts) // 2, 1.0 - rate))
    return middle + quantile * spread * math.sqrt(1.0 + 1.0 / count)


def _deviation(
    values: NDArray[np.float64], middle: float, usual_parts: int, usual: float
) -> float:
    """
    Give s of values, high = bad, on the scale of the model; see the top of the file.

    """
    worse = np.sort(values[values > middle] - middle)
    if worse.size > 1:
        odd_parts = max(1, values.size // _PARTS_WITH_AN_ODD_ONE)
        worse = np.minimum(worse, _FURTHEST_ODD_PART * worse[-1 - odd_parts])
    square = float(np.mean(worse**2)) if worse.size else 0.0
    weighted = values.size * square + usual_parts * usual**2
    return math.sqrt(weighted / (values.size + usual_parts))


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


def _beyond_most(values: NDArray[np.float64], rate: float) -> float:
    """
    Give the least limit that the sample itself asks for; see the top of the file.

    """
    allowed = max(1, math.floor(rate * values.size))
    return float(np.sort(values)[-1 - allowed])


def _beyond_all(values: NDArray[np.float64], rate: float) -> float:
    """
    Give the least limit of what most good parts lack altogether; see the top of the file.

    """
    allowed = math.floor(rate * values.size)
    if allowed:
        return float(np.sort(values)[-1 - allowed])
    typical = float(np.median(values))
    return typical + (1.0 + _MARGIN_BEYOND_WORST) * (float(values.max()) - typical)


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
