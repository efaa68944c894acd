# SPDX-License-Identifier: Apache-2.0
"""
The arm of the sorter node: its parameters, and the action sort_part as orders and reports.

"""

from __future__ import annotations

from dataclasses import dataclass
import math
import time
from typing import Any, TYPE_CHECKING

from action_msgs.msg import GoalStatus
from rclpy.action import ActionClient

from anomaly_inspection.action import SortPart
from anomaly_inspection.nodes.inspection_node import InspectionNode, NodeParameters, steady_s
from anomaly_inspection.nodes.parameters import parameter
from anomaly_inspection.nodes.stamps import nanoseconds_from_stamp, stamp_from_nanoseconds
from anomaly_inspection.sorting.arm_gate import ArmGate
from anomaly_inspection.sorting.pick_order import Grip, PickOrder, PickOutcome, PickResult
from anomaly_inspection.sorting.sort_record import PartKey
from anomaly_inspection.steady_clock import exposure_of_stamp, steady_clock_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from anomaly_inspection.msg import PartPose
    from anomaly_inspection.nodes.belt_face import EncoderReader
    from anomaly_inspection.sorting.sorter import Sorter


@dataclass(frozen=True)
class ArmParameters(NodeParameters):
    """
    An arm in the place of a gate (`gate: action`); docs/robot.md explains the timing.

    """

    pick_clearance_m: float = parameter(
        0.06,
        'Gate action: the arm picks a part only when both neighbours are at least so far away.',
        unit='m',
        minimum=0.0005,
        maximum=10.0,
        read_only=True,
    )
    pick_tolerance_m: float = parameter(
        0.01,
        'Gate action: the gripper may close so far from where the part is; further away it has '
        'taken another part, and the line stops. Less than half of pick_clearance_m.',
        unit='m',
        minimum=0.0001,
        maximum=1.0,
        read_only=True,
    )
    pick_zone_from_m: float = parameter(
        -0.2,
        'Gate action: where the gripper may close, from here ... Metres behind the pick line, '
        'which lies gate_distance_m behind the camera; below 0 = before it.',
        unit='m',
        minimum=-100.0,
        maximum=10.0,
        read_only=True,
    )
    pick_zone_to_m: float = parameter(
        0.3,
        'Gate action: ... to here. A part that has passed it without a result stops the line.',
        unit='m',
        minimum=0.0,
        maximum=10.0,
        read_only=True,
    )
    pick_lead_s: float = parameter(
        0.3,
        'Gate action: the arm hears of a part at least so long before it is at the pick line; a '
        'later PASS leaves the part on the belt.',
        unit='s',
        minimum=0.0,
        maximum=60.0,
        read_only=True,
    )
    pick_answer_s: float = parameter(
        0.5,
        'Gate action: an arm that neither takes nor refuses a goal within this stops the line.',
        unit='s',
        minimum=0.01,
        maximum=60.0,
        read_only=True,
    )
    pick_place_s: float = parameter(
        2.0,
        'Gate action: from the grip to the result at the latest; then the line stops.',
        unit='s',
        minimum=0.01,
        maximum=600.0,
        read_only=True,
    )
    pick_valid_s: float = parameter(
        30.0,
        'Gate action: so long a goal is valid, also on a belt that stands; then the arm lets it '
        'lapse. Longer than from the camera to the end of the pick zone.',
        unit='s',
        minimum=0.1,
        maximum=3600.0,
        read_only=True,
    )
    pick_needs_pose: bool = parameter(
        True,
        'Gate action: pick only parts whose part_pose is sure. false where the arm does not need '
        'to know how a part lies, or the recipe has no alignment.',
        read_only=True,
    )


