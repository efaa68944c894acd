# SPDX-License-Identifier: Apache-2.0
"""
What a process says of a parameter file or a parameter that has no effect.

"""

import subprocess
import sys

import pytest

pytest.importorskip('anomaly_inspection.msg', reason='needs ROS 2 and the built messages')

from rclpy.parameter import Parameter

from anomaly_inspection.nodes.sorter_node import SorterNode
from support.paths import ROOT

pytestmark = pytest.mark.ros


@pytest.mark.parametrize('program', ['sorter_node', 'cell'])
@pytest.mark.parametrize(
    ('text', 'told'),
    [
        ('/**/sortr:\n  ros__parameters:\n    window_s: 0.1\n', "did you mean 'sorter'"),
        ('/**/sorter:\n ros__parameters:\n  window_s: [\n', 'is no readable YAML at line'),
        ('', 'is empty'),
    ],
)
def test_a_process_refuses_a_parameter_file_in_one_line(tmp_path, domain_id, program, text, told):
    path = tmp_path / 'site.yaml'
    path.write_text(text)
    code = f'from anomaly_inspection.nodes.{program} import main; main()'
    outcome = subprocess.run(
        [sys.executable, '-c', code, '--ros-args', '--params-file', str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert outcome.returncode == 2, outcome.stderr
    [line] = outcome.stderr.strip().splitlines()
    assert told in line
    assert str(path) in line


def test_a_misspelt_parameter_gets_the_nearest_name(ros_context, capfd):
    node = SorterNode(context=ros_context, parameter_overrides=[Parameter('windows_s', value=0.1)])
    node.destroy_node()
    assert "sorter has no parameter 'windows_s'" in (told := capfd.readouterr().err)
    assert "Did you mean 'window_s'?" in told
