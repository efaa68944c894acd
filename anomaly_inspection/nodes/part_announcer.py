# SPDX-License-Identifier: Apache-2.0
"""
The one way to announce a part: for the camera in free run, and for the part detector.

"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, UTC
import time
from typing import Any, TYPE_CHECKING
from uuid import uuid4

from sensor_msgs.msg import Image

from anomaly_inspection.msg import Part
from anomaly_inspection.nodes.inspection_node import steady_s
from anomaly_inspection.nodes.qos import EVENT, IMAGE
from anomaly_inspection.nodes.stamps import stamp_from_nanoseconds
from anomaly_inspection.printable import printable
from anomaly_inspection.steady_clock import steady_clock_id

if TYPE_CHECKING:
    from collections.abc import Sequence
    import threading

    from anomaly_inspection.nodes.inspection_node import InspectionNode

_LISTENERS_SETTLE_S = 1.5
_LISTENERS_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class PartFrame:
    """
    One frame of a part, as it is announced.

    Parameters
    ----------
    stamp_ns : int
        Its stamp, which no other frame has (see `OwnStamps`), nanoseconds since the epoch.
    exposure_ns : int
        Its exposure on CLOCK_MONOTONIC, nanoseconds.
    name : str
        Where it came from; '' for a camera.
    problem : str
        Why it shows nothing; the part is then rejected. '' = nothing is wrong.

    """

    stamp_ns: int
    exposure_ns: int
    name: str = ''
    problem: str = ''


class PartAnnouncer:
    """
    Publishes `part` and `part/image`, and counts the parts of a session.

    Parameters
    ----------
    node : InspectionNode
        Who announces; its cleanup ends the publishers.

    """

    def __init__(self, node: InspectionNode[Any]) -> None:
        self._node = node
        self._part = node.publish_on(Part, 'part', EVENT)
        self._image = node.publish_on(Image, 'part/image', IMAGE)
        self._clock_id = steady_clock_id()
        self.session_id = ''
        #: How many parts this session has had.
        self.part_count = 0
        #: How many of them had no frame, or one with a problem.
        self.problem_count = 0

    def begin_session(self) -> None:
        """
        Count from 1 again, under a new session id.

        """
        self.session_id = f'{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{uuid4().hex[:8]}'
        self.part_count = self.problem_count = 0

    def announce(
        self, frames: Sequence[PartFrame], *, is_new: bool = True, is_complete: bool = True
    ) -> int:
        """
        Publish a part, or what is new of the last one.

        Parameters
        ----------
        frames : sequence of PartFrame
            All its frames so far, 1 or more.
        is_new : bool
            The part was not announced before.
        is_complete : bool
            No further frame comes.

        Returns
        -------
        int
            Its number.

        """
        if is_new:
            self.part_count += 1
            self.problem_count += bool(frames[0].problem)
        first_ns = frames[0].exposure_ns
        self._part.publish(
            Part(
                session_id=self.session_id,
                part_id=self.part_count,
                frame_stamps=[stamp_from_nanoseconds(frame.stamp_ns) for frame in frames],
                frame_names=[printable(frame.name) for frame in frames],
                frame_problems=[frame.problem for frame in frames],
                is_complete=is_complete,
                exposure_steady_ns=first_ns,
                steady_clock_id=self._clock_id,
                age_s=max(0.0, 1e-9 * (time.monotonic_ns() - first_ns)),
            )
        )
        return self.part_count

    def publish_image(self, image: Image) -> None:
        """
        Publish the image of a frame that was announced without a problem; its stamp joins them.

        """
        self._image.publish(image)

    def listener_counts(self) -> tuple[int, int]:
        """
        Give the number of subscriptions to part and to part/image.

        """
        return self._part.get_subscription_count(), self._image.get_subscription_count()

    def figures(self) -> dict[str, object]:
        """
        Give the numbers that diagnostics show.

        """
        parts, images = self.listener_counts()
        return {
            'session_id': self.session_id,
            'parts': self.part_count,
            'parts without a frame': self.problem_count,
            'subscriptions to part': parts,
            'subscriptions to part/image': images,
        }

    def wait_for_listeners(self, stop: threading.Event) -> None:
        """
        Hold the first part back until decider, sorter and scorers have found this node.

        They do not know a part that comes earlier, and can only sort it out. Discovery takes a
        second or two. Nobody knows how many listeners there will be, so this waits until their
        number has settled, or `stop` is set.

        """
        counts, settled_s = self.listener_counts(), steady_s() + _LISTENERS_SETTLE_S
        give_up_s = steady_s() + _LISTENERS_TIMEOUT_S
        while steady_s() < min(settled_s, give_up_s) and not stop.wait(0.05):
            before, counts = counts, self.listener_counts()
            if counts != before or min(counts) == 0:
                settled_s = steady_s() + _LISTENERS_SETTLE_S
        if min(counts) == 0 and not stop.is_set():
            self._node.get_logger().warning(
                f'{counts[0]} subscriptions to part and {counts[1]} to part/image after '
                f'{_LISTENERS_TIMEOUT_S:g} s: are scorer, decider and sorter running?'
            )
