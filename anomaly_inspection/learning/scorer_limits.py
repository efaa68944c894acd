# SPDX-License-Identifier: Apache-2.0
"""
The limits of one scorer, from held-out good parts.

Copies of fewer than five different parts do not show how far other good parts lie. Their limits,
and the map value that makes a region, are at least 2.2 times as far from perfect as the copies
are. Eight copies of one good image were taught from each of 16 real products: of the other good
parts of a product, 95 % stayed within 1.1 to 2.4 times the measure of the copies on twelve
(`features`, pooled) and eleven (`patch_statistics`, pooled) of them.

"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TYPE_CHECKING

import numpy as np

from anomaly_inspection.learning.good_part_limits import limits_of_scorer
from anomaly_inspection.learning.measure_scale import MeasureScale
from anomaly_inspection.learning.part_preparation import are_few_different
from anomaly_inspection.recipes.recipe import MeasureLimit, measures_of, ScorerRecipe
from anomaly_inspection.scoring.frame_scorer import RegionSettings
from anomaly_inspection.scoring.measure import BadSide, MeasureSpec
from anomaly_inspection.scoring.region import find_regions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from anomaly_inspection.imaging.frame_check import FrameFormat
    from anomaly_inspection.learning.cross_validation import HeldOutScores
    from anomaly_inspection.scoring.scorer import Scorer

_MIN_AREA_PX = 4
_LEAST_REGION_LIMIT = 1e-6
_SHARE_WITH_REGIONS = 0.1
_FEWEST_WITH_REGIONS = 5
_TIMES_AS_FAR_UNSEEN = 2.2


def scorer_recipe(
    fitted: Scorer,
    settings: Mapping[str, Any],
    held_out: HeldOutScores,
    rate_each: float,
    frame_format: FrameFormat,
) -> ScorerRecipe:
    """
    Give a fitted scorer its limits.

    Parameters
    ----------
    fitted : Scorer
        Fitted to all parts.
    settings : mapping
        Its settings.
    held_out : HeldOutScores
        What the scorer measures in good parts that it was not fitted to.
    rate_each : float
        What each limit adds to the share of good parts that may be rejected, over 0 and below
        0.5.
    frame_format : FrameFormat
        Of the camera's frames.

    """
    least = _TIMES_AS_FAR_UNSEEN if are_few_different(held_out.parts) else 0.0
    peaks = np.array([float(one.max()) for one in held_out.maps])
    region = RegionSettings(_region_limit(peaks, least), _MIN_AREA_PX)
    areas = _largest_areas(held_out, region, frame_format)
    good = {**held_out.measures, 'largest_region': areas}
    specs = measures_of(held_out.scorer)
    limits = limits_of_scorer(good, specs, rate_each)
    return ScorerRecipe(
        settings=dict(settings),
        region=region,
        limits={
            spec.name: _with_class_range(_at_least(limits[spec.name], least, spec), spec)
            for spec in specs
        },
        arrays=fitted.to_arrays(),
        good=good,
    )


def _largest_areas(
    held_out: HeldOutScores, region: RegionSettings, frame_format: FrameFormat
) -> NDArray[np.float64]:
    """
    Give the area of the largest region of each part, frame pixels; 0 = no region.

    """
    frame_size = (frame_format.width, frame_format.height)
    areas = []
    for anomaly_map, part in zip(held_out.maps, held_out.parts, strict=True):
        regions = find_regions(
            anomaly_map.astype(np.float32),
            region.limit,
            region.min_area_px,
            part.prepared.to_frame,
            frame_size,
        )
        areas.append(max((found.area_px for found in regions), default=0))
    return np.array(areas, np.float64)


def _at_least(found: MeasureLimit, times: float, spec: MeasureSpec) -> MeasureLimit:
    """
    Give a limit that lies at least so many times as far from perfect as a typical part.

    """
    scale = MeasureScale.of_spec(spec)
    if not scale.has_perfect_end:
        return found
    typical, limit = scale.sign * found.typical, scale.sign * found.limit
    least = scale.perfect + times * (typical - scale.perfect)
    limit = min(max(limit, least), scale.worst)
    return replace(found, limit=float(f'{scale.sign * limit:.6g}'))


def _with_class_range(found: MeasureLimit, spec: MeasureSpec) -> MeasureLimit:
    """
    Give the limit of a measure.

    The limit of a measure that tells the class lies at least twice as far from perfect as parts of
    a class do: a part with a defect is still of its class.

    """
    if spec.class_range is None:
        return found
    if spec.bad_side is BadSide.HIGH:
        loosest = max(found.limit, 2 * spec.class_range[1] - spec.minimum)
    else:
        loosest = min(found.limit, 2 * spec.class_range[1] - spec.maximum)
    return replace(found, limit=float(f'{loosest:.6g}'))


def _region_limit(peaks: NDArray[np.float64], times: float) -> float:
    """
    Give the map value that a tenth of the held-out good parts, at least five, exceed somewhere.

    It is deliberately not a value that no good part exceeds. The size of such places in good parts
    gives the largest region a limit of its own, which finds wide weak defects without a peak. It
    is at least so many times the peak of a typical part.

    """
    share = max(_SHARE_WITH_REGIONS, _FEWEST_WITH_REGIONS / len(peaks))
    limit = max(float(np.quantile(peaks, 1.0 - share)), times * float(np.median(peaks)))
    # Never 0, even where no good part shows anything: maps are published in units of it.
    return max(_LEAST_REGION_LIMIT, float(f'{limit:.6g}'))
