# SPDX-License-Identifier: Apache-2.0
"""
The other sides of the gates ur_io, gpio and gripper, as their drivers behave, and with faults.

"""

from __future__ import annotations

from abc import ABC, abstractmethod
import threading
import time
from typing import Any, ClassVar

from rclpy.node import Node

from anomaly_inspection.nodes.qos import NEWEST
from anomaly_inspection.nodes.spinning import NodeThread

# A controller of 125 Hz; those of 500 Hz are common as well.
_READING_S = 0.008


class RobotServer(Node, ABC):
    """
    One output that stays as it is until somebody moves it.

    Parameters
    ----------
    context : rclpy Context
        Where it runs.
    namespace : str
        Of the cell.
    is_open : bool
        How it stands at the beginning.

    Attributes
    ----------
    is_open : bool
        How the gate really stands.
    moved : list of (float, bool)
        When it moved, steady clock, seconds, and whether it opened.
    is_stuck, is_silent, is_frozen, refuses : bool
        It does not move; it streams nothing; it streams its first reading again and again; it
        refuses commands.
    late_s, readings_late_s : float
        So late it does what it is told, and its readings come.

    """

    #: The sorter's parameters for it.
    parameters: ClassVar[dict[str, Any]] = {}

    def __init__(self, context: Any, namespace: str = '', *, is_open: bool = False) -> None:
        super().__init__('robot', context=context, namespace=namespace)
        self.is_open = is_open
        self.is_stuck = self.is_silent = self.is_frozen = self.refuses = False
        self.late_s = self.readings_late_s = 0.0
        self.moved: list[tuple[float, bool]] = []
        self._stamp = self.get_clock().now().to_msg()
        self._ended = threading.Event()
        self._offer()
        self._spins = NodeThread([self], 'robot', context=context)
        self._streams = threading.Thread(target=self._stream, daemon=True)
        self._spins.start()
        self._streams.start()

    def close(self) -> None:
        """
        Die; the gate stays as it is.

        """
        self._ended.set()
        self._streams.join()
        self._spins.stop()
        self.destroy_node()

    def move(self, is_open: bool) -> None:
        """
        Move the gate, whoever asks for it.

        """
        if not self.is_stuck and is_open is not self.is_open:
            self.is_open = is_open
            self.moved.append((time.monotonic(), is_open))

    @property
    def said_open(self) -> bool:
        """
        How the gate stands in the readings now.

        """
        if not self.readings_late_s:
            return self.is_open
        return self.stood_open_at(time.monotonic() - self.readings_late_s)

    def stood_open_at(self, time_s: float) -> bool:
        """
        Tell whether the gate was open then.

        """
        before = [is_open for moved_s, is_open in self.moved if moved_s <= time_s]
        return bool(before) and before[-1]

    @abstractmethod
    def _offer(self) -> None:
        """
        Make the endpoints.

        """

    @abstractmethod
    def _say(self) -> None:
        """
        Publish how the gate stands.

        """

    def _stream(self) -> None:
        while not self._ended.wait(_READING_S):
            if not self.is_frozen:
                self._stamp = self.get_clock().now().to_msg()
            if not self.is_silent:
                self._say()


class UrServer(RobotServer):
    """
    The io_and_status_controller: SetIO takes 50 ms, and says that it succeeded.

    """

    parameters: ClassVar[dict[str, Any]] = {
        'gate': 'ur_io',
        'ur_io_output': 3,
    }

    def _offer(self) -> None:
        from ur_msgs.msg import Digital, IOStates
        from ur_msgs.srv import SetIO

        self.switch: bool | None = None
        self._digital, self._states_type = Digital, IOStates
        self._states = self.create_publisher(
            IOStates, 'io_and_status_controller/io_states', NEWEST
        )
        self.create_service(SetIO, 'io_and_status_controller/set_io', self._take)

    def _take(self, request: Any, response: Any) -> Any:
        assert (request.fun, request.pin) == (request.FUN_SET_DIGITAL_OUT, 3)
        time.sleep(self.late_s)
        if not self.refuses:
            self.move(request.state != 0.0)
            time.sleep(0.05)
        response.success = not self.refuses
        return response

    def _say(self) -> None:
        message = self._states_type()
        inputs = {4: self.said_open if self.switch is None else self.switch}
        for states, said in (
            (message.digital_out_states, {3: self.said_open}),
            (message.digital_in_states, inputs),
        ):
            states += [self._digital(pin=pin, state=said.get(pin, False)) for pin in range(18)]
        self._states.publish(message)


class GpioServer(RobotServer):
    """
    The gpio_command_controller.

    """

    parameters: ClassVar[dict[str, Any]] = {
        'gate': 'gpio',
        'gpio_command': 'flange/output_1',
        'gpio_heartbeat': 'flange/heartbeat',
    }

    def _offer(self) -> None:
        from control_msgs.msg import DynamicInterfaceGroupValues, InterfaceValue

        self.beats: list[float] = []
        self._values = InterfaceValue
        self._groups = DynamicInterfaceGroupValues
        self._states = self.create_publisher(self._groups, 'gpio_controller/gpio_states', NEWEST)
        self.create_subscription(self._groups, 'gpio_controller/commands', self._take, NEWEST)

    def _take(self, message: Any) -> None:
        [values] = message.interface_values
        told = dict(zip(values.interface_names, values.values, strict=True))
        self.beats.append(told['heartbeat'])
        threading.Timer(self.late_s, self.move, (told['output_1'] == 1.0,)).start()

    def _say(self) -> None:
        values = self._values(interface_names=['output_1'], values=[float(self.said_open)])
        message = self._groups(interface_groups=['flange'], interface_values=[values])
        message.header.stamp = self._stamp
        self._states.publish(message)


class GripperServer(RobotServer):
    """
    The parallel gripper controller: says at once that it has reached its goal.

    """

    parameters: ClassVar[dict[str, Any]] = {
        'gate': 'gripper',
        'gripper_joint': 'finger',
        'gripper_open_position': 0.05,
    }

    def _offer(self) -> None:
        from control_msgs.action import ParallelGripperCommand
        from rclpy.action import ActionServer, GoalResponse
        from sensor_msgs.msg import JointState

        self._result = ParallelGripperCommand.Result
        self._state_type = JointState
        self._answer = GoalResponse
        self._states = self.create_publisher(JointState, 'joint_states', NEWEST)
        self._action = ActionServer(
            self,
            ParallelGripperCommand,
            'gripper_controller/gripper_cmd',
            self._execute,
            goal_callback=self._accept,
        )

    def close(self) -> None:
        """
        Die; the gripper stays as it is.

        """
        self._action.destroy()
        super().close()

    def _accept(self, goal: Any) -> Any:
        time.sleep(self.late_s)
        return self._answer.REJECT if self.refuses else self._answer.ACCEPT

    def _execute(self, goal: Any) -> Any:
        [position] = goal.request.command.position
        self.move(position > 0.025)
        goal.succeed()
        return self._result(reached_goal=True)

    def _say(self) -> None:
        message = self._state_type(name=['wrist', 'finger'], position=[0.3, 0.05 * self.said_open])
        message.header.stamp = self._stamp
        self._states.publish(message)
