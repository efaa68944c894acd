# SPDX-License-Identifier: Apache-2.0
"""
The threshold bridge node: potentiometers of an ESP32 move the limits.

"""

from __future__ import annotations

from dataclasses import dataclass, field
import math
from typing import Any

from rclpy.duration import Duration
from std_srvs.srv import Trigger

from anomaly_inspection.deciding.limits import Limit as CheckedLimit
from anomaly_inspection.errors import InspectionError, LimitError, LinkError, SettingError
from anomaly_inspection.link.legacy import LegacyAgreement, LegacyReading
from anomaly_inspection.link.potentiometer import CURVES, Knob, range_from_typical, Scale
from anomaly_inspection.link.protocol import (
    LARGEST_RAW,
    LARGEST_SMOOTHED,
    Line,
    MOST_CHANNELS,
    Readings,
    UPTIMES,
)
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
from anomaly_inspection.nodes.parameters import declare_parameters, parameter
from anomaly_inspection.nodes.qos import EVENT, LATCHED
from anomaly_inspection.nodes.spinning import spin_node
from anomaly_inspection.scoring.measure import BadSide

_TICK_S = 0.01
# While a knob is being turned, limits come so far apart.
_BETWEEN_THRESHOLDS_S = 0.035
# The decider answers within milliseconds.
_LONGEST_ANSWER_S = 1.0
_CHANNEL_PREFIX = 'channel_'


@dataclass(frozen=True)
class ThresholdBridgeParameters(NodeParameters):
    """
    Parameters of the threshold bridge; beside them channel_<number>.* for each channel.

    """

    port: str = parameter(
        '',
        'Serial port or URL of the ESP32: /dev/rfcomm0, /dev/ttyUSB0, socket://host:port; empty: '
        'none, the node does nothing.',
        read_only=True,
    )
    channels: tuple[str, ...] = parameter(
        ('34', '39'),
        'The potentiometers that move limits, by their GPIO numbers, 1 to 4 of them.',
        read_only=True,
    )
    follow: bool = parameter(
        False,
        'True: a knob acts while it is turned. False: the knobs act when they are grabbed, by the '
        "device's button or ~/grab.",
    )
    max_age_s: float = parameter(
        0.5,
        'An older reading does not act.',
        unit='s',
        minimum=0.05,
        maximum=10.0,
    )
    waking: float = parameter(
        0.02,
        'follow: a knob acts once it was turned by this share of its way; where it stands when '
        'node, device or recipe change means nothing.',
        minimum=0.001,
        maximum=0.5,
    )
    deadband: float = parameter(
        0.002,
        'follow: from then on it acts when turned by more than this share of its way.',
        minimum=0.0,
        maximum=0.1,
    )
    legacy_protocol: bool = parameter(
        False,
        "Take the old system's lines (_34#2765#34_) as well; two readings must agree.",
        read_only=True,
    )
    silence_s: float = parameter(
        2.0,
        'When the device says nothing for so long, the port is opened anew.',
        unit='s',
        minimum=0.2,
        maximum=60.0,
        read_only=True,
    )


@dataclass(frozen=True)
class ChannelParameters:
    """
    Parameters of one potentiometer.

    """

    measure: str = parameter(
        '', 'The measure whose limit it moves: scorer.measure.', read_only=True
    )
    low: float = parameter(
        0.0,
        'Limit at the left end, unit of the measure; low and high both 0: derived from a typical '
        'good part, up to five times worse.',
        minimum=-1e12,
        maximum=1e12,
        read_only=True,
    )
    high: float = parameter(
        0.0,
        'Limit at the right end, unit of the measure.',
        minimum=-1e12,
        maximum=1e12,
        read_only=True,
    )
    curve: str = parameter(
        'linear',
        "'logarithmic': equal turns multiply the limit by equal factors.",
        choices=CURVES,
        read_only=True,
    )
    is_reversed: bool = parameter(False, 'low lies at the right end.', read_only=True)
    legacy_full_scale: float = parameter(
        4095.0,
        'legacy_protocol: the value at the right end.',
        minimum=1e-6,
        maximum=1e9,
        read_only=True,
    )


_NEW_CHANNEL = ChannelParameters()
# As in the old system.
_KNOWN_CHANNELS = {
    34: ChannelParameters(measure='autoencoder.latent_density'),
    39: ChannelParameters(measure='autoencoder.reconstruction_error', legacy_full_scale=1.0),
}


@dataclass
class _Channel:
    """
    A potentiometer, what it moves and how it stands.

    """

    number: int
    parameters: ChannelParameters
    knob: Knob = field(default_factory=Knob)
    scale: Scale | None = None
    why_not: str = 'no limits_in_force yet; is the decider running?'

    @property
    def scorer_and_measure(self) -> tuple[str, str]:
        scorer, _, measure = self.parameters.measure.partition('.')
        return scorer, measure


