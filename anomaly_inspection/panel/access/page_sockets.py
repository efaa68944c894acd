# SPDX-License-Identifier: Apache-2.0
"""
Whose page a socket of NiceGUI belongs to.

"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any
from urllib.parse import parse_qs

from nicegui import Client

from anomaly_inspection.panel.people.roles import Visitor


def is_own_page(scope: MutableMapping[str, Any], visitor: Visitor) -> bool:
    """
    Say whether the page that a socket names was made for this log-in.

    A page keeps the visitor it was made for, so another log-in must not take it over. A socket
    that names no page is refused; one that names a page which is gone is NiceGUI's to refuse.

    """
    query = parse_qs(scope.get('query_string', b'').decode('latin-1'))
    client = Client.instances.get(query.get('client_id', [''])[0])
    if client is None:
        return 'client_id' in query
    try:
        owner: Visitor | None = client.request.scope['state']['visitor']
    except (RuntimeError, KeyError):
        return False
    if owner is None or owner.session != visitor.session:
        return False
    # Made before the visitor got a lower role.
    return owner.role <= visitor.role
