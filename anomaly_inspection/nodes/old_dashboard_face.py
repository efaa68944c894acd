# SPDX-License-Identifier: Apache-2.0
"""
What the MQTT bridge does for a site that still has the dashboard of an earlier system.

"""

from __future__ import annotations

from collections.abc import Callable
import threading
import time
from typing import TYPE_CHECKING

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage

from anomaly_inspection.nodes.qos import WATCH_IMAGE
from anomaly_inspection.panel.cell.shifts import ShiftTable
from anomaly_inspection.plant.old_dashboard import DEFECT, INPUT, LOSS, Messages, OldDashboard

if TYPE_CHECKING:
    from anomaly_inspection.nodes.guarded_node import GuardedNode
    from anomaly_inspection.nodes.mqtt_bridge_parameters import MqttBridgeParameters
    from anomaly_inspection.plant.plant_decision import PlantDecision

_PICTURES = {INPUT: 'overlay/frame', LOSS: 'overlay/map', DEFECT: 'overlay/part'}
# As the old system published them.
_SIDE_PX = 256


class OldDashboardFace:
    """
    Publishes the old topics of each part, and the pictures if they are wanted.

    Parameters
    ----------
    node : GuardedNode
        Hears the pictures.
    given : MqttBridgeParameters
        Prefix, pictures, shifts.
    publish : callable
        Called with topic and payload.

    Raises
    ------
    SettingError
        When a parameter is refused.

    """

    def __init__(
        self,
        node: GuardedNode,
        given: MqttBridgeParameters,
        publish: Callable[[str, bytes], None],
    ) -> None:
        self._publish = publish
        # Parts come on the thread of the delivery, the rest on that of the node.
        self._lock = threading.Lock()
        table = ShiftTable(given.old_dashboard_shifts, given.time_zone)
        self._dashboard = OldDashboard(
            given.old_dashboard, lambda now_s: table.local(table.shift_at(now_s).began_s)
        )
        if given.old_dashboard_pictures:
            for topic, name in _PICTURES.items():
                node.listen(
                    CompressedImage,
                    f'{name}/compressed',
                    lambda message, topic=topic: self._take_picture(topic, message),
                    WATCH_IMAGE,
                )

    def take(self, decision: PlantDecision) -> None:
        """
        Publish what the dashboard shows of a part.

        """
        with self._lock:
            self._send(self._dashboard.part(decision, time.time()))

    def look_around(self) -> None:
        """
        Sum a shift up when it has ended.

        """
        with self._lock:
            self._send(self._dashboard.tick(time.time()))

    def _take_picture(self, topic: str, message: CompressedImage) -> None:
        image = cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_COLOR)
        if image is None:
            return
        small = cv2.resize(image, (_SIDE_PX, _SIDE_PX), interpolation=cv2.INTER_AREA)
        self._send(self._dashboard.picture(topic, cv2.imencode('.png', small)[1].tobytes()))

    def _send(self, messages: Messages) -> None:
        for topic, payload in messages:
            self._publish(topic, payload)
