# SPDX-License-Identifier: Apache-2.0
"""
The ROS face of the challenges of the decider: parameters, action, state and events.

"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from rclpy.task import Future

from anomaly_inspection.action import RunChallenge
from anomaly_inspection.deciding.challenge import (
    Challenge,
    ChallengeEventKind,
    ChallengeState,
    ChallengeStatus,
)
from anomaly_inspection.deciding.challenge import (
    ChallengeEvent as CoreEvent,
)
from anomaly_inspection.deciding.challenge_settings import ChallengeSettings
from anomaly_inspection.errors import InspectionError, RecipeError
from anomaly_inspection.msg import Challenge as ChallengeMessage
from anomaly_inspection.msg import ChallengeEvent
from anomaly_inspection.nodes.action_server import GoalEndedError
from anomaly_inspection.nodes.inspection_node import ERROR, NodeParameters, steady_s, WARN
from anomaly_inspection.nodes.parameters import parameter
from anomaly_inspection.nodes.qos import EVENT, LATCHED
from anomaly_inspection.nodes.stamps import stamp_from_nanoseconds

if TYPE_CHECKING:
    from anomaly_inspection.nodes.action_server import Goal
    from anomaly_inspection.nodes.decider_node import DeciderNode


@dataclass(frozen=True)
class ChallengeParameters(NodeParameters):
    """
    Parameters of the challenges.

    """

    challenge_parts: tuple[str, ...] = parameter(
        (),
        "The known parts of a challenge in their order, each text 'good ...' or 'bad ...', at "
        'least one of each. Empty = no challenges.',
        read_only=True,
    )
    challenge_at_start: bool = parameter(
        True,
        'A challenge is due at each start, and whenever another recipe or version of it comes '
        'into force; production is blocked at once.',
        read_only=True,
    )
    challenge_shift_changes: tuple[str, ...] = parameter(
        (),
        "Local times at which a challenge becomes due, each text 'HH:MM'. One passed before "
        'does not count for the new shift.',
        read_only=True,
    )
    challenge_every_min: float = parameter(
        0.0,
        'A challenge becomes due so long after the last one was passed; 0 = never.',
        unit='min',
        minimum=0.0,
        maximum=10080.0,
        read_only=True,
    )
    challenge_grace_min: float = parameter(
        0.0,
        'From the time a challenge becomes due until production is blocked; 0 = at once.',
        unit='min',
        minimum=0.0,
        maximum=1440.0,
        read_only=True,
    )
    challenge_timeout_min: float = parameter(
        10.0,
        'A challenge that has not ended so long after its start has failed.',
        unit='min',
        minimum=0.01,
        maximum=1440.0,
        read_only=True,
    )

    def challenge_settings(self) -> ChallengeSettings:
        """
        Give the settings of the library; raises SettingError.

        """
        return ChallengeSettings(
            self.challenge_parts,
            self.challenge_at_start,
            self.challenge_shift_changes,
            self.challenge_every_min,
            self.challenge_grace_min,
            self.challenge_timeout_min,
        )


class ChallengeFace:
    """
    Offers the challenge as an action on the decider node, and publishes what becomes of it.

    Parameters
    ----------
    node : DeciderNode
        Where it is offered.
    challenge : Challenge
        What it is the face of.
    """

    def __init__(self, node: DeciderNode, challenge: Challenge) -> None:
        self._node = node
        self._challenge = challenge
        self._published: ChallengeStatus | None = None
        self._goal: Goal | None = None
        # Done when the challenge under way has ended, with the event that says how.
        self._ended: Future[CoreEvent] = Future()
        self._state = node.publish_on(ChallengeMessage, 'challenge', LATCHED)
        self._event = node.publish_on(ChallengeEvent, 'challenge_event', EVENT)
        node.serve_action(RunChallenge, '~/run_challenge', self._run)

    def publish(self, *, is_first: bool = False) -> None:
        """
        Publish what has happened, and the state when it has changed.

        """
        for event in self._challenge.drain_events():
            self._publish_event(event)
        now = steady_s()
        status = self._challenge.status(now)
        if status != self._published or is_first:
            self._published = status
            self._publish_state(status, now)
            self._node.remember()

    async def _run(self, goal: Goal) -> str:
        if not self._node.is_ready:
            raise RecipeError('no recipe is in force yet; try again')
        self._challenge.start(steady_s())
        self._goal, self._ended = goal, Future(executor=self._node.executor)
        self.publish()
        try:
            end = await goal.wait(self._ended)
        except GoalEndedError as reason:
            if self._ended.done():
                # It came out at the same moment.
                raise GoalEndedError(self._ended.result().detail) from None
            detail = self._challenge.cancel(str(reason))
            self.publish()
            raise GoalEndedError(detail) from None
        finally:
            self._goal = None
        if end.kind is not ChallengeEventKind.PASSED:
            raise InspectionError(end.detail)
        return end.detail

    def _publish_event(self, event: CoreEvent) -> None:
        message = ChallengeEvent(
            kind=int(event.kind),
            detail=event.detail,
            known_part=event.known_part,
            session_id=event.key[0],
            part_id=event.key[1],
            came_out_right=event.came_out_right,
        )
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._event.publish(message)
        is_end = event.kind in (ChallengeEventKind.PASSED, ChallengeEventKind.FAILED)
        if is_end and self._goal is not None and not self._ended.done():
            self._ended.set_result(event)
        self._node.get_logger().info(f'challenge: {event.detail}')

    def _publish_state(self, status: ChallengeStatus, now: float) -> None:
        if status.state is ChallengeState.OFF:
            parts: tuple[str, ...] = ()
        else:
            parts = self._node.parameters.challenge_parts
            level = ERROR if status.is_blocked else WARN
            if status.is_blocked or status.is_wanted:
                self._node.report('challenge', level, f'challenge: {status.detail}')
            else:
                self._node.clear('challenge')
        message = ChallengeMessage(
            state=int(status.state),
            detail=status.detail,
            production_is_blocked=status.is_blocked,
            parts=list(parts),
            parts_done=status.parts_done,
        )
        if self._goal is not None and status.state is ChallengeState.RUNNING:
            self._goal.tell(parts_done=status.parts_done, parts=len(parts), detail=status.detail)
        due = self._challenge.next_due(now, datetime.now())
        if due is not None:
            message.next_due = stamp_from_nanoseconds(int(1e9 * due.timestamp()))
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._state.publish(message)
