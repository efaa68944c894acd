# SPDX-License-Identifier: Apache-2.0
"""
Addresses of recorded images and of the pictures of a draft.

The panel reads them from the teacher's folder; names are checked, and no other file is given.

"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
from fastapi import FastAPI, Response

from anomaly_inspection.errors import InspectionError
from anomaly_inspection.teaching.session import TeachingFolder

if TYPE_CHECKING:
    from anomaly_inspection.panel.panel_parts import PanelParts

_THUMBNAIL_PX = 240
_DRAFT_PICTURES = ('missed.png', 'seen.png')
# Neither an image nor a draft's picture at its address ever changes.
_KEPT = {'Cache-Control': 'private, max-age=3600'}


def add_routes(app: FastAPI, parts: PanelParts) -> None:
    """
    Add the addresses to the application.

    """

    def folder() -> TeachingFolder:
        return TeachingFolder(Path(parts.state.picture().teacher.folder or '/nonexistent'))

    # Not coroutines: they read files, and FastAPI runs them on threads.
    @app.get('/teaching/{session}/images/{name}')
    def image(session: str, name: str) -> Response:
        return _file(lambda: folder().open(session).image_path(name).read_bytes())

    @app.get('/teaching/{session}/thumbnails/{name}')
    def thumbnail(session: str, name: str) -> Response:
        def small() -> bytes:
            pixels = folder().open(session).read_image(name)
            height, width = pixels.shape[:2]
            size = (_THUMBNAIL_PX, max(1, round(height * _THUMBNAIL_PX / width)))
            smaller = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
            return cv2.imencode('.jpg', smaller)[1].tobytes()

        return _file(small, 'image/jpeg')

    @app.get('/teaching/{session}/draft/{name}')
    def draft_picture(session: str, name: str) -> Response:
        if name not in _DRAFT_PICTURES:
            return Response(status_code=404)
        return _file(lambda: (folder().open(session).draft_folder / name).read_bytes())


def _file(content: Callable[[], bytes], media_type: str = 'image/png') -> Response:
    try:
        return Response(content(), media_type=media_type, headers=_KEPT)
    except (InspectionError, OSError, cv2.error):
        return Response(status_code=404)
