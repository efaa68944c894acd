# SPDX-License-Identifier: Apache-2.0
"""
The ROS face of the challenges of the decider: parameters, services, state and events.

"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from std_srvs.srv import Trigger

from anomaly_inspection.deciding.challenge import (
    Challenge,
    ChallengeSettings,
    ChallengeState,
    ChallengeStatus,
)
from anomaly_inspection.deciding.challenge import (
    ChallengeEvent as CoreEvent,
)
from anomaly_inspection.errors import RecipeError
from anomaly_inspection.msg import Challenge as ChallengeMessage
from anomaly_inspection.msg import ChallengeEvent
from anomaly_inspection.nodes.inspection_node import ERROR, NodeParameters, steady_s, WARN
from anomaly_inspection.nodes.parameters import parameter
from anomaly_inspection.nodes.qos import EVENT, LATCHED
from anomaly_inspection.nodes.stamps import stamp_from_nanoseconds

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from anomaly_inspection.nodes.inspection_node import InspectionNode


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
    Offers the services of a challenge on the decider node, and publishes what becomes of it.

    Parameters
    ----------
    node : InspectionNode
        The decider node, with ChallengeParameters.
    challenge : Challenge
        What it is the face of.
    is_ready : callable
        Whether parts can be judged now.

    """

    def __init__(
        self, node: InspectionNode[Any], challenge: Challenge, is_ready: Callable[[], bool]
    ) -> None:
        self._node = node
        self._challenge = challenge
        self._is_ready = is_ready
        self._published: ChallengeStatus | None = None
        self._state = node.publish_on(ChallengeMessage, 'challenge', LATCHED)
        self._event = node.publish_on(ChallengeEvent, 'challenge_event', EVENT)
        node.serve(Trigger, '~/start_challenge', self._start)
        node.serve(Trigger, '~/cancel_challenge', self._cancel)

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

    def _start(self, request: Any) -> str:
        if not self._is_ready():
            raise RecipeError('no recipe is in force yet; try again')
        answer = self._challenge.start(steady_s())
        self.publish()
        return answer

    def _cancel(self, request: Any) -> str:
        answer = self._challenge.cancel()
        self.publish()
        return answer

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
        due = self._challenge.next_due(now, datetime.now())
        if due is not None:
            message.next_due = stamp_from_nanoseconds(int(1e9 * due.timestamp()))
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._state.publish(message)
