# SPDX-License-Identifier: Apache-2.0
"""
Good parts that are unlike the others: found by their measures, named with the reason.

"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import chdtri

from anomaly_inspection.errors import SettingError
from anomaly_inspection.learning.good_part_limits import USUAL_PARTS
from anomaly_inspection.learning.measure_scale import MeasureScale

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from anomaly_inspection.recipes.recipe import MeasureLimit
    from anomaly_inspection.scoring.measure import MeasureSpec

FEWEST_PARTS = 5
LARGEST_SHARE_LEFT_OUT = 0.1
OUTLYING_DEVIATIONS = 8.0
#: How the reason begins where a part looks like those of another class.
OTHER_CLASS = 'called '

_FEWEST_OFF_PERFECT = 5
_MEDIAN_OF_HALF_NORMAL = 0.6745
# How sure one must be that a part differs more than the taught parts did.
_STRAY_CONFIDENCE = 0.95


def most_left_out(offered: int) -> int:
    """
    Give how many of the parts may be left out: a tenth, or one.

    """
    return max(1, math.floor(LARGEST_SHARE_LEFT_OUT * offered))


def check_enough(offered: int, left_out: Mapping[str, str], hint: str = '') -> None:
    """
    Raise SettingError when too many parts are unlike the others: nobody can say which are good.

    Parameters
    ----------
    offered : int
        Number of parts, with those left out.
    left_out : mapping of name to reason
        At most a tenth of the parts, or one part, may be left out; 5 parts must remain.
    hint : str
        What else may be the cause, for the end of the message.

    """
    allowed = most_left_out(offered)
    if len(left_out) > allowed or offered - len(left_out) < FEWEST_PARTS:
        reasons = '; '.join(f'{name}: {why}' for name, why in left_out.items())
        raise SettingError(
            f'{len(left_out)} of {offered} good images are unlike the others; allowed: at most '
            f'{allowed}, with {FEWEST_PARTS} left{f" ({reasons})" if reasons else ""}'
            f'{f"; {hint}" if hint else ""}'
        )


def outliers(
    values: NDArray[np.float64], spec: MeasureSpec, deviations: float = OUTLYING_DEVIATIONS
) -> list[int]:
    """
    Find parts that lie too far on the bad side of the others to be like them.

    Distances are counted in deviations on the scale of the limit rule. The deviation comes from
    the median over the worse half of the parts, which a few outliers cannot move. An outlier lies
    further than `deviations`, more for few parts, and at least twice as far from the perfect end
    as a typical part.

    Parameters
    ----------
    values : ndarray of float, (n,)
        One measure of held-out parts. A value that is not finite is an outlier.
    spec : MeasureSpec
        The measure.
    deviations : float
        How far is too far.

    Returns
    -------
    list of int
        Indices of the outliers.

    """
    scale = MeasureScale.of_spec(spec)
    signed = scale.signed(values)
    normal = scale.normalized(signed)
    finite = normal[np.isfinite(normal)]
    if finite.size == 0:
        return list(range(len(values)))
    middle = float(np.median(finite))
    worse = np.sort(finite)[finite.size // 2 :] - middle
    spread = float(np.median(worse)) / _MEDIAN_OF_HALF_NORMAL
    far = scale.restored(middle + deviations * (1.0 + 8.0 / len(values)) * spread)
    typical_distance = middle**3 if scale.has_perfect_end else abs(middle)
    far = max(far, scale.restored(middle) + typical_distance)
    return [int(index) for index in np.flatnonzero(~(signed <= far))]


def plausible_widening(parts: int) -> float:
    """
    Give how many times wider good parts may vary than so many of them have shown.

    A dozen parts taken from a line can vary half as much as the line does. This is the upper
    confidence bound of a standard deviation from the worse half of the parts, over the deviation.

    Parameters
    ----------
    parts : int
        Good parts that the deviation was measured on, at least 2.

    Returns
    -------
    float
        About 4.4 for 5 parts, 1.9 for 12, 1.4 for 40 and 1.1 for 200.

    """
    freedom = parts // 2
    return math.sqrt(freedom / float(chdtri(freedom, _STRAY_CONFIDENCE)))


def widens_limit(
    values: NDArray[np.float64], usual: MeasureLimit, spec: MeasureSpec, taught_parts: int
) -> NDArray[np.bool_]:
    """
    Tell which parts differ more from each other than good parts plausibly do.

    The usual limit is widened because few taught parts say little about how far good parts differ.
    Changed light moves all parts, a defect moves one. So the limit is also moved, and widened, as
    the typical part has moved; a part beyond it would widen a limit derived from these parts.

    Parameters
    ----------
    values : ndarray of float64, (n,)
        One measure of the parts.
    usual : MeasureLimit
        Limit and typical value that the good parts of the recipe gave.
    spec : MeasureSpec
        The measure.
    taught_parts : int
        How many good parts gave the limit, at least 2.

    Returns
    -------
    ndarray of bool, (n,)

    """
    scale = MeasureScale.of_spec(spec)
    signed = scale.signed(values)
    typical, reach = scale.sign * usual.typical, abs(usual.limit - usual.typical)
    if not (scale.has_perfect_end and typical == scale.perfect):
        ends = scale.normalized(np.array([typical, typical + reach]))
        known_parts = taught_parts + (USUAL_PARTS if spec.usual_spread is not None else 0)
        further = float(ends[0] + plausible_widening(known_parts) * (ends[1] - ends[0]))
        reach = scale.restored(further) - typical
    middle, perfect = float(np.median(signed)), scale.perfect
    if scale.has_perfect_end and middle > perfect:
        # Nobody knows how far parts differ that were all perfect when they were taught.
        reach *= (
            max(1.0, (middle - perfect) / (typical - perfect)) if typical > perfect else math.inf
        )
    return np.asarray(signed > middle + reach)


def is_mostly_perfect(values: NDArray[np.float64], spec: MeasureSpec) -> bool:
    """
    Tell whether too few parts are off the perfect end of a measure to derive a limit from them.

    """
    scale = MeasureScale.of_spec(spec)
    off_perfect = int((scale.signed(values) > scale.perfect).sum())
    return scale.has_perfect_end and off_perfect < min(_FEWEST_OFF_PERFECT, values.size / 2)


def describe_outlier(measure: str, values: NDArray[np.float64], index: int) -> str:
    """
    Give the reason why a part is unlike the others: 'ssim.mean_ssim 0.61, the others about 0.98'.

    """
    return f'{measure} {values[index]:.4g}, the others about {float(np.nanmedian(values)):.4g}'
