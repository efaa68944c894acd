# SPDX-License-Identifier: Apache-2.0
"""
The tables of docs/interfaces.md, read from real nodes that have made their endpoints.

What a topic, service or action means stands here; all else comes from the nodes.

"""

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
import re
from typing import Any

from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy

from anomaly_inspection.nodes.camera_node import CameraNode, CameraParameters
from anomaly_inspection.nodes.decider_node import DeciderNode, DeciderParameters
from anomaly_inspection.nodes.drift_watch_node import DriftWatchNode, DriftWatchParameters
from anomaly_inspection.nodes.inspector_node import InspectorNode, InspectorParameters
from anomaly_inspection.nodes.mqtt_bridge_node import MqttBridgeNode
from anomaly_inspection.nodes.mqtt_bridge_parameters import MqttBridgeParameters
from anomaly_inspection.nodes.opcua_server_node import OpcuaServerNode, OpcuaServerParameters
from anomaly_inspection.nodes.panel_node import PanelNode
from anomaly_inspection.nodes.panel_parameters import PanelParameters
from anomaly_inspection.nodes.parameters import allowed_values
from anomaly_inspection.nodes.part_detector_node import PartDetectorNode, PartDetectorParameters
from anomaly_inspection.nodes.recorder_node import RecorderNode
from anomaly_inspection.nodes.recorder_parameters import RecorderParameters
from anomaly_inspection.nodes.scorer_node import ScorerNode, ScorerParameters
from anomaly_inspection.nodes.simulated_arm_node import SimulatedArmNode, SimulatedArmParameters
from anomaly_inspection.nodes.simulated_belt_node import (
    SimulatedBeltNode,
    SimulatedBeltParameters,
)
from anomaly_inspection.nodes.sorter_node import SorterNode
from anomaly_inspection.nodes.sorter_parameters import SorterParameters
from anomaly_inspection.nodes.teacher_node import TeacherNode, TeacherParameters
from anomaly_inspection.nodes.threshold_bridge_node import (
    ThresholdBridgeNode,
    ThresholdBridgeParameters,
)
from anomaly_inspection.nodes.view_joiner_node import ViewJoinerNode, ViewJoinerParameters
from anomaly_inspection.nodes.viewer_node import ViewerNode, ViewerParameters

