# SPDX-License-Identifier: Apache-2.0
"""
What the scorer found, as messages.

"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from anomaly_inspection.imaging.part_pose import part_frame, pose_in_frame
from anomaly_inspection.learning.part_mask import silhouette
from anomaly_inspection.msg import Measure, PartPose, Region, Score
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


class PoseReporter:
    """
    Says where the parts of a recipe lie.

    Parameters
    ----------
    recipe : Recipe
        Its first reference tells origin and axis.

    """

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        preprocessing = recipe.preprocessing
        self.is_aligned = preprocessing.alignment.kind != 'none'
        self._region = preprocessing.region_of_interest
        reference = recipe.references[0]
        if self._region is not None:
            region = self._region
            reference = reference[
                region.y : region.y + region.height, region.x : region.x + region.width
            ]
        size = recipe.frame_format
        found = silhouette(reference) if self.is_aligned else None
        #: Origin and axis in the reference.
        self.frame = part_frame(found, self._region, (size.width, size.height))

    def message(self, score: ScorerResult) -> PartPose:
        """
        Give the message of a frame; header and key are left to the caller.

        """
        frame, alignment, nan = self.frame, score.alignment, math.nan
        message = PartPose(
            origin=PartPose.ORIGIN_REGION,
            recipe_name=self._recipe.name,
            recipe_version=self._recipe.version,
            recipe_hash=self._recipe.hash,
        )
        if frame.is_silhouette:
            message.origin = (
                PartPose.ORIGIN_SILHOUETTE if frame.has_axis else PartPose.ORIGIN_ROUND_SILHOUETTE
            )
        if alignment is None or score.to_frame is None:
            message.x_px = message.y_px = message.angle_rad = message.scale = nan
            message.confidence = nan
            message.detail = score.detail or 'the part was not found'
            return message
        region = self._region
        corner = (region.x, region.y) if region else (0, 0)
        pose = pose_in_frame(frame, score.to_frame, corner)
        message.x_px, message.y_px, message.angle_rad = pose.x_px, pose.y_px, pose.angle_rad
        message.scale, message.confidence = pose.scale, alignment.confidence
        message.is_sure = alignment.is_found
        if not message.is_sure:
            message.detail = (
                f'the part was not found surely: confidence {alignment.confidence:.2f}, needed: '
                f'{self._recipe.preprocessing.alignment.min_confidence:g}'
            )
        return message
