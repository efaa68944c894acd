# SPDX-License-Identifier: Apache-2.0
"""
The answer to a request that is refused.

"""

from __future__ import annotations

from dataclasses import dataclass
import json
from typing import TYPE_CHECKING
from urllib.parse import quote

from anomaly_inspection.panel.access.asgi import POLICY_VIOLATION

if TYPE_CHECKING:
    from anomaly_inspection.panel.access.asgi import Receive, Scope, Send
    from anomaly_inspection.panel.access.security_headers import Headers


@dataclass(frozen=True)
class Refusal:
    """
    What somebody gets who does not get what was asked for.

    Parameters
    ----------
    status : int
        Of HTTP.
    detail : str
        Why, one sentence; '' = nothing to say.
    location : str
        Where a browser is sent instead; '' = nowhere.

    """

    status: int
    detail: str
    location: str = ''

    async def send(self, scope: Scope, receive: Receive, send: Send) -> None:
        """
        Answer with it.

        """
        if scope['type'] == 'websocket':
            # Before the socket is accepted the server turns this into status 403.
            await receive()
            await send({'type': 'websocket.close', 'code': POLICY_VIOLATION, 'reason': ''})
            return
        headers: Headers = [(b'content-type', b'application/json')]
        if self.location:
            headers.append((b'location', self.location.encode('latin-1')))
        if self.status == 401:
            headers.append((b'www-authenticate', b'Bearer'))
        body = json.dumps({'detail': self.detail}).encode() if self.detail else b''
        headers.append((b'content-length', str(len(body)).encode()))
        await send({'type': 'http.response.start', 'status': self.status, 'headers': headers})
        await send({'type': 'http.response.body', 'body': body})


def not_logged_in() -> Refusal:
    """
    Refuse a program, or the script of a page.

    """
    return Refusal(401, 'log in, or send a token: Authorization: Bearer ai_...')


def log_in_first(scope: Scope) -> Refusal:
    """
    Send a person to the log-in page, and from there back.

    """
    path = quote(scope['path'], safe='/')
    return Refusal(303, '', location=f'/log-in?next={quote(path, safe="/")}')