NODES = {
    'camera': (CameraNode, CameraParameters),
    'part_detector': (PartDetectorNode, PartDetectorParameters),
    'scorer': (ScorerNode, ScorerParameters),
    'decider': (DeciderNode, DeciderParameters),
    'sorter': (SorterNode, SorterParameters),
    'viewer': (ViewerNode, ViewerParameters),
    'threshold_bridge': (ThresholdBridgeNode, ThresholdBridgeParameters),
    'panel': (PanelNode, PanelParameters),
    'recorder': (RecorderNode, RecorderParameters),
    'teacher': (TeacherNode, TeacherParameters),
    'mqtt_bridge': (MqttBridgeNode, MqttBridgeParameters),
    'opcua_server': (OpcuaServerNode, OpcuaServerParameters),
    'drift_watch': (DriftWatchNode, DriftWatchParameters),
    'simulated_belt': (SimulatedBeltNode, SimulatedBeltParameters),
    'simulated_arm': (SimulatedArmNode, SimulatedArmParameters),
    'inspector': (InspectorNode, InspectorParameters),
    'view_joiner': (ViewJoinerNode, ViewJoinerParameters),
}
TOPICS = {
    'image_raw': 'Every frame of the camera. A foreign driver may publish it instead of `camera`.',
    'image_raw/compressed': 'The same as JPEG or PNG, by a foreign driver '
    '(part detector `image_transport: compressed`).',
    'camera_info': 'Size and calibration that belong to `image_raw`.',
    'trigger': 'Takes one frame and makes it a part (camera `mode: triggered`).',
    'photo_eye': 'true when the beam is broken (part detector `trigger: photo_eye`).',
    'part': 'A part has come: its key (session_id, part_id) and the stamps of its frames.',
    'drift': 'Whether the false-reject promise of the recipe holds, or what has changed; latched.',
    'part/image': 'The frames of the parts, joined to `part` by their stamps.',
    'score': 'What one scorer measured on one frame of one part.',
    'part_pose': 'Where the part lies, in its frame and on the belt; only while somebody '
    'subscribes.',
    'belt_pose': 'Where the part lies on the belt, in metres; sure poses alone, with the '
    'parameter `belt_plane`, for RViz and the like. A robot takes `part_pose`.',
    'anomaly_map': 'How far each pixel is from good parts (32FC1, 1 = region limit); '
    'only while somebody subscribes.',
    'decision': 'The verdict on one part: PASS or REJECT, with the reason and the numbers.',
    'sort_event': 'What the gate or the arm did with one part.',
    'line_stop': 'Whether the line must stand, and why.',
    'line_run': 'Permit for the belt to run, valid for a short time (`gate_rests_in: pass`, and '
    'the gates `ur_io`, `gpio` and `gripper`).',
    'fault': 'A fault of the decider for which the line must stop.',
    'limits_in_force': 'All limits that act now.',
    'thresholds': 'New limits that come into force together. Anybody may publish them.',
    'potentiometers': "What the operator's knobs read; it changes nothing by itself.",
    'recipe_in_force': 'The recipe that every part is judged by.',
    'recipe_prepare': 'The recipe that the scorers shall load.',
    'recipe_prepared': "A scorer's answer to `recipe_prepare`.",
    'calibration': 'How far a calibration on the running cell is.',
    'challenge': 'How the challenge with known parts stands.',
    'challenge_event': 'One result of a challenge, for records.',
    'part_identity': 'Order and lot of the parts from now on, and the serial number of one part. '
    'Anybody may publish it.',
    'encoder': 'Where the belt is (sorter `belt: encoder`).',
    'simulated_part': 'Where a part lies on the simulated belt: the truth, for the simulated arm.',
    'simulated_arm_state': 'What the simulated arm does, and what it puts where.',
    'simulated_arm/view': 'Belt, parts with their verdicts, arm and tray, from above; only while '
    'somebody subscribes.',
    'gate': 'true = open the gate (`gate: topic`).',
    'gate_state': 'true = the gate is open: the answer of your gate (`gate: topic`).',
    'teacher/state': 'What the teacher does now, its sessions and drafts.',
    'teacher/shadow': 'Trial run: the verdict of a draft on one part beside the verdict in force.',
    'overlay': 'The frame with regions, verdict and reason; only while somebody subscribes.',
    'overlay/compressed': 'The same as JPEG.',
    'overlay/part/compressed': 'The frame with its regions alone, as JPEG, for pages that have '
    'words of their own; only while somebody subscribes.',
    'overlay/frame/compressed': 'The frame alone, as JPEG; only while somebody subscribes.',
    'overlay/map/compressed': 'The anomaly map alone, gray up to the limit and heat above, '
    'as JPEG; only while somebody subscribes.',
    **{
        f'VIEW/{topic}': f'The same of one view of several ({what}).'
        for topic, what in {
            'part': 'VIEW is its name: `top/part`',
            'score': 'published again on `score`, the scorer as `top/ssim`',
            'decision': 'joined into one `decision`',
            'fault': 'that of any view becomes `fault`',
            'recipe_in_force': 'joined into one',
            'limits_in_force': 'joined into one',
            'calibration': 'the page shows them as one',
            'challenge': 'one that blocks a view blocks the cell',
            'challenge_event': 'recorded with the name of the view',
            'overlay/part/compressed': 'the page shows one for each view',
            'overlay/frame/compressed': 'of the leading view',
            'overlay/map/compressed': 'of the leading view',
        }.items()
    },
    '/diagnostics': 'The state of every node, once a second.',
}
SERVICES = {
    'camera/capture': 'Takes one frame and makes it a part (`mode: triggered`).',
    'view_joiner/capture': 'Triggers the cameras of all views together (`mode: triggered`).',
    'part_detector/trigger': 'Makes a part of what is before the camera (`trigger: service`).',
    'decider/confirm_recipe': (
        'Brings into force the recipe that a restarted decider found, when it is not the one from '
        'before.'
    ),
    'decider/set_limits': 'Changes limits together, or none of them.',
    'decider/save_limits': 'Writes the limits in force into a new version of the recipe.',
    'decider/set_limit_ranges': (
        'Sets in which range limits may be moved, and writes it into a new version of the recipe.'
    ),
    'decider/undo_limits': 'Puts the limits of the recipe back into force.',
    'decider/undo_calibration': 'Puts back the limits from before the last calibration.',
    'sorter/reset': 'Lets the line run again after a stop; refused while the cause lasts.',
    'threshold_bridge/grab': 'Puts the limits that the knobs show into force.',
    'teacher/add_image': 'Adds an image file to a teaching session.',
    'teacher/delete_images': 'Deletes images of a teaching session.',
    'teacher/delete_session': 'Deletes a teaching session with its images and its draft.',
    'teacher/start_trial': 'Lets the draft of a session judge parts beside the recipe in force.',
    'teacher/stop_trial': 'Ends the trial run.',
    'teacher/discard': 'Throws away the draft of a session; its images stay.',
}
ACTIONS = {
    'inspect': 'Gives the verdict on the part that is in place now, to a robot or a PLC.',
    'sort_part': 'Takes one good part from the belt: offered by your arm, called by the sorter '
    '(`gate: action`).',
    'part_detector/learn_empty': 'Learns what the empty belt looks like (`trigger: presence`).',
    'decider/load_recipe': 'Switches to another recipe between two parts.',
    'decider/calibrate': 'Derives the limits anew from the next good parts.',
    'decider/run_challenge': 'Runs a challenge with the known parts.',
    'teacher/record': 'Records the next parts as images of a teaching session.',
    'teacher/teach': 'Teaches a draft on the images of a session.',
    'teacher/accept': 'Puts a draft into the library and has the decider load it.',
}
# The settings under which a node makes all its endpoints, one after the other.
SETTINGS: dict[str, list[dict[str, Any]]] = {
    'camera': [{'source': 'line', 'mode': mode} for mode in ('triggered', 'stream')],
    'part_detector': [
        {'trigger': trigger, 'image_transport': transport}
        for transport in ('raw', 'compressed')
        for field in fields(PartDetectorParameters)
        if field.name == 'trigger'
        for trigger in field.metadata['choices']
    ],
    'decider': [{'challenge_parts': ['good a', 'bad b']}],
    'recorder': [{'maps': True, 'views': ['top', 'left']}, {'maps': True}],
    'sorter': [
        {'gate': 'topic', 'gate_rests_in': 'pass', 'belt': 'encoder', 'leading_view': 'top'},
        {'gate': 'action', 'belt': 'encoder'},
    ],
    **{key: [{'views': ['top', 'left']}, {}] for key in ('panel', 'mqtt_bridge', 'opcua_server')},
}
STANDARD_PACKAGES = ('rcl_interfaces', 'lifecycle_msgs', 'type_description_interfaces')
# Their topics exist only where they are installed; the page tells of them in words.
OPTIONAL_PACKAGES = ('vision_msgs',)

