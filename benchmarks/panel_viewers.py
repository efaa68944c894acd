# SPDX-License-Identifier: Apache-2.0
"""
Viewers of the panel without a browser: they hold the page's socket and take pictures.

`python -m benchmarks.panel_viewers ADDRESS COUNT SECONDS` prints one line of JSON.

"""

from __future__ import annotations

import asyncio
from contextlib import suppress
import json
import re
import sys
import time
from typing import Any
from urllib.parse import urlencode
import uuid

import aiohttp
import socketio


class Viewer:
    """
    One browser tab, as far as the server can tell.

    """

    def __init__(self, address: str) -> None:
        self._address = address
        # As a browser does: the panel refuses sockets that come from another site.
        self._headers = {'Origin': address.rstrip('/')}
        self.pictures = 0
        self.ages_s: list[float] = []
        self.page_messages = 0

    async def look(self, duration_s: float) -> None:
        """
        Open the Line page, and take what it sends.

        """
        async with aiohttp.ClientSession() as session:
            async with session.get(self._address) as answer:
                page = await answer.text()
            match = re.search(r"'client_id': '([^']+)'", page)
            assert match, 'the page has no client_id'
            page_socket = socketio.AsyncClient()
            next_message = 0

            @page_socket.on('*')
            async def take(event: str, *data: Any) -> None:
                nonlocal next_message
                self.page_messages += 1
                next_message += 1

            query = {
                'client_id': match[1],
                'tab_id': str(uuid.uuid4()),
                'document_id': str(uuid.uuid4()),
                'next_message_id': 0,
                'implicit_handshake': 'true',
            }
            await page_socket.connect(
                f'{self._address}?{urlencode(query)}',
                socketio_path='/_nicegui_ws/socket.io',
                transports=['websocket'],
                headers=self._headers,
            )
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._take_pictures(session), duration_s)
            await page_socket.disconnect()

    async def _take_pictures(self, session: aiohttp.ClientSession) -> None:
        address = f'{self._address}frames'
        async with session.ws_connect(address, max_msg_size=0, headers=self._headers) as pictures:
            async for message in pictures:
                length = int.from_bytes(message.data[:2], 'big')
                head = json.loads(message.data[2 : 2 + length])
                self.pictures += 1
                self.ages_s.append(time.time() - head['time_s'])
                await pictures.send_str('shown')


async def _main(address: str, count: int, duration_s: float) -> None:
    viewers = [Viewer(address) for _ in range(count)]
    await asyncio.gather(*(viewer.look(duration_s) for viewer in viewers))
    ages = sorted(age for viewer in viewers for age in viewer.ages_s)
    result = {
        'pictures_per_s': min(viewer.pictures for viewer in viewers) / duration_s,
        'age_p50_ms': 1e3 * ages[len(ages) // 2] if ages else None,
        'age_p99_ms': 1e3 * ages[int(0.99 * len(ages))] if ages else None,
        'page_messages_per_s': min(viewer.page_messages for viewer in viewers) / duration_s,
    }
    print(json.dumps(result))


if __name__ == '__main__':
    asyncio.run(_main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
