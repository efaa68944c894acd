# SPDX-License-Identifier: Apache-2.0
"""
From regions of a score to those of a decision, and from an explanation to its message.

"""

from __future__ import annotations

import math

from anomaly_inspection.deciding.explanation import FoundRegion
from anomaly_inspection.deciding.frame_judge import Verdict
from anomaly_inspection.deciding.part_decision import PartDecision
from anomaly_inspection.msg import Explanation, Region, Score


def found_regions(message: Score) -> tuple[FoundRegion, ...]:
    """
    Convert what a scorer has found.

    """
    limit = message.region_limit or 1.0
    return tuple(
        FoundRegion(
            *(region.x_min, region.y_min, region.x_max, region.y_max, region.area_px),
            peak=region.peak,
            times_limit=region.peak / limit,
            reference_x_px=region.reference_x_px,
            reference_y_px=region.reference_y_px,
        )
        for region in message.regions
    )


def explanation_message(decision: PartDecision) -> Explanation:
    """
    Convert why a part was rejected; empty for one that passed.

    """
    judgement, explanation = decision.judgement, decision.explanation
    if judgement.verdict is Verdict.PASS:
        return Explanation()
    if explanation is None:
        return Explanation(text=judgement.comparison.removesuffix(' -> REJECT'))
    message = Explanation(
        text=explanation.text,
        good_parts=explanation.good_parts,
        good_parts_as_bad=explanation.good_parts_as_bad,
        good_parts_worst=explanation.good_parts_worst,
    )
    region = explanation.region
    if region is not None:
        message.scorer = explanation.scorer
        message.times_region_limit = region.times_limit
        message.other_regions = explanation.other_regions
        message.place = int(explanation.place or 0)
        message.region = Region(
            x_min=region.x_min,
            y_min=region.y_min,
            x_max=region.x_max,
            y_max=region.y_max,
            area_px=region.area_px,
            peak=region.peak,
            reference_x_px=_finite(region.reference_x_px),
            reference_y_px=_finite(region.reference_y_px),
        )
    return message


def _finite(value: float) -> float:
    return value if math.isfinite(value) else math.nan
