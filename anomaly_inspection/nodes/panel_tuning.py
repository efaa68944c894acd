# SPDX-License-Identifier: Apache-2.0
"""
What the page Tune needs beside the limits: potentiometers, calibration and challenge.

"""

from __future__ import annotations

import math
from typing import Any, TYPE_CHECKING

from rcl_interfaces.msg import ParameterType
from rcl_interfaces.srv import GetParameters
from rclpy.parameter import parameter_value_to_python

from anomaly_inspection.errors import InspectionError
from anomaly_inspection.msg import (
    Calibration,
    Challenge,
    LimitInForce,
    LimitsInForce,
    PotentiometerReading,
    Potentiometers,
)
from anomaly_inspection.nodes import panel_views
from anomaly_inspection.nodes.inspection_node import steady_s
from anomaly_inspection.nodes.qos import EVENT, LATCHED
from anomaly_inspection.nodes.threshold_channels import (
    Channel,
    CHANNEL_PREFIX,
    channel_scale,
    ChannelParameters,
)
from anomaly_inspection.panel.cell.views import (
    CalibrationView,
    joined_calibration,
    PotentiometerView,
)
from anomaly_inspection.panel.people.roles import Role, Visitor

if TYPE_CHECKING:
    from anomaly_inspection.nodes.panel_node import PanelNode

# What nobody has done just now.
_CELL = Visitor('decider', Role.ENGINEER, 'cell')
_EVERY_S = 0.2
# A silent bridge has no potentiometers to show, and may come back with others.
_SILENT_AFTER_S = 2.0
_ANSWER_TIMEOUT_S, _ASK_AGAIN_S = 5.0, 1.0
_CHANNEL_FIELDS = ('measure', 'low', 'high', 'curve', 'is_reversed')


class PanelTuning:
    """
    Listens to decider and threshold bridge, and keeps the state of the pages up to date.

    Parameters
    ----------
    node : PanelNode
        Has the endpoints.

    """

    def __init__(self, node: PanelNode) -> None:
        self._node = node
        self._bridge = _Question(node, GetParameters, 'threshold_bridge/get_parameters')
        self._in_force: dict[tuple[str, str], LimitInForce] = {}
        self._readings: list[PotentiometerReading] = []
        self._heard_s = -math.inf
        self._channels: dict[int, Channel] = {}
        self._calibrations: dict[str, CalibrationView] = {}

    def configure(self) -> None:
        """
        Subscribe.

        """
        views = self._node.parameters.views
        for message_type, topic, take in (
            (Calibration, 'calibration', self._take_calibration),
            (Challenge, 'challenge', self._take_challenge),
        ):
            self._node.listen_in_views(views, message_type, topic, take, LATCHED)
        self._node.listen(Potentiometers, 'potentiometers', self._take_potentiometers, EVENT)
        self._node.every(_EVERY_S, self._tick)

    def take_limits(self, message: LimitsInForce) -> None:
        """
        Other limits act now.

        """
        self._in_force = {(limit.scorer, limit.measure): limit for limit in message.limits}

    def _take_calibration(self, of_view: str, message: Calibration) -> None:
        self._calibrations[of_view] = panel_views.calibration_view(message)
        parts, view = self._node.parts, joined_calibration(self._calibrations)
        was_under_way = parts.state.picture().calibration.is_under_way
        parts.state.set_calibration(view)
        if was_under_way and view.state == 'done':
            # Who began it is on record already; this is what came of it, minutes later.
            parts.people.audit.record(_CELL, 'calibrated', subject=view.detail)

    def _take_challenge(self, of_view: str, message: Challenge) -> None:
        self._node.parts.state.set_challenge(panel_views.challenge_view(message), of_view)

    def _take_potentiometers(self, message: Potentiometers) -> None:
        self._heard_s = steady_s()
        self._readings = list(message.readings)

    def _tick(self) -> None:
        if steady_s() - self._heard_s > _SILENT_AFTER_S:
            self._readings, self._channels = [], {}
        self._ask_channels()
        self._node.parts.state.set_potentiometers(tuple(map(self._view, self._readings)))

    def _view(self, reading: PotentiometerReading) -> PotentiometerView:
        # In steps that can be seen, so that noise does not draw the page anew all the time.
        position = round(float(reading.smoothed), 3)
        channel = self._channels.get(reading.channel)
        if channel is None:
            return PotentiometerView(reading.channel, position)
        try:
            value = channel_scale(channel, self._in_force).value(position)
        except InspectionError:
            value = math.nan
        return PotentiometerView(reading.channel, position, channel.parameters.measure, value)

    def _ask_channels(self) -> None:
        missing = [r.channel for r in self._readings if r.channel not in self._channels]
        if not missing:
            return
        names = [
            f'{CHANNEL_PREFIX}{number}.{field}' for number in missing for field in _CHANNEL_FIELDS
        ]

        def take(response: Any) -> None:
            known = {
                name: parameter_value_to_python(value)
                for name, value in zip(names, response.values, strict=False)
                if value.type != ParameterType.PARAMETER_NOT_SET
            }
            for number in missing:
                given = {
                    field: known[name]
                    for field in _CHANNEL_FIELDS
                    if (name := f'{CHANNEL_PREFIX}{number}.{field}') in known
                }
                self._channels[number] = Channel(number, ChannelParameters(**given))

        self._bridge.ask(GetParameters.Request(names=names), take)


class _Question:
    """
    One service that is asked without waiting, one question at a time.

    """

    def __init__(self, node: PanelNode, service_type: type, name: str) -> None:
        self._client = node.create_client(service_type, name)
        self._asked_s = -math.inf
        self._future: Any = None

    def ask(self, request: Any, take: Any) -> None:
        waited_s = steady_s() - self._asked_s
        if waited_s < (_ASK_AGAIN_S if self._future is None else _ANSWER_TIMEOUT_S):
            return
        if self._future is not None:
            self._client.remove_pending_request(self._future)
            self._future = None
        if not self._client.service_is_ready():
            return

        def answered(future: Any) -> None:
            if future is self._future:
                self._future = None
                take(future.result())

        self._asked_s = steady_s()
        self._future = self._client.call_async(request)
        self._future.add_done_callback(answered)
