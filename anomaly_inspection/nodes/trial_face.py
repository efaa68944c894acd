# SPDX-License-Identifier: Apache-2.0
"""
The ROS face of the trial run: a draft judges live parts beside the recipe in force.

"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, TYPE_CHECKING

from std_srvs.srv import Trigger

from anomaly_inspection.deciding.frame_judge import Verdict
from anomaly_inspection.errors import SettingError
from anomaly_inspection.msg import Decision, ShadowVerdict
from anomaly_inspection.nodes.inspection_node import WARN
from anomaly_inspection.nodes.qos import EVENT
from anomaly_inspection.nodes.recipe_reading import read_within_budget
from anomaly_inspection.srv import TeachingCommand
from anomaly_inspection.teaching.draft import draft_of
from anomaly_inspection.teaching.trial import TrialCounts, TrialRun

if TYPE_CHECKING:
    from anomaly_inspection.deciding.frame_judge import Judgement
    from anomaly_inspection.nodes.part_images import PartImage
    from anomaly_inspection.nodes.teacher_node import TeacherNode

    Key = tuple[str, int]

_WAITING_PARTS = 64


@dataclass(eq=False)
class _Part:
    """
    A part on its way: what the draft and the recipe in force say of it.

    """

    views: int = 0
    judged: int = 0
    worst: Judgement | None = None
    duration_s: float = 0.0
    decision: Decision | None = None

    def take(self, judgement: Judgement, duration_s: float) -> None:
        self.judged += 1
        self.duration_s += duration_s
        if self.worst is None or judgement.verdict is Verdict.REJECT:
            self.worst = judgement


@dataclass(eq=False)
class _Trial:
    """
    One trial run.

    """

    session: str
    run: TrialRun | None = None
    counts: TrialCounts = field(default_factory=TrialCounts)
    parts: OrderedDict[Key, _Part] = field(default_factory=OrderedDict)

    def part(self, key: Key) -> _Part:
        part = self.parts.setdefault(key, _Part())
        while len(self.parts) > _WAITING_PARTS:
            self.parts.popitem(last=False)
        return part


class TrialFace:
    """
    Offers `~/start_trial` and `~/stop_trial` on the teacher node, and publishes `~/shadow`.

    """

    def __init__(self, node: TeacherNode) -> None:
        self._node = node
        self._trial: _Trial | None = None
        self._decisions: Any = None
        self._out = node.publish_on(ShadowVerdict, '~/shadow', EVENT)
        node.serve(TeachingCommand, '~/start_trial', self._start)
        node.serve(Trigger, '~/stop_trial', self._stop)

    @property
    def session(self) -> str:
        """
        The session whose draft is on trial; '' = none.

        """
        return '' if self._trial is None else self._trial.session

    @property
    def counts(self) -> TrialCounts:
        """
        What the trial run has seen so far.

        """
        return TrialCounts() if self._trial is None else self._trial.counts

    def end(self) -> None:
        """
        End the trial run, if there is one.

        """
        trial, self._trial = self._trial, None
        if trial is None or trial.run is None:
            return
        self._node.part_images.no_longer_to(self._take_image)
        self._node.stop_listening(self._decisions)
        trial.run.close()
        self._node.clear('trial')
        self._node.changed()

    def end_of(self, session: str) -> None:
        """
        End the trial run of a session, if it is on trial.

        """
        if self.session == session:
            self.end()

    async def _start(self, request: TeachingCommand.Request) -> str:
        node = self._node
        session = node.folder.open(request.session)
        draft = draft_of(session)
        if draft is None:
            raise SettingError(f'session {session.name} has no draft: teach it first')
        recipe = await node.in_background(
            lambda: read_within_budget(str(draft.folder), node.parameters)
        )
        self.end()
        trial = _Trial(session.name)
        trial.run = await node.in_background(
            lambda: TrialRun(
                recipe,
                judged=lambda key, judgement, duration_s: node.soon(
                    self._judged, trial, key, judgement, duration_s
                ),
                dropped=lambda key: self._dropped(trial, key),
                failed=lambda error: node.soon(self._failed, error),
            )
        )
        # Another one may have been started meanwhile.
        self.end()
        self._trial = trial
        self._decisions = node.listen(Decision, 'decision', self._take_decision, EVENT)
        node.part_images.give_to(self._take_image)
        node.changed()
        return (
            f'the draft of session {session.name} judges every part from now on; the gate obeys '
            'the recipe in force'
        )

    def _stop(self, _: Trigger.Request) -> str:
        trial = self._trial
        if trial is None:
            raise SettingError('there is no trial run')
        self.end()
        counts = trial.counts
        return (
            f'{counts.parts} parts judged by both: the draft rejected {counts.draft_rejects}, the '
            f'recipe in force {counts.rejects_in_force}; they differ in {counts.differ}'
        )

    def _take_image(self, image: PartImage) -> None:
        trial = self._trial
        if trial is None or trial.run is None:
            return
        trial.part(image.key).views = image.views
        trial.run.put(image.key, image.pixels)

    def _dropped(self, trial: _Trial, key: Key) -> None:
        if trial.parts.pop(key, None) is None:
            return
        trial.counts = trial.counts.with_dropped()
        self._node.report(
            'trial',
            WARN,
            f'the draft is slower than the line: {trial.counts.dropped} parts were not judged by '
            'it. Inspection is not affected',
        )
        self._node.changed()

    def _failed(self, error: Exception) -> None:
        self._node.report_event(
            'trial failure', WARN, self._node.describe(error), counted_as='failed trial parts'
        )

    def _judged(self, trial: _Trial, key: Key, judgement: Judgement, duration_s: float) -> None:
        part = trial.parts.get(key)
        if trial is self._trial and part is not None:
            part.take(judgement, duration_s)
            self._publish_when_complete(trial, key)

    def _take_decision(self, message: Decision) -> None:
        trial = self._trial
        if trial is None:
            return
        key = (message.session_id, message.part_id)
        trial.part(key).decision = message
        self._publish_when_complete(trial, key)

    def _publish_when_complete(self, trial: _Trial, key: Key) -> None:
        part = trial.parts[key]
        decision, judgement = part.decision, part.worst
        if decision is None or judgement is None or part.judged < part.views:
            return
        del trial.parts[key]
        trial.counts = trial.counts.with_part(
            draft_rejects=judgement.verdict is not Verdict.PASS,
            rejects_in_force=decision.verdict != Decision.VERDICT_PASS,
        )
        self._out.publish(
            ShadowVerdict(
                header=decision.header,
                session_id=key[0],
                part_id=key[1],
                session=trial.session,
                verdict=int(judgement.verdict),
                reason=int(judgement.reason),
                comparison=judgement.comparison,
                anomaly_score=float(judgement.anomaly_score),
                worst_measure=judgement.worst_measure,
                duration_s=part.duration_s,
                verdict_in_force=decision.verdict,
                reason_in_force=decision.reason,
                anomaly_score_in_force=decision.anomaly_score,
                recipe_name=decision.recipe_name,
                recipe_version=decision.recipe_version,
            )
        )
        self._node.changed()
