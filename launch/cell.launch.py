# SPDX-License-Identifier: Apache-2.0
"""
Launch a cell: every node in a process of its own, started again when it dies.

ros2 launch anomaly_inspection cell.launch.py recipe:=/path/to/recipe source:=0

An argument wins over the parameter file when it is given, and only then.
`ros2 launch anomaly_inspection cell.launch.py --show-args` explains every argument.

"""

from collections.abc import Iterator
import json
import os
import re

from launch.actions import DeclareLaunchArgument, EmitEvent, LogInfo
from launch.conditions import IfCondition
from launch.events import matches_action
from launch.events.process import ProcessExited, ShutdownProcess
from launch.launch_context import LaunchContext
from launch.substitutions import EnvironmentVariable, LaunchConfiguration, PathJoinSubstitution
from launch.utilities import normalize_to_list_of_substitutions
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from launch import LaunchDescription

PACKAGE = 'anomaly_inspection'
# The sorter first: whoever listens is there before whoever speaks.
NODES = ['sorter', 'decider', 'threshold_bridge', 'viewer', 'scorer', 'part_detector', 'camera']
# What a node exits with when it refuses its parameters or lacks a package; to start it again would
# not help.
REFUSED = 2
# Kilted brought the new name and warns of the old one; Jazzy does not know the new one.
IS_JAZZY = os.environ.get('ROS_DISTRO') == 'jazzy'
PROFILES_VARIABLE = f'{"FASTRTPS" if IS_JAZZY else "FASTDDS"}_DEFAULT_PROFILES_FILE'

# Arguments that set a parameter: of which nodes, and whether it is a text ('0' stays '0').
PARAMETERS = {
    'recipe': (('decider', 'view_joiner'), True),
    'source': (('camera',), True),
    'rate_hz': (('camera',), False),
    'trigger': (('part_detector',), True),
    'image_transport': (('part_detector',), True),
    'log_parts': (('decider',), False),
}
# Nodes that a site may leave out, and what that means.
OPTIONAL = {
    'sorter': 'a view of several (views.launch.py); nobody fires a gate',
    'decider': 'several views, each with a decider of its own (views.launch.py)',
    'scorer': 'several views, each with a scorer of its own (views.launch.py)',
    'camera': 'another driver publishes the images (see image_topic)',
    'part_detector': 'the camera node announces the parts itself',
    'threshold_bridge': 'no potentiometers',
    'viewer': 'no overlay pictures',
}
# Nodes that a site may add, and what they are for.
EXTRA = {
    'teacher': 'teach products on the running line; see docs/teaching-on-the-line.md',
    'panel': "the operator's page, on http://127.0.0.1:8080 unless the parameter file says more",
    'recorder': 'keep records of every part and change in a database; see docs/records.md',
    'mqtt_bridge': 'decisions and states by MQTT; see docs/mqtt.md',
    'opcua_server': 'an OPC UA server of the cell; see docs/opcua.md',
    'drift_watch': 'warn when light, lens, camera, belt or parts change; see docs/drift.md',
    'view_joiner': 'one verdict on what several views see; see views.launch.py and docs/views.md',
    'inspector': 'the action inspect, for robots and PLCs; see docs/robot.md',
}
# Where the argument is not called as the node.
# They hear what the nodes of each view say.
OF_ALL_VIEWS = ('view_joiner', 'panel', 'recorder', 'mqtt_bridge', 'opcua_server')
ARGUMENT_OF = {'mqtt_bridge': 'mqtt', 'opcua_server': 'opcua'}
NOT_GIVEN = "Not given: the parameter file's."
ARGUMENTS = {
    'recipe': ('', f'Folder of the recipe. {NOT_GIVEN}'),
    'source': (
        '',
        'Camera index or device, image folder, video file, or line for the simulated line. '
        f'{NOT_GIVEN}',
    ),
    'rate_hz': ('', f'Frames per second of files and of the simulated line. {NOT_GIVEN}'),
    'trigger': (
        '',
        'What tells the part detector that a part has come; see docs/part_detection.md. '
        f'{NOT_GIVEN}',
    ),
    'image_transport': (
        '',
        f'raw or compressed (JPEG, PNG): how the part detector takes images. {NOT_GIVEN}',
    ),
    'image_topic': ('', 'Topic of the camera images. Not given: image_raw in the namespace.'),
    'trigger_topic': (
        '',
        'Topic that triggers the camera (mode triggered), or of the photo eye (part detector '
        'trigger photo_eye); for views that share one. Not given: trigger and photo_eye in the '
        'namespace.',
    ),
    'views': (
        '',
        'Names of the views that the view_joiner joins, the leading one first: top,left. '
        f'{NOT_GIVEN}',
    ),
    'log_parts': ('', f'true: one line in the terminal for each part. {NOT_GIVEN}'),
    **{name: ('true', f'false: {meaning}.') for name, meaning in OPTIONAL.items()},
    **{
        ARGUMENT_OF.get(name, name): ('false', f'true: {meaning}.')
        for name, meaning in EXTRA.items()
    },
    'namespace': (
        'inspection',
        'Namespace of all nodes and topics; / is the root. A second cell needs another one.',
    ),
    'config': (
        PathJoinSubstitution([FindPackageShare(PACKAGE), 'config', 'cell.yaml']),
        'Parameter file of all nodes.',
    ),
    'discovery_range': (
        EnvironmentVariable('ROS_AUTOMATIC_DISCOVERY_RANGE', default_value='LOCALHOST'),
        'LOCALHOST: only this machine sees the cell. SUBNET: other machines see it too.',
    ),
}
CHOICES = {
    'discovery_range': ['LOCALHOST', 'SUBNET', 'OFF', 'SYSTEM_DEFAULT'],
    **{ARGUMENT_OF.get(name, name): ['true', 'false'] for name in (*OPTIONAL, *EXTRA)},
}


