# SPDX-License-Identifier: Apache-2.0
"""
The threshold bridge node: potentiometers of an ESP32 move the limits.

"""

from __future__ import annotations

from dataclasses import dataclass
import math
from typing import Any, ClassVar

from rclpy.duration import Duration
from std_srvs.srv import Trigger

from anomaly_inspection.errors import InspectionError, LimitError, LinkError
from anomaly_inspection.link.knob_readings import age_s, KnobReading, KnobReadings, KnobState
from anomaly_inspection.link.legacy import LegacyReading
from anomaly_inspection.link.protocol import Line, Readings
from anomaly_inspection.link.serial_link import SerialLink
from anomaly_inspection.msg import (
    Limit,
    LimitInForce,
    LimitsInForce,
    PotentiometerReading,
    Potentiometers,
    Thresholds,
)
from anomaly_inspection.nodes.inspection_node import (
    InspectionNode,
    NodeParameters,
    steady_s,
    WARN,
)
from anomaly_inspection.nodes.parameters import parameter
from anomaly_inspection.nodes.qos import EVENT, LATCHED
from anomaly_inspection.nodes.spinning import spin_node
from anomaly_inspection.nodes.threshold_channels import (
    Channel,
    CHANNEL_PREFIX,
    channel_scale,
    declare_channels,
)

_TICK_S = 0.01
# While a knob is being turned, limits come so far apart.
_BETWEEN_THRESHOLDS_S = 0.035
# The decider answers within milliseconds.
_LONGEST_ANSWER_S = 1.0


@dataclass(frozen=True)
class ThresholdBridgeParameters(NodeParameters):
    """
    Parameters of the threshold bridge; beside them channel_<number>.* for each channel.

    """

    port: str = parameter(
        '',
        'Serial port or URL of the ESP32: /dev/rfcomm0, /dev/ttyUSB0 or socket://host:port. '
        'Empty: there is no ESP32, and the node does nothing.',
        read_only=True,
    )
    channels: tuple[str, ...] = parameter(
        ('34', '39'),
        'GPIO numbers of the potentiometers that move limits, 1 to 4 of them.',
        read_only=True,
    )
    follow: bool = parameter(
        False,
        'True: a knob moves its limit while somebody turns it. False: the knobs act only when '
        "somebody presses the device's button or calls ~/grab.",
    )
    max_age_s: float = parameter(
        0.5,
        'The node ignores readings older than this.',
        unit='s',
        minimum=0.05,
        maximum=10.0,
    )
    waking: float = parameter(
        0.02,
        'With follow: a knob starts to act after somebody has turned it by this share of its full '
        'turn. After a start, a reconnection or a recipe change its position alone does nothing.',
        minimum=0.001,
        maximum=0.5,
    )
    deadband: float = parameter(
        0.002,
        'With follow: an acting knob moves its limit again after a further turn of more than this '
        'share of its full turn.',
        minimum=0.0,
        maximum=0.1,
    )
    legacy_protocol: bool = parameter(
        False,
        "Accept the old system's lines (_34#2765#34_) as well. A reading counts when the "
        'one before it agrees.',
        read_only=True,
    )
    silence_s: float = parameter(
        2.0,
        'The node opens the port again when the device has been silent for this long.',
        unit='s',
        minimum=0.2,
        maximum=60.0,
        read_only=True,
    )


@dataclass(frozen=True)
class _Sent:
    """
    A limit on its way, and since when the decider owes an answer.

    """

    value: float
    since_s: float


