# SPDX-License-Identifier: Apache-2.0
"""
Carries the commands of the plant out, one after the other, and answers each.

"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
import queue
import threading
import time
from typing import Any, TYPE_CHECKING

from rclpy.action import ActionClient
from std_srvs.srv import Trigger

from anomaly_inspection.action import LoadRecipe, RunChallenge
from anomaly_inspection.errors import CommandError, InspectionError
from anomaly_inspection.nodes.begun_action import BegunAction
from anomaly_inspection.plant.commands import (
    answer_payload,
    LOAD_RECIPE,
    parse_request,
    RememberedAnswers,
    Request,
    RESET_LINE,
)
from anomaly_inspection.printable import printable

if TYPE_CHECKING:
    from rclpy.lifecycle import LifecycleNode

_MOST_WAITING = 8
# Each is answered; a flood of them must not hold up the decisions.
_MOST_PER_SECOND = 10
_ANSWER_TIMEOUT_S = 5.0
_RECIPE_TIMEOUT_S = 60.0


class MqttCommands:
    """
    Takes commands from the broker's thread and carries them out on one of its own.

    Parameters
    ----------
    node : LifecycleNode
        Has the clients; another thread spins it.
    recipe_folder : callable
        Gives the folder with the recipes that may be loaded; None = nobody knows.
    answer : callable
        Called with the command and the payload of the answer.
    note : callable
        Called with a sentence for the log and whether the command was refused.

    """

    def __init__(
        self,
        node: LifecycleNode,
        recipe_folder: Callable[[], Path | None],
        answer: Callable[[str, dict[str, Any]], None],
        note: Callable[[str, bool], None],
    ) -> None:
        self._node, self._recipe_folder = node, recipe_folder
        self._answer, self._note = answer, note
        self._remembered = RememberedAnswers()
        self._lock = threading.Lock()
        self._second, self._in_second = 0, 0
        self._waiting: queue.Queue[Request | None] = queue.Queue(_MOST_WAITING)
        self._reset = node.create_client(Trigger, 'sorter/reset')
        self._load_recipe = ActionClient(node, LoadRecipe, 'decider/load_recipe')
        self._challenge = BegunAction(node, RunChallenge, 'decider/run_challenge')
        self._thread = threading.Thread(target=self._work, name='mqtt commands', daemon=True)
        self._thread.start()

    def close(self) -> None:
        """
        End; a command under way is not waited for.

        """
        # Where the queue is full, the thread ends with the process: it is a daemon.
        with suppress(queue.Full):
            self._waiting.put_nowait(None)
        self._node.destroy_client(self._reset)
        self._load_recipe.destroy()
        self._challenge.destroy()

    def take(self, command: str, payload: bytes, is_retained: bool) -> None:
        """
        Take a request; returns at once and never raises.

        """
        if self._is_flood():
            return
        request_id = ''
        try:
            request = parse_request(command, payload)
            request_id = request.request_id
            if is_retained:
                raise CommandError(
                    'it is retained and would act again at every connection: send it without '
                    'retain, and clear the topic'
                )
            with self._lock:
                is_new = self._remembered.begin(request)
                given = self._remembered.answer(request)
            if not is_new:
                if given is not None:
                    self._answer(command, given)
                return
            try:
                self._waiting.put_nowait(request)
            except queue.Full:
                self._end(request, success=False, message=f'{_MOST_WAITING} commands wait already')
        except CommandError as error:
            self._refuse(command, error.request_id or request_id, str(error))

    def _is_flood(self) -> bool:
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._in_second = second, 0
        self._in_second += 1
        if self._in_second == _MOST_PER_SECOND + 1:
            self._note(f'more than {_MOST_PER_SECOND} commands in a second: not answered', True)
        return self._in_second > _MOST_PER_SECOND

    def _refuse(self, command: str, request_id: str, reason: str) -> None:
        message = f'{command} is refused: {reason}'
        self._note(message, True)
        self._answer(command, _answered(command, request_id, success=False, message=message))

    def _end(self, request: Request, *, success: bool, message: str) -> None:
        command = request.command
        answer = _answered(command, request.request_id, success=success, message=message)
        with self._lock:
            self._remembered.end(request, answer)
        outcome = 'done' if success else 'refused'
        self._note(f'{command} {request.request_id} is {outcome}: {message}', not success)
        self._answer(command, answer)

    def _work(self) -> None:
        while (request := self._waiting.get()) is not None:
            try:
                success, message = self._carry_out(request)
            except InspectionError as error:
                success, message = False, str(error)
            except Exception as error:  # noqa: BLE001 - the edge of this thread: it must go on
                success, message = False, f'it failed: {error!r}'
            self._end(request, success=success, message=message)

    def _carry_out(self, request: Request) -> tuple[bool, str]:
        if request.command == LOAD_RECIPE:
            return self._switch_to(self._folder_of(request.recipe))
        if request.command == RESET_LINE:
            return self._reset_line()
        answer = self._challenge.begin(RunChallenge.Goal())
        return answer.success, answer.message or 'the next parts are the known ones'

    def _reset_line(self) -> tuple[bool, str]:
        if not self._reset.service_is_ready():
            return False, 'the sorter is not running'
        future = self._reset.call_async(Trigger.Request())
        response = _result(future, _ANSWER_TIMEOUT_S)
        if response is None:
            self._reset.remove_pending_request(future)
            return False, f'the sorter did not answer in {_ANSWER_TIMEOUT_S:g} s'
        return bool(response.success), str(response.message)

    def _folder_of(self, recipe: str) -> Path:
        library = self._recipe_folder()
        if library is None:
            raise CommandError(
                'no recipe is in force, so nobody knows where the recipes are: set recipe_folder'
            )
        folder = library / recipe
        if folder.is_symlink() or not (folder / 'recipe.yaml').is_file():
            raise CommandError(f'there is no recipe {recipe!r} in {printable(library)}')
        return folder

    def _switch_to(self, folder: Path) -> tuple[bool, str]:
        if not self._load_recipe.server_is_ready():
            return False, 'the decider is not running'
        goal = _result(
            self._load_recipe.send_goal_async(LoadRecipe.Goal(path=str(folder))), _ANSWER_TIMEOUT_S
        )
        if goal is None:
            return False, f'the decider did not answer in {_ANSWER_TIMEOUT_S:g} s'
        wrapped = _result(goal.get_result_async(), _RECIPE_TIMEOUT_S)
        if wrapped is None:
            goal.cancel_goal_async()
            return False, f'the recipe was not in force after {_RECIPE_TIMEOUT_S:g} s'
        return bool(wrapped.result.success), str(wrapped.result.message)


def _answered(command: str, request_id: str, *, success: bool, message: str) -> dict[str, Any]:
    return answer_payload(
        command, request_id, success=success, message=message, moment_ns=time.time_ns()
    )


def _result(future: Any, timeout_s: float) -> Any:
    """
    Wait for a future that another thread completes; None = it has not in time.

    """
    done = threading.Event()
    future.add_done_callback(lambda _: done.set())
    return future.result() if done.wait(timeout_s) else None