class CellNode(Node):
    """
    A node of the cell: takes the parameter file, then the launch arguments that are given.

    """

    def __init__(self, name: str) -> None:
        self._role = name
        is_wanted = None
        if name in OPTIONAL or name in EXTRA:
            is_wanted = IfCondition(LaunchConfiguration(ARGUMENT_OF.get(name, name)))
        super().__init__(
            package=PACKAGE,
            executable=f'{name}_node',
            name=name,
            namespace=LaunchConfiguration('namespace'),
            additional_env=environment(),
            # The one-time code that the panel prints must not get into the log of the launch.
            output='screen' if name == 'panel' else 'both',
            respawn=True,
            respawn_delay=1.0,
            on_exit=stay_down_when_refused,
            condition=is_wanted,
        )

    def execute(self, context: LaunchContext) -> object:
        """
        Complete the command line, then start the process.

        """
        for text in self._given_arguments(context):
            self.cmd.append(normalize_to_list_of_substitutions(text))
        return super().execute(context)

    def _given_arguments(self, context: LaunchContext) -> Iterator[str]:
        given = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
        config = os.path.abspath(os.path.expanduser(given['config']))
        if not os.path.isfile(config):
            raise RuntimeError(f'config:={given["config"]} is refused: there is no such file')
        # launch writes a dictionary of parameters into /tmp, where it may be gone when the node is
        # started again after weeks; `-p` stays.
        yield from ('--params-file', config)
        for name, (roles, is_text) in PARAMETERS.items():
            if self._role in roles and given[name]:
                is_plain = not is_text and re.fullmatch(r'[\w.+-]+', given[name])
                value = given[name] if is_plain else json.dumps(given[name])
                yield from ('-p', f'{name}:={value}')
        views = [view.strip() for view in given['views'].split(',') if view.strip()]
        if views and self._role in OF_ALL_VIEWS:
            yield from ('-p', f'views:={json.dumps(views)}')
        if views and self._role == 'sorter':
            yield from ('-p', f'leading_view:={views[0]}')
        if given['image_topic'] and self._role in ('camera', 'part_detector'):
            topic = given['image_topic'].removesuffix('/')
            yield from ('-r', f'image_raw:={topic}')
            yield from ('-r', f'image_raw/compressed:={topic}/compressed')
        if given['trigger_topic'] and self._role in ('camera', 'part_detector'):
            own = 'trigger' if self._role == 'camera' else 'photo_eye'
            yield from ('-r', f'{own}:={given["trigger_topic"]}')


def environment() -> dict[str, object]:
    """
    Give the variables of every node.

    They belong to the processes and not to the launch description: where this file is included in
    a group, a node that is started again would otherwise lack them.

    """
    profiles = PathJoinSubstitution(
        [FindPackageShare(PACKAGE), 'config', 'fastdds_shared_memory.xml']
    )
    return {
        'ROS_AUTOMATIC_DISCOVERY_RANGE': LaunchConfiguration('discovery_range'),
        # Frames above 0.5 MB do not fit Fast DDS' default shared memory (see the file).
        PROFILES_VARIABLE: EnvironmentVariable(PROFILES_VARIABLE, default_value=profiles),
    }


def stay_down_when_refused(event: ProcessExited, _: LaunchContext) -> list[object]:
    """
    End the restarts of a node that refuses its parameters or lacks a package.

    """
    if event.returncode != REFUSED:
        return []
    return [
        LogInfo(
            msg=f'{event.process_name} is not started again, because it refuses to run as it is '
            'set up. Correct what its message above names, then launch again.'
        ),
        EmitEvent(event=ShutdownProcess(process_matcher=matches_action(event.action))),
    ]


def generate_launch_description() -> LaunchDescription:
    """
    Give the arguments, the nodes, and the process that says when the cell is ready.

    """
    arguments = [
        DeclareLaunchArgument(
            name, default_value=default, description=description, choices=CHOICES.get(name)
        )
        for name, (default, description) in ARGUMENTS.items()
    ]
    readiness = Node(
        package=PACKAGE,
        executable='cell_ready',
        namespace=LaunchConfiguration('namespace'),
        arguments=[
            [f'{name}=', LaunchConfiguration(ARGUMENT_OF.get(name, name))]
            for name in (*OPTIONAL, *EXTRA)
        ],
        additional_env=environment(),
        output='screen',
    )
    return LaunchDescription([*arguments, *map(CellNode, [*NODES, *EXTRA]), readiness])
