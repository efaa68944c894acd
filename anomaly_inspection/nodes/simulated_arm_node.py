# SPDX-License-Identifier: Apache-2.0
"""
An arm for trying out a cell without one: offers sort_part, and picks from the simulated belt.

Run it beside a cell with `gate: action` and `belt: encoder` of the sorter, and a simulated belt.

"""

from __future__ import annotations

from dataclasses import dataclass, fields
import math
import time
from typing import Any, ClassVar, TYPE_CHECKING

from rclpy.action import CancelResponse
from sensor_msgs.msg import Image

from anomaly_inspection.action import SortPart
from anomaly_inspection.capture.simulated_arm import (
    ArmFault,
    ArmGoal,
    ArmOutcome,
    Ended,
    Gripped,
    News,
    Put,
    PutInto,
    SimulatedArm,
    SimulatedArmSettings,
)
from anomaly_inspection.msg import BeltEncoder, Decision, Part, SimulatedArmState, SimulatedPart
from anomaly_inspection.nodes.action_server import UnpolledServer
from anomaly_inspection.nodes.image_conversion import image_from_array
from anomaly_inspection.nodes.inspection_node import (
    InspectionNode,
    NodeParameters,
    steady_s,
    WARN,
)
from anomaly_inspection.nodes.parameters import parameter
from anomaly_inspection.nodes.qos import EVENT, IMAGE, KEPT_EVENT, SENSOR
from anomaly_inspection.nodes.spinning import spin_node
from anomaly_inspection.nodes.stamps import nanoseconds_from_stamp, stamp_from_nanoseconds
from anomaly_inspection.overlay.arm_picture import ArmPicture, BeltPart, draw_arm
from anomaly_inspection.sorting.encoder_belt import BeltSettings, EncoderBelt
from anomaly_inspection.steady_clock import (
    exposure_of_stamp,
    exposure_on_this_clock,
    steady_clock_id,
)

if TYPE_CHECKING:
    from rclpy.action.server import ServerGoalHandle

_STEP_S = 0.005
_STATE_S = 0.05
_VIEW_S = 0.1
_REMEMBERED_VERDICTS = 500


@dataclass(frozen=True)
class SimulatedArmParameters(NodeParameters):
    """
    Parameters of the simulated arm.

    """

    pick_distance_m: float = parameter(
        0.4,
        "From the camera to the pick line along the belt; the sorter's gate_distance_m.",
        unit='m',
        minimum=0.001,
        maximum=100.0,
        read_only=True,
    )
    reach_from_m: float = parameter(
        -0.15,
        'Where the reach of the hand begins; metres behind the pick line, below 0 = before it.',
        unit='m',
        minimum=-10.0,
        maximum=10.0,
        read_only=True,
    )
    reach_to_m: float = parameter(
        0.25,
        'Where it ends.',
        unit='m',
        minimum=-10.0,
        maximum=10.0,
        read_only=True,
    )
    hand_m_per_s: float = parameter(
        2.0,
        'Speed of the hand along the belt, above that of the belt.',
        unit='m/s',
        minimum=0.001,
        maximum=100.0,
        read_only=True,
    )
    grip_s: float = parameter(
        0.06,
        'From being over the part to a closed gripper.',
        unit='s',
        minimum=0.0,
        maximum=60.0,
        read_only=True,
    )
    carry_s: float = parameter(
        0.15,
        'From there to an open gripper over the tray.',
        unit='s',
        minimum=0.0,
        maximum=60.0,
        read_only=True,
    )
    return_s: float = parameter(
        0.12,
        'From there back to the belt.',
        unit='s',
        minimum=0.0,
        maximum=60.0,
        read_only=True,
    )
    catch_m: float = parameter(
        0.015,
        'The gripper catches a part whose middle is at most so far away.',
        unit='m',
        minimum=0.0001,
        maximum=1.0,
        read_only=True,
    )
    miss_rate: float = parameter(
        0.01,
        'How often the gripper closes and is empty.',
        minimum=0.0,
        maximum=1.0,
        read_only=True,
    )
    belt_speed_m_per_s: float = parameter(
        0.5,
        'Usual speed of the belt, for planning.',
        unit='m/s',
        minimum=0.001,
        maximum=10.0,
        read_only=True,
    )
    encoder_silence_s: float = parameter(
        0.1,
        'So long after its newest sample a silent encoder keeps the arm from closing the gripper.',
        unit='s',
        minimum=0.005,
        maximum=10.0,
        read_only=True,
    )
    fault: str = parameter(
        'none',
        "What is wrong, for tests. 'silent': takes goals and never says what it did. 'late': says "
        "it 10 s late. 'lies': does nothing, and says at once that it has placed the part. "
        "'lies_well': the same, at a time that fits. 'neighbour': takes the next part behind.",
        choices=tuple(fault.value for fault in ArmFault),
    )
    seed: int = parameter(1, 'Of the misses.', minimum=0, maximum=2**31 - 1, read_only=True)

    def arm_settings(self) -> SimulatedArmSettings:
        """
        Give what the arm can do.

        """
        names = {item.name for item in fields(SimulatedArmSettings)}
        same = {name: value for name, value in vars(self).items() if name in names}
        return SimulatedArmSettings(
            **same, hand_mps=self.hand_m_per_s, usual_mps=self.belt_speed_m_per_s
        )


