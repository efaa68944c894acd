# SPDX-License-Identifier: Apache-2.0
"""
What the scorer found, as messages.

"""

from __future__ import annotations

from typing import TYPE_CHECKING

from anomaly_inspection.msg import Measure, Region, Score
from anomaly_inspection.scoring.frame_scorer import ScorerResult

if TYPE_CHECKING:
    from anomaly_inspection.recipes.recipe import Recipe
    from anomaly_inspection.scoring.frame_scorer import FrameScorer

_MOST_REGIONS = 32


def score_message(score: ScorerResult, frame_scorer: FrameScorer, recipe: Recipe) -> Score:
    """
    Give the message of one scorer's result; header and key are left to the caller.

    """
    nan = float('nan')
    alignment = score.alignment
    regions = score.regions[:_MOST_REGIONS]
    region = recipe.preprocessing.region_of_interest
    corner = (region.x, region.y) if region else (0, 0)
    places = score.places_on_reference(regions, corner)
    specifications = frame_scorer.measures(score.scorer) if score.measures else ()
    return Score(
        scorer=score.scorer,
        status=int(score.status),
        detail=score.detail,
        measures=[
            Measure(
                name=specification.name,
                value=float(score.measures[specification.name]),
                unit=specification.unit,
                bad_side=int(specification.bad_side),
            )
            for specification in specifications
        ],
        part_class=score.part_class,
        regions=[
            Region(
                x_min=region.x_min,
                y_min=region.y_min,
                x_max=region.x_max,
                y_max=region.y_max,
                area_px=region.area_px,
                peak=region.peak,
                reference_x_px=x_px,
                reference_y_px=y_px,
            )
            for region, (x_px, y_px) in zip(regions, places, strict=True)
        ],
        region_limit=float(score.region_limit),
        alignment_x_px=alignment.x_px if alignment else nan,
        alignment_y_px=alignment.y_px if alignment else nan,
        alignment_angle_rad=alignment.angle_rad if alignment else nan,
        alignment_scale=alignment.scale if alignment else nan,
        alignment_confidence=alignment.confidence if alignment else nan,
        recipe_name=recipe.name,
        recipe_version=recipe.version,
        recipe_hash=recipe.hash,
    )
