# SPDX-License-Identifier: Apache-2.0
"""
What the gates of robots make of the messages of the other side, and which wiring they refuse.

"""

from __future__ import annotations

from collections.abc import Iterator
import math
import threading
from typing import Any

import pytest

from anomaly_inspection.errors import GateError, SettingError
from anomaly_inspection.sorting.gpio_gate import GpioGate, GpioWiring, Values
from anomaly_inspection.sorting.gripper_gate import GripperGate, GripperWiring
from anomaly_inspection.sorting.ur_io_gate import UrIoGate, UrIoWiring
from anomaly_inspection.sorting.watched_gate import WatchedGate, WatchTimes

TIMES = WatchTimes(timeout_s=0.4, settle_s=20.0, period_s=10.0)
GRIPPER = GripperWiring('finger', open_position=0.08, rest_position=0.0, tolerance=0.002)


def says(gate: WatchedGate, *, is_open: bool, say: Any) -> str:
    """
    Give '' where the gate believes it after it has asked, else its error.

    """
    timer = threading.Timer(0.05, say)
    timer.start()
    try:
        gate.confirm(is_open=is_open)
    except GateError as error:
        return str(error)
    finally:
        timer.join()
    return ''


class Ends:
    """
    Closes the gates of a test.

    """

    def __init__(self) -> None:
        self.gates: list[WatchedGate] = []

    def add(self, gate: Any) -> Any:
        self.gates.append(gate)
        gate.connect()
        return gate


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ends]:
    monkeypatch.setattr('anomaly_inspection.sorting.watched_gate._CONNECT_S', 0.01)
    made = Ends()
    yield made
    for gate in made.gates:
        gate.close()


# --------------------------------------------------------------------------------- ur_io


def ur_gate(ends: Ends, wiring: UrIoWiring, asked: list[tuple[int, bool]]) -> Any:
    return ends.add(UrIoGate(wiring, lambda *request: asked.append(request), lambda: '', TIMES))


def test_ur_output_is_set_and_read_back(ends: Ends) -> None:
    asked: list[tuple[int, bool]] = []
    gate = ur_gate(ends, UrIoWiring(3), asked)
    gate.open(50.0)
    assert asked == [(3, False), (3, True)]
    pins = dict.fromkeys(range(18), False)
    others = {**dict.fromkeys(range(18), True), 3: False}
    assert not says(gate, is_open=True, say=lambda: gate.pins_received({**pins, 3: True}, pins))
    error = says(gate, is_open=True, say=lambda: gate.pins_received(others, others))
    assert 'UR output 3: it should be open; output 3 is False within 0.4 s' in error


def test_ur_success_is_no_proof_and_a_refusal_is_one(ends: Ends) -> None:
    gate = ur_gate(ends, UrIoWiring(3), [])
    error = says(gate, is_open=True, say=lambda: gate.answer_received(True, True))
    assert 'no reading came' in error
    error = says(gate, is_open=False, say=lambda: gate.pins_received({3: False}, {}))
    assert not error
    gate.rest()
    gate.open(50.0)
    gate.rest()
    error = says(gate, is_open=False, say=lambda: gate.pins_received({3: False}, {}))
    assert 'output 3 is False, but a command was not answered and may still move it' in error
    error = says(gate, is_open=True, say=lambda: gate.answer_received(True, False))
    assert 'UR output 3: the controller refused to set it to True' in error


def test_ur_switch_at_an_input_counts_more_than_the_output(ends: Ends) -> None:
    gate = ur_gate(ends, UrIoWiring(3, read_back_input=4), [])
    is_set, is_not = {3: True, 4: True}, {3: False, 4: False}
    error = says(gate, is_open=True, say=lambda: gate.pins_received(is_set, is_not))
    assert 'input 4 is False' in error
    assert not says(gate, is_open=True, say=lambda: gate.pins_received(is_not, is_set))
    error = says(gate, is_open=True, say=lambda: gate.pins_received(is_set, {}))
    assert 'there is no input 4 among the states' in error


@pytest.mark.parametrize('pins', [(-1, -1), (18, -1), (3, 18), (3, -2)])
def test_ur_pins_that_do_not_exist_are_refused(pins: tuple[int, int]) -> None:
    with pytest.raises(SettingError, match=r'ur_io_\w+ -?\d+, allowed: -?\d to 17'):
        UrIoWiring(*pins)


# --------------------------------------------------------------------------------- gpio


def gpio_gate(ends: Ends, wiring: GpioWiring) -> tuple[GpioGate, list[Values]]:
    told: list[Values] = []
    return ends.add(GpioGate(wiring, told.append, lambda: '', TIMES)), told


def test_gpio_value_is_commanded_and_read_back(ends: Ends) -> None:
    gate, told = gpio_gate(ends, GpioWiring('flange/output_1', 'flange/switch', 24.0, 2.0))
    gate.open(50.0)
    assert told == [{'flange': {'output_1': 2.0}}, {'flange': {'output_1': 24.0}}]

    def reading(switch: float) -> Any:
        return lambda: gate.values_received({'flange': {'output_1': 24.0, 'switch': switch}}, 0)

    assert not says(gate, is_open=True, say=reading(23.0))
    for neither in (12.0, math.nan, math.inf, 2.0):
        assert f'flange/switch is {neither:g}' in says(gate, is_open=True, say=reading(neither))
    assert not says(gate, is_open=False, say=reading(2.1))


