# SPDX-License-Identifier: Apache-2.0
"""
The sorter's gate from its parameters.

"""

from __future__ import annotations

from dataclasses import dataclass
import time
from typing import Any

from std_msgs.msg import Bool

from anomaly_inspection.errors import SettingError
from anomaly_inspection.nodes.arm_face import ArmParameters
from anomaly_inspection.nodes.inspection_node import InspectionNode
from anomaly_inspection.nodes.parameters import parameter
from anomaly_inspection.nodes.qos import NEWEST
from anomaly_inspection.sorting.gate import Gate
from anomaly_inspection.sorting.modbus_gate import Drive, ModbusGate, ModbusWiring, ReadBack
from anomaly_inspection.sorting.serial_gate import SerialGate
from anomaly_inspection.sorting.simulated_gate import SimulatedGate
from anomaly_inspection.sorting.topic_gate import TopicGate
from anomaly_inspection.sorting.tracker_settings import TrackerSettings


@dataclass(frozen=True)
class GateParameters(ArmParameters):
    """
    Which gate, and where it is; docs/gates.md says which one when.

    """

    gate: str = parameter(
        'simulated',
        "The actuator. 'serial': the ESP32's gate output. 'modbus': a PLC or a coil by Modbus "
        "TCP. 'topic': whoever listens to the topic 'gate' and answers on 'gate_state'. "
        "'action': an arm that offers the action sort_part and picks good parts from the belt. "
        "'simulated' exists in memory only.",
        choices=('simulated', 'serial', 'modbus', 'topic', 'action'),
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
