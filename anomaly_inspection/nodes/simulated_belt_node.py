# SPDX-License-Identifier: Apache-2.0
"""
A belt for trying out a cell without one: says where it is, and triggers the camera for each part.

Run it beside a cell with `mode: triggered` of the camera and `belt: encoder` of the sorter. A
simulated arm (`simulated_arm_node.py`) learns from it where parts lie.

"""

from __future__ import annotations

from dataclasses import dataclass
import math
import random
from typing import Any

from std_msgs.msg import Empty

from anomaly_inspection.capture.simulated_belt import SimulatedBelt, SimulatedBeltSettings
from anomaly_inspection.msg import BeltEncoder, SimulatedPart
from anomaly_inspection.nodes.inspection_node import InspectionNode, NodeParameters, steady_s
from anomaly_inspection.nodes.parameters import parameter
from anomaly_inspection.nodes.qos import EVENT, KEPT_EVENT, SENSOR
from anomaly_inspection.nodes.spinning import spin_node


@dataclass(frozen=True)
class SimulatedBeltParameters(NodeParameters):
    """
    Parameters of the simulated belt.

    """

    speed_m_per_s: float = parameter(
        0.5, 'Usual speed.', unit='m/s', minimum=0.001, maximum=10.0, read_only=True
    )
    wander: float = parameter(
        0.3,
        'How far the speed wanders from the usual one, as a share of it.',
        minimum=0.0,
        maximum=0.9,
        read_only=True,
    )
    stops: bool = parameter(
        True, 'Whether the belt also creeps, stands and runs back.', read_only=True
    )
    pitch_m: float = parameter(
        0.15,
        'From part to part along the belt; 0 = no parts.',
        unit='m',
        minimum=0.0,
        maximum=100.0,
        read_only=True,
    )
    spread_m: float = parameter(
        0.0,
        'On average so much more from part to part, at random.',
        unit='m',
        minimum=0.0,
        maximum=10.0,
        read_only=True,
    )
    parts: int = parameter(
        0,
        'So many parts, then the belt goes on without any; 0 = until the end.',
        minimum=0,
        maximum=1_000_000,
        read_only=True,
    )
    encoder_hz: float = parameter(
        100.0,
        'Samples of the encoder a second.',
        unit='1/s',
        minimum=1.0,
        maximum=1000.0,
        read_only=True,
    )
    seed: int = parameter(
        1, 'Of movement and distances.', minimum=0, maximum=2**31 - 1, read_only=True
    )


class SimulatedBeltNode(InspectionNode[SimulatedBeltParameters]):
    """
    Gives encoder, and trigger and simulated_part when a part is before the camera.

    """

    def __init__(self, **options: Any) -> None:
        super().__init__('simulated_belt', SimulatedBeltParameters, **options)

    def configure(self) -> None:
        """
        Make the endpoints.

        """
        self._encoder = self.publish_on(BeltEncoder, 'encoder', SENSOR)
        self._trigger = self.publish_on(Empty, 'trigger', EVENT)
        self._part = self.publish_on(SimulatedPart, 'simulated_part', KEPT_EVENT)
        self.every(1.0 / self.parameters.encoder_hz, self._move)

    def activate(self) -> None:
        """
        Let the belt move from its beginning.

        """
        given = self.parameters
        self._belt = SimulatedBelt(
            SimulatedBeltSettings(
                given.speed_m_per_s, given.wander, stops=given.stops, seed=given.seed
            )
        )
        self._started_s = steady_s()
        self._draw = random.Random(given.seed)
        self._next_part_m = given.pitch_m or math.inf
        self._parts = 0

    def _move(self) -> None:
        message = BeltEncoder()
        # First the stamp: then nothing but this line comes between the two clocks.
        message.header.stamp = self.get_clock().now().to_msg()
        since_s = steady_s() - self._started_s
        position_m = message.position = self._belt.position_at(since_s)
        self._belt.forget_before(since_s - 1.0)
        self._encoder.publish(message)
        if position_m >= self._next_part_m:
            given = self.parameters
            spread_m = self._draw.expovariate(1.0 / given.spread_m) if given.spread_m else 0.0
            self._next_part_m += given.pitch_m + spread_m
            self._parts += 1
            # It is where the belt is now: between two calls the belt goes a little further.
            self._part.publish(SimulatedPart(number=self._parts, encoder_position=position_m))
            self._trigger.publish(Empty())
            if self._parts == given.parts:
                self._next_part_m = math.inf


def main() -> None:
    """
    Run the node until it is interrupted.

    """
    spin_node(SimulatedBeltNode)
