# SPDX-License-Identifier: Apache-2.0
"""
Parameters of the MQTT bridge.

"""

from __future__ import annotations

from dataclasses import dataclass
import socket

from anomaly_inspection.nodes.inspection_node import NodeParameters
from anomaly_inspection.nodes.parameters import parameter
from anomaly_inspection.plant.broker_settings import BrokerSettings
from anomaly_inspection.plant.topic_paths import EdgeTopics, TopicPaths
from anomaly_inspection.recipes.view_set import check_view_name


@dataclass(frozen=True)
class MqttBridgeParameters(NodeParameters):
    """
    Parameters of the MQTT bridge.

    """

    host: str = parameter('127.0.0.1', 'Name or address of the broker.', read_only=True)
    port: int = parameter(
        0,
        'TCP port of the broker; 0 = 1883, with tls 8883.',
        minimum=0,
        maximum=65535,
        read_only=True,
    )
    tls: bool = parameter(False, 'Encrypt the connection and check the broker.', read_only=True)
    ca_file: str = parameter(
        '',
        'With tls: file with the certificates that may vouch for the broker (PEM); empty: those '
        'of the operating system.',
        read_only=True,
    )
    certificate: str = parameter(
        '', "With tls: the bridge's own certificate (PEM), with key.", read_only=True
    )
    key: str = parameter(
        '',
        'Private key of the certificate (PEM, no password); not readable by everybody.',
        read_only=True,
    )
    credentials_file: str = parameter(
        '',
        'File with the user name in the first line and the password in the second; not readable '
        'by everybody. Empty: no log-in.',
        read_only=True,
    )
    client_id: str = parameter(
        '',
        'Name at the broker; two clients of one name throw each other out. Empty: cell and host '
        'name.',
        read_only=True,
    )
    keep_alive_s: int = parameter(
        30,
        'The broker publishes offline when it hears nothing for one and a half times this.',
        unit='s',
        minimum=5,
        maximum=3600,
        read_only=True,
    )
    site: str = parameter('site', 'First level of all topics.', read_only=True)
    area: str = parameter('area', 'Second level of all topics.', read_only=True)
    line: str = parameter('line', 'Third level of all topics.', read_only=True)
    cell: str = parameter(
        '', 'Fourth level of all topics; empty: the namespace of the cell.', read_only=True
    )
    views: tuple[str, ...] = parameter(
        (),
        'Names of the views, in a cell with several: their nodes belong to its health. '
        'Empty: the cell has one camera.',
        check=check_view_name,
        read_only=True,
    )
    store_folder: str = parameter(
        '',
        "Folder of the decisions that wait for the broker; empty: 'mqtt' beside the state of this "
        'node. With state_folder none and no folder here they are forgotten at the end.',
        read_only=True,
    )
    store_mb: int = parameter(
        200,
        'Most disk space of the decisions that wait; when it is used up, the oldest are dropped.',
        unit='MB',
        minimum=1,
        maximum=1_000_000,
        read_only=True,
    )
    longest_retry_s: float = parameter(
        30.0,
        'Longest time between two attempts to connect; the first ones come sooner.',
        unit='s',
        minimum=0.1,
        maximum=3600.0,
        read_only=True,
    )
    confirm_timeout_s: float = parameter(
        20.0,
        'A broker that confirms nothing for so long is given up, and connected anew.',
        unit='s',
        minimum=0.5,
        maximum=3600.0,
        read_only=True,
    )
    commands: tuple[str, ...] = parameter(
        (),
        'Commands that whoever may write to the broker may give: load_recipe, reset_line, '
        'start_challenge. Empty: none.',
        read_only=True,
    )
    recipe_folder: str = parameter(
        '',
        'Folder with the recipes that the command load_recipe may name; empty: the folder that '
        'holds the recipe in force.',
        read_only=True,
    )

    old_dashboard: str = parameter(
        '',
        "First level of the topics of an earlier system's dashboard, AiVision_Defects; empty: "
        'they are not published.',
        read_only=True,
    )
    old_dashboard_pictures: bool = parameter(
        False,
        'Publish its pictures as well: each part as PNG in base64. It costs the drawing of three '
        'pictures a part.',
        read_only=True,
    )
    old_dashboard_shifts: tuple[str, ...] = parameter(
        ('06:00', '14:00', '22:00'),
        "When its counters begin anew, each 'HH:MM' in local time.",
        read_only=True,
    )
    time_zone: str = parameter(
        '',
        "Time zone of old_dashboard_shifts, as 'Europe/Berlin'; empty: that of this computer.",
        read_only=True,
    )

    sparkplug_group: str = parameter(
        '',
        'Group of Sparkplug B under which the cell appears as an edge node; empty: it does not.',
        read_only=True,
    )
    sparkplug_node: str = parameter(
        '',
        'Name of the edge node; empty: the name of the cell.',
        read_only=True,
    )

    def broker_settings(self, cell: str) -> BrokerSettings:
        """
        Give how to reach the broker; raises SettingError.

        """
        return BrokerSettings(
            host=self.host,
            port=self.port,
            client_id=self.client_id or f'{cell}-{socket.gethostname()}',
            keep_alive_s=self.keep_alive_s,
            is_encrypted=self.tls,
            ca_file=self.ca_file,
            certificate=self.certificate,
            key=self.key,
            credentials_file=self.credentials_file,
        )

    def topic_paths(self, namespace: str) -> TopicPaths:
        """
        Give the place of the cell in the plant; raises SettingError.

        """
        cell = self.cell or namespace.strip('/').replace('/', '_') or 'inspection'
        return TopicPaths(self.site, self.area, self.line, cell)

    def sparkplug_topics(self, cell: str) -> EdgeTopics | None:
        """
        Give the edge node, None when there is to be none; raises SettingError.

        """
        if not self.sparkplug_group:
            return None
        return EdgeTopics(self.sparkplug_group, self.sparkplug_node or cell)
