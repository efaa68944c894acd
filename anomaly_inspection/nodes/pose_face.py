# SPDX-License-Identifier: Apache-2.0
"""
The topics that say where parts lie: part_pose, belt_pose, and /tf_static for tf2.

"""

from __future__ import annotations

from typing import Any, TYPE_CHECKING

from geometry_msgs.msg import PoseStamped, Quaternion, Transform, TransformStamped, Vector3

from anomaly_inspection.msg import PartPose
from anomaly_inspection.nodes.qos import EVENT, LATCHED

try:
    from tf2_msgs.msg import TFMessage
except ImportError:
    TFMessage = None

if TYPE_CHECKING:
    from anomaly_inspection.capture.belt_plane import BeltPlane
    from anomaly_inspection.nodes.guarded_node import GuardedNode

# The same for all nodes of a machine, whatever their namespace.
TOPIC = '/tf_static'
MISSING = (
    'tf2_msgs is not installed: the transform from {belt} to {camera} is not published on '
    '/tf_static. Poses are published all the same'
)


class PoseFace:
    """
    Publishes where parts lie, and where the belt lies before the camera.

    Parameters
    ----------
    node : GuardedNode
        Publishes, and logs what it cannot.
    belt : BeltPlane or None
        Where the belt lies; None = poses in pixels alone.
    publishes_tf : bool
        Whether tf2 is told about the belt.

    """

    def __init__(self, node: GuardedNode, belt: BeltPlane | None, *, publishes_tf: bool) -> None:
        self._node = node
        self._belt = belt if publishes_tf else None
        self._part_pose = node.publish_on(PartPose, 'part_pose', EVENT)
        self._belt_pose = node.publish_on(PoseStamped, 'belt_pose', EVENT)
        self._tf: Any = None
        if self._belt is not None and TFMessage is not None:
            self._tf = node.publish_on(TFMessage, TOPIC, LATCHED)

    @property
    def is_heard(self) -> bool:
        """
        Whether anybody subscribes to poses.

        """
        counts = (each.get_subscription_count() for each in (self._part_pose, self._belt_pose))
        return any(counts)

    def publish(self, message: PartPose) -> None:
        """
        Publish a pose.

        """
        self._part_pose.publish(message)
        # The plain pose says nothing of how sure it is.
        if message.is_sure and message.is_on_belt:
            self._belt_pose.publish(message.belt_pose)

    def tell_tf(self) -> None:
        """
        Tell tf2 once where the camera stands in the frame of the belt; it keeps that.

        """
        belt = self._belt
        if belt is None:
            return
        if self._tf is None:
            self._node.get_logger().info(
                MISSING.format(belt=belt.belt_frame, camera=belt.camera_frame)
            )
            return
        transform = belt_transform(belt)
        transform.header.stamp = self._node.get_clock().now().to_msg()
        self._tf.publish(TFMessage(transforms=[transform]))


def belt_transform(plane: BeltPlane) -> TransformStamped:
    """
    Give the camera's optical frame in the frame of the belt.

    """
    x_m, y_m, z_m = plane.place_in_belt_m()
    x, y, z, w = plane.quaternion_in_belt()
    message = TransformStamped(
        child_frame_id=plane.camera_frame,
        transform=Transform(
            translation=Vector3(x=x_m, y=y_m, z=z_m), rotation=Quaternion(x=x, y=y, z=z, w=w)
        ),
    )
    message.header.frame_id = plane.belt_frame
    return message
