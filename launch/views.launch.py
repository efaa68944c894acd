# SPDX-License-Identifier: Apache-2.0
"""
Launch a cell with 1 to 4 views of each part: a camera for each, one verdict, one gate.

ros2 launch anomaly_inspection views.launch.py views:=top,left recipe:=/path/to/recipe \
    source.top:=0 source.left:=1

Each view is a cell in a namespace of its own below that of the cell (cell.launch.py), without a
sorter; the view_joiner makes one part and one decision of theirs. docs/views.md tells the rest.

"""

from collections.abc import Callable, Iterable
import re

from launch.actions import DeclareLaunchArgument, GroupAction, IncludeLaunchDescription
from launch.conditions import IfCondition
from launch.launch_context import LaunchContext
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import EnvironmentVariable, PathJoinSubstitution
from launch_ros.substitutions import FindPackageShare

from launch import LaunchDescription, Substitution

PACKAGE = 'anomaly_inspection'
MOST_VIEWS = 4
# Arguments that are given for a view by its name: source.top:=0.
OF_A_VIEW = {
    'source': 'camera, image folder, video or simulated line of the view',
    'image_topic': 'images of another driver for the view, in place of our camera',
    'trigger': 'what tells the part detector of the view that a part has come',
}
# Nodes of the whole cell.
EXTRA = {
    'panel': "the operator's page, on http://127.0.0.1:8080 unless the parameter file says more",
    'recorder': 'keep records of every part in a database; see docs/records.md',
    'mqtt': 'decisions and states by MQTT; see docs/mqtt.md',
    'opcua': 'an OPC UA server of the cell; see docs/opcua.md',
    'inspector': 'the action inspect, for robots and PLCs; see docs/robot.md',
}
LEFT_OUT = ('teacher', 'drift_watch')
NOT_GIVEN = "Not given: the parameter file's."
ARGUMENTS = {
    'views': (
        'top,left',
        'Names of the views, 1 to 4, the leading one first. For each of them, by its name: '
        + '; '.join(f'{name}.VIEW:= {what}' for name, what in OF_A_VIEW.items())
        + f'. {NOT_GIVEN}',
    ),
    'recipe': (
        '',
        'Folder that `anomaly-inspection teach --view` has written, with a recipe for each view. '
        f'{NOT_GIVEN}',
    ),
    'trigger_topic': (
        '',
        'Topic of the trigger (camera mode triggered) or photo eye that the views share. Not '
        'given: trigger in the namespace.',
    ),
    'viewer': ('true', 'false: no overlay pictures.'),
    'log_parts': ('', f'true: one line in the terminal for each part of each view. {NOT_GIVEN}'),
    **{name: ('false', f'true: {meaning}.') for name, meaning in EXTRA.items()},
    'namespace': ('inspection', 'Namespace of the cell; each view is in one of its own below it.'),
    'config': (
        PathJoinSubstitution([FindPackageShare(PACKAGE), 'config', 'two_views.yaml']),
        'Parameter file of all nodes; sections such as /**/top/camera are for one view.',
    ),
    'discovery_range': (
        EnvironmentVariable('ROS_AUTOMATIC_DISCOVERY_RANGE', default_value='LOCALHOST'),
        'LOCALHOST: only this machine sees the cell. SUBNET: other machines see it too.',
    ),
}


class Said(Substitution):
    """
    What a function says of the arguments, when the launch runs.

    """

    def __init__(self, say: Callable[[LaunchContext], str], what: str) -> None:
        super().__init__()
        self._say, self._what = say, what

    def describe(self) -> str:
        """
        Say what it stands for.

        """
        return self._what

    def perform(self, context: LaunchContext) -> str:
        """
        Give the text.

        """
        return self._say(context)


def views_of(context: LaunchContext) -> list[str]:
    """
    Give the names of the views; refuses those that no namespace can have, and arguments for views
    that there are not.

    """
    given = context.launch_configurations
    names = [name.strip() for name in given['views'].split(',') if name.strip()]
    allowed = f'allowed: 1 to {MOST_VIEWS} different names of small letters, digits and "_"'
    if not 1 <= len(names) <= MOST_VIEWS or len(set(names)) != len(names):
        raise RuntimeError(f'views:={given["views"]} is refused; {allowed}')
    for name in names:
        if not re.fullmatch('[a-z][a-z0-9_]{0,29}', name):
            raise RuntimeError(f'views:={given["views"]} is refused: {name!r}; {allowed}')
    for argument in given:
        kind, dot, view = argument.partition('.')
        if dot and (kind not in OF_A_VIEW or view not in names):
            raise RuntimeError(
                f'{argument}:= is refused; allowed: '
                + ', '.join(f'{kind}.{name}' for kind in OF_A_VIEW for name in names)
            )
    return names