def test_gpio_names_the_interfaces_that_there_are(ends: Ends) -> None:
    gate, _ = gpio_gate(ends, GpioWiring('flange/output_1'))
    said = {'flange': {'output_2': 1.0}, 'arm': {'lamp': 0.0}}
    error = says(gate, is_open=True, say=lambda: gate.values_received(said, 1))
    assert 'there is no flange/output_1 among the states (flange/output_2, arm/lamp)' in error


def test_gpio_same_reading_again_is_nothing_new(ends: Ends) -> None:
    gate, _ = gpio_gate(ends, GpioWiring('flange/output_1'))
    said = {'flange': {'output_1': 1.0}}
    assert not says(gate, is_open=True, say=lambda: gate.values_received(said, 5))
    error = says(gate, is_open=True, say=lambda: gate.values_received(said, 5))
    assert 'no reading came' in error
    assert not says(gate, is_open=True, say=lambda: gate.values_received(said, 6))


def test_gpio_heartbeat_changes_with_each_message(ends: Ends) -> None:
    gate, told = gpio_gate(ends, GpioWiring('io/gate', heartbeat='io/beat'))
    gate.open(50.0)
    gate.rest()
    gate.rest()
    assert [values['io']['beat'] for values in told] == [1.0, 0.0, 1.0, 0.0]
    assert [values['io']['gate'] for values in told] == [0.0, 1.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ('settings', 'words'),
    [
        ({'command': ''}, "gpio_command '', allowed: group and interface, such as"),
        ({'command': 'output_1'}, "gpio_command 'output_1', allowed: group and interface"),
        ({'command': '/x'}, "gpio_command '/x', allowed"),
        ({'command': 'a/b', 'read_back': 'b'}, "gpio_read_back 'b', allowed"),
        ({'command': 'a/b', 'heartbeat': 'b/'}, "gpio_heartbeat 'b/', allowed"),
        ({'command': 'a/b', 'heartbeat': 'a/b'}, "gpio_heartbeat is 'a/b', as gpio_command"),
        ({'command': 'a/b', 'open_value': math.nan}, 'gpio_open_value nan, allowed'),
        ({'command': 'a/b', 'open_value': 0.0}, 'are both 0, allowed: two different'),
    ],
)
def test_gpio_wiring_that_is_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingError) as refused:
        GpioWiring(**settings)
    assert words in str(refused.value)


# --------------------------------------------------------------------------------- gripper


def gripper_gate(ends: Ends, sent: list[float]) -> GripperGate:
    made: GripperGate = ends.add(GripperGate(GRIPPER, sent.append, lambda: '', TIMES))
    return made


def test_gripper_is_sent_to_its_positions_and_its_joint_is_believed(ends: Ends) -> None:
    sent: list[float] = []
    gate = gripper_gate(ends, sent)
    gate.open(50.0)
    gate.rest()
    assert sent == [0.0, 0.08, 0.0]

    def at(position: float, stamp_ns: int = 0) -> Any:
        return lambda: gate.positions_received({'wrist': 0.08, 'finger': position}, stamp_ns)

    error = says(gate, is_open=False, say=at(0.0))
    assert 'the joint is at 0, but a command was not answered and may still move it,' in error
    gate.goal_answered(True)
    assert not says(gate, is_open=False, say=at(-0.0015))
    assert not says(gate, is_open=True, say=at(0.0815))
    for neither in (0.04, 0.003, math.nan):
        assert f'the joint is at {neither:g}' in says(gate, is_open=True, say=at(neither))
    assert not says(gate, is_open=True, say=at(0.08, 7))
    assert 'no joint state of it came' in says(gate, is_open=True, say=at(0.08, 7))


def test_gripper_joints_of_another_robot_say_nothing(ends: Ends) -> None:
    gate = gripper_gate(ends, [])
    error = says(gate, is_open=False, say=lambda: gate.positions_received({'wrist': 0.0}, 3))
    assert 'gripper finger: it should be at rest; no joint state of it came' in error


def test_gripper_goal_that_is_rejected_has_failed(ends: Ends) -> None:
    gate = gripper_gate(ends, [])
    words = 'gripper finger: the controller rejected the goal'
    assert words in says(gate, is_open=False, say=lambda: gate.goal_answered(False))
    with pytest.raises(GateError, match=words):
        gate.open(1.0)


@pytest.mark.parametrize(
    ('wiring', 'words'),
    [
        (('', 0.08, 0.0, 0.002), "gripper_joint '', allowed: the joint's name"),
        (('finger', math.inf, 0.0, 0.002), 'gripper_open_position inf, allowed'),
        (('finger', 0.08, 0.0, 0.04), 'gripper_tolerance 0.04, allowed: 1e-05 to below 0.04'),
        (('finger', 0.08, 0.08, 0.002), 'gripper_tolerance 0.002, allowed: 1e-05 to below 0,'),
        (('finger', 0.08, 0.0, math.nan), 'gripper_tolerance nan, allowed'),
    ],
)
def test_gripper_wiring_that_is_refused(
    wiring: tuple[str, float, float, float], words: str
) -> None:
    with pytest.raises(SettingError) as refused:
        GripperWiring(*wiring)
    assert words in str(refused.value)
