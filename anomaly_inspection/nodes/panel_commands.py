# SPDX-License-Identifier: Apache-2.0
"""
Carries the commands of the operator's page out, with the services and actions of the nodes.

"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
import threading
from typing import BinaryIO, TYPE_CHECKING

from rclpy.action import ActionClient
from std_srvs.srv import Trigger

from anomaly_inspection.action import LoadRecipe
from anomaly_inspection.errors import InspectionError
from anomaly_inspection.msg import PartIdentity
from anomaly_inspection.nodes.begun_action import (
    ANSWER_TIMEOUT_S,
    call_service,
    no_answer,
    not_running,
    RECIPE_AT_LAUNCH,
    result_of,
)
from anomaly_inspection.nodes.panel_deciders import PanelDeciders, RECIPE_TIMEOUT_S
from anomaly_inspection.nodes.qos import EVENT
from anomaly_inspection.panel.cell.commands import Answer, PartNames, PASSES_BAD_PARTS
from anomaly_inspection.panel.recipes.library import kept_folder
from anomaly_inspection.recipes.folder import read_recipe, write_recipe
from anomaly_inspection.recipes.removal import delete_recipe
from anomaly_inspection.records.identity import checked_name
from anomaly_inspection.reviewing import carrying

if TYPE_CHECKING:
    from rclpy.lifecycle import LifecycleNode

    from anomaly_inspection.panel.cell.state import CellPicture


class PanelCommands:
    """
    Calls the nodes of the cell; every command blocks until the answer, and never raises.

    Parameters
    ----------
    node : LifecycleNode
        Has the clients; another thread spins it.
    picture : callable
        Gives what is in force.
    views : sequence of str
        Names of the views; empty = one camera.

    """

    def __init__(
        self, node: LifecycleNode, picture: Callable[[], CellPicture], views: Sequence[str] = ()
    ) -> None:
        self._node = node
        self._picture, self._views = picture, tuple(views)
        # A recipe must not be deleted while it comes into force.
        self._recipes = threading.Lock()
        self._reset = node.create_client(Trigger, 'sorter/reset')
        self._grab = node.create_client(Trigger, 'threshold_bridge/grab')
        self._deciders = PanelDeciders(node, views, lambda: picture().limits)
        self._load_recipe = ActionClient(node, LoadRecipe, 'decider/load_recipe')
        self._identity = node.create_publisher(PartIdentity, 'part_identity', EVENT)

    def close(self) -> None:
        """
        Let go of the clients.

        """
        for client in (self._reset, self._grab):
            self._node.destroy_client(client)
        self._node.destroy_publisher(self._identity)
        self._load_recipe.destroy()
        self._deciders.close()

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
        return self._deciders.set_limits(limits)

    def save_limits(self) -> Answer:
        """
        Write the limits in force as a new version of the recipe.

        """
        return self._deciders.save_limits()

    def undo_limits(self) -> Answer:
        """
        Put the limits of the recipe back into force.

        """
        return self._deciders.undo_limits()

    def set_limit_ranges(self, ranges: Mapping[str, tuple[float | None, float | None]]) -> Answer:
        """
        Set in which range limits may be moved, and write it into the recipe.

        """
        # It writes a version of the recipe, and the scorers read it.
        with self._recipes:
            return self._deciders.set_limit_ranges(ranges)

    def calibrate(self, parts: int, false_reject_rate: float) -> Answer:
        """
        Begin to derive the limits from the next parts.

        """
        return self._deciders.calibrate(parts, false_reject_rate)

    def cancel_calibration(self) -> Answer:
        """
        Give up the calibration under way.

        """
        return self._deciders.cancel_calibration()

    def undo_calibration(self) -> Answer:
        """
        Put the limits from before the last calibration back into force.

        """
        return self._deciders.undo_calibration()

    def run_challenge(self, view: str = '') -> Answer:
        """
        Begin a challenge, with several views in one.

        """
        return self._deciders.run_challenge(view)

    def cancel_challenge(self, view: str = '') -> Answer:
        """
        Give up the challenge under way, with several views that of one.

        """
        return self._deciders.cancel_challenge(view)

    def load_recipe(self, path: str, override_reason: str = '') -> Answer:
        """
        Switch to the recipe in a folder.

        """
        if self._views:
            return _given_at_launch()
        with self._recipes:
            return self._switch_to(path, override_reason)

    def _switch_to(self, path: str, override_reason: str = '') -> Answer:
        if not self._load_recipe.server_is_ready():
            return not_running('decider')
        request = LoadRecipe.Goal(path=path, override_reason=override_reason)
        goal = result_of(self._load_recipe.send_goal_async(request))
        if goal is None:
            return no_answer('decider', ANSWER_TIMEOUT_S)
        wrapped = result_of(goal.get_result_async(), RECIPE_TIMEOUT_S)
        if wrapped is None:
            goal.cancel_goal_async()
            return Answer(False, f'the recipe was not in force after {RECIPE_TIMEOUT_S:g} s')
        code = PASSES_BAD_PARTS if wrapped.result.bad_parts_passed else ''
        return Answer(bool(wrapped.result.success), str(wrapped.result.message), code)

    def roll_back(self, path: str, version: int) -> Answer:
        """
        Write an older version of the recipe in a folder as its next version, and switch to it.

        """
        if self._views:
            return _given_at_launch()
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
        if self._views:
            return _given_at_launch()
        try:
            return Answer(True, carrying.import_recipe(file, Path(library)).summary)
        except InspectionError as error:
            return Answer(False, str(error))

    def delete_recipe(self, path: str) -> Answer:
        """
        Delete the recipe in a folder with its older versions, but never the one in force.

        """
        if self._views:
            return _given_at_launch()
        with self._recipes:
            return self._delete(Path(path))

    def _delete(self, folder: Path) -> Answer:
        in_force = self._picture().recipe.path
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


def _given_at_launch() -> Answer:
    return Answer(
        False,
        RECIPE_AT_LAUNCH,
        'recipe_at_launch',
    )
