# SPDX-License-Identifier: Apache-2.0
"""
The MQTT bridge: tells the plant what the cell decides and how it is, and takes its commands.

It runs in a process of its own, and inspection never waits for it: decisions that the broker does
not take wait on its disk.

"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
import sys
import tempfile
import time
from typing import Any, ClassVar

from anomaly_inspection.errors import SettingError
from anomaly_inspection.msg import (
    Decision,
    LineStop,
    Part,
    PartIdentity,
    RecipeInForce,
)
from anomaly_inspection.nodes import plant_messages
from anomaly_inspection.nodes.heard_cell import HeardCell
from anomaly_inspection.nodes.inspection_node import InspectionNode, WARN
from anomaly_inspection.nodes.mqtt_bridge_parameters import MqttBridgeParameters
from anomaly_inspection.nodes.mqtt_commands import MqttCommands
from anomaly_inspection.nodes.needed_packages import check_needed
from anomaly_inspection.nodes.plant_commands import PlantCommands
from anomaly_inspection.nodes.qos import EVENT, KEPT_EVENT, LATCHED
from anomaly_inspection.nodes.spinning import PARAMETERS_REFUSED, spin_node
from anomaly_inspection.plant.commands import allowed_commands
from anomaly_inspection.plant.decision_store import DecisionStore
from anomaly_inspection.plant.delivery import Delivery, DeliverySettings
from anomaly_inspection.plant.payloads import to_json
from anomaly_inspection.plant.plant_decision import PlantDecision
from anomaly_inspection.records.identity import Identities
from anomaly_inspection.state_file import NO_FOLDER

_STATUS_EVERY_S = 0.5


class MqttBridgeNode(InspectionNode[MqttBridgeParameters]):
    """
    Takes decision, recipe_in_force, line_stop, challenge and diagnostics; publishes them by MQTT.

    """

    concerns: ClassVar[dict[str, tuple[str, ...]]] = {
        'broker': ('broker',),
        'store': ('store', 'loss'),
        'commands': ('command',),
        'parts': ('identity',),
        'sparkplug': ('sparkplug',),
    }

    _delivery: Delivery | None = None
    _commands: MqttCommands | None = None
    _old_dashboard: Any = None
    _sparkplug: Any = None

    def __init__(self, **options: Any) -> None:
        super().__init__('mqtt_bridge', MqttBridgeParameters, **options)
        self._decisions: Any = None
        self._resources = ExitStack()
        found = self.state.found.content or {}
        self._identities = Identities(str(found.get('order', '')), str(found.get('lot', '')))
        self._forget_the_cell()

    def _forget_the_cell(self) -> None:
        self._cell = HeardCell(self.get_namespace(), self.parameters.views)

    def configure(self) -> None:
        """
        Check the settings, make the endpoints.

        """
        check_mqtt_packages()
        given = self.parameters
        self._paths = given.topic_paths(self.get_namespace())
        self._broker = given.broker_settings(self._paths.cell)
        self._broker.check()
        self._allowed = allowed_commands(given.commands)
        if self._broker.sends_readable_password:
            self.get_logger().warning(
                f'the password crosses the network to {self._broker.address} readable: set tls'
            )
        if self._allowed:
            self.get_logger().warning(
                f'whoever may write to {self._broker.address} may give the commands '
                f'{", ".join(self._allowed)}: let the broker allow it to few'
            )
        self._old_dashboard = None
        if given.old_dashboard:
            # It needs OpenCV, which takes memory.
            from anomaly_inspection.nodes.old_dashboard_face import OldDashboardFace

            self._old_dashboard = OldDashboardFace(self, given, self._publish_live)
        self._edge_topics = given.sparkplug_topics(self._paths.cell)
        if self._edge_topics is not None:
            check_needed('mqtt_bridge', {'google.protobuf': 'protobuf'}, 'sparkplug')
        for message_type, topic, callback, qos in (
            (Part, 'part', self._take_part, EVENT),
            (PartIdentity, 'part_identity', self._take_identity, EVENT),
            (RecipeInForce, 'recipe_in_force', self._take_recipe, LATCHED),
            (LineStop, 'line_stop', self._take_line_stop, LATCHED),
        ):
            self.listen(message_type, topic, callback, qos)
        self._cell.listen(self)
        self.every(_STATUS_EVERY_S, self._look_around)

    def activate(self) -> None:
        """
        Open the store and connect.

        """
        given = self.parameters
        store = DecisionStore(
            self._store_folder(), most_bytes=given.store_mb * 1_000_000, now_ns=time.time_ns()
        )
        settings = DeliverySettings(given.longest_retry_s, given.confirm_timeout_s, self._allowed)
        if self._allowed:
            self._commands = MqttCommands(
                PlantCommands(self, self._recipe_library, given.views),
                self._answer,
                self._note_command,
            )
        self._delivery = Delivery(
            self._broker,
            self._paths,
            store,
            settings,
            take_command=self._take_command,
            tell=self._tell,
            stored=self._take_stored,
        )
        self._delivery.start()
        if self._edge_topics is not None:
            self._start_sparkplug()
        self.get_logger().info(f'MQTT: {self._broker.address}, topics {self._paths.base}/...')

    def _start_sparkplug(self) -> None:
        # It needs protobuf.
        from anomaly_inspection.nodes.sparkplug_face import SparkplugFace

        self._sparkplug = SparkplugFace(
            self._edge_topics,
            self._broker,
            self.parameters.longest_retry_s,
            lambda problem: self._tell('sparkplug', problem),
        )
        if self._cell.recipe is not None:
            self._sparkplug.take_recipe(self._cell.recipe)

    def listen_to_decisions(self) -> None:
        """
        Take decisions from now on, and those that the decider still keeps.

        """
        self._decisions = self.listen(Decision, 'decision', self._take_decision, KEPT_EVENT)

    def deactivate(self) -> None:
        """
        Say goodbye to the broker.

        """
        if self._decisions is not None:
            self.stop_listening(self._decisions)
            self._decisions = None
        if self._delivery is not None:
            self._delivery.close()
            self._delivery = None
        if self._sparkplug is not None:
            self._sparkplug.close()
            self._sparkplug = None
        if self._commands is not None:
            self._commands.close()
            self._commands = None
        self._resources.close()
        for concern in ('broker', 'store', 'loss', 'sparkplug'):
            self.clear(concern)

    def cleanup(self) -> None:
        """
        Forget what was heard of the cell.

        """
        self._forget_the_cell()

    def diagnostic_values(self) -> dict[str, object]:
        """
        Give the numbers of the delivery.

        """
        if self._delivery is None:
            return {}
        figures = self._delivery.figures
        return {
            'broker': self._broker.address,
            'is connected': figures.is_connected,
            'decisions delivered': figures.delivered,
            'decisions waiting': figures.waiting,
            'decisions lost': figures.lost,
            'last sequence number': figures.last_sequence,
        }

    def _store_folder(self) -> Path:
        state_path = self._state_path()
        if self.parameters.store_folder:
            return Path(self.parameters.store_folder).expanduser()
        if self.parameters.state_folder != NO_FOLDER and state_path is not None:
            return state_path.with_name('mqtt')
        folder = self._resources.enter_context(tempfile.TemporaryDirectory(prefix='mqtt_bridge_'))
        return Path(folder)

    def _tell(self, concern: str, problem: str) -> None:
        if not problem:
            self.clear(concern)
        elif concern == 'loss':
            self.report_event('loss', WARN, problem, counted_as='times that the store was full')
        else:
            self.report(concern, WARN, problem)

    def _take_stored(self, decision: PlantDecision) -> None:
        if self._old_dashboard is not None:
            self._old_dashboard.take(decision)
        delivery, sparkplug = self._delivery, self._sparkplug
        if sparkplug is not None and delivery is not None:
            sparkplug.take_decision(decision, delivery.figures.last_sequence, delivery.counts)

    def _publish_live(self, topic: str, payload: bytes) -> None:
        delivery = self._delivery
        if delivery is not None:
            delivery.give_message(topic, payload, qos=0)

    # What the cell says

    def _take_decision(self, message: Decision) -> None:
        assert self._delivery is not None
        self._cell.take_part()
        decision = plant_messages.plant_decision(message, time.time_ns())
        identity = self._identities.of(decision.key)
        self._delivery.give_decision(
            replace(
                decision,
                order=identity.order_name,
                lot=identity.lot,
                serial_number=identity.serial,
            )
        )

    def _take_part(self, message: Part) -> None:
        self._identities.announce((message.session_id, message.part_id))

    def _take_identity(self, message: PartIdentity) -> None:
        key = (message.session_id, message.part_id)
        try:
            self._identities.tell(
                *(message.order, message.lot, message.serial, key),
                only_this_part=message.only_this_part,
            )
        except SettingError as error:
            self.report_event(
                'identity', WARN, f'part_identity is refused: {error}', counted_as='bad messages'
            )
            return
        current = self._identities.current
        self.keep_state({'order': current.order_name, 'lot': current.lot})

    def _take_recipe(self, message: RecipeInForce) -> None:
        assert self._delivery is not None
        self._cell.recipe = message
        self._delivery.give_state('recipe', plant_messages.recipe_state(message))
        if self._sparkplug is not None:
            self._sparkplug.take_recipe(message)

    def _take_line_stop(self, message: LineStop) -> None:
        assert self._delivery is not None
        self._cell.line_stop = message
        self._delivery.give_state('line_stop', plant_messages.line_stop_state(message))

    def _look_around(self) -> None:
        assert self._delivery is not None
        if self._decisions is None:
            # Not before the node is active: the decider gives its last decisions at once.
            self.listen_to_decisions()
        if self._old_dashboard is not None:
            self._old_dashboard.look_around()
        status = self._cell.status()
        self._delivery.give_state('cell', status.payload())
        if self._sparkplug is not None:
            self._sparkplug.take_status(status)
        self._delivery.give_state('health', self._cell.health())

    # Commands

    def _recipe_library(self) -> Path | None:
        if self.parameters.recipe_folder:
            return Path(self.parameters.recipe_folder).expanduser()
        return Path(self._cell.recipe.path).parent if self._cell.recipe else None

    def _take_command(self, command: str, payload: bytes, is_retained: bool) -> None:
        if self._commands is not None:
            self._commands.take(command, payload, is_retained)

    def _answer(self, command: str, payload: dict[str, Any]) -> None:
        delivery = self._delivery
        if delivery is not None:
            delivery.give_message(self._paths.topic(f'answer/{command}'), to_json(payload))

    def _note_command(self, sentence: str, is_refused: bool) -> None:
        if is_refused:
            self.report_event('command', WARN, sentence, counted_as='refused commands')
        else:
            self.get_logger().info(sentence)


def check_mqtt_packages() -> None:
    """
    Raise SettingError where the package that speaks MQTT is not installed.

    """
    check_needed(
        'mqtt_bridge', {'paho': 'paho-mqtt'}, 'mqtt', ', or apt install python3-paho-mqtt'
    )


def main() -> None:
    """
    Run the node until it is interrupted.

    """
    try:
        check_mqtt_packages()
    except SettingError as error:
        print(error, file=sys.stderr)
        sys.exit(PARAMETERS_REFUSED)
    spin_node(MqttBridgeNode)
