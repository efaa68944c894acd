# SPDX-License-Identifier: Apache-2.0
"""
The regions of each part as vision_msgs detections, for programs that know no message of ours.

vision_msgs is optional: without it there is no topic, and the rest of the node works.

"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
import importlib
import os
from typing import Any, TYPE_CHECKING

from anomaly_inspection.deciding.frame_judge import Reason
from anomaly_inspection.msg import Decision, LimitsInForce, Score
from anomaly_inspection.nodes.diagnosed_node import steady_s
from anomaly_inspection.nodes.qos import EVENT
from anomaly_inspection.overlay import regions_to_draw

if TYPE_CHECKING:
    from collections.abc import Iterable

    from anomaly_inspection.nodes.guarded_node import GuardedNode

TOPIC = 'detections'
_WAITING_PARTS = 16
# A decision may overtake a score on the way here, by milliseconds.
_WAIT_FOR_SCORES_S = 0.3


def vision_messages() -> Any:
    """
    Give the module vision_msgs.msg, or None where it is not installed.

    """
    try:
        return importlib.import_module('vision_msgs.msg')
    except ImportError:
        return None


def missing_sentence() -> str:
    """
    Say why there are no detections, and what to do.

    """
    distribution = os.environ.get('ROS_DISTRO') or 'DISTRIBUTION'
    return (
        'not published, because vision_msgs is not installed: '
        f'apt install ros-{distribution}-vision-msgs'
    )


def detections_of(messages: Any, decision: Decision, scores: Iterable[Score]) -> Any:
    """
    Put the regions of one part into a vision_msgs/Detection2DArray.

    Parameters
    ----------
    messages : module
        vision_msgs.msg.
    decision : Decision
        The verdict on the part; its reason becomes the class of every region.
    scores : iterable of Score
        Those of the part's last frame. Without any the array is empty.

    Returns
    -------
    Detection2DArray
        One detection for each region, strongest first, with the header of the frame.

    """
    scores = list(scores)
    header = scores[0].header if scores else decision.header
    array = messages.Detection2DArray(header=header)
    for region in sorted(regions_to_draw(scores), key=lambda region: -region.peak):
        detection = messages.Detection2D(
            header=header, id=f'{decision.session_id}/{decision.part_id}'
        )
        # Half-open box: its pixels reach from x_min to x_max - 1, its edges from x_min to x_max.
        detection.bbox.center.position.x = (region.x_min + region.x_max) / 2
        detection.bbox.center.position.y = (region.y_min + region.y_max) / 2
        detection.bbox.size_x = float(region.x_max - region.x_min)
        detection.bbox.size_y = float(region.y_max - region.y_min)
        result = messages.ObjectHypothesisWithPose()
        result.hypothesis.class_id = class_of(decision)
        result.hypothesis.score = score_of(region.peak)
        detection.results = [result]
        array.detections.append(detection)
    return array


def class_of(decision: Decision) -> str:
    """
    Give the reason of the verdict in lower case, such as 'limit_exceeded'.

    """
    known = decision.reason in set(Reason)
    return Reason(decision.reason).name.lower() if known else 'unknown'


def score_of(peak: float) -> float:
    """
    Put a peak in units of the region limit on the scale of vision_msgs.

    Returns
    -------
    float
        0.5 = at the region limit, 0.67 = twice the limit, 0.9 = nine times, below 1 always.

    """
    return peak / (1 + peak)


@dataclass
class _Waiting:
    scores: dict[str, Score] = field(default_factory=dict)
    decision: Decision | None = None
    decided_s: float = 0.0


class DetectionStream:
    """
    Publishes the detections of each decided part on a node, while somebody subscribes.

    Parameters
    ----------
    node : GuardedNode
        At its configuration; it makes the endpoints, and ends them at cleanup.
    messages : module
        vision_msgs.msg.

    """

    def __init__(self, node: GuardedNode, messages: Any) -> None:
        self._node = node
        self._messages = messages
        self._output = node.publish_on(messages.Detection2DArray, TOPIC, EVENT)
        self._inputs: list[Any] = []
        self._waiting: OrderedDict[tuple[str, int], _Waiting] = OrderedDict()
        self._needed: frozenset[str] = frozenset()
        self.published = 0
        node.every(0.2, self._watch)

    def close(self) -> None:
        """
        Stop to listen.

        """
        while self._inputs:
            self._node.stop_listening(self._inputs.pop())
        self._waiting.clear()

    def take_limits(self, message: LimitsInForce) -> None:
        """
        Take the limits in force, which tell the scorers that a part is judged by.

        """
        self._needed = frozenset(limit.scorer for limit in message.limits)

    def _watch(self) -> None:
        is_watched = self._output.get_subscription_count() > 0
        if is_watched and not self._inputs:
            self._inputs.append(self._node.listen(Score, 'score', self._take_score, EVENT))
            self._inputs.append(
                self._node.listen(Decision, 'decision', self._take_decision, EVENT)
            )
        elif not is_watched and self._inputs:
            self.close()
        now = steady_s()
        for key, part in list(self._waiting.items()):
            if part.decision is not None and now - part.decided_s > _WAIT_FOR_SCORES_S:
                self._publish(key)

    def _take_score(self, message: Score) -> None:
        key = (message.session_id, message.part_id)
        self._part(key).scores[message.scorer] = message
        self._publish_when_complete(key)

    def _take_decision(self, message: Decision) -> None:
        key = (message.session_id, message.part_id)
        part = self._part(key)
        part.decision = message
        part.decided_s = steady_s()
        self._publish_when_complete(key)

    def _part(self, key: tuple[str, int]) -> _Waiting:
        part = self._waiting.setdefault(key, _Waiting())
        while len(self._waiting) > _WAITING_PARTS:
            self._waiting.popitem(last=False)
        return part

    def _publish_when_complete(self, key: tuple[str, int]) -> None:
        part = self._waiting.get(key)
        if part is not None and part.decision is not None and self._needed <= part.scores.keys():
            self._publish(key)

    def _publish(self, key: tuple[str, int]) -> None:
        part = self._waiting.pop(key)
        assert part.decision is not None
        self._output.publish(detections_of(self._messages, part.decision, part.scores.values()))
        self.published += 1
