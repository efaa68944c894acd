# SPDX-License-Identifier: Apache-2.0
"""
The ROS face of teaching: from a session to a draft, and from a draft to the recipe in force.

"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rclpy.action import ActionClient

from anomaly_inspection.action import AcceptDraft, LoadRecipe, Teach
from anomaly_inspection.errors import RecipeError, SettingError
from anomaly_inspection.learning.outliers import FEWEST_PARTS
from anomaly_inspection.msg import TeacherState
from anomaly_inspection.nodes.action_server import GoalEndedError
from anomaly_inspection.nodes.teacher_messages import draft_message
from anomaly_inspection.printable import printable
from anomaly_inspection.teaching.draft import Draft, draft_of, install, put_in_place
from anomaly_inspection.teaching.teach_process import TeachProcess

if TYPE_CHECKING:
    from typing import Any

    from rclpy.task import Future

    from anomaly_inspection.nodes.action_server import Goal
    from anomaly_inspection.nodes.teacher_node import TeacherNode
    from anomaly_inspection.teaching.draft import DraftReport
    from anomaly_inspection.teaching.session import TeachingSession

_LOAD = 'decider/load_recipe'


class TeachingFace:
    """
    Offers `~/teach` and `~/accept` on the teacher node.

    """

    def __init__(self, node: TeacherNode) -> None:
        self._node = node
        # Made before the node spins: an executor must not see a client that is half made.
        self._load = ActionClient(node, LoadRecipe, _LOAD)
        self._waits_for: Future[Any] | None = None

    def configure(self) -> None:
        """
        Make the actions.

        """
        self._node.serve_action(Teach, '~/teach', self._teach)
        self._node.serve_action(AcceptDraft, '~/accept', self._accept)

    def check(self) -> None:
        """
        Give up a decider that has died; to be called now and then.

        """
        future = self._waits_for
        if future is None or future.done() or self._load.server_is_ready():
            return
        # One that is started again has forgotten the goal.
        future.set_exception(RecipeError(f'the decider does not answer any more on {_LOAD}'))

    def destroy(self) -> None:
        """
        Take the client off the network.

        """
        self._load.destroy()

    async def _teach(self, goal: Goal) -> Teach.Result:
        node, request = self._node, goal.request
        node.check_idle()
        session = node.folder.open(request.session)
        count = len(session.image_names())
        if count < FEWEST_PARTS:
            raise SettingError(
                f'session {session.name} has {count} images; teaching needs at least '
                f'{FEWEST_PARTS}, thirty are a start'
            )
        with node.activity(TeacherState.ACTIVITY_TEACHING, session, 0):

            def tell(done: int, total: int, what: str) -> None:
                goal.tell(done=done, total=total, detail=what)
                node.tell_progress(done, total, what)

            process = TeachProcess(
                session, _settings(request), lambda *progress: node.soon(tell, *progress)
            )
            try:
                work = await goal.wait(node.in_background(process.wait))
            except GoalEndedError as end:
                process.kill()
                raise GoalEndedError(f'{end}: nothing was taught') from None
            node.trial.end_of(session.name)
            put_in_place(session, work)
            draft = _draft(session)
        message = _words(draft.report)
        node.get_logger().info(message)
        return Teach.Result(message=message, draft=draft_message(session.name, draft))

    async def _accept(self, goal: Goal) -> AcceptDraft.Result:
        node = self._node
        node.check_idle()
        session = node.folder.open(goal.request.session)
        draft = _draft(session)
        if not self._load.server_is_ready():
            raise RecipeError(
                f'no decider answers on {_LOAD}, so nothing was installed: start the cell first'
            )
        with node.activity(TeacherState.ACTIVITY_ACCEPTING, session, 0):
            goal.tell(detail='writing the recipe into the library')
            library, budget = node.library, node.parameters.recipe_budget_bytes
            recipe, notes = await goal.wait(
                node.in_background(lambda: install(draft, library, budget))
            )
            path = library / recipe.name
            installed = f'{printable(path)} is version {recipe.version} now'
            try:
                success, answer = await self._loaded(goal, path)
            except GoalEndedError as end:
                raise GoalEndedError(
                    f'{end}: {installed}, but the recipe from before is in force'
                ) from None
            if not success:
                raise RecipeError(f'{installed}, but it is not in force: {answer}')
            node.trial.end_of(session.name)
            node.forget_draft(session)
        message = '; '.join((f'{answer}. It is in {printable(path)}', *notes))
        return AcceptDraft.Result(message=message, path=str(path))

    async def _loaded(self, goal: Goal, path: Path) -> tuple[bool, str]:
        """
        Have the decider load a recipe; give whether it is in force, and what the decider said.

        """
        handle: Any = None
        try:
            sent = self._load.send_goal_async(
                LoadRecipe.Goal(path=str(path.resolve())),
                lambda message: goal.tell(detail=message.feedback.detail),
            )
            handle = await goal.wait(self._watched(sent))
            answer = await goal.wait(self._watched(handle.get_result_async()))
        except GoalEndedError:
            if handle is not None:
                handle.cancel_goal_async()
            raise
        except RecipeError as error:
            return False, str(error)
        finally:
            self._waits_for = None
        return answer.result.success, answer.result.message

    def _watched(self, future: Future[Any]) -> Future[Any]:
        self._waits_for = future
        return future


def _settings(request: Teach.Goal) -> dict[str, Any]:
    region: tuple[int, ...] = ()
    if request.region_width and request.region_height:
        region = (
            *(request.region_x, request.region_y),
            *(request.region_width, request.region_height),
        )
    return {
        'recipe_name': request.recipe_name,
        'scorers': list(request.scorers),
        'region': region,
        'false_reject_rate': request.false_reject_rate,
        'tolerance': request.tolerance,
        'highlight_colours': request.highlight_colours,
        'speed_budget_ms': request.speed_budget_ms,
        'taught_by': request.taught_by,
    }


def _draft(session: TeachingSession) -> Draft:
    draft = draft_of(session)
    if draft is None:
        raise SettingError(f'session {session.name} has no draft: teach it first')
    return draft


def _words(report: DraftReport) -> str:
    text = (
        f'taught {report.recipe_name} on {report.image_count} images with '
        f'{" and ".join(report.scorers)}'
    )
    if report.seen_in_all is not None:
        text += f': it sees {100 * report.seen_in_all:.0f} % of the synthetic defects'
    if report.faults:
        text += f'. Not fit for use: {report.faults[0]}'
    return text
