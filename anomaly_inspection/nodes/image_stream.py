# SPDX-License-Identifier: Apache-2.0
"""
A subscription to images from any publisher, reliable or best effort.

A reliable subscription gets nothing from a best-effort publisher. A best-effort one gets images
from both, but without shared memory it loses almost every image above 0.5 MB, whoever publishes.
So the subscription begins reliable, and becomes best effort when a publisher offers no more.

"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TYPE_CHECKING

from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.qos import QoSPolicyKind

from anomaly_inspection.nodes.inspection_node import InspectionNode, steady_s, WARN
from anomaly_inspection.nodes.qos import IMAGE, UNRELIABLE_IMAGE

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclpy.subscription import Subscription

# The diagnostics tell of a loss for so long.
_LOSS_TOLD_S = 10.0


@dataclass(eq=False)
class ImageStream:
    """
    Takes the images of a topic while the node is active, and counts those that were lost.

    Parameters
    ----------
    node : InspectionNode
        Who listens. Its cleanup ends the subscription; so does `close`.
    message_type : type
        Image or CompressedImage.
    topic : str
        Name of the topic.
    callback : callable (message) -> None
        Takes each image.

    Attributes
    ----------
    is_reliable : bool
        Whether the middleware repeats images that were lost on the way.
    lost_count : int
        How many images the middleware has reported as lost.

    """

    node: InspectionNode[Any]
    message_type: type
    topic: str
    callback: Callable[[Any], None]
    is_reliable: bool = field(default=True, init=False)
    lost_count: int = field(default=0, init=False)
    _told_lost_count: int = field(default=0, init=False)
    _lost_s: float = field(default=0.0, init=False)
    _subscription: Subscription[Any] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._listen()

    def close(self) -> None:
        """
        End the subscription.

        """
        if self._subscription is not None:
            self.node.stop_listening(self._subscription)
            self._subscription = None

    def check(self) -> None:
        """
        Tell the diagnostics about losses; to be called now and then.

        """
        now = steady_s()
        if self.lost_count > self._told_lost_count:
            self._told_lost_count, self._lost_s = self.lost_count, now
            how = 'reliable' if self.is_reliable else 'best effort'
            self.node.report(
                f'lost {self.topic}',
                WARN,
                f'{self.lost_count} images of {self.topic} ({how}) were lost on the way: the '
                'machine is busy, or the publisher does not use the shared-memory profile',
            )
        elif now - self._lost_s > _LOSS_TOLD_S:
            self.node.clear(f'lost {self.topic}')

    def _listen(self) -> None:
        events = SubscriptionEventCallbacks(
            incompatible_qos=self._take_incompatible, message_lost=self._take_loss
        )
        self._subscription = self.node.listen(
            self.message_type,
            self.topic,
            self.callback,
            IMAGE if self.is_reliable else UNRELIABLE_IMAGE,
            events=events,
        )

    def _take_loss(self, event: Any) -> None:
        self.lost_count += event.total_count_change

    def _take_incompatible(self, event: Any) -> None:
        is_about_reliability = event.last_policy_kind == QoSPolicyKind.RELIABILITY
        executor = self.node.executor
        if not (self.is_reliable and is_about_reliability) or executor is None:
            self.node.report_incompatible_qos(self.topic, event)
            return
        self.is_reliable = False
        # Not here: this is an event of the subscription that has to go.
        executor.create_task(self._become_best_effort)

    def _become_best_effort(self) -> None:
        if self._subscription is None:
            return
        self.close()
        self._listen()
        self.node.get_logger().info(
            f'{self.topic} comes from a best-effort publisher and is taken as such'
        )
