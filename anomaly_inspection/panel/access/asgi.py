# SPDX-License-Identifier: Apache-2.0
"""
The types of ASGI, between the server and the application.

"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

#: Code of a WebSocket that is closed because nobody may use it (any more).
POLICY_VIOLATION = 1008


def headers_of(scope: Scope) -> dict[str, str]:
    """
    Give the headers of a request by their names in small letters.

    """
    return {
        name.decode('latin-1').lower(): value.decode('latin-1') for name, value in scope['headers']
    }
