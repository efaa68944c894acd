# SPDX-License-Identifier: Apache-2.0
"""
The images of the parts, joined to their parts by stamp, and only while somebody wants them.

"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, TYPE_CHECKING

from sensor_msgs.msg import Image

from anomaly_inspection.msg import Part
from anomaly_inspection.nodes.image_conversion import array_from_image
from anomaly_inspection.nodes.image_stream import ImageStream
from anomaly_inspection.nodes.qos import EVENT
from anomaly_inspection.nodes.stamps import nanoseconds_from_stamp

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from anomaly_inspection.nodes.inspection_node import InspectionNode

    Key = tuple[str, int]

# Images and parts come on two topics, in either order.
_WAITING_IMAGES = 8
_WAITING_STAMPS = 64
_HELD_PARTS = 8


@dataclass(frozen=True, eq=False)
class PartImage:
    """
    An image of a part.

    Parameters
    ----------
    key : (str, int)
        Of the part.
    views : int
        How many images of this part come.
    message : sensor_msgs.msg.Image
        As it came.

    """

    key: Key
    views: int
    message: Image

    def pixels(self) -> NDArray[np.uint8]:
        """
        Give the pixels, (H, W) gray or (H, W, 3) BGR; raises FrameError when that cannot be done.

        """
        return array_from_image(self.message)


class PartImages:
    """
    Gives every image of every part to those who want it. Of a part that is held, as in station
    mode, the first one alone: the others show nothing new.

    Parameters
    ----------
    node : InspectionNode
        Who listens; `check` is to be called now and then.

    """

    def __init__(self, node: InspectionNode[Any]) -> None:
        self._node = node
        self._takers: list[Callable[[PartImage], None]] = []
        self._parts: Any = None
        self._stream: ImageStream | None = None
        self._images: OrderedDict[int, Image] = OrderedDict()
        self._wanted: OrderedDict[int, tuple[Key, int]] = OrderedDict()
        self._held: OrderedDict[Key, None] = OrderedDict()

    def give_to(self, taker: Callable[[PartImage], None]) -> None:
        """
        Give all images from now on to one more.

        """
        self._takers.append(taker)
        if self._stream is None:
            self._parts = self._node.listen(Part, 'part', self._take_part, EVENT)
            self._stream = ImageStream(self._node, Image, 'part/image', self._take_image)

    def no_longer_to(self, taker: Callable[[PartImage], None]) -> None:
        """
        Give no more images to one who took them.

        """
        if taker in self._takers:
            self._takers.remove(taker)
        if not self._takers and self._stream is not None:
            self._node.stop_listening(self._parts)
            self._stream.close()
            self._parts = self._stream = None
            self._node.clear('lost part/image')
            for store in (self._images, self._wanted, self._held):
                store.clear()

    def check(self) -> None:
        """
        Tell the diagnostics about images that were lost on the way.

        """
        if self._stream is not None:
            self._stream.check()

    def _take_part(self, message: Part) -> None:
        key = (message.session_id, message.part_id)
        stamps = [
            nanoseconds_from_stamp(stamp)
            for stamp, problem in zip(message.frame_stamps, message.frame_problems, strict=True)
            if not problem
        ]
        if key in self._held:
            return
        if not message.is_complete:
            _put(self._held, key, None, _HELD_PARTS)
            stamps = stamps[:1]
        for stamp_ns in stamps:
            _put(self._wanted, stamp_ns, (key, len(stamps)), _WAITING_STAMPS)
            self._give(stamp_ns)

    def _take_image(self, message: Image) -> None:
        stamp_ns = nanoseconds_from_stamp(message.header.stamp)
        _put(self._images, stamp_ns, message, _WAITING_IMAGES)
        self._give(stamp_ns)

    def _give(self, stamp_ns: int) -> None:
        if stamp_ns not in self._images or stamp_ns not in self._wanted:
            return
        key, views = self._wanted.pop(stamp_ns)
        image = PartImage(key, views, self._images.pop(stamp_ns))
        for taker in list(self._takers):
            taker(image)


def _put(store: OrderedDict[Any, Any], key: Any, value: Any, most: int) -> None:
    store[key] = value
    while len(store) > most:
        store.popitem(last=False)
