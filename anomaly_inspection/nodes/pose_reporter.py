# SPDX-License-Identifier: Apache-2.0
"""
Where the parts of a recipe lie, as messages.

"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from geometry_msgs.msg import Point, Pose, PoseStamped, Quaternion
import numpy as np

from anomaly_inspection.imaging.part_pose import (
    marked_frame,
    part_frame,
    pose_in_frame,
    without_edge_shift,
)
from anomaly_inspection.learning.part_mask import silhouette
from anomaly_inspection.msg import GraspPoint, PartPose

if TYPE_CHECKING:
    from std_msgs.msg import Header

    from anomaly_inspection.capture.belt_plane import BeltPlane
    from anomaly_inspection.recipes.recipe import Recipe
    from anomaly_inspection.scoring.frame_scorer import ScorerResult

NAN = math.nan
_UNKNOWN = (NAN, NAN, NAN)


class PoseReporter:
    """
    Says where the parts of a recipe lie.

    Parameters
    ----------
    recipe : Recipe
        Its first reference, and what is marked there, tell origin and axis.
    belt : BeltPlane or None
        Where the belt lies before the camera; None = poses in pixels alone.

    """

    def __init__(self, recipe: Recipe, belt: BeltPlane | None = None) -> None:
        self._recipe = recipe
        self._belt = belt
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
        self.frame = marked_frame(
            part_frame(found, self._region, (size.width, size.height)), recipe.marks
        )
        marks = recipe.marks
        self._grasps = marks.grasps if marks else ()
        self._height_m = marks.height_m if marks else 0.0
        self._edge_shift_px = marks.edge_shift_px if marks else (0.0, 0.0)

    def message(self, score: ScorerResult, header: Header) -> PartPose:
        """
        Give the message of a frame; the key is left to the caller.

        Parameters
        ----------
        score : ScorerResult
            Of one scorer.
        header : Header
            Of the frame.

        """
        frame, alignment = self.frame, score.alignment
        message = PartPose(
            header=header,
            origin=PartPose.ORIGIN_REGION,
            belt_pose=PoseStamped(pose=_pose(_UNKNOWN)),
            recipe_name=self._recipe.name,
            recipe_version=self._recipe.version,
            recipe_hash=self._recipe.hash,
        )
        message.belt_pose.header.stamp = header.stamp
        if frame.is_marked:
            message.origin = PartPose.ORIGIN_MARKED
        elif frame.is_silhouette:
            message.origin = (
                PartPose.ORIGIN_SILHOUETTE if frame.has_axis else PartPose.ORIGIN_ROUND_SILHOUETTE
            )
        if alignment is None or score.to_frame is None:
            message.x_px = message.y_px = message.angle_rad = message.scale = NAN
            message.confidence = NAN
            message.detail = score.detail or 'the part was not found'
            return message
        region = self._region
        corner = (region.x, region.y) if region else (0, 0)
        to_frame = without_edge_shift(score.to_frame, self._edge_shift_px)
        pose = pose_in_frame(frame, to_frame, corner)
        message.x_px, message.y_px, message.angle_rad = pose.x_px, pose.y_px, pose.angle_rad
        message.scale, message.confidence = pose.scale, alignment.confidence
        message.is_sure = alignment.is_found
        if not message.is_sure:
            message.detail = (
                f'the part was not found surely: confidence {alignment.confidence:.2f}, needed: '
                f'{self._recipe.preprocessing.alignment.min_confidence:g}'
            )
        message.grasps = self._grasps_in_frame(to_frame, corner)
        if self._belt is not None:
            self._put_on_belt(message, self._belt, score.frame_size)
        return message

    def _grasps_in_frame(self, to_frame: np.ndarray, corner: tuple[int, int]) -> list[GraspPoint]:
        from_reference = to_frame.copy()
        from_reference[:, 2] -= to_frame[:, :2] @ corner
        points = []
        for grasp in self._grasps:
            seen = grasp.carried(from_reference)
            points.append(
                GraspPoint(
                    x_px=seen.x_px,
                    y_px=seen.y_px,
                    angle_rad=math.radians(seen.axis_deg),
                    width_px=NAN if seen.width_px is None else seen.width_px,
                    belt_pose=_pose(_UNKNOWN),
                    width_m=NAN,
                )
            )
        return points

    def _put_on_belt(self, message: PartPose, belt: BeltPlane, size: tuple[int, int]) -> None:
        """
        Add the metres; where they cannot be known, the pose is not sure.

        """
        message.belt_pose.header.frame_id = belt.belt_frame
        complaint = self.misfit(message.header.frame_id, size)
        if not complaint:
            x_m, y_m, yaw_rad, _ = self._on_belt(
                belt, message.x_px, message.y_px, message.angle_rad
            )
            message.is_on_belt = math.isfinite(x_m) and math.isfinite(yaw_rad)
            complaint = '' if message.is_on_belt else 'the camera does not see the belt there'
        if complaint:
            message.is_sure = False
            message.detail = '; '.join(filter(None, (message.detail, complaint)))
            return
        message.belt_pose.pose = _pose((x_m, y_m, self._height_m), yaw_rad)
        for grasp in message.grasps:
            x_m, y_m, yaw_rad, width_m = self._on_belt(
                belt, grasp.x_px, grasp.y_px, grasp.angle_rad, grasp.width_px
            )
            grasp.belt_pose = _pose((x_m, y_m, self._height_m), yaw_rad)
            grasp.width_m = width_m

    def misfit(self, frame_id: str, size: tuple[int, int]) -> str:
        """
        Say why the plane of the belt does not hold for a frame; '' when it does, or is not known.

        """
        belt = self._belt
        if belt is None:
            return ''
        width, height = belt.calibration.size
        if size != (width, height):
            return (
                f'no metres: the frame has {size[0]}x{size[1]} px, belt_plane is for '
                f'{width}x{height}'
            )
        if frame_id != belt.camera_frame:
            return f'no metres: the frame is of {frame_id!r}, belt_plane of {belt.camera_frame!r}'
        return ''

    def _on_belt(
        self, belt: BeltPlane, x_px: float, y_px: float, angle_rad: float, width_px: float = NAN
    ) -> tuple[float, float, float, float]:
        """
        Give x, y (metres), the direction about z (radians) and the width (metres).

        """
        # y points down.
        along = np.array([math.cos(angle_rad), -math.sin(angle_rad)])
        half_px = 1.0 if math.isnan(width_px) else width_px / 2
        middle = np.array([x_px, y_px])
        places = belt.to_belt(
            np.array(
                [
                    middle,
                    middle - along,
                    middle + along,
                    middle - half_px * along,
                    middle + half_px * along,
                ]
            ),
            self._height_m,
        )
        ahead = places[2] - places[1]
        width_m = NAN if math.isnan(width_px) else float(np.linalg.norm(places[4] - places[3]))
        return float(places[0, 0]), float(places[0, 1]), math.atan2(ahead[1], ahead[0]), width_m


def _pose(place_m: tuple[float, float, float], yaw_rad: float = NAN) -> Pose:
    """
    Give a pose turned about z; all NaN where it is not known.

    """
    x_m, y_m, z_m = place_m
    if not math.isfinite(x_m + y_m + z_m + yaw_rad):
        return Pose(
            position=Point(x=NAN, y=NAN, z=NAN), orientation=Quaternion(x=NAN, y=NAN, z=NAN, w=NAN)
        )
    return Pose(
        position=Point(x=x_m, y=y_m, z=z_m),
        orientation=Quaternion(x=0.0, y=0.0, z=math.sin(yaw_rad / 2), w=math.cos(yaw_rad / 2)),
    )
