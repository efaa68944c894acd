# SPDX-License-Identifier: Apache-2.0
"""
Carries the commands of the plant out, with the services and actions of the nodes.

"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
import threading
from typing import Any, TYPE_CHECKING

from rclpy.action import ActionClient
from std_srvs.srv import Trigger

from anomaly_inspection.action import LoadRecipe, RunChallenge
from anomaly_inspection.errors import CommandError, InspectionError
from anomaly_inspection.nodes.begun_action import BegunAction, RECIPE_AT_LAUNCH
from anomaly_inspection.plant.commands import LOAD_RECIPE, Request, RESET_LINE
from anomaly_inspection.printable import printable

if TYPE_CHECKING:
    from rclpy.lifecycle import LifecycleNode

_ANSWER_TIMEOUT_S = 5.0
_RECIPE_TIMEOUT_S = 60.0


class PlantCommands:
    """
    Calls the nodes of the cell.

    Parameters
    ----------
    node : LifecycleNode
        Has the clients; another thread spins it.
    recipe_folder : callable
        Gives the folder with the recipes that may be loaded; None = nobody knows.
    views : sequence of str
        Names of the views; empty = one camera.

    """

    def __init__(
        self,
        node: LifecycleNode,
        recipe_folder: Callable[[], Path | None],
        views: Sequence[str] = (),
    ) -> None:
        self._node, self._recipe_folder, self._views = node, recipe_folder, tuple(views)
        self._reset = node.create_client(Trigger, 'sorter/reset')
        self._load_recipe = ActionClient(node, LoadRecipe, 'decider/load_recipe')
        self._challenge = BegunAction(node, RunChallenge, 'decider/run_challenge')

    def close(self) -> None:
        """
        Let go of the clients.

        """
        self._node.destroy_client(self._reset)
        self._load_recipe.destroy()
        self._challenge.destroy()

    def carry_out(self, request: Request) -> tuple[bool, str]:
        """
        Carry a request out; blocks until the cell has answered, and never raises.

        Returns
        -------
        bool
            False: nothing has changed.
        str
            One sentence: what is now, or why it was refused.

        """
        try:
            if self._views and request.command == LOAD_RECIPE:
                return False, RECIPE_AT_LAUNCH
            if request.command == LOAD_RECIPE:
                return self._switch_to(self._folder_of(request.recipe))
            if request.command == RESET_LINE:
                return self._reset_line()
            if self._views:
                return False, (
                    'a challenge runs in one view: start it on the page Tune, or call the action '
                    f'decider/run_challenge in the namespace of {" or ".join(self._views)}'
                )
            answer = self._challenge.begin(RunChallenge.Goal())
        except InspectionError as error:
            return False, str(error)
        except Exception as error:  # noqa: BLE001 - the edge of the thread that calls
            return False, f'it failed: {error!r}'
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


def _result(future: Any, timeout_s: float) -> Any:
    """
    Wait for a future that another thread completes; None = it has not in time.

    """
    done = threading.Event()
    future.add_done_callback(lambda _: done.set())
    return future.result() if done.wait(timeout_s) else None
