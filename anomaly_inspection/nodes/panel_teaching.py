# SPDX-License-Identifier: Apache-2.0
"""
Joins the Teach page to the teacher node: its state to the page, the page's commands to it.

"""

from __future__ import annotations

from typing import Any, TYPE_CHECKING

from std_srvs.srv import Trigger

from anomaly_inspection.action import AcceptDraft, RecordParts, Teach
from anomaly_inspection.deciding.frame_judge import Reason
from anomaly_inspection.msg import Decision, ShadowVerdict, TeacherState
from anomaly_inspection.nodes.begun_action import BegunAction, call_service, parts_refused
from anomaly_inspection.nodes.qos import EVENT, LATCHED
from anomaly_inspection.panel.cell.commands import Answer
from anomaly_inspection.panel.teach import teacher_state
from anomaly_inspection.panel.teach.teacher_state import (
    DraftView,
    SessionView,
    ShadowView,
    TeacherView,
    TrialView,
)
from anomaly_inspection.srv import AddTeachingImage, DeleteTeachingImages, TeachingCommand

if TYPE_CHECKING:
    from anomaly_inspection.msg import RecipeDraft
    from anomaly_inspection.nodes.panel_node import PanelNode
    from anomaly_inspection.panel.teach.commands import TeachSettings

_ACTIVITIES = {
    TeacherState.ACTIVITY_RECORDING: teacher_state.RECORDING,
    TeacherState.ACTIVITY_TEACHING: teacher_state.TEACHING,
    TeacherState.ACTIVITY_ACCEPTING: teacher_state.ACCEPTING,
}
_COMMANDS = {
    teacher_state.RECORDING: 'record',
    teacher_state.TEACHING: 'teach',
    teacher_state.ACCEPTING: 'accept',
}
_NOT_RUNNING = 'the teacher is not running: start the cell with teacher:=true'


