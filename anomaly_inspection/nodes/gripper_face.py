# SPDX-License-Identifier: Apache-2.0
"""
The gate moved by a gripper controller: its action, and the joint states.

"""

from __future__ import annotations

from typing import Any, TYPE_CHECKING
from uuid import uuid4

from sensor_msgs.msg import JointState

from anomaly_inspection.nodes.needed_packages import ros_interface
from anomaly_inspection.nodes.newest_call import NewestCall
from anomaly_inspection.nodes.qos import WATCHED_STATE
from anomaly_inspection.nodes.stamps import nanoseconds_from_stamp
from anomaly_inspection.sorting.gripper_gate import GripperGate, GripperWiring

if TYPE_CHECKING:
    from anomaly_inspection.nodes.inspection_node import InspectionNode
    from anomaly_inspection.sorting.watched_gate import WatchTimes


def make_gripper_gate(
    node: InspectionNode[Any],
    wiring: GripperWiring,
    controller: str,
    joint_states: str,
    times: WatchTimes,
) -> GripperGate:
    """
    Make the gate and its endpoints.

    Raises
    ------
    SettingError
        When control_msgs is missing or too old.

    """
    action: Any = ros_interface(
        "gate 'gripper'", 'control_msgs', 'action', 'ParallelGripperCommand', '5.1.0'
    )
    send_goal = action.Impl.SendGoalService
    # Not an action client: we want no result, and a goal that was replaced may never have one.
    call = NewestCall(node, send_goal, f'{controller}/gripper_cmd/_action/send_goal')

    def send(position: float) -> None:
        request = send_goal.Request()
        request.goal_id.uuid = list(uuid4().bytes)
        request.goal.command.name = [wiring.joint]
        request.goal.command.position = [position]
        call.send(request, lambda answer: gate.goal_answered(bool(answer.accepted)))

    def missing() -> str:
        if not call.is_ready():
            offered = call.name.removesuffix('/_action/send_goal')
            return f'nobody offers {offered}; see gripper_controller'
        if not states.get_publisher_count():
            return f'nobody publishes {states.topic_name}; see gripper_joint_states'
        return ''

    def take(message: JointState) -> None:
        gate.positions_received(
            dict(zip(message.name, message.position, strict=False)),
            nanoseconds_from_stamp(message.header.stamp),
        )

    gate = GripperGate(wiring, send, missing, times)
    states = node.listen(JointState, joint_states, take, WATCHED_STATE)
    return gate
