# SPDX-License-Identifier: Apache-2.0
"""
Carries the commands of the operator's page out, with the services and actions of the nodes.

"""

from __future__ import annotations

from collections.abc import Callable, Mapping
import math
from pathlib import Path
import threading
from typing import Any, BinaryIO, TYPE_CHECKING

from rclpy.action import ActionClient
from std_srvs.srv import Trigger

from anomaly_inspection.action import Calibrate, LoadRecipe, RunChallenge
from anomaly_inspection.errors import InspectionError
from anomaly_inspection.msg import Limit, LimitRange, PartIdentity
from anomaly_inspection.nodes.begun_action import (
    BegunAction,
    no_answer,
    not_running,
    parts_refused,
)
from anomaly_inspection.nodes.qos import EVENT
from anomaly_inspection.panel.cell.commands import Answer, PartNames, PASSES_BAD_PARTS
from anomaly_inspection.panel.recipes.library import kept_folder
from anomaly_inspection.recipes.folder import read_recipe, write_recipe
from anomaly_inspection.recipes.removal import delete_recipe
from anomaly_inspection.records.identity import checked_name
from anomaly_inspection.reviewing import carrying
from anomaly_inspection.srv import SetLimitRanges, SetLimits

if TYPE_CHECKING:
    from rclpy.lifecycle import LifecycleNode

_ANSWER_TIMEOUT_S = 5.0
# Confirmed bad parts are judged by a recipe, and scorers read it, before it can be in force.
_RECIPE_TIMEOUT_S = 180.0


