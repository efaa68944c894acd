# SPDX-License-Identifier: Apache-2.0
"""
The launch file as it is written, where launch itself is not installed.

"""

import ast
from dataclasses import fields
from typing import Any

import pytest

pytest.importorskip('anomaly_inspection.msg', reason='needs ROS 2 and the built messages')

from anomaly_inspection.nodes import cell, cell_ready, spinning
from anomaly_inspection.nodes.camera_node import CameraParameters
from anomaly_inspection.nodes.decider_node import DeciderParameters
from anomaly_inspection.nodes.part_detector_node import PartDetectorParameters
from anomaly_inspection.nodes.scorer_node import ScorerParameters
from anomaly_inspection.nodes.view_joiner_node import ViewJoinerParameters
from support.paths import ROOT

TREE = ast.parse((ROOT / 'launch' / 'cell.launch.py').read_text(encoding='utf-8'))
PARAMETERS = {
    'camera': CameraParameters,
    'decider': DeciderParameters,
    'part_detector': PartDetectorParameters,
    'scorer': ScorerParameters,
    'view_joiner': ViewJoinerParameters,
}


def constant(name: str) -> Any:
    for node in TREE.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return ast.literal_eval(node.value)
    raise AssertionError(f'the launch file has no {name}')


def test_every_argument_that_sets_a_parameter_names_one_of_its_nodes() -> None:
    for name, (roles, is_text) in constant('PARAMETERS').items():
        for role in roles:
            field = {field.name: field for field in fields(PARAMETERS[role])}[name]
            assert isinstance(field.default, str) == is_text, name


def test_launch_and_readiness_know_the_same_nodes() -> None:
    assert set(constant('OPTIONAL')) <= set(cell_ready.NODES)
    assert set(constant('NODES')) == set(cell_ready.NODES)
    assert set(constant('EXTRA')) == set(cell_ready.EXTRA_NODES)


def test_launch_knows_the_exit_status_of_refused_parameters() -> None:
    assert constant('REFUSED') == spinning.PARAMETERS_REFUSED


def test_the_launch_file_is_declarative() -> None:
    names = {node.id for node in ast.walk(TREE) if isinstance(node, ast.Name)}
    modules = {
        alias.name
        for node in ast.walk(TREE)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }
    assert not (names | modules) & {'OpaqueFunction', 'eval', 'exec', 'subprocess', 'system'}


def test_all_ways_to_run_the_cell_use_the_same_namespace() -> None:
    default = next(
        ast.literal_eval(value.elts[0])
        for table in ast.walk(TREE)
        if isinstance(table, ast.Dict)
        for key, value in zip(table.keys, table.values, strict=True)
        if isinstance(key, ast.Constant) and key.value == 'namespace'
    )
    assert default == cell.NAMESPACE
    for layout in ('live_view.foxglove.json', 'live_view.perspective', 'live_view.rviz'):
        assert f'/{cell.NAMESPACE}/' in (ROOT / 'config' / layout).read_text(encoding='utf-8')
