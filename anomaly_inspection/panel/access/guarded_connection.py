# SPDX-License-Identifier: Apache-2.0
"""
What is let through stays guarded: its size is bounded, and it ends with the log-in.

"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from anomaly_inspection.panel.access.asgi import headers_of, POLICY_VIOLATION
from anomaly_inspection.panel.access.refusal import not_logged_in, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from anomaly_inspection.panel.access.asgi import App, Message, Receive, Scope, Send

# How often a stream or a socket asks whether its log-in still holds, and how long it may take to
# end after that.
_WATCH_S, _GOODBYE_S = 1.0, 2.0
# NiceGUI's socket says by this that a person has done something.
_CLICK = '42["event"'
_TOO_LARGE = 1009
# What Starlette's middleware raises when a page gives no answer.
_NO_ANSWER = 'No response returned.'


async def call_bounded(
    app: App, most_bytes: int, scope: Scope, receive: Receive, send: Send
) -> None:
    """
    Call an application, and refuse a body or a message of more than `most_bytes`.

    """
    body = _BoundedBody(most_bytes, scope, receive, send)
    if scope['type'] == 'http' and body.is_announced_too_large():
        await body.refuse()
        return
    try:
        await app(scope, body.receive, body.send)
    except Exception as error:
        # Starlette's middleware misses the answer also where nobody waits for it any more.
        is_unheard = body.has_left and str(error) == _NO_ANSWER
        if not (body.is_too_large or is_unheard):
            raise
    if body.is_too_large:
        await body.refuse()


async def call_watched(
    app: App,
    scope: Scope,
    receive: Receive,
    send: Send,
    *,
    still_may: Callable[[], bool],
    clicked: Callable[[], object],
) -> None:
    """
    Call an application whose answer goes on for long, and end it when the log-in ends.

    Parameters
    ----------
    app : App
        The application.
    scope, receive, send
        Of ASGI.
    still_may : callable
        Whether the visitor may still have the answer.
    clicked : callable
        Called when a page says that a person has done something.

    """
    ended = asyncio.Event()
    state = _AnswerState()
    is_socket = scope['type'] == 'websocket'

    async def receive_until_ended() -> Message:
        if ended.is_set():
            return _disconnected(is_socket)
        message = asyncio.ensure_future(receive())
        end = asyncio.ensure_future(ended.wait())
        try:
            await asyncio.wait({message, end}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            end.cancel()
            if not message.done():
                message.cancel()
        if not message.done() or message.cancelled():
            return _disconnected(is_socket)
        received = message.result()
        if str(received.get('text') or '').startswith(_CLICK):
            clicked()
        return received

    async def send_until_ended(message: Message) -> None:
        if not ended.is_set():
            state.see(message)
            await send(message)

    call = asyncio.ensure_future(app(scope, receive_until_ended, send_until_ended))
    try:
        while not call.done():
            await asyncio.wait({call}, timeout=_WATCH_S)
            if not call.done() and not still_may():
                ended.set()
                await state.end(is_socket, send)
                await asyncio.wait({call}, timeout=_GOODBYE_S)
                break
    finally:
        if not call.done():
            call.cancel()
            await asyncio.wait({call})
    if not call.cancelled() and not ended.is_set():
        call.result()
    elif not call.cancelled():
        # What went wrong after the end is of no interest to anybody.
        call.exception()


class _AnswerState:
    """
    How far an answer has come, so that it can be ended in order.

    """

    def __init__(self) -> None:
        self.has_started = False
        self.has_ended = False

    def see(self, message: Message) -> None:
        kind = message['type']
        self.has_started |= kind in ('http.response.start', 'websocket.accept')
        self.has_ended |= kind == 'websocket.close'
        self.has_ended |= kind == 'http.response.body' and not message.get('more_body')

    async def end(self, is_socket: bool, send: Send) -> None:
        if self.has_ended:
            return
        try:
            if is_socket:
                await send({'type': 'websocket.close', 'code': POLICY_VIOLATION, 'reason': ''})
            elif self.has_started:
                await send({'type': 'http.response.body', 'body': b''})
            else:
                await not_logged_in().send({'type': 'http'}, _nothing, send)
        except (OSError, RuntimeError):
            # The other side has gone already.
            pass


class _BoundedBody:
    """
    Counts what comes in, and takes over the answer when it is too much.

    """

    def __init__(self, most_bytes: int, scope: Scope, receive: Receive, send: Send) -> None:
        self._most_bytes = most_bytes
        self._headers = headers_of(scope)
        self._receive = receive
        self._send = send
        self._n_bytes = 0
        self._has_started = False
        self.is_too_large = False
        #: Whether the visitor has gone.
        self.has_left = False

    def is_announced_too_large(self) -> bool:
        length = self._headers.get('content-length', '0')
        return not length.isdecimal() or int(length[:20]) > self._most_bytes

    async def receive(self) -> Message:
        message = await self._receive()
        self.has_left |= message['type'] == 'http.disconnect'
        if message['type'] == 'http.request':
            self._n_bytes += len(message.get('body', b''))
            if self._n_bytes > self._most_bytes:
                self.is_too_large = True
                return {'type': 'http.disconnect'}
        elif message['type'] == 'websocket.receive':
            content = message.get('bytes') or message.get('text') or ''
            if len(content) > self._most_bytes:
                await self._send(
                    {'type': 'websocket.close', 'code': _TOO_LARGE, 'reason': 'too large'}
                )
                self._has_started = self.is_too_large = True
                return {'type': 'websocket.disconnect', 'code': _TOO_LARGE}
        return message

    async def send(self, message: Message) -> None:
        if self.is_too_large:
            return
        self._has_started |= message['type'] == 'http.response.start'
        await self._send(message)

    async def refuse(self) -> None:
        if not self._has_started:
            detail = f'the body is too large; allowed: up to {self._most_bytes:,} bytes'
            await Refusal(413, detail).send({'type': 'http'}, _nothing, self._send)


async def _nothing() -> Message:
    return {'type': 'http.disconnect'}


def _disconnected(is_socket: bool) -> Message:
    if is_socket:
        return {'type': 'websocket.disconnect', 'code': POLICY_VIOLATION}
    return {'type': 'http.disconnect'}
