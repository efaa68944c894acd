# SPDX-License-Identifier: Apache-2.0
"""
The gate at an output of a Universal Robots controller: service and topic of its ROS driver.

"""

from __future__ import annotations

from typing import Any, TYPE_CHECKING

from anomaly_inspection.nodes.needed_packages import ros_interface
from anomaly_inspection.nodes.newest_call import NewestCall
from anomaly_inspection.nodes.qos import WATCHED_STATE
from anomaly_inspection.sorting.ur_io_gate import UrIoGate, UrIoWiring

if TYPE_CHECKING:
    from anomaly_inspection.nodes.inspection_node import InspectionNode
    from anomaly_inspection.sorting.watched_gate import WatchTimes

_WHO = "gate 'ur_io'"
_SINCE = '2.0.0'


def make_ur_io_gate(
    node: InspectionNode[Any], wiring: UrIoWiring, controller: str, times: WatchTimes
) -> UrIoGate:
    """
    Make the gate and its endpoints.

    Raises
    ------
    SettingError
        When ur_msgs is missing.

    """
    set_io: Any = ros_interface(_WHO, 'ur_msgs', 'srv', 'SetIO', _SINCE)
    states_type = ros_interface(_WHO, 'ur_msgs', 'msg', 'IOStates', _SINCE)
    call = NewestCall(node, set_io, f'{controller}/set_io')

    def set_output(pin: int, is_on: bool) -> None:
        request = set_io.Request(
            fun=set_io.Request.FUN_SET_DIGITAL_OUT, pin=pin, state=float(is_on)
        )
        call.send(request, lambda answer: gate.answer_received(is_on, bool(answer.success)))

    def missing() -> str:
        if not call.is_ready():
            return f'nobody offers {call.name}; see ur_io_controller'
        if not states.get_publisher_count():
            return f'nobody publishes {states.topic_name}; see ur_io_controller'
        return ''

    def take(message: Any) -> None:
        gate.pins_received(
            {pin.pin: pin.state for pin in message.digital_out_states},
            {pin.pin: pin.state for pin in message.digital_in_states},
        )

    gate = UrIoGate(wiring, set_output, missing, times)
    states = node.listen(states_type, f'{controller}/io_states', take, WATCHED_STATE)
    return gate
