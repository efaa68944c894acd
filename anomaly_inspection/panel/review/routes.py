# SPDX-License-Identifier: Apache-2.0
"""
Addresses of the pictures of rejects: the frame, the frame with what was found, a small one, and
what was found beside the same place of the nearest good part.

"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import quote

import cv2
from fastapi import FastAPI, Response

from anomaly_inspection.errors import FrameError
from anomaly_inspection.imaging.image_decoding import decode_image
from anomaly_inspection.overlay import draw_part
from anomaly_inspection.panel.recipes.library import RecipeLibrary
from anomaly_inspection.scoring.region import Region

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from anomaly_inspection.panel.cell.part_views import PartKey, PartView
    from anomaly_inspection.panel.panel_parts import PanelParts
    from anomaly_inspection.panel.review.reject import Reject

#: Pictures of a reject: as it was judged, with boxes around what was found, and the same small.
FRAME, MARKED, SMALL = 'frame.png', 'marked.jpg', 'small.jpg'
#: What stands out most, and the same place of the nearest good part.
FOUND, GOOD = 'found.jpg', 'good.jpg'
_THUMBNAIL_PX = 240
_QUALITY = (cv2.IMWRITE_JPEG_QUALITY, 90)
# The picture of a part never changes.
_KEPT = {'Cache-Control': 'private, max-age=3600, immutable'}


def picture_address(key: PartKey, kind: str) -> str:
    """
    Give the address of a picture of a reject.

    """
    return f'/rejects/{quote(key[0], safe="")}/{key[1]}/{kind}'


def add_routes(app: FastAPI, parts: PanelParts) -> None:
    """
    Add the addresses to the application.

    """
    reviews = parts.reviews

    # Not a coroutine: it reads files, and FastAPI runs it on a thread.
    @app.get('/rejects/{session_id}/{part_id}/{kind}')
    def picture(session_id: str, part_id: int, kind: str) -> Response:
        key = (session_id, part_id)
        reject = reviews.reject(key)
        if kind in (FOUND, GOOD):
            return compared(reject, kind)
        png = reviews.png_of(key)
        draw = _KINDS.get(kind)
        if reject is None or png is None or (draw is None and kind != FRAME):
            return Response(status_code=404)
        if draw is None:
            return Response(png, media_type='image/png', headers=_KEPT)
        try:
            jpeg = cv2.imencode('.jpg', draw(decode_image(png), reject.part), _QUALITY)[1]
        except (FrameError, cv2.error):
            # Torn by a loss of power.
            return Response(status_code=404)
        return Response(jpeg.tobytes(), media_type='image/jpeg', headers=_KEPT)

    def compared(reject: Reject | None, kind: str) -> Response:
        if reject is None:
            return Response(status_code=404)
        library = RecipeLibrary.of(parts.state.picture())
        made = parts.good_parts.compared(reject, lambda: reviews.png_of(reject.key), library)
        if made is None:
            return Response(status_code=404)
        jpeg = made.found if kind == FOUND else made.good
        return Response(jpeg, media_type='image/jpeg', headers=_KEPT)


def _marked(frame: NDArray[np.uint8], part: PartView) -> NDArray[np.uint8]:
    regions = [
        Region(each.x_min, each.y_min, each.x_max, each.y_max, each.area_px, each.times_limit)
        for score in part.scores
        for each in score.regions
    ]
    return draw_part(frame, regions=regions)


def _small(frame: NDArray[np.uint8], part: PartView) -> NDArray[np.uint8]:
    drawn = _marked(frame, part)
    height, width = drawn.shape[:2]
    size = (_THUMBNAIL_PX, max(1, round(height * _THUMBNAIL_PX / width)))
    return cv2.resize(drawn, size, interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


_KINDS: dict[str, Callable[[NDArray[np.uint8], PartView], NDArray[np.uint8]]] = {
    MARKED: _marked,
    SMALL: _small,
}
