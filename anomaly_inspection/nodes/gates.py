# SPDX-License-Identifier: Apache-2.0
"""
The sorter's gate from its parameters.

"""

from __future__ import annotations

from dataclasses import dataclass
import time
from typing import Any

from rclpy.exceptions import InvalidTopicNameException
from rclpy.validate_topic_name import validate_topic_name
from std_msgs.msg import Bool

from anomaly_inspection.errors import SettingError
from anomaly_inspection.nodes.arm_face import ArmParameters
from anomaly_inspection.nodes.gpio_face import make_gpio_gate
from anomaly_inspection.nodes.gripper_face import make_gripper_gate
from anomaly_inspection.nodes.inspection_node import InspectionNode
from anomaly_inspection.nodes.parameters import parameter
from anomaly_inspection.nodes.qos import NEWEST
from anomaly_inspection.nodes.ur_io_face import make_ur_io_gate
from anomaly_inspection.setting_check import check_range
from anomaly_inspection.sorting.gate import Gate
from anomaly_inspection.sorting.gpio_gate import GpioWiring
from anomaly_inspection.sorting.gripper_gate import GripperWiring, LEAST_TOLERANCE
from anomaly_inspection.sorting.modbus_gate import Drive, ModbusGate, ModbusWiring, ReadBack
from anomaly_inspection.sorting.serial_gate import SerialGate
from anomaly_inspection.sorting.simulated_gate import SimulatedGate
from anomaly_inspection.sorting.topic_gate import TopicGate
from anomaly_inspection.sorting.tracker_settings import TrackerSettings
from anomaly_inspection.sorting.ur_io_gate import LAST_PIN, NO_INPUT, UR_LEAST_S, UrIoWiring
from anomaly_inspection.sorting.watched_gate import WatchedGate, WatchTimes

_GATES = ('simulated', 'serial', 'modbus', 'topic', 'ur_io', 'gpio', 'gripper', 'action')


