# SPDX-License-Identifier: Apache-2.0
"""
Packages that only some nodes need: a node says what is missing before it starts.

"""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING

from anomaly_inspection.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Mapping


def check_needed(node: str, packages: Mapping[str, str], extra: str, hint: str = '') -> None:
    """
    Raise SettingError where a package that a node needs is not installed.

    Parameters
    ----------
    node : str
        Its name, for people.
    packages : mapping of str to str
        By the name that is imported, the name of the package.
    extra : str
        The extra of this package that installs them.
    hint : str
        Another way to install them.

    """
    missing = [package for name, package in packages.items() if not _is_installed(name)]
    if missing:
        raise SettingError(
            f'the {node} needs {" and ".join(missing)}, which this Python does not have: '
            f"pip install 'anomaly_inspection[{extra}]'{hint}"
        )


def ros_interface(who: str, package: str, kind: str, name: str, since: str) -> type:
    """
    Give a message, service or action of a ROS package that only some cells have.

    Parameters
    ----------
    who : str
        Who needs it, for people.
    package : str
        The ROS package.
    kind : str
        'msg', 'srv' or 'action'.
    name : str
        Name of the type.
    since : str
        The first version of the package that has it.

    Raises
    ------
    SettingError
        When the package is missing or too old; says how to install it.

    """
    try:
        found: type = getattr(importlib.import_module(f'{package}.{kind}'), name)
    except (ImportError, AttributeError) as error:
        raise SettingError(
            f'{who} needs {package}/{kind}/{name} of the ROS package {package} {since} or newer, '
            f'which this cell does not find: apt install ros-$ROS_DISTRO-'
            f'{package.replace("_", "-")}, or build it in a workspace and source that first'
        ) from error
    return found


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        # Of 'google.protobuf', there is no 'google'.
        return False