Row = tuple[str, ...]


class Interfaces:
    """
    The endpoints of all nodes, collected from nodes that run one after the other.

    Parameters
    ----------
    context : rclpy Context
        Where the nodes run.
    recipe : Path
        What scorer and decider are given.

    """

    def __init__(self, context: Any, recipe: Path) -> None:
        # By topic: its type, and by node the quality of service of each end.
        self.types: dict[str, str] = {}
        self.publishers: dict[str, dict[str, str]] = {}
        self.subscribers: dict[str, dict[str, str]] = {}
        self.services: dict[str, str] = {}
        self.actions: dict[str, str] = {}
        for name, (node_type, _) in NODES.items():
            for settings in SETTINGS.get(name, [{}]):
                if name in ('scorer', 'decider'):
                    settings = settings | {'recipe': str(recipe)}
                self._collect(name, node_type, context, settings)

    def _collect(self, name: str, node_type: Any, context: Any, settings: dict[str, Any]) -> None:
        given = [Parameter(key, value=value) for key, value in settings.items()]
        given.append(Parameter('autostart', value=False))
        node = node_type(context=context, parameter_overrides=given)
        try:
            node.trigger_configure()
            assert node.problem('lifecycle') is None, node.problem('lifecycle')
            if name == 'viewer':
                # As if somebody watched.
                node._start_listening()
            elif name == 'panel':
                node._start_watching()
            elif name in ('mqtt_bridge', 'opcua_server'):
                node.listen_to_decisions()
            for ends, endpoints in (
                (self.publishers, node.publishers),
                (self.subscribers, node.subscriptions),
            ):
                for endpoint in endpoints:
                    self._add_topic(ends, name, endpoint)
            if name == 'simulated_arm':
                # It stands in for yours; not one of the node's own `serve_action`.
                self.actions['sort_part'] = 'anomaly_inspection/SortPart'
            for service in node.services:
                package, kind = _package_and_name(service.srv_type)
                if package not in STANDARD_PACKAGES:
                    self.services[_relative(service.service_name)] = f'{package}/{kind}'
            # Of the node itself: the graph may still give those of the node of this name before.
            for action, server in node._actions.items():
                package, kind = _package_and_name(server._server._action_type)
                self.actions[_relative(node.resolve_service_name(action))] = f'{package}/{kind}'
        finally:
            node.destroy_node()

    def _add_topic(self, ends: Any, name: str, endpoint: Any) -> None:
        topic = endpoint.topic_name
        topic = topic if topic == '/diagnostics' else _relative(topic)
        package, kind = _package_and_name(endpoint.msg_type)
        if package in (*STANDARD_PACKAGES, *OPTIONAL_PACKAGES):
            return
        self.types[topic] = f'{package}/{kind}'
        ends.setdefault(topic, {})[name] = _quality(endpoint.qos_profile)

    def topic_rows(self) -> Iterator[Row]:
        """
        Topic, type, quality of service, who publishes, who subscribes, meaning.

        """
        for topic in sorted(self.types, key=_order_of(TOPICS)):
            out, into = self.publishers.get(topic, {}), self.subscribers.get(topic, {})
            offered, wanted = sorted(set(out.values())), sorted(set(into.values()))
            quality = ', '.join(offered or wanted)
            if offered and wanted and offered != wanted:
                quality = f'{quality} to {", ".join(wanted)}'
            # The simulated belt stands in for yours.
            stand_in = 'simulated_belt' if topic in ('encoder', 'trigger') else ''
            publishers = ', '.join(name for name in out if name != stand_in) or 'you'
            if topic == '/diagnostics':
                publishers = 'all'
            elif topic.startswith('VIEW/'):
                publishers = 'the nodes of the view'
            yield (
                f'`{topic}`',
                self.types[topic],
                quality,
                publishers,
                ', '.join(into) or 'you',
                TOPICS[topic],
            )