@dataclass(frozen=True)
class GateParameters(ArmParameters):
    """
    Which gate, and where it is; docs/gates.md says which one when.

    """

    gate: str = parameter(
        'simulated',
        "The actuator. 'serial': the ESP32's gate output. 'modbus': a PLC or a coil by Modbus "
        "TCP. 'topic': whoever listens to the topic 'gate' and answers on 'gate_state'. 'ur_io': "
        "an output of a Universal Robots controller. 'gpio': a ros2_control interface. 'gripper': "
        "a joint that a gripper controller moves. 'action': an arm that offers the action "
        "sort_part and picks good parts from the belt. 'simulated' exists in memory only.",
        choices=_GATES,
        read_only=True,
    )
    gate_timeout_s: float = parameter(
        0.02,
        'How long the gate may take to answer; then it has failed and the line stops. Not longer '
        'than dead_time_s, so that a command that came late cannot reach the next part.',
        unit='s',
        minimum=0.001,
        maximum=1.0,
        read_only=True,
    )
    gate_port: str = parameter(
        '', 'Gate serial: port or URL, such as /dev/ttyUSB0 or socket://host:port.', read_only=True
    )
    modbus_host: str = parameter('', 'Gate modbus: name or address of the server.', read_only=True)
    modbus_port: int = parameter(
        502, 'Gate modbus: TCP port.', minimum=1, maximum=65_535, read_only=True
    )
    modbus_unit: int = parameter(
        1, 'Gate modbus: unit (slave) number.', minimum=0, maximum=255, read_only=True
    )
    modbus_drive: str = parameter(
        'register',
        "Gate modbus: who counts the window. 'register': the PLC, told by two holding registers. "
        "'coil': the sorter, and an I/O module whose watchdog drops the coil. 'coil_and_counter': "
        'the sorter, and a PLC that watches a counter.',
        choices=tuple(drive.value for drive in Drive),
        read_only=True,
    )
    modbus_register: int = parameter(
        0,
        "Gate modbus: holding register of the command's number, its milliseconds in the next one; "
        'or of the counter. Counted from 0, as all addresses here.',
        minimum=0,
        maximum=65_534,
        read_only=True,
    )
    modbus_coil: int = parameter(
        0, 'Gate modbus: coil of the gate.', minimum=0, maximum=65_535, read_only=True
    )
    modbus_read_back: str = parameter(
        'input',
        "Gate modbus: what tells how the gate stands, true = open: 'input' (a switch at the gate, "
        "on a discrete input) or 'coil'.",
        choices=tuple(read_back.value for read_back in ReadBack),
        read_only=True,
    )
    modbus_read_back_address: int = parameter(
        0, 'Gate modbus: address of that.', minimum=0, maximum=65_535, read_only=True
    )
    ur_io_controller: str = parameter(
        'io_and_status_controller',
        'Gate ur_io: the controller that offers set_io and publishes io_states; with a slash in '
        "front where the robot's driver does not run in the cell's namespace: "
        '/io_and_status_controller.',
        read_only=True,
    )
    ur_io_output: int = parameter(
        -1,
        'Gate ur_io: digital output of the gate, true = open. 0 to 7 standard, 8 to 15 '
        'configurable, 16 and 17 tool; -1 = not set, which is refused.',
        minimum=-1,
        maximum=LAST_PIN,
        read_only=True,
    )
    ur_io_read_back_input: int = parameter(
        NO_INPUT,
        'Gate ur_io: digital input of a switch that is true while the gate is open; -1 = the '
        'state of the output is read, which does not see a stuck gate.',
        minimum=NO_INPUT,
        maximum=LAST_PIN,
        read_only=True,
    )
    gpio_controller: str = parameter(
        'gpio_controller',
        'Gate gpio: name of the gpio_command_controller; with a slash in front where it does not '
        "run in the cell's namespace.",
        read_only=True,
    )
    gpio_command: str = parameter(
        '',
        "Gate gpio: command interface of the gate, as 'flange/output_1' (group/interface).",
        read_only=True,
    )
    gpio_read_back: str = parameter(
        '',
        "Gate gpio: state interface that shows how the gate stands, best a switch at it; '' = the "
        'one that is named as gpio_command.',
        read_only=True,
    )
    gpio_open_value: float = parameter(
        1.0,
        'Gate gpio: value of both interfaces while the gate is open.',
        minimum=-1e9,
        maximum=1e9,
        read_only=True,
    )
    gpio_rest_value: float = parameter(
        0.0,
        'Gate gpio: value of both interfaces while the gate rests.',
        minimum=-1e9,
        maximum=1e9,
        read_only=True,
    )
    gpio_heartbeat: str = parameter(
        '',
        'Gate gpio: command interface that changes between 0 and 1 three times in a part pitch, '
        "for a watchdog; '' = none.",
        read_only=True,
    )
    gripper_controller: str = parameter(
        'gripper_controller',
        'Gate gripper: the controller that offers gripper_cmd; with a slash in front where it '
        "does not run in the cell's namespace.",
        read_only=True,
    )
    gripper_joint_states: str = parameter(
        'joint_states',
        'Gate gripper: topic with the position of the joint; with a slash in front where it is '
        "not in the cell's namespace.",
        read_only=True,
    )
    gripper_joint: str = parameter(
        '', 'Gate gripper: name of the joint, as in the joint states.', read_only=True
    )
    gripper_open_position: float = parameter(
        0.08,
        'Gate gripper: where the joint stands while the gate is open.',
        unit='m or rad',
        minimum=-1000.0,
        maximum=1000.0,
        read_only=True,
    )
    gripper_rest_position: float = parameter(
        0.0,
        'Gate gripper: where the joint stands while the gate rests.',
        unit='m or rad',
        minimum=-1000.0,
        maximum=1000.0,
        read_only=True,
    )
    gripper_tolerance: float = parameter(
        0.002,
        'Gate gripper: a joint so near to a position is there; a joint at neither position has '
        'failed. Less than half the way between both.',
        unit='m or rad',
        minimum=LEAST_TOLERANCE,
        maximum=100.0,
        read_only=True,
    )


