# SPDX-License-Identifier: Apache-2.0
"""
Check a ROS parameter file before the nodes read it.

ROS accepts a file that says nothing to a node, and the node then runs on its defaults. So a
misspelt node name, an empty file or a file of another kind would silently change how parts are
judged.

"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
import difflib
from pathlib import Path
from typing import Any

import yaml

from anomaly_inspection.errors import SettingError

#: The nodes of a cell, as a parameter file names them.
NODE_NAMES = (
    'camera',
    'part_detector',
    'scorer',
    'decider',
    'sorter',
    'viewer',
    'threshold_bridge',
    'panel',
    'teacher',
    'recorder',
    'mqtt_bridge',
    'opcua_server',
    'drift_watch',
    'inspector',
    'view_joiner',
)
_PARAMETERS = 'ros__parameters'
_WILDCARDS = ('*', '**')
_MOST_BYTES = 1_000_000
_EXAMPLE = f"allowed: '/**/camera:', below it '{_PARAMETERS}:', below that parameters"


def check_parameter_file(path: Path, nodes: Sequence[str] = NODE_NAMES) -> list[str]:
    """
    Refuse a parameter file that the nodes of a cell cannot have been meant to read.

    Parameters
    ----------
    path : Path
        The file. Sections of nodes that are not of this cell are allowed, as long as their names
        do not look like a misspelt one.
    nodes : sequence of str
        Names of the nodes that may have a section.

    Returns
    -------
    list of str
        One sentence for each section that no node of the cell reads.

    Raises
    ------
    SettingError
        When the file cannot be read, is no YAML, holds no section for any of the nodes, has a
        section whose name is nearly that of a node, or a section without parameters.

    """
    content = _parsed(path)
    if not isinstance(content, dict) or not content:
        kind = 'is empty' if not content else f'is a {type(content).__name__}'
        raise SettingError(f'{path} {kind}; {_EXAMPLE}')
    foreign, is_known = [], False
    for section, parameters in _sections(path, (), content):
        if not isinstance(parameters, dict):
            raise SettingError(
                f'{path}: {_PARAMETERS} of {"/".join(section)} is {parameters!r}; {_EXAMPLE}'
            )
        name = section[-1]
        if name in nodes or name in _WILDCARDS:
            is_known = True
            continue
        near = nearest(name, nodes)
        if near:
            raise SettingError(
                f'{path}: {"/".join(section)} is the name of no node; did you mean {near!r}? '
                f'Allowed: {", ".join(nodes)}'
            )
        foreign.append(f'{path}: no node of the cell is called {name}; its section has no effect')
    if not is_known:
        raise SettingError(
            f'{path} has no section for any node of the cell; allowed: {", ".join(nodes)}'
        )
    return foreign


def given_parameter_files(arguments: Sequence[str]) -> list[Path]:
    """
    Find the parameter files among the arguments of a ROS process, in their order.

    """
    return [
        Path(arguments[place + 1])
        for place, argument in enumerate(arguments[:-1])
        if argument == '--params-file'
    ]


def nearest(name: str, known: Sequence[str]) -> str:
    """
    Give the known name that `name` was probably meant to be; '' when none is near.

    """
    return next(iter(difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.7)), '')


def _parsed(path: Path) -> Any:
    try:
        if not path.is_file():
            raise SettingError(f'there is no parameter file {path}')
        if path.stat().st_size > _MOST_BYTES:
            raise SettingError(f'{path} is larger than {_MOST_BYTES:,} bytes')
        return yaml.safe_load(path.read_bytes().decode())
    except OSError as error:
        raise SettingError(f'{path} cannot be read: {error.strerror}') from error
    except UnicodeDecodeError as error:
        raise SettingError(f'{path} is no text in UTF-8 (byte {error.start})') from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f' at line {mark.line + 1}, column {mark.column + 1}' if mark else ''
        raise SettingError(f'{path} is no readable YAML{place}: {error.problem}') from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SettingError(f'{path} is no readable YAML: {error}') from error


def _sections(
    path: Path, above: tuple[str, ...], content: dict[Any, Any]
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """
    Yield the names, namespaces first, and the parameters of every node in the file.

    """
    for key, value in content.items():
        if key == _PARAMETERS:
            if not above:
                raise SettingError(f'{path}: {_PARAMETERS} belongs to no node; {_EXAMPLE}')
            yield above, value
            continue
        names = tuple(part for part in str(key).split('/') if part)
        if not names or not isinstance(value, dict):
            raise SettingError(
                f'{path}: {"/".join((*above, str(key)))} has no {_PARAMETERS}; {_EXAMPLE}'
            )
        yield from _sections(path, above + names, value)
