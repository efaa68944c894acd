# SPDX-License-Identifier: Apache-2.0
"""
The gates of the gate benchmark, seen from outside the sorter.

"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
import tempfile
import time
from typing import Any

from benchmarks.plc import PlcProcess
from firmware.twin.device_twin import DeviceTwin


class GateSide(ABC):
    """
    A gate, seen from outside the sorter.

    """

    def __init__(self) -> None:
        self.moved: list[tuple[float, bool]] = []

    @abstractmethod
    def parameters(self) -> dict[str, Any]:
        """
        Give the sorter's parameters for it.

        """

    def movements(self) -> list[tuple[float, bool]]:
        """
        Give the times when it moved, and whether it opened.

        """
        return self.moved


class BreakableSide(GateSide):
    """
    A gate whose connection can break.

    """

    @abstractmethod
    def break_down(self) -> None:
        """
        Let the connection break.

        """

    @abstractmethod
    def mend(self) -> None:
        """
        Mend it.

        """


class SimulatedSide(GateSide):
    """
    The gate in the sorter's memory.

    """

    def parameters(self) -> dict[str, Any]:
        return {'gate': 'simulated'}


class SerialSide(BreakableSide):
    """
    The firmware's twin at a serial port.

    """

    def __init__(self, twin: DeviceTwin) -> None:
        super().__init__()
        self._twin = twin

    def parameters(self) -> dict[str, Any]:
        return {'gate': 'serial', 'gate_port': self._twin.usb}

    def break_down(self) -> None:
        self._twin.tell('cut usb')

    def mend(self) -> None:
        self._twin.tell('plug usb')

    def movements(self) -> list[tuple[float, bool]]:
        while not self._twin.movements.empty():
            movement = self._twin.movements.get()
            self.moved.append((movement.time_s, movement.is_open))
        return self.moved


class ModbusSide(BreakableSide):
    """
    A PLC that times the window.

    """

    def __init__(self, plc: PlcProcess) -> None:
        super().__init__()
        self._plc = plc

    def parameters(self) -> dict[str, Any]:
        return {'gate': 'modbus', 'modbus_host': '127.0.0.1', 'modbus_port': self._plc.port}

    def break_down(self) -> None:
        self._plc.kill()
        # Its outputs fall when it dies.
        self._plc.movements.put((time.monotonic(), False))

    def mend(self) -> None:
        self._plc.start()

    def movements(self) -> list[tuple[float, bool]]:
        while not self._plc.movements.empty():
            self.moved.append(self._plc.movements.get())
        return self.moved


class TopicSide(GateSide):
    """
    An actuator that listens to a topic and answers.

    """

    def __init__(self, context: Any, namespace: str) -> None:
        super().__init__()
        from rclpy.node import Node
        from std_msgs.msg import Bool

        from anomaly_inspection.nodes.qos import NEWEST
        from anomaly_inspection.nodes.spinning import NodeThread

        self._node = Node('actuator', namespace=namespace, context=context)
        self._state = self._node.create_publisher(Bool, 'gate_state', NEWEST)
        self._node.create_subscription(Bool, 'gate', self._take, NEWEST)
        self._is_open = False
        self._thread = NodeThread([self._node], 'actuator', context=context)
        self._thread.start()

    def parameters(self) -> dict[str, Any]:
        return {'gate': 'topic'}

    def close(self) -> None:
        """
        Take the actuator off the network.

        """
        self._thread.stop()
        self._node.destroy_node()

    def _take(self, told: Any) -> None:
        if told.data != self._is_open:
            self._is_open = told.data
            self.moved.append((time.monotonic(), told.data))
        self._state.publish(told)


@contextmanager
def gate_side(gate: str, context: Any, namespace: str) -> Iterator[GateSide]:
    """
    Set up the gate of that name, and take it down afterwards.

    """
    if gate == 'serial':
        # Running for a while, as a real device is.
        with (
            tempfile.TemporaryDirectory() as folder,
            DeviceTwin(Path(folder), uptime_ms=100_000) as twin,
        ):
            yield SerialSide(twin)
    elif gate == 'modbus':
        with PlcProcess() as plc:
            yield ModbusSide(plc)
    elif gate == 'topic':
        side = TopicSide(context, namespace)
        try:
            yield side
        finally:
            side.close()
    else:
        yield SimulatedSide()
