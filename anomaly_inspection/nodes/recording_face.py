# SPDX-License-Identifier: Apache-2.0
"""
The ROS face of recording: the next parts of the line become images of a teaching session.

"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rclpy.task import Future

from anomaly_inspection.action import RecordParts
from anomaly_inspection.errors import SettingError
from anomaly_inspection.learning.part_hints import PartHint
from anomaly_inspection.msg import TeacherState
from anomaly_inspection.nodes.action_server import GoalEndedError
from anomaly_inspection.nodes.inspection_node import steady_s, WARN
from anomaly_inspection.teaching.recorder import ImageRecorder, RecordedImage
from anomaly_inspection.teaching.session import MOST_IMAGES

if TYPE_CHECKING:
    from anomaly_inspection.nodes.action_server import Goal
    from anomaly_inspection.nodes.part_images import PartImage
    from anomaly_inspection.nodes.teacher_node import TeacherNode
    from anomaly_inspection.teaching.session import TeachingSession


class RecordingFace:
    """
    Offers `~/record` on the teacher node.

    """

    def __init__(self, node: TeacherNode) -> None:
        self._node = node
        self._recorder: ImageRecorder | None = None
        self._goal: Goal | None = None
        self._ended: Future[None] = Future()
        self._image_s = 0.0
        self._newest = RecordedImage('', PartHint(), 0)
        self._silence = PartHint()
        node.serve_action(RecordParts, '~/record', self._record)

    def check(self) -> None:
        """
        Say why no part comes; to be called now and then.

        """
        if self._recorder is None:
            return
        waited_s = steady_s() - self._image_s
        silence = PartHint()
        if waited_s > self._node.parameters.silence_s:
            is_there = self._node.count_publishers('part/image')
            silence = PartHint(
                'silence',
                f'No part has come for {waited_s:.0f} s: '
                + (
                    'does the line run, and does the camera see parts?'
                    if is_there
                    else 'nobody sends part/image. Is the camera or the part detector running?'
                ),
            )
        if silence.code or self._silence.code:
            self._silence = silence
            self._tell()

    async def _record(self, goal: Goal) -> RecordParts.Result:
        node, request = self._node, goal.request
        if request.parts > MOST_IMAGES:
            raise SettingError(
                f'parts is {request.parts}; allowed: 1 to {MOST_IMAGES}, or 0 = until it is '
                'cancelled'
            )
        node.check_idle()
        session = node.session_of(request)
        session.check_space()
        with node.activity(TeacherState.ACTIVITY_RECORDING, session, request.parts):
            self._goal = goal
            self._newest, self._silence = RecordedImage('', PartHint(), 0), PartHint()
            self._image_s = steady_s()
            self._ended = Future(executor=node.executor)
            recorder = self._recorder = ImageRecorder(
                session,
                request.parts,
                told=lambda image: node.soon(self._told, image),
                failed=lambda error: node.soon(self._fail, error),
                finished=lambda: node.soon(self._finish),
            )
            node.part_images.give_to(self._take)
            self._tell()
            try:
                await goal.wait(self._ended)
            except GoalEndedError as end:
                self._close(recorder)
                raise GoalEndedError(f'{end}: {_recorded(recorder, session)}') from None
            finally:
                self._close(recorder)
                self._goal = None
        return RecordParts.Result(message=_recorded(recorder, session), session=session.name)

    def _close(self, recorder: ImageRecorder) -> None:
        self._node.part_images.no_longer_to(self._take)
        recorder.close()
        self._recorder = None

    def _take(self, image: PartImage) -> None:
        recorder = self._recorder
        if recorder is None:
            return
        self._image_s = steady_s()
        before = recorder.dropped
        recorder.put(image.pixels)
        if recorder.dropped > before:
            self._node.report_event(
                'recording',
                WARN,
                f'{recorder.dropped} parts were not recorded: the disk is slower than the line',
                counted_as='parts not recorded',
            )

    def _told(self, image: RecordedImage) -> None:
        self._newest, self._silence = image, PartHint()
        self._tell()

    def _tell(self) -> None:
        recorder, goal, newest = self._recorder, self._goal, self._newest
        if recorder is None or goal is None:
            return
        hint = self._silence if self._silence.code else newest.hint
        goal.tell(
            session=recorder.session.name,
            parts=newest.count,
            parts_wanted=recorder.wanted,
            dropped=recorder.dropped,
            image=newest.name,
            hint=hint.sentence,
            hint_code=hint.code,
        )
        self._node.tell_recording(newest, hint, recorder.dropped)

    def _fail(self, error: Exception) -> None:
        if not self._ended.done():
            self._ended.set_exception(error)

    def _finish(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)


def _recorded(recorder: ImageRecorder, session: TeachingSession) -> str:
    parts = '1 part' if recorder.count == 1 else f'{recorder.count} parts'
    lost = ''
    if recorder.dropped:
        lost = f'; {recorder.dropped} more came too fast for the disk'
    total = len(session.image_names())
    return f'{parts} recorded, session {session.name} has {total} images{lost}'
