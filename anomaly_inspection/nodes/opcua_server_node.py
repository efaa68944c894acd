# SPDX-License-Identifier: Apache-2.0
"""
The OPC UA server: shows a plant's systems what the cell does, and takes commands of operators.

It runs in a process of its own, and inspection never waits for it.

"""

from __future__ import annotations

from dataclasses import dataclass
import logging
from pathlib import Path
import sys
import time
from typing import Any, ClassVar

from anomaly_inspection.errors import SettingError
from anomaly_inspection.msg import Decision, LineStop, RecipeInForce
from anomaly_inspection.nodes import plant_messages
from anomaly_inspection.nodes.heard_cell import HeardCell
from anomaly_inspection.nodes.inspection_node import InspectionNode, NodeParameters, WARN
from anomaly_inspection.nodes.needed_packages import check_needed
from anomaly_inspection.nodes.parameters import parameter
from anomaly_inspection.nodes.plant_commands import PlantCommands
from anomaly_inspection.nodes.qos import KEPT_EVENT, LATCHED
from anomaly_inspection.nodes.spinning import PARAMETERS_REFUSED, spin_node
from anomaly_inspection.plant.opcua_server import CellPicture, OpcuaServer, OpcuaSettings
from anomaly_inspection.plant.opcua_users import OpcuaUsers
from anomaly_inspection.plant.part_counts import PartCounts
from anomaly_inspection.plant.seen_parts import SeenParts
from anomaly_inspection.recipes.view_set import check_view_name
from anomaly_inspection.state_file import default_state_folder

_LOOK_EVERY_S = 0.5
_KEEP_EVERY_S = 5.0


@dataclass(frozen=True)
class OpcuaServerParameters(NodeParameters):
    """
    Parameters of the OPC UA server.

    """

    host: str = parameter(
        '127.0.0.1',
        'Address to listen on: 127.0.0.1 for this machine alone, 0.0.0.0 for whoever reaches this '
        'machine.',
        read_only=True,
    )
    port: int = parameter(4840, 'TCP port.', minimum=1, maximum=65535, read_only=True)
    users_file: str = parameter(
        '',
        'File of those who may log in, written by anomaly-inspection opcua-user; not readable by '
        'everybody.',
        read_only=True,
    )
    views: tuple[str, ...] = parameter(
        (),
        'Names of the views, in a cell with several: their nodes belong to its health. '
        'Empty: the cell has one camera.',
        check=check_view_name,
        read_only=True,
    )
    certificate: str = parameter(
        '',
        'Certificate of the server (DER or PEM), with key; empty: one that signs itself is made '
        'beside the state of this node.',
        read_only=True,
    )
    key: str = parameter('', 'Private key of the certificate (PEM, no password).', read_only=True)
    recipe_folder: str = parameter(
        '',
        'Folder with the recipes that LoadRecipe may name; empty: the folder that holds the '
        'recipe in force.',
        read_only=True,
    )


