# SPDX-License-Identifier: Apache-2.0
"""
The potentiometers that move limits: their parameters, and what their positions mean.

"""

from __future__ import annotations

from dataclasses import dataclass, field
import math
from typing import TYPE_CHECKING

from anomaly_inspection.deciding.limits import Limit
from anomaly_inspection.errors import LimitError, SettingError
from anomaly_inspection.link.potentiometer import CURVES, Knob, range_from_typical, Scale
from anomaly_inspection.link.protocol import MOST_CHANNELS
from anomaly_inspection.nodes.parameters import declare_parameters, parameter
from anomaly_inspection.scoring.measure import BadSide

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rclpy.node import Node

    from anomaly_inspection.msg import LimitInForce

CHANNEL_PREFIX = 'channel_'


@dataclass(frozen=True)
class ChannelParameters:
    """
    Parameters of one potentiometer.

    """

    measure: str = parameter(
        '', 'The measure whose limit this knob moves: scorer.measure.', read_only=True
    )
    low: float = parameter(
        0.0,
        'Limit at the left end of the knob, in the unit of the measure. When low and high are '
        'both 0, the range goes from a typical good part to a five times worse one.',
        minimum=-1e12,
        maximum=1e12,
        read_only=True,
    )
    high: float = parameter(
        0.0,
        'Limit at the right end of the knob, in the unit of the measure.',
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
    is_reversed: bool = parameter(False, 'True: low is at the right end.', read_only=True)
    legacy_full_scale: float = parameter(
        4095.0,
        'With legacy_protocol: the value that the device sends at the right end.',
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
class Channel:
    """
    A potentiometer, the limit that it moves, and where it stands.

    Parameters
    ----------
    number : int
        GPIO number, 0 to 255.
    parameters : ChannelParameters
        As set by the site.
    scale : Scale or None
        What positions mean; None while the knob moves nothing, and `why_not` says why.

    """

    number: int
    parameters: ChannelParameters
    knob: Knob = field(default_factory=Knob)
    scale: Scale | None = None
    why_not: str = 'no limits_in_force has arrived yet; is the decider running?'

    @property
    def scorer_and_measure(self) -> tuple[str, str]:
        """
        The measure as a pair.

        """
        scorer, _, measure = self.parameters.measure.partition('.')
        return scorer, measure


def declare_channels(node: Node, texts: tuple[str, ...]) -> dict[int, Channel]:
    """
    Declare the parameters of all channels, channel_<number>.*, and check them.

    Parameters
    ----------
    node : Node
        Where they are declared.
    texts : tuple of str
        GPIO numbers, 1 to `MOST_CHANNELS` different ones, 0 to 255.

    Raises
    ------
    SettingError
        When a number or a parameter is refused, or two channels move the same limit.

    """
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
    prefixes = tuple(f'{CHANNEL_PREFIX}{number}.' for number in numbers)
    for name in node._parameter_overrides:
        if name.startswith(CHANNEL_PREFIX) and not name.startswith(prefixes):
            raise SettingError(f'parameter {name}: channels names only {", ".join(texts)}')
    channels = {
        number: _declared_channel(node, number, prefix)
        for number, prefix in zip(numbers, prefixes, strict=True)
    }
    measures = [channel.parameters.measure for channel in channels.values()]
    if len(set(measures)) < len(measures):
        raise SettingError(f'{", ".join(measures)}: two channels move the same limit')
    return channels


def _declared_channel(node: Node, number: int, prefix: str) -> Channel:
    defaults = _KNOWN_CHANNELS.get(number, _NEW_CHANNEL)
    given = declare_parameters(node, defaults, prefix=prefix)
    channel = Channel(number, given)
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


def channel_scale(channel: Channel, in_force: Mapping[tuple[str, str], LimitInForce]) -> Scale:
    """
    Compute what the positions of a knob mean with the limits that are in force.

    Raises
    ------
    LimitError, SettingError
        When the measure or the range of the channel does not suit the recipe.

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
    if limit.is_narrowed:
        # The whole turn of the knob lies within the engineer's range.
        low, high = (min(max(end, limit.lowest), limit.highest) for end in (low, high))
        if low == high:
            raise LimitError(
                f'{given.measure}: the range of the knob lies outside of {limit.lowest:g} to '
                f'{limit.highest:g}, the range that an engineer has set'
            )
    for end in (low, high):
        Limit(*key, end, bad_side, limit.typical, minimum=-math.inf)
    return Scale(low, high, given.curve, given.is_reversed)
