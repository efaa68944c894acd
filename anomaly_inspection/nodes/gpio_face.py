# SPDX-License-Identifier: Apache-2.0
"""
The gate at an interface of ros2_control: the topics of its gpio_command_controller.

"""

from __future__ import annotations

from typing import Any, TYPE_CHECKING

from anomaly_inspection.nodes.needed_packages import ros_interface
from anomaly_inspection.nodes.qos import NEWEST, WATCHED_STATE
from anomaly_inspection.nodes.stamps import nanoseconds_from_stamp
from anomaly_inspection.sorting.gpio_gate import GpioGate, GpioWiring

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anomaly_inspection.nodes.inspection_node import InspectionNode
    from anomaly_inspection.sorting.watched_gate import WatchTimes

_WHO = "gate 'gpio'"
_SINCE = '5.3.0'


def make_gpio_gate(
    node: InspectionNode[Any], wiring: GpioWiring, controller: str, times: WatchTimes
) -> GpioGate:
    """
    Make the gate and its endpoints.

    Raises
    ------
    SettingError
        When control_msgs is missing or too old.

    """
    groups: Any = ros_interface(_WHO, 'control_msgs', 'msg', 'DynamicInterfaceGroupValues', _SINCE)
    interfaces: Any = ros_interface(_WHO, 'control_msgs', 'msg', 'InterfaceValue', _SINCE)
    commands = node.publish_on(groups, f'{controller}/commands', NEWEST)

    def command(values: Mapping[str, Mapping[str, float]]) -> None:
        message = groups(
            interface_groups=list(values),
            interface_values=[
                interfaces(interface_names=list(of_group), values=list(of_group.values()))
                for of_group in values.values()
            ],
        )
        message.header.stamp = node.get_clock().now().to_msg()
        commands.publish(message)

    def missing() -> str:
        if not commands.get_subscription_count():
            return f'nobody listens to {commands.topic_name}; see gpio_controller'
        if not states.get_publisher_count():
            return f'nobody publishes {states.topic_name}; see gpio_controller'
        return ''

    def take(message: Any) -> None:
        gate.values_received(
            {
                group: dict(zip(of_group.interface_names, of_group.values, strict=False))
                for group, of_group in zip(
                    message.interface_groups, message.interface_values, strict=False
                )
            },
            nanoseconds_from_stamp(message.header.stamp),
        )

    gate = GpioGate(wiring, command, missing, times)
    states = node.listen(groups, f'{controller}/gpio_states', take, WATCHED_STATE)
    return gate
