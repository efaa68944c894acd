# SPDX-License-Identifier: Apache-2.0
"""
A client of a service that waits for nothing and hears the answer to its newest request alone.

"""

from __future__ import annotations

import threading
from typing import Any, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclpy.client import Client
    from rclpy.task import Future

    from anomaly_inspection.nodes.inspection_node import InspectionNode


class NewestCall:
    """
    Sends requests from any thread.

    Parameters
    ----------
    node : InspectionNode
        Has the client until its cleanup.
    service_type : type
        The service.
    name : str
        Its name.

    """

    def __init__(self, node: InspectionNode[Any], service_type: Any, name: str) -> None:
        #: The full name of the service.
        self.name = node.resolve_service_name(name)
        self._client: Client[Any, Any] = node.client_of(service_type, name)
        self._lock = threading.Lock()
        self._pending: Future[Any] | None = None

    def is_ready(self) -> bool:
        """
        Tell whether somebody offers the service.

        """
        return self._client.service_is_ready()

    def send(self, request: Any, on_answer: Callable[[Any], None]) -> None:
        """
        Send a request; `on_answer` is given the response unless another request is sent before.

        """
        with self._lock:
            # Otherwise those that are never answered would pile up.
            if self._pending is not None:
                self._client.remove_pending_request(self._pending)
            self._pending = self._client.call_async(request)
            self._pending.add_done_callback(lambda done: on_answer(done.result()))
