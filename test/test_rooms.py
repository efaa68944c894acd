# SPDX-License-Identifier: Apache-2.0
"""
The rooms of the house: who may import whom, read from the source without running it.

"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / 'anomaly_inspection'
SOURCES = sorted(PACKAGE.rglob('*.py'))

# Room (or module beside the rooms) -> what it may import besides itself and errors.
MAY_IMPORT: dict[str, set[str]] = {
    '__init__': set(),
    'errors': set(),
    'imaging': set(),
    'detecting': {'imaging'},
    'scoring': {'imaging'},
    'recipes': {'deciding', 'scoring', 'imaging', 'writable'},
    'learning': {
        *('drift', 'recipes', 'scoring', 'imaging', 'chart_style', 'progress', 'defect_fit'),
    },
    'drift': {'imaging', 'recipes', 'scoring', 'state_file'},
    # The truth about a frame comes with its source; the self-test draws synthetic defects.
    'evaluation': {
        *('recipes', 'deciding', 'scoring', 'imaging', 'capture', 'overlay', 'learning'),
        *('chart_style', 'progress'),
    },
    # What a taught recipe is worth is said by the self-test; a trial run judges as the cell does.
    'teaching': {
        *('evaluation', 'learning', 'recipes', 'deciding', 'scoring', 'imaging', 'capture'),
        'progress',
    },
    'deciding': {'scoring'},
    'capture': {'steady_clock', 'progress', 'defect_fit', 'imaging'},
    'sorting': {'link'},
    'link': set(),
    'overlay': {'scoring', 'imaging'},
    'panel': {
        *('recipes', 'deciding', 'scoring', 'imaging', 'overlay', 'learning', 'evaluation'),
        *('reviewing', 'teaching', 'chart_style', 'progress', 'state_file', 'steady_clock'),
        'writable',
    },
    # What people said about parts is counted, replayed and kept with the recipe.
    'reviewing': {
        *('evaluation', 'learning', 'recipes', 'deciding', 'scoring', 'imaging', 'capture'),
        *('progress', 'state_file'),
    },
    'records': {'chart_style', 'disk_queue', 'overlay', 'panel', 'reviewing', 'state_file'},
    'plant': {'disk_queue', 'state_file'},
    'steady_clock': set(),
    'state_file': {'steady_clock'},
    'disk_queue': {'state_file'},
    'chart_style': set(),
    'parameter_file': set(),
    'print_page': set(),
    'printable': set(),
    'setting_check': set(),
    'progress': set(),
    'defect_fit': set(),
    'writable': set(),
}
# Small things that every room may use.
FOR_ALL = {'__version__', 'errors', 'printable', 'setting_check'}
# The faces of the house stand on all of it.
OPEN_ROOMS = {'nodes', 'cli'}

ROS_MODULES = {
    *('rclpy', 'launch', 'launch_ros', 'cv_bridge', 'ament_index_python', 'rosidl_runtime_py'),
    *('builtin_interfaces', 'std_msgs', 'sensor_msgs', 'std_srvs', 'diagnostic_msgs'),
    *('geometry_msgs', 'rcl_interfaces', 'lifecycle_msgs', 'tf2_msgs', 'ur_msgs', 'control_msgs'),
}
ONLY_IN = [
    ('nodes', ROS_MODULES),
    ('learning', {'tensorflow', 'keras'}),
    # Optuna keeps its trials with it.
    ('records or learning', {'sqlalchemy'}),
    ('records', {'alembic', 'psycopg', 'psycopg2', 'pyarrow', 'mcap_ros2'}),
    ('plant', {'paho', 'asyncua', 'cryptography'}),
    ('panel', {'nicegui', 'fastapi', 'starlette', 'uvicorn', 'argon2'}),
]


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix('.py')


def imported_modules(source: str, package: str) -> Iterator[tuple[int, str]]:
    """
    Every name that the source imports, with its line, at whatever depth the import stands.

    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ''
            if node.level:
                parents = package.split('.')
                base = '.'.join([*parents[: len(parents) + 1 - node.level], *base.split('.')])
            # `from anomaly_inspection import scoring` names the room in what is imported.
            yield from ((node.lineno, f'{base.strip(".")}.{alias.name}') for alias in node.names)


def imports_of(path: Path) -> list[tuple[int, str]]:
    package = '.'.join(['anomaly_inspection', *path.relative_to(PACKAGE).parts[:-1]])
    return list(imported_modules(path.read_text(encoding='utf-8'), package))


def rooms_imported(path: Path) -> list[tuple[int, str]]:
    found = []
    for line, module in imports_of(path):
        parts = module.split('.')
        if parts[0] == 'anomaly_inspection' and len(parts) > 1:
            found.append((line, parts[1]))
    return found


def test_the_sources_are_found() -> None:
    assert {'imaging', 'scoring', 'nodes', 'errors'} <= {room_of(path) for path in SOURCES}


@pytest.mark.parametrize('path', SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_one_way(path: Path) -> None:
    room = room_of(path)
    if room in OPEN_ROOMS:
        return
    assert room in MAY_IMPORT, f'a new room: say in MAY_IMPORT what {room} may import'
    allowed = {room, *FOR_ALL} | MAY_IMPORT[room]
    trespasses = [
        f'line {line} imports {other}'
        for line, other in rooms_imported(path)
        if other not in allowed
    ]
    assert not trespasses


@pytest.mark.parametrize(('room', 'modules'), ONLY_IN, ids=[room for room, _ in ONLY_IN])
def test_some_libraries_live_in_one_room_only(room: str, modules: set[str]) -> None:
    trespasses = [
        f'{path.relative_to(PACKAGE)}:{line} imports {module}'
        for path in SOURCES
        if room_of(path) not in room.split(' or ')
        for line, module in imports_of(path)
        if module.split('.')[0] in modules
    ]
    assert not trespasses


@pytest.mark.parametrize(
    ('source', 'module'),
    [
        ('import rclpy.node', 'rclpy.node'),
        ('def later():\n    from rclpy import init', 'rclpy.init'),
        ('from anomaly_inspection import scoring', 'anomaly_inspection.scoring'),
        ('from ..nodes import cell', 'anomaly_inspection.nodes.cell'),
        ('from . import ssim', 'anomaly_inspection.scoring.ssim'),
    ],
)
def test_every_form_of_import_is_seen(source: str, module: str) -> None:
    assert module in [name for _, name in imported_modules(source, 'anomaly_inspection.scoring')]


def test_every_timer_runs_on_the_steady_clock() -> None:
    """
    One place makes timers and gives them the steady clock: rclpy's own choice is the wall clock.

    """
    made = [
        (path.relative_to(PACKAGE).as_posix(), node)
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8')))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ('create_timer', 'create_rate')
    ]
    assert [name for name, _ in made] == ['nodes/diagnosed_node.py']
    clocks = [keyword.value for keyword in made[0][1].keywords if keyword.arg == 'clock']
    assert [ast.unparse(clock) for clock in clocks] == ['self._steady_clock']