def make_gate(
    node: InspectionNode[Any], parameters: GateParameters, settings: TrackerSettings
) -> Gate:
    """
    Make the gate of a node that is being configured, with the topics that it needs.

    Raises
    ------
    SettingError
        When the parameters contradict each other; names them and what is allowed.

    """
    if parameters.gate == 'simulated':
        return SimulatedGate(time.monotonic, actuation_s=settings.actuation_s)
    timeout_s = parameters.gate_timeout_s
    if timeout_s > settings.dead_time_s:
        raise SettingError(
            f'gate_timeout_s {timeout_s:g} s, allowed: not longer than dead_time_s, '
            f'{settings.dead_time_s:g} s'
        )
    # Three tellings in one part pitch: one may be lost.
    period_s = settings.closest_s / 3
    if parameters.gate == 'serial':
        if not parameters.gate_port:
            raise SettingError("gate 'serial' needs gate_port, such as /dev/ttyUSB0; it is ''")
        return SerialGate(parameters.gate_port, timeout_s=timeout_s)
    if parameters.gate == 'modbus':
        if not parameters.modbus_host:
            raise SettingError("gate 'modbus' needs modbus_host, a name or an address; it is ''")
        wiring = ModbusWiring(
            parameters.modbus_host,
            parameters.modbus_port,
            parameters.modbus_unit,
            Drive(parameters.modbus_drive),
            parameters.modbus_register,
            parameters.modbus_coil,
            ReadBack(parameters.modbus_read_back),
            parameters.modbus_read_back_address,
        )
        return ModbusGate(wiring, timeout_s=timeout_s, period_s=period_s)
    if parameters.gate in ('ur_io', 'gpio', 'gripper'):
        times = WatchTimes(timeout_s, settle_s=settings.dead_time_s, period_s=period_s)
        return _make_watched_gate(node, parameters, times, settings.window_s)
    return _make_topic_gate(node, timeout_s, period_s)


def _make_watched_gate(
    node: InspectionNode[Any], parameters: GateParameters, times: WatchTimes, window_s: float
) -> WatchedGate:
    for key in (f'{parameters.gate}_controller', 'gripper_joint_states'):
        _check_name(key, getattr(parameters, key))
    if parameters.gate == 'ur_io':
        check_range("gate 'ur_io': gate_timeout_s", times.timeout_s, UR_LEAST_S, 1.0, 's')
        check_range("gate 'ur_io': window_s", window_s, UR_LEAST_S, 10.0, 's')
        return make_ur_io_gate(
            node,
            UrIoWiring(parameters.ur_io_output, parameters.ur_io_read_back_input),
            parameters.ur_io_controller,
            times,
        )
    if parameters.gate == 'gpio':
        gpio = GpioWiring(
            parameters.gpio_command,
            parameters.gpio_read_back,
            parameters.gpio_open_value,
            parameters.gpio_rest_value,
            parameters.gpio_heartbeat,
        )
        return make_gpio_gate(node, gpio, parameters.gpio_controller, times)
    gripper = GripperWiring(
        parameters.gripper_joint,
        parameters.gripper_open_position,
        parameters.gripper_rest_position,
        parameters.gripper_tolerance,
    )
    return make_gripper_gate(
        node, gripper, parameters.gripper_controller, parameters.gripper_joint_states, times
    )


def _check_name(key: str, name: str) -> None:
    try:
        validate_topic_name(name)
    except InvalidTopicNameException as error:
        raise SettingError(
            f"{key} {name!r}, allowed: a ROS name, such as 'arm/controller' or '/controller'"
        ) from error


def _make_topic_gate(node: InspectionNode[Any], timeout_s: float, period_s: float) -> TopicGate:
    told = node.publish_on(Bool, 'gate', NEWEST)
    gate = TopicGate(
        lambda is_open: told.publish(Bool(data=is_open)),
        lambda: told.get_subscription_count() > 0 and said.get_publisher_count() > 0,
        timeout_s=timeout_s,
        period_s=period_s,
    )
    said = node.listen(
        Bool, 'gate_state', lambda message: gate.answer_received(message.data), NEWEST
    )
    return gate