class ArmFace:
    """
    The client of sort_part; the sorter's thread sends, the node's thread takes the answers.

    Lives as long as its node: an EventsExecutor does not like an action client to be destroyed
    while it spins.

    """

    def __init__(self, node: InspectionNode[Any]) -> None:
        self._node = node
        self._client: Any = ActionClient(node, SortPart, 'sort_part')
        self._orders: dict[PartKey, _Order] = {}
        self._sorter: Callable[[], Sorter | None] = lambda: None
        self._encoder: EncoderReader | None = None
        self._wake: Callable[[], None] = lambda: None
        self.gate = ArmGate(
            self._send, self._cancel, self._cancel_all, self._client.server_is_ready
        )

    def serve(
        self,
        sorter: Callable[[], Sorter | None],
        encoder: EncoderReader | None,
        wake: Callable[[], None],
    ) -> None:
        """
        Say who hears of the arm, how encoder values become metres, and whom to wake then.

        """
        self._sorter, self._encoder, self._wake = sorter, encoder, wake

    def destroy(self) -> None:
        """
        Take the client off the network.

        """
        self._client.destroy()

    @property
    def under_way(self) -> int:
        """
        How many goals have no result yet.

        """
        return len(self._orders)

    def take_pose(self, message: PartPose) -> None:
        """
        Take how a part lies.

        """
        sorter = self._sorter()
        if sorter is not None:
            key = (message.session_id, message.part_id)
            sorter.pose_received(key, message.is_sure, message, message.detail)
            self._wake()

    # The sorter's thread

    def _send(self, order: PickOrder) -> None:
        sent = self._orders[order.key] = _Order(order.key)
        future = self._client.send_goal_async(
            self._goal(order), lambda message: self._take_grip(sent, message.feedback)
        )
        future.add_done_callback(lambda done: self._take_answer(sent, done))

    def _cancel(self, key: PartKey) -> None:
        order = self._orders.get(key)
        if order is not None:
            order.is_cancelled = True
            if order.handle is not None:
                order.handle.cancel_goal_async()

    def _cancel_all(self) -> None:
        for key, order in list(self._orders.items()):
            if order.is_cancelled:
                # Told before, and it has not ended: whoever had it may be gone. A result that
                # comes all the same is heard.
                self._orders.pop(key, None)
            else:
                self._cancel(key)

    def _goal(self, order: PickOrder) -> SortPart.Goal:
        has_pose = order.pose is not None
        encoder = self._encoder
        wall_less_steady_ns = time.time_ns() - time.monotonic_ns()
        goal = SortPart.Goal(
            session_id=order.key[0],
            part_id=order.key[1],
            verdict=SortPart.Goal.VERDICT_PASS,
            has_pose=has_pose,
            encoder_position=encoder.counts(order.place_m) if encoder else math.nan,
            encoder_m_per_unit=encoder.m_per_count if encoder else 1.0,
            belt_speed_m_per_s=order.speed_mps,
            steady_clock_id=steady_clock_id(),
        )
        if has_pose:
            goal.pose = order.pose
        goal.valid_until_steady_ns = round(1e9 * order.valid_until_s)
        goal.valid_until = stamp_from_nanoseconds(goal.valid_until_steady_ns + wall_less_steady_ns)
        if math.isfinite(order.passes_at_s):
            goal.passes_at_steady_ns = round(1e9 * order.passes_at_s)
            goal.passes_at = stamp_from_nanoseconds(goal.passes_at_steady_ns + wall_less_steady_ns)
        return goal

    # The node's thread

    def _take_answer(self, order: _Order, future: Any) -> None:
        try:
            handle = future.result()
        except Exception as error:  # noqa: BLE001 - the tracker notices that no answer came
            self._node.get_logger().error(f'sort_part: {self._node.describe(error)}')
            self._orders.pop(order.key, None)
            return
        sorter = self._sorter()
        if not handle.accepted:
            self._orders.pop(order.key, None)
            if sorter is not None:
                sorter.order_answered(order.key, False, steady_s())
            self._wake()
            return
        order.handle = handle
        handle.get_result_async().add_done_callback(lambda done: self._take_result(order, done))
        if order.is_cancelled:
            handle.cancel_goal_async()
        if sorter is not None:
            sorter.order_answered(order.key, True, steady_s())
        self._wake()

    def _take_grip(self, order: _Order, feedback: SortPart.Feedback) -> None:
        sorter = self._sorter()
        if sorter is not None:
            sorter.gripped(order.key, self._grip(feedback), steady_s())
            self._wake()

    def _take_result(self, order: _Order, future: Any) -> None:
        self._orders.pop(order.key, None)
        try:
            answer = future.result()
            result = self._result(answer.result, answer.status)
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody knows where the part is
            result = PickResult(PickOutcome.FAILED, self._node.describe(error))
        sorter = self._sorter()
        if sorter is not None:
            sorter.order_ended(order.key, result, steady_s())
            self._wake()

    def _result(self, said: SortPart.Result, status: int) -> PickResult:
        known = said.outcome in {*PickOutcome}
        outcome = PickOutcome(said.outcome) if known else PickOutcome.FAILED
        detail = said.message
        is_unsaid = said.outcome == SortPart.Result.OUTCOME_UNKNOWN
        if is_unsaid and status == GoalStatus.STATUS_CANCELED:
            # The default of a server that fills in nothing.
            outcome = PickOutcome.CANCELLED
        elif not known:
            detail = detail or f'the result says outcome {said.outcome}'
        return PickResult(outcome, detail, self._grip(said), said.tray)

    def _grip(self, said: SortPart.Result | SortPart.Feedback) -> Grip:
        at_ns, _ = exposure_of_stamp(
            nanoseconds_from_stamp(said.gripped_at), time.time_ns(), time.monotonic_ns()
        )
        counts = said.gripped_encoder_position
        belt_m = self._encoder.metres(counts) if self._encoder else math.nan
        return Grip(1e-9 * at_ns, said.gripped_along_m, belt_m)


class _Order:
    """
    A goal that was sent and has no result yet.

    """

    def __init__(self, key: PartKey) -> None:
        self.key = key
        self.handle: Any = None
        self.is_cancelled = False