class PanelTeaching:
    """
    The panel's end of the teacher's topics, services and actions. Made before the node spins.

    """

    def __init__(self, node: PanelNode) -> None:
        self._node = node
        self._actions = {
            name: BegunAction(node, action_type, f'teacher/{name}', _NOT_RUNNING)
            for name, action_type in (
                ('record', RecordParts),
                ('teach', Teach),
                ('accept', AcceptDraft),
            )
        }
        self._services = {
            name: node.create_client(service_type, f'teacher/{name}')
            for name, service_type in (
                ('add_image', AddTeachingImage),
                ('delete_images', DeleteTeachingImages),
                ('delete_session', TeachingCommand),
                ('start_trial', TeachingCommand),
                ('stop_trial', Trigger),
                ('discard', TeachingCommand),
            )
        }

    def configure(self) -> None:
        """
        Subscribe.

        """
        self._node.listen(TeacherState, 'teacher/state', self._take_state, LATCHED)
        self._node.listen(ShadowVerdict, 'teacher/shadow', self._take_shadow, EVENT)
        self._node.every(1.0, self._look_for_teacher)

    def destroy(self) -> None:
        """
        Take the action clients off the network.

        """
        for action in self._actions.values():
            action.destroy()

    # What the teacher says

    def _look_for_teacher(self) -> None:
        self._node.parts.state.set_teacher_running(
            is_running=self._services['discard'].service_is_ready()
        )

    def _take_state(self, message: TeacherState) -> None:
        self._node.parts.state.set_teacher(teacher_view(message))

    def _take_shadow(self, message: ShadowVerdict) -> None:
        is_known = message.reason in set(Reason)
        self._node.parts.state.take_shadow(
            ShadowView(
                message.part_id,
                message.verdict == Decision.VERDICT_PASS,
                message.verdict_in_force == Decision.VERDICT_PASS,
                message.anomaly_score,
                Reason(message.reason).name if is_known else 'UNKNOWN',
            )
        )

    # Commands; called on threads of the page

    def record(self, product: str, session: str, parts: int) -> Answer:
        """
        Record parts.

        """
        if not 0 <= parts < 2**32:
            return parts_refused(parts, 0, 2000)
        goal = RecordParts.Goal(product=product, session=session, parts=parts)
        return self._begin('record', goal)

    def teach(self, session: str, settings: TeachSettings) -> Answer:
        """
        Teach a draft.

        """
        x, y, width, height = settings.region or (0, 0, 0, 0)
        goal = Teach.Goal(
            session=session,
            recipe_name=settings.recipe_name,
            region_x=x,
            region_y=y,
            region_width=width,
            region_height=height,
            highlight_colours=settings.highlight_colours,
            scorers=list(settings.scorers),
            tolerance=settings.tolerance,
            speed_budget_ms=settings.speed_budget_ms,
            taught_by=settings.taught_by,
        )
        return self._begin('teach', goal)

    def accept(self, session: str) -> Answer:
        """
        Put the draft into force.

        """
        return self._begin('accept', AcceptDraft.Goal(session=session))

    def stop(self) -> Answer:
        """
        Cancel what is under way.

        """
        name = _COMMANDS.get(self._node.parts.state.picture().teacher.activity, '')
        if not name:
            return Answer(True, '')
        # Whoever has begun it, this panel or the one before it, may stop it from here.
        return self._actions[name].cancel()

    def add_image(self, product: str, session: str, file_name: str, content: bytes) -> Answer:
        """
        Add an image file.

        """
        return self._call(
            'add_image', product=product, session=session, file_name=file_name, content=content
        )

    def delete_images(self, session: str, images: list[str]) -> Answer:
        """
        Delete images.

        """
        return self._call('delete_images', session=session, images=images)

    def delete_session(self, session: str) -> Answer:
        """
        Delete a session.

        """
        return self._call('delete_session', session=session)

    def start_trial(self, session: str) -> Answer:
        """
        Let the draft judge beside the recipe in force.

        """
        return self._call('start_trial', session=session)

    def stop_trial(self) -> Answer:
        """
        End the trial run.

        """
        return self._call('stop_trial')

    def discard(self, session: str) -> Answer:
        """
        Throw the draft away.

        """
        return self._call('discard', session=session)

    def _call(self, name: str, **fields: Any) -> Answer:
        client = self._services[name]
        if not client.service_is_ready():
            return Answer(False, _NOT_RUNNING, 'not_running', {'node': 'teacher'})
        return call_service(client, client.srv_type.Request(**fields))

    def _begin(self, name: str, goal: Any) -> Answer:
        """
        Send a goal; answer when it was refused, or has begun.

        """
        state = self._node.parts.state
        state.set_teacher_answer(name, None)
        return self._actions[name].begin(
            goal, lambda answer: state.set_teacher_answer(name, answer)
        )


def teacher_view(message: TeacherState) -> TeacherView:
    """
    Convert the state of the teacher.

    """
    return TeacherView(
        folder=message.folder,
        library=message.library,
        sessions=tuple(
            SessionView(
                one.name,
                one.product,
                float(one.created.sec),
                one.images,
                _draft_view(one.draft[0]) if one.draft else None,
            )
            for one in message.sessions
        ),
        activity=_ACTIVITIES.get(message.activity, teacher_state.IDLE),
        session=message.session,
        done=message.done,
        wanted=message.wanted,
        dropped=message.dropped,
        detail=message.detail,
        hint=message.hint,
        hint_code=message.hint_code,
        trial=TrialView(
            message.trial_session,
            message.trial_parts,
            message.trial_draft_rejects,
            message.trial_rejects_in_force,
            message.trial_differ,
            message.trial_dropped,
        ),
    )


def _draft_view(draft: RecipeDraft) -> DraftView:
    return DraftView(
        recipe_name=draft.recipe_name,
        image_count=draft.image_count,
        distinct_count=draft.distinct_count,
        left_out=tuple(draft.left_out),
        findings=tuple((one.sentence, one.is_problem) for one in draft.findings),
        scorers=tuple(draft.scorers),
        false_rejects=draft.false_rejects,
        promise=draft.promise,
        frame_time_ms=draft.frame_time_ms,
        most_parts_per_s=draft.most_parts_per_s,
        sizes_px=tuple(draft.sizes_px),
        contrasts_levels=tuple(draft.contrasts_levels),
        seen=tuple(draft.seen),
        seen_in_all=draft.seen_in_all,
        faults=tuple(draft.faults),
        notes=tuple(draft.notes),
        missed_picture=draft.missed_picture,
        seen_picture=draft.seen_picture,
        hash=draft.hash,
    )