def of_view(place: int, say: Callable[[LaunchContext, str], str], what: str) -> Said:
    """
    Give what is said of the view in a place; '' when there are fewer.

    """

    def of_names(context: LaunchContext) -> str:
        names = views_of(context)
        return say(context, names[place]) if place < len(names) else ''

    return Said(of_names, f'{what} of view {place + 1}')


def argument_of(name: str) -> Callable[[LaunchContext, str], str]:
    """
    Give what says the value of an argument such as source.top.

    """
    return lambda context, view: context.launch_configurations.get(f'{name}.{view}', '')


def recipe_of(context: LaunchContext, view: str) -> str:
    """
    Give the recipe folder of a view; '' when the parameter file names it.

    """
    folder = context.launch_configurations['recipe']
    return f'{folder.rstrip("/")}/{view}' if folder else ''


def namespace_of(context: LaunchContext, view: str) -> str:
    """
    Give the namespace of a view.

    """
    return f'{context.launch_configurations["namespace"].rstrip("/")}/{view}'


def trigger_topic(context: LaunchContext) -> str:
    """
    Give the trigger that the views share.

    """
    given = context.launch_configurations
    namespace = given['namespace'].strip('/')
    return given['trigger_topic'] or ('/' + '/'.join(filter(None, (namespace, 'trigger'))))


def has_camera(context: LaunchContext, view: str) -> str:
    """
    Say whether our camera node publishes the images of a view, and no other driver.

    """
    return str(not argument_of('image_topic')(context, view)).lower()


def has_detector(context: LaunchContext, view: str) -> str:
    """
    Say whether the images of a view need a part detector.

    """
    given = (argument_of(name)(context, view) for name in ('image_topic', 'trigger'))
    return str(any(given)).lower()


def cell(arguments: Iterable[tuple[str, object]]) -> IncludeLaunchDescription:
    """
    Include a cell; what is not given is as cell.launch.py has it, not as it stands here.

    """
    file = PathJoinSubstitution([FindPackageShare(PACKAGE), 'launch', 'cell.launch.py'])
    return IncludeLaunchDescription(
        PythonLaunchDescriptionSource(file), launch_arguments=list(arguments)
    )


def view(place: int) -> GroupAction:
    """
    Give the cell of the view in a place; nothing when there are fewer.

    """
    return GroupAction(
        [
            cell(
                {
                    # They are set one after the other, and this one needs the cell's namespace.
                    'trigger_topic': Said(trigger_topic, 'topic of the trigger'),
                    'namespace': of_view(place, namespace_of, 'namespace'),
                    'recipe': of_view(place, recipe_of, 'recipe'),
                    **{name: of_view(place, argument_of(name), name) for name in OF_A_VIEW},
                    'camera': of_view(place, has_camera, 'camera'),
                    'part_detector': of_view(place, has_detector, 'part detector'),
                    'sorter': 'false',
                    'threshold_bridge': 'false',
                    **dict.fromkeys((*EXTRA, *LEFT_OUT), 'false'),
                }.items()
            )
        ],
        condition=IfCondition(
            Said(
                lambda context: str(place < len(views_of(context))).lower(),
                f'whether there is a view {place + 1}',
            )
        ),
    )


def generate_launch_description() -> LaunchDescription:
    """
    Give the arguments, the cell of each view, and what joins them.

    """
    switches = ('viewer', *EXTRA)
    arguments = [
        DeclareLaunchArgument(
            name,
            default_value=default,
            description=description,
            choices=['true', 'false'] if name in switches else None,
        )
        for name, (default, description) in ARGUMENTS.items()
    ]
    joined = cell(
        {
            'views': Said(lambda context: ','.join(views_of(context)), 'names of the views'),
            'view_joiner': 'true',
            **dict.fromkeys(
                ('camera', 'part_detector', 'scorer', 'decider', 'viewer', 'threshold_bridge'),
                'false',
            ),
            **dict.fromkeys(LEFT_OUT, 'false'),
        }.items()
    )
    return LaunchDescription([*arguments, GroupAction([joined]), *map(view, range(MOST_VIEWS))])