def parameter_rows(name: str) -> Iterator[Row]:
    """
    Parameter, default, allowed values, meaning.

    """
    for field in fields(NODES[name][1]):
        default = list(field.default) if isinstance(field.default, tuple) else field.default
        shown = str(default).lower() if isinstance(default, bool) else repr(default)
        when = '' if field.metadata['read_only'] else ' *'
        yield (
            f'`{field.name}`{when}',
            f'`{shown}`',
            allowed_values(field),
            field.metadata['description'],
        )


def table(head: Row, rows: Iterator[Row]) -> str:
    """
    Give a Markdown table.

    """
    lines = [head, tuple('---' for _ in head), *rows]
    return '\n'.join(
        f'| {" | ".join(cell.replace("|", "&#124;") for cell in line)} |' for line in lines
    )


def tables(interfaces: Interfaces) -> dict[str, str]:
    """
    Give every table of the page by the name of its section.

    """
    offered = {'services': (interfaces.services, SERVICES)}
    offered |= {'actions': (interfaces.actions, ACTIONS)}
    return {
        'topics': table(
            ('topic', 'type', 'quality of service', 'from', 'to', 'meaning'),
            interfaces.topic_rows(),
        ),
        **{
            section: table(
                ('name', 'type', 'meaning'),
                (
                    (f'`{name}`', types[name], meanings[name])
                    for name in sorted(types, key=_order_of(meanings))
                ),
            )
            for section, (types, meanings) in offered.items()
        },
        **{
            f'parameters of {name}': table(
                ('parameter', 'default', 'allowed', 'meaning'), parameter_rows(name)
            )
            for name in NODES
        },
    }


def _order_of(meanings: dict[str, str]) -> Any:
    order = list(meanings)
    return lambda name: order.index(name)


def _package_and_name(kind: Any) -> tuple[str, str]:
    return kind.__module__.split('.')[0], kind.__name__


def _relative(name: str) -> str:
    return re.sub('^(top|left)/', 'VIEW/', name.removeprefix('/'))


def _quality(profile: Any) -> str:
    is_reliable = profile.reliability == ReliabilityPolicy.RELIABLE
    words = ['reliable' if is_reliable else 'best effort']
    if profile.durability == DurabilityPolicy.TRANSIENT_LOCAL:
        words.append('latched')
    return f'{" ".join(words)} {profile.depth}'
