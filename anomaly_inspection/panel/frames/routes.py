# SPDX-License-Identifier: Apache-2.0
"""
Addresses of the pictures: a WebSocket, an MJPEG stream for embedding, one picture of one part.

The WebSocket sends one picture and waits until the viewer says 'shown': so no viewer has more than
one under way, and a slow one gets the newest that there is then.

"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
import json
import math
from typing import TYPE_CHECKING

from fastapi import FastAPI, Response, WebSocket, WebSocketDisconnect
from fastapi.responses import StreamingResponse

if TYPE_CHECKING:
    from anomaly_inspection.panel.frames.hub import Frame, FrameHub
    from anomaly_inspection.panel.panel_parts import PanelParts

_BOUNDARY = 'picture'
# A viewer that has not answered by then is gone.
_ANSWER_TIMEOUT_S = 20.0
_LONGEST_ANSWER = 64


def add_routes(app: FastAPI, parts: PanelParts) -> None:
    """
    Add the addresses of the pictures to the application.

    """
    hub = parts.frames

    @app.websocket('/frames')
    async def frames(socket: WebSocket, view: str = '') -> None:
        await socket.accept()
        with hub.viewer(view) as viewer:
            closed = asyncio.create_task(_answers(socket, shown := asyncio.Event()))
            try:
                while not closed.done():
                    waiting = asyncio.create_task(viewer.next())
                    await asyncio.wait({waiting, closed}, return_when=asyncio.FIRST_COMPLETED)
                    if closed.done():
                        waiting.cancel()
                        break
                    shown.clear()
                    await socket.send_bytes(packed(waiting.result()))
                    await asyncio.wait_for(shown.wait(), _ANSWER_TIMEOUT_S)
            except (WebSocketDisconnect, RuntimeError, TimeoutError):
                pass
            finally:
                closed.cancel()

    @app.get('/stream.mjpeg')
    async def stream(view: str = '') -> StreamingResponse:
        return StreamingResponse(
            _mjpeg(hub, view),
            media_type=f'multipart/x-mixed-replace; boundary={_BOUNDARY}',
            headers={'Cache-Control': 'no-store'},
        )

    @app.get('/parts/{session_id}/{part_id}/{kind}.jpg')
    async def picture(session_id: str, part_id: int, kind: str) -> Response:
        jpeg = hub.jpeg_of((session_id, part_id), kind)
        if jpeg is None:
            return Response(status_code=404)
        # The picture of a part never changes.
        headers = {'Cache-Control': 'private, max-age=3600, immutable'}
        return Response(jpeg, media_type='image/jpeg', headers=headers)


def packed(frame: Frame) -> bytes:
    """
    Give the message of a picture: length of the head (2 bytes, big-endian), head in JSON, JPEG.

    """
    head = json.dumps(
        {
            'session': frame.key[0],
            'part': frame.key[1],
            'passed': frame.has_passed,
            'time_s': None if math.isnan(frame.time_s) else frame.time_s,
        }
    ).encode()
    return len(head).to_bytes(2, 'big') + head + frame.jpeg


async def _answers(socket: WebSocket, shown: asyncio.Event) -> None:
    """
    Note every answer; ends when the viewer has gone, or says what no viewer says.

    """
    try:
        while len(await socket.receive_text()) <= _LONGEST_ANSWER:
            shown.set()
    except (WebSocketDisconnect, RuntimeError, KeyError):
        pass
    finally:
        shown.set()


async def _mjpeg(hub: FrameHub, view: str) -> AsyncIterator[bytes]:
    with hub.viewer(view) as viewer:
        while True:
            jpeg = (await viewer.next()).jpeg
            yield (
                (
                    f'--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\n'
                    f'Content-Length: {len(jpeg)}\r\n\r\n'
                ).encode()
                + jpeg
                + b'\r\n'
            )