class ThresholdBridgeNode(InspectionNode[ThresholdBridgeParameters]):
    """
    Reads the potentiometers, publishes them, and sends thresholds when they act.

    """

    concerns: ClassVar[dict[str, tuple[str, ...]]] = {
        'link': ('link',),
        'knobs': ('channel *', 'thresholds', 'button'),
    }

    def __init__(self, **options: Any) -> None:
        self._channels: dict[int, Channel] = {}
        self._link: SerialLink | None = None
        self._recipe_hash: str | None = None
        self._in_force: dict[tuple[str, str], LimitInForce] = {}
        self._is_following = False
        # Written by the link's thread, read by the node's.
        self._readings = KnobReadings({})
        super().__init__('threshold_bridge', ThresholdBridgeParameters, **options)

    def is_own_parameter(self, name: str) -> bool:
        """
        Whether the parameter belongs to a channel.

        """
        return name.startswith(CHANNEL_PREFIX)

    def configure(self) -> None:
        """
        Check the channels and make the endpoints.

        """
        # An earlier attempt to configure may have left some behind.
        self._undeclare_channels()
        self._channels.update(declare_channels(self, self.parameters.channels))
        self._potentiometers = self.publish_on(Potentiometers, 'potentiometers', EVENT)
        self._thresholds = self.publish_on(Thresholds, 'thresholds', EVENT)
        self.listen(LimitsInForce, 'limits_in_force', self._take_limits, LATCHED)
        self.serve(Trigger, '~/grab', lambda request: self._grab())
        if self.parameters.port:
            self._link = self._new_link()
            self.every(_TICK_S, self._tick)
        else:
            self.get_logger().info('port is empty: no potentiometer moves a limit')

    def activate(self) -> None:
        """
        Open the port, in the background.

        """
        self._readings.state = self._taken = None
        self._presses: int | None = None
        self._connection = -1
        self._sent: dict[tuple[str, str], _Sent] = {}
        self._sent_s = -math.inf
        self._is_following = self.parameters.follow
        if self._link is not None:
            self._link.start()

    def deactivate(self) -> None:
        """
        Close the port; the limits stay as they are.

        """
        if self._link is not None:
            self._link.stop()
            self._link = self._new_link()

    def cleanup(self) -> None:
        """
        Let go of the channels.

        """
        self._link = None
        self._undeclare_channels()

    def parameters_changed(self) -> None:
        """
        Begin to follow from where the knobs stand now.

        """
        if self.parameters.follow and not self._is_following:
            self._rest()
        self._is_following = self.parameters.follow

    def diagnostic_values(self) -> dict[str, object]:
        """
        Give the link and the channels.

        """
        if self._link is None:
            return {'port': 'none: set the parameter port'}
        counters, state = self._link.counters, self._readings.state
        values: dict[str, object] = {
            'port': self.parameters.port,
            'connected': self._link.is_connected,
            'lines': counters.lines,
            'broken lines': counters.broken,
            'lost lines': counters.lost,
            'overlong lines': counters.overlong,
            'reconnects': counters.reconnects,
        }
        for number, channel in self._channels.items():
            reading = state.readings.get(number) if state else None
            position = 'not read' if reading is None else f'at {100 * reading.smoothed:.1f} %'
            scale = channel.scale
            meaning = channel.why_not if scale is None else f'{scale.low:g} to {scale.high:g}'
            values[f'channel {number}'] = f'{position}; {channel.parameters.measure}: {meaning}'
        return values

    # Channels and link

    def _undeclare_channels(self) -> None:
        for name in [name for name in self._parameters if self.is_own_parameter(name)]:
            self.undeclare_parameter(name)
        self._channels.clear()

    def _new_link(self) -> SerialLink:
        parameters = self.parameters
        self._readings = KnobReadings(
            {n: channel.parameters.legacy_full_scale for n, channel in self._channels.items()}
        )
        return SerialLink(
            parameters.port,
            self._take_line,
            take_legacy=self._take_legacy if parameters.legacy_protocol else None,
            silence_s=parameters.silence_s,
        )

    # In the link's thread

    def _take_line(self, line: Line, received_s: float) -> None:
        assert self._link is not None
        if isinstance(line.message, Readings):
            self._readings.take(line.message, received_s, self._link.connection)

    def _take_legacy(self, reading: LegacyReading, received_s: float) -> None:
        assert self._link is not None
        self._readings.take_legacy(reading, received_s, self._link.connection)

    # In the node's thread

    def _tick(self) -> None:
        now = steady_s()
        link, state = self._link, self._readings.state
        assert link is not None
        if link.problem:
            self.report('link', WARN, f'{link.problem}; the limits stay as they are')
        elif link.is_connected:
            self.clear('link')
        self._miss_answers(now)
        if state is None or state is self._taken:
            return
        self._taken = state
        has_begun = state.connection != self._connection
        is_pressed = not has_begun and self._presses not in (None, state.presses)
        self._connection, self._presses = state.connection, state.presses
        if has_begun:
            self._rest()
        self._publish_potentiometers(state, now)
        if is_pressed:
            self._press()
        elif self.parameters.follow:
            self._follow(now)

    def _publish_potentiometers(self, state: KnobState, now: float) -> None:
        message = Potentiometers(
            readings=[
                PotentiometerReading(
                    channel=number,
                    raw=reading.raw,
                    smoothed=reading.smoothed,
                    age_s=math.nan if reading.uptime_ms is None else self._age_s(reading, now),
                )
                for number, reading in state.readings.items()
            ]
        )
        arrived = self.get_clock().now() - Duration(seconds=now - state.received_s)
        message.header.stamp = arrived.to_msg()
        message.header.frame_id = self.parameters.port
        self._potentiometers.publish(message)

    def _age_s(self, reading: KnobReading, now: float) -> float:
        assert self._link is not None
        return age_s(reading, now, self._link.device_uptime_ms)

    def _position(self, channel: Channel, now: float) -> float:
        """
        Give the position of a knob; raises LinkError when it is not known, or too old to act.

        """
        state, max_age_s = self._readings.state, self.parameters.max_age_s
        reading = state.readings.get(channel.number) if state is not None else None
        if reading is None:
            raise LinkError(f'channel {channel.number}: the device has not sent a reading yet')
        old_s = self._age_s(reading, now)
        if old_s > max_age_s:
            raise LinkError(
                f'channel {channel.number}: the reading is {old_s:.2f} s old, allowed: '
                f'{max_age_s:g} s (max_age_s)'
            )
        return reading.smoothed

    def _press(self) -> None:
        try:
            self.get_logger().info(f'button: {self._grab()}')
        except InspectionError as error:
            self.report_event(
                'button', WARN, f'button: grab refused: {error}', counted_as='grabs refused'
            )
        else:
            self.clear('button')

    def _grab(self) -> str:
        """
        Send the limits of all knobs that can act; raises when none can.

        """
        if self._link is None:
            raise LinkError('port is empty: there are no knobs')
        if not self._link.is_connected:
            raise LinkError(self._link.problem or f'{self.parameters.port}: not connected yet')
        now = steady_s()
        positions, refusals = {}, []
        for channel in self._channels.values():
            try:
                if channel.scale is None:
                    raise LimitError(f'channel {channel.number}: {channel.why_not}')
                positions[channel.number] = self._position(channel, now)
            except InspectionError as error:
                refusals.append(str(error))
        told = '; '.join(dict.fromkeys(refusals))
        if not positions:
            raise LimitError(told)
        return f'sent: {self._send(positions, now)}' + (f'; not sent: {told}' if told else '')

    def _follow(self, now: float) -> None:
        if now - self._sent_s < _BETWEEN_THRESHOLDS_S:
            return
        parameters = self.parameters
        turned = {}
        for channel in self._channels.values():
            try:
                position = self._position(channel, now)
            except LinkError:
                # The diagnostics say what is old or missing; the next line brings it.
                continue
            is_turned = channel.knob.is_turned(
                position, waking=parameters.waking, deadband=parameters.deadband
            )
            if is_turned and channel.scale is not None:
                turned[channel.number] = position
        if turned:
            self._send(turned, now)

    def _send(self, positions: dict[int, float], now: float) -> str:
        message = Thresholds(source='potentiometers')
        message.header.stamp = self.get_clock().now().to_msg()
        for number, position in positions.items():
            channel = self._channels[number]
            assert channel.scale is not None
            scorer, measure = channel.scorer_and_measure
            value = channel.scale.value(position)
            message.limits.append(Limit(scorer=scorer, measure=measure, value=value))
            channel.knob.act(position)
            owed = self._sent.get((scorer, measure))
            self._sent[scorer, measure] = _Sent(value, owed.since_s if owed else now)
        self._sent_s = now
        self._thresholds.publish(message)
        return ', '.join(
            f'{limit.scorer}.{limit.measure} {limit.value:g}' for limit in message.limits
        )

    def _rest(self) -> None:
        for channel in self._channels.values():
            channel.knob.rest()

    # What the decider says

    def _take_limits(self, message: LimitsInForce) -> None:
        if message.recipe_hash != self._recipe_hash:
            self._rest()
            self._sent.clear()
        self._recipe_hash = message.recipe_hash
        in_force = {(limit.scorer, limit.measure): limit for limit in message.limits}
        self._in_force = in_force
        for channel in self._channels.values():
            name = f'channel {channel.number}'
            try:
                channel.scale = channel_scale(channel, in_force)
            except InspectionError as error:
                channel.scale, channel.why_not = None, str(error)
                if self._link is not None:
                    self.report(name, WARN, f'{name} moves nothing: {error}')
            else:
                self.clear(name)
        for key in [key for key, sent in self._sent.items() if key in in_force]:
            if in_force[key].value == self._sent[key].value:
                del self._sent[key]
        if not self._sent:
            self.clear('thresholds')

    def _miss_answers(self, now: float) -> None:
        missed = [
            key for key, sent in self._sent.items() if now - sent.since_s > _LONGEST_ANSWER_S
        ]
        if not missed:
            return
        texts = [
            f'{".".join(key)} {self._sent[key].value:g} was sent, '
            f'{self._in_force[key].value:g} is in force'
            for key in missed
        ]
        self.report(
            'thresholds',
            WARN,
            f'{", ".join(texts)}: the decider refused it (its log says why) or does not run',
        )


def main() -> None:
    """
    Run the node until it is interrupted.

    """
    spin_node(ThresholdBridgeNode)
