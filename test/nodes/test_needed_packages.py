# SPDX-License-Identifier: Apache-2.0
"""
What a node says where its packages are missing.

"""

import json

import pytest

from anomaly_inspection.errors import SettingError
from anomaly_inspection.nodes.needed_packages import check_needed, ros_interface


def test_all_missing_packages_are_named_with_what_installs_them():
    needed = {'json': 'json', 'no_such_a': 'such-a', 'no_such_b': 'such-b'}
    with pytest.raises(SettingError) as refused:
        check_needed('bridge', needed, 'plant', ', or apt install python3-such')
    assert str(refused.value) == (
        'the bridge needs such-a and such-b, which this Python does not have: pip install '
        "'anomaly_inspection[plant]', or apt install python3-such"
    )


def test_where_nothing_is_missing_nothing_is_said():
    check_needed('bridge', {'json': 'json'}, 'plant')


@pytest.mark.parametrize(
    ('package', 'kind', 'name'),
    [
        ('no_such_msgs', 'srv', 'SetIO'),
        # It is there, and too old.
        ('json', 'decoder', 'NoSuchType'),
    ],
)
def test_a_ros_package_that_is_missing_or_too_old_is_named_with_what_installs_it(
    package, kind, name
):
    with pytest.raises(SettingError) as refused:
        ros_interface("gate 'x'", package, kind, name, '2.0.0')
    assert str(refused.value) == (
        f"gate 'x' needs {package}/{kind}/{name} of the ROS package {package} 2.0.0 or newer, "
        f'which this cell does not find: apt install ros-$ROS_DISTRO-'
        f'{package.replace("_", "-")}, or build it in a workspace and source that first'
    )


def test_an_interface_that_is_there_is_given():
    assert ros_interface('nobody', 'json', 'decoder', 'JSONDecoder', '1') is json.JSONDecoder
