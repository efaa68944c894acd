# SPDX-License-Identifier: Apache-2.0
"""
The teacher node: records good parts of the line, teaches a draft on them in a process of its own,
tries the draft beside the recipe in force, and brings it into force when somebody accepts it.

Nothing here is on the way from a frame to its verdict: the cell inspects as well without it.

"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, UTC
from pathlib import Path
from typing import Any, ClassVar, TYPE_CHECKING

from anomaly_inspection.errors import SettingError
from anomaly_inspection.learning.part_hints import PartHints
from anomaly_inspection.msg import TeacherState
from anomaly_inspection.nodes.inspection_node import InspectionNode
from anomaly_inspection.nodes.parameters import parameter
from anomaly_inspection.nodes.part_images import PartImages
from anomaly_inspection.nodes.qos import LATCHED
from anomaly_inspection.nodes.recipe_reading import RecipeParameters
from anomaly_inspection.nodes.recording_face import RecordingFace
from anomaly_inspection.nodes.spinning import spin_node
from anomaly_inspection.nodes.teacher_messages import session_message
from anomaly_inspection.nodes.teaching_face import TeachingFace
from anomaly_inspection.nodes.trial_face import TrialFace
from anomaly_inspection.srv import AddTeachingImage, DeleteTeachingImages, TeachingCommand
from anomaly_inspection.state_file import default_state_folder
from anomaly_inspection.teaching.draft import discard
from anomaly_inspection.teaching.session import decode_file, TeachingFolder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from anomaly_inspection.action import RecordParts
    from anomaly_inspection.learning.part_hints import PartHint
    from anomaly_inspection.msg import TeachingSession as SessionMessage
    from anomaly_inspection.teaching.recorder import RecordedImage
    from anomaly_inspection.teaching.session import TeachingSession

_PUBLISH_S, _CHECK_S = 0.1, 0.5
_WORDS = {
    TeacherState.ACTIVITY_RECORDING: 'is recording',
    TeacherState.ACTIVITY_TEACHING: 'is teaching',
    TeacherState.ACTIVITY_ACCEPTING: 'brings into force',
}


@dataclass(frozen=True)
class TeacherParameters(RecipeParameters):
    """
    Parameters of the teacher node.

    """

    folder: str = parameter(
        '',
        'Folder of the recorded images, one folder in it for each session. Empty: '
        '$ROS_HOME/anomaly_inspection/teaching, else the same in ~/.ros.',
        read_only=True,
    )
    library: str = parameter(
        '',
        'Folder of the recipes that were accepted. The decider must see the same path. Empty: '
        '$ROS_HOME/anomaly_inspection/recipes, else the same in ~/.ros.',
        read_only=True,
    )
    silence_s: float = parameter(
        10.0,
        'How long recording waits for a part before it says that none comes; it goes on waiting.',
        unit='s',
        minimum=1.0,
        maximum=3600.0,
    )


class TeacherNode(InspectionNode[TeacherParameters]):
    """
    Takes part, part/image and decision while it records or tries; tells what it does on ~/state.

    """

    concerns: ClassVar[dict[str, tuple[str, ...]]] = {
        'recording': ('recording', 'lost *'),
        'trial run': ('trial', 'trial failure'),
    }

    _teaching: TeachingFace | None = None

    def __init__(self, **options: Any) -> None:
        super().__init__('teacher', TeacherParameters, **options)
        own = default_state_folder().parent
        given = self.parameters
        self.folder = TeachingFolder(_absolute(given.folder or own / 'teaching'))
        self.library = _absolute(given.library or own / 'recipes')
        self.part_images = PartImages(self)
        self._teaching = TeachingFace(self)
        self._state = TeacherState(activity=TeacherState.ACTIVITY_IDLE)
        self._sessions: dict[str, SessionMessage] = {}
        self._has_changed = False

    def configure(self) -> None:
        """
        Find the sessions of earlier runs, make the endpoints.

        """
        self.folder.tidy()
        self._state_out = self.publish_on(TeacherState, '~/state', LATCHED)
        self._recording = RecordingFace(self)
        self._teaching.configure()
        self.trial = TrialFace(self)
        self.serve(AddTeachingImage, '~/add_image', self._add_image)
        self.serve(DeleteTeachingImages, '~/delete_images', self._delete_images)
        self.serve(TeachingCommand, '~/delete_session', self._delete_session)
        self.serve(TeachingCommand, '~/discard', self._discard)
        self.every(_PUBLISH_S, self._publish_when_changed)
        self.every(_CHECK_S, self._check)

    def activate(self) -> None:
        """
        Offer what earlier runs have recorded.

        """
        self._sessions = {one.name: session_message(one) for one in self.folder.sessions()}
        self._hints: tuple[str, PartHints] = ('', PartHints())
        self.changed()

    def deactivate(self) -> None:
        """
        End the trial run; goals have ended already.

        """
        self.trial.end()

    def destroy_node(self) -> None:
        """
        Take the node off the network; its executor must not spin any more.

        """
        # A node whose parameters are refused was never completed.
        if self._teaching is not None:
            self._teaching.destroy()
        super().destroy_node()

    def diagnostic_values(self) -> dict[str, object]:
        """
        Give what it does and has.

        """
        state = self._state
        return {
            'activity': self._activity_words() or 'idle',
            'sessions': len(self._sessions),
            'trial run': self.trial.session if self.is_active and self.trial.session else 'none',
            'parts not recorded': state.dropped,
        }

    # What the faces share

    def soon(self, work: Callable[..., None], *arguments: Any) -> None:
        """
        Do something on the node's own thread; may be called from any.

        """
        if self.executor is not None:
            self.executor.create_task(work, *arguments)

    def changed(self) -> None:
        """
        Have the state published again.

        """
        self._has_changed = True

    def check_idle(self) -> None:
        """
        Raise SettingError while something is under way.

        """
        if self._state.activity != TeacherState.ACTIVITY_IDLE:
            raise SettingError(
                f'the teacher {self._activity_words()}: wait for its end or cancel it'
            )

    @contextmanager
    def activity(self, kind: int, session: TeachingSession, wanted: int) -> Iterator[None]:
        """
        Show what is under way until the block ends; then the session is looked at anew.

        """
        self._state = TeacherState(activity=kind, session=session.name, wanted=wanted)
        self._refresh(session)
        try:
            yield
        finally:
            self._state = TeacherState(activity=TeacherState.ACTIVITY_IDLE)
            self._refresh(session)

    def tell_recording(self, newest: RecordedImage, hint: PartHint, dropped: int) -> None:
        """
        Show how far the recording is.

        """
        state = self._state
        state.done, state.dropped, state.detail = newest.count, dropped, newest.name
        state.hint, state.hint_code = hint.sentence, hint.code
        if newest.name and state.session in self._sessions:
            session = self.folder.open(state.session)
            self._sessions[state.session].images = len(session.image_names())
        self.changed()

    def tell_progress(self, done: int, total: int, what: str) -> None:
        """
        Show how far teaching is.

        """
        if self._state.activity == TeacherState.ACTIVITY_TEACHING:
            self._state.done, self._state.wanted, self._state.detail = done, total, what
            self.changed()

    def forget_draft(self, session: TeachingSession) -> None:
        """
        Delete a draft that has been accepted; the images stay.

        """
        discard(session)
        self._refresh(session)

    # Services

    async def _add_image(self, request: AddTeachingImage.Request) -> dict[str, str]:
        if request.session:
            self._idle_session(request.session)
        content = bytes(request.content)

        def add() -> tuple[TeachingSession, str, PartHint]:
            image = decode_file(request.file_name, content)
            # Not before the image is known to be one: nobody wants a session without images.
            session = self.session_of(request)
            try:
                name = session.add(image)
            except SettingError:
                if request.product:
                    self.folder.delete(session.name)
                raise
            if self._hints[0] != session.name:
                self._hints = (session.name, PartHints())
            return session, name, self._hints[1].take(image)

        session, name, hint = await self.in_background(add)
        self._refresh(session)
        return {
            'message': f'{name} added. {hint.sentence}'.strip(),
            'session': session.name,
        }

    def _delete_images(self, request: DeleteTeachingImages.Request) -> str:
        session = self._idle_session(request.session)
        count = session.delete(request.images)
        self._refresh(session)
        left = self._sessions[session.name].images
        return f'{count} images deleted, {left} are left in session {session.name}'

    async def _delete_session(self, request: TeachingCommand.Request) -> str:
        session = self._idle_session(request.session)
        self.trial.end_of(session.name)
        await self.in_background(lambda: self.folder.delete(session.name))
        self._sessions.pop(session.name, None)
        self.changed()
        return f'session {session.name} is deleted with its images and its draft'

    def _discard(self, request: TeachingCommand.Request) -> str:
        session = self._idle_session(request.session)
        self.trial.end_of(session.name)
        discard(session)
        self._refresh(session)
        return f'the draft of session {session.name} is thrown away; its images stay'

    def session_of(self, request: RecordParts.Goal | AddTeachingImage.Request) -> TeachingSession:
        """
        Give the session that a request names, or begin one for its product.

        """
        if bool(request.product.strip()) == bool(request.session):
            raise SettingError(
                f'product is {request.product!r} and session {request.session!r}; give one of '
                'them: a product for a new session, or the session to go on with'
            )
        if request.session:
            return self.folder.open(request.session)
        return self.folder.begin(request.product, datetime.now(UTC))

    def _idle_session(self, name: str) -> TeachingSession:
        """
        Give a session that nothing is under way with.

        """
        session = self.folder.open(name)
        if self._state.session == session.name:
            self.check_idle()
        return session

    # State

    def _refresh(self, session: TeachingSession) -> None:
        self._sessions[session.name] = session_message(session)
        self.changed()

    def _check(self) -> None:
        self._recording.check()
        self._teaching.check()
        self.part_images.check()

    def _publish_when_changed(self) -> None:
        if not self._has_changed:
            return
        self._has_changed = False
        state, counts = self._state, self.trial.counts
        state.header.stamp = self.get_clock().now().to_msg()
        state.folder, state.library = str(self.folder.path), str(self.library)
        state.sessions = sorted(
            self._sessions.values(), key=lambda one: (one.created.sec, one.name), reverse=True
        )
        state.trial_session = self.trial.session
        state.trial_parts = counts.parts
        state.trial_draft_rejects = counts.draft_rejects
        state.trial_rejects_in_force = counts.rejects_in_force
        state.trial_differ = counts.differ
        state.trial_dropped = counts.dropped
        self._state_out.publish(state)

    def _activity_words(self) -> str:
        words = _WORDS.get(self._state.activity, '')
        return f'{words} session {self._state.session}' if words else ''


def _absolute(path: str | Path) -> Path:
    return Path(path).expanduser().absolute()


def main() -> None:
    """
    Run the node until it is interrupted.

    """
    spin_node(TeacherNode)