@dataclass(frozen=True)
class _Sample:
    """
    One potentiometer as the device told it; raw and smoothed 0 to 1.

    """

    raw: float
    smoothed: float
    received_s: float
    # None = a line of the old system, which tells no time.
    uptime_ms: int | None


@dataclass(frozen=True)
class _Told:
    """
    All that the device has told since `connection` began.

    """

    connection: int
    received_s: float
    samples: dict[int, _Sample]
    presses: int | None = None


@dataclass(frozen=True)
class _Sent:
    """
    A limit on its way, and since when the decider owes an answer.

    """

    value: float
    since_s: float


class ThresholdBridgeNode(InspectionNode[ThresholdBridgeParameters]):
    """
    Reads the potentiometers; gives potentiometers and, when they shall act, thresholds.

    """

    def __init__(self, **options: Any) -> None:
        self._channels: dict[int, _Channel] = {}
        self._link: SerialLink | None = None
        self._recipe_hash: str | None = None
        self._in_force: dict[tuple[str, str], LimitInForce] = {}
        self._is_following = False
        # Written by the link's thread, read by the node's.
        self._told: _Told | None = None
        super().__init__('threshold_bridge', ThresholdBridgeParameters, **options)

    def is_own_parameter(self, name: str) -> bool:
        """
        Whether the parameter is that of a channel.

        """
        return name.startswith(_CHANNEL_PREFIX)

    def configure(self) -> None:
        """
        Check the channels and make the endpoints.

        """
        self._declare_channels()
        self._potentiometers = self.publish_on(Potentiometers, 'potentiometers', EVENT)
        self._thresholds = self.publish_on(Thresholds, 'thresholds', EVENT)
        self.listen(LimitsInForce, 'limits_in_force', self._take_limits, LATCHED)
        self.serve(Trigger, '~/grab', lambda request: self._grab())
        if self.parameters.port:
            self._link = self._new_link()
            self.every(_TICK_S, self._tick)
        else:
            self.get_logger().info('port is empty: no potentiometers move limits here')

    def activate(self) -> None:
        """
        Open the port, in the background.

        """
        self._told = self._taken = None
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
        counters, told = self._link.counters, self._told
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
            sample = told.samples.get(number) if told else None
            position = 'not read' if sample is None else f'at {100 * sample.smoothed:.1f} %'
            scale = channel.scale
            meaning = channel.why_not if scale is None else f'{scale.low:g} to {scale.high:g}'
            values[f'channel {number}'] = f'{position}; {channel.parameters.measure}: {meaning}'
        return values

    # Channels

    def _declare_channels(self) -> None:
        # An attempt to configure that failed may have left some.
        self._undeclare_channels()
        texts = self.parameters.channels
        numbers = [int(text) for text in texts if text.isascii() and text.isdecimal()]
        if not (
            1 <= len(texts) <= MOST_CHANNELS
            and len(set(numbers)) == len(texts)
            and max(numbers) <= 255
        ):
            raise SettingError(
                f'channels = {list(texts)} is refused: allowed are 1 to {MOST_CHANNELS} different '
                'GPIO numbers, 0 to 255'
            )
        prefixes = tuple(f'{_CHANNEL_PREFIX}{number}.' for number in numbers)
        for name in self._parameter_overrides:
            if self.is_own_parameter(name) and not name.startswith(prefixes):
                raise SettingError(f'parameter {name}: channels names only {", ".join(texts)}')
        for number, prefix in zip(numbers, prefixes, strict=True):
            self._channels[number] = self._declared_channel(number, prefix)
        measures = [channel.parameters.measure for channel in self._channels.values()]
        if len(set(measures)) < len(measures):
            raise SettingError(f'{", ".join(measures)}: two channels move the same limit')

    def _declared_channel(self, number: int, prefix: str) -> _Channel:
        defaults = _KNOWN_CHANNELS.get(number, _NEW_CHANNEL)
        given = declare_parameters(self, defaults, prefix=prefix)
        channel = _Channel(number, given)
        if not all(channel.scorer_and_measure):
            raise SettingError(
                f'{prefix}measure = {given.measure!r} is refused: allowed is scorer.measure'
            )
        if given.low or given.high:
            try:
                Scale(given.low, given.high, given.curve, given.is_reversed)
            except SettingError as error:
                raise SettingError(f'{prefix}low, {prefix}high: {error}') from None
        return channel

    def _undeclare_channels(self) -> None:
        for name in [name for name in self._parameters if self.is_own_parameter(name)]:
            self.undeclare_parameter(name)
        self._channels.clear()

    # What the device says, in the link's thread

    def _new_link(self) -> SerialLink:
        parameters = self.parameters
        self._agreement = LegacyAgreement(
            {n: channel.parameters.legacy_full_scale for n, channel in self._channels.items()}
        )
        return SerialLink(
            parameters.port,
            self._take_line,
            take_legacy=self._take_legacy if parameters.legacy_protocol else None,
            silence_s=parameters.silence_s,
        )

    def _take_line(self, line: Line, received_s: float) -> None:
        message = line.message
        if not isinstance(message, Readings):
            return
        samples = {
            reading.channel: _Sample(
                reading.raw / LARGEST_RAW,
                reading.smoothed / LARGEST_SMOOTHED,
                received_s,
                message.uptime_ms,
            )
            for reading in message.channels
        }
        self._tell(samples, received_s, message.presses)

    def _take_legacy(self, reading: LegacyReading, received_s: float) -> None:
        position = self._agreement.take(reading)
        if position is not None:
            sample = _Sample(position, position, received_s, None)
            self._tell({reading.channel: sample}, received_s, None)

    def _tell(self, samples: dict[int, _Sample], received_s: float, presses: int | None) -> None:
        assert self._link is not None
        connection = self._link.connection
        told = self._told
        if told is None or told.connection != connection:
            told = _Told(connection, received_s, {})
        # Lines of the old system know no button.
        presses = told.presses if presses is None else presses
        self._told = _Told(connection, received_s, {**told.samples, **samples}, presses)

    # What becomes of it

    def _tick(self) -> None:
        now = steady_s()
        link, told = self._link, self._told
        assert link is not None
        if link.problem:
            self.report('link', WARN, f'{link.problem}; the limits stay as they are')
        elif link.is_connected:
            self.clear('link')
        self._miss_answers(now)
        if told is None or told is self._taken:
            return
        self._taken = told
        has_begun = told.connection != self._connection
        is_pressed = not has_begun and self._presses not in (None, told.presses)
        self._connection, self._presses = told.connection, told.presses
        if has_begun:
            self._rest()
        self._publish_potentiometers(told, now)
        if is_pressed:
            self._press()
        elif self.parameters.follow:
            self._follow(now)

    def _publish_potentiometers(self, told: _Told, now: float) -> None:
        message = Potentiometers(
            readings=[
                PotentiometerReading(
                    channel=number,
                    raw=sample.raw,
                    smoothed=sample.smoothed,
                    age_s=math.nan if sample.uptime_ms is None else self._age_s(sample, now),
                )
                for number, sample in told.samples.items()
            ]
        )
        arrived = self.get_clock().now() - Duration(seconds=now - told.received_s)
        message.header.stamp = arrived.to_msg()
        message.header.frame_id = self.parameters.port
        self._potentiometers.publish(message)

    def _age_s(self, sample: _Sample, now: float) -> float:
        """
        Give how long ago the device took a reading, as far as that can be known.

        """
        since_received_s = now - sample.received_s
        if sample.uptime_ms is None:
            return since_received_s
        assert self._link is not None
        try:
            ahead_ms = self._link.device_uptime_ms(now) - sample.uptime_ms
        except LinkError:
            return since_received_s
        # The two may stand on either side of the turn of the device's counter.
        ahead_ms = (ahead_ms + UPTIMES / 2) % UPTIMES - UPTIMES / 2
        return max(1e-3 * ahead_ms, since_received_s)

    def _position(self, channel: _Channel, now: float) -> float:
        """
        Give the position of a knob; raises LinkError when it is not known, or too old to act.

        """
        sample = self._told.samples.get(channel.number) if self._told is not None else None
        if sample is None:
            raise LinkError(f'channel {channel.number}: the device has not told it')
        age_s, max_age_s = self._age_s(sample, now), self.parameters.max_age_s
        if age_s > max_age_s:
            raise LinkError(
                f'channel {channel.number}: the reading is {age_s:.2f} s old, allowed: '
                f'{max_age_s:g} s (max_age_s)'
            )
        return sample.smoothed

    def _press(self) -> None:
        try:
            self.get_logger().info(f'button: {self._grab()}')
        except InspectionError as error:
            self.report('button', WARN, f'button: grab refused: {error}')
        else:
            self.clear('button')

    def _grab(self) -> str:
        """
        Bring all knobs into force that can be; raises when none can.

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
                channel.scale = _scale(channel, in_force)
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


def _scale(channel: _Channel, in_force: dict[tuple[str, str], LimitInForce]) -> Scale:
    """
    Give the scale of a channel; raises when its measure or range does not suit the recipe.

    """
    given, key = channel.parameters, channel.scorer_and_measure
    limit = in_force.get(key)
    if limit is None:
        names = ', '.join('.'.join(known) for known in in_force)
        raise LimitError(f'{given.measure} is not among the limits in force ({names})')
    bad_side = BadSide(limit.bad_side)
    low, high = given.low, given.high
    if not (low or high):
        low, high = range_from_typical(limit.typical, is_high_bad=bad_side is BadSide.HIGH)
    for end in (low, high):
        CheckedLimit(*key, end, bad_side, limit.typical, minimum=-math.inf)
    return Scale(low, high, given.curve, given.is_reversed)


def main() -> None:
    """
    Run the node until it is interrupted.

    """
    spin_node(ThresholdBridgeNode)
