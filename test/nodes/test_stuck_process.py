# SPDX-License-Identifier: Apache-2.0
"""
A process that cannot come to its end.

"""

import signal
import subprocess
import sys

import pytest

pytest.importorskip('anomaly_inspection.msg', reason='needs ROS 2 and the built messages')

from support.paths import ROOT

pytestmark = pytest.mark.ros

STUCK = """
import threading

from anomaly_inspection.nodes import spinning
from anomaly_inspection.nodes.simulated_belt_node import SimulatedBeltNode


class StuckNode(SimulatedBeltNode):
    def activate(self):
        print('active', flush=True)

    def deactivate(self):
        threading.Event().wait()


spinning._END_WITHIN_S = 1.0
spinning.spin_node(StuckNode)
"""


def test_a_process_that_is_stuck_at_its_end_says_where_and_ends(domain_id):
    process = subprocess.Popen(
        [sys.executable, '-c', STUCK],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == 'active\n'
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert 'in deactivate' in said
