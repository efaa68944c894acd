# SPDX-License-Identifier: Apache-2.0
"""
The inspector node: the verdict on the part that is in place, on request, for robots and PLCs.

"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
import math
import time
from typing import Any, ClassVar, TYPE_CHECKING

from rclpy.task import Future
from std_srvs.srv import Trigger

from anomaly_inspection.action import Inspect
from anomaly_inspection.deciding.inspection import (
    checked_deadline,
    DecisionHeard,
    Inspection,
    Outcome,
    PartHeard,
    Request,
    ScoreHeard,
    SHORTEST_DEADLINE_S,
)
from anomaly_inspection.errors import InspectionError, SettingError
from anomaly_inspection.msg import (
    Decision,
    Fault,
    LineStop,
    Part,
    PartIdentity,
    RecipeInForce,
    Score,
)
from anomaly_inspection.nodes.action_server import (
    GoalEndedError,
    GoalPreemptedError,
    GoalRefusedError,
)
from anomaly_inspection.nodes.inspect_result import answer_fields, inspect_result
from anomaly_inspection.nodes.inspection_node import (
    InspectionNode,
    NodeParameters,
    steady_s,
    WARN,
)
from anomaly_inspection.nodes.parameters import parameter
from anomaly_inspection.nodes.qos import EVENT, LATCHED
from anomaly_inspection.nodes.spinning import spin_node
from anomaly_inspection.records.identity import checked_name
from anomaly_inspection.scoring.registry import SCORERS
from anomaly_inspection.steady_clock import exposure_on_this_clock

if TYPE_CHECKING:
    from rclpy.client import Client

    from anomaly_inspection.deciding.inspection import Answer
    from anomaly_inspection.nodes.action_server import Goal

_TICK_S = 0.01
_LOOK_S = 0.1
_WATCH_S = 1.0
_FRAME_SERVICES = {
    'camera': 'camera/capture',
    'part_detector': 'part_detector/trigger',
    'view_joiner': 'view_joiner/capture',
}


@dataclass(frozen=True)
class InspectorParameters(NodeParameters):
    """
    Parameters of the inspector node.

    """

    asks: str = parameter(
        'nobody',
        "Whom it asks for a frame. 'nobody': the next part that comes is the part in place "
        "(camera in free run; trigger every_frame, photo_eye or presence). 'camera': calls "
        "camera/capture (mode triggered). 'part_detector': calls part_detector/trigger (trigger "
        "service), with any driver. 'view_joiner': calls view_joiner/capture, which triggers the "
        'cameras of all views.',
        choices=('nobody', *_FRAME_SERVICES),
        read_only=True,
    )
    deadline_s: float = parameter(
        2.0,
        'From the goal to the answer at the latest, where the goal asks for nothing else; longer '
        'than settle_s, exposure and scoring together.',
        unit='s',
        minimum=SHORTEST_DEADLINE_S,
        maximum=600.0,
    )
    longest_deadline_s: float = parameter(
        60.0,
        'Longest deadline that a goal may ask for, deadline_s or more.',
        unit='s',
        minimum=SHORTEST_DEADLINE_S,
        maximum=600.0,
    )
    settle_s: float = parameter(
        0.0,
        'From the goal to the exposure at the earliest: until the part stands still, and longer '
        'than the stamps of the camera may be wrong or, without good stamps, its frames travel.',
        unit='s',
        minimum=0.0,
        maximum=10.0,
    )


@dataclass
class _Asked:
    """
    A goal under way.

    """

    goal: Goal
    inspection: Inspection
    done: Future
    identity: PartIdentity | None
    frame_wanted: bool


class InspectorNode(InspectionNode[InspectorParameters]):
    """
    Offers the action inspect; takes part, score, decision, line_stop, fault and recipe_in_force.

    """

    concerns: ClassVar[dict[str, tuple[str, ...]]] = {'cell': ('cell',)}

    def __init__(self, **options: Any) -> None:
        super().__init__('inspector', InspectorParameters, **options)
        self._asked: _Asked | None = None
        self._stopped_because: dict[str, str] = {}
        self._classifiers: list[str] | None = None
        self._looked_s = self._watched_s = -math.inf
        self._frame_client: Client[Any, Any] | None = None
        self._counts: Counter[str] = Counter()
        self._last_latency_s = math.nan

    def configure(self) -> None:
        """
        Make the endpoints.

        """
        self._check_deadlines()
        service = _FRAME_SERVICES.get(self.parameters.asks)
        if service is not None and self._frame_client is None:
            self._frame_client = self.create_client(Trigger, service)
        self._identity = self.publish_on(PartIdentity, 'part_identity', EVENT)
        self.listen(Part, 'part', self._take_part, EVENT)
        self.listen(Score, 'score', self._take_score, EVENT)
        self.listen(Decision, 'decision', self._take_decision, EVENT)
        self.listen(LineStop, 'line_stop', self._take_line_stop, LATCHED)
        self.listen(Fault, 'fault', self._take_fault, LATCHED)
        self.listen(RecipeInForce, 'recipe_in_force', self._take_recipe, LATCHED)
        self.serve_action(
            Inspect, 'inspect', self._inspect, newest_wins=True, new_result=inspect_result
        )
        self.every(_TICK_S, self._tick)

    def cleanup(self) -> None:
        """
        Forget what was heard.

        """
        self._stopped_because.clear()
        self._classifiers = None
        self.clear('cell')

    def parameters_changed(self) -> None:
        """
        Warn of deadlines that do not fit together.

        """
        try:
            self._check_deadlines()
        except SettingError as error:
            self.get_logger().warning(str(error))

    def diagnostic_values(self) -> dict[str, object]:
        """
        Give the answers so far, by their kind.

        """
        latency_ms = 'none yet'
        if math.isfinite(self._last_latency_s):
            latency_ms = f'{1000.0 * self._last_latency_s:.0f}'
        return {
            'asks': self.parameters.asks,
            'a goal is under way': self._asked is not None,
            'ms from the last goal to its answer': latency_ms,
            **dict(sorted(self._counts.items())),
        }

    def _check_deadlines(self) -> None:
        parameters = self.parameters
        checked_deadline(
            0.0, parameters.deadline_s, parameters.longest_deadline_s, parameters.settle_s
        )

    # Goals

    async def _inspect(self, goal: Goal) -> Inspect.Result:
        asked = self._asked = self._accepted(goal, steady_s())
        inspection = asked.inspection
        try:
            goal.tell(stage=Inspect.Feedback.STAGE_WAITING, detail='waits for a frame')
            self._look(steady_s())
            self._tick()
            try:
                await goal.wait(asked.done)
                if goal.is_cancel_requested:
                    raise GoalEndedError('cancelled')
            except GoalEndedError as end:
                inspection.end(self._outcome_of(goal, end), str(end))
                raise type(end)(str(end), **self._ended(asked)[1]) from None
            answer, fields = self._ended(asked)
        finally:
            self._asked = None
        text = answer.text.removesuffix(' -> PASS').removesuffix(' -> REJECT')
        if not answer.was_judged:
            raise GoalRefusedError(f'no verdict: {text}', **fields)
        number = fields['part_id']
        return inspect_result(message=f'part {number}: {answer.verdict.name}: {text}', **fields)

    def _ended(self, asked: _Asked) -> tuple[Answer, dict[str, Any]]:
        """
        Give the answer as it counts now, and the fields of the result that say it.

        """
        now_s = steady_s()
        answer = asked.inspection.answer(now_s)
        assert answer is not None
        self._last_latency_s = now_s - asked.inspection.request.accepted_s
        self._counts[_kind_of(answer)] += 1
        return answer, answer_fields(asked.inspection, answer, now_s)

    def _outcome_of(self, goal: Goal, end: GoalEndedError) -> Outcome:
        if goal.is_cancel_requested:
            return Outcome.CANCELLED
        return Outcome.PREEMPTED if isinstance(end, GoalPreemptedError) else Outcome.STOPPED

    def _accepted(self, goal: Goal, now_s: float) -> _Asked:
        """
        Check what a goal asks for.

        """
        request, parameters = goal.request, self.parameters
        try:
            deadline_s = checked_deadline(
                request.deadline_s,
                parameters.deadline_s,
                parameters.longest_deadline_s,
                parameters.settle_s,
            )
            serial = checked_name('the serial number', request.serial)
            order = checked_name('the order', request.order)
            expected_class = checked_name('expected_class', request.expected_class)
            if expected_class:
                self._check_classes(expected_class)
        except InspectionError as error:
            self._counts['goals refused'] += 1
            outcome = int(Outcome.REFUSED)
            raise GoalRefusedError(f'refused: {error}', outcome=outcome) from error
        identity = None
        if serial or order:
            identity = PartIdentity(
                source='inspect', serial=serial, order=order, only_this_part=True
            )
        return _Asked(
            goal,
            Inspection(Request(now_s, deadline_s, parameters.settle_s, expected_class)),
            Future(executor=self.executor),
            identity,
            frame_wanted=self._frame_client is not None,
        )

    def _check_classes(self, expected_class: str) -> None:
        if self._classifiers is None:
            raise SettingError(
                f'expected_class {expected_class!r}: no recipe is in force that tells classes'
            )
        if not self._classifiers:
            raise SettingError(
                f'expected_class {expected_class!r}: no scorer of the recipe in force tells '
                "classes; allowed: '', or a recipe taught with the scorer 'template'"
            )

    # The frame

    def _ask_for_frame(self, asked: _Asked) -> None:
        asked.frame_wanted = False
        client = self._frame_client
        assert client is not None
        if missing := self._missing_service():
            asked.inspection.end(Outcome.NODE_LOST, missing)
            return
        future = client.call_async(Trigger.Request())

        def take_response(done: Any) -> None:
            try:
                response = done.result()
                problem = '' if response.success else response.message
            except Exception as error:  # noqa: BLE001 - whatever it is, there is no frame
                problem = f'{client.srv_name}: {self.describe(error)}'
            # A part without a frame is announced, and the decider says what is wrong with it.
            if problem and asked is self._asked and asked.inspection.part is None:
                asked.inspection.end(Outcome.NO_PART, f'no frame was taken: {problem}')

        future.add_done_callback(take_response)

    # What comes

    def _take_part(self, message: Part) -> None:
        asked = self._asked
        if asked is None:
            return
        now_ns = time.monotonic_ns()
        exposure_ns = exposure_on_this_clock(
            message.exposure_steady_ns, message.steady_clock_id, message.age_s, now_ns
        )
        part = PartHeard(
            (message.session_id, message.part_id),
            1e-9 * exposure_ns,
            len(message.frame_stamps),
            message.is_complete,
        )
        is_first = asked.inspection.part is None
        if asked.inspection.part_heard(part, 1e-9 * now_ns):
            if is_first:
                self._tell_identity(asked, part)
            frames = f'{part.frames} frames' if part.frames > 1 else 'a frame'
            self._tell(asked, Inspect.Feedback.STAGE_FRAME_TAKEN, f'{frames} taken')
        self._end_if_answered(asked)

    def _take_score(self, message: Score) -> None:
        asked = self._asked
        if asked is None:
            return
        key = (message.session_id, message.part_id)
        heard = ScoreHeard(key, message.scorer, message.part_class, message)
        if asked.inspection.score_heard(heard, steady_s()):
            self._tell(asked, Inspect.Feedback.STAGE_SCORED, f'scored by {message.scorer}')
        self._end_if_answered(asked)

    def _take_decision(self, message: Decision) -> None:
        asked = self._asked
        if asked is None:
            return
        heard = DecisionHeard(
            (message.session_id, message.part_id),
            message.verdict,
            message.reason,
            message.comparison,
            sorted({measure.scorer for measure in message.measures}),
            message,
        )
        asked.inspection.decision_heard(heard, steady_s())
        self._end_if_answered(asked)

    def _tell(self, asked: _Asked, stage: int, detail: str) -> None:
        part = asked.inspection.part
        assert part is not None
        asked.goal.tell(
            stage=stage,
            session_id=part.key[0],
            part_id=part.key[1],
            frames=part.frames,
            all_frames_taken=part.is_complete,
            detail=f'part {part.key[1]}: {detail}',
        )

    def _tell_identity(self, asked: _Asked, part: PartHeard) -> None:
        if asked.identity is not None:
            asked.identity.session_id, asked.identity.part_id = part.key
            asked.identity.header.stamp = self.get_clock().now().to_msg()
            self._identity.publish(asked.identity)

    # What stops the line

    def _take_line_stop(self, message: LineStop) -> None:
        self._take_stop('the line is stopped', message)

    def _take_fault(self, message: Fault) -> None:
        self._take_stop('the decider reports a fault', message)

    def _take_stop(self, what: str, message: LineStop | Fault) -> None:
        self._stopped_because.pop(what, None)
        if message.active:
            self._stopped_because[what] = f'{what}: {message.reason}'
            self._tick()

    def _take_recipe(self, message: RecipeInForce) -> None:
        self._classifiers = [
            name
            for name in message.scorers
            if name in SCORERS and any(spec.class_range for spec in SCORERS[name].measures)
        ]

    # Time

    def _tick(self) -> None:
        now_s = steady_s()
        asked = self._asked
        if asked is None:
            if now_s - self._watched_s >= _WATCH_S:
                self._watched_s = now_s
                self._watch()
            return
        if now_s - self._looked_s >= _LOOK_S:
            self._look(now_s)
        for text in self._stopped_because.values():
            asked.inspection.end(Outcome.LINE_STOPPED, text)
        if (
            asked.frame_wanted
            and now_s >= asked.inspection.request.earliest_s
            and asked.inspection.answer(now_s) is None
        ):
            self._ask_for_frame(asked)
        self._end_if_answered(asked)

    def _look(self, now_s: float) -> None:
        """
        End the goal under way when a node is gone without which no verdict can come.

        """
        self._looked_s = now_s
        missing = self._missing_node()
        if missing and self._asked is not None:
            self._asked.inspection.end(Outcome.NODE_LOST, missing)

    def _watch(self) -> None:
        missing = self._missing_node() or self._missing_service()
        if missing:
            self.report('cell', WARN, f'{missing}: every goal is answered by REJECT')
        else:
            self.clear('cell')

    def _missing_node(self) -> str:
        if not self.count_publishers('decision'):
            return 'nobody publishes decision: the decider is not running'
        if not self.count_publishers('part'):
            return 'nobody publishes part: neither camera nor part_detector announces parts'
        return ''

    def _missing_service(self) -> str:
        client = self._frame_client
        if client is None or client.service_is_ready():
            return ''
        service = self.resolve_service_name(client.srv_name)
        return f'nobody offers {service}: the {self.parameters.asks} is not running'

    def _end_if_answered(self, asked: _Asked) -> None:
        if not asked.done.done() and asked.inspection.answer(steady_s()) is not None:
            asked.done.set_result(None)


def _kind_of(answer: Answer) -> str:
    if answer.outcome is Outcome.JUDGED:
        return f'answered {answer.verdict.name}'
    return f'answered REJECT, {answer.outcome.name}'


def main() -> None:
    """
    Run the node until it is interrupted.

    """
    spin_node(InspectorNode)
