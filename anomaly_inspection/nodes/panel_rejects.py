# SPDX-License-Identifier: Apache-2.0
"""
The ROS face of the review set: rejects and some passed parts, each with the frame judged last.

It takes every image of the parts and keeps the last few as they came, without looking into them.
Only those of parts that are kept are converted, by the thread of the review set.

"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
import functools
import time
from typing import Any, TYPE_CHECKING

from sensor_msgs.msg import Image

from anomaly_inspection.errors import FrameError
from anomaly_inspection.msg import Decision
from anomaly_inspection.nodes.image_conversion import array_from_image
from anomaly_inspection.nodes.image_stream import ImageStream
from anomaly_inspection.nodes.inspection_node import steady_s
from anomaly_inspection.nodes.stamps import nanoseconds_from_stamp
from anomaly_inspection.panel.review.reject import KeptAs

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from anomaly_inspection.msg import Part, Score
    from anomaly_inspection.nodes.inspection_node import InspectionNode
    from anomaly_inspection.panel.cell.part_views import PartKey
    from anomaly_inspection.panel.cell.state import CellState
    from anomaly_inspection.panel.review.review_set import ReviewSet

# An image waits here for the verdict on its part.
_MOST_IMAGES, _LEAST_IMAGES, _MOST_IMAGE_BYTES = 16, 4, 96 * 10**6
_REMEMBERED_PARTS = 200
# After a decision the scores, and then the image, may still be on their way.
_SCORES_COME_S, _IMAGE_COMES_S = 0.5, 2.0
_MOST_PENDING = 100
_UNKNOWN = -1


@dataclass
class _Pending:
    key: PartKey
    stamp_ns: int
    decided_s: float
    now_s: float
    kept_as: KeptAs
    image: Image | None = None


class PanelRejects:
    """
    Joins the parts of production with their images and hands some to the review set.

    These are all rejects, the passed parts near a limit, and a sample of the others; the recorder
    chooses just so.

    Known parts of a challenge are left out: nobody needs to be asked what they are.

    Parameters
    ----------
    node : InspectionNode
        The panel.
    state : CellState
        What is known of the parts.
    reviews : ReviewSet
        Where the parts go.
    near_limit : float
        A passed part from this anomaly score on is near a limit, 0..1.
    sample_every : int
        Every so manieth passed part is of the sample; 0 = no passed part is kept.

    """

    def __init__(
        self,
        node: InspectionNode[Any],
        state: CellState,
        reviews: ReviewSet,
        near_limit: float,
        sample_every: int,
    ) -> None:
        self._node, self._state, self._reviews = node, state, reviews
        self._near_limit, self._sample_every = near_limit, sample_every
        self._stream: ImageStream | None = None
        self._images: OrderedDict[int, Image] = OrderedDict()
        self._n_bytes = 0
        self._stamps: OrderedDict[PartKey, int] = OrderedDict()
        self._pending: OrderedDict[PartKey, _Pending] = OrderedDict()

    def configure(self) -> None:
        """
        Make the endpoint.

        """
        if self._reviews.is_kept:
            self._stream = ImageStream(self._node, Image, 'part/image', self._take_image)

    def take_part(self, message: Part) -> None:
        """
        A part has come.

        """
        self._note_stamp(message, message.frame_stamps[-1])

    def take_score(self, message: Score) -> None:
        """
        A frame was scored: the last one before the decision is the one that shows why.

        """
        self._note_stamp(message, message.header.stamp)

    def take_decision(self, message: Decision) -> None:
        """
        A part was decided.

        """
        key = (message.session_id, message.part_id)
        kept_as = self._kept_as(message)
        if (
            self._stream is None
            or kept_as is None
            or message.known_as in (Decision.KNOWN_AS_GOOD, Decision.KNOWN_AS_BAD)
            or key in self._pending
        ):
            return
        stamp_ns = self._stamps.get(key, _UNKNOWN)
        self._pending[key] = _Pending(
            *(key, stamp_ns, steady_s(), time.time(), kept_as), image=self._images.get(stamp_ns)
        )
        if len(self._pending) > _MOST_PENDING:
            self._hand_over(next(iter(self._pending)))

    def look_around(self) -> None:
        """
        Hand over what is complete; to be called a few times a second.

        """
        if self._stream is None:
            return
        self._stream.check()
        now = steady_s()
        for pending in list(self._pending.values()):
            wait_s = _SCORES_COME_S if pending.image else _IMAGE_COMES_S
            if now - pending.decided_s >= wait_s:
                self._hand_over(pending.key)

    def hand_over_all(self) -> None:
        """
        Wait for nothing more; the panel ends.

        """
        for key in list(self._pending):
            self._hand_over(key)

    def _kept_as(self, message: Decision) -> KeptAs | None:
        """
        Say why a part is kept; None = it is not.

        """
        if message.verdict != Decision.VERDICT_PASS:
            return KeptAs.REJECT
        if not self._sample_every:
            return None
        if message.anomaly_score >= self._near_limit:
            return KeptAs.NEAR
        return KeptAs.SAMPLE if message.part_id % self._sample_every == 0 else None

    def _note_stamp(self, message: Part | Score, stamp: Any) -> None:
        key = (message.session_id, message.part_id)
        pending = self._pending.get(key)
        if self._stream is None or (pending and pending.stamp_ns != _UNKNOWN):
            return
        stamp_ns = nanoseconds_from_stamp(stamp)
        if pending:
            # The decision has overtaken the announcement of its part.
            pending.stamp_ns, pending.image = stamp_ns, self._images.get(stamp_ns)
            return
        # Scores may overtake the announcement, which names an earlier frame.
        self._stamps[key] = max(stamp_ns, self._stamps.get(key, _UNKNOWN))
        while len(self._stamps) > _REMEMBERED_PARTS:
            self._stamps.popitem(last=False)

    def _take_image(self, message: Image) -> None:
        stamp_ns = nanoseconds_from_stamp(message.header.stamp)
        for pending in self._pending.values():
            if pending.stamp_ns == stamp_ns:
                pending.image = message
        replaced = self._images.pop(stamp_ns, None)
        self._n_bytes += len(message.data) - (len(replaced.data) if replaced else 0)
        self._images[stamp_ns] = message
        while len(self._images) > _MOST_IMAGES or (
            self._n_bytes > _MOST_IMAGE_BYTES and len(self._images) > _LEAST_IMAGES
        ):
            self._n_bytes -= len(self._images.popitem(last=False)[1].data)

    def _hand_over(self, key: PartKey) -> None:
        pending = self._pending.pop(key)
        part = self._state.part(key)
        if part is None:
            return
        image = pending.image
        n_bytes = len(image.data) if image else 0
        pixels = functools.partial(_pixels, image)
        self._reviews.put(part, pixels, n_bytes, pending.now_s, pending.kept_as)


def _pixels(image: Image | None) -> NDArray[np.uint8]:
    if image is None:
        raise FrameError('no image of this part has come to the panel')
    return array_from_image(image)
