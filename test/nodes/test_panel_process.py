# SPDX-License-Identifier: Apache-2.0
"""
The operator's page beside a cell in one process: panel and teacher come and go with it.

"""

import importlib.util

import pytest

pytest.importorskip('anomaly_inspection.msg', reason='needs ROS 2 and the built messages')

from anomaly_inspection.msg import TeacherState
from anomaly_inspection.nodes.panel_process import PanelProcess
from anomaly_inspection.nodes.qos import LATCHED
from support.paths import ROOT

pytestmark = [
    pytest.mark.ros,
    pytest.mark.skipif(
        importlib.util.find_spec('nicegui') is None, reason='nicegui is not installed'
    ),
]


def test_the_page_comes_with_a_teacher_and_both_end_with_it(watcher):
    states = watcher.hear(TeacherState, '/line_1/teacher/state', LATCHED)
    with PanelProcess(ROOT / 'config' / 'cell.yaml', 'line_1', 0) as page:
        assert page.address.startswith('http://127.0.0.1:')
        watcher.wait(lambda: states)
        processes = (page._process, page._teacher)
        assert [process.poll() for process in processes] == [None, None]
    assert [process.poll() for process in processes] == [0, 0]
