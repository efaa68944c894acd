# SPDX-License-Identifier: Apache-2.0
"""
Every problem that a node reports stands in one status of the diagnostics: that of its concern.

"""

import ast
from pathlib import Path
import re

import pytest

pytest.importorskip('anomaly_inspection.msg', reason='needs ROS 2 and the built messages')

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.parameter import Parameter

from anomaly_inspection import nodes
from anomaly_inspection.nodes.camera_node import CameraNode
from anomaly_inspection.nodes.decider_node import DeciderNode
from anomaly_inspection.nodes.drift_watch_node import DriftWatchNode
from anomaly_inspection.nodes.inspector_node import InspectorNode
from anomaly_inspection.nodes.mqtt_bridge_node import MqttBridgeNode
from anomaly_inspection.nodes.opcua_server_node import OpcuaServerNode
from anomaly_inspection.nodes.panel_node import PanelNode
from anomaly_inspection.nodes.part_detector_node import PartDetectorNode
from anomaly_inspection.nodes.recorder_node import RecorderNode
from anomaly_inspection.nodes.scorer_node import ScorerNode
from anomaly_inspection.nodes.simulated_arm_node import SimulatedArmNode
from anomaly_inspection.nodes.sorter_node import SorterNode
from anomaly_inspection.nodes.teacher_node import TeacherNode
from anomaly_inspection.nodes.threshold_bridge_node import ThresholdBridgeNode
from anomaly_inspection.nodes.view_joiner_node import ViewJoinerNode
from anomaly_inspection.nodes.viewer_node import ViewerNode

# What the words stand for in the names of problems: a topic, a scorer, a number.
X = 'x'
PROBLEMS = {
    CameraNode: {'source': ['source'], 'frames': ['calibration', 'trigger', 'frequency frames']},
    PartDetectorNode: {
        'images': ['camera', 'late', 'stamp', 'frame', f'lost {X}', 'frequency images'],
        'parts': ['eye', 'chatter', 'stuck', 'scene', 'publishers'],
    },
    ScorerNode: {
        'recipe': ['recipe'],
        'frames': ['age', 'queue', f'lost {X}', 'frequency frames', 'belt plane'],
        'scorers': [f'scorer {X}', 'scoring', 'workers'],
    },
    DeciderNode: {
        'recipe': ['recipe'],
        'limits': ['thresholds'],
        'challenge': ['challenge'],
        'fault': ['fault'],
        'memory': ['state'],
    },
    SorterNode: {
        'line': ['line stop'],
        'belt': ['encoder'],
        'decisions': ['decider'],
        'memory': ['state'],
    },
    SimulatedArmNode: {'belt': ['encoder']},
    TeacherNode: {
        'recording': ['recording', f'lost {X}'],
        'trial run': ['trial', 'trial failure'],
    },
    ViewerNode: {'images': ['map', f'lost {X}']},
    ThresholdBridgeNode: {
        'link': ['link'],
        'knobs': [f'channel {X}', 'thresholds', 'button'],
    },
    RecorderNode: {
        'database': ['database', 'refused record'],
        'queue': ['queue', 'dropped records'],
        'pictures': ['pictures', f'lost {X}'],
        'parts': ['identity'],
    },
    MqttBridgeNode: {
        'broker': ['broker'],
        'store': ['store', 'loss'],
        'commands': ['command'],
        'parts': ['identity'],
        'sparkplug': ['sparkplug'],
    },
    OpcuaServerNode: {'clients': ['client']},
    DriftWatchNode: {
        'drift': ['drift'],
        'recipe': ['recipe'],
        'frames': ['lost part/image', 'picture'],
        'memory': ['learned'],
    },
    InspectorNode: {'cell': ['cell']},
    ViewJoinerNode: {
        'views': ['fault', f'recipe {X}'],
        'joining': ['pitch', 'unclear'],
    },
    PanelNode: {
        'people': ['people', 'record of changes'],
        'review': ['review set', 'lost part/image'],
    },
}
# Of the node as a whole, beside the failures of its callbacks.
OF_THE_NODE = ['lifecycle', f'qos {X}', 'gate thread']


@pytest.mark.ros
@pytest.mark.parametrize('node_type', PROBLEMS)
def test_a_problem_stands_under_its_concern_and_under_no_other(node_type, ros_context, spin_until):
    node = node_type(
        context=ros_context, parameter_overrides=[Parameter('autostart', value=False)]
    )
    heard = []
    node._diagnostics.publish = heard.append
    # A frequency clears what it does not see itself.
    node._frequencies.clear()
    name = node.get_fully_qualified_name()
    cases = [
        (problem, f'{name}: {concern}')
        for concern, problems in PROBLEMS[node_type].items()
        for problem in problems
    ]
    assert set(node_type.concerns) == set(PROBLEMS[node_type])
    for problem, wanted in [*cases, *((problem, name) for problem in OF_THE_NODE)]:
        node.report(problem, DiagnosticStatus.ERROR, f'{problem} is wrong')
        node.publish_diagnostics()
        message: DiagnosticArray = heard[-1]
        found = {s.name: s.message for s in message.status if s.level != DiagnosticStatus.OK}
        assert found == {wanted: f'{problem} is wrong'}
        assert len({status.name for status in message.status}) == len(message.status)
        node.clear(problem)
    node.destroy_node()


def test_every_problem_in_the_source_is_listed_here():
    listed = {
        problem for concerns in PROBLEMS.values() for ps in concerns.values() for problem in ps
    }
    found = set()
    for path in sorted(Path(nodes.__path__[0]).glob('*.py')):
        for call in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)):
                continue
            if call.func.attr in ('report', 'report_event', '_tell') and call.args:
                words = ast.unparse(call.args[0])
                if match := re.fullmatch(r"f?'(.*)'", words):
                    found.add(re.sub(r'\{.*\}', X, match[1]))
    assert len(found) > 15
    assert found - {f'frequency {X}'} <= listed | set(OF_THE_NODE)
