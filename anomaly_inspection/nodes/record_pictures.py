# SPDX-License-Identifier: Apache-2.0
"""
Join the parts that shall be kept as pictures with their frames and maps.

"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
import functools
from typing import Any, TYPE_CHECKING

import numpy as np
from sensor_msgs.msg import Image

from anomaly_inspection.errors import FrameError
from anomaly_inspection.nodes.image_conversion import array_from_image
from anomaly_inspection.nodes.image_stream import ImageStream
from anomaly_inspection.nodes.inspection_node import steady_s
from anomaly_inspection.nodes.record_good_patch import FoundIn, GoodPatches
from anomaly_inspection.nodes.stamps import nanoseconds_from_stamp
from anomaly_inspection.records.picture_store import Picture

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly_inspection.nodes.inspection_node import InspectionNode
    from anomaly_inspection.records.picture_store import PictureStore

# An image waits here for the verdict on its part.
_MOST_IMAGES, _LEAST_IMAGES, _MOST_IMAGE_BYTES = 16, 4, 64 * 10**6
_REMEMBERED_PARTS = 300
# After a decision the image may still be on its way.
_IMAGE_COMES_S = 2.0
#: Gray level of a picture of a map at the region limit; 255 is four times the limit.
LIMIT_LEVEL = 64
_TOPICS = {'frame': 'part/image', 'map': 'anomaly_map'}


@dataclass
class _Images:
    """
    The last few images of a topic by their stamps.

    """

    by_stamp: OrderedDict[int, Image] = field(default_factory=OrderedDict)
    n_bytes: int = 0

    def add(self, stamp_ns: int, image: Image) -> None:
        replaced = self.by_stamp.pop(stamp_ns, None)
        self.n_bytes += len(image.data) - (len(replaced.data) if replaced else 0)
        self.by_stamp[stamp_ns] = image
        while len(self.by_stamp) > _MOST_IMAGES or (
            self.n_bytes > _MOST_IMAGE_BYTES and len(self.by_stamp) > _LEAST_IMAGES
        ):
            self.n_bytes -= len(self.by_stamp.popitem(last=False)[1].data)


@dataclass(frozen=True)
class _Pending:
    key: tuple[str, int]
    kind: str
    shows: str
    time_us: int
    stamp_ns: int
    until_s: float
    found: FoundIn | None = None


class RecordPictures:
    """
    Hands pictures of chosen parts to the store.

    Parameters
    ----------
    node : InspectionNode
        The recorder.
    store : PictureStore
        Where they go.
    good : GoodPatches
        Finds the nearest good part of rejects.
    has_maps : bool
        Whether anomaly maps are kept as well.

    """

    def __init__(
        self,
        node: InspectionNode[Any],
        store: PictureStore,
        good: GoodPatches,
        *,
        has_maps: bool,
    ) -> None:
        self._store, self._good = store, good
        self._images = {'frame': _Images(), **({'map': _Images()} if has_maps else {})}
        self._stamps: OrderedDict[tuple[str, int], int] = OrderedDict()
        self._pending: list[_Pending] = []
        self._streams = [
            ImageStream(node, Image, _TOPICS[shows], functools.partial(self._take_image, shows))
            for shows in self._images
        ]

    def note_stamp(self, key: tuple[str, int], stamp: Any) -> None:
        """
        A part was announced, or a frame of it was scored: the last frame is the one to keep.

        """
        self._stamps[key] = max(nanoseconds_from_stamp(stamp), self._stamps.get(key, 0))
        while len(self._stamps) > _REMEMBERED_PARTS:
            self._stamps.popitem(last=False)

    def keep(
        self, key: tuple[str, int], kind: str, time_us: int, found: FoundIn | None = None
    ) -> None:
        """
        Keep the pictures of a part; those that have not come yet may come for two seconds.

        With what was `found` in it, the same place of the nearest good part is kept as well.

        """
        stamp_ns = self._stamps.get(key)
        if stamp_ns is None:
            return
        for shows, images in self._images.items():
            until_s = steady_s() + _IMAGE_COMES_S
            pending = _Pending(key, kind, shows, time_us, stamp_ns, until_s, found)
            image = images.by_stamp.get(stamp_ns)
            if image is None:
                self._pending.append(pending)
            else:
                self._put(pending, image)

    def look_around(self) -> None:
        """
        Give up what did not come; to be called about once a second.

        """
        for stream in self._streams:
            stream.check()
        now = steady_s()
        self._pending = [each for each in self._pending if each.until_s > now]

    def _take_image(self, shows: str, message: Image) -> None:
        stamp_ns = nanoseconds_from_stamp(message.header.stamp)
        for pending in list(self._pending):
            if pending.stamp_ns == stamp_ns and pending.shows == shows:
                self._pending.remove(pending)
                self._put(pending, message)
        self._images[shows].add(stamp_ns, message)

    def _put(self, pending: _Pending, image: Image) -> None:
        convert = array_from_image if pending.shows == 'frame' else _gray_of_map
        session, part = pending.key
        self._store.put(
            Picture(
                *(session, part, pending.kind, pending.shows, pending.time_us),
                len(image.data),
                functools.partial(convert, image),
            )
        )
        if pending.shows == 'frame' and pending.found is not None:
            made = self._good.maker(image, pending.found)
            if made is not None:
                # The image waits already; this one takes no more memory.
                kept = (session, part, pending.kind, 'good', pending.time_us)
                self._store.put(Picture(*kept, 0, made))


def _gray_of_map(message: Image) -> NDArray[np.uint8]:
    if message.encoding != '32FC1' or message.is_bigendian:
        raise FrameError(f'a map of encoding {message.encoding!r} cannot be kept; it is 32FC1')
    values = np.frombuffer(message.data, np.float32)
    values = values[: message.height * message.step // 4].reshape(message.height, -1)
    values = np.nan_to_num(values[:, : message.width], nan=255 / LIMIT_LEVEL, posinf=255.0)
    return np.clip(values * LIMIT_LEVEL, 0, 255).astype(np.uint8)
