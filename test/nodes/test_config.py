# SPDX-License-Identifier: Apache-2.0
"""
The files beside the code: parameter file and aggregator fit the nodes.

"""

from dataclasses import fields

import pytest
import yaml

pytest.importorskip('anomaly_inspection.msg', reason='needs ROS 2 and the built messages')

from anomaly_inspection.nodes.camera_node import CameraNode, CameraParameters
from anomaly_inspection.nodes.decider_node import DeciderNode, DeciderParameters
from anomaly_inspection.nodes.drift_watch_node import DriftWatchNode, DriftWatchParameters
from anomaly_inspection.nodes.inspector_node import InspectorNode, InspectorParameters
from anomaly_inspection.nodes.mqtt_bridge_node import MqttBridgeNode
from anomaly_inspection.nodes.mqtt_bridge_parameters import MqttBridgeParameters
from anomaly_inspection.nodes.opcua_server_node import OpcuaServerNode, OpcuaServerParameters
from anomaly_inspection.nodes.panel_node import PanelNode
from anomaly_inspection.nodes.panel_parameters import PanelParameters
from anomaly_inspection.nodes.part_detector_node import PartDetectorNode, PartDetectorParameters
from anomaly_inspection.nodes.recorder_node import RecorderNode
from anomaly_inspection.nodes.recorder_parameters import RecorderParameters
from anomaly_inspection.nodes.scorer_node import ScorerNode, ScorerParameters
from anomaly_inspection.nodes.sorter_node import SorterNode
from anomaly_inspection.nodes.sorter_parameters import SorterParameters
from anomaly_inspection.nodes.teacher_node import TeacherNode, TeacherParameters
from anomaly_inspection.nodes.threshold_bridge_node import (
    ThresholdBridgeNode,
    ThresholdBridgeParameters,
)
from anomaly_inspection.nodes.view_joiner_node import ViewJoinerNode, ViewJoinerParameters
from anomaly_inspection.nodes.viewer_node import ViewerNode, ViewerParameters
from support.paths import ROOT

NODES = {
    'camera': (CameraNode, CameraParameters),
    'decider': (DeciderNode, DeciderParameters),
    'part_detector': (PartDetectorNode, PartDetectorParameters),
    'scorer': (ScorerNode, ScorerParameters),
    'sorter': (SorterNode, SorterParameters),
    'teacher': (TeacherNode, TeacherParameters),
    'threshold_bridge': (ThresholdBridgeNode, ThresholdBridgeParameters),
    'viewer': (ViewerNode, ViewerParameters),
    'panel': (PanelNode, PanelParameters),
    'recorder': (RecorderNode, RecorderParameters),
    'mqtt_bridge': (MqttBridgeNode, MqttBridgeParameters),
    'opcua_server': (OpcuaServerNode, OpcuaServerParameters),
    'drift_watch': (DriftWatchNode, DriftWatchParameters),
    'inspector': (InspectorNode, InspectorParameters),
}


@pytest.fixture(scope='module')
def parameter_file():
    return yaml.safe_load((ROOT / 'config' / 'cell.yaml').read_text())


def test_the_parameter_file_names_every_node_once(parameter_file):
    assert {name.removeprefix('/**/') for name in parameter_file} == set(NODES)


@pytest.mark.ros
@pytest.mark.parametrize('name', sorted(NODES))
def test_every_node_takes_its_part_of_the_parameter_file(name, parameter_file, ros_context):
    from rclpy.parameter import Parameter

    node_type, parameters_type = NODES[name]
    given = parameter_file[f'/**/{name}']['ros__parameters']
    assert set(given) <= {field.name for field in fields(parameters_type)}
    node = node_type(
        context=ros_context,
        parameter_overrides=[Parameter(key, value=value) for key, value in given.items()],
    )
    for key, value in given.items():
        assert getattr(node.parameters, key) == value
    node.destroy_node()


def test_the_file_of_two_views_fits_the_nodes_and_its_times_follow_each_other():
    sections = yaml.safe_load((ROOT / 'config' / 'two_views.yaml').read_text())
    kinds = {**NODES, 'view_joiner': (ViewJoinerNode, ViewJoinerParameters)}
    for section, content in sections.items():
        known = {field.name for field in fields(kinds[section.rpartition('/')[2]][1])}
        assert set(content['ros__parameters']) <= known, section
    given = {
        name: kinds[name][1](**sections[f'/**/{name}']['ros__parameters'])
        for name in ('decider', 'view_joiner', 'sorter')
    }
    sorter, joiner = given['sorter'], given['view_joiner']
    travel_s = sorter.tracker_settings().travel_time_s
    assert given['decider'].deadline_s < joiner.deadline_s < travel_s - sorter.window_s / 2
    assert 2 * joiner.join_within_s < sorter.tracker_settings().closest_s
    joiner.join_settings()


def test_the_gate_comes_after_the_deadline(parameter_file):
    sorter = SorterParameters(**parameter_file['/**/sorter']['ros__parameters'])
    decider = DeciderParameters(**parameter_file['/**/decider']['ros__parameters'])
    scorer = ScorerParameters(**parameter_file['/**/scorer']['ros__parameters'])
    settings = sorter.tracker_settings()
    fires_s = settings.travel_time_s - settings.window_s / 2 - settings.actuation_s
    assert decider.deadline_s < fires_s
    assert decider.deadline_s <= scorer.max_age_s


def test_the_aggregator_has_a_branch_for_every_node():
    file = ROOT / 'config' / 'diagnostics_aggregator.yaml'
    parameters = yaml.safe_load(file.read_text())['/**']['ros__parameters']
    branches = {name: value for name, value in parameters.items() if isinstance(value, dict)}
    assert set(branches) == set(NODES)
    for name, branch in branches.items():
        assert branch['path'] == name
        assert branch['contains'] == [f'/{name}']
        # Every status of a node, and none of another.
        assert [node for node in NODES if f'/{name}' in f'/inspection/{node}: concern'] == [name]