class SimulatedArmNode(InspectionNode[SimulatedArmParameters]):
    """
    Offers sort_part; takes encoder and simulated_part, gives simulated_arm_state and ~/view.

    """

    concerns: ClassVar[dict[str, tuple[str, ...]]] = {'belt': ('encoder',)}

    def __init__(self, **options: Any) -> None:
        self._server: UnpolledServer | None = None
        self._handles: dict[tuple[str, int], ServerGoalHandle[Any, Any, Any]] = {}
        self._arm = SimulatedArm()
        self._verdicts: dict[tuple[str, int], int] = {}
        self._places: dict[tuple[str, int], float] = {}
        self._tray = self._rejected = 0
        super().__init__('simulated_arm', SimulatedArmParameters, **options)

    def configure(self) -> None:
        """
        Make the endpoints.

        """
        given = self.parameters
        self._arm = SimulatedArm(given.arm_settings())
        self._arm.fault = ArmFault(given.fault)
        self._belt = EncoderBelt(
            BeltSettings(
                distance_m=given.pick_distance_m,
                speed_mps=given.belt_speed_m_per_s,
                top_speed_mps=2.0 * given.belt_speed_m_per_s,
                window_m=given.catch_m,
                closest_m=given.catch_m,
                silence_s=given.encoder_silence_s,
            )
        )
        self._state = self.publish_on(SimulatedArmState, 'simulated_arm_state', KEPT_EVENT)
        self._view = self.publish_on(Image, '~/view', IMAGE)
        self.listen(BeltEncoder, 'encoder', self._take_encoder, SENSOR)
        self.listen(SimulatedPart, 'simulated_part', self._take_part, KEPT_EVENT)
        # For the view alone.
        self.listen(Part, 'part', self._take_seen, EVENT)
        self.listen(Decision, 'decision', self._take_decision, EVENT)
        # Like every action of ours it stays after cleanup, and refuses goals.
        if self._server is None:
            self._server = UnpolledServer(
                self,
                SortPart,
                'sort_part',
                execute_callback=lambda handle: None,
                cancel_callback=self._take_cancel,
            )
            self._server.began = self._begin
        self.every(_STEP_S, self._step)
        self.every(_STATE_S, self._tell_state)
        self.every(_VIEW_S, self._show)

    def activate(self) -> None:
        """
        Begin with nothing known of the belt.

        """
        self._belt.forget()

    def deactivate(self) -> None:
        """
        End every goal; what the gripper holds stays in it.

        """
        for key in list(self._handles):
            self._end(Ended(key, ArmOutcome.FAILED, 'the arm was stopped'))

    def destroy_node(self) -> None:
        """
        Take the node off the network; its executor must not spin any more.

        """
        if self._server is not None:
            self._server.destroy()
            self._server = None
        super().destroy_node()

    def parameters_changed(self) -> None:
        """
        Take another fault.

        """
        self._arm.fault = ArmFault(self.parameters.fault)

    def diagnostic_values(self) -> dict[str, object]:
        """
        Give counts.

        """
        return {'parts in the tray': self._tray, 'parts put into reject': self._rejected}

    # Goals

    def _begin(self, handle: ServerGoalHandle[Any, Any, Any]) -> None:
        goal = handle.request
        key = (goal.session_id, goal.part_id)
        problem = self._problem_of(goal, key)
        if problem:
            self._answer(handle, Ended(key, ArmOutcome.FAILED, problem))
            return
        place_m, now = goal.encoder_position * goal.encoder_m_per_unit, steady_s()
        wanted = ArmGoal(key, place_m, self._valid_until(goal))
        self._handles[key] = handle
        refusal = self._arm.offer(wanted, now, self._belt_m(now), self._belt.speed_mps())
        if refusal is not None:
            self._end(refusal)

    def _problem_of(self, goal: SortPart.Goal, key: tuple[str, int]) -> str:
        if not self.is_active:
            return 'the arm is not active'
        if goal.verdict != SortPart.Goal.VERDICT_PASS:
            return f'verdict {goal.verdict}; allowed: 1 (PASS)'
        if not math.isfinite(goal.encoder_position):
            return 'this arm needs an encoder: set belt: encoder of the sorter'
        return f'part {key[1]} is asked for twice' if key in self._handles else ''

    def _valid_until(self, goal: SortPart.Goal) -> float:
        if goal.steady_clock_id and goal.steady_clock_id == steady_clock_id():
            return 1e-9 * goal.valid_until_steady_ns
        left_ns = nanoseconds_from_stamp(goal.valid_until) - time.time_ns()
        return steady_s() + 1e-9 * left_ns

    def _take_cancel(self, handle: ServerGoalHandle[Any, Any, Any]) -> CancelResponse:
        key = (handle.request.session_id, handle.request.part_id)
        if self._handles.get(key) is not handle:
            return CancelResponse.REJECT
        self._arm.cancel(key)
        return CancelResponse.ACCEPT

    def _end(self, ended: Ended) -> None:
        handle = self._handles.pop(ended.key, None)
        if handle is not None:
            self._answer(handle, ended)

    def _answer(self, handle: ServerGoalHandle[Any, Any, Any], ended: Ended) -> None:
        result = SortPart.Result(
            success=ended.outcome is ArmOutcome.PLACED,
            message=ended.message,
            outcome=int(ended.outcome),
            tray='good' if ended.outcome is ArmOutcome.PLACED else '',
            gripped_encoder_position=math.nan,
        )
        if ended.grip is not None:
            self._tell_grip(result, ended.grip)
        if ended.outcome is ArmOutcome.PLACED:
            handle.succeed()
        elif ended.outcome is ArmOutcome.CANCELLED and handle.is_cancel_requested:
            handle.canceled()
        else:
            handle.abort()
        assert self._server is not None
        self._server.send_result(handle, lambda _: result)

    def _tell_grip(self, said: Any, grip: Gripped) -> None:
        said.gripped_encoder_position = grip.belt_m
        said.gripped_along_m = grip.along_m
        ago_ns = time.monotonic_ns() - round(1e9 * grip.at_s)
        said.gripped_at = stamp_from_nanoseconds(time.time_ns() - ago_ns)

    # The arm

    def _step(self) -> None:
        now = steady_s()
        stage = self._arm.stage
        for news in self._arm.step(now, self._belt_m(now)):
            self._take_news(news)
        if self._arm.stage is not stage:
            self._tell_state()

    def _take_news(self, news: News) -> None:
        if isinstance(news, Ended):
            self._end(news)
        elif isinstance(news, Put):
            self._tray += news.into is PutInto.TRAY
            self._rejected += news.into is PutInto.REJECT
            self._tell_state(news)
        elif news.key in self._handles:
            feedback = SortPart.Feedback()
            self._tell_grip(feedback, news)
            self._handles[news.key].publish_feedback(feedback)

    def _tell_state(self, put: Put | None = None) -> None:
        arm = self._arm
        state = SimulatedArmState(
            stage=int(arm.stage),
            hand_along_m=arm.hand_m,
            goals_waiting=len(arm.waiting),
            holds=arm.holds,
        )
        state.header.stamp = self.get_clock().now().to_msg()
        if arm.goal is not None:
            state.session_id, state.part_id = arm.goal.key
        if put is not None:
            state.put, state.put_number = int(put.into), put.number
        self._state.publish(state)

    def _belt_m(self, now: float) -> float:
        return self._belt.position_at(now)

    # What comes

    def _take_encoder(self, message: BeltEncoder) -> None:
        at_ns, _ = exposure_of_stamp(
            nanoseconds_from_stamp(message.header.stamp), time.time_ns(), time.monotonic_ns()
        )
        self._belt.moved(message.position, 1e-9 * at_ns)
        self.clear('encoder')

    def _take_part(self, message: SimulatedPart) -> None:
        place_m = message.encoder_position + self.parameters.pick_distance_m
        self._arm.lay(message.number, place_m)

    # The view

    def _take_seen(self, message: Part) -> None:
        now_ns = time.monotonic_ns()
        exposed_ns = exposure_on_this_clock(
            message.exposure_steady_ns, message.steady_clock_id, message.age_s, now_ns
        )
        place_m = self._belt_m(1e-9 * exposed_ns) + self.parameters.pick_distance_m
        self._places[(message.session_id, message.part_id)] = place_m
        while len(self._places) > _REMEMBERED_VERDICTS:
            del self._places[next(iter(self._places))]

    def _take_decision(self, message: Decision) -> None:
        self._verdicts[(message.session_id, message.part_id)] = message.verdict
        while len(self._verdicts) > _REMEMBERED_VERDICTS:
            del self._verdicts[next(iter(self._verdicts))]

    def picture(self) -> ArmPicture:
        """
        Give what the view shows now.

        """
        belt_m, arm, given = self._belt_m(steady_s()), self._arm, self.parameters
        if not math.isfinite(belt_m):
            self.report('encoder', WARN, 'nothing comes on the topic encoder: the arm stands')
        return ArmPicture(
            distance_m=given.pick_distance_m,
            reach_m=(given.reach_from_m, given.reach_to_m),
            belt_m=belt_m,
            parts=tuple(
                BeltPart(number, belt_m - place_m, self._verdict_at(place_m))
                for number, place_m in arm.parts.items()
            ),
            hand_m=arm.hand_m,
            stage=arm.stage.name.lower(),
            holds=arm.holds,
            wanted=arm.goal.key[1] if arm.goal else 0,
            tray=self._tray,
            rejected=self._rejected,
        )

    def _verdict_at(self, place_m: float) -> str:
        for key, seen_m in self._places.items():
            if abs(seen_m - place_m) < self.parameters.catch_m:
                verdict = self._verdicts.get(key)
                if verdict is not None:
                    return 'PASS' if verdict == Decision.VERDICT_PASS else 'REJECT'
        return ''

    def _show(self) -> None:
        if self._view.get_subscription_count():
            stamp = self.get_clock().now().to_msg()
            self._view.publish(image_from_array(draw_arm(self.picture()), stamp, ''))


def main() -> None:
    """
    Run the node until it is interrupted.

    """
    spin_node(SimulatedArmNode)