class OpcuaServerNode(InspectionNode[OpcuaServerParameters]):
    """
    Takes decision, recipe_in_force, line_stop, challenge and diagnostics; serves them by OPC UA.

    """

    concerns: ClassVar[dict[str, tuple[str, ...]]] = {'clients': ('client',)}

    _server: OpcuaServer | None = None

    def __init__(self, **options: Any) -> None:
        super().__init__('opcua_server', OpcuaServerParameters, **options)
        self._decisions: Any = None
        self._commands: PlantCommands | None = None
        self._counts, self._seen, self._number = PartCounts(time.time_ns()), SeenParts(), 0
        self._take_up_counts()
        self._kept_number = self._number
        self._forget_the_cell()

    def _forget_the_cell(self) -> None:
        self._cell = HeardCell(self.get_namespace(), self.parameters.views)

    def _take_up_counts(self) -> None:
        found = self.state.found
        if found.problem:
            self.get_logger().warning(f'the counts begin anew: {found.problem}')
        if found.content is None:
            return
        try:
            counts = PartCounts.from_json(found.content['counts'])
            seen = SeenParts.from_json(found.content['seen'])
            number = int(found.content['number'])
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            self.get_logger().warning(f'the counts begin anew: {error!r}')
            return
        self._counts, self._seen, self._number = counts, seen, number

    def configure(self) -> None:
        """
        Check the settings, make the endpoints.

        """
        self._settings = self._opcua_settings()
        for message_type, topic, callback, qos in (
            (RecipeInForce, 'recipe_in_force', self._take_recipe, LATCHED),
            (LineStop, 'line_stop', self._take_line_stop, LATCHED),
        ):
            self.listen(message_type, topic, callback, qos)
        self._cell.listen(self)
        self.every(_LOOK_EVERY_S, self._look_around)
        self.every(_KEEP_EVERY_S, self._keep_counts)

    def activate(self) -> None:
        """
        Serve.

        """
        check_opcua_packages()
        if not self.parameters.users_file:
            raise SettingError(
                'users_file is empty, so nobody could log in: anomaly-inspection opcua-user NAME '
                '--role operator --file FILE'
            )
        users = OpcuaUsers(Path(self.parameters.users_file))
        self._commands = PlantCommands(self, self._recipe_library, self.parameters.views)
        self._server = OpcuaServer(self._settings, users, self._commands.carry_out, self._note)
        try:
            self._server.start()
        except SettingError:
            self._commands.close()
            self._server = self._commands = None
            raise
        self.get_logger().info(f'OPC UA: {self._settings.url}')

    def deactivate(self) -> None:
        """
        End the server.

        """
        if self._decisions is not None:
            self.stop_listening(self._decisions)
            self._decisions = None
        if self._server is not None:
            self._server.stop()
            self._server = None
        if self._commands is not None:
            self._commands.close()
            self._commands = None
        self._keep_counts()
        self.clear('client')

    def cleanup(self) -> None:
        """
        Forget what was heard of the cell.

        """
        self._forget_the_cell()

    def diagnostic_values(self) -> dict[str, object]:
        """
        Give the address.

        """
        return {'address': self._settings.url} if self._server is not None else {}

    def _opcua_settings(self) -> OpcuaSettings:
        given = self.parameters
        if bool(given.certificate) != bool(given.key):
            raise SettingError(
                f'certificate = {given.certificate!r} and key = {given.key!r} are refused: give '
                'both, or neither'
            )
        cell = self.get_namespace().strip('/').replace('/', '_') or 'inspection'
        state_path = self._state_path()
        own = (state_path.parent if state_path else default_state_folder() / cell) / 'opcua'
        return OpcuaSettings(
            host=given.host,
            port=given.port,
            certificate=Path(given.certificate or own / 'certificate.der').expanduser(),
            key=Path(given.key or own / 'key.pem').expanduser(),
            is_own=not given.certificate,
            cell=cell,
        )

    # What the cell says

    def listen_to_decisions(self) -> None:
        """
        Take decisions from now on, and those that the decider still keeps.

        """
        self._decisions = self.listen(Decision, 'decision', self._take_decision, KEPT_EVENT)

    def _take_decision(self, message: Decision) -> None:
        decision = plant_messages.plant_decision(message, time.time_ns())
        if decision.key in self._seen:
            return
        self._seen.add(*decision.key)
        self._counts.add(decision)
        self._number += 1
        self._cell.take_part()
        assert self._server is not None
        self._server.show_result(decision, self._number)

    def _take_recipe(self, message: RecipeInForce) -> None:
        self._cell.recipe = message

    def _take_line_stop(self, message: LineStop) -> None:
        self._cell.line_stop = message

    def _look_around(self) -> None:
        assert self._server is not None
        if self._decisions is None:
            # Not before the node is active: the decider gives its last decisions at once.
            self.listen_to_decisions()
        recipe, line_stop = self._cell.recipe, self._cell.line_stop
        self._server.show(
            CellPicture(
                cell=self._cell.status().payload(),
                recipe=plant_messages.recipe_state(recipe) if recipe else {},
                line_stop=plant_messages.line_stop_state(line_stop) if line_stop else {},
                health=self._cell.health(),
                counts=self._counts.payload(time.time_ns()),
            )
        )

    def _keep_counts(self) -> None:
        if self._number == self._kept_number:
            return
        self._kept_number = self._number
        self.keep_state(
            {
                'counts': self._counts.to_json(),
                'seen': self._seen.to_json(),
                'number': self._number,
            }
        )

    # Commands

    def _recipe_library(self) -> Path | None:
        if self.parameters.recipe_folder:
            return Path(self.parameters.recipe_folder).expanduser()
        return Path(self._cell.recipe.path).parent if self._cell.recipe else None

    def _note(self, sentence: str, is_refused: bool) -> None:
        if is_refused:
            self.report_event('client', WARN, sentence, counted_as='refused log-ins and commands')
        else:
            self.get_logger().info(sentence)


def check_opcua_packages() -> None:
    """
    Raise SettingError where the package that speaks OPC UA is not installed.

    """
    check_needed('opcua_server', {'asyncua': 'asyncua'}, 'opcua')


def main() -> None:
    """
    Run the node until it is interrupted.

    """
    try:
        check_opcua_packages()
    except SettingError as error:
        print(error, file=sys.stderr)
        sys.exit(PARAMETERS_REFUSED)
    # It warns of each request that it refuses: whoever sends many could fill the log.
    logging.getLogger('asyncua').setLevel(logging.CRITICAL)
    spin_node(OpcuaServerNode)