class PanelCommands:
    """
    Calls the nodes of the cell; every command blocks until the answer, and never raises.

    Parameters
    ----------
    node : LifecycleNode
        Has the clients; another thread spins it.
    path_in_force : callable
        Gives the folder of the recipe in force; '' = none is.

    """

    def __init__(self, node: LifecycleNode, path_in_force: Callable[[], str]) -> None:
        self._node = node
        self._path_in_force = path_in_force
        # A recipe must not be deleted while it comes into force.
        self._recipes = threading.Lock()
        self._reset = node.create_client(Trigger, 'sorter/reset')
        self._grab = node.create_client(Trigger, 'threshold_bridge/grab')
        self._set_limits = node.create_client(SetLimits, 'decider/set_limits')
        self._save_limits = node.create_client(Trigger, 'decider/save_limits')
        self._undo_limits = node.create_client(Trigger, 'decider/undo_limits')
        self._undo_calibration = node.create_client(Trigger, 'decider/undo_calibration')
        self._set_ranges = node.create_client(SetLimitRanges, 'decider/set_limit_ranges')
        self._load_recipe = ActionClient(node, LoadRecipe, 'decider/load_recipe')
        self._calibrate = BegunAction(node, Calibrate, 'decider/calibrate')
        self._challenge = BegunAction(node, RunChallenge, 'decider/run_challenge')
        self._identity = node.create_publisher(PartIdentity, 'part_identity', EVENT)

    def close(self) -> None:
        """
        Let go of the clients.

        """
        for client in (
            *(self._reset, self._grab, self._set_limits, self._save_limits),
            *(self._undo_limits, self._undo_calibration, self._set_ranges),
        ):
            self._node.destroy_client(client)
        self._node.destroy_publisher(self._identity)
        for action in (self._load_recipe, self._calibrate, self._challenge):
            action.destroy()

    def reset_line(self) -> Answer:
        """
        Let the line run again after a stop; refused while the cause lasts.

        """
        return call_service(self._reset, Trigger.Request())

    def grab(self) -> Answer:
        """
        Take the values of the potentiometers over as limits.

        """
        return call_service(self._grab, Trigger.Request())

    def set_limits(self, limits: Mapping[str, float]) -> Answer:
        """
        Change limits together, all or none.

        """
        request = SetLimits.Request()
        for name, value in limits.items():
            scorer, _, measure = name.partition('.')
            request.limits.append(Limit(scorer=scorer, measure=measure, value=float(value)))
        return call_service(self._set_limits, request)

    def save_limits(self) -> Answer:
        """
        Write the limits in force as a new version of the recipe.

        """
        return call_service(self._save_limits, Trigger.Request(), _RECIPE_TIMEOUT_S)

    def undo_limits(self) -> Answer:
        """
        Put the limits of the recipe back into force.

        """
        return call_service(self._undo_limits, Trigger.Request())

    def load_recipe(self, path: str, override_reason: str = '') -> Answer:
        """
        Switch to the recipe in a folder.

        """
        with self._recipes:
            return self._switch_to(path, override_reason)

    def _switch_to(self, path: str, override_reason: str = '') -> Answer:
        if not self._load_recipe.server_is_ready():
            return not_running('decider')
        request = LoadRecipe.Goal(path=path, override_reason=override_reason)
        goal = _result(self._load_recipe.send_goal_async(request))
        if goal is None:
            return no_answer('decider', _ANSWER_TIMEOUT_S)
        wrapped = _result(goal.get_result_async(), _RECIPE_TIMEOUT_S)
        if wrapped is None:
            goal.cancel_goal_async()
            return Answer(False, f'the recipe was not in force after {_RECIPE_TIMEOUT_S:g} s')
        code = PASSES_BAD_PARTS if wrapped.result.bad_parts_passed else ''
        return Answer(bool(wrapped.result.success), str(wrapped.result.message), code)

    def roll_back(self, path: str, version: int) -> Answer:
        """
        Write an older version of the recipe in a folder as its next version, and switch to it.

        """
        with self._recipes:
            return self._roll_back(Path(path), version)

    def _roll_back(self, folder: Path, version: int) -> Answer:
        try:
            older = read_recipe(kept_folder(folder, version))
            written = write_recipe(older, folder)
        except InspectionError as error:
            return Answer(False, str(error))
        answer = self._switch_to(str(folder))
        if answer.success:
            return answer
        return Answer(
            False, f'version {written.version} is written, but not in force: {answer.message}'
        )

    def import_recipe(self, file: BinaryIO, library: str) -> Answer:
        """
        Put the recipe of an archive into a library.

        """
        try:
            return Answer(True, carrying.import_recipe(file, Path(library)).summary)
        except InspectionError as error:
            return Answer(False, str(error))

    def delete_recipe(self, path: str) -> Answer:
        """
        Delete the recipe in a folder with its older versions, but never the one in force.

        """
        with self._recipes:
            return self._delete(Path(path))

    def _delete(self, folder: Path) -> Answer:
        in_force = self._path_in_force()
        if not in_force:
            return Answer(
                False,
                'no recipe is in force, so nobody knows which one must stay',
                'nothing_in_force',
            )
        if folder.resolve() == Path(in_force).resolve():
            return Answer(
                False,
                f'{folder.name} is in force; load another recipe first',
                'is_in_force',
                {'name': folder.name},
            )
        try:
            count = delete_recipe(folder)
        except InspectionError as error:
            return Answer(False, str(error))
        versions = 'the only version' if count == 1 else f'all {count} versions'
        return Answer(True, f'{folder.name} is deleted, {versions} of it')

    def set_limit_ranges(self, ranges: Mapping[str, tuple[float | None, float | None]]) -> Answer:
        """
        Set in which range limits may be moved, and write it into the recipe.

        """
        request = SetLimitRanges.Request()
        for name, (lowest, highest) in ranges.items():
            scorer, _, measure = name.partition('.')
            request.ranges.append(
                LimitRange(
                    scorer=scorer,
                    measure=measure,
                    lowest=math.nan if lowest is None else float(lowest),
                    highest=math.nan if highest is None else float(highest),
                )
            )
        # It writes a version of the recipe, and the scorers read it.
        with self._recipes:
            return call_service(self._set_ranges, request, _RECIPE_TIMEOUT_S)

    def calibrate(self, parts: int, false_reject_rate: float) -> Answer:
        """
        Begin to derive the limits from the next parts.

        """
        if not 0 <= parts < 2**32:
            return parts_refused(parts, 5, 100_000)
        goal = Calibrate.Goal(parts=parts, false_reject_rate=float(false_reject_rate))
        answer = self._calibrate.begin(goal)
        begun = f'the next {parts} good parts are collected; until then the limits stay'
        return answer if answer.message else Answer(True, begun)

    def cancel_calibration(self) -> Answer:
        """
        Give up the calibration under way.

        """
        return self._calibrate.cancel()

    def undo_calibration(self) -> Answer:
        """
        Put the limits from before the last calibration back into force.

        """
        return call_service(self._undo_calibration, Trigger.Request())

    def run_challenge(self) -> Answer:
        """
        Begin a challenge.

        """
        answer = self._challenge.begin(RunChallenge.Goal())
        return answer if answer.message else Answer(True, 'the next parts are the known ones')

    def cancel_challenge(self) -> Answer:
        """
        Give up the challenge under way.

        """
        return self._challenge.cancel()

    def tell_lot(self, names: PartNames, who: str) -> Answer:
        """
        Publish what the parts belong to, on `part_identity`.

        """
        try:
            message = PartIdentity(
                source=f'panel: {checked_name("the name", who)}',
                order=checked_name('the order', names.order_name),
                lot=checked_name('the lot', names.lot),
                serial=checked_name('the serial number', names.serial),
                session_id=checked_name('the session', names.key[0]),
                part_id=names.key[1],
            )
        except InspectionError as error:
            return Answer(False, str(error))
        if not self._identity.get_subscription_count():
            return Answer(
                False,
                'neither recorder nor mqtt_bridge is running: nobody would hear it',
                'not_running',
                {'node': 'recorder'},
            )
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._identity.publish(message)
        told = ', '.join(
            f'{what} {name}'
            for what, name in (
                *(('order', message.order), ('lot', message.lot)),
                ('serial number', message.serial),
            )
            if name
        )
        return Answer(True, f'told: {told}' if told else 'told: no order and no lot')


def call_service(client: Any, request: Any, timeout_s: float = _ANSWER_TIMEOUT_S) -> Answer:
    """
    Call a service that answers with `success` and `message`; blocks, never raises.

    """
    if not client.service_is_ready():
        node = client.srv_name.rpartition('/')[0]
        return Answer(
            False, f'{node} is not running', 'not_running', {'node': node.rpartition('/')[2]}
        )
    future = client.call_async(request)
    response = _result(future, timeout_s)
    if response is None:
        client.remove_pending_request(future)
        return Answer(
            False,
            f'{client.srv_name} did not answer in {timeout_s:g} s',
            'no_answer',
            {'node': client.srv_name.rpartition('/')[0].rpartition('/')[2]},
        )
    more = {'session': response.session} if hasattr(response, 'session') else {}
    return Answer(bool(response.success), str(response.message), values=more)


def _result(future: Any, timeout_s: float = _ANSWER_TIMEOUT_S) -> Any:
    """
    Wait for a future that another thread completes; None = it has not in time.

    """
    done = threading.Event()
    future.add_done_callback(lambda _: done.set())
    return future.result() if done.wait(timeout_s) else None
