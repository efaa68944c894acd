# SPDX-License-Identifier: Apache-2.0
"""
Launch a cell: every node in a process of its own, each coming back by itself when it dies.

ros2 launch anomaly_inspection cell.launch.py recipe:=/path/to/recipe source:=0

"""

import os

from launch.actions import DeclareLaunchArgument, SetEnvironmentVariable
from launch.substitutions import EnvironmentVariable, LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from launch import LaunchDescription

PACKAGE = 'anomaly_inspection'
# Kilted brought the new name; it warns of the old one, and Jazzy does not know the new one.
IS_JAZZY = os.environ.get('ROS_DISTRO') == 'jazzy'
PROFILES_VARIABLE = f'{"FASTRTPS" if IS_JAZZY else "FASTDDS"}_DEFAULT_PROFILES_FILE'


def generate_launch_description() -> LaunchDescription:
    """
    Give the cell's nodes with their parameters.

    """
    share = FindPackageShare(PACKAGE)
    recipe = LaunchConfiguration('recipe')
    overrides = {
        'camera': [{'source': LaunchConfiguration('source')}],
        'scorer': [{'recipe': recipe}],
        'decider': [{'recipe': recipe}],
    }
    return LaunchDescription(
        [
            DeclareLaunchArgument('recipe', description='Folder of the recipe.'),
            DeclareLaunchArgument(
                'source',
                default_value='line',
                description="Camera index or device, image folder, video file, or 'line'.",
            ),
            DeclareLaunchArgument(
                'config',
                default_value=PathJoinSubstitution([share, 'config', 'cell.yaml']),
                description='Parameter file of all nodes.',
            ),
            DeclareLaunchArgument(
                'namespace',
                default_value='',
                description='Namespace; another makes a second cell.',
            ),
            DeclareLaunchArgument(
                'discovery_range',
                default_value=EnvironmentVariable(
                    'ROS_AUTOMATIC_DISCOVERY_RANGE', default_value='LOCALHOST'
                ),
                description='LOCALHOST keeps the cell on this machine; SUBNET lets others see it.',
            ),
            SetEnvironmentVariable(
                'ROS_AUTOMATIC_DISCOVERY_RANGE', LaunchConfiguration('discovery_range')
            ),
            # Frames above 0.5 MB do not fit Fast DDS' default shared memory (see the file).
            SetEnvironmentVariable(
                PROFILES_VARIABLE,
                PathJoinSubstitution([share, 'config', 'fastdds_shared_memory.xml']),
            ),
            *[
                Node(
                    package=PACKAGE,
                    executable=f'{name}_node',
                    name=name,
                    namespace=LaunchConfiguration('namespace'),
                    parameters=[LaunchConfiguration('config'), *overrides.get(name, [])],
                    output='both',
                    respawn=True,
                    respawn_delay=1.0,
                )
                # The sorter first: whoever listens stands before whoever speaks.
                for name in (
                    *('sorter', 'decider', 'threshold_bridge', 'viewer', 'scorer'),
                    *('part_detector', 'camera'),
                )
            ],
        ]
    )
